//! From Xray's answers to errors.

use tonic::{Code, Status};
use vpnkit_core::{Error, ErrorKind};

/// What an answer of `AlterInbound` means. Xray gives most errors one code, so the text decides, and
/// `handler not found` contains `not found`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlterError {
    /// The user is there already.
    Exists,
    /// There is no such user.
    NoUser,
    /// There is no such inbound.
    NoInbound,
    /// The inbound cannot hold users.
    NoUsers,
    /// Something else.
    Other,
}

pub(crate) fn answer(status: &Status) -> AlterError {
    let text = status.message().to_ascii_lowercase();
    if text.contains("handler not found") || text.contains("not enough information") {
        AlterError::NoInbound
    } else if text.contains("not a usermanager") {
        AlterError::NoUsers
    } else if text.contains("already exists") {
        AlterError::Exists
    } else if text.contains("not found") {
        AlterError::NoUser
    } else {
        AlterError::Other
    }
}

/// Converts what no caller expected. Xray's texts name emails and tags, never secrets, except that a bad UUID is
/// repeated; vpnkit sends none.
pub(crate) fn convert(operation: &'static str, status: &Status) -> Error {
    let (kind, message) = match status.code() {
        Code::Unavailable | Code::Cancelled => (ErrorKind::Unavailable, "Xray does not answer"),
        Code::DeadlineExceeded => (ErrorKind::Timeout, "Xray did not answer in time"),
        Code::Unimplemented => (ErrorKind::VersionUnsupported, "this Xray does not know the call"),
        Code::ResourceExhausted => (ErrorKind::Unexpected, "a message is larger than allowed"),
        _ => (ErrorKind::Rejected, "Xray refused"),
    };
    Error::new(kind, operation, message).with("answer", status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of the pinned Xray.
    #[test]
    fn answers_are_told_apart() {
        for (text, expected) in [
            ("proxy/vless: User a@b already exists.", AlterError::Exists),
            ("proxy/vless: User x not found.", AlterError::NoUser),
            (
                "app/proxyman/command: failed to get handler: T > app/proxyman/inbound: handler not found: T",
                AlterError::NoInbound,
            ),
            ("common: not enough information for making a decision", AlterError::NoInbound),
            ("app/proxyman/command: proxy is not a UserManager", AlterError::NoUsers),
            ("proxy/vless: Email must not be empty.", AlterError::Other),
        ] {
            assert_eq!(answer(&Status::unknown(text)), expected, "{text}");
        }
    }
}
