//! What the bindings share: the runtime that they own, calls of the facade by name, errors as records, the event stream.
//! Conversions only: an `if` about VPN logic in here is a fault.
//!
//! A binding reads a [`Request`] from the name of an operation and JSON, runs [`Session::call`] on its [`Runtime`] and
//! hands the [`Answer`] on: natively ([`Answer::downcast`]), or as JSON ([`Answer::to_json`]). Every record has one JSON
//! form, that of the facade.

mod inline;
mod left_running;
mod log;
mod pump;
mod request;
mod restore;
mod runtime;
mod sandbox;
mod session;
mod surface;

pub use left_running::stop_left_running;
pub use pump::Pump;
pub use request::Request;
pub use restore::restore;
pub use runtime::Runtime;
pub use session::{Session, narrowed};
pub use surface::surface;
pub use uuid::Uuid;
pub use vpnkit::operation::Answer;

/// Returns the error as JSON, from which each language makes its own.
#[must_use]
pub fn record(error: &vpnkit::Error) -> String {
    serde_json::to_string(error).unwrap_or_else(|_| error.to_string())
}

/// Returns a value as JSON, with its secrets.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> String {
    vpnkit::Secret::reveal(|| serde_json::to_string(value)).unwrap_or_default()
}
