//! What a server can do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a server can do: data, constant for the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Capabilities {
    /// Accounts come and go without a restart.
    pub live_accounts: bool,
    /// Inbounds come and go without a restart.
    pub live_inbounds: bool,
    /// Counters follow open connections; otherwise some bytes appear only when a connection ends.
    pub live_counters: bool,
    /// Open connections of a key that may no longer connect are cut; otherwise they run to their end.
    pub cut_live: bool,
    /// Says which addresses a key is online from.
    pub online_addresses: bool,
    /// vpnkit starts, restarts and stops the server.
    pub managed: bool,
    /// The server runs on when the process that drives it ends. Until another one drives it, expiry and limits do not hold.
    pub keeps_running: bool,
}

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self {
        live_accounts: false,
        live_inbounds: false,
        live_counters: false,
        cut_live: false,
        online_addresses: false,
        managed: false,
        keeps_running: false,
    };
}
