//! Upstream's feature gates: which there are, and which are on.
//!
//! Few of them change anything here: what is on by default is simply there, and most of the others are
//! about parts that work differently. They are known all the same, so that a configuration that names
//! them is understood, and one that names what there is not is refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::runtime_config::pairs;

/// MutatingAdmissionPolicy is carried out.
pub const MUTATING_ADMISSION_POLICY: &str = "MutatingAdmissionPolicy";

/// Servers of the API say in Leases that they are there.
pub const API_SERVER_IDENTITY: &str = "APIServerIdentity";

/// A gate as it is where nobody says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gate {
    on: bool,
    locked: bool,
    /// `Alpha`, `Beta`, `GA` or `Deprecated`.
    stage: &'static str,
}

/// All gates by name.
fn gates() -> &'static BTreeMap<&'static str, Gate> {
    static GATES: LazyLock<BTreeMap<&str, Gate>> = LazyLock::new(|| {
        let lines = include_str!("features/gates.txt").lines().filter(|line| !line.starts_with('#'));
        let gates = lines.filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, stage) = (words.next()?, words.next()?);
            let (mut on, mut locked) = (false, false);
            for word in words {
                on |= word == "on";
                locked |= word == "locked";
            }
            Some((name, Gate { on, locked, stage }))
        });
        gates.collect()
    });
    &GATES
}

/// What is wrong with a choice of gates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureGateError {
    /// A gate without a value.
    #[error("missing bool value for {0}")]
    Missing(String),
    /// A value that is no truth value.
    #[error("invalid value of {0}={1}, err: {2}")]
    Value(String, String, String),
    /// There is no such gate.
    #[error("unrecognized feature gate: {0}")]
    Unknown(String),
    /// The gate cannot be changed.
    #[error("cannot set feature gate {0} to {1}, feature is locked to {2}")]
    Locked(String, bool, bool),
}

/// Which features are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeatureGates {
    chosen: BTreeMap<String, bool>,
}

impl FeatureGates {
    /// Reads settings such as `A=true,B=false`.
    pub fn parse<'a>(settings: impl IntoIterator<Item = &'a str>) -> Result<Self, FeatureGateError> {
        let settings: Vec<&str> = settings.into_iter().collect();
        let parts = || settings.iter().flat_map(|text| text.split(',')).filter(|part| !part.is_empty());
        if let Some(part) = parts().find(|part| !part.contains('=')) {
            return Err(FeatureGateError::Missing(part.trim().to_owned()));
        }
        let mut chosen = BTreeMap::new();
        for (name, value) in pairs(settings.iter().copied()) {
            let on =
                truth(&value).map_err(|why| FeatureGateError::Value(name.clone(), value.clone(), why))?;
            match gates().get(name.as_str()) {
                None if name == "AllAlpha" || name == "AllBeta" => {}
                None => return Err(FeatureGateError::Unknown(name)),
                Some(gate) if gate.locked && gate.on != on => {
                    return Err(FeatureGateError::Locked(name, on, gate.on));
                }
                Some(_) => {}
            }
            chosen.insert(name, on);
        }
        Ok(Self { chosen })
    }

    /// Whether a feature is on; one that there is not is off.
    pub fn enabled(&self, name: &str) -> bool {
        let Some(gate) = gates().get(name) else { return false };
        let all = match gate.stage {
            _ if gate.locked => None,
            "Alpha" => self.chosen.get("AllAlpha"),
            "Beta" => self.chosen.get("AllBeta"),
            _ => None,
        };
        *self.chosen.get(name).or(all).unwrap_or(&gate.on)
    }
}

impl FeatureGates {
    /// All features by name, each with its stage, `Alpha`, `Beta`, `GA` or `Deprecated`, and whether it is on.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        gates().iter().map(|(name, gate)| (*name, gate.stage, self.enabled(name)))
    }
}

/// The truth value that a text stands for; the error is in upstream's words.
pub(crate) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("strconv.ParseBool: parsing {other:?}: invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_as_chosen_or_as_they_are() {
        let check = |settings: &str, name: &str, expect: bool| {
            let gates = FeatureGates::parse([settings]).expect(settings);
            assert_eq!(gates.enabled(name), expect, "{name} with {settings}");
        };
        check("", MUTATING_ADMISSION_POLICY, false);
        check("MutatingAdmissionPolicy=true", MUTATING_ADMISSION_POLICY, true);
        check("AllBeta=true", MUTATING_ADMISSION_POLICY, true);
        check("AllBeta=true,MutatingAdmissionPolicy=false", MUTATING_ADMISSION_POLICY, false);
        check("AllAlpha=true", MUTATING_ADMISSION_POLICY, false);
        check("AllAlpha=true", "CustomCPUCFSQuotaPeriod", true);
        check("AllBeta=false", "APIResponseCompression", false);
        check(" APIResponseCompression = F ", "APIResponseCompression", false);
        check("", "NoSuchThing", false);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |settings: &str, expect: &str| {
            assert_eq!(FeatureGates::parse([settings]).expect_err(settings).to_string(), expect);
        };
        check("NoSuchThing=true", "unrecognized feature gate: NoSuchThing");
        check("MutatingAdmissionPolicy", "missing bool value for MutatingAdmissionPolicy");
        check(
            "MutatingAdmissionPolicy=on",
            "invalid value of MutatingAdmissionPolicy=on, err: strconv.ParseBool: parsing \"on\": invalid syntax",
        );
        check(
            "SidecarContainers=false",
            "cannot set feature gate SidecarContainers to false, feature is locked to true",
        );
    }

    #[test]
    fn every_line_is_a_gate() {
        assert!(gates().len() > 150);
        for (name, gate) in gates() {
            assert!(matches!(gate.stage, "Alpha" | "Beta" | "GA" | "Deprecated"), "{name}");
            assert!(!gate.locked || matches!(gate.stage, "GA" | "Deprecated"), "{name}");
        }
    }
}
