//! Copies of a store, and what was found wrong with one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cursor;
use crate::Timestamp;

/// A copy of a store in a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Backup {
    /// Where the file is.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// How many keys are in it.
    pub keys: u64,
    /// The newest event in it: what happened later is not.
    pub newest_event: Cursor,
}

/// What a check of the store has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreCheck {
    /// How many tables were read, with their indexes.
    pub tables: u64,
    /// What is wrong, at most 100; empty is a sound store.
    pub faults: Vec<String>,
}

/// Long work on the store that this process is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoreWork {
    /// The operation: `store.back_up`.
    pub operation: String,
    /// Steps that are done.
    pub done: u64,
    /// Steps in all; 0 before that is known.
    pub total: u64,
    /// When it was begun.
    pub since: Timestamp,
}
