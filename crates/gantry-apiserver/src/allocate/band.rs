//! Numbers `0..size` from which one is taken. The lower band is left to explicit requests for as long as
//! the upper one has room (KEP-3070).

/// How many numbers there are, and how many of them are handed out last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    size: u64,
    reserved: u64,
}

impl Band {
    /// `size` numbers of which the first `reserved` are handed out last.
    pub fn new(size: u64, reserved: u64) -> Self {
        Self { size, reserved: reserved.min(size) }
    }

    /// The size of the reserved lower band for a range of `size` numbers: a `step`-th of it, but at
    /// least `min` and at most `max`, and none at all in a range too small to divide.
    pub fn reserve(size: u64, min: u64, max: u64, step: u64) -> u64 {
        if size <= min { 0 } else { (size / step).clamp(min, max) }
    }

    /// How many there are.
    pub fn size(self) -> u64 {
        self.size
    }

    /// A number that is not `taken`, looked for from a place given by `seed`; `None` when all are. Looks at
    /// one number more than are taken, at most.
    pub fn pick(self, seed: u64, taken: impl Fn(u64) -> bool) -> Option<u64> {
        let free = |from: u64, to: u64| {
            let span = to.checked_sub(from).filter(|span| *span > 0)?;
            let start = from + seed % span;
            (start..to).chain(from..start).find(|number| !taken(*number))
        };
        free(self.reserved, self.size).or_else(|| free(0, self.reserved))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reserves_a_lower_band() {
        let check = |size, expect| assert_eq!(Band::reserve(size, 16, 256, 16), expect, "{size}");
        check(8, 0);
        check(16, 0);
        check(64, 16);
        check(1024, 64);
        check(65_536, 256);
    }

    #[test]
    fn dynamic_numbers_come_from_the_upper_band_first() {
        let band = Band::new(8, 3);
        let mut taken = BTreeSet::new();
        let order: Vec<_> = (0..9)
            .map(|seed| {
                let number = band.pick(seed, |number| taken.contains(&number));
                taken.extend(number);
                number
            })
            .collect();
        assert!(order[..5].iter().flatten().all(|number| *number >= 3));
        assert!(order[5..8].iter().flatten().all(|number| *number < 3));
        assert_eq!(order[8], None);
    }

    proptest! {
        #[test]
        fn picks_what_is_free_while_something_is(
            size in 0u64..80,
            reserved in 0u64..90,
            taken in prop::collection::btree_set(0u64..80, 0..80),
            seed in any::<u64>(),
        ) {
            match Band::new(size, reserved).pick(seed, |number| taken.contains(&number)) {
                Some(number) => {
                    prop_assert!(number < size && !taken.contains(&number));
                    let room_above = (reserved..size).any(|number| !taken.contains(&number));
                    prop_assert!(number >= reserved || !room_above);
                }
                None => prop_assert!((0..size).all(|number| taken.contains(&number))),
            }
        }
    }
}
