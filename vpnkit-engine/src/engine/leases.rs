//! The leases of this engine: what it may do because no other process does it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::jobs::Job;
use vpnkit_core::machine::{ProcessMark, host_name, since_boot};
use vpnkit_core::model::{Cursor, ServerId};
use vpnkit_core::store::{Claim, Claimed, Fence, Holder, KeyStore, Lease, Origin};
use vpnkit_core::{Error, ErrorKind, Result};

/// The lease of ending keys, and of forgetting what is old.
pub(super) const UPKEEP: &str = "upkeep";

/// What the names of the leases of servers begin with.
pub(super) const SERVER_LEASE: &str = "server:";

/// The lease of driving a server.
pub(super) fn of_server(id: &ServerId) -> String {
    format!("{SERVER_LEASE}{id}")
}

/// The leases that this engine wants.
#[derive(Debug)]
pub(super) struct Leases {
    holder: Holder,
    /// How long a lease lasts unless it is prolonged.
    time: Duration,
    wanted: Mutex<BTreeMap<String, Arc<Wanted>>>,
    wake: Notify,
    /// Leases are kept after the stop: servers are read a last time.
    pub(super) closing: AtomicBool,
    pub(super) closed: CancellationToken,
}

/// A lease that this engine holds.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) fence: Fence,
    /// By the clock of the machine.
    until: Mutex<Duration>,
    /// Somebody else has got it.
    pub(super) lost: CancellationToken,
    /// It was over, and is prolonged: nobody has had it meanwhile.
    pub(super) revived: Notify,
}

/// A lease that this engine has, or waits for.
#[derive(Debug)]
pub(super) struct Wanted {
    name: String,
    state: watch::Sender<State>,
    told: Mutex<Told>,
    /// Until then others may have it first.
    rests: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<Arc<Held>>,
    /// Who has it otherwise, as it was seen last.
    other: Option<Lease>,
    /// It was asked for.
    asked: bool,
}

/// What the others are told with a lease.
#[derive(Debug, Default)]
struct Told {
    progress: Cursor,
    note: Option<String>,
    /// The note was not written yet.
    fresh: bool,
}

impl Held {
    fn new(fence: Fence, until: Duration) -> Self {
        Self { fence, until: Mutex::new(until), lost: CancellationToken::new(), revived: Notify::new() }
    }

    fn until(&self) -> MutexGuard<'_, Duration> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else can have it.
    pub(super) fn is_valid(&self) -> bool {
        !self.lost.is_cancelled() && since_boot() < *self.until()
    }

    /// Returns when somebody else may have it. Each poll looks at the clock: a process that was frozen finds out before it goes
    /// on.
    pub(super) async fn over(&self) {
        let mut lost = std::pin::pin!(self.lost.cancelled());
        loop {
            let left = self.until().saturating_sub(since_boot());
            if left.is_zero() {
                return;
            }
            let mut wait = std::pin::pin!(tokio::time::sleep(left));
            let step = std::future::poll_fn(|cx| {
                if !self.is_valid() || lost.as_mut().poll(cx).is_ready() {
                    return std::task::Poll::Ready(true);
                }
                wait.as_mut().poll(cx).map(|()| false)
            });
            if step.await {
                return;
            }
        }
    }

    /// Says that somebody else may have it.
    pub(super) fn lost(operation: &'static str, lease: &str) -> Error {
        Error::new(ErrorKind::LeaseLost, operation, "another process has taken over").with("lease", lease)
    }
}

impl Wanted {
    fn new(name: String) -> Self {
        Self {
            name,
            state: watch::channel(State::default()).0,
            told: Mutex::default(),
            rests: Mutex::default(),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease, if it is held and nobody else can have it.
    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.state.borrow().held.clone().filter(|held| held.is_valid())
    }

    /// The lease, also if it is over and nobody else is known to have it.
    pub(super) fn last_held(&self) -> Option<Arc<Held>> {
        self.state.borrow().held.clone()
    }

    /// Who has it otherwise, as it was seen last.
    pub(super) fn other(&self) -> Option<Lease> {
        self.state.borrow().other.clone()
    }

    fn rests(&self) -> bool {
        let until = *self.rests.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Shows that this engine holds it.
    ///
    /// Errors: `LeaseLost`.
    pub(super) fn require(&self, operation: &'static str) -> Result<Arc<Held>> {
        self.held().ok_or_else(|| Held::lost(operation, &self.name))
    }

    /// Waits until this engine has it. `elsewhere` is called when it does not have it at once, and is told whether somebody else has it.
    pub(super) async fn wait(&self, mut elsewhere: impl FnMut(bool)) -> Arc<Held> {
        let mut state = self.state.subscribe();
        loop {
            {
                let now = state.borrow_and_update();
                match &now.held {
                    Some(held) if held.is_valid() => return Arc::clone(held),
                    _ if now.asked => elsewhere(now.other.is_some()),
                    _ => {}
                }
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn claim(&self, holder: &Holder, time: Duration, instead_of: Option<u64>) -> Claim {
        let mut told = self.told();
        let fresh = std::mem::take(&mut told.fresh);
        Claim {
            name: self.name.clone(),
            holder: holder.clone(),
            number: self.state.borrow().held.as_ref().map(|held| held.fence.number),
            instead_of,
            time,
            progress: told.progress,
            note: told.note.clone().filter(|_| fresh),
        }
    }

    fn answered(&self, claimed: Claimed, until: Duration) {
        let mut lost = None;
        self.state.send_if_modified(|state| {
            let first = !std::mem::replace(&mut state.asked, true);
            match (claimed, &state.held) {
                (Claimed::Held(number), Some(held)) if held.fence.number == number => {
                    let was_over = !held.is_valid();
                    *held.until() = until;
                    if was_over {
                        held.revived.notify_one();
                    }
                    // Those who wait have not taken one that was over.
                    first || was_over
                }
                (Claimed::Held(number), _) => {
                    let fence = Fence { lease: self.name.clone(), number };
                    lost = state.held.replace(Arc::new(Held::new(fence, until)));
                    state.other = None;
                    true
                }
                (Claimed::Taken(lease), _) => {
                    lost = state.held.take();
                    state.other = Some(lease);
                    first || lost.is_some()
                }
            }
        });
        if let Some(lost) = lost {
            lost.lost.cancel();
        }
    }
}

impl Leases {
    pub(super) fn new(origin: Origin, time: Duration) -> Self {
        Self {
            holder: Holder {
                origin,
                process: std::process::id(),
                host: host_name(),
                mark: ProcessMark::own(),
            },
            time,
            wanted: Mutex::default(),
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            closed: CancellationToken::new(),
        }
    }

    /// Whether this engine holds a lease now.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.wanted().get(name).is_some_and(|wanted| wanted.held().is_some())
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Wanted>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Wanted>> {
        self.wanted().values().cloned().collect()
    }

    /// From now on this engine wants a lease.
    pub(super) fn want(&self, name: String) -> Arc<Wanted> {
        let wanted =
            Arc::clone(self.wanted().entry(name.clone()).or_insert_with(|| Arc::new(Wanted::new(name))));
        self.wake.notify_one();
        wanted
    }

    /// From now on this engine does not want a lease any more. It ends by itself.
    pub(super) fn forget(&self, wanted: &Wanted) {
        let mut all = self.wanted();
        if all.get(&wanted.name).is_some_and(|now| std::ptr::eq(Arc::as_ptr(now), wanted)) {
            all.remove(&wanted.name);
        }
    }

    /// Ends a lease, so that somebody else may have it at once.
    pub(super) async fn give_up(&self, store: &dyn KeyStore, wanted: &Wanted) {
        self.forget(wanted);
        let held = self.take(wanted);
        if let Some(held) = held
            && let Err(e) = store.release(std::slice::from_ref(&held.fence)).await
        {
            tracing::debug!(lease = wanted.name, error = %e, "a lease ends by itself");
        }
    }

    /// Ends a lease and does not ask for it again for some time: another process may do what this one cannot.
    pub(super) async fn step_back(&self, store: &dyn KeyStore, wanted: &Wanted, time: Duration) {
        *wanted.rests.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
        if let Some(held) = self.take(wanted) {
            let _ = store.release(std::slice::from_ref(&held.fence)).await;
        }
    }

    fn take(&self, wanted: &Wanted) -> Option<Arc<Held>> {
        let mut held = None;
        wanted.state.send_if_modified(|state| {
            held = state.held.take();
            held.is_some()
        });
        if let Some(held) = &held {
            held.lost.cancel();
        }
        held
    }

    /// How far the holder of a lease has come: told when it is prolonged.
    pub(super) fn note_progress(&self, wanted: &Wanted, progress: Cursor) {
        wanted.told().progress = progress;
    }

    /// What the holder of a lease tells the others: told when it is prolonged.
    pub(super) fn note(&self, wanted: &Wanted, note: String) {
        let mut told = wanted.told();
        (told.note, told.fresh) = (Some(note), true);
    }

    /// Prolongs the leases now: others wait for what is told with them.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Prolongs what is held, and takes what is free; returns when to look again at the latest.
    async fn renew(&self, store: &dyn KeyStore) -> Result<Duration> {
        let asked_at = since_boot();
        let mut again = self.time / 3;
        let (held, waiting): (Vec<_>, Vec<_>) =
            self.all().into_iter().partition(|one| one.state.borrow().held.is_some());
        let waiting: Vec<_> = waiting.into_iter().filter(|one| !one.rests()).collect();
        let mut asked: Vec<_> = held.into_iter().map(|one| (one, None)).collect();
        if !waiting.is_empty() {
            let leases = store.leases().await.unwrap_or_default();
            for one in waiting {
                match leases.iter().find(|lease| lease.name == one.name && lease.is_held()) {
                    // Nobody waits for one that was killed.
                    Some(taken) if taken.is_orphaned() => asked.push((one, Some(taken.number))),
                    Some(taken) => {
                        again = again.min(taken.left + MARGIN);
                        one.answered(Claimed::Taken(taken.clone()), Duration::ZERO);
                    }
                    None => asked.push((one, None)),
                }
            }
        }
        self.claim(store, &asked).await?;
        // From the question on, which may have waited for the store.
        Ok(again.saturating_sub(since_boot().saturating_sub(asked_at)).max(AGAIN))
    }

    async fn claim(&self, store: &dyn KeyStore, asked: &[(Arc<Wanted>, Option<u64>)]) -> Result<()> {
        if asked.is_empty() {
            return Ok(());
        }
        let claim = |(one, instead): &(Arc<Wanted>, _)| one.claim(&self.holder, self.time, *instead);
        let claims: Vec<Claim> = asked.iter().map(claim).collect();
        // From before the question: it was prolonged then at the earliest.
        let until = since_boot() + self.time;
        match store.claim(&claims).await {
            Ok(answers) => {
                for ((wanted, _), answer) in asked.iter().zip(answers) {
                    // One that was given up meanwhile is not taken again.
                    if self.wanted().get(&wanted.name).is_some_and(|now| Arc::ptr_eq(now, wanted)) {
                        wanted.answered(answer, until);
                    } else if let Claimed::Held(number) = answer {
                        let fence = Fence { lease: wanted.name.clone(), number };
                        let _ = store.release(&[fence]).await;
                    }
                }
                Ok(())
            }
            Err(e) => {
                for ((wanted, _), claim) in asked.iter().zip(claims) {
                    wanted.told().fresh |= claim.note.is_some();
                }
                Err(e)
            }
        }
    }

    /// Whether this engine waits for something that others have.
    fn waits(&self) -> bool {
        self.wanted().values().any(|one| one.state.borrow().held.is_none())
    }

    /// Whether something that this engine waits for is free.
    async fn is_one_free(&self, store: &dyn KeyStore) -> bool {
        let Ok(leases) = store.leases().await else { return false };
        let taken = |one: &Arc<Wanted>| {
            leases.iter().any(|lease| lease.name == one.name && lease.is_held() && !lease.is_orphaned())
        };
        self.all().iter().any(|one| one.state.borrow().held.is_none() && !one.rests() && !taken(one))
    }

    /// Lets everything go: others need not wait.
    async fn give_up_all(&self, store: &dyn KeyStore) {
        let held: Vec<Fence> =
            self.all().iter().filter_map(|one| self.take(one)).map(|held| held.fence.clone()).collect();
        if !held.is_empty() {
            let _ = store.release(&held).await;
        }
    }
}

/// After a failure, and at the soonest.
const AGAIN: Duration = Duration::from_millis(50);
/// Behind the end of another's lease.
const MARGIN: Duration = Duration::from_millis(5);

/// Keeps the leases of an engine until it is closed.
pub(super) async fn run(shared: Arc<Shared>, job: Arc<Job>) {
    let (leases, store) = (&shared.leases, shared.store.as_ref());
    let mut newest = shared.store.newest();
    let stopped = async {
        shared.stop.cancelled().await;
        if leases.closing.load(Ordering::Acquire) {
            leases.closed.cancelled().await;
        }
    };
    let mut stopped = std::pin::pin!(stopped);
    loop {
        newest.mark_unchanged();
        let again = job.run(&shared, leases.renew(store)).await.unwrap_or(AGAIN);
        let mut again = std::pin::pin!(tokio::time::sleep(again));
        // Until then, what others let go of is taken at once.
        loop {
            tokio::select! {
                () = &mut stopped => return leases.give_up_all(store).await,
                () = &mut again => break,
                () = leases.wake.notified() => break,
                changed = newest.changed(), if leases.waits() => {
                    if changed.is_err() {
                        return;
                    }
                    if leases.is_one_free(store).await {
                        break;
                    }
                }
            }
        }
    }
}
