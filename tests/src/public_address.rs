//! An address of this machine that is not private.

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// An address from the range for documentation (RFC 5737) on the loopback device, until it is dropped. Needs root.
#[derive(Debug)]
pub struct PublicAddress([u8; 4]);

impl PublicAddress {
    /// Adds one that no other test of this process has.
    pub fn add() -> Self {
        static LAST: AtomicU8 = AtomicU8::new(0);
        let address = Self([203, 0, 113, 1 + LAST.fetch_add(1, Ordering::Relaxed)]);
        address.ip("replace");
        address
    }

    /// The address.
    pub const fn octets(&self) -> [u8; 4] {
        self.0
    }

    fn ip(&self, verb: &str) {
        let address = std::net::Ipv4Addr::from(self.0).to_string() + "/32";
        let done = Command::new("ip").args(["address", verb, &address, "dev", "lo"]).status();
        assert!(done.is_ok_and(|status| status.success()) || verb == "del", "root is needed");
    }
}

impl Drop for PublicAddress {
    fn drop(&mut self) {
        self.ip("del");
    }
}
