//! The shim's loop: signals, requests and the containers' streams, one `poll` for all.

use std::{
    collections::HashMap,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, pipe2},
};

use super::{
    launch::{self, Stdio},
    logs::{Log, Stream},
    stdio::{Client, Sink, Source, Streams},
};
use crate::{cgroup, spec::*, sys, wire};

/// A container that runs.
struct Running {
    spec: ContainerSpec,
    pid: i32,
    streams: Streams,
    terminal: Option<OwnedFd>,
    oom_kills_before: u64,
    /// Whose rights its first process began with.
    user: Option<Identity>,
}

/// The state of a shim.
pub struct Shim {
    pod_init: Option<i32>,
    listener: UnixListener,
    signals: SignalFd,
    containers: HashMap<String, Running>,
    waiting: Vec<UnixStream>,
    execs: HashMap<i32, UnixStream>,
    watchers: Vec<UnixStream>,
    ending: bool,
}

/// What is ready.
enum Event {
    Signals,
    Listener,
    Request(usize),
    Output(String, usize),
    Input(String, usize),
    Flush(String),
}

fn now_nanos() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

fn now_text() -> String {
    format!("{:.9}", jiff::Timestamp::now())
}

impl Shim {
    /// A shim that listens on `listener`; `signals` are blocked already.
    pub fn new(pod_init: Option<i32>, listener: UnixListener, signals: &SigSet) -> io::Result<Self> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self {
            pod_init,
            listener,
            signals: SignalFd::with_flags(signals, flags)?,
            containers: HashMap::new(),
            waiting: Vec::new(),
            execs: HashMap::new(),
            watchers: Vec::new(),
            ending: false,
        })
    }

    /// Runs until it is told to end.
    pub fn run(mut self) -> io::Result<()> {
        while !self.ending {
            for event in self.wait()? {
                self.handle(event);
            }
            self.containers.values_mut().for_each(|c| c.streams.forget_ended());
        }
        for container in self.containers.values() {
            cgroup::kill_all(&container.spec.cgroups);
        }
        if let Some(pid) = self.pod_init {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        self.reap();
        Ok(())
    }

    fn wait(&self) -> io::Result<Vec<Event>> {
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut owners = Vec::new();
        let mut add = |fd, flags, owner| {
            fds.push(PollFd::new(fd, flags));
            owners.push(owner);
        };
        let (input, output) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        add(self.signals.as_fd(), input, Event::Signals);
        add(self.listener.as_fd(), input, Event::Listener);
        for (index, stream) in self.waiting.iter().enumerate() {
            add(stream.as_fd(), input, Event::Request(index));
        }
        for (id, container) in &self.containers {
            let streams = &container.streams;
            if streams.may_read() {
                for (index, source) in streams.sources.iter().enumerate() {
                    add(source.fd.as_fd(), input, Event::Output(id.clone(), index));
                }
            }
            let input_full = streams.input.as_ref().is_some_and(Sink::is_full);
            for (index, client) in streams.clients.iter().enumerate() {
                if let (Some(stdin), false) = (&client.stdin, input_full) {
                    add(stdin.as_fd(), input, Event::Input(id.clone(), index));
                }
                for sink in [&client.stdout, &client.stderr].into_iter().flatten() {
                    if sink.is_waiting() {
                        add(sink.fd(), output, Event::Flush(id.clone()));
                    }
                }
            }
            if let Some(sink) = streams.input.as_ref().filter(|i| i.is_waiting()) {
                add(sink.fd(), output, Event::Flush(id.clone()));
            }
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|r| !r.is_empty());
        let mut events: Vec<Event> =
            fds.iter().zip(owners).filter(|(fd, _)| ready(fd)).map(|(_, owner)| owner).collect();
        // Output before signals: an exit is handled after what was written before it. Requests from
        // the last to the first, so that their indexes stay right.
        events.reverse();
        Ok(events)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Signals => {
                while let Ok(Some(signal)) = self.signals.read_signal() {
                    if signal.ssi_signo as i32 == Signal::SIGTERM as i32 {
                        self.ending = true;
                    }
                }
                self.reap();
            }
            Event::Listener => {
                if let Ok((stream, _)) = self.listener.accept() {
                    self.waiting.push(stream);
                }
            }
            Event::Request(index) => {
                let stream = self.waiting.remove(index);
                if let Ok(Some((request, fds))) = wire::receive::<Request>(&stream) {
                    self.request(stream, request, fds);
                }
            }
            Event::Output(id, index) => {
                if let Some(container) = self.containers.get_mut(&id)
                    && !container.streams.read(index, &now_text())
                {
                    container.streams.ended.push(index);
                }
            }
            Event::Input(id, index) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.streams.read_client(index);
                }
            }
            Event::Flush(id) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.streams.flush();
                }
            }
        }
    }

    fn request(&mut self, stream: UnixStream, request: Request, fds: Vec<OwnedFd>) {
        let answer = match request {
            Request::Start(spec) => self.start(*spec).map(|(pid, user)| Response::Started { pid, user }),
            Request::Kill { id, signal, all } => self.kill(&id, signal, all),
            Request::Exec { id, args, tty } => match self.exec(&id, args, tty, fds) {
                Ok(launched) => {
                    let terminal: Vec<i32> = launched.terminal.iter().map(|fd| fd.as_raw_fd()).collect();
                    let started = Response::Started { pid: launched.pid, user: None };
                    let _ = wire::send(&stream, &started, &terminal);
                    self.execs.insert(launched.pid, stream);
                    return;
                }
                Err(error) => Err(error),
            },
            Request::KillExec { pid, signal } => {
                if self.execs.contains_key(&pid) {
                    signal_process(pid, signal).map(|()| Response::Done)
                } else {
                    Ok(Response::Done)
                }
            }
            Request::Attach { id, stdin, stdout, stderr } => {
                self.attach(&id, [stdin, stdout, stderr], fds).map(|()| Response::Done)
            }
            Request::Resize { id, columns, rows } => self.running(&id).and_then(|container| {
                if let Some(terminal) = &container.terminal {
                    sys::set_window_size(terminal.as_fd(), columns, rows)?;
                }
                Ok(Response::Done)
            }),
            Request::ReopenLog { id } => self
                .running(&id)
                .and_then(|container| container.streams.log.reopen())
                .map(|()| Response::Done),
            Request::Watch => {
                let running = self.containers.iter().map(|(id, c)| (id.clone(), c.pid)).collect();
                if wire::send(&stream, &Response::Running(running), &[]).is_ok() {
                    self.watchers.push(stream);
                }
                return;
            }
            Request::Shutdown => {
                self.ending = true;
                Ok(Response::Done)
            }
        };
        let answer = answer.unwrap_or_else(|e| Response::Failed { message: e.to_string() });
        let _ = wire::send(&stream, &answer, &[]);
    }

    fn running(&mut self, id: &str) -> io::Result<&mut Running> {
        self.containers.get_mut(id).ok_or_else(|| io::Error::other(format!("container {id} is not running")))
    }

    fn start(&mut self, spec: ContainerSpec) -> io::Result<(i32, Option<Identity>)> {
        if self.containers.contains_key(&spec.id) {
            return Err(io::Error::other(format!("container {} runs already", spec.id)));
        }
        let log = Log::open(spec.log_path.clone())?;
        let mut streams = Streams {
            sources: Vec::new(),
            ended: Vec::new(),
            input: None,
            log,
            clients: Vec::new(),
            close_input_after_client: spec.stdin_once,
        };
        let stdio = if spec.process.tty {
            None
        } else {
            let (out_reader, out_writer) = pipe2(OFlag::O_CLOEXEC)?;
            let (err_reader, err_writer) = pipe2(OFlag::O_CLOEXEC)?;
            let stdin = if spec.stdin {
                let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
                streams.input = Some(Sink::new(writer)?);
                reader
            } else {
                fs::File::open("/dev/null")?.into()
            };
            streams.sources.push(Source::new(out_reader, Stream::Stdout)?);
            streams.sources.push(Source::new(err_reader, Stream::Stderr)?);
            Some(Stdio { stdin, stdout: out_writer, stderr: err_writer })
        };
        let oom_kills_before = cgroup::oom_kills(&spec.cgroups);
        let launched = launch::start(&spec, self.pod_init, stdio)?;
        if let Some(terminal) = &launched.terminal {
            streams.sources.push(Source::new(terminal.try_clone()?, Stream::Stdout)?);
            if spec.stdin {
                streams.input = Some(Sink::new(terminal.try_clone()?)?);
            }
        }
        let pid = launched.pid;
        let user = launched.user;
        let running =
            Running { pid, streams, terminal: launched.terminal, oom_kills_before, spec, user: user.clone() };
        self.containers.insert(running.spec.id.clone(), running);
        Ok((pid, user))
    }

    fn exec(
        &mut self,
        id: &str,
        args: Vec<String>,
        tty: bool,
        fds: Vec<OwnedFd>,
    ) -> io::Result<launch::Launched> {
        let container = self.running(id)?;
        let mut process = container.spec.process.clone();
        process.args = args;
        process.tty = tty;
        if tty && !process.env.iter().any(|e| e.starts_with("TERM=")) {
            process.env.push("TERM=xterm".to_owned());
        }
        let stdio = if tty {
            None
        } else {
            let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds)
                .map_err(|_| io::Error::other("exec needs three descriptors"))?;
            let stdio = Stdio { stdin, stdout, stderr };
            if let (Some(users), Some(user)) = (&container.spec.users, &container.user) {
                // Who has joined the pod's users may not do it any more.
                launch::give_streams(&stdio, users.on_host(user.uid, user.gid).0);
            }
            Some(stdio)
        };
        launch::exec(&container.spec, container.pid, &process, stdio)
    }

    fn attach(&mut self, id: &str, wanted: [bool; 3], fds: Vec<OwnedFd>) -> io::Result<()> {
        let container = self.running(id)?;
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| if wanted { fds.next() } else { None };
        let [stdin, stdout, stderr] = wanted;
        let stdin = next(stdin);
        let stdout = next(stdout).map(Sink::new).transpose()?;
        let stderr = next(stderr).map(Sink::new).transpose()?;
        container.streams.clients.push(Client { stdin, stdout, stderr });
        Ok(())
    }

    fn kill(&mut self, id: &str, signal: i32, all: bool) -> io::Result<Response> {
        let Some(container) = self.containers.get(id) else { return Ok(Response::Done) };
        if all {
            cgroup::kill_all(&container.spec.cgroups);
        }
        signal_process(container.pid, signal)?;
        Ok(Response::Done)
    }

    /// Takes over every child that has ended.
    fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if let Some(stream) = self.execs.remove(&pid) {
                let _ = wire::send(&stream, &Response::Exited { code }, &[]);
                continue;
            }
            let id = self.containers.iter().find(|(_, c)| c.pid == pid).map(|(id, _)| id.clone());
            if let Some(id) = id
                && let Some(container) = self.containers.remove(&id)
            {
                self.ended(id, container, code);
            }
        }
    }

    fn ended(&mut self, id: String, mut container: Running, code: i32) {
        let spec = &container.spec;
        // Without a PID namespace of its own the rest of the container would live on.
        cgroup::kill_all(&spec.cgroups);
        container.streams.drain(&now_text());
        let oom_killed = cgroup::oom_kills(&spec.cgroups) > container.oom_kills_before;
        let exit = Exit { code, finished_at: now_nanos(), oom_killed };
        // A watcher is told even if the disk is full; after that only memory would know.
        let _ = write_exit(&spec.exit_file, &exit);
        let message = Response::ContainerExited { id, exit };
        self.watchers.retain(|stream| wire::send(stream, &message, &[]).is_ok());
    }
}

fn signal_process(pid: i32, signal: i32) -> io::Result<()> {
    let signal = Signal::try_from(signal)?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn write_exit(path: &Path, exit: &Exit) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, gantry_json::to_vec(exit)?)?;
    fs::rename(partial, path)
}
