//! Waiting for another process that writes.
//!
//! SQLite asks again after pauses that grow to a tenth of a second, and who has just written asks at once: with several processes
//! one of them is served and the others run into their time limit. So a thread asks every few milliseconds at most, and who had to
//! wait lets others in after its turn.

use std::cell::Cell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::convert_error::convert;
use vpnkit_core::Result;

/// The first and the longest pause between two questions.
const PAUSE: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(4));
/// How long others are let in.
const TURN: Duration = Duration::from_micros(700);
/// So long others are taken to be there after they were met.
const REMEMBERED: Duration = Duration::from_millis(200);

thread_local! {
    /// How long this thread waits.
    static LIMIT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// When it began to wait.
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// When it had to wait last.
    static MET: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes a connection wait so long. It is to be used on this thread only.
pub(crate) fn wait_on(connection: &mut Connection, limit: Duration) -> Result<()> {
    LIMIT.set(limit);
    connection.busy_handler(Some(ask_again)).map_err(|e| convert("store.open", e))
}

fn ask_again(times: i32) -> bool {
    let now = Instant::now();
    if times == 0 {
        BEGUN.set(Some(now));
    }
    MET.set(Some(now));
    let waited = BEGUN.get().map_or(Duration::ZERO, |begun| now.duration_since(begun));
    if waited >= LIMIT.get() {
        return false;
    }
    let longest = PAUSE.0.saturating_mul(1 << times.clamp(0, 5)).min(PAUSE.1);
    // Not all at the same time.
    sleep(longest.mul_f64(rand::random_range(0.5..1.0)));
    true
}

/// Lets other processes write, if there were some lately.
pub(crate) fn give_way() {
    if MET.get().is_some_and(|met| met.elapsed() < REMEMBERED) {
        sleep(TURN);
    }
}
