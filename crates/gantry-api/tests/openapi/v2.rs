//! The messages of `openapi.v2`, declared by hand.

use gantry_json::{Map, Value, json};
use prost::{Message, Oneof};

use crate::{put, yaml};

#[derive(Clone, PartialEq, Message)]
pub struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
    #[prost(message, repeated, tag = "12")]
    security: Vec<SecurityRequirement>,
    #[prost(message, optional, tag = "13")]
    security_definitions: Option<SecurityDefinitions>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "2")]
    pub yaml: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct NamedAny {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityRequirement {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedTexts>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedTexts {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Texts>,
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityDefinitions {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSecurityDefinition>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSecurityDefinition {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<SecurityDefinition>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityDefinition {
    #[prost(message, optional, tag = "2")]
    api_key: Option<ApiKey>,
}

#[derive(Clone, PartialEq, Message)]
struct ApiKey {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    place: String,
    #[prost(string, tag = "4")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    path: Vec<NamedPathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPathItem {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<PathItem>,
}

#[derive(Clone, PartialEq, Message)]
struct PathItem {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "3")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "6")]
    options: Option<Operation>,
    #[prost(message, optional, tag = "7")]
    head: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "9")]
    parameters: Vec<ParametersItem>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(string, repeated, tag = "6")]
    produces: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    consumes: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<ParametersItem>,
    #[prost(message, optional, tag = "9")]
    responses: Option<Responses>,
    #[prost(string, repeated, tag = "10")]
    schemes: Vec<String>,
    #[prost(message, repeated, tag = "13")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParametersItem {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(oneof = "ParameterKind", tags = "1, 2")]
    kind: Option<ParameterKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum ParameterKind {
    #[prost(message, tag = "1")]
    Body(BodyParameter),
    #[prost(message, tag = "2")]
    NonBody(NonBodyParameter),
}

#[derive(Clone, PartialEq, Message)]
struct BodyParameter {
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    place: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, tag = "5")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NonBodyParameter {
    #[prost(message, optional, tag = "3")]
    query: Option<QueryParameter>,
    #[prost(message, optional, tag = "4")]
    path: Option<PathParameter>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryParameter {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "6")]
    kind: String,
    #[prost(bool, tag = "20")]
    unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
struct PathParameter {
    #[prost(bool, tag = "1")]
    required: bool,
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "4")]
    name: String,
    #[prost(string, tag = "5")]
    kind: String,
    #[prost(bool, tag = "19")]
    unique_items: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "1")]
    response_code: Vec<NamedResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponse {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseValue {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "2")]
    schema: Option<SchemaItem>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaItem {
    #[prost(message, optional, tag = "1")]
    schema: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    values: Vec<Any>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "22")]
    kind: Option<Texts>,
    #[prost(message, optional, tag = "23")]
    items: Option<Items>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalProperties {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

/// Extensions as the members that they are in JSON.
pub fn extend(out: &mut Map, extensions: &[NamedAny]) {
    for each in extensions {
        out.insert(each.name.as_str().into(), yaml(&each.value.as_ref().expect("a value").yaml));
    }
}

pub fn values(values: &[Any]) -> Vec<Value> {
    values.iter().map(|each| yaml(&each.yaml)).collect()
}

impl Document {
    pub fn json(&self) -> Value {
        let info = self.info.as_ref().expect("there");
        let paths = self.paths.iter().flat_map(|all| &all.path);
        let paths: Map =
            paths.map(|each| (each.name.clone(), each.value.as_ref().expect("there").json())).collect();
        let requirement = |each: &SecurityRequirement| -> Value {
            let pairs = each.additional_properties.iter();
            pairs
                .map(|each| (each.name.clone(), json!(each.value.as_ref().expect("there").value)))
                .collect::<Map>()
                .into()
        };
        let definition = |each: &NamedSecurityDefinition| {
            let key = each.value.as_ref().and_then(|value| value.api_key.as_ref()).expect("a key");
            let value = json!({
                "type": key.kind, "name": key.name, "in": key.place, "description": key.description,
            });
            (each.name.clone(), value)
        };
        let definitions = self.security_definitions.iter().flat_map(|all| &all.additional_properties);
        json!({
            "swagger": self.swagger, "info": {"title": info.title, "version": info.version},
            "paths": paths,
            "definitions": self.definitions.as_ref().map(Schemas::json),
            "security": self.security.iter().map(requirement).collect::<Vec<_>>(),
            "securityDefinitions": definitions.map(definition).collect::<Map>(),
        })
    }
}

impl PathItem {
    fn json(&self) -> Value {
        let mut out = Map::new();
        for (name, operation) in [
            ("get", &self.get),
            ("put", &self.put),
            ("post", &self.post),
            ("delete", &self.delete),
            ("options", &self.options),
            ("head", &self.head),
            ("patch", &self.patch),
        ] {
            put(&mut out, name, operation.as_ref().map(Operation::json));
        }
        put(&mut out, "parameters", self.parameters.iter().map(ParametersItem::json).collect::<Vec<_>>());
        out.into()
    }
}

impl Operation {
    fn json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "tags", self.tags.clone());
        put(&mut out, "description", self.description.clone());
        put(&mut out, "operationId", self.operation_id.clone());
        put(&mut out, "produces", self.produces.clone());
        put(&mut out, "consumes", self.consumes.clone());
        put(&mut out, "schemes", self.schemes.clone());
        put(&mut out, "parameters", self.parameters.iter().map(ParametersItem::json).collect::<Vec<_>>());
        let responses = self.responses.iter().flat_map(|all| &all.response_code).map(|each| {
            let response = each.value.as_ref().and_then(|value| value.response.as_ref()).expect("there");
            let mut out = Map::new();
            put(&mut out, "description", response.description.clone());
            let schema = response.schema.as_ref().and_then(|item| item.schema.as_ref());
            put(&mut out, "schema", schema.map(Schema::json));
            (each.name.clone(), Value::Object(out))
        });
        out.insert("responses".into(), Value::Object(responses.collect()));
        extend(&mut out, &self.vendor_extension);
        out.into()
    }
}

impl ParametersItem {
    fn json(&self) -> Value {
        let mut out = Map::new();
        let (name, place, required) = match self.parameter.as_ref().and_then(|each| each.kind.as_ref()) {
            Some(ParameterKind::Body(body)) => {
                put(&mut out, "schema", body.schema.as_ref().map(Schema::json));
                (&body.name, &body.place, body.required)
            }
            Some(ParameterKind::NonBody(NonBodyParameter { query: Some(query), path: None })) => {
                put(&mut out, "type", query.kind.clone());
                put(&mut out, "description", query.description.clone());
                put(&mut out, "uniqueItems", query.unique_items);
                (&query.name, &query.place, query.required)
            }
            Some(ParameterKind::NonBody(NonBodyParameter { query: None, path: Some(path) })) => {
                put(&mut out, "type", path.kind.clone());
                put(&mut out, "description", path.description.clone());
                put(&mut out, "uniqueItems", path.unique_items);
                (&path.name, &path.place, path.required)
            }
            other => panic!("{other:?}"),
        };
        put(&mut out, "name", name.clone());
        put(&mut out, "in", place.clone());
        put(&mut out, "required", required);
        out.into()
    }
}

impl Schemas {
    fn json(&self) -> Value {
        let all = self.additional_properties.iter();
        all.map(|each| (each.name.clone(), each.value.as_ref().expect("there").json()))
            .collect::<Map>()
            .into()
    }
}

impl Schema {
    fn json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "$ref", self.reference.clone());
        put(&mut out, "format", self.format.clone());
        put(&mut out, "description", self.description.clone());
        put(&mut out, "required", self.required.clone());
        put(&mut out, "enum", values(&self.values));
        if let Some(each) = &self.additional_properties {
            put(&mut out, "additionalProperties", each.schema.as_ref().map(|schema| schema.json()));
        }
        if let Some(Texts { value }) = &self.kind {
            assert_eq!(value.len(), 1);
            put(&mut out, "type", value[0].clone());
        }
        if let Some(Items { schema }) = &self.items {
            assert_eq!(schema.len(), 1);
            put(&mut out, "items", schema[0].json());
        }
        put(&mut out, "properties", self.properties.as_ref().map(Schemas::json));
        extend(&mut out, &self.vendor_extension);
        out.into()
    }
}
