//! The process that answers outlives its agent and makes way for the next one's; nobody notices.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use gantry_json::json;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{Cluster, ask_on, ask_tcp, ask_udp, data, query};

const WEB: &str = "web.default.svc.cluster.local.";
/// Agents that live one after the other.
const ROUNDS: usize = 5;
/// Questions that are answered while there is no agent, at least.
const ALONE: usize = 200;
/// Questions on a connection that lasts.
const ON_ONE_CONNECTION: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_question_is_lost_when_agents_die_and_start() -> Result<()> {
    let mut cluster = with_web().await?;
    let load = Load { server: cluster.address, stop: AtomicBool::new(false), answered: AtomicUsize::new(0) };
    let load = Arc::new(load);
    let mut clients = JoinSet::new();
    for number in 0..6 {
        clients.spawn(load.clone().client(number));
    }
    for _ in 0..ROUNDS {
        let process = Process::of(&cluster)?;
        cluster.crash().await;
        load.answer(ALONE).await;
        cluster.restart().await?;
        process.ended().await?;
        load.answer(ALONE).await;
        ensure!(cluster.processes().len() == 1, "{:?}", cluster.processes());
    }
    load.stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_known_is_answered_until_the_next_agent_knows_more() -> Result<()> {
    let mut cluster = with_web().await?;
    let process = Process::of(&cluster)?;
    cluster.crash().await;
    cluster.create_service("later", json!({"ports": [{"name": "http", "port": 80}]})).await?;
    // An agent that cannot reach the API does not take over, and its end changes nothing.
    cluster.restart_without_api()?;
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    assert_eq!(code(&cluster, "later.default.svc.cluster.local.").await?, ResponseCode::NXDomain);
    cluster.crash().await;
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    let forwarded = ask_udp(cluster.address, &query("www.example.com.", RecordType::A)).await?;
    assert_eq!(data(&forwarded), ["192.0.2.80"]);
    cluster.restart().await?;
    process.ended().await?;
    assert_eq!(code(&cluster, "later.default.svc.cluster.local.").await?, ResponseCode::NoError);
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_killed_is_replaced() -> Result<()> {
    let mut cluster = with_web().await?;
    let process = Process::of(&cluster)?;
    let [pid] = cluster.processes()[..] else { panic!("{:?}", cluster.processes()) };
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    process.ended().await?;
    // The agent has the sockets, too: the question waits in the kernel. Until the cluster is known
    // again its names fail.
    ask_udp(cluster.address, &query(WEB, RecordType::A)).await?;
    assert!(cluster.readiness.ready().await);
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    assert!(cluster.processes().len() == 1 && !cluster.processes().contains(&pid));
    Ok(())
}

#[tokio::test]
async fn the_process_is_small() -> Result<()> {
    let mut cluster = with_web().await?;
    let [pid] = cluster.processes()[..] else { panic!("{:?}", cluster.processes()) };
    cluster.crash().await;
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    assert_eq!(std::fs::read_dir(format!("/proc/{pid}/task"))?.count(), 1, "one thread");
    let memory = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    // What is in files is shared with the agent, and the kernel's to take back.
    let own = memory.lines().find_map(|line| line.strip_prefix("Pss_Anon:")?.trim().strip_suffix(" kB"));
    let own: usize = own.unwrap_or_default().parse()?;
    assert!(own < 1000, "{memory}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_after_the_end_and_leftovers_are_no_hindrance() -> Result<()> {
    let mut cluster = with_web().await?;
    cluster.crash().await;
    gantry_dns::end(cluster.run_dir())?;
    assert!(cluster.processes().is_empty());
    gantry_dns::end(cluster.run_dir())?;
    // The socket that nobody listens on any more is still there.
    assert!(cluster.run_dir().join("dns.sock").exists());
    std::fs::write(cluster.run_dir().join("dns.sock.next"), "rubbish")?;
    cluster.restart().await?;
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    cluster.crash().await;
    gantry_dns::end(cluster.run_dir())?;
    std::fs::remove_file(cluster.run_dir().join("dns.sock"))?;
    std::fs::write(cluster.run_dir().join("dns.sock"), "rubbish")?;
    cluster.restart().await?;
    assert_eq!(code(&cluster, WEB).await?, ResponseCode::NoError);
    Ok(())
}

async fn with_web() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.create_service("web", json!({"ports": [{"name": "http", "port": 80}]})).await?;
    cluster.ask_until(WEB, RecordType::A, |answer| !answer.answers.is_empty()).await?;
    Ok(cluster)
}

async fn code(cluster: &Cluster, name: &str) -> Result<ResponseCode> {
    Ok(ask_udp(cluster.address, &query(name, RecordType::A)).await?.metadata.response_code)
}

/// A process, by a connection to it.
struct Process(UnixStream);

impl Process {
    /// The one that the next agent would take over from.
    fn of(cluster: &Cluster) -> Result<Self> {
        let directory = File::open(cluster.run_dir())?;
        let path = format!("/proc/self/fd/{}/dns.sock", directory.as_raw_fd());
        let mut stream = UnixStream::connect(Path::new(&path))?;
        stream.read_exact(&mut [0])?;
        Ok(Self(stream))
    }

    async fn ended(mut self) -> Result<()> {
        tokio::task::spawn_blocking(move || {
            self.0.set_read_timeout(Some(std::time::Duration::from_secs(10)))?;
            ensure!(self.0.read(&mut [0])? == 0);
            Ok(())
        })
        .await?
    }
}

/// Clients that ask on and on.
struct Load {
    server: SocketAddr,
    stop: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Asks in one of several ways; a question without the right answer is an error.
    async fn client(self: Arc<Self>, number: usize) -> Result<()> {
        let mut asked = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let web = query(WEB, RecordType::A);
            match number {
                0 | 1 => self.check(ask_udp(self.server, &web).await?, ResponseCode::NoError)?,
                2 | 3 => self.check(ask_tcp(self.server, &web).await?, ResponseCode::NoError)?,
                4 => {
                    let mut stream = TcpStream::connect(self.server).await?;
                    for _ in 0..ON_ONE_CONNECTION {
                        self.check(ask_on(&mut stream, &web).await?, ResponseCode::NoError)?;
                    }
                }
                _ => {
                    // Never asked before, so that it has to be forwarded.
                    let elsewhere = query(&format!("n{asked}.example.com."), RecordType::A);
                    self.check(ask_udp(self.server, &elsewhere).await?, ResponseCode::NXDomain)?;
                }
            }
            asked += 1;
        }
        Ok(())
    }

    fn check(&self, answer: Message, code: ResponseCode) -> Result<()> {
        ensure!(answer.metadata.response_code == code, "{answer}");
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Returns when so many more questions have been answered.
    async fn answer(&self, count: usize) {
        let enough = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
    }
}
