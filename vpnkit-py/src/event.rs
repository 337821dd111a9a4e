//! An event as Python sees it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use vpnkit::{EventSubject, ServerId};

use crate::convert::{datetime, dict};

/// One entry of the outbox.
#[pyclass(frozen, eq, module = "vpnkit", from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Event(vpnkit::Event);

impl From<vpnkit::Event> for Event {
    fn from(event: vpnkit::Event) -> Self {
        Self(event)
    }
}

#[pymethods]
impl Event {
    /// Its place in the stream: keep the one of the last event that you handled.
    #[getter]
    fn cursor(&self) -> i64 {
        self.0.cursor.0
    }

    /// When it was committed.
    #[getter]
    fn at(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        datetime(py, self.0.at)
    }

    /// What happened: `key.created`, `server.down`, …
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind.code()
    }

    /// The id of the key that it is about.
    #[getter]
    fn key(&self) -> Option<i64> {
        self.0.key().map(|id| id.0)
    }

    /// The UUID of the key that it is about.
    #[getter]
    fn key_uid(&self) -> Option<vpnkit_bindings::Uuid> {
        match &self.0.subject {
            EventSubject::Key { uid, .. } => Some(*uid),
            _ => None,
        }
    }

    /// The tag of the inbound that it is about.
    #[getter]
    fn inbound(&self) -> Option<&str> {
        match &self.0.subject {
            EventSubject::Inbound(tag) => Some(tag),
            _ => None,
        }
    }

    /// The id of the server that it is about.
    #[getter]
    fn server(&self) -> Option<&str> {
        match &self.0.subject {
            EventSubject::Server(id) => Some(ServerId::as_str(id)),
            _ => None,
        }
    }

    /// The name of the node that it is about.
    #[getter]
    fn node(&self) -> Option<&str> {
        match &self.0.subject {
            EventSubject::Node(id) => Some(id.as_str()),
            _ => None,
        }
    }

    /// The id of the admin that it is about, or who owned the key that it is about.
    #[getter]
    fn admin(&self) -> Option<i64> {
        self.0.admin().map(|id| id.0)
    }

    /// The settings that it is about: `settings`, `hosts/main/ws`.
    #[getter]
    fn settings(&self) -> Option<&str> {
        match &self.0.subject {
            EventSubject::Settings(place) => Some(place),
            _ => None,
        }
    }

    /// A short text for people; may be empty. Never a secret.
    #[getter]
    fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The operation that it follows from: `keys.extend`; `None` when vpnkit did it by itself.
    #[getter]
    fn operation(&self) -> Option<&str> {
        self.0.cause.as_ref().map(|cause| cause.operation.as_str())
    }

    /// Who called, as the application has said.
    #[getter]
    fn actor(&self) -> Option<&str> {
        self.0.cause.as_ref().and_then(|cause| cause.actor.as_deref())
    }

    /// The id of the admin in whose name it was called.
    #[getter]
    fn by_admin(&self) -> Option<i64> {
        self.0.cause.as_ref().and_then(|cause| cause.by_admin).map(|id| id.0)
    }

    /// Why, as the application has said.
    #[getter]
    fn reason(&self) -> Option<&str> {
        self.0.cause.as_ref().and_then(|cause| cause.reason.as_deref())
    }

    /// The idempotency key of the call: the payment.
    #[getter]
    fn idempotency_key(&self) -> Option<&str> {
        self.0.cause.as_ref().and_then(|cause| cause.idempotency_key.as_deref())
    }

    /// The event as a dict that `json.dumps` takes.
    fn to_dict(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        dict(py, &self.0, false)
    }

    fn __repr__(&self) -> String {
        let about = match &self.0.subject {
            EventSubject::Key { id, .. } => format!("key={id}"),
            EventSubject::Inbound(tag) => format!("inbound='{tag}'"),
            EventSubject::Server(id) => format!("server='{id}'"),
            EventSubject::Node(id) => format!("node='{id}'"),
            EventSubject::Admin(id) => format!("admin={id}"),
            EventSubject::Settings(place) => format!("settings='{place}'"),
            _ => String::new(),
        };
        format!("<Event cursor={} kind='{}' {about}>", self.0.cursor, self.0.kind)
    }

    fn __hash__(&self) -> i64 {
        self.0.cursor.0
    }

    /// An event from the text that pickle keeps.
    #[staticmethod]
    fn _from_json(text: &str) -> PyResult<Self> {
        let event = serde_json::from_str(text);
        event.map(Self).map_err(|_| PyValueError::new_err("not a pickled event of this version"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        let text = serde_json::to_string(&self.0).map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok((py.get_type::<Self>().getattr("_from_json")?, (text,)))
    }
}
