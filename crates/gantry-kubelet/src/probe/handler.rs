//! One attempt of a probe or a life-cycle hook: exec, http, tcp.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use gantry_cri::{Code, RuntimeService, v1::ExecSyncRequest};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The number of a port given by number or by name.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => number,
            Err(_) => container
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_ref() == Some(name))
                .map(|p| p.container_port)
                .ok_or_else(|| format!("couldn't find port: {name} in container {}", container.name))?,
        },
    };
    u16::try_from(number).ok().filter(|p| *p > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// Runs a command in the container; success is exit status 0.
pub async fn exec(
    runtime: &Arc<dyn RuntimeService>,
    id: &str,
    command: &[String],
    timeout: Duration,
) -> Result<(), String> {
    let request =
        ExecSyncRequest { container_id: id.into(), cmd: command.to_vec(), timeout: timeout.as_secs() as i64 };
    match runtime.exec_sync(request).await {
        Ok(response) if response.exit_code == 0 => Ok(()),
        Ok(response) => {
            let output = [response.stdout, response.stderr].concat();
            Err(String::from_utf8_lossy(&output[..output.len().min(10 << 10)]).into_owned())
        }
        Err(error) if error.code == Code::DeadlineExceeded => {
            Err(format!("command timed out: {:?} timed out after {}s", command.join(" "), timeout.as_secs()))
        }
        Err(error) => Err(error.message),
    }
}

/// Opens a connection and closes it.
pub async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("dial tcp {host}:{port}: connect: {error}")),
        Err(_) => Err(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

/// Sends the request; success is a status from 200 to 399.
pub async fn http_get(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: &str,
    timeout: Duration,
    agent: &str,
) -> Result<(), String> {
    let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip);
    let port = port(&action.port, container)?;
    let https = action.scheme.as_deref() == Some("HTTPS");
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let path = action.path.as_deref().unwrap_or("/");
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    let url = format!("{}://{bracketed}:{port}{path}", if https { "https" } else { "http" });
    let mut request = http::Request::get(&path)
        .header("User-Agent", agent)
        .header("Accept", "*/*")
        .header("Connection", "close");
    let mut named_host = false;
    for header in action.http_headers.iter().flatten() {
        named_host |= header.name.eq_ignore_ascii_case("host");
        request = request.header(&header.name, &header.value);
    }
    if !named_host {
        request = request.header("Host", format!("{bracketed}:{port}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let call = async {
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|e| format!("Get {url:?}: dial tcp {bracketed}:{port}: connect: {}", error_text(&e)))?;
        let status = if https {
            let name = rustls_pki_types::ServerName::try_from(host.to_string()).map_err(|e| e.to_string())?;
            let stream = crate::tls::any_server().connect(name, stream).await;
            send(stream.map_err(|e| format!("Get {url:?}: {e}"))?, request).await
        } else {
            send(stream, request).await
        };
        let status = status.map_err(|e| format!("Get {url:?}: {e}"))?;
        if (200..400).contains(&status) {
            Ok(())
        } else {
            Err(format!("HTTP probe failed with statuscode: {status}"))
        }
    };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
        Err(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))
    })
}

fn error_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

async fn send<S>(stream: S, request: http::Request<Empty<Bytes>>) -> Result<u16, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = crate::objects::AbortOnDrop(tokio::spawn(async move {
        // Ends with the response; an error shows in the response as well.
        let _ = connection.await;
    }));
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > 10 << 10 {
            break;
        }
    }
    drop(driver);
    Ok(status)
}
