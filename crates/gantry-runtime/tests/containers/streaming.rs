//! Exec, attach and port-forward sessions as clients have them.

use futures::{SinkExt, StreamExt};
use gantry_cri::{RuntimeService, v1::*};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::support::{Node, container, sandbox, within};

type Socket = WebSocketStream<TcpStream>;

async fn connect(url: &str, protocol: &'static str) -> Socket {
    let mut request = url.replace("http://", "ws://").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = within(client_async(request, stream)).await.unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], protocol);
    socket
}

/// Everything the server sends, by channel, until it closes.
async fn collect(socket: &mut Socket) -> [String; 4] {
    let mut out: [String; 4] = Default::default();
    while let Some(Ok(message)) = within(socket.next()).await {
        if let Message::Binary(data) = message {
            out[data[0] as usize] += &String::from_utf8_lossy(&data[1..]);
        }
    }
    out
}

fn binary(channel: u8, text: &[u8]) -> Message {
    Message::Binary([&[channel], text].concat().into())
}

async fn sleeper(node: &Node, name: &str) -> (String, String) {
    let pod = node.run(sandbox(name)).await;
    let id = node.create(&pod, container("main", "exec sleep 1000")).await;
    node.start(&id).await;
    (pod, id)
}

fn exec(id: &str, script: &str, tty: bool) -> ExecRequest {
    ExecRequest {
        container_id: id.into(),
        cmd: vec!["sh".into(), "-c".into(), script.into()],
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_streams() {
    Node::with(async |node| {
        let (_, id) = sleeper(node, "ws").await;
        let url = node.runtime.exec(exec(&id, "cat; echo bad >&2; exit 9", false)).await.unwrap().url;
        let mut socket = connect(&url, "v5.channel.k8s.io").await;
        socket.send(binary(0, b"over and ")).await.unwrap();
        socket.send(binary(0, b"out\n")).await.unwrap();
        socket.send(binary(255, &[0])).await.unwrap();
        let [_, stdout, stderr, status] = collect(&mut socket).await;
        assert_eq!((stdout.as_str(), stderr.as_str()), ("over and out\n", "bad\n"));
        let status: gantry_json::Value = gantry_json::from_str(&status).unwrap();
        assert_eq!(status["details"]["causes"][0]["message"], "9", "{status}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_on_a_terminal() {
    Node::with(async |node| {
        let (_, id) = sleeper(node, "tty").await;
        let url =
            node.runtime.exec(exec(&id, "read x; tty; stty size; echo got $x", true)).await.unwrap().url;
        let mut socket = connect(&url, "v4.channel.k8s.io").await;
        socket.send(binary(4, br#"{"Width":101,"Height":33}"#)).await.unwrap();
        socket.send(binary(0, b"hi\n")).await.unwrap();
        let [_, stdout, _, status] = collect(&mut socket).await;
        for part in ["/dev/pts/", "33 101", "got hi"] {
            assert!(stdout.contains(part), "{part} is missing in {stdout}");
        }
        assert!(status.contains("Success"), "{status}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_the_streams() {
    Node::with(async |node| {
        let pod = node.run(sandbox("attach")).await;
        let mut config = container("main", "while read x; do echo \"<$x>\"; [ $x = end ] && exit 4; done");
        config.stdin = true;
        let id = node.create(&pod, config).await;
        node.start(&id).await;
        let request =
            AttachRequest { container_id: id.clone(), stdin: true, tty: false, stdout: true, stderr: true };
        let url = node.runtime.attach(request).await.unwrap().url;
        let mut socket = connect(&url, "v4.channel.k8s.io").await;
        socket.send(binary(0, b"one\nend\n")).await.unwrap();
        let [_, stdout, ..] = collect(&mut socket).await;
        assert_eq!(stdout, "<one>\n<end>\n");
        let status = node.exited(&id).await;
        assert_eq!(status.exit_code, 4);
        assert!(std::fs::read_to_string(status.log_path).unwrap().contains("stdout F <one>"));
    })
    .await;
}

/// A SYN_STREAM frame with headers in a stored block; `first` starts the compressed stream.
fn open(stream: u32, first: bool, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        plain.extend((text.len() as u32).to_be_bytes());
        plain.extend(text.as_bytes());
    }
    let mut body = stream.to_be_bytes().to_vec();
    body.extend([0; 6]);
    if first {
        body.extend([0x78, 0x01]);
    }
    body.push(0);
    body.extend((plain.len() as u16).to_le_bytes());
    body.extend((!(plain.len() as u16)).to_le_bytes());
    body.extend(plain);
    let mut frame = vec![0x80, 3, 0, 1];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    Node::with(async |node| {
        let pod = node.run(sandbox("forward")).await;
        let id =
            node.create(&pod, container("main", "echo page >/tmp/f; exec httpd -f -p 8000 -h /tmp")).await;
        node.start(&id).await;
        node.sh(&id, "until wget -q -O /dev/null 127.0.0.1:8000/f; do usleep 10000; done").await;
        let request = PortForwardRequest { pod_sandbox_id: pod.clone(), port: vec![8000] };
        let url = node.runtime.port_forward(request).await.unwrap().url;
        let mut socket = connect(&url, "SPDY/3.1+portforward.k8s.io").await;
        let headers = |kind| [("streamtype", kind), ("port", "8000"), ("requestid", "0")];
        let mut bytes = open(1, true, &headers("error"));
        bytes.extend(open(3, false, &headers("data")));
        let get = b"GET /f HTTP/1.0\r\n\r\n";
        bytes.extend([0, 0, 0, 3, 0, 0, 0, get.len() as u8]);
        bytes.extend(get);
        // In pieces that do not end where frames do.
        for piece in bytes.chunks(50) {
            socket.send(Message::Binary(piece.to_vec().into())).await.unwrap();
        }
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains("page\n") {
            if let Message::Binary(data) = within(socket.next()).await.unwrap().unwrap() {
                all.extend_from_slice(&data);
            }
        }
        assert!(String::from_utf8_lossy(&all).contains("200 OK"));
    })
    .await;
}
