//! Watches over a WebSocket.

use anyhow::{Context, Result, bail};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request, StatusCode};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A WebSocket for `path` with these headers beside the usual ones; or the code of the refusal.
async fn open(
    server: &TestServer,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Result<(Socket, http::HeaderMap), StatusCode>> {
    let mut request = Request::builder()
        .uri(format!("ws://{}{path}", server.address))
        .header("host", server.address.to_string())
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let stream = server.connect(Some(&server.admin)).await?;
    match tokio_tungstenite::client_async(request.body(())?, stream).await {
        Ok((socket, answer)) => Ok(Ok((socket, answer.headers().clone()))),
        Err(Error::Http(answer)) => Ok(Err(answer.status())),
        Err(error) => Err(error.into()),
    }
}

const ORIGIN: (&str, &str) = ("origin", "http://localhost");

async fn watch(server: &TestServer, query: &str) -> Result<Socket> {
    let opened = open(server, &format!("{MAPS}?watch=true&{query}"), &[ORIGIN]).await?;
    Ok(opened.map_err(|code| anyhow::anyhow!("{code}"))?.0)
}

/// The next event.
async fn event(socket: &mut Socket) -> Result<Value> {
    match socket.next().await.context("the watch ended")?? {
        Message::Text(line) => {
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?}");
            Ok(gantry_json::from_str(&line)?)
        }
        other => bail!("{other:?}"),
    }
}

/// Reads to the end of a watch, which is said.
async fn end(socket: &mut Socket) -> Result<()> {
    loop {
        match socket.next().await.context("an end without a word")?? {
            Message::Close(frame) => {
                assert_eq!(frame.context("no reason")?.code, CloseCode::Normal);
                return Ok(());
            }
            Message::Text(_) => {}
            other => bail!("{other:?}"),
        }
    }
}

async fn create(server: &TestServer, name: &str) -> Result<()> {
    let map = json!({"metadata": {"name": name}});
    assert_eq!(server.json(Method::POST, MAPS, &map).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn each_event_is_a_message() -> Result<()> {
    let server = TestServer::start().await?;
    for at in 0..50 {
        create(&server, &format!("m{at:02}")).await?;
    }
    let mut socket =
        watch(&server, "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
            .await?;
    let mut seen = 0;
    loop {
        let event = event(&mut socket).await?;
        if event["type"] == "BOOKMARK" {
            break;
        }
        seen += usize::from(
            event["object"]["metadata"]["name"].as_str().is_some_and(|name| name.starts_with('m')),
        );
    }
    assert_eq!(seen, 50);
    create(&server, "later").await?;
    let later = event(&mut socket).await?;
    assert_eq!((&later["type"], &later["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("later")));
    // Who stops the server stops its watches.
    server.stop();
    end(&mut socket).await
}

#[tokio::test]
async fn events_in_protobuf_are_binary_messages() -> Result<()> {
    let server = TestServer::start().await?;
    create(&server, "a").await?;
    let accept = ("accept", "application/vnd.kubernetes.protobuf;stream=watch");
    let path = "/api/v1/watch/namespaces/default/configmaps?fieldSelector=metadata.name%3Da";
    let (mut socket, _) = open(&server, path, &[ORIGIN, accept]).await?.ok().context("refused")?;
    let Message::Binary(event) = socket.next().await.context("the watch ended")?? else { bail!("no bytes") };
    assert!(event.starts_with(b"\x0a\x05ADDED\x12"), "{event:?}");
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_when_its_time_has_passed() -> Result<()> {
    let server = TestServer::start().await?;
    end(&mut watch(&server, "timeoutSeconds=1").await?).await
}

#[tokio::test]
async fn a_client_that_goes_ends_its_watch() -> Result<()> {
    let server = TestServer::start().await?;
    let mut socket = watch(&server, "").await?;
    socket.close(None).await?;
    // The other side says good-bye, too, and nothing else.
    while let Some(said) = socket.next().await {
        match said {
            Ok(Message::Close(_) | Message::Text(_)) => {}
            Ok(other) => bail!("{other:?}"),
            Err(_) => break,
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_gets_a_socket() -> Result<()> {
    let server = TestServer::start().await?;
    let path = format!("{MAPS}?watch=true");
    let check = async |path: &str, headers: &[(&str, &str)], code: u16| -> Result<()> {
        let answered = open(&server, path, headers).await?.err().map(|code| code.as_u16());
        assert_eq!(answered, (code != 101).then_some(code), "{path} {headers:?}");
        Ok(())
    };
    check(&path, &[], 403).await?;
    check(&path, &[("origin", "null")], 403).await?;
    check(&path, &[ORIGIN, ("sec-websocket-protocol", "a, b")], 400).await?;
    check(&path, &[ORIGIN], 101).await?;
    check("/api/v1/namespaces/default/nothings?watch=true", &[ORIGIN], 404).await?;
    check(&path, &[ORIGIN, ("accept", "application/yaml")], 406).await?;
    // What a client calls its protocol is its own affair.
    let (_, headers) =
        open(&server, &path, &[ORIGIN, ("sec-websocket-protocol", "x.y")]).await?.ok().context("refused")?;
    assert_eq!(headers["sec-websocket-protocol"], "x.y");
    Ok(())
}
