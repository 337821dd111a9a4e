//! Watching an Xray that somebody else runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vpnkit_core::backend::ServerState;
use vpnkit_core::{Clock as _, SystemClock};

use crate::epoch::{self, Evidence};
use crate::inner::Inner;

const EVERY: Duration = Duration::from_secs(2);

/// Looks once: is it there, and is it still the same process?
pub(crate) async fn look(inner: &Inner, last: &mut Option<(Evidence, Instant)>) {
    match inner.api().system().await {
        Ok(stats) => {
            let now = Evidence { at: SystemClock.now(), stats };
            let same =
                last.as_ref().is_some_and(|(last, at)| epoch::continues(last, &now, Some(at.elapsed())));
            let up = matches!(*inner.state.borrow(), ServerState::Up { .. });
            if !same || !up {
                // Before its state is changed: accounts are only sent to inbounds whose protocol is known.
                match inner.api().inbounds().await {
                    Ok(inbounds) => inner.loaded.refresh(inbounds, same),
                    Err(status) => {
                        inner.set_down(crate::api_error::convert("xray.watch", &status).to_string());
                        return;
                    }
                }
                match same {
                    true => inner.set_up_again(),
                    false => inner.set_up(),
                }
            }
            *last = Some((now, Instant::now()));
        }
        Err(e) => inner.set_down(e.to_string()),
    }
}

/// Looks until the token is cancelled.
pub(crate) async fn watch(inner: Arc<Inner>, mut last: Option<(Evidence, Instant)>) {
    let stop = inner.stop();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
        look(&inner, &mut last).await;
    }
    inner.state.send_replace(ServerState::Stopped);
}
