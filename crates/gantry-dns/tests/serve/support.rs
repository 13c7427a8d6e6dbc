//! A cluster's API and DNS on loopback, with a name server for the world outside.

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gantry_client::Informers;
use gantry_dns::{Dns, DnsConfig, Readiness, Upstreams};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

/// DNS over a real API server, or over one that does not answer.
pub struct Cluster {
    pub address: SocketAddr,
    pub readiness: Readiness,
    client: Client,
    outside: SocketAddr,
    run_dir: TempDir,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    _api: Option<TestServer>,
}

impl Cluster {
    pub async fn start() -> Result<Self> {
        let api = TestServer::start().await?;
        let client = api.client();
        let mut cluster = Self::over(client, Some(api)).await?;
        let ready = tokio::time::timeout(PATIENCE, cluster.readiness.ready()).await?;
        assert!(ready);
        Ok(cluster)
    }

    pub async fn without_api() -> Result<Self> {
        Self::over(silent(), None).await
    }

    async fn over(client: Client, api: Option<TestServer>) -> Result<Self> {
        let (outside, shutdown) = (outside().await?, CancellationToken::new());
        let run_dir = tempfile::Builder::new().prefix(&"long".repeat(50)).tempdir()?;
        let any = "127.0.0.1:0".parse()?;
        let (address, readiness, serving) = serve(any, outside, run_dir.path(), &client, &shutdown)?;
        Ok(Self { address, readiness, client, outside, run_dir, shutdown, serving, _api: api })
    }

    /// Ends the agent without a word to the process, as by SIGKILL: its end of the connection closes.
    pub async fn crash(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Starts the next agent after [`Cluster::crash`]; returns when its process answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_with(self.client.clone())?;
        assert!(tokio::time::timeout(PATIENCE, self.readiness.ready()).await?);
        Ok(())
    }

    /// The same with an API that does not answer.
    pub fn restart_without_api(&mut self) -> Result<()> {
        self.restart_with(silent())
    }

    fn restart_with(&mut self, client: Client) -> Result<()> {
        let (address, readiness, serving) =
            serve(self.address, self.outside, self.run_dir.path(), &client, &self.shutdown)?;
        assert_eq!(address, self.address);
        (self.readiness, self.serving) = (readiness, serving);
        Ok(())
    }

    /// The processes that answer, or are about to.
    pub fn processes(&self) -> Vec<i32> {
        let directory = self.run_dir.path().to_str().expect("a path");
        let pids = std::fs::read_dir("/proc").expect("processes").flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let ours = |pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|words| words.contains(directory))
        };
        pids.filter(ours).collect()
    }

    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    pub async fn create_service(&self, name: &str, spec: Value) -> Result<Service> {
        let service = gantry_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        Ok(Api::namespaced(self.client.clone(), "default").create(&Default::default(), &service).await?)
    }

    pub async fn delete_service(&self, name: &str) -> Result<()> {
        Api::<Service>::namespaced(self.client.clone(), "default").delete(name, &Default::default()).await?;
        Ok(())
    }

    /// A slice of a Service with so many ready endpoints.
    pub async fn create_slice(&self, service: &str, count: u8) -> Result<()> {
        let endpoints: Vec<_> = (0..count)
            .map(|last| json!({"addresses": [format!("10.42.0.{last}")], "conditions": {"ready": true}}))
            .collect();
        let slice: EndpointSlice = gantry_json::from_value(json!({
            "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "sql", "protocol": "TCP", "port": 5432}],
        }))?;
        Api::namespaced(self.client.clone(), "default").create(&Default::default(), &slice).await?;
        Ok(())
    }

    /// Asks until the informers have carried a change here.
    pub async fn ask_until(
        &self,
        name: &str,
        record_type: RecordType,
        enough: impl Fn(&Message) -> bool,
    ) -> Result<Message> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = ask_udp(self.address, &query(name, record_type)).await?;
            if enough(&answer) {
                return Ok(answer);
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{name} {record_type} stays {answer}");
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
        if let Err(error) = gantry_dns::end(self.run_dir.path()) {
            eprintln!("{error}");
        }
    }
}

/// An agent's DNS.
fn serve(
    address: SocketAddr,
    outside: SocketAddr,
    run_dir: &Path,
    client: &Client,
    shutdown: &CancellationToken,
) -> Result<(SocketAddr, Readiness, JoinHandle<()>)> {
    let dns = Dns::bind(DnsConfig {
        listen: vec![address],
        domain: "cluster.local".to_owned(),
        upstreams: Upstreams::Servers(vec![outside]),
        own_addresses: Vec::new(),
        command: vec![env!("CARGO_BIN_EXE_gantry-dns-helper").into(), "dns".into()],
        run_dir: run_dir.to_owned(),
        cgroups: Vec::new(),
    })?;
    let (address, readiness) = (dns.addresses()[0], dns.readiness());
    let (informers, shutdown) = (Informers::new(client.clone(), shutdown.clone()), shutdown.clone());
    let serving = tokio::spawn(async move { dns.serve(&informers, shutdown).await });
    Ok((address, readiness, serving))
}

/// A client whose requests are never answered.
fn silent() -> Client {
    let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
    });
    Client::new(service, "default")
}

pub fn query(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), record_type));
    message
}

/// The data of the answer's records.
pub fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

pub async fn ask_udp(server: SocketAddr, message: &Message) -> Result<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.send_to(&message.to_vec()?, server).await?;
    let mut buffer = vec![0; 65535];
    let length =
        tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await.context("no answer by UDP")??;
    Ok(Message::from_vec(&buffer[..length])?)
}

pub async fn ask_tcp(server: SocketAddr, message: &Message) -> Result<Message> {
    ask_on(&mut TcpStream::connect(server).await?, message).await
}

/// Asks on a connection.
pub async fn ask_on(stream: &mut TcpStream, message: &Message) -> Result<Message> {
    let exchange = async {
        let bytes = message.to_vec()?;
        stream.write_all(&[&u16::try_from(bytes.len())?.to_be_bytes()[..], &bytes].concat()).await?;
        let mut buffer = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut buffer).await?;
        Ok(Message::from_vec(&buffer)?)
    };
    tokio::time::timeout(PATIENCE, exchange).await.context("no answer by TCP")?
}

/// A name server that knows a few names in `example.com`.
async fn outside() -> Result<SocketAddr> {
    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    let address = tcp.local_addr()?;
    let udp = UdpSocket::bind(address).await?;
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let Ok(bytes) = outside_answer(&buffer[..length], 512) else { continue };
            if udp.send_to(&bytes, from).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let exchange = async {
                let mut buffer = vec![0; stream.read_u16().await?.into()];
                stream.read_exact(&mut buffer).await?;
                let bytes = outside_answer(&buffer, 65535)?;
                stream.write_all(&[&u16::try_from(bytes.len())?.to_be_bytes()[..], &bytes].concat()).await?;
                anyhow::Ok(())
            };
            if let Err(error) = exchange.await {
                eprintln!("outside: {error}");
            }
        }
    });
    Ok(address)
}

fn outside_answer(bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let asked = Message::from_vec(bytes)?;
    let mut answer = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
    let query = asked.queries.first().context("no question")?.clone();
    let name = query.name().clone();
    answer.add_query(query);
    let address = |last| Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, last)));
    match name.to_ascii().to_lowercase().as_str() {
        "www.example.com." => {
            answer.add_answer(address(80));
        }
        "large.example.com." => {
            answer.add_answers((0..100).map(address));
        }
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            let zone = Name::from_str("example.com.")?;
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 1, 1, 1, 60);
            answer.add_authority(Record::from_rdata(zone, 60, RData::SOA(soa)));
        }
    }
    let whole = answer.to_vec()?;
    if whole.len() <= limit {
        return Ok(whole);
    }
    answer.answers.clear();
    answer.metadata.truncation = true;
    Ok(answer.to_vec()?)
}
