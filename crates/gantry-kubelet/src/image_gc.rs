//! Removal of images that nobody uses when the disk fills up: from 85 % full down to 80 %.

use std::{collections::HashSet, sync::Arc, time::Duration};

use gantry_cri::v1 as cri;
use tokio_util::sync::CancellationToken;

use crate::{agent::Agent, machine};

/// How often the disk is looked at.
const PERIOD: Duration = Duration::from_secs(300);
const HIGH_PERCENT: u64 = 85;
const LOW_PERCENT: u64 = 80;

/// How many bytes to free so that the disk is `LOW_PERCENT` full; 0 below `HIGH_PERCENT`.
fn excess(size: u64, free: u64) -> u64 {
    let used = size.saturating_sub(free);
    if size == 0 || used < size / 100 * HIGH_PERCENT { 0 } else { used - size / 100 * LOW_PERCENT }
}

/// Looks after the image file system until shutdown.
pub async fn run(agent: Arc<Agent>, shutdown: CancellationToken) {
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(error) = pass(&agent).await {
            tracing::debug!(%error, "image garbage collection waits for the runtime");
        }
    }
}

async fn pass(agent: &Agent) -> Result<(), gantry_cri::CriError> {
    let (size, free, ..) = machine::file_system(&agent.config.root_dir).unwrap_or_default();
    let mut wanted = excess(size, free);
    if wanted == 0 {
        return Ok(());
    }
    let containers = agent.runtime.list_containers(cri::ListContainersRequest::default()).await?.containers;
    let used: HashSet<String> = containers
        .into_iter()
        .flat_map(|c| [c.image_ref, c.image_id, c.image.map(|i| i.image).unwrap_or_default()])
        .collect();
    for image in agent.images.list_images(cri::ListImagesRequest::default()).await?.images {
        let names = || image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
        if wanted == 0 || image.pinned || names().any(|n| used.contains(n)) {
            continue;
        }
        tracing::info!(image = image.id, "removing an unused image");
        let spec = cri::ImageSpec { image: image.id.clone(), ..Default::default() };
        agent.images.remove_image(cri::RemoveImageRequest { image: Some(spec) }).await?;
        wanted = wanted.saturating_sub(image.size);
    }
    if wanted > 0 {
        let message = format!(
            "Failed to garbage collect required amount of images. {wanted} bytes are still to be freed"
        );
        agent.events.node(&agent.config.node_name, true, "FreeDiskSpaceFailed", message);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frees_down_to_the_low_mark() {
        for (free, expect) in [(500, 0), (151, 0), (150, 50), (0, 200)] {
            assert_eq!(excess(1000, free), expect, "{free}");
        }
    }
}
