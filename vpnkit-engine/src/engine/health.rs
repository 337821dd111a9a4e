//! How vpnkit itself does: its background jobs, and its metrics.

use vpnkit_macros::operations;

use super::Engine;
use super::jobs::JobStatus;
use vpnkit_core::Result;

/// Tells how vpnkit itself does.
#[derive(Clone, Debug)]
pub struct HealthView {
    pub(super) engine: Engine,
}

#[operations(noun = "health", handle = Engine::health)]
impl HealthView {
    /// Returns the background jobs, by name and server: when each ran last in this process, how long it took, and why it failed.
    #[operation(read)]
    pub async fn jobs(&self) -> Result<Vec<JobStatus>> {
        self.engine.shared.open("health.jobs")?;
        Ok(self.engine.shared.job_status())
    }

    /// Returns what this process has counted and measured since the kit was opened, in the text format of OpenMetrics: serve it as
    /// `application/openmetrics-text; version=1.0.0; charset=utf-8`, and Prometheus reads it. `docs/metrics.md` lists all of it.
    #[operation(read)]
    pub async fn metrics(&self) -> Result<String> {
        const OP: &str = "health.metrics";
        self.engine.shared.open(OP)?;
        self.engine.shared.metrics_text(OP).await
    }
}
