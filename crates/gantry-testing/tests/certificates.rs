//! CertificateSigningRequests over HTTPS: who asks is filled in, approval and signing are rights of
//! their own, and the table shows where a request stands.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_apiserver::User;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use kube::Api;
use kube::api::PostParams;
use rcgen::{CertificateParams, DnType, KeyPair};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn request(name: &str, group: &str) -> Result<Value> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, "ada");
    let pem = params.serialize_request(&KeyPair::generate()?)?.pem()?;
    Ok(json!({"metadata": {"name": name}, "spec": {"request": STANDARD.encode(pem), "username": "root",
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
        "expirationSeconds": 3600}}))
}

#[tokio::test]
async fn a_request_is_made_and_shown() -> Result<()> {
    let server = TestServer::start().await?;
    let made = server.json(Method::POST, REQUESTS, &request("a", "dev")?).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["spec"]["username"], "admin");
    assert!(
        made["spec"]["groups"].as_array().is_some_and(|groups| groups.contains(&json!("system:masters")))
    );
    let path = format!("{REQUESTS}/a");
    let mut changed = made.clone();
    changed["spec"]["username"] = json!("ada");
    changed["metadata"]["labels"] = json!({"a": "b"});
    let changed = server.json(Method::PUT, &path, &changed).await?.json();
    assert_eq!(
        (&changed["spec"]["username"], &changed["metadata"]["labels"]["a"]),
        (&json!("admin"), &json!("b"))
    );
    let table = server
        .send(
            Some(&server.admin),
            http::Request::get(REQUESTS)
                .header("host", server.address.to_string())
                .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
                .body(bytes::Bytes::new())?,
        )
        .await?
        .json();
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().into_iter().flatten().map(|each| &each["name"]).collect();
    assert_eq!(columns, ["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[3], &cells[4], &cells[5]), (&json!("admin"), &json!("60m"), &json!("Pending")));
    let masters = server.json(Method::POST, REQUESTS, &request("b", "system:masters")?).await?;
    assert_eq!(masters.code, 403, "{}", masters.text());
    Ok(())
}

#[tokio::test]
async fn approval_and_signing_are_rights_of_their_own() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, REQUESTS, &request("a", "dev")?).await?;
    let role = json!({"metadata": {"name": "half"}, "rules": [{"apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"],
        "verbs": ["*"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    server.json(Method::POST, &format!("{rbac}/clusterroles"), &role).await?;
    let binding = json!({"metadata": {"name": "half"}, "subjects": [{"kind": "User", "name": "bob",
        "apiGroup": "rbac.authorization.k8s.io"}], "roleRef": {"kind": "ClusterRole", "name": "half",
        "apiGroup": "rbac.authorization.k8s.io"}});
    server.json(Method::POST, &format!("{rbac}/clusterrolebindings"), &binding).await?;
    let as_bob: Api<CertificateSigningRequest> = Api::all(server.client_as(User::new("bob", [])));
    let as_admin: Api<CertificateSigningRequest> = Api::all(server.client());
    let condition = |kind: &str| CertificateSigningRequestCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some("Test".into()),
        ..Default::default()
    };
    let with = |mut request: CertificateSigningRequest, kind: &str| {
        let status = request.status.get_or_insert_default();
        status.conditions.get_or_insert_default().push(condition(kind));
        request
    };
    let now = as_admin.get("a").await?;
    let approve = |api: Api<CertificateSigningRequest>, object: CertificateSigningRequest| async move {
        api.replace_subresource("approval", "a", &PostParams::default(), &object).await
    };
    let refused =
        approve(as_bob.clone(), with(now.clone(), "Approved")).await.err().map(|error| error.to_string());
    let why =
        "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"";
    assert!(refused.as_deref().is_some_and(|refused| refused.contains(why)), "{refused:?}");
    let approved = approve(as_admin.clone(), with(now, "Approved")).await?;
    let conditions = approved.status.clone().and_then(|status| status.conditions).unwrap_or_default();
    assert!(conditions[0].last_update_time.is_some() && conditions[0].last_transition_time.is_some());
    let failed = with(approved, "Failed");
    let refused = as_bob.replace_status("a", &PostParams::default(), &failed).await.err();
    assert!(refused.is_some_and(|refused| refused.to_string().contains("not permitted to sign requests")));
    as_admin.replace_status("a", &PostParams::default(), &failed).await?;
    Ok(())
}
