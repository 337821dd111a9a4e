//! What keys are found by.

use crate::apply::{Batch, sql};
use vpnkit_core::Result;
use vpnkit_core::model::{KeyId, Labels};

impl Batch<'_> {
    /// Writes what differs between the labels of a key.
    pub(crate) fn put_labels(&self, key: KeyId, before: &Labels, after: &Labels) -> Result<()> {
        for (name, value) in before.iter().filter(|(name, value)| after.get(*name) != Some(value)) {
            self.run(
                "DELETE FROM key_labels WHERE name = ?1 AND value = ?2 AND key_id = ?3",
                (name, value, key.0),
            )
            .map_err(sql)?;
        }
        for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
            self.run(
                "INSERT OR IGNORE INTO key_labels (name, value, key_id) VALUES (?1, ?2, ?3)",
                (name, value, key.0),
            )
            .map_err(sql)?;
        }
        Ok(())
    }
}

/// The column `labels`.
pub(crate) fn text(labels: &Labels) -> Option<String> {
    if labels.is_empty() { None } else { serde_json::to_string(labels).ok() }
}
