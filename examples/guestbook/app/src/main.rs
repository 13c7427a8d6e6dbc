//! The guestbook's application: reads and writes entries in Redis, serves them as a page and as JSON.
//!
//! `GET /` page, `POST /sign` form, `GET` and `POST /entries` JSON, `GET /healthz`. The environment names
//! Redis (`REDIS`, `host:port`), the pod (`POD`) and the port to listen on (`PORT`).

mod redis;

use std::{convert::Infallible, env, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, signal::unix, sync::watch};

const KEY: &str = "guestbook";
const MAX_BODY: usize = 64 * 1024;

/// One signature in the book.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    message: String,
}

struct App {
    redis: String,
    pod: String,
}

type Answer = Response<Full<Bytes>>;

fn answer(status: StatusCode, kind: &str, body: String) -> Answer {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if let Ok(value) = kind.parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

fn text(status: StatusCode, body: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(entries: &[Entry], pod: &str) -> String {
    let list: String = entries
        .iter()
        .map(|e| format!("<li><b>{}</b>: {}</li>\n", escape(&e.name), escape(&e.message)))
        .collect();
    format!(
        "<!doctype html>\n<html><head><title>Guestbook</title></head><body>\n<h1>Guestbook</h1>\n\
         <form method=\"post\" action=\"/sign\"><input name=\"name\" placeholder=\"Name\"> \
         <input name=\"message\" placeholder=\"Message\"> <button>Sign</button></form>\n\
         <ul>\n{list}</ul>\n<p>{} entries, served by {}</p>\n</body></html>\n",
        entries.len(),
        escape(pod)
    )
}

impl App {
    async fn entries(&self) -> std::io::Result<Vec<Entry>> {
        let values = redis::list(&self.redis, KEY).await?;
        Ok(values.iter().filter_map(|value| gantry_json::from_slice(value).ok()).collect())
    }

    async fn sign(&self, entry: &Entry) -> std::io::Result<()> {
        redis::push(&self.redis, KEY, &gantry_json::to_vec(entry)?).await
    }

    async fn handle(&self, request: Request<Incoming>) -> Answer {
        let result = self.route(request).await;
        result.unwrap_or_else(|error| text(StatusCode::SERVICE_UNAVAILABLE, format!("redis: {error}\n")))
    }

    async fn route(&self, request: Request<Incoming>) -> std::io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "too long\n")),
        };
        Ok(match (parts.method, parts.uri.path()) {
            (Method::GET, "/") => {
                answer(StatusCode::OK, "text/html; charset=utf-8", page(&self.entries().await?, &self.pod))
            }
            (Method::GET, "/entries") => {
                let json = gantry_json::json!({"entries": self.entries().await?, "pod": self.pod});
                answer(StatusCode::OK, "application/json", format!("{json}\n"))
            }
            (Method::POST, "/entries") => match gantry_json::from_slice::<Entry>(&body) {
                Ok(entry) => {
                    self.sign(&entry).await?;
                    answer(StatusCode::CREATED, "application/json", gantry_json::to_string(&entry)? + "\n")
                }
                Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            },
            (Method::POST, "/sign") => {
                let field = |name: &str| {
                    let mut pairs = form_urlencoded::parse(&body);
                    pairs
                        .find(|(key, _)| key == name)
                        .map(|(_, value)| value.into_owned())
                        .unwrap_or_default()
                };
                let entry = Entry { name: field("name"), message: field("message") };
                if entry.name.is_empty() || entry.message.is_empty() {
                    return Ok(text(StatusCode::BAD_REQUEST, "name and message are needed\n"));
                }
                self.sign(&entry).await?;
                let mut response = text(StatusCode::SEE_OTHER, "");
                response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static("/"));
                response
            }
            (Method::GET, "/healthz") => {
                redis::ping(&self.redis).await?;
                text(StatusCode::OK, "ok\n")
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let variable = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let app = Arc::new(App { redis: variable("REDIS", "redis:6379"), pod: variable("POD", "nobody") });
    let port: u16 = variable("PORT", "8080").parse().map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("listening on {port}, redis is {}", app.redis);
    let (stop, stopped) = watch::channel(false);
    let mut terminate = unix::signal(unix::SignalKind::terminate())?;
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let (app, mut stopped) = (app.clone(), stopped.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(app.handle(request).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = stopped.changed() => {
                    // What is being answered is answered to its end.
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    println!("stopping");
    drop(listener);
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_escapes() {
        let entry = Entry { name: "<b>".into(), message: "a & b".into() };
        let page = page(&[entry], "p");
        assert!(
            page.contains("&lt;b&gt;")
                && page.contains("a &amp; b")
                && page.contains("1 entries, served by p")
        );
    }
}
