//! From the facade's values to Python's.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDateTime, PyDelta, PyTzInfo};
use vpnkit::Timestamp;
use vpnkit_bindings::Answer;

use crate::event::Event;
use crate::key::Key;

/// An aware datetime in UTC.
pub(crate) fn datetime(py: Python<'_>, at: Timestamp) -> PyResult<Py<PyAny>> {
    static EPOCH: PyOnceLock<Py<PyDateTime>> = PyOnceLock::new();
    const DAY_MS: i64 = 86_400_000;
    let epoch = EPOCH.get_or_try_init(py, || {
        let utc = PyTzInfo::utc(py)?;
        PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, Some(&utc)).map(Bound::unbind)
    })?;
    let millis = at.as_millis();
    let small = |n: i64| i32::try_from(n).unwrap_or_default();
    let (days, rest) = (small(millis.div_euclid(DAY_MS)), millis.rem_euclid(DAY_MS));
    let since = PyDelta::new(py, days, small(rest / 1000), small(rest % 1000 * 1000), false)?;
    Ok(epoch.bind(py).add(since)?.unbind())
}

pub(crate) fn maybe_datetime(py: Python<'_>, at: Option<Timestamp>) -> PyResult<Option<Py<PyAny>>> {
    at.map(|at| datetime(py, at)).transpose()
}

/// A number of bytes as `vpnkit.ByteSize`.
pub(crate) fn size(py: Python<'_>, bytes: u64) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || py.import("vpnkit.sizes")?.getattr("ByteSize").map(Bound::unbind))?;
    class.call1(py, (bytes,))
}

/// Bytes in both directions as `vpnkit.Traffic`.
pub(crate) fn traffic(py: Python<'_>, traffic: vpnkit::Traffic) -> PyResult<Py<PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class =
        CLASS.get_or_try_init(py, || py.import("vpnkit.records")?.getattr("Traffic").map(Bound::unbind))?;
    let vpnkit::Traffic { up, down } = traffic;
    class.call1(py, (size(py, up)?, size(py, down)?))
}

/// A record of `vpnkit.records`.
pub(crate) fn record(py: Python<'_>, class: &str, value: &impl serde::Serialize) -> PyResult<Py<PyAny>> {
    let json = dict(py, value, false)?;
    py.import("vpnkit.records")?.getattr(class)?.call_method1("_read", (json,)).map(Bound::unbind)
}

/// A certificate's serial number and end as `vpnkit.CertificateTerm`.
pub(crate) fn certificate_term(py: Python<'_>, term: vpnkit::CertificateTerm) -> PyResult<Py<PyAny>> {
    let class = py.import("vpnkit.records")?.getattr("CertificateTerm")?;
    class.call1((term.serial, datetime(py, term.expires_at)?)).map(Bound::unbind)
}

/// Keys and events natively, since there can be many; the rest as JSON, which the package reads.
pub(crate) fn answer(py: Python<'_>, answer: Answer) -> PyResult<Py<PyAny>> {
    let answer = match answer.downcast::<vpnkit::Key>() {
        Ok(key) => return Ok(Py::new(py, Key::from(key))?.into_any()),
        Err(answer) => answer,
    };
    let answer = match answer.downcast::<Option<vpnkit::Key>>() {
        Ok(Some(key)) => return Ok(Py::new(py, Key::from(key))?.into_any()),
        Ok(None) => return Ok(py.None()),
        Err(answer) => answer,
    };
    let answer = match answer.downcast::<Vec<vpnkit::Key>>() {
        Ok(keys) => return keys_list(py, keys),
        Err(answer) => answer,
    };
    let answer = match answer.downcast::<vpnkit::Page>() {
        Ok(page) => {
            let token = |token: Option<vpnkit::PageToken>| token.map(|token| token.as_str().to_owned());
            let (next, previous) = (token(page.next), token(page.previous));
            return Ok((keys_list(py, page.keys)?, next, previous).into_pyobject(py)?.into_any().unbind());
        }
        Err(answer) => answer,
    };
    let answer = match answer.downcast::<vpnkit::EventBatch>() {
        Ok(batch) => {
            let batch = (events_list(py, batch.events)?, batch.next.0);
            return Ok(batch.into_pyobject(py)?.into_any().unbind());
        }
        Err(answer) => answer,
    };
    let answer = match answer.downcast::<Vec<vpnkit::Event>>() {
        Ok(events) => return events_list(py, events),
        Err(answer) => answer,
    };
    match answer.downcast::<Timestamp>() {
        Ok(time) => datetime(py, time),
        Err(answer) => Ok(answer.to_json().into_pyobject(py)?.into_any().unbind()),
    }
}

/// A record as a dict of what JSON has.
pub(crate) fn dict(py: Python<'_>, record: &impl serde::Serialize, secrets: bool) -> PyResult<Py<PyAny>> {
    let json = if secrets {
        vpnkit_bindings::json(record)
    } else {
        serde_json::to_string(record).map_err(|e| pyo3::exceptions::PyValueError::new_err(e.to_string()))?
    };
    py.import("json")?.call_method1("loads", (json,)).map(Bound::unbind)
}

fn keys_list(py: Python<'_>, keys: Vec<vpnkit::Key>) -> PyResult<Py<PyAny>> {
    let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
    Ok(keys.into_pyobject(py)?.into_any().unbind())
}

pub(crate) fn events_list(py: Python<'_>, events: Vec<vpnkit::Event>) -> PyResult<Py<PyAny>> {
    let events: Vec<Event> = events.into_iter().map(Event::from).collect();
    Ok(events.into_pyobject(py)?.into_any().unbind())
}
