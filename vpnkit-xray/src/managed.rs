//! Keeping a managed Xray running.

use std::fs::File;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use vpnkit_core::backend::{Account, Desired, DesiredState, ServerState};
use vpnkit_core::model::{Inbound, Network};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account::Names;
use crate::command;
use crate::config::ManagedXray;
use crate::directory_lock::DirectoryLock;
use crate::inner::Inner;
use crate::process::Process;
use crate::server_config;

const OP: &str = "xray.start";
/// A config with 100,000 users is ready after a second.
const READY: Duration = Duration::from_secs(20);
/// A process that has lived so long was healthy: the next restart is immediate.
const HEALTHY: Duration = Duration::from_secs(10);
const SLOWEST_RESTART: Duration = Duration::from_secs(30);

/// The directory of a managed Xray, locked for this process.
#[derive(Debug)]
pub(crate) struct Home {
    directory: PathBuf,
    _lock: DirectoryLock,
}

/// The name of something in the directory that neither vpnkit nor Xray has put there; geodata (`*.dat`) is the operator's.
fn foreign_entry(directory: &Path) -> std::io::Result<Option<String>> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = match name.as_str() {
            "config.json" | "config.json.new" => is_ours(&entry.path()),
            name => {
                let scratch = name.starts_with("vpnkit-") && name.ends_with(".json");
                scratch || [".dat", ".sock", ".sock.lock"].iter().any(|ending| name.ends_with(ending))
            }
        };
        if !ours {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether a config has vpnkit's own inbound. A draft that was cut short by a crash is ours too.
fn is_ours(config: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(config) else { return false };
    text.contains(server_config::API_TAG) || serde_json::from_str::<serde_json::Value>(&text).is_err()
}

impl Home {
    pub(crate) fn lock(directory: &Path) -> Result<Self> {
        let fault = |message: &str, e: std::io::Error| {
            Error::new(ErrorKind::PermissionDenied, OP, message)
                .with("directory", directory.display())
                .caused_by(e)
        };
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| fault("the directory cannot be created", e))?;
        let lock = DirectoryLock::take(directory).map_err(|e| fault("the directory cannot be locked", e))?;
        let Some(lock) = lock else {
            return Err(Error::new(ErrorKind::InUse, OP, "another vpnkit runs an Xray in this directory")
                .with("directory", directory.display())
                .hint("this one takes over when the other ends; a second Xray needs a `name` and a directory of its own"));
        };
        if let Some(foreign) =
            foreign_entry(directory).map_err(|e| fault("the directory cannot be read", e))?
        {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                OP,
                "the directory holds files that are not vpnkit's",
            )
            .with("directory", directory.display())
            .with("file", foreign)
            .hint("a managed Xray needs a directory of its own: name one that is empty or does not exist"));
        }
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| fault("the directory cannot be made private", e))?;
        Ok(Self { directory: directory.to_owned(), _lock: lock })
    }

    fn config(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    /// Temporary file, fsync, rename: a reader of the name finds a whole file.
    fn write(&self, config: &ManagedXray, names: &Names, socket: &Path, state: &DesiredState) -> Result<()> {
        let draft = self.directory.join("config.json.new");
        let _ = std::fs::remove_file(&draft);
        command::write_private(&draft, &server_config::render(config, names, socket, state))?;
        std::fs::rename(&draft, self.config()).and_then(|()| File::open(&self.directory)?.sync_all()).map_err(
            |e| Error::new(ErrorKind::PermissionDenied, OP, "the config cannot be replaced").caused_by(e),
        )
    }

    /// Xray refuses to start on a socket file that is there, and leaves it and its lock when it is killed.
    fn clear(&self, socket: &Path) {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_file(socket.with_extension("sock.lock"));
    }
}

/// Starts Xray, and again whenever it ends, until the token is cancelled. `first` gets the outcome of the first start.
pub(crate) async fn supervise(
    inner: Arc<Inner>,
    config: ManagedXray,
    home: Home,
    socket: PathBuf,
    desired: Arc<dyn Desired>,
    first: oneshot::Sender<Result<()>>,
) {
    let mut first = Some(first);
    let mut pause = Duration::from_millis(100);
    // At first, and after a start that failed, Xray is asked what it thinks of the config.
    let mut suspicious = true;
    loop {
        let started = Instant::now();
        let outcome = start(&inner, &config, &home, &socket, desired.as_ref(), suspicious).await;
        suspicious = outcome.is_err();
        // It holds every key's secrets. Xray has read it, and the next start writes it again.
        let _ = std::fs::remove_file(home.config());
        let reason = match outcome {
            Ok(process) => {
                inner.set_up();
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                tokio::select! {
                    () = inner.stop.cancelled() => {
                        process.stop().await;
                        break;
                    }
                    reason = process.exited() => reason,
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
        tracing::warn!(server = %inner.id, %reason, "Xray is down");
        inner.state.send_replace(ServerState::Down { reason });
        pause = if started.elapsed() > HEALTHY {
            Duration::from_millis(100)
        } else {
            (pause * 2).min(SLOWEST_RESTART)
        };
        tokio::select! {
            () = inner.stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    home.clear(&socket);
    inner.state.send_replace(ServerState::Stopped);
}

/// One start, from the store's truth to an API that answers.
async fn start(
    inner: &Inner,
    config: &ManagedXray,
    home: &Home,
    socket: &Path,
    desired: &dyn Desired,
    suspicious: bool,
) -> Result<Process> {
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
    home.clear(socket);
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
    let process =
        Process::spawn(&config.binary, &home.config(), !config.live_accounting, Arc::clone(&inner.log))
            .await?;
    inner.renew_api()?;
    let ready = async {
        while inner.api().system().await.is_err() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::select! {
        () = ready => {}
        reason = process.exited() => {
            let lines = inner.log.newest(20);
            let line = lines.iter().rev().find(|line| line.contains("Failed")).or(lines.last()).cloned();
            return Err(command::refused(OP, "Xray ended at once", &line.unwrap_or(reason)));
        }
        () = tokio::time::sleep(READY) => {
            process.stop().await;
            return Err(Error::new(ErrorKind::Timeout, OP, "Xray's API does not answer"));
        }
        () = inner.stop.cancelled() => {
            process.stop().await;
            return Err(Error::new(ErrorKind::Closed, OP, "vpnkit is closed"));
        }
    }
    inner.loaded.replace(state.inbounds.into_iter().map(|(inbound, _)| inbound));
    Ok(process)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_foreign_files_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (directory.path(), directory.path().join("config.json"));
        let mode = || std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&file, r#"{ "inbounds": [] }"#).unwrap();
        let error = Home::lock(path).unwrap_err();
        assert_eq!((error.kind(), error.get("file")), (ErrorKind::InvalidConfig, Some("config.json")));
        assert_eq!(
            (mode(), std::fs::read_to_string(&file).unwrap().as_str()),
            (0o755, r#"{ "inbounds": [] }"#)
        );

        // What a vpnkit that was killed has left, also in the middle of a write, is its own.
        for config in [r#"{ "api": { "tag": "vpnkit-api" } }"#, r#"{ "log": { "loglev"#] {
            std::fs::write(&file, config).unwrap();
            for name in ["api.sock", "api.sock.lock", "geoip.dat", "vpnkit-1.json"] {
                std::fs::write(path.join(name), "").unwrap();
            }
            drop(Home::lock(path).unwrap());
            assert_eq!(mode(), 0o700);
        }
        std::fs::write(path.join("keys.db"), "").unwrap();
        assert_eq!(Home::lock(path).unwrap_err().get("file"), Some("keys.db"));
    }
}
