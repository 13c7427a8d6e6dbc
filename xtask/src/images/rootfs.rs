//! A root file system in memory of the builder: a temporary directory that becomes one layer.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use sha2::Digest;

use super::output;

/// A root file system being built.
pub struct Rootfs {
    dir: tempfile::TempDir,
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/sh\n\
    redis:x:101:101:redis:/var/lib/redis:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\ntty:x:5:\nwww-data:x:33:\nredis:x:101:\nnogroup:x:65534:\nnobody:x:65534:\n";

impl Rootfs {
    /// The directories and accounts every image has, and a shell.
    pub fn base(busybox: &Path) -> Result<Self> {
        let rootfs = Self { dir: tempfile::tempdir()? };
        for dir in
            ["bin", "dev", "etc", "home", "proc", "root", "run", "sys", "usr/bin", "usr/sbin", "var/log"]
        {
            rootfs.directory(dir, 0o755)?;
        }
        for dir in ["tmp", "var/tmp"] {
            rootfs.directory(dir, 0o1777)?;
        }
        let root = rootfs.dir.path();
        fs::write(root.join("etc/passwd"), PASSWD)?;
        fs::write(root.join("etc/group"), GROUP)?;
        fs::write(root.join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
        fs::copy(busybox, root.join("bin/busybox"))?;
        let applets = output(&busybox.display().to_string(), &["--list"], None)?;
        for applet in applets.lines().filter(|a| !a.is_empty() && *a != "busybox") {
            symlink("/bin/busybox", root.join("bin").join(applet))?;
        }
        Ok(rootfs)
    }

    /// Makes a directory.
    pub fn directory(&self, path: &str, mode: u32) -> Result<()> {
        let dir = self.dir.path().join(path);
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
        Ok(())
    }

    /// Writes a file.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().context("no parent")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Copies a directory of a package tree.
    pub fn copy_tree(&mut self, tree: &Path, path: &str) -> Result<()> {
        let (from, to) = (tree.join(path), self.dir.path().join(path));
        fs::create_dir_all(to.parent().context("no parent")?)?;
        let (from, to) = (from.display().to_string(), to.display().to_string());
        output("cp", &["-a", &from, &to], None).map(drop)
    }

    /// Copies a program of a package tree with the libraries it needs.
    pub fn program(&mut self, tree: &Path, path: &str) -> Result<()> {
        self.program_as(&tree.join(path), path, &library_dirs(tree)?)
    }

    /// Copies a program to `path`, with the libraries it needs from `libraries` or this machine.
    pub fn program_as(&mut self, from: &Path, path: &str, libraries: &[PathBuf]) -> Result<()> {
        let to = self.dir.path().join(path);
        fs::create_dir_all(to.parent().context("no parent")?)?;
        // Follows links: the content is what counts.
        fs::copy(from, &to).with_context(|| format!("copy {}", from.display()))?;
        let search = std::env::join_paths(libraries)?;
        let listing =
            Command::new("ldd").arg(from).env("LD_LIBRARY_PATH", search).output().context("run ldd")?;
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        for library in needed(&listing)? {
            let name = library.file_name().context("library has no name")?;
            // The loader is where programs say, the rest where the loader looks.
            let to = if name.to_string_lossy().starts_with("ld-linux") {
                self.dir.path().join(library.strip_prefix("/")?)
            } else {
                self.dir.path().join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)).join(name)
            };
            fs::create_dir_all(to.parent().context("no parent")?)?;
            fs::copy(&library, &to).with_context(|| format!("copy {}", library.display()))?;
        }
        Ok(())
    }

    /// Writes the image to `path`.
    pub fn archive(self, path: &Path, tag: &str, config: &gantry_json::Value) -> Result<()> {
        let mut layer = tar::Builder::new(Vec::new());
        layer.follow_symlinks(false);
        layer.mode(tar::HeaderMode::Complete);
        append(&mut layer, self.dir.path(), Path::new(""))?;
        let layer = layer.into_inner()?;
        let config = gantry_json::to_vec(&gantry_json::json!({
            "architecture": if std::env::consts::ARCH == "aarch64" { "arm64" } else { "amd64" },
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
            "history": [{"created_by": "xtask images"}],
        }))?;
        let config_name = format!("{}.json", hex(&config));
        let manifest = gantry_json::to_vec(&gantry_json::json!([{
            "Config": config_name,
            "RepoTags": [tag],
            "Layers": ["layer.tar"],
        }]))?;
        let partial = path.with_extension("partial");
        let mut out = tar::Builder::new(fs::File::create(&partial)?);
        for (name, bytes) in
            [("manifest.json", &manifest), (config_name.as_str(), &config), ("layer.tar", &layer)]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            out.append_data(&mut header, name, bytes.as_slice())?;
        }
        out.into_inner()?.sync_all()?;
        fs::rename(partial, path)?;
        Ok(())
    }
}

/// Adds a directory's entries in order of name, owned by root and without times, so that equal content
/// makes equal layers.
fn append(layer: &mut tar::Builder<Vec<u8>>, root: &Path, relative: &Path) -> Result<()> {
    let names: BTreeSet<_> =
        fs::read_dir(root.join(relative))?.map(|e| e.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    for name in names {
        let relative = relative.join(name);
        let path = root.join(&relative);
        let meta = fs::symlink_metadata(&path)?;
        let mut header = tar::Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_mode(meta.permissions().mode() & 0o7777);
        header.set_size(0);
        if meta.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            layer.append_data(&mut header, &relative, std::io::empty())?;
            append(layer, root, &relative)?;
        } else if meta.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            layer.append_link(&mut header, &relative, fs::read_link(&path)?)?;
        } else {
            header.set_size(meta.len());
            layer.append_data(&mut header, &relative, fs::File::open(&path)?)?;
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn library_dirs(tree: &Path) -> Result<Vec<PathBuf>> {
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let dirs = ["lib", "usr/lib"].map(|dir| tree.join(dir).join(&triple));
    Ok(dirs.into_iter().filter(|dir| dir.is_dir()).collect())
}

/// Files that a listing of `ldd` names.
fn needed(listing: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in listing.lines().map(str::trim) {
        ensure!(!line.ends_with("not found"), "library missing: {line}");
        let target = line.split_once("=>").map_or(line, |(_, target)| target).trim();
        let path = target.split(' ').next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_listing() {
        let listing = "\tlinux-vdso.so.1 (0x7)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7)\n\t/lib64/ld-linux-x86-64.so.2 (0x7)\n";
        let paths = [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld-linux-x86-64.so.2")];
        assert_eq!(needed(listing).unwrap(), paths);
        assert!(needed("libq.so => not found").is_err());
        assert!(needed("\tstatically linked\n").unwrap().is_empty());
    }
}
