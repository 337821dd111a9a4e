use serde::Serialize;
use vpnkit::{AdminId, InboundSelection, InboundTag, KeyId, KeyName, KeyStatus, PageToken};

use super::Big;
use super::traffic::Traffic;

#[derive(Serialize)]
struct Credential<'a> {
    protocol: &'static str,
    device: &'a str,
    secret: String,
}

#[derive(Serialize)]
pub(crate) struct Key<'a> {
    id: KeyId,
    uid: uuid::Uuid,
    version: u64,
    name: Option<&'a str>,
    label: Option<&'a str>,
    note: Option<&'a str>,
    owner: Option<AdminId>,
    status: KeyStatus,
    data_limit: Option<Big>,
    used: Big,
    remaining: Option<Big>,
    traffic: Traffic,
    expires_at: Option<i64>,
    device_limit: Option<u32>,
    link_revision: u32,
    inbounds: Option<Vec<&'a str>>,
    credentials: Vec<Credential<'a>>,
    created_at: i64,
    updated_at: i64,
    seen_at: Option<i64>,
}

impl<'a> Key<'a> {
    pub(crate) fn of(key: &'a vpnkit::Key) -> Self {
        let remaining = key.remaining();
        let vpnkit::Key {
            id,
            uid,
            version,
            name,
            label,
            note,
            owner,
            status,
            data_limit,
            used,
            traffic,
            expires_at,
            device_limit,
            link_revision,
            inbounds,
            credentials,
            created_at,
            updated_at,
            seen_at,
        } = key;
        let credential = |c: &'a vpnkit::Credential| {
            let vpnkit::Credential { device, secret } = c;
            Credential { protocol: c.protocol().code(), device: device.as_str(), secret: secret.expose() }
        };
        Self {
            id: *id,
            uid: *uid,
            version: *version,
            name: name.as_ref().map(KeyName::as_str),
            label: label.as_deref(),
            note: note.as_deref(),
            owner: *owner,
            status: *status,
            data_limit: data_limit.map(|limit| Big(limit.bytes())),
            used: Big(*used),
            remaining: remaining.map(Big),
            traffic: Traffic::of(traffic),
            expires_at: expires_at.map(vpnkit::Timestamp::as_millis),
            device_limit: *device_limit,
            link_revision: *link_revision,
            inbounds: match inbounds {
                InboundSelection::All => None,
                InboundSelection::Only(tags) => Some(tags.iter().map(InboundTag::as_str).collect()),
            },
            credentials: credentials.iter().map(credential).collect(),
            created_at: created_at.as_millis(),
            updated_at: updated_at.as_millis(),
            seen_at: seen_at.map(vpnkit::Timestamp::as_millis),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Page<'a> {
    keys: Vec<Key<'a>>,
    next: Option<&'a str>,
}

impl<'a> Page<'a> {
    pub(crate) fn of(page: &'a vpnkit::Page) -> Self {
        let vpnkit::Page { keys, next } = page;
        Self { keys: keys.iter().map(Key::of).collect(), next: next.as_ref().map(PageToken::as_str) }
    }
}
