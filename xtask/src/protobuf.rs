//! `xtask protobuf`: makes the protobuf facts of the built-in kinds from the types that published
//! programs carry for reflection (kubectl and helm of the PyPI package that `hack/packages.sh`
//! fetches), where each struct field has its JSON and its protobuf tag.
//!
//! One line per definition of `schema/facts.txt`: its name, then `field=number` for each field.
//! `2.1` is field 1 of the message in field 2, whose fields JSON shows in place. `?` says that
//! JSON leaves a zero value out, `!` that JSON always has the field, `~` that JSON shows null where
//! there is none. A word after `:` names a form
//! that the field's type does not tell. `gantry_api::protobuf` and `gantry_api::schema` read the form.

pub mod go;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use go::{Field, Kind, Program, TypeId};

/// Published programs, and the definitions that are looked for in them.
#[derive(Debug, Args)]
pub struct Programs {
    /// The programs to read; what the first does not have is taken from the next.
    #[arg(default_values = ["target/tools/kubectl", "target/tools/helm"])]
    programs: Vec<PathBuf>,
    /// The facts of the kinds' structure.
    #[arg(long, default_value = "crates/gantry-api/src/schema/facts.txt")]
    facts: PathBuf,
}

impl Programs {
    /// The programs' types, and the facts.
    pub fn read(&self) -> Result<(Vec<Program>, String)> {
        let read = |path: &PathBuf| {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            Program::read(bytes).with_context(|| path.display().to_string())
        };
        let programs = self.programs.iter().map(read).collect::<Result<_>>()?;
        let facts = std::fs::read_to_string(&self.facts).with_context(|| self.facts.display().to_string())?;
        Ok((programs, facts))
    }
}

/// Where from and where to.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    programs: Programs,
    /// The file to write.
    #[arg(long, default_value = "crates/gantry-api/src/schema/protobuf.txt")]
    out: PathBuf,
    /// Only compare with the file that is there.
    #[arg(long)]
    check: bool,
}

/// Definitions that none of the programs has, as the crate `k8s-pb` numbers their fields.
const AGGREGATOR: &str = "\
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService metadata=1! spec=2! status=3!
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceCondition type=1! status=2! lastTransitionTime=3! reason=4? message=5?
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceList metadata=1! items=2
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec service=1 group=2? version=3? insecureSkipTLSVerify=4? caBundle=5? groupPriorityMinimum=7! versionPriority=8!
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus conditions=1?
io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.ServiceReference namespace=1? name=2? port=3
";

/// Structs whose zero JSON shows as null, which says no more than leaving them out.
const NULLS: [&str; 2] = [".RawExtension", ".JSON"];

/// Writes or compares the facts.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (programs, facts) = arguments.programs.read()?;
    let mut out = String::new();
    for (name, fields) in definitions(&facts) {
        if fields.is_empty() {
            continue;
        }
        if let Some(line) = AGGREGATOR.lines().find(|line| line.split(' ').next() == Some(name)) {
            writeln!(out, "{line}")?;
            continue;
        }
        let found = programs.iter().find_map(|program| Some((program, program.named(&go_name(name)?)?)));
        let (program, fields_of) = found.with_context(|| format!("no program has {name}"))?;
        let mut lines = Vec::new();
        walk(program, fields_of, "", &fields, &mut lines).with_context(|| name.to_owned())?;
        if lines.is_empty() {
            // Such as the server's version, which has no protobuf form.
            continue;
        }
        for field in fields.keys().filter(|field| !matches!(**field, "kind" | "apiVersion")) {
            let has = |line: &String| line.split('=').next() == Some(field);
            ensure!(lines.iter().any(has), "{name}.{field} has no number");
        }
        write!(out, "{name}")?;
        lines.iter().try_for_each(|line| write!(out, " {line}"))?;
        writeln!(out)?;
    }
    if arguments.check {
        let present = std::fs::read_to_string(&arguments.out)?;
        ensure!(present == out, "{} is not what its generator makes", arguments.out.display());
        return Ok(());
    }
    std::fs::write(&arguments.out, out).with_context(|| arguments.out.display().to_string())
}

/// Every definition in the structural facts, with its fields' types.
pub fn definitions(facts: &str) -> Vec<(&str, BTreeMap<&str, &str>)> {
    let mut all: Vec<(&str, BTreeMap<&str, &str>)> = Vec::new();
    for line in facts.lines() {
        let Some(line) = line.strip_prefix(' ') else {
            all.push((line, BTreeMap::new()));
            continue;
        };
        let mut words = line.split(' ');
        if let (Some((_, fields)), Some(name), Some(kind)) = (all.last_mut(), words.next(), words.next())
            && !(name == "kind" && kind.contains('/'))
        {
            fields.insert(name.trim_end_matches('!'), kind);
        }
    }
    all
}

/// `k8s.io/api/core/v1.Pod` for `io.k8s.api.core.v1.Pod`.
pub fn go_name(name: &str) -> Option<String> {
    let (path, kind) = name.strip_prefix("io.k8s.")?.rsplit_once('.')?;
    Some(format!("k8s.io/{}.{kind}", path.replace('.', "/")))
}

fn walk(
    program: &Program,
    fields: &[Field],
    prefix: &str,
    wanted: &BTreeMap<&str, &str>,
    out: &mut Vec<String>,
) -> Result<()> {
    for field in fields {
        let tag = field.tag("protobuf").unwrap_or_default();
        let mut words = tag.split(',');
        // A tag's other words are not always right; how a field is written follows from its type.
        let Some(number) = words.nth(1) else { continue };
        let json = field.tag("json").unwrap_or_default();
        let (name, options) = json.split_once(',').unwrap_or((json, ""));
        let path = format!("{prefix}{number}");
        if name.is_empty() {
            let inner = program.fields(field.kind).context("what stands in place is no struct")?;
            walk(program, inner, &format!("{path}."), wanted, out)?;
            continue;
        }
        let Some(kind) = wanted.get(name) else { continue };
        let mut line = format!("{name}={path}");
        line.push_str(zero(program, field.kind, kind, options));
        let form = match kind.rsplit('.').next().unwrap_or_default().trim_end_matches(['}', ']']) {
            "JSONSchemaPropsOrArray" => ":schemas",
            "JSONSchemaPropsOrBool" => ":bool",
            "JSONSchemaPropsOrStringArray" => ":strings",
            _ if program.name(field.kind) == Some("k8s.io/apimachinery/pkg/apis/meta/v1.Verbs") => ":wrapped",
            _ => "",
        };
        line.push_str(form);
        out.push(line);
    }
    Ok(())
}

/// The mark that says what becomes of a field's zero value in JSON.
fn zero(program: &Program, go: TypeId, kind: &str, options: &str) -> &'static str {
    let has = |option: &str| options.split(',').any(|each| each == option);
    let object = kind.starts_with('@') && !NULLS.iter().any(|null| kind.ends_with(null));
    match program.kind(go) {
        Kind::Scalar | Kind::Slice | Kind::Map if has("omitempty") => "?",
        Kind::Struct if has("omitzero") && kind.starts_with('@') => "?",
        Kind::Scalar => "!",
        Kind::Struct if object => "!",
        Kind::Slice | Kind::Map | Kind::Other if !has("omitempty") => "~",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(go_name("io.k8s.api.core.v1.Pod").as_deref(), Some("k8s.io/api/core/v1.Pod"));
        assert_eq!(
            go_name("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON").as_deref(),
            Some("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1.JSON")
        );
    }

    #[test]
    fn structural_facts() {
        let all = definitions("a.B\n kind /v1/B\n atomic\n kind string\n x! [string] list=set\na.C\n");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].1, BTreeMap::from([("kind", "string"), ("x", "[string]")]));
    }
}
