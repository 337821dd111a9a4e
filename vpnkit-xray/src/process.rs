//! The process of a managed Xray.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::environment;
use crate::guard::Guard;

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

/// A running Xray. It dies with this value, and with the process that holds it.
#[derive(Debug)]
pub(crate) struct Process {
    stop: Option<Sender<()>>,
    exit: watch::Receiver<Option<String>>,
}

impl Process {
    /// Starts `binary run -c config` in the directory of the config.
    ///
    /// The child is started by a thread of its own that lives as long as the child: the kernel is asked (through
    /// `setpriv`) to kill the child when that thread ends, which is also when the whole process is killed. Where the
    /// kernel may not do it, a [`Guard`] does.
    pub(crate) async fn spawn(binary: &Path, config: &Path, splice: bool, log: Arc<Log>) -> Result<Self> {
        let bound = bound_to_owner().await;
        let guarded = Guard::is_needed(bound);
        let mut command = match bound {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).arg(binary);
                command
            }
            false => Command::new(binary),
        };
        command
            .arg("run")
            .arg("-c")
            .arg(config)
            .env_clear()
            .envs(environment::passed_on())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
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
            Ok(child) => {
                let guard = guarded.then(|| Guard::of(child.id())).transpose().unwrap_or_else(|e| {
                    tracing::warn!(error = %e, "Xray outlives this process if it is killed");
                    None
                });
                let _ = ready.send(Ok(()));
                let reason = follow(child, &log, &stopped);
                if let Some(guard) = guard {
                    guard.dismiss();
                }
                let _ = tell.send(Some(reason));
            }
            Err(e) => {
                let _ = ready.send(Err(e));
            }
        };
        let fault = |message: &str, e: std::io::Error| {
            Error::new(ErrorKind::PermissionDenied, "xray.start", message)
                .with("binary", binary.display())
                .caused_by(e)
        };
        thread::Builder::new()
            .name("vpnkit-xray".to_owned())
            .spawn(body)
            .map_err(|e| fault("a thread could not be started", e))?;
        match started.await {
            Ok(Ok(())) => Ok(Self { stop: Some(stop), exit }),
            Ok(Err(e)) => Err(fault("the program cannot be started", e)),
            Err(_) => Err(Error::new(ErrorKind::Unexpected, "xray.start", "the thread ended")),
        }
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
    pub(crate) async fn stop(mut self) {
        self.stop.take();
        self.exited().await;
    }
}

/// Runs in the thread until the child has ended and all its lines are read.
fn follow(mut child: Child, log: &Arc<Log>, stopped: &Receiver<()>) -> String {
    let readers = [
        child.stdout.take().map(|pipe| read(Box::new(pipe), log)),
        child.stderr.take().map(|pipe| read(Box::new(pipe), log)),
    ];
    let mut stopping = false;
    let status = loop {
        match child.try_wait() {
            Ok(None) if stopping => {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(None) => {
                if stopped.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
                    // Xray has nothing to flush: it drops its connections either way.
                    stopping = child.kill().is_ok();
                }
            }
            Ok(Some(status)) => break status.to_string(),
            Err(e) => break e.to_string(),
        }
    };
    for reader in readers.into_iter().flatten().flatten() {
        let _ = reader.join();
    }
    status
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
