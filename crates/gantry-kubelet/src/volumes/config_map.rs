//! ConfigMap volumes.

use k8s_openapi::api::core::v1::KeyToPath;

use super::{Payload, pick};
use crate::env::Objects;

/// The files of a ConfigMap.
pub fn payload(
    objects: &Objects,
    name: &str,
    items: &Option<Vec<KeyToPath>>,
    default_mode: Option<i32>,
    optional: Option<bool>,
) -> Result<Payload, String> {
    let optional = optional.unwrap_or(false);
    let Some(map) = objects.config_maps.get(name) else {
        return if optional { Ok(Payload::new()) } else { Err(format!("configmap {name:?} not found")) };
    };
    let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
    let missing = "configmap references non-existent config key";
    pick(&text.chain(binary).collect(), items, default_mode, optional, missing)
}
