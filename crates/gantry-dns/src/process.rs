//! The process that answers. It has one thread and a session of its own, and outlives the agent that
//! started it.
//!
//! Flow: the agent gives it the sockets and settings, then tells it what exists. Where there is the
//! process of an earlier start it begins to read the sockets when it knows everything, and tells the
//! earlier one to finish; else at once. When the agent ends it goes on, if it knows everything. It ends
//! when its successor says so, having answered all that it has read, or at [`end`].

pub(crate) mod takeover;

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;

use crate::forward::Forwarder;
use crate::handler::{Handler, Zone};
use crate::server::Server;
use crate::sockets::Sockets;
use crate::update::Update;
use crate::{DnsError, Index, Upstreams, sys};
use takeover::{Order, Predecessor};

/// How long a process that has a successor may take to answer what it has read.
const FAREWELL: Duration = Duration::from_secs(15);

/// What the agent says first; the sockets come with it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) domain: String,
    pub(crate) upstreams: Upstreams,
    pub(crate) own_addresses: Vec<IpAddr>,
    pub(crate) cgroups: Vec<PathBuf>,
}

/// Runs the process: `args` is the run directory, the agent is at the other end of standard input.
/// `started` is called when it knows everything for the first time.
pub fn main(args: &[String], started: fn()) -> ! {
    let [run_dir] = args else {
        eprintln!("usage: dns DIRECTORY");
        std::process::exit(2)
    };
    std::process::exit(i32::from(run(Path::new(run_dir), started).is_err()))
}

/// Ends the process in `run_dir`, if there is one, and returns when it has ended.
pub fn end(run_dir: &Path) -> Result<(), DnsError> {
    let failed = |source| DnsError::Process { run_dir: run_dir.to_owned(), source };
    match takeover::connect(run_dir).map_err(failed)? {
        Some((process, _)) => takeover::end(process).map_err(failed),
        None => Ok(()),
    }
}

fn run(run_dir: &Path, started: fn()) -> io::Result<()> {
    // Fails where it leads a session already.
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(c"gantry-dns");
    let agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let (start, sockets) = receive(&agent)?;
    std::env::set_current_dir("/")?;
    for cgroup in &start.cgroups {
        // A hierarchy that cannot take it is no reason not to answer.
        let _ = std::fs::write(cgroup.join("cgroup.procs"), "0");
    }
    // Every pod on the node needs it, and it is small: the last one to be killed for its memory.
    let _ = std::fs::write("/proc/self/oom_score_adj", "-998");
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let served = serve(run_dir, agent, start, sockets, started).await;
        // At once: whoever waits for the end of a connection knows by it that the process has ended.
        std::process::exit(i32::from(served.is_err()))
    })
}

fn receive(mut agent: &UnixStream) -> io::Result<(Start, Sockets)> {
    let mut length = [0; 4];
    let (read, descriptors) = sys::receive(agent.as_fd(), &mut length)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    agent.read_exact(&mut length[read..])?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    agent.read_exact(&mut bytes)?;
    Ok((gantry_json::from_slice(&bytes)?, Sockets::from_descriptors(descriptors)?))
}

/// What the process has to act upon.
#[derive(Debug)]
pub(crate) enum Event {
    /// It knows everything that exists.
    Known,
    /// The agent has ended.
    Alone,
    /// What the agent says cannot be read: it has to start another process.
    Garbled(io::Error),
    /// Somebody who has connected says so.
    Order(Order),
}

async fn serve(
    run_dir: &Path,
    agent: UnixStream,
    start: Start,
    sockets: Sockets,
    started: fn(),
) -> io::Result<()> {
    let index = Index::new(&start.domain).map_err(io::Error::other)?;
    let handler = Arc::new(Handler {
        zone: RwLock::new(Zone { index, known: false }),
        forwarder: Forwarder::new(start.upstreams, &sockets.addresses(), &start.own_addresses),
    });
    let (sender, mut events) = mpsc::channel(16);
    agent.set_nonblocking(true)?;
    let (from, mut to) = tokio::net::UnixStream::from_std(agent)?.into_split();
    tokio::spawn(learn(from, handler.clone(), sender.clone(), started));

    let mut predecessor =
        takeover::connect(run_dir)?.map(|(process, _)| Predecessor::new(process)).transpose()?;
    if let Some(waiting) = &mut predecessor {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Known) => {}
                // The earlier process goes on.
                _ => return Ok(()),
            },
            // Nobody else answers any more.
            () = waiting.ended() => predecessor = None,
        }
    }
    let server = Server::start(&sockets, &handler)?;
    if let Some(predecessor) = &mut predecessor {
        predecessor.finish().await;
    }
    let succession = tokio::spawn(takeover::listen(run_dir, Arc::new(sockets), sender.clone())?);
    if predecessor.is_some() {
        // An agent that is gone need not know.
        to.write_u8(0).await.unwrap_or_default();
    }
    while let Some(event) = events.recv().await {
        match event {
            Event::Known => to.write_u8(0).await.unwrap_or_default(),
            Event::Alone if handler.zone.read().known => {}
            Event::Alone => return Ok(()),
            Event::Garbled(error) => return Err(error),
            Event::Order(Order::Finish) => break,
            Event::Order(Order::End) => {
                if let Some(predecessor) = &mut predecessor {
                    predecessor.end().await;
                }
                return Ok(());
            }
        }
    }
    succession.abort();
    let finished = async {
        server.end().await;
        if let Some(predecessor) = &mut predecessor {
            predecessor.ended().await;
        }
    };
    let ordered = async {
        while let Some(event) = events.recv().await {
            if matches!(event, Event::Order(Order::End)) {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(FAREWELL, finished) => {}
        () = ordered => {}
    }
    Ok(())
}

/// Follows what the agent tells.
async fn learn(from: OwnedReadHalf, handler: Arc<Handler>, events: mpsc::Sender<Event>, started: fn()) {
    let (mut from, mut buffer) = (BufReader::new(from), Vec::new());
    let last = loop {
        let update = match Update::read(&mut from, &mut buffer).await {
            Ok(Some(update)) => update,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => break Event::Garbled(error),
            // The end, at whatever byte.
            Ok(None) | Err(_) => break Event::Alone,
        };
        let all = update == Update::Known;
        {
            let mut zone = handler.zone.write();
            zone.index.apply(update);
            zone.known |= all;
        }
        if all {
            started();
        }
        if all && events.send(Event::Known).await.is_err() {
            return;
        }
    };
    // The process is about to end where nobody listens.
    let _ = events.send(last).await;
}
