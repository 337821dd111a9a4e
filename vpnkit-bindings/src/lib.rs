//! What the bindings share: the runtime that they own, the facade's calls as requests and answers, errors as records.
//! Conversions only: an `if` about VPN logic in here is a fault.
//!
//! A binding parses a [`Request`] from the name of an operation and JSON, runs [`Session::call`] on its [`Runtime`] and
//! hands the [`Answer`] on: natively, or as JSON ([`Answer::to_json`]). Numbers that do not fit a double stand in JSON
//! as texts, moments as milliseconds since 1970.

mod answer;
mod light;
mod perform;
mod pump;
mod record;
mod request;
mod runtime;
mod sandbox;
mod session;
mod wire;

pub use answer::Answer;
pub use pump::Pump;
pub use record::record;
pub use request::Request;
pub use runtime::Runtime;
pub use session::Session;
pub use uuid::Uuid;
