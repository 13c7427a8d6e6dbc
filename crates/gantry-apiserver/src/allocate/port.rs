//! Node ports out of one range.

use std::ops::RangeInclusive;

use super::band::Band;

/// Why a port was not handed out. The texts are those clients know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Every port is in use.
    #[error("range is full")]
    Full,
    /// The port asked for is in use.
    #[error("provided port is already allocated")]
    Allocated,
    /// The port asked for is not in the range.
    #[error("provided port is not in the valid range. The range of valid ports is {first}-{last}")]
    NotInRange {
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
}

/// The ports that are handed out.
#[derive(Debug, Clone)]
pub struct Ports {
    range: RangeInclusive<u16>,
    band: Band,
}

impl Ports {
    /// Those of `range`.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let size = range.clone().count() as u64;
        Self { range, band: Band::new(size, Band::reserve(size, 16, 128, 32)) }
    }

    /// Whether `port` can be had.
    pub fn check(&self, port: u16, taken: impl Fn(u16) -> bool) -> Result<(), PortError> {
        if !self.range.contains(&port) {
            return Err(PortError::NotInRange { first: *self.range.start(), last: *self.range.end() });
        }
        if taken(port) { Err(PortError::Allocated) } else { Ok(()) }
    }

    /// A port that is not `taken`; `seed` is a random number.
    pub fn pick(&self, seed: u64, taken: impl Fn(u16) -> bool) -> Result<u16, PortError> {
        let port = |offset: u64| self.range.start() + offset as u16;
        self.band.pick(seed, |offset| taken(port(offset))).map(port).ok_or(PortError::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_and_in_range() {
        let ports = Ports::new(30_000..=32_767);
        let check = |port, expect: Result<(), &str>| {
            let got = ports.check(port, |port| port == 30_080).map_err(|error| error.to_string());
            assert_eq!(got, expect.map_err(str::to_owned), "{port}");
        };
        check(30_081, Ok(()));
        check(30_080, Err("provided port is already allocated"));
        let outside = "provided port is not in the valid range. The range of valid ports is 30000-32767";
        check(80, Err(outside));
        assert!(ports.pick(0, |_| false).unwrap() >= 30_086, "the lower band is for explicit requests");
        assert_eq!(ports.pick(0, |_| true), Err(PortError::Full));
    }
}
