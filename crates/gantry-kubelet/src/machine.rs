//! The machine: size, identity, file systems.

use std::{fs, path::Path};

/// Facts that do not change while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Logical CPUs.
    pub cpus: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// Size of the file system that holds pods, in bytes.
    pub storage: i64,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// DMI product uuid, or the machine id.
    pub system_uuid: String,
    /// Boot id.
    pub boot_id: String,
    /// Kernel release.
    pub kernel: String,
    /// Distribution's pretty name.
    pub os_image: String,
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

/// A field of `/proc/meminfo` in bytes.
pub fn meminfo(field: &str) -> i64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
}

/// Size, free bytes, inodes and free inodes of the file system that holds `path`. What is kept back for
/// root is no part of the size: nobody could ever fill it.
pub fn file_system(path: &Path) -> Option<(u64, u64, u64, u64)> {
    let s = nix::sys::statvfs::statvfs(path).ok()?;
    let unit = s.fragment_size() as u64;
    Some((
        (s.blocks() - s.blocks_free() + s.blocks_available()) as u64 * unit,
        s.blocks_available() as u64 * unit,
        s.files() as u64,
        s.files_free() as u64,
    ))
}

/// Most processes and threads that the machine can have, and how many it has.
pub fn processes() -> Option<(u64, u64)> {
    let most = fs::read_to_string("/proc/sys/kernel/pid_max").ok()?.trim().parse().ok()?;
    let load = fs::read_to_string("/proc/loadavg").ok()?;
    let tasks = load.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()?;
    Some((most, tasks))
}

impl Machine {
    /// Reads the machine; `root` is where pods live.
    pub fn read(root: &Path) -> Self {
        let machine_id = line("/etc/machine-id");
        let uuid = line("/sys/class/dmi/id/product_uuid");
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
        Self {
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as i64),
            memory: meminfo("MemTotal"),
            storage: file_system(root).map_or(0, |f| f.0 as i64),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            kernel: line("/proc/sys/kernel/osrelease"),
            os_image: pretty.unwrap_or("Linux").trim_matches('"').to_string(),
        }
    }

    /// The architecture as the API spells it.
    pub fn architecture() -> &'static str {
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }
}
