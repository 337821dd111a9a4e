//! One worker a server: takes keys and inbounds that changed, reads what the store says of them now, and applies it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::drift;
use super::drive::spread;
use super::jobs::Job;
use super::queue::{KeyWork, Queue, Taken};
use super::server::Server;
use super::{Shared, plan};
use vpnkit_core::backend::{Change, Desired as _, ServerState};
use vpnkit_core::model::{EventKind, EventSubject, Inbound, InboundTag, Key, KeyId, NewEvent};
use vpnkit_core::store::StoreOp;
use vpnkit_core::{Error, ErrorKind, Result};

/// Steps of a reconcile between two looks at waiting work.
const CHUNK: usize = 1024;
/// How long changes may take: an inbound may come with a hundred thousand accounts.
const APPLY: Duration = Duration::from_secs(300);
/// How long a server may take to say what it has.
const OBSERVE: Duration = Duration::from_secs(120);

/// Works until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>) {
    // Those who wait are answered when the worker ends.
    let _closing = Closing(&server.queue);
    let mut retry = Backoff::default();
    let job = shared.jobs.begin("comparison", Some(server.id().as_str()));
    let next = |retry: &Backoff| Instant::now() + spread(retry.next(shared.options.reconcile_every));
    // A deadline, not a length of time: work that comes in between does not put the comparison off.
    let mut deadline = next(&retry);
    loop {
        let taken = server.queue.take();
        if taken.is_empty() {
            server.queue.tell_idle();
            tokio::select! {
                () = server.stop.cancelled() => return,
                () = server.queue.wake.notified() => {}
                () = tokio::time::sleep_until(deadline) => drop(server.queue.reconcile()),
            }
            continue;
        }
        let compares = taken.reconcile.is_some();
        // Stopping in the middle of a step is fine: the store is the truth, the next start compares.
        let step = tokio::select! {
            () = server.stop.cancelled() => return,
            step = work(&shared, &server, &job, taken) => step,
        };
        match step {
            Ok(()) => {
                retry.reset();
                if compares {
                    server.behind.store(false, Ordering::Release);
                    server.news.notify_one();
                    deadline = next(&retry);
                }
            }
            Err(e) => {
                // One that only stands by has not failed: its first failure as the driver is tried again soon.
                if server.is_ours() {
                    retry.grow();
                } else {
                    retry.reset();
                }
                // A refusal is told by itself; after anything else nobody knows what the server has.
                if !matches!(e.kind(), ErrorKind::Rejected | ErrorKind::PortInUse) {
                    server.behind.store(true, Ordering::Release);
                    server.news.notify_one();
                } else if compares {
                    server.behind.store(false, Ordering::Release);
                }
                let soon = next(&retry);
                deadline = if compares { soon } else { deadline.min(soon) };
                tracing::debug!(server = %server.id(), error = %e, "work is left for the next reconcile");
            }
        }
    }
}

/// Closes a queue when its worker ends.
struct Closing<'q>(&'q Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// When to compare again by itself: after the interval, or soon after a failure.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    fn reset(&mut self) {
        self.0 = 0;
    }

    fn grow(&mut self) {
        self.0 = (self.0 + 1).min(7);
    }

    fn next(&self, usual: Duration) -> Duration {
        match self.0 {
            0 => usual,
            failures => Duration::from_millis(250).saturating_mul(1 << failures).min(usual),
        }
    }
}

async fn work(shared: &Shared, server: &Server, job: &Job, taken: Taken) -> Result<()> {
    let mut outcome = Ok(());
    for (tag, work) in taken.inbounds {
        let result = inbound(shared, server, &tag).await;
        if let (true, Err(e)) = (work.is_foreign(), &result)
            && matches!(e.kind(), ErrorKind::PortInUse | ErrorKind::Rejected)
        {
            // Another process waits for it, and takes it back.
            let mut aside = server.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
            aside.insert(tag.clone(), e.to_string());
            server.news.notify_one();
        }
        outcome = outcome.and(result.clone());
        for waiter in work.waiters {
            let _ = waiter.send(result.clone());
        }
    }
    outcome = outcome.and(keys(shared, server, taken.keys).await);
    if server.is_up() {
        outcome = outcome.and(server.cut(&own_inbounds(shared, server)).await);
    }
    if let Some(waiters) = taken.reconcile {
        let result = match server.is_up() {
            true => job.run(shared, reconcile(shared, server)).await,
            false => Err(down(server)),
        };
        // After another failure what the server has is not known.
        if !matches!(&result, Err(e) if e.kind() != ErrorKind::Rejected) {
            server.compared.store(true, Ordering::Release);
            server.queue.progressed.notify_one();
        }
        outcome = outcome.and(result.clone().map(drop));
        for waiter in waiters {
            let _ = waiter.send(result.clone());
        }
    }
    outcome
}

fn down(server: &Server) -> Error {
    let error = Error::new(ErrorKind::Unavailable, "server.apply", "the server does not answer")
        .with("server", server.id());
    match server.state() {
        ServerState::Down { reason } => error.with("reason", reason),
        _ => error,
    }
}

fn own_inbounds(shared: &Shared, server: &Server) -> Vec<Arc<Inbound>> {
    server.own(&shared.inbounds())
}

/// Applies what the store says of these keys now.
async fn keys(shared: &Shared, server: &Server, waiting: BTreeMap<KeyId, KeyWork>) -> Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    let result = if server.is_up() { sync(shared, server, &waiting).await } else { Err(down(server)) };
    for (id, work) in waiting {
        let answer = match &result {
            Err(e) => Err(e.clone()),
            Ok(failed) => failed.get(&id).cloned().map_or(Ok(()), Err),
        };
        for waiter in work.waiters {
            let _ = waiter.send(answer.clone());
        }
    }
    refused(result?.len())
}

fn refused(keys: usize) -> Result<()> {
    if keys == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Rejected, "server.apply", "the server refused some keys").with("keys", keys))
}

/// Brings these keys' accounts to what the store says; returns the keys that the server refused.
async fn sync(
    shared: &Shared,
    server: &Server,
    work: &BTreeMap<KeyId, KeyWork>,
) -> Result<BTreeMap<KeyId, Error>> {
    // Before the store is read.
    let revoked = server.cuts.newest();
    let inbounds = own_inbounds(shared, server);
    let ids: Vec<KeyId> = work.keys().copied().collect();
    let keys: BTreeMap<KeyId, Key> = shared.store.keys(&ids).await?.into_iter().map(|k| (k.id, k)).collect();
    let mut changes = Vec::new();
    for (id, work) in work {
        changes.extend(plan::sync(*id, keys.get(id), &work.devices, &inbounds));
        let own = work.revoked.iter().filter(|one| inbounds.iter().any(|i| i.id() == one.inbound));
        changes.extend(own.map(|one| Change::Revoke(one.inbound.tag().clone(), one.clone())));
    }
    // On an inbound that the server refuses nothing can be added; what ends is taken away all the same.
    let aside = server.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clone();
    changes.retain(|change| match change {
        Change::PutAccount(inbound, _) => !aside.contains_key(&inbound.tag),
        _ => true,
    });
    // A secret may go from one key to another in one batch: first it must be free.
    changes.sort_by_key(|change| matches!(change, Change::PutAccount(..)));
    // Remembered first: the steps may fail half way. A key that was enabled again keeps its connections.
    let (active, ended): (Vec<KeyId>, Vec<KeyId>) =
        ids.iter().partition(|id| keys.get(id).is_some_and(|k| k.status.may_connect()));
    server.cuts.spare(&active);
    ended.iter().for_each(|key| server.near.forget(*key));
    server.cuts.keys(ended);
    let failed = apply(shared, server, &changes).await?;
    // Also of those that it refuses: on its other inbounds they were replaced.
    server.cuts.applied(ids.iter().copied(), revoked);
    // Before those who wait are answered. What fails is tried again by the caller.
    let _ = server.cut(&inbounds).await;
    Ok(failed)
}

async fn apply(shared: &Shared, server: &Server, changes: &[Change]) -> Result<BTreeMap<KeyId, Error>> {
    let mut failed = BTreeMap::new();
    if changes.is_empty() {
        return Ok(failed);
    }
    let outcomes = server.answer("server.apply", APPLY, server.backend.apply(changes)).await?;
    for (change, outcome) in changes.iter().zip(outcomes) {
        match (plan::key_of(change), outcome) {
            (Some(key), Err(e)) => drop(failed.insert(key, e)),
            // It is set aside: the others go on.
            (None, Err(e)) => set_aside(shared, server, change, Some(&e)).await?,
            (None, Ok(())) => set_aside(shared, server, change, None).await?,
            (Some(_), Ok(())) => {}
        }
    }
    tell_refused(shared, server, changes, &failed).await?;
    Ok(failed)
}

/// Remembers whether the server runs an inbound, and tells once that it does not.
pub(super) async fn set_aside(
    shared: &Shared,
    server: &Server,
    change: &Change,
    fault: Option<&Error>,
) -> Result<()> {
    let tag = match change {
        Change::PutInbound(inbound, _) => &inbound.tag,
        Change::RemoveInbound(tag) => tag,
        Change::PutAccount(..) | Change::RemoveAccount(..) | Change::Revoke(..) => return Ok(()),
    };
    let fresh = {
        let mut aside = server.set_aside.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(fault) => aside.insert(tag.clone(), fault.to_string()).is_none(),
            None => {
                if aside.remove(tag).is_some() {
                    server.news.notify_one();
                }
                false
            }
        }
    };
    let Some(fault) = fault.filter(|_| fresh) else { return Ok(()) };
    server.news.notify_one();
    tracing::warn!(server = %server.id(), inbound = %tag, error = %fault, "the server refuses an inbound");
    let subject = EventSubject::Inbound(tag.as_str().to_owned());
    let detail = format!("{}: {}", server.id(), fault.message());
    let event = StoreOp::Emit(NewEvent { kind: EventKind::InboundRejected, subject, detail });
    shared.store.commit(server.txn(shared, [event])?).await.map(drop)
}

/// An event for each key that the server refuses and did not refuse before.
async fn tell_refused(
    shared: &Shared,
    server: &Server,
    changes: &[Change],
    failed: &BTreeMap<KeyId, Error>,
) -> Result<()> {
    let fresh: Vec<KeyId> = {
        let mut refused = server.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        for key in changes.iter().filter_map(plan::key_of).filter(|key| !failed.contains_key(key)) {
            refused.remove(&key);
        }
        let insert = |(key, e): (&KeyId, &Error)| {
            refused.insert(*key, e.message().to_owned()).is_none().then_some(*key)
        };
        failed.iter().filter_map(insert).collect()
    };
    if fresh.is_empty() {
        return Ok(());
    }
    server.news.notify_one();
    let mut events = Vec::new();
    for key in shared.store.keys(&fresh).await? {
        if let Some(e) = failed.get(&key.id) {
            tracing::warn!(server = %server.id(), key = %key.id, error = %e, "the server refuses a key");
            let detail = format!("{}: {}", server.id(), e.message());
            let kind = EventKind::KeyRejected;
            events.push(StoreOp::Emit(NewEvent { kind, subject: key.subject(), detail }));
        }
    }
    shared.store.commit(server.txn(shared, events)?).await.map(drop)
}

/// Applies what the store says of one inbound now.
async fn inbound(shared: &Shared, server: &Server, tag: &InboundTag) -> Result<()> {
    if !server.is_up() {
        return Err(down(server));
    }
    let mut revoked = Vec::new();
    let desired = match own_inbounds(shared, server).into_iter().find(|i| i.tag == *tag) {
        None => Change::RemoveInbound(tag.clone()),
        Some(inbound) => {
            if inbound.certificate_lifetime.is_some() {
                revoked = shared.store.revocations(&inbound.id(), shared.clock.now()).await?;
            }
            let accounts = match inbound.dedicated_to {
                Some(owner) => {
                    let keys = shared.store.keys(&[owner]).await?;
                    keys.iter().flat_map(|key| plan::accounts(key, &inbound)).collect()
                }
                None => {
                    let all = server.desired(shared).desired().await?;
                    all.inbounds.into_iter().find(|(i, _)| i.tag == *tag).map(|(_, a)| a).unwrap_or_default()
                }
            };
            Change::PutInbound(inbound, accounts)
        }
    };
    let mut changes = vec![desired];
    changes.extend(revoked.into_iter().map(|one| Change::Revoke(tag.clone(), one)));
    let outcomes = server.answer("server.apply", APPLY, server.backend.apply(&changes)).await?;
    let outcome = outcomes.into_iter().collect::<Result<()>>();
    if let (true, Some(desired)) = (outcome.is_ok(), changes.first()) {
        set_aside(shared, server, desired, None).await?;
    }
    outcome
}

/// Gives keys what they lack for the server's inbounds, as when they were created by a process that cannot make it.
async fn give_credentials(shared: &Shared, server: &Server) {
    for inbound in own_inbounds(shared, server).iter().filter(|inbound| inbound.own_credentials()) {
        let give = async {
            let held = server.lease.require("keys.issue")?;
            shared.give_credentials(inbound, Some(held.fence.clone())).await
        };
        if let Err(e) = give.await {
            tracing::warn!(inbound = %inbound.id(), error = %e, "keys get their credentials later");
        }
    }
}

/// Compares everything and applies the difference; returns how many steps that took.
async fn reconcile(shared: &Shared, server: &Server) -> Result<usize> {
    shared.refreshed(shared.known_revision()).await?;
    give_credentials(shared, server).await;
    // Before the store is read.
    let revoked = server.cuts.newest();
    let desired = server.desired(shared).desired().await?;
    let observed = server.answer("server.observe", OBSERVE, server.backend.observe()).await?;
    let difference = plan::difference(server.rules.as_ref(), &desired, &observed);
    if server.backend.capabilities().cut_live {
        let accounts = desired.inbounds.iter().flat_map(|(_, accounts)| accounts);
        let entitled: HashSet<KeyId> = accounts.map(|account| account.key).collect();
        if let Err(e) = server.find_strays(shared, &entitled).await {
            tracing::warn!(server = %server.id(), error = %e, "who is online is not known");
        }
    }
    shared.find_near_limits(server, &desired).await?;
    let drift = drift::found(shared, server, &difference, desired.revision).await?;
    // Of a revocation that an earlier process has not brought here: who connects with the old accounts is out.
    let found = plan::replaced(&difference, &desired, &observed);
    drop((desired, observed));
    server.forget_what_is_over(&difference);
    let steps = difference.len();
    shared.metrics.compared(server.id(), steps, drift);
    if steps == 0 {
        server.cuts.compared(revoked, []);
        server.cut(&own_inbounds(shared, server)).await?;
        return Ok(0);
    }
    tracing::info!(server = %server.id(), steps, "reconciling");
    let mut failed = 0;
    failed += apply(shared, server, &difference.inbounds).await?.len();
    let aside: HashSet<InboundTag> =
        server.set_aside.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
    // Keys that changed after the comparison are applied between the chunks; the old steps for them are void.
    let mut newer = HashSet::new();
    let mut ended = BTreeSet::new();
    for chunk in difference.accounts.chunks(CHUNK) {
        loop {
            let waiting = server.queue.take_keys();
            if waiting.is_empty() {
                break;
            }
            newer.extend(waiting.keys().copied());
            match keys(shared, server, waiting).await {
                // Some of them are refused: those are told, the others go on.
                Err(e) if e.kind() != ErrorKind::Rejected => return Err(e),
                _ => {}
            }
        }
        let current: Vec<Change> = chunk
            .iter()
            .filter(|change| {
                // What was revoked stays so.
                matches!(change, Change::Revoke(..))
                    || plan::key_of(change).is_none_or(|key| !newer.contains(&key))
            })
            .cloned()
            .collect();
        failed += apply(shared, server, &current).await?.len();
        ended.extend(current.iter().filter_map(|change| match change {
            Change::RemoveAccount(_, key, _) => Some(*key),
            _ => None,
        }));
    }
    server.cuts.keys(ended);
    server.cuts.compared(revoked, found.into_iter().filter(|key| !newer.contains(key)));
    server.cut(&own_inbounds(shared, server)).await?;
    refused(failed)?;
    if aside.is_empty() {
        return Ok(steps);
    }
    let reasons = server.set_aside.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let tags: Vec<&str> = aside.iter().map(InboundTag::as_str).collect();
    let error = Error::new(ErrorKind::Rejected, "server.apply", "the server refuses some inbounds")
        .with("inbounds", tags.join(", "));
    Err(match reasons.into_values().next() {
        Some(reason) => error.with("reason", reason),
        None => error,
    })
}
