//! Kinds of `resource.k8s.io`.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_refused, many, refused, status_refused};
use crate::rules::common::{DNS_LABEL, LABEL_VALUE, QUALIFIED_NAME};

fn requests(requests: Value) -> Value {
    json!({"spec": {"devices": {"requests": requests}}})
}

#[test]
fn resource_claim() {
    becomes(
        "ResourceClaim",
        json!({}),
        requests(
            json!([{"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 1}}]),
        ),
    );
    let check = |patch, expected: &[&str]| refused("ResourceClaim", patch, expected);
    let at = "spec.devices.requests[0]";
    check(
        requests(json!([{"name": "r"}])),
        &[&format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required")],
    );
    check(
        requests(json!([{"name": "r", "exactly": {"allocationMode": "All", "count": 2}}])),
        &[
            &format!("{at}.exactly.deviceClassName: Required value"),
            &format!(
                "{at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"
            ),
        ],
    );
    check(
        requests(json!([{"name": "r", "exactly": {"deviceClassName": "c", "allocationMode": "Some"}}])),
        &[&format!(
            "{at}.exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""
        )],
    );
    let one = json!({"name": "r", "exactly": {"deviceClassName": "c"}});
    check(requests(json!([one, one])), &["spec.devices.requests[1]: Duplicate value: \"r\""]);
    check(
        json!({"spec": {"devices": {"constraints": [{"requests": ["other"]}]}}}),
        &[
            "spec.devices.constraints[0].requests[0]: Invalid value: \"other\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            "spec.devices.constraints[0].matchAttribute: Required value",
        ],
    );
    check(
        json!({"spec": {"devices": {"config": [{"requests": ["r"]}]}}}),
        &["spec.devices.config[0].opaque: Required value"],
    );
    change_refused(
        "ResourceClaim",
        json!({"spec": {"devices": null}}),
        &["spec: Invalid value: {}: field is immutable"],
    );
    status_refused(
        "ResourceClaim",
        json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}),
        &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
    );
    let result = json!({"request": "r", "driver": "a.b", "pool": "p", "device": "d"});
    let allocated = |result| json!({"allocation": {"devices": {"results": [result]}}});
    status_refused("ResourceClaim", allocated(result.clone()), &[]);
    let mut bad = result;
    bad["pool"] = "".into();
    status_refused(
        "ResourceClaim",
        allocated(bad),
        &["status.allocation.devices.results[0].pool: Required value"],
    );
    let mut said = allocated(json!({"request": "r", "driver": "a.b", "pool": "p", "device": "d"}));
    said["devices"] = json!([{"driver": "a.b", "pool": "p", "device": "d"}]);
    status_refused("ResourceClaim", said.clone(), &[]);
    said["devices"] = json!([{"driver": "a.b", "pool": "p", "device": "e", "data": 5}]);
    said["allocation"]["devices"]["config"] =
        json!([{"source": "Odd", "opaque": {"driver": "a.b", "parameters": {}}}]);
    status_refused(
        "ResourceClaim",
        said,
        &[
            "status.devices[0]: Invalid value: \"a.b/p/e\": must be an allocated device in the claim",
            "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
            "status.allocation.devices.config[0].source: Unsupported value: \"Odd\": supported values: \"FromClaim\", \"FromClass\"",
        ],
    );
    let tolerations = json!([{"key": "a b"}, {"operator": "Exists", "value": "v"}, {"value": "-"}]);
    let requests = json!([{"name": "r", "exactly": {"deviceClassName": "c", "tolerations": tolerations}}]);
    let at = "spec.devices.requests[0].exactly.tolerations";
    refused(
        "ResourceClaim",
        json!({"spec": {"devices": {"requests": requests}}}),
        &[
            &format!("{at}[0].key: Invalid value: \"a b\": {QUALIFIED_NAME}"),
            &format!("{at}[1].value: Invalid value: \"v\": must be empty for operator `Exists`"),
            &format!("{at}[2].value: Invalid value: \"-\": {LABEL_VALUE}"),
        ],
    );
}

#[test]
fn resource_claim_template() {
    refused(
        "ResourceClaimTemplate",
        json!({"spec": {"spec": {"devices": {"requests": [{"name": "r"}]}}}}),
        &[
            "spec.spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
        ],
    );
    change_refused(
        "ResourceClaimTemplate",
        json!({"spec": {"spec": {"devices": null}}}),
        &["spec: Invalid value: {\"spec\":{}}: field is immutable"],
    );
}

#[test]
fn device_class() {
    refused("DeviceClass", json!({"spec": {"selectors": [{}]}}), &["spec.selectors[0].cel: Required value"]);
    refused(
        "DeviceClass",
        json!({"spec": {"config": [{"opaque": {"driver": "a.b", "parameters": 5}}], "extendedResourceName": "gpu"}}),
        &[
            "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
            "spec.extendedResourceName: Invalid value: \"gpu\": must be a valid extended resource name",
        ],
    );
}

#[test]
fn resource_slice() {
    let check = |spec, expected: &[&str]| refused("ResourceSlice", json!({"spec": spec}), expected);
    check(
        json!({"nodeName": null}),
        &[
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        ],
    );
    check(
        json!({"allNodes": true}),
        &[
            "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
        ],
    );
    check(
        json!({"pool": {"name": "", "resourceSliceCount": 0}}),
        &[
            "spec.pool.name: Required value",
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        ],
    );
    let device = |device| json!({"devices": [device]});
    check(
        device(json!({"name": "d", "attributes": {"a": {}, "b": {"version": "1"}, "c-d": {"int": 1}}})),
        &[
            "spec.devices[0].attributes[a]: Invalid value: \"\": exactly one value must be specified",
            "spec.devices[0].attributes[b].version: Invalid value: \"1\": must be a string compatible with semver.org spec 2.0.0",
            "spec.devices[0].attributes[c-d]: Invalid value: \"c-d\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')",
        ],
    );
    check(
        device(json!({"name": "d", "nodeName": "n"})),
        &[
            "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ],
    );
    change_refused(
        "ResourceSlice",
        json!({"spec": {"driver": "c.d", "nodeName": "m"}}),
        &[
            "spec.driver: Invalid value: \"c.d\": field is immutable",
            "spec.nodeName: Invalid value: \"m\": field is immutable",
        ],
    );
}

/// Words for what is no name of an attribute.
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";

#[test]
fn attributes_of_claims() {
    let claim = |constraint: Value| json!({"spec": {"devices": {"constraints": [constraint]}}});
    let check = |name: &str, expected: &[&str]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|each| format!("spec.devices.constraints[0].matchAttribute: {each}"))
            .collect();
        let expected: Vec<_> = expected.iter().map(String::as_str).collect();
        refused("ResourceClaim", claim(json!({"matchAttribute": name})), &expected);
    };
    check("a.b/c", &[]);
    check("a/b/c", &[]);
    check(
        "c",
        &["Invalid value: \"c\": a fully qualified name must be a domain and a name separated by a slash"],
    );
    check("/c", &["Invalid value: \"\": the domain must not be empty"]);
    check("a.b/", &["Invalid value: \"\": the name must not be empty"]);
    check(
        &format!("a.b/1{}", "x".repeat(32)),
        &[
            "Too long: may not be more than 32 bytes",
            &format!("Invalid value: \"1{}\": {IDENTIFIER}", "x".repeat(32)),
        ],
    );
    refused(
        "ResourceClaim",
        claim(json!({"requests": ["r", "r", "a/b/c"], "matchAttribute": "a.b/c"})),
        &[
            "spec.devices.constraints[0].requests[2]: Invalid value: \"a/b/c\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
            "spec.devices.constraints[0].requests[1]: Duplicate value: \"r\"",
        ],
    );
}

#[test]
fn lists_of_claims_are_short() {
    let wrong = |_| json!({"name": "A"});
    refused(
        "ResourceClaim",
        requests(many(33, wrong)),
        &["spec.devices.requests: Too many: 33: must have at most 32 items"],
    );
    let first = json!([{"name": "r", "firstAvailable": many(9, wrong)}]);
    refused(
        "ResourceClaim",
        requests(first),
        &["spec.devices.requests[0].firstAvailable: Too many: 9: must have at most 8 items"],
    );
    let template = json!({"spec": {"metadata": {"labels": {"a": "-"}, "annotations": {"a b": ""}}}});
    refused(
        "ResourceClaimTemplate",
        template,
        &[
            &format!("spec.metadata.annotations: Invalid value: \"a b\": {QUALIFIED_NAME}"),
            &format!("spec.metadata.labels: Invalid value: \"-\": {LABEL_VALUE}"),
        ],
    );
    let parameters = |parameters: Value| json!({"spec": {"config": [{"opaque": {"driver": "a.b", "parameters": parameters}}]}});
    let at = "spec.config[0].opaque.parameters";
    let long = parameters(json!("x".repeat(10 << 10)));
    refused("DeviceClass", long, &[&format!("{at}: Too long: may not be more than 10240 bytes")]);
    refused("DeviceClass", parameters(Value::Null), &[&format!("{at}: Required value")]);
    refused(
        "DeviceClass",
        json!({"spec": {"extendedResourceName": "a.b/c d"}}),
        &["spec.extendedResourceName: Invalid value: \"a.b/c d\": must be a valid extended resource name"],
    );
}

#[test]
fn what_drivers_say_of_devices() {
    let device = |more: Value| {
        let named = json!({"driver": "a.b", "pool": "p", "device": "d"});
        let mut result = named.clone();
        result["request"] = "r".into();
        let mut device = named;
        crate::patch::merge(&mut device, &more);
        json!({"allocation": {"devices": {"results": [result]}}, "devices": [device]})
    };
    let check = |more: Value, expected: &[&str]| status_refused("ResourceClaim", device(more), expected);
    check(json!({"networkData": {"ips": ["10.0.0.5/24", "2001:db8::1/64"]}}), &[]);
    check(
        json!({"networkData": {"ips": ["10.0.0.5", "010.0.0.5/24", "10.0.0.5/24", "10.0.0.5/24"]}}),
        &[
            "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.5\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            "status.devices[0].networkData.ips[1]: Invalid value: \"010.0.0.5/24\": must be in canonical form (\"10.0.0.5/24\")",
            "status.devices[0].networkData.ips[3]: Duplicate value: \"10.0.0.5/24\"",
        ],
    );
    check(
        json!({"conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": ""}]}),
        &["status.devices[0].conditions[0].lastTransitionTime: Required value: must be set"],
    );
    let consumer = json!({"resource": "pods", "name": "p", "uid": "u"});
    let mut twice = device(json!({}));
    twice["reservedFor"] = json!([consumer, consumer]);
    status_refused("ResourceClaim", twice, &["status.reservedFor[1]: Duplicate value: \"u\""]);
}

#[test]
fn devices_of_slices() {
    let check = |device: Value, expected: &[&str]| {
        let mut all = json!({"name": "d"});
        crate::patch::merge(&mut all, &device);
        refused("ResourceSlice", json!({"spec": {"devices": [all]}}), expected);
    };
    let at = "spec.devices[0]";
    check(
        json!({"taints": [{"key": "", "value": "-"}, {"key": "a", "effect": "Some"}]}),
        &[
            &format!("{at}.taints[0].key: Invalid value: \"\": name part must be non-empty"),
            &format!("{at}.taints[0].key: Invalid value: \"\": {QUALIFIED_NAME}"),
            &format!("{at}.taints[0].value: Invalid value: \"-\": {LABEL_VALUE}"),
            &format!("{at}.taints[0].effect: Required value"),
            &format!(
                "{at}.taints[1].effect: Unsupported value: \"Some\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""
            ),
        ],
    );
    check(
        json!({"consumesCounters": [{"counterSet": "", "counters": {}}, {"counterSet": "A", "counters": {"B": {"value": "1"}}}]}),
        &[
            &format!("{at}.consumesCounters[0].counterSet: Required value"),
            &format!("{at}.consumesCounters[0].counters: Required value"),
            &format!("{at}.consumesCounters[1].counterSet: Invalid value: \"A\": {DNS_LABEL}"),
            &format!("{at}.consumesCounters[1].counters[B]: Invalid value: \"B\": {DNS_LABEL}"),
        ],
    );
    let key = format!("a.b/{}", "x".repeat(100));
    let shown = format!("a.b/{}...{}", "x".repeat(43), "x".repeat(46));
    check(
        json!({"attributes": {key: {"int": 1}}, "capacity": {"c": {"value": "1", "requestPolicy": {"default": "1"}}}}),
        &[
            &format!("{at}.attributes[{shown}]: Too long: may not be more than 32 bytes"),
            &format!("{at}.capacity[c].requestPolicy: Forbidden: allowMultipleAllocations must be true"),
        ],
    );
    check(
        json!({"bindingConditions": ["a", "a"], "bindingFailureConditions": ["b c", "a"]}),
        &[
            &format!("{at}.bindingFailureConditions[0]: Invalid value: \"b c\": {QUALIFIED_NAME}"),
            &format!("{at}.bindingConditions[1]: Duplicate value: \"a\""),
            &format!(
                "{at}.bindingFailureConditions[1]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions"
            ),
        ],
    );
    check(
        json!({"bindingConditions": ["a"]}),
        &[&format!(
            "{at}.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"
        )],
    );
    let spec = |spec: Value, expected: &[&str]| refused("ResourceSlice", json!({"spec": spec}), expected);
    let device = json!({"name": "d", "nodeName": ""});
    spec(
        json!({"nodeName": null, "perDeviceNodeSelection": true, "devices": [device]}),
        &[
            &format!("{at}.nodeName: Invalid value: \"\": must not be empty"),
            &format!(
                "{at}: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
            ),
        ],
    );
    let selector = json!({"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]});
    spec(
        json!({"nodeName": null, "nodeSelector": selector}),
        &[
            "spec.nodeSelector.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ],
    );
    spec(
        json!({"devices": many(129, |_| json!({"name": "A"}))}),
        &["spec.devices: Too many: 129: must have at most 128 items"],
    );
    let twice = json!({"name": "d"});
    spec(json!({"devices": [twice, twice]}), &["spec.devices[1]: Duplicate value: \"d\""]);
}
