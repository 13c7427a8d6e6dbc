//! What a node keeps free, in the words of the kubelet's `evictionHard`: `memory.available<100Mi` or
//! `nodefs.available<10%`, several with commas between them.

use std::{collections::BTreeMap, str::FromStr};

use super::Resource;
use crate::quantity;

/// The signals, and what is short by them. Images, containers and volumes are on one file system here, so
/// of its three names the one counts that keeps most free.
const SIGNALS: [(&str, Resource); 8] = [
    ("memory.available", Resource::Memory),
    ("nodefs.available", Resource::Storage),
    ("imagefs.available", Resource::Storage),
    ("containerfs.available", Resource::Storage),
    ("nodefs.inodesFree", Resource::Inodes),
    ("imagefs.inodesFree", Resource::Inodes),
    ("containerfs.inodesFree", Resource::Inodes),
    ("pid.available", Resource::Processes),
];

/// What is kept free where nothing else is said.
const USUAL: &str = "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%";

/// How much is kept free by each signal; nothing where one is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(BTreeMap<&'static str, Threshold>);

#[derive(Clone, Debug, PartialEq)]
struct Threshold {
    /// As it was given.
    text: String,
    amount: Amount,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Amount {
    /// Bytes, or a number of what is counted.
    Number(i64),
    /// Part of all that there is. As exact as upstream has it, which shows in what a node may give to pods.
    Part(f32),
}

impl Thresholds {
    /// How much of a resource is kept free, of all that there is.
    pub fn kept(&self, resource: Resource, all: i64) -> i64 {
        let signals = SIGNALS.iter().filter(|(_, each)| *each == resource);
        let amount = |threshold: &Threshold| match threshold.amount {
            Amount::Number(number) => number,
            Amount::Part(part) => (all as f64 * f64::from(part)) as i64,
        };
        signals.filter_map(|(signal, _)| self.0.get(signal).map(amount)).max().unwrap_or(0)
    }

    /// What was given for each signal.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(signal, threshold)| (*signal, threshold.text.as_str()))
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        USUAL.parse().expect("the usual thresholds are some")
    }
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut thresholds = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (signal, text) = pair
                .split_once('<')
                .map(|(signal, text)| (signal.trim(), text.trim()))
                .ok_or_else(|| format!("malformed pair {pair:?}, expected signal<quantity"))?;
            let (signal, _) = SIGNALS
                .iter()
                .find(|(known, _)| *known == signal)
                .ok_or_else(|| format!("unsupported eviction signal {signal}"))?;
            if let Some(amount) = amount(signal, text)? {
                thresholds.insert(*signal, Threshold { text: text.into(), amount });
            }
        }
        Ok(Self(thresholds))
    }
}

/// What `text` says is kept free; nothing of `0%` and `100%`, which turn a signal off.
fn amount(signal: &str, text: &str) -> Result<Option<Amount>, String> {
    let Some(percent) = text.strip_suffix('%') else {
        let number = quantity::milli(text).ok_or_else(|| {
            format!("eviction threshold {signal} must be a quantity or a percentage: {text}")
        })?;
        if number <= 0 {
            return Err(format!("eviction threshold {signal} must be positive: {text}"));
        }
        let whole = i64::try_from((number + 999) / 1000).unwrap_or(i64::MAX);
        return Ok(Some(Amount::Number(whole)));
    };
    let percent: f32 = percent
        .parse()
        .map_err(|_| format!("eviction percentage threshold {signal} must be a number: {text}"))?;
    match percent {
        0.0 | 100.0 => Ok(None),
        below if below < 0.0 => Err(format!("eviction percentage threshold {signal} must be >= 0%: {text}")),
        within if within < 100.0 => Ok(Some(Amount::Part(within / 100.0))),
        _ => Err(format!("eviction percentage threshold {signal} must be <= 100%: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_free() {
        let given = "memory.available<1Gi,nodefs.available<5%,imagefs.available<7.5%,pid.available<0%";
        let thresholds: Thresholds = given.parse().unwrap();
        assert_eq!(thresholds.kept(Resource::Memory, 8 << 30), 1 << 30);
        assert_eq!(thresholds.kept(Resource::Storage, 1000), 75, "the strictest of one file system");
        assert_eq!(thresholds.kept(Resource::Inodes, 1000), 0, "a signal that is missing keeps nothing");
        assert_eq!(thresholds.kept(Resource::Processes, 1000), 0, "nothing turns a signal off");
        let shown: Vec<_> = thresholds.given().collect();
        let expected =
            [("imagefs.available", "7.5%"), ("memory.available", "1Gi"), ("nodefs.available", "5%")];
        assert_eq!(shown, expected);
        assert_eq!("".parse::<Thresholds>().unwrap().kept(Resource::Storage, 1000), 0);
    }

    #[test]
    fn what_is_usually_kept_free() {
        let usual = Thresholds::default();
        let of_a_thousand = [Resource::Storage, Resource::Inodes, Resource::Processes];
        assert_eq!(of_a_thousand.map(|resource| usual.kept(resource, 1000)), [100, 50, 0]);
        assert_eq!(usual.kept(Resource::Memory, 8 << 30), 100 << 20);
    }

    #[test]
    fn what_is_no_threshold() {
        for (text, fault) in [
            ("memory.available", "malformed pair \"memory.available\", expected signal<quantity"),
            ("disk.available<1Gi", "unsupported eviction signal disk.available"),
            (
                "memory.available<much",
                "eviction threshold memory.available must be a quantity or a percentage: much",
            ),
            ("memory.available<0", "eviction threshold memory.available must be positive: 0"),
            ("nodefs.available<-1%", "eviction percentage threshold nodefs.available must be >= 0%: -1%"),
            ("nodefs.available<101%", "eviction percentage threshold nodefs.available must be <= 100%: 101%"),
            ("nodefs.available<NaN%", "eviction percentage threshold nodefs.available must be <= 100%: NaN%"),
            ("nodefs.available<x%", "eviction percentage threshold nodefs.available must be a number: x%"),
        ] {
            assert_eq!(text.parse::<Thresholds>(), Err(fault.into()));
        }
    }
}
