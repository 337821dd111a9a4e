//! From futures on our runtime to promises.

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, Error, Result};
use vpnkit_bindings::{Runtime, record};

/// An error whose text is the error's record: the package makes its own class of it.
pub(crate) fn failure(error: &vpnkit::Error) -> Error {
    Error::from_reason(record(error))
}

/// Runs the future on the runtime; `shape` makes JavaScript's value of its answer, on JavaScript's thread. A promise that
/// is not settled keeps the process alive, an open kit does not.
pub(crate) fn promise<'env, T, V>(
    env: &'env Env,
    runtime: &Runtime,
    future: impl Future<Output = vpnkit::Result<T>> + Send + 'static,
    shape: impl FnOnce(Env, T) -> Result<V> + Send + 'static,
) -> Result<Object<'env>>
where
    T: Send + 'static,
    V: ToNapiValue + 'static,
{
    runtime.check("call").map_err(|e| failure(&e))?;
    let (deferred, promise) = env.create_deferred()?;
    runtime.spawn(async move {
        match future.await {
            Ok(answer) => deferred.resolve(move |env| shape(env, answer)),
            Err(e) => deferred.reject(failure(&e)),
        }
    });
    Ok(promise)
}
