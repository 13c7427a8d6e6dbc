//! DefaultStorageClass: the class of claims that name none.

use gantry_api::status::ApiError;
use serde_json::json;

use super::default_class::default_class;
use super::{Operation, Plugin, Request};
use crate::Lookup;

pub(super) struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !request.is("persistentvolumeclaims", "") || request.operation != Operation::Create {
            return Ok(());
        }
        let claim = &mut request.object;
        let named = claim["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some();
        if named || !claim["spec"]["storageClassName"].is_null() {
            return Ok(());
        }
        const MARKS: [&str; 2] = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(name) = default_class(objects, "storage.k8s.io", "storageclasses", &MARKS) {
            claim["spec"]["storageClassName"] = json!(name);
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
            &DefaultStorageClass,
            request(Operation::Create, "persistentvolumeclaims", &user, object, None),
            objects,
        )
        .unwrap()["spec"]
            .take()
    }

    #[test]
    fn a_claim_gets_the_youngest_default() {
        let mark = "storageclass.kubernetes.io/is-default-class";
        let beta = "storageclass.beta.kubernetes.io/is-default-class";
        let old = || ("storageclasses", class("old", mark, "true", "2026-01-01T00:00:00Z"));
        let new = || ("storageclasses", class("new", beta, "true", "2026-01-02T00:00:00Z"));
        let off = || ("storageclasses", class("off", mark, "false", "2026-01-03T00:00:00Z"));
        let same = || ("storageclasses", class("a-new", mark, "true", "2026-01-02T00:00:00Z"));
        let check = |claim: Value, objects: Vec<(&'static str, Value)>, expect: Value| {
            let spec = run(claim, &Objects(objects));
            assert_eq!(spec["storageClassName"], expect);
        };
        check(json!({"spec": {}}), vec![old(), off()], json!("old"));
        check(json!({"spec": {}}), vec![off()], Value::Null);
        check(json!({"spec": {}}), vec![old(), new(), off()], json!("new"));
        check(json!({"spec": {}}), vec![new(), same()], json!("a-new"));
        check(json!({"spec": {"storageClassName": ""}}), vec![old()], json!(""));
        let annotated = json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}}, "spec": {}});
        check(annotated, vec![old()], Value::Null);
    }
}
