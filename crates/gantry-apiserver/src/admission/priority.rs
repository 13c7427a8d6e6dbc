//! Priority: the number and the preemption policy behind a pod's priority class.

use gantry_api::rules::priority_class::is_system;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;
use crate::bootstrap;

const GROUP: &str = "scheduling.k8s.io";

pub(super) struct Priority;

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn turns(&self) -> Turns {
        Turns::both(Turns::CHANGES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !request.is("pods", "") || !request.object["spec"].is_object() {
            return Ok(());
        }
        match (request.operation, request.old) {
            (Operation::Create, _) => resolve(request, objects),
            (Operation::Update, Some(old)) => {
                for field in ["priority", "preemptionPolicy"] {
                    let before = &old["spec"][field];
                    if request.object["spec"][field].is_null() && !before.is_null() {
                        request.object["spec"][field] = before.clone();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if (request.group, request.resource) != (GROUP, "priorityclasses") {
            return Ok(());
        }
        if request.operation == Operation::Delete {
            return match is_system(request.object_name()) {
                true => Err(request.forbidden("this is a system priority class and cannot be deleted")),
                false => Ok(()),
            };
        }
        let other = default_class(objects)
            .map(|class| text(&class, "/metadata/name").to_owned())
            .filter(|name| request.operation == Operation::Create || name != request.object_name());
        match other.filter(|_| request.object["globalDefault"] == true) {
            Some(name) => Err(request.forbidden(format!(
                "PriorityClass {name} is already marked as default. Only one default can exist"
            ))),
            None => Ok(()),
        }
    }
}

/// The class of pods that name none; of several the lowest.
fn default_class(objects: &dyn Lookup) -> Option<Value> {
    // Asked for each new pod, and mostly there is none.
    let classes = objects.list_with(GROUP, "priorityclasses", "", "\"globalDefault\":true").into_iter();
    let defaults = classes.filter(|class| class["globalDefault"] == true);
    defaults.min_by_key(|class| class["value"].as_i64().unwrap_or(0))
}

fn resolve(request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
    let name = request.text("/spec/priorityClassName").to_owned();
    let class = if name.is_empty() {
        default_class(objects).unwrap_or_else(|| json!({"value": 0}))
    } else {
        // The system's own classes count before they are written as well.
        let own =
            || bootstrap::priority_classes().into_iter().find(|class| class["metadata"]["name"] == *name);
        let class = objects.get(GROUP, "priorityclasses", "", &name).or_else(own);
        class.ok_or_else(|| request.forbidden(format!("no PriorityClass with name {name} was found")))?
    };
    let value = class["value"].as_i64().unwrap_or(0);
    let policy = match text(&class, "/preemptionPolicy") {
        "" => "PreemptLowerPriority",
        policy => policy,
    };
    let suffix = "must not be provided in pod spec; priority admission controller computed";
    let asked = &request.object["spec"]["priority"];
    if asked.as_i64().is_some_and(|asked| asked != value) {
        return Err(request.forbidden(format!(
            "the integer value of priority ({asked}) {suffix} {value} from the given PriorityClass name"
        )));
    }
    let asked = request.text("/spec/preemptionPolicy");
    if !asked.is_empty() && asked != policy {
        return Err(request.forbidden(format!(
            "the string value of PreemptionPolicy ({asked}) {suffix} {policy} from the given PriorityClass name"
        )));
    }
    let class_name = text(&class, "/metadata/name").to_owned();
    let spec: &mut Value = &mut request.object["spec"];
    if !class_name.is_empty() {
        spec["priorityClassName"] = json!(class_name);
    }
    spec["priority"] = json!(value);
    spec["preemptionPolicy"] = json!(policy);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    fn run(spec: Value, objects: &Objects) -> Result<Value, String> {
        let user = User::new("ada", []);
        let pod = json!({"metadata": {"name": "a"}, "spec": spec});
        admit(&Priority, request(Operation::Create, "pods", &user, pod, None), objects)
            .map(|mut pod| pod["spec"].take())
    }

    #[test]
    fn finds_the_number() {
        let class = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
        let default = json!({"metadata": {"name": "usual"}, "value": 10, "globalDefault": true});
        let none = Objects::default();
        let some = Objects(vec![("priorityclasses", class), ("priorityclasses", default)]);
        let check = |spec: Value, objects: &Objects, expect: Result<(&str, i64, &str), &str>| {
            let got = run(spec, objects);
            let got = got.as_ref().map_err(String::as_str).map(|spec| {
                let policy = text(spec, "/preemptionPolicy");
                (text(spec, "/priorityClassName"), spec["priority"].as_i64().unwrap(), policy)
            });
            assert_eq!(got, expect);
        };
        let usual = "PreemptLowerPriority";
        check(json!({}), &none, Ok(("", 0, usual)));
        check(json!({}), &some, Ok(("usual", 10, usual)));
        check(json!({"priorityClassName": "high"}), &some, Ok(("high", 1000, "Never")));
        let critical = "system-node-critical";
        check(json!({"priorityClassName": critical}), &none, Ok((critical, 2_000_001_000, usual)));
        let missing = "pods \"a\" is forbidden: no PriorityClass with name x was found";
        check(json!({"priorityClassName": "x"}), &none, Err(missing));
        let wrong = "pods \"a\" is forbidden: the integer value of priority (7) must not be provided in pod spec; \
                     priority admission controller computed 0 from the given PriorityClass name";
        check(json!({"priority": 7}), &none, Err(wrong));
    }

    #[test]
    fn classes_of_the_system_stay_and_one_is_the_default() {
        let usual = json!({"metadata": {"name": "usual"}, "value": 10, "globalDefault": true});
        let objects = Objects(vec![("priorityclasses", usual.clone())]);
        let check = |operation, name: &str, expect: Result<(), &str>| {
            let user = User::new("ada", []);
            let class = json!({"metadata": {"name": name}, "value": 20, "globalDefault": true});
            let target = "scheduling.k8s.io:priorityclasses";
            let got = match operation {
                Operation::Delete => request(operation, target, &user, Value::Null, Some(&class)),
                _ => request(operation, target, &user, class.clone(), Some(&usual)),
            };
            let got = Priority.validate(&got, &objects).map_err(|refusal| refusal.message);
            assert_eq!(
                got,
                expect.map_err(|why| {
                    format!("priorityclasses.scheduling.k8s.io \"{name}\" is forbidden: {why}")
                })
            );
        };
        let taken = "PriorityClass usual is already marked as default. Only one default can exist";
        check(Operation::Create, "other", Err(taken));
        check(Operation::Update, "other", Err(taken));
        check(Operation::Update, "usual", Ok(()));
        check(Operation::Delete, "usual", Ok(()));
        let why = "this is a system priority class and cannot be deleted";
        check(Operation::Delete, "system-node-critical", Err(why));
    }
}
