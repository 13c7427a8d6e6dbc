//! What is said of policies in their status.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kube::Api;
use kube::runtime::wait::await_condition;

use super::*;

#[tokio::test]
async fn expressions_are_checked_by_type() -> Result<()> {
    let server = TestServer::start().await?;
    let validations =
        json!([{"expression": "object.spec.replicas > 1"}, {"expression": "object.spec0.replicas > 1"}]);
    policy(&server, "typed", "apps", "deployments", json!({"validations": validations})).await?;
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(server.client());
    let observed = |policy: Option<&ValidatingAdmissionPolicy>| {
        policy.is_some_and(|policy| {
            let status = policy.status.as_ref();
            status.is_some_and(|status| status.observed_generation == policy.metadata.generation)
        })
    };
    let seen = await_condition(policies, "typed", observed).await?.unwrap();
    let warnings = seen.status.unwrap().type_checking.unwrap().expression_warnings.unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].field_ref, "spec.validations[1].expression");
    let start = "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'spec0'";
    assert!(warnings[0].warning.starts_with(start), "{}", warnings[0].warning);
    Ok(())
}
