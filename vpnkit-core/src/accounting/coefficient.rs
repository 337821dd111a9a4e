//! How much bytes through a node count against limits.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How much bytes through a node count against the limits of keys, in percent: 100 is each byte once, 0 is not at all.
///
/// ```
/// use vpnkit_core::accounting::Coefficient;
/// let premium = Coefficient::percent("traffic.set_coefficient", 150)?;
/// assert_eq!((premium.weigh(1_000), premium.reach(1_500)), (1_500, 1_000));
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coefficient(u32);

impl Default for Coefficient {
    fn default() -> Self {
        Self(100)
    }
}

impl Coefficient {
    /// The largest one, in percent.
    pub const MAX: u32 = 10_000;

    /// Takes percent.
    ///
    /// Errors: `InvalidInput` about `percent` above [`Self::MAX`].
    pub fn percent(operation: &'static str, percent: u32) -> Result<Self> {
        if percent > Self::MAX {
            return Err(Error::invalid(operation, "percent", "must be 0 to 10000").with("value", percent));
        }
        Ok(Self(percent))
    }

    /// Returns it in percent.
    #[must_use]
    pub const fn as_percent(self) -> u32 {
        self.0
    }

    /// Returns how many bytes count against a limit when so many have passed. Parts of a byte are dropped.
    #[must_use]
    pub fn weigh(self, bytes: u64) -> u64 {
        let weighed = u128::from(bytes) * u128::from(self.0) / 100;
        u64::try_from(weighed).unwrap_or(u64::MAX)
    }

    /// Returns how many bytes may pass until so many count, at least.
    #[must_use]
    pub fn reach(self, left: u64) -> u64 {
        match self.0 {
            0 => u64::MAX,
            percent => u64::try_from(u128::from(left) * 100 / u128::from(percent)).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_reaches_a_limit_is_no_more_than_it(left in any::<u64>(), percent in 0u32..=Coefficient::MAX) {
            let coefficient = Coefficient(percent);
            prop_assert!(coefficient.weigh(coefficient.reach(left)) <= left);
            prop_assert_eq!(Coefficient::default().weigh(left), left);
        }
    }
}
