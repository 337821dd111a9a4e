//! The events of a webhook that are on their way: those of one key one after the other, those of different keys side by side.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use vpnkit_core::model::{Cursor, Event, EventSubject};

/// Events that are read ahead of the last one that was not delivered.
pub(super) const WINDOW: usize = 200;
/// Requests at the same time.
pub(super) const AT_ONCE: usize = 8;
/// How often an event is sent that the receiver refuses.
const REFUSED: u32 = 5;
/// How often one is sent that the receiver fails at, while others get through.
const FAILED: u32 = 10;
/// The longest pause of a receiver that does not answer.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// What came of sending an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was accepted.
    Accepted,
    /// The receiver does not want this one.
    Refused,
    /// The receiver does not answer, or has failed; it may want to be left alone for a time.
    Unavailable(Option<Duration>),
}

/// An event that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) event: Event,
    pub(super) attempts: u32,
}

/// Events of one key, or of one other thing.
#[derive(Debug)]
struct Lane {
    events: VecDeque<Event>,
    attempts: u32,
    retry_at: Instant,
    sending: bool,
    /// How many events had been accepted when this one failed first.
    accepted: Option<u64>,
}

/// The events that are on their way.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: BTreeMap<String, Lane>,
    undone: BTreeSet<Cursor>,
    read: Cursor,
    sending: usize,
    /// Requests in a row that nobody has answered.
    failures: u32,
    retry_at: Instant,
    accepted: u64,
    /// The pause behind the first failure.
    first: Duration,
}

fn lane(event: &Event) -> String {
    match &event.subject {
        EventSubject::Key { id, .. } => format!("key:{id}"),
        EventSubject::Inbound(tag) => format!("inbound:{tag}"),
        EventSubject::Server(id) => format!("server:{id}"),
        EventSubject::Admin(id) => format!("admin:{id}"),
        other => format!("{other:?}"),
    }
}

fn grown(first: Duration, factor: u32, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(factor.saturating_pow(times.min(16))).min(longest)
}

impl Lanes {
    pub(super) fn new(after: Cursor, first: Duration) -> Self {
        Self {
            lanes: BTreeMap::new(),
            undone: BTreeSet::new(),
            read: after,
            sending: 0,
            failures: 0,
            retry_at: Instant::now(),
            accepted: 0,
            first,
        }
    }

    /// Behind which event more is read.
    pub(super) fn read(&self) -> Cursor {
        self.read
    }

    /// Whether more is to be read.
    pub(super) fn has_room(&self) -> bool {
        self.undone.len() < WINDOW
    }

    /// How many events are to be read.
    pub(super) fn room(&self) -> usize {
        WINDOW.saturating_sub(self.undone.len())
    }

    /// Takes an event in.
    pub(super) fn add(&mut self, event: Event) {
        self.read = self.read.max(event.cursor);
        self.undone.insert(event.cursor);
        let lane = self.lanes.entry(lane(&event)).or_insert_with(|| Lane {
            events: VecDeque::new(),
            attempts: 0,
            retry_at: Instant::now(),
            sending: false,
            accepted: None,
        });
        lane.events.push_back(event);
    }

    /// Passes events over up to a cursor.
    pub(super) fn skip_to(&mut self, cursor: Cursor) {
        self.read = self.read.max(cursor);
    }

    /// Up to which event everything is done.
    pub(super) fn done(&self) -> Cursor {
        self.undone.first().map_or(self.read, |first| Cursor(first.0 - 1))
    }

    /// Takes the next event to send now: of a receiver that does not answer one at a time, and one that it has not failed at.
    pub(super) fn next(&mut self, now: Instant) -> Option<(String, Event)> {
        let most = if self.failures > 0 { 1 } else { AT_ONCE };
        if self.sending >= most || now < self.retry_at {
            return None;
        }
        let ready = self.lanes.iter_mut().filter(|(_, lane)| !lane.sending && lane.retry_at <= now);
        let first = |lane: &Lane| lane.events.front().map(|event| event.cursor);
        let (name, lane) = ready.min_by_key(|(_, lane)| (lane.attempts, first(lane)))?;
        let event = lane.events.front()?.clone();
        lane.sending = true;
        self.sending += 1;
        Some((name.clone(), event))
    }

    /// When there is something to send next, if nothing comes of itself before.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let waiting = self.lanes.values().filter(|lane| !lane.sending).map(|lane| lane.retry_at).min()?;
        Some(waiting.max(self.retry_at))
    }

    /// Takes in what came of sending the event of a lane; returns it if it is given up.
    pub(super) fn sent(&mut self, name: &str, sent: Sent, now: Instant) -> Option<GivenUp> {
        self.sending = self.sending.saturating_sub(1);
        let lane = self.lanes.get_mut(name)?;
        lane.sending = false;
        let mut given_up = false;
        match sent {
            Sent::Accepted | Sent::Refused => self.failures = 0,
            Sent::Unavailable(pause) => {
                let own = grown(self.first, 2, self.failures, LONGEST);
                let asked = pause.unwrap_or_default().min(LONGEST_ASKED);
                self.retry_at = self.retry_at.max(now + own.max(asked));
                self.failures = self.failures.saturating_add(1);
            }
        }
        match sent {
            Sent::Accepted => self.accepted += 1,
            Sent::Refused => {
                lane.attempts += 1;
                given_up = lane.attempts >= REFUSED;
                lane.retry_at = now + grown(self.first, 4, lane.attempts - 1, LONGEST);
            }
            Sent::Unavailable(_) => {
                // It counts against the event only if others get through.
                let others = lane.accepted.is_some_and(|before| before < self.accepted);
                if others || lane.accepted.is_none() {
                    lane.attempts += 1;
                }
                lane.accepted = Some(self.accepted);
                given_up = others && lane.attempts >= FAILED;
                lane.retry_at = now + grown(self.first, 2, lane.attempts.saturating_sub(1), LONGEST);
            }
        }
        if sent != Sent::Accepted && !given_up {
            return None;
        }
        let (event, attempts) = (lane.events.pop_front()?, lane.attempts);
        (lane.attempts, lane.retry_at, lane.accepted) = (0, now, None);
        if lane.events.is_empty() {
            self.lanes.remove(name);
        }
        self.undone.remove(&event.cursor);
        given_up.then_some(GivenUp { event, attempts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vpnkit_core::Timestamp;
    use vpnkit_core::model::{EventKind, KeyId};

    const FIRST: Duration = Duration::from_secs(1);

    fn event(cursor: i64, key: i64) -> Event {
        let subject = EventSubject::Key { id: KeyId(key), uid: uuid::Uuid::nil(), owner: None };
        let (at, kind) = (Timestamp::default(), EventKind::KeyUpdated);
        Event { cursor: Cursor(cursor), at, kind, subject, detail: String::new(), cause: None }
    }

    fn lanes(events: &[(i64, i64)]) -> Lanes {
        let mut lanes = Lanes::new(Cursor(0), FIRST);
        for (cursor, key) in events {
            lanes.add(event(*cursor, *key));
        }
        lanes
    }

    #[tokio::test]
    async fn events_of_a_key_are_in_order_and_keys_do_not_wait_for_each_other() {
        let mut lanes = lanes(&[(1, 1), (2, 1), (3, 2)]);
        let now = Instant::now();
        let (one, first) = lanes.next(now).unwrap();
        let (other, third) = lanes.next(now).unwrap();
        assert_eq!((first.cursor, third.cursor), (Cursor(1), Cursor(3)));
        assert!(lanes.next(now).is_none());
        assert_eq!(lanes.sent(&other, Sent::Accepted, now), None);
        assert_eq!(lanes.done(), Cursor(0));
        assert_eq!(lanes.sent(&one, Sent::Accepted, now), None);
        assert_eq!(lanes.done(), Cursor(1));
        let (one, second) = lanes.next(now).unwrap();
        assert_eq!((second.cursor, lanes.sent(&one, Sent::Accepted, now)), (Cursor(2), None));
        assert_eq!(lanes.done(), Cursor(3));
    }

    #[tokio::test]
    async fn what_is_refused_is_given_up_and_keeps_nobody() {
        let mut lanes = lanes(&[(1, 1), (2, 1), (3, 2)]);
        let mut now = Instant::now();
        let mut given_up = None;
        for attempt in 1..=5 {
            let (lane, sent) = loop {
                match lanes.next(now) {
                    Some((lane, event)) if event.cursor == Cursor(1) => break (lane, event),
                    Some((lane, _)) => assert_eq!(lanes.sent(&lane, Sent::Accepted, now), None),
                    None => now = lanes.wakes_at().unwrap(),
                }
            };
            given_up = lanes.sent(&lane, Sent::Refused, now);
            assert_eq!((sent.cursor, given_up.is_some()), (Cursor(1), attempt == 5));
        }
        assert_eq!(given_up.unwrap().attempts, 5);
        let (lane, next) = lanes.next(now).unwrap();
        assert_eq!((next.cursor, lanes.done()), (Cursor(2), Cursor(1)));
        lanes.sent(&lane, Sent::Accepted, now);
        assert_eq!(lanes.done(), Cursor(3));
    }

    #[tokio::test]
    async fn a_receiver_that_is_down_is_asked_seldom_and_loses_nothing() {
        let mut lanes = lanes(&[(1, 1), (2, 2), (3, 3)]);
        let (mut now, start, mut asked) = (Instant::now(), Instant::now(), 0);
        while now < start + Duration::from_secs(86_400) {
            match lanes.next(now) {
                Some((lane, _)) => {
                    asked += 1;
                    assert_eq!(lanes.sent(&lane, Sent::Unavailable(None), now), None);
                    assert!(lanes.next(now).is_none());
                }
                None => now = lanes.wakes_at().unwrap(),
            }
        }
        assert!((1_400..1_500).contains(&asked), "{asked}");
        assert_eq!(lanes.done(), Cursor(0));
        // It comes back: all of them go out at once.
        let now = now + LONGEST;
        let (lane, _) = lanes.next(now).unwrap();
        lanes.sent(&lane, Sent::Accepted, now);
        assert!(lanes.next(now).is_some() && lanes.next(now).is_some());
    }

    #[tokio::test]
    async fn one_that_the_receiver_fails_at_is_given_up_when_others_get_through() {
        let mut lanes = lanes(&[(1, 1)]);
        let (mut now, mut cursor, mut given_up) = (Instant::now(), 1, None);
        for _ in 0..10_000 {
            if given_up.is_some() {
                break;
            }
            match lanes.next(now) {
                Some((lane, event)) if event.cursor == Cursor(1) => {
                    given_up = lanes.sent(&lane, Sent::Unavailable(None), now);
                    cursor += 1;
                    lanes.add(self::event(cursor, 2));
                }
                Some((lane, _)) => drop(lanes.sent(&lane, Sent::Accepted, now)),
                None => now = lanes.wakes_at().unwrap(),
            }
        }
        assert_eq!(given_up.map(|up| (up.event.cursor, up.attempts)), Some((Cursor(1), FAILED)));
    }

    #[tokio::test]
    async fn a_receiver_may_ask_to_be_left_alone() {
        let mut lanes = lanes(&[(1, 1)]);
        let now = Instant::now();
        let (lane, _) = lanes.next(now).unwrap();
        lanes.sent(&lane, Sent::Unavailable(Some(Duration::from_secs(60))), now);
        assert_eq!(lanes.wakes_at(), Some(now + Duration::from_secs(60)));
        assert!(lanes.next(now + Duration::from_secs(59)).is_none());
    }
}
