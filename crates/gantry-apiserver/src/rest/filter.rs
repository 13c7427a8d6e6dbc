//! Selectors over what is kept beside an object's bytes, so that reads parse nothing.

use std::sync::Arc;

use gantry_api::custom_kind::CustomKind;
use gantry_api::registry::Kind;
use gantry_api::selector::{FieldSelector, LabelSelector};
use gantry_api::status::ApiError;
use gantry_json::Value;
use gantry_store::{Entry, Event, EventFilter, EventKind};

use crate::request::Query;
use crate::storage::Header;

/// The label and field selectors of a request.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    labels: LabelSelector,
    fields: FieldSelector,
    /// A single object, as the path names it.
    name: Option<String>,
    /// The kind, where objects are selected by fields that it defines.
    custom: Option<CustomKind>,
}

/// What an event is to a watcher with selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The object came into the selection.
    Added,
    /// It changed within it.
    Modified,
    /// It was deleted.
    Deleted,
    /// It left the selection.
    Left,
}

impl Filter {
    /// Reads the selectors in `query`; `name` restricts to one object.
    pub fn parse(kind: &Kind, query: &Query, name: &str) -> Result<Self, ApiError> {
        let labels = match query.filled("labelSelector") {
            Some(text) => {
                LabelSelector::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))?
            }
            None => LabelSelector::default(),
        };
        let fields = match query.filled("fieldSelector") {
            Some(text) => {
                FieldSelector::parse(text).map_err(|error| ApiError::bad_request(error.to_string()))?
            }
            None => FieldSelector::default(),
        };
        for field in fields.requirements().iter().map(|each| each.field.as_str()) {
            let known = matches!(field, "metadata.name" | "metadata.namespace");
            if !known && !kind.selectable_fields.iter().any(|each| *each == field) {
                return Err(ApiError::bad_request(
                    if kind.selectable_fields.is_empty() && kind.as_custom().is_none() {
                        format!(
                            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                        )
                    } else {
                        format!("field label not supported: {field}")
                    },
                ));
            }
        }
        let fields = fields.renamed(|field| kind.stored_field(field));
        let defined = |field: &str| !matches!(field, "metadata.name" | "metadata.namespace");
        let by_defined = fields.requirements().iter().any(|each| defined(&each.field));
        let custom = kind.as_custom().filter(|_| by_defined).cloned();
        Ok(Self { labels, fields, name: (!name.is_empty()).then(|| name.to_owned()), custom })
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything() && self.name.is_none()
    }

    /// Whether it looks at fields that a custom kind defines, which are read from the object itself, as the
    /// kind shows it.
    pub fn looks_inside(&self) -> bool {
        self.custom.is_some()
    }

    /// Whether a stored object may pass, however the kind shows it.
    pub fn may_match(&self, entry: &Entry) -> bool {
        match self.looks_inside() {
            true => self.outside().matches(entry),
            false => self.matches(entry),
        }
    }

    /// The filter without the fields that a custom kind defines.
    fn outside(&self) -> Self {
        Self { fields: FieldSelector::default(), custom: None, ..self.clone() }
    }

    /// Whether the object passes.
    pub fn matches(&self, entry: &Entry) -> bool {
        if self.is_empty() {
            return true;
        }
        if let Some(name) = &self.name
            && entry.key.rsplit('/').next() != Some(name)
        {
            return false;
        }
        if self.labels.is_everything() && self.fields.is_everything() {
            return true;
        }
        let Some(header) = entry.header::<Header>() else { return false };
        if !self.labels.matches(header) {
            return false;
        }
        let Some(custom) = &self.custom else { return self.fields.matches(|field| header.field(field)) };
        let object: Value = gantry_json::from_slice(&entry.value).unwrap_or_default();
        let read = |name: &str| Some((name.to_owned(), custom.selected(&object, name)?));
        let own: Vec<(String, String)> =
            self.fields.requirements().iter().filter_map(|each| read(&each.field)).collect();
        self.fields.matches(|field| {
            let own = own.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str());
            own.or_else(|| header.field(field))
        })
    }

    /// What `event` is to this filter; `None`: nothing.
    pub fn transition(&self, event: &Event) -> Option<Transition> {
        if self.is_empty() {
            return Some(match event.kind {
                EventKind::Create => Transition::Added,
                EventKind::Update => Transition::Modified,
                EventKind::Delete => Transition::Deleted,
            });
        }
        let before = event.prev.as_ref().is_some_and(|entry| self.matches(entry));
        if event.kind == EventKind::Delete {
            return before.then_some(Transition::Deleted);
        }
        match (before, self.matches(&event.entry)) {
            (false, true) => Some(Transition::Added),
            (true, true) => Some(Transition::Modified),
            (true, false) => Some(Transition::Left),
            (false, false) => None,
        }
    }

    /// The filter as the store's writer applies it.
    pub fn for_store(self: &Arc<Self>) -> Option<EventFilter> {
        if self.is_empty() {
            return None;
        }
        let filter = if self.looks_inside() { Arc::new(self.outside()) } else { self.clone() };
        if filter.is_empty() {
            return None;
        }
        Some(Arc::new(move |event: &Event| filter.transition(event).is_some()))
    }
}
