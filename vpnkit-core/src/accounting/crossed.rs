//! Which share of a limit was passed.

/// Returns the highest of these shares of a limit, in percent, that was passed from `before` to `after`; 100 when the limit was
/// reached.
///
/// ```
/// use vpnkit_core::accounting::crossed;
/// assert_eq!(crossed(10, 85, 100, &[80, 90]), Some(80));
/// assert_eq!(crossed(85, 89, 100, &[80, 90]), None);
/// assert_eq!(crossed(10, 100, 100, &[80, 90]), Some(100));
/// ```
#[must_use]
pub fn crossed(before: u64, after: u64, limit: u64, percents: &[u8]) -> Option<u8> {
    let reaches =
        |bytes: u64, percent: u8| u128::from(bytes) * 100 >= u128::from(limit) * u128::from(percent);
    let passed = |percent: &u8| !reaches(before, *percent) && reaches(after, *percent);
    if limit == 0 || after <= before {
        return None;
    }
    if passed(&100) {
        return Some(100);
    }
    // Beyond the limit nothing is near it.
    percents.iter().copied().filter(|percent| *percent < 100).filter(passed).max()
}
