//! What calls return.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use vpnkit::subscription::{SubscriptionResponse, SubscriptionSettings, SubscriptionTemplate};
use vpnkit::{
    ClientDevice, Collected, Cursor, Endpoint, Event, EventBatch, Inbound, InboundHosts, Key, OnlineKey,
    Page, ServerStatus, Timestamp, UsagePoint,
};

use crate::wire;

/// What a call returned, as the facade gave it.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is what its name says")]
#[non_exhaustive]
pub enum Answer {
    Nothing,
    Flag(bool),
    Count(usize),
    Line(String),
    Lines(Vec<String>),
    Bytes(Vec<u8>),
    Moment(Timestamp),
    Cursor(Cursor),
    Key(Box<Key>),
    MaybeKey(Option<Box<Key>>),
    Keys(Vec<Key>),
    Page(Page),
    Endpoints(Vec<Endpoint>),
    Inbound(Box<Inbound>),
    MaybeInbound(Option<Box<Inbound>>),
    Inbounds(Vec<Inbound>),
    Hosts(Vec<InboundHosts>),
    Settings(Box<SubscriptionSettings>),
    Response(SubscriptionResponse),
    Templates(BTreeMap<String, SubscriptionTemplate>),
    Devices(Vec<ClientDevice>),
    Points(Vec<UsagePoint>),
    Collected(Vec<Collected>),
    Online(Vec<OnlineKey>),
    MaybeOnline(Option<OnlineKey>),
    Events(EventBatch),
    Servers(Vec<ServerStatus>),
}

impl Answer {
    pub(crate) fn key(key: Key) -> Self {
        Self::Key(Box::new(key))
    }

    pub(crate) fn inbound(inbound: Inbound) -> Self {
        Self::Inbound(Box::new(inbound))
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Nothing => wire::text(&()),
            Self::Flag(flag) => wire::text(flag),
            Self::Count(count) => wire::text(count),
            Self::Line(line) => wire::text(line),
            Self::Lines(lines) => wire::text(lines),
            Self::Bytes(bytes) => wire::text(&STANDARD.encode(bytes)),
            Self::Moment(at) => wire::text(&at.as_millis()),
            Self::Cursor(cursor) => wire::text(&cursor.to_string()),
            Self::Key(key) => Self::key_json(key),
            Self::MaybeKey(key) => wire::text(&key.as_deref().map(wire::Key::of)),
            Self::Keys(keys) => wire::text(&keys.iter().map(wire::Key::of).collect::<Vec<_>>()),
            Self::Page(page) => wire::text(&wire::Page::of(page)),
            Self::Endpoints(all) => wire::text(&all.iter().map(wire::Endpoint::of).collect::<Vec<_>>()),
            Self::Inbound(inbound) => wire::text(inbound),
            Self::MaybeInbound(inbound) => wire::text(inbound),
            Self::Inbounds(inbounds) => wire::text(inbounds),
            Self::Hosts(all) => wire::text(all),
            Self::Settings(settings) => wire::text(settings),
            Self::Response(response) => wire::text(&wire::Response::of(response)),
            Self::Templates(templates) => wire::text(templates),
            Self::Devices(all) => wire::text(&all.iter().map(wire::Device::of).collect::<Vec<_>>()),
            Self::Points(points) => wire::text(&points.iter().map(wire::Point::of).collect::<Vec<_>>()),
            Self::Collected(all) => wire::text(&all.iter().map(wire::Collected::of).collect::<Vec<_>>()),
            Self::Online(all) => wire::text(&all.iter().map(wire::Online::of).collect::<Vec<_>>()),
            Self::MaybeOnline(online) => wire::text(&online.as_ref().map(wire::Online::of)),
            Self::Events(batch) => wire::text(&wire::Events::of(batch)),
            Self::Servers(all) => wire::text(&all.iter().map(wire::Server::of).collect::<Vec<_>>()),
        }
    }

    /// One key as JSON.
    #[must_use]
    pub fn key_json(key: &Key) -> String {
        wire::text(&wire::Key::of(key))
    }

    /// Events as a JSON list.
    #[must_use]
    pub fn events_json(events: &[Event]) -> String {
        wire::text(&events.iter().map(wire::Event::of).collect::<Vec<_>>())
    }
}
