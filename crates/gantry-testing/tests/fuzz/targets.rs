//! What is sent: for each part of the server that reads what clients write, requests around right ones.

use gantry_api::protobuf;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::wait::{await_condition, conditions};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::mutate::Mutator;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";

/// One request.
pub struct Input {
    pub method: Method,
    pub path: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

fn post(path: &str, content_type: &'static str, body: Vec<u8>) -> Input {
    Input { method: Method::POST, path: format!("{path}?dryRun=All"), content_type, body }
}

/// `text` as a part of a URL's query.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn get(path: String) -> Input {
    Input { method: Method::GET, path, content_type: "application/json", body: Vec::new() }
}

/// A part of the server.
pub struct Target {
    pub name: &'static str,
    pub input: fn(&mut Mutator) -> Input,
}

/// A right pod.
pub fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app": "x"}, "annotations": {"note": "ä"}, "finalizers": ["a.example/b"]},
        "spec": {
            "containers": [{
                "name": "c", "image": "i:1", "args": ["$(A)", "b"], "env": [{"name": "A", "value": "1"}],
                "ports": [{"containerPort": 80, "name": "http"}],
                "resources": {"requests": {"cpu": "100m", "memory": "1.5Gi"}, "limits": {"memory": "2e9"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "x"}}}],
        },
    })
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"a": "b"}}, "data": {"k": "v"}})
}

/// A schema with something of everything.
fn schema() -> Value {
    let list = json!({
        "type": "array", "maxItems": 10, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "required": ["k"], "properties": {
            "k": {"type": "string", "maxLength": 10}, "v": {"type": "string", "nullable": true, "maxLength": 10}}},
    });
    let properties = json!({
        "n": {"type": "integer", "minimum": 0, "default": 1},
        "most": {"type": "integer", "default": 9},
        "text": {"type": "string", "pattern": "^[a-z]*$", "maxLength": 20, "default": "a"},
        "date": {"type": "string", "format": "date-time"},
        "either": {"x-kubernetes-int-or-string": true},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        "map": {"type": "object", "maxProperties": 5, "additionalProperties": {"type": "number"}},
        "list": list,
    });
    let rules = json!([
        {"rule": "self.n <= self.most", "messageExpression": "'n is ' + string(self.n)"},
        {"rule": "self.list.all(x, x.k != oldSelf.text)", "message": "no"},
    ]);
    let spec = json!({
        "type": "object", "required": ["n"], "x-kubernetes-validations": rules, "properties": properties,
        "anyOf": [{"required": ["n"]}, {"required": ["text"]}],
    });
    let status = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    json!({"type": "object", "properties": {"spec": spec, "status": status}})
}

fn definition(name: &str) -> Value {
    let version = json!({
        "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema()},
        "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.list[?(@.k==\"a\")].v"}],
        "selectableFields": [{"jsonPath": ".spec.text"}],
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
    });
    let singular = name.to_lowercase();
    let names = json!({"plural": format!("{singular}s"), "singular": singular, "kind": name});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.fuzz.example.com")},
        "spec": {"group": "fuzz.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    })
}

fn custom() -> Value {
    json!({
        "apiVersion": "fuzz.example.com/v1", "kind": "Fuzzed", "metadata": {"name": "f"},
        "spec": {"n": 2, "text": "abc", "date": "2026-01-01T00:00:00Z", "either": "a", "free": {"x": [1]},
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}, "map": {"a": 0.5},
            "list": [{"k": "a", "v": "b"}, {"k": "c"}]},
    })
}

fn policy(expression: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "fuzz"},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"]}]},
            "validations": [{"expression": expression}],
        },
    })
}

const EXPRESSIONS: &[&str] = &[
    "object.spec.containers.all(c, has(c.image) && c.image.startsWith('a/')) || request.dryRun == true",
    "object.metadata.labels.exists(k, k.matches('^[a-z]+$')) && size(object.spec.containers) < 5",
    "quantity('1Gi').isGreaterThan(quantity(object.spec.containers[0].resources.limits['memory']))",
    "timestamp('2026-01-01T00:00:00Z') < timestamp(object.metadata.creationTimestamp) + duration('1h')",
    "[1, 2, 3].map(x, x * 2).filter(y, y > 2).sum() == 10 && 'a,b'.split(',')[0].upperAscii() == 'A'",
    "ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP(ip('10.1.1.1')) && url('http://a/b').getHost() == 'a'",
    "oldObject == null ? true : object.spec.?nodeName.orValue('') == oldObject.spec.?nodeName.orValue('')",
];

/// Writes what some of the targets are about.
pub async fn prepare(server: &TestServer) {
    for (path, object) in [
        ("/api/v1/namespaces", json!({"metadata": {"name": "fuzz"}})),
        ("/api/v1/namespaces/fuzz/serviceaccounts", json!({"metadata": {"name": "default"}})),
        ("/api/v1/namespaces/fuzz/pods", pod()),
        ("/api/v1/namespaces/fuzz/configmaps", config_map()),
        (DEFINITIONS, definition("Fuzzed")),
    ] {
        let reply = server.json(Method::POST, path, &object).await.expect("answered");
        assert_eq!(reply.code, 201, "{path}: {}", reply.text());
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(server.client());
    let established = conditions::is_crd_established();
    await_condition(definitions, "fuzzeds.fuzz.example.com", established).await.expect("established");
    let reply =
        server.json(Method::POST, "/apis/fuzz.example.com/v1/namespaces/fuzz/fuzzeds", &custom()).await;
    let reply = reply.expect("answered");
    assert_eq!(reply.code, 201, "{}", reply.text());
}

/// A patch of `object` at `path`, of any kind.
fn patch(mutator: &mut Mutator, path: &str, object: &Value) -> Input {
    let json_patch = json!([
        {"op": "test", "path": "/metadata/name", "value": "p"}, {"op": "add", "path": "/metadata/labels/x", "value": "y"},
        {"op": "copy", "from": "/spec", "path": "/spec/free"}, {"op": "move", "from": "/metadata/labels", "path": "/data"},
        {"op": "remove", "path": "/spec/containers/0"}, {"op": "replace", "path": "/spec/n", "value": 5},
    ]);
    let strategic = json!({"spec": {"containers": [{"name": "c", "$patch": "delete"}], "$setElementOrder/volumes": [{"name": "v"}],
        "volumes": [{"name": "v", "$retainKeys": ["name"]}], "$deleteFromPrimitiveList/x": ["a"]},
        "metadata": {"labels": {"$patch": "replace", "a": null}}});
    let (content_type, seed) = match mutator.below(4) {
        0 => ("application/json-patch+json", &json_patch),
        1 => ("application/merge-patch+json", object),
        2 => ("application/strategic-merge-patch+json", &strategic),
        _ => ("application/apply-patch+yaml", object),
    };
    let query = "?dryRun=All&fieldManager=fuzz&force=true";
    let (path, query) = match content_type {
        "application/apply-patch+yaml" => (path, query),
        _ => (path, "?dryRun=All"),
    };
    Input { method: Method::PATCH, path: format!("{path}{query}"), content_type, body: mutator.json(seed) }
}

/// The targets.
pub fn targets() -> [Target; 11] {
    [
        Target {
            name: "JSON",
            input: |mutator| post("/api/v1/namespaces/fuzz/pods", "application/json", mutator.json(&pod())),
        },
        Target {
            name: "YAML",
            input: |mutator| {
                let text = serde_yaml_ng::to_string(&pod()).expect("written");
                post("/api/v1/namespaces/fuzz/pods", "application/yaml", mutator.bytes(text.as_bytes()))
            },
        },
        Target {
            name: "protobuf",
            input: |mutator| {
                let document = protobuf::value(&pod()).expect("encoded");
                post("/api/v1/namespaces/fuzz/pods", protobuf::MEDIA_TYPE, mutator.bytes(&document))
            },
        },
        Target {
            name: "selectors",
            input: |mutator| {
                let labels = mutator.text("a in (b,c),d notin (e),!f,g==h,i!=j");
                let fields = mutator.text("metadata.name=c,metadata.namespace!=x");
                let (labels, fields) = (encoded(&labels), encoded(&fields));
                get(format!("/api/v1/configmaps?labelSelector={labels}&fieldSelector={fields}"))
            },
        },
        Target {
            name: "continue tokens and versions",
            input: |mutator| {
                let token = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiJmdXp6L2NcdTAwMDAifQ";
                let words =
                    [mutator.text(token), mutator.text("5"), mutator.text("Exact"), mutator.text("2")];
                let [token, version, mode, limit] = words.map(|text| encoded(&text));
                get(match mutator.below(2) {
                    0 => format!("/api/v1/configmaps?limit=1&continue={token}"),
                    _ => format!(
                        "/api/v1/configmaps?limit={limit}&resourceVersion={version}&resourceVersionMatch={mode}&timeout=1s"
                    ),
                })
            },
        },
        Target { name: "patches", input: |mutator| patch(mutator, "/api/v1/namespaces/fuzz/pods/p", &pod()) },
        Target {
            name: "patches of custom resources",
            input: |mutator| patch(mutator, "/apis/fuzz.example.com/v1/namespaces/fuzz/fuzzeds/f", &custom()),
        },
        Target {
            name: "definitions",
            input: |mutator| post(DEFINITIONS, "application/json", mutator.json(&definition("Other"))),
        },
        Target {
            name: "custom resources",
            input: |mutator| {
                let path = "/apis/fuzz.example.com/v1/namespaces/fuzz/fuzzeds";
                post(path, "application/json", mutator.json(&custom()))
            },
        },
        Target {
            name: "CEL",
            input: |mutator| {
                let seed = *mutator.choose(EXPRESSIONS);
                let expression = mutator.text(seed);
                post(POLICIES, "application/json", policy(&expression).to_string().into_bytes())
            },
        },
        Target {
            name: "paths",
            input: |mutator| {
                let path = mutator.text("/apis/apps/v1/namespaces/fuzz/deployments/a/status");
                let path = path.replace([' ', '?', '#'], "/");
                // Streams and watches go on by right.
                get(if path.contains("watch") { "/".to_owned() } else { path })
            },
        },
    ]
}
