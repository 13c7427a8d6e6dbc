//! StorageObjectInUseProtection: claims, volumes and attribute classes stay until nobody uses them. The
//! protection controllers take the finalizers away again.

use gantry_api::status::ApiError;
use gantry_json::json;

use super::{Operation, Plugin, Request, Turns};
use crate::Lookup;

pub(super) struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    fn mutate(&self, request: &mut Request<'_>, _: &dyn Lookup) -> Result<(), ApiError> {
        if request.operation != Operation::Create || !request.subresource.is_empty() {
            return Ok(());
        }
        let finalizer = match (request.group, request.resource) {
            ("", "persistentvolumes") => "kubernetes.io/pv-protection",
            ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
            ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
            _ => return Ok(()),
        };
        let finalizers = &mut request.object["metadata"]["finalizers"];
        match finalizers.as_array_mut() {
            Some(list) if list.iter().any(|each| each == finalizer) => {}
            Some(list) => list.push(json!(finalizer)),
            None => *finalizers = json!([finalizer]),
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
    fn adds_its_finalizer_once() {
        let check = |target: &str, finalizers: Value, expect: Value| {
            let user = User::new("ada", []);
            let object = json!({"metadata": {"name": "a", "finalizers": finalizers}});
            let request = request(Operation::Create, target, &user, object, None);
            let got = admit(&StorageObjectInUseProtection, request, &Objects::default()).unwrap();
            assert_eq!(got["metadata"]["finalizers"], expect);
        };
        check("persistentvolumes", Value::Null, json!(["kubernetes.io/pv-protection"]));
        check("persistentvolumeclaims", json!(["x"]), json!(["x", "kubernetes.io/pvc-protection"]));
        let own = json!(["kubernetes.io/pvc-protection"]);
        check("persistentvolumeclaims", own.clone(), own);
        let class = "storage.k8s.io:volumeattributesclasses";
        check(class, Value::Null, json!(["kubernetes.io/vac-protection"]));
        check("configmaps", Value::Null, Value::Null);
    }
}
