//! ResourceClaim, ResourceClaimTemplate and DeviceClass: which devices are asked for. Selectors'
//! expressions are compiled by gantry-cel when they are written.

use gantry_json::{Map, Value};
use ipnet::IpNet;

use super::common::{
    default, default_zero, dns_label, dns_subdomain, drop_status, immutable, items, keep_status, label_value,
    labels, list, object, one_of, qualified_name, required, required_one_of, sloppy_ip, text,
};
use super::metadata::annotations;
use super::resources::is_extended;
use super::{csi_driver, placement, resource_slice};
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
    // What cannot change is not looked at again.
    validate_create: |claim| {
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
    validate_create: |template| {
        let mut errors = Vec::new();
        let path = Path::new("spec");
        let (at, metadata) = (path.child("metadata"), &template["spec"]["metadata"]);
        annotations(&at.child("annotations"), &metadata["annotations"], &mut errors);
        labels(&at.child("labels"), &metadata["labels"], &mut errors);
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
        few(&path.child("config"), list(spec, "config"), MOST, opaque, &mut errors);
        if let Some(name) = spec["extendedResourceName"].as_str()
            && !is_extended(name)
        {
            let words = "must be a valid extended resource name";
            errors.push(FieldError::invalid(&path.child("extendedResourceName"), name, words));
        }
        errors
    },
    ..Rules::NONE
};

fn claim_defaults(spec: &mut Map) {
    let Some(Value::Object(devices)) = spec.get_mut("devices") else { return };
    for request in items(devices, "requests") {
        if request.contains_key("exactly") {
            request_defaults(object(request, "exactly"));
        }
        items(request, "firstAvailable").for_each(request_defaults);
    }
}

fn request_defaults(request: &mut Map) {
    default(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        default_zero(request, "count", 1);
    }
    items(request, "tolerations").for_each(|toleration| default(toleration, "operator", "Equal"));
}

/// Checks each item of a list; of one that is too long nothing but that.
pub(super) fn few(
    path: &Path,
    items: &[Value],
    most: usize,
    check: impl Fn(&Path, &Value, &mut Vec<FieldError>),
    errors: &mut Vec<FieldError>,
) {
    if items.len() > most {
        errors.push(FieldError::too_many(path, items.len(), most));
        return;
    }
    items.iter().enumerate().for_each(|(at, item)| check(&path.index(at), item, errors));
}

/// Checks each item of a list, and that no two have the same key; of a list that is too long nothing but that.
pub(super) fn few_distinct(
    path: &Path,
    items: &[Value],
    most: usize,
    key: impl Fn(&Value) -> &Value,
    check: impl Fn(&Path, &Value, &mut Vec<FieldError>),
    errors: &mut Vec<FieldError>,
) {
    few(path, items, most, check, errors);
    if items.len() <= most {
        for (at, item) in items.iter().enumerate() {
            if items[..at].iter().any(|other| key(other) == key(item)) {
                errors.push(FieldError::duplicate(&path.index(at), key(item).clone()));
            }
        }
    }
}

fn validate_claim(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (path, devices) = (path.child("devices"), &spec["devices"]);
    let names = Names::of(devices);
    let requests = list(devices, "requests");
    few_distinct(&path.child("requests"), requests, MOST, |each| &each["name"], validate_request, errors);
    let constraint = |path: &Path, constraint: &Value, errors: &mut Vec<FieldError>| {
        names.check(&path.child("requests"), list(constraint, "requests"), errors);
        let attributes = ["matchAttribute", "distinctAttribute"];
        match attributes.into_iter().find_map(|key| Some((key, constraint[key].as_str()?))) {
            Some((key, name)) => resource_slice::fully_qualified(&path.child(key), name, errors),
            None => errors.push(FieldError::required(&path.child("matchAttribute"), "")),
        }
    };
    few(&path.child("constraints"), list(devices, "constraints"), MOST, constraint, errors);
    let config = |path: &Path, config: &Value, errors: &mut Vec<FieldError>| {
        names.check(&path.child("requests"), list(config, "requests"), errors);
        opaque(path, config, errors);
    };
    few(&path.child("config"), list(devices, "config"), MOST, config, errors);
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
            let alternative = |path: &Path, each: &Value, errors: &mut Vec<FieldError>| {
                dns_label(&path.child("name"), text(each, "name"), errors);
                exact(path, each, errors);
            };
            let path = path.child("firstAvailable");
            few_distinct(&path, first, MOST_ALTERNATIVES, |each| &each["name"], alternative, errors);
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
    let selector = |path: &Path, selector: &Value, errors: &mut Vec<FieldError>| {
        let path = path.child("cel");
        if !selector["cel"].is_object() {
            errors.push(FieldError::required(&path, ""));
        } else if text(&selector["cel"], "expression").len() > LONGEST_EXPRESSION {
            errors.push(FieldError::too_long(&path.child("expression"), LONGEST_EXPRESSION));
        }
    };
    few(path, list(parent, "selectors"), MOST, selector, errors);
}

fn opaque(path: &Path, config: &Value, errors: &mut Vec<FieldError>) {
    let (path, opaque) = (path.child("opaque"), &config["opaque"]);
    if !opaque.is_object() {
        errors.push(FieldError::required(&path, ""));
        return;
    }
    csi_driver::name(&path.child("driver"), text(opaque, "driver"), errors);
    anything(&path.child("parameters"), &opaque["parameters"], errors);
}

/// Checks what means something to a driver only: it must be an object that is not too large.
fn anything(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if value.to_string().len() > LARGEST_PARAMETERS {
        errors.push(FieldError::too_long(path, LARGEST_PARAMETERS));
    } else if !value.is_object() {
        errors.push(FieldError::invalid(path, "<value omitted>", "must be a valid JSON object"));
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
        let check = |path: &Path, name: &Value, errors: &mut Vec<FieldError>| {
            self.check_one(path, name.as_str().unwrap_or_default(), errors);
        };
        few_distinct(path, requests, MOST, |name| name, check, errors);
    }
}

fn validate_status(new: &Value, old: &Value, _: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, status) = (Path::new("status"), &new["status"]);
    let (at, consumers) = (path.child("reservedFor"), list(status, "reservedFor"));
    let consumer = |path: &Path, consumer: &Value, errors: &mut Vec<FieldError>| {
        for key in ["resource", "name", "uid"] {
            required(path, consumer, key, errors);
        }
    };
    few_distinct(&at, consumers, MOST_CONSUMERS, |each| &each["uid"], consumer, &mut errors);
    device_statuses(&path.child("devices"), status, &mut errors);
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
        allocate(&at, allocation, &Names::of(&new["spec"]["devices"]), &mut errors);
    }
    errors
}

/// Checks which devices a claim got.
fn allocate(path: &Path, allocation: &Value, names: &Names, errors: &mut Vec<FieldError>) {
    let (at, devices) = (path.child("devices"), &allocation["devices"]);
    let result = |path: &Path, result: &Value, errors: &mut Vec<FieldError>| {
        names.check_one(&path.child("request"), text(result, "request"), errors);
        device_name(path, result, errors);
        resource_slice::binding(path, result, errors);
    };
    few(&at.child("results"), list(devices, "results"), MOST, result, errors);
    let config = |path: &Path, config: &Value, errors: &mut Vec<FieldError>| {
        required_one_of(&path.child("source"), text(config, "source"), &["FromClaim", "FromClass"], errors);
        names.check(&path.child("requests"), list(config, "requests"), errors);
        opaque(path, config, errors);
    };
    few(&at.child("config"), list(devices, "config"), 2 * MOST, config, errors);
    if allocation["nodeSelector"].is_object() {
        placement::node_selector(&path.child("nodeSelector"), &allocation["nodeSelector"], errors);
    }
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
    let same = |one: &Value, other: &Value| NAME.iter().all(|key| one[*key] == other[*key]);
    let shown = |device: &Value| ["driver", "pool", "device"].map(|key| text(device, key)).join("/");
    for (at, device) in devices.iter().enumerate() {
        let path = path.index(at);
        device_name(&path, device, errors);
        if !allocated.iter().any(|other| same(other, device)) {
            errors.push(FieldError::invalid(
                &path,
                shown(device),
                "must be an allocated device in the claim",
            ));
        }
        let (at, conditions) = (path.child("conditions"), list(device, "conditions"));
        if conditions.len() > MOST_CONDITIONS {
            errors.push(FieldError::too_many(&at, conditions.len(), MOST_CONDITIONS));
        }
        super::conditions::validate(&at, conditions, errors);
        if device.get("data").is_some() {
            anything(&path.child("data"), &device["data"], errors);
        }
        let (path, network) = (path.child("networkData"), &device["networkData"]);
        for (key, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
            if text(network, key).len() > most {
                errors.push(FieldError::too_long(&path.child(key), most));
            }
        }
        let address = |path: &Path, address: &Value, errors: &mut Vec<FieldError>| {
            interface_address(path, address.as_str().unwrap_or_default(), errors);
        };
        let ips = list(network, "ips");
        few_distinct(&path.child("ips"), ips, MOST_ADDRESSES, |each| each, address, errors);
    }
    for (at, device) in devices
        .iter()
        .enumerate()
        .filter(|(at, device)| devices[..*at].iter().any(|other| same(other, device)))
    {
        errors.push(FieldError::duplicate(&path.index(at), shown(device)));
    }
}

/// Checks the address of an interface, which tells its network's length as well.
fn interface_address(path: &Path, address: &str, errors: &mut Vec<FieldError>) {
    let parsed = address.split_once('/').and_then(|(first, length)| {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.then(|| length.parse().ok())??;
        IpNet::new(sloppy_ip(first)?, length).ok()
    });
    let words = match parsed {
        None => "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned(),
        Some(net) if net.to_string() != address => format!("must be in canonical form (\"{net}\")"),
        Some(_) => return,
    };
    errors.push(FieldError::invalid(path, address, words));
}
