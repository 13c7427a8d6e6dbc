//! A flow schema: which requests belong to it, and what tells its flows apart.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use gantry_json::Value;
use http::HeaderValue;

use crate::Attributes;
use crate::metrics::Meters;

/// A flow schema, as its object describes it.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub name: String,
    pub uid: Option<HeaderValue>,
    pub precedence: i64,
    pub level: String,
    by: By,
    rules: Vec<Rule>,
    /// What is counted of its requests, found with the first of them.
    pub meters: OnceLock<Arc<Meters>>,
}

/// What tells the flows of a schema apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Nothing,
    User,
    Namespace,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<Resources>,
    urls: Vec<Urls>,
}

#[derive(Debug, Clone, PartialEq)]
enum Subject {
    User(String),
    Group(String),
    Account(String, String),
}

#[derive(Debug, Clone, PartialEq)]
struct Resources {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    cluster_scope: bool,
    namespaces: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Urls {
    verbs: Vec<String>,
    urls: Vec<String>,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|each| each.as_str().map(str::to_owned)).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|each| each == "*" || each == item)
}

impl Schema {
    pub fn read(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        let subject = |subject: &Value| match subject["kind"].as_str() {
            Some("User") => Some(Subject::User(text(&subject["user"]["name"]))),
            Some("Group") => Some(Subject::Group(text(&subject["group"]["name"]))),
            Some("ServiceAccount") => {
                let account = &subject["serviceAccount"];
                Some(Subject::Account(text(&account["namespace"]), text(&account["name"])))
            }
            _ => None,
        };
        let rule = |rule: &Value| Rule {
            subjects: items(&rule["subjects"]).filter_map(subject).collect(),
            resources: items(&rule["resourceRules"])
                .map(|rule| Resources {
                    verbs: texts(&rule["verbs"]),
                    groups: texts(&rule["apiGroups"]),
                    resources: texts(&rule["resources"]),
                    cluster_scope: rule["clusterScope"] == true,
                    namespaces: texts(&rule["namespaces"]),
                })
                .collect(),
            urls: items(&rule["nonResourceRules"])
                .map(|rule| Urls { verbs: texts(&rule["verbs"]), urls: texts(&rule["nonResourceURLs"]) })
                .collect(),
        };
        Self {
            name: text(&object["metadata"]["name"]),
            uid: HeaderValue::from_str(object["metadata"]["uid"].as_str().unwrap_or_default()).ok(),
            precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
            level: text(&spec["priorityLevelConfiguration"]["name"]),
            by: match spec["distinguisherMethod"]["type"].as_str() {
                Some("ByUser") => By::User,
                Some("ByNamespace") => By::Namespace,
                _ => By::Nothing,
            },
            rules: items(&spec["rules"]).map(rule).collect(),
            meters: OnceLock::new(),
        }
    }

    pub fn matches(&self, attributes: &Attributes) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| subject.is(attributes))
                && if attributes.is_resource {
                    rule.resources.iter().any(|rule| rule.covers(attributes))
                } else {
                    rule.urls.iter().any(|rule| rule.covers(attributes))
                }
        })
    }

    /// What tells the flow of the request apart from others.
    pub fn distinguisher<'a>(&self, attributes: &'a Attributes) -> &'a str {
        match self.by {
            By::Nothing => "",
            By::User => &attributes.user.name,
            By::Namespace => &attributes.namespace,
        }
    }

    /// A number of the flow that the request belongs to.
    pub fn hash(&self, attributes: &Attributes) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        self.distinguisher(attributes).hash(&mut hasher);
        hasher.finish()
    }
}

impl Subject {
    fn is(&self, attributes: &Attributes) -> bool {
        let user = &attributes.user;
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::Account(namespace, name) => {
                let account =
                    user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                account.is_some_and(|(its, account)| its == namespace && (name == "*" || name == account))
            }
        }
    }
}

impl Resources {
    fn covers(&self, attributes: &Attributes) -> bool {
        let place = match attributes.namespace.as_str() {
            "" => self.cluster_scope,
            namespace => has(&self.namespaces, namespace),
        };
        let resource = || match attributes.subresource.as_str() {
            "" => has(&self.resources, &attributes.resource),
            subresource => has(&self.resources, &format!("{}/{subresource}", attributes.resource)),
        };
        place && has(&self.verbs, &attributes.verb) && has(&self.groups, &attributes.group) && resource()
    }
}

impl Urls {
    fn covers(&self, attributes: &Attributes) -> bool {
        let path = attributes.path.as_str();
        has(&self.verbs, &attributes.verb)
            && self.urls.iter().any(|url| match url.strip_suffix("/*") {
                Some(above) => path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/')),
                None => url == "*" || url == path,
            })
    }
}
