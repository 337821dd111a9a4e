//! The machine that this process runs on: its name, and its clock, which nobody sets.

use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Returns the time since this machine was started, with the time that it slept. All processes of a machine read the same, and
/// setting the time of day does not change it.
#[must_use]
pub fn since_boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    let secs = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The space that numbers of processes are of.
fn namespace() -> Option<&'static str> {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    if let Some(namespace) = NAMESPACE.get() {
        return Some(namespace);
    }
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned();
    Some(NAMESPACE.get_or_init(|| namespace))
}

/// Returns the name of the machine, or of the container.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A process, beyond doubt: numbers are given again, and containers have the same ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMark {
    pid: u32,
    /// When it was started, in ticks of the kernel since the machine was; `None` where this process may not know.
    started: Option<u64>,
    namespace: String,
}

/// What is known of a process.
enum State {
    Runs(Option<u64>),
    Ended,
    Unknown,
}

impl ProcessMark {
    /// Returns the mark of this process; `None` where the system does not tell.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Returns the mark of a process that runs.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let State::Runs(started) = state(pid) else { return None };
        Some(Self { pid, started, namespace: namespace()?.to_owned() })
    }

    /// Returns its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs for certain, and this process sees it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_seen()
            && matches!(state(self.pid), State::Runs(started) if started.is_some() && started == self.started)
    }

    /// Whether it has ended for certain: it was one that this process would see. What cannot be found out is not certain.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_seen()
            && match state(self.pid) {
                State::Ended => true,
                State::Runs(Some(started)) => self.started.is_some_and(|own| own != started),
                State::Runs(None) | State::Unknown => false,
            }
    }

    fn is_seen(&self) -> bool {
        namespace() == Some(&self.namespace)
    }
}

/// What is known of a process. One that has ended and was not waited for does not run.
fn state(pid: u32) -> State {
    let Some(number) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else {
        return State::Unknown;
    };
    match rustix::process::test_kill_process(number) {
        Err(rustix::io::Errno::SRCH) => State::Ended,
        // Of another user: it is there.
        Ok(()) | Err(rustix::io::Errno::PERM) => match stat(pid) {
            Some(("Z" | "X", _)) => State::Ended,
            Some((_, started)) => State::Runs(Some(started)),
            None => State::Runs(None),
        },
        Err(_) => State::Unknown,
    }
}

/// Whether it is a zombie, and when it was started.
fn stat(pid: u32) -> Option<(&'static str, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name stands in brackets and may hold some itself.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = match fields.next()? {
        "Z" => "Z",
        "X" => "X",
        _ => "",
    };
    // The 22nd of all fields; the state is the third.
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_when_its_number_is_free_or_somebody_elses() {
        let own = ProcessMark::own().unwrap();
        assert!(own.is_running() && !own.has_ended());
        assert!(ProcessMark { started: own.started.map(|at| at + 1), ..own.clone() }.has_ended());
        // Of a container nobody can tell, nor without the time of its start.
        assert!(!ProcessMark { namespace: "another".into(), started: Some(1), ..own.clone() }.has_ended());
        let unsure = ProcessMark { started: None, ..own };
        assert!(!unsure.has_ended() && !unsure.is_running());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mark = ProcessMark::of(child.id()).unwrap();
        assert!(mark.is_running() && !mark.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!mark.is_running() && mark.has_ended());
    }
}
