//! From endpoints to what people and client apps read: formats, the page, pictures, templates of the operator's own.
//!
//! A [`Host`](vpnkit_core::model::Host) becomes a [`ResolvedHost`] for a key, credential × inbound × host an
//! [`Endpoint`](vpnkit_core::model::Endpoint), and every [`Format`] writes endpoints. Which format a client gets, [`detect`]
//! says. Pure: nothing in here waits, stores or asks for the time.

extern crate self as vpnkit_subscription;

mod chart;
pub mod clash;
mod client;
mod format;
mod names;
mod object;
pub mod outline;
mod page;
mod qr;
mod respond;
pub mod sample;
mod settings;
pub mod sing_box;
mod template;
mod token;
pub mod wireguard;
pub mod xray_json;

pub use chart::{Theme, UsageChart};
pub use client::{ClientRule, Detected, detect};
pub use format::Format;
pub use page::DAYS as PAGE_DAYS;
pub use qr::Qr;
pub use respond::{Devices, Subject, SubscriptionResponse};
pub use settings::{Notices, SettingsPatch, SubscriptionSettings};
pub use template::{SubscriptionTemplate, Templates};
pub use token::{Claim, SigningKeys};
pub use vpnkit_core::subscription::*;
