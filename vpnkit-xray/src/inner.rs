//! What one Xray's backend and background task share.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vpnkit_core::Result;
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::ServerId;

use crate::account::Names;
use crate::api::{Api, ApiAddress};
use crate::epoch::Evidence;
use crate::home::Home;
use crate::loaded::Loaded;
use crate::process::Log;
use crate::running::Running;

/// One Xray, as the backend and the task that watches over it share it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: ServerId,
    pub(crate) managed: bool,
    /// Of a managed Xray: its directory and what runs there.
    pub(crate) running: Mutex<Option<RunningAt>>,
    /// A reading of the process that was taken over was stored.
    pub(crate) stored: watch::Sender<bool>,
    /// The evidence of the last reading of it: when the store has it, the next one is asked for with it.
    pub(crate) last_reading: Mutex<Option<String>>,
    /// How inbounds of it find out which protocol passes.
    pub(crate) sniffing: Option<serde_json::Value>,
    pub(crate) address: ApiAddress,
    /// How the accounts of the store are called that it was started for.
    pub(crate) names: Mutex<Names>,
    pub(crate) api: Mutex<Api>,
    pub(crate) log: Arc<Log>,
    pub(crate) loaded: Loaded,
    pub(crate) state: watch::Sender<ServerState>,
    pub(crate) seen: Mutex<Option<Seen>>,
    pub(crate) version: Mutex<Option<String>>,
    pub(crate) lifetimes: Mutex<u64>,
    /// Ends what was started last.
    pub(crate) stop: Mutex<CancellationToken>,
    /// The program is to end, also if it is one that keeps running.
    pub(crate) ends: AtomicBool,
}

/// What runs in a directory.
#[derive(Clone, Debug)]
pub(crate) struct RunningAt {
    pub(crate) home: Arc<Home>,
    pub(crate) running: Running,
}

/// The last reading of an attached Xray.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The epoch that it was of.
    pub(crate) epoch: String,
    pub(crate) evidence: Evidence,
    pub(crate) at: Instant,
}

impl Inner {
    /// Ends what was started last.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lifetime of the counters of a managed Xray.
    pub(crate) fn managed_epoch(&self) -> Option<String> {
        let at = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        at.as_ref().map(|at| at.running.epoch.clone())
    }

    /// What is known of a managed Xray that runs.
    pub(crate) fn running(&self) -> Option<Running> {
        let at = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        at.as_ref().map(|at| at.running.clone())
    }

    /// Writes down what a managed Xray runs, for the next process.
    pub(crate) async fn remember(&self) {
        let at = {
            let mut at = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = at.as_mut() {
                at.running.inbounds = self.loaded.ours();
            }
            at.clone()
        };
        let Some(RunningAt { home, running }) = at else { return };
        // What another process has taken over is written down by that one.
        let write = move || if home.is_ours() { running.write(&home.directory) } else { Ok(()) };
        let written = tokio::task::spawn_blocking(write).await;
        if let Ok(Err(e)) = written {
            tracing::warn!(server = %self.id, error = %e, "the next process will start Xray again");
        }
    }

    pub(crate) fn names(&self) -> Names {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn api(&self) -> Api {
        self.api.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For a new process: the old one's connection is of no use.
    pub(crate) fn renew_api(&self) -> Result<()> {
        let api = Api::new(&self.address)?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = api;
        Ok(())
    }

    /// A process that was not seen before answers.
    pub(crate) fn set_up(&self) {
        let mut lifetimes = self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner);
        *lifetimes += 1;
        self.state.send_replace(ServerState::Up { lifetime: *lifetimes });
    }

    /// The process that was lost answers again.
    pub(crate) fn set_up_again(&self) {
        let lifetimes = self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.send_replace(ServerState::Up { lifetime: *lifetimes });
    }

    pub(crate) fn set_down(&self, reason: String) {
        self.state.send_if_modified(|state| {
            let fresh = !matches!(state, ServerState::Down { .. });
            if fresh {
                *state = ServerState::Down { reason };
            }
            fresh
        });
    }
}
