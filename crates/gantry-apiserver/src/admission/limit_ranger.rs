//! LimitRanger: what a namespace's LimitRanges give to containers that say nothing, and the bounds
//! that they set to containers, pods and claims.

use gantry_api::pod_resources::{self, ResourceList};
use gantry_api::quantity::Quantity;
use gantry_api::rules::common::list;
use gantry_api::status::ApiError;
use gantry_json::{Key, Map, Value, json};

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(super) struct LimitRanger;

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn turns(&self) -> Turns {
        Turns::both(Turns::WRITES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !concerns(request) || request.resource != "pods" {
            return Ok(());
        }
        for range in objects.list("", "limitranges", request.namespace) {
            set_defaults(&mut request.object, &range);
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !concerns(request) {
            return Ok(());
        }
        objects.list("", "limitranges", request.namespace).iter().try_for_each(|range| {
            let faults = match request.resource {
                "pods" => pod_faults(&request.object, range),
                _ => claim_faults(&request.object, range),
            };
            match faults.as_slice() {
                [] => Ok(()),
                [one] => Err(request.forbidden(one)),
                several => Err(request.forbidden(format!("[{}]", several.join(", ")))),
            }
        })
    }
}

/// Containers of a pod change only when it is resized; what is being deleted is left alone.
fn concerns(request: &Request<'_>) -> bool {
    let create = request.operation == Operation::Create;
    let update = request.operation == Operation::Update;
    let about = (request.is("pods", "") && create)
        || (request.is("pods", "resize") && update)
        || (request.is("persistentvolumeclaims", "") && (create || update));
    about && request.old.is_none_or(|old| old["metadata"]["deletionTimestamp"].is_null())
}

/// The limits of `range` for objects of a type.
fn limits<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    list(&range["spec"], "limits").iter().filter(move |limit| limit["type"] == kind)
}

/// Fills in what the containers of a pod do not say, and notes it in an annotation.
fn set_defaults(pod: &mut Value, range: &Value) {
    let mut given = [("requests", Map::new()), ("limits", Map::new())];
    for limit in limits(range, "Container") {
        for ((_, to), from) in given.iter_mut().zip(["defaultRequest", "default"]) {
            to.extend(limit[from].as_object().cloned().unwrap_or_default());
        }
    }
    let mut notes = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod["spec"].get_mut(field).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            for (kind, amounts) in &given {
                let set = fill(container, kind, amounts);
                if !set.is_empty() {
                    let kind = kind.trim_end_matches('s');
                    notes.push(format!("{} {kind} for {what} {}", set.join(", "), text(container, "/name")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod["metadata"]["annotations"][ANNOTATION] = json!(note);
    }
}

/// Adds the `amounts` that the container does not have; which these are.
fn fill(container: &mut Value, kind: &str, amounts: &Map) -> Vec<String> {
    let missing = |name: &&Key| container["resources"][kind].get(name.as_str()).is_none();
    let mut names: Vec<String> = amounts.keys().filter(missing).map(Key::to_string).collect();
    names.sort();
    for name in &names {
        container["resources"][kind][name] = amounts[name].clone();
    }
    names
}

fn pod_faults(pod: &Value, range: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut faults = Vec::new();
    for limit in list(&range["spec"], "limits") {
        match text(limit, "/type") {
            "Container" => {
                for container in list(spec, "containers").iter().chain(list(spec, "initContainers")) {
                    let resources = &container["resources"];
                    let asked = Asked {
                        kind: "Container",
                        requests: pod_resources::read(&resources["requests"]),
                        limits: pod_resources::read(&resources["limits"]),
                    };
                    asked.check(limit, &mut faults);
                }
            }
            "Pod" => {
                let asked = Asked {
                    kind: "Pod",
                    requests: pod_resources::requests(spec),
                    limits: pod_resources::limits(spec),
                };
                asked.check(limit, &mut faults);
            }
            _ => {}
        }
    }
    faults
}

/// A claim has requests only.
fn claim_faults(claim: &Value, range: &Value) -> Vec<String> {
    const KIND: &str = "PersistentVolumeClaim";
    let requests = pod_resources::read(&claim["spec"]["resources"]["requests"]);
    let asked = Asked { kind: KIND, requests, limits: ResourceList::new() };
    let mut faults = Vec::new();
    for limit in limits(range, KIND) {
        faults.extend(bounds(limit, "min").filter_map(|(name, least)| asked.below(&name, least)));
        faults.extend(bounds(limit, "max").filter_map(|(name, most)| {
            let bound = format!("maximum {name} usage per {KIND} is {most}");
            match asked.requests.get(&name) {
                None => Some(format!("{bound}.  No request is specified")),
                Some(request) if *request > most => Some(format!("{bound}, but request is {request}")),
                Some(_) => None,
            }
        }));
    }
    unique(faults)
}

fn bounds(limit: &Value, field: &str) -> impl Iterator<Item = (String, Quantity)> {
    pod_resources::read(&limit[field]).into_iter()
}

/// What a container or pod asks for.
struct Asked {
    kind: &'static str,
    requests: ResourceList,
    limits: ResourceList,
}

impl Asked {
    fn check(&self, limit: &Value, faults: &mut Vec<String>) {
        let mut all = std::mem::take(faults);
        all.extend(bounds(limit, "min").filter_map(|(name, least)| self.below(&name, least)));
        all.extend(bounds(limit, "max").filter_map(|(name, most)| self.above(&name, most)));
        let ratios = bounds(limit, "maxLimitRequestRatio");
        all.extend(ratios.filter_map(|(name, ratio)| self.too_elastic(&name, ratio)));
        *faults = unique(all);
    }

    fn below(&self, name: &str, least: Quantity) -> Option<String> {
        let bound = format!("minimum {name} usage per {} is {least}", self.kind);
        let Some(request) = self.requests.get(name) else {
            return Some(format!("{bound}.  No request is specified"));
        };
        if *request < least {
            return Some(format!("{bound}, but request is {request}"));
        }
        let limit = self.limits.get(name).filter(|limit| **limit < least)?;
        Some(format!("{bound}, but limit is {limit}"))
    }

    fn above(&self, name: &str, most: Quantity) -> Option<String> {
        let bound = format!("maximum {name} usage per {} is {most}", self.kind);
        let Some(limit) = self.limits.get(name) else {
            return Some(format!("{bound}.  No limit is specified"));
        };
        if *limit > most {
            return Some(format!("{bound}, but limit is {limit}"));
        }
        let request = self.requests.get(name).filter(|request| **request > most)?;
        Some(format!("{bound}, but request is {request}"))
    }

    /// Limits may be this many times the requests.
    fn too_elastic(&self, name: &str, most: Quantity) -> Option<String> {
        let bound = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let set = |amounts: &ResourceList| amounts.get(name).filter(|amount| !amount.is_zero()).copied();
        let Some(request) = set(&self.requests) else {
            return Some(format!("{bound}, but no request is specified or request is 0"));
        };
        let Some(limit) = set(&self.limits) else {
            return Some(format!("{bound}, but no limit is specified or limit is 0"));
        };
        let ratio = limit.as_f64() / request.as_f64();
        (ratio > most.as_f64()).then(|| format!("{bound}, but provided ratio is {ratio:.6}"))
    }
}

/// Two containers with the same fault have one message.
fn unique(faults: Vec<String>) -> Vec<String> {
    let mut seen = Vec::new();
    for fault in faults {
        if !seen.contains(&fault) {
            seen.push(fault);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    fn range(limit: Value) -> Objects {
        let range = json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"limits": [limit]}});
        Objects(vec![("limitranges", range)])
    }

    fn run(target: &str, spec: Value, limit: Value) -> Result<Value, String> {
        let user = User::new("ada", []);
        let object = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        let request = request(Operation::Create, target, &user, object, None);
        admit(&LimitRanger, request, &range(limit))
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn fills_in_what_is_not_said() {
        let limit = json!({"type": "Container", "default": {"cpu": "1", "memory": "1Gi"},
            "defaultRequest": {"cpu": "100m"}});
        let spec = json!({"initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, container(json!({"cpu": "2"}), json!({"cpu": "3", "memory": "1"}))]});
        let pod = run("pods", spec, limit).unwrap();
        let resources = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(pod["spec"]["containers"][0]["resources"], resources);
        assert_eq!(pod["spec"]["initContainers"][0]["resources"], resources);
        let kept = json!({"requests": {"cpu": "2"}, "limits": {"cpu": "3", "memory": "1"}});
        assert_eq!(pod["spec"]["containers"][1]["resources"], kept);
        assert_eq!(
            pod["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu request for container a; cpu, memory limit for container a; \
             cpu request for init container i; cpu, memory limit for init container i"
        );
    }

    #[test]
    fn bounds_of_containers_and_pods() {
        let check = |limit: Value, containers: Value, expect: Result<(), &str>| {
            let got = run("pods", json!({"containers": containers}), limit.clone()).map(drop);
            let expect = expect.map_err(|why| format!("pods \"web\" is forbidden: {why}"));
            assert_eq!(got, expect, "{limit} {containers}");
        };
        let most = |kind: &str| json!({"type": kind, "max": {"cpu": "500m"}});
        let c = |request: &str, limit: &str| container(json!({"cpu": request}), json!({"cpu": limit}));
        check(most("Container"), json!([c("1m", "500m")]), Ok(()));
        check(
            most("Container"),
            json!([c("1m", "1")]),
            Err("maximum cpu usage per Container is 500m, but limit is 1"),
        );
        check(
            most("Container"),
            json!([container(json!({}), json!({}))]),
            Err("maximum cpu usage per Container is 500m.  No limit is specified"),
        );
        check(most("Pod"), json!([c("1m", "250m"), c("1m", "250m")]), Ok(()));
        check(
            most("Pod"),
            json!([c("1m", "250m"), c("1m", "251m")]),
            Err("maximum cpu usage per Pod is 500m, but limit is 501m"),
        );
        let least = json!({"type": "Container", "min": {"cpu": "100m", "memory": "1Mi"}});
        check(
            least.clone(),
            json!([c("50m", "1"), c("50m", "1")]),
            Err("[minimum cpu usage per Container is 100m, but request is 50m, \
                 minimum memory usage per Container is 1Mi.  No request is specified]"),
        );
        let ratio = json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "2"}});
        check(ratio.clone(), json!([c("1", "2")]), Ok(()));
        check(
            ratio.clone(),
            json!([c("1", "2500m")]),
            Err("cpu max limit to request ratio per Pod is 2, but provided ratio is 2.500000"),
        );
        check(
            ratio,
            json!([container(json!({}), json!({"cpu": "1"}))]),
            Err("cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0"),
        );
    }

    #[test]
    fn bounds_of_claims() {
        let limit =
            json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
        let check = |size: &str, expect: Result<(), &str>| {
            let spec = json!({"resources": {"requests": {"storage": size}}});
            let got = run("persistentvolumeclaims", spec, limit.clone()).map(drop);
            let expect = expect.map_err(|why| format!("persistentvolumeclaims \"web\" is forbidden: {why}"));
            assert_eq!(got, expect);
        };
        check("1Gi", Ok(()));
        check("2Gi", Ok(()));
        check("1Mi", Err("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"));
        check("3Gi", Err("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"));
    }

    #[test]
    fn updates_and_what_is_being_deleted_pass() {
        let user = User::new("ada", []);
        let pod = json!({"metadata": {"namespace": "shop", "name": "web"},
            "spec": {"containers": [container(json!({}), json!({"cpu": "9"}))]}});
        let mut going = pod.clone();
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let objects = range(json!({"type": "Container", "max": {"cpu": "1"}}));
        let check = |target: &str, old: &Value, expect: bool| {
            let request = request(Operation::Update, target, &user, pod.clone(), Some(old));
            assert_eq!(admit(&LimitRanger, request, &objects).is_ok(), expect, "{target}");
        };
        check("pods", &pod, true);
        check("pods/status", &pod, true);
        check("pods/resize", &pod, false);
        check("pods/resize", &going, true);
    }
}
