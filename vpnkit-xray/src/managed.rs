//! Keeping a managed Xray running.

use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vpnkit_core::backend::{Account, Desired, DesiredState, Fingerprint, ServerState};
use vpnkit_core::model::{Inbound, Network};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account::Names;
use crate::command;
use crate::config::ManagedXray;
use crate::home::Home;
use crate::inner::{Inner, RunningAt};
use crate::process::{Process, Start};
use crate::procfs;
use crate::running::Running;
use crate::server_config::{self, API_TAG};

const OP: &str = "xray.start";
/// A config with 100,000 users is ready after a second.
const READY: Duration = Duration::from_secs(20);
/// How long a process that was found running may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// A process that has lived so long was healthy: the next restart is immediate.
const HEALTHY: Duration = Duration::from_secs(10);
const SLOWEST_RESTART: Duration = Duration::from_secs(30);
/// How long one that is to be replaced waits to be read: what it has counted would be lost.
const LAST_READING: Duration = Duration::from_secs(30);

/// Keeps one Xray running.
pub(crate) struct Keeper {
    pub(crate) inner: Arc<Inner>,
    pub(crate) config: ManagedXray,
    pub(crate) home: Arc<Home>,
    pub(crate) socket: PathBuf,
    pub(crate) desired: Arc<dyn Desired>,
    pub(crate) version: String,
}

/// A running process, and whether it is what is wanted.
struct Found {
    process: Process,
    /// It was started with another configuration, or ends with another process: it is replaced once it was read.
    outdated: bool,
}

impl Keeper {
    /// Takes over the Xray that runs, or starts one, and again whenever it ends, until the backend is stopped. `first` gets the
    /// outcome of the first start.
    pub(crate) async fn supervise(self, first: oneshot::Sender<Result<()>>) {
        let stop = self.inner.stop();
        let mut first = Some(first);
        let mut pause = Duration::from_millis(100);
        // At first, and after a start that failed, Xray is asked what it thinks of the config.
        let mut suspicious = true;
        loop {
            let started = Instant::now();
            // Each time: what is thought to have ended may run.
            let outcome = match self.adopt().await {
                Some(found) => Ok(found),
                None => {
                    let started = self.start(&stop, suspicious).await;
                    started.map(|process| Found { process, outdated: false })
                }
            };
            suspicious = outcome.is_err();
            if self.home.is_ours() {
                // It holds every key's secrets. Xray has read it, and the next start writes it again.
                let _ = std::fs::remove_file(self.home.config());
            }
            let reason = match outcome {
                Ok(Found { process, outdated }) => {
                    self.inner.set_up();
                    if let Some(first) = first.take() {
                        let _ = first.send(Ok(()));
                    }
                    tokio::select! {
                        () = stop.cancelled() => {
                            self.end(process).await;
                            break;
                        }
                        reason = process.exited() => reason,
                        () = self.was_read(), if outdated => {
                            tracing::info!(server = %self.inner.id, "Xray is started again with what it is configured with now");
                            process.stop().await;
                            continue;
                        }
                    }
                }
                Err(e) => {
                    if let Some(first) = first.take() {
                        let _ = first.send(Err(e));
                        break;
                    }
                    e.to_string()
                }
            };
            tracing::warn!(server = %self.inner.id, %reason, "Xray is down");
            self.inner.state.send_replace(ServerState::Down { reason });
            pause = if started.elapsed() > HEALTHY {
                Duration::from_millis(100)
            } else {
                (pause * 2).min(SLOWEST_RESTART)
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        // And with it the directory.
        *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.inner.state.send_replace(ServerState::Stopped);
    }

    /// Lets the process go, or ends it.
    async fn end(&self, process: Process) {
        let ours = self.home.is_ours();
        let known = || self.inner.running().is_some_and(|running| running.process == process.id);
        // What another process has taken over is its own; what it has not found there is nobody's.
        let leave = match ours {
            true => self.config.keep_running && !self.inner.ends.load(Ordering::Acquire),
            false => {
                process.apart
                    && Running::read(&self.home.directory).is_some_and(|now| now.process == process.id)
            }
        };
        if leave && known() {
            return process.leave().await;
        }
        process.stop().await;
        if self.home.is_ours() {
            Running::forget(&self.home.directory);
            self.home.clear(&self.socket);
        }
    }

    /// Waits until a reading of the process was stored.
    async fn was_read(&self) {
        let mut stored = self.inner.stored.subscribe();
        let _ = tokio::time::timeout(LAST_READING, stored.wait_for(|stored| *stored)).await;
    }

    /// Of everything that Xray is started with, inbounds and accounts aside.
    fn setup(&self) -> Fingerprint {
        let empty = DesiredState::default();
        let config = server_config::render(&self.config, &self.inner.names(), &self.socket, &empty);
        let binary =
            std::fs::canonicalize(&self.config.binary).unwrap_or_else(|_| self.config.binary.clone());
        Fingerprint::of([
            config.to_string().as_bytes(),
            binary.as_os_str().as_encoded_bytes(),
            self.version.as_bytes(),
            if self.config.live_accounting { b"live" } else { b"splice" },
        ])
    }

    /// Takes over the Xray that another process has left running in this directory. What runs there and is not known is ended.
    async fn adopt(&self) -> Option<Found> {
        if !self.home.is_ours() {
            return None;
        }
        let directory = self.home.directory.clone();
        let (running, there) = tokio::task::spawn_blocking(move || {
            let there = procfs::that_run(&directory);
            (Running::read(&directory), there)
        })
        .await
        .ok()?;
        let known = running.filter(|running| running.store == self.desired.store_id());
        let mut adopted = None;
        for process in there {
            let known = known.as_ref().filter(|known| known.process == process);
            if let Some(known) = known
                && let Some(found) = self.take_over(known).await
            {
                adopted = Some(found);
                continue;
            }
            if !self.home.is_ours() {
                return None;
            }
            tracing::warn!(server = %self.inner.id, pid = process.pid(), "an Xray that was left in the directory is ended");
            if let Err(e) = procfs::end(&process).await {
                tracing::warn!(server = %self.inner.id, pid = process.pid(), error = %e, "it does not end");
            }
        }
        adopted
    }

    /// `None` when it does not answer as the process that it should be.
    async fn take_over(&self, known: &Running) -> Option<Found> {
        self.inner.renew_api().ok()?;
        let answers = async {
            let listener = UnixStream::connect(&self.socket).await.ok()?.peer_cred().ok()?.pid();
            if listener.and_then(|pid| u32::try_from(pid).ok()) != Some(known.process.pid()) {
                return None;
            }
            self.inner.api().inbounds().await.ok()
        };
        let there = tokio::time::timeout(ANSWER, answers).await.ok()??;
        for tag in there.keys().filter(|tag| *tag != API_TAG && !known.inbounds.contains_key(*tag)) {
            // It was added in the moment of a crash: the comparison adds it again.
            self.inner.api().remove_inbound(tag).await.ok()?;
        }
        let kept = |(tag, held): (&String, &crate::running::RunningInbound)| {
            (there.get(tag) == Some(&held.kind)).then(|| (tag.clone(), held.clone()))
        };
        self.inner.loaded.adopt(known.inbounds.iter().filter_map(kept));
        let keeps_running = self.config.keep_running;
        let outdated = known.setup != self.setup() || !known.keeps_running || !keeps_running;
        let process = Process::adopt(known.process.clone(), self.home.log(), Arc::clone(&self.inner.log));
        self.inner.stored.send_replace(false);
        *self.inner.last_reading.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.set_running(known.clone());
        self.inner.remember().await;
        tracing::info!(server = %self.inner.id, pid = known.process.pid(), outdated, "a running Xray was taken over");
        Some(Found { process: process.ok()?, outdated })
    }

    fn set_running(&self, running: Running) {
        let at = RunningAt { home: Arc::clone(&self.home), running };
        *self.inner.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    /// Errors: `InUse` when another process has taken the directory over.
    fn still_ours(&self) -> Result<()> {
        match self.home.is_ours() {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::InUse, OP, "another process has taken the directory over")
                .with("directory", self.home.directory.display())),
        }
    }

    /// One start, from the store's truth to an API that answers.
    async fn start(&self, stop: &CancellationToken, suspicious: bool) -> Result<Process> {
        let Self { inner, config, home, socket, desired, .. } = self;
        // Of a process that has lost its lease nothing is started.
        let mut state = desired.desired().await?;
        // One that cannot listen is left out: the comparison that follows tries it again, and tells.
        let mut free = Vec::with_capacity(state.inbounds.len());
        for (inbound, accounts) in state.inbounds {
            match port_is_free(&inbound).await {
                Ok(()) => free.push((inbound, accounts)),
                Err(e) => tracing::warn!(server = %inner.id, error = %e, "an inbound is left out"),
            }
        }
        state.inbounds = free;
        self.still_ours()?;
        home.clear(socket);
        Running::forget(&home.directory);
        home.write(config, &inner.names(), socket, &state)?;
        if suspicious && let Err(whole) = command::test(&config.binary, &home.config()).await {
            let known = state.inbounds.len();
            state.inbounds = accepted(config, home, &inner.names(), socket, state.inbounds).await;
            if state.inbounds.len() == known {
                return Err(whole);
            }
            home.write(config, &inner.names(), socket, &state)?;
            command::test(&config.binary, &home.config()).await?;
        }
        let start = Start {
            binary: &config.binary,
            config: &home.config(),
            splice: !config.live_accounting,
            log_to: config.keep_running.then(|| home.log()),
        };
        // A process that was frozen finds out here, and not only at first.
        self.still_ours()?;
        let process = Process::spawn(start, Arc::clone(&inner.log)).await?;
        if let Err(e) = self.still_ours() {
            process.stop().await;
            return Err(e);
        }
        inner.loaded.replace(state.inbounds.into_iter().map(|(inbound, _)| inbound));
        self.set_running(Running {
            store: desired.store_id().to_owned(),
            process: process.id.clone(),
            epoch: uuid::Uuid::new_v4().to_string(),
            setup: self.setup(),
            keeps_running: config.keep_running,
            inbounds: inner.loaded.ours(),
        });
        inner.remember().await;
        inner.renew_api()?;
        let ready = async {
            while inner.api().system().await.is_err() {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::select! {
            () = ready => Ok(process),
            reason = process.exited() => {
                let lines = inner.log.newest(20);
                let line = lines.iter().rev().find(|line| line.contains("Failed")).or(lines.last()).cloned();
                Err(command::refused(OP, "Xray ended at once", &line.unwrap_or(reason)))
            }
            () = tokio::time::sleep(READY) => {
                process.stop().await;
                Err(Error::new(ErrorKind::Timeout, OP, "Xray's API does not answer"))
            }
            () = stop.cancelled() => {
                process.stop().await;
                Err(Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))
            }
        }
    }
}

/// The inbounds that Xray accepts, each judged by itself: the others are left out, and tried again by the comparison that
/// follows, which tells.
async fn accepted(
    config: &ManagedXray,
    home: &Home,
    names: &Names,
    socket: &Path,
    inbounds: Vec<(Arc<Inbound>, Vec<Account>)>,
) -> Vec<(Arc<Inbound>, Vec<Account>)> {
    let mut accepted = Vec::with_capacity(inbounds.len());
    for (inbound, accounts) in inbounds {
        let alone =
            DesiredState { inbounds: vec![(Arc::clone(&inbound), Vec::new())], ..DesiredState::default() };
        let judged = async {
            home.write(config, names, socket, &alone)?;
            command::test(&config.binary, &home.config()).await
        };
        match judged.await {
            Ok(()) => accepted.push((inbound, accounts)),
            Err(e) => tracing::warn!(inbound = %inbound.tag, error = %e, "an inbound is left out"),
        }
    }
    accepted
}

/// How long a port that seems to be in use is looked at again: a program that another thread of this process starts holds
/// every socket of it, a probe's too, between fork and exec.
const FORKS: Duration = Duration::from_millis(500);

/// Xray only tells of a port in use after it was started.
pub(crate) async fn port_is_free(inbound: &Inbound) -> Result<()> {
    const AGAIN: Duration = Duration::from_millis(20);
    let address: (IpAddr, u16) = (inbound.listen, inbound.port);
    let bind = || {
        inbound.networks().iter().try_for_each(|network| match network {
            Network::Tcp => TcpListener::bind(address).map(drop),
            Network::Udp => UdpSocket::bind(address).map(drop),
        })
    };
    let begun = Instant::now();
    let bound = loop {
        match bind() {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && begun.elapsed() < FORKS => {
                tokio::time::sleep(AGAIN).await;
            }
            bound => break bound,
        }
    };
    match bound {
        Ok(()) => Ok(()),
        Err(e) => {
            let (kind, message) = match e.kind() {
                std::io::ErrorKind::AddrInUse => {
                    (ErrorKind::PortInUse, "another program listens on the port")
                }
                std::io::ErrorKind::PermissionDenied => {
                    (ErrorKind::PermissionDenied, "ports below 1024 need CAP_NET_BIND_SERVICE")
                }
                _ => (ErrorKind::InvalidInput, "the address cannot be listened on"),
            };
            Err(Error::new(kind, OP, message)
                .with("inbound", &inbound.tag)
                .with("listen", inbound.listen)
                .with("port", inbound.port)
                .caused_by(e))
        }
    }
}
