//! Checks of what callers give a key.

use std::time::Duration;

use super::{ByteSize, Credential, NextPlan};
use crate::{Error, ErrorKind, Result};

/// The longest label, in characters.
pub(crate) const LABEL_MAX: usize = 256;
/// The longest note, in characters.
pub(crate) const NOTE_MAX: usize = 4_000;

pub(super) fn check_text(op: &'static str, field: &str, text: Option<&str>, max: usize) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    if text.chars().count() > max {
        return Err(Error::invalid(op, field, format!("longer than {max} characters")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err(Error::invalid(op, field, "contains control characters"));
    }
    Ok(())
}

pub(super) fn check_limit(op: &'static str, limit: Option<ByteSize>) -> Result<()> {
    if limit == Some(ByteSize::default()) {
        return Err(Error::invalid(op, "data_limit", "0 bytes would let nobody through")
            .hint("leave the limit out for an unlimited key, disable the key to stop it"));
    }
    Ok(())
}

pub(super) fn check_devices(op: &'static str, limit: Option<u32>) -> Result<()> {
    if limit == Some(0) {
        return Err(Error::invalid(op, "device_limit", "0 devices would let nobody in"));
    }
    Ok(())
}

pub(super) fn check_addresses(op: &'static str, limit: Option<u32>) -> Result<()> {
    if limit == Some(0) {
        return Err(Error::invalid(op, "address_limit", "0 addresses would let nobody in"));
    }
    Ok(())
}

/// The longest time that a key is given at once, or waits with: it must be read again as it was written.
pub(crate) const LONGEST: Duration = Duration::from_secs(3_650_000 * 86_400);

/// Checks a length of time of a key: longer than nothing, at most [`LONGEST`].
pub(super) fn check_length(op: &'static str, field: &str, time: Option<Duration>) -> Result<()> {
    match time {
        Some(time) if time.is_zero() => Err(Error::invalid(op, field, "must be longer than nothing")),
        Some(time) if time > LONGEST => Err(Error::invalid(op, field, "must be at most 3650000 days")),
        _ => Ok(()),
    }
}

/// `ends`: the key can come to an end.
pub(super) fn check_next_plan(op: &'static str, plan: Option<NextPlan>, ends: bool) -> Result<()> {
    let Some(plan) = plan else { return Ok(()) };
    plan.validate(op)?;
    if !ends {
        return Err(Error::invalid(op, "next_plan", "the key has neither time nor limit that could end"));
    }
    Ok(())
}

/// The most credentials that a key is given at once.
const CREDENTIALS_MAX: usize = 1_000;

pub(super) fn check_credentials(op: &'static str, credentials: &[Credential]) -> Result<()> {
    if credentials.len() > CREDENTIALS_MAX {
        return Err(Error::invalid(op, "credentials", format!("more than {CREDENTIALS_MAX}")));
    }
    for (i, c) in credentials.iter().enumerate() {
        if c.is_replaced() {
            return Err(Error::invalid(op, "credentials", "one that was replaced cannot be given")
                .with("device", &c.device));
        }
        if c.inbound.is_none() && (c.slot.is_some() || c.certificate.is_some()) {
            return Err(Error::invalid(
                op,
                "credentials",
                "a slot and a certificate belong to an inbound: name it",
            ));
        }
        if credentials.iter().skip(i + 1).any(|d| d.place() == c.place()) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                op,
                "two credentials of one protocol, device and inbound",
            )
            .with("field", "credentials")
            .with("protocol", c.protocol())
            .with("device", &c.device));
        }
    }
    Ok(())
}
