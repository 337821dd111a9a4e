//! An open kit and its stream of events.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use napi::{CleanupEnvHook, Env, Result};
use napi_derive::napi;
use vpnkit::{AdminId, CallContext, Cursor};
use vpnkit_bindings::{Pump, Request, Runtime, Session};

use crate::bridge::{NativeBridge, Outcome, failure};

/// How long a process or worker that ends waits for a kit that nobody closed.
const GRACE: Duration = Duration::from_secs(3);

/// How long it then waits for threads that are still at work.
const LAST: Duration = Duration::from_millis(500);

type Hook = CleanupEnvHook<Weak<Session>>;

/// An open kit.
#[napi]
pub(crate) struct NativeKit {
    session: Arc<Session>,
    /// Of its calls.
    context: CallContext,
    hook: Mutex<Option<Hook>>,
}

/// Opens a kit from the JSON of its configuration; a sandbox has a manual clock and a fake server.
#[napi]
pub(crate) fn open(bridge: &NativeBridge, call: u32, config: String, sandbox: bool) -> Result<()> {
    let runtime = Runtime::new().map_err(|e| failure(&e))?;
    let session = Session::open(runtime.clone(), config, sandbox);
    bridge.start(call, &runtime, false, async move { session.await.map(Outcome::Opened) })
}

/// The process or worker ends and the kit was not closed: the last bytes are counted, no Xray stays behind.
fn last_moment(session: Weak<Session>) {
    let Some(session) = session.upgrade() else { return };
    let closing = async { tokio::time::timeout(GRACE, session.close()).await };
    // Nobody waits for the outcome any more.
    let _ = session.runtime().block_on("close", closing);
    session.runtime().shut_down(LAST);
}

impl NativeKit {
    pub(crate) fn of(env: &Env, session: Session) -> Result<Self> {
        let session = Arc::new(session);
        let hook = env.add_env_cleanup_hook(Arc::downgrade(&session), last_moment)?;
        Ok(Self { session, context: CallContext::default(), hook: Mutex::new(Some(hook)) })
    }
}

#[napi]
impl NativeKit {
    /// The call `operation` with arguments in JSON; brings JSON.
    #[napi]
    pub fn call(&self, bridge: &NativeBridge, call: u32, operation: String, arguments: String) -> Result<()> {
        let operation = Request::named(&operation).map_err(|e| failure(&e))?;
        let request = operation.read(&arguments).map_err(|e| failure(&e))?;
        let (session, context) = (Arc::clone(&self.session), self.context.clone());
        bridge.start(call, self.session.runtime(), operation.is_inline(), async move {
            session.call(request, &context).await.map(|answer| Outcome::Json(answer.to_json()))
        })
    }

    /// An operation that returns many keys, with arguments in JSON; brings a batch.
    #[napi]
    pub fn many(&self, bridge: &NativeBridge, call: u32, operation: String, arguments: String) -> Result<()> {
        let (session, context) = (Arc::clone(&self.session), self.context.clone());
        bridge.start(call, self.session.runtime(), false, async move {
            // Read by a worker: a hundred thousand requests take a while.
            let request = Request::named(&operation)?.read(&arguments)?;
            Ok(match session.call(request, &context).await?.downcast() {
                Ok(keys) => Outcome::Keys(keys),
                Err(answer) => Outcome::Json(answer.to_json()),
            })
        })
    }

    /// The same kit for calls in somebody's name, for a reason, or that are only tried; what is not given stays.
    #[napi]
    pub fn view(
        &self,
        actor: Option<String>,
        reason: Option<String>,
        admin: Option<i64>,
        scopes: Option<Vec<String>>,
        dry_run: bool,
    ) -> Result<Self> {
        let admin = admin.map(|admin| (AdminId(admin), scopes));
        let (actor, reason) = (actor.as_deref(), reason.as_deref());
        let context = vpnkit_bindings::narrowed(&self.context, actor, reason, admin, dry_run);
        let context = context.map_err(|e| failure(&e))?;
        Ok(Self { session: Arc::clone(&self.session), context, hook: Mutex::new(None) })
    }

    /// The events after a cursor.
    #[napi]
    pub fn events(&self, after: i64) -> Result<NativeStream> {
        let pump = self.session.events(&self.context, Cursor(after));
        pump.map(|pump| NativeStream(Arc::new(pump))).map_err(|e| failure(&e))
    }

    /// What consumes events under a name.
    #[napi]
    pub fn consume(&self, name: String, after: Option<i64>) -> Result<NativeStream> {
        let pump = self.session.consume(&self.context, &name, after.map(Cursor));
        pump.map(|pump| NativeStream(Arc::new(pump))).map_err(|e| failure(&e))
    }

    /// Reads the counters a last time, stops managed servers, releases the store.
    #[napi]
    pub fn close(&self, bridge: &NativeBridge, call: u32) -> Result<()> {
        let session = Arc::clone(&self.session);
        bridge.start(call, self.session.runtime(), false, async move {
            session.close().await.map(|()| Outcome::Nothing)
        })
    }

    /// Ends the threads; after `close`.
    #[napi]
    pub fn shut_down(&self, env: &Env) -> Result<()> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.session.runtime().shut_down(GRACE);
        hook.map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }
}

/// A place in the stream of events.
#[napi]
pub(crate) struct NativeStream(Arc<Pump>);

#[napi]
impl NativeStream {
    /// Waits for the next events, at most so many; none once the kit is closed. Brings a JSON list.
    #[napi]
    pub fn next(&self, bridge: &NativeBridge, call: u32, max: u32) -> Result<()> {
        let pump = Arc::clone(&self.0);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        bridge.start(call, self.0.session().runtime(), false, async move {
            pump.next(max).await.map(|events| Outcome::Json(vpnkit_bindings::json(&events)))
        })
    }

    /// Counts the events that were given out last as handled.
    #[napi]
    pub fn acknowledge(&self, bridge: &NativeBridge, call: u32) -> Result<()> {
        let pump = Arc::clone(&self.0);
        bridge.start(call, self.0.session().runtime(), false, async move {
            pump.acknowledge().await.map(|()| Outcome::Nothing)
        })
    }

    /// Ends it; nobody may wait for its next event.
    #[napi]
    pub fn close(&self, bridge: &NativeBridge, call: u32) -> Result<()> {
        let pump = Arc::clone(&self.0);
        bridge.start(call, self.0.session().runtime(), false, async move {
            pump.close().await.map(|()| Outcome::Nothing)
        })
    }
}
