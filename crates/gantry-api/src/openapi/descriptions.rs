//! What the definitions and their fields are for, in words: from the typed structs' schemas,
//! made when they are asked for and not kept.

use gantry_json::{Map, Value};
use k8s_openapi::api::{
    admissionregistration, apps, authentication, authorization, autoscaling, batch, certificates,
    coordination, core, discovery, events, flowcontrol, networking, node, policy, rbac, resource, scheduling,
    storage, storagemigration,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions;
use k8s_openapi::apimachinery::pkg::apis::meta;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};

/// Makes the schema of a type, with all that it refers to.
type Describe = fn(&mut SchemaGenerator);

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// Where the description of a kind, in all its versions, comes from.
fn source(group: &str, kind: &str) -> Option<Describe> {
    Some(match (group, kind) {
        ("", "Binding") => of::<core::v1::Binding>,
        ("", "ComponentStatus") => of::<core::v1::ComponentStatus>,
        ("", "ConfigMap") => of::<core::v1::ConfigMap>,
        ("", "Endpoints") => of::<core::v1::Endpoints>,
        ("", "Event") => of::<core::v1::Event>,
        ("", "LimitRange") => of::<core::v1::LimitRange>,
        ("", "Namespace") => of::<core::v1::Namespace>,
        ("", "Node") => of::<core::v1::Node>,
        ("", "PersistentVolume") => of::<core::v1::PersistentVolume>,
        ("", "PersistentVolumeClaim") => of::<core::v1::PersistentVolumeClaim>,
        ("", "Pod") => of::<core::v1::Pod>,
        ("", "PodTemplate") => of::<core::v1::PodTemplate>,
        ("", "ReplicationController") => of::<core::v1::ReplicationController>,
        ("", "ResourceQuota") => of::<core::v1::ResourceQuota>,
        ("", "Secret") => of::<core::v1::Secret>,
        ("", "Service") => of::<core::v1::Service>,
        ("", "ServiceAccount") => of::<core::v1::ServiceAccount>,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => |generator| {
            of::<admissionregistration::v1alpha1::MutatingAdmissionPolicy>(generator);
            of::<admissionregistration::v1beta1::MutatingAdmissionPolicy>(generator);
        },
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => |generator| {
            of::<admissionregistration::v1alpha1::MutatingAdmissionPolicyBinding>(generator);
            of::<admissionregistration::v1beta1::MutatingAdmissionPolicyBinding>(generator);
        },
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            of::<admissionregistration::v1::MutatingWebhookConfiguration>
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            of::<admissionregistration::v1::ValidatingAdmissionPolicy>
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            of::<admissionregistration::v1::ValidatingAdmissionPolicyBinding>
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            of::<admissionregistration::v1::ValidatingWebhookConfiguration>
        }
        ("apps", "ControllerRevision") => of::<apps::v1::ControllerRevision>,
        ("apps", "DaemonSet") => of::<apps::v1::DaemonSet>,
        ("apps", "Deployment") => of::<apps::v1::Deployment>,
        ("apps", "ReplicaSet") => of::<apps::v1::ReplicaSet>,
        ("apps", "StatefulSet") => of::<apps::v1::StatefulSet>,
        ("authentication.k8s.io", "SelfSubjectReview") => of::<authentication::v1::SelfSubjectReview>,
        ("authentication.k8s.io", "TokenRequest") => of::<authentication::v1::TokenRequest>,
        ("authentication.k8s.io", "TokenReview") => of::<authentication::v1::TokenReview>,
        ("authorization.k8s.io", "LocalSubjectAccessReview") => {
            of::<authorization::v1::LocalSubjectAccessReview>
        }
        ("authorization.k8s.io", "SelfSubjectAccessReview") => {
            of::<authorization::v1::SelfSubjectAccessReview>
        }
        ("authorization.k8s.io", "SelfSubjectRulesReview") => of::<authorization::v1::SelfSubjectRulesReview>,
        ("authorization.k8s.io", "SubjectAccessReview") => of::<authorization::v1::SubjectAccessReview>,
        ("autoscaling", "Scale") => of::<autoscaling::v1::Scale>,
        ("batch", "CronJob") => of::<batch::v1::CronJob>,
        ("batch", "Job") => of::<batch::v1::Job>,
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            of::<certificates::v1::CertificateSigningRequest>
        }
        ("coordination.k8s.io", "Lease") => of::<coordination::v1::Lease>,
        ("coordination.k8s.io", "LeaseCandidate") => |generator| {
            of::<coordination::v1alpha2::LeaseCandidate>(generator);
            of::<coordination::v1beta1::LeaseCandidate>(generator);
        },
        ("discovery.k8s.io", "EndpointSlice") => of::<discovery::v1::EndpointSlice>,
        ("events.k8s.io", "Event") => of::<events::v1::Event>,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => of::<flowcontrol::v1::FlowSchema>,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            of::<flowcontrol::v1::PriorityLevelConfiguration>
        }
        ("networking.k8s.io", "IPAddress") => |generator| {
            of::<networking::v1::IPAddress>(generator);
            of::<networking::v1beta1::IPAddress>(generator);
        },
        ("networking.k8s.io", "Ingress") => of::<networking::v1::Ingress>,
        ("networking.k8s.io", "IngressClass") => of::<networking::v1::IngressClass>,
        ("networking.k8s.io", "NetworkPolicy") => of::<networking::v1::NetworkPolicy>,
        ("networking.k8s.io", "ServiceCIDR") => |generator| {
            of::<networking::v1::ServiceCIDR>(generator);
            of::<networking::v1beta1::ServiceCIDR>(generator);
        },
        ("node.k8s.io", "RuntimeClass") => of::<node::v1::RuntimeClass>,
        ("policy", "Eviction") => of::<policy::v1::Eviction>,
        ("policy", "PodDisruptionBudget") => of::<policy::v1::PodDisruptionBudget>,
        ("rbac.authorization.k8s.io", "ClusterRole") => of::<rbac::v1::ClusterRole>,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => of::<rbac::v1::ClusterRoleBinding>,
        ("rbac.authorization.k8s.io", "Role") => of::<rbac::v1::Role>,
        ("rbac.authorization.k8s.io", "RoleBinding") => of::<rbac::v1::RoleBinding>,
        ("resource.k8s.io", "DeviceClass") => |generator| {
            of::<resource::v1::DeviceClass>(generator);
            of::<resource::v1beta2::DeviceClass>(generator);
        },
        ("resource.k8s.io", "ResourceClaim") => |generator| {
            of::<resource::v1::ResourceClaim>(generator);
            of::<resource::v1beta2::ResourceClaim>(generator);
        },
        ("resource.k8s.io", "ResourceClaimTemplate") => |generator| {
            of::<resource::v1::ResourceClaimTemplate>(generator);
            of::<resource::v1beta2::ResourceClaimTemplate>(generator);
        },
        ("resource.k8s.io", "ResourceSlice") => |generator| {
            of::<resource::v1::ResourceSlice>(generator);
            of::<resource::v1beta2::ResourceSlice>(generator);
        },
        ("scheduling.k8s.io", "PriorityClass") => of::<scheduling::v1::PriorityClass>,
        ("storage.k8s.io", "CSIDriver") => of::<storage::v1::CSIDriver>,
        ("storage.k8s.io", "CSINode") => of::<storage::v1::CSINode>,
        ("storage.k8s.io", "CSIStorageCapacity") => of::<storage::v1::CSIStorageCapacity>,
        ("storage.k8s.io", "StorageClass") => of::<storage::v1::StorageClass>,
        ("storage.k8s.io", "VolumeAttachment") => of::<storage::v1::VolumeAttachment>,
        ("storage.k8s.io", "VolumeAttributesClass") => |generator| {
            of::<storage::v1::VolumeAttributesClass>(generator);
            of::<storage::v1beta1::VolumeAttributesClass>(generator);
        },
        ("storagemigration.k8s.io", "StorageVersionMigration") => {
            of::<storagemigration::v1beta1::StorageVersionMigration>
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            of::<apiextensions::v1::CustomResourceDefinition>
        }
        ("apiregistration.k8s.io", "APIService") => of::<apiregistration::v1::APIService>,
        ("autoscaling", "HorizontalPodAutoscaler") => |generator| {
            of::<autoscaling::v1::HorizontalPodAutoscaler>(generator);
            of::<autoscaling::v2::HorizontalPodAutoscaler>(generator);
        },
        _ => return None,
    })
}

/// Definitions that no typed struct has.
const UNTYPED: &[(&str, &str)] = &[
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", "Patch is a change of an object."),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent", "WatchEvent is a change that a watch tells of."),
    (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        "Quantity is a number with a unit, such as 500m, 1.5 or 2Gi.",
    ),
    (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        "IntOrString is an integer or a text, such as a percentage or a name.",
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "Time is a point in time, in whole seconds."),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", "MicroTime is a point in time, in microseconds."),
    ("io.k8s.apimachinery.pkg.version.Info", "Info is the version of a program."),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", "RawExtension is an object of any kind."),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        "FieldsV1 is a set of fields, as a tree: \"f:NAME\" is a field of an object, \"k:KEYS\" and \"v:VALUE\" \
         items of a list by their keys or value, \"i:INDEX\" one by its place, and \".\" what has them itself.",
    ),
    ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON", "JSON is any JSON value."),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
        "JSONSchemaPropsOrArray is a schema or a list of schemas.",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
        "JSONSchemaPropsOrBool is a schema or a boolean value.",
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
        "JSONSchemaPropsOrStringArray is a schema or a list of texts.",
    ),
];

/// Writes the descriptions of `kinds`, each a group and a kind, and of all that they refer to
/// into the definitions of a document.
pub(super) fn describe<'a>(kinds: impl Iterator<Item = (&'a str, &'a str)>, definitions: &mut Map) {
    let mut generator = SchemaSettings::openapi3().into_generator();
    of::<meta::v1::DeleteOptions>(&mut generator);
    of::<meta::v1::ListMeta>(&mut generator);
    of::<meta::v1::Status>(&mut generator);
    of::<meta::v1::APIResourceList>(&mut generator);
    of::<meta::v1::APIGroupList>(&mut generator);
    of::<meta::v1::APIVersions>(&mut generator);
    for make in kinds.filter_map(|(group, kind)| source(group, kind)) {
        make(&mut generator);
    }
    for (name, text) in UNTYPED {
        if let Some(definition) = definitions.get_mut(name) {
            definition["description"] = (*text).into();
        }
    }
    for (name, mut described) in generator.take_definitions(false) {
        let Some(definition) = definitions.get_mut(&name) else { continue };
        move_text(&mut described, definition);
        let Some(fields) = definition.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for (field, schema) in fields {
            if let Some(described) = described["properties"].get_mut(field.as_str()) {
                move_text(described, schema);
            }
        }
    }
}

fn move_text(from: &mut serde_json::Value, to: &mut Value) {
    if let Some(text) = from.get_mut("description") {
        to["description"] = text.take().into();
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::Value;

    use crate::openapi::{Form, v3_document, v3_paths};
    use crate::registry::Registry;

    fn parsed(document: &[u8]) -> Value {
        gantry_json::from_slice(document).expect("JSON")
    }

    #[test]
    fn every_kind_and_field_is_described() {
        let registry = Registry::known();
        for path in v3_paths(registry) {
            let document = parsed(&v3_document(registry, &path, "v", true, Form::Json).expect("served"));
            let schemas = document["components"]["schemas"].as_object().expect("schemas");
            // Upstream says nothing about lists, nor about this one.
            let silent = |name: &str| name.ends_with("List") || name.ends_with("v1alpha1.MatchCondition");
            let own = schemas.iter().filter(|(name, _)| !silent(name));
            for (name, schema) in own {
                assert!(schema["description"].is_string(), "{path}: {name}: name it in `source`");
                let fields = schema["properties"].as_object().into_iter().flatten();
                // Upstream says nothing about the metadata of a few kinds, nor about these.
                let silent = |field: &str| {
                    field == "metadata"
                        || (field == "http" && name.ends_with("IngressRule"))
                        || name.ends_with("meta.v1.GroupResource")
                        || name.ends_with("JSONSchemaProps")
                        || name.ends_with("ExternalDocumentation")
                        || name.ends_with("WatchEvent")
                        || name.ends_with("version.Info")
                };
                for (field, schema) in fields.filter(|(field, _)| !silent(field)) {
                    assert!(schema["description"].is_string(), "{path}: {name}.{field}");
                }
            }
        }
        let plain = parsed(&v3_document(registry, "apis/apps/v1", "v", false, Form::Json).expect("served"));
        assert!(!plain.to_string().contains("Deployment enables"));
    }
}
