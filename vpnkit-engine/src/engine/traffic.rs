//! Traffic.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use vpnkit_macros::operations;

use super::Shared;
use super::ask::Asked;
use super::context::current_scope;
use super::rates::{Rates, joined};
use super::server::Server;
use super::{Collected, Engine, side_by_side};
use crate::operation::{Access, Mark, enter};
use vpnkit_core::accounting::{Coefficient, by_calendar};
use vpnkit_core::model::{
    HistoryQuery, KeyId, KeyRef, NodeId, TimeZoneName, Traffic, UsagePoint, UsageQuery, UsageStep,
};
use vpnkit_core::traffic::OnlineKey;
use vpnkit_core::{Error, Result, Timestamp};
use vpnkit_subscription::{Theme, UsageChart};

/// How long a server may take to say who is online.
const ONLINE: Duration = Duration::from_secs(15);

/// Shows traffic over time and who is online.
#[derive(Clone, Debug)]
pub struct TrafficView {
    pub(super) engine: Engine,
}

/// What a picture is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    /// Pixels, for messengers.
    #[default]
    Png,
    /// Lines, for web pages.
    Svg,
}

/// A picture; in JSON in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image(pub Vec<u8>);

impl Serialize for Image {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl JsonSchema for Image {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Image".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "base64" })
    }
}

impl TrafficView {
    /// Makes a chart of a key's traffic over the last `days`, today included.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `days` unless it is 1 to 366.
    pub async fn chart(&self, key: impl Into<KeyRef>, days: u32) -> Result<UsageChart> {
        const OP: &str = "traffic.chart";
        let mark = Mark { name: OP, changes: false, access: Access::Own };
        enter(self, mark, self.judged_chart(OP, key.into(), days)).await
    }

    async fn judged_chart(&self, op: &'static str, key: KeyRef, days: u32) -> Result<UsageChart> {
        const DAY: u64 = 86_400;
        self.engine.shared.open(op)?;
        if !(1..=366).contains(&days) {
            return Err(Error::invalid(op, "days", "must be 1 to 366").with("value", days));
        }
        let key = self.engine.shared.resolve(op, &key).await?.id;
        let to = self.engine.shared.clock.now().day().plus(Duration::from_secs(DAY));
        let from = to.minus(Duration::from_secs(u64::from(days) * DAY));
        let query = UsageQuery { key: Some(key), owners: None, node: None, from, to };
        let points = self.engine.shared.store.usage(&query).await.map_err(|e| e.during(op))?;
        let days = by_calendar(&points, UsageStep::Day, &TimeZoneName::default());
        UsageChart::new(&days, from, to, UsageStep::Day)
    }
}

#[operations(noun = "traffic", handle = Engine::traffic)]
impl TrafficView {
    /// Returns traffic over time, oldest first; steps without traffic are left out. The sum of all steps is what has passed, to the
    /// byte.
    ///
    /// Errors: `NotFound` for the key or the admin; `InvalidInput` about `admin` beside a key.
    #[operation(read, own)]
    pub async fn history(&self, #[arg(spread)] query: HistoryQuery) -> Result<Vec<UsagePoint>> {
        const OP: &str = "traffic.history";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let key = match &query.key {
            Some(key) => Some(shared.resolve(OP, key).await?.id),
            None => None,
        };
        let owners = match &query.admin {
            Some(_) if key.is_some() => {
                return Err(Error::invalid(OP, "admin", "give `key` or `admin`, not both"));
            }
            Some(admin) => Some(shared.below(OP, admin).await?),
            None => None,
        };
        let usage = UsageQuery {
            key,
            owners,
            node: query.node,
            from: query.since.unwrap_or_default(),
            to: query.until.unwrap_or(Timestamp::MAX),
        };
        let points = shared.store.usage(&usage).await.map_err(|e| e.during(OP))?;
        let zone = query.time_zone.as_ref().unwrap_or(&shared.options.time_zone);
        let mut points = by_calendar(&points, query.step, zone);
        if let Some(since) = query.since {
            // An hour that begins before the day that is asked for belongs to the day before.
            let asked = UsagePoint { at: since, traffic: Traffic::default(), step: UsageStep::Hour };
            let first = by_calendar(&[asked], query.step, zone).first().map_or(since, |first| first.at);
            points.retain(|point| {
                query.step == UsageStep::Hour || point.step > query.step || point.at >= first
            });
        }
        Ok(points)
    }

    /// Draws a chart of a key's traffic over the last `days` (1 to 366, today included), for bots to send. `width` is in
    /// pixels, 200 to 4,096.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `days` or `width`.
    #[operation(read, name = "chart", own)]
    pub async fn chart_image(
        &self,
        key: impl Into<KeyRef>,
        #[arg(positional, default = 30)] days: u32,
        #[arg(default = Theme::Light)] theme: Theme,
        #[arg(default = ImageFormat::Png)] format: ImageFormat,
        #[arg(default = 1_080)] width: u32,
    ) -> Result<Image> {
        let chart = self.chart(key, days).await?;
        match format {
            ImageFormat::Png => chart.to_png(theme, width).map(Image),
            ImageFormat::Svg => Ok(Image(chart.to_svg(theme).into_bytes())),
        }
    }

    /// Reads every server that answers now, instead of at the next interval; those of other processes too.
    #[operation(change)]
    pub async fn collect(&self) -> Result<Vec<Collected>> {
        const OP: &str = "traffic.collect";
        self.engine.not_tried(OP)?;

        let shared = &self.engine.shared;
        shared.open(OP)?;
        let mut collected = shared.collect_all().await.map_err(|e| e.during(OP))?;
        let others = shared.ask_all(OP, &Asked::Collect).await?;
        collected.extend(others);
        Ok(collected)
    }

    /// Returns the keys with open connections on any server that answers, sorted by id.
    #[operation(read, own)]
    pub async fn online(&self) -> Result<Vec<OnlineKey>> {
        const OP: &str = "traffic.online";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let here = side_by_side(shared.up(), |server| async move {
            known(&server, server.online(OP).await).unwrap_or_default()
        });
        let (here, others) = tokio::join!(here, shared.ask_all::<Vec<OnlineKey>>(OP, &Asked::Online));
        let online = by_key(here.into_iter().chain(others?).flatten());
        shared.own_online(OP, online).await
    }

    /// Returns how fast bytes pass now, between the last two readings of each server that answers: by server, and of the `limit` fastest
    /// keys (1 to 1,000).
    ///
    /// Errors: `InvalidInput` about `limit`.
    #[operation(read)]
    pub async fn rates(&self, #[arg(positional, default = 100)] limit: u32) -> Result<Rates> {
        const OP: &str = "traffic.rates";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        if !(1..=1_000).contains(&limit) {
            return Err(Error::invalid(OP, "limit", "must be 1 to 1000").with("value", limit));
        }
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let here = shared.up().into_iter().map(|server| server.measured(most)).collect::<Vec<_>>();
        let others = shared.ask_all::<Rates>(OP, &Asked::Rates(most)).await?;
        Ok(joined(here.into_iter().chain(others), most))
    }

    /// Sets how much bytes through a node count against the limits of keys, in percent: 100, the default, is each byte once, 0 not at
    /// all, up to 10,000. The traffic of keys and of the node stays what has passed. Every process goes by it within a second.
    ///
    /// Errors: `InvalidInput` about `percent`.
    #[operation(change, dry_run)]
    pub async fn set_coefficient(&self, node: &NodeId, percent: u32) -> Result<()> {
        const OP: &str = "traffic.set_coefficient";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let coefficient = Coefficient::percent(OP, percent)?;
        self.engine.in_context(OP, shared.put_coefficient(OP, node, coefficient)).await
    }

    /// Returns how much bytes through nodes count, in percent, by node; those that are left out count once.
    #[operation(read)]
    pub async fn coefficients(&self) -> Result<BTreeMap<String, u32>> {
        const OP: &str = "traffic.coefficients";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let cache = shared.reload().await.map_err(|e| e.during(OP))?;
        Ok(cache.coefficients.iter().map(|(node, one)| (node.to_string(), one.as_percent())).collect())
    }

    /// Returns where one key is online from; `None` when it is not.
    ///
    /// Errors: `NotFound`.
    #[operation(read, own)]
    pub async fn online_key(&self, key: impl Into<KeyRef>) -> Result<Option<OnlineKey>> {
        const OP: &str = "traffic.online_key";
        let shared = &self.engine.shared;
        shared.open(OP)?;
        let key = shared.resolve(OP, &key.into()).await?.id;
        let here = side_by_side(shared.up(), |server| async move {
            known(&server, server.online_key(OP, key).await).flatten()
        });
        let asked = Asked::OnlineKey(key);
        let others = shared.ask_all::<Option<OnlineKey>>(OP, &asked);
        let (here, others) = tokio::join!(here, others);
        Ok(by_key(here.into_iter().chain(others?).flatten()).pop())
    }
}

impl Shared {
    /// Leaves those out that who calls does not see.
    async fn own_online(&self, op: &'static str, online: Vec<OnlineKey>) -> Result<Vec<OnlineKey>> {
        if current_scope().is_none() {
            return Ok(online);
        }
        let ids: Vec<KeyId> = online.iter().map(|one| one.key).collect();
        let mut seen = Vec::new();
        for some in ids.chunks(500) {
            seen.extend(self.store.keys(some).await.map_err(|e| e.during(op))?.into_iter().map(|key| key.id));
        }
        Ok(online.into_iter().filter(|one| seen.binary_search(&one.key).is_ok()).collect())
    }
}

impl Server {
    /// How fast bytes pass.
    pub(super) fn measured(&self, most: usize) -> Rates {
        self.rates.rates(self.id(), self.backend.node(), most)
    }

    /// Who is online on it.
    pub(super) async fn online(&self, op: &'static str) -> Result<Vec<OnlineKey>> {
        self.answer(op, ONLINE, self.source.online()).await
    }

    /// Where a key is online on it.
    pub(super) async fn online_key(&self, op: &'static str, key: KeyId) -> Result<Option<OnlineKey>> {
        self.answer(op, ONLINE, self.source.online_key(key)).await
    }
}

/// A server that does not say who is online is passed over.
fn known<T>(server: &Server, online: Result<T>) -> Option<T> {
    online
        .inspect_err(|e| tracing::warn!(server = %server.id(), error = %e, "who is online is not known"))
        .ok()
}

/// Joins what several servers say of a key; sorted by id.
pub(super) fn by_key(all: impl IntoIterator<Item = OnlineKey>) -> Vec<OnlineKey> {
    let mut keys: BTreeMap<KeyId, OnlineKey> = BTreeMap::new();
    for online in all {
        let known = keys.entry(online.key);
        known
            .or_insert_with(|| OnlineKey { key: online.key, addresses: Vec::new() })
            .addresses
            .extend(online.addresses);
    }
    keys.into_values().collect()
}
