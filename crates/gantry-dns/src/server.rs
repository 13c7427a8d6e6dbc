//! Reads questions and sends answers.
//!
//! It can stop so that nobody loses an answer: what has been read is answered, what has not is left in
//! the sockets for whoever reads them next, and a client with a connection may ask on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handler::Handler;
use crate::sockets::Sockets;

/// How long a TCP connection may be silent.
const TCP_SILENCE: Duration = Duration::from_secs(10);
/// How long it may be silent once the server is to end: then its client has to open another one.
const LAST_SILENCE: Duration = Duration::from_secs(2);
/// Connections at once; more wait in the kernel.
const TCP_CONNECTIONS: usize = 1000;
/// Datagrams that may wait for other name servers at once; more are dropped, as a full socket does.
const UDP_WAITING: usize = 4000;
/// Questions are far smaller.
const LARGEST_DATAGRAM: usize = 4096;
/// How long to wait before accepting again after that failed: descriptors or memory are short.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Answers on sockets until told to end.
pub(crate) struct Server {
    tasks: TaskTracker,
    ending: CancellationToken,
}

impl Server {
    /// Begins to read `sockets`.
    pub(crate) fn start(sockets: &Sockets, handler: &Arc<Handler>) -> io::Result<Self> {
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        for (udp, tcp) in sockets.listen()? {
            tasks.spawn(datagrams(Arc::new(udp), handler.clone(), tasks.clone(), ending.clone()));
            tasks.spawn(connections(tcp, handler.clone(), tasks.clone(), ending.clone()));
        }
        Ok(Self { tasks, ending })
    }

    /// Reads no more and returns when everything that was read is answered.
    pub(crate) async fn end(&self) {
        self.ending.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn datagrams(
    socket: Arc<UdpSocket>,
    handler: Arc<Handler>,
    tasks: TaskTracker,
    ending: CancellationToken,
) {
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let received = tokio::select! {
            biased;
            () = ending.cancelled() => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        match received {
            Ok((length, source)) if source.port() != 0 && tasks.len() < UDP_WAITING => {
                let (question, socket, handler) =
                    (buffer[..length].to_vec(), socket.clone(), handler.clone());
                tasks.spawn(async move {
                    if let Some(answer) = handler.answer(question, source, Protocol::Udp).await
                        && let Err(error) = socket.send_to(&answer, source).await
                    {
                        tracing::debug!(client = %source, %error, "cannot send a DNS answer");
                    }
                });
            }
            Ok((_, source)) => tracing::debug!(client = %source, "DNS question dropped"),
            // What the network said of an earlier answer.
            Err(error) => tracing::debug!(%error, "reading DNS questions"),
        }
    }
}

async fn connections(
    listener: TcpListener,
    handler: Arc<Handler>,
    tasks: TaskTracker,
    ending: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(TCP_CONNECTIONS));
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, source)| (stream, source, place))
        };
        let accepted = tokio::select! {
            biased;
            () = ending.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, source, place)) => {
                let (handler, ending) = (handler.clone(), ending.clone());
                tasks.spawn(async move {
                    if let Err(error) = connection(stream, source, &handler, &ending).await {
                        tracing::debug!(client = %source, %error, "DNS connection closed");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "accepting DNS connections");
                tokio::time::sleep(SHORTAGE).await;
            }
        }
    }
}

/// Answers one question after the other, so that no client gets more than its share.
async fn connection(
    mut stream: TcpStream,
    source: SocketAddr,
    handler: &Handler,
    ending: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let question = async {
            let mut question = vec![0; stream.read_u16().await?.into()];
            stream.read_exact(&mut question).await.map(|_| question)
        };
        let question = tokio::select! {
            question = question => question?,
            () = silence(ending) => return Ok(()),
        };
        let Some(answer) = handler.answer(question, source, Protocol::Tcp).await else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let bytes = [&length.to_be_bytes()[..], &answer].concat();
        tokio::time::timeout(TCP_SILENCE, stream.write_all(&bytes)).await??;
    }
}

/// Returns when a client has been silent for too long.
async fn silence(ending: &CancellationToken) {
    let last = async {
        ending.cancelled().await;
        tokio::time::sleep(LAST_SILENCE).await;
    };
    tokio::select! {
        () = tokio::time::sleep(TCP_SILENCE) => {}
        () = last => {}
    }
}
