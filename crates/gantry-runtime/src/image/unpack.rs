//! Unpacks one layer, in a process of its own that has made the target its root, so that no path or
//! link in the archive can lead outside it. Whiteouts become overlayfs's.

use std::{
    ffi::OsStr,
    fs, io,
    io::{BufRead, Read},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Component, Path, PathBuf},
};

use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, umask, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchownat, mkfifo},
};
use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::sys;

/// What was unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unpacked {
    /// Digest of the uncompressed archive.
    pub diff_id: String,
    /// Bytes in files.
    pub size: u64,
}

/// Unpacks standard input (plain, gzip or zstd) to the directory `args[0]`; prints what it unpacked.
pub fn main(args: &[String]) -> ! {
    let result = match args {
        [dir] => unpack_to(Path::new(dir)),
        _ => Err(io::Error::other("usage: unpack DIRECTORY")),
    };
    match result.and_then(|done| Ok(gantry_json::to_string(&done)?)) {
        Ok(text) => {
            println!("{text}");
            std::process::exit(0)
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1)
        }
    }
}

fn unpack_to(dir: &Path) -> io::Result<Unpacked> {
    nix::unistd::chroot(dir)?;
    std::env::set_current_dir("/")?;
    umask(Mode::empty());
    unpack(decompressed(io::BufReader::with_capacity(1 << 17, io::stdin().lock()))?)
}

/// Undoes gzip or zstd compression, told by the first bytes.
pub fn decompressed<'a>(mut input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let start = input.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(input))
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(input)?)
    } else {
        Box::new(input)
    })
}

/// Hashes what passes through.
struct Hashing<R> {
    inner: R,
    hash: sha2::Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}

fn unpack(input: impl Read) -> io::Result<Unpacked> {
    let hashing = Hashing { inner: input, hash: sha2::Sha256::new() };
    let mut archive = tar::Archive::new(hashing);
    let mut size = 0;
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        size += entry_to_disk(&mut entry, &name, &mut directories)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", name.display())))?;
    }
    // Last, because what is made in a directory changes its time.
    for (path, time) in directories.into_iter().rev() {
        set_time(&path, time)?;
    }
    let mut hashing = archive.into_inner();
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(Unpacked { diff_id: super::digest_text(&hashing.hash.finalize()), size })
}

/// The path under the new root; `None` for the root itself.
fn inside(name: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = PathBuf::from("/");
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => return Err(io::Error::other("path leads outside the layer")),
            _ => {}
        }
    }
    Ok((path != Path::new("/")).then_some(path))
}

fn entry_to_disk(
    entry: &mut tar::Entry<'_, impl Read>,
    name: &Path,
    directories: &mut Vec<(PathBuf, u64)>,
) -> io::Result<u64> {
    let header = entry.header().clone();
    let kind = header.entry_type();
    if kind.is_pax_global_extensions() {
        return Ok(0);
    }
    let (uid, gid) = (header.uid()? as u32, header.gid()? as u32);
    let (mode, time) = (header.mode()? & 0o7777, header.mtime()?);
    let Some(path) = inside(name)? else {
        nix::unistd::chown("/", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        set_mode(Path::new("/"), mode)?;
        return Ok(0);
    };
    let base = path.file_name().unwrap_or_default().as_bytes().to_owned();
    let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
    fs::create_dir_all(&parent)?;
    if base == b".wh..wh..opq" {
        sys::set_xattr(&parent, "trusted.overlay.opaque", b"y")?;
        return Ok(0);
    }
    if let Some(hidden) = base.strip_prefix(b".wh.") {
        let target = parent.join(OsStr::from_bytes(hidden));
        clear(&target)?;
        mknod(&target, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))?;
        return Ok(0);
    }
    let exists = fs::symlink_metadata(&path).ok();
    if !(kind.is_dir() && exists.as_ref().is_some_and(|m| m.is_dir())) && exists.is_some() {
        clear(&path)?;
    }
    let bits = Mode::from_bits_truncate(mode);
    let device = || -> io::Result<u64> {
        let (major, minor) = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
        Ok(makedev(u64::from(major), u64::from(minor)))
    };
    let link_name =
        || entry.link_name_bytes().map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes))).unwrap_or_default();
    let mut size = 0;
    match kind {
        tar::EntryType::Directory => {
            if exists.is_none_or(|m| !m.is_dir()) {
                fs::create_dir(&path)?;
            }
            directories.push((path.clone(), time));
        }
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            let mut file = fs::File::options().write(true).create_new(true).open(&path)?;
            size = io::copy(entry, &mut file)?;
        }
        tar::EntryType::Link => {
            let target = inside(&link_name())?.ok_or_else(|| io::Error::other("link to the root"))?;
            fs::hard_link(target, &path)?;
            // Owner, mode and time are the target's.
            return Ok(0);
        }
        tar::EntryType::Symlink => symlink(link_name(), &path)?,
        tar::EntryType::Fifo => mkfifo(&path, bits)?,
        tar::EntryType::Char => mknod(&path, SFlag::S_IFCHR, bits, device()?)?,
        tar::EntryType::Block => mknod(&path, SFlag::S_IFBLK, bits, device()?)?,
        other => return Err(io::Error::other(format!("unknown entry type {other:?}"))),
    }
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(AT_FDCWD, &path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), flags)?;
    if kind != tar::EntryType::Symlink {
        set_mode(&path, mode)?;
    }
    let mut attributes = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions.flatten() {
            if let Ok(key) = extension.key()
                && let Some(attribute) = key.strip_prefix("SCHILY.xattr.")
            {
                attributes.push((attribute.to_owned(), extension.value_bytes().to_owned()));
            }
        }
    }
    for (attribute, value) in attributes {
        // An archive must not speak to overlayfs.
        if !attribute.starts_with("trusted.overlay.") {
            match sys::set_xattr(&path, &attribute, &value) {
                Err(error) if error.raw_os_error() != Some(libc::EOPNOTSUPP) => return Err(error),
                _ => {}
            }
        }
    }
    if kind != tar::EntryType::Directory {
        set_time(&path, time)?;
    }
    Ok(size)
}

fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn set_time(path: &Path, seconds: u64) -> io::Result<()> {
    let time = TimeSpec::new(seconds as i64, 0);
    Ok(utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(inside(Path::new("./a/b")).unwrap(), Some(PathBuf::from("/a/b")));
        assert_eq!(inside(Path::new("/a")).unwrap(), Some(PathBuf::from("/a")));
        assert_eq!(inside(Path::new("./")).unwrap(), None);
        assert!(inside(Path::new("a/../../b")).is_err());
    }

    #[test]
    fn compression_is_told_by_its_first_bytes() {
        let text = b"some bytes, not compressed".to_vec();
        let zipped = zstd::encode_all(text.as_slice(), 1).unwrap();
        let mut gzipped = Vec::new();
        flate2::read::GzEncoder::new(text.as_slice(), flate2::Compression::fast())
            .read_to_end(&mut gzipped)
            .unwrap();
        for input in [text.clone(), zipped, gzipped] {
            let mut out = Vec::new();
            decompressed(input.as_slice()).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, text);
        }
    }
}
