//! From fork to exec. Two stages: the first child joins cgroups and namespaces, the second, its sibling
//! and so the shim's own child, builds the root file system and becomes the program.
//!
//! Both report over one sequenced socket: `P` pid, `T` terminal (with its descriptor), `U` user, `E` error.
//! When the exec succeeds the socket closes, which is the sign of success.

use std::{
    ffi::CString,
    fs,
    io::{self, IoSlice},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd, RawFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    sched::{CloneFlags, setns, unshare},
    sys::{
        signal::{SigHandler, SigSet, Signal},
        socket::{AddressFamily, SockFlag, SockType, socketpair},
        wait::waitpid,
    },
    unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::{credentials, namespaces, rootfs};
use crate::{spec::*, sys};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Standard streams of a new process.
pub struct Stdio {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// A started process.
pub struct Launched {
    /// Its pid on the host.
    pub pid: i32,
    /// Master side of its terminal.
    pub terminal: Option<OwnedFd>,
    /// Whose rights it began with.
    pub user: Option<Identity>,
}

/// What the second stage does before it becomes the program.
enum Place<'a> {
    /// Builds the container's root file system.
    New(&'a ContainerSpec),
    /// Is in the container already, by its namespaces.
    Existing,
}

/// Starts a container's first process.
pub fn start(spec: &ContainerSpec, pod_init: Option<i32>, stdio: Option<Stdio>) -> io::Result<Launched> {
    let cgroups: Vec<&PathBuf> = spec.cgroups.values().collect();
    let stage = || -> io::Result<i32> {
        join_cgroups(&cgroups)?;
        if spec.cgroups.contains_key("") {
            unshare(CloneFlags::CLONE_NEWCGROUP)?;
        }
        for namespace in &spec.namespaces {
            namespaces::join(namespace)?;
        }
        let own = match (spec.pid_mode, pod_init) {
            (PidMode::Container, _) | (PidMode::Pod, None) => {
                unshare(CloneFlags::CLONE_NEWPID)?;
                None
            }
            (PidMode::Node, _) => None,
            (PidMode::Pod, Some(pid)) | (PidMode::Target(pid), _) => Some(pid),
        };
        if let Some(pid) = own {
            setns(namespaces::of_process(pid)?, CloneFlags::CLONE_NEWPID)?;
        }
        Ok(libc::CLONE_PARENT | libc::CLONE_NEWNS)
    };
    launch(&stage, &spec.process, Place::New(spec), stdio)
}

/// Starts another process in the container whose first process is `pid`.
pub fn exec(
    spec: &ContainerSpec,
    pid: i32,
    process: &ProcessSpec,
    stdio: Option<Stdio>,
) -> io::Result<Launched> {
    let cgroups: Vec<&PathBuf> = spec.cgroups.values().collect();
    let users = if spec.users.is_some() { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
    let stage = || -> io::Result<i32> {
        join_cgroups(&cgroups)?;
        if let Some(score) = process.oom_score_adj.filter(|_| spec.users.is_some()) {
            // Who has joined the pod's users may not do it any more.
            credentials::set_oom_score(score)?;
        }
        let all = users
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP;
        setns(namespaces::of_process(pid)?, all)
            .map_err(|e| io::Error::other(format!("enter container: {e}")))?;
        if spec.users.is_some() {
            namespaces::become_root()?;
        }
        Ok(libc::CLONE_PARENT)
    };
    launch(&stage, process, Place::Existing, stdio)
}

fn join_cgroups(cgroups: &[&PathBuf]) -> io::Result<()> {
    for cgroup in cgroups {
        let file = cgroup.join("cgroup.procs");
        fs::write(&file, "0")
            .map_err(|e| io::Error::new(e.kind(), format!("join cgroup {}: {e}", file.display())))?;
    }
    Ok(())
}

fn launch(
    stage: &dyn Fn() -> io::Result<i32>,
    process: &ProcessSpec,
    place: Place<'_>,
    stdio: Option<Stdio>,
) -> io::Result<Launched> {
    // Read before the root changes.
    let seccomp = match &process.seccomp {
        Some(path) => Some(
            fs::read(path)
                .map_err(|e| io::Error::new(e.kind(), format!("seccomp profile {}: {e}", path.display())))?,
        ),
        None => None,
    };
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let Some(first) = sys::clone_process(0)? else {
        drop(ours);
        let result = stage().and_then(sys::clone_process);
        match result {
            Ok(Some(pid)) => report(&theirs, b'P', pid.to_string().as_bytes(), &[]),
            Ok(None) => {
                let error = second_stage(process, &place, stdio, seccomp.as_deref(), &theirs);
                report(&theirs, b'E', error.to_string().as_bytes(), &[]);
                sys::exit_now(127);
            }
            Err(error) => report(&theirs, b'E', error.to_string().as_bytes(), &[]),
        }
        sys::exit_now(0);
    };
    drop(theirs);
    drop(stdio);
    let mut pid = None;
    let mut terminal = None;
    let mut user = None;
    let mut failure = None;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match sys::receive_with_fds(ours.as_fd(), &mut buffer) {
            Ok((0, _)) => break,
            Ok((length, fds)) => {
                let text = String::from_utf8_lossy(&buffer[1..length]).into_owned();
                match buffer[0] {
                    b'P' => pid = text.parse().ok(),
                    b'T' => terminal = fds.into_iter().next(),
                    b'U' => user = gantry_json::from_str(&text).ok(),
                    _ => failure = Some(text),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failure = Some(error.to_string());
                break;
            }
        }
    }
    let _ = waitpid(Pid::from_raw(first), None);
    match (pid, failure) {
        (Some(pid), None) => Ok(Launched { pid, terminal, user }),
        (pid, failure) => {
            if let Some(pid) = pid {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
                let _ = waitpid(Pid::from_raw(pid), None);
            }
            Err(io::Error::other(failure.unwrap_or_else(|| "process vanished while starting".into())))
        }
    }
}

fn report(socket: &OwnedFd, tag: u8, text: &[u8], fds: &[RawFd]) {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&text[..text.len().min(60_000)]);
    debug_assert!(!IoSlice::new(&bytes).is_empty());
    let _ = sys::send_with_fds(socket.as_fd(), &bytes, fds);
}

/// Never returns but with the error that stopped it.
fn second_stage(
    process: &ProcessSpec,
    place: &Place<'_>,
    stdio: Option<Stdio>,
    seccomp: Option<&[u8]>,
    socket: &OwnedFd,
) -> io::Error {
    match try_second_stage(process, place, stdio, seccomp, socket) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_second_stage(
    process: &ProcessSpec,
    place: &Place<'_>,
    stdio: Option<Stdio>,
    seccomp: Option<&[u8]>,
    socket: &OwnedFd,
) -> io::Result<std::convert::Infallible> {
    setsid()?;
    if let Some(score) = process.oom_score_adj {
        credentials::set_oom_score(score)?;
    }
    let users = match place {
        Place::New(spec) => spec.users.as_ref(),
        Place::Existing => None,
    };
    // Opened before the root changes.
    let namespace = users.map(|users| fs::File::open(&users.path)).transpose()?;
    if let Place::New(spec) = place {
        rootfs::build(spec, namespace.as_ref())?;
    }
    raise_open_files();
    attach_stdio(process, place, users, stdio, socket)?;
    if let Some(namespace) = &namespace {
        namespaces::enter_users(namespace)?;
    }
    let cwd = if process.cwd.is_empty() { "/" } else { process.cwd.as_str() };
    fs::create_dir_all(cwd).map_err(|e| io::Error::other(format!("mkdir {cwd}: {e}")))?;
    let user = credentials::resolve_here(&process.user)?;
    let identity = Identity { uid: user.uid, gid: user.gid, groups: user.groups.clone() };
    report(socket, b'U', &gantry_json::to_vec(&identity)?, &[]);
    let mut env = process.env.clone();
    if !env.iter().any(|e| e.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    let entered = std::env::set_current_dir(cwd);
    sys::close_on_exec_from(3)?;
    credentials::apply(process, &user, seccomp)
        .map_err(|e| io::Error::other(format!("set credentials: {e}")))?;
    // Some directories can be entered by root only, some (on network file systems) by the user only.
    if entered.is_err() {
        std::env::set_current_dir(cwd).map_err(|e| io::Error::other(format!("chdir to cwd {cwd}: {e}")))?;
    }
    let program = find_program(&process.args, &env)?;
    reset_signals()?;
    let strings = |list: &[String]| -> io::Result<Vec<CString>> {
        list.iter().map(|s| CString::new(s.as_str()).map_err(io::Error::from)).collect()
    };
    let path = CString::new(program.as_os_str().as_encoded_bytes())?;
    let error = sys::exec(&path, &strings(&process.args)?, &strings(&env)?);
    Err(io::Error::other(format!("exec {}: {error}", program.display())))
}

fn attach_stdio(
    process: &ProcessSpec,
    place: &Place<'_>,
    users: Option<&PodUsers>,
    stdio: Option<Stdio>,
    socket: &OwnedFd,
) -> io::Result<()> {
    let user = credentials::resolve_here(&process.user)?;
    let owner = users.map_or(user.uid, |users| users.on_host(user.uid, 0).0);
    if process.tty {
        let (master, path) = sys::open_terminal().map_err(|e| io::Error::other(format!("terminal: {e}")))?;
        let slave: OwnedFd = fs::File::options().read(true).write(true).open(&path)?.into();
        sys::set_controlling_terminal(&slave)?;
        let _ = nix::unistd::chown(path.as_str(), Some(nix::unistd::Uid::from_raw(owner)), None);
        if matches!(place, Place::New(_)) {
            rootfs::bind_console(&path)?;
        }
        report(socket, b'T', b"", &[master.as_raw_fd()]);
        dup2_stdin(&slave)?;
        dup2_stdout(&slave)?;
        dup2_stderr(&slave)?;
    } else if let Some(stdio) = stdio {
        give_streams(&stdio, owner);
        dup2_stdin(&stdio.stdin)?;
        dup2_stdout(&stdio.stdout)?;
        dup2_stderr(&stdio.stderr)?;
    }
    Ok(())
}

/// Gives the streams to the process's user, who can then open `/dev/stdout` and its like anew.
pub fn give_streams(stdio: &Stdio, uid: u32) {
    use std::os::unix::fs::MetadataExt;
    let null = fs::metadata("/dev/null").map(|meta| meta.rdev()).unwrap_or_default();
    for stream in [&stdio.stdin, &stdio.stdout, &stdio.stderr] {
        let shared = nix::sys::stat::fstat(stream).is_ok_and(|meta| meta.st_rdev == null && null != 0);
        if !shared {
            // What has no owner needs none.
            let _ = nix::unistd::fchown(stream, Some(nix::unistd::Uid::from_raw(uid)), None);
        }
    }
}

/// Looks the program up as execvp would, with an error people know.
fn find_program(args: &[String], env: &[String]) -> io::Result<PathBuf> {
    let name = args.first().ok_or_else(|| io::Error::other("no command specified"))?;
    let fail = |why: &str| Err(io::Error::other(format!("exec: {name:?}: {why}")));
    let usable = |path: &Path| -> Result<(), &'static str> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Err("is a directory"),
            Ok(meta) if meta.permissions().mode() & 0o111 == 0 => Err("permission denied"),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err("permission denied"),
            Err(_) => Err("no such file or directory"),
        }
    };
    if name.contains('/') {
        let found = match usable(Path::new(name)) {
            Ok(()) => return Ok(PathBuf::from(name)),
            Err(why) => format!("stat {name}: {why}"),
        };
        return fail(&found);
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
        match usable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(why) => denied |= why == "permission denied",
        }
    }
    fail(if denied { "permission denied" } else { "executable file not found in $PATH" })
}

fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(1 << 20);
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
    }
}

fn reset_signals() -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    sys::default_signal(Signal::SIGPIPE, SigHandler::SigDfl)?;
    Ok(())
}
