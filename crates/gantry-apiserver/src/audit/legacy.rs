//! The audit log's format of old: a line of words for each event, without its objects.

use std::fmt::Write;

use gantry_api::field::quoted;
use gantry_json::Value;

/// The line of an event of which this is the JSON.
pub(super) fn line(event: &[u8]) -> Vec<u8> {
    let event = gantry_json::from_slice(event).unwrap_or_default();
    words(&event).into_bytes()
}

fn words(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let or = |value: &Value, missing: &str| match value.as_str() {
        None | Some("") => missing.to_owned(),
        Some(text) => text.to_owned(),
    };
    let user = &event["user"];
    let name = or(&user["username"], "<none>");
    let groups = if name == "<none>" { None } else { list(&user["groups"]) };
    let (other, other_groups) = match &event["impersonatedUser"] {
        Value::Null => ("<self>".to_owned(), None),
        other => (text(&other["username"]), list(&other["groups"])),
    };
    let response = event["responseStatus"]["code"].as_u64().map(|code| code.to_string());
    let time = event["requestReceivedTimestamp"].as_str().unwrap_or_default().trim_end_matches('Z');
    // Times end with their last digit that is not 0.
    let time = if time.contains('.') { time.trim_end_matches('0').trim_end_matches('.') } else { time };
    let mut line = format!("{time}Z AUDIT:");
    for (word, value) in [
        ("id", quoted(&text(&event["auditID"]))),
        ("stage", quoted(&text(&event["stage"]))),
        ("ip", quoted(&or(&event["sourceIPs"][0], "<unknown>"))),
        ("method", quoted(&text(&event["verb"]))),
        ("user", quoted(&name)),
        ("groups", quoted(groups.as_deref().unwrap_or("<none>"))),
        ("as", quoted(&other)),
        ("asgroups", quoted(other_groups.as_deref().unwrap_or("<lookup>"))),
        ("user-agent", quoted(&text(&event["userAgent"]))),
        ("namespace", quoted(&or(&event["objectRef"]["namespace"], "<none>"))),
        ("uri", quoted(&text(&event["requestURI"]))),
        ("response", quoted(response.as_deref().unwrap_or("<deferred>"))),
    ] {
        let _ = write!(line, " {word}={value}");
    }
    line
}

/// Names in quotes, with commas between them, which the line quotes once more; `None`: there is no list.
fn list(names: &Value) -> Option<String> {
    let names = names.as_array().filter(|names| !names.is_empty())?;
    let names: Vec<_> = names.iter().filter_map(Value::as_str).map(quoted).collect();
    Some(names.join(","))
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn a_line_of_words() {
        let mut event = json!({
            "auditID": "1-2", "stage": "ResponseComplete", "verb": "get", "sourceIPs": ["10.0.0.1", "10.0.0.2"],
            "user": {"username": "ann \"a\"", "groups": ["g", "h"]}, "userAgent": "kubectl/v1.35.0",
            "objectRef": {"resource": "pods", "namespace": "shop"}, "requestURI": "/api/v1/namespaces/shop/pods/p",
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2026-01-02T03:04:05.120000Z",
        });
        assert_eq!(
            words(&event),
            r#"2026-01-02T03:04:05.12Z AUDIT: id="1-2" stage="ResponseComplete" ip="10.0.0.1" method="get" user="ann \"a\"" groups="\"g\",\"h\"" as="<self>" asgroups="<lookup>" user-agent="kubectl/v1.35.0" namespace="shop" uri="/api/v1/namespaces/shop/pods/p" response="200""#
        );
        event["impersonatedUser"] = json!({"username": "bob", "groups": ["i"]});
        event["requestReceivedTimestamp"] = json!("2026-01-02T03:04:00.000000Z");
        for field in ["user", "sourceIPs", "objectRef", "responseStatus", "userAgent"] {
            event[field] = Value::Null;
        }
        assert_eq!(
            words(&event),
            r#"2026-01-02T03:04:00Z AUDIT: id="1-2" stage="ResponseComplete" ip="<unknown>" method="get" user="<none>" groups="<none>" as="bob" asgroups="\"i\"" user-agent="" namespace="<none>" uri="/api/v1/namespaces/shop/pods/p" response="<deferred>""#
        );
    }
}
