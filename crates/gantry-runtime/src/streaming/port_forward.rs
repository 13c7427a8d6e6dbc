//! Port forwarding: SPDY frames inside a WebSocket's binary messages. For each connection the client
//! opens two streams with the same request id, one for errors and one for data.

use std::{collections::HashMap, path::PathBuf};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Socket,
    spdy::{Frame, Reader, Writer},
};

/// The WebSocket protocol's name.
pub const PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";

/// One forwarded connection.
struct Connection {
    port: u16,
    error: Option<u32>,
    data: Option<u32>,
}

/// Serves connections until the client is gone.
pub async fn serve(socket: Socket, netns: Option<PathBuf>) {
    let (mut sink, mut stream) = socket.split();
    let (output, mut output_receiver) = mpsc::channel::<Message>(64);
    let writing = tokio::spawn(async move {
        while let Some(message) = output_receiver.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        super::close(sink).await;
    });
    let mut reader = Reader::new();
    let mut writer = Writer::default();
    let mut pending: HashMap<String, Connection> = HashMap::new();
    let mut inputs: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Binary(bytes) => reader.push(&bytes),
            Message::Ping(data) => {
                let _ = output.send(Message::Pong(data)).await;
                continue;
            }
            Message::Close(_) => break,
            _ => continue,
        }
        loop {
            let frame = match reader.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "port forward");
                    return;
                }
            };
            match frame {
                Frame::Open { stream, headers, .. } => {
                    let port: Option<u16> = headers.get("port").and_then(|p| p.parse().ok());
                    let kind = headers.get("streamtype").map(String::as_str);
                    let (Some(port), Some(kind @ ("data" | "error"))) = (port, kind) else {
                        send(&output, Writer::reset(stream)).await;
                        continue;
                    };
                    send(&output, writer.reply(stream)).await;
                    let request = headers.get("requestid").cloned().unwrap_or_else(|| port.to_string());
                    let connection = pending.entry(request.clone()).or_insert(Connection {
                        port,
                        error: None,
                        data: None,
                    });
                    if kind == "data" {
                        connection.data = Some(stream);
                    } else {
                        connection.error = Some(stream);
                    }
                    if let (Some(error), Some(data)) = (connection.error, connection.data) {
                        let port = connection.port;
                        pending.remove(&request);
                        let (sender, input) = mpsc::channel(16);
                        inputs.insert(data, sender);
                        tokio::spawn(forward(netns.clone(), port, data, error, input, output.clone()));
                    }
                }
                Frame::Data { stream, fin, bytes } => {
                    if !bytes.is_empty()
                        && let Some(input) = inputs.get(&stream)
                    {
                        let _ = input.send(bytes).await;
                    }
                    if fin {
                        inputs.remove(&stream);
                    }
                }
                Frame::Reset { stream } => drop(inputs.remove(&stream)),
                Frame::Ping(number) => send(&output, Writer::ping(number)).await,
                Frame::GoAway | Frame::Other => {}
            }
        }
    }
    drop((inputs, output));
    let _ = writing.await;
}

async fn send(output: &mpsc::Sender<Message>, frame: Vec<u8>) {
    let _ = output.send(Message::Binary(frame.into())).await;
}

async fn forward(
    netns: Option<PathBuf>,
    port: u16,
    data: u32,
    error: u32,
    mut input: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<Message>,
) {
    let connected = tokio::task::spawn_blocking(move || crate::shim::join_and_connect(netns, port)).await;
    let connected = connected.unwrap_or_else(|e| Err(std::io::Error::other(e))).and_then(|stream| {
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    });
    let stream = match connected {
        Ok(stream) => stream,
        Err(problem) => {
            let text = format!("unable to connect to port {port} in the pod: {problem}");
            send(&output, Writer::data(error, text.as_bytes(), true)).await;
            send(&output, Writer::data(data, b"", true)).await;
            return;
        }
    };
    let (mut from_pod, mut to_pod) = stream.into_split();
    let outgoing = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(length @ 1..) = from_pod.read(&mut buffer).await {
            let frame = Message::Binary(Writer::data(data, &buffer[..length], false).into());
            if output.send(frame).await.is_err() {
                return;
            }
        }
    };
    let incoming = async {
        while let Some(bytes) = input.recv().await {
            if to_pod.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to_pod.shutdown().await;
        // The pod may still have something to say.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = outgoing => {}
        () = incoming => {}
        () = output.closed() => {}
    }
    send(&output, Writer::data(data, b"", true)).await;
    send(&output, Writer::data(error, b"", true)).await;
}
