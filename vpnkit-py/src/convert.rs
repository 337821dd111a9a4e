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

/// Keys and events natively, since there can be many; the rest as JSON, which the package reads.
pub(crate) fn answer(py: Python<'_>, answer: Answer) -> PyResult<Py<PyAny>> {
    Ok(match answer {
        Answer::Nothing => py.None(),
        Answer::Key(key) => Py::new(py, Key::from(*key))?.into_any(),
        Answer::MaybeKey(key) => match key {
            Some(key) => Py::new(py, Key::from(*key))?.into_any(),
            None => py.None(),
        },
        Answer::Keys(keys) => keys_list(py, keys)?,
        Answer::Page(page) => {
            let next = page.next.as_ref().map(|token| token.as_str().to_owned());
            (keys_list(py, page.keys)?, next).into_pyobject(py)?.into_any().unbind()
        }
        Answer::Events(batch) => {
            (events_list(py, batch.events)?, batch.next.0).into_pyobject(py)?.into_any().unbind()
        }
        other => other.to_json().into_pyobject(py)?.into_any().unbind(),
    })
}

fn keys_list(py: Python<'_>, keys: Vec<vpnkit::Key>) -> PyResult<Py<PyAny>> {
    let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
    Ok(keys.into_pyobject(py)?.into_any().unbind())
}

pub(crate) fn events_list(py: Python<'_>, events: Vec<vpnkit::Event>) -> PyResult<Py<PyAny>> {
    let events: Vec<Event> = events.into_iter().map(Event::from).collect();
    Ok(events.into_pyobject(py)?.into_any().unbind())
}
