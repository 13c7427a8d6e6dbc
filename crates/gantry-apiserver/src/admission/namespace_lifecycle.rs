//! NamespaceLifecycle: nothing is made in a namespace that is not there or is going away, and the
//! namespaces that the cluster needs stay.

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;
use gantry_api::status::ApiError;
use gantry_json::json;

/// Namespaces that nobody deletes.
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CHANGES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if request.is("namespaces", "") && request.operation == Operation::Delete {
            return match IMMORTAL.contains(&request.name) {
                true => Err(request.forbidden("this namespace may not be deleted")),
                false => Ok(()),
            };
        }
        let review = request.group == "authorization.k8s.io";
        let own = request.is_about_namespaces();
        let makes = matches!(request.operation, Operation::Create | Operation::Update);
        if request.namespace.is_empty() || own || review || !makes {
            return Ok(());
        }
        let name = request.namespace;
        if !objects.has("", "namespaces", "", name) {
            return Err(ApiError::not_found("", "namespaces", name));
        }
        // A namespace goes by its deletion only.
        let leaving = objects.get_with("", "namespaces", "", name, "\"deletionTimestamp\":");
        let Some(namespace) = leaving else { return Ok(()) };
        let leaving = !namespace["metadata"]["deletionTimestamp"].is_null();
        if request.operation == Operation::Create
            && (leaving || namespace["status"]["phase"] == "Terminating")
        {
            let why =
                format!("unable to create new content in namespace {name} because it is being terminated");
            let detail = format!("namespace {name} is being terminated");
            let cause =
                json!({"reason": "NamespaceTerminating", "message": detail, "field": "metadata.namespace"});
            return Err(request.forbidden(why).with_causes(vec![cause]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::Value;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn nothing_new_where_nothing_stays() {
        let going = json!({"metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let objects =
            Objects(vec![("namespaces", json!({"metadata": {"name": "here"}})), ("namespaces", going)]);
        let user = User::new("ada", []);
        let check = |operation, target: &str, namespace: &str, expect: Result<(), &str>| {
            let object = json!({"metadata": {"namespace": namespace, "name": "a"}});
            let request = request(operation, target, &user, object, None);
            let got = admit(&NamespaceLifecycle, request, &objects).map(drop);
            assert_eq!(got, expect.map_err(str::to_owned));
        };
        let ended = "pods \"a\" is forbidden: unable to create new content in namespace going \
                     because it is being terminated";
        check(Operation::Create, "pods", "here", Ok(()));
        check(Operation::Create, "pods", "gone", Err("namespaces \"gone\" not found"));
        check(Operation::Create, "pods", "going", Err(ended));
        check(Operation::Update, "pods", "going", Ok(()));
        check(Operation::Delete, "pods", "gone", Ok(()));
        check(Operation::Create, "nodes", "", Ok(()));
        check(Operation::Create, "authorization.k8s.io:localsubjectaccessreviews", "gone", Ok(()));
    }

    #[test]
    fn some_namespaces_stay() {
        let user = User::new("ada", []);
        let check = |name: &str, expect: bool| {
            let old = json!({"metadata": {"name": name}});
            let request = request(Operation::Delete, "namespaces", &user, Value::Null, Some(&old));
            assert_eq!(admit(&NamespaceLifecycle, request, &Objects::default()).is_ok(), expect, "{name}");
        };
        check("default", false);
        check("kube-system", false);
        check("kube-public", false);
        check("shop", true);
    }
}
