use serde::Serialize;
use vpnkit::{EventSubject, KeyId, ServerId};

#[derive(Serialize)]
pub(crate) struct Event<'a> {
    cursor: String,
    at: i64,
    kind: &'static str,
    key: Option<KeyId>,
    key_uid: Option<uuid::Uuid>,
    inbound: Option<&'a str>,
    server: Option<&'a str>,
    detail: &'a str,
}

impl<'a> Event<'a> {
    pub(crate) fn of(event: &'a vpnkit::Event) -> Self {
        let vpnkit::Event { cursor, at, kind, subject, detail } = event;
        let (key, key_uid, inbound, server) = match subject {
            EventSubject::Key { id, uid } => (Some(*id), Some(*uid), None, None),
            EventSubject::Inbound(tag) => (None, None, Some(tag.as_str()), None),
            EventSubject::Server(id) => (None, None, None, Some(ServerId::as_str(id))),
            _ => (None, None, None, None),
        };
        Self {
            cursor: cursor.to_string(),
            at: at.as_millis(),
            kind: kind.code(),
            key,
            key_uid,
            inbound,
            server,
            detail,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Events<'a> {
    events: Vec<Event<'a>>,
    next: String,
}

impl<'a> Events<'a> {
    pub(crate) fn of(batch: &'a vpnkit::EventBatch) -> Self {
        let vpnkit::EventBatch { events, next } = batch;
        Self { events: events.iter().map(Event::of).collect(), next: next.to_string() }
    }
}
