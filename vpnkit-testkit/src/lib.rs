//! For implementers of vpnkit's traits: suites that every implementation must pass, fakes with faults, a
//! runner for scenario files.
//!
//! - [`store_conformance!`]: the suite of [`KeyStore`](vpnkit_core::store::KeyStore), one test a case.
//! - [`backend_conformance!`]: the suite of [`ProtocolBackend`](vpnkit_core::backend::ProtocolBackend).
//! - [`traffic_conformance!`]: the suite of [`TrafficSource`](vpnkit_core::traffic::TrafficSource).
//! - [`FakeServer`]: a backend and traffic source in memory that can be told to fail.
//! - [`scenario`]: runs `tests/scenarios/*.json`, the same files that every binding runs.
//!
//! A case fails by panicking, as tests do. One that needs what the subject cannot do is listed as not run, in the source that runs
//! the suite: `backend_conformance!(subject, not_run: [connections_of_ended_keys_are_cut])`.
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
pub mod receiver;
pub mod scenario;
pub mod store;
pub mod traffic;

pub use fake::{Counting, FakeRules, FakeServer, Fault};
pub use vpnkit_core::ManualClock;

/// Declares the case list of a suite once: as names, and as a macro that makes a test of each.
///
/// Cases that need a capability stand behind `needing`. A subject names those that it lacks (`not_run: [case]`): the list is
/// committed, and one more test fails when it is not what the subject says of itself, so that losing a capability is a
/// visible change. Such a case says that it is not run; it is not passed.
macro_rules! suite {
    (
        $d:tt $macro_name:ident, $module:ident, $doc:literal,
        [$($(#[$case_doc:meta])* $case:ident),* $(,)?]
        $(, needing [$($needing:ident),* $(,)?])?
    ) => {
        /// The names of the cases, in order.
        pub const CASES: &[&str] = &[$(stringify!($case),)* $($(stringify!($needing),)*)?];

        #[doc = $doc]
        #[macro_export]
        macro_rules! $macro_name {
            ($d factory:path) => {
                $crate::$macro_name!($d factory, not_run: []);
            };
            ($d factory:path, not_run: [$d ($d lacking:ident),* $d (,)?]) => {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::$module::$case($d factory().await).await;
                })*
                $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $needing() {
                    let ran = $crate::$module::$needing($d factory().await).await;
                    let lacking: &[&str] = &[$d (stringify!($d lacking)),*];
                    assert_eq!(
                        !ran,
                        lacking.contains(&stringify!($needing)),
                        "`not_run` must list exactly the cases whose capability the subject lacks",
                    );
                })*)?
                $d (const _: &str = {
                    // A name that is no case does not compile.
                    let _ = $crate::$module::$d lacking;
                    stringify!($d lacking)
                };)*
            };
        }
    };
}
pub(crate) use suite;
