//! Control groups, version 1 (also where version 2 is mounted beside it) and version 2, behind one set
//! of functions over the directories of a group.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use gantry_cri::v1::LinuxContainerResources;

/// Directories of one group by controller; the single key `""` means the unified hierarchy.
pub type Dirs = BTreeMap<String, PathBuf>;

/// The hierarchies of this host: mount point by controller name or comma-separated names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    mounts: BTreeMap<String, PathBuf>,
}

/// A group could not be made or changed.
#[derive(Debug, thiserror::Error)]
#[error("cgroup {}: {source}", path.display())]
pub struct CgroupError {
    /// File or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError { path, source }
}

impl Hierarchies {
    /// Those of this host.
    pub fn detect() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    fn parse(mountinfo: &str) -> Self {
        let mut mounts = BTreeMap::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let fields: Vec<&str> = left.split(' ').collect();
            let mut right = right.split(' ');
            let (Some(kind), Some(point)) = (right.next(), fields.get(4)) else { continue };
            // A bind of a part of a hierarchy is not the hierarchy.
            if !fields.get(3).is_some_and(|root| *root == "/" || root.starts_with("/..")) {
                continue;
            }
            if kind == "cgroup2" {
                unified.get_or_insert_with(|| PathBuf::from(point));
            } else if kind == "cgroup" {
                let options = right.nth(1).unwrap_or_default();
                let names: Vec<&str> = options
                    .split(',')
                    .filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "noprefix" | "clone_children"))
                    .filter(|o| !o.starts_with("release_agent="))
                    .collect();
                let name = names.join(",").replace("name=", "");
                mounts.entry(name).or_insert_with(|| PathBuf::from(point));
            }
        }
        let has_v1_controllers = mounts.keys().any(|name| name != "systemd");
        if !has_v1_controllers && let Some(unified) = unified {
            mounts.clear();
            mounts.insert(String::new(), unified);
        }
        Self { mounts }
    }

    /// Whether only the unified hierarchy is in use.
    pub fn is_unified(&self) -> bool {
        self.mounts.contains_key("")
    }

    /// Directories of the group at `path`, which is absolute within each hierarchy.
    pub fn dirs(&self, path: &str) -> Dirs {
        let relative = path.trim_start_matches('/');
        self.mounts.iter().map(|(name, mount)| (name.clone(), mount.join(relative))).collect()
    }

    /// Makes the group at `path` in every hierarchy, with all controllers enabled.
    pub fn create(&self, path: &str) -> Result<Dirs, CgroupError> {
        for (name, mount) in &self.mounts {
            let mut dir = mount.clone();
            for part in path.split('/').filter(|p| !p.is_empty()) {
                if name.is_empty() {
                    enable_controllers(&dir);
                }
                let parent = dir.clone();
                dir.push(part);
                match fs::create_dir(&dir) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(at(&dir)(error)),
                }
                if name.split(',').any(|n| n == "cpuset") {
                    inherit_cpuset(&parent, &dir);
                }
            }
        }
        Ok(self.dirs(path))
    }

    /// Removes the group at `path` and those below it from every hierarchy. What still has processes stays.
    pub fn remove(&self, path: &str) {
        for dir in self.dirs(path).values() {
            remove_tree(dir);
        }
    }
}

fn enable_controllers(dir: &Path) {
    let available = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        // One by one: a controller that cannot be enabled must not keep the others off.
        let _ = fs::write(dir.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn inherit_cpuset(parent: &Path, dir: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(dir.join(file)).is_ok_and(|text| text.trim().is_empty())
            && let Ok(value) = fs::read_to_string(parent.join(file))
        {
            let _ = fs::write(dir.join(file), value.trim());
        }
    }
}

fn remove_tree(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}

fn controller<'a>(dirs: &'a Dirs, name: &str) -> Option<&'a PathBuf> {
    dirs.iter().find(|(key, _)| key.split(',').any(|k| k == name)).map(|(_, dir)| dir)
}

fn set(dir: &Path, file: &str, value: impl std::fmt::Display) -> Result<(), CgroupError> {
    let path = dir.join(file);
    fs::write(&path, value.to_string()).map_err(at(&path))
}

/// Applies resource limits; zero or empty leaves a limit as it is.
pub fn apply(dirs: &Dirs, resources: &LinuxContainerResources) -> Result<(), CgroupError> {
    match dirs.get("") {
        Some(dir) => apply_unified(dir, resources),
        None => apply_v1(dirs, resources),
    }
}

fn apply_v1(dirs: &Dirs, r: &LinuxContainerResources) -> Result<(), CgroupError> {
    if let Some(cpu) = controller(dirs, "cpu") {
        if r.cpu_shares > 0 {
            set(cpu, "cpu.shares", r.cpu_shares.clamp(2, 262_144))?;
        }
        if r.cpu_period > 0 {
            set(cpu, "cpu.cfs_period_us", r.cpu_period)?;
        }
        if r.cpu_quota != 0 {
            set(cpu, "cpu.cfs_quota_us", r.cpu_quota)?;
        }
    }
    if let (Some(memory), true) = (controller(dirs, "memory"), r.memory_limit_in_bytes != 0) {
        let limit = r.memory_limit_in_bytes;
        let swap = if r.memory_swap_limit_in_bytes > 0 { r.memory_swap_limit_in_bytes } else { limit };
        // Where swap is accounted its limit can never be below the memory limit: the order depends
        // on whether the limits grow or shrink.
        let accounted = memory.join("memory.memsw.limit_in_bytes").exists();
        if set(memory, "memory.limit_in_bytes", limit).is_err() && accounted {
            set(memory, "memory.memsw.limit_in_bytes", swap)?;
            set(memory, "memory.limit_in_bytes", limit)?;
        } else if accounted {
            set(memory, "memory.memsw.limit_in_bytes", swap)?;
        } else {
            set(memory, "memory.limit_in_bytes", limit)?;
        }
    }
    if let Some(cpuset) = controller(dirs, "cpuset") {
        if !r.cpuset_cpus.is_empty() {
            set(cpuset, "cpuset.cpus", &r.cpuset_cpus)?;
        }
        if !r.cpuset_mems.is_empty() {
            set(cpuset, "cpuset.mems", &r.cpuset_mems)?;
        }
    }
    Ok(())
}

fn apply_unified(dir: &Path, r: &LinuxContainerResources) -> Result<(), CgroupError> {
    if r.cpu_shares > 0 {
        set(dir, "cpu.weight", weight(r.cpu_shares))?;
    }
    if r.cpu_quota != 0 {
        let period = if r.cpu_period > 0 { r.cpu_period } else { 100_000 };
        let quota = if r.cpu_quota > 0 { r.cpu_quota.to_string() } else { "max".to_owned() };
        set(dir, "cpu.max", format_args!("{quota} {period}"))?;
    }
    if r.memory_limit_in_bytes > 0 {
        set(dir, "memory.max", r.memory_limit_in_bytes)?;
        let swap = (r.memory_swap_limit_in_bytes - r.memory_limit_in_bytes).max(0);
        if dir.join("memory.swap.max").exists() {
            set(dir, "memory.swap.max", swap)?;
        }
    }
    if !r.cpuset_cpus.is_empty() {
        set(dir, "cpuset.cpus", &r.cpuset_cpus)?;
    }
    if !r.cpuset_mems.is_empty() {
        set(dir, "cpuset.mems", &r.cpuset_mems)?;
    }
    r.unified.iter().try_for_each(|(file, value)| set(dir, file, value))
}

/// The unified hierarchy's weight for version 1's shares, by the conversion all runtimes use.
fn weight(shares: i64) -> i64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9999) / 262_142
}

/// A device: `c` or `b`, major and minor number.
pub type Device = (char, u64, u64);

/// Allows only the usual devices and those given (`major:minor`), on version 1. The unified hierarchy
/// has no such file; there the capability to make device nodes is withheld instead.
pub fn restrict_devices(dirs: &Dirs, extra: &[Device]) -> Result<(), CgroupError> {
    let Some(dir) = controller(dirs, "devices") else { return Ok(()) };
    set(dir, "devices.deny", "a")?;
    for rule in ["c *:* m", "b *:* m", "c 136:* rwm", "c 5:2 rwm", "c 10:200 rwm"] {
        set(dir, "devices.allow", rule)?;
    }
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1)] {
        set(dir, "devices.allow", format_args!("c {major}:{minor} rwm"))?;
    }
    for (kind, major, minor) in extra {
        set(dir, "devices.allow", format_args!("{kind} {major}:{minor} rwm"))?;
    }
    Ok(())
}

fn memory_dir(dirs: &Dirs) -> Option<&PathBuf> {
    dirs.get("").or_else(|| controller(dirs, "memory"))
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// How many processes of the group the kernel has killed for memory.
pub fn oom_kills(dirs: &Dirs) -> u64 {
    let Some(dir) = memory_dir(dirs) else { return 0 };
    let file = if dirs.contains_key("") { "memory.events" } else { "memory.oom_control" };
    fs::read_to_string(dir.join(file)).ok().and_then(|text| keyed(&text, "oom_kill ")).unwrap_or(0)
}

/// Pids in the group.
pub fn processes(dirs: &Dirs) -> Vec<i32> {
    let dir = dirs.get("").or_else(|| controller(dirs, "pids")).or_else(|| memory_dir(dirs));
    let text = dir.and_then(|d| fs::read_to_string(d.join("cgroup.procs")).ok()).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills every process of the group.
pub fn kill_all(dirs: &Dirs) {
    if let Some(dir) = dirs.get("")
        && fs::write(dir.join("cgroup.kill"), "1").is_ok()
    {
        return;
    }
    // Again until nothing is left, because a process may fork between the two calls.
    for _ in 0..64 {
        let pids = processes(dirs);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::yield_now();
    }
}

/// Usage of a group now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time used so far, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory charged, in bytes.
    pub memory: u64,
    /// Memory that cannot simply be taken back, in bytes.
    pub working_set: u64,
    /// Anonymous memory, in bytes.
    pub rss: u64,
    /// Page faults so far.
    pub page_faults: u64,
    /// Page faults that needed a disk.
    pub major_page_faults: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// Reads a group's usage; what cannot be read is zero.
pub fn usage(dirs: &Dirs) -> Usage {
    let read = |dir: Option<&PathBuf>, file: &str| {
        dir.and_then(|d| fs::read_to_string(d.join(file)).ok()).unwrap_or_default()
    };
    let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
    if let Some(dir) = dirs.get("") {
        let stat = read(Some(dir), "memory.stat");
        let memory = number(read(Some(dir), "memory.current"));
        let field = |key| keyed(&stat, key).unwrap_or(0);
        return Usage {
            cpu_nanos: keyed(&read(Some(dir), "cpu.stat"), "usage_usec ").unwrap_or(0) * 1000,
            memory,
            working_set: memory.saturating_sub(field("inactive_file ")),
            rss: field("anon "),
            page_faults: field("pgfault "),
            major_page_faults: field("pgmajfault "),
            pids: number(read(Some(dir), "pids.current")),
        };
    }
    let stat = read(controller(dirs, "memory"), "memory.stat");
    let memory = number(read(controller(dirs, "memory"), "memory.usage_in_bytes"));
    let field = |key| keyed(&stat, key).unwrap_or(0);
    Usage {
        cpu_nanos: number(read(controller(dirs, "cpuacct"), "cpuacct.usage")),
        memory,
        working_set: memory.saturating_sub(field("total_inactive_file ")),
        rss: field("total_rss "),
        page_faults: field("total_pgfault "),
        major_page_faults: field("total_pgmajfault "),
        pids: number(read(controller(dirs, "pids"), "pids.current")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found() {
        let hybrid = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(hybrid);
        assert!(!found.is_unified());
        let dirs = found.dirs("/kubepods/a");
        assert_eq!(dirs["cpu,cpuacct"], Path::new("/sys/fs/cgroup/cpu,cpuacct/kubepods/a"));
        assert_eq!(controller(&dirs, "cpuacct"), Some(&dirs["cpu,cpuacct"]));
        let unified = "31 30 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(Hierarchies::parse(unified).is_unified());
    }

    #[test]
    fn weights_convert() {
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
    }
}
