//! An open kit and its stream of events.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use napi::bindgen_prelude::{BigInt, Object};
use napi::{CleanupEnvHook, Env, Result};
use napi_derive::napi;
use vpnkit::Cursor;
use vpnkit_bindings::{Answer, Pump, Request, Runtime, Session};

use crate::batch::NativeBatch;
use crate::promise::{failure, promise};

/// How long a process or worker that ends waits for a kit that nobody closed.
const GRACE: Duration = Duration::from_secs(3);

type Hook = CleanupEnvHook<Weak<Session>>;

/// An open kit.
#[napi]
pub(crate) struct NativeKit {
    session: Arc<Session>,
    hook: Mutex<Option<Hook>>,
}

/// Opens a kit from the JSON of its configuration; a sandbox has a manual clock and a fake server.
#[napi]
pub(crate) fn open(env: &Env, config: String, sandbox: bool) -> Result<Object<'_>> {
    let runtime = Runtime::new().map_err(|e| failure(&e))?;
    let session = {
        let runtime = runtime.clone();
        async move {
            if sandbox {
                Session::open_sandbox(runtime, config).await
            } else {
                Session::open(runtime, config).await
            }
        }
    };
    promise(env, &runtime, session, |env, session| {
        let session = Arc::new(session);
        let hook = env.add_env_cleanup_hook(Arc::downgrade(&session), last_moment)?;
        Ok(NativeKit { session, hook: Mutex::new(Some(hook)) })
    })
}

/// The process or worker ends and the kit was not closed: the last bytes are counted, no Xray stays behind.
fn last_moment(session: Weak<Session>) {
    let Some(session) = session.upgrade() else { return };
    let closing = async { tokio::time::timeout(GRACE, session.close()).await };
    // Nobody is left to hear how it went.
    let _ = session.runtime().block_on("close", closing);
    session.runtime().shut_down(GRACE);
}

#[napi]
impl NativeKit {
    /// The call `operation` with arguments in JSON; a promise of JSON.
    #[napi]
    pub fn call<'env>(&self, env: &'env Env, operation: String, arguments: String) -> Result<Object<'env>> {
        promise(env, self.session.runtime(), self.answer(operation, arguments), |_, answer| {
            Ok(answer.to_json())
        })
    }

    /// `keys.create_many` with arguments in JSON.
    #[napi]
    pub fn create_many<'env>(&self, env: &'env Env, arguments: String) -> Result<Object<'env>> {
        let answer = self.answer("keys.create_many".to_owned(), arguments);
        promise(env, self.session.runtime(), answer, |_, answer| NativeBatch::of(answer))
    }

    /// The events after a cursor.
    #[napi]
    pub fn events(&self, after: BigInt) -> Result<NativeStream> {
        let (cursor, _) = after.get_i64();
        self.session.events(Cursor(cursor)).map(|pump| NativeStream(Arc::new(pump))).map_err(|e| failure(&e))
    }

    /// Reads the counters a last time, stops managed servers, releases the store.
    #[napi]
    pub fn close<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        let session = Arc::clone(&self.session);
        promise(env, self.session.runtime(), async move { session.close().await }, |_, ()| Ok(()))
    }

    /// Ends the threads; after `close`.
    #[napi]
    pub fn shut_down(&self, env: &Env) -> Result<()> {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.session.runtime().shut_down(GRACE);
        hook.map_or(Ok(()), |hook| env.remove_env_cleanup_hook(hook))
    }

    fn answer(
        &self,
        operation: String,
        arguments: String,
    ) -> impl Future<Output = vpnkit::Result<Answer>> + Send + 'static {
        let session = Arc::clone(&self.session);
        async move { session.call(Request::parse(&operation, &arguments)?).await }
    }
}

/// A place in the stream of events.
#[napi]
pub(crate) struct NativeStream(Arc<Pump>);

#[napi]
impl NativeStream {
    /// Waits for the next events, at most so many; none once the kit is closed. A promise of a JSON list.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env, max: u32) -> Result<Object<'env>> {
        let pump = Arc::clone(&self.0);
        let events = async move { pump.next(usize::try_from(max).unwrap_or(usize::MAX)).await };
        promise(env, self.0.session().runtime(), events, |_, events| Ok(Answer::events_json(&events)))
    }
}
