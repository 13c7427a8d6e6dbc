//! emptyDir volumes, on disk or in memory.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::memory;
use crate::quantity;

/// Makes the directory, once. `memory`: how much the pod and the node have, in bytes, which bounds what
/// is kept in memory.
pub fn set_up(
    dir: &Path,
    volume: &EmptyDirVolumeSource,
    group: Option<u32>,
    memory: [i64; 2],
) -> io::Result<()> {
    let fresh = if volume.medium.as_deref() == Some("Memory") {
        let asked = volume.size_limit.as_ref().map(quantity::value);
        let size = asked.into_iter().chain(memory).filter(|size| *size > 0).min();
        memory::mount(dir, size)?
    } else {
        let fresh = !dir.exists();
        fs::create_dir_all(dir)?;
        fresh
    };
    if !fresh {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    match group {
        Some(group) => super::give_to_group(dir, group, true),
        None => Ok(()),
    }
}
