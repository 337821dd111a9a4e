//! What vpnkit logs, on standard error: for programs that are not written in Rust.

use std::sync::Once;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The environment variable that chooses what is logged: a level, or a level for a part, as `vpnkit=info,vpnkit_xray=debug`.
const VARIABLE: &str = "VPNKIT_LOG";

static STARTED: Once = Once::new();

/// Begins to log, once a process, if it was asked for.
pub(crate) fn start() {
    STARTED.call_once(|| {
        let Ok(asked) = std::env::var(VARIABLE) else { return };
        match asked.parse::<Targets>() {
            // An application that has a subscriber of its own keeps it.
            Ok(filter) => {
                let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
                let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
            }
            Err(e) => {
                use std::io::Write as _;
                let _ = writeln!(std::io::stderr(), "{VARIABLE} is not a filter of logs: {e}");
            }
        }
    });
}
