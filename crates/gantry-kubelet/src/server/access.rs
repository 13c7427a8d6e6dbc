//! Who may use the node's API: client certificates and bearer tokens, decided by the API server.

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, api::PostParams};

use crate::agent::Agent;

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Uid.
    pub uid: Option<String>,
}

/// The user a verified client certificate names: common name and organizations.
pub fn from_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_string();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(String::from).collect();
    groups.push("system:authenticated".into());
    Some(User { name, groups, uid: None })
}

/// Asks the API server whose token this is.
pub async fn from_token(agent: &Agent, token: &str) -> Option<User> {
    let review = TokenReview {
        spec: TokenReviewSpec { token: Some(token.into()), ..Default::default() },
        ..Default::default()
    };
    let api: Api<TokenReview> = Api::all(agent.client.clone());
    let status = match api.create(&PostParams::default(), &review).await {
        Ok(review) => review.status?,
        Err(error) => {
            tracing::warn!(%error, "token not reviewed");
            return None;
        }
    };
    let user = status.user.filter(|_| status.authenticated == Some(true))?;
    Some(User {
        name: user.username.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        uid: user.uid,
    })
}

/// The subresources of `nodes` that a path stands for, the narrow one first.
pub fn subresources(path: &str) -> &'static [&'static str] {
    let below =
        |prefix: &str| path == prefix || path.strip_prefix(prefix).is_some_and(|r| r.starts_with('/'));
    if below("/stats") {
        &["stats"]
    } else if below("/metrics") {
        &["metrics"]
    } else if below("/logs") {
        &["log"]
    } else if below("/healthz") {
        &["healthz", "proxy"]
    } else if below("/pods") || below("/runningpods") {
        &["pods", "proxy"]
    } else if below("/configz") {
        &["configz", "proxy"]
    } else {
        &["proxy"]
    }
}

/// The verb of a request.
pub fn verb(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    }
}

/// Whether the API server allows the request; an error is the text of the refusal.
pub async fn authorize(agent: &Agent, user: &User, method: &http::Method, path: &str) -> Result<(), String> {
    if user.groups.iter().any(|g| g == "system:masters") {
        return Ok(());
    }
    let api: Api<SubjectAccessReview> = Api::all(agent.client.clone());
    let node = &agent.config.node_name;
    let subresources = subresources(path);
    for subresource in subresources {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                groups: Some(user.groups.clone()),
                uid: user.uid.clone(),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(verb(method).into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some((*subresource).into()),
                    name: Some(node.clone()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        };
        match api.create(&PostParams::default(), &review).await {
            Ok(review) if review.status.as_ref().is_some_and(|s| s.allowed) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(format!("Authorization error (user={}): {error}", user.name)),
        }
    }
    Err(format!(
        "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])",
        user.name,
        verb(method),
        subresources.join(" ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_subresources() {
        for (path, expect) in [
            ("/metrics/resource", &["metrics"][..]),
            ("/stats/summary", &["stats"]),
            ("/pods", &["pods", "proxy"]),
            ("/containerLogs/ns/p/c", &["proxy"]),
            ("/exec/ns/p/c", &["proxy"]),
            ("/metricsx", &["proxy"]),
        ] {
            assert_eq!(subresources(path), expect, "{path}");
        }
    }
}
