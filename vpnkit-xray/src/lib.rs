//! Drives [Xray](https://xtls.github.io) for vpnkit.
//!
//! *Managed*: vpnkit writes `config.json`, starts the process, restarts it with back-off and stops it; the API is a
//! socket file that only the owner may open. *Attached*: an Xray that runs elsewhere is driven through its API.
//!
//! [`Xray`] is both the [`ProtocolBackend`](vpnkit_core::backend::ProtocolBackend) and the
//! [`TrafficSource`](vpnkit_core::traffic::TrafficSource).

mod account;
mod api;
mod api_error;
mod attached;
mod command;
mod config;
mod cut;
mod directory_lock;
mod egress;
mod environment;
mod epoch;
mod guard;
mod home;
mod inner;
mod left_running;
mod loaded;
mod managed;
mod observed;
mod process;
mod procfs;
mod proto;
mod reality;
mod rules;
mod running;
mod server_config;
mod steps;
mod traffic;
mod version;
mod xray;

pub use config::{AttachedXray, LogLevel, ManagedXray, XrayConfig};
pub use left_running::stop_left_running;
pub use reality::RealityKeys;
pub use rules::XrayRules;
pub use xray::Xray;

/// An inbound without accounts as Xray's config has it: to look at, or to carry into a config of your own. While previous REALITY
/// keys of it still work these are two, in their order.
///
/// They contain the private keys.
#[must_use]
pub fn inbound_json(inbound: &vpnkit_core::model::Inbound) -> Vec<serde_json::Value> {
    server_config::inbounds(&account::Names::default(), inbound, &[], None, None)
}
