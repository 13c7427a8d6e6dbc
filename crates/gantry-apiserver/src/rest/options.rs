//! The options of list and watch requests, checked as upstream checks them.

use gantry_api::field::{FieldError, Path};
use gantry_api::status::ApiError;

use crate::request::Query;

/// How a resource version in a list is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// This revision and no other.
    Exact,
    /// This revision or a later one.
    NotOlderThan,
}

/// The options of a list or watch.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// The revision asked for; `None` where it was left out.
    pub resource_version: Option<u64>,
    /// How that revision is meant.
    pub matching: Option<Match>,
    /// The most objects to return; 0: all.
    pub limit: usize,
    /// Where an earlier list stopped.
    pub resume: Option<String>,
    /// Whether a watch wants bookmarks.
    pub bookmarks: bool,
    /// Whether a watch starts with the objects that exist.
    pub send_initial: Option<bool>,
    /// When the watch ends, in seconds.
    pub timeout_seconds: Option<u64>,
}

fn invalid(errors: &[FieldError]) -> ApiError {
    ApiError::invalid("meta.k8s.io", "ListOptions", "", errors)
}

impl ListOptions {
    /// Reads `query`.
    pub fn parse(query: &Query, watch: bool) -> Result<Self, ApiError> {
        let text = query.filled("resourceVersion");
        let resource_version = match text {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| invalid_version(text))?),
        };
        let send_initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        let resume = query.filled("continue").map(str::to_owned);
        let matching = matching(query, watch, resume.is_some(), send_initial)?;
        if resume.is_some() && resource_version.is_some_and(|version| version != 0) {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Self {
            resource_version,
            matching,
            limit: number(query, "limit")?.unwrap_or(0) as usize,
            resume,
            bookmarks: query.flag("allowWatchBookmarks"),
            send_initial,
            timeout_seconds: number(query, "timeoutSeconds")?,
        })
    }
}

/// A 400 about a resource version that is no number.
pub fn invalid_version(text: &str) -> ApiError {
    ApiError::bad_request(format!(
        "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    ))
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.filled(name) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) => Ok(Some(number.max(0).unsigned_abs())),
        Err(_) => Err(ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
    }
}

fn matching(
    query: &Query,
    watch: bool,
    resuming: bool,
    send_initial: Option<bool>,
) -> Result<Option<Match>, ApiError> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    let mut forbid = |detail: &str| errors.push(FieldError::forbidden(&path, detail));
    let text = query.filled("resourceVersionMatch");
    let resumed = "resourceVersionMatch is forbidden when continue is provided";
    let supported: &[&str] = if watch {
        if send_initial.is_some() && text != Some("NotOlderThan") {
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if text.is_some() && send_initial.is_none() {
            forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        &["NotOlderThan"]
    } else {
        let version = query.filled("resourceVersion");
        if text.is_some() && version.is_none() {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if text == Some("Exact") && version == Some("0") {
            forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
        &["Exact", "NotOlderThan", ""]
    };
    if text.is_some() && resuming {
        forbid(resumed);
    }
    if let Some(text) = text.filter(|text| !supported.contains(text)) {
        errors.push(FieldError::not_supported(&path, text, supported));
    }
    if !watch && send_initial.is_some() {
        let path = Path::new("sendInitialEvents");
        errors.push(FieldError::forbidden(&path, "sendInitialEvents is forbidden for list"));
    }
    if !errors.is_empty() {
        return Err(invalid(&errors));
    }
    Ok(match text {
        Some("Exact") => Some(Match::Exact),
        Some(_) => Some(Match::NotOlderThan),
        None => None,
    })
}
