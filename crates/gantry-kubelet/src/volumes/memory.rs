//! Volumes in memory.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use nix::mount::{MntFlags, MsFlags};

fn is_mount_point(path: &Path) -> io::Result<bool> {
    let parent = path.parent().unwrap_or(path);
    Ok(fs::metadata(path)?.dev() != fs::metadata(parent)?.dev())
}

/// Mounts memory of at most `size` bytes on a directory, which is made; false when that was done before.
pub fn mount(dir: &Path, size: Option<i64>) -> io::Result<bool> {
    fs::create_dir_all(dir)?;
    if is_mount_point(dir)? {
        return Ok(false);
    }
    let options = size.map_or("mode=0777".to_string(), |s| format!("mode=0777,size={s}"));
    nix::mount::mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(true)
}

/// Unmounts the volumes of all plugins: `DIR/PLUGIN/VOLUME`.
pub fn unmount_below(dir: &Path) -> io::Result<()> {
    for plugin in fs::read_dir(dir).into_iter().flatten() {
        for volume in fs::read_dir(plugin?.path())? {
            let path = volume?.path();
            if is_mount_point(&path)? {
                nix::mount::umount2(&path, MntFlags::MNT_DETACH)?;
            }
        }
    }
    Ok(())
}
