//! The model of vpnkit, its pure rules, and the interfaces to stores and to VPN server programs.
//!
//! - [`model`]: plain data: keys, credentials, inbounds, events.
//! - [`lifecycle`] and [`accounting`]: pure rules, property-tested.
//! - [`store`]: the trait [`store::KeyStore`], what every store shares, and the store in memory.
//! - [`backend`] and [`traffic`]: the traits that a VPN server program is driven through.
//! - [`subscription`]: a key's endpoints and their share links.
//!
//! Applications use the crate `vpnkit`; this is for those who implement a store or drive a server.

extern crate self as vpnkit_core;

pub mod accounting;
pub mod backend;
mod clock;
mod error;
mod json;
pub mod lifecycle;
pub mod machine;
pub mod model;
pub mod ownership;
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
