//! Kinds of `resource.k8s.io`.

use serde_json::{Value, json};

use super::fixtures::{becomes, change_refused, refused, status_refused};
use crate::rules::common::{LABEL_VALUE, QUALIFIED_NAME};

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
    check(requests(json!([one, one])), &["spec.devices.requests[1].name: Duplicate value: \"r\""]);
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
            "status.allocation.devices.config[0].source: Unsupported value: \"Odd\": supported values: \"FromClaim\", \"FromClass\"",
            "status.devices[0]: Invalid value: \"a.b/p/e\": must be an allocated device in the claim",
            "status.devices[0].data: Invalid value: \"<value omitted>\": parameters must be a valid JSON object",
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
            "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": parameters must be a valid JSON object",
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
