//! Addresses that an inbound gives its clients.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::AddressRange;
use crate::{Error, Result};

/// The addresses inside the tunnel that an inbound gives its clients: one of each family for each device of a key. The
/// first address of a range is the network's own, the second one the server's, the last IPv4 one the broadcast address.
///
/// ```
/// use vpnkit_core::model::AddressPool;
/// let pool = AddressPool { v4: Some("10.8.0.0/24".parse()?), v6: Some("fd00:8::/64".parse()?) };
/// assert_eq!(pool.capacity(), 253);
/// assert_eq!(pool.server(), ["10.8.0.1".parse::<std::net::IpAddr>().unwrap(), "fd00:8::1".parse().unwrap()]);
/// assert_eq!(pool.addresses(0)[0].to_string(), "10.8.0.2");
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AddressPool {
    /// The IPv4 network: `10.8.0.0/16`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v4: Option<AddressRange>,
    /// The IPv6 network: `fd00:8::/64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v6: Option<AddressRange>,
}

/// The distance of the first client's address from the network's.
const FIRST: u32 = 2;

impl AddressPool {
    fn ranges(&self) -> impl Iterator<Item = &AddressRange> {
        self.v4.iter().chain(&self.v6)
    }

    /// Checks that each network is of its family and has room for a client.
    ///
    /// Errors: `InvalidInput` about `addresses`.
    pub fn check(&self) -> Result<()> {
        let fault = |message: &str| Err(Error::invalid("inbound.check", "addresses", message));
        if self.v4.is_some_and(|range| !range.address().is_ipv4()) {
            return fault("`v4` is not an IPv4 network");
        }
        if self.v6.is_some_and(|range| !range.address().is_ipv6()) {
            return fault("`v6` is not an IPv6 network");
        }
        let unusable = |address: IpAddr| address.is_loopback() || address.is_multicast();
        if self.ranges().any(|range| unusable(range.address())) {
            return fault("the addresses of clients cannot be loopback or multicast ones");
        }
        match (self.ranges().next(), self.capacity()) {
            (None, _) => fault("name an IPv4 or an IPv6 network, or both"),
            (Some(_), 0) => fault("the network has no address for a client"),
            (Some(_), _) => Ok(()),
        }
    }

    /// Returns whether both have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.ranges().any(|one| other.ranges().any(|two| one.contains(two) || two.contains(one)))
    }

    /// Returns how many clients it has addresses for: as many as the smaller one of its networks.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        let room = |range: &AddressRange| {
            let free = u32::from(range.width() - range.prefix_length());
            let all = 1u32.checked_shl(free).unwrap_or(u32::MAX);
            let last = u32::from(range.address().is_ipv4());
            all.saturating_sub(FIRST + last)
        };
        self.ranges().map(room).min().unwrap_or(0)
    }

    /// Returns the server's own addresses.
    #[must_use]
    pub fn server(&self) -> Vec<IpAddr> {
        self.ranges().filter_map(|range| range.nth(FIRST - 1)).collect()
    }

    /// Returns the addresses of a [slot](super::Credential::slot), IPv4 first; none where it is beyond the capacity.
    #[must_use]
    pub fn addresses(&self, slot: u32) -> Vec<IpAddr> {
        match slot.checked_add(FIRST).filter(|_| slot < self.capacity()) {
            Some(distance) => self.ranges().filter_map(|range| range.nth(distance)).collect(),
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn pool(v4: Option<&str>, v6: Option<&str>) -> AddressPool {
        let range = |text: &str| text.parse().unwrap();
        AddressPool { v4: v4.map(range), v6: v6.map(range) }
    }

    #[test]
    fn small_and_large_networks() {
        for (text, room) in [
            ("10.0.0.0/30", 1),
            ("10.0.0.0/29", 5),
            ("10.0.0.0/31", 0),
            ("10.0.0.1", 0),
            ("0.0.0.0/0", u32::MAX - 3),
        ] {
            assert_eq!(pool(Some(text), None).capacity(), room, "{text}");
        }
        for (text, room) in [("fd00::/127", 0), ("fd00::/126", 2), ("fd00::/64", u32::MAX - 2)] {
            assert_eq!(pool(None, Some(text)).capacity(), room, "{text}");
        }
        let both = pool(Some("10.0.0.0/16"), Some("fd00::/126"));
        assert_eq!((both.capacity(), both.addresses(2)), (2, Vec::new()));
        assert_eq!(both.addresses(1), ["10.0.0.3", "fd00::3"].map(|a| a.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn what_gives_no_address_is_refused() {
        for bad in [
            pool(None, None),
            pool(Some("fd00::/64"), None),
            pool(None, Some("10.0.0.0/24")),
            pool(Some("10.0.0.0/31"), None),
            pool(Some("127.0.0.0/8"), None),
            pool(None, Some("ff02::/64")),
        ] {
            assert_eq!(bad.check().unwrap_err().get("field"), Some("addresses"), "{bad:?}");
        }
        pool(Some("10.0.0.0/30"), None).check().unwrap();
        let wide = pool(Some("10.0.0.0/8"), None);
        assert!(
            wide.overlaps(&pool(Some("10.5.0.0/16"), Some("fd00::/64")))
                && !wide.overlaps(&pool(Some("11.0.0.0/8"), None))
        );
    }
}
