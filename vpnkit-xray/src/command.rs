//! What only the program itself can do: test a config, add an inbound from JSON.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use vpnkit_core::{Error, ErrorKind, Result};

use crate::api::ApiAddress;
use crate::environment;

/// A config with 100,000 users takes a second.
const LIMIT: Duration = Duration::from_secs(60);

/// `xray run -test`: the whole config.
pub(crate) async fn test(binary: &Path, config: &Path) -> Result<()> {
    let mut command = Command::new(binary);
    command.args(["run", "-test", "-c"]).arg(config);
    run(command, "xray.test", "Xray does not accept its config").await
}

/// `xray api adi`: adds inbounds to a running Xray, in their order. The messages of transports change their field numbers between
/// versions, so Xray itself makes them from JSON.
pub(crate) async fn add_inbounds(
    binary: &Path,
    api: &ApiAddress,
    directory: &Path,
    inbounds: &[Value],
) -> Result<()> {
    let file = Scratch::write(directory, &json!({ "inbounds": inbounds }))?;
    let mut command = Command::new(binary);
    command.args(["api", "adi", "-s", &api.for_command(), "-t", "10"]).arg(&file.0);
    run(command, "xray.add_inbound", "Xray does not accept the inbound").await
}

async fn run(mut command: Command, operation: &'static str, refusal: &str) -> Result<()> {
    command.env_clear().envs(environment::passed_on());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = match tokio::time::timeout(LIMIT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(e)) => {
            return Err(
                Error::new(ErrorKind::BinaryMissing, operation, "the program cannot be started").caused_by(e)
            );
        }
        Err(_) => return Err(Error::new(ErrorKind::Timeout, operation, "the program did not end in time")),
    };
    let text =
        [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    let complaint = text.lines().map(str::trim).find(|line| line.to_ascii_lowercase().contains("failed"));
    match (output.status.success(), complaint) {
        (true, None) => Ok(()),
        (_, complaint) => Err(refused(operation, refusal, complaint.unwrap_or_default())),
    }
}

/// An error from a line that Xray has written.
pub(crate) fn refused(operation: &'static str, message: &str, line: &str) -> Error {
    if line.contains("address already in use") {
        let error = Error::new(ErrorKind::PortInUse, operation, "another program listens on the port");
        return error.with("answer", line);
    }
    Error::new(ErrorKind::Rejected, operation, message).with("answer", line)
}

/// A file of mode 0600 that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn write(directory: &Path, value: &Value) -> Result<Self> {
        let path = directory.join(format!("vpnkit-{}.json", uuid::Uuid::new_v4()));
        write_private(&path, value)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a new file that only its owner may read, down to the disk.
pub(crate) fn write_private(path: &Path, value: &Value) -> Result<()> {
    let write = || {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        write_to(&file, value)?;
        file.sync_all()
    };
    write().map_err(|e| {
        Error::new(ErrorKind::PermissionDenied, "xray.write", "a file cannot be written")
            .with("path", path.display())
            .caused_by(e)
    })
}

fn write_to(file: &std::fs::File, value: &Value) -> std::io::Result<()> {
    let mut buffer = std::io::BufWriter::new(file);
    serde_json::to_writer(&mut buffer, value)?;
    // A buffer that is dropped keeps the errors of its last bytes to itself.
    buffer.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_noticed() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = write_to(&full, &serde_json::json!({ "short": true })).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
