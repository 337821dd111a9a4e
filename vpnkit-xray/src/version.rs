//! Versions of Xray.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use vpnkit_core::{Error, ErrorKind, Result};

use crate::environment;

/// Year, month, day, as Xray counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// The oldest Xray that vpnkit drives, and the one it is tested with: older ones forget who is online after 20 s.
pub(crate) const OLDEST: Version = Version(26, 3, 27);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Version {
    /// From the first line of `xray version`: `Xray 26.3.27 (…)`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.split_whitespace();
        if words.next()? != "Xray" {
            return None;
        }
        let mut numbers = words.next()?.split('.').map(|n| n.parse().ok());
        Some(Self(numbers.next()??, numbers.next()??, numbers.next()??))
    }
}

/// Asks the program; refuses what is missing, not Xray, or too old.
pub(crate) async fn probe(binary: &Path) -> Result<Version> {
    const OP: &str = "xray.version";
    const LIMIT: Duration = Duration::from_secs(10);
    let run = Command::new(binary)
        .arg("version")
        .env_clear()
        .envs(environment::passed_on())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(LIMIT, run).await {
        Err(_) => {
            return Err(Error::new(ErrorKind::Timeout, OP, "the program did not tell its version")
                .with("binary", binary.display()));
        }
        Ok(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::new(ErrorKind::BinaryMissing, OP, "Xray is not installed there")
                .with("binary", binary.display())
                .hint("install Xray, or give the path of its binary")
                .caused_by(e));
        }
        Ok(Err(e)) => {
            return Err(Error::new(ErrorKind::PermissionDenied, OP, "the program cannot be started")
                .with("binary", binary.display())
                .caused_by(e));
        }
        Ok(Ok(output)) => output,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = Version::parse(&text).ok_or_else(|| {
        Error::new(ErrorKind::VersionUnsupported, OP, "the program is not Xray")
            .with("binary", binary.display())
    })?;
    if version < OLDEST {
        return Err(Error::new(ErrorKind::VersionUnsupported, OP, "this Xray is too old")
            .with("version", version)
            .with("oldest", OLDEST));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let line =
            "Xray 26.3.27 (Xray, Penetrates Everything.) Custom (go1.26.8 linux/amd64)\nA unified platform";
        assert_eq!(Version::parse(line), Some(OLDEST));
        assert_eq!(Version::parse("V2Ray 4.34.0 (V2Fly)"), None);
        assert!(Version(26, 10, 1) > OLDEST && Version(25, 12, 8) < OLDEST);
    }
}
