//! Errors as data.

use std::collections::BTreeMap;
use std::error::Error as StdError;

use serde::Serialize;
use vpnkit::{Error, Retry};

#[derive(Serialize)]
struct Record<'a> {
    code: &'static str,
    operation: &'static str,
    /// One line, as `Display` writes it.
    text: String,
    message: &'a str,
    retryable: bool,
    hint: Option<&'a str>,
    context: BTreeMap<&'static str, &'a str>,
    /// Every fault of a configuration, with its path.
    faults: Vec<&'a str>,
    causes: Vec<String>,
}

/// The error as JSON, from which each language makes its own.
#[must_use]
pub fn record(error: &Error) -> String {
    let (faults, context): (Vec<_>, Vec<_>) = error.context().iter().partition(|(name, _)| *name == "fault");
    let record = Record {
        code: error.kind().code(),
        operation: error.operation(),
        text: error.to_string(),
        message: error.message(),
        retryable: error.retry() == Retry::Later,
        hint: error.hint_text(),
        context: context.into_iter().map(|(name, value)| (*name, value.as_str())).collect(),
        faults: faults.into_iter().map(|(_, value)| value.as_str()).collect(),
        causes: causes(error),
    };
    serde_json::to_string(&record).unwrap_or_else(|_| error.to_string())
}

fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    causes
}
