//! Identities of objects, small enough to keep one for everything in the cluster.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::LazyLock;

/// An object's uid: the UUID itself, or a fingerprint of a uid in any other form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uid(u128);

impl Uid {
    /// The identity that `text` stands for. Texts that differ are different uids.
    pub fn of(text: &str) -> Self {
        // A UUID of this form has its variant bits; a fingerprint is given others.
        const VARIANT: u128 = 0b11 << 62;
        uuid(text).filter(|uuid| uuid & VARIANT == 0b10 << 62).map_or_else(
            || {
                // Nobody can choose texts with the same fingerprint without knowing the keys.
                static KEYS: LazyLock<[std::hash::RandomState; 2]> = LazyLock::new(Default::default);
                let [high, low] = KEYS.each_ref().map(|keys| u128::from(keys.hash_one(text)));
                Self((high << 64 | low) & !VARIANT)
            },
            Self,
        )
    }
}

/// The number in a UUID as the API writes it: small letters, five groups.
fn uuid(text: &str) -> Option<u128> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    if text.len() != 36 {
        return None;
    }
    text.bytes().enumerate().try_fold(0, |number: u128, (at, byte)| match byte {
        b'-' if DASHES.contains(&at) => Some(number),
        b'0'..=b'9' if !DASHES.contains(&at) => Some(number << 4 | u128::from(byte - b'0')),
        b'a'..=b'f' if !DASHES.contains(&at) => Some(number << 4 | u128::from(byte - b'a' + 10)),
        _ => None,
    })
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = self;
        let part = |shift: u32, digits: u32| (number >> shift) & ((1 << (4 * digits)) - 1);
        let [a, b, c, d, e] = [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)];
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_kept_and_everything_else_told_apart() {
        let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(Uid::of(uuid).to_string(), uuid);
        let others =
            ["", "1", "0F8FAD5B-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950-", uuid];
        for (at, one) in others.iter().enumerate() {
            assert_eq!(Uid::of(one), Uid::of(one));
            assert!(others[..at].iter().all(|other| Uid::of(other) != Uid::of(one)), "{one}");
        }
    }
}
