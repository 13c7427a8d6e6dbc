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

/// Why an attempt was no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was asked says no, or nothing.
    #[error("{0}")]
    No(String),
    /// It could not be asked.
    #[error("{0}")]
    NotAsked(String),
}

fn no(text: impl Into<String>) -> Failure {
    Failure::No(text.into())
}

fn not_asked(text: impl Into<String>) -> Failure {
    Failure::NotAsked(text.into())
}

/// The number of a port given by number or by name.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, Failure> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_ref() == Some(name));
            match named {
                Some(named) => named.container_port,
                None => name
                    .parse()
                    .map_err(|_| not_asked(format!("strconv.Atoi: parsing {name:?}: invalid syntax")))?,
            }
        }
    };
    let valid = u16::try_from(number).ok().filter(|port| *port > 0);
    valid.ok_or_else(|| not_asked(format!("invalid port number: {number}")))
}

/// How a command in a container ended.
pub struct Ended {
    /// Exit status.
    pub code: i32,
    /// What it wrote, standard output first.
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub errors: String,
}

/// Runs a command in the container.
pub async fn run(
    runtime: &Arc<dyn RuntimeService>,
    id: &str,
    command: &[String],
    timeout: Duration,
) -> Result<Ended, Failure> {
    let request =
        ExecSyncRequest { container_id: id.into(), cmd: command.to_vec(), timeout: timeout.as_secs() as i64 };
    match runtime.exec_sync(request).await {
        Ok(response) => Ok(Ended {
            code: response.exit_code,
            errors: String::from_utf8_lossy(&response.stderr).into_owned(),
            output: [response.stdout, response.stderr].concat(),
        }),
        Err(error) if error.code == Code::DeadlineExceeded => Err(no(format!(
            "command timed out: {:?} timed out after {}s",
            command.join(" "),
            timeout.as_secs()
        ))),
        Err(error) => Err(not_asked(error.message)),
    }
}

/// Runs a command in the container; success is exit status 0.
pub async fn exec(
    runtime: &Arc<dyn RuntimeService>,
    id: &str,
    command: &[String],
    timeout: Duration,
) -> Result<(), Failure> {
    let ended = run(runtime, id, command, timeout).await?;
    match ended.code {
        0 => Ok(()),
        _ => Err(no(String::from_utf8_lossy(&ended.output[..ended.output.len().min(10 << 10)]))),
    }
}

/// Opens a connection and closes it.
pub async fn tcp(host: &str, port: u16, timeout: Duration) -> Result<(), Failure> {
    let address = format!("{}:{port}", bracketed(host));
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(no(format!("dial tcp {address}: connect: {}", error_text(&error)))),
        Err(_) => Err(no(format!("dial tcp {address}: i/o timeout"))),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Requests that redirects may lead to, the first one among them.
const REQUESTS: usize = 10;

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
    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}:{}{}", bracketed(&self.host), self.port, self.path)
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

/// Sends the request; success is a status from 200 to 399, which may come with a warning.
pub async fn http_get(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: &str,
    timeout: Duration,
    agent: &str,
) -> Result<Option<String>, Failure> {
    match fetch(action, container, pod_ip, timeout, agent).await? {
        (200..300, _) => Ok(None),
        (300..400, body) => Ok(Some(format!("Probe terminated redirects, Response body: {body}"))),
        (status, _) => Err(no(format!("HTTP probe failed with statuscode: {status}"))),
    }
}

/// Sends the request: status and beginning of the body of the answer. Redirects to the same host are followed.
pub async fn fetch(
    action: &HTTPGetAction,
    container: &Container,
    pod_ip: &str,
    timeout: Duration,
    agent: &str,
) -> Result<(u16, String), Failure> {
    let path = action.path.as_deref().unwrap_or("/");
    let mut target = Target {
        https: action.scheme.as_deref() == Some("HTTPS"),
        host: action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip).to_string(),
        port: port(&action.port, container)?,
        path: if path.starts_with('/') { path.to_string() } else { format!("/{path}") },
    };
    let first = target.clone();
    let call = async {
        for _ in 0..REQUESTS {
            let (status, location, body) = get(action, &target, &first, agent).await?;
            match (status, location.and_then(|l| target.follow(&l))) {
                (301 | 302 | 303 | 307 | 308, Some(next)) if next.host == first.host => target = next,
                _ => return Ok((status, body)),
            }
        }
        Err(no(format!("Get {:?}: stopped after {REQUESTS} redirects", target.url())))
    };
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
        Err(no(format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            first.url()
        )))
    })
}

/// The headers of a request: what the action names wins over what is sent without it.
fn headers(action: &HTTPGetAction, agent: &str, at_first: bool) -> Vec<(String, String)> {
    let named = action.http_headers.iter().flatten();
    let mut headers: Vec<(String, String)> = named
        .filter(|header| at_first || !header.name.eq_ignore_ascii_case("host"))
        .map(|header| (header.name.clone(), header.value.clone()))
        .collect();
    for (name, value) in [("User-Agent", agent), ("Accept", "*/*")] {
        if !headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    headers.retain(|(name, value)| {
        let optional = ["user-agent", "accept", "host"].iter().any(|each| name.eq_ignore_ascii_case(each));
        !(optional && value.is_empty())
    });
    headers.push(("Connection".to_owned(), "close".to_owned()));
    headers
}

/// One request: status, `Location` and the beginning of the body of its answer.
async fn get(
    action: &HTTPGetAction,
    target: &Target,
    first: &Target,
    agent: &str,
) -> Result<(u16, Option<String>, String), Failure> {
    let (host, url) = (bracketed(&target.host), target.url());
    let mut request = http::Request::get(&target.path);
    let headers = headers(action, agent, target == first);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("Host", format!("{host}:{}", target.port));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| not_asked(e.to_string()))?;
    let stream = TcpStream::connect((target.host.as_str(), target.port)).await.map_err(|e| {
        no(format!("Get {url:?}: dial tcp {host}:{}: connect: {}", target.port, error_text(&e)))
    })?;
    let answer = if target.https {
        let name = rustls_pki_types::ServerName::try_from(target.host.clone());
        let name = name.map_err(|e| not_asked(e.to_string()))?;
        let stream = crate::tls::any_server().connect(name, stream).await;
        send(stream.map_err(|e| no(format!("Get {url:?}: {e}")))?, request).await
    } else {
        send(stream, request).await
    };
    answer.map_err(|e| no(format!("Get {url:?}: {e}")))
}

/// An error of the kernel as other kubelets word it: without its number, in lower case.
fn error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
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
    use gantry_json::json;

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
    #[test]
    fn headers_of_the_action_win() {
        let action = |headers: gantry_json::Value| -> HTTPGetAction {
            gantry_json::from_value(json!({"port": 80, "httpHeaders": headers})).unwrap()
        };
        let given = json!([{"name": "user-agent", "value": "me"}, {"name": "Accept", "value": ""},
            {"name": "Host", "value": "web"}, {"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]);
        for (given, at_first, expect) in [
            (json!([]), true, "User-Agent: kube, Accept: */*, Connection: close"),
            (given.clone(), true, "user-agent: me, Host: web, X-A: 1, X-A: 2, Connection: close"),
            (given, false, "user-agent: me, X-A: 1, X-A: 2, Connection: close"),
        ] {
            let found = headers(&action(given.clone()), "kube", at_first);
            let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            assert_eq!(found.join(", "), expect, "{given}");
        }
    }

    #[test]
    fn ports_have_names_and_numbers() {
        let container: Container = gantry_json::from_value(json!({"name": "c",
            "ports": [{"name": "web", "containerPort": 8080}, {"name": "81", "containerPort": 8081}]}))
        .unwrap();
        for (given, expect) in [
            (json!(80), Ok(80)),
            (json!("80"), Ok(80)),
            (json!("web"), Ok(8080)),
            (json!("81"), Ok(8081)),
            (json!("http"), Err("strconv.Atoi: parsing \"http\": invalid syntax")),
            (json!(0), Err("invalid port number: 0")),
        ] {
            let found = port(&gantry_json::from_value(given.clone()).unwrap(), &container);
            assert_eq!(found, expect.map_err(not_asked), "{given}");
        }
        let refused = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(error_text(&refused), "connection refused");
    }
}
