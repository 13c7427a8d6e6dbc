//! Replaces a directory's files all at once: readers see the old set or the new one, never a mixture.
//!
//! Files live in a hidden directory of their own; `..data` is a symbolic link to it that is replaced
//! by rename; each visible name is a link through `..data`.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path},
};

use super::{File, Payload, give_to_group};

const DATA: &str = "..data";
const DATA_TMP: &str = "..data_tmp";

fn check(path: &str) -> io::Result<()> {
    let ok = !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if ok {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?}")))
    }
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

fn files_below(dir: &Path, prefix: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.insert(name);
        }
    }
    Ok(())
}

/// What is on disk equals `payload`.
fn is_current(dir: &Path, payload: &Payload) -> bool {
    let data = dir.join(DATA);
    let mut found = BTreeSet::new();
    if files_below(&data, "", &mut found).is_err() || !found.iter().eq(payload.keys()) {
        return false;
    }
    payload.iter().all(|(path, file)| fs::read(data.join(path)).is_ok_and(|d| d == file.data))
}

fn write_file(root: &Path, path: &str, file: &File) -> io::Result<()> {
    let target = root.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&target, &file.data)?;
    if file.owner.is_some() {
        std::os::unix::fs::chown(&target, file.owner, None)?;
    }
    fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))
}

/// Makes `dir` hold exactly `payload`. Nothing changes when it does already.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    for path in payload.keys() {
        check(path)?;
    }
    fs::create_dir_all(dir)?;
    if is_current(dir, payload) {
        return Ok(());
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    let old = fs::read_link(dir.join(DATA)).ok();
    let name = (0u32..)
        .map(|n| format!("..{}_{n}", jiff::Timestamp::now().as_nanosecond()))
        .find(|n| !dir.join(n).exists())
        .unwrap_or_default();
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        write_file(&fresh, path, file)?;
    }
    if let Some(group) = group {
        std::os::unix::fs::lchown(dir, None, Some(group))?;
        give_to_group(&fresh, group, false)?;
    }
    let _ = fs::remove_file(dir.join(DATA_TMP));
    symlink(&name, dir.join(DATA_TMP))?;
    fs::rename(dir.join(DATA_TMP), dir.join(DATA))?;

    let visible: BTreeSet<&str> = payload.keys().map(|p| first(p)).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let entry_name = entry.file_name().to_string_lossy().into_owned();
        if !entry_name.starts_with("..") && !visible.contains(entry_name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(())
}
