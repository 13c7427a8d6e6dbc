//! `xtask enums`: makes the list of the fields that can have only a few values, from the types that
//! published programs carry for reflection, as `xtask protobuf` does: a field's type has a name there, and
//! `enums.txt` has the names' values.
//!
//! One line per definition of `schema/facts.txt` that has such fields: its name, then `field=value,value` for
//! each, with a space in a value written as `_`. `gantry_api::openapi` reads the form.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::protobuf::go::{Field, Program};
use crate::protobuf::{Programs, definitions, go_name};

/// The values of each type.
const VALUES: &str = include_str!("enums.txt");

/// Where from and where to.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    programs: Programs,
    /// The file to write.
    #[arg(long, default_value = "crates/gantry-api/src/openapi/enums.txt")]
    out: PathBuf,
    /// Only compare with the file that is there.
    #[arg(long)]
    check: bool,
}

/// Writes or compares the list.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (programs, facts) = arguments.programs.read()?;
    let values: BTreeMap<&str, &str> = VALUES
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut unused = values.clone();
    let mut out = String::new();
    for (name, fields) in definitions(&facts) {
        let Some(go_name) = go_name(name) else { continue };
        let Some((program, fields_of)) =
            programs.iter().find_map(|program| Some((program, program.named(&go_name)?)))
        else {
            continue;
        };
        let mut line = String::new();
        for (field, kind) in texts(program, fields_of) {
            if let Some(values) = values.get(kind).filter(|_| fields.contains_key(field)) {
                unused.remove(kind);
                write!(line, " {field}={}", values.replace(' ', "_"))?;
            }
        }
        if !line.is_empty() {
            writeln!(out, "{name}{line}")?;
        }
    }
    ensure!(unused.is_empty(), "no field has the types {:?}", unused.keys());
    if arguments.check {
        let present = std::fs::read_to_string(&arguments.out)?;
        ensure!(present == out, "{} is not what its generator makes", arguments.out.display());
        return Ok(());
    }
    std::fs::write(&arguments.out, out).with_context(|| arguments.out.display().to_string())
}

/// The fields of text of a struct and of what stands in it in place, with the names of their types.
fn texts<'a>(program: &'a Program, fields: &'a [Field]) -> Vec<(&'a str, &'a str)> {
    let mut all = Vec::new();
    for field in fields {
        let json = field.tag("json").unwrap_or_default().split(',').next().unwrap_or_default();
        match (json, program.fields(field.kind)) {
            ("", Some(inner)) => all.extend(texts(program, inner)),
            _ => all.extend(program.text_name(field.kind).map(|kind| (json, kind))),
        }
    }
    all
}
