//! Functions that need no kit.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use vpnkit::sqlite::fork;
use vpnkit::{ByteSize, ErrorKind, EventKind, KeyRef, Qr, RealityKeys, ShortId};

use crate::errors::exception;

/// Bytes of a text like `50 GiB`.
#[pyfunction]
pub(crate) fn parse_size(py: Python<'_>, text: &str) -> PyResult<u64> {
    text.parse::<ByteSize>().map(ByteSize::bytes).map_err(|e| exception(py, &e))
}

/// A number of bytes for people: `1.5 GiB`.
#[pyfunction]
pub(crate) fn format_size(bytes: u64) -> String {
    ByteSize::from_bytes(bytes).to_string()
}

/// Milliseconds of a text like `30 days`.
#[pyfunction]
pub(crate) fn parse_duration(py: Python<'_>, text: &str) -> PyResult<u128> {
    vpnkit::parse_duration(text).map(|time| time.as_millis()).map_err(|e| exception(py, &e))
}

/// A key as it stands in a URL, with its kind: `id:1`, `uid:…`, `name:alice`.
#[pyfunction]
pub(crate) fn parse_key(py: Python<'_>, text: &str) -> PyResult<String> {
    text.parse::<KeyRef>().map(|key| key.to_string()).map_err(|e| exception(py, &e))
}

fn qr(py: Python<'_>, text: &str) -> PyResult<Qr> {
    Qr::new(text).map_err(|e| exception(py, &e))
}

/// A QR code as PNG, at most `size` pixels a side.
#[pyfunction]
pub(crate) fn qr_png<'py>(py: Python<'py>, text: &str, size: u32) -> PyResult<Bound<'py, PyBytes>> {
    let picture = qr(py, text)?.to_png(size).map_err(|e| exception(py, &e))?;
    Ok(PyBytes::new(py, &picture))
}

/// A QR code as SVG.
#[pyfunction]
pub(crate) fn qr_svg(py: Python<'_>, text: &str) -> PyResult<String> {
    qr(py, text).map(|qr| qr.to_svg())
}

/// A QR code for a terminal.
#[pyfunction]
pub(crate) fn qr_terminal(py: Python<'_>, text: &str) -> PyResult<String> {
    qr(py, text).map(|qr| qr.to_terminal())
}

/// A new REALITY key pair: private, public.
#[pyfunction]
pub(crate) fn reality_keys() -> (String, String) {
    let keys = RealityKeys::generate();
    (keys.private.expose().to_owned(), keys.public)
}

/// A new REALITY short id.
#[pyfunction]
pub(crate) fn short_id() -> String {
    ShortId::generate().as_str().to_owned()
}

/// Ends an Xray that was left running in a directory; says whether there was one.
#[pyfunction]
pub(crate) fn stop_left_running(py: Python<'_>, directory: PathBuf) -> PyResult<bool> {
    py.detach(|| vpnkit_bindings::stop_left_running(&directory)).map_err(|e| exception(py, &e))
}

/// Keeps our threads out of SQLite, so that this process can fork; waits for them, at most 10 seconds.
#[pyfunction]
pub(crate) fn before_fork(py: Python<'_>) -> bool {
    py.detach(|| fork::pause(Duration::from_secs(10)))
}

/// Lets them go on.
#[pyfunction]
pub(crate) fn after_fork() {
    fork::resume();
}

/// Every error code.
#[pyfunction]
pub(crate) fn error_codes() -> Vec<&'static str> {
    ErrorKind::ALL.iter().map(|kind| kind.code()).collect()
}

/// Every kind of event.
#[pyfunction]
pub(crate) fn event_kinds() -> Vec<&'static str> {
    EventKind::ALL.iter().map(|kind| kind.code()).collect()
}

/// Every operation of the facade.
#[pyfunction]
pub(crate) fn operations() -> Vec<&'static str> {
    vpnkit::operation::all().into_iter().map(|operation| operation.name).collect()
}
