//! From endpoints to what people and client apps read.
//!
//! A [`Host`](crate::model::Host) becomes a [`ResolvedHost`] for a key, credential × inbound × host an
//! [`Endpoint`](crate::model::Endpoint), and every [`Format`] writes endpoints. Which format a client gets, [`detect`]
//! says. Pure: nothing in here waits, stores or asks for the time.

mod chart;
pub mod clash;
mod client;
mod format;
mod language;
mod link;
mod names;
mod object;
pub mod outline;
mod page;
mod qr;
mod resolved_host;
pub(crate) mod respond;
pub mod sample;
mod settings;
pub mod sing_box;
mod template;
pub(crate) mod token;
mod variables;
pub mod wireguard;
pub mod xray_json;

pub use chart::{Theme, UsageChart};
pub use client::{ClientRule, Detected, detect};
pub use format::Format;
pub use language::Language;
pub use link::{base64_list, link, plain_list};
pub(crate) use page::DAYS as PAGE_DAYS;
pub use qr::Qr;
pub use resolved_host::{ResolvedHost, Seed};
pub use respond::SubscriptionResponse;
pub use settings::{Notices, SubscriptionSettings};
pub use template::SubscriptionTemplate;
pub(crate) use template::Templates;
pub use variables::{VARIABLES, Variables};
