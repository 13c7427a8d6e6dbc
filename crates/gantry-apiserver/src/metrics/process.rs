//! What the kernel tells of this process, under the names that all Prometheus clients use.

use std::fmt::Write;
use std::fs;

/// Clock ticks of `/proc` in a second: the same on every Linux.
const TICKS: f64 = 100.0;
/// Bytes of a page of memory, as `/proc/self/statm` counts them.
const PAGE: u64 = 4096;

/// The process's metrics as text; nothing where there is no `/proc`.
pub(super) fn encode() -> String {
    let mut out = String::new();
    let mut gauge = |name: &str, kind: &str, help: &str, value: f64| {
        // Writing to a string does not fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    // Fields behind the command's name, which may have spaces, from the third on.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or_default()).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number - 3).copied();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let help = "Processor time spent, in seconds";
        gauge("process_cpu_seconds_total", "counter", help, (user + system) / TICKS);
    }
    if let (Some(ticks), Some(boot)) = (field(22), boot_time()) {
        gauge("process_start_time_seconds", "gauge", "Start since the Unix epoch", boot + ticks / TICKS);
    }
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    if let Some(pages) = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()) {
        gauge("process_resident_memory_bytes", "gauge", "Resident memory", (pages * PAGE) as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge("process_open_fds", "gauge", "Open file descriptors", open.count() as f64);
    }
    out
}

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
