//! Background jobs: what each does in its interval, and how its last run went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_core::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument as _;

use super::leases::{UPKEEP, Wanted};
use super::{Shared, expiry, nodes, reminders, rotation};
use vpnkit_core::model::DurationText;
use vpnkit_core::store::Fence;
use vpnkit_core::{ErrorKind, Result, Timestamp};

/// A background job as it goes in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobStatus {
    /// What it does: `settle`, `readings`. `docs/metrics.md` lists them.
    pub name: String,
    /// The server that it is done for; `None`: for the whole store.
    pub server: Option<String>,
    /// Whether this process does it. Of a store that several processes use, one does each job; the others stand by.
    pub here: bool,
    /// Runs that have ended since the kit was opened.
    pub runs: u64,
    /// When the last run began that has ended.
    pub last_run: Option<Timestamp>,
    /// How long it took.
    #[serde(with = "vpnkit_core::model::optional_duration_text")]
    #[schemars(with = "Option<DurationText>")]
    pub duration: Option<Duration>,
    /// When the last run ended that did not fail.
    pub succeeded_at: Option<Timestamp>,
    /// When the first run failed of those that have failed since then; `None` while it does not fail.
    pub failing_since: Option<Timestamp>,
    /// Why the last run failed; `None` when it did not.
    pub error: Option<String>,
}

/// The jobs that every process does for itself.
const OF_PROCESS: [&str; 3] = ["leases", "follow", "webhooks"];

/// All jobs of an engine.
#[derive(Debug, Default)]
pub(super) struct Jobs(Mutex<Vec<Weak<Job>>>);

/// One job; it is listed until it is dropped.
#[derive(Debug)]
pub(super) struct Job {
    name: &'static str,
    server: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    here: bool,
    runs: u64,
    last: Option<(Timestamp, Duration)>,
    succeeded_at: Option<Timestamp>,
    failing: Option<(Timestamp, String)>,
}

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists a job.
    pub(super) fn begin(&self, name: &'static str, server: Option<&str>) -> Arc<Job> {
        let job = Arc::new(Job { name, server: server.map(str::to_owned), state: Mutex::default() });
        let mut all = self.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&job));
        job
    }

    /// Tells how all of them go, by name and server, as far as this process knows.
    fn status(&self) -> Vec<JobStatus> {
        let mut all: Vec<JobStatus> =
            self.lock().iter().filter_map(Weak::upgrade).map(|job| job.status()).collect();
        all.sort_by(|a, b| (&a.name, &a.server).cmp(&(&b.name, &b.server)));
        all
    }
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> JobStatus {
        let state = self.lock();
        JobStatus {
            name: self.name.to_owned(),
            server: self.server.clone(),
            here: state.here,
            runs: state.runs,
            last_run: state.last.map(|(at, _)| at),
            duration: state.last.map(|(_, took)| took),
            succeeded_at: state.succeeded_at,
            failing_since: state.failing.as_ref().map(|(since, _)| *since),
            error: state.failing.as_ref().map(|(_, error)| error.clone()),
        }
    }

    /// Another process does it from now on.
    pub(super) fn stand_by(&self) {
        let mut state = self.lock();
        (state.here, state.failing) = (false, None);
    }

    /// Runs it once and returns how that went. A failure is logged when it is new: the job is tried again.
    pub(super) async fn run<T>(&self, shared: &Shared, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.lock().here = true;
        let server = self.server.as_deref().unwrap_or_default();
        let span = tracing::debug_span!("job", name = self.name, server);
        let (began_at, began) = (shared.clock.now(), Instant::now());
        let result = work.instrument(span).await;
        if matches!(&result, Err(e) if e.kind() == ErrorKind::LeaseLost) {
            self.stand_by();
            return result;
        }
        let took = began.elapsed();
        shared.metrics.job(self.name, server, took, &result);
        let mut state = self.lock();
        state.runs += 1;
        state.last = Some((began_at, took));
        match &result {
            Ok(_) => {
                state.succeeded_at = Some(shared.clock.now());
                if state.failing.take().is_some() {
                    tracing::info!(job = self.name, server, "a job works again");
                }
            }
            Err(error) => {
                // What a server refuses is told by itself.
                if state.failing.is_none() && error.kind() != ErrorKind::Rejected {
                    tracing::warn!(job = self.name, server, %error, "a job failed; it is tried again");
                } else {
                    tracing::debug!(job = self.name, server, %error, "a job failed again");
                }
                let since = state.failing.as_ref().map_or(began_at, |(since, _)| *since);
                state.failing = Some((since, error.to_string()));
            }
        }
        result
    }
}

impl Shared {
    /// Begins the jobs that one process does for the whole store.
    pub(super) fn keep_up(self: &Arc<Self>, upkeep: &Arc<Wanted>) {
        let options = &self.options;
        let all: [(&str, Duration, Work); 7] = [
            ("settle", options.expiry_check_every, |shared, fence| {
                Box::pin(async move { shared.check_expiry(Some(fence)).await.map(drop) })
            }),
            ("quotas", options.expiry_check_every, |shared, fence| {
                Box::pin(async move { shared.follow_owners(Some(fence)).await })
            }),
            ("sharing", options.sharing.check_every, |shared, fence| {
                Box::pin(async move { shared.check_sharing(Some(fence)).await })
            }),
            ("reminders", reminders::EVERY, |shared, fence| {
                Box::pin(async move { shared.remind(Some(fence)).await })
            }),
            ("nodes", nodes::EVERY, |shared, fence| {
                Box::pin(async move { shared.tell_nodes(Some(fence)).await })
            }),
            ("rotation", rotation::EVERY, |shared, _| Box::pin(async move { shared.rotate_due().await })),
            ("prune", expiry::PRUNE_EVERY, |shared, fence| {
                Box::pin(async move { shared.prune(fence).await })
            }),
        ];
        for (name, every, work) in all {
            // Listed from now on, not from its first turn.
            let job = self.jobs.begin(name, None);
            self.tasks.spawn(repeat(Arc::clone(self), Arc::clone(upkeep), job, every, work));
        }
    }

    /// Tells how all jobs go. What another process does by now is not known here.
    pub(super) fn job_status(&self) -> Vec<JobStatus> {
        let servers = self.servers();
        let here = |job: &JobStatus| match &job.server {
            Some(id) => servers.iter().any(|server| server.id().as_str() == id && server.is_driven()),
            None => self.leases.holds(UPKEEP) || OF_PROCESS.contains(&job.name.as_str()),
        };
        let all = self.jobs.status().into_iter().map(|job| match job.here && !here(&job) {
            true => JobStatus { here: false, failing_since: None, error: None, ..job },
            false => job,
        });
        all.collect()
    }
}

/// One run of a job of the whole store.
pub(super) type Work = fn(Arc<Shared>, Fence) -> BoxFuture<'static, Result<()>>;

/// Does a job of the whole store in its interval until the engine stops, whenever this process has the lease for it.
pub(super) async fn repeat(
    shared: Arc<Shared>,
    upkeep: Arc<Wanted>,
    job: Arc<Job>,
    every: Duration,
    work: Work,
) {
    let mut turns = tokio::time::interval(every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let held = tokio::select! {
            () = shared.stop.cancelled() => return,
            held = async { turns.tick().await; upkeep.wait(|_| job.stand_by()).await } => held,
        };
        // Its failure is told, and made up for by the next run.
        let _ = job.run(&shared, work(Arc::clone(&shared), held.fence.clone())).await;
    }
}
