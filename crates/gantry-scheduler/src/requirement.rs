//! Label requirements compiled once: of selectors and of node selector terms.

use std::collections::{BTreeMap, HashMap};

pub use gantry_api::selector::Requirement;
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of a pod or node.
pub type Labels = BTreeMap<String, String>;

/// The labels of each namespace.
pub type Namespaces = HashMap<String, Labels>;

/// A condition of an object's selector. An operator or operand that can never match becomes a
/// choice of no value.
fn requirement(key: &str, operator: &str, values: &[String]) -> Requirement {
    let key = key.to_owned();
    let number = || values.first().and_then(|value| value.parse().ok());
    let never = |key| Requirement::In(key, Vec::new());
    match operator {
        "In" => Requirement::In(key, values.to_vec()),
        "NotIn" => Requirement::NotIn(key, values.to_vec()),
        "Exists" => Requirement::Exists(key),
        "DoesNotExist" => Requirement::DoesNotExist(key),
        "Gt" => match number() {
            Some(bound) => Requirement::GreaterThan(key, bound),
            None => never(key),
        },
        "Lt" => match number() {
            Some(bound) => Requirement::LessThan(key, bound),
            None => never(key),
        },
        _ => never(key),
    }
}

fn of_node(each: &NodeSelectorRequirement) -> Requirement {
    requirement(&each.key, &each.operator, each.values.as_deref().unwrap_or_default())
}

/// A label selector; an absent one matches nothing, an empty one everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Selector(Option<Vec<Requirement>>);

impl Selector {
    /// Compiles `selector`.
    pub fn new(selector: Option<&LabelSelector>) -> Self {
        Self(selector.map(|selector| {
            let equal = selector
                .match_labels
                .iter()
                .flatten()
                .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]));
            let expressions = selector.match_expressions.iter().flatten().map(|expression| {
                let values = expression.values.as_deref().unwrap_or_default();
                requirement(&expression.key, &expression.operator, values)
            });
            equal.chain(expressions).collect()
        }))
    }

    /// The selector with a requirement more, if it selects at all.
    pub fn and(mut self, requirement: Requirement) -> Self {
        if let Some(requirements) = &mut self.0 {
            requirements.push(requirement);
        }
        self
    }

    /// Whether it has no condition.
    pub fn is_everything(&self) -> bool {
        self.0.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether there is no selector.
    pub fn is_absent(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `labels` are selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.as_ref().is_some_and(|requirements| requirements.iter().all(|each| each.matches(labels)))
    }
}

/// A term of a node selector: all its requirements on labels and on the node's name hold. A
/// term without any requirement matches no node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    names: Vec<Requirement>,
}

impl NodeTerm {
    /// Compiles `term`.
    pub fn new(term: &NodeSelectorTerm) -> Self {
        let compile =
            |list: &Option<Vec<NodeSelectorRequirement>>| list.iter().flatten().map(of_node).collect();
        Self { labels: compile(&term.match_expressions), names: compile(&term.match_fields) }
    }

    /// Whether the node of this `name` and these `labels` matches.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        if self.labels.is_empty() && self.names.is_empty() {
            return false;
        }
        let fields = || Labels::from([("metadata.name".to_owned(), name.to_owned())]);
        self.labels.iter().all(|each| each.matches(labels))
            && (self.names.is_empty() || {
                let fields = fields();
                self.names.iter().all(|each| each.matches(&fields))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::from([("zone".into(), "a".into()), ("size".into(), "7".into())])
    }

    #[test]
    fn operators() {
        for (key, operator, values, expected) in [
            ("zone", "In", vec!["a", "b"], true),
            ("zone", "In", vec!["b"], false),
            ("zone", "NotIn", vec!["b"], true),
            ("none", "NotIn", vec!["b"], true),
            ("none", "In", vec!["b"], false),
            ("zone", "Exists", vec![], true),
            ("none", "DoesNotExist", vec![], true),
            ("size", "Gt", vec!["6"], true),
            ("size", "Gt", vec!["7"], false),
            ("size", "Lt", vec!["8"], true),
            ("zone", "Gt", vec!["1"], false),
            ("size", "Gt", vec!["x"], false),
            ("size", "Odd", vec![], false),
        ] {
            let values: Vec<_> = values.into_iter().map(str::to_owned).collect();
            let condition = requirement(key, operator, &values);
            assert_eq!(condition.matches(&labels()), expected, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn an_absent_selector_selects_nothing_and_an_empty_one_everything() {
        assert!(!Selector::new(None).matches(&labels()));
        assert!(Selector::new(Some(&LabelSelector::default())).matches(&labels()));
    }

    #[test]
    fn a_term_without_requirements_matches_no_node() {
        assert!(!NodeTerm::new(&NodeSelectorTerm::default()).matches("n", &labels()));
        let by_name = NodeSelectorTerm {
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec!["n".into()]),
            }]),
            ..NodeSelectorTerm::default()
        };
        assert!(NodeTerm::new(&by_name).matches("n", &labels()));
        assert!(!NodeTerm::new(&by_name).matches("m", &labels()));
    }
}
