//! The order of versions by their names: stable ones first, then betas, then alphas, newer ones first;
//! names of another form last, by the alphabet.

use std::cmp::Ordering;

/// How mature a version is, and its numbers.
fn parts(name: &str) -> Option<(u8, u64, u64)> {
    let rest = name.strip_prefix('v')?;
    let number = |text: &str| -> Option<u64> {
        let plain =
            !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| plain)
    };
    for (maturity, word) in [(1, "beta"), (0, "alpha")] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((maturity, number(major)?, number(minor)?));
        }
    }
    Some((2, number(rest)?, 0))
}

/// Compares versions so that the one to prefer is less.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (parts(a), parts(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mature_and_new_versions_come_first() {
        let mut names =
            ["foo1", "v1alpha1", "v10", "v2beta1", "v1", "v11alpha2", "v12alpha1", "foo10", "v3beta1", "v2"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(
            names,
            ["v10", "v2", "v1", "v3beta1", "v2beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"]
        );
    }
}
