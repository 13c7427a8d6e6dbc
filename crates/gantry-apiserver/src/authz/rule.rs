//! One policy rule and what it covers.

use serde::{Deserialize, Serialize};

use crate::Attributes;

/// A rule of a role, as the API has it. In every list `*` stands for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// API groups; empty text for the core group.
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Paths, with `*` as the last character for everything below.
    #[serde(
        rename = "nonResourceURLs",
        deserialize_with = "null_as_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub non_resource_urls: Vec<String>,
    /// Names of objects; none for all.
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Resources, `pods`, `pods/log`, `*/scale`.
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Verbs.
    #[serde(deserialize_with = "null_as_empty")]
    pub verbs: Vec<String>,
}

fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Rule {
    /// Whether the rule allows the request. `resource` is the request's resource with its subresource.
    pub fn allows(&self, attributes: &Attributes, resource: &str) -> bool {
        if attributes.is_resource {
            has(&self.verbs, &attributes.verb)
                && has(&self.api_groups, &attributes.group)
                && self.has_resource(resource, &attributes.subresource)
                && self.has_name(&attributes.name)
        } else {
            has(&self.verbs, &attributes.verb) && self.has_url(&attributes.path)
        }
    }

    fn has_name(&self, name: &str) -> bool {
        self.resource_names.is_empty() || self.resource_names.iter().any(|each| each == name)
    }

    fn has_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|each| {
            each == "*"
                || each == resource
                || (!subresource.is_empty() && each.strip_prefix("*/").is_some_and(|sub| sub == subresource))
        })
    }

    fn has_url(&self, path: &str) -> bool {
        self.non_resource_urls.iter().any(|pattern| {
            pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
        })
    }

    /// The single permissions that the rule is made of, for comparing rules.
    pub fn atoms(&self) -> Vec<Rule> {
        let one = |item: &String| vec![item.clone()];
        let mut atoms = Vec::new();
        for verb in &self.verbs {
            for url in &self.non_resource_urls {
                atoms.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
            }
            for group in &self.api_groups {
                for resource in &self.resources {
                    let (api_groups, resources) = (one(group), one(resource));
                    let atom = Rule { verbs: one(verb), api_groups, resources, ..Rule::default() };
                    if self.resource_names.is_empty() {
                        atoms.push(atom);
                        continue;
                    }
                    for name in &self.resource_names {
                        atoms.push(Rule { resource_names: one(name), ..atom.clone() });
                    }
                }
            }
        }
        atoms
    }

    /// Whether the rule alone covers `atom`, one of [`Rule::atoms`].
    pub fn covers(&self, atom: &Rule) -> bool {
        if !has(&self.verbs, &atom.verbs[0]) {
            return false;
        }
        if let Some(url) = atom.non_resource_urls.first() {
            return self.has_url(url);
        }
        let (Some(group), Some(resource)) = (atom.api_groups.first(), atom.resources.first()) else {
            return false;
        };
        let subresource = resource.split_once('/').map_or("", |(_, subresource)| subresource);
        let named = match atom.resource_names.first() {
            None => self.resource_names.is_empty(),
            Some(name) => self.has_name(name),
        };
        has(&self.api_groups, group) && self.has_resource(resource, subresource) && named
    }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|each| each == "*" || each == item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_allows_what_it_names() {
        let check = |text: &str, verb: &str, resource: (&str, &str, &str), name: &str, expect| {
            let (group, resource, subresource) = resource;
            let attributes = Attributes {
                verb: verb.into(),
                group: group.into(),
                resource: resource.into(),
                subresource: subresource.into(),
                name: name.into(),
                is_resource: true,
                ..Attributes::default()
            };
            let full = if subresource.is_empty() {
                resource.to_owned()
            } else {
                format!("{resource}/{subresource}")
            };
            let rule: Rule = gantry_json::from_str(text).unwrap();
            assert_eq!(rule.allows(&attributes, &full), expect, "{text} {verb} {group}/{full} {name}");
        };
        let pods = r#"{"apiGroups":[""],"resources":["pods","*/scale"],"verbs":["get"]}"#;
        check(pods, "get", ("", "pods", ""), "a", true);
        check(pods, "list", ("", "pods", ""), "", false);
        check(pods, "get", ("apps", "pods", ""), "a", false);
        check(pods, "get", ("", "pods", "log"), "a", false);
        check(pods, "get", ("", "replicationcontrollers", "scale"), "a", true);
        let named = r#"{"apiGroups":["*"],"resources":["*"],"verbs":["*"],"resourceNames":["a"]}"#;
        check(named, "get", ("", "pods", ""), "a", true);
        check(named, "get", ("", "pods", ""), "b", false);
        check(named, "create", ("", "pods", ""), "", false);
    }

    #[test]
    fn paths_end_in_a_star() {
        let check = |url: &str, path: &str, expect| {
            let (verbs, non_resource_urls) = (vec!["get".into()], vec![url.into()]);
            let rule = Rule { verbs, non_resource_urls, ..Rule::default() };
            let attributes = Attributes { verb: "get".into(), path: path.into(), ..Attributes::default() };
            assert_eq!(rule.allows(&attributes, ""), expect, "{url} {path}");
        };
        check("/healthz", "/healthz", true);
        check("/healthz", "/healthz/ping", false);
        check("/healthz/*", "/healthz/ping", true);
        check("*", "/metrics", true);
    }
}
