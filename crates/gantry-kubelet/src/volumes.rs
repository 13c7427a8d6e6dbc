//! A pod's volumes on the node: one module per kind.

pub mod atomic_writer;
mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod memory;
mod projected;
mod secret;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};

use crate::{env::Objects, field_ref::NodeFacts, pod, resources};

/// Files of a volume by path relative to its root.
pub type Payload = BTreeMap<String, File>;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Contents.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// The user it belongs to, where that is not root.
    pub owner: Option<u32>,
}

/// Service-account tokens by audience and lifetime in seconds, fetched beforehand.
pub type Tokens = BTreeMap<(String, i64), String>;

/// What volumes are made from.
pub struct Source<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The pod's own directory on the node.
    pub pod_dir: &'a Path,
    /// ConfigMaps and Secrets of the namespace.
    pub objects: &'a Objects,
    /// Node and pod addresses and sizes.
    pub facts: &'a NodeFacts,
    /// Tokens.
    pub tokens: &'a Tokens,
}

/// Token lifetime that applies when a projection names none, in seconds.
pub const DEFAULT_TOKEN_SECONDS: i64 = 3600;

fn plugin(volume: &Volume) -> Option<&'static str> {
    Some(if volume.empty_dir.is_some() {
        "kubernetes.io~empty-dir"
    } else if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.projected.is_some() {
        "kubernetes.io~projected"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        return None;
    })
}

/// The host path of a volume once it is set up.
pub fn path(pod_dir: &Path, volume: &Volume) -> Option<PathBuf> {
    match (&volume.host_path, plugin(volume)) {
        (Some(source), _) => Some(PathBuf::from(&source.path)),
        (None, Some(plugin)) => Some(pod_dir.join("volumes").join(plugin).join(&volume.name)),
        (None, None) => None,
    }
}

/// Makes or refreshes a volume. Idempotent; an error is the text of the FailedMount event.
pub fn set_up(source: &Source<'_>, volume: &Volume) -> Result<(), String> {
    let failed = |e: String| format!("MountVolume.SetUp failed for volume {:?} : {e}", volume.name);
    if let Some(host_path) = &volume.host_path {
        return host_path::set_up(host_path).map_err(failed);
    }
    if volume.image.is_some() {
        // The runtime mounts it from its own store.
        return Ok(());
    }
    let Some(dir) = path(source.pod_dir, volume) else {
        return Err(failed("no volume plugin matched".into()));
    };
    let payload = if let Some(v) = &volume.config_map {
        config_map::payload(source.objects, &v.name, &v.items, v.default_mode, v.optional)
    } else if let Some(v) = &volume.secret {
        let name = v.secret_name.as_deref().unwrap_or_default();
        secret::payload(source.objects, name, &v.items, v.default_mode, v.optional)
    } else if let Some(v) = &volume.downward_api {
        downward_api::payload(source, v.items.as_deref().unwrap_or_default(), v.default_mode)
    } else if let Some(v) = &volume.projected {
        projected::payload(source, v)
    } else if let Some(v) = &volume.empty_dir {
        let limit = resources::limit(source.pod, "memory").unwrap_or(0);
        let memory = [limit, source.facts.allocatable_memory];
        return empty_dir::set_up(&dir, v, fs_group(source.pod), memory).map_err(|e| failed(e.to_string()));
    } else {
        return Err(failed("no volume plugin matched".into()));
    };
    let payload = payload.map_err(failed)?;
    let written = || -> io::Result<()> {
        if volume.config_map.is_none() {
            // Secrets and tokens never reach the disk.
            memory::mount(&dir, None)?;
        }
        atomic_writer::write(&dir, &payload, fs_group(source.pod))
    };
    written().map_err(|e| failed(e.to_string()))
}

/// Unmounts and removes everything under the pod's directory.
pub fn tear_down(pod_dir: &Path) -> io::Result<()> {
    memory::unmount_below(&pod_dir.join("volumes"))?;
    match fs::remove_dir_all(pod_dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// The group that owns the pod's volumes.
fn fs_group(pod: &Pod) -> Option<u32> {
    pod::spec(pod).security_context.as_ref().and_then(|s| s.fs_group).and_then(|g| u32::try_from(g).ok())
}

/// The one user that all of the pod's containers run as, if there is one.
fn fs_user(pod: &Pod) -> Option<u32> {
    let common = pod::spec(pod).security_context.as_ref().and_then(|s| s.run_as_user);
    let containers = pod::init_containers(pod).iter().chain(&pod::spec(pod).containers);
    let mut users = containers.map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(common));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

/// Gives a tree to the group: it may read, also write where it is `writable`; directories are set-gid.
fn give_to_group(path: &Path, group: u32, writable: bool) -> io::Result<()> {
    std::os::unix::fs::lchown(path, None, Some(group))?;
    let meta = fs::symlink_metadata(path)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let bits = match (meta.is_dir(), writable) {
        (true, true) => 0o2770,
        (true, false) => 0o2550,
        (false, true) => 0o660,
        (false, false) => 0o440,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(meta.mode() & 0o7777 | bits))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_group(&entry?.path(), group, writable)?;
        }
    }
    Ok(())
}

/// Picks the keys of an object: all of them, or those that `items` name. `missing` is what an error says before
/// the key.
fn pick(
    data: &BTreeMap<String, Vec<u8>>,
    items: &Option<Vec<KeyToPath>>,
    default_mode: Option<i32>,
    optional: bool,
    missing: &str,
) -> Result<Payload, String> {
    let mode = |m: Option<i32>| m.or(default_mode).unwrap_or(0o644) as u32 & 0o7777;
    let Some(items) = items.as_ref().filter(|i| !i.is_empty()) else {
        return Ok(data
            .iter()
            .map(|(k, v)| (k.clone(), File { data: v.clone(), mode: mode(None), owner: None }))
            .collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                let file = File { data: value.clone(), mode: mode(item.mode), owner: None };
                payload.insert(item.path.clone(), file);
            }
            None if optional => {}
            None => return Err(format!("{missing}: {}", item.key)),
        }
    }
    Ok(payload)
}

#[cfg(test)]
mod tests;
