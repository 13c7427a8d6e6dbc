//! DefaultIngressClass: the class of ingresses that name none.

use gantry_api::status::ApiError;
use serde_json::json;

use super::default_class::default_class;
use super::{Operation, Plugin, Request};
use crate::Lookup;

pub(super) struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        const GROUP: &str = "networking.k8s.io";
        let about = (request.group, request.resource, request.subresource) == (GROUP, "ingresses", "");
        if !about || request.operation != Operation::Create {
            return Ok(());
        }
        let ingress = &mut request.object;
        let named = ingress["metadata"]["annotations"].get("kubernetes.io/ingress.class").is_some();
        if named || !ingress["spec"]["ingressClassName"].is_null() {
            return Ok(());
        }
        const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
        if let Some(name) = default_class(objects, GROUP, "ingressclasses", &[MARK]) {
            ingress["spec"]["ingressClassName"] = json!(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::default_class::class;
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    fn run(object: Value, objects: &Objects) -> Value {
        let user = User::new("ada", []);
        admit(
            &DefaultIngressClass,
            request(Operation::Create, "networking.k8s.io:ingresses", &user, object, None),
            objects,
        )
        .unwrap()["spec"]
            .take()
    }

    #[test]
    fn an_ingress_gets_the_default() {
        let mark = "ingressclass.kubernetes.io/is-default-class";
        let objects = Objects(vec![("ingressclasses", class("web", mark, "true", "2026-01-01T00:00:00Z"))]);
        let check = |ingress: Value, expect: Value| {
            assert_eq!(run(ingress, &objects)["ingressClassName"], expect);
        };
        check(json!({"spec": {}}), json!("web"));
        check(json!({"spec": {"ingressClassName": "own"}}), json!("own"));
        check(
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {}}),
            Value::Null,
        );
    }
}
