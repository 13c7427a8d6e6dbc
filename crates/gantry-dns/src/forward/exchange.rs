//! One question to one server: UDP, and TCP where the answer does not fit.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, MessageType, Query};
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::DecodeError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::Question;
use crate::reply::MAX_UDP;

/// A server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("encoding the question: {0}")]
    Encode(#[from] ProtoError),
    #[error("its answer cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("its answer is to another question")]
    Mismatch,
}

/// Asks `server`, from a port of its own for each question. Does not end by itself when the server
/// is silent.
pub(super) async fn exchange(server: SocketAddr, question: &Question) -> Result<Message, ExchangeError> {
    let query = query(question);
    let bytes = query.to_vec()?;
    let message = by_udp(server, &query, &bytes).await?;
    if message.metadata.truncation { by_tcp(server, &query, &bytes).await } else { Ok(message) }
}

fn query(question: &Question) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from(&question.name), question.record_type));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP).set_dnssec_ok(question.dnssec);
    message.set_edns(edns);
    message
}

async fn by_udp(server: SocketAddr, query: &Message, bytes: &[u8]) -> Result<Message, ExchangeError> {
    let local: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever does not fit the question may be forged: the answer may still come.
        if let Ok(message) = Message::from_vec(&buffer[..length])
            && answers(&message, query)
        {
            return Ok(message);
        }
    }
}

async fn by_tcp(server: SocketAddr, query: &Message, bytes: &[u8]) -> Result<Message, ExchangeError> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(|_| ExchangeError::Mismatch)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let message = Message::from_vec(&buffer)?;
    if answers(&message, query) { Ok(message) } else { Err(ExchangeError::Mismatch) }
}

fn answers(message: &Message, query: &Message) -> bool {
    message.metadata.id == query.metadata.id
        && message.metadata.message_type == MessageType::Response
        && message.queries == query.queries
}
