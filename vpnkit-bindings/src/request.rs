//! The facade's calls as data.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use uuid::Uuid;
use vpnkit::subscription::{Format, Language, SubscriptionSettings, Theme};
use vpnkit::{
    ByteSize, CreateKey, Cursor, Error, ErrorKind, Host, Inbound, InboundTag, KeyId, KeyPatch, KeyQuery,
    KeyRef, NodeId, Result, ServerId, Timestamp, UsageQuery,
};

macro_rules! requests {
    ($($code:literal => $name:ident($arguments:ty),)*) => {
        /// One call.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "each is the call of its name")]
        #[non_exhaustive]
        pub enum Request { $($name($arguments),)* }

        impl Request {
            /// The names of all calls: noun and verb.
            pub const OPERATIONS: &'static [&'static str] = &[$($code,)*];

            /// The name as it is kept here.
            ///
            /// Errors: `Unsupported`.
            pub fn named(operation: &str) -> Result<&'static str> {
                Self::OPERATIONS.iter().copied().find(|name| *name == operation).ok_or_else(|| unknown(operation))
            }

            /// The call `operation` with `arguments`, a JSON object.
            ///
            /// Errors: `InvalidInput` with the `field`.
            pub fn parse(operation: &str, arguments: &str) -> Result<Self> {
                match operation {
                    $($code => Ok(Self::$name(read($code, arguments)?)),)*
                    _ => Err(unknown(operation)),
                }
            }

            /// Its name.
            #[must_use]
            pub fn operation(&self) -> &'static str {
                match self { $(Self::$name(_) => $code,)* }
            }
        }
    };
}

requests! {
    "keys.create" => KeysCreate(Box<CreateKey>),
    "keys.create_many" => KeysCreateMany(CreateMany),
    "keys.get" => KeysGet(OfKey),
    "keys.require" => KeysRequire(OfKey),
    "keys.find" => KeysFind(KeyQuery),
    "keys.update" => KeysUpdate(Box<Update>),
    "keys.enable" => KeysEnable(OfKey),
    "keys.disable" => KeysDisable(OfKey),
    "keys.reset_usage" => KeysResetUsage(OfKey),
    "keys.delete" => KeysDelete(Delete),
    "keys.delete_many" => KeysDeleteMany(DeleteMany),
    "keys.endpoints" => KeysEndpoints(OfKey),
    "keys.links" => KeysLinks(OfKey),
    "hosts.list" => HostsList(Nothing),
    "hosts.set" => HostsSet(SetHosts),
    "hosts.preview" => HostsPreview(Preview),
    "inbounds.ensure" => InboundsEnsure(Box<Inbound>),
    "inbounds.list" => InboundsList(Nothing),
    "inbounds.get" => InboundsGet(OfInbound),
    "inbounds.remove" => InboundsRemove(OfInbound),
    "subscriptions.settings" => SubscriptionsSettings(Nothing),
    "subscriptions.configure" => SubscriptionsConfigure(Box<SubscriptionSettings>),
    "subscriptions.token" => SubscriptionsToken(OfKey),
    "subscriptions.url" => SubscriptionsUrl(OfKey),
    "subscriptions.render" => SubscriptionsRender(Render),
    "subscriptions.for_request" => SubscriptionsForRequest(ForRequest),
    "subscriptions.revoke" => SubscriptionsRevoke(Revoke),
    "subscriptions.rotate_secret" => SubscriptionsRotateSecret(Rotate),
    "subscriptions.templates" => SubscriptionsTemplates(Nothing),
    "subscriptions.put_template" => SubscriptionsPutTemplate(PutTemplate),
    "subscriptions.remove_template" => SubscriptionsRemoveTemplate(Named),
    "subscriptions.devices" => SubscriptionsDevices(OfKey),
    "subscriptions.forget_device" => SubscriptionsForgetDevice(ForgetDevice),
    "traffic.chart" => TrafficChart(Chart),
    "traffic.history" => TrafficHistory(UsageQuery),
    "traffic.collect" => TrafficCollect(Nothing),
    "traffic.online" => TrafficOnline(Nothing),
    "traffic.online_key" => TrafficOnlineKey(OfKey),
    "events.read" => EventsRead(ReadEvents),
    "events.newest" => EventsNewest(Nothing),
    "servers.status" => ServersStatus(Nothing),
    "servers.reconcile" => ServersReconcile(OfServer),
    "servers.log" => ServersLog(Log),
    "tick" => Tick(Nothing),
    "sandbox" => Sandbox(SandboxStep),
}

fn unknown(operation: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "call", "no such operation").with("name", operation)
}

/// No arguments.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Request {
    /// Whether an operation only asks the store for one thing: then handing the answer to another thread costs more than
    /// the call.
    #[must_use]
    pub fn is_light(operation: &str) -> bool {
        matches!(operation, "keys.get" | "keys.require")
    }
}

/// A key by one of its identities.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Identity {
    Id(KeyId),
    Uid(Uuid),
    Name(String),
}

fn key_ref<'de, D: serde::Deserializer<'de>>(d: D) -> Result<KeyRef, D::Error> {
    Ok(match Identity::deserialize(d)? {
        Identity::Id(id) => id.into(),
        Identity::Uid(uid) => uid.into(),
        Identity::Name(name) => name.into(),
    })
}

/// A cursor, as a number or as its digits.
fn cursor<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Cursor, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(i64),
        Digits(String),
    }
    match Form::deserialize(d)? {
        Form::Number(number) => Ok(Cursor(number)),
        Form::Digits(digits) => digits.parse().map(Cursor).map_err(|_| D::Error::custom("not a cursor")),
    }
}

/// A length of time with its unit: `30 days`.
fn length<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    vpnkit::parse_duration(&String::deserialize(d)?).map_err(|e| D::Error::custom(e.message()))
}

macro_rules! arguments {
    ($($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        /// Arguments.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$attribute])* pub(crate) $field: $type,)* }
    )*};
}

arguments! {
    OfKey { #[serde(deserialize_with = "key_ref")] key: KeyRef, }
    CreateMany { requests: Vec<CreateKey>, #[serde(default)] idempotency_key: Option<String>, }
    Update {
        #[serde(deserialize_with = "key_ref")] key: KeyRef,
        patch: KeyPatch,
        #[serde(default)] expected_version: Option<u64>,
    }
    Delete {
        #[serde(deserialize_with = "key_ref")] key: KeyRef,
        #[serde(default)] expected_version: Option<u64>,
    }
    DeleteMany { ids: Vec<KeyId>, }
    OfInbound { node: NodeId, tag: InboundTag, }
    SetHosts { node: NodeId, tag: InboundTag, hosts: Vec<Host>, }
    Preview {
        #[serde(deserialize_with = "key_ref")] key: KeyRef,
        node: NodeId,
        tag: InboundTag,
        hosts: Vec<Host>,
    }
    Render {
        #[serde(deserialize_with = "key_ref")] key: KeyRef,
        #[serde(default)] client: Option<String>,
        #[serde(default)] format: Option<Format>,
        #[serde(default)] language: Option<Language>,
    }
    ForRequest {
        token: String,
        headers: Vec<(String, String)>,
        #[serde(default)] format: Option<String>,
    }
    Revoke { #[serde(deserialize_with = "key_ref")] key: KeyRef, new_credentials: bool, }
    Rotate { #[serde(deserialize_with = "length")] keep: Duration, }
    PutTemplate { name: String, content_type: String, source: String, }
    Named { name: String, }
    ForgetDevice { #[serde(deserialize_with = "key_ref")] key: KeyRef, id: Option<String>, }
    Chart {
        #[serde(deserialize_with = "key_ref")] key: KeyRef,
        days: u32,
        theme: Theme,
        format: Picture,
        width: u32,
    }
    ReadEvents { #[serde(deserialize_with = "cursor")] after: Cursor, max: usize, }
    OfServer { id: ServerId, }
    Log { id: ServerId, lines: usize, }
}

/// What a chart is written as.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each is the format of its name")]
pub(crate) enum Picture {
    Png,
    Svg,
}

/// What happens in a sandbox.
#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the step of its name")]
pub enum SandboxStep {
    Now,
    Set {
        to: Timestamp,
    },
    Pass {
        #[serde(deserialize_with = "key_ref")]
        key: KeyRef,
        up: ByteSize,
        down: ByteSize,
    },
    Fail,
    Refuse {
        #[serde(deserialize_with = "key_ref")]
        key: KeyRef,
    },
    Heal,
    Restart,
    LetsIn {
        #[serde(deserialize_with = "key_ref")]
        key: KeyRef,
        tag: InboundTag,
    },
}

/// Reads arguments; a fault names the field as callers know it.
fn read<T: DeserializeOwned>(operation: &'static str, arguments: &str) -> Result<T> {
    vpnkit::read_json(arguments).map_err(|fault| {
        let field = fault.path.strip_prefix("patch.").unwrap_or(&fault.path);
        let field = field.strip_suffix(".set").unwrap_or(field);
        Error::invalid(operation, field, fault.message)
    })
}
