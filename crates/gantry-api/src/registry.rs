//! The kinds that are served, as data, and the rules that each has of its own.
//!
//! To add a kind, add a line to the table `KINDS`; where it has rules, a module to [`crate::rules`].

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::field::FieldError;
use crate::rules;
use crate::schema::{DefinitionId, Schemas};

/// What a kind does beyond its structure.
#[derive(Clone, Copy)]
pub struct Rules {
    /// Fills in what was left out. Idempotent.
    pub default: fn(&mut Value),
    /// Makes a new object ready: what clients may not set is reset.
    pub prepare_create: fn(&mut Value),
    /// Makes a changed object ready, beside the old one.
    pub prepare_update: fn(&mut Value, &Value),
    /// What is wrong with an object.
    pub validate: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with a new object alone.
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// What is wrong with a change: new, old.
    pub validate_update: fn(&Value, &Value) -> Vec<FieldError>,
    /// Makes an object ready whose status or approval changed, beside the old one; the subresource.
    pub prepare_status: fn(&mut Value, &Value, &str),
    /// What is wrong with a change of the status or the approval: new, old, the subresource.
    pub validate_status: fn(&Value, &Value, &str) -> Vec<FieldError>,
    /// The fields that an object is selected by, with their values.
    pub selectable: fn(&Value) -> Vec<(&'static str, String)>,
}

impl Rules {
    /// No rules of its own.
    pub const NONE: Self = Self {
        default: |_| {},
        prepare_create: |_| {},
        prepare_update: |_, _| {},
        validate: |_| Vec::new(),
        validate_create: |_| Vec::new(),
        validate_update: |_, _| Vec::new(),
        prepare_status: |_, _, _| {},
        validate_status: |_, _, _| Vec::new(),
        selectable: |_| Vec::new(),
    };
}

/// The form in which the objects of a kind are kept, where it is another kind's.
pub struct Stored {
    /// The group of the kind that is kept.
    pub group: &'static str,
    /// The resource of the kind that is kept.
    pub plural: &'static str,
    /// Turns an object of the kind into the one that is kept.
    pub pack: fn(&mut Value),
    /// Turns a kept object into one of the kind.
    pub unpack: fn(&mut Value),
    /// The selectable fields, each with its name in the form that is kept.
    pub fields: &'static [(&'static str, &'static str)],
}

/// A subresource of a kind.
pub struct Subresource {
    /// Its name.
    pub name: &'static str,
    /// The group, version and kind of what it takes and gives; the parent's where `None`.
    pub kind: Option<[&'static str; 3]>,
    /// Its verbs.
    pub verbs: &'static [&'static str],
}

/// A kind that is served.
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// The kind of its lists.
    pub list_kind: String,
    /// The resource's name.
    pub plural: &'static str,
    /// The resource's name for one object.
    pub singular: String,
    /// Short names that kubectl knows it by.
    pub short_names: &'static [&'static str],
    /// Groups of kinds that it is in, such as `all`.
    pub categories: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// The subresources.
    pub subresources: Vec<Subresource>,
    /// Whether objects are in namespaces.
    pub namespaced: bool,
    /// The structure.
    pub schema: DefinitionId,
    /// The fields that selectors may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [&'static str],
    /// Whether the status is a subresource.
    pub has_status: bool,
    /// Whether changes of the desired state are counted.
    pub generation: bool,
    /// The kind's own rules.
    pub rules: Rules,
    /// How objects are kept, where not as they are.
    pub stored: Option<&'static Stored>,
}

impl Kind {
    /// The name under which the stored object keeps a selectable field.
    pub fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        let mut renamed = self.stored.into_iter().flat_map(|stored| stored.fields);
        renamed.find(|(name, _)| *name == field).map_or(field, |(_, kept)| kept)
    }

    /// `group/version`, or the version alone in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// All kinds.
pub struct Registry {
    kinds: Vec<Kind>,
    by_resource: HashMap<(&'static str, &'static str, &'static str), usize>,
}

/// The verbs of an ordinary kind.
const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a review: it is answered, not stored.
const CREATE: &[&str] = &["create"];
const STATUS: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// One line of the table.
struct Row {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    subresources: &'static [&'static str],
    selectable: &'static [&'static str],
    generation: bool,
    rules: Rules,
    stored: Option<&'static Stored>,
}

/// A kind in a group, without short names, subresources or rules.
const fn row(group: &'static str, kind: &'static str, plural: &'static str, namespaced: bool) -> Row {
    Row {
        group,
        kind,
        plural,
        namespaced,
        short_names: &[],
        categories: &[],
        subresources: &[],
        selectable: &[],
        generation: false,
        rules: Rules::NONE,
        stored: None,
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The kinds of version v1.
const KINDS: &[Row] = &[
    Row {
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
        rules: rules::endpoint_slice::RULES,
        ..row("discovery.k8s.io", "EndpointSlice", "endpointslices", true)
    },
    row("coordination.k8s.io", "Lease", "leases", true),
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
        short_names: &["pc"],
        rules: rules::priority_class::RULES,
        ..row("scheduling.k8s.io", "PriorityClass", "priorityclasses", false)
    },
    Row { rules: rules::runtime_class::RULES, ..row("node.k8s.io", "RuntimeClass", "runtimeclasses", false) },
    Row { rules: rules::rbac::ROLE, ..row(RBAC, "Role", "roles", true) },
    Row { rules: rules::rbac::BINDING, ..row(RBAC, "RoleBinding", "rolebindings", true) },
    Row { rules: rules::rbac::ROLE, ..row(RBAC, "ClusterRole", "clusterroles", false) },
    Row { rules: rules::rbac::BINDING, ..row(RBAC, "ClusterRoleBinding", "clusterrolebindings", false) },
    row(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", false),
    row(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", false),
    row(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", false),
    row(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", true),
    row(AUTHENTICATION, "TokenReview", "tokenreviews", false),
    row(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", false),
];

impl Registry {
    /// The built-in kinds.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Registry> = LazyLock::new(build);
        &BUILTIN
    }

    /// The kind of a resource.
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.by_resource.get(&(group, version, plural)).map(|at| &self.kinds[*at])
    }

    /// The kind of that name.
    pub fn by_gvk(&self, group: &str, version: &str, kind: &str) -> Option<&Kind> {
        self.kinds.iter().find(|each| each.group == group && each.version == version && each.kind == kind)
    }

    /// All kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.kinds.iter()
    }
}

fn build() -> Registry {
    let kinds: Vec<Kind> = KINDS.iter().filter_map(kind).collect();
    let by_resource =
        kinds.iter().enumerate().map(|(at, kind)| ((kind.group, kind.version, kind.plural), at)).collect();
    Registry { kinds, by_resource }
}

/// The kind of a row; `None` only where the facts lack it, which a test rules out.
fn kind(row: &Row) -> Option<Kind> {
    let review = matches!(row.group, AUTHORIZATION | AUTHENTICATION);
    Some(Kind {
        group: row.group,
        version: "v1",
        kind: row.kind,
        list_kind: format!("{}List", row.kind),
        plural: row.plural,
        singular: row.kind.to_lowercase(),
        short_names: row.short_names,
        categories: row.categories,
        verbs: if review { CREATE } else { ALL },
        subresources: row.subresources.iter().map(|name| subresource(name)).collect(),
        namespaced: row.namespaced,
        schema: Schemas::builtin().by_kind(row.group, "v1", row.kind)?,
        selectable_fields: row.selectable,
        has_status: row.subresources.contains(&"status"),
        generation: row.generation,
        rules: row.rules,
        stored: row.stored,
    })
}

fn subresource(name: &'static str) -> Subresource {
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
        "proxy" => (None, PROXY),
        _ => (None, STATUS),
    };
    Subresource { name, kind, verbs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_facts_and_is_found() {
        let registry = Registry::builtin();
        assert_eq!(registry.iter().count(), KINDS.len());
        let deployment = registry.lookup("apps", "v1", "deployments").expect("served");
        assert_eq!(
            (deployment.api_version().as_str(), deployment.singular.as_str()),
            ("apps/v1", "deployment")
        );
        assert!(registry.by_gvk("", "v1", "Pod").is_some_and(|pod| pod.has_status));
        assert!(registry.lookup("", "v1", "deployments").is_none());
    }
}
