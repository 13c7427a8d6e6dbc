//! Webhooks that change objects.

use super::*;

#[tokio::test]
async fn each_sees_what_those_before_it_made() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |path, request| match path {
        "/one" => patch(&json!([{"op": "add", "path": "/data/mutation-stage-1", "value": "yes"}])),
        _ if !request["object"]["data"]["mutation-stage-1"].is_null() => {
            patch(&json!([{"op": "add", "path": "/data/mutation-stage-2", "value": "yes"}]))
        }
        _ => json!({"allowed": true}),
    })
    .await?;
    configure(&server, "Mutating", "b", vec![entry(&hook, "two", "/two", |_| {})]).await?;
    configure(&server, "Mutating", "a", vec![entry(&hook, "one", "/one", |_| {})]).await?;
    let made = create(&server, "m", json!({"mutation-start": "yes"})).await?.json();
    let data = json!({"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"});
    assert_eq!(made["data"], data);
    let paths: Vec<String> = hook.calls().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/one?timeout=10s", "/two?timeout=10s"], "who does not want to is not called again");
    Ok(())
}

#[tokio::test]
async fn defaults_are_set_and_other_plugins_run_again() -> Result<()> {
    let server = TestServer::start().await?;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    server.json(Method::POST, accounts, &json!({"metadata": {"name": "default"}})).await?;
    let hook = webhook(&server, |_, _| {
        patch(&json!([{"op": "add", "path": "/spec/initContainers", "value": [{"name": "webhook-added-init-container", "image": "i"}]}]))
    })
    .await?;
    let pods = |entry: &mut Value| {
        entry["rules"] = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    };
    configure(&server, "Mutating", "pods", vec![entry(&hook, "pods", "/", pods)]).await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let init = &made.json()["spec"]["initContainers"][0];
    assert_eq!(init["terminationMessagePolicy"], "File");
    assert_eq!(init["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    Ok(())
}

#[tokio::test]
async fn who_wants_to_is_called_again() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |path, request| {
        let data = &request["object"]["data"];
        match path {
            "/first" if data["seen"].is_null() => {
                patch(&json!([{"op": "add", "path": "/data/seen", "value": "nothing"}]))
            }
            "/first" if !data["later"].is_null() => {
                patch(&json!([{"op": "replace", "path": "/data/seen", "value": "later"}]))
            }
            "/second" if data["later"].is_null() => {
                patch(&json!([{"op": "add", "path": "/data/later", "value": "1"}]))
            }
            _ => json!({"allowed": true}),
        }
    })
    .await?;
    let again = |entry: &mut Value| entry["reinvocationPolicy"] = "IfNeeded".into();
    configure(
        &server,
        "Mutating",
        "all",
        vec![entry(&hook, "first", "/first", again), entry(&hook, "second", "/second", |_| {})],
    )
    .await?;
    let made = create(&server, "m", json!({"k": "v"})).await?.json();
    assert_eq!(made["data"], json!({"k": "v", "seen": "later", "later": "1"}));
    let paths: Vec<String> = hook.calls().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/first?timeout=10s", "/second?timeout=10s", "/first?timeout=10s"]);
    Ok(())
}

#[tokio::test]
async fn patches_that_cannot_be() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |path, _| match path {
        "/half" => json!({"allowed": true, "patch": STANDARD.encode("[]")}),
        "/broken" => json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode("{")}),
        "/shape" => patch(&json!({"op": "add"})),
        "/wrong" => patch(&json!([{"op": "remove", "path": "/data/nothing"}])),
        "/type" => patch(&json!([{"op": "add", "path": "/data", "value": 3}])),
        _ => {
            let mut answer = patch(&json!([{"op": "remove", "path": "/data"}]));
            answer["patchType"] = "Other".into();
            answer
        }
    })
    .await?;
    for (path, expect) in [
        (
            "/half",
            "Internal error occurred: failed calling webhook \"x.example.com\": received invalid webhook response: webhook returned response.patch but not response.patchType",
        ),
        (
            "/broken",
            "Internal error occurred: failed calling webhook \"x.example.com\": received undecodable patch in webhook response: unexpected end of JSON input",
        ),
        (
            "/shape",
            "Internal error occurred: failed calling webhook \"x.example.com\": received undecodable patch in webhook response: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        ("/wrong", "Internal error occurred: "),
        ("/type", "Internal error occurred: "),
        (
            "/other",
            "Internal error occurred: failed calling webhook \"x.example.com\": unsupported patch type \"Other\"",
        ),
    ] {
        configure(&server, "Mutating", "x", vec![entry(&hook, "x", path, |_| {})]).await?;
        let refused = create(&server, "m", json!({"k": "v"})).await?;
        assert_eq!(refused.code, 500, "{path}: {}", refused.text());
        let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.starts_with(expect), "{path}: {message}");
        let configuration = format!("{CONFIGURATIONS}/mutatingwebhookconfigurations/x");
        server.json(Method::DELETE, &configuration, &Value::Null).await?;
    }
    Ok(())
}

#[tokio::test]
async fn dry_runs_need_a_webhook_without_side_effects() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |_, _| json!({"allowed": true})).await?;
    let map = json!({"metadata": {"name": "m"}});
    let dry = format!("{MAPS}?dryRun=All");
    configure(&server, "Mutating", "a", vec![entry(&hook, "a", "/", |_| {})]).await?;
    assert_eq!(server.json(Method::POST, &dry, &map).await?.code, 201);
    let request = hook.calls().remove(0).1["request"].clone();
    assert_eq!((&request["dryRun"], &request["options"]["dryRun"]), (&json!(true), &json!(["All"])));
    // Such configurations cannot be written any more, but may be stored.
    let mut old = entry(&hook, "b", "/", |_| {});
    old["sideEffects"] = "Unknown".into();
    old["failurePolicy"] = "Ignore".into();
    let stored = json!({"metadata": {"name": "b"}, "webhooks": [old]}).to_string().into_bytes();
    let key = "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/b";
    server.store.create(key, stored, None).await?;
    let refused = server.json(Method::POST, &dry, &map).await?;
    let message = "admission webhook \"b.example.com\" does not support dry run";
    let status = refused.json();
    assert_eq!(
        (refused.code.as_u16(), &status["message"], &status["reason"]),
        (400, &json!(message), &json!("BadRequest"))
    );
    Ok(())
}

#[tokio::test]
async fn what_the_server_chooses_is_chosen_after_changes() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |path, _| match path {
        "/change" => patch(&json!([{"op": "add", "path": "/metadata/uid", "value": "theirs"}])),
        _ => json!({"allowed": true}),
    })
    .await?;
    let also_namespaces = |entry: &mut Value| {
        entry["rules"][0]["resources"] = json!(["configmaps", "namespaces"]);
        entry["rules"][0]["operations"] = json!(["CREATE"]);
    };
    configure(&server, "Mutating", "a", vec![entry(&hook, "a", "/change", also_namespaces)]).await?;
    configure(&server, "Validating", "b", vec![entry(&hook, "b", "/judge", also_namespaces)]).await?;
    let object = json!({"metadata": {"generateName": "m-", "uid": "mine"}});
    let made = server.json(Method::POST, MAPS, &object).await?.json();
    let calls: [(String, Value); 2] = hook.calls().try_into().expect("two calls");
    let [changed, judged] = calls.map(|(_, review)| review["request"].clone());
    let metadata = |request: &Value, field: &str| request["object"]["metadata"][field].clone();
    for field in ["name", "uid", "creationTimestamp"] {
        assert_eq!(metadata(&changed, field), Value::Null, "{field}");
        assert_eq!(metadata(&judged, field), made["metadata"][field], "{field}");
    }
    assert!(!["mine", "theirs"].contains(&made["metadata"]["uid"].as_str().unwrap_or_default()));
    assert_eq!((&changed["name"], &judged["name"]), (&Value::Null, &Value::Null));

    // A Namespace is in itself.
    server.json(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "made"}})).await?;
    let reviews = hook.calls();
    assert_eq!(reviews.len(), 2);
    for (_, review) in reviews {
        let request = &review["request"];
        assert_eq!((&request["name"], &request["namespace"]), (&json!("made"), &json!("made")));
    }
    let unnamed = json!({"metadata": {"generateName": "n-"}});
    let named = server.json(Method::POST, "/api/v1/namespaces", &unnamed).await?.json();
    assert_eq!(named["metadata"]["labels"]["kubernetes.io/metadata.name"], named["metadata"]["name"]);
    let pod =
        json!({"metadata": {"generateName": "web-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let refused = server.json(Method::POST, "/api/v1/namespaces/kube-public/pods", &pod).await?.json();
    let expect = "pods \"web-\" is forbidden: error looking up service account kube-public/default: \
                  serviceaccount \"default\" not found";
    assert_eq!(refused["message"], expect);
    Ok(())
}
