//! Endpoints of a key: how a [`Host`](crate::model::Host) is resolved for it, what stands in variables, and the share link.
//! The formats that client apps read are in the crate `vpnkit-subscription`.

mod language;
mod link;
pub mod pasted;
mod resolved_host;
mod variables;
mod xray_transport;

pub use language::{Language, Strings};
pub use link::{base64_list, link, plain_list};
pub use resolved_host::{ResolvedHost, Seed};
pub use variables::{VARIABLES, Variables, percentage};
pub use xray_transport::transport_settings;
