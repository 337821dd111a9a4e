//! The engine of vpnkit without any VPN program: model, rules, stores, the engine itself.
//!
//! - [`model`]: plain data: keys, credentials, inbounds, events.
//! - [`lifecycle`] and [`accounting`]: pure rules, property-tested.
//! - [`store`]: the trait [`store::KeyStore`], in memory and on SQLite.
//! - [`backend`] and [`traffic`]: the traits that a VPN server program is driven through.
//! - [`engine`]: the only place with side effects.
//! - [`subscription`]: from endpoints to share links, client configs and QR codes.
//!
//! Applications use the crate `vpnkit`, which puts this together with stores and servers.

extern crate self as vpnkit_core;

pub mod accounting;
pub mod backend;
mod clock;
pub mod engine;
mod error;
mod json;
pub mod lifecycle;
pub mod model;
pub mod operation;
mod secret;
pub mod store;
pub mod subscription;
pub mod traffic;

/// What implementations of the three traits are annotated with.
pub use async_trait::async_trait;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{Error, ErrorKind, Result, Retry};
pub use json::{Unreadable, read_json};
pub use secret::Secret;
