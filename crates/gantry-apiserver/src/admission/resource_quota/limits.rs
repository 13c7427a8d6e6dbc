//! ResourceQuotaConfiguration: what may be used only where a quota speaks of it.

use std::collections::BTreeSet;

use gantry_api::pod_resources::ResourceList;
use gantry_api::quota::{Requirement, Resource, requirements};
use gantry_json::Value;
use serde::Deserialize;

use super::super::settings;

const KINDS: [(&str, &str); 3] = [
    ("apiserver.config.k8s.io/v1", "ResourceQuotaConfiguration"),
    ("resourcequota.admission.k8s.io/v1beta1", "Configuration"),
    ("resourcequota.admission.k8s.io/v1alpha1", "Configuration"),
];

/// What may be used only where a quota speaks of it; by default, nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in super::super) struct Limits {
    limited_resources: Vec<Limited>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Limited {
    api_group: String,
    resource: String,
    match_contains: Vec<String>,
    match_scopes: Vec<Value>,
}

impl Limits {
    pub fn read(document: Value) -> Result<Self, String> {
        settings::read(document, &KINDS)
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.limited_resources.is_empty()
    }

    /// The names under which `usage` is counted of which a quota has to speak.
    pub(super) fn names<'u>(&self, resource: Resource<'_>, usage: &'u ResourceList) -> BTreeSet<&'u str> {
        let own = |limited: &&Limited| {
            (limited.api_group.as_str(), limited.resource.as_str()) == (resource.group, resource.plural)
        };
        let limited: Vec<&Limited> = self.limited_resources.iter().filter(own).collect();
        let used = usage.iter().filter(|(_, amount)| !amount.is_zero() && !amount.is_negative());
        used.map(|(name, _)| name.as_str())
            .filter(|name| {
                limited.iter().any(|each| each.match_contains.iter().any(|part| name.contains(part.as_str())))
            })
            .collect()
    }

    /// The scopes that `object` is within and that a quota has to be for.
    pub(super) fn scopes(&self, resource: Resource<'_>, object: &Value) -> Vec<Requirement<'_>> {
        let scopes = self.limited_resources.iter().flat_map(|limited| &limited.match_scopes);
        let scopes = scopes.map(Requirement::read);
        scopes.filter(|requirement| requirement.holds(resource, object)).collect()
    }
}

/// Those of `wanted` that no scope of a quota, which the object is within, speaks of.
pub(super) fn uncovered<'a, 'q>(
    wanted: Vec<Requirement<'a>>,
    quotas: impl Iterator<Item = &'q Value> + Clone,
    resource: Resource<'_>,
    object: &Value,
) -> Vec<Requirement<'a>> {
    let covered = |scope: &str| {
        quotas
            .clone()
            .any(|quota| requirements(quota).any(|own| own.scope == scope && own.holds(resource, object)))
    };
    wanted.into_iter().filter(|requirement| !covered(requirement.scope)).collect()
}
