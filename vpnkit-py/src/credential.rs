//! A credential as Python sees it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use vpnkit::{CredentialKind, CredentialSecret, DeviceName};

use crate::convert::certificate_term;
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

/// A slot; `True` is none.
fn number(slot: &Bound<'_, PyAny>) -> Result<u32, vpnkit::Error> {
    let number = if slot.is_instance_of::<PyBool>() { None } else { slot.extract().ok() };
    number.ok_or_else(|| {
        vpnkit::Error::invalid("Credential", "slot", "must be a whole number from 0 to 4294967295")
    })
}

#[pymethods]
impl Credential {
    /// An existing credential, for keys that move in from elsewhere: a UUID for vless and vmess, a password for trojan
    /// and shadowsocks, 32 bytes in base64 for shadowsocks-2022.
    #[new]
    #[pyo3(signature = (protocol, secret, *, device = "default", inbound = None, slot = None))]
    fn new(
        py: Python<'_>,
        protocol: &str,
        secret: &str,
        device: &str,
        inbound: Option<&str>,
        slot: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let credential = || {
            let secret = CredentialSecret::parse(protocol.parse::<CredentialKind>()?, secret)?;
            let mut credential = vpnkit::Credential::new(DeviceName::new(device)?, secret);
            credential.inbound = inbound.map(str::parse).transpose()?;
            credential.slot = slot.map(number).transpose()?;
            Ok(credential)
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

    /// The inbound that it is for, `node/tag`; None is every inbound of its protocol without addresses and
    /// certificates.
    #[getter]
    fn inbound(&self) -> Option<String> {
        self.0.inbound.as_ref().map(ToString::to_string)
    }

    /// Its number among the addresses of that inbound, from 0; given when it is written.
    #[getter]
    fn slot(&self) -> Option<u32> {
        self.0.slot
    }

    /// The certificate that its client presents, where the inbound asks for one.
    #[getter]
    fn certificate(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.0.certificate.map(|certificate| certificate_term(py, certificate)).transpose()
    }

    fn __repr__(&self) -> String {
        let inbound = self.inbound().map(|inbound| format!(" inbound='{inbound}'")).unwrap_or_default();
        let slot = self.slot().map(|slot| format!(" slot={slot}")).unwrap_or_default();
        format!("<Credential protocol='{}' device='{}'{inbound}{slot}>", self.protocol(), self.device())
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.protocol(), self.device(), self.inbound(), self.secret()).hash(&mut hasher);
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
