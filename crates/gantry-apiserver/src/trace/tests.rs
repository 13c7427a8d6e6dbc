//! Traces as headers begin them and as collectors get them.

use super::*;

const REMOTE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn tracer(rate: i32) -> Tracer {
    Tracer::new(&Configuration::new(None, Some(rate)).unwrap(), "apiserver-x").unwrap()
}

fn begun(tracer: Option<&Tracer>, group: &str, headers: &HeaderMap) -> Option<Span> {
    let user = User::new("jane", [group]);
    let audit_id = HeaderValue::from_static("a");
    let arrival = Arrival { headers, user: &user, audit_id: &audit_id, received: SystemTime::now() };
    begin(tracer, &arrival, || ("GET".to_owned(), vec![text("a", "b")]))
}

fn kept(span: &Span) -> otlp::Span {
    span.0.recording.as_ref().unwrap().span.lock().clone()
}

#[test]
fn who_is_trusted_decides_what_is_kept() {
    let sampled = headers(&[("traceparent", REMOTE), ("tracestate", "v=1")]);
    let none = tracer(0);
    let span = begun(Some(&none), "system:monitoring", &sampled).unwrap();
    let (context, remote) = (span.0.context.unwrap(), SpanContext::parse(REMOTE).unwrap());
    assert_eq!(context.trace_id, remote.trace_id);
    let recorded = kept(&span);
    assert_eq!((recorded.parent_span_id.as_slice(), &*recorded.trace_state), (&remote.span_id[..], "v=1"));
    assert_eq!((recorded.flags, recorded.links.len()), (0x301, 0));

    let span = begun(Some(&none), "anybody", &sampled).unwrap();
    assert_ne!(span.0.context.unwrap().trace_id, remote.trace_id);
    assert!(span.0.recording.is_none() && span.0.state.is_none());

    let all = tracer(1_000_000);
    let recorded = kept(&begun(Some(&all), "anybody", &sampled).unwrap());
    assert!(recorded.parent_span_id.is_empty() && recorded.trace_state.is_empty());
    assert_eq!(recorded.links[0].span_id, remote.span_id);
    assert_eq!((recorded.flags, &*recorded.links[0].trace_state), (0x101, "v=1"));

    let unsampled = REMOTE.replace("-01", "-00").parse().unwrap();
    let unsampled = HeaderMap::from_iter([("traceparent".parse().unwrap(), unsampled)]);
    assert!(begun(Some(&all), "system:masters", &unsampled).unwrap().0.recording.is_none());
}

#[test]
fn without_a_configuration_traces_are_carried_on() {
    assert!(begun(None, "anybody", &HeaderMap::new()).is_none());
    let given = headers(&[("traceparent", REMOTE), ("tracestate", "v=1"), ("baggage", "k=v")]);
    let span = begun(None, "anybody", &given).unwrap();
    let mut onward = headers(&[("traceparent", "x"), ("baggage", "y")]);
    span.inject(&mut onward);
    assert_eq!(onward, given);
}

#[tokio::test]
async fn steps_are_below_the_request() {
    let span = begun(Some(&tracer(1_000_000)), "anybody", &HeaderMap::new()).unwrap();
    let parent = span.0.context.unwrap();
    let work = async {
        let facts = facts(|audit_id| vec![text("audit-id", audit_id.to_str().unwrap())]);
        let step = step("Create", facts, async {
            event("done");
            let mut request = http::Request::post("https://hook.example:8443/x").body(()).unwrap();
            let call = Call::begin(&mut request, None);
            call.answered(StatusCode::NOT_FOUND);
            let told = request.headers()["traceparent"].to_str().unwrap().to_owned();
            (kept(&current().unwrap()), kept(call.span().unwrap()), told)
        });
        (step.await, kept(&current().unwrap()))
    };
    let ((created, call, told), root) = within(Some(span), work).await;
    assert_eq!(created.parent_span_id, parent.span_id);
    assert_eq!(created.attributes, [text("audit-id", "a")]);
    assert_eq!((&*created.name, &*created.events[0].name), ("Create", "done"));
    assert_eq!((&call.parent_span_id, &*call.name), (&created.span_id, "HTTP POST"));
    assert!(call.attributes.contains(&number("server.port", 8443)), "{:?}", call.attributes);
    assert!(call.attributes.contains(&text("error.type", "404")), "{:?}", call.attributes);
    let told = SpanContext::parse(&told).unwrap();
    assert_eq!((told.span_id.to_vec(), told.sampled), (call.span_id, true));
    assert!(root.events.is_empty());

    let (asked, nothing) = within(None, async { (facts(|_| unreachable!()), current()) }).await;
    assert!(asked.is_empty() && nothing.is_none());
}

#[test]
fn facts_are_no_longer_than_they_may_be() {
    let long = text("a", "ü".repeat(LONGEST));
    let Some(Value::StringValue(kept)) = long.value.and_then(|value| value.value) else { panic!() };
    assert_eq!(kept.len(), LONGEST);
}
