//! Putting a backup back.

use std::path::PathBuf;

use napi::Result;
use napi_derive::napi;
use vpnkit::store::Progress;
use vpnkit_bindings::Runtime;

use crate::bridge::{NativeBridge, Outcome, failure};

/// How far a long piece of work is.
#[napi]
#[derive(Default)]
pub(crate) struct NativeProgress(Progress);

#[napi]
impl NativeProgress {
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Steps that are done, and in all.
    #[napi]
    pub fn steps(&self) -> (f64, f64) {
        let total = self.0.total();
        // Pages of a file: exact up to 2^53.
        (self.0.done().min(total) as f64, total as f64)
    }

    /// Asks the work to end before it is done.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Replaces a store that nobody has open by a backup.
#[napi]
pub(crate) fn restore(
    bridge: &NativeBridge,
    call: u32,
    backup: String,
    store: String,
    progress: &NativeProgress,
) -> Result<()> {
    let runtime = Runtime::new().map_err(|e| failure(&e))?;
    let restore = vpnkit_bindings::restore(PathBuf::from(backup), store, progress.0.clone());
    let running = runtime.clone();
    bridge.start(call, &runtime, false, async move {
        let answer = restore.await;
        drop(running);
        answer.map(|answer| Outcome::Json(answer.to_json()))
    })
}
