//! An embeddable VPN control plane: keys, limits, traffic accounting and servers in your own process.
//!
//! ```
//! use vpnkit::{ByteSize, Config, CreateKey, VpnKit};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> vpnkit::Result<()> {
//! let kit = VpnKit::open(Config::memory()).await?;
//! let key = kit.keys().create(CreateKey::named("alice").data_limit(ByteSize::gib(50))).await?;
//! assert_eq!(kit.keys().require("ALICE").await?.id, key.id);
//! kit.close().await
//! # }
//! ```
//!
//! [`VpnKit`] is the whole surface: [`Keys`], [`Inbounds`], [`Hosts`], [`Subscriptions`], [`TrafficView`], [`Events`] and [`Servers`] hang on it.
//! Plain data goes in and comes out; there are no lifetimes, generics or callbacks to carry through.

mod config;
mod json;
mod kit;

pub use config::{Config, ServerConfig, StoreConfig};
pub use json::{Unreadable, read_json};
pub use kit::VpnKit;
pub use vpnkit_core::engine::{
    Collected, EventStream, Events, Hosts, InboundHosts, Inbounds, Keys, RenderOptions, ServerStatus,
    Servers, Subscriptions, TrafficView,
};
pub use vpnkit_core::model::*;
pub use vpnkit_core::subscription::{self, Qr};
pub use vpnkit_core::traffic::OnlineKey;
pub use vpnkit_core::{
    Clock, Error, ErrorKind, ManualClock, Result, Retry, Secret, SystemClock, Timestamp, async_trait,
};
pub use vpnkit_core::{backend, engine, store, traffic};
#[cfg(feature = "xray")]
pub use vpnkit_xray as xray;
#[cfg(feature = "xray")]
pub use vpnkit_xray::{RealityKeys, XrayConfig};

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
