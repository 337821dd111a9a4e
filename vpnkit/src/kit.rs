//! The facade.

use std::sync::Arc;

use vpnkit_core::model::AdminId;
use vpnkit_core::store::{KeyStore, memory::MemoryStore};
use vpnkit_core::{Clock, Result, Secret, SystemClock, Timestamp};
use vpnkit_engine::engine::{
    Admins, Engine, Events, Grants, HealthView, Hosts, Inbounds, KeyTemplates, Keys, ServerParts, StoreView,
    Subscriptions, TrafficView, Webhooks,
};

use crate::config::{Config, StoreConfig};
use crate::servers::{Servers, parts};

/// Keys, limits, traffic and servers in this process. Clones share it.
///
/// Call [`Self::close`] in the end: it reads the counters a last time, stops managed servers and releases the
/// store. Dropping the last clone stops everything too, but waits for nothing.
#[derive(Clone, Debug)]
pub struct VpnKit {
    engine: Engine,
}

impl VpnKit {
    /// Opens the store, starts the servers and the background work.
    ///
    /// A server that does not start is no error: it is `down`, [`Self::servers`] and an event tell why, and it is tried
    /// again. A kit that has been opened serves keys and subscriptions whatever its servers do.
    ///
    /// Errors: `InvalidConfig`; those of the store (`StoreLocked`, `StoreTooNew`, `StoreNotRecognized`, …).
    pub async fn open(config: Config) -> Result<Self> {
        Self::open_with_clock(config, Arc::new(SystemClock)).await
    }

    /// The same with a clock of your own, for tests of time.
    pub async fn open_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(config, clock, Vec::new()).await
    }

    /// The same with servers of your own too: programs that vpnkit does not know, or fakes.
    pub async fn open_with(config: Config, clock: Arc<dyn Clock>, servers: Vec<ServerParts>) -> Result<Self> {
        config.validate()?;
        let mut options = config.options();
        #[cfg(feature = "xray")]
        options.programs.push(Arc::new(vpnkit_xray::XrayRules));
        // A server that comes with its backend brings its rules; another process may drive one of the same program.
        options.programs.extend(servers.iter().map(|parts| parts.backend.rules()));
        #[cfg(feature = "webhooks")]
        {
            let sender = vpnkit_webhook::HttpSender::new(config.private_webhooks)?;
            options.webhooks = Some(Arc::new(sender));
        }
        let known = config.servers.into_iter().map(parts);
        let servers = known.chain(servers.into_iter().map(Ok)).collect::<Result<Vec<_>>>()?;
        let store: Arc<dyn KeyStore> = match config.store {
            StoreConfig::Memory => Arc::new(MemoryStore::new()),
            StoreConfig::Sqlite(path) => {
                open_sqlite(path, config.passphrase, config.previous_passphrase).await?
            }
        };
        let engine = match Engine::open(Arc::clone(&store), clock, options, servers).await {
            Ok(engine) => engine,
            Err(e) => {
                store.close().await?;
                return Err(e);
            }
        };
        Ok(Self { engine })
    }

    /// A kit from parts of your own: a store, a clock, servers that vpnkit does not know.
    #[must_use]
    pub fn from_engine(engine: Engine) -> Self {
        Self { engine }
    }

    /// Keys: create, find, change, delete.
    ///
    /// ```
    /// use vpnkit::{ByteSize, Config, CreateKey, ErrorKind, KeyPatch, KeyStatus, VpnKit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// # let kit = VpnKit::open(Config::memory()).await?;
    /// let key = kit.keys().create(CreateKey::named("tg_42").data_limit(ByteSize::gib(50))).await?;
    ///
    /// // Sold another 50 GiB: only if nobody changed the key meanwhile.
    /// let patch = KeyPatch::default().data_limit(ByteSize::gib(100));
    /// let sold = kit.keys().update(key.id, patch.clone(), None, Some(key.version)).await?;
    /// let again = kit.keys().update(key.id, patch, None, Some(key.version)).await;
    /// assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    ///
    /// assert_eq!(kit.keys().disable("tg_42").await?.status, KeyStatus::Disabled);
    /// assert_eq!(kit.keys().enable(sold.uid).await?.status, KeyStatus::Active);
    /// kit.keys().delete(key.id, None).await?;
    /// assert!(kit.keys().get(key.id).await?.is_none());
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.engine.keys()
    }

    /// Inbounds: add, change, remove.
    ///
    /// ```no_run
    /// use vpnkit::{Config, Inbound, InboundTag, NodeId, Transport, VpnKit, Protocol, XrayConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// let xray = XrayConfig::managed("vpn.example.com", "/var/lib/vpnkit/xray");
    /// let kit = VpnKit::open(Config::sqlite("/var/lib/vpnkit/keys.db").xray(xray)).await?;
    /// let tag = InboundTag::new("ws")?;
    /// let websocket = Transport::WebSocket { path: "/tunnel".into(), host: None };
    /// kit.inbounds().ensure(Inbound::new(tag.clone(), 8080, Protocol::Vmess).transport(websocket)).await?;
    /// // A port and a tag for one key, which go with it.
    /// let key = kit.keys().require("alice").await?;
    /// let own = Inbound::new(InboundTag::new("alice")?, 8081, Protocol::Trojan).dedicated_to(key.id);
    /// kit.inbounds().ensure(own).await?;
    /// kit.inbounds().remove(&NodeId::main(), &tag).await?;
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn inbounds(&self) -> Inbounds {
        self.engine.inbounds()
    }

    /// Hosts: how clients reach inbounds. Without any, an inbound is reached at its server's address.
    ///
    /// ```
    /// use vpnkit::{Config, Host, InboundTag, NodeId, VpnKit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// # let kit = VpnKit::open(Config::memory()).await?;
    /// let (node, tag) = (NodeId::main(), InboundTag::new("ws")?);
    /// let mut cdn = Host::new("🚀 {USERNAME} · {DATA_LEFT}", "*.cdn.example.com");
    /// cdn.port = Some(443);
    /// let direct = Host::new("direct", "{SERVER_IP}");
    /// # assert!(
    /// kit.hosts().set(&node, &tag, vec![cdn, direct]).await
    /// # .is_err_and(|e| e.kind() == vpnkit::ErrorKind::NotFound));
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn hosts(&self) -> Hosts {
        self.engine.hosts()
    }

    /// Subscriptions: URLs, answers for clients, settings, templates, devices.
    ///
    /// ```
    /// use vpnkit::subscription::{Format, SubscriptionSettings};
    /// use vpnkit::{Config, CreateKey, RenderOptions, VpnKit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// # let kit = VpnKit::open(Config::memory()).await?;
    /// let base_url = Some("https://sub.example.com/s".to_owned());
    /// let settings = SubscriptionSettings { base_url, ..SubscriptionSettings::default() };
    /// kit.subscriptions().configure(settings).await?;
    /// let key = kit.keys().create(CreateKey::named("alice")).await?;
    /// println!("{}", kit.subscriptions().url(key.id).await?);
    ///
    /// // In a handler of any web framework:
    /// let token = kit.subscriptions().token(key.id).await?;
    /// let headers = [("User-Agent".to_owned(), "clash-verge/v2.4.2".to_owned())];
    /// let answer = kit.subscriptions().for_request(&token, &headers, None).await?;
    /// assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/yaml; charset=utf-8")));
    ///
    /// // Without a request:
    /// let plain = kit.subscriptions().render("alice", RenderOptions::format(Format::Plain)).await?;
    /// assert!(plain.body.starts_with("ss://"), "no server yet: a line that says so");
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn subscriptions(&self) -> Subscriptions {
        self.engine.subscriptions()
    }

    /// Traffic: history, who is online.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vpnkit::{Config, CreateKey, HistoryQuery, UsageStep, VpnKit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// # let kit = VpnKit::open(Config::memory()).await?;
    /// let key = kit.keys().create(CreateKey::named("alice")).await?;
    /// let since = kit.now()?.minus(Duration::from_secs(30 * 86_400));
    /// let month = HistoryQuery::of(key.id).since(since).step(UsageStep::Day);
    /// for day in kit.traffic().history(month).await? {
    ///     println!("{} {} up, {} down", day.at, day.traffic.up, day.traffic.down);
    /// }
    /// assert!(kit.traffic().online().await?.is_empty());
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn traffic(&self) -> TrafficView {
        self.engine.traffic()
    }

    /// Grants: the ledger of what keys were given; takes them back.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{ByteSize, Config, CreateKey, Extension, GrantQuery, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// let key = kit.keys().create(CreateKey::named("alice").data_limit(ByteSize::gib(50))).await?;
    /// let month = Extension::default().data_limit(ByteSize::gib(50));
    /// // The provider says it twice: it is given once.
    /// for _ in 0..2 {
    ///     kit.keys().extend("alice", month.clone(), Some("stripe:1".into()), None).await?;
    /// }
    /// assert_eq!(kit.keys().require("alice").await?.data_limit, Some(ByteSize::gib(100)));
    /// assert_eq!(kit.grants().find(GrantQuery::of(key.id)).await?.len(), 2);
    /// let refunded = kit.grants().undo("stripe:1", Some("asked for it".into()), None).await?;
    /// assert_eq!(refunded.data_limit, Some(ByteSize::gib(50)));
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn grants(&self) -> Grants {
        self.engine.grants()
    }

    /// Admins: sudo and resellers, their quotas, passwords and API keys.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{ByteSize, Config, CreateAdmin, Secret, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// let bob = CreateAdmin::named("bob").key_limit(100).sold_limit(ByteSize::gib(5_000));
    /// let bob = kit.admins().create(bob, Some(Secret::new("correct horse"))).await?;
    /// // Who signs in with a password, and who calls with an API key.
    /// let signed_in = kit.admins().check_password("bob", Secret::new("correct horse")).await?;
    /// assert_eq!(signed_in.map(|admin| admin.id), Some(bob.id));
    /// let scopes = Some(vec!["keys".to_owned()]);
    /// let made = kit.admins().create_api_key(bob.id, "website", scopes, None).await?;
    /// let key = kit.admins().check_api_key(made.token).await?.expect("it was just made");
    /// let website = kit.as_admin(key.admin, key.scopes)?;
    /// assert_eq!(website.keys().count(Default::default()).await?.total, 0);
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn admins(&self) -> Admins {
        self.engine.admins()
    }

    /// Templates: what keys are made of again and again, the products of a shop.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use std::time::Duration;
    /// use vpnkit::{ByteSize, Config, CreateKey, Extension, KeyTemplate, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// let month = Duration::from_secs(30 * 86_400);
    /// let product = KeyTemplate::named("month").data_limit(ByteSize::gib(50)).expires_in(month);
    /// // The same call at every start.
    /// kit.templates().ensure(product).await?;
    /// let key = kit.keys().create(CreateKey::named("alice").template("month")).await?;
    /// let renewal = Extension::default().template("month");
    /// let renewed = kit.keys().extend(key.id, renewal, Some("stripe:1".into()), None).await?;
    /// assert_eq!(renewed.data_limit, Some(ByteSize::gib(100)));
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn templates(&self) -> KeyTemplates {
        self.engine.templates()
    }

    /// The store: backups while it is written, and whether its file is sound. A backup is put back with
    /// [`sqlite::SqliteStore::restore`](crate::sqlite::SqliteStore::restore) while nobody has the store open.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{Config, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::sqlite("/var/lib/vpnkit/keys.db")).await?;
    /// let backup = kit.store().back_up("/var/backups/keys-2026-11-26.db").await?;
    /// println!("{}: {} keys", backup.path, backup.keys);
    /// assert!(kit.store().check().await?.faults.is_empty());
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn store(&self) -> StoreView {
        self.engine.store()
    }

    /// Health: background jobs, and metrics for Prometheus.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{Config, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// let failing = kit.health().jobs().await?.into_iter().filter(|job| job.failing_since.is_some());
    /// assert_eq!(failing.count(), 0);
    /// println!("{}", kit.health().metrics().await?);
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn health(&self) -> HealthView {
        self.engine.health()
    }

    /// Webhooks: who is told of events over HTTP. They are sent with the feature `webhooks`.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{Config, CreateWebhook, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::sqlite("/var/lib/vpnkit/keys.db")).await?;
    /// let request = CreateWebhook::to("https://shop.example/events").kinds(["key.expires_soon", "key.limited"]);
    /// let made = kit.webhooks().create(request).await?;
    /// // The receiver verifies signatures with it; it is not shown again.
    /// println!("{}", made.secret.expose());
    /// for status in kit.webhooks().status().await? {
    ///     println!("{}: {} behind, failing since {:?}", status.id, status.pending, status.failing_since);
    /// }
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn webhooks(&self) -> Webhooks {
        self.engine.webhooks()
    }

    /// Events: from a cursor on. Keep the cursor of the last one that you handled, and go on from there.
    ///
    /// ```
    /// use vpnkit::{Config, CreateKey, Cursor, EventKind, VpnKit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// # let kit = VpnKit::open(Config::memory()).await?;
    /// let key = kit.keys().create(CreateKey::named("alice")).await?;
    /// let mut events = kit.events().stream(Cursor::START);
    /// let event = events.next().await?.expect("it is open");
    /// assert_eq!((event.kind, event.key()), (EventKind::KeyCreated, Some(key.id)));
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self) -> Events {
        self.engine.events()
    }

    /// Servers: add, remove, status, log, reconcile.
    ///
    /// ```
    /// use vpnkit::{Config, ServerCondition, VpnKit, XrayConfig};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// // Nobody answers there: that is told, and no reason not to open.
    /// let config = Config::memory().xray(XrayConfig::attached("vpn.example.com", "127.0.0.1:1"));
    /// let kit = VpnKit::open(config).await?;
    /// for server in kit.servers().status().await? {
    ///     assert_eq!(server.state, ServerCondition::Down);
    ///     assert!(kit.servers().reconcile(&server.id).await.unwrap_err().is_temporary());
    /// }
    /// # kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn servers(&self) -> Servers {
        Servers::of(&self.engine)
    }

    /// Returns this kit for calls in somebody's name and for a reason: events, grants and [`Keys::timeline`] tell both. It is the
    /// same kit, and closes with it.
    ///
    /// Errors: `InvalidInput` about `actor`, 1 to 255 visible characters, or `reason`, up to 500 characters on one line.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{Config, CreateKey, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// kit.keys().create(CreateKey::named("alice")).await?;
    /// let support = kit.acting_as("support:bob", Some("reported as stolen"))?;
    /// support.keys().disable("alice").await?;
    /// let newest = kit.keys().timeline("alice", None, 1).await?.remove(0);
    /// let cause = newest.cause.expect("a call");
    /// assert_eq!((cause.operation.as_str(), cause.actor.as_deref()), ("keys.disable", Some("support:bob")));
    /// kit.close().await
    /// # }
    /// ```
    pub fn acting_as(&self, actor: &str, reason: Option<&str>) -> Result<Self> {
        let mut context = self.engine.context().clone().acting_as(actor)?;
        if let Some(reason) = reason {
            context = context.because(reason)?;
        }
        Ok(Self { engine: self.engine.with_context(context) })
    }

    /// Returns this kit for calls in the name of an admin: they do and see what that one may, as it stands at the time of each
    /// call. Sudo may do everything, a reseller what is its own, within its quotas; what belongs to others is not there. With
    /// `scopes`, as an API key has them, only what those cover: `*`, `*:read`, a noun such as `keys`, `keys:read`.
    ///
    /// It is the same kit, and closes with it. Calls that are not allowed fail with `PermissionDenied`.
    ///
    /// Errors: `InvalidInput` about `scopes`; `PermissionDenied` for a kit that makes calls in the name of an admin already.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{ByteSize, Config, CreateAdmin, CreateKey, ErrorKind, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// kit.keys().create(CreateKey::named("somebody")).await?;
    /// let bob = kit.admins().create(CreateAdmin::named("bob").key_limit(1), None).await?;
    /// let bobs = kit.as_admin(bob.id, None)?;
    /// let key = bobs.keys().create(CreateKey::named("alice").data_limit(ByteSize::gib(50))).await?;
    /// assert_eq!(key.owner, Some(bob.id));
    /// assert!(bobs.keys().get("somebody").await?.is_none());
    /// let one_more = bobs.keys().create(CreateKey::named("carol")).await;
    /// assert_eq!(one_more.unwrap_err().kind(), ErrorKind::LimitReached);
    /// assert_eq!(bobs.servers().status().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    /// kit.close().await
    /// # }
    /// ```
    pub fn as_admin(&self, admin: AdminId, scopes: Option<Vec<String>>) -> Result<Self> {
        let context = self.engine.context().clone().as_admin(admin, scopes)?;
        Ok(Self { engine: self.engine.with_context(context) })
    }

    /// Returns this kit for changes that are only tried: each is checked and carried out like any other, answers what would be, and
    /// leaves nothing behind. Ids, credentials and links of what would be new are those of nothing; servers are not asked.
    ///
    /// Calls whose effect is on servers or other processes cannot be tried: they fail with `Unsupported`. Those that read do so.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> vpnkit::Result<()> {
    /// use vpnkit::{ByteSize, Config, CreateKey, Extension, VpnKit};
    ///
    /// let kit = VpnKit::open(Config::memory()).await?;
    /// kit.keys().create(CreateKey::named("alice").data_limit(ByteSize::gib(50))).await?;
    /// let more = Extension::default().data_limit(ByteSize::gib(50));
    /// let would_be = kit.dry_run().keys().extend("alice", more, None, None).await?;
    /// assert_eq!(would_be.data_limit, Some(ByteSize::gib(100)));
    /// assert_eq!(kit.keys().require("alice").await?.data_limit, Some(ByteSize::gib(50)));
    /// kit.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn dry_run(&self) -> Self {
        Self { engine: self.engine.with_context(self.engine.context().clone().dry_run()) }
    }

    /// Returns the engine: for servers and bindings that call operations by name.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the time as vpnkit sees it. Compute with it, not with the machine's: they differ in tests.
    ///
    /// Errors: `Closed`.
    pub fn now(&self) -> Result<Timestamp> {
        self.engine.now()
    }

    /// Does at once what background work does in its intervals; see [`Engine::tick`].
    pub async fn tick(&self) -> Result<()> {
        self.engine.tick().await
    }

    /// Reads the counters a last time, stops managed servers, releases the store.
    pub async fn close(&self) -> Result<()> {
        self.engine.close().await
    }
}

#[cfg(feature = "sqlite")]
async fn open_sqlite(
    path: std::path::PathBuf,
    passphrase: Option<Secret>,
    previous_passphrase: Option<Secret>,
) -> Result<Arc<dyn KeyStore>> {
    use vpnkit_sqlite::{SqliteOptions, SqliteStore};
    let options = SqliteOptions { passphrase, previous_passphrase, ..SqliteOptions::default() };
    Ok(Arc::new(SqliteStore::open(path, options).await?))
}

#[cfg(not(feature = "sqlite"))]
#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
async fn open_sqlite(
    _path: std::path::PathBuf,
    _passphrase: Option<Secret>,
    _previous_passphrase: Option<Secret>,
) -> Result<Arc<dyn KeyStore>> {
    use vpnkit_core::{Error, ErrorKind};
    Err(Error::new(ErrorKind::Unsupported, "open", "this vpnkit was built without the feature `sqlite`"))
}
