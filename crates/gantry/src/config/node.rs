//! Settings of what a node keeps from its pods and images, under the kubelet's names.

use anyhow::{Result, anyhow, bail};
use clap::Args;
use gantry_kubelet::{IMAGE_GC_PERCENT, Thresholds};
use serde::Deserialize;

/// Settings as given.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct NodeSettings {
    /// What stays free before pods are ended; what is not named is not kept free. Where absent,
    /// memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%.
    #[arg(long, env = "GANTRY_EVICTION_HARD", global = true)]
    pub eviction_hard: Option<String>,
    /// How full the disk may get before unused images go, in percent; 100 keeps them; 85 where absent.
    #[arg(long, env = "GANTRY_IMAGE_GC_HIGH_THRESHOLD", value_name = "PERCENT", global = true)]
    pub image_gc_high_threshold: Option<u8>,
    /// Down to how full a disk unused images go, in percent; 80 where absent.
    #[arg(long, env = "GANTRY_IMAGE_GC_LOW_THRESHOLD", value_name = "PERCENT", global = true)]
    pub image_gc_low_threshold: Option<u8>,
}

/// Keys in the configuration file.
pub const KEYS: &[&str] = &["eviction-hard", "image-gc-high-threshold", "image-gc-low-threshold"];

/// The settings in force.
#[derive(Debug, Clone)]
pub struct NodeLimits {
    /// What stays free before pods are ended.
    pub eviction_hard: Thresholds,
    /// How full the disk may get before unused images go, and down to what they go, in percent.
    pub image_gc_percent: (u8, u8),
}

impl NodeSettings {
    /// The settings in force for those given and those of the file.
    pub fn resolve(self, stored: Self) -> Result<NodeLimits> {
        let eviction_hard = match self.eviction_hard.or(stored.eviction_hard) {
            Some(text) => text.parse().map_err(|error| anyhow!("eviction-hard: {error}"))?,
            None => Thresholds::default(),
        };
        let high =
            self.image_gc_high_threshold.or(stored.image_gc_high_threshold).unwrap_or(IMAGE_GC_PERCENT.0);
        let low = self.image_gc_low_threshold.or(stored.image_gc_low_threshold).unwrap_or(IMAGE_GC_PERCENT.1);
        for (key, percent) in [("high", high), ("low", low)] {
            if percent > 100 {
                bail!("image-gc-{key}-threshold: {percent} must be between 0 and 100, inclusive");
            }
        }
        if low >= high {
            bail!("image-gc-low-threshold: {low} must be less than image-gc-high-threshold, which is {high}");
        }
        Ok(NodeLimits { eviction_hard, image_gc_percent: (high, low) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(settings: NodeSettings) -> String {
        settings.resolve(NodeSettings::default()).expect_err("refused").to_string()
    }

    #[test]
    fn the_usual_limits() {
        let limits = NodeSettings::default().resolve(NodeSettings::default()).expect("resolves");
        assert_eq!(limits.eviction_hard, Thresholds::default());
        assert_eq!(limits.image_gc_percent, (85, 80));
    }

    #[test]
    fn what_is_given_wins_over_what_is_stored() {
        let stored = NodeSettings {
            eviction_hard: Some("memory.available<1Gi".into()),
            image_gc_low_threshold: Some(50),
            ..NodeSettings::default()
        };
        let given = NodeSettings { eviction_hard: Some(String::new()), ..NodeSettings::default() };
        let limits = given.resolve(stored).expect("resolves");
        assert_eq!(limits.eviction_hard.given().count(), 0, "nothing is kept free where that is said");
        assert_eq!(limits.image_gc_percent, (85, 50));
    }

    #[test]
    fn what_cannot_be() {
        let eviction_hard = Some("disk<5%".into());
        let unknown = refused(NodeSettings { eviction_hard, ..NodeSettings::default() });
        assert_eq!(unknown, "eviction-hard: unsupported eviction signal disk");
        let above = refused(NodeSettings { image_gc_high_threshold: Some(101), ..NodeSettings::default() });
        assert_eq!(above, "image-gc-high-threshold: 101 must be between 0 and 100, inclusive");
        let crossed = refused(NodeSettings { image_gc_low_threshold: Some(85), ..NodeSettings::default() });
        let said = "image-gc-low-threshold: 85 must be less than image-gc-high-threshold, which is 85";
        assert_eq!(crossed, said);
    }
}
