//! A key as Python sees it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use vpnkit::InboundSelection;

use crate::convert::{datetime, dict, maybe_datetime, record, size, traffic};
use crate::credential::Credential;

/// A customer's key as it stands in the store.
#[pyclass(frozen, eq, module = "vpnkit", from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Key(vpnkit::Key);

impl From<vpnkit::Key> for Key {
    fn from(key: vpnkit::Key) -> Self {
        Self(key)
    }
}

#[pymethods]
impl Key {
    /// Integer id, never used again.
    #[getter]
    fn id(&self) -> i64 {
        self.0.id.0
    }

    /// Globally unique id.
    #[getter]
    fn uid(&self) -> vpnkit_bindings::Uuid {
        self.0.uid
    }

    /// Grows by one with every change but traffic.
    #[getter]
    fn version(&self) -> u64 {
        self.0.version
    }

    /// The handle, unique without regard to case.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.0.name.as_ref().map(vpnkit::KeyName::as_str)
    }

    /// Free text, need not be unique.
    #[getter]
    fn label(&self) -> Option<&str> {
        self.0.label.as_deref()
    }

    /// What an application finds it by.
    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let labels = PyDict::new(py);
        for (name, value) in &self.0.labels {
            labels.set_item(name, value)?;
        }
        Ok(labels)
    }

    /// Free text for the operator.
    #[getter]
    fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }

    /// The id of the admin who owns it.
    #[getter]
    fn owner(&self) -> Option<i64> {
        self.0.owner.map(|owner| owner.0)
    }

    /// `active`, `on_hold`, `disabled`, `paused`, `limited` or `expired`.
    #[getter]
    fn status(&self) -> &'static str {
        self.0.status.code()
    }

    /// How much it may use; None is unlimited.
    #[getter]
    fn data_limit(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.data_limit.map(|limit| size(py, limit.bytes())).transpose()
    }

    /// Bytes that count against the limit.
    #[getter]
    fn used(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        size(py, self.0.used)
    }

    /// What is left of the limit; None is unlimited.
    #[getter]
    fn remaining(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.remaining().map(|bytes| size(py, bytes)).transpose()
    }

    /// Bytes over the whole life of the key; a reset of `used` leaves them.
    #[getter]
    fn traffic(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        traffic(py, self.0.traffic)
    }

    /// When it ends; None is never, or not known yet while it is on hold.
    #[getter]
    fn expires_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.expires_at)
    }

    /// Set while it waits for its first connection.
    #[getter]
    fn hold(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.hold.as_ref().map(|one| record(py, "Hold", one)).transpose()
    }

    /// Since when it is paused.
    #[getter]
    fn paused_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.paused_at)
    }

    /// How often `used` is set to nothing.
    #[getter]
    fn reset(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.reset.as_ref().map(|one| record(py, "DataReset", one)).transpose()
    }

    /// When that happens next.
    #[getter]
    fn resets_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.resets_at)
    }

    /// When `used` was last set to nothing.
    #[getter]
    fn reset_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.reset_at)
    }

    /// What it becomes when its time is over or its limit is used up.
    #[getter]
    fn next_plan(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.next_plan.as_ref().map(|one| record(py, "NextPlan", one)).transpose()
    }

    /// How long after its time or its limit has ended it is deleted; None is never.
    #[getter]
    fn delete_after(&self) -> PyResult<Option<std::time::Duration>> {
        Ok(self.0.delete_after)
    }

    /// Since when it is `expired` or `limited`.
    #[getter]
    fn ended_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.ended_at)
    }

    /// On how many devices its subscription may be; None is as the settings say.
    #[getter]
    fn device_limit(&self) -> Option<u32> {
        self.0.device_limit
    }

    /// At how many addresses at once it may be used; None is any number.
    #[getter]
    fn address_limit(&self) -> Option<u32> {
        self.0.address_limit
    }

    /// Until when it is locked.
    #[getter]
    fn locked_until(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.locked_until)
    }

    /// Whether the keys of its owner have used as many bytes as they may.
    #[getter]
    fn suspended(&self) -> bool {
        self.0.suspended
    }

    /// Until when the links and credentials work that it had before they were revoked.
    #[getter]
    fn old_links_until(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.old_links_until)
    }

    /// Grows when its links are revoked.
    #[getter]
    fn link_revision(&self) -> u32 {
        self.0.link_revision
    }

    /// The tags of the inbounds that it is on; None is all shared ones.
    #[getter]
    fn inbounds<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match &self.0.inbounds {
            InboundSelection::All => Ok(None),
            InboundSelection::Only(tags) => {
                PyTuple::new(py, tags.iter().map(vpnkit::InboundTag::as_str)).map(Some)
            }
        }
    }

    /// What it connects with.
    #[getter]
    fn credentials<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.credentials.iter().cloned().map(Credential::from).collect::<Vec<_>>())
    }

    /// When it was created.
    #[getter]
    fn created_at(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        datetime(py, self.0.created_at)
    }

    /// When the time of a key that was on hold began.
    #[getter]
    fn started_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.started_at)
    }

    /// When it was last changed, traffic aside.
    #[getter]
    fn updated_at(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        datetime(py, self.0.updated_at)
    }

    /// When traffic of it was first seen.
    #[getter]
    fn first_seen_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.first_seen_at)
    }

    /// When traffic of it was last seen.
    #[getter]
    fn seen_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        maybe_datetime(py, self.0.seen_at)
    }

    /// This answer is that of an earlier call with the same idempotency key: nothing was created now.
    #[getter]
    fn replayed(&self) -> bool {
        self.0.replayed
    }

    /// The key as a dict that `json.dumps` takes. Secrets are not shown unless ``secrets`` is set.
    #[pyo3(signature = (*, secrets = false))]
    fn to_dict(&self, py: Python<'_>, secrets: bool) -> PyResult<Py<PyAny>> {
        dict(py, &self.0, secrets)
    }

    fn __repr__(&self) -> String {
        let name = self.name().map_or_else(String::new, |name| format!(" name='{name}'"));
        format!("<Key id={}{name} status='{}' version={}>", self.0.id, self.status(), self.0.version)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.uid, self.0.version, self.0.used).hash(&mut hasher);
        hasher.finish()
    }

    /// A key from the text that pickle keeps.
    #[staticmethod]
    fn _from_json(text: &str) -> PyResult<Self> {
        serde_json::from_str(text)
            .map(Self)
            .map_err(|_| pyo3::exceptions::PyValueError::new_err("not a pickled key of this version"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let text = vpnkit_bindings::json(&self.0);
        Ok((py.get_type::<Self>().getattr("_from_json")?, (text,)))
    }
}
