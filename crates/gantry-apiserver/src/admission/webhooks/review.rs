//! AdmissionReview: what a webhook is asked.

use bytes::Bytes;
use gantry_api::registry::Kind;
use gantry_json::Value;
use serde::Serialize;

use super::super::Request;
use super::super::matching::Versioned;
use crate::rest;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: String,
    request: Question<'a>,
}

#[derive(Serialize)]
struct GroupVersionKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

#[derive(Serialize)]
struct GroupVersionResource<'a> {
    group: &'a str,
    version: &'a str,
    resource: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    uid: &'a str,
    kind: GroupVersionKind<'a>,
    resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_resource: &'a str,
    request_kind: GroupVersionKind<'a>,
    request_resource: GroupVersionResource<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_sub_resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    operation: &'static str,
    user_info: Value,
    object: &'a Value,
    old_object: &'a Value,
    dry_run: bool,
    options: Value,
}

/// The review of `request`, whose objects are shown as `versioned`, for a webhook that met it as one for
/// `kind` and takes reviews of `version`.
pub(super) fn of(
    request: &Request<'_>,
    versioned: &Versioned,
    kind: &Kind,
    version: &str,
    uid: &str,
) -> Bytes {
    let [group, object_version, name] = request.object_kind;
    let [met_group, met_version, met_kind] = &versioned.kind;
    let review = Review {
        kind: "AdmissionReview",
        api_version: format!("admission.k8s.io/{version}"),
        request: Question {
            uid,
            kind: GroupVersionKind { group: met_group, version: met_version, kind: met_kind },
            resource: GroupVersionResource {
                group: &kind.group,
                version: &kind.version,
                resource: &kind.plural,
            },
            sub_resource: request.subresource,
            request_kind: GroupVersionKind { group, version: object_version, kind: name },
            request_resource: GroupVersionResource {
                group: request.group,
                version: &request.kind.version,
                resource: request.resource,
            },
            request_sub_resource: request.subresource,
            name: request.told_name(),
            namespace: request.told_namespace(),
            operation: request.operation.word(),
            user_info: rest::user_info(request.user),
            object: &versioned.object,
            old_object: &versioned.old,
            dry_run: request.dry_run,
            options: request.options.to_value(),
        },
    };
    gantry_json::to_vec(&review).unwrap_or_default().into()
}
