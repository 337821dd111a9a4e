//! The directory of a managed Xray.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use vpnkit_core::backend::DesiredState;
use vpnkit_core::model::ServerId;
use vpnkit_core::{Error, ErrorKind, Result};

use crate::account::Names;
use crate::config::ManagedXray;
use crate::directory_lock::{self, DirectoryLock};
use crate::process::{CRASH, LOG};
use crate::server_config::PREVIOUS_SOCKET;
use crate::{command, running, server_config};

const OP: &str = "xray.start";

/// The directory of a managed Xray, locked for this process.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) directory: PathBuf,
    lock: DirectoryLock,
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
                let kept = [directory_lock::FILE, running::FILE, LOG, CRASH].contains(&name);
                let draft = name.strip_suffix(".new") == Some(running::FILE);
                scratch
                    || kept
                    || draft
                    || [".dat", ".sock", ".sock.lock"].iter().any(|ending| name.ends_with(ending))
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

/// Checks that a directory is this user's.
pub(crate) fn own(directory: &Path) -> std::io::Result<()> {
    let of = std::fs::metadata(directory)?;
    match of.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied)),
    }
}

impl Home {
    /// Locks the directory for a server of a store, and makes it if there is none. Who has lost the server's lease loses the lock
    /// with it.
    pub(crate) fn lock(directory: &Path, store_id: &str, server: &ServerId) -> Result<Self> {
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
        // Before anything is written into it.
        own(directory).map_err(|e| fault("the directory is another user's", e))?;
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
        let lock = DirectoryLock::take(directory, &format!("{store_id} {server}"))
            .map_err(|e| fault("the directory cannot be locked", e))?;
        let Some(lock) = lock else {
            return Err(Error::new(ErrorKind::InUse, OP, "another server, or a vpnkit of another store, runs an Xray in this directory")
                .with("directory", directory.display())
                .hint("this one takes over when the other ends; a second Xray needs a `name` and a directory of its own"));
        };
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| fault("the directory cannot be made private", e))?;
        Ok(Self { directory: directory.to_owned(), lock })
    }

    /// Whether no other process has taken the directory over.
    pub(crate) fn is_ours(&self) -> bool {
        self.lock.is_ours()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("config.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join(LOG)
    }

    /// Temporary file, fsync, rename: a reader of the name finds a whole file.
    pub(crate) fn write(
        &self,
        config: &ManagedXray,
        names: &Names,
        socket: &Path,
        state: &DesiredState,
    ) -> Result<()> {
        let draft = self.directory.join("config.json.new");
        let _ = std::fs::remove_file(&draft);
        command::write_private(&draft, &server_config::render(config, names, socket, state))?;
        std::fs::rename(&draft, self.config()).and_then(|()| File::open(&self.directory)?.sync_all()).map_err(
            |e| Error::new(ErrorKind::PermissionDenied, OP, "the config cannot be replaced").caused_by(e),
        )
    }

    /// Xray refuses to start on a socket file that is there, and leaves it and its lock when it is killed.
    pub(crate) fn clear(&self, socket: &Path) {
        let _ = std::fs::remove_file(socket);
        let _ = std::fs::remove_file(socket.with_extension("sock.lock"));
        clear_previous(&self.directory);
    }
}

/// Removes the sockets of inbounds with previous keys: nothing listens on them any more.
pub(crate) fn clear_previous(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREVIOUS_SOCKET)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn lock(directory: &Path) -> Result<Home> {
        Home::lock(directory, "5017e5a1", &"main/xray".parse().unwrap())
    }

    #[test]
    fn a_directory_with_foreign_files_is_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = (directory.path(), directory.path().join("config.json"));
        let mode = || std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(&file, r#"{ "inbounds": [] }"#).unwrap();
        let error = lock(path).unwrap_err();
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
            drop(lock(path).unwrap());
            assert_eq!(mode(), 0o700);
        }
        std::fs::write(path.join("keys.db"), "").unwrap();
        assert_eq!(lock(path).unwrap_err().get("file"), Some("keys.db"));
    }
}
