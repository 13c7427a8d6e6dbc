//! A small image registry on loopback: manifests and blobs to be read, by whom it lets.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, stream};
use gantry_json::{Value, json};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

const TOKEN: &str = "a-token";

/// Who may read.
#[derive(Clone, Copy, Debug)]
pub enum Guard {
    /// Everyone.
    Open,
    /// A name and a password with each request.
    Basic(&'static str, &'static str),
    /// A token that is given for a name and a password.
    Token(&'static str, &'static str),
}

/// What a registry holds, and what it was asked for.
#[derive(Default)]
struct Content {
    manifests: BTreeMap<String, (String, Bytes)>,
    blobs: BTreeMap<String, Bytes>,
    asked: Vec<String>,
    breaks: BTreeMap<String, usize>,
}

/// What it answers with.
type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

fn whole(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A registry that serves until the test's runtime ends.
pub struct Registry {
    /// Where it listens; the first part of its images' names.
    pub address: SocketAddr,
    content: Arc<Mutex<Content>>,
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl Registry {
    /// Starts an empty registry.
    pub async fn start(guard: Guard) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let content: Arc<Mutex<Content>> = Arc::default();
        let served = content.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let response = answer(&served, guard, address, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, content }
    }

    /// Full name of one of its images.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Stores a blob and tells its descriptor.
    pub fn blob(&self, media_type: &str, bytes: impl Into<Bytes>) -> Value {
        let bytes = bytes.into();
        let (digest, size) = (digest(&bytes), bytes.len());
        self.content.lock().unwrap().blobs.insert(digest.clone(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    }

    /// Stores other bytes in a blob's place.
    pub fn spoil_blob(&self, descriptor: &Value, bytes: impl Into<Bytes>) {
        let digest = descriptor["digest"].as_str().unwrap().to_owned();
        self.content.lock().unwrap().blobs.insert(digest, bytes.into());
    }

    /// Stores a manifest under its digest and, if there is one, a tag; tells its digest.
    pub fn manifest(&self, repository: &str, tag: Option<&str>, manifest: &Value) -> String {
        let bytes = Bytes::from(gantry_json::to_vec(manifest).unwrap());
        let digest = digest(&bytes);
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let mut content = self.content.lock().unwrap();
        for reference in [Some(digest.as_str()), tag].into_iter().flatten() {
            let path = format!("/v2/{repository}/manifests/{reference}");
            content.manifests.insert(path, (media_type.clone(), bytes.clone()));
        }
        digest
    }

    /// Stores another manifest in a manifest's place.
    pub fn spoil_manifest(&self, repository: &str, digest: &str, manifest: &Value) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let bytes = Bytes::from(gantry_json::to_vec(manifest).unwrap());
        self.content.lock().unwrap().manifests.get_mut(&path).unwrap().1 = bytes;
    }

    /// Lets the next answers with a blob break in the middle.
    pub fn break_blob(&self, digest: &str, times: usize) {
        self.content.lock().unwrap().breaks.insert(digest.to_owned(), times);
    }

    /// The paths asked for since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.content.lock().unwrap().asked)
    }
}

fn answer(
    content: &Mutex<Content>,
    guard: Guard,
    address: SocketAddr,
    request: &Request<Incoming>,
) -> Answer {
    let mut content = content.lock().unwrap();
    let path = request.uri().path().to_owned();
    content.asked.push(path.clone());
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let basic = |user, password| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let refused = |challenge: Option<String>| {
        let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
        if let Some(challenge) = challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
        }
        response
    };
    match guard {
        Guard::Open => {}
        Guard::Basic(user, password) if given != Some(&basic(user, password)) => {
            return refused(Some("Basic realm=\"test\"".to_owned()));
        }
        Guard::Basic(..) => {}
        Guard::Token(user, password) if path == "/token" => {
            if given != Some(&basic(user, password)) {
                return refused(None);
            }
            return Response::new(whole(json!({ "token": TOKEN }).to_string()));
        }
        Guard::Token(..) if given != Some(&format!("Bearer {TOKEN}")) => {
            return refused(Some(format!("Bearer realm=\"http://{address}/token\",service=\"test\"")));
        }
        Guard::Token(..) => {}
    }
    if path == "/v2/" {
        return Response::new(whole("{}"));
    }
    if let Some((media_type, bytes)) = content.manifests.get(&path) {
        let response = Response::builder().header(header::CONTENT_TYPE, media_type);
        return response.body(whole(bytes.clone())).unwrap();
    }
    if path.contains("/manifests/") {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown");
    }
    let digest = path.rsplit_once("/blobs/").map_or("", |(_, digest)| digest);
    let Some(bytes) = content.blobs.get(digest).cloned() else {
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown");
    };
    let range = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    let from = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let rest = bytes.slice(from.unwrap_or(0)..);
    let mut response = Response::builder().header(header::CONTENT_LENGTH, rest.len());
    if let Some(from) = from {
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, range);
    }
    let breaks = content.breaks.get_mut(digest).filter(|breaks| **breaks > 0);
    let body = if let Some(breaks) = breaks {
        *breaks -= 1;
        let half = Ok(Frame::data(rest.slice(..rest.len() / 2)));
        // Given after a moment, so that the half is on its way before the connection ends.
        let end = stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("broken"))
        });
        StreamBody::new(stream::iter([half]).chain(end)).boxed_unsync()
    } else {
        whole(rest)
    };
    response.body(body).unwrap()
}

fn error(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": message}]}).to_string();
    Response::builder().status(status).body(whole(body)).unwrap()
}
