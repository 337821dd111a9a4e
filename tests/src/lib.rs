//! Real parts for tests and for the demo: an Xray client, a web site behind it, a TLS 1.3 site for REALITY.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test bed fails by panicking"
)]

mod bed;
mod client;
mod counters;
pub mod fuzz;
mod netns;
mod owner;
mod patience;
mod ports;
mod process;
mod public_address;
mod root;
mod shared_bed;
mod site;
mod socks;
pub mod standalone;

pub use bed::{Bed, inbound};
pub use client::{Client, XrayClient, read_links};
pub use counters::{CounterClient, CounterServer};
pub use netns::{Namespaces, inside};
pub use owner::Owner;
pub use patience::{eventually, within};
pub use ports::free_ports;
pub use process::{
    alive, built_example, children_of, compiled_examples, installed, repository, sing_box_binary, xray_binary,
};
pub use public_address::PublicAddress;
pub use root::is_root;
pub use shared_bed::{Flow, SharedBed, traffic};
pub use site::{Certificate, Site};
pub use socks::{Transfer, Tunnel, get};
pub use standalone::StandaloneXray;

/// Shows the log of tests that ask for it with `VPNKIT_LOG=debug`.
pub fn log() {
    use tracing_subscriber::EnvFilter;
    if let Ok(filter) = std::env::var("VPNKIT_LOG") {
        let _ =
            tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_test_writer().try_init();
    }
}
