//! The server on loopback, fed by a real API server, asked by UDP and TCP.

mod support;
mod takeover;

use anyhow::Result;
use gantry_json::json;
use hickory_proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, RecordType};

use support::{Cluster, ask_tcp, ask_udp, data, query};

#[tokio::test]
async fn services_resolve_as_they_come_and_go() -> Result<()> {
    let cluster = Cluster::start().await?;
    let name = "web.default.svc.cluster.local.";
    let before = ask_udp(cluster.address, &query(name, RecordType::A)).await?;
    assert_eq!(before.metadata.response_code, ResponseCode::NXDomain);
    assert!(before.metadata.authoritative && before.metadata.recursion_available);
    assert_eq!(before.authorities[0].record_type(), RecordType::SOA);

    let mut service = cluster.create_service("web", json!({"ports": [{"name": "http", "port": 80}]})).await?;
    let address = service.spec.take().and_then(|spec| spec.cluster_ip).unwrap_or_default();
    let after = cluster.ask_until(name, RecordType::A, |answer| !answer.answers.is_empty()).await?;
    assert_eq!(data(&after), [address.as_str()]);
    let by_tcp =
        ask_tcp(cluster.address, &query("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV))
            .await?;
    assert_eq!(data(&by_tcp), [format!("0 100 80 {name}")]);
    assert_eq!(by_tcp.additionals[0].data.to_string(), address);

    cluster.delete_service("web").await?;
    let gone = |answer: &Message| answer.metadata.response_code == ResponseCode::NXDomain;
    cluster.ask_until(name, RecordType::A, gone).await?;
    Ok(())
}

#[tokio::test]
async fn large_answers_are_truncated_and_whole_by_tcp() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster
        .create_service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}))
        .await?;
    cluster.create_slice("db", 200).await?;
    let name = "db.default.svc.cluster.local.";
    let small = cluster.ask_until(name, RecordType::A, |answer| !answer.answers.is_empty()).await?;
    assert!(small.metadata.truncation && small.answers.len() == 26, "{small:?}");
    assert!(small.edns.is_none());

    let mut asked = query(name, RecordType::A);
    asked.set_edns(Edns::new().set_max_payload(4096).clone());
    let larger = ask_udp(cluster.address, &asked).await?;
    assert!(larger.metadata.truncation && larger.answers.len() > 60, "{} answers", larger.answers.len());
    assert_eq!(larger.edns.map(|edns| edns.max_payload()), Some(1232));

    let whole = ask_tcp(cluster.address, &query(name, RecordType::A)).await?;
    assert!(!whole.metadata.truncation);
    assert_eq!(whole.answers.len(), 200);
    let ports =
        ask_tcp(cluster.address, &query("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV)).await?;
    assert_eq!((ports.answers.len(), ports.additionals.len()), (200, 200));
    Ok(())
}

#[tokio::test]
async fn other_names_are_forwarded() -> Result<()> {
    let cluster = Cluster::start().await?;
    let answer = ask_udp(cluster.address, &query("wWw.example.com.", RecordType::A)).await?;
    assert_eq!(data(&answer), ["192.0.2.80"]);
    assert!(!answer.metadata.authoritative);
    assert_eq!(answer.answers[0].name.to_ascii(), "wWw.example.com.");
    let missing = ask_udp(cluster.address, &query("missing.example.com.", RecordType::A)).await?;
    assert_eq!(missing.metadata.response_code, ResponseCode::NXDomain);
    assert!(!missing.metadata.authoritative);
    // The upstream server says by UDP that this one is too large.
    let large = ask_tcp(cluster.address, &query("large.example.com.", RecordType::A)).await?;
    assert_eq!(large.answers.len(), 100);
    let stranger = ask_udp(cluster.address, &query("7.2.0.192.in-addr.arpa.", RecordType::PTR)).await?;
    assert_eq!(stranger.metadata.response_code, ResponseCode::NXDomain);
    assert!(!stranger.metadata.authoritative);
    Ok(())
}

#[tokio::test]
async fn external_names_are_followed() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.create_service("out", json!({"type": "ExternalName", "externalName": "www.example.com"})).await?;
    let inner = "out.default.svc.cluster.local";
    cluster.create_service("again", json!({"type": "ExternalName", "externalName": inner})).await?;
    let ring = "ring.default.svc.cluster.local";
    cluster.create_service("ring", json!({"type": "ExternalName", "externalName": ring})).await?;
    let there = |answer: &Message| answer.metadata.response_code == ResponseCode::NoError;
    let answer = cluster.ask_until("again.default.svc.cluster.local.", RecordType::A, there).await?;
    assert_eq!(data(&answer), [format!("{inner}."), "www.example.com.".to_owned(), "192.0.2.80".to_owned()]);
    let mut plain = query(&format!("{inner}."), RecordType::A);
    plain.metadata.recursion_desired = false;
    assert_eq!(data(&ask_udp(cluster.address, &plain).await?), ["www.example.com."]);
    let failed = |answer: &Message| answer.metadata.response_code == ResponseCode::ServFail;
    cluster.ask_until(&format!("{ring}."), RecordType::A, failed).await?;
    Ok(())
}

#[tokio::test]
async fn questions_that_cannot_be_answered() -> Result<()> {
    let cluster = Cluster::start().await?;
    let name = "kubernetes.default.svc.cluster.local.";
    let code = async |message: &Message| {
        Ok::<_, anyhow::Error>(ask_udp(cluster.address, message).await?.response_code)
    };
    let mut chaos = query(name, RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos).await?, ResponseCode::Refused);
    assert_eq!(code(&query("cluster.local.", RecordType::AXFR)).await?, ResponseCode::Refused);
    let mut notify = query(name, RecordType::SOA);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify).await?, ResponseCode::NotImp);
    let mut none = query(name, RecordType::A);
    none.queries.clear();
    assert_eq!(code(&none).await?, ResponseCode::FormErr);
    let mut future = query(name, RecordType::A);
    future.set_edns(Edns::new().set_version(1).clone());
    assert_eq!(u16::from(code(&future).await?), u16::from(ResponseCode::BADVERS));
    Ok(())
}

#[tokio::test]
async fn before_the_cluster_is_known_its_names_fail() -> Result<()> {
    let cluster = Cluster::without_api().await?;
    assert!(!cluster.readiness.is_ready());
    let ours =
        ask_udp(cluster.address, &query("kubernetes.default.svc.cluster.local.", RecordType::A)).await?;
    assert_eq!(ours.metadata.response_code, ResponseCode::ServFail);
    let other = ask_udp(cluster.address, &query("www.example.com.", RecordType::A)).await?;
    assert_eq!(data(&other), ["192.0.2.80"]);
    Ok(())
}
