//! The one place where errors become exceptions.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The exception of `vpnkit.errors` for this error.
pub(crate) fn exception(py: Python<'_>, error: &vpnkit::Error) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made = MAKE
        .get_or_try_init(py, || py.import("vpnkit.errors")?.getattr("from_record").map(Bound::unbind))
        .and_then(|make| make.call1(py, (vpnkit_bindings::record(error),)));
    match made {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(e) => e,
    }
}
