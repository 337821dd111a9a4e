//! A receiver of webhooks that does as it is told. Nothing is sent: what HTTP does is tested with `vpnkit-webhook`.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use vpnkit_core::model::EventRecord;
use vpnkit_core::{Error, ErrorKind, Result};
use vpnkit_engine::webhook::{WebhookAnswer, WebhookRequest, WebhookSender};

type Answers = dyn Fn(&WebhookRequest) -> Result<WebhookAnswer> + Send;

/// A receiver of webhooks: keeps what it was sent, and answers 204 until it is told otherwise.
pub struct FakeReceiver {
    requests: Mutex<Vec<WebhookRequest>>,
    answers: Mutex<Box<Answers>>,
}

impl fmt::Debug for FakeReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeReceiver").finish_non_exhaustive()
    }
}

impl Default for FakeReceiver {
    fn default() -> Self {
        Self { requests: Mutex::default(), answers: Mutex::new(Box::new(|_| Ok(status(204)))) }
    }
}

/// An answer with a status.
#[must_use]
pub const fn status(status: u16) -> WebhookAnswer {
    WebhookAnswer { status, retry_after: None }
}

impl FakeReceiver {
    /// From now on it answers so.
    pub fn answer(&self, answers: impl Fn(&WebhookRequest) -> Result<WebhookAnswer> + Send + 'static) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answers);
    }

    /// From now on nobody answers.
    pub fn down(&self) {
        self.answer(|_| Err(Error::new(ErrorKind::Unavailable, "webhook.send", "nobody answers")));
    }

    /// From now on it accepts everything.
    pub fn up(&self) {
        self.answer(|_| Ok(status(204)));
    }

    /// What it was sent, accepted or not.
    #[must_use]
    pub fn requests(&self) -> Vec<WebhookRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events that it was sent, accepted or not.
    #[must_use]
    pub fn events(&self) -> Vec<EventRecord> {
        self.requests().iter().filter_map(event).collect()
    }
}

/// The event that a request tells of; `None` when it tells of none.
#[must_use]
pub fn event(request: &WebhookRequest) -> Option<EventRecord> {
    let body: serde_json::Value = serde_json::from_str(&request.body).ok()?;
    serde_json::from_value(body.get("data")?.clone()).ok()
}

#[async_trait]
impl WebhookSender for FakeReceiver {
    fn check(&self, operation: &'static str, url: &str) -> Result<()> {
        match url.contains("://private") {
            true => Err(Error::invalid(operation, "url", "is a private address")),
            false => Ok(()),
        }
    }

    async fn send(&self, request: WebhookRequest) -> Result<WebhookAnswer> {
        // Others are sent meanwhile.
        tokio::task::yield_now().await;
        let answer = (self.answers.lock().unwrap_or_else(PoisonError::into_inner))(&request);
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        answer
    }
}
