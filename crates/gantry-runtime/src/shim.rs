//! The shim: one small process per pod that is the parent of the pod's containers. It owns their
//! standard streams, log files and exit codes, so that the agent can be killed, restarted or upgraded
//! while the pods run on. It is single-threaded, because it forks.
//!
//! The container's first process is set up here with direct system calls rather than through an OCI
//! runtime library: supplementary groups, propagation of single mounts, seccomp for exec, PATH lookup
//! and missing working directories all have to be done by us in any case, and without the library the
//! whole path from fork to exec is one sequence that can be read from top to bottom.
//!
//! Guarantees: an exit is on disk (file renamed into place) before anyone hears of it; output is in the
//! log before the exit is; whatever a container leaves behind in its cgroup is killed when its first
//! process ends.

mod credentials;
mod events;
mod launch;
mod logs;
mod namespaces;
mod rootfs;
mod stdio;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use nix::{
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::setsid,
};

use crate::{spec::*, sys};

pub(crate) use namespaces::join_and_connect;
pub(crate) use stdio::set_nonblocking;

/// Runs a shim: `args` is the pod's run directory. Prints `ok` or the reason of a failure on standard
/// output, and goes on in the background.
pub fn main(args: &[String]) -> ! {
    let code = match args {
        [dir] => match daemonize(Path::new(dir)) {
            Ok(()) => 0,
            Err(error) => {
                println!("{error}");
                1
            }
        },
        _ => {
            eprintln!("usage: shim DIRECTORY");
            2
        }
    };
    std::process::exit(code)
}

fn daemonize(dir: &Path) -> io::Result<()> {
    if sys::clone_process(0)?.is_some() {
        sys::exit_now(0);
    }
    setsid()?;
    if sys::clone_process(0)?.is_some() {
        sys::exit_now(0);
    }
    prctl::set_child_subreaper(true)?;
    let _ = prctl::set_name(c"gantry-shim");
    let pod: PodSpec = gantry_json::from_slice(&fs::read(dir.join(POD_FILE))?)?;
    std::env::set_current_dir("/")?;
    for cgroup in &pod.shim_cgroups {
        // A hierarchy that cannot take the shim is no reason not to run the pod.
        let _ = fs::write(cgroup.join("cgroup.procs"), "0");
    }
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGHUP);
    signals.add(Signal::SIGPIPE);
    signals.thread_block()?;
    namespaces::create(&pod)?;
    let init = if pod.share_pid { Some(namespaces::start_pod_init(&pod)?) } else { None };
    let socket: PathBuf = dir.join(SOCKET);
    let _ = fs::remove_file(&socket);
    let listener = crate::socket::bind(dir, SOCKET)?;
    let mut stdout = io::stdout();
    stdout.write_all(b"ok\n")?;
    stdout.flush()?;
    let null = fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    let result = events::Shim::new(init, listener, &signals)?.run();
    let _ = fs::remove_file(&socket);
    sys::exit_now(i32::from(result.is_err()))
}
