//! Every kind of credential, good and bad.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use gantry_json::{Value, json};
use http::Request;

use super::*;
use crate::lookup::Objects;
use crate::token::SigningKey;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NOW: i64 = 1_800_000_000;

fn authenticators() -> Authenticators {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = SigningKey::from_pem(&pair.serialize_pem()).unwrap();
    Authenticators::new(Arc::new(ServiceAccounts::new(key, Vec::new(), ISSUER)))
}

/// What needs no waiting.
fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready at once")
}

fn account() -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web", "uid": "sa-1"}})
}

fn pod(uid: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": "web-0", "uid": uid},
        "spec": {"serviceAccountName": "web", "nodeName": "n1"},
    })
}

fn cluster() -> Objects {
    let node = json!({"metadata": {"name": "n1", "uid": "node-1"}});
    Objects(vec![("serviceaccounts", account()), ("pods", pod("pod-1")), ("nodes", node)])
}

fn parts(name: &str, value: &str) -> Parts {
    Request::builder().header(name, value).body(()).unwrap().into_parts().0
}

fn grant(authenticators: &Authenticators, spec: Value) -> Result<Value, TokenRequestError> {
    let request = json!({"spec": spec});
    authenticators.service_accounts.grant(&account(), &request, &cluster(), NOW, "id-1".into())
}

#[test]
fn a_granted_token_is_the_accounts() {
    let authenticators = authenticators();
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": "web-0", "uid": "pod-1"});
    let granted =
        grant(&authenticators, json!({"expirationSeconds": 3607, "boundObjectRef": bound})).unwrap();
    assert_eq!(granted["spec"]["audiences"], json!([ISSUER]));
    assert_eq!(granted["status"]["expirationTimestamp"], "2027-01-15T09:00:07Z");
    let metadata = json!({"name": "web", "namespace": "shop", "creationTimestamp": "2027-01-15T08:00:00Z"});
    assert_eq!(granted["metadata"], metadata);
    let header = format!("Bearer {}", granted["status"]["token"].as_str().unwrap());
    let parts = parts("authorization", &header);
    let shown = |objects: &Objects, now| {
        let peer = PeerCertificates::default();
        ready(authenticators.authenticate(&parts, &peer, objects, now, &mut Notes::default()))
    };
    let user = shown(&cluster(), NOW + 7200).unwrap().unwrap();
    assert_eq!(user.name, "system:serviceaccount:shop:web");
    assert_eq!(user.uid, "sa-1");
    assert_eq!(
        user.groups,
        ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]
    );
    let extra: Vec<_> =
        user.extra.iter().map(|(key, value)| (key.rsplit('/').next().unwrap(), &*value[0])).collect();
    let expect = [
        ("credential-id", "JTI=id-1"),
        ("node-name", "n1"),
        ("node-uid", "node-1"),
        ("pod-name", "web-0"),
        ("pod-uid", "pod-1"),
    ];
    assert_eq!(extra, expect);
    let mut gone = cluster();
    gone.0[1] = ("pods", pod("pod-2"));
    let refused = |objects: &Objects, now| {
        let said = shown(objects, now).unwrap_err().to_string();
        let own = said.strip_prefix("[invalid bearer token, ").and_then(|own| own.strip_suffix(']'));
        own.expect("upstream's form").to_owned()
    };
    let why = "pod UID (pod-2) does not match service account pod ref claim (pod-1)";
    assert_eq!(refused(&gone, NOW), why, "another pod of that name");
    let mut leaving = pod("pod-1");
    leaving["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
    gone.0[1] = ("pods", leaving);
    assert!(shown(&gone, NOW + 30).is_ok(), "on its way out");
    let why = "service account token has been invalidated";
    assert_eq!(refused(&gone, NOW + 90), why, "should be gone");
    gone.0[1] = ("pods", pod("pod-1"));
    gone.0.retain(|(resource, _)| *resource != "serviceaccounts");
    assert_eq!(refused(&gone, NOW), "serviceaccounts \"web\" not found", "no such account any more");
    assert_eq!(refused(&cluster(), NOW + 400 * 86_400), "service account token has expired");
}

#[test]
fn a_token_is_good_for_its_audiences() {
    let authenticators = authenticators();
    let granted = grant(&authenticators, json!({"audiences": ["vault"]})).unwrap();
    let token = granted["status"]["token"].as_str().unwrap();
    let refused =
        ready(authenticators.token(token, &[], &cluster(), NOW, &mut Notes::default())).unwrap_err();
    let why = format!("token audiences [\"vault\"] is invalid for the target audiences [{ISSUER:?}]");
    assert_eq!(refused.to_string(), format!("[invalid bearer token, {why}]"));
    for foreign in ["abc", "a.b.c", "abcdef.0123456789abcdef"] {
        let refused = ready(authenticators.token(foreign, &[], &cluster(), NOW, &mut Notes::default()));
        assert_eq!(refused.unwrap_err().to_string(), "invalid bearer token");
    }
    let wanted = ["vault".to_owned(), "other".to_owned()];
    let (_, audiences) =
        ready(authenticators.token(token, &wanted, &cluster(), NOW, &mut Notes::default())).unwrap();
    assert_eq!(audiences, ["vault"]);
}

#[test]
fn requests_that_cannot_be_granted() {
    let authenticators = authenticators();
    let check = |spec: Value, expect: &str| {
        assert_eq!(grant(&authenticators, spec).unwrap_err().to_string(), expect);
    };
    check(
        json!({"expirationSeconds": 60}),
        "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
    );
    check(json!({"boundObjectRef": {"kind": "Pod", "name": "x"}}), "pods \"x\" not found");
    check(
        json!({"boundObjectRef": {"kind": "Deployment", "name": "x"}}),
        "cannot bind token to object of type /, Kind=Deployment",
    );
    check(
        json!({"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Pod", "name": "web-0"}}),
        "cannot bind token to object of type apps/v1, Kind=Pod",
    );
    check(
        json!({"boundObjectRef": {"kind": "Pod", "name": "web-0", "uid": "old"}}),
        "pods \"web-0\": the UID in the bound object reference (old) does not match the UID in record. \
         The object might have been deleted and then recreated",
    );
}

#[test]
fn certificates_name_the_user() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::OrganizationName, "system:nodes");
    name.push(rcgen::DnType::CommonName, "system:node:n1");
    params.distinguished_name = name;
    let certificate = params.self_signed(&key).unwrap();
    let peer = PeerCertificates::new(Arc::new([certificate.der().clone()]));
    let parts = parts("accept", "*/*");
    let user = ready(authenticators().authenticate(&parts, &peer, &cluster(), NOW, &mut Notes::default()))
        .unwrap()
        .unwrap();
    assert_eq!(user.name, "system:node:n1");
    assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
}

#[test]
fn bootstrap_tokens() {
    let secret = |change: &dyn Fn(&mut Value)| {
        let data = |text: &str| STANDARD.encode(text);
        let mut secret = json!({
            "metadata": {"namespace": "kube-system", "name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "data": {
                "token-id": data("abcdef"), "token-secret": data("0123456789abcdef"),
                "expiration": data("2027-02-01T00:00:00Z"), "usage-bootstrap-authentication": data("true"),
                "auth-extra-groups": data("system:bootstrappers:gantry"),
            },
        });
        change(&mut secret);
        Objects(vec![("secrets", secret)])
    };
    let authenticators = authenticators();
    let check = |token: &str, objects: &Objects, good: bool| {
        let parts = parts("authorization", &format!("bearer {token}"));
        let result = ready(authenticators.authenticate(
            &parts,
            &PeerCertificates::default(),
            objects,
            NOW,
            &mut Notes::default(),
        ));
        assert_eq!(result.is_ok(), good, "{token}: {result:?}");
    };
    let token = "abcdef.0123456789abcdef";
    check(token, &secret(&|_| {}), true);
    check("abcdef.0123456789abcdee", &secret(&|_| {}), false);
    check("abcdeg.0123456789abcdef", &secret(&|_| {}), false);
    check(token, &secret(&|object| object["type"] = json!("Opaque")), false);
    check(
        token,
        &secret(&|object| object["data"]["expiration"] = json!(STANDARD.encode("2020-01-01T00:00:00Z"))),
        false,
    );
    check(token, &secret(&|object| object["data"]["usage-bootstrap-authentication"] = Value::Null), false);
    check(
        token,
        &secret(&|object| object["data"]["auth-extra-groups"] = json!(STANDARD.encode("system:masters"))),
        false,
    );
    check("nonsense", &secret(&|_| {}), false);
}

#[test]
fn anonymous_sees_health_and_version_only() {
    let check = |path: &str, open: bool| assert_eq!(Anonymous::default().user(path).is_ok(), open, "{path}");
    check("/healthz", true);
    check("/readyz/ping", true);
    check("/version", true);
    check("/versions", false);
    check("/api/v1/pods", false);
    check("/metrics", false);
}

#[test]
fn impersonation_asks_for_each_part() {
    let request = Request::builder()
        .header("Impersonate-User", "system:serviceaccount:shop:web")
        .header("Impersonate-Extra-Scopes%2Fone", "a")
        .body(())
        .unwrap();
    let impersonation = impersonate(request.headers()).unwrap().unwrap();
    let expect = ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"];
    assert_eq!(impersonation.user.groups, expect);
    let real = User::new("ada", []);
    let questions: Vec<_> = impersonation.questions(&real).collect();
    let asked: Vec<_> = questions
        .iter()
        .map(|each| format!("{}:{}/{} {}", each.version, each.resource, each.subresource, each.name))
        .collect();
    assert_eq!(asked, [":serviceaccounts/ web", "v1:userextras/scopes/one a"]);
    let check = |header: &str, value: &str, what: &str| {
        let error = impersonate(&parts(header, value).headers).unwrap_err();
        assert_eq!(error, format!("requested [{what}] without impersonating a user"));
    };
    check("impersonate-group", "x", "{Group  x    }");
    check("impersonate-uid", "17", "{UID  17  authentication.k8s.io/v1  }");
    check("impersonate-extra-scopes", "read", "{UserExtra  read  authentication.k8s.io/v1  scopes}");
    let extra = |key| "{UserExtra  read  authentication.k8s.io/v1  KEY}".replace("KEY", key);
    check("impersonate-extra-a%2Fb%41", "read", &extra("a/bA"));
    check("impersonate-extra-a%2Fb%4", "read", &extra("a%2fb%4"));
    assert_eq!(impersonate(&parts("accept", "x").headers), Ok(None));
}
