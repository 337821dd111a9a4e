//! Delivers events to webhooks: each webhook by one process at a time, from the place that the store keeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_core::future::BoxFuture;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use super::events::other_than;
use super::jobs::Job;
use super::lanes::{GivenUp, Lanes, Sent};
use super::leases::{Held, Wanted};
use super::subscription_cache::HeldWebhook;
use crate::webhook::{WebhookAnswer, WebhookRequest, WebhookSender, signature};
use vpnkit_core::model::{AdminId, Cursor, DeadLetter, Event};
use vpnkit_core::store::{ConsumerOp, DeadLetterOp, StoreOp};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// How soon a change of the webhooks is seen at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon the store is told of what was delivered: so much comes again after a crash.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Events that are passed over at once.
const READ: usize = 1_000;

/// The consumer, and the lease, of a webhook.
pub(super) fn consumer(id: &str) -> String {
    format!("webhook:{id}")
}

/// What the process that delivers tells the others with its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) delivered_at: Option<Timestamp>,
    pub(super) failing_since: Option<Timestamp>,
    pub(super) error: Option<String>,
}

/// Looks after the webhooks of the store until the engine stops.
pub(super) async fn run(shared: Arc<Shared>, job: Arc<Job>, sender: Arc<dyn WebhookSender>) {
    let mut running: BTreeMap<String, tokio::task::JoinHandle<()>> = BTreeMap::new();
    loop {
        running.retain(|_, task| !task.is_finished());
        if let Ok(cache) = job.run(&shared, shared.fresh_subscriptions()).await {
            for id in cache.webhooks.keys() {
                if !running.contains_key(id) {
                    let task = deliver(Arc::clone(&shared), Arc::clone(&sender), id.clone());
                    running.insert(id.clone(), shared.tasks.spawn(task));
                }
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Why a process delivers no more.
enum End {
    /// The webhook is gone, or the engine stops.
    Over,
    /// Another process has its turn.
    Lost,
}

async fn deliver(shared: Arc<Shared>, sender: Arc<dyn WebhookSender>, id: String) {
    let wanted = shared.leases.want(consumer(&id));
    loop {
        let held = tokio::select! {
            () = shared.stop.cancelled() => break,
            held = wanted.wait(|_| {}) => held,
        };
        let delivery = Delivery::begin(&shared, sender.as_ref(), &wanted, &held, &id).await;
        let end = match delivery {
            Ok(Some(mut delivery)) => delivery.run().await,
            Ok(None) => Ok(End::Over),
            Err(e) => Err(e),
        };
        match end {
            Ok(End::Over) => break,
            Ok(End::Lost) => {}
            Err(e) if e.kind() == ErrorKind::LeaseLost => {}
            // The webhook was deleted.
            Err(e) if e.kind() == ErrorKind::NotFound => break,
            Err(e) => {
                tracing::warn!(webhook = id, error = %e, "deliveries were interrupted; they go on where they were");
                tokio::select! {
                    () = shared.stop.cancelled() => break,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        }
    }
    shared.leases.give_up(shared.store.as_ref(), &wanted).await;
}

/// The deliveries of one webhook, while this process has them.
struct Delivery<'s> {
    shared: &'s Arc<Shared>,
    sender: &'s dyn WebhookSender,
    wanted: &'s Wanted,
    held: &'s Held,
    id: &'s str,
    lanes: Lanes,
    /// Up to which event the store was told.
    told_cursor: Cursor,
    told_at: Instant,
    /// Events that are given up, of which the store was not told.
    given_up: Vec<DeadLetter>,
    told: Told,
    /// Why each lane was refused last.
    errors: BTreeMap<String, String>,
    /// Its admin and those below that one, and when they were looked up.
    below: (Vec<AdminId>, Option<Instant>),
}

impl<'s> Delivery<'s> {
    async fn begin(
        shared: &'s Arc<Shared>,
        sender: &'s dyn WebhookSender,
        wanted: &'s Wanted,
        held: &'s Held,
        id: &'s str,
    ) -> Result<Option<Self>> {
        let all = shared.store.consumers().await?;
        let Some((_, cursor)) = all.into_iter().find(|(name, _)| *name == consumer(id)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            shared,
            sender,
            wanted,
            held,
            id,
            lanes: Lanes::new(cursor, shared.options.webhook_retry),
            told_cursor: cursor,
            told_at: Instant::now(),
            given_up: Vec::new(),
            told: Told::default(),
            errors: BTreeMap::new(),
            below: (Vec::new(), None),
        }))
    }

    async fn run(&mut self) -> Result<End> {
        let mut sending: FuturesUnordered<BoxFuture<'s, (String, Instant, Result<WebhookAnswer>)>> =
            FuturesUnordered::new();
        let mut newest = self.shared.store.newest();
        loop {
            if !self.held.is_valid() {
                return Ok(End::Lost);
            }
            let cache = self.shared.fresh_subscriptions().await?;
            let Some(webhook) = cache.webhooks.get(self.id) else { return Ok(End::Over) };
            let now = Instant::now();
            let behind = self.lanes.done() > self.told_cursor || !self.given_up.is_empty();
            if behind && (!self.given_up.is_empty() || now >= self.told_at + TELL_EVERY || sending.is_empty())
            {
                self.tell().await?;
            }
            if self.shared.stop.is_cancelled() {
                // What is under way is waited for, so that it does not come twice.
                match sending.next().await {
                    Some((lane, at, answer)) => self.take(&lane, at, answer),
                    None => {
                        self.tell().await?;
                        return Ok(End::Over);
                    }
                }
                continue;
            }
            let active = !webhook.webhook.disabled;
            let more = if active && self.lanes.has_room() { self.read(webhook).await? } else { false };
            while active && let Some((lane, event)) = self.lanes.next(Instant::now()) {
                let request = request(self.shared, webhook, &event);
                let sent = self.sender.send(request);
                sending.push(Box::pin(async move {
                    let answer = sent.await;
                    (lane, Instant::now(), answer)
                }));
            }
            if more {
                continue;
            }
            let wake = self.lanes.wakes_at().filter(|_| active);
            let tell = (self.lanes.done() > self.told_cursor).then(|| self.told_at + TELL_EVERY);
            let wake =
                wake.into_iter().chain(tell).chain([now + LOOK_EVERY]).min().unwrap_or(now + LOOK_EVERY);
            let read = self.lanes.read();
            tokio::select! {
                () = self.shared.stop.cancelled() => {}
                () = self.held.over() => {}
                Some((lane, at, answer)) = sending.next(), if !sending.is_empty() => self.take(&lane, at, answer),
                () = tokio::time::sleep_until(wake) => {}
                _ = other_than(&mut newest, read), if active && self.lanes.has_room() => {}
            }
        }
    }

    /// Reads more; returns whether there may be more still.
    async fn read(&mut self, held: &HeldWebhook) -> Result<bool> {
        let webhook = &held.webhook;
        if let Some(admin) = webhook.admin
            && self.below.1.is_none_or(|at| at.elapsed() > LOOK_EVERY)
        {
            let below = self.shared.store.admins(Some(admin)).await?;
            self.below = (below.into_iter().map(|admin| admin.id).collect(), Some(Instant::now()));
        }
        let most = if webhook.kinds.is_empty() && webhook.admin.is_none() { self.lanes.room() } else { READ };
        let batch = match self.shared.store.events(self.lanes.read(), most).await {
            // It was off for longer than events are kept, or the store was restored.
            Err(e) if e.kind() == ErrorKind::CursorExpired => {
                let on = ["oldest_kept_after", "newest"].iter().find_map(|name| e.get(name)?.parse().ok());
                let on = Cursor(on.unwrap_or_default());
                tracing::warn!(webhook = self.id, error = %e, "events were missed that are no longer kept");
                self.told.error = Some("events were missed that are no longer kept".to_owned());
                self.lanes = Lanes::new(on, self.shared.options.webhook_retry);
                return Ok(true);
            }
            batch => batch?,
        };
        let more = batch.next > self.lanes.read();
        for event in batch.events {
            if !self.lanes.has_room() {
                return Ok(false);
            }
            match webhook.gets(&event, &self.below.0) {
                true => self.lanes.add(event),
                false => self.lanes.skip_to(event.cursor),
            }
        }
        self.lanes.skip_to(batch.next);
        Ok(more)
    }

    /// Takes in what came of sending an event.
    fn take(&mut self, lane: &str, at: Instant, answer: Result<WebhookAnswer>) {
        let (sent, error) = outcome(&answer);
        let now = self.shared.clock.now();
        let before = self.told.clone();
        match sent {
            Sent::Accepted => self.told = Told { delivered_at: Some(now), ..Told::default() },
            Sent::Refused | Sent::Unavailable(_) => {
                self.told.failing_since.get_or_insert(now);
                self.told.error.clone_from(&error);
            }
        }
        if let Some(error) = error {
            self.errors.insert(lane.to_owned(), error);
        }
        if let Some(GivenUp { event, attempts }) = self.lanes.sent(lane, sent, at) {
            let error = self.errors.remove(lane).unwrap_or_default();
            tracing::warn!(
                webhook = self.id,
                cursor = event.cursor.0,
                error,
                "an event was given up: it is a dead letter"
            );
            self.given_up.push(DeadLetter { webhook: self.id.to_owned(), event, at: now, attempts, error });
        } else if sent == Sent::Accepted {
            self.errors.remove(lane);
        }
        if before.error != self.told.error || before.failing_since != self.told.failing_since {
            // Others see it at once.
            self.note();
            self.shared.leases.wake();
        } else if before != self.told {
            self.note();
        }
    }

    fn note(&self) {
        self.shared.leases.note(self.wanted, serde_json::to_string(&self.told).unwrap_or_default());
    }

    /// Tells the store what was delivered and given up.
    async fn tell(&mut self) -> Result<()> {
        let done = self.lanes.done();
        let mut steps: Vec<StoreOp> =
            self.given_up.iter().map(|letter| DeadLetterOp::Put(Box::new(letter.clone())).into()).collect();
        steps.push(ConsumerOp::Advance(consumer(self.id), done).into());
        self.shared.store.commit(self.shared.txn(steps).under(Some(self.held.fence.clone()))).await?;
        self.given_up.clear();
        (self.told_cursor, self.told_at) = (done, Instant::now());
        Ok(())
    }
}

/// What an answer means, and how it is told.
pub(super) fn outcome(answer: &Result<WebhookAnswer>) -> (Sent, Option<String>) {
    match answer {
        Ok(answer) => match answer.status {
            200..=299 => (Sent::Accepted, None),
            // Slower, later, or not now.
            408 | 425 | 429 | 500..=599 => {
                (Sent::Unavailable(answer.retry_after), Some(format!("HTTP {}", answer.status)))
            }
            status => (Sent::Refused, Some(format!("HTTP {status}"))),
        },
        Err(e) => (Sent::Unavailable(None), Some(e.message().to_owned())),
    }
}

/// The request that tells of an event. Its id is the same whenever it is sent: receivers know by it what they have handled.
pub(super) fn request(shared: &Shared, held: &HeldWebhook, event: &Event) -> WebhookRequest {
    let data = serde_json::to_value(event).unwrap_or_default();
    let body = serde_json::json!({ "type": event.kind, "timestamp": event.at, "data": data });
    signed(shared, held, &format!("evt_{}_{}", shared.store_id, event.cursor), body.to_string())
}

/// A signed request.
pub(super) fn signed(shared: &Shared, held: &HeldWebhook, id: &str, body: String) -> WebhookRequest {
    let now = shared.clock.now();
    let signature = signature(&held.secrets(now), id, now, &body);
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", (now.as_millis() / 1_000).to_string()),
        ("webhook-signature", signature),
    ];
    WebhookRequest { url: held.webhook.url.clone(), headers, body }
}

/// Makes an error of an answer that is not acceptance.
pub(super) fn accepted(op: &'static str, answer: Result<WebhookAnswer>) -> Result<()> {
    match outcome(&answer) {
        (Sent::Accepted, _) => Ok(()),
        (_, told) => {
            let error = Error::new(ErrorKind::Unavailable, op, "the receiver has not accepted it");
            Err(error.with("answer", told.unwrap_or_default()))
        }
    }
}
