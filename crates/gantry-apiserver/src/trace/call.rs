//! The span of a request to another server, which is told of it.

use http::{Request, StatusCode, Uri};

use super::otlp::{SpanKind, Status, StatusCode as Outcome};
use super::{Facts, Span, current, number, request, text};

/// A request to another server; it ends when this is dropped.
pub(crate) struct Call(Option<Span>);

impl Call {
    /// Begins a request, to `uri` where its own is not where it goes.
    pub fn begin<B>(request: &mut Request<B>, uri: Option<&Uri>) -> Self {
        let Some(span) = current() else { return Self(None) };
        let method = request.method();
        let facts = match span.0.recording {
            Some(_) => request::sent(method, uri.unwrap_or(request.uri())),
            None => Facts::new(),
        };
        let span = span.child(format!("HTTP {method}"), SpanKind::Client, facts);
        span.inject(request.headers_mut());
        Self(Some(span))
    }

    /// Notes its answer.
    pub fn answered(&self, code: StatusCode) {
        let Some(span) = &self.0 else { return };
        span.change(|span| {
            span.attributes.push(number("http.response.status_code", code.as_u16()));
            if code.is_client_error() || code.is_server_error() {
                span.attributes.push(text("error.type", code.as_str()));
                span.status = Some(Status { message: String::new(), code: Outcome::Error.into() });
            }
        });
    }

    /// Its span.
    #[cfg(test)]
    pub fn span(&self) -> Option<&Span> {
        self.0.as_ref()
    }

    /// Notes that there is none.
    pub fn failed(&self, why: &str) {
        let Some(span) = &self.0 else { return };
        span.change(|span| {
            span.status = Some(Status { message: why.to_owned(), code: Outcome::Error.into() });
        });
    }
}
