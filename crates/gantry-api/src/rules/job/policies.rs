//! What a job makes of its pods' ends: policies of failure, success and replacement.

use gantry_json::Value;

use crate::field::{FieldError, Path};
use crate::rules::common::{domain_path, list, not_negative, one_of, qualified_name, text};

/// The most indexes that may fail.
const MOST_FAILED: i64 = 100_000;
/// The number of completions above which indexes that fail are bound more closely.
const MANY: i64 = 100_000;
/// The most indexes that may fail, and pods at a time, of so many.
const MOST_OF_MANY: i64 = 10_000;
/// The most rules of a policy, and conditions of a rule.
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;

/// Checks how many indexes of an indexed job may fail.
pub(super) fn failed_indexes(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let number = |key: &str| spec[key].as_i64();
    let (at, failed) = (path.child("maxFailedIndexes"), number("maxFailedIndexes"));
    let mut refuse = |key: &str, value: i64, words: String| {
        errors.push(FieldError::invalid(&path.child(key), value, words));
    };
    if let Some(failed) = failed {
        if number("completions").is_some_and(|completions| failed > completions) {
            refuse("maxFailedIndexes", failed, "must be less than or equal to completions".to_owned());
        }
        if failed > MOST_FAILED {
            refuse("maxFailedIndexes", failed, format!("must be less than or equal to {MOST_FAILED}"));
        }
    }
    if number("completions").is_none_or(|completions| completions <= MANY)
        || spec["backoffLimitPerIndex"].is_null()
    {
        return;
    }
    for key in ["parallelism", "maxFailedIndexes"] {
        if let Some(value) = number(key).filter(|value| *value > MOST_OF_MANY) {
            let words = format!(
                "must be less than or equal to {MOST_OF_MANY} when completions are above {MANY} and used with backoff limit per index"
            );
            refuse(key, value, words);
        }
    }
    if failed.is_none() {
        let words = format!("must be specified when completions is above {MANY}");
        errors.push(FieldError::required(&at, words));
    }
}

/// Checks the policy of failure.
pub(super) fn failure(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if !spec["podFailurePolicy"].is_object() {
        return;
    }
    let restarts = text(&spec["template"]["spec"], "restartPolicy");
    if restarts != "Never" {
        errors.push(FieldError::invalid(
            &path.child("template").child("spec").child("restartPolicy"),
            restarts,
            "only \"Never\" is supported when podFailurePolicy is specified",
        ));
    }
    let rules = list(&spec["podFailurePolicy"], "rules");
    let path = path.child("podFailurePolicy").child("rules");
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MOST_RULES));
    }
    for (at, rule) in rules.iter().enumerate() {
        failure_rule(&path.index(at), rule, spec, errors);
    }
}

fn failure_rule(path: &Path, rule: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let at = path.child("action");
    match text(rule, "action") {
        "" => errors.push(FieldError::required(
            &at,
            "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
        )),
        "FailIndex" if spec["backoffLimitPerIndex"].is_null() => {
            errors.push(FieldError::invalid(&at, "FailIndex", "requires the backoffLimitPerIndex to be set"))
        }
        action => one_of(&at, action, &["Count", "FailIndex", "FailJob", "Ignore"], errors),
    }
    let conditions = list(rule, "onPodConditions");
    match (rule["onExitCodes"].is_object(), !conditions.is_empty()) {
        (true, true) => errors.push(FieldError::invalid(
            path,
            rule.clone(),
            "specifying both OnExitCodes and OnPodConditions is not supported",
        )),
        (false, false) => errors.push(FieldError::invalid(
            path,
            rule.clone(),
            "specifying one of OnExitCodes and OnPodConditions is required",
        )),
        _ => {}
    }
    if rule["onExitCodes"].is_object() {
        exit_codes(&path.child("onExitCodes"), &rule["onExitCodes"], spec, errors);
    }
    let path = path.child("onPodConditions");
    if conditions.len() > MOST_RULES {
        errors.push(FieldError::too_many(&path, conditions.len(), MOST_RULES));
    }
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at);
        qualified_name(&path.child("type"), text(condition, "type"), errors);
        one_of(&path.child("status"), text(condition, "status"), &["False", "True", "Unknown"], errors);
    }
}

fn exit_codes(path: &Path, codes: &Value, spec: &Value, errors: &mut Vec<FieldError>) {
    let operator = text(codes, "operator");
    match operator {
        "" => errors.push(FieldError::required(&path.child("operator"), "valid values: [\"In\" \"NotIn\"]")),
        operator => one_of(&path.child("operator"), operator, &["In", "NotIn"], errors),
    }
    let name = text(codes, "containerName");
    if !name.is_empty() {
        let pod = &spec["template"]["spec"];
        let mut all = list(pod, "containers").iter().chain(list(pod, "initContainers"));
        if !all.any(|each| each["name"] == name) {
            errors.push(FieldError::invalid(
                &path.child("containerName"),
                name,
                "must be one of the container or initContainer names in the pod template",
            ));
        }
    }
    let at = path.child("values");
    let values: Vec<i64> = list(codes, "values").iter().filter_map(Value::as_i64).collect();
    match values.len() {
        0 => errors.push(FieldError::invalid(&at, codes["values"].clone(), "at least one value is required")),
        count if count > MOST_CODES => errors.push(FieldError::too_many(&at, count, MOST_CODES)),
        _ => {}
    }
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            errors.push(FieldError::duplicate(&at.index(index), *value));
        }
        if *value == 0 && operator == "In" {
            errors.push(FieldError::invalid(&at.index(index), 0, "must not be 0 for the In operator"));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(&at, codes["values"].clone(), "must be ordered"));
    }
}

/// Checks the policy of success.
pub(super) fn success(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let policy = &spec["successPolicy"];
    if !policy.is_object() {
        return;
    }
    let path = path.child("successPolicy");
    if spec["completionMode"] != "Indexed" {
        errors.push(FieldError::invalid(&path, policy.clone(), "requires indexed completion mode"));
        return;
    }
    let rules = list(policy, "rules");
    let at = path.child("rules");
    match rules.len() {
        0 => errors.push(FieldError::required(
            &at,
            "at least one rules must be specified when the successPolicy is specified",
        )),
        count if count > MOST_RULES => errors.push(FieldError::too_many(&at, count, MOST_RULES)),
        _ => {}
    }
    let completions = spec["completions"].as_i64().unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        let path = at.index(index);
        if rule["succeededCount"].is_null() && rule["succeededIndexes"].is_null() {
            let words = "at least one of succeededCount or succeededIndexes must be specified";
            errors.push(FieldError::required(&path, words));
        }
        let count = &rule["succeededCount"];
        not_negative(&path.child("succeededCount"), count, errors);
        if count.as_i64().is_some_and(|count| count > completions) {
            let words =
                format!("must be less than or equal to {completions} (the number of specified completions)");
            errors.push(FieldError::invalid(&path.child("succeededCount"), count.clone(), words));
        }
        let indexes = text(rule, "succeededIndexes");
        if let Err(words) = indexes_are_fine(indexes, completions) {
            let words = format!("error parsing succeededIndexes: {words}");
            errors.push(FieldError::invalid(&path.child("succeededIndexes"), indexes, words));
        }
    }
}

/// Reads numbers and ranges such as `1,3-5`, in order and below `completions`.
fn indexes_are_fine(text: &str, completions: i64) -> Result<(), String> {
    let mut next = 0;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| -> Result<i64, String> {
            let words = format!("cannot convert string to integer for index: {text:?}");
            let number = text.parse().map_err(|_| words)?;
            if number >= completions {
                return Err(format!("too large index: {text:?}"));
            }
            Ok(number)
        };
        let (first, last) = (number(first)?, number(last)?);
        if first < next {
            return Err(format!("non-increasing order, previous: {}, current: {first}", next - 1));
        }
        if last < first {
            return Err(format!("non-increasing order, previous: {first}, current: {last}"));
        }
        next = last + 1;
    }
    Ok(())
}

/// Checks when a pod is replaced.
pub(super) fn replacement(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let Some(policy) = spec["podReplacementPolicy"].as_str() else { return };
    let known: &[&str] = match spec["podFailurePolicy"].is_object() {
        true => &["Failed"],
        false => &["Failed", "TerminatingOrFailed"],
    };
    one_of(&path.child("podReplacementPolicy"), policy, known, errors);
}

/// Checks the name of another controller: a domain and a path.
pub(super) fn managed_by(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    domain_path(path, name, errors);
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
}
