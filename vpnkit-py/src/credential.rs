//! A credential as Python sees it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use vpnkit::{CredentialKind, CredentialSecret, DeviceName};

use crate::errors::exception;

/// One way of a key into one protocol from one device.
#[pyclass(frozen, eq, module = "vpnkit", from_py_object)]
#[derive(Clone, PartialEq)]
pub(crate) struct Credential(vpnkit::Credential);

impl From<vpnkit::Credential> for Credential {
    fn from(credential: vpnkit::Credential) -> Self {
        Self(credential)
    }
}

#[pymethods]
impl Credential {
    /// An existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for trojan
    /// and shadowsocks, 32 bytes in base64 for shadowsocks-2022.
    #[new]
    #[pyo3(signature = (protocol, secret, *, device = "default"))]
    fn new(py: Python<'_>, protocol: &str, secret: &str, device: &str) -> PyResult<Self> {
        let credential = || {
            let secret = CredentialSecret::parse(protocol.parse::<CredentialKind>()?, secret)?;
            Ok(vpnkit::Credential { device: DeviceName::new(device)?, secret })
        };
        credential().map(Self).map_err(|e: vpnkit::Error| exception(py, &e))
    }

    /// `vless`, `vmess`, `trojan`, `shadowsocks` or `shadowsocks-2022`.
    #[getter]
    fn protocol(&self) -> &'static str {
        self.0.protocol().code()
    }

    /// The device that uses it.
    #[getter]
    fn device(&self) -> &str {
        self.0.device.as_str()
    }

    /// The secret itself. It is not in `repr()`.
    #[getter]
    fn secret(&self) -> String {
        self.0.secret.expose()
    }

    fn __repr__(&self) -> String {
        format!("<Credential protocol='{}' device='{}'>", self.protocol(), self.device())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.protocol(), self.device(), self.secret()).hash(&mut hasher);
        hasher.finish()
    }

    /// The JSON that requests carry.
    fn _json(&self) -> PyResult<String> {
        Ok(vpnkit_bindings::json(&self.0))
    }

    /// A credential from the text that pickle keeps.
    #[staticmethod]
    fn _from_json(text: &str) -> PyResult<Self> {
        let credential = serde_json::from_str(text);
        credential.map(Self).map_err(|_| PyValueError::new_err("not a pickled credential of this version"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((py.get_type::<Self>().getattr("_from_json")?, (self._json()?,)))
    }
}
