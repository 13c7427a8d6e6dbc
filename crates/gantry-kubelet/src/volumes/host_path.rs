//! hostPath volumes: checks of the path's type.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks, and for the `OrCreate` types makes, the path.
pub fn set_up(volume: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&volume.path);
    let text = |e: io::Error| e.to_string();
    let meta = fs::metadata(path).ok();
    let fails = |kind: &str| Err(format!("hostPath type check failed: {} is not {kind}", volume.path));
    match volume.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => match meta {
            None => {
                fs::create_dir_all(path).map_err(text)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(text)
            }
            Some(m) if m.is_dir() => Ok(()),
            Some(_) => fails("a directory"),
        },
        "FileOrCreate" => match meta {
            None => fs::File::create(path).map(drop).map_err(text),
            Some(m) if m.is_file() => Ok(()),
            Some(_) => fails("a file"),
        },
        "Directory" if !meta.as_ref().is_some_and(|m| m.is_dir()) => fails("a directory"),
        "File" if !meta.as_ref().is_some_and(|m| m.is_file()) => fails("a file"),
        "Socket" if !meta.as_ref().is_some_and(|m| m.file_type().is_socket()) => fails("a socket file"),
        "CharDevice" if !meta.as_ref().is_some_and(|m| m.file_type().is_char_device()) => {
            fails("a character device")
        }
        "BlockDevice" if !meta.as_ref().is_some_and(|m| m.file_type().is_block_device()) => {
            fails("a block device")
        }
        _ => Ok(()),
    }
}
