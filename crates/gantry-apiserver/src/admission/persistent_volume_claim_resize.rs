//! PersistentVolumeClaimResize: a claim grows only where its storage class says that volumes can.

use gantry_api::quantity::Quantity;
use gantry_api::status::ApiError;
use gantry_json::Value;

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;

const UNBOUND: &str = "Only bound persistent volume claims can be expanded";
const FIXED: &str = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                     must support resize";

pub(super) struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn turns(&self) -> Turns {
        Turns::validating(Turns::UPDATES)
    }

    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let Some(old) = request.old else { return Ok(()) };
        let update = request.operation == Operation::Update;
        if !update || !request.is("persistentvolumeclaims", "") || size(&request.object) <= size(old) {
            return Ok(());
        }
        if text(old, "/status/phase") != "Bound" {
            return Err(request.forbidden(UNBOUND));
        }
        let name = class(&request.object);
        let known = !name.is_empty() && name == class(old);
        let found = known.then(|| objects.get("storage.k8s.io", "storageclasses", "", name)).flatten();
        match found.is_some_and(|class| class["allowVolumeExpansion"] == true) {
            true => Ok(()),
            false => Err(request.forbidden(FIXED)),
        }
    }
}

fn size(claim: &Value) -> Quantity {
    text(claim, "/spec/resources/requests/storage").parse().unwrap_or_default()
}

/// The claim's class, by the annotation that was before the field.
fn class(claim: &Value) -> &str {
    match claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"]
        .as_str()
        .unwrap_or_default()
    {
        "" => text(claim, "/spec/storageClassName"),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    #[test]
    fn grows_where_the_class_lets_it() {
        let grows = json!({"metadata": {"name": "grows"}, "allowVolumeExpansion": true});
        let fixed = json!({"metadata": {"name": "fixed"}});
        let objects = Objects(vec![("storageclasses", grows), ("storageclasses", fixed)]);
        let check = |class: &str, phase: &str, size: &str, expect: Result<(), &str>| {
            let claim = |size: &str| {
                json!({"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": phase},
                    "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
            };
            let (user, old) = (User::new("ada", []), claim("1Gi"));
            let request =
                request(Operation::Update, "persistentvolumeclaims", &user, claim(size), Some(&old));
            let got = admit(&PersistentVolumeClaimResize, request, &objects).map(drop);
            let expect = expect.map_err(|why| format!("persistentvolumeclaims \"a\" is forbidden: {why}"));
            assert_eq!(got, expect, "{class} {phase} {size}");
        };
        check("grows", "Bound", "2Gi", Ok(()));
        check("grows", "Pending", "2Gi", Err(UNBOUND));
        check("grows", "Pending", "1Gi", Ok(()));
        check("fixed", "Bound", "1Mi", Ok(()));
        check("fixed", "Bound", "2Gi", Err(FIXED));
        check("gone", "Bound", "2Gi", Err(FIXED));
        check("", "Bound", "2Gi", Err(FIXED));
    }
}
