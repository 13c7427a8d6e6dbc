//! CustomResourceDefinitions: names, versions, conversion, approval.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_of, change_refused, created, minimal, refused, status_refused};

mod schemas;

const NAME: &str = "CustomResourceDefinition";

#[track_caller]
fn check(spec: Value, expected: &[&str]) {
    refused(NAME, json!({"spec": spec}), expected);
}

/// Versions with `patch` in the first.
fn version(patch: Value) -> Value {
    let mut version = minimal(NAME)["spec"]["versions"][0].clone();
    crate::patch::merge(&mut version, &patch);
    json!({"versions": [version]})
}

#[test]
fn defaults() {
    becomes(
        NAME,
        json!({}),
        json!({"spec": {"names": {"singular": "thing", "listKind": "ThingList"}, "conversion": {"strategy": "None"}},
            "status": {"storedVersions": ["v1"]}}),
    );
    let service = json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "d"}}}}}});
    becomes(
        NAME,
        service,
        json!({"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": 443}}}}}}),
    );
}

#[test]
fn names_and_scope() {
    refused(
        NAME,
        json!({"metadata": {"name": "other.a.b"}}),
        &["metadata.name: Invalid value: \"other.a.b\": must be spec.names.plural+\".\"+spec.group"],
    );
    check(
        json!({"scope": "Odd", "preserveUnknownFields": true}),
        &[
            "spec.scope: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespaced\"",
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ],
    );
    check(
        json!({"names": {"listKind": "Thing", "shortNames": ["T"]}}),
        &[
            "spec.names.shortNames[0]: Invalid value: \"T\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same",
        ],
    );
    refused(
        NAME,
        json!({"metadata": {"name": "things.b"}, "spec": {"group": "b"}}),
        &["spec.group: Invalid value: \"b\": should be a domain with at least one dot"],
    );
}

#[test]
fn approval() {
    let with = |annotation: Value| json!({"metadata": {"name": "things.x.k8s.io", "annotations": annotation}, "spec": {"group": "x.k8s.io"}});
    refused(
        NAME,
        with(json!(null)),
        &[
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ],
    );
    refused(
        NAME,
        with(json!({"api-approved.kubernetes.io": "yes"})),
        &[
            "metadata.annotations[api-approved.kubernetes.io]: Invalid value: \"yes\": protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        ],
    );
    for fine in ["https://github.com/kubernetes/kubernetes/pull/1", "unapproved, experimental"] {
        refused(NAME, with(json!({"api-approved.kubernetes.io": fine})), &[]);
    }
}

#[test]
fn conversion() {
    check(
        json!({"conversion": {"strategy": "Webhook"}}),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
    let webhook = |patch: Value| {
        let mut webhook =
            json!({"clientConfig": {"url": "https://a.b/c"}, "conversionReviewVersions": ["v1"]});
        crate::patch::merge(&mut webhook, &patch);
        json!({"conversion": {"strategy": "Webhook", "webhook": webhook}})
    };
    check(webhook(json!({})), &[]);
    check(
        webhook(json!({"conversionReviewVersions": ["v9", "v9"], "clientConfig": {"url": null}})),
        &[
            "spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required",
            "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v9\": duplicate version",
            "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\",\"v9\"]: must include at least one of v1, v1beta1",
        ],
    );
    let mut none = webhook(json!({}));
    none["conversion"]["strategy"] = "None".into();
    check(
        none,
        &[
            "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
            "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
        ],
    );
    let mut established = created(minimal(NAME));
    established["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    change_of(
        established,
        json!({"spec": webhook(json!({"clientConfig": {"caBundle": "eA=="}}))}),
        &[
            "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"eA==\": unable to load root certificates: unable to parse bytes as PEM block",
        ],
    );
    change_refused(NAME, json!({"spec": webhook(json!({"clientConfig": {"caBundle": "eA=="}}))}), &[]);
}

#[test]
fn versions() {
    check(
        version(json!({"schema": null})),
        &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
    );
    check(
        version(json!({"deprecationWarning": "x"})),
        &[
            "spec.versions[0].deprecationWarning: Invalid value: \"x\": can only be set for deprecated versions",
        ],
    );
    check(
        version(json!({"subresources": {"scale": {"specReplicasPath": ".x", "statusReplicasPath": ""}}})),
        &[
            "spec.subresources.scale.specReplicasPath: Invalid value: \".x\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Required value",
        ],
    );
    check(
        version(
            json!({"additionalPrinterColumns": [{"name": "", "type": "odd", "format": "x", "jsonPath": "x"},
            {"name": "a"}]}),
        ),
        &[
            "spec.additionalPrinterColumns[0].name: Required value",
            "spec.additionalPrinterColumns[0].type: Invalid value: \"odd\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].format: Invalid value: \"x\": must be one of byte,date,date-time,double,float,int32,int64,password",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"x\": must be a simple json path starting with .",
            "spec.additionalPrinterColumns[1].type: Required value: must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[1].JSONPath: Required value",
        ],
    );
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "a": {"type": "string"}, "o": {"type": "object"}}}}});
    let fields = ["", "spec.a", ".spec.a", ".spec.a", ".spec.o", ".spec.x", ".spec['a']"];
    let fields: Vec<Value> = fields.iter().map(|path| json!({"jsonPath": path})).collect();
    check(
        version(json!({"schema": {"openAPIV3Schema": schema}, "selectableFields": fields})),
        &[
            "spec.selectableFields[0].jsonPath: Required value",
            "spec.selectableFields[1].jsonPath: Invalid value: \"spec.a\": is an invalid path: expected [ or . but got: spec",
            "spec.selectableFields[3].jsonPath: Duplicate value: \".spec.a\"",
            "spec.selectableFields[4].jsonPath: Invalid value: \".spec.o\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            "spec.selectableFields[5].jsonPath: Invalid value: \".spec.x\": is an invalid path: does not refer to a valid field",
            "spec.selectableFields[6].jsonPath: Invalid value: \".spec['a']\": is an invalid path: array notation is not allowed",
        ],
    );
    // What differs is reported where it stands.
    let mut two = version(json!({}));
    let mut second = two["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"] = json!({"type": "string"});
    two["versions"].as_array_mut().expect("a list").push(second);
    check(
        two,
        &[
            "spec.versions[1].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root",
        ],
    );
    let mut twice = version(json!({}));
    let same = twice["versions"][0].clone();
    twice["versions"].as_array_mut().expect("a list").push(same);
    let shown = twice["versions"].to_string();
    let unique = format!("spec.versions: Invalid value: {shown}: must contain unique version names");
    let storage = format!(
        "spec.versions: Invalid value: {shown}: must have exactly one version marked as storage version"
    );
    let missing = "status.storedVersions: Invalid value: [\"v1\"]: must have the storage version v1";
    check(twice, &[&unique, &storage, missing]);
}

#[test]
fn storage_versions() {
    let first = |patch: Value| version(patch)["versions"][0].clone();
    let stored = |patches: &[Value], words: &str| {
        let versions = Value::Array(patches.iter().cloned().map(first).collect());
        let one = format!(
            "spec.versions: Invalid value: {versions}: must have exactly one version marked as storage version"
        );
        let stored = format!("status.storedVersions: Invalid value: {words}");
        check(json!({"versions": versions}), &[&one, &stored]);
    };
    stored(&[json!({"storage": false})], "null: must have at least one stored version");
    stored(&[json!({}), json!({"name": "v2"})], "[\"v1\"]: must have the storage version v2");
}

#[test]
fn changes() {
    let mut established = created(minimal(NAME));
    established["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    change_of(
        established,
        json!({"spec": {"scope": "Cluster"}}),
        &["spec.scope: Invalid value: \"Cluster\": field is immutable"],
    );
    let mut renamed = version(json!({"name": "v2"}));
    renamed["names"] = json!({"plural": "others"});
    change_refused(
        NAME,
        json!({"spec": renamed}),
        &[
            "metadata.name: Invalid value: \"things.a.b\": must be spec.names.plural+\".\"+spec.group",
            "spec.names.plural: Invalid value: \"others\": field is immutable",
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
        ],
    );
    status_refused(
        NAME,
        json!({"storedVersions": []}),
        &["status.storedVersions: Invalid value: []: must have at least one stored version"],
    );
}
