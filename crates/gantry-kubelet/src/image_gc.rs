//! Removal of images that nobody uses when the disk fills up: from 85 % full down to 80 %, the one that
//! was used longest ago first. What has not been here for long (two minutes) stays: it may be about to be
//! used. Nothing goes before the API has told which pods the node has.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use gantry_cri::v1 as cri;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{agent::Agent, gc::every, image, machine, pod};

/// How often the disk is looked at.
const PERIOD: Duration = Duration::from_secs(300);

/// How many bytes to free so that the disk is `low` percent full; 0 when it is not `high` percent full.
fn excess(size: u64, free: u64, (high, low): (u8, u8)) -> u64 {
    let used = size.saturating_sub(free);
    if size == 0 || high >= 100 || used < size / 100 * u64::from(high) {
        0
    } else {
        used - size / 100 * u64::from(low)
    }
}

/// When an image was first seen, and when it was last used.
#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Instant,
    used: Instant,
}

/// The images known, by id.
#[derive(Debug, Default)]
pub struct Images(HashMap<String, Seen>);

impl Images {
    /// Takes in which images there are and which of them are in use.
    fn observe(&mut self, images: &[cri::Image], used: &HashSet<String>, now: Instant) {
        let long_ago = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
        self.0.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            let seen = self.0.entry(image.id.clone()).or_insert(Seen { first: now, used: long_ago });
            let mut names = image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
            if image.pinned || names.any(|name| used.contains(name)) {
                seen.used = now;
            }
        }
    }

    /// Ids of images to remove, in order, that free at least `wanted` bytes together, and what then still
    /// is to be freed.
    fn choose(
        &self,
        images: &[cri::Image],
        mut wanted: u64,
        min_age: Duration,
        now: Instant,
    ) -> (Vec<String>, u64) {
        let old = |image: &&cri::Image| {
            self.0.get(&image.id).is_some_and(|seen| seen.used < now && now - seen.first >= min_age)
        };
        let mut free: Vec<&cri::Image> = images.iter().filter(old).collect();
        free.sort_by_key(|image| self.0.get(&image.id).map(|seen| (seen.used, seen.first)));
        let mut chosen = Vec::new();
        for image in free {
            if wanted == 0 {
                break;
            }
            chosen.push(image.id.clone());
            wanted = wanted.saturating_sub(image.size);
        }
        (chosen, wanted)
    }
}

/// Looks after the image file system until shutdown.
pub async fn run(agent: Arc<Agent>, shutdown: CancellationToken) {
    // What pods use is not known before.
    tokio::select! {
        () = shutdown.cancelled() => return,
        _ = agent.listed.wait() => {}
    }
    every(PERIOD, &shutdown, "image garbage collection", || pass(&agent)).await;
}

async fn pass(agent: &Agent) -> Result<(), gantry_cri::CriError> {
    let (size, free, ..) = machine::file_system(&agent.config.root_dir).unwrap_or_default();
    let wanted = excess(size, free, agent.config.image_gc_percent);
    let missing = self::free(agent, wanted).await?;
    if missing > 0 {
        let message = format!(
            "Failed to garbage collect required amount of images. {missing} bytes are still to be freed"
        );
        agent.events.node(&agent.config.node_name, true, "FreeDiskSpaceFailed", message);
    }
    Ok(())
}

/// Ids of the images that pods have as volumes.
async fn mounted(agent: &Agent) -> Result<Vec<String>, gantry_cri::CriError> {
    let mut ids = Vec::new();
    for pod in agent.all_pods().iter().filter(|pod| !pod::is_terminal_phase(pod)) {
        let volumes = pod::spec(pod).volumes.iter().flatten().filter_map(|v| v.image.as_ref());
        for name in volumes.filter_map(|v| image::with_default_tag(v.reference.as_deref()?).ok()) {
            let spec = cri::ImageSpec { image: name, ..Default::default() };
            let request = cri::ImageStatusRequest { image: Some(spec), verbose: false };
            ids.extend(agent.images.image_status(request).await?.image.map(|image| image.id));
        }
    }
    Ok(ids)
}

/// Takes in what there is, and removes images until so many bytes are freed; what is still to be freed.
pub async fn free(agent: &Agent, wanted: u64) -> Result<u64, gantry_cri::CriError> {
    if agent.listed.get().is_none() {
        return Ok(wanted);
    }
    let containers = agent.runtime.list_containers(cri::ListContainersRequest::default()).await?.containers;
    let mut used: HashSet<String> = containers
        .into_iter()
        .flat_map(|c| [c.image_ref, c.image_id, c.image.map(|i| i.image).unwrap_or_default()])
        .collect();
    used.extend(mounted(agent).await?);
    let images = agent.images.list_images(cri::ListImagesRequest::default()).await?.images;
    let now = Instant::now();
    let (chosen, missing) = {
        let mut known = agent.known_images.lock();
        known.observe(&images, &used, now);
        known.choose(&images, wanted, agent.config.image_gc_min_age, now)
    };
    for image in chosen {
        tracing::info!(image, "removing an unused image");
        let spec = cri::ImageSpec { image, ..Default::default() };
        agent.images.remove_image(cri::RemoveImageRequest { image: Some(spec) }).await?;
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frees_down_to_the_low_mark() {
        for (free, expect) in [(500, 0), (151, 0), (150, 50), (0, 200)] {
            assert_eq!(excess(1000, free, (85, 80)), expect, "{free}");
        }
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let image = |id: &str| cri::Image { id: id.into(), size: 10, ..Default::default() };
        let all = ["used", "late", "early", "never"].map(image);
        let min_age = Duration::from_secs(120);
        let start = Instant::now() + min_age;
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let used = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        let mut images = Images::default();
        images.observe(&all, &used(&["used", "early", "late"]), at(0));
        assert_eq!(images.choose(&all, 100, min_age, at(1)), (vec![], 100), "all are new");
        images.observe(&all, &used(&["used", "late"]), at(2));
        let more = [&all[..], &[image("new")]].concat();
        images.observe(&more, &used(&["used"]), at(4));
        assert_eq!(images.choose(&more, 15, min_age, at(4)).0, ["never", "early"]);
        let (chosen, missing) = images.choose(&more, 35, min_age, at(4));
        assert_eq!((chosen.last().unwrap().as_str(), chosen.len(), missing), ("late", 3, 5));
    }
}
