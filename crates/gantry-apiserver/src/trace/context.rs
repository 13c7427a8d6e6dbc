//! What a span is called across servers (W3C Trace Context), and which traces are kept.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header that names the span a request belongs to.
pub const TRACEPARENT: &str = "traceparent";
/// Header with what others add to it.
pub const TRACESTATE: &str = "tracestate";
/// Header with facts that go along with a request.
pub const BAGGAGE: &str = "baggage";

/// The most members of a `tracestate`.
const MOST_STATES: usize = 32;
/// The most bytes of what is carried on.
const LONGEST_CARRIED: usize = 8192;

/// A span, as others refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub sampled: bool,
}

impl SpanContext {
    /// The first span of a new trace, which is not kept.
    pub fn root() -> Self {
        Self { trace_id: random(), span_id: random(), sampled: false }
    }

    /// A span below this one.
    pub fn child(self) -> Self {
        Self { span_id: random(), ..self }
    }

    /// Reads a `traceparent`.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, rest) = text.split_once('-')?;
        let (trace_id, rest) = rest.split_once('-')?;
        let (span_id, rest) = rest.split_once('-')?;
        let (flags, more) = rest.split_once('-').map_or((rest, None), |(flags, more)| (flags, Some(more)));
        let [version] = hex(version)?;
        let [flags] = hex(flags)?;
        // Later versions may say more; there is no version ff.
        if version == 0xff || (version == 0 && more.is_some()) {
            return None;
        }
        let context = Self { trace_id: hex(trace_id)?, span_id: hex(span_id)?, sampled: flags & 1 == 1 };
        (context.trace_id != [0; 16] && context.span_id != [0; 8]).then_some(context)
    }

    /// The `traceparent` of a request that belongs to this span.
    pub fn header(self) -> Option<HeaderValue> {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        for byte in self.trace_id {
            write!(text, "{byte:02x}").ok()?;
        }
        text.push('-');
        for byte in self.span_id {
            write!(text, "{byte:02x}").ok()?;
        }
        text.push_str(if self.sampled { "-01" } else { "-00" });
        HeaderValue::try_from(text).ok()
    }
}

/// An identifier; never zero, which stands for none.
fn random<const N: usize>() -> [u8; N]
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    loop {
        let id: [u8; N] = rand::random();
        if id != [0; N] {
            return id;
        }
    }
}

/// Bytes in lower-case hexadecimal.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// What a request says of the trace that it belongs to.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    pub parent: Option<SpanContext>,
    /// The `tracestate`, which means nothing without a parent.
    pub state: Option<HeaderValue>,
    pub baggage: Option<HeaderValue>,
}

impl Incoming {
    /// Reads the headers of a request.
    pub fn read(headers: &HeaderMap) -> Self {
        // Few requests carry any, and looking for a header costs more than passing all of them.
        let carries = |name: &HeaderName| matches!(name.as_str(), TRACEPARENT | BAGGAGE);
        if !headers.keys().any(carries) {
            return Self { parent: None, state: None, baggage: None };
        }
        let parent = headers.get(TRACEPARENT).and_then(|value| SpanContext::parse(value.to_str().ok()?));
        let state = parent.and_then(|_| headers.get(TRACESTATE)).filter(|state| is_state(state)).cloned();
        let baggage = headers.get(BAGGAGE).filter(|value| value.len() <= LONGEST_CARRIED).cloned();
        Self { parent, state, baggage }
    }
}

fn is_state(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let is_member = |member: &str| {
        member.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
    };
    text.len() <= LONGEST_CARRIED
        && text.split(',').count() <= MOST_STATES
        && text.split(',').map(str::trim).all(|member| member.is_empty() || is_member(member))
}

/// Which share of the traces is kept. By the trace's identifier, so that everybody with the same share
/// keeps the same ones.
#[derive(Debug, Clone, Copy)]
pub struct Share(u64);

impl Share {
    /// So many of a million.
    pub fn per_million(rate: u32) -> Self {
        match rate {
            1_000_000.. => Self(u64::MAX),
            rate => Self((f64::from(rate) / 1e6 * (1u64 << 63) as f64) as u64),
        }
    }

    /// Whether the trace is kept.
    pub fn keeps(self, trace_id: [u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace_id;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = format!("00-{TRACE}-{SPAN}-01");
        let context = SpanContext::parse(&text).unwrap();
        assert!(context.sampled);
        assert_eq!(context.header().unwrap(), text);
        let child = context.child();
        assert_eq!((child.trace_id, child.sampled), (context.trace_id, true));
        assert_ne!(child.span_id, context.span_id);
        assert!(!SpanContext::parse(&format!("00-{TRACE}-{SPAN}-02")).unwrap().sampled);
        assert!(SpanContext::parse(&format!("cc-{TRACE}-{SPAN}-01-what-ever")).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let upper = TRACE.to_uppercase();
        for text in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-0g"),
        ] {
            assert_eq!(SpanContext::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn headers_that_cannot_be_carried_are_left() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        assert!(Incoming::read(&headers).state.is_none());
        headers.insert(TRACEPARENT, format!("00-{TRACE}-{SPAN}-00").parse().unwrap());
        assert_eq!(Incoming::read(&headers).state.unwrap(), "a=1");
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1,b"));
        assert!(Incoming::read(&headers).state.is_none());
        headers.insert(BAGGAGE, "a=".repeat(5000).parse().unwrap());
        assert!(Incoming::read(&headers).baggage.is_none());
        headers.insert(BAGGAGE, HeaderValue::from_static("a=1"));
        assert_eq!(Incoming::read(&headers).baggage.unwrap(), "a=1");
    }

    #[test]
    fn a_share_is_of_all_identifiers() {
        let ids = |last: u64| {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            id
        };
        assert!(!Share::per_million(0).keeps(ids(0)) && Share::per_million(1_000_000).keeps(ids(u64::MAX)));
        let half = Share::per_million(500_000);
        assert!(half.keeps(ids(u64::MAX / 2)) && !half.keeps(ids(u64::MAX / 2 + 1)));
        assert!(Share::per_million(1).keeps(ids(1 << 44)) && !Share::per_million(1).keeps(ids(1 << 45)));
    }
}
