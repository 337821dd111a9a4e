//! Subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_macros::operations;

use super::devices::device;
use super::subscription_cache::SubscriptionCache;
use super::{Engine, Shared};
use vpnkit_core::accounting::by_calendar;
use vpnkit_core::model::{ClientDevice, Key, KeyPatch, KeyRef, TimeZoneName, UsageQuery, UsageStep};
use vpnkit_core::store::DeviceOp;
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};
use vpnkit_subscription::{
    Claim, Devices, Format, Language, PAGE_DAYS, SettingsPatch, Subject, SubscriptionResponse,
    SubscriptionSettings, SubscriptionTemplate, detect,
};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RenderOptions {
    /// Its `User-Agent`, or the beginning of it: `Happ/3`, `clash-verge`.
    pub client: Option<String>,
    /// The format, whatever the client: `links`, `plain`, `xray`, `clash`, `clash-meta`, `stash`, `sing-box`, `outline`,
    /// `wireguard`, `html` or `template:NAME`.
    pub format: Option<Format>,
    /// The language of the page.
    pub language: Option<Language>,
}

impl RenderOptions {
    /// What this client reads.
    pub fn client(user_agent: impl Into<String>) -> Self {
        Self { client: Some(user_agent.into()), ..Self::default() }
    }

    /// This format.
    #[must_use]
    pub fn format(format: Format) -> Self {
        Self { format: Some(format), ..Self::default() }
    }
}

/// Subscriptions: URLs, answers for clients, settings, templates, devices.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    pub(super) engine: Engine,
}

#[operations(noun = "subscriptions", handle = Engine::subscriptions)]
impl Subscriptions {
    /// The settings.
    #[operation(read)]
    pub async fn settings(&self) -> Result<SubscriptionSettings> {
        let cache = self.shared("subscriptions.settings")?.reload().await?;
        match &cache.fault {
            Some(e) => Err(e.clone().during("subscriptions.settings")),
            None => Ok((*cache.settings).clone()),
        }
    }

    /// Replaces the settings, for every process that uses this store.
    ///
    /// Errors: `InvalidInput` with the `field`.
    #[operation(change, dry_run)]
    pub async fn configure(&self, #[arg(record)] settings: SubscriptionSettings) -> Result<()> {
        const OP: &str = "subscriptions.configure";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                let cache = shared.fresh_subscriptions().await?;
                cache.check(OP, &settings)?;
                shared.put_settings(OP, None, &settings).await
            })
            .await
    }

    /// Changes what is given of the settings and keeps the rest, for every process that uses this store; returns all of
    /// them.
    ///
    /// Errors: `InvalidInput` with the `field`.
    #[operation(change, dry_run)]
    pub async fn update(&self, #[arg(spread)] patch: SettingsPatch) -> Result<SubscriptionSettings> {
        const OP: &str = "subscriptions.update";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                loop {
                    let cache = shared.reload().await?;
                    if let Some(e) = &cache.fault {
                        return Err(e.clone().during(OP));
                    }
                    let mut settings = (*cache.settings).clone();
                    patch.clone().apply(&mut settings);
                    cache.check(OP, &settings)?;
                    match shared.put_settings(OP, Some(cache.settings_version), &settings).await {
                        // Somebody else was first: this change goes on top of theirs.
                        Err(e) if e.kind() == ErrorKind::Conflict => {}
                        outcome => return outcome.map(|()| settings),
                    }
                }
            })
            .await
    }

    /// The token of a key: 28 letters, the same until its links are revoked or the signing secret is rotated.
    ///
    /// Errors: `NotFound`.
    #[operation(read, own)]
    pub async fn token(&self, key: impl Into<KeyRef>) -> Result<String> {
        const OP: &str = "subscriptions.token";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        shared.token(OP, &key).await
    }

    /// The URL of a key's subscription.
    ///
    /// Errors: `NotFound`; `InvalidConfig` when the settings have no `base_url`.
    #[operation(read, own)]
    pub async fn url(&self, key: impl Into<KeyRef>) -> Result<String> {
        const OP: &str = "subscriptions.url";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let token = shared.token(OP, &key).await?;
        url(&shared.fresh_subscriptions().await?.settings, &token).ok_or_else(|| {
            Error::new(ErrorKind::InvalidConfig, OP, "it is not known where subscriptions are served")
                .with("field", "base_url")
                .hint("set `base_url` in the settings of subscriptions")
        })
    }

    /// A key's subscription as a client gets it, devices aside.
    ///
    /// Errors: `NotFound` for the key or a template.
    #[operation(read, own)]
    pub async fn render(
        &self,
        key: impl Into<KeyRef>,
        #[arg(spread)] target: RenderOptions,
    ) -> Result<SubscriptionResponse> {
        const OP: &str = "subscriptions.render";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        let cache = shared.fresh_subscriptions().await?;
        let agent = target.client.as_deref().unwrap_or_default();
        let format = target.format.unwrap_or_else(|| detect(&cache.settings.clients, agent, "").format);
        let token = shared.token(OP, &key).await?;
        let asked = Asked { format: &format, devices: Devices::Free, language: target.language, known: None };
        shared.respond(&cache, key, &token, asked).await
    }

    /// The answer to an HTTP request for a subscription. `headers` are the request's, in any case and order; `format`
    /// is what stands after the token in the URL, if anything does.
    ///
    /// A token that is not valid, or no longer, is an answer with status 404, as is an unknown `format`; only a
    /// failure of the store is an error.
    #[operation(read, anyone)]
    pub async fn for_request(
        &self,
        token: &str,
        #[arg(format = "headers")] headers: &[(String, String)],
        #[arg(positional)] format: Option<&str>,
    ) -> Result<SubscriptionResponse> {
        let header = |name: &str| {
            headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let answer = self.answer(token, &header, format).await?;
        let client = detect(&[], header("user-agent").unwrap_or_default(), "").client;
        self.engine.shared.metrics.subscription(client, answer.status);
        Ok(answer)
    }

    /// Makes every token and URL of the key that was given out worthless, and with `new_credentials` its share links too: at once, and
    /// open connections end where the server can end them; or when `keep_old` is over, so that the customer's devices can change.
    /// Until then the old URL answers with the old links. Revoked again, those of before end at once.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `keep_old`: longer than nothing, up to 366 days.
    #[operation(change, dry_run, own)]
    pub async fn revoke(
        &self,
        key: impl Into<KeyRef>,
        #[arg(default = false)] new_credentials: bool,
        keep_old: Option<Duration>,
    ) -> Result<Key> {
        const OP: &str = "subscriptions.revoke";
        let shared = self.shared(OP)?;
        if keep_old.is_some_and(|time| time.is_zero() || time > Duration::from_secs(366 * 86_400)) {
            return Err(Error::invalid(OP, "keep_old", "must be longer than nothing and up to 366 days"));
        }
        let key = shared.resolve(OP, &key.into()).await?;
        let mut patch = KeyPatch { revoke_links: true, keep_old_links: keep_old, ..KeyPatch::default() };
        if new_credentials {
            for old in key.credentials.iter().filter(|credential| !credential.is_replaced()) {
                // In the name of the call: what is only tried asks no server.
                let renewed = self.engine.in_context(OP, shared.renewed(OP, old)).await?;
                patch.credentials.push(renewed);
            }
        }
        self.engine.keys().patch(OP, key.id.into(), patch, None).await
    }

    /// A new secret signs from now on. Tokens of those before are honoured for `keep` longer: clients that fetch in
    /// that time need nothing new only while their URL is valid, so send out the new URLs. Zero ends all of them at
    /// once, as after a leak.
    ///
    /// Errors: `Conflict` when another process does the same.
    #[operation(change, dry_run)]
    pub async fn rotate_secret(&self, keep: Duration) -> Result<()> {
        const OP: &str = "subscriptions.rotate_secret";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                let now = shared.clock.now();
                shared.change_signing(OP, |keys| keys.rotate(now, keep)).await
            })
            .await
    }

    /// The operator's templates, by name.
    #[operation(read)]
    pub async fn templates(&self) -> Result<BTreeMap<String, SubscriptionTemplate>> {
        Ok(self.shared("subscriptions.templates")?.reload().await?.sources.clone())
    }

    /// Adds a template, or replaces the one of its name (1 to 32 of `a-z 0-9 _ -`). It is checked first.
    ///
    /// Errors: `InvalidInput` about `name`, `content_type` or `source`, with the `line`.
    #[operation(change, dry_run)]
    pub async fn put_template(
        &self,
        name: &str,
        #[arg(record)] template: SubscriptionTemplate,
    ) -> Result<()> {
        const OP: &str = "subscriptions.put_template";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
                if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
                    return Err(Error::invalid(OP, "name", "1 to 32 of a-z 0-9 _ - are allowed"));
                }
                // A template may take its time; nobody else should wait for it.
                let checked = template.clone();
                tokio::task::spawn_blocking(move || checked.check()).await.map_err(|e| {
                    Error::new(ErrorKind::Unexpected, OP, "the check did not end").caused_by(e)
                })??;
                shared.put_template(OP, name, Some(&template)).await
            })
            .await
    }

    /// Removes a template.
    ///
    /// Errors: `NotFound`; `Conflict` while a rule of the settings uses it.
    #[operation(change, dry_run)]
    pub async fn remove_template(&self, name: &str) -> Result<()> {
        const OP: &str = "subscriptions.remove_template";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                let cache = shared.reload().await?;
                let fault = |kind, message| Err(Error::new(kind, OP, message).with("template", name));
                if !cache.sources.contains_key(name) {
                    return fault(ErrorKind::NotFound, "no such template");
                }
                if cache
                    .settings
                    .clients
                    .iter()
                    .any(|rule| matches!(&rule.format, Format::Template(n) if n == name))
                {
                    return fault(ErrorKind::Conflict, "a rule of the settings uses it");
                }
                shared.put_template(OP, name, None).await
            })
            .await
    }

    /// The devices that have fetched a key's subscription, the one that came first first.
    ///
    /// Errors: `NotFound`.
    #[operation(read, own)]
    pub async fn devices(&self, key: impl Into<KeyRef>) -> Result<Vec<ClientDevice>> {
        const OP: &str = "subscriptions.devices";
        let shared = self.shared(OP)?;
        let key = shared.resolve(OP, &key.into()).await?;
        shared.store.devices(key.id).await.map_err(|e| e.during(OP))
    }

    /// Forgets a device of a key, or with `None` all of them: there is room for another one.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run, own)]
    pub async fn forget_device(
        &self,
        key: impl Into<KeyRef>,
        #[arg(required)] id: Option<String>,
    ) -> Result<()> {
        const OP: &str = "subscriptions.forget_device";
        self.engine
            .in_context(OP, async {
                let shared = self.shared(OP)?;
                let key = shared.resolve(OP, &key.into()).await?.id;
                let forget = DeviceOp::Forget { key, id };
                shared.store.commit(shared.txn([forget])).await.map(drop).map_err(|e| e.during(OP))
            })
            .await
    }

    async fn answer<'h>(
        &self,
        token: &str,
        header: &(impl Fn(&str) -> Option<&'h str> + Sync),
        format: Option<&str>,
    ) -> Result<SubscriptionResponse> {
        const OP: &str = "subscriptions.for_request";
        let shared = self.shared(OP)?;
        let (cache, now) =
            (shared.fresh_subscriptions().await.map_err(|e| e.during(OP))?, shared.clock.now());
        let Some((key, old)) = shared.key_of(&cache, token, now).await.map_err(|e| e.during(OP))? else {
            return Ok(SubscriptionResponse::not_found());
        };
        let (agent, accept) =
            (header("user-agent").unwrap_or_default(), header("accept").unwrap_or_default());
        let format = match format.filter(|format| !format.is_empty()) {
            None => detect(&cache.settings.clients, agent, accept).format,
            Some(code) => match code.parse() {
                Ok(Format::Template(name)) if !cache.sources.contains_key(&name) => {
                    return Ok(SubscriptionResponse::not_found());
                }
                Ok(format) => format,
                Err(_) => return Ok(SubscriptionResponse::not_found()),
            },
        };
        let devices = match (key.status, &format) {
            // A browser names no device. Where they are counted its page shows no links of servers.
            (status, Format::Page) if status.may_connect() => {
                match key.device_limit.or(cache.settings.device_limit) {
                    Some(_) => Devices::Bound,
                    None => Devices::Free,
                }
            }
            (status, _) if !status.may_connect() => Devices::Free,
            _ => {
                let limit = key.device_limit.or(cache.settings.device_limit);
                let device = device(&key, header, now);
                let required = cache.settings.require_device;
                let seen = if old {
                    shared.was_seen(device, limit, required).await
                } else {
                    shared.seen(device, limit, required).await
                };
                seen.map_err(|e| e.during(OP))?
            }
        };
        let language = header("accept-language").and_then(Language::accepted);
        let asked = Asked { format: &format, devices, language, known: header("if-none-match") };
        // Who comes with a token of an earlier secret is shown the URL that goes on; not who comes with one that was revoked.
        let newest = match old {
            true => None,
            false => cache.signing.sign(Claim { key: key.id, revision: key.link_revision }),
        };
        shared.respond(&cache, key, newest.as_deref().unwrap_or(token), asked).await
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}

fn url(settings: &SubscriptionSettings, token: &str) -> Option<String> {
    settings.base_url.as_ref().map(|base| format!("{}/{token}", base.trim_end_matches('/')))
}

/// What is asked for, and by whom.
struct Asked<'a> {
    format: &'a Format,
    devices: Devices,
    language: Option<Language>,
    /// The tag of what the client has already.
    known: Option<&'a str>,
}

impl Shared {
    async fn token(&self, op: &'static str, key: &Key) -> Result<String> {
        let cache = self.signing_cache(op).await?;
        cache
            .signing
            .sign(Claim { key: key.id, revision: key.link_revision })
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, op, "there is no secret to sign with"))
    }

    /// The key of a token, and whether that is of links that were revoked and still work; `None` when it is not one, or was revoked.
    async fn key_of(
        &self,
        cache: &SubscriptionCache,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<(Key, bool)>> {
        let Some(claim) = cache.signing.verify(token, now) else { return Ok(None) };
        let Some(key) = self.store.key(&KeyRef::Id(claim.key)).await? else { return Ok(None) };
        if key.link_revision == claim.revision {
            return Ok(Some((key, false)));
        }
        let old = key.old_links_until.is_some_and(|until| until > now) && key.had_revision(claim.revision);
        Ok(old.then(|| (key.with_old_credentials(), true)))
    }

    async fn respond(
        &self,
        cache: &SubscriptionCache,
        key: Key,
        token: &str,
        asked: Asked<'_>,
    ) -> Result<SubscriptionResponse> {
        let Asked { format, devices, language, known } = asked;
        let now = self.clock.now();
        let mut subject = Subject {
            endpoints: self.endpoints(&key, cache, now)?,
            settings: Arc::clone(&cache.settings),
            templates: Arc::clone(&cache.templates),
            key,
            now,
            url: url(&cache.settings, token),
            devices,
            usage: Vec::new(),
            language,
        };
        match format {
            Format::Page => {}
            // The operator's own: how long it takes nobody knows, so it does not take the runtime's threads.
            Format::Template(_) => return self.make(subject, format.clone(), known).await,
            _ => return subject.respond(format, known),
        }
        let query = UsageQuery {
            owners: None,
            key: Some(subject.key.id),
            node: None,
            from: now.minus(Duration::from_secs(PAGE_DAYS * 86_400)),
            to: now.plus(Duration::from_secs(1)),
        };
        let points = self.store.usage(&query).await?;
        subject.usage = by_calendar(&points, UsageStep::Day, &TimeZoneName::default());
        let (key, tag) = (subject.key.id, subject.page_tag());
        if let Some(unchanged) = known.and_then(|known| SubscriptionResponse::unchanged(known, &tag)) {
            return Ok(unchanged);
        }
        if let Some(page) = self.pages.get(key, &tag) {
            return Ok(page);
        }
        let page = self.make(subject, Format::Page, known).await?;
        if page.status == 200 {
            self.pages.put(key, page.clone());
        }
        Ok(page)
    }

    /// Makes an answer that is dear: one at a time, on a thread that nobody else waits for.
    async fn make(
        &self,
        subject: Subject,
        format: Format,
        known: Option<&str>,
    ) -> Result<SubscriptionResponse> {
        let Some(turn) = self.pages.turn(subject.key.id, &format).await else {
            return Ok(SubscriptionResponse::busy());
        };
        let known = known.map(str::to_owned);
        let made = tokio::task::spawn_blocking(move || {
            // To the end of the work, also when nobody waits for it any more.
            let _turn = turn;
            subject.respond(&format, known.as_deref())
        })
        .await;
        made.map_err(|e| {
            Error::new(ErrorKind::Unexpected, "subscriptions.page", "the answer was not made").caused_by(e)
        })?
    }
}
