//! Webhooks: who is told of events over HTTP.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vpnkit_macros::operations;

use super::deliveries::{Told, accepted, consumer, request, signed};
use super::subscription_cache::HeldWebhook;
use super::{Engine, Shared};
use crate::webhook::{WebhookSender, new_secret};
use vpnkit_core::model::{
    CreateWebhook, Cursor, DeadLetter, NewWebhook, Webhook, WebhookPatch, WebhookStatus,
};
use vpnkit_core::store::{ConsumerOp, DeadLetterOp, StoreOp};
use vpnkit_core::{Error, ErrorKind, Result};

/// The most webhooks of a store.
const WEBHOOKS_MAX: usize = 100;
/// How long old secrets sign on at most.
const KEEP_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Keeps webhooks: each event is sent to each of them at least once, signed as Standard Webhooks are. Events of one key arrive in
/// order; a receiver that is down gets them when it is back, whichever process delivers then.
#[derive(Clone, Debug)]
pub struct Webhooks {
    pub(super) engine: Engine,
}

#[operations(noun = "webhooks", handle = Engine::webhooks)]
impl Webhooks {
    /// Creates a webhook; it gets what happens from now on. Its secret is shown now and never again.
    ///
    /// Errors: `InvalidInput` with the `field`; `LimitReached` when there are 100; `Unsupported` when this vpnkit sends nothing.
    #[operation(change, dry_run)]
    pub async fn create(&self, #[arg(spread)] request: CreateWebhook) -> Result<NewWebhook> {
        const OP: &str = "webhooks.create";
        let create = async {
            let shared = self.shared(OP)?;
            let sender = self.sender(OP)?;
            let id = id();
            let webhook = request.into_webhook(id.clone(), shared.clock.now());
            check(OP, sender, &webhook)?;
            if let Some(admin) = webhook.admin {
                shared.admin(OP, &admin.into()).await?;
            }
            let cache = shared.reload().await.map_err(|e| e.during(OP))?;
            if cache.webhooks.len() >= WEBHOOKS_MAX {
                return Err(Error::new(ErrorKind::LimitReached, OP, "there are 100 webhooks already"));
            }
            let newest = shared.store.newest_event().await.map_err(|e| e.during(OP))?;
            let held = HeldWebhook::new(webhook.clone(), new_secret());
            let secret = held.newest_secret();
            let put = shared.webhook_op(OP, &id, Some(0), Some(&held))?;
            let steps = [StoreOp::from(put), ConsumerOp::Add(consumer(&id), newest).into()];
            self.commit(OP, steps).await?;
            Ok(NewWebhook { webhook, secret })
        };
        self.engine.in_context(OP, create).await
    }

    /// Returns all webhooks, by id.
    #[operation(read)]
    pub async fn list(&self) -> Result<Vec<Webhook>> {
        const OP: &str = "webhooks.list";
        let cache = self.shared(OP)?.reload().await.map_err(|e| e.during(OP))?;
        Ok(cache.webhooks.values().map(|held| held.webhook.clone()).collect())
    }

    /// Returns the webhook, or `None`.
    #[operation(read)]
    pub async fn get(&self, id: &str) -> Result<Option<Webhook>> {
        const OP: &str = "webhooks.get";
        let cache = self.shared(OP)?.reload().await.map_err(|e| e.during(OP))?;
        Ok(cache.webhooks.get(id).map(|held| held.webhook.clone()))
    }

    /// Changes a webhook. One that was disabled goes on where it was.
    ///
    /// Errors: `NotFound`; `InvalidInput` with the `field`.
    #[operation(change, dry_run)]
    pub async fn update(&self, id: &str, #[arg(spread)] patch: WebhookPatch) -> Result<Webhook> {
        const OP: &str = "webhooks.update";
        let update = async {
            let sender = self.sender(OP)?;
            self.change(OP, id, |held| {
                patch.apply(&mut held.webhook);
                check(OP, sender, &held.webhook)
            })
            .await
            .map(|held| held.webhook)
        };
        self.engine.in_context(OP, update).await
    }

    /// Deletes a webhook with its dead letters.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run)]
    pub async fn delete(&self, id: &str) -> Result<()> {
        const OP: &str = "webhooks.delete";
        let delete = async {
            let shared = self.shared(OP)?;
            self.held(OP, id).await?;
            let remove = shared.webhook_op(OP, id, None, None)?;
            let steps = [
                StoreOp::from(remove),
                ConsumerOp::Remove(consumer(id)).into(),
                DeadLetterOp::Clear(id.to_owned()).into(),
            ];
            self.commit(OP, steps).await
        };
        self.engine.in_context(OP, delete).await
    }

    /// Draws a new secret, which is shown now and never again. For `keep` requests are signed with the old ones too, so that the
    /// receiver can change; zero ends them at once.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `keep`, up to 366 days.
    #[operation(change, dry_run)]
    pub async fn rotate_secret(&self, id: &str, keep: Duration) -> Result<NewWebhook> {
        const OP: &str = "webhooks.rotate_secret";
        let rotate = async {
            if keep > KEEP_MAX {
                return Err(Error::invalid(OP, "keep", "must be at most 366 days"));
            }
            let now = self.shared(OP)?.clock.now();
            let held = self
                .change(OP, id, |held| {
                    held.rotate(new_secret(), now, keep);
                    Ok(())
                })
                .await?;
            let secret = held.newest_secret();
            Ok(NewWebhook { webhook: held.webhook, secret })
        };
        self.engine.in_context(OP, rotate).await
    }

    /// Returns how the deliveries of all webhooks stand, by id.
    #[operation(read)]
    pub async fn status(&self) -> Result<Vec<WebhookStatus>> {
        const OP: &str = "webhooks.status";
        let shared = self.shared(OP)?;
        let cache = shared.reload().await.map_err(|e| e.during(OP))?;
        let newest = shared.store.newest_event().await.map_err(|e| e.during(OP))?;
        let places = shared.store.consumers().await.map_err(|e| e.during(OP))?;
        let leases = shared.store.leases().await.map_err(|e| e.during(OP))?;
        let mut all = Vec::new();
        for id in cache.webhooks.keys() {
            let name = consumer(id);
            let cursor =
                places.iter().find(|(place, _)| *place == name).map_or(newest, |(_, cursor)| *cursor);
            let letters = shared.store.dead_letters(id, Cursor::START, 0).await.map_err(|e| e.during(OP))?;
            let lease = leases.iter().find(|lease| lease.name == name);
            let note = lease.and_then(|lease| lease.note.as_deref());
            let told: Told = note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
            all.push(WebhookStatus {
                id: id.clone(),
                cursor,
                pending: u64::try_from(newest.0 - cursor.0).unwrap_or(0),
                dead_letters: letters.1,
                delivered_at: told.delivered_at,
                failing_since: told.failing_since,
                error: told.error,
            });
        }
        Ok(all)
    }

    /// Returns the events that the receiver of a webhook has refused for good, oldest first; `after` is the cursor of the last event of
    /// the answer before. The newest 10,000 are kept.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `limit`, 1 to 1,000.
    #[operation(read)]
    pub async fn dead_letters(
        &self,
        id: &str,
        after: Option<Cursor>,
        #[arg(default = 100)] limit: u32,
    ) -> Result<Vec<DeadLetter>> {
        const OP: &str = "webhooks.dead_letters";
        if !(1..=1_000).contains(&limit) {
            return Err(Error::invalid(OP, "limit", "must be 1 to 1000").with("value", limit));
        }
        self.held(OP, id).await?;
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let letters = self.shared(OP)?.store.dead_letters(id, after.unwrap_or_default(), most).await;
        letters.map(|(letters, _)| letters).map_err(|e| e.during(OP))
    }

    /// Sends dead letters of a webhook again, now: that of one event, or all, oldest first, up to the first one that is not accepted.
    /// Returns how many were; those are no longer kept.
    ///
    /// Errors: `NotFound` for the webhook or the dead letter; `Unavailable` when the first one is not accepted.
    #[operation(change)]
    pub async fn resend(&self, id: &str, #[arg(positional)] cursor: Option<Cursor>) -> Result<usize> {
        const OP: &str = "webhooks.resend";
        let (this, id) = (self.clone(), id.to_owned());
        let resend = async move {
            let (shared, sender) = (this.shared(OP)?, this.sender(OP)?);
            let held = this.held(OP, &id).await?;
            let mut after = cursor.map_or(Cursor::START, |cursor| Cursor(cursor.0 - 1));
            let mut sent = 0;
            loop {
                let some = shared.store.dead_letters(&id, after, 100).await.map_err(|e| e.during(OP))?.0;
                let some: Vec<DeadLetter> = some
                    .into_iter()
                    .filter(|letter| cursor.is_none_or(|cursor| letter.cursor() == cursor))
                    .collect();
                if some.is_empty() {
                    break;
                }
                for letter in some {
                    after = letter.cursor();
                    let answer = sender.send(request(shared, &held, &letter.event)).await;
                    match accepted(OP, answer) {
                        Err(e) if sent == 0 => return Err(e.with("webhook", &id)),
                        Err(_) => return Ok(sent),
                        Ok(()) => sent += 1,
                    }
                    let remove = DeadLetterOp::Remove(id.clone(), letter.cursor());
                    shared.store.commit(shared.txn([remove])).await.map_err(|e| e.during(OP))?;
                }
            }
            match cursor {
                Some(cursor) if sent == 0 => {
                    Err(Error::new(ErrorKind::NotFound, OP, "there is no such dead letter")
                        .with("field", "cursor")
                        .with("cursor", cursor))
                }
                _ => Ok(sent),
            }
        };
        self.engine.run_to_completion(OP, resend).await
    }

    /// Sends `webhook.ping` to a webhook, now, to see whether its receiver accepts what is signed with its secret.
    ///
    /// Errors: `NotFound`; `Unavailable` when it is not accepted.
    #[operation(change)]
    pub async fn ping(&self, id: &str) -> Result<()> {
        const OP: &str = "webhooks.ping";
        let (this, id) = (self.clone(), id.to_owned());
        let ping = async move {
            let (shared, sender) = (this.shared(OP)?, this.sender(OP)?);
            let held = this.held(OP, &id).await?;
            let body =
                serde_json::json!({ "type": "webhook.ping", "timestamp": shared.clock.now(), "data": {} });
            let request = signed(shared, &held, &format!("ping_{}", self::id()), body.to_string());
            accepted(OP, sender.send(request).await).map_err(|e| e.with("webhook", &id))
        };
        self.engine.run_to_completion(OP, ping).await
    }

    fn shared(&self, operation: &'static str) -> Result<&Arc<Shared>> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }

    fn sender(&self, op: &'static str) -> Result<&dyn WebhookSender> {
        self.engine.shared.options.webhooks.as_deref().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, op, "this vpnkit was built without the feature `webhooks`")
        })
    }

    async fn held(&self, op: &'static str, id: &str) -> Result<HeldWebhook> {
        let cache = self.shared(op)?.reload().await.map_err(|e| e.during(op))?;
        cache.webhooks.get(id).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, op, "no such webhook").with("field", "id").with("id", id)
        })
    }

    async fn commit(&self, op: &'static str, steps: impl IntoIterator<Item = StoreOp>) -> Result<()> {
        let shared = self.shared(op)?;
        let receipt = shared.store.commit(shared.txn(steps)).await.map_err(|e| e.during(op))?;
        if receipt.took_effect() {
            shared.reload().await.map_err(|e| e.during(op))?;
        }
        Ok(())
    }

    /// Changes a webhook on top of what others have changed.
    async fn change(
        &self,
        op: &'static str,
        id: &str,
        change: impl Fn(&mut HeldWebhook) -> Result<()>,
    ) -> Result<HeldWebhook> {
        loop {
            let mut held = self.held(op, id).await?;
            change(&mut held)?;
            let put = self.shared(op)?.webhook_op(op, id, Some(held.version), Some(&held))?;
            match self.commit(op, [put.into()]).await {
                // Somebody else was first: this change goes on top of theirs.
                Err(e) if e.kind() == ErrorKind::Conflict => {}
                outcome => return outcome.map(|()| held),
            }
        }
    }
}

fn check(op: &'static str, sender: &dyn WebhookSender, webhook: &Webhook) -> Result<()> {
    webhook.validate(op)?;
    sender.check(op, &webhook.url)
}

fn id() -> String {
    let mut bytes = [0; 9];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut bytes);
    URL_SAFE_NO_PAD.encode(bytes).replace(['-', '_'], "x")
}
