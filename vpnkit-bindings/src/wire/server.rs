use serde::Serialize;
use vpnkit::backend::{Capabilities, Health, ServerState};

#[derive(Serialize)]
pub(crate) struct Server<'a> {
    id: &'a str,
    node: &'a str,
    state: &'static str,
    reason: Option<&'a str>,
    capabilities: &'a Capabilities,
    version: Option<&'a str>,
    uptime_ms: Option<u64>,
    pending: usize,
}

impl<'a> Server<'a> {
    pub(crate) fn of(status: &'a vpnkit::ServerStatus) -> Self {
        let vpnkit::ServerStatus { id, node, state, capabilities, health, pending } = status;
        let (state, reason) = match state {
            ServerState::Stopped => ("stopped", None),
            ServerState::Up { .. } => ("up", None),
            ServerState::Down { reason } => ("down", Some(reason.as_str())),
        };
        let millis = |h: &Health| u64::try_from(h.uptime.as_millis()).unwrap_or(u64::MAX);
        Self {
            id: id.as_str(),
            node: node.as_str(),
            state,
            reason,
            capabilities,
            version: health.as_ref().map(|h| h.version.as_str()),
            uptime_ms: health.as_ref().map(millis),
            pending: *pending,
        }
    }
}
