//! Stored objects of custom kinds as a version shows them, and objects as they are stored.
//!
//! Nearly all are stored as they are shown. Others are read, take what their schema has come to say
//! since, and are relabelled or handed to the conversion webhook, all of a list in one call. Where a
//! schema has changed, an object is read once to find that it stays what it is.

mod review;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::custom_kind::{Conversion, CustomKind, Shown};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::Entry;

use crate::webhook::{CallError, Target, Webhooks};
use crate::{storage, trace};

/// Objects that a webhook is asked about at once, at most.
const BATCH: usize = 500;

/// How long a webhook may take.
const TIME: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 << 20;

/// Converts objects of custom kinds.
pub(crate) struct Converter {
    webhooks: Arc<Webhooks>,
}

impl Converter {
    /// Calls webhooks by `webhooks`.
    pub fn new(webhooks: Arc<Webhooks>) -> Self {
        Self { webhooks }
    }

    /// An object of `from` as one of `to`, another version of the same custom kind.
    pub async fn between(&self, from: &Kind, to: &Kind, object: Value) -> Result<Value, ApiError> {
        let (Some(from), Some(to)) = (from.as_custom(), to.as_custom()) else { return Ok(object) };
        let converted = self.convert(from, vec![object], &to.version().api_version).await?;
        let mut object = converted.into_iter().next().unwrap_or_default();
        to.relabel(&mut object);
        Ok(object)
    }

    /// Entries as `kind` shows them.
    pub async fn entries(
        &self,
        kind: &Kind,
        mut entries: Vec<Arc<Entry>>,
    ) -> Result<Vec<Arc<Entry>>, ApiError> {
        let Some(custom) = kind.as_custom() else { return Ok(entries) };
        let mut asked = Vec::new();
        for (at, entry) in entries.iter_mut().enumerate() {
            match custom.shown(&entry.value, entry.mod_revision) {
                Shown::AsIs => {}
                Shown::Adopted => {
                    let mut object = parse(entry)?;
                    custom.show(&mut object);
                    let shown = with_object(entry, &object);
                    if shown.value == entry.value {
                        custom.note_unchanged(entry.mod_revision);
                    } else {
                        *entry = shown;
                    }
                }
                Shown::Converted => asked.push(at),
            }
        }
        for batch in asked.chunks(BATCH) {
            let stored: Result<Vec<Value>, ApiError> = batch.iter().map(|at| parse(&entries[*at])).collect();
            let wanted = &custom.version().api_version;
            for (at, mut object) in batch.iter().zip(self.convert(custom, stored?, wanted).await?) {
                custom.relabel(&mut object);
                entries[*at] = with_object(&entries[*at], &object);
            }
        }
        Ok(entries)
    }

    /// An entry as `kind` shows it.
    pub async fn entry(&self, kind: &Kind, entry: Arc<Entry>) -> Result<Arc<Entry>, ApiError> {
        let as_is = |custom: &CustomKind| custom.shown(&entry.value, entry.mod_revision) == Shown::AsIs;
        if kind.as_custom().is_none_or(as_is) {
            return Ok(entry);
        }
        let shown = Box::pin(self.entries(kind, vec![entry])).await?;
        shown.into_iter().next().ok_or_else(|| ApiError::internal("an object was lost in its conversion"))
    }

    /// The bytes of an object of `kind`, as they are stored.
    pub async fn encode(&self, kind: &Kind, object: &Value) -> Result<Vec<u8>, ApiError> {
        let Some(custom) = kind.as_custom() else { return Ok(storage::encode_as(kind, object)) };
        let stored = &custom.definition.storage().api_version;
        let asked = custom.definition.conversion != Conversion::None;
        if !asked || object["apiVersion"] == stored.as_str() {
            return Ok(storage::encode_as(kind, object));
        }
        let converted = Box::pin(self.convert(custom, vec![object.clone()], stored)).await?;
        let mut converted = converted.into_iter().next().unwrap_or_default();
        if let Some(version) = custom.definition.version(stored)
            && let Ok(decoded) = version.schema().decode(converted.clone())
        {
            converted = decoded.value;
        }
        Ok(storage::encode(&converted))
    }

    /// Objects as `wanted`, a `group/version`, has them, converted by the definition's webhook. Those that
    /// are stored take what is missing first.
    async fn convert(
        &self,
        custom: &CustomKind,
        mut objects: Vec<Value>,
        wanted: &str,
    ) -> Result<Vec<Value>, ApiError> {
        for object in &mut objects {
            let version = object["apiVersion"].as_str().and_then(|stored| custom.definition.version(stored));
            if let Some(version) = version {
                version.schema().adopt(object);
            }
        }
        let Conversion::Webhook(webhook) = &custom.definition.conversion else { return Ok(objects) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let first = objects.first().cloned().unwrap_or_default();
        let about =
            format!("conversion webhook for {}, Kind={}", text(&first["apiVersion"]), text(&first["kind"]));
        let wrong = |why: String| ApiError::new(500, "", format!("{about} {why}"));
        let version = review::version(&webhook["conversionReviewVersions"])
            .ok_or_else(|| wrong("failed: no supported conversion review versions".to_owned()))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let question = review::question(version, &uid, &objects, wanted).to_string();
        let failed = |error: CallError| wrong(format!("failed: {error}"));
        let target = Target::read(&webhook["clientConfig"]).map_err(failed)?;
        let facts = trace::facts(|_| {
            vec![
                trace::text("custom-resource-definition", &*custom.definition.name),
                trace::text("desired-api-version", wanted),
                trace::number("object-count", objects.len()),
                trace::text("UID", &*uid),
            ]
        });
        let asked = self.webhooks.post(&target, None, question.into_bytes().into(), TIME, LONGEST);
        let answer = trace::step("Call conversion webhook", facts, asked).await;
        review::answer(version, &uid, answer.map_err(failed)?, &objects, wanted).map_err(wrong)
    }
}

fn parse(entry: &Entry) -> Result<Value, ApiError> {
    gantry_json::from_slice(&entry.value).map_err(|_| ApiError::internal("a stored object is damaged"))
}

fn with_object(entry: &Entry, object: &Value) -> Arc<Entry> {
    Arc::new(entry.with_value(storage::encode_at(object, entry.mod_revision)))
}
