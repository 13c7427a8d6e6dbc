//! Preconditions and optimistic concurrency: who writes must have seen what stands there.

use gantry_api::status::ApiError;
use gantry_json::Value;

use super::Context;

/// What upstream says where a write lost a race.
pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// What the object must still be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Preconditions {
    /// Those of a DeleteOptions, or of an object's own metadata.
    pub fn read(value: &Value) -> Self {
        let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self { uid: text("uid"), resource_version: text("resourceVersion") }
    }
}

impl Context<'_> {
    pub(super) fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(&self.kind.group, &self.kind.plural, &self.info.name, why)
    }

    /// An error where `current` is not what `preconditions` say.
    pub(super) fn check(&self, preconditions: &Preconditions, current: &Value) -> Result<(), ApiError> {
        let metadata = &current["metadata"];
        let stands = |name: &str| metadata[name].as_str().unwrap_or_default();
        if let Some(uid) = &preconditions.uid
            && uid != stands("uid")
        {
            return Err(self.conflict(&format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                stands("uid")
            )));
        }
        if let Some(version) = &preconditions.resource_version
            && version != stands("resourceVersion")
        {
            return Err(self.conflict(&format!(
                "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
                stands("resourceVersion")
            )));
        }
        Ok(())
    }

    /// An error where `current`, which is to be deleted, is not what `preconditions` say.
    pub(super) fn check_deletion(
        &self,
        name: &str,
        preconditions: &Preconditions,
        current: &Value,
    ) -> Result<(), ApiError> {
        for (what, field, wanted, why) in [
            ("UID", "uid", &preconditions.uid, "deleted and then recreated"),
            ("ResourceVersion", "resourceVersion", &preconditions.resource_version, "modified"),
        ] {
            let stands = current["metadata"][field].as_str().unwrap_or_default();
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != stands) {
                let words = format!(
                    "the {what} in the precondition ({wanted}) does not match the {what} in record ({stands}). \
                     The object might have been {why}"
                );
                return Err(ApiError::conflict(&self.kind.group, &self.kind.plural, name, &words));
            }
        }
        Ok(())
    }
}
