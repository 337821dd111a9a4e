//! What the programs that vpnkit starts learn of its environment.

use std::ffi::OsString;

/// What Xray, and the Go runtime in it, read. Nothing else: the environment of a bot holds its tokens, and all who may
/// read `/proc/PID/environ` of Xray would have them.
fn is_read(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "LANG" | "TZ" | "TMPDIR" | "LD_LIBRARY_PATH")
        || name.to_ascii_lowercase().starts_with("xray")
        || name.starts_with("SSL_CERT_")
        || matches!(name, "GOGC" | "GOMEMLIMIT" | "GOMAXPROCS" | "GODEBUG" | "GOTRACEBACK")
}

/// The part of this process's environment that a child gets.
pub(crate) fn passed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_read))
}

#[cfg(test)]
mod tests {
    use super::is_read;

    #[test]
    fn secrets_of_the_application_stay_with_it() {
        for name in ["BOT_TOKEN", "DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "GO_PASSWORD", "NODE_OPTIONS", ""]
        {
            assert!(!is_read(name), "{name}");
        }
        for name in ["PATH", "XRAY_LOCATION_ASSET", "xray.buf.readv", "SSL_CERT_FILE", "GOMEMLIMIT"] {
            assert!(is_read(name), "{name}");
        }
    }
}
