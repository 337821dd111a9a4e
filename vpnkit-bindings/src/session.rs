//! One open kit.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use vpnkit::{AdminId, CallContext, Config, Cursor, Error, ErrorKind, Result, VpnKit};

use crate::request::Work;
use crate::sandbox::Sandbox;
use crate::{Answer, Pump, Request, Runtime};

/// A kit on a runtime. Dropping it without [`Self::close`] stops everything and waits for nothing.
#[derive(Debug)]
pub struct Session {
    kit: Option<VpnKit>,
    sandbox: Option<Sandbox>,
    runtime: Runtime,
}

impl Session {
    /// Opens what `config` describes: the JSON of [`Config`]. To be run on `runtime`.
    ///
    /// A sandbox has a manual clock, and a fake server beside those of the configuration: for tests of applications.
    pub async fn open(runtime: Runtime, config: String, sandbox: bool) -> Result<Self> {
        let config = Config::from_json(&config)?;
        let (kit, sandbox) = if sandbox {
            let (kit, sandbox) = Sandbox::open(config).await?;
            (kit, Some(sandbox))
        } else {
            (VpnKit::open(config).await?, None)
        };
        Ok(Self { kit: Some(kit), sandbox, runtime })
    }

    /// The runtime that it was opened on.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Calls the facade in a context. To be run on the session's runtime. A panic is the error `Unexpected`: somebody waits for it.
    pub async fn call(&self, request: Request, context: &CallContext) -> Result<Answer> {
        let operation = request.operation();
        let kit = self.kit(operation)?;
        let answer = async {
            match request.work {
                Work::Facade(call) if *context == CallContext::default() => call(kit.engine()).await,
                Work::Facade(call) => call(&kit.engine().with_context(context.clone())).await,
                Work::Sandbox(step) => self.sandbox()?.step(kit, step).await,
            }
        };
        AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unexpected, operation, "a fault in vpnkit; the log has its place"))
        })
    }

    /// Returns the events after a cursor.
    pub fn events(self: &Arc<Self>, context: &CallContext, after: Cursor) -> Result<Pump> {
        let engine = self.kit("events.stream")?.engine().with_context(context.clone());
        Ok(Pump::stream(Arc::clone(self), engine.events().stream(after)))
    }

    /// Returns what consumes events under a name.
    pub fn consume(
        self: &Arc<Self>,
        context: &CallContext,
        name: &str,
        after: Option<Cursor>,
    ) -> Result<Pump> {
        let engine = self.kit("events.consume")?.engine().with_context(context.clone());
        Ok(Pump::consumer(Arc::clone(self), engine.events().consume(name, after)?))
    }

    /// Reads the counters a last time, stops managed servers, releases the store. Ending the runtime is left to the
    /// caller, who is on a thread that may wait for it.
    pub async fn close(&self) -> Result<()> {
        self.kit("close")?.close().await
    }

    pub(crate) fn kit(&self, operation: &'static str) -> Result<&VpnKit> {
        self.runtime.check(operation)?;
        self.kit.as_ref().ok_or_else(|| Error::new(ErrorKind::Closed, operation, "vpnkit is closed"))
    }

    pub(crate) fn sandbox(&self) -> Result<&Sandbox> {
        self.sandbox.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                "testing",
                "only a sandbox has a clock and a server to play with",
            )
        })
    }
}

/// Returns a context with what is given; what is not stays.
///
/// Errors: `InvalidInput` about `actor`, `reason` or `scopes`; `PermissionDenied` when calls are in the name of another admin.
pub fn narrowed(
    context: &CallContext,
    actor: Option<&str>,
    reason: Option<&str>,
    admin: Option<(AdminId, Option<Vec<String>>)>,
    dry_run: bool,
) -> Result<CallContext> {
    let mut context = context.clone();
    if let Some((admin, scopes)) = admin {
        context = context.as_admin(admin, scopes)?;
    }
    if let Some(actor) = actor {
        context = context.acting_as(actor)?;
    }
    if let Some(reason) = reason {
        context = context.because(reason)?;
    }
    Ok(if dry_run { context.dry_run() } else { context })
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.runtime.is_forked() {
            // The parent's: its servers must not stop, its files must not be released.
            mem::forget(self.kit.take());
            mem::forget(self.sandbox.take());
        }
    }
}
