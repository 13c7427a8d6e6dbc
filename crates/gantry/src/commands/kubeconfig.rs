//! `gantry kubeconfig`: prints the administrator's kubeconfig, or merges it into another.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use gantry_json::Value;

use crate::config::Config;
use crate::kubeconfig;

/// What to do with it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Merge into this kubeconfig and make the cluster current there.
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
    /// Print where it is instead of what it says.
    #[arg(long, conflicts_with = "merge")]
    path: bool,
}

/// Prints or merges.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    let path = config.kubeconfig();
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading {}; does a cluster run here (gantry up)?", path.display()))?;
    if arguments.path {
        println!("{}", path.display());
        return Ok(());
    }
    let Some(target) = &arguments.merge else {
        print!("{text}");
        return Ok(());
    };
    let ours: Value = serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
    let theirs: Value = match std::fs::read_to_string(target) {
        Ok(text) => serde_yaml_ng::from_str(&text).with_context(|| target.display().to_string())?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Value::Null,
        Err(error) => return Err(error).with_context(|| target.display().to_string()),
    };
    kubeconfig::write(target, &kubeconfig::merge(theirs, &ours)?)?;
    println!("merged into {}; its current context is now gantry", target.display());
    Ok(())
}
