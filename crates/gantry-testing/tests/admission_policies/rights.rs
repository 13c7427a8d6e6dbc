//! Who writes a policy must be able to read its parameters.

use gantry_apiserver::User;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};

use super::*;

async fn may_write_policies(server: &TestServer, further: Value) -> Result<Client> {
    let mut rules =
        vec![json!({"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]})];
    rules.push(further);
    let role = json!({"metadata": {"name": "policies"}, "rules": rules});
    let binding = json!({"metadata": {"name": "policies"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "policies"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    let apply = PatchParams::apply("test").force();
    let roles: Api<ClusterRole> = Api::all(server.client());
    roles.patch("policies", &apply, &Patch::Apply(with_kind("ClusterRole", role))).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(server.client());
    bindings.patch("policies", &apply, &Patch::Apply(with_kind("ClusterRoleBinding", binding))).await?;
    Ok(server.client_as(User::new("jane", ["devs"])))
}

fn with_kind(kind: &str, mut object: Value) -> Value {
    object["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
    object["kind"] = kind.into();
    object
}

fn message(error: Option<kube::Error>) -> (u16, String) {
    match error {
        Some(kube::Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn parameters_that_one_may_not_read() -> Result<()> {
    let server = TestServer::start().await?;
    let jane = may_write_policies(
        &server,
        json!({"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["mine"], "verbs": ["get"]}),
    )
    .await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(jane.clone());
    let policy = |kind: &str| {
        gantry_json::from_value::<ValidatingAdmissionPolicy>(json!({"metadata": {"name": "p"}, "spec": {
            "paramKind": {"apiVersion": "v1", "kind": kind}, "validations": [{"expression": "true"}],
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["pods"]}]}}}))
    };
    let refused = policies.create(&PostParams::default(), &policy("Secret")?).await.err();
    let words = "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: spec.paramKind: Forbidden: \
        user &{jane  [devs system:authenticated] map[]} must have \"get\" permission on all objects of the referenced \
        paramKind (kind=Secret, apiVersion=v1)";
    assert_eq!(message(refused), (422, words.to_owned()));
    // Whoever may read all of it writes the policy; what stays as it is is not asked about again.
    let all: Api<ValidatingAdmissionPolicy> = Api::all(server.client());
    all.create(&PostParams::default(), &policy("ConfigMap")?).await?;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    policies.patch("p", &PatchParams::default(), &Patch::Merge(label)).await?;
    let change = json!({"spec": {"paramKind": {"kind": "Secret"}}});
    let refused = policies.patch("p", &PatchParams::default(), &Patch::Merge(change)).await.err();
    assert_eq!(message(refused).0, 422);

    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(jane);
    let binding = |name: &str| {
        gantry_json::from_value::<ValidatingAdmissionPolicyBinding>(
            json!({"metadata": {"name": "b"}, "spec": {
            "policyName": "p", "validationActions": ["Deny"],
            "paramRef": {"name": name, "namespace": "default", "parameterNotFoundAction": "Deny"}}}),
        )
    };
    let refused = bindings.create(&PostParams::default(), &binding("theirs")?).await.err();
    let words = "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: spec.paramRef: \
        Forbidden: user &{jane  [devs system:authenticated] map[]} does not have \"get\" permission on the object \
        referenced by paramRef";
    assert_eq!(message(refused), (422, words.to_owned()));
    bindings.create(&PostParams::default(), &binding("mine")?).await?;
    Ok(())
}
