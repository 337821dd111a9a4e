//! The process of a managed Xray.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

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
        tracing::debug!(target: "vpnkit::xray", "{line}");
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// The newest `count`, oldest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }
}

/// The file that an Xray writes its log to when it runs on without the process that has started it.
pub(crate) const LOG: &str = "xray.log";
/// A log that has got larger is begun again.
const LONGEST: u64 = 8 << 20;

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

/// A running Xray. It dies with this value, and with the process that holds it, unless it was started to run on.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: ProcessMark,
    stop: Option<Sender<Ending>>,
    exit: watch::Receiver<Option<String>>,
}

impl Process {
    /// Starts `binary run -c config` in the directory of the config.
    ///
    /// The child is started by a thread of its own that lives as long as the child: the kernel is asked (through
    /// `setpriv`) to kill the child when that thread ends, which is also when the whole process is killed. Where the
    /// kernel may not do it, a [`Guard`] does. A process that is to run on has neither.
    pub(crate) async fn spawn(start: Start<'_>, log: Arc<Log>) -> Result<Self> {
        let Start { binary, config, splice, log_to } = start;
        let fault = |message: &str, e: std::io::Error| {
            Error::new(ErrorKind::PermissionDenied, "xray.start", message)
                .with("binary", binary.display())
                .caused_by(e)
        };
        let bound = log_to.is_none() && bound_to_owner().await;
        let guarded = log_to.is_none() && Guard::is_needed(bound);
        let mut command = match bound {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
                command
            }
            false => Command::new(binary),
        };
        command.arg("run").arg("-c").arg(config).env_clear().envs(environment::passed_on());
        command.stdin(Stdio::null());
        let tail = match &log_to {
            None => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                None
            }
            Some(path) => {
                // Not a pipe: it would break with this process.
                let written = log_file(path).map_err(|e| fault("its log cannot be written", e))?;
                let again = written.try_clone().map_err(|e| fault("its log cannot be written", e))?;
                command.stdout(written).stderr(again);
                Some(Tail::new(path.clone(), u64::MAX))
            }
        };
        // Ctrl-C in a terminal is for the owner, who then stops Xray in order.
        command.process_group(0);
        if !splice {
            command.env("XRAY_BUF_SPLICE", "disable");
        }
        if let Some(directory) = config.parent() {
            command.current_dir(directory);
        }
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
                    let ended = child.wait().map_or_else(|e| e.to_string(), |status| status.to_string());
                    let _ = ready.send(Err(std::io::Error::other(ended)));
                    return;
                };
                let _ = ready.send(Ok(id));
                let keeps_running = tail.is_some();
                let reason = follow(Followed::Child(child), tail, keeps_running, &log, &stopped);
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
            .map_err(|e| fault("a thread could not be started", e))?;
        match started.await {
            Ok(Ok(id)) => Ok(Self { id, stop: Some(stop), exit }),
            Ok(Err(e)) => Err(fault("the program cannot be started", e)),
            Err(_) => Err(Error::new(ErrorKind::Unexpected, "xray.start", "the thread ended")),
        }
    }

    /// Follows a process that another one has started.
    pub(crate) fn adopt(
        id: ProcessMark,
        log_at: PathBuf,
        keeps_running: bool,
        log: Arc<Log>,
    ) -> Result<Self> {
        /// So much of what it has written before is read.
        const BEFORE: u64 = 64 << 10;
        let (stop, stopped) = channel();
        let (tell, exit) = watch::channel(None);
        let followed = id.clone();
        let body = move || {
            let tail = Some(Tail::new(log_at, BEFORE));
            let reason = follow(Followed::Adopted(followed), tail, keeps_running, &log, &stopped);
            let _ = tell.send(Some(reason));
        };
        thread::Builder::new().name("vpnkit-xray".to_owned()).spawn(body).map_err(|e| {
            Error::new(ErrorKind::Unexpected, "xray.start", "a thread could not be started").caused_by(e)
        })?;
        Ok(Self { id, stop: Some(stop), exit })
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
    Adopted(ProcessMark),
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
            Self::Adopted(id) if id.is_running() => None,
            Self::Adopted(id) => {
                procfs::reap(id);
                Some("the process has ended".to_owned())
            }
        }
    }

    fn kill(&mut self) -> bool {
        match self {
            Self::Child(child) => child.kill().is_ok(),
            Self::Adopted(id) => procfs::kill(id).is_ok(),
        }
    }
}

/// Runs in the thread until the process has ended and all its lines are read, or until it is left alone.
fn follow(
    mut followed: Followed,
    mut tail: Option<Tail>,
    keeps_running: bool,
    log: &Arc<Log>,
    stopped: &Receiver<Ending>,
) -> String {
    let readers = match &mut followed {
        Followed::Child(child) => [
            child.stdout.take().map(|pipe| read(Box::new(pipe), log)),
            child.stderr.take().map(|pipe| read(Box::new(pipe), log)),
        ],
        Followed::Adopted(_) => [None, None],
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
            Err(RecvTimeoutError::Disconnected) if keeps_running => return "it runs on".to_owned(),
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

/// Opens the log that Xray writes by itself.
fn log_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Reads a log as it grows.
struct Tail {
    path: PathBuf,
    place: u64,
    rest: Vec<u8>,
}

impl Tail {
    /// From `before` bytes before the end on; with the largest number, from the end as it is now.
    fn new(path: PathBuf, before: u64) -> Self {
        let length = std::fs::metadata(&path).map_or(0, |of| of.len());
        let place = if before == u64::MAX { length } else { length.saturating_sub(before) };
        Self { path, place, rest: Vec::new() }
    }

    fn read(&mut self, log: &Log) {
        let Ok(mut file) = File::open(&self.path) else { return };
        let length = file.metadata().map_or(0, |of| of.len());
        if length < self.place {
            self.place = 0;
        }
        if length == self.place || file.seek(SeekFrom::Start(self.place)).is_err() {
            return;
        }
        let Ok(read) = file.read_to_end(&mut self.rest) else { return };
        self.place += u64::try_from(read).unwrap_or(0);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            log.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
        if self.place > LONGEST
            && OpenOptions::new().write(true).open(&self.path).and_then(|f| f.set_len(0)).is_ok()
        {
            self.place = 0;
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
