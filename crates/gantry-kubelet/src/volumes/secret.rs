//! Secret volumes.

use k8s_openapi::api::core::v1::KeyToPath;

use super::{Payload, pick};
use crate::env::Objects;

/// The files of a Secret.
pub fn payload(
    objects: &Objects,
    name: &str,
    items: &Option<Vec<KeyToPath>>,
    default_mode: Option<i32>,
    optional: Option<bool>,
) -> Result<Payload, String> {
    let optional = optional.unwrap_or(false);
    let Some(secret) = objects.secrets.get(name) else {
        return if optional { Ok(Payload::new()) } else { Err(format!("secret {name:?} not found")) };
    };
    let data = secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect();
    pick(&data, items, default_mode, optional, "references non-existent secret key")
}
