//! Webhooks that refuse.

use super::*;

/// Refuses what has the datum `bad`, and deletions of what has the datum `kept`.
fn judge(_: &str, request: &Value) -> Value {
    let bad = !request["object"]["data"]["bad"].is_null();
    let kept = request["operation"] == "DELETE" && !request["oldObject"]["data"]["kept"].is_null();
    match bad || kept {
        true => json!({"allowed": false, "warnings": ["mind the data"], "auditAnnotations": {"why": "bad"},
            "status": {"message": "the configmap contains unwanted key and value", "code": 403, "reason": "Forbidden"}}),
        false => json!({"allowed": true}),
    }
}

#[tokio::test]
async fn creations_changes_and_deletions_are_refused() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, judge).await?;
    configure(&server, "Validating", "judge", vec![entry(&hook, "judge", "/judge", |_| {})]).await?;
    let refused = create(&server, "a", json!({"bad": "1"})).await?;
    assert_eq!(refused.code, 403);
    let status = refused.json();
    let message = "admission webhook \"judge.example.com\" denied the request: the configmap contains unwanted key and value";
    assert_eq!((&status["message"], &status["reason"]), (&json!(message), &json!("Forbidden")));
    assert_eq!(refused.headers["warning"], "299 - \"mind the data\"");
    let (path, review) = hook.calls().remove(0);
    assert_eq!(path, "/judge?timeout=10s");
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    let request = &review["request"];
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["requestKind"], request["kind"]);
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&request["name"], &request["namespace"]), (&json!("a"), &json!("default")));
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!(request["object"]["data"]["bad"], "1");
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(
        (&request["options"]["kind"], &request["options"]["apiVersion"]),
        (&json!("CreateOptions"), &json!("meta.k8s.io/v1"))
    );

    assert_eq!(create(&server, "b", json!({"kept": "1"})).await?.code, 201);
    let patch = json!({"data": {"bad": "1"}}).to_string();
    let map = format!("{MAPS}/b");
    let refused = server.request(Method::PATCH, &map, "application/merge-patch+json", patch).await?;
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (403, &json!(message)));
    let refused = server.json(Method::DELETE, &map, &Value::Null).await?;
    assert_eq!(refused.code, 403);
    let last = hook.calls().pop().unwrap().1;
    assert_eq!(last["request"]["options"]["kind"], "DeleteOptions");
    assert_eq!((&last["request"]["object"], &last["request"]["operation"]), (&Value::Null, &json!("DELETE")));
    let refused = server.json(Method::DELETE, MAPS, &Value::Null).await?;
    assert_eq!(refused.code, 403, "a collection is deleted object by object");

    let metrics = server.get("/metrics").await?.text();
    let counted = "apiserver_admission_webhook_rejection_count{name=\"judge.example.com\",type=\"validating\",operation=\"CREATE\",error_type=\"no_error\",rejection_code=\"403\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    // Without the configuration nothing is refused any more, at once.
    let path = format!("{CONFIGURATIONS}/validatingwebhookconfigurations/judge");
    server.json(Method::DELETE, &path, &Value::Null).await?;
    assert_eq!(create(&server, "a", json!({"bad": "1"})).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn streams_are_refused() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(
        &server,
        |_, _| json!({"allowed": false, "status": {"message": "attaching to pod 'p' is not allowed"}}),
    )
    .await?;
    let attach = |entry: &mut Value| {
        entry["rules"] = json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["pods/attach", "pods/exec"]}]);
    };
    configure(&server, "Validating", "attach", vec![entry(&hook, "attach", "/", attach)]).await?;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = server
        .json(
            Method::POST,
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "default"}}),
        )
        .await?;
    assert_eq!(made.code, 201);
    assert_eq!(server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await?.code, 201);
    let path = "/api/v1/namespaces/default/pods/p/exec?container=c&stdin=true&command=ls&command=-l";
    let refused = server.json(Method::POST, path, &Value::Null).await?;
    let message =
        "admission webhook \"attach.example.com\" denied the request: attaching to pod 'p' is not allowed";
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (400, &json!(message)));
    let request = hook.calls().remove(0).1["request"].clone();
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
    assert_eq!((&request["subResource"], &request["name"]), (&json!("exec"), &json!("p")));
    let options = json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "container": "c", "command": ["ls", "-l"]});
    assert_eq!(request["object"], options);
    Ok(())
}

#[tokio::test]
async fn configurations_themselves_are_never_asked_about() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |_, _| json!({"allowed": false})).await?;
    let everything = |entry: &mut Value| {
        entry["rules"] =
            json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    };
    configure(&server, "Validating", "all", vec![entry(&hook, "all", "/", everything)]).await?;
    configure(&server, "Mutating", "all", vec![entry(&hook, "all", "/", everything)]).await?;
    assert_eq!(create(&server, "a", json!({})).await?.code, 400);
    for kind in ["validating", "mutating"] {
        let path = format!("{CONFIGURATIONS}/{kind}webhookconfigurations");
        let listed = server.get(&path).await?.json();
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
        let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
        let one = format!("{path}/all");
        let patched = server.request(Method::PATCH, &one, "application/merge-patch+json", patch).await?;
        assert_eq!(patched.code, 200, "{}", patched.text());
        assert_eq!(server.json(Method::DELETE, &path, &Value::Null).await?.code, 200);
    }
    assert_eq!(create(&server, "a", json!({})).await?.code, 201);
    Ok(())
}

#[tokio::test]
async fn selectors_and_other_versions() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |path, _| json!({"allowed": path == "/ok"})).await?;
    let labelled = |entry: &mut Value| entry["objectSelector"] = json!({"matchLabels": {"checked": "yes"}});
    configure(&server, "Validating", "some", vec![entry(&hook, "some", "/no", labelled)]).await?;
    assert_eq!(create(&server, "a", json!({})).await?.code, 201);
    assert!(hook.calls().is_empty());
    let checked = json!({"metadata": {"name": "b", "labels": {"checked": "yes"}}});
    assert_eq!(server.json(Method::POST, MAPS, &checked).await?.code, 400);
    hook.calls();
    // A rule for the older version meets a request in the newer one, and the webhook sees the older.
    let older = |policy: &'static str| {
        move |entry: &mut Value| {
            entry["matchPolicy"] = policy.into();
            entry["rules"] = json!([{"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
            "resources": ["horizontalpodautoscalers"]}]);
        }
    };
    configure(
        &server,
        "Validating",
        "older",
        vec![
            entry(&hook, "equivalent", "/ok", older("Equivalent")),
            entry(&hook, "exact", "/no", older("Exact")),
        ],
    )
    .await?;
    let scaler = json!({"metadata": {"name": "s"}, "spec": {"maxReplicas": 3,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]}});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = server.json(Method::POST, path, &scaler).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let calls = hook.calls();
    assert_eq!(calls.len(), 1);
    let request = &calls[0].1["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(
        (&request["resource"]["version"], &request["requestResource"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(request["object"]["spec"]["targetCPUUtilizationPercentage"], 70);
    Ok(())
}

#[tokio::test]
async fn scales_are_shown_as_scales() -> Result<()> {
    let server = TestServer::start().await?;
    let hook =
        webhook(&server, |_, request| json!({"allowed": request["object"]["spec"]["replicas"] != 7})).await?;
    let scale = |entry: &mut Value| {
        entry["rules"] = json!([{"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["*/scale"]}]);
    };
    configure(&server, "Validating", "scale", vec![entry(&hook, "scale", "/", scale)]).await?;
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(server.json(Method::POST, path, &deployment).await?.code, 201);
    let set = async |replicas: u32| {
        let patch = json!({"spec": {"replicas": replicas}}).to_string();
        server.request(Method::PATCH, &format!("{path}/d/scale"), "application/merge-patch+json", patch).await
    };
    assert_eq!(set(3).await?.code, 200);
    let refused = set(7).await?;
    assert_eq!(
        (refused.code.as_u16(), &refused.json()["message"]),
        (400, &json!("admission webhook \"scale.example.com\" denied the request without explanation"))
    );
    let request = hook.calls().pop().unwrap().1["request"].clone();
    assert_eq!(request["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&request["object"]["kind"], &request["oldObject"]["spec"]["replicas"]),
        (&json!("Scale"), &json!(3))
    );
    Ok(())
}

#[tokio::test]
async fn conditions_say_who_is_asked_about() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = webhook(&server, |_, _| json!({"allowed": false})).await?;
    let conditions = |expressions: &'static [&'static str]| {
        move |entry: &mut Value| {
            let all = expressions.iter().enumerate();
            let all = all.map(|(at, text)| json!({"name": format!("c{at}"), "expression": text}));
            entry["matchConditions"] = all.collect::<Vec<_>>().into();
        }
    };
    let texts: &[&str] = &["request.userInfo.username == 'admin'", "object.data.asked == 'yes'"];
    configure(&server, "Validating", "v", vec![entry(&hook, "v", "/", conditions(texts))]).await?;
    assert_eq!(create(&server, "a", json!({"asked": "no"})).await?.code, 201);
    assert!(hook.calls().is_empty());
    assert_eq!(create(&server, "b", json!({"asked": "yes"})).await?.code, 400);
    let refused = create(&server, "b", json!({"k": "v"})).await?;
    let message = "configmaps \"b\" is forbidden: expression 'object.data.asked == 'yes'' resulted in error: no such key: asked";
    assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (403, &json!(message)));
    let open = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]).to_string();
    let path = format!("{CONFIGURATIONS}/validatingwebhookconfigurations/v");
    server.request(Method::PATCH, &path, "application/json-patch+json", open).await?;
    assert_eq!(create(&server, "b", json!({"k": "v"})).await?.code, 201);
    Ok(())
}
