//! What stands beside a running Xray, so that the next process that drives it recognises it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vpnkit_core::backend::Fingerprint;
use vpnkit_core::machine::ProcessMark;

use crate::loaded::Ours;

/// The file, in the directory of the Xray. It holds no secrets.
pub(crate) const FILE: &str = "process.json";

/// A running Xray.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Which store its accounts are of.
    pub(crate) store: String,
    pub(crate) process: ProcessMark,
    /// The lifetime of its counters.
    pub(crate) epoch: String,
    /// Of everything that it was started with, inbounds and accounts aside.
    pub(crate) setup: Fingerprint,
    /// It does not end with the process that has started it.
    pub(crate) keeps_running: bool,
    /// Its inbounds, by tag.
    pub(crate) inbounds: BTreeMap<String, RunningInbound>,
}

/// An inbound of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningInbound {
    /// The type of its settings.
    pub(crate) kind: String,
    pub(crate) ours: Ours,
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

impl Running {
    /// `None` when there is nothing that can be read: then nothing is known of what runs.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path(directory)).ok()?).ok()
    }

    /// Replaces the file. A crash of the machine may lose it: then the process is gone too.
    pub(crate) fn write(&self, directory: &Path) -> std::io::Result<()> {
        let draft = directory.join(format!("{FILE}.new"));
        let _ = std::fs::remove_file(&draft);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        std::fs::rename(&draft, path(directory))
    }

    pub(crate) fn forget(directory: &Path) {
        let _ = std::fs::remove_file(path(directory));
    }
}
