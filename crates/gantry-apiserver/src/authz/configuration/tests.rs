//! What a configuration may say, and the words for what it may not.

use super::*;

fn check(authorizers: &str, expect: &str) {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: {authorizers}"
    );
    let got = Configuration::parse(&text).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
    assert_eq!(got, expect, "{authorizers}");
}

#[test]
fn the_words_for_what_is_wrong() {
    check("[{type: Node, name: node}, {type: RBAC, name: rbac}]", "");
    check("[]", "authorizers: Required value: at least one authorization mode must be defined");
    check("[{name: a}]", "authorizers[0].type: Required value");
    check(
        "[{type: Maybe, name: a}]",
        "authorizers[0].type: Unsupported value: \"Maybe\": supported values: \"AlwaysAllow\", \"AlwaysDeny\", \
         \"Node\", \"RBAC\", \"Webhook\"",
    );
    check("[{type: RBAC, name: a}, {type: RBAC, name: b}]", "authorizers[1].type: Duplicate value: \"RBAC\"");
    check("[{type: RBAC}]", "authorizers[0].name: Required value");
    check("[{type: RBAC, name: a}, {type: Node, name: a}]", "authorizers[1].name: Duplicate value: \"a\"");
    check("[{type: Webhook, name: a}]", "authorizers[0].webhook: Required value: required when type=Webhook");
    check(
        "[{type: RBAC, name: a, webhook: {}}]",
        "authorizers[0].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook",
    );
    let text = "apiVersion: v1\nkind: ConfigMap\n";
    assert!(matches!(Configuration::parse(text), Err(ConfigurationError::Unreadable(_))));
}

#[test]
fn webhooks_say_how_they_are_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("webhook.yaml");
    std::fs::write(&file, "").unwrap();
    let file = file.display();
    let webhook = |rest: &str| format!("[{{type: Webhook, name: a, webhook: {{{rest}}}}}]");
    let fine = format!(
        "timeout: 3s, subjectAccessReviewVersion: v1, failurePolicy: Deny, \
         connectionInfo: {{type: KubeConfigFile, kubeConfigFile: {file}}}"
    );
    check(&webhook(&fine), "");
    check(
        &webhook(""),
        "[authorizers[0].timeout: Required value, \
         authorizers[0].subjectAccessReviewVersion: Required value, \
         authorizers[0].failurePolicy: Required value, \
         authorizers[0].connectionInfo.type: Required value]",
    );
    check(
        &webhook(&fine.replace("3s", "31s")),
        "authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s",
    );
    check(
        &webhook(&fine.replace("Deny", "Allow")),
        "authorizers[0].failurePolicy: Unsupported value: \"Allow\": supported values: \"Deny\", \"NoOpinion\"",
    );
    check(
        &webhook(&fine.replace("KubeConfigFile, kubeConfigFile", "InClusterConfig, kubeConfigFile")),
        &format!(
            "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"{file}\": can only be set when \
             type=KubeConfigFile"
        ),
    );
    check(
        &webhook(&fine.replace(&file.to_string(), "relative.yaml")),
        "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"relative.yaml\": must be an absolute path",
    );
    check(
        &webhook(&format!("{fine}, matchConditions: [{{expression: ' '}}]")),
        "[authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions \
         are specified, authorizers[0].matchConditions[0].expression: Required value]",
    );
}
