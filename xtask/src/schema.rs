//! `xtask schema`: makes the structural facts of the built-in kinds from the published
//! definitions (`_definitions.json` of the PyPI package `kubernetes-validate`), without their
//! descriptions.
//!
//! One block per definition: its name, a line per group, version and kind, and a line per field
//! with its type and how it merges. `gantry_api::schema` reads the form.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use gantry_json::Value;

/// Where from and where to.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The published definitions.
    definitions: PathBuf,
    /// The facts file.
    #[arg(long, default_value = "crates/gantry-api/src/schema/facts.txt")]
    out: PathBuf,
    /// Only compare with the file that is there.
    #[arg(long)]
    check: bool,
}

/// Writes or compares the facts.
pub fn run(arguments: &Arguments) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.definitions)
        .with_context(|| arguments.definitions.display().to_string())?;
    let document: BTreeMap<String, Value> = gantry_json::from_str(&text)?;
    let definitions = document.get("$defs").and_then(Value::as_object).context("no $defs")?;
    let sorted: BTreeMap<_, _> = definitions.iter().collect();
    let mut out = String::new();
    for (name, definition) in sorted {
        block(&mut out, name, definition)?;
    }
    if arguments.check {
        let present = std::fs::read_to_string(&arguments.out)?;
        ensure!(present == out, "{} is not what its generator makes", arguments.out.display());
        return Ok(());
    }
    std::fs::write(&arguments.out, out).with_context(|| arguments.out.display().to_string())
}

fn block(out: &mut String, name: &str, definition: &Value) -> Result<()> {
    writeln!(out, "{name}")?;
    for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
        let text = |key: &str| kind[key].as_str().unwrap_or_default();
        writeln!(out, " kind {}/{}/{}", text("group"), text("version"), text("kind"))?;
    }
    if definition["x-kubernetes-map-type"] == "atomic" {
        writeln!(out, " atomic")?;
    }
    let required: Vec<_> =
        definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let fields: BTreeMap<_, _> = definition["properties"].as_object().into_iter().flatten().collect();
    for (field, schema) in fields {
        let needed = if required.contains(&field.as_str()) { "!" } else { "" };
        let kind = type_of(schema).with_context(|| format!("{name}.{field}"))?;
        write!(out, " {field}{needed} {kind}")?;
        if let Some(list) = schema["x-kubernetes-list-type"].as_str() {
            write!(out, " list={list}")?;
        }
        let keys: Vec<_> = schema["x-kubernetes-list-map-keys"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !keys.is_empty() {
            write!(out, " keys={}", keys.join(","))?;
        }
        for (key, word) in [
            ("x-kubernetes-map-type", "map"),
            ("x-kubernetes-patch-merge-key", "merge"),
            ("x-kubernetes-patch-strategy", "strategy"),
        ] {
            if let Some(value) = schema[key].as_str() {
                write!(out, " {word}={value}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn type_of(schema: &Value) -> Result<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return Ok(format!("@{}", reference.rsplit('/').next().unwrap_or_default()));
    }
    let name = match &schema["type"] {
        Value::Array(names) => names.first().and_then(Value::as_str),
        other => other.as_str(),
    };
    Ok(match (name.context("no type")?, schema["format"].as_str()) {
        ("string", Some("byte")) => "bytes".into(),
        ("string", _) => "string".into(),
        ("integer", Some("int32")) => "int32".into(),
        ("integer", _) => "int64".into(),
        ("number", _) => "float64".into(),
        ("boolean", _) => "bool".into(),
        ("array", _) => format!("[{}]", type_of(&schema["items"])?),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("{{{}}}", type_of(&schema["additionalProperties"])?)
        }
        ("object", _) => "any".into(),
        (other, _) => anyhow::bail!("type {other} is not known"),
    })
}
