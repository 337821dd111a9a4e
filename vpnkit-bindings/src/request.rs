//! A call that has been read and not begun.

use std::fmt;

use vpnkit::Result;
use vpnkit::operation::{self, Call, Operation};

use crate::sandbox::SandboxStep;

/// The operation that only a sandbox has.
const SANDBOX: &str = "sandbox";

/// One call.
pub struct Request {
    operation: &'static str,
    pub(crate) work: Work,
}

pub(crate) enum Work {
    Facade(Call),
    Sandbox(SandboxStep),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({})", self.operation)
    }
}

/// An operation that was found by its name.
#[derive(Clone, Copy, Debug)]
pub struct Found(Option<&'static Operation>);

impl Found {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.map_or(SANDBOX, |operation| operation.name)
    }

    /// Whether it only asks the store for one thing: then handing the answer to another thread costs more than the call.
    #[must_use]
    pub fn is_inline(self) -> bool {
        self.0.is_some_and(|operation| operation.inline)
    }

    /// Reads arguments, a JSON object.
    ///
    /// Errors: `InvalidInput` with the `field`.
    pub fn read(self, arguments: &str) -> Result<Request> {
        let work = match self.0 {
            Some(operation) => Work::Facade((operation.parse)(arguments)?),
            None => Work::Sandbox(operation::read(SANDBOX, &[], arguments)?),
        };
        Ok(Request { operation: self.name(), work })
    }
}

impl Request {
    /// Finds an operation by its name.
    ///
    /// Errors: `Unsupported`.
    pub fn named(operation: &str) -> Result<Found> {
        if operation == SANDBOX {
            Ok(Found(None))
        } else {
            operation::named(operation).map(|o| Found(Some(o)))
        }
    }

    /// The name of its operation.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }
}
