//! The older text format, for who does not ask for OpenMetrics: counters are declared under the name
//! that their samples have.

/// OpenMetrics text as plain Prometheus text.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 256);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# EOF") || line.starts_with("# UNIT") {
            continue;
        }
        // HELP comes right before TYPE.
        let declared = if line.starts_with("# HELP ") { lines.peek().copied() } else { Some(line) };
        let renamed = declared
            .and_then(|line| line.strip_prefix("# TYPE "))
            .and_then(|declared| declared.split_once(' '))
            .and_then(|(name, kind)| Some((name, suffix(kind)?)));
        match renamed {
            Some((name, (suffix, kind))) if line.starts_with("# TYPE ") => {
                out.push_str(&format!("# TYPE {name}{suffix} {kind}"));
            }
            Some((name, (suffix, _))) => {
                let words = line.strip_prefix("# HELP ").and_then(|rest| rest.strip_prefix(name));
                out.push_str(&format!("# HELP {name}{suffix}{}", words.unwrap_or_default()));
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// What the samples of a kind of metric have at the end of their name, and what the kind is called.
fn suffix(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "counter" => Some(("_total", "counter")),
        "info" => Some(("_info", "gauge")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_their_samples_name() {
        let text = "# HELP a Some.\n# TYPE a counter\na_total{x=\"1\"} 2\n# HELP b Other.\n# TYPE b gauge\nb 1\n# EOF\n";
        let expected = "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"1\"} 2\n# HELP b Other.\n# TYPE b gauge\nb 1\n";
        assert_eq!(plain(text), expected);
    }
}
