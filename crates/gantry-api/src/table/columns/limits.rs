//! The columns of limits and of what the server reports about its parts.

use gantry_json::{Value, json};

use super::super::about::words;
use super::{AGE, Column, NAME, column, list, text};

/// What is used of each limit; of limits on limits where `limits`, else of the others.
fn used(quota: &Value, limits: bool) -> Value {
    let hard = quota["status"]["hard"].as_object().into_iter().flatten();
    let shown = hard.filter(|(name, _)| name.starts_with("limits.") == limits).map(|(name, hard)| {
        let used = quota["status"]["used"][name].as_str().unwrap_or("0");
        format!("{name}: {used}/{}", hard.as_str().unwrap_or_default())
    });
    json!(shown.collect::<Vec<_>>().join(", "))
}

pub(super) const RESOURCE_QUOTA: &[Column] = &[
    NAME,
    column(
        "Request",
        "string",
        0,
        words("What is used of what may be requested, and of everything that is counted."),
        |object, _| used(object, false),
    ),
    column("Limit", "string", 0, words("What is used of the limits on limits."), |object, _| {
        used(object, true)
    }),
    AGE,
];

fn healthy(object: &Value) -> Option<&Value> {
    list(&object["conditions"]).find(|each| each["type"] == "Healthy")
}

pub(super) const COMPONENT_STATUS: &[Column] = &[
    NAME,
    column("Status", "string", 0, words("Whether the component is healthy."), |object, _| {
        json!(match healthy(object).and_then(|each| each["status"].as_str()) {
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
            None => "Unknown",
        })
    }),
    column("Message", "string", 0, words("What the component says of itself."), |object, _| {
        healthy(object).map_or(json!(""), |each| text(&each["message"], ""))
    }),
    column("Error", "string", 0, words("What is wrong with the component."), |object, _| {
        healthy(object).map_or(json!(""), |each| text(&each["error"], ""))
    }),
];
