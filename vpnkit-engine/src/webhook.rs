//! Sending events over HTTP: what a sender is given, and how requests are signed.
//!
//! Requests are those of Standard Webhooks: the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`, which is
//! HMAC-SHA256 over `id.timestamp.body`, so that libraries of many languages verify them.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use vpnkit_core::{Result, Secret, Timestamp};

/// What secrets begin with.
const PREFIX: &str = "whsec_";

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where to.
    pub url: String,
    /// Headers beside those of HTTP itself.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: String,
}

/// What a receiver has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// The status code.
    pub status: u16,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// Sends requests. It has time limits of its own, follows no redirects, and goes to no address that it was not told to allow.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WebhookSender: Debug + Send + Sync {
    /// Checks that requests can be sent to a URL.
    ///
    /// Errors: `InvalidInput` about `url`.
    fn check(&self, operation: &'static str, url: &str) -> Result<()>;

    /// Sends a request.
    ///
    /// Errors: `Unavailable` when nobody answers, `Timeout`, `PermissionDenied` for an address that is not allowed.
    async fn send(&self, request: WebhookRequest) -> Result<WebhookAnswer>;
}

/// Draws a secret to sign with: 32 random bytes, as receivers' libraries take them.
#[must_use]
pub fn new_secret() -> Secret {
    let mut bytes = [0; 32];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// Signs a request with each of these secrets: receivers accept any of them.
///
/// ```
/// use vpnkit_core::{Secret, Timestamp};
/// use vpnkit_engine::webhook::signature;
/// let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
/// let at = Timestamp::from_millis(1_614_265_330_000);
/// let signed = signature(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#);
/// assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
/// ```
#[must_use]
pub fn signature(secrets: &[Secret], id: &str, at: Timestamp, body: &str) -> String {
    let signed = format!("{id}.{}.{body}", at.as_millis() / 1_000);
    let one = |secret: &Secret| {
        let text = secret.expose();
        let key = STANDARD.decode(text.strip_prefix(PREFIX).unwrap_or(text)).ok()?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        mac.update(signed.as_bytes());
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    };
    secrets.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}
