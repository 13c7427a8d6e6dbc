//! Projected volumes: several sources in one directory.

use k8s_openapi::api::core::v1::ProjectedVolumeSource;

use super::{DEFAULT_TOKEN_SECONDS, File, Payload, Source, config_map, downward_api, secret};

/// The files of all sources together.
pub fn payload(source: &Source<'_>, volume: &ProjectedVolumeSource) -> Result<Payload, String> {
    let mut payload = Payload::new();
    let mode = volume.default_mode;
    for projection in volume.sources.iter().flatten() {
        if let Some(p) = &projection.config_map {
            payload.extend(config_map::payload(source.objects, &p.name, &p.items, mode, p.optional)?);
        } else if let Some(p) = &projection.secret {
            payload.extend(secret::payload(source.objects, &p.name, &p.items, mode, p.optional)?);
        } else if let Some(p) = &projection.downward_api {
            payload.extend(downward_api::payload(source, p.items.as_deref().unwrap_or_default(), mode)?);
        } else if let Some(p) = &projection.service_account_token {
            let key = (
                p.audience.clone().unwrap_or_default(),
                p.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS),
            );
            let token = source.tokens.get(&key).ok_or("failed to fetch token")?;
            let owner = super::fs_user(source.pod);
            let private = owner.is_some() || super::fs_group(source.pod).is_some();
            let mode = if private { 0o600 } else { mode.unwrap_or(0o644) as u32 };
            payload.insert(p.path.clone(), File { data: token.clone().into_bytes(), mode, owner });
        } else if projection.cluster_trust_bundle.is_some() || projection.pod_certificate.is_some() {
            return Err("projection source is not supported".into());
        }
    }
    Ok(payload)
}
