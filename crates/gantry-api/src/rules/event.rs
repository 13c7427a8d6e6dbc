//! Event, in its two forms: the core group's, which is kept, and that of `events.k8s.io`.

use gantry_json::{Map, Value};

use super::common::{QUALIFIED_NAME, immutable, qualified_name, text};
use crate::field::{FieldError, Path};
use crate::registry::{Rules, Stored};

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

/// The fields that events of `events.k8s.io` are selected by.
pub const SELECTABLE_REGARDING: &[&str] = &[
    "reason",
    "regarding.apiVersion",
    "regarding.fieldPath",
    "regarding.kind",
    "regarding.name",
    "regarding.namespace",
    "regarding.resourceVersion",
    "regarding.uid",
    "reportingController",
    "type",
];

/// How events of `events.k8s.io` are kept: as the core group's.
pub static STORED: Stored = Stored {
    group: "",
    plural: "events",
    pack: |event| rename(event, "v1", |(regarding, involved)| (regarding, involved)),
    unpack: |event| {
        rename(event, "events.k8s.io/v1", |(regarding, involved)| (involved, regarding));
        if let Some(fields) = event.as_object_mut() {
            // This field is part of every event of the group, set or not.
            fields.entry("eventTime").or_insert(Value::Null);
            // These are not, but of every event of the core group.
            fields.retain(|name, value| {
                !matches!(name.as_str(), "reportingController" | "reportingInstance") || value != ""
            });
        }
    },
    fields: &[
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.uid", "involvedObject.uid"),
        ("reportingController", "reportingComponent"),
    ],
};

/// The names of the same field in `events.k8s.io` and in the core group.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

type Names = (&'static str, &'static str);

fn rename(event: &mut Value, api_version: &str, direction: fn(Names) -> Names) {
    let Some(fields) = event.as_object_mut() else { return };
    fields.insert("apiVersion".into(), api_version.into());
    for (from, to) in NAMES.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.into(), value);
        }
    }
}

/// The rules of the core group's events.
pub const RULES: Rules = Rules {
    validate,
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

/// The rules of the events of `events.k8s.io`: stricter, in the words of the core group's fields.
pub const REGARDING: Rules = Rules {
    validate: |event| {
        let mut core = event.clone();
        (STORED.pack)(&mut core);
        // An older event is shown in this form too; only its time tells them apart.
        validate(&core)
    },
    validate_create: |event| {
        let mut core = event.clone();
        (STORED.pack)(&mut core);
        validate_strictly(&core)
    },
    validate_update: |new, old| {
        let (mut new, mut old) = (new.clone(), old.clone());
        (STORED.pack)(&mut new);
        (STORED.pack)(&mut old);
        let mut errors = Vec::new();
        if new["series"] != old["series"] {
            series(&new["series"], &mut errors);
        }
        for field in FIXED {
            let shown = if field == "reportingComponent" { "reportingController" } else { field };
            immutable(&Path::new(shown), &new[field], &old[field], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// What an event says once and for all.
const FIXED: [&str; 13] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

fn validate(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let involved = text(&event["involvedObject"], "namespace");
    let namespace = text(&event["metadata"], "namespace");
    let timed = event["eventTime"].is_string();
    let fits = match (timed, involved.is_empty()) {
        (false, true) => matches!(namespace, "" | "default"),
        (false, false) => namespace == involved,
        (true, true) => matches!(namespace, "default" | "kube-system"),
        (true, false) => true,
    };
    if !fits {
        let path = Path::new("involvedObject").child("namespace");
        errors.push(FieldError::invalid(&path, involved, "does not match event.namespace"));
    }
    if !timed {
        return errors;
    }
    let controller = text(event, "reportingComponent");
    let path = Path::new("reportingController");
    if controller.is_empty() {
        errors.push(FieldError::required(&path, ""));
        errors.push(FieldError::invalid(&path, "", "name part must be non-empty"));
        errors.push(FieldError::invalid(&path, "", QUALIFIED_NAME));
    } else {
        qualified_name(&path, controller, &mut errors);
    }
    for (field, longest, required) in [
        ("reportingInstance", 128, true),
        ("action", 128, true),
        ("reason", 128, true),
        ("message", 1024, false),
    ] {
        let (path, value) = (Path::new(field), text(event, field));
        if required && value.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        if value.len() > longest {
            errors.push(FieldError::invalid(&path, "", format!("can have at most {longest} characters")));
        }
    }
    errors
}

/// What only new events of `events.k8s.io` must keep to.
fn validate_strictly(event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    series(&event["series"], &mut errors);
    if !event["eventTime"].is_string() {
        errors.push(FieldError::required(&Path::new("eventTime"), ""));
    }
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let unset = match &event[field] {
            Value::Null => true,
            Value::Number(count) => count.as_i64() == Some(0),
            Value::Object(source) => empty(source),
            _ => false,
        };
        if !unset {
            errors.push(FieldError::invalid(&Path::new(field), "", "needs to be unset"));
        }
    }
    errors
}

fn empty(source: &Map) -> bool {
    source.values().all(|value| value.as_str().is_some_and(str::is_empty))
}

fn series(series: &Value, errors: &mut Vec<FieldError>) {
    if !series.is_object() {
        return;
    }
    if series["count"].as_i64().unwrap_or(0) < 2 {
        errors.push(FieldError::invalid(&Path::new("series.count"), "", "should be at least 2"));
    }
    if !series["lastObservedTime"].is_string() {
        errors.push(FieldError::required(&Path::new("series.lastObservedTime"), ""));
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn the_forms_turn_into_each_other() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": {"name": "p"}, "message": "m",
            "count": 2, "source": {"component": "c"}, "eventTime": null, "series": {"count": 2}, "type": "Normal",
            "reportingComponent": "r", "firstTimestamp": "2026-01-01T00:00:00Z"});
        let mut event = core.clone();
        (STORED.unpack)(&mut event);
        assert_eq!(
            event,
            json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "regarding": {"name": "p"}, "note": "m",
                "deprecatedCount": 2, "deprecatedSource": {"component": "c"}, "eventTime": null,
                "series": {"count": 2}, "type": "Normal", "reportingController": "r",
                "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z"})
        );
        (STORED.pack)(&mut event);
        assert_eq!(event, core);
    }

    #[test]
    fn faults() {
        let check = |event: Value, expect: &[&str]| {
            let mut errors = (REGARDING.validate)(&event);
            errors.extend((REGARDING.validate_create)(&event));
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors, expect);
        };
        let good = json!({"metadata": {"namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "a.b/c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal"});
        check(good.clone(), &[]);
        let mut bad = good.clone();
        crate::patch::merge(
            &mut bad,
            &json!({"type": "Odd", "deprecatedCount": 3, "action": null, "series": {"count": 1},
                "regarding": {"namespace": ""}, "metadata": {"namespace": "other"}}),
        );
        check(
            bad,
            &[
                "involvedObject.namespace: Invalid value: \"\": does not match event.namespace",
                "action: Required value",
                "series.count: Invalid value: \"\": should be at least 2",
                "series.lastObservedTime: Required value",
                "type: Invalid value: \"\": has invalid value: Odd",
                "count: Invalid value: \"\": needs to be unset",
            ],
        );
        let core =
            json!({"metadata": {"namespace": "kube-system"}, "eventTime": "2026-01-01T00:00:00.000000Z"});
        let errors: Vec<_> = (RULES.validate)(&core).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "reportingController: Required value",
                "reportingController: Invalid value: \"\": name part must be non-empty",
                &format!("reportingController: Invalid value: \"\": {QUALIFIED_NAME}"),
                "reportingInstance: Required value",
                "action: Required value",
                "reason: Required value",
            ]
        );
        let mut changed = good.clone();
        changed["note"] = "other".into();
        let errors: Vec<_> =
            (REGARDING.validate_update)(&changed, &good).iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["message: Invalid value: \"other\": field is immutable"]);
    }
}
