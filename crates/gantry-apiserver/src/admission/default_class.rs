//! DefaultStorageClass and DefaultIngressClass: the class of claims and of ingresses that name none.

use gantry_api::status::ApiError;
use gantry_json::{Value, json};

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;

/// Names a class for objects that name none: the one that is marked as the default, of several the youngest.
pub(super) struct DefaultClass {
    name: &'static str,
    /// What has a class: its group, its resource, the field that names the class, and the annotation that
    /// named it before there was the field.
    of: (&'static str, &'static str),
    field: &'static str,
    annotation: &'static str,
    /// The classes, and the annotations that mark one of them as the default.
    classes: (&'static str, &'static str),
    marks: &'static [&'static str],
}

/// The class of claims.
pub(super) const STORAGE: DefaultClass = DefaultClass {
    name: "DefaultStorageClass",
    of: ("", "persistentvolumeclaims"),
    field: "storageClassName",
    annotation: "volume.beta.kubernetes.io/storage-class",
    classes: ("storage.k8s.io", "storageclasses"),
    marks: &[
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ],
};

/// The class of ingresses.
pub(super) const INGRESS: DefaultClass = DefaultClass {
    name: "DefaultIngressClass",
    of: ("networking.k8s.io", "ingresses"),
    field: "ingressClassName",
    annotation: "kubernetes.io/ingress.class",
    classes: ("networking.k8s.io", "ingressclasses"),
    marks: &["ingressclass.kubernetes.io/is-default-class"],
};

impl Plugin for DefaultClass {
    fn name(&self) -> &'static str {
        self.name
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let about = (request.group, request.resource) == self.of && request.subresource.is_empty();
        if !about || request.operation != Operation::Create {
            return Ok(());
        }
        let object = &mut request.object;
        let named = object["metadata"]["annotations"].get(self.annotation).is_some();
        if named || !object["spec"][self.field].is_null() {
            return Ok(());
        }
        if let Some(class) = self.class(objects) {
            object["spec"][self.field] = json!(class);
        }
        Ok(())
    }
}

impl DefaultClass {
    fn class(&self, objects: &dyn Lookup) -> Option<String> {
        let (group, resource) = self.classes;
        let marked =
            |class: &Value| self.marks.iter().any(|mark| class["metadata"]["annotations"][*mark] == "true");
        let classes = objects.list_with(group, resource, "", "is-default-class\":\"true\"").into_iter();
        let youngest_first = |a: &Value, b: &Value| {
            let (time, name) = ("/metadata/creationTimestamp", "/metadata/name");
            text(b, time).cmp(text(a, time)).then_with(|| text(a, name).cmp(text(b, name)))
        };
        let class = classes.filter(marked).min_by(youngest_first)?;
        Some(text(&class, "/metadata/name").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    /// The class that a new `object` has in the end.
    fn class(plugin: &DefaultClass, object: Value, objects: Vec<(&'static str, Value)>) -> Value {
        let user = User::new("ada", []);
        let target = format!("{}:{}", plugin.of.0, plugin.of.1);
        let request = request(Operation::Create, &target, &user, object, None);
        admit(plugin, request, &Objects(objects)).unwrap()["spec"][plugin.field].take()
    }

    /// A class that the annotation `mark` makes the default one or not.
    fn marked(name: &str, mark: &str, value: &str, time: &str) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": time, "annotations": {mark: value}}})
    }

    #[test]
    fn a_claim_gets_the_youngest_default() {
        let (mark, beta) = (STORAGE.marks[0], STORAGE.marks[1]);
        let old = || ("storageclasses", marked("old", mark, "true", "2026-01-01T00:00:00Z"));
        let new = || ("storageclasses", marked("new", beta, "true", "2026-01-02T00:00:00Z"));
        let off = || ("storageclasses", marked("off", mark, "false", "2026-01-03T00:00:00Z"));
        let same = || ("storageclasses", marked("a-new", mark, "true", "2026-01-02T00:00:00Z"));
        let check = |claim: Value, objects: Vec<(&'static str, Value)>, expect: Value| {
            assert_eq!(class(&STORAGE, claim, objects), expect);
        };
        check(json!({"spec": {}}), vec![old(), off()], json!("old"));
        check(json!({"spec": {}}), vec![off()], Value::Null);
        check(json!({"spec": {}}), vec![old(), new(), off()], json!("new"));
        check(json!({"spec": {}}), vec![new(), same()], json!("a-new"));
        check(json!({"spec": {"storageClassName": ""}}), vec![old()], json!(""));
        let annotated = json!({"metadata": {"annotations": {STORAGE.annotation: "x"}}, "spec": {}});
        check(annotated, vec![old()], Value::Null);
    }

    #[test]
    fn an_ingress_gets_the_default() {
        let check = |ingress: Value, expect: Value| {
            let web = marked("web", INGRESS.marks[0], "true", "2026-01-01T00:00:00Z");
            assert_eq!(class(&INGRESS, ingress, vec![("ingressclasses", web)]), expect);
        };
        check(json!({"spec": {}}), json!("web"));
        check(json!({"spec": {"ingressClassName": "own"}}), json!("own"));
        check(json!({"metadata": {"annotations": {INGRESS.annotation: "x"}}, "spec": {}}), Value::Null);
    }
}
