//! The way from our threads to JavaScript's: one function of the package settles all its promises.
//!
//! A deferred of napi costs a thread-safe function each, and with it several turns of the loop. Ours is one for the whole
//! environment, and weak: the package keeps the process alive while somebody waits.

use napi::bindgen_prelude::{Either4, FnArgs, Function, Undefined};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Error, Result, Status};
use napi_derive::napi;
use vpnkit_bindings::{Runtime, Session, record};

use crate::batch::NativeBatch;
use crate::kit::NativeKit;

/// What a call brings, before it is JavaScript's.
pub(crate) enum Outcome {
    Nothing,
    Json(String),
    Keys(Vec<vpnkit::Key>),
    Opened(Session),
}

struct Settled {
    call: u32,
    outcome: vpnkit::Result<Outcome>,
}

type Value = Either4<Undefined, String, NativeBatch, NativeKit>;
type Settle = ThreadsafeFunction<Settled, (), FnArgs<(u32, Option<String>, Value)>, Status, false, true>;

/// An error whose text is the error's record: the package makes its own class of it.
pub(crate) fn failure(error: &vpnkit::Error) -> Error {
    Error::from_reason(record(error))
}

/// Settles calls by the numbers that the package gave them.
#[napi]
pub(crate) struct NativeBridge(std::sync::Arc<Settle>);

#[napi]
impl NativeBridge {
    /// `settle(call, record, value)` is called once for each call: with the record of its error, or with its value.
    #[napi(constructor)]
    pub fn new(settle: Function<'_, FnArgs<(u32, Option<String>, Value)>, ()>) -> Result<Self> {
        let settle =
            settle.build_threadsafe_function::<Settled>().weak::<true>().build_callback(|context| {
                let Settled { call, outcome } = context.value;
                Ok(FnArgs::from(match outcome {
                    Err(error) => (call, Some(record(&error)), Either4::A(())),
                    Ok(Outcome::Nothing) => (call, None, Either4::A(())),
                    Ok(Outcome::Json(json)) => (call, None, Either4::B(json)),
                    Ok(Outcome::Keys(keys)) => (call, None, Either4::C(NativeBatch::from(keys))),
                    Ok(Outcome::Opened(session)) => {
                        (call, None, Either4::D(NativeKit::of(&context.env, session)?))
                    }
                }))
            })?;
        Ok(Self(settle.into()))
    }
}

impl NativeBridge {
    /// Begins a call. An inline one runs on whichever thread wakes it.
    pub(crate) fn start(
        &self,
        call: u32,
        runtime: &Runtime,
        inline: bool,
        future: impl Future<Output = vpnkit::Result<Outcome>> + Send + 'static,
    ) -> Result<()> {
        runtime.check("call").map_err(|e| failure(&e))?;
        let settle = std::sync::Arc::clone(&self.0);
        let settled = async move {
            let outcome = future.await;
            // Refused only when the environment ends: then nobody waits.
            settle.call(Settled { call, outcome }, ThreadsafeFunctionCallMode::NonBlocking);
        };
        if inline {
            runtime.spawn_inline(settled);
        } else {
            runtime.spawn(settled);
        }
        Ok(())
    }
}
