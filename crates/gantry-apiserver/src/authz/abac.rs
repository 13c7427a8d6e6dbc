//! ABAC: a file with a policy a line, each of which allows something to somebody.

use std::path::Path;

use gantry_json::{Value, json};
use serde::Deserialize;

use super::Decision;
use crate::{Attributes, Error, User};

const VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const AUTHENTICATED: &str = "system:authenticated";

/// The policies of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies(Vec<Policy>);

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    non_resource_path: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Line {
    api_version: String,
    kind: String,
    spec: Policy,
    // Lines without a version, as the first release wrote them.
    user: String,
    group: String,
    readonly: bool,
    resource: String,
    namespace: String,
}

impl Policies {
    /// Reads a file.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::config("authorization", why);
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("authorization-policy-file {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|(line, text, why)| {
            wrong(format!("error reading policy file {}, line {line}: {text}: {why}", path.display()))
        })
    }

    /// Reads policies; the error is the number of a line, the line, and what is wrong with it.
    fn parse(text: &str) -> Result<Self, (usize, String, String)> {
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let read = lines.map(|(at, line)| {
            let read = gantry_json::from_str(line).map_err(|error| error.to_string());
            read.map(Line::policy).map_err(|why| (at + 1, line.to_owned(), why))
        });
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// Decides on one request.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        match self.0.iter().any(|policy| policy.allows(attributes)) {
            true => Decision::Allow(String::new()),
            false => Decision::NoOpinion("No policy matched.".to_owned()),
        }
    }

    /// What is allowed to a user in a namespace: rules for resources, and for other paths.
    pub fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Value>, Vec<Value>) {
        let here = |policy: &&Policy| {
            policy.is_for(user)
                && matches!(policy.namespace.as_str(), place if place == "*" || place == namespace)
        };
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        for policy in self.0.iter().filter(here) {
            let verbs: &[&str] = if policy.readonly { &["get", "list", "watch"] } else { &["*"] };
            if !policy.resource.is_empty() {
                let (group, resource) = (&policy.api_group, &policy.resource);
                resources.push(json!({"verbs": verbs, "apiGroups": [group], "resources": [resource]}));
            }
            if !policy.non_resource_path.is_empty() {
                paths.push(json!({"verbs": verbs, "nonResourceURLs": [policy.non_resource_path]}));
            }
        }
        (resources, paths)
    }
}

impl Line {
    fn policy(self) -> Policy {
        if (self.api_version.as_str(), self.kind.as_str()) == (VERSION, "Policy") {
            let everybody = self.spec.user == "*" || self.spec.group == "*";
            return match everybody {
                true => Policy { user: String::new(), group: AUTHENTICATED.to_owned(), ..self.spec },
                false => self.spec,
            };
        }
        let or_all = |text: &str| if text.is_empty() { "*".to_owned() } else { text.to_owned() };
        let nobody = self.user.is_empty() && self.group.is_empty();
        let everybody = nobody || self.user == "*" || self.group == "*";
        let anywhere = self.namespace.is_empty() && self.resource.is_empty();
        Policy {
            namespace: or_all(&self.namespace),
            resource: or_all(&self.resource),
            api_group: "*".to_owned(),
            non_resource_path: if anywhere { "*".to_owned() } else { String::new() },
            readonly: self.readonly,
            user: if everybody { String::new() } else { self.user },
            group: if everybody { AUTHENTICATED.to_owned() } else { self.group },
        }
    }
}

impl Policy {
    fn is_for(&self, user: &User) -> bool {
        let by_user = self.user.is_empty() || self.user == user.name;
        let by_group = self.group.is_empty() || user.in_group(&self.group);
        by_user && by_group && !(self.user.is_empty() && self.group.is_empty())
    }

    fn allows(&self, attributes: &Attributes) -> bool {
        let reads = matches!(attributes.verb.as_str(), "get" | "list" | "watch");
        if !self.is_for(&attributes.user) || (self.readonly && !reads) {
            return false;
        }
        let covers = |own: &str, asked: &str| own == "*" || own == asked;
        if attributes.is_resource {
            return covers(&self.namespace, &attributes.namespace)
                && covers(&self.resource, &attributes.resource)
                && covers(&self.api_group, &attributes.group);
        }
        let path = &self.non_resource_path;
        covers(path, &attributes.path)
            || path.ends_with('*') && attributes.path.starts_with(path.trim_end_matches('*'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
# Upstream's examples
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "alice", "namespace": "*", "resource": "*", "apiGroup": "*"}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "bob", "namespace": "projectCaribou", "resource": "pods", "readonly": true}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "*", "readonly": true, "nonResourcePath": "/apis/*"}}
{"user": "old", "readonly": true, "resource": "pods"}
{"user": "older"}
"#;

    fn attributes(user: &str, verb: &str, target: &str) -> Attributes {
        let mut attributes =
            Attributes { user: User::new(user, []).into(), verb: verb.into(), ..Attributes::default() };
        if target.starts_with('/') {
            attributes.path = target.into();
        } else {
            let [group, resource, namespace] = target.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{target}")
            };
            attributes.is_resource = true;
            attributes.group = group.trim_matches('-').into();
            (attributes.resource, attributes.namespace) =
                (resource.into(), namespace.trim_matches('-').into());
        }
        attributes
    }

    #[test]
    fn policies_allow() {
        let policies = Policies::parse(FILE).unwrap();
        let check = |user: &str, verb: &str, target: &str, expect: bool| {
            let decision = policies.authorize(&attributes(user, verb, target));
            assert_eq!(decision.is_allowed(), expect, "{user} {verb} {target}");
        };
        check("alice", "delete", "apps deployments shop", true);
        check("alice", "post", "/apis/x", false);
        check("bob", "get", "- pods projectCaribou", true);
        check("bob", "create", "- pods projectCaribou", false);
        check("bob", "get", "apps pods projectCaribou", false);
        check("bob", "get", "- pods other", false);
        check("jane", "get", "/apis/apps", true);
        check("jane", "get", "/api", false);
        check("old", "list", "- pods anywhere", true);
        check("old", "list", "- secrets anywhere", false);
        check("old", "get", "/version", false);
        check("older", "delete", "- nodes -", true);
        check("older", "get", "/version", true);
        let (resources, paths) = policies.rules_of(&User::new("bob", []), "projectCaribou");
        assert_eq!(
            resources,
            [json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]})]
        );
        assert!(paths.is_empty());
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let (line, text, _) = Policies::parse("{}\n\n{\"user\": 1}").unwrap_err();
        assert_eq!((line, text.as_str()), (3, "{\"user\": 1}"));
    }
}
