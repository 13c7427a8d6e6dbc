//! Resource usage of containers and sandboxes, from their cgroups.

use std::fs;

use gantry_cri::v1::*;

use crate::{
    cgroup::{self, Usage},
    container::Container,
    image::tree_size,
    runtime::Inner,
    sandbox::Sandbox,
    state::{Phase, now},
};

fn value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

impl Inner {
    /// A container's usage.
    pub fn container_stats(&self, container: &Container) -> ContainerStats {
        let timestamp = now();
        let running = container.state.lock().phase == Phase::Running;
        let usage = if running {
            cgroup::usage(&self.hierarchies.dirs(&container.record.cgroup))
        } else {
            Usage::default()
        };
        let upper = container.dir().join("upper");
        ContainerStats {
            attributes: Some(ContainerAttributes {
                id: container.record.id.clone(),
                metadata: container.config.metadata.clone(),
                labels: container.config.labels.clone(),
                annotations: container.config.annotations.clone(),
            }),
            cpu: running.then(|| self.cpu(&container.record.id, timestamp, usage)),
            memory: running.then(|| memory(timestamp, usage)),
            writable_layer: Some(FilesystemUsage {
                timestamp,
                fs_id: Some(FilesystemIdentifier { mountpoint: self.config.root.display().to_string() }),
                used_bytes: value(tree_size(&upper)),
                inodes_used: value(count_files(&upper)),
            }),
            swap: None,
        }
    }

    fn cpu(&self, id: &str, timestamp: i64, usage: Usage) -> CpuUsage {
        let mut samples = self.cpu_samples.lock();
        let before = samples.insert(id.to_owned(), (timestamp, usage.cpu_nanos));
        let nano_cores = before.filter(|(then, _)| timestamp > *then).map(|(then, cpu)| {
            let used = u128::from(usage.cpu_nanos.saturating_sub(cpu));
            (used * 1_000_000_000 / (timestamp - then) as u128) as u64
        });
        CpuUsage {
            timestamp,
            usage_core_nano_seconds: value(usage.cpu_nanos),
            usage_nano_cores: nano_cores.and_then(value),
        }
    }

    /// A sandbox's usage: its containers and its network.
    pub fn sandbox_stats(&self, sandbox: &Sandbox) -> PodSandboxStats {
        let timestamp = now();
        let containers = self.containers_of(&sandbox.id);
        let mut total = Usage::default();
        for container in &containers {
            let usage = cgroup::usage(&self.hierarchies.dirs(&container.record.cgroup));
            total.cpu_nanos += usage.cpu_nanos;
            total.memory += usage.memory;
            total.working_set += usage.working_set;
            total.rss += usage.rss;
            total.page_faults += usage.page_faults;
            total.major_page_faults += usage.major_page_faults;
            total.pids += usage.pids;
        }
        let pid = containers
            .iter()
            .map(|c| c.state.lock().clone())
            .find(|s| s.phase == Phase::Running)
            .map(|s| s.pid);
        PodSandboxStats {
            attributes: Some(PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(LinuxPodSandboxStats {
                cpu: Some(self.cpu(&sandbox.id, timestamp, total)),
                memory: Some(memory(timestamp, total)),
                network: pid.filter(|_| sandbox.has_network()).map(|pid| network(timestamp, pid)),
                process: Some(ProcessUsage { timestamp, process_count: value(total.pids) }),
                containers: containers.iter().map(|c| self.container_stats(c)).collect(),
            }),
        }
    }

    /// Usage of the file system that images are on.
    pub fn image_usage(&self) -> FilesystemUsage {
        let bytes = self.images.list().iter().map(|image| image.size).sum();
        FilesystemUsage {
            timestamp: now(),
            fs_id: Some(FilesystemIdentifier { mountpoint: self.images.root().display().to_string() }),
            used_bytes: value(bytes),
            inodes_used: value(0),
        }
    }
}

fn memory(timestamp: i64, usage: Usage) -> MemoryUsage {
    MemoryUsage {
        timestamp,
        working_set_bytes: value(usage.working_set),
        available_bytes: None,
        usage_bytes: value(usage.memory),
        rss_bytes: value(usage.rss),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
    }
}

fn count_files(dir: &std::path::Path) -> u64 {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            1 + if entry.file_type().is_ok_and(|t| t.is_dir()) { count_files(&entry.path()) } else { 0 }
        })
        .sum()
}

fn network(timestamp: i64, pid: i32) -> NetworkUsage {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let interfaces = interfaces(&text);
    NetworkUsage {
        timestamp,
        default_interface: interfaces.iter().find(|i| i.name == "eth0").cloned(),
        interfaces,
    }
}

fn interfaces(text: &str) -> Vec<NetworkInterfaceUsage> {
    text.lines()
        .filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters.split_whitespace().filter_map(|c| c.parse().ok()).collect();
            (name.trim() != "lo" && counters.len() >= 16).then(|| NetworkInterfaceUsage {
                name: name.trim().to_owned(),
                rx_bytes: value(counters[0]),
                rx_errors: value(counters[2]),
                tx_bytes: value(counters[8]),
                tx_errors: value(counters[10]),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_counters() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n\
            \x20 eth0: 10 2 1 0 0 0 0 0 20 3 4 0 0 0 0 0\n";
        let found = interfaces(text);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].name[..], found[0].rx_bytes.clone(), found[0].tx_errors.clone()),
            ("eth0", value(10), value(4))
        );
    }
}
