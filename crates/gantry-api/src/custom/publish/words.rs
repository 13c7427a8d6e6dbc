//! What the fields are for that every resource has, in the words of the typed structs.

use std::sync::LazyLock;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use schemars::generate::SchemaSettings;

/// The words.
pub(super) struct Words {
    pub api_version: String,
    pub kind: String,
    pub metadata: String,
    pub list_metadata: String,
}

/// The words, made once.
pub(super) fn words() -> &'static Words {
    static WORDS: LazyLock<Words> = LazyLock::new(|| {
        let mut generator = SchemaSettings::openapi3().into_generator();
        generator.subschema_for::<ConfigMap>();
        generator.subschema_for::<ListMeta>();
        let definitions = generator.take_definitions(false);
        let described = |kind: &str| {
            let mut definitions = definitions.iter();
            definitions.find(|(name, _)| name.rsplit('.').next() == Some(kind)).map(|(_, schema)| schema)
        };
        let text = |schema: Option<&serde_json::Value>| {
            schema.and_then(|schema| schema["description"].as_str()).unwrap_or_default().to_owned()
        };
        let field = |name: &str| text(described("ConfigMap").map(|schema| &schema["properties"][name]));
        Words {
            api_version: field("apiVersion"),
            kind: field("kind"),
            metadata: field("metadata"),
            list_metadata: text(described("ListMeta")),
        }
    });
    &WORDS
}
