//! Admission of writes: the plugins' say on an object.

use std::collections::BTreeMap;

use gantry_api::status::ApiError;
use gantry_json::{Map, Value, json};

use super::delete::DeleteOptions;
use super::{Context, scale};
use crate::admission::{self, Again, Options};

pub(super) use crate::admission::Operation;

impl Context<'_> {
    /// Lets the plugins change `object`.
    pub(super) async fn mutate(
        &mut self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        self.admit(operation, object, old, dry_run, true).await
    }

    /// Lets the plugins refuse `object`.
    pub(super) async fn validate(
        &mut self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        self.admit(operation, object, old, dry_run, false).await
    }

    /// Lets the plugins refuse the deletion of `current`.
    pub(super) async fn admit_deletion(
        &mut self,
        name: &str,
        current: &Value,
        options: &DeleteOptions,
    ) -> Result<(), ApiError> {
        let given = options.to_value();
        for mutate in [true, false] {
            let mut request = self.admission_request(Operation::Delete, Value::Null, Some(current));
            request.name = name;
            request.options = Options::Delete(&given);
            request.dry_run = options.dry_run;
            let outcome = run(self.server, request, mutate).await;
            self.take(outcome).0?;
        }
        Ok(())
    }

    /// Lets the plugins refuse a stream.
    pub(super) async fn admit_stream(&mut self) -> Result<(), ApiError> {
        let mut options = self.stream_options();
        self.admit(Operation::Connect, &mut options, None, false, true).await?;
        self.admit(Operation::Connect, &mut options, None, false, false).await
    }

    async fn admit(
        &mut self,
        operation: Operation,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        mutate: bool,
    ) -> Result<(), ApiError> {
        // What is written is the whole object, what is asked for its Scale.
        let scaled = (self.info.subresource == "scale" && operation == Operation::Update)
            .then(|| (scale::scale_of(self.kind, object), old.map(|old| scale::scale_of(self.kind, old))));
        if let Some((scale, old)) = scaled {
            let mut request = self.admission_request(operation, scale, old.as_ref());
            request.dry_run = dry_run;
            let outcome = run(self.server, request, mutate).await;
            let (result, scale) = self.take(outcome);
            if let Some(replicas) = scale["spec"].get("replicas") {
                scale::set_replicas(self.kind, object, replicas.clone());
            }
            return result;
        }
        let mut request = self.admission_request(operation, std::mem::take(object), old);
        request.dry_run = dry_run;
        let outcome = run(self.server, request, mutate).await;
        let (result, admitted) = self.take(outcome);
        *object = admitted;
        result
    }

    /// Notes what was said beside the answer; gives the answer and the object.
    fn take(&mut self, outcome: Outcome) -> (Result<(), ApiError>, Value) {
        self.warnings.extend(outcome.warnings);
        if let Some(audit) = self.annotations {
            audit.extend(outcome.annotations);
        }
        (outcome.result, outcome.object)
    }

    pub(super) fn admission_request<'r>(
        &'r self,
        operation: Operation,
        object: Value,
        old: Option<&'r Value>,
    ) -> admission::Request<'r> {
        let kind = self.kind;
        let part = kind.subresources.iter().find(|each| *each.name == *self.info.subresource);
        let own: [&str; 3] = [&kind.group, &kind.version, &kind.kind];
        let object_kind = part.and_then(|part| part.kind).unwrap_or(own);
        admission::Request {
            operation,
            registry: self.registry,
            kind,
            object_kind,
            group: &kind.group,
            resource: &kind.plural,
            subresource: &self.info.subresource,
            namespace: self.namespace(),
            name: &self.info.name,
            unnamed: self.unnamed,
            user: self.user,
            object,
            old,
            options: self.write_options(operation),
            dry_run: false,
            warnings: Vec::new(),
            annotations: BTreeMap::new(),
            again: Again::No,
            converter: Some(&self.server.custom.converter),
            called: admission::Reinvocation::default(),
            applied: admission::Reinvocation::default(),
        }
    }

    /// The options of a request that writes, from its query.
    fn write_options(&self, operation: Operation) -> Options<'_> {
        let kind = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete | Operation::Connect => return Options::None,
        };
        let [field_manager, field_validation] =
            ["fieldManager", "fieldValidation"].map(|name| self.query.filled(name));
        Options::Write { kind, field_manager, field_validation, dry_run: self.dry_run() }
    }

    /// The options of a stream, from the query.
    fn stream_options(&self) -> Value {
        let request = self.admission_request(Operation::Connect, Value::Null, None);
        let [_, version, kind] = request.object_kind;
        let mut options = Map::new();
        options.insert("kind".into(), kind.into());
        options.insert("apiVersion".into(), version.into());
        match self.info.subresource.as_str() {
            "exec" | "attach" => {
                for name in ["stdin", "stdout", "stderr", "tty"] {
                    if self.query.flag(name) {
                        options.insert(name.into(), true.into());
                    }
                }
                if let Some(container) = self.query.filled("container") {
                    options.insert("container".into(), container.into());
                }
                let command: Vec<&str> = self.query.all("command").collect();
                if !command.is_empty() {
                    options.insert("command".into(), json!(command));
                }
            }
            "portforward" => {
                let ports: Vec<i64> = self.query.all("ports").filter_map(|port| port.parse().ok()).collect();
                if !ports.is_empty() {
                    options.insert("ports".into(), json!(ports));
                }
            }
            _ if !self.info.rest.is_empty() => {
                options.insert("path".into(), self.info.rest.as_str().into());
            }
            _ => {}
        }
        options.into()
    }
}

/// What admission left behind.
struct Outcome {
    result: Result<(), ApiError>,
    object: Value,
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
}

async fn run(server: &crate::ApiServer, mut request: admission::Request<'_>, mutate: bool) -> Outcome {
    let result = match mutate {
        true => server.admission.mutate(&mut request, &server.store).await,
        false => server.admission.validate(&mut request, &server.store).await,
    };
    let admission::Request { object, warnings, annotations, .. } = request;
    Outcome { result, object, warnings, annotations }
}
