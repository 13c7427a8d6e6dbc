//! LeaseCandidate: who might lead, and in which version.

use serde_json::Value;

use super::common::{dns_subdomain, one_of, qualified_name, required, text};
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
    ..Rules::NONE
};

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(path, spec, "leaseName", errors) {
        dns_subdomain(&path.child("leaseName"), name, errors);
    }
    let emulated = text(spec, "emulationVersion");
    let emulation = version(emulated);
    let wrong = "must be a valid semantic version";
    if !emulated.is_empty() && emulation.is_none() {
        errors.push(FieldError::invalid(&path.child("emulationVersion"), emulated, wrong));
    }
    if let Some(text) = required(path, spec, "binaryVersion", errors) {
        let at = path.child("binaryVersion");
        match version(text) {
            None => errors.push(FieldError::invalid(&at, text, wrong)),
            Some(binary) if emulation.is_some_and(|emulation| binary < emulation) => {
                errors.push(FieldError::invalid(
                    &at,
                    text,
                    "must be greater than or equal to `emulationVersion`",
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(strategy) = required(path, spec, "strategy", errors) {
        if strategy == OLDEST && emulation.is_none_or(|version| version == (0, 0, 0)) {
            let words = "must be specified when `strategy` is 'OldestEmulationVersion'";
            errors.push(FieldError::required(&path.child("emulationVersion"), words));
        }
        let at = path.child("strategy");
        match strategy.contains('/') {
            true => qualified_name(&at, strategy, errors),
            false => one_of(&at.child("strategy"), strategy, &[OLDEST], errors),
        }
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
