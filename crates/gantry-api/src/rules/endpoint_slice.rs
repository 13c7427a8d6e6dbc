//! EndpointSlice.

use super::common::{default, immutable, items, list, one_of, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |slice| {
        let Some(slice) = slice.as_object_mut() else { return };
        for port in items(slice, "ports") {
            default(port, "name", "");
            default(port, "protocol", "TCP");
        }
    },
    validate: |slice| {
        let mut errors = Vec::new();
        one_of(&Path::new("addressType"), text(slice, "addressType"), &["IPv4", "IPv6", "FQDN"], &mut errors);
        let endpoints = list(slice, "endpoints");
        if endpoints.len() > 1000 {
            errors.push(FieldError::too_many(&Path::new("endpoints"), endpoints.len(), 1000));
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            if list(endpoint, "addresses").is_empty() {
                let path = Path::new("endpoints").index(at).child("addresses");
                errors.push(FieldError::required(&path, "must contain at least 1 address"));
            }
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("addressType"), &new["addressType"], &old["addressType"], &mut errors);
        errors
    },
    ..Rules::NONE
};
