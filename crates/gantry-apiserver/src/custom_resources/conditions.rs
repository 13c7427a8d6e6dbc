//! The conditions of a CustomResourceDefinition and the names that it has, as a function of the
//! definition and of the names that others in its group have.

use std::collections::HashSet;

use gantry_json::{Value, json};

use gantry_api::custom_kind::definition;

pub(super) const APPROVAL: &str = "api-approved.kubernetes.io";
const PROPOSAL: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// Names that definitions of one group have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

impl Taken {
    /// Those that `definitions` have been given.
    pub fn by<'a>(definitions: impl Iterator<Item = &'a Value>) -> Self {
        let mut taken = Self::default();
        for names in definitions.map(|definition| &definition["status"]["acceptedNames"]) {
            let text = |field: &str| names[field].as_str().map(str::to_owned);
            let short = names["shortNames"].as_array().into_iter().flatten();
            taken.resources.extend(text("plural").into_iter().chain(text("singular")));
            taken.resources.extend(short.filter_map(Value::as_str).map(str::to_owned));
            taken.kinds.extend(text("kind").into_iter().chain(text("listKind")));
        }
        taken
    }
}

/// A definition's condition as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn condition(
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: impl Into<String>,
) -> Condition {
    Condition { kind, status, reason, message: message.into() }
}

impl Condition {
    /// How the removal of a definition's objects stands.
    pub fn terminating(status: &'static str, reason: &'static str, message: &str) -> Self {
        condition("Terminating", status, reason, message)
    }

    /// Writes the condition into a definition's status; the time changes with the status alone.
    pub fn set(&self, definition: &mut Value, now: &str) {
        let conditions = &mut definition["status"]["conditions"];
        if !conditions.is_array() {
            *conditions = json!([]);
        }
        let Some(conditions) = conditions.as_array_mut() else { return };
        let at = conditions.iter().position(|each| each["type"] == self.kind);
        let since = at.map(|at| &conditions[at]).filter(|each| each["status"] == self.status);
        let since = since.and_then(|each| each["lastTransitionTime"].as_str()).unwrap_or(now).to_owned();
        let written = json!({
            "type": self.kind, "status": self.status, "lastTransitionTime": since, "reason": self.reason,
            "message": self.message,
        });
        match at {
            Some(at) => conditions[at] = written,
            None => conditions.push(written),
        }
    }
}

/// The accepted names, whether all were accepted, and what is in the way.
fn names(definition: &Value, taken: &Taken) -> (Value, Condition) {
    let (asked, had) = (&definition["spec"]["names"], &definition["status"]["acceptedNames"]);
    let mut given = if had.is_object() { had.clone() } else { json!({}) };
    let mut fault = None;
    let free = |asked: &Value, had: &Value, taken: &HashSet<String>| match asked.as_str() {
        Some(name) if asked != had && taken.contains(name) => Err(format!("{name:?} is already in use")),
        _ => Ok(()),
    };
    let copy = |field: &str, given: &mut Value| match asked.get(field) {
        Some(value) => given[field] = value.clone(),
        None => drop(given.as_object_mut().map(|given| given.remove(field))),
    };
    for (field, reason, taken) in [
        ("plural", "PluralConflict", &taken.resources),
        ("singular", "SingularConflict", &taken.resources),
        ("shortNames", "ShortNamesConflict", &taken.resources),
        ("kind", "KindConflict", &taken.kinds),
        ("listKind", "ListKindConflict", &taken.kinds),
    ] {
        let checked = match field {
            "shortNames" => {
                let list = |names: &Value| names.as_array().cloned().unwrap_or_default();
                let own = list(&had[field]);
                let wanted = list(&asked[field]);
                let new = wanted.iter().filter(|name| !own.contains(name));
                let faults: Vec<String> =
                    new.filter_map(|name| free(name, &Value::Null, taken).err()).collect();
                match faults.as_slice() {
                    [] => Ok(()),
                    [one] => Err(one.clone()),
                    several => Err(format!("[{}]", several.join(", "))),
                }
            }
            _ => free(&asked[field], &had[field], taken),
        };
        match checked {
            Ok(()) => copy(field, &mut given),
            Err(message) => fault = Some(condition("NamesAccepted", "False", reason, message)),
        }
    }
    copy("categories", &mut given);
    let fine = || condition("NamesAccepted", "True", "NoConflicts", "no conflicts found");
    (given, fault.unwrap_or_else(fine))
}

/// Whether the group is the community's own, so that kinds in it need approval.
fn is_protected(group: &str) -> bool {
    let below = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    below("k8s.io") || below("kubernetes.io")
}

/// Whether the definition has what its group demands; `None` where that is nothing.
fn approval(definition: &Value) -> Option<Condition> {
    if !is_protected(definition["spec"]["group"].as_str().unwrap_or_default()) {
        return None;
    }
    let kind = "KubernetesAPIApprovalPolicyConformant";
    let given = definition["metadata"]["annotations"][APPROVAL].as_str().unwrap_or_default();
    let is_url = given.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some());
    Some(if given.is_empty() {
        let words = format!("protected groups must have approval annotation {APPROVAL:?}, see {PROPOSAL}");
        condition(kind, "False", "MissingAnnotation", words)
    } else if given.starts_with("unapproved") {
        condition(kind, "False", "UnapprovedAnnotation", format!("not approved: {given:?}"))
    } else if is_url {
        condition(kind, "True", "ApprovedAnnotation", format!("approved in {given}"))
    } else {
        let words = format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason \
             starting with \"unapproved\", see {PROPOSAL}"
        );
        condition(kind, "False", "InvalidAnnotation", words)
    })
}

/// The definition with the names and conditions that it has beside `taken`, which are others'.
pub(super) fn settle(definition: &Value, taken: &Taken, now: &str) -> Value {
    let mut settled = definition.clone();
    if !settled["status"].is_object() {
        settled["status"] = json!({});
    }
    let (given, accepted) = names(definition, taken);
    settled["status"]["acceptedNames"] = given;
    accepted.set(&mut settled, now);
    let established = definition::has(definition, "Established");
    if !established {
        let words = "the initial names have been accepted";
        let condition = match accepted.status {
            "True" => condition("Established", "True", "InitialNamesAccepted", words),
            _ => condition("Established", "False", "NotAccepted", "not all names are accepted"),
        };
        condition.set(&mut settled, now);
    }
    if let Some(approval) = approval(definition) {
        approval.set(&mut settled, now);
    }
    const NON_STRUCTURAL: &str = "NonStructuralSchema";
    if definition["spec"]["preserveUnknownFields"] == true {
        let words = "spec.preserveUnknownFields: Invalid value: true: must be false";
        condition(NON_STRUCTURAL, "True", "Violations", words).set(&mut settled, now);
    } else if let Some(conditions) = settled["status"]["conditions"].as_array_mut() {
        conditions.retain(|each| each["type"] != NON_STRUCTURAL);
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(names: Value) -> Value {
        json!({"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "names": names}})
    }

    fn words(definition: &Value) -> Vec<String> {
        let conditions = definition["status"]["conditions"].as_array().expect("conditions");
        let text = |each: &Value, field: &str| each[field].as_str().unwrap_or_default().to_owned();
        let each = conditions
            .iter()
            .map(|each| ["type", "status", "reason", "message"].map(|field| text(each, field)).join(" "));
        each.collect()
    }

    #[test]
    fn free_names_are_accepted_and_the_kind_established() {
        let asked = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList",
            "shortNames": ["th"], "categories": ["all"]});
        let settled = settle(&definition(asked.clone()), &Taken::default(), "now");
        assert_eq!(settled["status"]["acceptedNames"], asked);
        assert_eq!(
            words(&settled),
            [
                "NamesAccepted True NoConflicts no conflicts found",
                "Established True InitialNamesAccepted the initial names have been accepted"
            ]
        );
        assert_eq!(settle(&settled, &Taken::default(), "later"), settled);
    }

    #[test]
    fn names_that_others_have_are_refused_and_the_others_given() {
        let other = json!({"status": {"acceptedNames": {"plural": "others", "singular": "other",
            "shortNames": ["o", "p"], "kind": "Other", "listKind": "OtherList"}}});
        let taken = Taken::by(std::iter::once(&other));
        let check = |names: Value, expect: &str| {
            let settled = settle(&definition(names), &taken, "now");
            let all = words(&settled);
            assert_eq!(all, [expect, "Established False NotAccepted not all names are accepted"]);
            settled["status"]["acceptedNames"].clone()
        };
        let given = check(
            json!({"plural": "things", "kind": "Thing", "listKind": "OtherList"}),
            "NamesAccepted False ListKindConflict \"OtherList\" is already in use",
        );
        assert_eq!(given, json!({"plural": "things", "kind": "Thing"}));
        check(
            json!({"plural": "things", "shortNames": ["o", "x", "p"], "kind": "Thing"}),
            "NamesAccepted False ShortNamesConflict [\"o\" is already in use, \"p\" is already in use]",
        );
        check(
            json!({"plural": "others", "kind": "Other"}),
            "NamesAccepted False KindConflict \"Other\" is already in use",
        );
    }

    #[test]
    fn the_communitys_groups_need_approval() {
        let check = |annotation: Value, expect: &str| {
            let mut definition = definition(json!({"plural": "things", "kind": "Thing"}));
            definition["spec"]["group"] = "x.k8s.io".into();
            definition["metadata"]["annotations"] = json!({APPROVAL: annotation});
            let settled = settle(&definition, &Taken::default(), "now");
            assert!(words(&settled)[2].starts_with(expect), "{:?}", words(&settled));
        };
        const TYPE: &str = "KubernetesAPIApprovalPolicyConformant";
        check(
            json!("unapproved, trial"),
            &format!("{TYPE} False UnapprovedAnnotation not approved: \"unapproved, trial\""),
        );
        check(json!("https://a.b/c"), &format!("{TYPE} True ApprovedAnnotation approved in https://a.b/c"));
        check(Value::Null, &format!("{TYPE} False MissingAnnotation protected groups"));
        check(json!("yes"), &format!("{TYPE} False InvalidAnnotation protected groups"));
    }
}
