//! Ending an Xray that was left running, without a kit.

use std::path::Path;

use vpnkit::{Error, ErrorKind, Result};

/// As [`vpnkit::xray::stop_left_running`], for a thread that may wait up to ten seconds.
pub fn stop_left_running(directory: &Path) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
        Error::new(ErrorKind::Unavailable, "xray.stop", "it cannot be waited for").caused_by(e)
    })?;
    runtime.block_on(vpnkit::xray::stop_left_running(directory))
}
