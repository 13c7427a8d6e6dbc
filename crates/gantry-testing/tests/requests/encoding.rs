//! Compression: large answers, for those who take it.

use std::io::Read;

use anyhow::Result;
use bytes::Bytes;
use flate2::read::GzDecoder;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn get(server: &TestServer, path: &str, encodings: &str) -> Result<Reply> {
    let request = Request::builder()
        .uri(path)
        .header("host", "x")
        .header("accept-encoding", encodings)
        .body(Bytes::new())?;
    server.send(Some(&server.admin), request).await
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() -> Result<()> {
    let server = TestServer::start().await?;
    for number in 0..4 {
        let object =
            json!({"metadata": {"name": format!("m{number}")}, "data": {"k": "abcdefgh".repeat(8 << 10)}});
        assert_eq!(server.json(Method::POST, MAPS, &object).await?.code, 201);
    }
    let plain = get(&server, MAPS, "identity").await?;
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = get(&server, MAPS, "gzip, deflate").await?;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.headers["vary"], "Accept-Encoding");
    assert!(packed.bytes.len() < plain.bytes.len() / 10);
    let mut text = String::new();
    GzDecoder::new(&*packed.bytes).read_to_string(&mut text)?;
    assert_eq!(gantry_json::from_str::<Value>(&text)?, plain.json());
    let refused = get(&server, MAPS, "gzip;q=0, identity").await?;
    assert!(!refused.headers.contains_key("content-encoding"));
    let small = get(&server, "/api/v1/namespaces/default", "gzip").await?;
    assert!(!small.headers.contains_key("content-encoding"));
    let watch = get(&server, &format!("{MAPS}?watch=true&timeoutSeconds=1"), "gzip").await?;
    assert!(!watch.headers.contains_key("content-encoding"), "an event would wait in the encoder");
    Ok(())
}
