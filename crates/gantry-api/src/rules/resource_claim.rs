//! ResourceClaim, ResourceClaimTemplate and DeviceClass: which devices are asked for. Selectors'
//! expressions are compiled by gantry-cel when they are written.

use serde_json::{Map, Value};

use super::common::{
    default, default_zero, dns_label, dns_subdomain, drop_status, immutable, items, keep_status, label_value,
    list, object, one_of, qualified_name, required, text,
};
use super::{csi_driver, resource_slice};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most of requests, constraints, configurations and selectors.
const MOST: usize = 32;
/// The most of requests that stand in for each other.
const MOST_ALTERNATIVES: usize = 8;
/// The most that may hold a claim.
const MOST_CONSUMERS: usize = 256;
/// The most conditions and addresses of a device.
const MOST_CONDITIONS: usize = 8;
const MOST_ADDRESSES: usize = 16;
/// The longest expression, and the largest parameters of a driver, in bytes.
const LONGEST_EXPRESSION: usize = 10 << 10;
const LARGEST_PARAMETERS: usize = 10 << 10;

/// The rules of ResourceClaim.
pub const RULES: Rules = Rules {
    default: |claim| {
        if let Some(Value::Object(spec)) = claim.get_mut("spec") {
            claim_defaults(spec);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |claim| {
        let mut errors = Vec::new();
        validate_claim(&Path::new("spec"), &claim["spec"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("spec"), &new["spec"], &old["spec"], &mut errors);
        errors
    },
    validate_status,
    ..Rules::NONE
};

/// The rules of ResourceClaimTemplate.
pub const TEMPLATE: Rules = Rules {
    default: |template| {
        if let Some(Value::Object(spec)) = template["spec"].get_mut("spec") {
            claim_defaults(spec);
        }
    },
    validate: |template| {
        let mut errors = Vec::new();
        let path = Path::new("spec");
        let labels = &template["spec"]["metadata"]["labels"];
        super::common::labels(&path.child("metadata").child("labels"), labels, &mut errors);
        validate_claim(&path.child("spec"), &template["spec"]["spec"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("spec"), &new["spec"], &old["spec"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// The rules of DeviceClass.
pub const CLASS: Rules = Rules {
    validate: |class| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &class["spec"]);
        selectors(&path.child("selectors"), spec, &mut errors);
        let all = list(spec, "config");
        at_most(&path.child("config"), all, MOST, &mut errors);
        for (at, config) in all.iter().enumerate() {
            opaque(&path.child("config").index(at), config, &mut errors);
        }
        if let Some(name) = spec["extendedResourceName"].as_str()
            && (!name.contains('/') || name.contains("kubernetes.io/") || name.starts_with("requests."))
        {
            let words = "must be a valid extended resource name";
            errors.push(FieldError::invalid(&path.child("extendedResourceName"), name, words));
        }
        errors
    },
    ..Rules::NONE
};

fn claim_defaults(spec: &mut Map<String, Value>) {
    let Some(Value::Object(devices)) = spec.get_mut("devices") else { return };
    for request in items(devices, "requests") {
        if request.contains_key("exactly") {
            request_defaults(object(request, "exactly"));
        }
        items(request, "firstAvailable").for_each(request_defaults);
    }
}

fn request_defaults(request: &mut Map<String, Value>) {
    default(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        default_zero(request, "count", 1);
    }
    items(request, "tolerations").for_each(|toleration| default(toleration, "operator", "Equal"));
}

/// Checks how many items a list has.
pub(super) fn at_most(path: &Path, items: &[Value], most: usize, errors: &mut Vec<FieldError>) {
    if items.len() > most {
        errors.push(FieldError::too_many(path, items.len(), most));
    }
}

/// Checks that no two items have the same name.
pub(super) fn distinct(path: &Path, items: &[Value], key: &str, errors: &mut Vec<FieldError>) {
    for (at, item) in items.iter().enumerate() {
        if items[..at].iter().any(|other| other[key] == item[key]) {
            errors.push(FieldError::duplicate(&path.index(at).child(key), item[key].clone()));
        }
    }
}

fn validate_claim(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (path, devices) = (path.child("devices"), &spec["devices"]);
    let names = Names::of(devices);
    let (at, requests) = (path.child("requests"), list(devices, "requests"));
    at_most(&at, requests, MOST, errors);
    for (index, request) in requests.iter().enumerate() {
        validate_request(&at.index(index), request, errors);
    }
    distinct(&at, requests, "name", errors);
    let (at, constraints) = (path.child("constraints"), list(devices, "constraints"));
    at_most(&at, constraints, MOST, errors);
    for (index, constraint) in constraints.iter().enumerate() {
        let path = at.index(index);
        names.check(&path.child("requests"), list(constraint, "requests"), errors);
        let attributes = ["matchAttribute", "distinctAttribute"].map(|key| constraint[key].as_str());
        match attributes {
            [None, None] => errors.push(FieldError::required(&path.child("matchAttribute"), "")),
            [matched, distinct] => {
                for (key, value) in [("matchAttribute", matched), ("distinctAttribute", distinct)] {
                    if let Some(value) = value {
                        resource_slice::qualified(&path.child(key), value, true, errors);
                    }
                }
            }
        }
    }
    let (at, configs) = (path.child("config"), list(devices, "config"));
    at_most(&at, configs, MOST, errors);
    for (index, config) in configs.iter().enumerate() {
        let path = at.index(index);
        names.check(&path.child("requests"), list(config, "requests"), errors);
        opaque(&path, config, errors);
    }
}

fn validate_request(path: &Path, request: &Value, errors: &mut Vec<FieldError>) {
    dns_label(&path.child("name"), text(request, "name"), errors);
    let (exactly, first) = (&request["exactly"], list(request, "firstAvailable"));
    match (exactly.is_object(), !first.is_empty()) {
        (false, false) => {
            let words = "exactly one of `exactly` or `firstAvailable` is required";
            errors.push(FieldError::required(path, words));
        }
        (true, true) => {
            let words =
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.push(FieldError::invalid(path, Value::Null, words));
        }
        (true, false) => exact(&path.child("exactly"), exactly, errors),
        (false, true) => {
            let path = path.child("firstAvailable");
            at_most(&path, first, MOST_ALTERNATIVES, errors);
            for (at, each) in first.iter().enumerate() {
                let path = path.index(at);
                dns_label(&path.child("name"), text(each, "name"), errors);
                exact(&path, each, errors);
            }
            distinct(&path, first, "name", errors);
        }
    }
}

fn exact(path: &Path, request: &Value, errors: &mut Vec<FieldError>) {
    if let Some(class) = required(path, request, "deviceClassName", errors) {
        dns_subdomain(&path.child("deviceClassName"), class, errors);
    }
    selectors(&path.child("selectors"), request, errors);
    let count = request["count"].as_i64().unwrap_or(0);
    let at = path.child("count");
    match text(request, "allocationMode") {
        "All" if count != 0 => {
            let words = "must not be specified when allocationMode is 'All'";
            errors.push(FieldError::invalid(&at, count, words));
        }
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(&at, count, "must be greater than zero"));
        }
        "All" | "ExactCount" => {}
        other => {
            one_of(&path.child("allocationMode"), other, &["All", "ExactCount"], errors);
        }
    }
    let path = path.child("tolerations");
    for (at, toleration) in list(request, "tolerations").iter().enumerate() {
        let path = path.index(at);
        if !text(toleration, "key").is_empty() {
            qualified_name(&path.child("key"), text(toleration, "key"), errors);
        }
        let value = text(toleration, "value");
        match text(toleration, "operator") {
            "Exists" if !value.is_empty() => {
                let words = "must be empty for operator `Exists`";
                errors.push(FieldError::invalid(&path.child("value"), value, words));
            }
            "Exists" => {}
            "Equal" => label_value(&path.child("value"), value, errors),
            other => one_of(&path.child("operator"), other, &["Equal", "Exists"], errors),
        }
        if !text(toleration, "effect").is_empty() {
            let known = ["NoExecute", "NoSchedule", "None"];
            one_of(&path.child("effect"), text(toleration, "effect"), &known, errors);
        }
    }
}

fn selectors(path: &Path, parent: &Value, errors: &mut Vec<FieldError>) {
    let all = list(parent, "selectors");
    at_most(path, all, MOST, errors);
    for (at, selector) in all.iter().enumerate() {
        let path = path.index(at).child("cel");
        if !selector["cel"].is_object() {
            errors.push(FieldError::required(&path, ""));
        } else if text(&selector["cel"], "expression").len() > LONGEST_EXPRESSION {
            errors.push(FieldError::too_long(&path.child("expression"), LONGEST_EXPRESSION));
        }
    }
}

fn opaque(path: &Path, config: &Value, errors: &mut Vec<FieldError>) {
    let (path, opaque) = (path.child("opaque"), &config["opaque"]);
    if !opaque.is_object() {
        errors.push(FieldError::required(&path, ""));
        return;
    }
    csi_driver::name(&path.child("driver"), text(opaque, "driver"), errors);
    let (path, parameters) = (path.child("parameters"), &opaque["parameters"]);
    if parameters.is_null() {
        errors.push(FieldError::required(&path, ""));
    } else if !parameters.is_object() {
        let words = "parameters must be a valid JSON object";
        errors.push(FieldError::invalid(&path, "<value omitted>", words));
    } else if parameters.to_string().len() > LARGEST_PARAMETERS {
        errors.push(FieldError::too_long(&path, LARGEST_PARAMETERS));
    }
}

/// The names of a claim's requests, and of their alternatives after a slash.
struct Names(Vec<String>);

impl Names {
    fn of(devices: &Value) -> Self {
        let mut names = Vec::new();
        for request in list(devices, "requests") {
            let name = text(request, "name");
            names.push(name.to_owned());
            let alternatives = list(request, "firstAvailable").iter();
            names.extend(alternatives.map(|each| format!("{name}/{}", text(each, "name"))));
        }
        Self(names)
    }

    fn check_one(&self, path: &Path, name: &str, errors: &mut Vec<FieldError>) {
        if name.matches('/').count() < 2 {
            name.split('/').for_each(|part| dns_label(path, part, errors));
        }
        if !self.0.iter().any(|known| known == name) {
            let words = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            errors.push(FieldError::invalid(path, name, words));
        }
    }

    fn check(&self, path: &Path, requests: &[Value], errors: &mut Vec<FieldError>) {
        at_most(path, requests, MOST, errors);
        for (at, name) in requests.iter().enumerate() {
            let shown = name.as_str().unwrap_or_default();
            self.check_one(&path.index(at), shown, errors);
            if requests[..at].contains(name) {
                errors.push(FieldError::duplicate(&path.index(at), shown));
            }
        }
    }
}

fn validate_status(new: &Value, old: &Value, _: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, status) = (Path::new("status"), &new["status"]);
    let (at, consumers) = (path.child("reservedFor"), list(status, "reservedFor"));
    at_most(&at, consumers, MOST_CONSUMERS, &mut errors);
    for (index, consumer) in consumers.iter().enumerate() {
        for key in ["resource", "name", "uid"] {
            required(&at.index(index), consumer, key, &mut errors);
        }
    }
    for (index, consumer) in consumers.iter().enumerate() {
        if consumers[..index].iter().any(|other| other["uid"] == consumer["uid"]) {
            errors.push(FieldError::duplicate(&at.index(index), consumer["uid"].clone()));
        }
    }
    let allocation = &status["allocation"];
    if !consumers.is_empty() && !allocation.is_object() {
        let words = "may not be specified when `allocated` is not set";
        errors.push(FieldError::forbidden(&at, words));
    } else if new["metadata"]["deletionTimestamp"].is_string() {
        let earlier = list(&old["status"], "reservedFor");
        if consumers.iter().any(|consumer| !earlier.contains(consumer)) {
            let words =
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(FieldError::forbidden(&at, words));
        }
    }
    let (at, before) = (path.child("allocation"), &old["status"]["allocation"]);
    if allocation.is_object() && before.is_object() {
        immutable(&at, allocation, before, &mut errors);
    } else if allocation.is_object() {
        let names = Names::of(&new["spec"]["devices"]);
        let (at, devices) = (at.child("devices"), &allocation["devices"]);
        at_most(&at.child("results"), list(devices, "results"), MOST, &mut errors);
        for (index, result) in list(devices, "results").iter().enumerate() {
            let path = at.child("results").index(index);
            names.check_one(&path.child("request"), text(result, "request"), &mut errors);
            device_name(&path, result, &mut errors);
        }
        at_most(&at.child("config"), list(devices, "config"), 2 * MOST, &mut errors);
        for (index, config) in list(devices, "config").iter().enumerate() {
            let path = at.child("config").index(index);
            if let Some(source) = required(&path, config, "source", &mut errors) {
                one_of(&path.child("source"), source, &["FromClaim", "FromClass"], &mut errors);
            }
            names.check(&path.child("requests"), list(config, "requests"), &mut errors);
            opaque(&path, config, &mut errors);
        }
    }
    device_statuses(&path.child("devices"), status, &mut errors);
    errors
}

/// Checks what names a device: its driver, its pool and its own name.
fn device_name(path: &Path, device: &Value, errors: &mut Vec<FieldError>) {
    csi_driver::name(&path.child("driver"), text(device, "driver"), errors);
    resource_slice::pool_name(&path.child("pool"), text(device, "pool"), errors);
    dns_label(&path.child("device"), text(device, "device"), errors);
}

/// Checks what drivers say of the devices that the claim has.
fn device_statuses(path: &Path, status: &Value, errors: &mut Vec<FieldError>) {
    const NAME: [&str; 4] = ["driver", "pool", "device", "shareID"];
    let allocated = list(&status["allocation"]["devices"], "results");
    let devices = list(status, "devices");
    for (at, device) in devices.iter().enumerate() {
        let path = path.index(at);
        device_name(&path, device, errors);
        let same = |other: &Value| NAME.iter().all(|key| other[*key] == device[*key]);
        let shown = || ["driver", "pool", "device"].map(|key| text(device, key)).join("/");
        if !allocated.iter().any(same) {
            errors.push(FieldError::invalid(&path, shown(), "must be an allocated device in the claim"));
        }
        if devices[..at].iter().any(same) {
            errors.push(FieldError::duplicate(&path, shown()));
        }
        at_most(&path.child("conditions"), list(device, "conditions"), MOST_CONDITIONS, errors);
        let (data, network) = (&device["data"], &device["networkData"]);
        if !data.is_null() && !data.is_object() {
            let words = "parameters must be a valid JSON object";
            errors.push(FieldError::invalid(&path.child("data"), "<value omitted>", words));
        } else if data.to_string().len() > LARGEST_PARAMETERS {
            errors.push(FieldError::too_long(&path.child("data"), LARGEST_PARAMETERS));
        }
        let path = path.child("networkData");
        for (key, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
            if text(network, key).len() > most {
                errors.push(FieldError::too_long(&path.child(key), most));
            }
        }
        at_most(&path.child("ips"), list(network, "ips"), MOST_ADDRESSES, errors);
    }
}
