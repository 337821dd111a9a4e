//! The process of a managed Xray.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use tokio::sync::{oneshot, watch};
use vpnkit_core::machine::ProcessMark;
use vpnkit_core::{Error, ErrorKind, Result};

use crate::environment;
use crate::guard::Guard;
use crate::procfs;

/// Lines that are kept.
const LINES: usize = 2_000;
/// How soon an exit is noticed.
const LOOK: Duration = Duration::from_millis(50);

/// The newest lines that Xray has written.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<VecDeque<String>>);

impl Log {
    fn push(&self, line: String) {
        let line = without_uuids(&line);
        tracing::debug!(target: "vpnkit::xray", "{line}");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The newest `count`, oldest first. They hold what customers have sent.
    pub(crate) fn newest(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }
}

/// Where an Xray writes its log when it runs on without the process that has started it: a pipe with a name. The kernel keeps what
/// nobody reads of it to 64 KiB, and Xray drops lines then: what customers cause is logged, and would fill a disk.
pub(crate) const LOG: &str = "xray.log";
/// Where it writes why it has crashed. It is begun again at each start.
pub(crate) const CRASH: &str = "xray.crash";
/// So much of a log is read at once.
const READ_AT_ONCE: u64 = 64 << 10;

/// How the thread is told to end.
enum Ending {
    /// The process is killed.
    Kill,
    /// The process goes on.
    Leave,
}

/// What is started, and how.
pub(crate) struct Start<'s> {
    pub(crate) binary: &'s Path,
    pub(crate) config: &'s Path,
    /// Bytes may go through the kernel alone.
    pub(crate) splice: bool,
    /// It runs on when this process ends, and writes its log there.
    pub(crate) log_to: Option<PathBuf>,
}

impl Start<'_> {
    fn arguments<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.arg("run").arg("-c").arg(self.config).env_clear().envs(environment::passed_on());
        command.stdin(Stdio::null());
        if !self.splice {
            command.env("XRAY_BUF_SPLICE", "disable");
        }
        if let Some(directory) = self.config.parent() {
            command.current_dir(directory);
        }
        command
    }

    fn fault(&self, message: &str, e: std::io::Error) -> Error {
        Error::new(ErrorKind::PermissionDenied, "xray.start", message)
            .with("binary", self.binary.display())
            .caused_by(e)
    }
}

/// A running Xray. It dies with this value, and with the process that holds it, unless it was started to run on.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessMark,
    stop: Option<Sender<Ending>>,
    exit: watch::Receiver<Option<String>>,
    /// It is no child of this process.
    pub(crate) apart: bool,
}

impl Process {
    /// Starts `binary run -c config` in the directory of the config.
    pub(crate) async fn spawn(start: Start<'_>, log: Arc<Log>) -> Result<Self> {
        match start.log_to.clone() {
            Some(log_at) => Self::spawn_apart(&start, log_at, log).await,
            None => Self::spawn_bound(&start, log).await,
        }
    }

    /// The child is started by a thread of its own that lives as long as the child: the kernel is asked (through
    /// `setpriv`) to kill the child when that thread ends, which is also when the whole process is killed. Where the
    /// kernel may not do it, a [`Guard`] does.
    async fn spawn_bound(start: &Start<'_>, log: Arc<Log>) -> Result<Self> {
        let bound = bound_to_owner().await;
        let guarded = Guard::is_needed(bound);
        let mut command = match bound {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(start.binary);
                command
            }
            false => Command::new(start.binary),
        };
        start.arguments(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal is for the owner, who then stops Xray in order.
        command.process_group(0);
        let (stop, stopped) = channel();
        let (tell, exit) = watch::channel(None);
        let (ready, started) = oneshot::channel();
        let body = move || match command.spawn() {
            Ok(mut child) => {
                let guard = guarded.then(|| Guard::of(child.id())).transpose().unwrap_or_else(|e| {
                    tracing::warn!(error = %e, "Xray outlives this process if it is killed");
                    None
                });
                let Some(id) = ProcessMark::of(child.id()) else {
                    let _ = child.kill();
                    let ended = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
                    let _ = ready.send(Err(std::io::Error::other(ended)));
                    return;
                };
                let _ = ready.send(Ok(id));
                let reason = follow(Followed::Child(child), None, &log, &stopped);
                if let Some(guard) = guard {
                    guard.dismiss();
                }
                let _ = tell.send(Some(reason));
            }
            Err(e) => {
                let _ = ready.send(Err(e));
            }
        };
        thread::Builder::new()
            .name("vpnkit-xray".to_owned())
            .spawn(body)
            .map_err(|e| start.fault("a thread could not be started", e))?;
        match started.await {
            Ok(Ok(id)) => Ok(Self { id, stop: Some(stop), exit, apart: false }),
            Ok(Err(e)) => Err(start.fault("the program cannot be started", e)),
            Err(_) => Err(Error::new(ErrorKind::Unexpected, "xray.start", "the thread ended")),
        }
    }

    /// It runs on when this process ends, so it is no child of it: what ends this process with all its children, as PM2 does, is
    /// not to end it, and nobody has to wait for its end.
    async fn spawn_apart(start: &Start<'_>, log_at: PathBuf, log: Arc<Log>) -> Result<Self> {
        const LIMIT: Duration = Duration::from_secs(5);
        /// After that it has ended.
        const APPEARS: Duration = Duration::from_secs(1);
        let directory = start.config.parent().unwrap_or(Path::new("/")).to_owned();
        let there = {
            let directory = directory.clone();
            move || procfs::that_run(&directory)
        };
        let before = tokio::task::spawn_blocking(there.clone()).await.unwrap_or_default();
        let crash = log_at.with_file_name(CRASH);
        let files = pipe(&log_at).and_then(|out| Ok((out, begin(&crash)?)));
        let (out, err) = files.map_err(|e| start.fault("its log cannot be written", e))?;
        let mut command = Command::new("bash");
        command.args(["-c", CLOSE_OTHERS, "vpnkit-start", "setsid", "--fork"]).arg(start.binary);
        start.arguments(&mut command);
        command.stdout(out).stderr(err);
        let status = tokio::process::Command::from(command).status();
        let status = match tokio::time::timeout(LIMIT, status).await {
            Ok(status) => status.map_err(|e| start.fault("the program cannot be started", e))?,
            Err(_) => return Err(Error::new(ErrorKind::Timeout, "xray.start", "the program does not start")),
        };
        if !status.success() {
            return Err(
                start.fault("the program cannot be started", std::io::Error::other(status.to_string()))
            );
        }
        // In the moment in which it becomes Xray it has no command line.
        let begun = Instant::now();
        let found = loop {
            let now = tokio::task::spawn_blocking(there.clone()).await.unwrap_or_default();
            let found = now.into_iter().find(|id| !before.contains(id));
            if found.is_some() || begun.elapsed() > APPEARS {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        match found {
            Some(id) => Self::adopt(id, log_at, log),
            None => {
                Tail::open(&log_at).read(&log);
                let crashed = std::fs::read_to_string(&crash).unwrap_or_default();
                let line = log.newest(1).pop().or(crashed.lines().last().map(str::to_owned));
                Err(crate::command::refused("xray.start", "Xray ended at once", &line.unwrap_or_default()))
            }
        }
    }

    /// Follows a process that another one has started.
    pub(crate) fn adopt(id: ProcessMark, log_at: PathBuf, log: Arc<Log>) -> Result<Self> {
        let (stop, stopped) = channel();
        let (tell, exit) = watch::channel(None);
        let followed = id.clone();
        let body = move || {
            let tail = Tail::open(&log_at);
            let reason = follow(Followed::Apart(followed), Some(tail), &log, &stopped);
            let _ = tell.send(Some(reason));
        };
        thread::Builder::new().name("vpnkit-xray".to_owned()).spawn(body).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "xray.start", "a thread could not be started").caused_by(e)
        })?;
        Ok(Self { id, stop: Some(stop), exit, apart: true })
    }

    /// Waits for the end and tells how it came.
    pub(crate) async fn exited(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the thread ended".to_owned(),
        }
    }

    /// Stops it and returns when it is gone.
    pub(crate) async fn stop(self) {
        self.tell(Ending::Kill).await;
    }

    /// Lets it run on without this process.
    pub(crate) async fn leave(self) {
        self.tell(Ending::Leave).await;
    }

    async fn tell(mut self, ending: Ending) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(ending);
        }
        self.exited().await;
    }
}

/// A process that a thread follows.
enum Followed {
    Child(Child),
    /// No child of this process.
    Apart(ProcessMark),
}

impl Followed {
    /// How it has ended; `None` while it runs.
    fn ended(&mut self) -> Option<String> {
        match self {
            Self::Child(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(status.to_string()),
                Err(e) => Some(e.to_string()),
            },
            Self::Apart(id) if !id.has_ended() => None,
            Self::Apart(id) => {
                procfs::reap(id);
                Some("the process has ended".to_owned())
            }
        }
    }

    fn kill(&mut self) -> bool {
        match self {
            Self::Child(child) => child.kill().is_ok(),
            Self::Apart(id) => procfs::kill(id).is_ok(),
        }
    }
}

/// Runs in the thread until the process has ended and all its lines are read, or until it is left alone.
fn follow(
    mut followed: Followed,
    mut tail: Option<Tail>,
    log: &Arc<Log>,
    stopped: &Receiver<Ending>,
) -> String {
    let readers = match &mut followed {
        Followed::Child(child) => [
            child.stdout.take().map(|pipe| read(Box::new(pipe), log)),
            child.stderr.take().map(|pipe| read(Box::new(pipe), log)),
        ],
        Followed::Apart(_) => [None, None],
    };
    let mut stopping = false;
    let status = loop {
        if let Some(tail) = &mut tail {
            tail.read(log);
        }
        if let Some(status) = followed.ended() {
            break status;
        }
        if stopping {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        match stopped.recv_timeout(LOOK) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Ending::Leave) => return "it runs on".to_owned(),
            // Whoever held it is gone without a word.
            Err(RecvTimeoutError::Disconnected) if tail.is_some() => return "it runs on".to_owned(),
            // Xray has nothing to flush: it drops its connections either way.
            Ok(Ending::Kill) | Err(RecvTimeoutError::Disconnected) => stopping = followed.kill(),
        }
    };
    if let Some(tail) = &mut tail {
        tail.read(log);
    }
    for reader in readers.into_iter().flatten().flatten() {
        let _ = reader.join();
    }
    status
}

/// Closes what this process has inherited or has open for its other children: a socket that a web server shares with its workers would
/// stay open in Xray.
const CLOSE_OTHERS: &str =
    "for f in /proc/$$/fd/*; do n=${f##*/}; [ \"$n\" -le 2 ] || eval \"exec $n>&-\"; done; exec \"$@\"";

/// Opens the pipe that Xray writes its log to. Xray itself has its reading end too, so that it never breaks.
fn pipe(path: &Path) -> std::io::Result<File> {
    let is_pipe = std::fs::symlink_metadata(path).map(|of| of.file_type().is_fifo());
    if !matches!(is_pipe, Ok(true)) {
        let _ = std::fs::remove_file(path);
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    }
    open(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file of this process alone, and empties it.
fn begin(path: &Path) -> std::io::Result<File> {
    let file = open(OpenOptions::new().write(true).create(true).mode(0o600), path)?;
    file.set_len(0)?;
    Ok(file)
}

/// Not through a link: the directory may have been somebody else's.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> std::io::Result<File> {
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// Reads a log as it grows.
struct Tail {
    pipe: Option<File>,
    rest: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> Self {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        Self { pipe: OpenOptions::new().read(true).custom_flags(flags).open(path).ok(), rest: Vec::new() }
    }

    fn read(&mut self, log: &Log) {
        let Some(pipe) = &mut self.pipe else { return };
        // What is there; it does not wait for more.
        let _ = pipe.take(READ_AT_ONCE).read_to_end(&mut self.rest);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.rest.split_off(end + 1);
        for line in std::mem::replace(&mut self.rest, rest).split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                log.push(String::from_utf8_lossy(line).trim_end().to_owned());
            }
        }
    }
}

fn read(pipe: Box<dyn Read + Send>, log: &Arc<Log>) -> Option<thread::JoinHandle<()>> {
    let log = Arc::clone(log);
    let body = move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    };
    thread::Builder::new().name("vpnkit-xray-log".to_owned()).spawn(body).ok()
}

/// Xray writes the id of an account into some of its lines: it is its secret.
fn without_uuids(line: &str) -> String {
    const LENGTH: usize = 36;
    let is_uuid = |part: &[u8]| {
        part.iter().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let (mut clean, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(place) = rest.as_bytes().windows(LENGTH).position(is_uuid) {
        let (before, after) = rest.split_at(place);
        clean.push_str(before);
        clean.push_str("[uuid]");
        rest = after.get(LENGTH..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// Whether `setpriv` can tie a child's life to ours.
async fn bound_to_owner() -> bool {
    let probe = tokio::process::Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    matches!(tokio::time::timeout(Duration::from_secs(5), probe).await, Ok(Ok(status)) if status.success())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn ids_of_accounts_are_not_kept() {
        let id = "b831381d-6324-4d53-ad4f-8cda48b30811";
        assert_eq!(without_uuids(&format!("account {id} flow {id}.")), "account [uuid] flow [uuid].");
        assert_eq!(without_uuids("2026/11/26 ünïcode b831381d-6324"), "2026/11/26 ünïcode b831381d-6324");
    }

    #[test]
    fn a_log_that_nobody_reads_is_bounded_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOG);
        std::fs::write(directory.path().join("theirs"), "kept").unwrap();
        std::os::unix::fs::symlink(directory.path().join("theirs"), &path).unwrap();
        let mut xray = pipe(&path).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("theirs")).unwrap(), "kept");
        let (log, mut tail) = (Log::default(), Tail::open(&path));
        tail.read(&log);
        assert!(log.newest(9).is_empty());
        xray.write_all(b"one\ntwo\nthr").unwrap();
        tail.read(&log);
        xray.write_all(b"ee\n").unwrap();
        tail.read(&log);
        assert_eq!(log.newest(9), ["one", "two", "three"]);
        std::os::unix::fs::symlink(directory.path().join("theirs"), directory.path().join(CRASH)).unwrap();
        assert!(begin(&directory.path().join(CRASH)).is_err());
    }
}
