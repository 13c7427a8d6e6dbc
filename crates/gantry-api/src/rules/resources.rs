//! What containers and pods ask for: names of resources, and amounts.

use gantry_json::Value;

use super::common::{dns_label, list, one_of, qualified_name, qualified_name_faults, text};
use super::persistent_volume_claim::quantity;
use crate::field::{FieldError, FieldErrorKind, Path};
use crate::quantity::Quantity;

/// What is measured, of the names without a domain that Kubernetes knows.
const MEASURED: [&str; 11] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "storage",
    "requests.storage",
];
/// What is counted, of these names: amounts are whole.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_standard(name: &str) -> bool {
    MEASURED.contains(&name) || COUNTED.contains(&name)
}

/// Whose requests and limits they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A container's.
    Container,
    /// A whole pod's.
    Pod,
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the name is one of Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the name is one that somebody else gave.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && qualified_name_faults(&format!("requests.{name}")).is_empty()
}

/// Whether more of the resource may be promised than there is.
pub(super) fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Checks the name of a resource.
pub(super) fn name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    qualified_name(path, name, errors);
    let known = is_standard(name) || is_huge_pages(name) || name.starts_with("requests.hugepages-");
    if errors.len() == before && !name.contains('/') && !known {
        let words = "must be a standard resource type or fully qualified";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Checks the name of a resource that containers ask for.
pub(super) fn container_name(path: &Path, resource: &str, errors: &mut Vec<FieldError>) {
    name(path, resource, errors);
    let known = matches!(resource, "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(resource);
    if !resource.contains('/') && !known {
        errors.push(FieldError::invalid(path, resource, "must be a standard resource for containers"));
    } else if !is_native(resource) && !is_extended(resource) {
        let words = "doesn't follow extended resource name standard";
        errors.push(FieldError::invalid(path, resource, words));
    }
}

/// Whether a quota limits the resource by a name of Kubernetes' own.
pub(super) fn is_quota_name(resource: &str) -> bool {
    (is_standard(resource) && resource != "storage")
        || is_huge_pages(resource)
        || resource.starts_with("requests.hugepages-")
}

/// Checks the name of a resource that a quota limits.
pub(super) fn quota_name(path: &Path, resource: &str, errors: &mut Vec<FieldError>) {
    name(path, resource, errors);
    if !resource.contains('/') && !is_quota_name(resource) {
        errors.push(FieldError::invalid(path, resource, "must be a standard resource for quotas"));
    }
}

/// Checks that an amount of the resource can be one.
pub(super) fn amount(path: &Path, resource: &str, amount: &Value, errors: &mut Vec<FieldError>) {
    let Some(parsed) = quantity(amount) else { return };
    if parsed.is_negative() {
        let words = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path, parsed.to_string(), words));
    }
    if (COUNTED.contains(&resource) || is_extended(resource)) && parsed.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(path, parsed.to_string(), "must be an integer"));
    }
}

fn pod_name(path: &Path, resource: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    name(path, resource, errors);
    if errors.len() == before && !crate::pod_resources::is_for_pods(resource) {
        one_of(path, resource, &["cpu", "hugepages-", "memory"], errors);
    }
}

fn huge_pages(path: &Path, resource: &str, amount: Quantity, errors: &mut Vec<FieldError>) {
    let Some(size) = resource.strip_prefix("hugepages-") else { return };
    let size = size.parse::<Quantity>().ok().filter(|size| size.is_whole() && size.value() > 0);
    if size.is_none_or(|size| amount.value() % size.value() != 0) {
        let words = format!("{amount} is not positive integer multiple of {resource}");
        errors.push(FieldError::invalid(path, amount.to_string(), words));
    }
}

/// Checks what a container or a pod asks for; `claims` are the names of the pod's resource claims.
pub(super) fn requirements(
    path: &Path,
    resources: &Value,
    of: Of,
    claims: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let check_name = if of == Of::Pod { pod_name } else { container_name };
    let (requests, limits) = (path.child("requests"), path.child("limits"));
    let (mut computes, mut has_huge_pages) = (false, false);
    for (field, at) in [("limits", &limits), ("requests", &requests)] {
        for (resource, given) in resources[field].as_object().into_iter().flatten() {
            let path = at.key(resource);
            check_name(&path, resource, errors);
            amount(&path, resource, given, errors);
            computes |= matches!(resource.as_str(), "cpu" | "memory");
            has_huge_pages |= is_huge_pages(resource);
            let Some(parsed) = quantity(given) else { continue };
            if field == "requests" {
                let limit = quantity(&resources["limits"][resource]);
                within(&requests, &limits, resource, parsed, limit, errors);
            }
            huge_pages(&path, resource, parsed, errors);
        }
    }
    if has_huge_pages && !computes {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    claim_names(&path.child("claims"), list(resources, "claims"), claims, errors);
}

/// Checks a request beside its limit.
fn within(
    requests: &Path,
    limits: &Path,
    resource: &str,
    request: Quantity,
    limit: Option<Quantity>,
    errors: &mut Vec<FieldError>,
) {
    let overcommitted = may_be_overcommitted(resource);
    let words = match limit {
        None if !overcommitted => {
            let words = "Limit must be set for non overcommitable resources";
            return errors.push(FieldError::required(limits, words));
        }
        Some(limit) if !overcommitted && request != limit => {
            format!("must be equal to {resource} limit of {limit}")
        }
        Some(limit) if request > limit => {
            format!("must be less than or equal to {resource} limit of {limit}")
        }
        _ => return,
    };
    errors.push(FieldError::invalid(requests, request.to_string(), words));
}

/// Checks which of the pod's claims a container uses.
fn claim_names(path: &Path, used: &[Value], claims: &[&str], errors: &mut Vec<FieldError>) {
    let mut keys: Vec<String> = Vec::new();
    for (at, claim) in used.iter().enumerate() {
        let (path, name, request) = (path.index(at), text(claim, "name"), text(claim, "request"));
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
            continue;
        }
        if keys.iter().any(|key| key == name) {
            errors.push(FieldError::duplicate(&path, name));
        } else {
            let mut key = name.to_owned();
            if !request.is_empty() {
                dns_label(&path.child("request"), request, errors);
                key = format!("{name}/{request}");
            }
            let parts = format!("{name}/");
            if keys.contains(&key) {
                errors.push(FieldError::duplicate(&path, key.as_str()));
            } else if request.is_empty() {
                let overlapping = keys.iter().filter(|key| key.starts_with(&parts));
                errors.extend(overlapping.map(|_| FieldError::duplicate(&path, name)));
            }
            keys.push(key);
        }
        if !claims.contains(&name) {
            let mut names = claims.to_vec();
            names.sort_unstable();
            let known = if names.is_empty() {
                " which is empty".to_owned()
            } else {
                format!(": {}", names.join(", "))
            };
            let words = format!("must be one of the names in pod.spec.resourceClaims{known}");
            errors.push(FieldError::of(FieldErrorKind::NotFound, &path, Some(&name.into()), words));
        }
    }
}
