//! Putting a backup back, without a kit.

use std::path::PathBuf;

use vpnkit::operation::Answer;
use vpnkit::sqlite::SqliteStore;
use vpnkit::store::Progress;
use vpnkit::{Error, Result, StoreConfig};

/// Replaces a store that nobody has open by a backup: see [`SqliteStore::restore`]. To be run on a [`crate::Runtime`].
///
/// Errors: those of [`SqliteStore::restore`]; `InvalidInput` about `store` when it is no file.
pub async fn restore(backup: PathBuf, store: String, progress: Progress) -> Result<Answer> {
    const OP: &str = "store.restore";
    let path = match StoreConfig::try_from(store.clone()) {
        Ok(StoreConfig::Sqlite(path)) => path,
        Ok(_) => return Err(Error::invalid(OP, "store", "is no file").hint("write `sqlite:bot.db`")),
        // A path as it is.
        Err(_) => PathBuf::from(store),
    };
    SqliteStore::restore(backup, path, &progress).await.map(Answer::new)
}
