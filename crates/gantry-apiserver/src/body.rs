//! The one body type of requests and responses, from the network or in process.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Chunks = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A request's or a response's content.
#[derive(Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Buffers that are shared with the store, one after another.
    Buffers(VecDeque<Bytes>),
    /// Pieces that are made as they are sent, and how many bytes are still to come.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>, u64),
    /// Chunks as they come, such as the events of a watch.
    Stream(Chunks),
    /// What arrives from the network.
    Incoming(hyper::body::Incoming),
    /// A body that something is held for until it ends.
    Held(Box<Body>, Box<dyn Send>),
    /// A body of another kind.
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl Body {
    /// A body of chunks.
    pub fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Stream(Box::pin(chunks))
    }

    /// A body of another type.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt;
        Self::Boxed(body.map_err(Into::into).boxed_unsync())
    }

    /// The length, where it is known beforehand.
    pub fn len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Whether the body is known to be empty.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Buffers(VecDeque::from([bytes]))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Buffers(buffers) => Poll::Ready(buffers.pop_front().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces, left) => Poll::Ready(pieces.next().map(|piece| {
                *left = left.saturating_sub(piece.len() as u64);
                Ok(Frame::data(piece))
            })),
            Self::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Incoming(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Held(body, _) => Pin::new(&mut **body).poll_frame(context),
            Self::Boxed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Buffers(buffers) => buffers.is_empty(),
            Self::Pieces(_, left) => *left == 0,
            Self::Stream(_) => false,
            Self::Incoming(body) => body.is_end_stream(),
            Self::Held(body, _) => body.is_end_stream(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Buffers(buffers) => {
                SizeHint::with_exact(buffers.iter().map(|each| each.len() as u64).sum())
            }
            Self::Pieces(_, left) => SizeHint::with_exact(*left),
            Self::Stream(_) => SizeHint::default(),
            Self::Incoming(body) => body.size_hint(),
            Self::Held(body, _) => body.size_hint(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
