//! What one Xray's backend and background task share.

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
use crate::loaded::Loaded;
use crate::process::Log;

/// One Xray, as the backend and the task that watches over it share it.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: ServerId,
    pub(crate) managed: bool,
    /// Tells the processes that one vpnkit starts from those of another.
    pub(crate) instance: uuid::Uuid,
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
    pub(crate) stop: CancellationToken,
}

/// The last reading of this process.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The epoch that it was of.
    pub(crate) epoch: String,
    /// Of a managed Xray.
    pub(crate) lifetime: Option<u64>,
    pub(crate) evidence: Evidence,
    pub(crate) at: Instant,
}

impl Inner {
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
