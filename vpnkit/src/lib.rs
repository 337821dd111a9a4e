//! An embeddable VPN control plane: keys, limits, traffic accounting and servers in your own process.
//!
//! - A **key** is what one customer holds: identity, data limit, expiry, status, and credentials, the secrets that let it
//!   into protocols.
//! - A **server** is one VPN server program, such as Xray, on one **node**, a machine; the local one is `main`. vpnkit runs
//!   the program itself (*managed*) or drives one that somebody else runs (*attached*).
//! - An **inbound** is where clients arrive: a port of a server with a protocol, a transport and a protection.
//! - A **host** is how clients reach an inbound: the address, port and names that they use, which differ from the inbound's
//!   own behind a CDN or a domain.
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
//! [`VpnKit`] is the whole surface: [`Keys`], [`Grants`], [`KeyTemplates`], [`Inbounds`], [`Hosts`], [`Subscriptions`], [`TrafficView`], [`Events`], [`Servers`], [`StoreView`] and [`HealthView`] hang on it.
//! Plain data goes in and comes out; there are no lifetimes, generics or callbacks to carry through. The same operations can
//! be called by name, with JSON: [`operation`]. Why things are as they are: `docs/decisions/` in the repository.

mod config;
#[cfg(feature = "http")]
mod header_pairs;
mod kit;
pub mod operation;
mod servers;

pub use config::{Config, ServerConfig, StoreConfig};
#[cfg(feature = "http")]
pub use header_pairs::header_pairs;
pub use kit::VpnKit;
pub use servers::Servers;
pub use vpnkit_core::model::*;
pub use vpnkit_core::traffic::{OnlineAddress, OnlineKey};
pub use vpnkit_core::{
    Clock, Error, ErrorKind, ManualClock, Result, Retry, Secret, SystemClock, Timestamp, Unreadable,
    async_trait, read_json,
};
pub use vpnkit_core::{backend, store, traffic};
pub use vpnkit_engine::engine;
pub use vpnkit_engine::engine::{
    Admins, ApiKey, CallContext, Collected, ConsumerStatus, EventConsumer, EventStream, Events, ExtendedStep,
    ExtendedSteps, Grants, HealthView, Hosts, Image, ImageFormat, InboundHosts, Inbounds, JobStatus,
    KeyIterator, KeyRate, KeyTemplates, Keys, KeysOfDeleted, NewApiKey, Placement, PlacementState, Rates,
    RenderOptions, ServerCondition, ServerRate, ServerStatus, StoreView, Subscriptions, TrafficView,
    Webhooks,
};
pub use vpnkit_engine::webhook;
#[cfg(feature = "sqlite")]
pub use vpnkit_sqlite as sqlite;
pub use vpnkit_subscription as subscription;
pub use vpnkit_subscription::Qr;
#[cfg(feature = "xray")]
pub use vpnkit_xray as xray;
#[cfg(feature = "xray")]
pub use vpnkit_xray::{RealityKeys, XrayConfig};

/// The README's programs compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
