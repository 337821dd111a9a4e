//! Pure rules of who owns keys: what a key takes of its owner's quotas, what an admin may do. No I/O, no clock.
//!
//! | file | rule |
//! |---|---|
//! | `share.rs` | [`Share`]: what a change of a key takes of quotas |
//! | `quota.rs` | [`charge`]: whether an admin's quotas allow it, and what has to be told |
//! | `permission.rs` | [`check_key`]: what a reseller may make of a key |
//! | `steps.rs` | [`check_step`]: what a reseller may do in a batch |
//! | `rows.rs` | [`rows`]: what follows for admins in a batch, over the rows of a store |

mod permission;
mod quota;
pub mod rows;
mod share;
mod steps;

pub use permission::{check_key, check_patch, may_not};
pub use quota::{Charge, NEAR, charge, owner_events};
pub use share::{Share, check_sellable};
pub use steps::{OwnedRows, check_step};

#[cfg(test)]
mod tests;
