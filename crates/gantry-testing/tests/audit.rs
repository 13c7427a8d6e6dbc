//! Audit: what the policy asks for stands in the file and reaches the webhook.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use gantry_api::runtime_config::RuntimeConfig;
use gantry_apiserver::Endpoint;
use gantry_apiserver::audit::{Delivery, Format, Mode, Settings, Truncation, Webhook};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ['system:apiserver']}
- {level: Metadata, resources: [{resources: [secrets]}]}
- {level: Request, verbs: [patch], omitManagedFields: true}
- {level: RequestResponse, resources: [{resources: [configmaps]}], omitManagedFields: true}
- {level: Metadata, nonResourceURLs: ['/version'], omitStages: []}
- {level: Metadata, users: ['', jane]}
";

async fn audited(directory: &tempfile::TempDir, webhook: Option<Webhook>) -> Result<TestServer> {
    let path = directory.path().join("audit.log");
    let settings = Settings { webhook, ..Settings::to_file(POLICY.to_owned(), path) };
    TestServer::with_config(|config| config.audit = Some(settings)).await
}

/// Everything that `server` has written when it has ended: nobody waits for the last event of a request.
async fn events(mut server: TestServer, directory: &tempfile::TempDir) -> Result<Vec<Value>> {
    server.stop();
    server.stopped().await?;
    let text = std::fs::read_to_string(directory.path().join("audit.log"))?;
    text.lines().map(|line| Ok(gantry_json::from_str(line)?)).collect()
}

#[tokio::test]
async fn what_is_deprecated_is_noted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [
        {level: Metadata, users: [admin]}, {level: None}]}";
    let settings = Settings::to_file(policy.to_owned(), directory.path().join("audit.log"));
    let server = TestServer::with_config(|config| {
        config.audit = Some(settings);
        config.runtime_config = RuntimeConfig::parse(["api/beta=true"]).unwrap_or_default();
    });
    let server = server.await?;
    let beta = server.get("/apis/networking.k8s.io/v1beta1/ipaddresses").await?;
    let warning =
        "299 - \"networking.k8s.io/v1beta1 IPAddress is deprecated in v1.34+, unavailable in v1.37+\"";
    assert_eq!(beta.headers["warning"], warning);
    let stable = server.get("/apis/networking.k8s.io/v1/ipaddresses").await?;
    assert_eq!(stable.headers.get("warning"), None);
    server.get("/api/v1/namespaces/default/endpoints/none").await?;
    let noted = events(server, &directory).await?.into_iter().map(|event| {
        let note = |name: &str| event["annotations"][name].clone();
        [note("k8s.io/deprecated"), note("k8s.io/removed-release")]
    });
    let expect = [[json!("true"), json!("1.37")], [Value::Null, Value::Null], [json!("true"), Value::Null]];
    assert_eq!(noted.collect::<Vec<_>>(), expect);
    Ok(())
}

#[tokio::test]
async fn requests_leave_what_the_policy_says() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let server = audited(&directory, None).await?;
    let made =
        server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).await?;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "hunter2"}});
    server.json(Method::POST, "/api/v1/namespaces/default/secrets", &secret).await?;
    let patch = "{\"data\":{\"k\":\"w\"}}";
    server.request(Method::PATCH, &format!("{MAPS}/a"), "application/merge-patch+json", patch).await?;
    let missing = server.get(&format!("{MAPS}/none")).await?;
    assert_eq!(missing.json()["reason"], "NotFound", "the answer is whole although it was read");
    server.get(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await?;
    server.get("/version").await?;
    server.get("/readyz").await?;
    let jane = server.authority.issue("jane", &["dev"])?;
    let request = Request::builder()
        .uri("/api/v1/nodes?limit=3")
        .header("host", "x")
        .header("x-forwarded-for", "192.0.2.7");
    server.send(Some(&jane), request.body(Bytes::new())?).await?;
    let request =
        Request::builder().uri("/api/v1/nodes").header("host", "x").header("authorization", "Bearer wrong");
    server.send(None, request.body(Bytes::new())?).await?;

    let metrics = server.get("/metrics").await?.text();
    assert!(metrics.contains("apiserver_audit_level_total{level=\"Metadata\"} "), "{metrics}");
    let events = events(server, &directory).await?;
    let brief: Vec<String> = events
        .iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let reference = &event["objectRef"];
            format!(
                "{} {} {} {}/{} {}",
                text(&event["level"]),
                text(&event["stage"]),
                text(&event["verb"]),
                text(&reference["resource"]),
                text(&reference["name"]),
                event["responseStatus"]["code"]
            )
        })
        .collect();
    assert_eq!(
        brief,
        [
            "RequestResponse ResponseComplete create configmaps/a 201",
            "Metadata ResponseComplete create secrets/s 201",
            "Request ResponseComplete patch configmaps/a 200",
            "RequestResponse ResponseComplete get configmaps/none 404",
            "RequestResponse ResponseStarted watch configmaps/ 200",
            "RequestResponse ResponseComplete watch configmaps/ 200",
            "Metadata ResponseComplete get / 200",
            "Metadata ResponseComplete list nodes/ 403",
            "Metadata ResponseStarted list nodes/ 401",
        ]
    );
    let create = &events[0];
    assert_eq!(create["auditID"], made.headers["audit-id"].to_str()?);
    assert_eq!((&create["user"]["username"], &create["sourceIPs"]), (&json!("admin"), &json!(["127.0.0.1"])));
    assert_eq!(create["userAgent"], "gantry-testing/1");
    assert_eq!(
        create["requestObject"],
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
    );
    assert_eq!(
        (&create["responseObject"]["data"]["k"], &create["responseObject"]["metadata"]["managedFields"]),
        (&json!("v"), &Value::Null)
    );
    assert_eq!(create["annotations"]["authorization.k8s.io/decision"], "allow");
    assert!(create["requestReceivedTimestamp"].as_str().is_some_and(|time| time.len() == 27), "{create}");
    assert!(!events[1].to_string().contains("hunter2"), "{}", events[1]);
    assert_eq!(
        (&events[2]["requestObject"], &events[2]["responseObject"]),
        (&json!({"data": {"k": "w"}}), &Value::Null)
    );
    assert_eq!(events[3]["responseStatus"]["reason"], "NotFound");
    let refused = &events[7];
    assert_eq!(
        (&refused["requestURI"], &refused["sourceIPs"]),
        (&json!("/api/v1/nodes?limit=3"), &json!(["192.0.2.7", "127.0.0.1"]))
    );
    assert_eq!(
        (&refused["annotations"]["authorization.k8s.io/decision"], &refused["responseStatus"]["status"]),
        (&json!("forbid"), &json!("Failure"))
    );
    let nobody = &events[8];
    assert_eq!(
        (&nobody["user"], &nobody["annotations"], &nobody["responseObject"]),
        (&json!({}), &Value::Null, &Value::Null)
    );
    assert_eq!(
        nobody["responseStatus"],
        json!({
            "metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized",
            "code": 401,
        })
    );
    Ok(())
}

#[tokio::test]
async fn who_is_refused_leaves_one_event() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [
        {level: None, users: [admin, 'system:apiserver']}, {level: Metadata}]}";
    let settings = Settings::to_file(policy.to_owned(), directory.path().join("audit.log"));
    let server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    for uri in ["/api/v1/pods", "/api/v1/pods?watch=1", "/version"] {
        let request = Request::builder().uri(uri).header("host", "x").header("authorization", "Bearer wrong");
        assert_eq!(server.send(None, request.body(Bytes::new())?).await?.code, 401);
    }
    let jane = server.authority.issue("jane", &["dev"])?;
    let request = Request::builder().uri("/version").header("host", "x");
    server.send(Some(&jane), request.body(Bytes::new())?).await?;
    let events = events(server, &directory).await?;
    let stages: Vec<[&Value; 2]> =
        events.iter().map(|event| [&event["stage"], &event["user"]["username"]]).collect();
    let (started, null) = (&json!("ResponseStarted"), &Value::Null);
    let (received, complete, jane) = (&json!("RequestReceived"), &json!("ResponseComplete"), &json!("jane"));
    assert_eq!(
        stages,
        [[started, null], [started, null], [started, null], [received, jane], [complete, jane]]
    );
    Ok(())
}

#[tokio::test]
async fn writes_tell_of_their_objects() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [
        {level: None, users: ['system:apiserver']},
        {level: Request, resources: [{resources: [configmaps]}], verbs: [delete, deletecollection]},
        {level: Metadata, resources: [{resources: [configmaps, 'serviceaccounts/token',
            'replicationcontrollers/scale']}], users: [admin]},
        {level: None}]}";
    let settings = Settings::to_file(policy.to_owned(), directory.path().join("audit.log"));
    let server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    let made = server.json(Method::POST, MAPS, &json!({"metadata": {"generateName": "a-"}})).await?;
    assert_eq!(made.code, 201);
    let made = server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}})).await?.json();
    let at = format!("{MAPS}/a");
    let updated = server.json(Method::PUT, &at, &made).await?;
    assert_eq!(updated.code, 200);
    let options = json!({"propagationPolicy": "Background"});
    let deleted = server.json(Method::DELETE, &at, &options).await?;
    assert_eq!(deleted.json()["status"], "Success");
    server.json(Method::DELETE, MAPS, &json!({"apiVersion": "v1", "kind": "DeleteOptions"})).await?;
    let account = json!({"metadata": {"name": "robot"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let token = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let token = server.json(Method::POST, token, &json!({"metadata": {"uid": "u-1"}})).await?;
    assert_eq!(token.code, 201, "{}", token.text());
    server.get(&format!("{MAPS}?fieldSelector=metadata.name=b")).await?;
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = json!({"metadata": {"name": "c"}, "spec": {"replicas": 0, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "c"}]}}}});
    let controller = server.json(Method::POST, controllers, &controller).await?.json();
    let metadata = &controller["metadata"];
    let scale = json!({"metadata": metadata, "spec": {"replicas": 1}});
    let scaled = server.json(Method::PUT, &format!("{controllers}/c/scale"), &scale).await?;
    assert_eq!(scaled.code, 200, "{}", scaled.text());

    let events = events(server, &directory).await?;
    let [generated, created, updated, deleted, emptied, issued, listed, scaled] = events.as_slice() else {
        panic!("{events:#?}")
    };
    let reference = json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"});
    assert_eq!(generated["objectRef"], reference);
    let mut named = reference.clone();
    named["name"] = json!("a");
    assert_eq!(
        (&created["objectRef"], &created["responseStatus"]),
        (&named, &json!({"metadata": {}, "code": 201}))
    );
    named["uid"] = made["metadata"]["uid"].clone();
    named["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    assert_eq!((&updated["objectRef"], &updated["requestObject"]), (&named, &Value::Null));
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/__internal", "propagationPolicy": "Background",
    });
    assert_eq!((&deleted["requestObject"], &deleted["responseObject"]), (&options, &Value::Null));
    let details = json!({"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]});
    assert_eq!(
        deleted["responseStatus"],
        json!({"metadata": {}, "status": "Success", "details": details, "code": 200})
    );
    assert_eq!(
        (&emptied["requestObject"], &emptied["responseStatus"]),
        (
            &json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/__internal"}),
            &json!({"metadata": {}, "code": 200})
        )
    );
    let id = issued["annotations"]["authentication.kubernetes.io/issued-credential-id"].as_str();
    assert_eq!((&issued["objectRef"]["name"], &issued["objectRef"]["uid"]), (&json!("robot"), &json!("u-1")));
    assert!(id.is_some_and(|id| id.starts_with("JTI=") && id.len() == 40), "{issued}");
    assert_eq!((&listed["verb"], &listed["objectRef"]["name"]), (&json!("list"), &json!("b")));
    let seen = ["name", "uid", "resourceVersion"].map(|field| &scaled["objectRef"][field]);
    assert_eq!(seen, ["name", "uid", "resourceVersion"].map(|field| &metadata[field]));
    Ok(())
}

/// Takes one POST and answers it; the body.
async fn one_post(listener: &TcpListener, status: &str) -> Result<String> {
    let (mut stream, _) = listener.accept().await?;
    let mut text = String::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let read = stream.read(&mut buffer).await?;
        text.push_str(std::str::from_utf8(&buffer[..read])?);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if length.context("no length")?.parse::<usize>()? == body.len() {
            let agent = head.lines().any(|line| line.eq_ignore_ascii_case("user-agent: kube-apiserver"));
            ensure!(agent, "nobody is told who asks: {head}");
            let body = body.to_owned();
            stream
                .write_all(
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes(),
                )
                .await?;
            return Ok(body);
        }
    }
}

#[tokio::test]
async fn a_webhook_gets_batches_until_it_takes_them() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/audit", listener.local_addr()?);
    let mut webhook = Webhook::new(Endpoint { url, token: Some("t".into()), ..Endpoint::default() });
    webhook.backoff = Duration::from_millis(10);
    webhook.delivery.batching.size = 2;
    let mut server = audited(&directory, Some(webhook)).await?;
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}})).await?;
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": "b"}})).await?;
    let refused = one_post(&listener, "503 Unavailable").await?;
    let taken: Value = gantry_json::from_str(&one_post(&listener, "200 OK").await?)?;
    assert_eq!(gantry_json::from_str::<Value>(&refused)?, taken);
    assert_eq!((&taken["kind"], taken["items"].as_array().map(Vec::len)), (&json!("EventList"), Some(2)));
    assert_eq!(taken["items"][1]["requestObject"]["metadata"]["name"], "b");
    // What waits when the server stops is sent as it is.
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": "c"}})).await?;
    server.stop();
    let (last, stopped) = tokio::join!(one_post(&listener, "200 OK"), server.stopped());
    stopped?;
    let last: Value = gantry_json::from_str(&last?)?;
    assert_eq!(last["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_log_of_words_is_set_aside_when_it_is_full() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut settings = Settings::to_file(POLICY.to_owned(), directory.path().join("audit.log"));
    if let Some(log) = &mut settings.log {
        log.format = Format::Legacy;
        log.file.max_bytes = 1;
        log.file.max_backups = 2;
    }
    let mut server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    for name in ["a", "b", "c", "d"] {
        server.json(Method::POST, MAPS, &json!({"metadata": {"name": name}})).await?;
    }
    server.get(&format!("{MAPS}/a")).await?;
    server.stop();
    server.stopped().await?;
    let mut files: Vec<_> = std::fs::read_dir(directory.path())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    // The one that is written to comes last: a point is after a hyphen.
    files.sort();
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path);
    let lines = files.iter().map(read).collect::<std::io::Result<Vec<_>>>()?;
    let word = |line: &String, word: &str| {
        let (_, rest) = line.split_once(&format!(" {word}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let methods: Vec<_> = lines.iter().filter_map(|line| word(line, "method")).collect();
    assert_eq!(methods, ["create", "create", "get"], "two are kept beside the one that is written to");
    let last = &lines[2];
    assert_eq!(word(last, "uri").as_deref(), Some(&*format!("{MAPS}/a")));
    assert_eq!(
        (word(last, "user").as_deref(), word(last, "response").as_deref()),
        (Some("admin"), Some("200"))
    );
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_loses_its_objects() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("audit.log");
    let mut settings = Settings::to_file(POLICY.to_owned(), path);
    let truncation = Some(Truncation { event_bytes: 2_000, batch_bytes: 10_000 });
    if let Some(log) = &mut settings.log {
        log.delivery = Delivery { truncation, ..Delivery::of_log() };
    }
    let server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v".repeat(3_000)}});
    server.json(Method::POST, MAPS, &map).await?;
    // An event without objects to lose is lost itself.
    server.get(&format!("/version?{}", "x".repeat(3_000))).await?;
    let metrics = server.get("/metrics").await?.text();
    assert!(metrics.contains("apiserver_audit_error_total{plugin=\"truncate\"} 1"), "{metrics}");
    let events = events(server, &directory).await?;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["annotations"]["audit.k8s.io/truncated"], "true");
    assert_eq!((&event["requestObject"], &event["responseObject"]), (&Value::Null, &Value::Null));
    assert_eq!(event["responseStatus"]["code"], 201);
    Ok(())
}

#[tokio::test]
async fn a_strict_webhook_fails_requests() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/audit", listener.local_addr()?);
    let mut webhook = Webhook::new(Endpoint { url, ..Endpoint::default() });
    webhook.backoff = Duration::from_millis(1);
    webhook.delivery.mode = Mode::BlockingStrict;
    let policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata, nonResourceURLs: [/version]}]}";
    let settings = Settings { policy: policy.to_owned(), log: None, webhook: Some(webhook) };
    let server = TestServer::with_config(|config| config.audit = Some(settings)).await?;
    let taking = async {
        let received: Value = gantry_json::from_str(&one_post(&listener, "200 OK").await?)?;
        let complete: Value = gantry_json::from_str(&one_post(&listener, "200 OK").await?)?;
        anyhow::Ok([received, complete].map(|list| list["items"][0]["stage"].clone()))
    };
    let (reply, stages) = tokio::join!(server.get("/version"), taking);
    assert_eq!((reply?.code.as_u16(), stages?), (200, [json!("RequestReceived"), json!("ResponseComplete")]));
    // Nobody listens any more.
    drop(listener);
    let reply = server.get("/version").await?;
    assert_eq!(reply.code, 500, "{}", reply.text());
    assert!(reply.text().contains("failed to store audit event"), "{}", reply.text());
    Ok(())
}
