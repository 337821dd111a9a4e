//! The life of one server in the engine: waited for while another process drives it, started, watched, and tried again when it
//! does not start.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::leases::Held;
use super::server::Server;
use super::{Shared, collect, near_limits, tell, work};
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::{EventKind, EventSubject, NewEvent};
use vpnkit_core::store::StoreOp;

/// How long a start may take.
const START: Duration = Duration::from_secs(120);
/// Between two tries to start a server, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After so many tries another process may try it.
const TRIES: u32 = 4;
/// How long it may.
const RESTS: Duration = Duration::from_secs(8);

/// One time of driving a server, from getting its lease to losing it.
#[derive(Clone, Debug)]
pub(super) struct Term {
    /// Ends its work.
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// Drives the server whenever no other process does, until it is stopped. `first` is sent after the first try to start it,
/// however it went, or when another process drives it.
pub(super) async fn run(shared: Arc<Shared>, server: Arc<Server>, first: oneshot::Sender<()>) {
    // From the beginning on, so that those who wait for the server are told that it is down.
    server.tasks.spawn(work::run(Arc::clone(&shared), Arc::clone(&server)));
    let mut first = Some(first);
    loop {
        let mut elsewhere = false;
        let waiting = server.lease.wait(|elsewhere_now| {
            elsewhere |= elsewhere_now;
            drop(first.take());
        });
        let held = tokio::select! {
            () = server.stop.cancelled() => return,
            held = waiting => held,
        };
        if elsewhere {
            shared.metrics.takeover(server.id());
        }
        let term = Term { stop: server.stop.child_token(), tasks: TaskTracker::new() };
        server.begin().await;
        {
            let mut driving = std::pin::pin!(drive(&shared, &server, &held, &term, &mut first));
            tokio::select! {
                biased;
                () = held.lost.cancelled() => {
                    // What is under way sees that the lease is lost, and ends.
                    term.stop.cancel();
                    driving.await;
                }
                () = &mut driving => {}
            }
        }
        term.stop.cancel();
        term.tasks.close();
        term.tasks.wait().await;
        if server.stop.is_cancelled() {
            return;
        }
        tracing::info!(server = %server.id(), "the server is let go: another process may drive it");
        server.let_go().await;
    }
}

/// Works for the server until the term ends: runs it, unless it was stopped by hand.
async fn drive(
    shared: &Arc<Shared>,
    server: &Arc<Server>,
    held: &Held,
    term: &Term,
    first: &mut Option<oneshot::Sender<()>>,
) {
    term.tasks.spawn(tell::run(Arc::clone(shared), Arc::clone(server), term.stop.clone()));
    let mut stopped = server.stopped.subscribe();
    loop {
        if *stopped.borrow_and_update() {
            if !server.halted.load(std::sync::atomic::Ordering::Acquire) {
                // Perhaps it runs on from before.
                server.halt(shared).await;
            }
            server.news.notify_one();
            drop(first.take());
            tokio::select! {
                () = term.stop.cancelled() => return,
                changed = stopped.changed() => if changed.is_err() { return },
            }
            continue;
        }
        server.halted.store(false, std::sync::atomic::Ordering::Release);
        let run = Term { stop: term.stop.child_token(), tasks: TaskTracker::new() };
        tokio::select! {
            () = start_and_run(shared, server, held, &run, first) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        run.stop.cancel();
        run.tasks.close();
        run.tasks.wait().await;
        if term.stop.is_cancelled() {
            return;
        }
        server.halt(shared).await;
    }
}

/// Starts the server, and again until it has started; then does what is done in intervals until it is to end.
async fn start_and_run(
    shared: &Arc<Shared>,
    server: &Arc<Server>,
    held: &Held,
    run: &Term,
    first: &mut Option<oneshot::Sender<()>>,
) {
    let (mut pause, mut tries) = (RETRY.0, 0);
    loop {
        let desired = Arc::new(server.desired(shared));
        let start = async {
            // Fifty that start at once would starve each other.
            let _turn = shared.starting.acquire().await;
            server.answer("server.start", START, server.backend.start(desired)).await
        };
        let started = tokio::select! {
            () = run.stop.cancelled() => return,
            started = start => started,
        };
        let Err(e) = started else { break };
        let reason = e.to_string();
        if server.failed(reason.clone()) {
            tracing::warn!(server = %server.id(), error = %e, "the server does not start; it is tried again");
            emit(shared, server, EventKind::ServerDown, reason).await;
        }
        drop(first.take());
        tries += 1;
        if tries >= TRIES {
            // Perhaps another process can: it has the program, the rights, the directory.
            let rest = spread(RESTS);
            shared.leases.step_back(shared.store.as_ref(), &server.lease, rest).await;
            return run.stop.cancelled().await;
        }
        tokio::select! {
            () = run.stop.cancelled() => return,
            () = tokio::time::sleep(spread(pause)) => {}
        }
        pause = (pause * 2).min(RETRY.1);
    }
    // The first sight of a server is the baseline: taken before any account is added.
    if matches!(*server.backend.state().borrow(), ServerState::Up { .. })
        && let Err(e) = shared.collect(server).await
    {
        tracing::warn!(server = %server.id(), error = %e, "the first reading failed");
    }
    server.started();
    // Another process may have said otherwise of it, and has ended since.
    if let Err(e) = shared.tell_address(server).await {
        tracing::warn!(server = %server.id(), error = %e, "other processes could not be told of the server");
    }
    drop(server.queue.reconcile());
    drop(first.take());
    if shared.options.background {
        let of = || (Arc::clone(shared), Arc::clone(server), run.stop.clone());
        let (a, b, c) = of();
        run.tasks.spawn(watch(a, b, c));
        let (a, b, c) = of();
        run.tasks.spawn(collect::run(a, b, c));
        if server.backend.capabilities().live_counters {
            let (a, b, c) = of();
            run.tasks.spawn(near_limits::run(a, b, c));
        }
    }
    loop {
        tokio::select! {
            () = run.stop.cancelled() => return,
            // What was under way when it was over has failed.
            () = held.revived.notified() => drop(server.queue.reconcile()),
        }
    }
}

/// A length of time, give or take a fifth: servers that were started together do not stay together.
pub(super) fn spread(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.8..1.2))
}

/// Follows a server's state: tells it as events, and reconciles whenever it comes (back) up.
async fn watch(shared: Arc<Shared>, server: Arc<Server>, stop: CancellationToken) {
    let mut state = server.backend.state();
    let mut before = ServerState::Stopped;
    loop {
        let now = state.borrow_and_update().clone();
        let event = match (&before, &now) {
            (ServerState::Up { lifetime: old }, ServerState::Up { lifetime: new }) if old == new => None,
            (ServerState::Up { .. }, ServerState::Up { .. }) => {
                Some((EventKind::ServerRestarted, String::new()))
            }
            (_, ServerState::Up { .. }) => Some((EventKind::ServerUp, String::new())),
            (ServerState::Down { .. }, ServerState::Down { .. }) => None,
            (_, ServerState::Down { reason }) => Some((EventKind::ServerDown, reason.clone())),
            (_, ServerState::Stopped) => None,
        };
        if let Some((kind, detail)) = event {
            tracing::info!(server = %server.id(), detail, "{kind}");
            if kind != EventKind::ServerDown {
                server.queue.reconcile();
            }
            emit(&shared, &server, kind, detail).await;
        }
        before = now;
        tokio::select! {
            () = stop.cancelled() => return,
            changed = state.changed() => if changed.is_err() { return },
        }
    }
}

pub(super) async fn emit(shared: &Shared, server: &Server, kind: EventKind, detail: String) {
    let subject = EventSubject::Server(server.id().clone());
    let event = StoreOp::Emit(NewEvent { kind, subject, detail });
    let stored = async { shared.store.commit(server.txn(shared, [event])?).await };
    if let Err(e) = stored.await {
        tracing::warn!(server = %server.id(), error = %e, "an event could not be stored");
    }
}
