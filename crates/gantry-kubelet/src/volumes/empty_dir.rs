//! emptyDir volumes, on disk or in memory.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use nix::mount::{MntFlags, MsFlags};

use crate::quantity;

fn is_mount_point(path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(path);
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

/// Makes the directory, once.
pub fn set_up(dir: &Path, volume: &EmptyDirVolumeSource, group: Option<u32>) -> io::Result<()> {
    let memory = volume.medium.as_deref() == Some("Memory");
    if dir.exists() && (!memory || is_mount_point(dir)?) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    if memory {
        let size = volume.size_limit.as_ref().map(quantity::value).filter(|s| *s > 0);
        let options = size.map_or("mode=0777".to_string(), |s| format!("mode=0777,size={s}"));
        nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    match group {
        Some(group) => super::give_to_group(dir, group),
        None => Ok(()),
    }
}

/// Unmounts what is mounted directly below `dir`.
pub fn unmount_all(dir: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if is_mount_point(&path)? {
            nix::mount::umount2(&path, MntFlags::MNT_DETACH)?;
        }
    }
    Ok(())
}
