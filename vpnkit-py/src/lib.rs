//! The native half of the Python package `vpnkit`: calls go in as the name of an operation and JSON, answers come out
//! as Python objects. No thread of ours ever calls into Python; see `bridge.rs`.

mod bridge;
mod convert;
mod credential;
mod errors;
mod event;
mod key;
mod kit;
mod pending;
mod plain;
mod restore;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::bridge::Bridge;
    #[pymodule_export]
    use super::credential::Credential;
    #[pymodule_export]
    use super::event::Event;
    #[pymodule_export]
    use super::key::Key;
    #[pymodule_export]
    use super::kit::{Kit, Stream, open};
    #[pymodule_export]
    use super::pending::Pending;
    #[pymodule_export]
    use super::plain::{
        after_fork, before_fork, error_codes, event_kinds, format_size, operations, parse_duration,
        parse_key, parse_size, qr_png, qr_svg, qr_terminal, reality_keys, short_id, stop_left_running,
    };
    #[pymodule_export]
    use super::restore::{Progress, restore};
}
