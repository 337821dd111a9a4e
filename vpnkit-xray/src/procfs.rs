//! Processes of this machine as the kernel tells of them.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use vpnkit_core::machine::ProcessMark;

fn number(process: &ProcessMark) -> Option<Pid> {
    Pid::from_raw(i32::try_from(process.pid()).ok()?)
}

/// Kills a process, and no other one that has got its number meanwhile.
pub(crate) fn kill(process: &ProcessMark) -> io::Result<()> {
    let Some(number) = number(process) else { return Ok(()) };
    let opened = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    // The number may have been given again before the process was opened.
    if !process.is_running() {
        return Ok(());
    }
    match pidfd_send_signal(&opened, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Takes the end of a process in, if it is a child of this one that nobody waits for.
pub(crate) fn reap(process: &ProcessMark) {
    if let Some(number) = number(process) {
        let _ = waitpid(Some(number), WaitOptions::NOHANG);
    }
}

/// Kills a process and returns when it is gone.
pub(crate) async fn end(process: &ProcessMark) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(10);
    kill(process)?;
    let gone = async {
        while process.is_running() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
    reap(process);
    Ok(())
}

/// The processes that run `… run -c DIRECTORY/config.json`, whatever the directory is called in their command line, in this mount:
/// containers have other ones of the same name.
pub(crate) fn that_run(directory: &Path) -> Vec<ProcessMark> {
    let Some(home) = place(directory) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| runs_config(*pid) && is_in(*pid, home)).filter_map(ProcessMark::of).collect()
}

fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|of| (of.dev(), of.ino()))
}

fn runs_config(pid: u32) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let runs =
        |three: &[&[u8]]| matches!(three, [b"run", b"-c", config] if config.ends_with(b"/config.json"));
    words.windows(3).any(runs) && !words.contains(&b"-test".as_slice())
}

/// Whether a process of this user works in a directory.
fn is_in(pid: u32, home: (u64, u64)) -> bool {
    match std::fs::metadata(format!("/proc/{pid}/cwd")) {
        Ok(of) => (of.dev(), of.ino()) == home,
        // Of a program with capabilities the kernel does not tell where it works, but whose it is.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            let owner = |path: String| std::fs::metadata(path).ok().map(|of| of.uid());
            let real = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let real = real
                .lines()
                .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok());
            real.is_some() && real == owner("/proc/self".to_owned())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    #[allow(clippy::zombie_processes, reason = "that nobody waits is what is tested")]
    async fn a_process_is_ended_and_its_end_taken_in() {
        let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mark = ProcessMark::of(child.id()).unwrap();
        end(&mark).await.unwrap();
        assert!(mark.has_ended());
        assert!(!Path::new(&format!("/proc/{}", child.id())).exists());
        // It was somebody else's number by now.
        kill(&mark).unwrap();
    }

    #[test]
    fn processes_are_found_by_their_config_and_directory() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = here.path().join("config.json");
        // It waits for a line that never comes, by itself: no child of it is left when it is killed.
        let waiter = |directory: &Path| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "read line", "run", "-c"]).arg(&config).current_dir(directory);
            command.stdin(std::process::Stdio::piped()).spawn().unwrap()
        };
        let (mut ours, mut theirs) = (waiter(here.path()), waiter(there.path()));
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let found = loop {
            let found: Vec<u32> = that_run(here.path()).iter().map(ProcessMark::pid).collect();
            if !found.is_empty() || std::time::Instant::now() > deadline {
                break found;
            }
        };
        assert_eq!(found, [ours.id()]);
        for child in [&mut ours, &mut theirs] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
