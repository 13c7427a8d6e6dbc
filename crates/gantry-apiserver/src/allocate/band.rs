//! A set of numbers `0..size` from which callers take a given one or any one. The lower band is left
//! to explicit requests for as long as the upper one has room (KEP-3070).

use std::collections::BTreeSet;

/// The numbers in use. Never hands out a number that is in use.
#[derive(Debug, Clone)]
pub struct Band {
    size: u64,
    reserved: u64,
    used: BTreeSet<u64>,
}

impl Band {
    /// `size` numbers of which the first `reserved` are handed out last.
    pub fn new(size: u64, reserved: u64) -> Self {
        Self { size, reserved: reserved.min(size), used: BTreeSet::new() }
    }

    /// The size of the reserved lower band for a range of `size` numbers: a `step`-th of it, but at
    /// least `min` and at most `max`, and none at all in a range too small to divide.
    pub fn reserve(size: u64, min: u64, max: u64, step: u64) -> u64 {
        if size <= min { 0 } else { (size / step).clamp(min, max) }
    }

    /// Takes `number`. False: it is out of range or in use.
    pub fn take(&mut self, number: u64) -> bool {
        number < self.size && self.used.insert(number)
    }

    /// Takes any free number, looked for from a place given by `seed`; `None` when all are in use.
    pub fn take_any(&mut self, seed: u64) -> Option<u64> {
        let free = self
            .first_free(self.reserved, self.size, seed)
            .or_else(|| self.first_free(0, self.reserved, seed))?;
        self.used.insert(free);
        Some(free)
    }

    /// Gives `number` back. False: it was not in use.
    pub fn release(&mut self, number: u64) -> bool {
        self.used.remove(&number)
    }

    /// Whether `number` is in use.
    pub fn has(&self, number: u64) -> bool {
        self.used.contains(&number)
    }

    /// How many are in use.
    pub fn used(&self) -> usize {
        self.used.len()
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    fn first_free(&self, from: u64, to: u64, seed: u64) -> Option<u64> {
        let span = to.checked_sub(from).filter(|span| *span > 0)?;
        let start = from + seed % span;
        self.gap(start, to).or_else(|| self.gap(from, start))
    }

    /// The first free number in `from..to`.
    fn gap(&self, from: u64, to: u64) -> Option<u64> {
        let mut candidate = from;
        for used in self.used.range(from..to) {
            if *used > candidate {
                break;
            }
            candidate = used + 1;
        }
        (candidate < to).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
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
        let mut band = Band::new(8, 3);
        let taken: Vec<_> = (0..9).map(|seed| band.take_any(seed)).collect();
        assert!(taken[..5].iter().flatten().all(|number| *number >= 3));
        assert!(taken[5..8].iter().flatten().all(|number| *number < 3));
        assert_eq!(taken[8], None);
    }

    proptest! {
        #[test]
        fn never_hands_out_a_number_in_use(
            size in 1u64..80,
            reserved in 0u64..90,
            steps in prop::collection::vec((0u8..3, any::<u64>()), 0..300),
        ) {
            let mut band = Band::new(size, reserved);
            let mut model = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => match band.take_any(number) {
                        Some(taken) => prop_assert!(taken < size && model.insert(taken)),
                        None => prop_assert_eq!(model.len() as u64, size),
                    },
                    1 => {
                        let number = number % (size + 2);
                        let free = number < size && !model.contains(&number);
                        prop_assert_eq!(band.take(number), free);
                        if free { model.insert(number); }
                    }
                    _ => {
                        let number = number % (size + 2);
                        prop_assert_eq!(band.release(number), model.remove(&number));
                    }
                }
                prop_assert_eq!(band.used(), model.len());
            }
        }
    }
}
