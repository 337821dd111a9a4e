//! Ending an Xray that was left running.

use std::path::Path;

use vpnkit_core::{Error, ErrorKind, Result};

use crate::directory_lock::DirectoryLock;
use crate::process::LOG;
use crate::running::Running;
use crate::{home, procfs};

/// Ends the Xray that runs on in a directory although no process drives it any more
/// ([`crate::ManagedXray::keep_running`]); returns whether there was one. What it has counted since it was read last is lost.
///
/// Errors: `NotFound` when there is no such directory, or it is not one of a managed Xray; `InUse` while a process drives it, which `servers.stop` is for;
/// `PermissionDenied`.
pub async fn stop_left_running(directory: &Path) -> Result<bool> {
    const OP: &str = "xray.stop";
    let fault = |kind, message: &str| Error::new(kind, OP, message).with("directory", directory.display());
    let directory = std::fs::canonicalize(directory)
        .map_err(|e| fault(ErrorKind::NotFound, "there is no such directory").caused_by(e))?;
    home::own(&directory).map_err(|e| {
        fault(ErrorKind::PermissionDenied, "the directory is another user's, or others write into it")
            .caused_by(e)
    })?;
    // Nothing is touched in one that is not vpnkit's.
    let known = Running::read(&directory);
    let left = procfs::that_run(&directory);
    if known.is_none() && left.is_empty() && !directory.join(LOG).exists() {
        return Err(fault(ErrorKind::NotFound, "no Xray of vpnkit was left running in this directory")
            .hint("it is the `directory` of the `ManagedXray`"));
    }
    let lock = DirectoryLock::take(&directory, "stop")
        .map_err(|e| fault(ErrorKind::PermissionDenied, "the directory cannot be locked").caused_by(e))?;
    let Some(_lock) = lock else {
        return Err(fault(ErrorKind::InUse, "a process drives the Xray of this directory")
            .hint("`servers.stop` ends it, from any process that has the store open"));
    };
    // In a container, or of another user: it can neither be seen nor ended from here.
    let process = known.as_ref().map(|known| &known.process);
    if let Some(process) = process.filter(|process| !process.has_ended() && !left.contains(process)) {
        return Err(fault(
            ErrorKind::InUse,
            "the Xray of this directory runs where this process does not see it",
        )
        .with("pid", process.pid())
        .hint("call it there: in the same container, as the same user"));
    }
    for process in &left {
        procfs::end(process).await.map_err(|e| {
            fault(ErrorKind::PermissionDenied, "it does not end").with("pid", process.pid()).caused_by(e)
        })?;
    }
    Running::forget(&directory);
    for name in ["api.sock", "api.sock.lock"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    home::clear_previous(&directory);
    Ok(!left.is_empty())
}
