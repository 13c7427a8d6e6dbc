//! Roles, compiled for quick decisions, and the aggregation of cluster roles.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::Attributes;
use crate::authz::Rule;

/// The rules of a role, with those that name their group and resource outright found by them.
pub(super) struct Role {
    pub(super) rules: Vec<Rule>,
    exact: HashMap<Box<str>, HashMap<Box<str>, Vec<usize>>>,
    /// Rules with a `*` in groups or resources.
    wide: Vec<usize>,
    urls: Vec<usize>,
}

impl Role {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut role = Self { exact: HashMap::new(), wide: Vec::new(), urls: Vec::new(), rules: Vec::new() };
        for (index, rule) in rules.iter().enumerate() {
            if !rule.non_resource_urls.is_empty() {
                role.urls.push(index);
            }
            let star = |list: &[String]| list.iter().any(|item| item.starts_with('*'));
            if star(&rule.api_groups) || star(&rule.resources) {
                role.wide.push(index);
                continue;
            }
            for group in &rule.api_groups {
                let resources = role.exact.entry(group.as_str().into()).or_default();
                for resource in &rule.resources {
                    resources.entry(resource.as_str().into()).or_default().push(index);
                }
            }
        }
        role.rules = rules;
        role
    }

    pub(super) fn allows(&self, attributes: &Attributes, resource: &str) -> bool {
        let any =
            |indexes: &[usize]| indexes.iter().any(|index| self.rules[*index].allows(attributes, resource));
        if !attributes.is_resource {
            return any(&self.urls);
        }
        let exact = self.exact.get(attributes.group.as_str()).and_then(|resources| resources.get(resource));
        exact.is_some_and(|indexes| any(indexes)) || any(&self.wide)
    }
}

/// What a stored role says, as far as authorization reads it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RoleObject {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
    #[serde(default)]
    aggregation_rule: Option<AggregationRule>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregationRule {
    #[serde(default)]
    cluster_role_selectors: Option<Vec<Selector>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[serde(default)]
    match_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    match_expressions: Option<Vec<Expression>>,
}

#[derive(Deserialize)]
struct Expression {
    key: String,
    operator: String,
    #[serde(default)]
    values: Option<Vec<String>>,
}

impl RoleObject {
    pub(super) fn into_rules(self) -> Vec<Rule> {
        self.rules.unwrap_or_default()
    }

    fn selects(&self, other: &Self) -> bool {
        let empty = BTreeMap::new();
        let labels = other.metadata.labels.as_ref().unwrap_or(&empty);
        let selectors =
            self.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
        selectors.into_iter().any(|selector| selector.matches(labels))
    }
}

impl Selector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let expressions = self.match_expressions.iter().flatten();
        self.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
            && expressions.into_iter().all(|expression| expression.matches(labels))
    }
}

impl Expression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.iter().flatten().any(|each| each == value));
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

/// All cluster roles, to put aggregated ones together from.
#[derive(Default)]
pub(super) struct Aggregation {
    objects: BTreeMap<Box<str>, RoleObject>,
}

impl Aggregation {
    /// Takes in one cluster role as it is now and returns the rules of every role that changes by it;
    /// no rules: the role is gone.
    pub(super) fn set(
        &mut self,
        name: &str,
        object: Option<RoleObject>,
    ) -> Vec<(Box<str>, Option<Vec<Rule>>)> {
        let gone = object.is_none();
        let before = match object {
            Some(object) => self.objects.insert(name.into(), object),
            None => self.objects.remove(name),
        };
        let mut changed: Vec<Box<str>> = self.aggregating(name, before.as_ref());
        let mut next = 0;
        while let Some(role) = changed.get(next).cloned() {
            // What is put together from a role that changed changes as well.
            let further = self.aggregating(&role, None);
            changed.extend(further.into_iter().filter(|each| !changed.contains(each)).collect::<Vec<_>>());
            next += 1;
        }
        if !changed.iter().any(|each| **each == *name) {
            changed.push(name.into());
        }
        let rules = |role: &str| {
            let there = !(gone && role == name);
            there.then(|| self.rules(role, &mut Vec::new()))
        };
        changed.into_iter().map(|role| (role.clone(), rules(&role))).collect()
    }

    /// The aggregated roles that select the role `name`, as it is or as it was `before`.
    fn aggregating(&self, name: &str, before: Option<&RoleObject>) -> Vec<Box<str>> {
        let versions: Vec<&RoleObject> = self.objects.get(name).into_iter().chain(before).collect();
        let aggregated = self.objects.iter().filter(|(_, object)| object.aggregation_rule.is_some());
        aggregated
            .filter(|(_, object)| versions.iter().any(|version| object.selects(version)))
            .map(|(each, _)| each.clone())
            .collect()
    }

    /// The rules of a role: its own, or those of the roles it selects, and so on.
    fn rules<'a>(&'a self, name: &str, seen: &mut Vec<&'a str>) -> Vec<Rule> {
        let Some((name, object)) =
            self.objects.get_key_value(name).filter(|(name, _)| !seen.contains(&&***name))
        else {
            return Vec::new();
        };
        seen.push(name);
        if object.aggregation_rule.is_none() {
            return object.rules.clone().unwrap_or_default();
        }
        let selected = self.objects.iter().filter(|(_, other)| object.selects(other));
        let mut rules = Vec::new();
        for rule in selected.flat_map(|(other, _)| self.rules(other, seen)) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }
}
