//! CSIDriver, CSINode and CSIStorageCapacity: storage drivers, where they run, how much they have.

use gantry_json::{Value, json};

use super::common::{
    default, dns_subdomain, immutable, label_selector, list, not_negative, object, one_of, qualified_name,
    required, text,
};
use super::persistent_volume_claim::quantity;
use super::volume::token_life;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest name of a driver.
const LONGEST_NAME: usize = 63;
/// The longest name of a node as its driver knows it, in bytes.
const LONGEST_NODE: usize = 256;

/// Checks the name of a driver.
pub(super) fn name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if name.len() > LONGEST_NAME {
        errors.push(FieldError::too_long(path, LONGEST_NAME));
    }
    dns_subdomain(path, &name.to_lowercase(), errors);
}

/// The rules of CSIDriver.
pub const RULES: Rules = Rules {
    default: |driver| {
        let Some(driver) = driver.as_object_mut() else { return };
        let spec = object(driver, "spec");
        default(spec, "attachRequired", true);
        for key in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            default(spec, key, false);
        }
        default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        default(spec, "volumeLifecycleModes", json!(["Persistent"]));
    },
    // What has never changed has no generation.
    prepare_update: |new, old| {
        if new["spec"] != old["spec"] {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            new["metadata"]["generation"] = generation.into();
        }
    },
    validate: |driver| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &driver["spec"]);
        let policies = ["File", "None", "ReadWriteOnceWithFSType"];
        one_of(&path.child("fsGroupPolicy"), text(spec, "fsGroupPolicy"), &policies, &mut errors);
        let requests = list(spec, "tokenRequests");
        for (at, request) in requests.iter().enumerate() {
            let path = path.child("tokenRequests").index(at);
            if requests[..at].iter().any(|other| other["audience"] == request["audience"]) {
                errors.push(FieldError::duplicate(&path.child("audience"), request["audience"].clone()));
                continue;
            }
            token_life(&path, request, &mut errors);
        }
        for mode in list(spec, "volumeLifecycleModes") {
            let mode = mode.as_str().unwrap_or_default();
            one_of(&path.child("volumeLifecycleModes"), mode, &["Ephemeral", "Persistent"], &mut errors);
        }
        let period = &spec["nodeAllocatableUpdatePeriodSeconds"];
        if period.as_i64().is_some_and(|seconds| seconds < 10) {
            let at = path.child("nodeAllocatableUpdatePeriodSeconds");
            errors.push(FieldError::invalid(
                &at,
                period.clone(),
                "must be greater than or equal to 10 seconds",
            ));
        }
        let secret = &spec["serviceAccountTokenInSecrets"];
        if secret.is_boolean() && requests.is_empty() {
            let words = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
            errors.push(FieldError::invalid(
                &path.child("serviceAccountTokenInSecrets"),
                secret.clone(),
                words,
            ));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        // The first one's path is spelled so in upstream's answers.
        for (key, shown) in
            [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            immutable(&Path::new("spec").child(shown), &new["spec"][key], &old["spec"][key], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// The rules of CSINode.
pub const NODE: Rules = Rules {
    validate: |node| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("drivers");
        let drivers = list(&node["spec"], "drivers");
        for (at, driver) in drivers.iter().enumerate() {
            let path = path.index(at);
            name(&path.child("name"), text(driver, "name"), &mut errors);
            let again = drivers[..at].iter().any(|other| other["name"] == driver["name"]);
            node_driver(&path, driver, again, &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("drivers");
        // How many volumes fit may change; what else a driver says of itself does not.
        let fixed = |driver: &Value| {
            let mut driver = driver.clone();
            driver.as_object_mut().map(|fields| fields.remove("allocatable"));
            driver
        };
        for driver in list(&old["spec"], "drivers") {
            let now = list(&new["spec"], "drivers").iter().filter(|each| each["name"] == driver["name"]);
            now.for_each(|each| immutable(&path, &fixed(each), &fixed(driver), &mut errors));
        }
        errors
    },
    ..Rules::NONE
};

fn node_driver(path: &Path, driver: &Value, again: bool, errors: &mut Vec<FieldError>) {
    if let Some(id) = required(path, driver, "nodeID", errors)
        && id.len() > LONGEST_NODE
    {
        let words = format!("must be {LONGEST_NODE} characters or less");
        errors.push(FieldError::invalid(&path.child("nodeID"), id, words));
    }
    not_negative(&path.child("allocatable").child("count"), &driver["allocatable"]["count"], errors);
    if again {
        errors.push(FieldError::duplicate(&path.child("name"), driver["name"].clone()));
    }
    let keys = list(driver, "topologyKeys");
    for (at, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        if key.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
        if keys[..at].iter().any(|other| other == key) {
            errors.push(FieldError::duplicate(path, key));
        }
        qualified_name(path, key, errors);
    }
}

/// The rules of CSIStorageCapacity.
pub const CAPACITY: Rules = Rules {
    validate: |capacity| {
        let mut errors = Vec::new();
        let path = Path::default();
        label_selector(&path.child("nodeTopology"), &capacity["nodeTopology"], &mut errors);
        let class = text(capacity, "storageClassName");
        dns_subdomain(&path.child("storageClassName"), class, &mut errors);
        if quantity(&capacity["capacity"]).is_some_and(|amount| amount.is_negative()) {
            let words = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(&path.child("capacity"), capacity["capacity"].clone(), words));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        for key in ["nodeTopology", "storageClassName"] {
            immutable(&Path::new(key), &new[key], &old[key], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};
