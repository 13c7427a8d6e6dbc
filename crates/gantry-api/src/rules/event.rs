//! Event.

use super::common::text;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The fields that events are selected by.
pub const SELECTABLE: &[&str] = &[
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.resourceVersion",
    "involvedObject.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// The rules.
pub const RULES: Rules = Rules {
    validate: |event| {
        let involved = text(&event["involvedObject"], "namespace");
        let namespace = text(&event["metadata"], "namespace");
        let allowed = if involved.is_empty() { "default" } else { involved };
        if namespace == allowed || involved.is_empty() && namespace == "kube-system" {
            return Vec::new();
        }
        let path = Path::new("involvedObject").child("namespace");
        vec![FieldError::invalid(&path, involved, "does not match event.namespace")]
    },
    selectable: |event| {
        let involved = &event["involvedObject"];
        let reporting = text(event, "reportingComponent");
        let component = text(&event["source"], "component");
        let source = if component.is_empty() { reporting } else { component };
        vec![
            ("involvedObject.apiVersion", text(involved, "apiVersion").into()),
            ("involvedObject.fieldPath", text(involved, "fieldPath").into()),
            ("involvedObject.kind", text(involved, "kind").into()),
            ("involvedObject.name", text(involved, "name").into()),
            ("involvedObject.namespace", text(involved, "namespace").into()),
            ("involvedObject.resourceVersion", text(involved, "resourceVersion").into()),
            ("involvedObject.uid", text(involved, "uid").into()),
            ("reason", text(event, "reason").into()),
            ("reportingComponent", reporting.into()),
            ("source", source.into()),
            ("type", text(event, "type").into()),
        ]
    },
    ..Rules::NONE
};
