//! Requests that nobody would send on purpose: whatever comes, the server answers in time, with an error
//! of the client's where it is one, without a panic and without growing.
//!
//! Each target takes 2 s, or `GANTRY_FUZZ_SECONDS`. What a run did is told by `GANTRY_FUZZ_SEED`,
//! which a failure prints.

mod mutate;
mod targets;

use std::time::{Duration, Instant};

use gantry_api::protobuf;
use gantry_apiserver::User;
use gantry_apiserver::body::Body;
use gantry_testing::TestServer;
use http::{Request, StatusCode};
use http_body_util::BodyExt;

use mutate::Mutator;
use targets::{Target, targets};

/// How long one answer may take; the tests' binary is not optimised, and the machine is shared.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much the process may grow, in KiB: answers and caches, not what inputs multiply.
const GROWTH: u64 = 400 << 10;

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The most memory that the process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

/// Sends the target's requests until the time is over; how many there were.
async fn fuzz(server: &TestServer, target: &Target, mutator: &mut Mutator, until: Instant) -> u64 {
    let admin = User::new("admin", ["system:masters"]);
    let mut sent = 0;
    while Instant::now() < until {
        let input = (target.input)(mutator);
        let start = String::from_utf8_lossy(&input.body[..input.body.len().min(2000)]).into_owned();
        let shown = format!("{} {} ({}) {start:?}", input.method, input.path, input.content_type);
        let request = Request::builder()
            .method(input.method)
            .uri(input.path)
            .header("content-type", input.content_type)
            .body(Body::from(bytes::Bytes::from(input.body)));
        // What is no URL does not get as far as a server.
        let Ok(request) = request else { continue };
        let answer = async {
            let response = server.server.handle(request, Some(admin.clone().into())).await;
            let code = response.status();
            (code, response.into_body().collect().await.map(http_body_util::Collected::to_bytes))
        };
        let answered = tokio::time::timeout(PATIENCE, answer).await;
        let (code, body) = answered.unwrap_or_else(|_| panic!("{}: no answer to {shown}", target.name));
        let body = body.unwrap_or_else(|error| panic!("{}: {error} after {shown}", target.name));
        let text = String::from_utf8_lossy(&body);
        // A revision that is still to come is waited for; applies of wrong types have no code of their own.
        let untyped = text.contains("failed to create typed patch object");
        let fault = code.is_server_error() && code != StatusCode::GATEWAY_TIMEOUT && !untyped;
        assert!(!fault, "{}: {code} {text} to {shown}", target.name);
        sent += 1;
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_is_answered() {
    let seed = setting("GANTRY_FUZZ_SEED").unwrap_or_else(rand::random);
    let seconds = setting("GANTRY_FUZZ_SECONDS").unwrap_or(2);
    println!("GANTRY_FUZZ_SEED={seed}");
    let server = TestServer::start().await.expect("started");
    targets::prepare(&server).await;
    let before = peak();
    for target in targets() {
        let mut mutator = Mutator::new(seed);
        let until = Instant::now() + Duration::from_secs(seconds);
        let sent = fuzz(&server, &target, &mut mutator, until).await;
        println!("{}: {sent} requests", target.name);
        assert!(sent > 10, "{}: {sent} requests only", target.name);
    }
    let grown = peak() - before;
    assert!(grown < GROWTH, "the process has grown by {grown} KiB");
    assert_eq!(server.get("/readyz").await.expect("answered").text(), "ok");
}

#[test]
fn a_seed_tells_what_is_done() {
    let pod = targets::pod();
    assert!(protobuf::decode(&protobuf::value(&pod).expect("encoded"), None).is_ok());
    let run = |seed| {
        let mut mutator = Mutator::new(seed);
        (0..100).map(|_| mutator.json(&pod)).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
