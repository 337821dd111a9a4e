//! Networks.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Error, Result};

/// Addresses with a common beginning: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct AddressRange {
    address: IpAddr,
    length: u8,
}

impl AddressRange {
    /// Returns its first address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns how many bits its addresses have in common.
    #[must_use]
    pub const fn prefix_length(&self) -> u8 {
        self.length
    }

    /// Returns the address at this distance from the first one; `None` behind the last one.
    pub(super) fn nth(&self, distance: u32) -> Option<IpAddr> {
        let free = u32::from(self.width() - self.length);
        if free < 32 && distance >> free != 0 {
            return None;
        }
        Some(match self.address {
            IpAddr::V4(first) => IpAddr::V4(u32::from(first).checked_add(distance)?.into()),
            IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(u128::from(distance))?.into()),
        })
    }

    /// How many bits an address of its family has.
    pub(super) const fn width(&self) -> u8 {
        if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// The address as a number whose most significant bit is the first.
    fn bits(&self) -> u128 {
        match self.address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        }
    }

    pub(super) fn contains(&self, other: &Self) -> bool {
        self.address.is_ipv4() == other.address.is_ipv4()
            && self.length <= other.length
            && (self.length == 0 || (self.bits() ^ other.bits()) >> (128 - u32::from(self.length)) == 0)
    }

    /// The addresses that NAT64 makes of IPv4 ones.
    pub(super) fn translated(&self) -> Option<Self> {
        let IpAddr::V4(address) = self.address else { return None };
        let prefix = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).to_bits();
        let address = Ipv6Addr::from_bits(prefix | u128::from(address.to_bits()));
        Some(Self { address: address.into(), length: self.length.checked_add(96)? })
    }

    /// IPv4 addresses that are written as IPv6 ones are IPv4 addresses.
    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.length.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(length)) if self.address.is_ipv6() => Self { address, length },
            _ => self,
        }
    }

    /// Its two halves; none of a single address.
    fn halves(&self) -> Option<[Self; 2]> {
        let length = self.length.checked_add(1).filter(|length| *length <= self.width())?;
        let second = self.bits() | 1 << (128 - u32::from(length));
        let address = match self.address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(second >> 96).ok()?.into()),
            IpAddr::V6(_) => IpAddr::V6(second.into()),
        };
        Some([Self { length, ..*self }, Self { address, length }])
    }

    /// The networks that are left when `holes` are taken out.
    pub(super) fn without(self, holes: &[Self]) -> Vec<Self> {
        if holes.iter().any(|hole| hole.contains(&self)) {
            return Vec::new();
        }
        if !holes.iter().any(|hole| self.contains(hole)) {
            return vec![self];
        }
        self.halves().into_iter().flatten().flat_map(|half| half.without(holes)).collect()
    }
}

impl FromStr for AddressRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
            let address: IpAddr = address.parse().ok()?;
            let whole = Self { address, length: if address.is_ipv4() { 32 } else { 128 } };
            let length = match length {
                None => whole.length,
                Some(text) => text.parse().ok().filter(|length| *length <= whole.length)?,
            };
            let range = Self { address, length };
            Some((range, range.bits().checked_shl(u32::from(length)).unwrap_or(0)))
        };
        let fault = |message| Err(Error::invalid("network.parse", "network", message).with("value", text));
        match parse() {
            Some((range, 0)) => Ok(range.canonical()),
            // `10.0.0.5/8` is a slip: nobody knows whether the address or the network was meant.
            Some(_) => {
                fault("is an address of the network, not the network itself: write it as `10.0.0.0/8`")
            }
            None => fault("not an address or a network: `10.0.0.0/8`"),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == self.width() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(|e: Error| de::Error::custom(e.message()))
    }
}

impl JsonSchema for AddressRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AddressRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "network" })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_hole_is_exact(address: u32, length in 0u8..=32, probe: u32) {
            let hole = AddressRange { address: IpAddr::V4((address & (u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0))).into()), length };
            let probe = AddressRange { address: IpAddr::V4(probe.into()), length: 32 };
            let left = "0.0.0.0/0".parse::<AddressRange>().unwrap().without(&[hole]);
            prop_assert_eq!(left.iter().any(|one| one.contains(&probe)), !hole.contains(&probe));
        }

        #[test]
        fn the_nth_address_is_inside(address: u32, length in 0u8..=32, distance: u32) {
            let first = address & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let range = AddressRange { address: IpAddr::V4(first.into()), length };
            let inside = u64::from(distance) < 1u64 << (32 - u32::from(length));
            let found = range.nth(distance);
            prop_assert_eq!(found.is_some(), inside);
            let within = |address| range.contains(&AddressRange { address, length: 32 });
            prop_assert!(found.is_none_or(within));
        }
    }
}
