//! The pod's namespaces: made by a short-lived child and kept alive by files they are bound to, so that
//! no pause process is needed.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::wait::waitpid,
    unistd::{Gid, Pid, Uid, setgroups, sethostname, setresgid, setresuid},
};

use crate::{
    spec::{PodSpec, PodUsers},
    sys,
};

fn named(what: &str) -> impl FnOnce(io::Error) -> io::Error {
    let what = what.to_owned();
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Makes a user namespace with its users and groups and binds it to its file.
fn create_users(users: &PodUsers) -> io::Result<()> {
    in_child(
        || unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| named("unshare users")(e.into())),
        |pid| {
            for (file, ranges) in [("uid_map", &users.uids), ("gid_map", &users.gids)] {
                let lines: Vec<String> = ranges
                    .iter()
                    .map(|range| format!("{} {} {}", range.inside, range.outside, range.length))
                    .collect();
                fs::write(format!("/proc/{pid}/{file}"), lines.join("\n")).map_err(named(file))?;
            }
            bind(pid, "user", &users.path)
        },
    )
}

/// Becomes root of a user namespace, with mounts of its own.
pub fn enter_users(users: &File) -> io::Result<()> {
    setns(users, CloneFlags::CLONE_NEWUSER).map_err(|e| named("join users")(e.into()))?;
    become_root()?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| named("unshare mounts")(e.into()))
}

/// Takes the root user of the namespace this process is in.
pub fn become_root() -> io::Result<()> {
    setgroups(&[])?;
    let gid = Gid::from_raw(0);
    setresgid(gid, gid, gid)?;
    let uid = Uid::from_raw(0);
    Ok(setresuid(uid, uid, uid)?)
}

/// Makes the namespaces `pod` asks for and binds them to their files.
pub fn create(pod: &PodSpec) -> io::Result<()> {
    if let Some(users) = &pod.users {
        create_users(users)?;
    }
    let wanted: Vec<(CloneFlags, &str, &PathBuf)> = [
        (CloneFlags::CLONE_NEWNET, "net", pod.netns.as_ref()),
        (CloneFlags::CLONE_NEWIPC, "ipc", pod.ipcns.as_ref()),
        (CloneFlags::CLONE_NEWUTS, "uts", pod.utsns.as_ref()),
    ]
    .into_iter()
    .filter_map(|(flag, name, path)| path.map(|path| (flag, name, path)))
    .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    in_child(
        || enter(pod, &wanted),
        |pid| wanted.iter().try_for_each(|(_, name, path)| bind(pid, name, path)),
    )
}

/// Does something in a child process, and `then` something about it while it still is there.
fn in_child(
    work: impl FnOnce() -> io::Result<()>,
    then: impl FnOnce(i32) -> io::Result<()>,
) -> io::Result<()> {
    let (ready, in_child) = UnixStream::pair()?;
    let (release, wait) = UnixStream::pair()?;
    let Some(pid) = sys::clone_process(0)? else {
        let message = work().err().map_or(String::new(), |e| e.to_string());
        let _ = crate::wire::send(&in_child, &message, &[]);
        drop(release);
        let _ = io::Read::read(&mut &wait, &mut [0]);
        sys::exit_now(0);
    };
    drop((in_child, wait));
    let outcome = crate::wire::receive::<String>(&ready)
        .and_then(|m| m.map(|(m, _)| m).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .and_then(|message| if message.is_empty() { Ok(()) } else { Err(io::Error::other(message)) })
        .and_then(|()| then(pid));
    drop(release);
    let _ = waitpid(Pid::from_raw(pid), None);
    outcome
}

fn bind(pid: i32, name: &str, path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = umount2(path, MntFlags::MNT_DETACH);
    File::create(path)?;
    let source = format!("/proc/{pid}/ns/{name}");
    mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| named(&format!("bind {}", path.display()))(e.into()))
}

fn enter(pod: &PodSpec, wanted: &[(CloneFlags, &str, &PathBuf)]) -> io::Result<()> {
    let flags = wanted.iter().fold(CloneFlags::empty(), |all, (flag, _, _)| all | *flag);
    if let Some(users) = &pod.users {
        join(&users.path)?;
        // Some parameters are for the root of the namespaces only.
        become_root()?;
    }
    unshare(flags).map_err(|e| named("unshare")(e.into()))?;
    if pod.utsns.is_some() && !pod.hostname.is_empty() {
        sethostname(&pod.hostname).map_err(|e| named("sethostname")(e.into()))?;
    }
    if pod.netns.is_some() {
        sys::loopback_up().map_err(named("loopback"))?;
        // As other runtimes do: any user may ping and bind low ports inside a pod.
        let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
        let groups = ["0 2147483647", "0 65535"];
        groups.iter().any(|range| fs::write("/proc/sys/net/ipv4/ping_group_range", range).is_ok());
    }
    for (name, value) in &pod.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(named(&format!("sysctl {name}")))?;
    }
    Ok(())
}

/// Starts the first process of a PID namespace that a pod's containers share: it reaps and waits.
pub fn start_pod_init(pod: &PodSpec) -> io::Result<i32> {
    let (ready, in_child) = UnixStream::pair()?;
    match sys::clone_process(libc::CLONE_NEWPID)? {
        Some(pid) => {
            drop(in_child);
            let _ = io::Read::read(&mut &ready, &mut [0]);
            Ok(pid)
        }
        None => {
            drop(ready);
            for namespace in [&pod.netns, &pod.ipcns, &pod.utsns].into_iter().flatten() {
                let _ = join(namespace);
            }
            let _ = nix::sys::prctl::set_name(c"pause");
            let _ = nix::unistd::setsid();
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            drop(in_child);
            let mut signals = nix::sys::signal::SigSet::empty();
            signals.add(nix::sys::signal::Signal::SIGCHLD);
            signals.add(nix::sys::signal::Signal::SIGTERM);
            let _ = signals.thread_set_mask();
            loop {
                match signals.wait() {
                    Ok(nix::sys::signal::Signal::SIGTERM) => sys::exit_now(0),
                    _ => {
                        while let Ok(status) = waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)) {
                            if status == nix::sys::wait::WaitStatus::StillAlive {
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Moves this process to the namespace a file is bound to.
pub fn join(path: &Path) -> io::Result<()> {
    let file = File::open(path).map_err(named(&format!("namespace {}", path.display())))?;
    setns(&file, CloneFlags::empty())
        .map_err(|e| named(&format!("join namespace {}", path.display()))(e.into()))
}

/// Connects to a TCP port of the loopback address in the network namespace at `path`, with a thread of
/// its own, since joining changes the calling thread.
pub fn join_and_connect(path: Option<PathBuf>, port: u16) -> io::Result<std::net::TcpStream> {
    let connect = move || -> io::Result<std::net::TcpStream> {
        if let Some(path) = path {
            join(&path)?;
        }
        std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port))
            .or_else(|_| std::net::TcpStream::connect((std::net::Ipv6Addr::LOCALHOST, port)))
    };
    std::thread::Builder::new()
        .name("port-forward".into())
        .spawn(connect)?
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("connecting thread panicked")))
}

/// The namespaces of process `pid` as one descriptor for `setns`.
pub fn of_process(pid: i32) -> io::Result<OwnedFd> {
    sys::pidfd_open(pid).map_err(named(&format!("process {pid}")))
}
