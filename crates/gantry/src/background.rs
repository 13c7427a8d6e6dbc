//! Going on in the background, under the settings that the command line gave.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::config::Config;
use crate::instance::Instance;
use crate::output;

/// How a process that goes on is started.
#[derive(Debug, Args)]
pub struct Start {
    /// Return once everything is up, and go on in the background.
    #[arg(long)]
    background: bool,
    /// End the gantry that runs here already, and take its pods over.
    #[arg(long)]
    replace: bool,
    /// Where logs go with --background.
    #[arg(long, default_value = "/var/log/gantry.log")]
    log_file: PathBuf,
}

impl Start {
    /// Makes room for this process where that is asked for. Returns whether it is to serve itself; else
    /// another one does, and has printed a line that begins with `last`.
    pub fn here(&self, config: &Config, last: &str) -> Result<bool> {
        if self.replace {
            Instance::end(&config.run_dir)?;
        }
        if self.background {
            self.detach(last)?;
        }
        Ok(!self.background)
    }

    /// Starts this program again without a terminal and passes on what it says until it is up.
    fn detach(&self, last: &str) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log_file)
            .with_context(|| format!("opening {}", self.log_file.display()))?;
        let done = ["--background", "--replace"];
        let words = std::env::args_os().skip(1).filter(|word| !done.iter().any(|done| word == done));
        let mut child = Command::new("/proc/self/exe")
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting in the background")?;
        let output = child.stdout.take().context("no output to read")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            output::tell(format_args!("{line}"));
            if line.starts_with(last) {
                return Ok(());
            }
        }
        let status = child.wait()?;
        bail!("ended with {status} before it was up; its log is {}", self.log_file.display())
    }
}
