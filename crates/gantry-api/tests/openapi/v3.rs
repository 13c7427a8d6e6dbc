//! The messages of `openapi.v3`, declared by hand.

use gantry_json::{Map, Value, json};
use prost::{Message, Oneof};

use crate::put;
use crate::v2::{Any, NamedAny, extend, values};

#[derive(Clone, PartialEq, Message)]
pub struct Document {
    #[prost(string, tag = "1")]
    openapi: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "4")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "5")]
    components: Option<Components>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "6")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Components {
    #[prost(message, optional, tag = "1")]
    schemas: Option<Schemas>,
    #[prost(message, optional, tag = "7")]
    security_schemes: Option<SecuritySchemes>,
}

#[derive(Clone, PartialEq, Message)]
struct SecuritySchemes {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSecurityScheme>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSecurityScheme {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<SecuritySchemeOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct SecuritySchemeOrReference {
    #[prost(message, optional, tag = "1")]
    scheme: Option<SecurityScheme>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityScheme {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    place: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "1")]
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
    #[prost(message, optional, tag = "4")]
    get: Option<Operation>,
    #[prost(message, optional, tag = "5")]
    put: Option<Operation>,
    #[prost(message, optional, tag = "6")]
    post: Option<Operation>,
    #[prost(message, optional, tag = "7")]
    delete: Option<Operation>,
    #[prost(message, optional, tag = "8")]
    options: Option<Operation>,
    #[prost(message, optional, tag = "9")]
    head: Option<Operation>,
    #[prost(message, optional, tag = "10")]
    patch: Option<Operation>,
    #[prost(message, repeated, tag = "13")]
    parameters: Vec<ParameterOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, repeated, tag = "1")]
    tags: Vec<String>,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(string, tag = "5")]
    operation_id: String,
    #[prost(message, repeated, tag = "6")]
    parameters: Vec<ParameterOrReference>,
    #[prost(message, optional, tag = "7")]
    request_body: Option<RequestBodyOrReference>,
    #[prost(message, optional, tag = "8")]
    responses: Option<Responses>,
    #[prost(message, repeated, tag = "13")]
    specification_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct ParameterOrReference {
    #[prost(message, optional, tag = "1")]
    parameter: Option<Parameter>,
}

#[derive(Clone, PartialEq, Message)]
struct Parameter {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    place: String,
    #[prost(string, tag = "3")]
    description: String,
    #[prost(bool, tag = "4")]
    required: bool,
    #[prost(message, optional, tag = "10")]
    schema: Option<SchemaOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestBodyOrReference {
    #[prost(message, optional, tag = "1")]
    request_body: Option<RequestBody>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestBody {
    #[prost(message, optional, tag = "2")]
    content: Option<MediaTypes>,
    #[prost(bool, tag = "3")]
    required: bool,
}

#[derive(Clone, PartialEq, Message)]
struct MediaTypes {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedMediaType>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedMediaType {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<MediaType>,
}

#[derive(Clone, PartialEq, Message)]
struct MediaType {
    #[prost(message, optional, tag = "1")]
    schema: Option<SchemaOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct Responses {
    #[prost(message, repeated, tag = "2")]
    response_or_reference: Vec<NamedResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedResponse {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<ResponseOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseOrReference {
    #[prost(message, optional, tag = "1")]
    response: Option<Response>,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(string, tag = "1")]
    description: String,
    #[prost(message, optional, tag = "3")]
    content: Option<MediaTypes>,
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
    value: Option<SchemaOrReference>,
}

#[derive(Clone, PartialEq, Message)]
struct SchemaOrReference {
    #[prost(oneof = "SchemaKind", tags = "1, 2")]
    kind: Option<SchemaKind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum SchemaKind {
    #[prost(message, boxed, tag = "1")]
    Schema(Box<Schema>),
    #[prost(message, tag = "2")]
    Reference(Reference),
}

#[derive(Clone, PartialEq, Message)]
struct Reference {
    #[prost(string, tag = "1")]
    reference: String,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, repeated, tag = "23")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "24")]
    values: Vec<Any>,
    #[prost(string, tag = "25")]
    kind: String,
    #[prost(bool, tag = "20")]
    unique_items: bool,
    #[prost(message, repeated, tag = "26")]
    all_of: Vec<SchemaOrReference>,
    #[prost(message, repeated, tag = "27")]
    one_of: Vec<SchemaOrReference>,
    #[prost(message, optional, tag = "30")]
    items: Option<Items>,
    #[prost(message, optional, tag = "31")]
    properties: Option<Schemas>,
    #[prost(message, optional, boxed, tag = "32")]
    additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "33")]
    default: Option<DefaultType>,
    #[prost(string, tag = "34")]
    description: String,
    #[prost(string, tag = "35")]
    format: String,
    #[prost(message, repeated, tag = "36")]
    specification_extension: Vec<NamedAny>,
}

/// An object where it says nothing.
#[derive(Clone, PartialEq, Message)]
struct DefaultType {
    #[prost(double, optional, tag = "1")]
    number: Option<f64>,
    #[prost(bool, optional, tag = "2")]
    boolean: Option<bool>,
    #[prost(string, optional, tag = "3")]
    string: Option<String>,
}

impl DefaultType {
    fn json(&self) -> Value {
        match (self.number, self.boolean, &self.string) {
            (Some(number), ..) => json!(number as i64),
            (_, Some(boolean), _) => json!(boolean),
            (.., Some(text)) => json!(text),
            _ => json!({}),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalProperties {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<SchemaOrReference>>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<SchemaOrReference>,
}

impl Document {
    pub fn json(&self) -> Value {
        let info = self.info.as_ref().expect("there");
        let paths = self.paths.iter().flat_map(|all| &all.path);
        let paths: Map =
            paths.map(|each| (each.name.clone(), each.value.as_ref().expect("there").json())).collect();
        let components = self.components.as_ref().expect("there");
        let schemes = components.security_schemes.iter().flat_map(|all| &all.additional_properties);
        let schemes = schemes.map(|each| {
            let scheme = each.value.as_ref().and_then(|value| value.scheme.as_ref()).expect("there");
            let value = json!({
                "type": scheme.kind, "name": scheme.name, "in": scheme.place,
                "description": scheme.description,
            });
            (each.name.clone(), value)
        });
        json!({
            "openapi": self.openapi, "info": {"title": info.title, "version": info.version},
            "paths": paths,
            "components": {
                "schemas": components.schemas.as_ref().map(Schemas::json),
                "securitySchemes": schemes.collect::<Map>(),
            },
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
        put(&mut out, "parameters", parameters(&self.parameters));
        out.into()
    }
}

fn parameters(all: &[ParameterOrReference]) -> Vec<Value> {
    let each = all.iter().map(|each| each.parameter.as_ref().expect("a parameter"));
    each.map(|parameter| {
        let mut out = Map::new();
        put(&mut out, "name", parameter.name.clone());
        put(&mut out, "in", parameter.place.clone());
        put(&mut out, "description", parameter.description.clone());
        put(&mut out, "required", parameter.required);
        put(&mut out, "schema", parameter.schema.as_ref().map(SchemaOrReference::json));
        out.into()
    })
    .collect()
}

impl Operation {
    fn json(&self) -> Value {
        let mut out = Map::new();
        put(&mut out, "tags", self.tags.clone());
        put(&mut out, "description", self.description.clone());
        put(&mut out, "operationId", self.operation_id.clone());
        put(&mut out, "parameters", parameters(&self.parameters));
        if let Some(body) = &self.request_body {
            let body = body.request_body.as_ref().expect("there");
            let mut written = Map::new();
            put(&mut written, "content", body.content.as_ref().map(MediaTypes::json));
            put(&mut written, "required", body.required);
            out.insert("requestBody".into(), written.into());
        }
        let responses = self.responses.iter().flat_map(|all| &all.response_or_reference).map(|each| {
            let response = each.value.as_ref().and_then(|value| value.response.as_ref()).expect("there");
            let mut out = Map::new();
            put(&mut out, "description", response.description.clone());
            put(&mut out, "content", response.content.as_ref().map(MediaTypes::json));
            (each.name.clone(), Value::Object(out))
        });
        out.insert("responses".into(), Value::Object(responses.collect()));
        extend(&mut out, &self.specification_extension);
        out.into()
    }
}

impl MediaTypes {
    fn json(&self) -> Value {
        let all = self.additional_properties.iter().map(|each| {
            let schema = each.value.as_ref().and_then(|value| value.schema.as_ref()).expect("there");
            (each.name.clone(), json!({"schema": schema.json()}))
        });
        all.collect::<Map>().into()
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

impl SchemaOrReference {
    fn json(&self) -> Value {
        match self.kind.as_ref().expect("one of them") {
            SchemaKind::Reference(to) => json!({"$ref": to.reference}),
            SchemaKind::Schema(schema) => schema.json(),
        }
    }
}

impl Schema {
    fn json(&self) -> Value {
        let all = |schemas: &[SchemaOrReference]| schemas.iter().map(|each| each.json()).collect::<Vec<_>>();
        let mut out = Map::new();
        put(&mut out, "required", self.required.clone());
        put(&mut out, "enum", values(&self.values));
        put(&mut out, "type", self.kind.clone());
        put(&mut out, "uniqueItems", self.unique_items);
        put(&mut out, "allOf", all(&self.all_of));
        put(&mut out, "oneOf", all(&self.one_of));
        if let Some(Items { schema }) = &self.items {
            assert_eq!(schema.len(), 1);
            put(&mut out, "items", schema[0].json());
        }
        put(&mut out, "properties", self.properties.as_ref().map(Schemas::json));
        out.extend(self.default.as_ref().map(|default| ("default".to_owned(), default.json())));
        if let Some(each) = &self.additional_properties {
            put(&mut out, "additionalProperties", each.schema.as_ref().map(|schema| schema.json()));
        }
        put(&mut out, "description", self.description.clone());
        put(&mut out, "format", self.format.clone());
        extend(&mut out, &self.specification_extension);
        out.into()
    }
}
