//! Claims of storage and of devices, in all and by class.

use std::collections::{BTreeMap, BTreeSet};

use gantry_json::Value;

use super::{count, one};
use crate::pod_resources::ResourceList;
use crate::quantity::{Format, Quantity};
use crate::rules::common::{list, text};

const NAMES: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
const CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICES: &str = ".deviceclass.resource.k8s.io/devices";
/// Most devices that one claim is given, which is what one that asks for all of them counts.
const MOST_DEVICES: usize = 32;

pub(super) fn is_counted(name: &str) -> bool {
    NAMES.contains(&name) || NAMES.iter().any(|plain| name.ends_with(&format!("{CLASS}{plain}")))
}

pub(super) fn is_device_class(name: &str) -> bool {
    name.ends_with(DEVICES)
}

/// Adds what a claim of storage uses: while it grows, what it was promised.
pub(super) fn usage(claim: &Value, usage: &mut ResourceList) {
    let class = match claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str() {
        Some(class) => class,
        None => text(&claim["spec"], "storageClassName"),
    };
    let asked: Option<Quantity> =
        claim["spec"]["resources"]["requests"]["storage"].as_str().and_then(|size| size.parse().ok());
    let promised =
        claim["status"]["allocatedResources"]["storage"].as_str().and_then(|size| size.parse().ok());
    let size = asked.map(|asked| promised.map_or(asked, |promised: Quantity| asked.max(promised)));
    let whole = |size: Quantity| match size.is_whole() {
        true => size,
        false => Quantity::from_value(size.value(), Format::DecimalSi),
    };
    let mut add = |name: &str, amount: Quantity| {
        usage.insert(name.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}{CLASS}{name}"), amount);
        }
    };
    add(NAMES[0], one());
    if let Some(size) = size {
        add(NAMES[1], whole(size));
    }
}

/// Whether a change of a claim's status changes what it counts for.
pub(super) fn status_counts(new: &Value, old: &Value) -> bool {
    let promised = |claim: &Value| claim["status"]["allocatedResources"]["storage"].clone();
    promised(new) != promised(old) || attribute_classes(new) != attribute_classes(old)
}

/// Every VolumeAttributesClass that a claim has, wants or is coming to.
pub(super) fn attribute_classes(claim: &Value) -> BTreeSet<&str> {
    let status = &claim["status"];
    let names = [
        text(&claim["spec"], "volumeAttributesClassName"),
        text(status, "currentVolumeAttributesClassName"),
        text(&status["modifyVolumeStatus"], "targetVolumeAttributesClassName"),
    ];
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// Adds the devices that a claim asks for, by class; of alternatives the most.
pub(super) fn devices(claim: &Value, usage: &mut ResourceList) {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let number = |request: &Value| match text(request, "allocationMode") {
        "All" => MOST_DEVICES,
        _ => request["count"].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(1),
    };
    for request in list(&claim["spec"]["devices"], "requests") {
        let alternatives = list(request, "firstAvailable");
        let mut most: BTreeMap<&str, usize> = BTreeMap::new();
        for each in alternatives.iter().chain(Some(&request["exactly"]).filter(|each| each.is_object())) {
            let entry = most.entry(text(each, "deviceClassName")).or_default();
            *entry = (*entry).max(number(each));
        }
        for (class, number) in most {
            let entry = classes.entry(class).or_default();
            *entry = entry.saturating_add(number);
        }
    }
    usage.extend(classes.into_iter().map(|(class, number)| (format!("{class}{DEVICES}"), count(number))));
}
