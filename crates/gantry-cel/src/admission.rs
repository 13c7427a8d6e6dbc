//! What expressions about requests may name: match conditions of webhooks and policies, and the
//! validations of policies.

use std::sync::{Arc, LazyLock};

use crate::declared::{Declared, Field, Form, ListForm, ObjectType};
use crate::environment::Environment;
use crate::types::{Opaque, Type};

fn field(name: &str, form: Form) -> Field {
    Field { json: name.to_owned(), declared: Declared::new(form), required: false, has_default: false }
}

fn words(names: &[&str]) -> Vec<Field> {
    names.iter().map(|name| field(name, Form::String)).collect()
}

fn object(name: &str, fields: Vec<Field>) -> Form {
    Form::Object(Arc::new(ObjectType::plain(name, fields)))
}

fn list(item: Form) -> Form {
    Form::List(Box::new(Declared::new(item)), ListForm::Atomic)
}

fn map(value: Form) -> Form {
    Form::Map(Box::new(Declared::new(value)))
}

/// The schema of `request`: the attributes of a request as an AdmissionReview has them, but for the
/// objects.
pub fn request() -> &'static Arc<Declared> {
    static REQUEST: LazyLock<Arc<Declared>> = LazyLock::new(|| {
        let kind = || object("kubernetes.GroupVersionKind", words(&["group", "version", "kind"]));
        let resource = || object("kubernetes.GroupVersionResource", words(&["group", "version", "resource"]));
        let mut user = words(&["username", "uid"]);
        user.push(field("groups", list(Form::String)));
        user.push(field("extra", map(list(Form::String))));
        let mut fields = words(&["subResource", "requestSubResource", "name", "namespace", "operation"]);
        fields.extend([
            field("kind", kind()),
            field("requestKind", kind()),
            field("resource", resource()),
            field("requestResource", resource()),
            field("userInfo", object("kubernetes.UserInfo", user)),
            field("dryRun", Form::Bool),
            field("options", Form::Dyn),
        ]);
        Arc::new(Declared::new(object("kubernetes.AdmissionRequest", fields)))
    });
    &REQUEST
}

/// The schema of `namespaceObject`: the namespace of the object, but for what names who wrote it.
pub fn namespace() -> &'static Arc<Declared> {
    static NAMESPACE: LazyLock<Arc<Declared>> = LazyLock::new(|| {
        let mut metadata = words(&["name", "generateName", "namespace", "uid", "resourceVersion"]);
        metadata.extend([
            field("labels", map(Form::String)),
            field("annotations", map(Form::String)),
            field("creationTimestamp", Form::Timestamp),
            field("deletionTimestamp", Form::Timestamp),
            field("deletionGracePeriodSeconds", Form::Int),
            field("generation", Form::Int),
            field("finalizers", list(Form::String)),
        ]);
        let spec = object("kubernetes.NamespaceSpec", vec![field("finalizers", list(Form::String))]);
        let mut condition = words(&["type", "status", "reason", "message"]);
        condition.push(field("lastTransitionTime", Form::Timestamp));
        let mut status = words(&["phase"]);
        status.push(field("conditions", list(object("kubernetes.NamespaceCondition", condition))));
        let status = object("kubernetes.NamespaceStatus", status);
        let fields = vec![
            field("metadata", object("kubernetes.NamespaceMetadata", metadata)),
            field("spec", spec),
            field("status", status),
        ];
        Arc::new(Declared::new(object("kubernetes.Namespace", fields)))
    });
    &NAMESPACE
}

/// What expressions about requests may name: `object`, `oldObject`, `request`, `namespaceObject`,
/// where there are any `params`, and where it is allowed `authorizer`.
pub fn environment(params: bool, authorizer: bool) -> Environment {
    let mut environment = Environment::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with_declared("request", Arc::clone(request()))
        .with_declared("namespaceObject", Arc::clone(namespace()));
    if params {
        environment = environment.with("params", Type::Dyn);
    }
    if authorizer {
        environment = environment
            .with("authorizer", Type::Opaque(Opaque::Authorizer))
            .with("authorizer.requestResource", Type::Opaque(Opaque::ResourceCheck));
    }
    environment
}
