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

/// The ports in use.
#[derive(Debug, Clone)]
pub struct PortAllocator {
    range: RangeInclusive<u16>,
    band: Band,
}

impl PortAllocator {
    /// An allocator over `range`.
    pub fn new(range: RangeInclusive<u16>) -> Self {
        let size = range.clone().count() as u64;
        Self { range, band: Band::new(size, Band::reserve(size, 16, 128, 32)) }
    }

    /// Takes `port`.
    pub fn take(&mut self, port: u16) -> Result<(), PortError> {
        if !self.range.contains(&port) {
            return Err(PortError::NotInRange { first: *self.range.start(), last: *self.range.end() });
        }
        if self.band.take(u64::from(port - self.range.start())) { Ok(()) } else { Err(PortError::Allocated) }
    }

    /// Takes any free port; `seed` is a random number.
    pub fn take_any(&mut self, seed: u64) -> Result<u16, PortError> {
        let offset = self.band.take_any(seed).ok_or(PortError::Full)?;
        Ok(self.range.start() + offset as u16)
    }

    /// Gives `port` back. False: it was not in use.
    pub fn release(&mut self, port: u16) -> bool {
        self.range.contains(&port) && self.band.release(u64::from(port - self.range.start()))
    }

    /// Whether `port` is in use.
    pub fn has(&self, port: u16) -> bool {
        self.range.contains(&port) && self.band.has(u64::from(port - self.range.start()))
    }

    /// How many ports are in use.
    pub fn used(&self) -> usize {
        self.band.used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_free_and_in_range() {
        let mut ports = PortAllocator::new(30_000..=32_767);
        let mut check = |port, expect: Result<(), &str>| {
            let got = ports.take(port).map_err(|error| error.to_string());
            assert_eq!(got, expect.map_err(str::to_owned), "{port}");
        };
        check(30_080, Ok(()));
        check(30_080, Err("provided port is already allocated"));
        let outside = "provided port is not in the valid range. The range of valid ports is 30000-32767";
        check(80, Err(outside));
        assert!(ports.take_any(0).unwrap() >= 30_086, "the lower band is for explicit requests");
        assert!(ports.release(30_080));
        assert!(ports.take(30_080).is_ok());
    }
}
