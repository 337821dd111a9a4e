//! What is counted and measured, for Prometheus.
//!
//! `docs/metrics.md` lists all of it; a test compares the list with what an engine tells.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::Shared;
use super::collect::Collected;
use vpnkit_core::backend::ServerState;
use vpnkit_core::model::ServerId;
use vpnkit_core::{Error, ErrorKind, Result};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFailure {
    operation: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfServer {
    server: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfJob {
    job: &'static str,
    subject: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRunning {
    job: Arc<str>,
    subject: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAnswer {
    client: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConsumer {
    consumer: Arc<str>,
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// From a tenth of a millisecond to 26 seconds.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

/// From a kilobyte to a gigabyte.
fn bytes() -> Histogram {
    Histogram::new(exponential_buckets(1_000.0, 10.0, 7))
}

/// What an engine has counted and measured since it was opened.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    operations: Times<OfOperation>,
    operation_failures: Family<OfFailure, Counter>,
    commits: Histogram,
    commit_failures: Family<OfKind, Counter>,
    readings: Times<OfServer>,
    traffic: Family<OfServer, Counter>,
    counter_resets: Family<OfServer, Counter>,
    overrun: Histogram,
    steps: Family<OfServer, Counter>,
    drift: Family<OfServer, Counter>,
    takeovers: Family<OfServer, Counter>,
    jobs: Times<OfJob>,
    job_failures: Family<OfJob, Counter>,
    failing: Family<OfRunning, Gauge>,
    subscriptions: Family<OfAnswer, Counter>,
    up: Family<OfServer, Gauge>,
    driven: Family<OfServer, Gauge>,
    queue: Family<OfServer, Gauge>,
    refused_keys: Family<OfServer, Gauge>,
    lag: Family<OfConsumer, Gauge>,
}

/// Registers metrics as they are made.
struct Registering(Registry);

impl Registering {
    fn put<M: Metric + Clone>(&mut self, name: &str, help: &str, unit: Option<Unit>, metric: M) -> M {
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, metric.clone()),
            None => self.0.register(name, help, metric.clone()),
        }
        metric
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registering(Registry::with_prefix("vpnkit"));
        Self {
            operations: all.put(
                "operation",
                "How long calls took",
                Some(Unit::Seconds),
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            operation_failures: all.put(
                "operation_failures",
                "Calls that failed, by the kind of the error",
                None,
                Family::default(),
            ),
            commits: all.put(
                "commit",
                "How long transactions took until they were durable",
                Some(Unit::Seconds),
                seconds(),
            ),
            commit_failures: all.put(
                "commit_failures",
                "Transactions that failed, by the kind of the error",
                None,
                Family::default(),
            ),
            readings: all.put(
                "reading",
                "How long readings of a server's counters took, with their transaction",
                Some(Unit::Seconds),
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            traffic: all.put(
                "traffic",
                "What passed through a server, both ways",
                Some(Unit::Bytes),
                Family::default(),
            ),
            counter_resets: all.put(
                "counter_resets",
                "Counters that another program has reset: their first bytes after it may be lost",
                None,
                Family::default(),
            ),
            overrun: all.put(
                "overrun",
                "What keys had used beyond their data limit when they were stopped",
                Some(Unit::Bytes),
                bytes(),
            ),
            steps: all.put(
                "reconcile_steps",
                "Steps that brought a server to what the store says, when all of it was compared",
                None,
                Family::default(),
            ),
            drift: all.put(
                "drift_steps",
                "Those of them that nothing explains but a change of the server by somebody else",
                None,
                Family::default(),
            ),
            takeovers: all.put(
                "takeovers",
                "How often this process took a server over from another one",
                None,
                Family::default(),
            ),
            jobs: all.put(
                "job",
                "How long runs of background jobs took",
                Some(Unit::Seconds),
                Family::new_with_constructor(seconds as fn() -> Histogram),
            ),
            job_failures: all.put(
                "job_failures",
                "Runs of background jobs that failed",
                None,
                Family::default(),
            ),
            failing: all.put(
                "job_failing",
                "1 while the last run of a background job has failed",
                None,
                Family::default(),
            ),
            subscriptions: all.put(
                "subscriptions",
                "Answers to clients that fetched a subscription, by client and HTTP status",
                None,
                Family::default(),
            ),
            up: all.put(
                "server_up",
                "1 while a server answers that this process drives",
                None,
                Family::default(),
            ),
            driven: all.put(
                "server_driven",
                "1 while this process drives a server, 0 while another one does",
                None,
                Family::default(),
            ),
            queue: all.put(
                "queue_length",
                "Keys and inbounds that a server has not taken over yet",
                None,
                Family::default(),
            ),
            refused_keys: all.put("refused_keys", "Keys that a server refuses", None, Family::default()),
            lag: all.put(
                "consumer_lag",
                "Events that a consumer or a webhook has not handled yet",
                None,
                Family::default(),
            ),
            // With all of them by now.
            registry: all.0,
        }
    }
}

fn of_server(server: &ServerId) -> OfServer {
    OfServer { server: server.as_str().into() }
}

impl Metrics {
    pub(super) fn call(&self, operation: &'static str, took: Duration, error: Option<&Error>) {
        self.operations.get_or_create(&OfOperation { operation }).observe(took.as_secs_f64());
        if let Some(e) = error {
            self.operation_failures.get_or_create(&OfFailure { operation, kind: e.kind().code() }).inc();
        }
    }

    pub(super) fn commit<T>(&self, took: Duration, result: &Result<T>) {
        match result {
            Ok(_) => self.commits.observe(took.as_secs_f64()),
            Err(e) => drop(self.commit_failures.get_or_create(&OfKind { kind: e.kind().code() }).inc()),
        }
    }

    pub(super) fn reading(&self, took: Duration, collected: &Collected) {
        let server = of_server(&collected.server);
        self.readings.get_or_create(&server).observe(took.as_secs_f64());
        let Collected { traffic, counter_resets, .. } = collected;
        self.traffic.get_or_create(&server).inc_by(traffic.up.saturating_add(traffic.down));
        self.counter_resets.get_or_create(&server).inc_by(*counter_resets as u64);
    }

    /// What was read of some keys only.
    pub(super) fn passed(&self, server: &ServerId, bytes: u64) {
        self.traffic.get_or_create(&of_server(server)).inc_by(bytes);
    }

    pub(super) fn overrun(&self, bytes: u64) {
        self.overrun.observe(bytes as f64);
    }

    pub(super) fn compared(&self, server: &ServerId, steps: usize, drift: usize) {
        self.steps.get_or_create(&of_server(server)).inc_by(steps as u64);
        self.drift.get_or_create(&of_server(server)).inc_by(drift as u64);
    }

    pub(super) fn takeover(&self, server: &ServerId) {
        self.takeovers.get_or_create(&of_server(server)).inc();
    }

    pub(super) fn job<T>(&self, job: &'static str, subject: &str, took: Duration, result: &Result<T>) {
        let of = OfJob { job, subject: subject.into() };
        self.jobs.get_or_create(&of).observe(took.as_secs_f64());
        if result.is_err() {
            self.job_failures.get_or_create(&of).inc();
        }
    }

    /// `client`: one of the known ones; others could be named by anybody, without end.
    pub(super) fn subscription(&self, client: Option<&'static str>, status: u16) {
        self.subscriptions.get_or_create(&OfAnswer { client: client.unwrap_or("other"), status }).inc();
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Shared {
    /// Returns all metrics as they are now, in the text format of OpenMetrics 1.0, which Prometheus reads.
    pub(super) async fn metrics_text(&self, op: &'static str) -> Result<String> {
        let metrics = &self.metrics;
        // Of what is gone nothing is told.
        for family in [&metrics.up, &metrics.driven, &metrics.queue, &metrics.refused_keys] {
            family.clear();
        }
        metrics.lag.clear();
        metrics.failing.clear();
        for job in self.job_status().into_iter().filter(|job| job.here) {
            let of = OfRunning { job: job.name.into(), subject: job.server.unwrap_or_default().into() };
            metrics.failing.get_or_create(&of).set(i64::from(job.failing_since.is_some()));
        }
        for server in self.servers().iter() {
            let of = of_server(server.id());
            metrics.driven.get_or_create(&of).set(i64::from(server.is_driven()));
            // How it does, the process that drives it tells.
            if !server.is_driven() {
                continue;
            }
            metrics.up.get_or_create(&of).set(i64::from(matches!(server.state(), ServerState::Up { .. })));
            metrics.queue.get_or_create(&of).set(gauge(server.queue.len()));
            let refused = server.rejected.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len();
            metrics.refused_keys.get_or_create(&of).set(gauge(refused));
        }
        let newest = self.store.newest_event().await.map_err(|e| e.during(op))?;
        for (name, cursor) in self.store.consumers().await.map_err(|e| e.during(op))? {
            let of = OfConsumer { consumer: name.into() };
            metrics.lag.get_or_create(&of).set(newest.0.saturating_sub(cursor.0).max(0));
        }
        let mut text = String::new();
        encode(&mut text, &metrics.registry).map_err(|e| {
            Error::new(ErrorKind::Unexpected, op, "the metrics could not be written").caused_by(e)
        })?;
        Ok(text)
    }
}
