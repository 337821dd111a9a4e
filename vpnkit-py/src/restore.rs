//! Putting a backup back.

use std::path::PathBuf;

use pyo3::prelude::*;
use vpnkit_bindings::Runtime;

use crate::errors::exception;
use crate::pending::{Outcome, Pending};

/// How far a long piece of work is.
#[pyclass(frozen)]
pub(crate) struct Progress(vpnkit::store::Progress);

#[pymethods]
impl Progress {
    #[new]
    fn new() -> Self {
        Self(vpnkit::store::Progress::default())
    }

    /// Steps that are done, and in all.
    fn steps(&self) -> (u64, u64) {
        (self.0.done().min(self.0.total()), self.0.total())
    }

    /// Asks the work to end before it is done.
    fn cancel(&self) {
        self.0.cancel();
    }
}

/// Replaces a store that nobody has open by a backup.
#[pyfunction]
pub(crate) fn restore(
    py: Python<'_>,
    backup: PathBuf,
    store: String,
    progress: &Progress,
) -> PyResult<Pending> {
    let runtime = Runtime::new().map_err(|e| exception(py, &e))?;
    let restore = vpnkit_bindings::restore(backup, store, progress.0.clone());
    Ok(Pending::new("store.restore", runtime, async move { restore.await.map(Outcome::Answer) }))
}
