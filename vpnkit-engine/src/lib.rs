//! The engine of vpnkit: commits to the store, then brings servers to what the store says.
//!
//! - [`engine`]: the only place with side effects.
//! - [`operation`]: its methods as data, to be called by name with JSON.
//! - [`webhook`]: how events are sent over HTTP.
//!
//! Applications use the crate `vpnkit`, which puts this together with stores and servers.

extern crate self as vpnkit_engine;

pub mod engine;
pub mod operation;
pub mod webhook;
