//! The command line: one module per verb.

pub mod agent;
pub mod completion;
pub mod image;
pub mod kubeconfig;
pub mod reset;
pub mod server;
pub mod status;
pub mod token;
pub mod up;
pub mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::config::{Config, Settings};
use crate::output;

/// Kubernetes v1.35 in one binary.
#[derive(Debug, Parser)]
#[command(name = "gantry", disable_version_flag = true, arg_required_else_help = true, next_line_help = true)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// YAML file of settings; `config.yaml` in the configuration directory where absent.
    #[arg(long, env = "GANTRY_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a whole cluster on this machine: a control plane and a node.
    Up(up::Arguments),
    /// Run a control plane without a node.
    Server,
    /// Join a cluster whose control plane runs elsewhere, and run its pods.
    Agent(agent::Arguments),
    /// Print the administrator's kubeconfig, or merge it into another.
    Kubeconfig(kubeconfig::Arguments),
    /// Import, pull, list and remove this node's images.
    Image(image::Arguments),
    /// Show components, ports and certificates.
    Status,
    /// Stop every container and remove everything that gantry made on this machine.
    Reset(reset::Arguments),
    /// Make, list and delete tokens that machines join with.
    Token(token::Arguments),
    /// Show the version.
    Version,
    /// Print a completion script for a shell.
    Completion(completion::Arguments),
}

/// Runs the verb that the command line names.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gantry: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    // What is removed is removed whoever reads.
    if !matches!(cli.verb, Verb::Up(_) | Verb::Server | Verb::Agent(_) | Verb::Reset(_)) {
        output::end_with_reader();
    }
    let resolve = || Config::resolve(cli.settings, cli.config.as_deref());
    match cli.verb {
        Verb::Up(arguments) => up::run(&resolve()?, &arguments),
        Verb::Server => server::run(&resolve()?),
        Verb::Agent(arguments) => agent::run(&resolve()?, &arguments),
        Verb::Kubeconfig(arguments) => kubeconfig::run(&resolve()?, &arguments),
        Verb::Image(arguments) => image::run(&resolve()?, &arguments),
        Verb::Status => status::run(&resolve()?),
        Verb::Reset(arguments) => reset::run(&resolve()?, &arguments),
        Verb::Token(arguments) => token::run(&resolve()?, &arguments),
        Verb::Version => {
            version::run();
            Ok(())
        }
        Verb::Completion(arguments) => {
            completion::run(&arguments);
            Ok(())
        }
    }
}
