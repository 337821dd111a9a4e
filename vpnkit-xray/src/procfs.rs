//! Processes of this machine as the kernel tells of them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
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

/// Takes the end of a process in, if it has become a child of this one: a bot that is the first process of a container gets all
/// that have lost their parent.
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
    numbers.filter(|pid| runs_in(*pid, home)).filter_map(ProcessMark::of).collect()
}

fn place(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|of| (of.dev(), of.ino()))
}

/// The directory of the config of a command line `… run -c DIRECTORY/config.json`.
fn directory_of(line: &[u8]) -> Option<PathBuf> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    if words.contains(&b"-test".as_slice()) {
        return None;
    }
    let config = words.windows(3).find_map(|three| match three {
        [b"run", b"-c", config] => config.strip_suffix(b"/config.json"),
        _ => None,
    })?;
    Some(PathBuf::from(OsStr::from_bytes(config)))
}

fn runs_in(pid: u32, home: (u64, u64)) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let Some(directory) = directory_of(&line) else { return false };
    match std::fs::metadata(format!("/proc/{pid}/cwd")) {
        Ok(of) => (of.dev(), of.ino()) == home,
        // Of a program with capabilities the kernel does not tell where it works: then what its command line names must be this
        // directory, as this process sees it, and it must be this user's.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            place(&directory) == Some(home) && is_own(pid)
        }
        Err(_) => false,
    }
}

/// Whether a process is of this user.
fn is_own(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse::<u32>().ok());
    uid == Some(rustix::process::getuid().as_raw())
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

    #[test]
    fn a_command_line_names_a_directory() {
        let of = |words: &[&str]| directory_of(words.join("\0").as_bytes());
        assert_eq!(of(&["/bin/xray", "run", "-c", "/var/x/config.json"]), Some("/var/x".into()));
        for other in [
            &["/bin/xray", "run", "-test", "-c", "/var/x/config.json"][..],
            &["/bin/xray", "run", "-c", "/var/x/other.json"],
            &["/bin/xray", "-c", "/var/x/config.json"],
            &["", ""],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }
}
