//! What is open to whom: paths without credentials, and the documents that others verify tokens by.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use gantry_apiserver::authn::Anonymous;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};

fn read(path: &str) -> http::Result<Request<Bytes>> {
    Request::builder().uri(path).header("host", "x").body(Bytes::new())
}

#[tokio::test]
async fn paths_may_be_opened_to_everybody() -> Result<()> {
    let open = Anonymous::Paths(vec!["/readyz".into(), "/openid/*".into(), "/api/v1/nodes".into()]);
    let server = TestServer::with_config(|config| config.anonymous = open).await?;
    // Open is what authorization allows as well.
    for (path, code) in [
        ("/readyz", 200),
        ("/readyz/ping", 401),
        ("/version", 401),
        ("/openid/v1/jwks", 403),
        ("/api/v1/nodes", 403),
        ("/api/v1/pods", 401),
    ] {
        assert_eq!(server.send(None, read(path)?).await?.code.as_u16(), code, "{path}");
    }
    let binding = json!({
        "metadata": {"name": "keys-for-everybody"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(server.json(Method::POST, path, &binding).await?.code, 201);
    assert_eq!(server.send(None, read("/openid/v1/jwks")?).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn tokens_can_be_verified_by_what_is_published() -> Result<()> {
    let server = TestServer::start().await?;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.json(Method::POST, accounts, &json!({"metadata": {"name": "robot"}})).await?;
    let asked = json!({"spec": {"audiences": ["somebody-else"]}});
    let made = server.json(Method::POST, &format!("{accounts}/robot/token"), &asked).await?.json();
    let token = made["status"]["token"].as_str().unwrap_or_default();
    let decode = |part: &str| -> Result<Value> {
        use base64::Engine;
        Ok(gantry_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part)?)?)
    };
    let parts: Vec<&str> = token.split('.').collect();
    let (head, claims) = (decode(parts[0])?, decode(parts[1])?);
    let discovery = server.get("/.well-known/openid-configuration").await?;
    assert_eq!(discovery.json()["issuer"], claims["iss"]);
    let keys = server.get("/openid/v1/jwks").await?;
    assert_eq!(
        (keys.headers["content-type"].to_str()?, keys.headers["cache-control"].to_str()?),
        ("application/jwk-set+json", "public, max-age=3600")
    );
    let key = &keys.json()["keys"][0];
    assert_eq!((&key["kid"], &key["alg"]), (&head["kid"], &head["alg"]));
    // For somebody else's audience it is no credential here.
    let request = Request::builder()
        .uri("/version")
        .header("host", "x")
        .header("authorization", format!("Bearer {token}"));
    assert_eq!(server.send(None, request.body(Bytes::new())?).await?.code, 401);
    let review = json!({"spec": {"token": token, "audiences": ["somebody-else"]}});
    let answer =
        server.json(Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", &review).await?.json();
    assert_eq!(
        (
            &answer["status"]["authenticated"],
            &answer["status"]["user"]["username"],
            &answer["status"]["audiences"]
        ),
        (&json!(true), &json!("system:serviceaccount:default:robot"), &json!(["somebody-else"]))
    );
    Ok(())
}

#[tokio::test]
async fn everybody_may_ask_what_they_may_do() -> Result<()> {
    let server = TestServer::start().await?;
    let jane = server.authority.issue("jane", &["dev"])?;
    let post = async |path: &str, body: Value| {
        let request = Request::builder().method(Method::POST).uri(path).header("host", "x");
        let request =
            request.header("content-type", "application/json").body(Bytes::from(body.to_string()))?;
        anyhow::Ok(server.send(Some(&jane), request).await?.json())
    };
    let authorization = "/apis/authorization.k8s.io/v1";
    let myself = post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({})).await?;
    assert_eq!(myself["status"]["userInfo"]["username"], "jane");
    assert_eq!(myself["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
    let attributes = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let access = post(
        &format!("{authorization}/selfsubjectaccessreviews"),
        json!({"spec": {"resourceAttributes": attributes}}),
    )
    .await?;
    assert_eq!(access["status"]["allowed"], false);
    let rules =
        post(&format!("{authorization}/selfsubjectrulesreviews"), json!({"spec": {"namespace": "default"}}))
            .await?;
    let own = json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]});
    let resources = rules["status"]["resourceRules"].as_array().cloned().unwrap_or_default();
    assert!(resources.contains(&own), "{rules}");
    assert_eq!(rules["status"]["incomplete"], false);
    // Asking about others is a right of its own.
    let others = json!({"spec": {"user": "bob", "resourceAttributes": attributes}});
    assert_eq!(post(&format!("{authorization}/subjectaccessreviews"), others.clone()).await?["code"], 403);
    let asked = server.json(Method::POST, &format!("{authorization}/subjectaccessreviews"), &others).await?;
    assert_eq!((asked.code.as_u16(), &asked.json()["status"]["allowed"]), (201, &json!(false)));
    Ok(())
}

#[tokio::test]
async fn policies_of_a_file_allow() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("policies");
    let policy = json!({"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy",
        "spec": {"user": "jane", "namespace": "shop", "resource": "pods", "readonly": true}});
    std::fs::write(&file, format!("# who may what\n{policy}\n"))?;
    let server = TestServer::with_config(|config| {
        config.authorization.modes = ["RBAC", "ABAC"].map(str::to_owned).into();
        config.authorization.policy_file = Some(file);
    })
    .await?;
    let jane = server.authority.issue("jane", &[])?;
    for (path, code) in [("/api/v1/namespaces/shop/pods", 200), ("/api/v1/namespaces/shop/secrets", 403)] {
        assert_eq!(server.send(Some(&jane), read(path)?).await?.code.as_u16(), code, "{path}");
    }
    let refused = server.send(Some(&jane), read("/api/v1/nodes")?).await?;
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.ends_with("at the cluster scope: No policy matched."), "{message}");
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "shop"}});
    let request = Request::builder()
        .method(Method::POST)
        .uri("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews")
        .header("host", "x")
        .header("content-type", "application/json")
        .body(Bytes::from(review.to_string()))?;
    let status = server.send(Some(&jane), request).await?.json()["status"].clone();
    let rule = json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]});
    let rules = status["resourceRules"].as_array().cloned().unwrap_or_default();
    assert!(rules.contains(&rule), "{status}");
    assert_eq!(status["incomplete"], false);
    Ok(())
}

#[tokio::test]
async fn how_much_is_logged_can_be_told() -> Result<()> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let server = TestServer::with_config(|config| {
        config.verbosity = Some(Arc::new(move |level| tell.lock().expect("no panic").push(level)));
    })
    .await?;
    let path = "/debug/flags/v";
    let put = async |body: &'static str| server.request(Method::PUT, path, "text/plain", body).await;
    let reply = put("4").await?;
    assert_eq!(
        (reply.code.as_u16(), reply.text().as_str()),
        (200, "successfully set klog.logging.verbosity to 4")
    );
    let reply = put("loud").await?;
    let why = "failed set klog.logging.verbosity loud: strconv.ParseInt: parsing \"loud\": invalid syntax";
    assert_eq!((reply.code.as_u16(), reply.text().as_str()), (400, why));
    let reply = server.get(path).await?;
    assert_eq!((reply.code.as_u16(), reply.text().as_str()), (406, "unsupported http method"));
    assert_eq!(*told.lock().expect("no panic"), [4]);
    Ok(())
}
