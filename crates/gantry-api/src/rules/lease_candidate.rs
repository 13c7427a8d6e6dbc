//! LeaseCandidate: who might lead, and in which version.

use gantry_json::Value;

use super::common::{immutable, one_of, qualified_name, required, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

const OLDEST: &str = "OldestEmulationVersion";

/// The rules.
pub const RULES: Rules = Rules {
    validate: |candidate| {
        let mut errors = Vec::new();
        validate(&Path::new("spec"), &candidate["spec"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("leaseName");
        immutable(&path, &new["spec"]["leaseName"], &old["spec"]["leaseName"], &mut errors);
        errors
    },
    ..Rules::NONE
};

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    required(path, spec, "leaseName", errors);
    let emulated = text(spec, "emulationVersion");
    let emulation = version(emulated);
    let wrong = "must be a valid semantic version";
    if !emulated.is_empty() && emulation.is_none() {
        errors.push(FieldError::invalid(&path.child("emulationVersion"), emulated, wrong));
    }
    if let Some(text) = required(path, spec, "binaryVersion", errors) {
        let at = path.child("binaryVersion");
        let binary = version(text);
        if binary.is_none() {
            errors.push(FieldError::invalid(&at, text, wrong));
        }
        // What is no version counts as the first of all.
        if !emulated.is_empty() && binary.unwrap_or_default() < emulation.unwrap_or_default() {
            let words = "must be greater than or equal to `emulationVersion`";
            errors.push(FieldError::invalid(&at, text, words));
        }
    }
    if let Some(chosen) = required(path, spec, "strategy", errors) {
        if chosen == OLDEST && emulation.is_none_or(|version| version == (0, 0, 0)) {
            let words = "must be specified when `strategy` is 'OldestEmulationVersion'";
            errors.push(FieldError::required(&path.child("emulationVersion"), words));
        }
        strategy(&path.child("strategy"), chosen, errors);
    }
}

/// Checks the way in which a leader is chosen: one that the API knows, or somebody's own.
pub(super) fn strategy(path: &Path, strategy: &str, errors: &mut Vec<FieldError>) {
    let path = path.child("strategy");
    match strategy.contains('/') {
        true => qualified_name(&path, strategy, errors),
        false => one_of(&path, strategy, &[OLDEST], errors),
    }
}

/// The numbers of a semantic version; what follows them does not order candidates here.
fn version(text: &str) -> Option<(u64, u64, u64)> {
    let numbers = text.split(['-', '+']).next()?;
    let mut parts = numbers.split('.').map(|part| {
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = plain && (part.len() == 1 || !part.starts_with('0'));
        canonical.then(|| part.parse::<u64>().ok()).flatten()
    });
    let version = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(version)
}
