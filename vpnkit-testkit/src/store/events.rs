//! Cases of events: their order, who has handled them, what is told once, and how they are forgotten.

use std::time::Duration;

use super::admins::{bytes, pass};
use super::{Subject, at, commit, create, created, kinds, patch, request, server};
use vpnkit_core::ErrorKind;
use vpnkit_core::model::{CreateKey, Cursor, EventKind, EventSubject, KeyId, KeyPatch, NewEvent, Patch};
use vpnkit_core::store::{ConsumerOp, KeyOp, Retention, StoreOp, StoreTxn};

const DAY: Duration = Duration::from_secs(86_400);

/// With their subjects; a batch can be read in pieces.
pub async fn events_tell_what_was_committed_in_order(s: Subject) {
    let key = created(&s, CreateKey::named("k")).await;
    let note = KeyPatch { note: Patch::Set("n".into()), ..KeyPatch::default() };
    commit(&s, vec![patch(key.id, note), patch(key.id, KeyPatch::enabled(false))]).await.unwrap();
    let subject = EventSubject::Server(server());
    let down = NewEvent { kind: EventKind::ServerDown, subject: subject.clone(), detail: "why".into() };
    commit(&s, vec![StoreOp::Emit(down)]).await.unwrap();
    let receipt = commit(&s, vec![KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    use EventKind::{KeyCreated, KeyDeleted, KeyDisabled, KeyUpdated, ServerDown};
    let expected = [KeyCreated, KeyUpdated, KeyDisabled, ServerDown, KeyDeleted];
    assert_eq!(kinds(&s, Cursor::START).await, expected);
    let mut cursor = Cursor::START;
    for kind in expected {
        let batch = s.store.events(cursor, 1).await.unwrap();
        assert_eq!(batch.events.len(), 1);
        let event = &batch.events[0];
        assert_eq!((event.kind, event.cursor, event.at), (kind, batch.next, at()));
        match kind {
            ServerDown => assert_eq!((&event.subject, event.detail.as_str()), (&subject, "why")),
            _ => assert_eq!(event.subject, EventSubject::Key { id: key.id, uid: key.uid, owner: None }),
        }
        cursor = batch.next;
    }
    assert_eq!(receipt.cursor, cursor);
    assert_eq!(s.store.events(cursor, 10).await.unwrap().next, cursor);
    assert_eq!(s.store.newest_event().await.unwrap(), cursor);
}

/// And request ids with them.
pub async fn pruned_events_expire_their_cursors(s: Subject) {
    let old = StoreTxn::new(at(), [create(CreateKey::named("old"))]).for_request(Some(request("r", "one")));
    let old = s.store.commit(old).await.unwrap();
    let later = at().plus(Duration::from_secs(100));
    let new = s.store.commit(StoreTxn::new(later, vec![create(CreateKey::named("new"))])).await.unwrap();
    let forget = async |before| s.store.prune(&Retention::of_events(before), None).await.unwrap().events;
    assert_eq!(forget(at()).await, 0);
    assert_eq!(forget(later).await, 1);
    assert_eq!(s.store.events(Cursor::START, 9).await.unwrap_err().kind(), ErrorKind::CursorExpired);
    assert_eq!(s.store.events(old.cursor, 9).await.unwrap().events.len(), 1);
    assert_eq!(s.store.newest_event().await.unwrap(), new.cursor);
    assert_eq!(s.store.events(new.cursor, 9).await.unwrap().events, []);
    // The cursor of a store that was newer than this one.
    let ahead = s.store.events(Cursor(new.cursor.0 + 1), 9).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::CursorExpired);
    let again =
        StoreTxn::new(later, [create(CreateKey::named("again"))]).for_request(Some(request("r", "one")));
    assert!(!s.store.commit(again).await.unwrap().replayed);
}

/// Neither before nor behind it.
pub async fn one_event_with_a_wrong_clock_forgets_no_others(s: Subject) {
    for i in 0..40u64 {
        // One stands in the middle whose clock was years behind, and one whose clock was years ahead.
        let seconds = match i {
            20 => 0,
            30 => 400 * 86_400,
            i => 86_400 + i,
        };
        let txn = StoreTxn::new(at().plus(Duration::from_secs(seconds)), vec![create(CreateKey::default())]);
        s.store.commit(txn).await.unwrap();
    }
    let forget = async |seconds| {
        let retention = Retention::of_events(at().plus(Duration::from_secs(seconds)));
        s.store.prune(&retention, None).await.unwrap().events
    };
    assert_eq!(forget(3_600).await, 0);
    assert_eq!(s.store.events(Cursor::START, 100).await.unwrap().events.len(), 40);
    assert!(forget(2 * 86_400).await >= 39, "the one from the future does not keep the others");
}

/// Under their names, each its own place.
pub async fn consumers_keep_their_place(s: Subject) {
    let add = |name: &str, from: i64| ConsumerOp::Add(name.to_owned(), Cursor(from));
    commit(&s, [add("bot", 3), add("billing", 5), add("bot", 9)]).await.unwrap();
    let all = async || s.store.consumers().await.unwrap();
    assert_eq!(all().await, [("billing".to_owned(), Cursor(5)), ("bot".to_owned(), Cursor(3))]);
    commit(&s, [ConsumerOp::Advance("bot".into(), Cursor(4))]).await.unwrap();
    let gone = commit(&s, [ConsumerOp::Advance("none".into(), Cursor(4))]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    commit(&s, [ConsumerOp::Remove("billing".into())]).await.unwrap();
    assert_eq!(all().await, [("bot".to_owned(), Cursor(4))]);
}

/// Shares of the limit, each once for each time that it is passed, and the end, each once for each end.
pub async fn reminders_are_told_once(s: Subject) {
    let key = created(&s, CreateKey::default().data_limit(bytes(100))).await.id;
    let start = s.store.newest_event().await.unwrap();
    let mut from = start;
    let mut told = async |s: &Subject| {
        let events = s.store.events(from, 100).await.unwrap();
        from = events.next;
        events.events.into_iter().map(|event| (event.kind, event.detail)).collect::<Vec<_>>()
    };
    let share = |percent: &str| vec![(EventKind::KeyUsageReached, percent.to_owned())];
    for (sequence, count, expected) in
        [(0, 79, vec![]), (1, 1, share("80%")), (2, 5, vec![]), (3, 8, share("90%"))]
    {
        pass(&s, sequence, key, count).await;
        assert_eq!(told(&s).await, expected, "{sequence}");
    }
    pass(&s, 4, key, 10).await;
    assert_eq!(told(&s).await, [(EventKind::KeyLimited, String::new())], "all of it is told by the status");
    commit(&s, [patch(key, KeyPatch::default().reset_usage())]).await.unwrap();
    told(&s).await;
    pass(&s, 5, key, 95).await;
    assert_eq!(told(&s).await, share("90%"), "the highest of those that were passed at once");

    let ends = |days: u32| CreateKey::default().expires_in(DAY * days);
    let (week, month) = (created(&s, ends(7)).await.id, created(&s, ends(30)).await.id);
    let short = created(&s, ends(2)).await.id;
    let remind = async |day: u32, limit: usize| {
        let before = s.store.newest_event().await.unwrap();
        let step = StoreOp::RemindOfEnd { days: 3, above: 1, limit };
        let receipt = s.store.commit(StoreTxn::new(at().plus(DAY * day), [step])).await.unwrap();
        let events = s.store.events(before, 100).await.unwrap().events;
        assert!(
            events
                .iter()
                .all(|event| (event.kind, event.detail.as_str()) == (EventKind::KeyExpiresSoon, "3 days"))
        );
        (receipt.reminded, events.iter().filter_map(vpnkit_core::model::Event::key).collect::<Vec<_>>())
    };
    // The first look tells of nobody, and what was sold for less is not told of.
    assert_eq!(remind(0, 10).await, (0, vec![]));
    let _ = short;
    assert_eq!(remind(3, 10).await, (0, vec![]));
    assert_eq!(remind(4, 10).await, (1, vec![week]));
    assert_eq!(remind(4, 10).await, (0, vec![]));
    assert_eq!(remind(6, 10).await, (0, vec![]));
    // Renewed, it ends again.
    let renewed = KeyPatch::default().expires_at(at().plus(DAY * 14));
    commit(&s, [patch(week, renewed)]).await.unwrap();
    assert_eq!(remind(12, 10).await, (1, vec![week]));
    // Step by step, those that end at one time too.
    let same: Vec<KeyId> = {
        let mut all = vec![month];
        for _ in 0..3 {
            all.push(created(&s, ends(30)).await.id);
        }
        all
    };
    assert_eq!(remind(28, 3).await, (3, same[..3].to_vec()));
    assert_eq!(remind(28, 3).await, (1, same[3..].to_vec()));
    assert_eq!(remind(28, 3).await.0, 0);
}
