//! The kernel calls that have no safe wrapper, each behind a safe function. All unsafe code of this
//! crate is here.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, CString},
    io::{self, IoSlice, IoSliceMut},
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

fn check(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Forks with the given `CLONE_*` flags. `None` in the child. The caller must be single-threaded.
pub fn clone_process(flags: i32) -> io::Result<Option<i32>> {
    // SAFETY: without CLONE_VM the child runs on a copy of this stack, as after fork; the process has
    // one thread, so no lock can be held by another one.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone, libc::c_long::from(flags | libc::SIGCHLD), 0, 0, 0, 0)
    })?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Ends the process at once, without running exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Sets the three capability sets of this process.
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: both pointers are to live values of the layout the version number names.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// Takes one capability out of the bounding set.
pub fn drop_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: takes integers only.
    check(i64::from(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, u64::from(capability), 0, 0, 0) })).map(drop)
}

/// Adds one capability to the ambient set.
pub fn raise_ambient(capability: u32) -> io::Result<()> {
    let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
    // SAFETY: takes integers only.
    check(i64::from(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, u64::from(capability), 0, 0) }))
        .map(drop)
}

/// Installs a seccomp filter: `program` is instructions of 8 bytes in the kernel's layout.
pub fn install_seccomp(program: &[u8]) -> io::Result<()> {
    let filters: Vec<libc::sock_filter> = program
        .chunks_exact(8)
        .map(|c| libc::sock_filter {
            code: u16::from_ne_bytes([c[0], c[1]]),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect();
    let fprog = libc::sock_fprog { len: filters.len() as u16, filter: filters.as_ptr().cast_mut() };
    // SAFETY: fprog points to `len` live instructions; the kernel copies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &fprog) }).map(drop)
}

/// A detached copy of the mount tree at `path`, still a peer of what it was copied from.
pub fn open_tree(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as libc::c_uint;
    // SAFETY: path is a live C string; the new descriptor is owned by nobody else.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Attaches a detached mount tree to what `target` is open on.
pub fn move_mount(tree: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    const EMPTY_PATHS: libc::c_uint = 0x4 | 0x40;
    // SAFETY: both descriptors are open and the paths are empty C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATHS,
        )
    })
    .map(drop)
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    users: u64,
}

fn set_mount_attr(target: &OwnedFd, flags: libc::c_int, attr: &MountAttr) -> io::Result<()> {
    let flags = (libc::AT_EMPTY_PATH | flags) as libc::c_uint;
    // SAFETY: attr is live and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            std::mem::size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Makes a mount tree read-only, every mount of it.
pub fn set_read_only_recursive(target: &OwnedFd) -> io::Result<()> {
    set_mount_attr(
        target,
        libc::AT_RECURSIVE,
        &MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..Default::default() },
    )
}

/// Shows what is mounted at `tree` under the users of a namespace.
pub fn map_users(tree: &OwnedFd, users: &std::fs::File) -> io::Result<()> {
    let attr =
        MountAttr { set: libc::MOUNT_ATTR_IDMAP, users: users.as_raw_fd() as u64, ..Default::default() };
    set_mount_attr(tree, 0, &attr)
}

/// Marks every descriptor from `first` on to be closed by the next exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOEXEC: libc::c_uint = 4;
    // SAFETY: changes flags of descriptors only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOEXEC) }).map(drop)
}

/// Makes `terminal` the controlling terminal of this session.
pub fn set_controlling_terminal(terminal: &OwnedFd) -> io::Result<()> {
    // SAFETY: the request takes an integer.
    check(i64::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })).map(drop)
}

/// Sets a terminal's size in characters.
pub fn set_window_size(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize.
    check(i64::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) })).map(drop)
}

/// A terminal of the devpts instance at `/dev/pts`: master, and the path of its other end.
pub fn open_terminal() -> io::Result<(OwnedFd, String)> {
    // SAFETY: path is a C string; the descriptor is new; the requests read or write one int.
    unsafe {
        let fd = check(i64::from(libc::open(
            c"/dev/ptmx".as_ptr(),
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        )))?;
        let master = OwnedFd::from_raw_fd(fd as RawFd);
        let mut number: libc::c_int = 0;
        check(i64::from(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number)))?;
        let unlock: libc::c_int = 0;
        check(i64::from(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock)))?;
        Ok((master, format!("/dev/pts/{number}")))
    }
}

/// Brings the loopback interface of the current network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: ifreq is plain data, zero is valid; the name is shorter than the field; the union's
    // flags member is the one these requests use.
    unsafe {
        let fd = check(i64::from(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)))?;
        let socket = OwnedFd::from_raw_fd(fd as RawFd);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(i64::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request)))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(i64::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request))).map(drop)
    }
}

/// Sets an extended attribute of the thing at `path` itself, not of what a link points to.
pub fn set_xattr(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    let path = c_path(path)?;
    let name = CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: strings are live C strings and the value's length is given.
    check(i64::from(unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    }))
    .map(drop)
}

/// Sends bytes with descriptors over a unix socket; returns how many bytes went.
pub fn send_with_fds(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let iov = [IoSlice::new(bytes)];
    let message = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &message };
    Ok(sendmsg::<()>(socket.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None)?)
}

/// Receives bytes and the descriptors sent with them; no bytes mean the peer has closed.
pub fn receive_with_fds(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; 8]);
    let mut iov = [IoSliceMut::new(bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for us.
            fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok((message.bytes, fds))
}

/// A descriptor that follows the life of process `pid`.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes integers; the descriptor is new.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// Runs `program`; returns only on failure.
pub fn exec(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    match nix::unistd::execve(program, args, env) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Gives a signal its default effect, or ignores it.
pub fn default_signal(
    signal: nix::sys::signal::Signal,
    handler: nix::sys::signal::SigHandler,
) -> io::Result<()> {
    debug_assert!(!matches!(handler, nix::sys::signal::SigHandler::Handler(_)));
    // SAFETY: no handler function is installed.
    unsafe { nix::sys::signal::signal(signal, handler) }.map(drop).map_err(io::Error::from)
}

/// A file that tokio tells the readiness of.
pub fn register(file: std::fs::File) -> io::Result<tokio::io::unix::AsyncFd<std::fs::File>> {
    // SAFETY: the file owns its descriptor, keeps it open and always returns the same one.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(file) }?)
}
