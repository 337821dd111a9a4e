//! Telling other processes of a server that this one drives: how it does, and how far it has come.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::server::Server;
use super::servers::ServerStatus;
use vpnkit_core::model::{Cursor, KeyId};

/// How often a server is asked how it does.
const EVERY: Duration = Duration::from_secs(30);
/// So many refused keys are told of.
const REFUSED: usize = 500;

/// What others are told of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) status: ServerStatus,
    /// The keys that it refuses, and why.
    pub(super) refused: BTreeMap<KeyId, String>,
    /// A step failed: what it has is not known until it is compared.
    pub(super) behind: bool,
}

impl Told {
    fn of(status: ServerStatus, server: &Server) -> Self {
        let refused = server.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused: Vec<_> = refused.iter().map(|(key, why)| (*key, why.clone())).collect();
        refused.sort();
        refused.truncate(REFUSED);
        let behind = server.behind.load(Ordering::Acquire) || !server.compared.load(Ordering::Acquire);
        Self { status, refused: refused.into_iter().collect(), behind }
    }

    /// What changes by itself is no news.
    fn is_news(&self, before: &Self) -> bool {
        let still = |told: &Self| {
            let status = ServerStatus { uptime: None, pending: 0, ..told.status.clone() };
            (status, told.refused.clone(), told.behind)
        };
        still(self) != still(before)
    }
}

/// Tells others of the server until the term ends: how it does, and, to those who wait for what they have changed, when that
/// is done. What the server refuses of it is told with it.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tell(&shared, &server) => {}
    }
}

async fn tell(shared: &Shared, server: &Server) {
    let mut state = server.backend.state();
    let mut before: Option<Told> = None;
    let mut progress: Option<Cursor> = None;
    let mut health = server.health().await;
    let mut asked = Instant::now();
    loop {
        // First: what is refused of it is known then.
        let (awaited, now) = (server.queue.is_awaited(), server.queue.progress());
        let told = Told::of(server.status_with(health.clone()), server);
        let news = before.as_ref().is_none_or(|before| told.is_news(before));
        if news && let Ok(note) = serde_json::to_string(&told) {
            shared.leases.note(&server.lease, note);
            before = Some(told);
        }
        // What this process has followed says nothing before the server was compared once.
        let further = server.compared.load(Ordering::Acquire) && progress.is_none_or(|told| now > told);
        if further {
            shared.leases.note_progress(&server.lease, now);
        }
        if news || (further && (awaited || progress.is_none())) {
            shared.leases.wake();
        }
        if further {
            progress = Some(now);
        }
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                (health, asked) = (server.health().await, Instant::now());
            }
            () = server.news.notified() => {
                if health.is_none() {
                    (health, asked) = (server.health().await, Instant::now());
                }
            }
            () = server.queue.progressed.notified() => {}
            () = tokio::time::sleep_until(asked + EVERY) => {
                (health, asked) = (server.health().await, Instant::now());
            }
        }
    }
}
