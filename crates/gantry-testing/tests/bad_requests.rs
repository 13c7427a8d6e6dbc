//! Requests that are wrong whatever their body is: paths, methods, options, selectors, revisions, tokens,
//! rights, and representations that nobody makes.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn check(reply: &Reply, code: u16, reason: &str, message: &str) {
    let status = reply.json();
    let got = (reply.code.as_u16(), status["reason"].as_str(), status["message"].as_str());
    assert_eq!(got, (code, Some(reason), Some(message)));
}

#[tokio::test]
async fn paths_and_methods() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}})).await?;
    let missing = "the server could not find the requested resource";
    let not_allowed = "the server does not allow this method on the requested resource";
    for (method, path, code) in [
        (Method::GET, "/api/v1/namespaces/default/gadgets", 404),
        (Method::GET, "/apis/nothing.io/v1/things", 404),
        (Method::GET, "/api/v2/pods", 404),
        (Method::GET, "/apis/apps", 200),
        (Method::GET, "/apis/nothing", 404),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/healthz/nothing", 404),
        (Method::GET, "/openapi/v3/apis/nothing/v1", 404),
        (Method::GET, "/api/v1/configmaps/a", 404),
        (Method::GET, "/api/v1/namespaces/default/nodes", 404),
        (Method::GET, &*format!("{MAPS}/a/status"), 404),
        (Method::PUT, &*format!("{MAPS}/a/scale"), 404),
        (Method::GET, "/api/v1/namespaces/default/pods/p/nothing", 404),
        (Method::POST, "/api/v1/configmaps", 405),
        (Method::DELETE, "/api/v1/configmaps", 405),
        (Method::PUT, MAPS, 405),
        (Method::PATCH, MAPS, 405),
        (Method::POST, &*format!("{MAPS}/a"), 405),
        (Method::OPTIONS, &*format!("{MAPS}/a"), 405),
        (Method::TRACE, MAPS, 405),
        (Method::GET, "/api/v1/namespaces/default/pods/p/binding", 405),
        (Method::DELETE, "/api/v1/namespaces/default/pods/p/status", 405),
        (Method::PUT, "/api/v1/namespaces/default/pods/p/log", 405),
        (Method::POST, "/apis/apps/v1/namespaces/default/deployments/d/scale", 405),
        (Method::GET, "/api/v1/namespaces/default/serviceaccounts/default/token", 405),
        (Method::GET, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 405),
        (Method::POST, "/apis/authorization.k8s.io/v1/localsubjectaccessreviews", 405),
        (Method::DELETE, "/apis/authentication.k8s.io/v1/tokenreviews/x", 405),
        (Method::POST, "/version", 405),
        (Method::DELETE, "/healthz", 405),
        (Method::POST, "/nothing", 404),
    ] {
        let reply = server.json(method.clone(), path, &Value::Null).await?;
        match code {
            404 => check(&reply, 404, "NotFound", missing),
            405 => check(&reply, 405, "MethodNotAllowed", not_allowed),
            _ => assert_eq!(reply.code.as_u16(), code, "{method} {path}"),
        }
    }
    for path in ["//", "/api//v1///pods", "/api/v1/%zz", "/apis/%00/v1/x", "/api/v1/namespaces/..%2f../pods"]
    {
        let reply = server.get(path).await?;
        assert!(reply.code.as_u16() < 500, "{path}: {}", reply.text());
    }
    check(&server.get(&format!("{MAPS}/absent")).await?, 404, "NotFound", "configmaps \"absent\" not found");
    let nowhere = "/api/v1/namespaces/nowhere/configmaps";
    let reply = server.json(Method::POST, nowhere, &json!({"metadata": {"name": "a"}})).await?;
    check(&reply, 404, "NotFound", "namespaces \"nowhere\" not found");
    Ok(())
}

#[tokio::test]
async fn options_of_reads() -> Result<()> {
    let server = TestServer::start().await?;
    let list = "ListOptions.meta.k8s.io \"\" is invalid: ";
    let version = "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    let unnamed = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    let streaming = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    for (query, code, message) in [
        ("resourceVersion=abc", 400, version.to_owned()),
        ("resourceVersion=abc&watch=true", 400, version.to_owned()),
        ("resourceVersion=-1", 400, version.replace("abc", "-1")),
        ("limit=few", 400, "strconv.ParseInt: parsing \"few\": invalid syntax".into()),
        ("timeoutSeconds=long&watch=1", 400, "strconv.ParseInt: parsing \"long\": invalid syntax".into()),
        ("resourceVersionMatch=Exact", 422, format!("{list}{unnamed}")),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            422,
            format!(
                "{list}resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""
            ),
        ),
        (
            "resourceVersionMatch=Some&resourceVersion=1",
            422,
            format!(
                "{list}resourceVersionMatch: Unsupported value: \"Some\": supported values: \"\", \"Exact\", \"NotOlderThan\""
            ),
        ),
        (
            "resourceVersionMatch=Exact&continue=x",
            422,
            format!(
                "{list}[{unnamed}, resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided]"
            ),
        ),
        (
            "sendInitialEvents=true",
            422,
            format!("{list}sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        ),
        ("watch=true&sendInitialEvents=true", 422, format!("{list}{streaming}")),
        (
            "watch=true&resourceVersionMatch=NotOlderThan",
            422,
            format!(
                "{list}resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            ),
        ),
        (
            "watch=true&sendInitialEvents=false&resourceVersionMatch=Exact",
            422,
            format!(
                "{list}[{streaming}, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]"
            ),
        ),
        (
            "fieldSelector=spec.nothing%3D1",
            400,
            "\"spec.nothing\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                .into(),
        ),
        ("fieldSelector=nonsense", 400, "invalid selector: 'nonsense'; can't understand 'nonsense'".into()),
        (
            "labelSelector=a%20b",
            400,
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt".into(),
        ),
        ("continue=%25%25", 400, String::new()),
        ("continue=e30", 400, String::new()),
        (
            "continue=x&resourceVersion=3",
            400,
            "specifying resource version is not allowed when using continue".into(),
        ),
    ] {
        let reply = server.get(&format!("{MAPS}?{query}")).await?;
        let reason = if code == 400 { "BadRequest" } else { "Invalid" };
        let status = reply.json();
        assert_eq!(
            (reply.code.as_u16(), status["reason"].as_str()),
            (code, Some(reason)),
            "{query}: {status}"
        );
        if !message.is_empty() {
            assert_eq!(status["message"].as_str(), Some(&*message), "{query}");
        } else {
            let text = status["message"].as_str().unwrap_or_default();
            assert!(text.starts_with("invalid continue token: continue key is not valid"), "{text}");
        }
    }
    check(
        &server.get("/api/v1/pods?fieldSelector=spec.nothing%3D1").await?,
        400,
        "BadRequest",
        "field label not supported: spec.nothing",
    );
    check(&server.get(&format!("{MAPS}/a?resourceVersion=abc")).await?, 400, "BadRequest", version);
    let far = server.get(&format!("{MAPS}?resourceVersion=999999999")).await?;
    assert_eq!((far.code.as_u16(), &far.json()["reason"]), (504, &json!("Timeout")), "{}", far.text());
    assert_eq!(far.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    Ok(())
}

#[tokio::test]
async fn options_of_writes() -> Result<()> {
    let server = TestServer::start().await?;
    let object = json!({"metadata": {"name": "a"}});
    let long = "m".repeat(129);
    for (query, message) in [
        ("dryRun=Some", "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""),
        (
            "fieldValidation=Sometimes",
            "fieldValidation: Unsupported value: \"Sometimes\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
        ),
        (&*format!("fieldManager={long}"), "fieldManager: Too long: may not be more than 128 bytes"),
        (
            "fieldManager=a%07b",
            "fieldManager: Invalid value: \"a\\ab\": invalid character U+0007 (at position 1)",
        ),
    ] {
        let reply = server.json(Method::POST, &format!("{MAPS}?{query}"), &object).await?;
        check(&reply, 422, "Invalid", &format!("CreateOptions.meta.k8s.io \"\" is invalid: {message}"));
        let reply = server.json(Method::PUT, &format!("{MAPS}/a?{query}"), &object).await?;
        check(&reply, 422, "Invalid", &format!("UpdateOptions.meta.k8s.io \"\" is invalid: {message}"));
        let reply = server
            .request(Method::PATCH, &format!("{MAPS}/a?{query}"), "application/merge-patch+json", "{}")
            .await?;
        check(&reply, 422, "Invalid", &format!("PatchOptions.meta.k8s.io \"\" is invalid: {message}"));
    }
    server.json(Method::POST, MAPS, &object).await?;
    let delete = "DeleteOptions.meta.k8s.io \"\" is invalid: ";
    for (body, code, message) in [
        (
            json!({"propagationPolicy": "Sideways"}),
            422,
            format!(
                "{delete}propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
            ),
        ),
        (
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            422,
            format!(
                "{delete}propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set"
            ),
        ),
        (json!({"dryRun": ["Some"]}), 422, format!("{delete}dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"")),
        (json!({"kind": "Pod"}), 400, "decoded object cannot be converted to DeleteOptions".into()),
        (
            json!({"gracePeriodSeconds": "soon"}),
            400,
            "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: json: cannot unmarshal string into Go struct field \
             DeleteOptions.gracePeriodSeconds of type int64"
                .into(),
        ),
    ] {
        let reply = server.json(Method::DELETE, &format!("{MAPS}/a"), &body).await?;
        check(&reply, code, if code == 400 { "BadRequest" } else { "Invalid" }, &message);
    }
    let reply =
        server.json(Method::DELETE, &format!("{MAPS}/a?gracePeriodSeconds=soon"), &Value::Null).await?;
    check(&reply, 400, "BadRequest", "strconv.ParseInt: parsing \"soon\": invalid syntax");
    assert_eq!(server.get(&format!("{MAPS}/a")).await?.code, 200, "nothing of this deleted it");
    Ok(())
}

async fn accept(server: &TestServer, path: &str, accept: &str) -> Result<Reply> {
    let request =
        Request::builder().uri(path).header("host", "x").header("accept", accept).body(Bytes::new())?;
    server.send(Some(&server.admin), request).await
}

#[tokio::test]
async fn representations_that_nobody_makes() -> Result<()> {
    let server = TestServer::start().await?;
    let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    for (path, accepted) in [
        (MAPS, "text/html"),
        (MAPS, "application/cbor"),
        (MAPS, "application/json;as=Table;v=v1alpha1;g=meta.k8s.io"),
        (MAPS, "application/json;as=Chair;v=v1;g=meta.k8s.io"),
        ("/api/v1/namespaces/default/configmaps?watch=true", "text/html"),
        ("/api/v1", "image/png"),
        ("/apis", "image/png"),
    ] {
        check(&accept(&server, path, accepted).await?, 406, "NotAcceptable", message);
    }
    let streamed = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    for accepted in ["application/yaml", "application/yaml, application/json;q=0.9"] {
        let path = format!("{MAPS}?watch=true");
        let reply = accept(&server, &path, accepted).await?;
        assert!(reply.text().contains(streamed), "{}", reply.text());
        assert_eq!(
            (reply.code, &reply.headers["content-type"]),
            (http::StatusCode::NOT_ACCEPTABLE, &"application/yaml".parse()?)
        );
    }
    // What is asked and not kept has no table.
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
    for (accepted, code) in [
        ("application/json;as=Table;v=v1;g=meta.k8s.io", 406),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", 201),
    ] {
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header("host", "x")
            .header("accept", accepted)
            .header("content-type", "application/json")
            .body(review.clone().into())?;
        assert_eq!(server.send(Some(&server.admin), request).await?.code, code, "{accepted}");
    }
    // Health and version are said to everybody.
    assert_eq!(accept(&server, "/version", "image/png").await?.code, 200);
    assert_eq!(accept(&server, "/readyz", "image/png").await?.text(), "ok");
    for kind in [
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        ";",
        "application/cbor",
    ] {
        let reply = server.request(Method::POST, MAPS, kind, "{}").await?;
        let message = "the body of the request was in an unknown format - accepted media types include: application/json, \
                       application/yaml, application/vnd.kubernetes.protobuf";
        check(&reply, 415, "UnsupportedMediaType", message);
    }
    Ok(())
}

#[tokio::test]
async fn rights_and_credentials() -> Result<()> {
    let server = TestServer::start().await?;
    let jane = server.authority.issue("jane", &["dev"])?;
    let request = |method: Method, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(path).header("host", "x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Bytes::new())
    };
    for (method, path, message) in [
        (
            Method::GET,
            MAPS,
            "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"",
        ),
        (
            Method::DELETE,
            "/apis/apps/v1/namespaces/default/deployments/d",
            "deployments.apps \"d\" is forbidden: User \"jane\" cannot delete resource \"deployments\" in API group \"apps\" in the \
             namespace \"default\"",
        ),
        (
            Method::GET,
            "/api/v1/nodes",
            "nodes is forbidden: User \"jane\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
        ),
        (
            Method::POST,
            "/api/v1/namespaces/default/pods/p/exec",
            "pods \"p\" is forbidden: User \"jane\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"default\"",
        ),
        (Method::GET, "/metrics", "forbidden: User \"jane\" cannot get path \"/metrics\""),
        // What there is not is not told to who has no rights.
        (
            Method::GET,
            "/apis/nothing.io/v1/things",
            "things.nothing.io is forbidden: User \"jane\" cannot list resource \"things\" in API group \"nothing.io\" at the cluster \
             scope",
        ),
    ] {
        let reply = server.send(Some(&jane), request(method, path, &[])?).await?;
        check(&reply, 403, "Forbidden", message);
    }
    let reply =
        server.send(Some(&jane), request(Method::GET, MAPS, &[("impersonate-user", "admin")])?).await?;
    let message = "users \"admin\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope";
    check(&reply, 403, "Forbidden", message);
    let reply =
        server.send(Some(&server.admin), request(Method::GET, MAPS, &[("impersonate-group", "g")])?).await?;
    assert_eq!(reply.code, 500, "{}", reply.text());
    assert!(reply.text().contains("without impersonating a user"), "{}", reply.text());
    for token in ["wrong", "a.b.c", "abcdef.0123456789abcdef", "\u{e9}"] {
        let reply = server
            .send(None, request(Method::GET, MAPS, &[("authorization", &format!("Bearer {token}"))])?)
            .await?;
        check(&reply, 401, "Unauthorized", "Unauthorized");
    }
    for headers in [&[][..], &[("authorization", "Basic YWRtaW46YWRtaW4=")], &[("authorization", "Bearer ")]]
    {
        check(
            &server.send(None, request(Method::GET, MAPS, headers)?).await?,
            401,
            "Unauthorized",
            "Unauthorized",
        );
    }
    // A certificate of somebody else's authority does not get as far as a request.
    let stranger = gantry_testing::Authority::new()?.issue("admin", &["system:masters"])?;
    assert!(server.send(Some(&stranger), request(Method::GET, MAPS, &[])?).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_token_that_ended_is_no_token() -> Result<()> {
    let server = TestServer::start().await?;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.json(Method::POST, accounts, &json!({"metadata": {"name": "robot"}})).await?;
    let asked = json!({"spec": {"expirationSeconds": 600}});
    let made = server.json(Method::POST, &format!("{accounts}/robot/token"), &asked).await?.json();
    let token = made["status"]["token"].as_str().unwrap_or_default().to_owned();
    let request = || {
        let request = Request::builder().uri("/version").header("host", "x");
        request.header("authorization", format!("Bearer {token}")).body(Bytes::new())
    };
    assert_eq!(server.send(None, request()?).await?.code, 200);
    for (spec, field) in [
        (json!({"expirationSeconds": 5}), "spec.expirationSeconds"),
        (json!({"expirationSeconds": "long"}), ""),
    ] {
        let reply =
            server.json(Method::POST, &format!("{accounts}/robot/token"), &json!({"spec": spec})).await?;
        let status = reply.json();
        if field.is_empty() {
            assert_eq!(reply.code, 400, "{status}");
        } else {
            assert_eq!(
                (reply.code.as_u16(), &status["details"]["causes"][0]["field"]),
                (422, &json!(field)),
                "{status}"
            );
        }
    }
    // With its account the token ends.
    server.json(Method::DELETE, &format!("{accounts}/robot"), &Value::Null).await?;
    check(&server.send(None, request()?).await?, 401, "Unauthorized", "Unauthorized");
    Ok(())
}

#[tokio::test]
async fn a_token_from_before_is_no_token() -> Result<()> {
    use gantry_apiserver::token::{Claims, Kubernetes, Reference, SigningKey, sign};
    let mut pem = String::new();
    let mut issuer = String::new();
    let server = TestServer::with_config(|config| {
        (pem, issuer) = (config.service_account_key.clone(), config.issuer.clone());
    })
    .await?;
    let account = json!({"metadata": {"name": "robot"}});
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let made = server.json(Method::POST, path, &account).await?.json();
    let uid = made["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    let token = |begin: i64, end: i64, issuer: &str| {
        let claims = Claims {
            aud: vec![issuer.to_owned()],
            exp: end,
            iat: begin,
            nbf: begin,
            iss: issuer.to_owned(),
            jti: "j".to_owned(),
            sub: Claims::user_name("default", "robot"),
            kubernetes: Kubernetes {
                namespace: "default".to_owned(),
                serviceaccount: Reference { name: "robot".to_owned(), uid: uid.clone() },
                ..Kubernetes::default()
            },
        };
        sign(&SigningKey::from_pem(&pem)?, &claims)
    };
    for (token, code) in [
        (token(now - 10, now + 600, &issuer)?, 200),
        (token(now - 700, now - 100, &issuer)?, 401),
        (token(now + 300, now + 900, &issuer)?, 401),
        (token(now - 10, now + 600, "https://somebody.else")?, 401),
    ] {
        let request = Request::builder().uri("/version").header("host", "x");
        let request = request.header("authorization", format!("Bearer {token}")).body(Bytes::new())?;
        assert_eq!(server.send(None, request).await?.code.as_u16(), code);
    }
    Ok(())
}

#[tokio::test]
async fn reviews_that_ask_nothing() -> Result<()> {
    let server = TestServer::start().await?;
    let authorization = "/apis/authorization.k8s.io/v1";
    let local = format!("{authorization}/namespaces/default/localsubjectaccessreviews");
    let attributes = json!({"verb": "get", "resource": "pods", "namespace": "other"});
    for (path, body, code, message) in [
        (
            format!("{authorization}/selfsubjectaccessreviews"),
            json!({"spec": {}}),
            422,
            "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: exactly one of \
             nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            format!("{authorization}/subjectaccessreviews"),
            json!({"spec": {"resourceAttributes": attributes}}),
            422,
            "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.user: Invalid value: \"\": at least one of user or group must \
             be specified",
        ),
        (
            local,
            json!({"spec": {"user": "jane", "resourceAttributes": attributes}}),
            422,
            "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \"other\": \
             must match metadata.namespace",
        ),
        (
            format!("{authorization}/selfsubjectaccessreviews"),
            json!({"metadata": {"name": "x"}, "spec": {"resourceAttributes": attributes}}),
            422,
            "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: metadata: Invalid value: {\"name\":\"x\"}: must be empty",
        ),
        (
            format!("{authorization}/selfsubjectrulesreviews"),
            json!({"spec": {}}),
            400,
            "no namespace on request",
        ),
        (
            "/apis/authentication.k8s.io/v1/tokenreviews".into(),
            json!({"spec": {}}),
            400,
            "token is required for TokenReview in authentication",
        ),
        (
            "/apis/authentication.k8s.io/v1/tokenreviews".into(),
            json!({"spec": {"token": 7}}),
            400,
            "TokenReview in version \"v1\" cannot be handled as a TokenReview: json: cannot unmarshal number into Go struct field \
             TokenReviewSpec.spec.token of type string",
        ),
    ] {
        let reply = server.json(Method::POST, &path, &body).await?;
        check(&reply, code, if code == 400 { "BadRequest" } else { "Invalid" }, message);
    }
    let reply = server
        .json(Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &json!({"spec": {"token": "x"}}))
        .await?;
    assert_eq!(
        (reply.code.as_u16(), &reply.json()["status"]["authenticated"]),
        (201, &Value::Null),
        "{}",
        reply.text()
    );
    Ok(())
}
