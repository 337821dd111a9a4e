//! Labels: what an application finds a key by.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Labels of a key: a small map from names to values, each found exactly and fast.
pub type Labels = BTreeMap<String, String>;

/// How many labels a key may have.
pub const LABELS_MAX: usize = 16;

/// Checks labels: names of 1 to 32 of `a-z 0-9 _ -`, values of 1 to 128 characters without control characters.
pub(super) fn check_labels<'a>(
    op: &'static str,
    labels: impl ExactSizeIterator<Item = (&'a String, Option<&'a String>)>,
) -> Result<()> {
    if labels.len() > LABELS_MAX {
        return Err(Error::invalid(op, "labels", format!("more than {LABELS_MAX}")));
    }
    for (name, value) in labels {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let field = || if name.chars().all(allowed) { format!("labels.{name}") } else { "labels".to_owned() };
        if name.is_empty() || name.len() > 32 || !name.chars().all(allowed) {
            return Err(Error::invalid(op, "labels", "a name has 1 to 32 of a-z 0-9 _ -")
                .with("label", name.chars().take(64).collect::<String>()));
        }
        let Some(value) = value else { continue };
        if value.is_empty() || value.chars().count() > 128 || value.chars().any(char::is_control) {
            return Err(Error::invalid(op, &field(), "a value has 1 to 128 characters, none of control"));
        }
    }
    Ok(())
}
