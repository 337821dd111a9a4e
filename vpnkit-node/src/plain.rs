//! Functions that need no kit.

use napi::Result;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;
use vpnkit::{
    ByteSize, CredentialKind, CredentialSecret, ErrorKind, EventKind, KeyRef, Qr, RealityKeys, ShortId,
};

use crate::bridge::failure;

/// Bytes of a text like `50 GiB`.
#[napi]
pub(crate) fn parse_size(text: String) -> Result<i64> {
    // The largest size is 2^63 - 1.
    text.parse::<ByteSize>().map(|size| size.bytes().cast_signed()).map_err(|e| failure(&e))
}

/// A number of bytes for people: `1.5 GiB`.
#[napi]
pub(crate) fn format_size(bytes: i64) -> String {
    ByteSize::from_bytes(bytes.unsigned_abs()).to_string()
}

/// Milliseconds of a text like `30 days`.
#[napi]
pub(crate) fn parse_duration(text: String) -> Result<f64> {
    // Exact up to 285,000 years.
    vpnkit::parse_duration(&text).map(|time| time.as_secs_f64() * 1e3).map_err(|e| failure(&e))
}

/// A key as it stands in a URL, with its kind: `id:1`, `uid:…`, `name:alice`.
#[napi]
pub(crate) fn parse_key(text: String) -> Result<String> {
    text.parse::<KeyRef>().map(|key| key.to_string()).map_err(|e| failure(&e))
}

fn qr(text: &str) -> Result<Qr> {
    Qr::new(text).map_err(|e| failure(&e))
}

/// A QR code as PNG, at most `size` pixels a side.
#[napi]
pub(crate) fn qr_png(text: String, size: u32) -> Result<Buffer> {
    qr(&text)?.to_png(size).map(Buffer::from).map_err(|e| failure(&e))
}

/// A QR code as SVG.
#[napi]
pub(crate) fn qr_svg(text: String) -> Result<String> {
    Ok(qr(&text)?.to_svg())
}

/// A QR code for a terminal.
#[napi]
pub(crate) fn qr_terminal(text: String) -> Result<String> {
    Ok(qr(&text)?.to_terminal())
}

/// A new REALITY key pair: private, public.
#[napi]
pub(crate) fn reality_keys() -> Vec<String> {
    let keys = RealityKeys::generate();
    vec![keys.private.expose().to_owned(), keys.public]
}

/// A new REALITY short id.
#[napi]
pub(crate) fn short_id() -> String {
    ShortId::generate().as_str().to_owned()
}

/// Ends an Xray that was left running in a directory; says whether there was one. The thread waits for it.
#[napi]
pub(crate) fn stop_left_running(directory: String) -> Result<bool> {
    vpnkit_bindings::stop_left_running(directory.as_ref()).map_err(|e| failure(&e))
}

/// Checks the secret of a credential.
#[napi]
pub(crate) fn check_credential(protocol: String, secret: String) -> Result<()> {
    let checked = protocol.parse::<CredentialKind>().and_then(|p| CredentialSecret::parse(p, &secret));
    checked.map(drop).map_err(|e| failure(&e))
}

/// Every error code.
#[napi]
pub(crate) fn error_codes() -> Vec<&'static str> {
    ErrorKind::ALL.iter().map(|kind| kind.code()).collect()
}

/// Every kind of event.
#[napi]
pub(crate) fn event_kinds() -> Vec<&'static str> {
    EventKind::ALL.iter().map(|kind| kind.code()).collect()
}

/// Every operation of the facade.
#[napi]
pub(crate) fn operations() -> Vec<&'static str> {
    vpnkit::operation::all().into_iter().map(|operation| operation.name).collect()
}
