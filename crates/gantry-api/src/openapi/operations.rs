//! What can be done with the kinds: every path, its operations and their names, in the words that
//! generated clients are made of.

mod parameters;

pub(super) use parameters::Parameter;

use crate::custom::publish;
use crate::registry::{Kind, Name, Registry, Subresource};
use crate::schema::Schemas;

/// A group, a version and a kind.
pub(super) type Gvk = [Name; 3];

/// Requests that answer with one document.
const PLAIN: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
/// Requests that answer with a list, or with a watch's events.
const LISTED: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
const LOG: &[&str] =
    &["text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const ANY: &[&str] = &["*/*"];
const JSON: &[&str] = &["application/json"];
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// What tells how to verify the tokens of service accounts: path, operation, tag, meaning, media type.
const KEYS: [(&str, &str, &str, &str, &[&str]); 2] = [
    (
        "/.well-known/openid-configuration",
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        "get what OpenID clients need to know of the issuer of service accounts' tokens",
        JSON,
    ),
    (
        "/openid/v1/jwks",
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        "get the public keys that service accounts' tokens are verified with",
        &["application/jwk-set+json"],
    ),
];

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Definitions that operations take or give beside those of the kinds.
pub(super) const SHARED: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
];

/// Definitions of the paths that belong to no version of a group.
pub(super) const DISCOVERED: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions",
    "io.k8s.apimachinery.pkg.version.Info",
];

/// What a path answers with.
pub(super) enum Answer {
    /// Text.
    Text,
    /// The definition of that name.
    Definition(String),
}

impl Answer {
    /// The name of its definition.
    pub fn definition(&self) -> Option<&str> {
        match self {
            Self::Text => None,
            Self::Definition(name) => Some(name),
        }
    }
}

/// What a request to a path does.
pub(super) struct Operation {
    pub method: &'static str,
    /// The action that `x-kubernetes-action` names; empty where none is said.
    pub action: &'static str,
    pub id: String,
    pub about: String,
    pub tag: String,
    pub kind: Option<Gvk>,
    pub parameters: &'static [Parameter],
    /// The definition of the body, and whether there has to be one.
    pub body: Option<(String, bool)>,
    pub consumes: &'static [&'static str],
    pub produces: &'static [&'static str],
    pub answers: &'static [u16],
    pub answer: Answer,
}

/// A path with its operations.
pub(super) struct Path {
    pub template: String,
    /// What the object is called in the words about its name; empty where no name is part of the path.
    pub named: Name,
    pub parameters: Vec<&'static Parameter>,
    pub operations: Vec<Operation>,
}

/// The path of a kind's group and version: `api/v1` or `apis/apps/v1`.
pub fn base(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}", kind.api_version())
    }
}

/// The paths of a kind.
pub(super) fn of(kind: &Kind) -> Vec<Path> {
    Subject::new(kind).paths()
}

/// The path of the resources of a group and version.
pub(super) fn resources(group: &str, version: &str) -> Path {
    let (base, title, tag) = (prefix(group, version), title(group), tag(group));
    let id = format!("get{title}{}APIResources", capital(version));
    look_up(
        base,
        id,
        format!("{tag}_{version}"),
        "get available resources",
        format!("{META}.APIResourceList"),
    )
}

/// The paths that belong to no version of a group.
pub(super) fn discovery(registry: &Registry) -> Vec<Path> {
    let meta = |name: &str| format!("{META}.{name}");
    let mut all = vec![
        look_up(
            "/api/".into(),
            "getCoreAPIVersions".into(),
            "core".into(),
            "get available API versions",
            meta("APIVersions"),
        ),
        look_up(
            "/apis/".into(),
            "getAPIVersions".into(),
            "apis".into(),
            "get available API versions",
            meta("APIGroupList"),
        ),
    ];
    let info = "io.k8s.apimachinery.pkg.version.Info".to_owned();
    let mut version = look_up(
        "/version/".into(),
        "getCodeVersion".into(),
        "version".into(),
        "get the version of the server",
        info,
    );
    for operation in &mut version.operations {
        (operation.consumes, operation.produces) = (JSON, JSON);
    }
    all.push(version);
    for (template, id, tag, about, media_type) in KEYS {
        let mut path = look_up(template.into(), id.into(), tag.into(), about, String::new());
        for operation in &mut path.operations {
            (operation.consumes, operation.produces, operation.answer) = (&[], media_type, Answer::Text);
        }
        all.push(path);
    }
    let mut seen = Vec::new();
    let groups = registry.iter().filter(|kind| !kind.group.is_empty() && kind.as_custom().is_none());
    for kind in groups {
        if !seen.contains(&&kind.group) {
            seen.push(&kind.group);
            let id = format!("get{}APIGroup", title(&kind.group));
            let path = format!("/apis/{}/", kind.group);
            all.push(look_up(path, id, tag(&kind.group), "get information of a group", meta("APIGroup")));
        }
    }
    all
}

fn look_up(template: String, id: String, tag: String, about: &str, answer: String) -> Path {
    let operation = Operation {
        method: "get",
        action: "",
        id,
        about: about.to_owned(),
        tag,
        kind: None,
        parameters: &[],
        body: None,
        consumes: PLAIN,
        produces: PLAIN,
        answers: &[200],
        answer: Answer::Definition(answer),
    };
    Path { template, named: "".into(), parameters: Vec::new(), operations: vec![operation] }
}

fn prefix(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") }
}

fn capital(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

/// A group as part of an operation's name: `RbacAuthorization`.
fn title(group: &str) -> String {
    match group {
        "" => "Core".to_owned(),
        _ => group.trim_end_matches(".k8s.io").split('.').map(capital).collect(),
    }
}

/// A group as the start of a tag: `rbacAuthorization`.
fn tag(group: &str) -> String {
    let title = title(group);
    let mut rest = title.chars();
    rest.next().map(|first| first.to_lowercase().chain(rest).collect()).unwrap_or_default()
}

/// A kind whose paths are told.
struct Subject<'a> {
    kind: &'a Kind,
    definition: String,
    /// `AppsV1`.
    title: String,
    /// `Namespaced`, or nothing.
    scope: &'static str,
}

impl<'a> Subject<'a> {
    fn new(kind: &'a Kind) -> Self {
        Self {
            kind,
            definition: kind.definition_name().into_owned(),
            title: format!("{}{}", title(&kind.group), capital(&kind.version)),
            scope: if kind.namespaced { "Namespaced" } else { "" },
        }
    }

    fn has(&self, verb: &str) -> bool {
        self.kind.verbs.contains(&verb)
    }

    fn list_definition(&self) -> String {
        let Kind { group, version, list_kind, .. } = self.kind;
        if self.kind.as_custom().is_some() {
            return publish::definition_name(group, version, list_kind);
        }
        definition([group, version, list_kind]).unwrap_or_else(|| self.definition.clone())
    }

    fn paths(&self) -> Vec<Path> {
        let (base, plural) = (base(self.kind), &self.kind.plural);
        let within = if self.kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let root = format!("/{base}/{within}{plural}");
        let mut out = vec![
            self.path(root.clone(), false, self.collection()),
            self.path(format!("{root}/{{name}}"), true, self.item()),
        ];
        if self.kind.namespaced && self.has("list") {
            let id = format!("list{}{}ForAllNamespaces", self.title, self.kind.kind);
            let mut path = self.path(format!("/{base}/{plural}"), false, vec![self.list(id)]);
            path.parameters.clear();
            path.parameters.push(&parameters::PRETTY);
            out.push(path);
        }
        for each in &self.kind.subresources {
            let template = format!("{root}/{{name}}/{}", each.name);
            out.push(self.path(template.clone(), true, self.subresource(each, "")));
            if each.name == "proxy" {
                let mut path =
                    self.path(format!("{template}/{{path}}"), true, self.subresource(each, "WithPath"));
                path.parameters.push(&parameters::PATH);
                out.push(path);
            }
        }
        if self.has("watch") && self.kind.as_custom().is_none() {
            let watched = format!("/{base}/watch/{within}{plural}");
            let (title, scope, kind) = (&self.title, self.scope, &self.kind.kind);
            let list = self.watch("watchlist", format!("watch{title}{scope}{kind}List"));
            out.push(self.path(watched.clone(), false, vec![list]));
            let one = self.watch("watch", format!("watch{title}{scope}{kind}"));
            out.push(self.path(format!("{watched}/{{name}}"), true, vec![one]));
            if self.kind.namespaced {
                let all = self.watch("watchlist", format!("watch{title}{kind}ListForAllNamespaces"));
                let mut path = self.path(format!("/{base}/watch/{plural}"), false, vec![all]);
                path.parameters.clear();
                path.parameters.push(&parameters::PRETTY);
                out.push(path);
            }
        }
        out.retain(|path| !path.operations.is_empty());
        out
    }

    fn path(&self, template: String, named: bool, operations: Vec<Operation>) -> Path {
        let mut shared = Vec::new();
        let connects = operations.iter().any(|each| each.action == "connect");
        if named {
            shared.push(&parameters::NAME);
        }
        if self.kind.namespaced {
            shared.push(&parameters::NAMESPACE);
        }
        if !connects {
            shared.push(&parameters::PRETTY);
        }
        Path {
            template,
            named: if named { self.kind.kind.clone() } else { "".into() },
            parameters: shared,
            operations,
        }
    }

    /// An operation on the kind itself that answers with an object of it.
    fn operation(&self, method: &'static str, action: &'static str, id: String, about: String) -> Operation {
        Operation {
            method,
            action,
            id,
            about,
            tag: format!("{}_{}", tag(&self.kind.group), self.kind.version),
            kind: Some([self.kind.group.clone(), self.kind.version.clone(), self.kind.kind.clone()]),
            parameters: &[],
            body: None,
            consumes: ANY,
            produces: if self.kind.as_custom().is_some() { &PLAIN[..2] } else { PLAIN },
            answers: &[200],
            answer: Answer::Definition(self.definition.clone()),
        }
    }

    fn list(&self, id: String) -> Operation {
        Operation {
            parameters: parameters::LIST,
            produces: LISTED,
            answer: Answer::Definition(self.list_definition()),
            ..self.operation("get", "list", id, format!("list or watch objects of kind {}", self.kind.kind))
        }
    }

    fn watch(&self, action: &'static str, id: String) -> Operation {
        let about = format!(
            "watch changes of objects of kind {}; deprecated: list with the parameter watch",
            self.kind.kind
        );
        Operation {
            parameters: parameters::LIST,
            produces: LISTED,
            answer: Answer::Definition(format!("{META}.WatchEvent")),
            ..self.operation("get", action, id, about)
        }
    }

    fn create(&self, body: String, suffix: &str, about: String) -> Operation {
        let id = format!("create{}{}{}{suffix}", self.title, self.scope, self.kind.kind);
        Operation {
            parameters: parameters::CREATE,
            answers: &[200, 201, 202],
            answer: Answer::Definition(body.clone()),
            body: Some((body, true)),
            ..self.operation("post", "post", id, about)
        }
    }

    fn collection(&self) -> Vec<Operation> {
        let (title, scope, kind) = (&self.title, self.scope, &self.kind.kind);
        let mut out = Vec::new();
        if self.has("list") {
            out.push(self.list(format!("list{title}{scope}{kind}")));
        }
        if self.has("create") {
            out.push(self.create(self.definition.clone(), "", format!("create an object of kind {kind}")));
        }
        if self.has("deletecollection") {
            let id = format!("delete{title}Collection{scope}{kind}");
            out.push(Operation {
                parameters: parameters::DELETE_COLLECTION,
                body: Some((format!("{META}.DeleteOptions"), false)),
                answer: Answer::Definition(format!("{META}.Status")),
                ..self.operation("delete", "deletecollection", id, format!("delete all of kind {kind}"))
            });
        }
        out
    }

    fn item(&self) -> Vec<Operation> {
        let (title, scope, kind) = (&self.title, self.scope, &self.kind.kind);
        let mut out = self.changes(&self.definition, "", "", self.kind.verbs);
        if self.has("delete") {
            let id = format!("delete{title}{scope}{kind}");
            let answer = match self.kind.shows_deleted() {
                true => self.definition.clone(),
                false => format!("{META}.Status"),
            };
            out.push(Operation {
                parameters: parameters::DELETE,
                body: Some((format!("{META}.DeleteOptions"), false)),
                answers: &[200, 202],
                answer: Answer::Definition(answer),
                ..self.operation("delete", "delete", id, format!("delete an object of kind {kind}"))
            });
        }
        out
    }

    /// Reading, replacing and patching an object or one of its subresources.
    fn changes(&self, definition: &str, suffix: &str, part: &str, verbs: &[&str]) -> Vec<Operation> {
        let (title, scope, kind) = (&self.title, self.scope, &self.kind.kind);
        let id = |verb: &str| format!("{verb}{title}{scope}{kind}{suffix}");
        let about = |verb: &str| format!("{verb} {part}an object of kind {kind}");
        let answer = || Answer::Definition(definition.to_owned());
        let mut out = Vec::new();
        if verbs.contains(&"get") {
            out.push(Operation {
                answer: answer(),
                ..self.operation("get", "get", id("read"), about("read"))
            });
        }
        if verbs.contains(&"update") {
            out.push(Operation {
                parameters: parameters::CREATE,
                body: Some((definition.to_owned(), true)),
                answers: &[200, 201],
                answer: answer(),
                ..self.operation("put", "put", id("replace"), about("replace"))
            });
        }
        if verbs.contains(&"patch") {
            out.push(Operation {
                parameters: parameters::PATCH,
                body: Some((format!("{META}.Patch"), true)),
                consumes: if self.kind.as_custom().is_some() { &PATCHES[..3] } else { PATCHES },
                answers: &[200, 201],
                answer: answer(),
                ..self.operation("patch", "patch", id("patch"), about("patch"))
            });
        }
        out
    }

    fn subresource(&self, each: &Subresource, end: &str) -> Vec<Operation> {
        let suffix = capital(each.name);
        let named = each.kind.and_then(definition);
        let taken = named.unwrap_or_else(|| self.definition.clone());
        let part = format!("{} of ", each.name);
        let kind = &self.kind.kind;
        let mut operations = match each.name {
            "attach" | "exec" | "portforward" | "proxy" => return self.connect(each, &suffix, end),
            "log" => vec![Operation {
                parameters: parameters::LOG,
                produces: LOG,
                answer: Answer::Text,
                ..self.operation(
                    "get",
                    "get",
                    format!("read{}{}{kind}Log", self.title, self.scope),
                    format!("read the log of an object of kind {kind}"),
                )
            }],
            _ if each.verbs == ["create"] => {
                vec![self.create(taken, &suffix, format!("create {part}an object of kind {kind}"))]
            }
            _ => self.changes(&taken, &suffix, &part, each.verbs),
        };
        if let Some(gvk) = each.kind {
            operations.iter_mut().for_each(|operation| operation.kind = Some(gvk.map(Name::Borrowed)));
        }
        operations
    }

    /// Requests that are passed on to a node, a pod or a service.
    fn connect(&self, each: &Subresource, suffix: &str, end: &str) -> Vec<Operation> {
        let kind = &self.kind.kind;
        let (parameters, methods): (_, &[&'static str]) = match each.name {
            "attach" => (parameters::ATTACH, &["get", "post"]),
            "exec" => (parameters::EXEC, &["get", "post"]),
            "portforward" => (parameters::PORT_FORWARD, &["get", "post"]),
            _ => (parameters::PROXY, &["get", "put", "post", "delete", "options", "head", "patch"]),
        };
        let make = |method: &&'static str| {
            let id = format!("connect{}{}{}{kind}{suffix}{end}", self.title, capital(method), self.scope);
            let about = format!("connect {} requests to {} of a {kind}", method.to_uppercase(), each.name);
            Operation {
                kind: each.kind.map(|options| options.map(Name::Borrowed)),
                parameters,
                produces: ANY,
                answer: Answer::Text,
                ..self.operation(method, "connect", id, about)
            }
        };
        methods.iter().map(make).collect()
    }
}

fn definition([group, version, kind]: [&str; 3]) -> Option<String> {
    let schemas = Schemas::builtin();
    schemas.by_kind(group, version, kind).map(|id| schemas.get(id).name.to_string())
}
