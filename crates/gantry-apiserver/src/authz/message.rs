//! The words in which a refusal is told to the client.

use crate::Attributes;

/// `User "x" cannot list resource "pods" in API group "" in the namespace "y"`.
pub fn forbidden_prefix(attributes: &Attributes) -> String {
    let user = &attributes.user.name;
    let verb = &attributes.verb;
    if !attributes.is_resource {
        return format!("User {user:?} cannot {verb} path {:?}", attributes.path);
    }
    let mut resource = attributes.resource.to_string();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    let group = &attributes.group;
    let mut text = format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?}");
    if attributes.namespace.is_empty() {
        text.push_str(" at the cluster scope");
    } else {
        text.push_str(&format!(" in the namespace {:?}", attributes.namespace));
    }
    text
}

/// The message of the 403: which object, and what the user cannot do with it, with the authorizer's
/// reason where it gave one.
pub fn forbidden_message(attributes: &Attributes, reason: &str) -> String {
    let mut text = forbidden_prefix(attributes);
    if !reason.is_empty() {
        text = format!("{text}: {reason}");
    }
    if !attributes.is_resource {
        return format!("forbidden: {text}");
    }
    let mut resource = attributes.resource.to_string();
    if !attributes.group.is_empty() {
        resource = format!("{resource}.{}", attributes.group);
    }
    if attributes.name.is_empty() {
        format!("{resource} is forbidden: {text}")
    } else {
        format!("{resource} {:?} is forbidden: {text}", attributes.name)
    }
}
