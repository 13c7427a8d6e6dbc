//! The table of the built-in kinds.

use super::{Behaviour, Kind, Name, Rules, Stored, Subresource};
use crate::rules;
use crate::schema::Schemas;

/// The verbs of an ordinary kind.
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a review: it is answered, not stored.
const CREATE: &[&str] = &["create"];
const READ: &[&str] = &["get", "list"];
const STATUS: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// One line of the table.
pub(super) struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    verbs: &'static [&'static str],
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [&'static str],
    selectable: &'static [&'static str],
    /// What the selectable fields are made from, where not from fields of their names.
    selected_from: &'static [&'static str],
    generation: bool,
    rules: Rules,
    stored: Option<&'static Stored>,
    /// The feature without which it is not served.
    gate: Option<&'static str>,
}

/// A kind in a group, of version v1 with all verbs, without short names, subresources or rules.
const fn row(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Row {
    Row {
        group,
        version: "v1",
        kind,
        plural,
        namespaced,
        verbs: ALL,
        short_names: &[],
        categories: &[],
        subresources: &[],
        selectable: &[],
        selected_from: &[],
        generation: false,
        rules: Rules::NONE,
        stored: None,
        gate: None,
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The kinds; of several versions of one the preferred first.
pub(super) const KINDS: &[Row] = &[
    Row {
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        short_names: &["ns"],
        subresources: &["finalize", "status"],
        selectable: &["status.phase"],
        rules: rules::namespace::RULES,
        ..row("", "Namespace", "namespaces", false)
    },
    Row {
        short_names: &["no"],
        subresources: &["proxy", "status"],
        selectable: &["spec.unschedulable"],
        rules: rules::node::RULES,
        ..row("", "Node", "nodes", false)
    },
    Row {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ],
        selectable: rules::pod::SELECTABLE,
        generation: true,
        rules: rules::pod::RULES,
        ..row("", "Pod", "pods", true)
    },
    Row {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &["proxy", "status"],
        selectable: &["spec.clusterIP", "spec.type"],
        rules: rules::service::RULES,
        ..row("", "Service", "services", true)
    },
    Row { short_names: &["ep"], rules: rules::endpoints::RULES, ..row("", "Endpoints", "endpoints", true) },
    Row { short_names: &["cm"], rules: rules::config_map::RULES, ..row("", "ConfigMap", "configmaps", true) },
    Row { selectable: &["type"], rules: rules::secret::RULES, ..row("", "Secret", "secrets", true) },
    Row {
        short_names: &["sa"],
        subresources: &["token"],
        ..row("", "ServiceAccount", "serviceaccounts", true)
    },
    Row { verbs: CREATE, ..row("", "Binding", "bindings", true) },
    Row { verbs: READ, short_names: &["cs"], ..row("", "ComponentStatus", "componentstatuses", false) },
    Row {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &["scale", "status"],
        selectable: &["status.replicas"],
        generation: true,
        rules: rules::replication_controller::RULES,
        ..row("", "ReplicationController", "replicationcontrollers", true)
    },
    Row {
        generation: true,
        rules: rules::pod_template::RULES,
        ..row("", "PodTemplate", "podtemplates", true)
    },
    Row {
        short_names: &["pv"],
        subresources: &["status"],
        rules: rules::persistent_volume::RULES,
        ..row("", "PersistentVolume", "persistentvolumes", false)
    },
    Row {
        short_names: &["pvc"],
        subresources: &["status"],
        rules: rules::persistent_volume_claim::RULES,
        ..row("", "PersistentVolumeClaim", "persistentvolumeclaims", true)
    },
    Row {
        short_names: &["quota"],
        subresources: &["status"],
        rules: rules::resource_quota::RULES,
        ..row("", "ResourceQuota", "resourcequotas", true)
    },
    Row {
        short_names: &["limits"],
        rules: rules::limit_range::RULES,
        ..row("", "LimitRange", "limitranges", true)
    },
    Row {
        short_names: &["ev"],
        selectable: rules::event::SELECTABLE,
        rules: rules::event::RULES,
        ..row("", "Event", "events", true)
    },
    Row {
        short_names: &["ev"],
        selectable: rules::event::SELECTABLE_REGARDING,
        rules: rules::event::REGARDING,
        stored: Some(&rules::event::STORED),
        ..row("events.k8s.io", "Event", "events", true)
    },
    Row {
        generation: true,
        rules: rules::endpoint_slice::RULES,
        ..row("discovery.k8s.io", "EndpointSlice", "endpointslices", true)
    },
    Row { rules: rules::lease::RULES, ..row("coordination.k8s.io", "Lease", "leases", true) },
    Row {
        version: "v1beta1",
        rules: rules::lease_candidate::RULES,
        gate: Some("CoordinatedLeaderElection"),
        ..row("coordination.k8s.io", "LeaseCandidate", "leasecandidates", true)
    },
    Row {
        version: "v1alpha2",
        rules: rules::lease_candidate::RULES,
        stored: Some(&rules::versions::LEASE_CANDIDATE),
        gate: Some("CoordinatedLeaderElection"),
        ..row("coordination.k8s.io", "LeaseCandidate", "leasecandidates", true)
    },
    Row {
        short_names: &["csr"],
        subresources: &["approval", "status"],
        selectable: &["spec.signerName"],
        rules: rules::certificate_signing_request::RULES,
        ..row("certificates.k8s.io", "CertificateSigningRequest", "certificatesigningrequests", false)
    },
    Row {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &["scale", "status"],
        generation: true,
        rules: rules::deployment::RULES,
        ..row("apps", "Deployment", "deployments", true)
    },
    Row {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &["scale", "status"],
        selectable: &["status.replicas"],
        generation: true,
        rules: rules::replica_set::RULES,
        ..row("apps", "ReplicaSet", "replicasets", true)
    },
    Row {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &["status"],
        generation: true,
        rules: rules::daemon_set::RULES,
        ..row("apps", "DaemonSet", "daemonsets", true)
    },
    Row {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &["scale", "status"],
        generation: true,
        rules: rules::stateful_set::RULES,
        ..row("apps", "StatefulSet", "statefulsets", true)
    },
    Row {
        rules: rules::controller_revision::RULES,
        ..row("apps", "ControllerRevision", "controllerrevisions", true)
    },
    Row {
        categories: &["all"],
        subresources: &["status"],
        selectable: &["status.successful"],
        selected_from: &["status.succeeded"],
        generation: true,
        rules: rules::job::RULES,
        ..row("batch", "Job", "jobs", true)
    },
    Row {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &["status"],
        generation: true,
        rules: rules::cron_job::RULES,
        ..row("batch", "CronJob", "cronjobs", true)
    },
    Row {
        version: "v2",
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &["status"],
        rules: rules::horizontal_pod_autoscaler::RULES,
        ..row("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true)
    },
    Row {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &["status"],
        rules: rules::horizontal_pod_autoscaler::v1::RULES,
        stored: Some(&rules::horizontal_pod_autoscaler::v1::STORED),
        ..row("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true)
    },
    Row {
        short_names: &["pdb"],
        subresources: &["status"],
        generation: true,
        rules: rules::pod_disruption_budget::RULES,
        ..row("policy", "PodDisruptionBudget", "poddisruptionbudgets", true)
    },
    Row {
        short_names: &["ing"],
        subresources: &["status"],
        generation: true,
        rules: rules::ingress::RULES,
        ..row(NETWORKING, "Ingress", "ingresses", true)
    },
    Row {
        generation: true,
        rules: rules::ingress_class::RULES,
        ..row(NETWORKING, "IngressClass", "ingressclasses", false)
    },
    Row {
        short_names: &["netpol"],
        generation: true,
        rules: rules::network_policy::RULES,
        ..row(NETWORKING, "NetworkPolicy", "networkpolicies", true)
    },
    Row {
        short_names: &["ip"],
        rules: rules::ip_address::RULES,
        ..row(NETWORKING, "IPAddress", "ipaddresses", false)
    },
    Row {
        subresources: &["status"],
        rules: rules::ip_address::SERVICE_CIDR,
        ..row(NETWORKING, "ServiceCIDR", "servicecidrs", false)
    },
    Row {
        version: "v1beta1",
        short_names: &["ip"],
        rules: rules::ip_address::RULES,
        stored: Some(&rules::versions::IP_ADDRESS),
        ..row(NETWORKING, "IPAddress", "ipaddresses", false)
    },
    Row {
        version: "v1beta1",
        subresources: &["status"],
        rules: rules::ip_address::SERVICE_CIDR,
        stored: Some(&rules::versions::SERVICE_CIDR),
        ..row(NETWORKING, "ServiceCIDR", "servicecidrs", false)
    },
    Row {
        short_names: &["sc"],
        rules: rules::storage_class::RULES,
        ..row(STORAGE, "StorageClass", "storageclasses", false)
    },
    Row {
        short_names: &["vac"],
        rules: rules::storage_class::ATTRIBUTES,
        ..row(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", false)
    },
    Row {
        version: "v1beta1",
        short_names: &["vac"],
        rules: rules::storage_class::ATTRIBUTES,
        stored: Some(&rules::versions::VOLUME_ATTRIBUTES_CLASS),
        ..row(STORAGE, "VolumeAttributesClass", "volumeattributesclasses", false)
    },
    Row {
        subresources: &["status"],
        rules: rules::volume_attachment::RULES,
        ..row(STORAGE, "VolumeAttachment", "volumeattachments", false)
    },
    Row { rules: rules::csi_driver::RULES, ..row(STORAGE, "CSIDriver", "csidrivers", false) },
    Row { rules: rules::csi_driver::NODE, ..row(STORAGE, "CSINode", "csinodes", false) },
    Row {
        rules: rules::csi_driver::CAPACITY,
        ..row(STORAGE, "CSIStorageCapacity", "csistoragecapacities", true)
    },
    Row {
        short_names: &["pc"],
        rules: rules::priority_class::RULES,
        ..row("scheduling.k8s.io", "PriorityClass", "priorityclasses", false)
    },
    Row { rules: rules::runtime_class::RULES, ..row("node.k8s.io", "RuntimeClass", "runtimeclasses", false) },
    Row { rules: rules::rbac::ROLE, ..row(RBAC, "Role", "roles", true) },
    Row { rules: rules::rbac::BINDING, ..row(RBAC, "RoleBinding", "rolebindings", true) },
    Row { rules: rules::rbac::ROLE, ..row(RBAC, "ClusterRole", "clusterroles", false) },
    Row { rules: rules::rbac::BINDING, ..row(RBAC, "ClusterRoleBinding", "clusterrolebindings", false) },
    Row {
        categories: &["api-extensions"],
        generation: true,
        rules: rules::webhook_configuration::VALIDATING,
        ..row(ADMISSION, "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", false)
    },
    Row {
        categories: &["api-extensions"],
        generation: true,
        rules: rules::webhook_configuration::MUTATING,
        ..row(ADMISSION, "MutatingWebhookConfiguration", "mutatingwebhookconfigurations", false)
    },
    Row {
        categories: &["api-extensions"],
        subresources: &["status"],
        generation: true,
        rules: rules::validating_admission_policy::RULES,
        ..row(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", false)
    },
    Row {
        categories: &["api-extensions"],
        generation: true,
        rules: rules::validating_admission_policy::BINDING,
        ..row(ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", false)
    },
    Row {
        version: "v1beta1",
        categories: &["api-extensions"],
        generation: true,
        rules: rules::mutating_admission_policy::RULES,
        ..row(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", false)
    },
    Row {
        version: "v1beta1",
        categories: &["api-extensions"],
        generation: true,
        rules: rules::mutating_admission_policy::BINDING,
        ..row(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", false)
    },
    Row {
        version: "v1alpha1",
        categories: &["api-extensions"],
        generation: true,
        rules: rules::mutating_admission_policy::RULES,
        stored: Some(&rules::versions::MUTATING_ADMISSION_POLICY),
        ..row(ADMISSION, "MutatingAdmissionPolicy", "mutatingadmissionpolicies", false)
    },
    Row {
        version: "v1alpha1",
        categories: &["api-extensions"],
        generation: true,
        rules: rules::mutating_admission_policy::BINDING,
        stored: Some(&rules::versions::MUTATING_ADMISSION_POLICY_BINDING),
        ..row(ADMISSION, "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", false)
    },
    Row {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: &["status"],
        generation: true,
        rules: rules::custom_resource_definition::RULES,
        ..row("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false)
    },
    Row {
        categories: &["api-extensions"],
        subresources: &["status"],
        rules: rules::api_service::RULES,
        ..row("apiregistration.k8s.io", "APIService", "apiservices", false)
    },
    Row {
        subresources: &["status"],
        generation: true,
        rules: rules::flow_schema::RULES,
        ..row(FLOW_CONTROL, "FlowSchema", "flowschemas", false)
    },
    Row {
        subresources: &["status"],
        generation: true,
        rules: rules::priority_level_configuration::RULES,
        ..row(FLOW_CONTROL, "PriorityLevelConfiguration", "prioritylevelconfigurations", false)
    },
    Row {
        subresources: &["status"],
        rules: rules::resource_claim::RULES,
        ..row(RESOURCE, "ResourceClaim", "resourceclaims", true)
    },
    Row {
        rules: rules::resource_claim::TEMPLATE,
        ..row(RESOURCE, "ResourceClaimTemplate", "resourceclaimtemplates", true)
    },
    Row {
        generation: true,
        rules: rules::resource_claim::CLASS,
        ..row(RESOURCE, "DeviceClass", "deviceclasses", false)
    },
    Row {
        selectable: &["spec.driver", "spec.nodeName"],
        generation: true,
        rules: rules::resource_slice::RULES,
        ..row(RESOURCE, "ResourceSlice", "resourceslices", false)
    },
    Row {
        version: "v1beta2",
        subresources: &["status"],
        rules: rules::resource_claim::RULES,
        stored: Some(&rules::versions::RESOURCE_CLAIM),
        ..row(RESOURCE, "ResourceClaim", "resourceclaims", true)
    },
    Row {
        version: "v1beta2",
        rules: rules::resource_claim::TEMPLATE,
        stored: Some(&rules::versions::RESOURCE_CLAIM_TEMPLATE),
        ..row(RESOURCE, "ResourceClaimTemplate", "resourceclaimtemplates", true)
    },
    Row {
        version: "v1beta2",
        generation: true,
        rules: rules::resource_claim::CLASS,
        stored: Some(&rules::versions::DEVICE_CLASS),
        ..row(RESOURCE, "DeviceClass", "deviceclasses", false)
    },
    Row {
        version: "v1beta2",
        selectable: &["spec.driver", "spec.nodeName"],
        generation: true,
        rules: rules::resource_slice::RULES,
        stored: Some(&rules::versions::RESOURCE_SLICE),
        ..row(RESOURCE, "ResourceSlice", "resourceslices", false)
    },
    Row {
        version: "v1beta1",
        subresources: &["status"],
        rules: rules::storage_version_migration::RULES,
        gate: Some("StorageVersionMigrator"),
        ..row("storagemigration.k8s.io", "StorageVersionMigration", "storageversionmigrations", false)
    },
    Row { verbs: CREATE, ..row(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", false) },
    Row { verbs: CREATE, ..row(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", false) },
    Row { verbs: CREATE, ..row(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", false) },
    Row {
        verbs: CREATE,
        ..row(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", true)
    },
    Row { verbs: CREATE, ..row(AUTHENTICATION, "TokenReview", "tokenreviews", false) },
    Row { verbs: CREATE, ..row(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", false) },
];

/// The kind of a row; `None` only where the facts lack it, which a test rules out.
pub(super) fn kind(row: &Row) -> Option<Kind> {
    let names = |names: &'static [&'static str]| names.iter().copied().map(Name::Borrowed).collect();
    Some(Kind {
        group: row.group.into(),
        version: row.version.into(),
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind).into(),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase().into(),
        short_names: names(row.short_names),
        categories: names(row.categories),
        verbs: row.verbs,
        subresources: row.subresources.iter().map(|name| subresource(row.kind, name)).collect(),
        namespaced: row.namespaced,
        schema: Schemas::builtin().by_kind(row.group, row.version, row.kind)?,
        selectable_fields: names(row.selectable),
        selected_from: if row.selected_from.is_empty() { row.selectable } else { row.selected_from },
        has_status: row.subresources.contains(&"status"),
        generation: row.generation,
        stored: row.stored,
        gate: row.gate,
        behaviour: Behaviour::Builtin(row.rules),
    })
}

fn subresource(of: &str, name: &'static str) -> Subresource {
    let (kind, verbs) = match name {
        "attach" => (Some(["", "v1", "PodAttachOptions"]), CONNECT),
        "exec" => (Some(["", "v1", "PodExecOptions"]), CONNECT),
        "portforward" => (Some(["", "v1", "PodPortForwardOptions"]), CONNECT),
        "binding" => (Some(["", "v1", "Binding"]), CREATE),
        "eviction" => (Some(["policy", "v1", "Eviction"]), CREATE),
        "token" => (Some([AUTHENTICATION, "v1", "TokenRequest"]), CREATE),
        "scale" => (Some(["autoscaling", "v1", "Scale"]), STATUS),
        "log" => (None, &["get"][..]),
        "finalize" => (None, &["update"][..]),
        "proxy" if of == "Node" => (Some(["", "v1", "NodeProxyOptions"]), PROXY),
        "proxy" if of == "Service" => (Some(["", "v1", "ServiceProxyOptions"]), PROXY),
        "proxy" => (Some(["", "v1", "PodProxyOptions"]), PROXY),
        _ => (None, STATUS),
    };
    Subresource { name, kind, verbs }
}
