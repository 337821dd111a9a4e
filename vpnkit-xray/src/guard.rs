//! Kills a child when its owner has died, where the kernel does not do it.
//!
//! The kernel forgets the wish to die with a parent when a process that is not root executes a program with file
//! capabilities, as they are set on Xray to let it listen on port 443. So a shell waits for the end of a pipe that only the
//! owner holds open.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Ends when a line comes; kills when the pipe ends without one.
const SCRIPT: &str = "trap '' INT TERM HUP; read -r line || kill -KILL \"$1\"";

/// A shell that waits for the death of this process.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    /// Whether a child of this process needs one; `bound` says whether the kernel was asked to kill it.
    pub(crate) fn is_needed(bound: bool) -> bool {
        let root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
        !bound || !root
    }

    /// Kills the process `pid` when this process ends.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "vpnkit-guard"])
            .arg(pid.to_string())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
    }

    /// Ends it: the child has ended by itself, and its number may soon be another process's.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"ended\n");
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn it_kills_when_the_pipe_ends_and_not_when_it_is_dismissed() {
        let (mut stays, mut goes) = (sleeper(), sleeper());
        Guard::of(stays.id()).unwrap().dismiss();
        // As when the owner is killed: its end of the pipe is closed, and nothing was written.
        let mut guard = Guard::of(goes.id()).unwrap();
        drop(guard.0.stdin.take());
        guard.0.wait().unwrap();
        goes.wait().unwrap();
        assert_eq!(stays.try_wait().unwrap(), None);
        stays.kill().unwrap();
        stays.wait().unwrap();
    }
}
