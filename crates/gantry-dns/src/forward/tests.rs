//! The forwarder against name servers on loopback, and what it keeps.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::cache::Cache;
use super::resolv_conf::{ResolvConf, parse};
use super::{ForwardError, Forwarder, Question};
use crate::Upstreams;

fn question(name: &str) -> Question {
    Question::new(&Name::from_str(name).unwrap(), RecordType::A, false)
}

fn answer(code: ResponseCode, ttl: u32) -> Arc<Message> {
    let mut message = Message::new(1, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    let name = Name::from_str("example.com.").unwrap();
    message.add_query(Query::query(name.clone(), RecordType::A));
    if code == ResponseCode::NoError {
        message.add_answer(Record::from_rdata(name, ttl, RData::A(A::new(192, 0, 2, 1))));
    } else {
        let soa = SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, ttl);
        message.add_authority(Record::from_rdata(name, 3600, RData::SOA(soa)));
    }
    Arc::new(message)
}

#[tokio::test(start_paused = true)]
async fn answers_live_as_long_as_they_say_and_not_over_half_a_minute() {
    let mut cache = Cache::new();
    for (name, code, ttl) in [
        ("short.", ResponseCode::NoError, 10),
        ("long.", ResponseCode::NoError, 3600),
        ("none.", ResponseCode::NXDomain, 20),
        ("never.", ResponseCode::NoError, 0),
        ("failed.", ResponseCode::ServFail, 60),
    ] {
        cache.put(question(name), answer(code, ttl));
    }
    assert!(cache.get(&question("never.")).is_none() && cache.get(&question("failed.")).is_none());
    tokio::time::advance(Duration::from_secs(9)).await;
    assert_eq!(cache.get(&question("SHORT.")).unwrap().answers[0].ttl, 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(cache.get(&question("short.")).is_none());
    assert!(cache.get(&question("none.")).is_some());
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(cache.get(&question("none.")).is_none());
    assert!(cache.get(&question("long.")).is_some());
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(cache.get(&question("long.")).is_none());
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let mut cache = Cache::new();
    for number in 0..5002 {
        cache.put(question(&format!("n{number}.")), answer(ResponseCode::NoError, 30));
    }
    assert!(cache.get(&question("n0.")).is_none() && cache.get(&question("n1.")).is_none());
    assert!(cache.get(&question("n2.")).is_some() && cache.get(&question("n5001.")).is_some());
}

#[test]
fn name_servers_of_a_file() {
    let servers = parse(
        "# nameserver 1.1.1.1\nsearch example.com\nnameserver 192.0.2.53\n  nameserver\t2001:db8::53 \n\
         nameserver 192.0.2.53\nnameserver fe80::1%7\nnameserver nonsense\noptions ndots:5\n",
    );
    let expected = ["192.0.2.53:53", "[2001:db8::53]:53", "[fe80::1%7]:53"];
    assert_eq!(servers.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    let file = ResolvConf::new(path.clone());
    assert!(file.servers().is_empty());
    std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
    assert!(file.servers().is_empty(), "known well enough for a moment");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(file.servers().len(), 1);
}

/// A name server that passes on every question and answers when told to.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<(Message, SocketAddr)>, Arc<UdpSocket>) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (sender, receiver) = mpsc::unbounded_channel();
    let (address, reading) = (socket.local_addr().unwrap(), socket.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = reading.recv_from(&mut buffer).await {
            let Ok(message) = Message::from_vec(&buffer[..length]) else { continue };
            if sender.send((message, from)).is_err() {
                return;
            }
        }
    });
    (address, receiver, socket)
}

async fn respond(socket: &UdpSocket, asked: (Message, SocketAddr), code: ResponseCode) {
    let mut message = Message::clone(&answer(code, 30));
    message.metadata.id = asked.0.metadata.id;
    message.queries = asked.0.queries;
    socket.send_to(&message.to_vec().unwrap(), asked.1).await.unwrap();
}

#[tokio::test]
async fn the_same_question_is_asked_once() {
    let (address, mut asked, socket) = server().await;
    let forwarder = Forwarder::new(Upstreams::Servers(vec![address]), &[], &[]);
    let first = tokio::spawn({
        let forwarder = forwarder.clone();
        async move { forwarder.resolve(question("example.com.")).await }
    });
    let one = asked.recv().await.unwrap();
    let second = forwarder.resolve(question("EXAMPLE.com."));
    let (second, ()) = tokio::join!(second, respond(&socket, one, ResponseCode::NoError));
    assert_eq!(second.unwrap().answers.len(), 1);
    assert_eq!(first.await.unwrap().unwrap().answers.len(), 1);
    // From memory now, too.
    forwarder.resolve(question("example.com.")).await.unwrap();
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn forged_answers_are_passed_over() {
    let (address, mut asked, socket) = server().await;
    let forwarder = Forwarder::new(Upstreams::Servers(vec![address]), &[], &[]);
    let serve = async {
        let (message, from) = asked.recv().await.unwrap();
        let mut forged = message.clone();
        forged.metadata.id = message.metadata.id.wrapping_add(1);
        respond(&socket, (forged, from), ResponseCode::NXDomain).await;
        let mut forged = message.clone();
        forged.queries[0].set_name(Name::from_str("other.com.").unwrap());
        respond(&socket, (forged, from), ResponseCode::NXDomain).await;
        respond(&socket, (message, from), ResponseCode::NoError).await;
    };
    let (outcome, ()) = tokio::join!(forwarder.resolve(question("example.com.")), serve);
    assert_eq!(outcome.unwrap().metadata.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    let (broken, mut broken_asked, broken_socket) = server().await;
    let (good, mut good_asked, good_socket) = server().await;
    let forwarder = Forwarder::new(Upstreams::Servers(vec![broken, good]), &[], &[]);
    let serve = async {
        respond(&broken_socket, broken_asked.recv().await.unwrap(), ResponseCode::ServFail).await;
        respond(&good_socket, good_asked.recv().await.unwrap(), ResponseCode::NoError).await;
    };
    let (outcome, ()) = tokio::join!(forwarder.resolve(question("example.com.")), serve);
    assert_eq!(outcome.unwrap().metadata.response_code, ResponseCode::NoError);
    // The good one comes first from now on.
    let serve =
        async { respond(&good_socket, good_asked.recv().await.unwrap(), ResponseCode::NoError).await };
    let (outcome, ()) = tokio::join!(forwarder.resolve(question("example.org.")), serve);
    outcome.unwrap();
    assert!(broken_asked.try_recv().is_err());
}

#[tokio::test]
async fn nobody_asks_himself() {
    let bound: SocketAddr = "0.0.0.0:5353".parse().unwrap();
    let servers = ["127.0.0.1:5353", "10.43.0.10:53"].map(|address| address.parse().unwrap());
    let own = "10.43.0.10".parse().unwrap();
    let forwarder = Forwarder::new(Upstreams::Servers(servers.to_vec()), &[bound], &[own]);
    let outcome = forwarder.resolve(question("example.com.")).await;
    assert!(matches!(outcome, Err(ForwardError::NoServers)), "{outcome:?}");
}
