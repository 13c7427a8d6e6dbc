//! The columns of volumes and of what makes them.

use gantry_json::{Value, json};
use k8s_openapi::api::{core, storage};

use super::super::about::{About, field, words};
use super::{AGE, Column, NAME, NAMED, column, joined, list, named, text};

/// How a volume can be accessed, in short.
fn access_modes(modes: &Value) -> Value {
    let mut shown: Vec<&str> = Vec::new();
    for (mode, short) in [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ] {
        if list(modes).any(|each| each == mode) {
            shown.push(short);
        }
    }
    json!(shown.join(","))
}

fn phase(object: &Value) -> Value {
    match object["metadata"]["deletionTimestamp"].is_string() {
        true => json!("Terminating"),
        false => text(&object["status"]["phase"], ""),
    }
}

/// The name, marked where it is the default.
fn marked(object: &Value, annotations: &[&str]) -> Value {
    let default = annotations.iter().any(|key| object["metadata"]["annotations"][*key] == "true");
    let suffix = if default { " (default)" } else { "" };
    json!(format!("{}{suffix}", named(&object["metadata"], "name")))
}

fn flag(value: &Value) -> Value {
    json!(if value == true { "true" } else { "false" })
}

const fn volume_mode(about: About) -> Column {
    column("VolumeMode", "string", 1, about, |object, _| text(&object["spec"]["volumeMode"], "<unset>"))
}
const ATTRIBUTES: Column = column(
    "VolumeAttributesClass",
    "string",
    0,
    words("The VolumeAttributesClass of the volume."),
    |object, _| text(&object["spec"]["volumeAttributesClassName"], "<unset>"),
);

pub(super) const PERSISTENT_VOLUME: &[Column] = &[
    NAME,
    column("Capacity", "string", 0, field::<core::v1::PersistentVolumeSpec>("capacity"), |object, _| {
        text(&object["spec"]["capacity"]["storage"], "")
    }),
    column(
        "Access Modes",
        "string",
        0,
        field::<core::v1::PersistentVolumeSpec>("accessModes"),
        |object, _| access_modes(&object["spec"]["accessModes"]),
    ),
    column(
        "Reclaim Policy",
        "string",
        0,
        field::<core::v1::PersistentVolumeSpec>("persistentVolumeReclaimPolicy"),
        |object, _| text(&object["spec"]["persistentVolumeReclaimPolicy"], ""),
    ),
    column("Status", "string", 0, field::<core::v1::PersistentVolumeStatus>("phase"), |object, _| {
        phase(object)
    }),
    column("Claim", "string", 0, field::<core::v1::PersistentVolumeSpec>("claimRef"), |object, _| {
        let claim = &object["spec"]["claimRef"];
        match claim.is_object() {
            true => json!(format!("{}/{}", named(claim, "namespace"), named(claim, "name"))),
            false => json!(""),
        }
    }),
    column("StorageClass", "string", 0, words("The StorageClass of the volume."), |object, _| {
        text(&object["spec"]["storageClassName"], "")
    }),
    ATTRIBUTES,
    column("Reason", "string", 0, field::<core::v1::PersistentVolumeStatus>("reason"), |object, _| {
        text(&object["status"]["reason"], "")
    }),
    AGE,
    volume_mode(field::<core::v1::PersistentVolumeSpec>("volumeMode")),
];

pub(super) const PERSISTENT_VOLUME_CLAIM: &[Column] = &[
    NAME,
    column("Status", "string", 0, field::<core::v1::PersistentVolumeClaimStatus>("phase"), |object, _| {
        phase(object)
    }),
    column("Volume", "string", 0, field::<core::v1::PersistentVolumeClaimSpec>("volumeName"), |object, _| {
        text(&object["spec"]["volumeName"], "")
    }),
    column(
        "Capacity",
        "string",
        0,
        field::<core::v1::PersistentVolumeClaimStatus>("capacity"),
        |object, _| match object["spec"]["volumeName"].is_string() {
            true => text(&object["status"]["capacity"]["storage"], "0"),
            false => json!(""),
        },
    ),
    column(
        "Access Modes",
        "string",
        0,
        field::<core::v1::PersistentVolumeClaimStatus>("accessModes"),
        |object, _| match object["spec"]["volumeName"].is_string() {
            true => access_modes(&object["status"]["accessModes"]),
            false => json!(""),
        },
    ),
    column("StorageClass", "string", 0, words("The StorageClass of the volume."), |object, _| {
        text(&object["spec"]["storageClassName"], "")
    }),
    ATTRIBUTES,
    AGE,
    volume_mode(field::<core::v1::PersistentVolumeClaimSpec>("volumeMode")),
];

pub(super) const STORAGE_CLASS: &[Column] = &[
    column("Name", "string", 0, NAMED, |object, _| {
        let annotations = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        marked(object, &annotations)
    }),
    column("Provisioner", "string", 0, field::<storage::v1::StorageClass>("provisioner"), |object, _| {
        text(&object["provisioner"], "")
    }),
    column("ReclaimPolicy", "string", 0, field::<storage::v1::StorageClass>("reclaimPolicy"), |object, _| {
        text(&object["reclaimPolicy"], "Delete")
    }),
    column(
        "VolumeBindingMode",
        "string",
        0,
        field::<storage::v1::StorageClass>("volumeBindingMode"),
        |object, _| text(&object["volumeBindingMode"], "Immediate"),
    ),
    column(
        "AllowVolumeExpansion",
        "string",
        0,
        field::<storage::v1::StorageClass>("allowVolumeExpansion"),
        |object, _| flag(&object["allowVolumeExpansion"]),
    ),
    AGE,
];

pub(super) const VOLUME_ATTRIBUTES_CLASS: &[Column] = &[
    column("Name", "string", 0, NAMED, |object, _| {
        marked(object, &["volumeattributesclass.alpha.kubernetes.io/is-default-class"])
    }),
    column(
        "DriverName",
        "string",
        0,
        field::<storage::v1::VolumeAttributesClass>("driverName"),
        |object, _| text(&object["driverName"], ""),
    ),
    AGE,
];

pub(super) const VOLUME_ATTACHMENT: &[Column] = &[
    NAME,
    column("Attacher", "string", 0, field::<storage::v1::VolumeAttachmentSpec>("attacher"), |object, _| {
        text(&object["spec"]["attacher"], "")
    }),
    column(
        "PV",
        "string",
        0,
        field::<storage::v1::VolumeAttachmentSource>("persistentVolumeName"),
        |object, _| text(&object["spec"]["source"]["persistentVolumeName"], ""),
    ),
    column("Node", "string", 0, field::<storage::v1::VolumeAttachmentSpec>("nodeName"), |object, _| {
        text(&object["spec"]["nodeName"], "")
    }),
    column(
        "Attached",
        "boolean",
        0,
        field::<storage::v1::VolumeAttachmentStatus>("attached"),
        |object, _| json!(object["status"]["attached"] == true),
    ),
    AGE,
];

pub(super) const CSI_DRIVER: &[Column] = &[
    NAME,
    column(
        "AttachRequired",
        "boolean",
        0,
        field::<storage::v1::CSIDriverSpec>("attachRequired"),
        |object, _| json!(object["spec"]["attachRequired"] != false),
    ),
    column(
        "PodInfoOnMount",
        "boolean",
        0,
        field::<storage::v1::CSIDriverSpec>("podInfoOnMount"),
        |object, _| json!(object["spec"]["podInfoOnMount"] == true),
    ),
    column(
        "StorageCapacity",
        "boolean",
        0,
        field::<storage::v1::CSIDriverSpec>("storageCapacity"),
        |object, _| json!(object["spec"]["storageCapacity"] == true),
    ),
    column(
        "TokenRequests",
        "string",
        0,
        field::<storage::v1::CSIDriverSpec>("tokenRequests"),
        |object, _| {
            let requests: Vec<String> =
                list(&object["spec"]["tokenRequests"]).map(|each| named(each, "audience")).collect();
            json!(if requests.is_empty() { "<unset>".to_owned() } else { requests.join(",") })
        },
    ),
    column(
        "RequiresRepublish",
        "boolean",
        0,
        field::<storage::v1::CSIDriverSpec>("requiresRepublish"),
        |object, _| json!(object["spec"]["requiresRepublish"] == true),
    ),
    column("Modes", "string", 0, field::<storage::v1::CSIDriverSpec>("volumeLifecycleModes"), |object, _| {
        joined(
            list(&object["spec"]["volumeLifecycleModes"]).filter_map(|each| each.as_str().map(str::to_owned)),
        )
    }),
    AGE,
];

pub(super) const CSI_NODE: &[Column] = &[
    NAME,
    column("Drivers", "integer", 0, words("How many drivers the node has."), |object, _| {
        json!(list(&object["spec"]["drivers"]).count())
    }),
    AGE,
];

pub(super) const CSI_STORAGE_CAPACITY: &[Column] = &[
    NAME,
    column(
        "StorageClassName",
        "string",
        0,
        field::<storage::v1::CSIStorageCapacity>("storageClassName"),
        |object, _| text(&object["storageClassName"], ""),
    ),
    column("Capacity", "string", 0, field::<storage::v1::CSIStorageCapacity>("capacity"), |object, _| {
        text(&object["capacity"], "<unset>")
    }),
];
