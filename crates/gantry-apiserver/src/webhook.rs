//! Webhooks that objects name: somebody else's servers, which are asked about admission and conversion.
//!
//! Flow: a [`Target`] is what a `clientConfig` says. [`Webhooks`] keeps a client for each, whose
//! connections stay open between calls. A Service is reached at the endpoints that it has when the
//! connection is made; its certificate has to be for `NAME.NAMESPACE.svc`. Guarantees: TLS of version 1.2
//! or later, HTTP/1.1 (calls spread over connections, and so over the endpoints, as upstream's do), no
//! proxies, no redirects, and no more of an answer in memory than the caller allows.

mod credentials;
mod dial;
mod target;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::go::unreadable;
use gantry_api::schema::{self, Format};
use gantry_json::Value;
use gantry_store::Store;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::CertificateError;
use rustls_pki_types::{ServerName, UnixTime};

use crate::kubeconfig::User;
use crate::server::certificate::Shown;
use crate::tls::{self, Trust};
use crate::trace;
use dial::Dial;

pub(crate) use credentials::Credentials;
pub(crate) use target::Target;

/// How many clients are kept.
const MOST_CLIENTS: usize = 200;
/// How long a connection stays open without a call.
const IDLE: Duration = Duration::from_secs(90);
/// How much of a refusal is read, in bytes.
const LONGEST_REFUSAL: usize = 8 << 10;
/// What upstream reads first of an object.
const HEAD: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a call brought no answer, in the words of upstream's client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The target is none.
    #[error("{0}")]
    Target(String),
    /// There was no connection, or it broke.
    #[error("Post {url:?}: {cause}")]
    Transport { url: String, cause: String },
    /// The webhook answered with a refusal.
    #[error("{message}")]
    Refused { code: u16, message: String },
    /// The answer cannot be read.
    #[error("{0}")]
    Answer(String),
}

impl CallError {
    /// The status code that the failure counts under.
    pub fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            _ => 503,
        }
    }
}

type HttpClient = Client<HttpsConnector<Dial>, Full<Bytes>>;

/// A client of a webhook that the server shows itself to in one way.
struct Known {
    target: Target,
    user: Option<Arc<User>>,
    client: Arc<HttpClient>,
}

impl Known {
    fn is_for(&self, target: &Target, user: Option<&Arc<User>>) -> bool {
        let same = match (&self.user, user) {
            (None, None) => true,
            (Some(own), Some(user)) => Arc::ptr_eq(own, user),
            _ => false,
        };
        same && self.target == *target
    }
}

/// The clients of all webhooks.
pub(crate) struct Webhooks {
    store: Store,
    clients: Mutex<VecDeque<Known>>,
}

impl Webhooks {
    /// Clients that find Services in `store`.
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), clients: Mutex::default() }
    }

    /// Sends `body` to `target` as `user` and reads the answer, of `longest` bytes at most, within `time`.
    pub async fn post(
        &self,
        target: &Target,
        user: Option<&Arc<User>>,
        body: Bytes,
        time: Duration,
        longest: usize,
    ) -> Result<Value, CallError> {
        let client = self.client(target, user)?;
        let url = format!("{}?timeout={}s", target.url(), time.as_secs_f64().ceil());
        let uri: Uri = url
            .parse()
            .map_err(|cause| CallError::Target(format!("cannot use the address {url:?}: {cause}")))?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
        headers.insert(USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
        let authorization = user.map(|user| user.authorization()).transpose();
        let authorization = authorization.map_err(|error| CallError::Target(error.to_string()))?;
        if let Some(value) = authorization.flatten() {
            headers.insert(AUTHORIZATION, value);
        }
        let traced = trace::Call::begin(&mut request, None);
        let failed = |cause: String| {
            traced.failed(&cause);
            CallError::Transport { url: url.clone(), cause }
        };
        let call = async {
            let answer = client.request(request).await.map_err(|error| failed(cause(&error)))?;
            let (parts, body) = answer.into_parts();
            traced.answered(parts.status);
            if !parts.status.is_success() {
                let text = Limited::new(body, LONGEST_REFUSAL).collect().await;
                let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                return Err(refused(parts.status, &text));
            }
            let body = Limited::new(body, longest).collect().await;
            let bytes = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            read_answer(&bytes).map_err(CallError::Answer)
        };
        match tokio::time::timeout(time, call).await {
            Ok(answer) => answer,
            Err(_) => Err(failed("context deadline exceeded".to_owned())),
        }
    }

    /// The client of `target`, made where there is none yet.
    fn client(&self, target: &Target, user: Option<&Arc<User>>) -> Result<Arc<HttpClient>, CallError> {
        let mut clients = self.clients.lock();
        if let Some(at) = clients.iter().position(|known| known.is_for(target, user)) {
            let found = clients.remove(at).expect("it was just found");
            let client = found.client.clone();
            clients.push_front(found);
            return Ok(client);
        }
        let wrong = |cause: String| CallError::Target(format!("unable to load root certificates: {cause}"));
        let shown = user.and_then(|user| user.identity.as_ref()).map(Shown::new).transpose();
        let shown = shown.map_err(|error| CallError::Target(error.to_string()))?;
        let tls = Trust::bundle(target.ca()).and_then(|trust| tls::client(trust, shown));
        let tls = tls.map_err(|error| wrong(error.to_string()))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(Dial::new(&self.store, target));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let client = Arc::new(client);
        clients.push_front(Known { target: target.clone(), user: user.cloned(), client: client.clone() });
        clients.truncate(MOST_CLIENTS);
        Ok(client)
    }
}

/// Reads an answer, in JSON or, as upstream does, in YAML; what is wrong with it is said in upstream's words.
fn read_answer(bytes: &[u8]) -> Result<Value, String> {
    let json = bytes.trim_ascii_start().starts_with(b"{");
    if json && let Ok(value) = gantry_json::from_slice(bytes) {
        return Ok(value);
    }
    let read = schema::decode_free(bytes, if json { Format::Json } else { Format::Yaml });
    let why = match read.map(|decoded| decoded.value) {
        Ok(value @ Value::Object(_)) => return Ok(value),
        Ok(other) => unreadable(&other, HEAD),
        Err(error) if json => error.to_string(),
        Err(error) => return Err(error.to_string()),
    };
    Err(format!("couldn't get version/kind; json parse error: {why}"))
}

/// A refusal, as upstream's client words it: the Status that the webhook sent, or what its code means.
fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let sent: Value = gantry_json::from_slice(body).unwrap_or_default();
    if sent["kind"] == "Status"
        && let Some(message) = sent["message"].as_str()
    {
        return CallError::Refused { code: status.as_u16(), message: message.to_owned() };
    }
    let message = match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 => String::from_utf8_lossy(body).trim().to_owned(),
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        406 => "the server was unable to respond with a content type that the client supports".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        415 => "the body of the request was in an unknown format".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing \
                the request"
                .to_owned()
        }
        500..=599 => {
            let body = String::from_utf8_lossy(body);
            format!("an error on the server ({:?}) has prevented the request from succeeding", body.trim())
        }
        code => {
            format!("the server responded with the status code {code} but did not return more information")
        }
    };
    CallError::Refused { code: status.as_u16(), message }
}

/// The innermost cause of an error, which is what matters in it.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(next) = within(innermost) {
        innermost = next;
    }
    match innermost.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(error)) => {
            format!("tls: failed to verify certificate: x509: {}", distrust(error))
        }
        _ => innermost.to_string(),
    }
}

/// The next error within another one. An [`io::Error`] does not name its own as its source.
fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    held.map_or_else(|| error.source(), |held| Some(held))
}

/// Why a certificate is not trusted, in Go's words.
fn distrust(error: &CertificateError) -> String {
    let time = |time: &UnixTime| {
        Timestamp::from_second(time.as_secs() as i64).map(|time| time.to_string()).unwrap_or_default()
    };
    let not_now = |now: &UnixTime, relation: &str, limit: &UnixTime| {
        let (now, limit) = (time(now), time(limit));
        format!("certificate has expired or is not yet valid: current time {now} is {relation} {limit}")
    };
    match error {
        CertificateError::ExpiredContext { time, not_after } => not_now(time, "after", not_after),
        CertificateError::NotValidYetContext { time, not_before } => not_now(time, "before", not_before),
        CertificateError::Expired | CertificateError::NotValidYet => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let kind = match expected {
                ServerName::IpAddress(_) => "IpAddress(",
                _ => "DnsName(",
            };
            let inside = |name: &'_ str| {
                name.strip_prefix(kind).map(|rest| rest.trim_end_matches(')').replace('"', ""))
            };
            let names: Vec<String> = presented.iter().filter_map(|name| inside(name)).collect();
            let wanted = expected.to_str();
            match (names.is_empty(), kind) {
                (false, _) => format!("certificate is valid for {}, not {wanted}", names.join(", ")),
                (true, "DnsName(") => {
                    format!("certificate is not valid for any names, but wanted to match {wanted}")
                }
                (true, _) => {
                    format!("cannot validate certificate for {wanted} because it doesn't contain any IP SANs")
                }
            }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        // Whatever the chain lacks, nobody known has signed it.
        _ => "certificate signed by unknown authority".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distrust_in_gos_words() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let check = |error, expect: &str| assert_eq!(distrust(&error), expect);
        check(CertificateError::UnknownIssuer, "certificate signed by unknown authority");
        check(
            CertificateError::ExpiredContext { time: at(86_400), not_after: at(60) },
            "certificate has expired or is not yet valid: current time 1970-01-02T00:00:00Z is after \
             1970-01-01T00:01:00Z",
        );
        let wrong = |expected: &'static str, presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from(expected).unwrap(),
            presented: presented.iter().copied().map(str::to_owned).collect(),
        };
        let presented = ["DnsName(\"a.example\")", "DnsName(\"c.example\")", "IpAddress(10.0.0.1)"];
        check(wrong("b.example", &presented), "certificate is valid for a.example, c.example, not b.example");
        check(wrong("10.0.0.2", &presented), "certificate is valid for 10.0.0.1, not 10.0.0.2");
        check(
            wrong("b.example", &presented[2..]),
            "certificate is not valid for any names, but wanted to match b.example",
        );
        check(
            wrong("10.0.0.2", &presented[..2]),
            "cannot validate certificate for 10.0.0.2 because it doesn't contain any IP SANs",
        );
    }

    #[test]
    fn answers_that_are_none() {
        let check = |body: &str, expect: &str| {
            let expect = format!("couldn't get version/kind; json parse error: {expect}");
            assert_eq!(read_answer(body.as_bytes()), Err(expect), "{body}");
        };
        assert_eq!(read_answer(b"{\"a\": 1}").map(|answer| answer["a"].as_u64()), Ok(Some(1)));
        assert_eq!(read_answer(b"a: 1").map(|answer| answer["a"].as_u64()), Ok(Some(1)));
        check("{\"a\":", "unexpected end of JSON input");
        check("{]", "invalid character ']' looking for beginning of object key string");
        check(
            "oops",
            r#"json: cannot unmarshal string into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#,
        );
    }

    #[test]
    fn refusals_in_upstreams_words() {
        let check = |code: u16, body: &str, expect: &str| {
            let error = refused(StatusCode::from_u16(code).unwrap(), body.as_bytes());
            assert_eq!((error.code(), error.to_string().as_str()), (code, expect));
        };
        check(404, "404 page not found", "the server could not find the requested resource");
        check(500, "oh\n", "an error on the server (\"oh\") has prevented the request from succeeding");
        check(403, r#"{"kind":"Status","message":"no"}"#, "no");
        check(302, "", "the server responded with the status code 302 but did not return more information");
    }
}
