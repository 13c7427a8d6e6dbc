//! Builds a container's root file system inside its own mount namespace, so that nothing of it is ever
//! mounted on the host and everything is gone with the container.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, SFlag, makedev, mkdirat, mknod, umask},
    unistd::{Gid, Uid, fchown, fchownat, pivot_root},
};

use crate::{spec::*, sys};

const NONE: Option<&str> = None;

fn failed(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    let what = what.to_string();
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn mount_fs(kind: &str, target: &Path, flags: MsFlags, data: &str) -> io::Result<()> {
    mount(Some(kind), target, Some(kind), flags, Some(data))
        .map_err(|e| failed(format_args!("mount {kind} on {}", target.display()))(e.into()))
}

/// Builds the root file system of `spec` and makes it the root of this process. `users` is the namespace under
/// whose users its files are shown.
pub fn build(spec: &ContainerSpec, users: Option<&fs::File>) -> io::Result<()> {
    umask(Mode::empty());
    // Copies of what must keep propagating to the host, taken before this namespace becomes a slave.
    let mut shared: Vec<Option<OwnedFd>> = Vec::new();
    for m in &spec.mounts {
        shared.push(match m.propagation {
            Propagation::Bidirectional => {
                Some(sys::open_tree(&m.source).map_err(failed(m.source.display()))?)
            }
            _ => None,
        });
    }
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE)?;
    let root = spec.dir.join("rootfs");
    let mapped = users.zip(spec.users.as_ref());
    if let Some((users, ids)) = mapped {
        // Layers are shown under the pod's users, and so is what is written above them.
        attach_mapped(&spec.layers, &spec.layers, users)?;
        let (uid, gid) = ids.on_host(0, 0);
        let upper = spec.dir.join("upper");
        std::os::unix::fs::chown(&upper, Some(uid), Some(gid)).map_err(failed(upper.display()))?;
    }
    mount_overlay(spec, &root)?;
    let root_fd: OwnedFd = fs::File::open(&root)?.into();
    base_mounts(spec, &root, users)?;
    for (at, (m, shared)) in spec.mounts.iter().zip(shared).enumerate() {
        let image = image_of(spec, m, at).map_err(failed(format_args!("mount {}", m.destination)))?;
        // The layers of an image are shown under the pod's users already.
        let mapped = mapped.filter(|_| image.is_none());
        let m = image.as_ref().unwrap_or(m);
        bind(&root_fd, m, shared, mapped).map_err(failed(format_args!("mount {}", m.destination)))?;
    }
    std::env::set_current_dir(&root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    std::env::set_current_dir("/")?;
    if !spec.privileged {
        spec.readonly_paths.iter().try_for_each(|p| make_readonly(p))?;
        spec.masked_paths.iter().try_for_each(|p| mask(p))?;
    }
    if spec.readonly_root {
        mount(NONE, "/", NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY, NONE)?;
    }
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

fn mount_overlay(spec: &ContainerSpec, root: &Path) -> io::Result<()> {
    // Lower directories are relative, because mount options fit one page.
    std::env::set_current_dir(&spec.layers)?;
    let lower = if spec.lower.is_empty() { "empty".to_owned() } else { spec.lower.join(":") };
    let dir = spec.dir.display();
    let options = format!("lowerdir={lower},upperdir={dir}/upper,workdir={dir}/work");
    mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|e| failed(format_args!("overlay of container {}", spec.id))(e.into()))
}

/// The mount of an image's files, which are put together first; `None` for any other mount.
fn image_of(spec: &ContainerSpec, m: &MountSpec, at: usize) -> io::Result<Option<MountSpec>> {
    if m.layers.is_empty() {
        return Ok(None);
    }
    std::env::set_current_dir(&spec.layers)?;
    let whole = spec.dir.join(format!("image-{at}"));
    fs::create_dir_all(&whole)?;
    // Without an upper directory the kernel wants two lower ones.
    let none = spec.dir.join(format!("image-{at}-none"));
    fs::create_dir_all(&none)?;
    let options = format!("lowerdir={}:{}", m.layers.join(":"), none.display());
    mount(Some("overlay"), &whole, Some("overlay"), MsFlags::MS_RDONLY, Some(options.as_str()))
        .map_err(|e| failed("overlay of an image")(e.into()))?;
    let source = fs::canonicalize(whole.join(m.image_path.trim_start_matches('/')))
        .map_err(failed(format_args!("path {:?} in the image", m.image_path)))?;
    if !source.starts_with(&whole) {
        return Err(io::Error::other(format!("path {:?} leads out of the image", m.image_path)));
    }
    Ok(Some(MountSpec { source, ..m.clone() }))
}

/// Mounts `source` on `target` under the users of a namespace.
fn attach_mapped(source: &Path, target: &Path, users: &fs::File) -> io::Result<()> {
    let tree = mapped_tree(source, users)?;
    let target = nix::fcntl::open(target, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    sys::move_mount(&tree, &target).map_err(failed(source.display()))
}

fn mapped_tree(source: &Path, users: &fs::File) -> io::Result<OwnedFd> {
    let tree = sys::open_tree(source).map_err(failed(source.display()))?;
    let why = "its file system may not be able to show files under other users";
    sys::map_users(&tree, users).map_err(failed(format_args!("{}: {why}", source.display())))?;
    Ok(tree)
}

fn base_mounts(spec: &ContainerSpec, root: &Path, users: Option<&fs::File>) -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for dir in ["proc", "dev", "sys"] {
        // A link in the image must not lead these mounts elsewhere.
        let path = root.join(dir);
        if fs::symlink_metadata(&path).is_ok_and(|m| !m.is_dir()) {
            fs::remove_file(&path)?;
        }
        fs::create_dir_all(&path)?;
    }
    mount_fs("proc", &root.join("proc"), quiet, "")?;
    let dev = root.join("dev");
    let (uid, gid) = spec.users.as_ref().map_or((0, 0), |ids| ids.on_host(0, 0));
    let (_, terminals) = spec.users.as_ref().map_or((0, 5), |ids| ids.on_host(0, 5));
    let options = format!("mode=755,size=65536k,uid={uid},gid={gid}");
    mount_fs("tmpfs", &dev, MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, &options)?;
    for dir in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(dir))?;
    }
    mount_fs(
        "devpts",
        &dev.join("pts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        &format!("newinstance,ptmxmode=0666,mode=0620,gid={terminals}"),
    )?;
    let _ = mount_fs("mqueue", &dev.join("mqueue"), quiet, "");
    match (&spec.shm, users) {
        (Some(shm), Some(users)) => attach_mapped(shm, &dev.join("shm"), users)?,
        (Some(shm), None) => bind_plain(shm, &dev.join("shm"))?,
        (None, _) => mount_fs("tmpfs", &dev.join("shm"), quiet, "mode=1777,size=65536k")?,
    }
    make_devices(spec, &dev)?;
    mount_fs("sysfs", &root.join("sys"), quiet, "")
        .or_else(|_| bind_plain(Path::new("/sys"), &root.join("sys")))?;
    mount_cgroups(spec, &root.join("sys/fs/cgroup"), quiet)?;
    if !spec.privileged {
        remount_readonly(&root.join("sys"), quiet)?;
    }
    Ok(())
}

fn bind_plain(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(|e| failed(format_args!("bind {}", source.display()))(e.into()))
}

fn remount_readonly(target: &Path, extra: MsFlags) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | extra;
    mount(NONE, target, NONE, flags, NONE)
        .map_err(|e| failed(format_args!("remount {}", target.display()))(e.into()))
}

/// The container's own cgroups, read-only unless it is privileged.
fn mount_cgroups(spec: &ContainerSpec, target: &Path, quiet: MsFlags) -> io::Result<()> {
    if !target.is_dir() || spec.cgroups.is_empty() {
        return Ok(());
    }
    if spec.cgroups.contains_key("") {
        let readonly = if spec.privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
        return mount_fs("cgroup2", target, quiet | readonly, "nsdelegate")
            .or_else(|_| mount_fs("cgroup2", target, quiet | readonly, ""));
    }
    mount_fs("tmpfs", target, quiet, "mode=755")?;
    for (controller, dir) in &spec.cgroups {
        let point = target.join(controller);
        fs::create_dir_all(&point)?;
        bind_plain(dir, &point)?;
        if !spec.privileged {
            remount_readonly(&point, quiet)?;
        }
        if controller.contains(',') {
            for single in controller.split(',') {
                let _ = std::os::unix::fs::symlink(controller, target.join(single));
            }
        }
    }
    if spec.privileged { Ok(()) } else { remount_readonly(target, quiet) }
}

fn make_devices(spec: &ContainerSpec, dev: &Path) -> io::Result<()> {
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let path = dev.join(name);
        if mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).is_err() {
            fs::File::create(&path)?;
            bind_plain(&Path::new("/dev").join(name), &path)?;
        }
    }
    for (link, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("core", "/proc/kcore"),
    ] {
        std::os::unix::fs::symlink(to, dev.join(link))?;
    }
    let mut devices = spec.devices.clone();
    if spec.privileged {
        host_devices(Path::new("/dev"), &mut devices);
    }
    for device in devices {
        let Some(inside) = device.destination.strip_prefix("/dev/") else { continue };
        let path = dev.join(inside);
        if path.exists() {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let meta = fs::metadata(&device.source).map_err(failed(device.source.display()))?;
        use std::os::unix::fs::MetadataExt;
        let kind = if meta.file_type().is_block_device() { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
        if mknod(&path, kind, Mode::from_bits_truncate(meta.mode() & 0o777), meta.rdev()).is_err() {
            fs::File::create(&path)?;
            bind_plain(&device.source, &path)?;
        }
    }
    Ok(())
}

fn host_devices(dir: &Path, devices: &mut Vec<DeviceSpec>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else { continue };
        if ["pts", "shm", "mqueue", "console", "fd"].iter().any(|n| name == *n) {
            continue;
        }
        if kind.is_dir() {
            host_devices(&path, devices);
        } else if kind.is_char_device() || kind.is_block_device() {
            devices.push(DeviceSpec { destination: path.display().to_string(), source: path });
        }
    }
}

fn resolve(root: &OwnedFd, path: &Path, flags: OFlag, mode: Mode) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    Ok(openat2(root, path, how)?)
}

/// Opens the place to mount on, made if missing, following links only within the container's root.
fn mount_point(
    root: &OwnedFd,
    destination: &str,
    directory: bool,
    owner: Option<(u32, u32)>,
) -> io::Result<OwnedFd> {
    let owner = owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))).unzip();
    let parts: Vec<&std::ffi::OsStr> = Path::new(destination)
        .components()
        .filter_map(|c| if let Component::Normal(part) = c { Some(part) } else { None })
        .collect();
    let mut path = PathBuf::from(".");
    for (i, part) in parts.iter().enumerate() {
        let parent = path.clone();
        path.push(part);
        if resolve(root, &path, OFlag::O_PATH, Mode::empty()).is_ok() {
            continue;
        }
        if i + 1 < parts.len() || directory {
            let parent = resolve(root, &parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
            match mkdirat(&parent, *part, Mode::from_bits_truncate(0o755)) {
                Ok(()) => fchownat(&parent, *part, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)?,
                Err(nix::errno::Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        } else {
            let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
            let file = resolve(root, &path, flags, Mode::from_bits_truncate(0o644))?;
            fchown(&file, owner.0, owner.1)?;
        }
    }
    resolve(root, &path, OFlag::O_PATH, Mode::empty())
}

fn bind(
    root: &OwnedFd,
    m: &MountSpec,
    shared: Option<OwnedFd>,
    mapped: Option<(&fs::File, &PodUsers)>,
) -> io::Result<()> {
    let owner = mapped.map(|(_, ids)| ids.on_host(0, 0));
    let meta = fs::metadata(&m.source).map_err(failed(m.source.display()))?;
    let target = mount_point(root, &m.destination, meta.is_dir(), owner)?;
    if let Some((users, _)) = mapped {
        sys::move_mount(&mapped_tree(&m.source, users)?, &target)?;
    } else if let Some(tree) = shared {
        sys::move_mount(&tree, &target)?;
    } else {
        let path = PathBuf::from(format!("/proc/self/fd/{}", target.as_raw_fd()));
        bind_plain(&m.source, &path)?;
    }
    // The descriptor is of what lies under the mount: open the mount itself.
    let mounted = mount_point(root, &m.destination, meta.is_dir(), owner)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", mounted.as_raw_fd()));
    if m.propagation == Propagation::Private {
        mount(NONE, &path, NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
    }
    if m.recursive_read_only {
        sys::set_read_only_recursive(&mounted)?;
    } else if m.read_only {
        let kept = nix::sys::statvfs::fstatvfs(&mounted)?.flags();
        let mut flags = MsFlags::empty();
        for (have, flag) in [
            (nix::sys::statvfs::FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
            (nix::sys::statvfs::FsFlags::ST_NODEV, MsFlags::MS_NODEV),
            (nix::sys::statvfs::FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        ] {
            if kept.contains(have) {
                flags |= flag;
            }
        }
        remount_readonly(&path, flags)?;
    }
    Ok(())
}

fn make_readonly(path: &str) -> io::Result<()> {
    let path = Path::new(path);
    if !path.exists() {
        return Ok(());
    }
    bind_plain(path, path)?;
    remount_readonly(path, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC)
        .or_else(|_| remount_readonly(path, MsFlags::empty()))
}

fn mask(path: &str) -> io::Result<()> {
    match fs::metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => mount_fs("tmpfs", Path::new(path), MsFlags::MS_RDONLY, "size=0"),
        Ok(_) => bind_plain(Path::new("/dev/null"), Path::new(path)),
    }
}

/// Shows the container's terminal as `/dev/console`.
pub fn bind_console(terminal: &str) -> io::Result<()> {
    let console = Path::new("/dev/console");
    if !console.exists() {
        fs::File::create(console)?;
    }
    bind_plain(Path::new(terminal), console)
}
