//! What vpnkit logs, on standard error: for programs that are not written in Rust.

use std::sync::Once;

use tracing_subscriber::EnvFilter;

/// The environment variable that chooses what is logged: a level, or a level for a part, as `vpnkit=info,vpnkit_xray=debug`.
const VARIABLE: &str = "VPNKIT_LOG";

static STARTED: Once = Once::new();

/// Begins to log, once a process, if it was asked for.
pub(crate) fn start() {
    STARTED.call_once(|| {
        let Ok(asked) = std::env::var(VARIABLE) else { return };
        match EnvFilter::try_new(&asked) {
            // A line is written at once and as a whole. An application that has a subscriber of its own keeps it.
            Ok(filter) => {
                let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
                let _ = lines.with_ansi(false).try_init();
            }
            Err(e) => {
                use std::io::Write as _;
                let _ = writeln!(std::io::stderr(), "{VARIABLE} is not a filter of logs: {e}");
            }
        }
    });
}
