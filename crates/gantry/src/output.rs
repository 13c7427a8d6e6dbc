//! What is printed, and who reads it.
#![allow(unsafe_code)]

use std::fmt::Arguments;
use std::io::{self, Write};

use nix::sys::signal::{SigHandler, Signal, signal};

/// From now on the process ends quietly when nobody reads what it prints any more, as in `gantry status | head`.
/// Rust's programs ignore the signal for that, so that printing fails instead.
pub fn end_with_reader() {
    // SAFETY: the handler is the system's own; no code of ours runs in it.
    if let Err(error) = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) } {
        tracing::debug!(%error, "the signal of closed pipes stays ignored");
    }
}

/// Prints a line of a command that does its work whoever reads: that nobody does is not its failure.
pub fn tell(line: Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}
