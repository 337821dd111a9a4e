//! Sends the events of vpnkit over HTTP.
//!
//! Who may create a webhook chooses where this machine sends requests to. So it sends to public addresses only, unless the
//! configuration allows others: names are resolved here, and what they resolve to is what is connected to. Redirects are not
//! followed, proxies of the environment are not used, answers are not read.

mod public;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use vpnkit_core::{Error, ErrorKind, Result};
use vpnkit_engine::webhook::{WebhookAnswer, WebhookRequest, WebhookSender};

pub use public::is_public;

const OP: &str = "webhooks.send";
/// To come through to a receiver.
const CONNECT: Duration = Duration::from_secs(5);
/// From the first byte to the answer.
const WHOLE: Duration = Duration::from_secs(15);

/// Sends requests.
#[derive(Clone, Debug)]
pub struct HttpSender {
    client: Client,
    allow_private: bool,
}

impl HttpSender {
    /// A sender; with `allow_private` it goes to addresses of this machine and its networks, too.
    ///
    /// Errors: `Unexpected` when the system's certificates cannot be read.
    pub fn new(allow_private: bool) -> Result<Self> {
        let tls = rustls::crypto::ring::default_provider();
        // Of somebody else in this process, perhaps: then that one is used.
        let _ = tls.install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(Resolver { allow_private }))
            .user_agent(concat!("vpnkit/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::new(ErrorKind::Unexpected, OP, "requests cannot be sent").caused_by(e))?;
        Ok(Self { client, allow_private })
    }

    fn url(&self, operation: &'static str, url: &str) -> Result<Url> {
        let fault = |message: &str| Err(Error::invalid(operation, "url", message.to_owned()));
        let Ok(url) = Url::parse(url) else { return fault("cannot be read") };
        if !matches!(url.scheme(), "http" | "https") {
            return fault("must begin with https:// or http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fault("must not have a name or a password");
        }
        let address = match url.host() {
            None => return fault("has no host"),
            // A resolver is not asked for these.
            Some(reqwest_host) => address(&reqwest_host.to_string()),
        };
        match address {
            Some(address) if !self.allow_private && !is_public(address) => {
                fault("is an address of this machine or of a private network, which are not allowed")
            }
            _ => Ok(url),
        }
    }
}

fn address(host: &str) -> Option<std::net::IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[async_trait]
impl WebhookSender for HttpSender {
    fn check(&self, operation: &'static str, url: &str) -> Result<()> {
        self.url(operation, url).map(drop)
    }

    async fn send(&self, request: WebhookRequest) -> Result<WebhookAnswer> {
        let mut post = self.client.post(self.url(OP, &request.url)?).body(request.body);
        for (name, value) in request.headers {
            post = post.header(name, value);
        }
        let answer = post.send().await.map_err(failure)?;
        let retry_after =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(WebhookAnswer {
            status: answer.status().as_u16(),
            retry_after: retry_after.map(Duration::from_secs),
        })
    }
}

/// Says what went wrong without what a receiver or a resolver has answered: that would show the inside of a private network.
fn failure(error: reqwest::Error) -> Error {
    let (kind, message) = if error.is_timeout() {
        (ErrorKind::Timeout, "the receiver did not answer in time")
    } else if error.is_connect() {
        (ErrorKind::Unavailable, "the receiver cannot be reached")
    } else {
        (ErrorKind::Unavailable, "the connection to the receiver broke")
    };
    let hint = error
        .is_connect()
        .then_some("is it at a public address? others are reached with `private_webhooks` only");
    let told = Error::new(kind, OP, message).caused_by(error.without_url());
    match hint {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

/// Resolves names to addresses that may be connected to.
#[derive(Debug)]
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|found| allow_private || is_public(found.ip())).collect();
            if allowed.is_empty() {
                return Err("the name leads to no public address".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
