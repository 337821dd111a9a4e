//! Many keys, which become JavaScript's when they are looked at.

use napi_derive::napi;

/// Keys in the order of their requests.
#[napi]
pub(crate) struct NativeBatch(Vec<vpnkit::Key>);

impl From<Vec<vpnkit::Key>> for NativeBatch {
    fn from(keys: Vec<vpnkit::Key>) -> Self {
        Self(keys)
    }
}

#[napi]
impl NativeBatch {
    /// How many there are.
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The key at a place, as JSON.
    #[napi]
    pub fn at(&self, index: u32) -> Option<String> {
        self.0.get(usize::try_from(index).ok()?).map(vpnkit_bindings::json)
    }
}
