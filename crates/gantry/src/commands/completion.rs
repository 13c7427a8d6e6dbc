//! `gantry completion SHELL`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Which shell.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell to complete in.
    shell: Shell,
}

/// Prints the script.
pub fn run(arguments: &Arguments) {
    clap_complete::generate(arguments.shell, &mut super::Cli::command(), "gantry", &mut std::io::stdout());
}
