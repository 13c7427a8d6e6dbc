//! What a client still sends of a request that has been answered already.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// How much of it is read, in bytes: as much as Go's server reads after an answer.
const MOST: usize = 256 << 10;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request's content over HTTP/2, whose rest is read when nobody wants it any more.
///
/// To drop it would be to reset the stream right behind an answer that came early, as one to a wrong token
/// does. The protocol has it so, but curl 7.88, which is Debian 12's, then loses the answer.
pub struct Leftover(Option<Incoming>);

impl Leftover {
    /// Of a request that has content.
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let rest = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            let read = async move {
                let mut rest = Limited::new(rest, MOST);
                while let Some(Ok(_)) = rest.frame().await {}
            };
            runtime.spawn(tokio::time::timeout(PATIENCE, read));
        }
    }
}

impl Body for Leftover {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
