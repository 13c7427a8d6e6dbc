//! Volumes, claims, and kinds of `storage.k8s.io`.

use gantry_json::json;

use super::fixtures::{becomes, change_of, change_refused, created, kind_of, minimal, refused};
use crate::rules::common::DNS_SUBDOMAIN;

#[test]
fn persistent_volume() {
    becomes(
        "PersistentVolume",
        json!({}),
        json!({"spec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem", "hostPath": {"type": ""}},
            "status": {"phase": "Pending", "lastPhaseTransitionTime": "2026-01-01T00:00:00Z"}}),
    );
    let check = |spec, expected: &[&str]| refused("PersistentVolume", json!({"spec": spec}), expected);
    check(
        json!({"accessModes": [], "capacity": null, "hostPath": null}),
        &[
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            "spec.capacity: Unsupported value: null: supported values: \"storage\"",
            "spec: Required value: must specify a volume type",
        ],
    );
    check(
        json!({"capacity": {"storage": "0"}, "nfs": {"server": "s", "path": "/p"}}),
        &[
            "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
        ],
    );
    check(json!({"hostPath": null, "csi": {"driver": "a.b"}}), &["spec.csi.volumeHandle: Required value"]);
    check(
        json!({"hostPath": null, "local": {"path": "/v"}}),
        &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
    );
    check(
        json!({"accessModes": ["Odd"]}),
        &[
            "spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ],
    );
    check(
        json!({"persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/"}}),
        &["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"],
    );
    change_refused(
        "PersistentVolume",
        json!({"spec": {"hostPath": {"path": "/w"}}}),
        &[
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n\
           @@ -1,6 +1,6 @@\n {\n  \"HostPath\": {\n-  \"Path\": \"/v\",\n+  \"Path\": \"/w\",\n   \"Type\": \"\"\n  }\n }\n",
        ],
    );
    change_refused(
        "PersistentVolume",
        json!({"spec": {"volumeMode": "Block"}}),
        &["volumeMode: Invalid value: \"Block\": field is immutable"],
    );
    change_refused(
        "PersistentVolume",
        json!({"spec": {"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"name": "c"}}}),
        &[],
    );
}

#[test]
fn persistent_volume_claim() {
    let source = json!({"kind": "PersistentVolumeClaim", "name": "other"});
    becomes(
        "PersistentVolumeClaim",
        json!({"spec": {"dataSource": source}}),
        json!({"spec": {"volumeMode": "Filesystem", "dataSourceRef": source}, "status": {"phase": "Pending"}}),
    );
    let check = |spec, expected: &[&str]| refused("PersistentVolumeClaim", json!({"spec": spec}), expected);
    check(
        json!({"accessModes": null, "resources": null}),
        &[
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ],
    );
    check(
        json!({"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}),
        &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
    );
    check(
        json!({"resources": {"requests": {"storage": "-1Gi"}}}),
        &["spec.resources[storage]: Invalid value: \"-1Gi\": must be greater than zero"],
    );
    check(
        json!({"volumeMode": "Odd"}),
        &["spec.volumeMode: Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""],
    );
    let fixed = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
    let modes = "\n@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteOnce\"\n+  \"ReadWriteMany\"\n  ],\n  \"Resources\": {\n   \"Requests\": {\n";
    let modes = format!("{fixed}{modes}");
    change_refused("PersistentVolumeClaim", json!({"spec": {"accessModes": ["ReadWriteMany"]}}), &[&modes]);
    change_refused(
        "PersistentVolumeClaim",
        json!({"spec": {"volumeName": "v", "storageClassName": "s"}}),
        &[],
    );
    let grown = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    let sizes = "\n@@ -4,7 +4,7 @@\n  ],\n  \"Resources\": {\n   \"Requests\": {\n-   \"storage\": \"1Gi\"\n+   \"storage\": \"2Gi\"\n   }\n  },\n  \"VolumeMode\": \"Filesystem\"\n";
    let sizes = format!("{fixed}{sizes}");
    change_refused("PersistentVolumeClaim", grown.clone(), &[&sizes]);
    let mut bound = created(minimal("PersistentVolumeClaim"));
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    bound["spec"]["volumeName"] = "v".into();
    change_of(bound.clone(), grown, &[]);
    change_of(
        bound,
        json!({"spec": {"resources": {"requests": {"storage": "512Mi"}}}}),
        &["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
    );
}

#[test]
fn storage_class() {
    becomes("StorageClass", json!({}), json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"}));
    refused("StorageClass", json!({"provisioner": null}), &["provisioner: Required value"]);
    refused(
        "StorageClass",
        json!({"reclaimPolicy": "Recycle", "volumeBindingMode": "Later"}),
        &[
            "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
            "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"",
        ],
    );
    change_refused(
        "StorageClass",
        json!({"provisioner": "x.y/z", "parameters": {"a": "b"}, "reclaimPolicy": "Retain",
            "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true}),
        &[
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
            "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
        ],
    );
}

#[test]
fn volume_attributes_class() {
    refused(
        "VolumeAttributesClass",
        json!({"parameters": null}),
        &["parameters: Required value: must contain at least one key/value pair"],
    );
    change_refused(
        "VolumeAttributesClass",
        json!({"parameters": {"iops": "6"}}),
        &["parameters: Forbidden: updates to parameters are forbidden."],
    );
}

#[test]
fn volume_attachment() {
    let check = |spec, expected: &[&str]| refused("VolumeAttachment", json!({"spec": spec}), expected);
    check(
        json!({"source": null}),
        &[
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        ],
    );
    check(
        json!({"source": {"persistentVolumeName": ""}}),
        &[
            "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
            &format!("spec.source.persistentVolumeName: Invalid value: \"\": {DNS_SUBDOMAIN}"),
        ],
    );
    change_refused(
        "VolumeAttachment",
        json!({"spec": {"nodeName": "m"}}),
        &[
            "spec: Invalid value: {\"attacher\":\"a.b\",\"nodeName\":\"m\",\"source\":{\"persistentVolumeName\":\"v\"}}: field is immutable",
        ],
    );
}

#[test]
fn csi_kinds() {
    becomes(
        "CSIDriver",
        json!({}),
        json!({"spec": {"attachRequired": true, "podInfoOnMount": false, "storageCapacity": false,
            "requiresRepublish": false, "seLinuxMount": false, "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "volumeLifecycleModes": ["Persistent"]}}),
    );
    refused(
        "CSIDriver",
        json!({"spec": {"fsGroupPolicy": "Odd", "tokenRequests": [
            {"audience": "a", "expirationSeconds": 5}, {"audience": "a"}]}}),
        &[
            "spec.fsGroupPolicy: Unsupported value: \"Odd\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
        ],
    );
    change_refused(
        "CSIDriver",
        json!({"spec": {"attachRequired": false}}),
        &["spec.attachedRequired: Invalid value: false: field is immutable"],
    );
    refused(
        "CSIDriver",
        json!({"spec": {"serviceAccountTokenInSecrets": false}}),
        &[
            "spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
        ],
    );
    let driver = created(minimal("CSIDriver"));
    let mut changed = driver.clone();
    kind_of(&driver).prepare_update(&mut changed, &driver);
    assert!(changed["metadata"]["generation"].is_null());
    changed["spec"]["requiresRepublish"] = true.into();
    kind_of(&driver).prepare_update(&mut changed, &driver);
    assert_eq!(changed["metadata"]["generation"], 1);
    refused(
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a", "nodeID": "n", "allocatable": {"count": -1}}, {"name": "a"}]}}),
        &[
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            "spec.drivers[1].nodeID: Required value",
            "spec.drivers[1].name: Duplicate value: \"a\"",
        ],
    );
    change_refused(
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "m", "topologyKeys": ["a/b"]}]}}),
        &[
            "spec.drivers: Invalid value: {\"name\":\"a.b\",\"nodeID\":\"m\",\"topologyKeys\":[\"a/b\"]}: field is immutable",
        ],
    );
    refused(
        "CSIStorageCapacity",
        json!({"capacity": "-1"}),
        &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    change_refused(
        "CSIStorageCapacity",
        json!({"storageClassName": "t"}),
        &["storageClassName: Invalid value: \"t\": field is immutable"],
    );
}
