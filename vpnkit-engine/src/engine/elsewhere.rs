//! Servers that other processes drive: who drives them, what is told of them, and waiting for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::leases::of_server;
use super::tell::Told;
use super::{ServerCondition, Shared};
use vpnkit_core::Result;
use vpnkit_core::backend::ServerRules;
use vpnkit_core::model::{Cursor, Key, ServerId};
use vpnkit_core::store::Lease;

/// What others hold, as it was read: the commit that was noticed last then, and when.
pub(super) type Others = tokio::sync::Mutex<Option<(u64, Instant, Arc<BTreeMap<String, Lease>>)>>;

/// How old it may be when nothing is noticed.
const FRESH: Duration = Duration::from_millis(250);

/// The process that drives a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Driver {
    /// Its process id.
    pub process: u32,
    /// The machine, or container, that it runs on.
    pub host: String,
    /// Whether it is this kit.
    pub here: bool,
}

impl Driver {
    pub(super) fn of(lease: &Lease) -> Self {
        Self { process: lease.holder.process, host: lease.holder.host.clone(), here: false }
    }
}

impl Shared {
    /// The leases of servers that others drive, by server.
    pub(super) async fn elsewhere(&self) -> Result<Arc<BTreeMap<String, Lease>>> {
        // Read once for all who ask between two commits that were noticed, and not for long: leases end by themselves.
        let now = self.store.newest().borrow().commit;
        let mut held = self.others.lock().await;
        if let Some((commit, at, leases)) = held.as_ref()
            && *commit == now
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(leases));
        }
        let own = self.origin;
        let leases = self.store.leases().await?.into_iter();
        let theirs = leases.filter(|lease| lease.is_held() && lease.holder.origin != own);
        let leases = Arc::new(theirs.map(|lease| (lease.name.clone(), lease)).collect());
        *held = Some((now, Instant::now(), Arc::clone(&leases)));
        Ok(leases)
    }

    /// Waits until other processes have brought what was committed to their servers, or for as long as a call waits. Servers
    /// that nobody drives are not waited for.
    pub(super) async fn wait_elsewhere(&self, servers: &[ServerId], committed: Cursor) {
        if servers.is_empty() {
            return;
        }
        let names: Vec<String> = servers.iter().map(of_server).collect();
        let mut newest = self.store.newest();
        let wait = async {
            loop {
                let Ok(leases) = self.elsewhere().await else { return };
                // Nor is one that is down, or was stopped: it has the change later.
                let runs = |lease: &Lease| {
                    Self::told(lease).is_none_or(|told| told.status.state == ServerCondition::Up)
                };
                let behind =
                    |name: &String| leases.get(name).is_some_and(|l| l.progress < committed && runs(l));
                if !names.iter().any(behind) {
                    return;
                }
                // Progress is told with a commit of another process.
                let seen = newest.borrow_and_update().commit;
                if newest.wait_for(|now| now.commit != seen).await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(self.options.apply_wait, wait).await;
    }

    /// The servers that a key belongs on and that this process does not drive.
    pub(super) fn others_of(&self, key: &Key) -> Vec<ServerId> {
        let inbounds = self.inbounds();
        let of_key = inbounds.iter().filter(|inbound| inbound.serves(key.id, &key.inbounds));
        let mut servers: Vec<ServerId> = of_key.filter_map(|inbound| inbound.server.clone()).collect();
        self.keep_others(&mut servers);
        servers
    }

    /// The servers of all inbounds that this process does not drive.
    pub(super) fn others(&self) -> Vec<ServerId> {
        let inbounds = self.inbounds();
        let mut servers: Vec<ServerId> =
            inbounds.iter().filter_map(|inbound| inbound.server.clone()).collect();
        self.keep_others(&mut servers);
        servers
    }

    fn keep_others(&self, servers: &mut Vec<ServerId>) {
        servers.sort();
        servers.dedup();
        let own = self.servers();
        servers.retain(|id| !own.iter().any(|server| server.id() == id && server.is_driven()));
    }

    /// What is known of the program of a server that others have told of.
    pub(super) fn rules_elsewhere(&self, id: &ServerId) -> Option<Arc<dyn ServerRules>> {
        let told = self.cache();
        let program = &told.servers.get(id)?.program;
        self.options.programs.iter().find(|rules| rules.program() == program).cloned()
    }

    /// What the process that drives a server tells of it.
    pub(super) fn told(lease: &Lease) -> Option<Told> {
        // One of another version may tell it otherwise.
        serde_json::from_str(lease.note.as_deref()?).ok()
    }
}
