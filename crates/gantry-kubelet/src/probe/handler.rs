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

/// Redirects that are followed at most.
const REDIRECTS: usize = 10;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    https: bool,
    host: String,
    port: u16,
    /// Path with its query.
    path: String,
}

impl Target {
    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", self.bracketed(), self.port, self.path)
    }

    /// Where `location` leads from here; `None` when it is not understood.
    fn follow(&self, location: &str) -> Option<Self> {
        let uri: http::Uri = location.parse().ok()?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let Some(authority) = uri.authority() else {
            let path = if path.starts_with('/') {
                path.to_string()
            } else {
                let plain = self.path.split('?').next().unwrap_or_default();
                format!("{}/{path}", plain.rsplit_once('/').map_or("", |(dir, _)| dir))
            };
            return Some(Self { path, ..self.clone() });
        };
        let https = uri.scheme_str().map_or(self.https, |s| s == "https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_string();
        let port = authority.port_u16().unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host, port, path: path.to_string() })
    }
}

/// Sends the request; success is a status from 200 to 399, which may come with a warning. Redirects
/// to the same host are followed.
pub async fn http_get(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: &str,
    timeout: Duration,
    agent: &str,
) -> Result<Option<String>, String> {
    let path = action.path.as_deref().unwrap_or("/");
    let mut target = Target {
        https: action.scheme.as_deref() == Some("HTTPS"),
        host: action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip).to_string(),
        port: port(&action.port, container)?,
        path: if path.starts_with('/') { path.to_string() } else { format!("/{path}") },
    };
    let first = target.clone();
    let call = async {
        for _ in 0..=REDIRECTS {
            let (status, location, body) = get(action, &target, &first, agent).await?;
            match (status, location.and_then(|l| target.follow(&l))) {
                (301 | 302 | 303 | 307 | 308, Some(next)) if next.host == first.host => target = next,
                (300..400, _) => {
                    return Ok(Some(format!("Probe terminated redirects, Response body: {body}")));
                }
                (200..300, _) => return Ok(None),
                _ => return Err(format!("HTTP probe failed with statuscode: {status}")),
            }
        }
        Err(format!("Get {:?}: stopped after {REDIRECTS} redirects", target.url()))
    };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
        Err(format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            first.url()
        ))
    })
}

/// One request: status, `Location` and the beginning of the body of its answer.
async fn get(
    action: &HTTPGetAction,
    target: &Target,
    first: &Target,
    agent: &str,
) -> Result<(u16, Option<String>, String), String> {
    let (bracketed, url) = (target.bracketed(), target.url());
    let mut request = http::Request::get(&target.path)
        .header("User-Agent", agent)
        .header("Accept", "*/*")
        .header("Connection", "close");
    let mut named_host = false;
    for header in action.http_headers.iter().flatten() {
        let host = header.name.eq_ignore_ascii_case("host");
        if host && target != first {
            continue;
        }
        named_host |= host;
        request = request.header(&header.name, &header.value);
    }
    if !named_host {
        request = request.header("Host", format!("{bracketed}:{}", target.port));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|e| {
        format!("Get {url:?}: dial tcp {bracketed}:{}: connect: {}", target.port, error_text(&e))
    })?;
    let answer = if target.https {
        let name = rustls_pki_types::ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
        let stream = crate::tls::any_server().connect(name, stream).await;
        send(stream.map_err(|e| format!("Get {url:?}: {e}"))?, request).await
    } else {
        send(stream, request).await
    };
    answer.map_err(|e| format!("Get {url:?}: {e}"))
}

fn error_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".into(),
        _ => error.to_string(),
    }
}

async fn send<S>(
    stream: S,
    request: http::Request<Empty<Bytes>>,
) -> Result<(u16, Option<String>, String), hyper::Error>
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
    let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(String::from);
    let mut body = response.into_body();
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if read.len() > 10 << 10 {
            break;
        }
    }
    drop(driver);
    read.truncate(10 << 10);
    Ok((status, location, String::from_utf8_lossy(&read).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_somewhere() {
        let here = Target { https: false, host: "10.0.0.1".into(), port: 8080, path: "/a/b?c=d".into() };
        for (location, expect) in [
            ("/x?y=z", "http://10.0.0.1:8080/x?y=z"),
            ("http://10.0.0.1/x", "http://10.0.0.1:80/x"),
            ("https://[fd00::1]:9/", "https://[fd00::1]:9/"),
        ] {
            assert_eq!(here.follow(location).unwrap().url(), expect, "{location}");
        }
    }
}
