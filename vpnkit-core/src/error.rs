//! The one error of the whole SDK.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// Result with vpnkit's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What went wrong. Match on this, never on texts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind { $($(#[$doc])* $name,)* }

        impl ErrorKind {
            /// Every kind, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name in snake case: the same in Rust, in the bindings and over HTTP.
            ///
            /// ```
            /// assert_eq!(vpnkit_core::ErrorKind::AlreadyExists.code(), "already_exists");
            /// ```
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

kinds! {
    /// An argument is not acceptable; the context names the `field`.
    InvalidInput = "invalid_input",
    /// The configuration is not acceptable; every fault is listed with its path.
    InvalidConfig = "invalid_config",
    /// There is no such key, inbound or server.
    NotFound = "not_found",
    /// A key name, UUID, inbound tag or port is already taken inside vpnkit.
    AlreadyExists = "already_exists",
    /// The version that the caller expected is no longer the current one.
    Conflict = "conflict",
    /// The idempotency key belongs to an earlier request that asked for something else.
    IdempotencyMismatch = "idempotency_mismatch",
    /// A limit of the key does not allow it: it is on too many devices.
    LimitReached = "limit_reached",
    /// The backend or store cannot do this at all.
    Unsupported = "unsupported",
    /// A server does not answer.
    Unavailable = "unavailable",
    /// Something took longer than its time limit.
    Timeout = "timeout",
    /// The object was closed before or during the call.
    Closed = "closed",
    /// The process was forked after this was opened; what it holds works in the parent only.
    Forked = "forked",
    /// The operating system refused.
    PermissionDenied = "permission_denied",
    /// Another program listens on the port.
    PortInUse = "port_in_use",
    /// The server program is not where it was looked for.
    BinaryMissing = "binary_missing",
    /// The server program is older than vpnkit supports.
    VersionUnsupported = "version_unsupported",
    /// The server program refused what it was given.
    Rejected = "rejected",
    /// Another process has it: a server, or a directory.
    InUse = "in_use",
    /// Another process does what this one did before: it was slow, or frozen, for longer than the store waits for it.
    LeaseLost = "lease_lost",
    /// Another process holds the store's write lock.
    StoreLocked = "store_locked",
    /// The store cannot be written.
    StoreReadOnly = "store_read_only",
    /// A newer vpnkit has written the store.
    StoreTooNew = "store_too_new",
    /// The file is not a vpnkit store.
    StoreNotRecognized = "store_not_recognized",
    /// The store is encrypted and no passphrase was given.
    PassphraseMissing = "passphrase_missing",
    /// The passphrase is not the store's.
    PassphraseWrong = "passphrase_wrong",
    /// The store's file is damaged.
    StoreCorrupt = "store_corrupt",
    /// No room left for the store.
    StoreFull = "store_full",
    /// The events after this cursor are no longer kept.
    CursorExpired = "cursor_expired",
    /// A fault in vpnkit or in something it relies on.
    Unexpected = "unexpected",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Whether the same call may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The same call may succeed after a while.
    Later,
    /// vpnkit has retried already and gave up.
    Exhausted,
}

/// One error: kind, operation, what it was done to, a hint, a cause.
///
/// `Display` is one line and leaves the cause out; walk [`std::error::Error::source`] for it.
/// Secrets never get in.
///
/// ```
/// use vpnkit_core::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::NotFound, "keys.get", "no such key").with("key", 7);
/// assert_eq!(error.to_string(), "keys.get: no such key (key=7)");
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` in `operation` (noun and verb: `keys.create`).
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::StoreLocked | ErrorKind::InUse => {
                Retry::Later
            }
            _ => Retry::Never,
        };
        let message = message.into();
        Self(Box::new(Inner {
            kind,
            retry,
            operation,
            message,
            context: Vec::new(),
            hint: None,
            source: None,
        }))
    }

    /// [`ErrorKind::InvalidInput`] about one field.
    pub fn invalid(operation: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, operation, message).with("field", field)
    }

    /// Adds a fact: `("key", 7)`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Adds what the human can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// Overrides what the kind says about retrying.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// Moves the error to the operation that the caller asked for.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// `true` when the same call may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.0.retry == Retry::Later
    }

    /// What was being done: `keys.create`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The sentence without operation and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts, in the order in which they were added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// One fact by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.context.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// What the human can do about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { " (" } else { ", " })?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self, self.0.kind)?;
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\ncaused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// As bindings and HTTP servers carry it: `code`, `operation`, `text` (as `Display` writes it), `message`, `retryable`,
/// `hint`, `context`, `faults` (of a configuration, each with its path) and `causes`, the nearest first.
impl Serialize for Error {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let (faults, context): (Vec<_>, Vec<_>) =
            self.context().iter().partition(|(name, _)| *name == "fault");
        let context: BTreeMap<_, _> = context.into_iter().map(|(name, value)| (*name, value)).collect();
        let faults: Vec<_> = faults.into_iter().map(|(_, value)| value).collect();
        let mut causes = Vec::new();
        let mut cause = self.source();
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let mut record = s.serialize_struct("Error", 9)?;
        record.serialize_field("code", self.kind().code())?;
        record.serialize_field("operation", self.operation())?;
        record.serialize_field("text", &self.to_string())?;
        record.serialize_field("message", self.message())?;
        record.serialize_field("retryable", &self.is_temporary())?;
        record.serialize_field("hint", &self.hint_text())?;
        record.serialize_field("context", &context)?;
        record.serialize_field("faults", &faults)?;
        record.serialize_field("causes", &causes)?;
        record.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_without_the_cause() {
        let error = Error::new(ErrorKind::StoreLocked, "store.commit", "another process writes")
            .with("path", "bot.db")
            .caused_by(std::io::Error::other("the cause"));
        assert_eq!(error.to_string(), "store.commit: another process writes (path=bot.db)");
        assert!(format!("{error:?}").contains("caused by: the cause"));
        assert!(error.is_temporary());
    }

    #[test]
    fn codes_are_unique_snake_case() {
        let mut codes: Vec<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        assert!(codes.iter().all(|c| c.chars().all(|c| c.is_ascii_lowercase() || c == '_')));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
