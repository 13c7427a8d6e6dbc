//! What volumes come from, and the kinds that describe them.

use gantry_json::{Value, json};

use super::fixtures::{
    becomes, change_of, change_refused, created, minimal, refused, status_refused, warned,
};

#[test]
fn sources_of_persistent_volumes() {
    let check = |source: Value, expected: &[&str]| {
        let mut spec = json!({"hostPath": null});
        crate::patch::merge(&mut spec, &source);
        refused("PersistentVolume", json!({"spec": spec}), expected);
    };
    check(
        json!({"hostPath": {"path": "/a/..", "type": "Odd"}}),
        &[
            "spec.hostPath.path: Invalid value: \"/a/..\": must not contain '..'",
            "spec.hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ],
    );
    check(
        json!({"gcePersistentDisk": {"partition": 256}}),
        &[
            "spec.persistentDisk.pdName: Required value",
            "spec.persistentDisk.partition: Invalid value: 256: must be between 0 and 255, inclusive",
        ],
    );
    check(json!({"awsElasticBlockStore": {}}), &["spec.awsElasticBlockStore.volumeID: Required value"]);
    check(
        json!({"nfs": {}}),
        &[
            "spec.nfs.server: Required value",
            "spec.nfs.path: Required value",
            "spec.nfs.path: Invalid value: \"\": must be an absolute path",
        ],
    );
    check(
        json!({"iscsi": {"targetPortal": "1.2.3.4", "iqn": "iqn.2001-4.x:y", "lun": 256, "chapAuthSession": true,
            "initiatorName": "abc"}}),
        &[
            "spec.iscsi.iqn: Invalid value: \"iqn.2001-4.x:y\": must be valid format",
            "spec.iscsi.initiatorname: Invalid value: \"abc\": must be valid format",
            "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
            "spec.iscsi.secretRef: Required value",
        ],
    );
    check(json!({"iscsi": {"targetPortal": "1.2.3.4", "iqn": "iqn.2001-04.com.example:a.b", "lun": 0}}), &[]);
    check(
        json!({"glusterfs": {"endpoints": "e", "endpointsNamespace": ""}}),
        &[
            "spec.glusterfs.path: Required value",
            "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a valid namespace name",
        ],
    );
    check(
        json!({"flocker": {}}),
        &["spec.flocker: Required value: one of datasetName and datasetUUID is required"],
    );
    check(json!({"rbd": {}}), &["spec.rbd.monitors: Required value", "spec.rbd.image: Required value"]);
    check(json!({"cephfs": {}}), &["spec.cephfs.monitors: Required value"]);
    check(
        json!({"cinder": {"volumeID": "v", "secretRef": {}}}),
        &["spec.cinder.secretRef.name: Required value", "spec.cinder.secretRef.namespace: Required value"],
    );
    check(
        json!({"quobyte": {"registry": "a"}}),
        &[
            "spec.quobyte.registry: Invalid value: \"a\": must be a host:port pair or multiple pairs separated by commas",
            "spec.quobyte.volume: Required value",
        ],
    );
    check(
        json!({"fc": {"targetWWNs": ["a"], "wwids": ["b"]}}),
        &[
            "spec.fc.targetWWNs: Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously",
            "spec.fc.lun: Required value: lun is required if targetWWNs is specified",
        ],
    );
    check(
        json!({"flexVolume": {"options": {"a.k8s.io/b": "c"}}}),
        &[
            "spec.flexVolume.driver: Required value",
            "spec.flexVolume.options[a.k8s.io/b]: Invalid value: \"a.k8s.io/b\": kubernetes.io and k8s.io namespaces are reserved",
        ],
    );
    check(
        json!({"azureFile": {"secretName": "s", "secretNamespace": ""}}),
        &["spec.azureFile.shareName: Required value", "spec.azureFile.secretNamespace: Required value"],
    );
    check(
        json!({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed", "cachingMode": "Odd"}}),
        &[
            "spec.azureDisk.cachingMode: Unsupported value: \"Odd\": supported values: \"None\", \"ReadOnly\", \"ReadWrite\"",
            "spec.azureDisk.diskURI: Unsupported value: \"x\": supported values: \"/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}\"",
        ],
    );
    check(json!({"vsphereVolume": {}}), &["spec.vsphereVolume.volumePath: Required value"]);
    check(json!({"photonPersistentDisk": {}}), &["spec.photonPersistentDisk.pdID: Required value"]);
    check(json!({"portworxVolume": {}}), &["spec.portworxVolume.volumeID: Required value"]);
    check(
        json!({"scaleIO": {}}),
        &[
            "spec.scaleIO.gateway: Required value",
            "spec.scaleIO.system: Required value",
            "spec.scaleIO.volumeName: Required value",
        ],
    );
    check(json!({"storageos": {}}), &["spec.storageos.volumeName: Required value"]);
    check(
        json!({"csi": {"driver": "a.b", "volumeHandle": "h", "nodePublishSecretRef": {"name": "n"}}}),
        &["spec.csi.nodePublishSecretRef.namespace: Required value"],
    );
    check(
        json!({"volumeAttributesClassName": "v", "nfs": {"server": "s", "path": "/"}}),
        &["spec.csi: Required value: has to be specified when using volumeAttributesClassName"],
    );
    check(
        json!({"nodeAffinity": {}, "nfs": {"server": "s", "path": "/"}}),
        &["spec.nodeAffinity.required: Required value: must specify required node constraints"],
    );
}

#[test]
fn persistent_volumes_change() {
    let affinity = |key: &str| {
        let terms = json!([{"matchExpressions": [{"key": key, "operator": "In", "values": ["a"]}]}]);
        json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}})
    };
    let mut old = minimal("PersistentVolume");
    crate::patch::merge(&mut old, &affinity("failure-domain.beta.kubernetes.io/zone"));
    let old = created(old);
    change_of(old.clone(), affinity("topology.kubernetes.io/zone"), &[]);
    change_of(
        old,
        affinity("other"),
        &[
            "nodeAffinity: Invalid value: {\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"other\",\"operator\":\"In\",\"values\":[\"a\"]}]}]}}: field is immutable, except for updating from beta label to GA",
        ],
    );
    let mut csi = minimal("PersistentVolume");
    crate::patch::merge(
        &mut csi,
        &json!({"spec": {"hostPath": null, "volumeAttributesClassName": "v",
            "csi": {"driver": "a.b", "volumeHandle": "h"}}}),
    );
    let secret = json!({"name": "n", "namespace": "d"});
    change_of(created(csi.clone()), json!({"spec": {"csi": {"controllerExpandSecretRef": secret}}}), &[]);
    change_of(
        created(csi),
        json!({"spec": {"volumeAttributesClassName": null}}),
        &["spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"],
    );
    warned(
        "PersistentVolume",
        json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}),
        &[
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
        ],
    );
}

#[test]
fn sources_of_claims() {
    let check = |spec, expected: &[&str]| refused("PersistentVolumeClaim", json!({"spec": spec}), expected);
    let made = |patch: Value| {
        let mut claim = minimal("PersistentVolumeClaim");
        crate::patch::merge(&mut claim, &json!({"spec": patch}));
        created(claim)["spec"].clone()
    };
    let other = json!({"apiGroup": "a.b", "kind": "K", "name": "n"});
    // A source of another kind is dropped from the older field, and kept in the newer one.
    assert_eq!(made(json!({"dataSource": other}))["dataSource"], json!(null));
    assert_eq!(made(json!({"dataSourceRef": other}))["dataSource"], other);
    let far = json!({"apiGroup": "a.b", "kind": "K", "name": "n", "namespace": "x"});
    assert_eq!(made(json!({"dataSourceRef": far}))["dataSourceRef"], json!(null));
    check(
        json!({"dataSourceRef": {"kind": "Pod", "name": ""}}),
        &[
            "spec.dataSource.name: Required value",
            "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            "spec.dataSourceRef.name: Required value",
            "spec.dataSourceRef: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ],
    );
    let claim = |name: &str| json!({"kind": "PersistentVolumeClaim", "name": name});
    check(
        json!({"dataSource": claim("a"), "dataSourceRef": claim("b")}),
        &["spec: Invalid value: \"spec.dataSource\": must match dataSourceRef"],
    );
    check(
        json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-"]}]}}),
        &[
            "spec.selector.matchExpressions[0].values[0]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
    warned(
        "PersistentVolumeClaim",
        json!({"spec": {"resources": {"requests": {"storage": "1500m"}}}}),
        &["spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer"],
    );
}

#[test]
fn claims_change() {
    let mut claim = minimal("PersistentVolumeClaim");
    crate::patch::merge(
        &mut claim,
        &json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "s"}},
            "spec": {"volumeAttributesClassName": "v", "volumeName": "x"}}),
    );
    let mut old = created(claim);
    old["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"},
        "currentVolumeAttributesClassName": "v"});
    change_of(old.clone(), json!({"spec": {"volumeAttributesClassName": "w", "storageClassName": "s"}}), &[]);
    let kept = "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: \"\": field is immutable";
    change_of(old.clone(), json!({"metadata": {"annotations": null}}), &[kept]);
    change_of(
        old,
        json!({"spec": {"volumeAttributesClassName": ""}}),
        &[
            "spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden",
        ],
    );
    change_refused(
        "PersistentVolumeClaim",
        json!({"spec": {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"], "volumeName": "v"}}),
        &[
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ -7,5 +7,5 @@\n    \"storage\": \"1Gi\"\n   }\n  },\n- \"VolumeMode\": \"Filesystem\"\n+ \"VolumeMode\": \"Block\"\n }\n",
            "volumeMode: Invalid value: \"Block\": field is immutable",
        ],
    );
    status_refused(
        "PersistentVolumeClaim",
        json!({"capacity": {"storage": "-1"}, "allocatedResources": {"cpu": "1"},
            "allocatedResourceStatuses": {"storage": "Odd"}}),
        &[
            "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            "status.allocatedResourceStatus: Unsupported value: \"storage\": supported values: \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \"NodeResizeInfeasible\", \"NodeResizePending\"",
            "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"",
        ],
    );
}

#[test]
fn topologies_of_classes() {
    let check =
        |terms, expected: &[&str]| refused("StorageClass", json!({"allowedTopologies": terms}), expected);
    let term = |key: &str| json!({"matchLabelExpressions": [{"key": key, "values": ["a", "b"]}]});
    check(json!([term("x"), term("y")]), &[]);
    check(
        json!([term("x"), term("x")]),
        &["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""],
    );
    check(
        json!([{"matchLabelExpressions": [{"key": "x", "values": []}, {"key": "x", "values": ["a", "a"]}]}]),
        &[
            "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            "allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: \"a\"",
            "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"x\"",
        ],
    );
    let zone = "failure-domain.beta.kubernetes.io/zone";
    warned(
        "StorageClass",
        json!({"allowedTopologies": [term(zone)]}),
        &[
            "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        ],
    );
    let large = "x".repeat(256 << 10);
    refused(
        "StorageClass",
        json!({"parameters": {"": "a", "k": large}}),
        &[
            "parameters: Invalid value: \"\": field can not be empty.",
            "parameters: Too long: may not be more than 262144 bytes",
        ],
    );
    becomes("VolumeAttributesClass", json!({"driverName": "a.b/c"}), json!({"driverName": "a.b/c"}));
}

#[test]
fn attachments() {
    let csi = json!({"driver": "a.b", "volumeHandle": "h"});
    let inline = |spec: Value| {
        let source = json!({"persistentVolumeName": null, "inlineVolumeSpec": spec});
        json!({"spec": {"source": source}})
    };
    let at = "spec.source.inlineVolumeSpec";
    let check = |patch, expected: &[&str]| refused("VolumeAttachment", patch, expected);
    check(inline(json!({"accessModes": ["ReadWriteOnce"], "csi": csi})), &[]);
    check(
        inline(json!({"capacity": {"storage": "1"}, "storageClassName": "s", "volumeMode": "Block",
            "nfs": {"server": "s", "path": "/"}})),
        &[
            &format!("{at}.capacity: Forbidden: may not be specified in the context of inline volumes"),
            &format!(
                "{at}.storageClassName: Forbidden: may not be specified in the context of inline volumes"
            ),
            &format!(
                "{at}.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes"
            ),
            &format!("{at}.csi: Required value: has to be specified in the context of inline volumes"),
            &format!("{at}.accessModes: Required value"),
        ],
    );
    status_refused(
        "VolumeAttachment",
        json!({"attached": true, "attachError": {"message": "x".repeat(1025), "errorCode": -1}}),
        &[
            "status.attachError.message: Too long: may not be more than 262144 bytes",
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ],
    );
}

#[test]
fn drivers() {
    refused(
        "CSIDriver",
        json!({"spec": {"volumeLifecycleModes": ["Odd"], "nodeAllocatableUpdatePeriodSeconds": 5}}),
        &[
            "spec.volumeLifecycleModes: Unsupported value: \"Odd\": supported values: \"Ephemeral\", \"Persistent\"",
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 5: must be greater than or equal to 10 seconds",
        ],
    );
    let long = "x".repeat(257);
    refused(
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a", "nodeID": long, "topologyKeys": ["k", "k"]}]}}),
        &[
            &format!("spec.drivers[0].nodeID: Invalid value: \"{long}\": must be 256 characters or less"),
            "spec.drivers[0]: Duplicate value: \"k\"",
        ],
    );
    let sized = json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "n", "topologyKeys": ["a/b"],
        "allocatable": {"count": 3}}]}});
    change_refused("CSINode", sized, &[]);
}
