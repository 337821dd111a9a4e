//! The machine that this process runs on: its name, and its clock, which nobody sets.

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

/// Returns what tells this start of the machine from every other; empty where the system does not say.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
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
    /// When it was started, in ticks of the kernel since the machine was.
    started: u64,
    /// The space that its number is of.
    namespace: String,
    boot: String,
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
        Some(Self { pid, started: started(pid)?, namespace: namespace()?, boot: boot_id() })
    }

    /// Returns its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs for certain, and this process sees it.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.boot == boot_id()
            && namespace().as_ref() == Some(&self.namespace)
            && started(self.pid) == Some(self.started)
    }

    /// Whether it has ended for certain: it was one that this process would see.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        if self.boot != boot_id() {
            return true;
        }
        namespace().as_ref() == Some(&self.namespace) && started(self.pid) != Some(self.started)
    }
}

/// When a process that runs was started; `None` also of one that has ended and was not waited for.
fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name stands in brackets and may hold some itself.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // The 22nd of all fields; the state is the third.
    fields.nth(18)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

fn namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_when_its_number_is_free_or_somebody_elses() {
        let own = ProcessMark::own().unwrap();
        assert!(own.is_running() && !own.has_ended());
        assert!(ProcessMark { started: own.started + 1, ..own.clone() }.has_ended());
        assert!(ProcessMark { boot: "another".into(), ..own.clone() }.has_ended());
        // Of a container nobody can tell.
        assert!(!ProcessMark { namespace: "another".into(), started: 1, ..own }.has_ended());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mark = ProcessMark::of(child.id()).unwrap();
        assert!(mark.is_running() && !mark.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!mark.is_running() && mark.has_ended());
    }
}
