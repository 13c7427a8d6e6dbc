//! Downward API volumes.

use k8s_openapi::api::core::v1::DownwardAPIVolumeFile;

use super::{File, Payload, Source};
use crate::{field_ref, pod};

/// The files of a downward API volume.
pub fn payload(
    source: &Source<'_>,
    items: &[DownwardAPIVolumeFile],
    default_mode: Option<i32>,
) -> Result<Payload, String> {
    let mut payload = Payload::new();
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            field_ref::field(source.pod, source.facts, &field.field_path)?
        } else if let Some(selector) = &item.resource_field_ref {
            let name = selector.container_name.as_deref().unwrap_or_default();
            let (_, container) =
                pod::find_container(source.pod, name).ok_or_else(|| format!("container {name} not found"))?;
            field_ref::resource(&container, source.facts, selector)?
        } else {
            continue;
        };
        let mode = item.mode.or(default_mode).unwrap_or(0o644) as u32 & 0o7777;
        payload.insert(item.path.clone(), File { data: value.into_bytes(), mode, owner: None });
    }
    Ok(payload)
}
