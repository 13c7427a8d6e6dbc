//! Nobody grants what they do not have: the checks on writes of roles and bindings.

use super::{Authorizer, Decision, Rule};
use crate::{Attributes, User};

/// Refuses a role with rules that `user` does not have in `namespace` (empty for a cluster role), unless
/// the user may `escalate` it. The error is the reason to give in a 403. Updates that leave the rules as
/// they are need not be checked.
pub async fn check_role_write(
    authorizer: &Authorizer,
    user: &User,
    namespace: &str,
    name: &str,
    rules: &[Rule],
) -> Result<(), String> {
    let resource = if namespace.is_empty() { "clusterroles" } else { "roles" };
    if may(authorizer, user, "escalate", resource, namespace, name).await {
        return Ok(());
    }
    uncovered(authorizer, user, namespace, rules)
}

/// Refuses a binding to a role with rules that `user` does not have in `namespace` (empty for a cluster
/// role binding), unless the user may `bind` that role. Updates that leave subjects as they are need not
/// be checked.
pub async fn check_binding_write(
    authorizer: &Authorizer,
    user: &User,
    namespace: &str,
    role_kind: &str,
    role_name: &str,
) -> Result<(), String> {
    let cluster_role = role_kind == "ClusterRole";
    let resource = if cluster_role { "clusterroles" } else { "roles" };
    if may(authorizer, user, "bind", resource, namespace, role_name).await {
        return Ok(());
    }
    let place = (!cluster_role).then_some(namespace);
    let rules = authorizer.with_rbac(|rbac| rbac.role_rules(place, role_name).map(<[Rule]>::to_vec));
    match rules {
        Some(rules) => uncovered(authorizer, user, namespace, &rules),
        None => Err(format!("{resource}.rbac.authorization.k8s.io {role_name:?} not found")),
    }
}

async fn may(
    authorizer: &Authorizer,
    user: &User,
    verb: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        user: user.clone().into(),
        verb: verb.into(),
        group: "rbac.authorization.k8s.io".into(),
        version: "v1".into(),
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
        is_resource: true,
        ..Attributes::default()
    };
    matches!(authorizer.authorize(&attributes).await, Decision::Allow(_))
}

fn uncovered(authorizer: &Authorizer, user: &User, namespace: &str, rules: &[Rule]) -> Result<(), String> {
    let missing: Vec<Rule> = authorizer.with_rbac(|rbac| {
        let held = rbac.rules_of(user, namespace);
        let atoms = rules.iter().flat_map(Rule::atoms);
        atoms.filter(|atom| !held.iter().any(|rule| rule.covers(atom))).collect()
    });
    if missing.is_empty() {
        return Ok(());
    }
    let groups = user.groups.iter().map(|group| format!("{group:?}")).collect::<Vec<_>>().join(" ");
    let mut texts: Vec<String> = compact(missing).iter().map(describe).collect();
    texts.sort();
    Err(format!(
        "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        texts.join("\n")
    ))
}

/// Puts atoms that differ only in their verb together again.
fn compact(atoms: Vec<Rule>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for mut atom in atoms {
        let verbs = std::mem::take(&mut atom.verbs);
        let same = rules.iter_mut().find(|rule| {
            (&rule.api_groups, &rule.resources, &rule.resource_names, &rule.non_resource_urls)
                == (&atom.api_groups, &atom.resources, &atom.resource_names, &atom.non_resource_urls)
        });
        match same {
            Some(rule) => {
                let further: Vec<_> = verbs.into_iter().filter(|verb| !rule.verbs.contains(verb)).collect();
                rule.verbs.extend(further);
            }
            None => rules.push(Rule { verbs, ..atom }),
        }
    }
    rules
}

fn describe(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ];
    let texts = parts.iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| {
        let items: Vec<_> = list.iter().map(|item| format!("{item:?}")).collect();
        format!("{name}:[{}]", items.join(" "))
    });
    format!("{{{}}}", texts.collect::<Vec<_>>().join(", "))
}
