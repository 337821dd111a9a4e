//! For whoever implements a trait of vpnkit: suites that every implementation must pass, fakes with faults, a
//! runner for scenario files.
//!
//! - [`store_conformance!`]: the suite of [`KeyStore`](vpnkit_core::store::KeyStore), one test a case.
//! - [`backend_conformance!`]: the suite of [`ProtocolBackend`](vpnkit_core::backend::ProtocolBackend).
//! - [`traffic_conformance!`]: the suite of [`TrafficSource`](vpnkit_core::traffic::TrafficSource).
//! - [`FakeServer`]: a backend and traffic source in memory that can be told to fail.
//! - [`scenario`]: runs `tests/scenarios/*.json`, the same files that every binding runs.
//!
//! A case fails by panicking, as tests do.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a suite reports by panicking"
)]

pub mod backend;
mod fake;
pub mod scenario;
pub mod store;
pub mod traffic;

pub use fake::{FakeRules, FakeServer, Fault};
pub use vpnkit_core::ManualClock;

/// Declares the case list of a suite once: as names, and as a macro that makes a test of each.
macro_rules! suite {
    ($d:tt $macro_name:ident, $module:ident, $doc:literal, [$($(#[$case_doc:meta])* $case:ident),* $(,)?]) => {
        /// The names of the cases, in order.
        pub const CASES: &[&str] = &[$(stringify!($case)),*];

        #[doc = $doc]
        #[macro_export]
        macro_rules! $macro_name {
            ($d factory:path) => {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::$module::$case($d factory().await).await;
                })*
            };
        }
    };
}
pub(crate) use suite;
