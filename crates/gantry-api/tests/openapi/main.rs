//! The OpenAPI documents: their protobuf form says what their JSON form says, read by a decoder that
//! knows nothing of how it was written; and what they say fits together.

mod v2;
mod v3;

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::openapi::{Form, v2_document, v3_document, v3_paths};
use gantry_api::registry::Registry;
use gantry_json::{Key, Map, Value, json};
use prost::Message;

fn json_of(bytes: &[u8]) -> Value {
    gantry_json::from_slice(bytes).expect("JSON")
}

fn v2_json() -> Value {
    json_of(&v2_document(Registry::builtin(), "v1.35.0", Form::Json, &[]))
}

/// An `Any`'s value, which is in YAML.
fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).expect("YAML")
}

/// Adds a member unless it is empty, as a protobuf message cannot tell.
fn put(out: &mut Map, name: &str, value: impl Into<Value>) {
    let value = value.into();
    let empty = match &value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if !empty {
        out.insert(name.into(), value);
    }
}

#[test]
fn version_2_in_protobuf_says_what_its_json_says() {
    let bytes = v2_document(Registry::builtin(), "v1.35.0", Form::Protobuf, &[]);
    let decoded = v2::Document::decode(&*bytes).expect("a message").json();
    let expected = v2_json();
    for part in ["definitions", "paths"] {
        let (found, wanted) = (&decoded[part], expected[part].as_object().expect("an object"));
        assert_eq!(found.as_object().map(Map::len), Some(wanted.len()), "{part}");
        for (name, value) in wanted {
            assert_eq!(found[name], *value, "{part} {name}");
        }
    }
    assert_eq!(decoded, expected);
}

#[test]
fn version_3_says_what_a_field_is_that_nobody_gave() {
    let registry = Registry::builtin();
    let document = v3_document(registry, "api/v1", "v1.35.0", true, Form::Json).expect("served");
    let schemas = &json_of(&document)["components"]["schemas"];
    let of =
        |kind: &str, field: &str| schemas[format!("io.k8s.api.core.v1.{kind}")]["properties"][field].clone();
    assert_eq!(of("Container", "name")["default"], json!(""));
    assert_eq!(of("ContainerStatus", "ready")["default"], json!(false));
    assert_eq!(of("ContainerPort", "containerPort")["default"], json!(0));
    assert_eq!(of("ContainerPort", "protocol")["default"], json!("TCP"));
    assert_eq!(of("LocalObjectReference", "name")["default"], json!(""));
    assert_eq!(of("FileKeySelector", "optional")["default"], json!(false));
    assert_eq!(of("RBDVolumeSource", "keyring")["default"], json!("/etc/ceph/keyring"));
    assert_eq!(of("AzureDiskVolumeSource", "cachingMode")["default"], json!("ReadWrite"));
    assert_eq!(of("Container", "resources")["default"], json!({}));
    assert_eq!(of("PodSpec", "containers")["items"]["default"], json!({}));
    assert_eq!(of("Container", "command")["items"], json!({"type": "string", "default": ""}));
    let families = json!({"type": "string", "default": "", "enum": ["", "IPv4", "IPv6"]});
    assert_eq!(of("ServiceSpec", "ipFamilies")["items"], families);
    assert_eq!(of("Toleration", "operator")["enum"], json!(["Equal", "Exists", "Gt", "Lt"]));
    assert!(of("Lifecycle", "stopSignal")["enum"].as_array().is_some_and(|all| all.len() == 65));
    // What may be left out, what is null where nobody gave it, and what says for itself how it looks.
    for (kind, field) in
        [("Container", "image"), ("Pod", "kind"), ("PodSpec", "containers"), ("PodSpec", "affinity")]
    {
        assert_eq!(of(kind, field)["default"], Value::Null, "{kind} {field}");
    }
    assert_eq!(
        of("ResourceRequirements", "limits")["additionalProperties"],
        json!({"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"})
    );
    let second = v2_json();
    assert_eq!(
        second["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["name"]["default"],
        Value::Null
    );
}

#[test]
fn fields_that_can_have_only_a_few_values_name_them() {
    let registry = Registry::builtin();
    let third = json_of(&v3_document(registry, "api/v1", "v1.35.0", true, Form::Json).expect("served"));
    let second = v2_json();
    for definitions in [&third["components"]["schemas"], &second["definitions"]] {
        let of = |kind: &str, field: &str| {
            definitions[format!("io.k8s.api.core.v1.{kind}")]["properties"][field].clone()
        };
        assert_eq!(of("Container", "imagePullPolicy")["enum"], json!(["Always", "IfNotPresent", "Never"]));
        let modes = json!(["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]);
        assert_eq!(of("PersistentVolumeClaimSpec", "accessModes")["items"]["enum"], modes);
        let statuses = of("PersistentVolumeClaimStatus", "allocatedResourceStatuses");
        assert_eq!(statuses["additionalProperties"]["enum"][0], "ControllerResizeInProgress");
        assert_eq!(of("Container", "image")["enum"], Value::Null);
    }
}

#[test]
fn version_3_in_protobuf_says_what_its_json_says() {
    let registry = Registry::builtin();
    for path in v3_paths(registry) {
        let document = |form| v3_document(registry, &path, "v1.35.0", true, form).expect("served");
        let decoded = v3::Document::decode(&*document(Form::Protobuf)).expect("a message").json();
        let expected = json_of(&document(Form::Json));
        for (name, value) in expected["components"]["schemas"].as_object().expect("an object") {
            assert_eq!(decoded["components"]["schemas"][name], *value, "{path} {name}");
        }
        for (name, value) in expected["paths"].as_object().expect("an object") {
            assert_eq!(decoded["paths"][name], *value, "{path} {name}");
        }
        assert_eq!(decoded, expected, "{path}");
    }
}

fn operations(document: &Value) -> impl Iterator<Item = (&Key, &Key, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.filter(|(name, _)| *name != "parameters").map(move |(method, each)| (path, method, each))
    })
}

#[test]
fn operations_have_the_names_that_clients_are_made_of() {
    let document = v2_json();
    let named: BTreeMap<&str, (&str, &str)> = operations(&document)
        .map(|(path, method, each)| {
            (each["operationId"].as_str().expect("a name"), (path.as_str(), method.as_str()))
        })
        .collect();
    assert_eq!(named.len(), operations(&document).count(), "names are unique");
    for (name, path, method) in [
        ("readCoreV1NamespacedPod", "/api/v1/namespaces/{namespace}/pods/{name}", "get"),
        ("listCoreV1PodForAllNamespaces", "/api/v1/pods", "get"),
        ("listCoreV1Node", "/api/v1/nodes", "get"),
        ("deleteCoreV1CollectionNode", "/api/v1/nodes", "delete"),
        ("deleteCoreV1CollectionNamespacedPod", "/api/v1/namespaces/{namespace}/pods", "delete"),
        ("readCoreV1NamespacedPodLog", "/api/v1/namespaces/{namespace}/pods/{name}/log", "get"),
        ("createCoreV1NamespacedPodEviction", "/api/v1/namespaces/{namespace}/pods/{name}/eviction", "post"),
        ("connectCoreV1PostNamespacedPodExec", "/api/v1/namespaces/{namespace}/pods/{name}/exec", "post"),
        ("connectCoreV1HeadNodeProxyWithPath", "/api/v1/nodes/{name}/proxy/{path}", "head"),
        ("replaceCoreV1NamespaceFinalize", "/api/v1/namespaces/{name}/finalize", "put"),
        (
            "patchAppsV1NamespacedDeploymentScale",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "patch",
        ),
        ("watchAppsV1DeploymentListForAllNamespaces", "/apis/apps/v1/watch/deployments", "get"),
        (
            "watchAppsV1NamespacedDeployment",
            "/apis/apps/v1/watch/namespaces/{namespace}/deployments/{name}",
            "get",
        ),
        ("createRbacAuthorizationV1ClusterRole", "/apis/rbac.authorization.k8s.io/v1/clusterroles", "post"),
        ("listFlowcontrolApiserverV1FlowSchema", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", "get"),
        ("getAppsV1APIResources", "/apis/apps/v1/", "get"),
        ("getRbacAuthorizationAPIGroup", "/apis/rbac.authorization.k8s.io/", "get"),
        ("getCodeVersion", "/version/", "get"),
    ] {
        assert_eq!(named.get(name), Some(&(path, method)), "{name}");
    }
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["tags"], json!(["core_v1"]));
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "Pod"})
    );
    let exec = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["get"];
    assert_eq!(exec["x-kubernetes-group-version-kind"]["kind"], "PodExecOptions");
}

/// Every reference in a document.
fn references<'a>(value: &'a Value, out: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get("$ref") {
                out.insert(to);
            }
            members.values().for_each(|each| references(each, out));
        }
        Value::Array(items) => items.iter().for_each(|each| references(each, out)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_part_of_a_path_is_a_parameter() {
    let registry = Registry::builtin();
    let v3 = v3_paths(registry).into_iter();
    let v3 = v3.map(|path| json_of(&v3_document(registry, &path, "v", true, Form::Json).expect("served")));
    for document in v3.chain([v2_json()]) {
        let mut all = BTreeSet::new();
        references(&document, &mut all);
        for to in all {
            assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
        }
        for (path, method, operation) in operations(&document) {
            let parameters = document["paths"][path]["parameters"].as_array().into_iter().flatten();
            let declared: BTreeSet<&str> = parameters
                .filter(|each| each["in"] == "path" && each["required"] == true)
                .filter_map(|each| each["name"].as_str())
                .collect();
            let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(parts.collect::<BTreeSet<_>>(), declared, "{path}");
            assert!(operation["responses"]["200"].is_object(), "{method} {path}");
        }
    }
}

#[test]
fn version_2_has_every_kind_with_descriptions() {
    let document = v2_json();
    let deployment = &document["definitions"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(deployment["description"], "Deployment enables declarative updates for Pods and ReplicaSets.");
    assert_eq!(
        deployment["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
    let ports = &document["definitions"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
    let kinds: BTreeSet<(&str, &str, &str)> = document["definitions"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(_, definition)| {
            definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten()
        })
        .map(|each| {
            let text = |name: &str| each[name].as_str().expect("text");
            (text("group"), text("version"), text("kind"))
        })
        .collect();
    for kind in Registry::builtin().iter() {
        assert!(kinds.contains(&(&*kind.group, &*kind.version, &*kind.kind)), "{}", kind.kind);
    }
}

#[test]
fn values_have_definitions_of_their_own() {
    let document = v2_json();
    let definitions = &document["definitions"];
    let without = |name: &str| {
        let mut shown = definitions[name].clone();
        shown.as_object_mut().expect(name).remove("description");
        shown
    };
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
    const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";
    for (name, expect) in [
        (format!("{META}.FieldsV1"), json!({"type": "object"})),
        (format!("{META}.Time"), json!({"type": "string", "format": "date-time"})),
        ("io.k8s.apimachinery.pkg.runtime.RawExtension".into(), json!({"type": "object"})),
        ("io.k8s.apimachinery.pkg.api.resource.Quantity".into(), json!({"type": "string"})),
        (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString".into(),
            json!({"type": "string", "format": "int-or-string"}),
        ),
        (format!("{EXTENSIONS}.JSON"), json!({})),
        (format!("{EXTENSIONS}.JSONSchemaPropsOrBool"), json!({})),
    ] {
        assert_eq!(without(&name), expect, "{name}");
    }
    let field = |definition: &str, field: &str| definitions[definition]["properties"][field]["$ref"].clone();
    assert_eq!(
        field(&format!("{META}.ManagedFieldsEntry"), "fieldsV1"),
        format!("#/definitions/{META}.FieldsV1")
    );
    let schema = format!("{EXTENSIONS}.JSONSchemaProps");
    assert_eq!(field(&schema, "default"), format!("#/definitions/{EXTENSIONS}.JSON"));
    let items = &definitions[&schema]["properties"]["enum"]["items"]["$ref"];
    assert_eq!(*items, format!("#/definitions/{EXTENSIONS}.JSON"));
    let volume = &definitions["io.k8s.api.core.v1.PersistentVolumeSpec"]["properties"]["claimRef"];
    assert_eq!(volume["x-kubernetes-map-type"], "granular");
    assert!(
        definitions["io.k8s.api.core.v1.PodList"]["properties"]["items"]["x-kubernetes-list-type"].is_null()
    );
}

#[test]
fn deletions_answer_with_what_the_server_sends() {
    let document = v2_json();
    let answer = |path: &str| {
        let shown = &document["paths"][path]["delete"]["responses"]["200"]["schema"]["$ref"];
        shown.as_str().and_then(|to| to.rsplit('.').next()).map(str::to_owned)
    };
    for (path, expect) in [
        ("/api/v1/namespaces/{namespace}/pods/{name}", "Pod"),
        ("/api/v1/namespaces/{namespace}/services/{name}", "Service"),
        ("/apis/storage.k8s.io/v1/volumeattributesclasses/{name}", "VolumeAttributesClass"),
        ("/apis/resource.k8s.io/v1/deviceclasses/{name}", "DeviceClass"),
        ("/api/v1/namespaces/{namespace}/configmaps/{name}", "Status"),
        ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "Status"),
        ("/api/v1/namespaces/{namespace}/pods", "Status"),
    ] {
        assert_eq!(answer(path).as_deref(), Some(expect), "{path}");
    }
}

#[test]
fn what_belongs_to_no_version_has_documents_too() {
    let registry = Registry::builtin();
    let paths = v3_paths(registry);
    for (path, template) in [
        ("api", "/api/"),
        ("apis", "/apis/"),
        ("apis/apps", "/apis/apps/"),
        ("version", "/version/"),
        (".well-known/openid-configuration", "/.well-known/openid-configuration"),
        ("openid/v1/jwks", "/openid/v1/jwks"),
    ] {
        assert!(paths.iter().any(|each| each == path), "{path}");
        let document = v3_document(registry, path, "v1.35.0", true, Form::Json).expect("served");
        assert!(json_of(&document)["paths"][template]["get"].is_object(), "{path}");
    }
}
