//! Cases of the life of a key: holds, resets, plans, grants, labels.

use std::time::Duration;

use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{
    AuditQuery, ByteSize, Cause, CreateKey, Cursor, DataReset, EventKind, Extension, Grant, GrantId,
    GrantKind, Key, KeyCounts, KeyId, KeyPatch, KeyQuery, KeyStatus, NextPlan, Patch, RenewPolicy,
    ResetPeriod,
};
use vpnkit_core::store::{GrantFilter, KeyOp, Made, Receipt, Request, Retention, StoreTxn};
use vpnkit_core::{ErrorKind, Timestamp};

use super::{Subject, at, batch, commit, create, created, get, kinds, moved, patch};

const DAY: Duration = Duration::from_secs(86_400);

async fn commit_at(s: &Subject, time: Timestamp, op: KeyOp) -> Receipt {
    s.store.commit(StoreTxn::new(time, [op])).await.unwrap()
}

/// Counts bytes of a key; `reading` is the how manieth.
async fn pass(s: &Subject, time: Timestamp, reading: u64, key: KeyId, bytes: u64) -> Receipt {
    let step = batch(reading - 1, "e", reading == 1, vec![moved(key, (0, reading), (0, bytes))]);
    s.store.commit(StoreTxn::new(time, [step])).await.unwrap()
}

fn extend(key: &Key, extension: Extension) -> KeyOp {
    KeyOp::Extend { key: key.id, expected: None, extension: Box::new(extension) }
}

async fn ledger(s: &Subject, key: KeyId) -> Vec<Grant> {
    s.store.grants(&GrantFilter { key: Some(key), ..GrantFilter::default() }).await.unwrap()
}

/// In the transaction of the reading, however many keys wait.
pub async fn the_first_bytes_begin_the_time_of_a_key(s: Subject) {
    let request = CreateKey::default().expires_in(30 * DAY).on_hold();
    let key = created(&s, request.clone()).await;
    let other = created(&s, request.clone()).await;
    let disabled = created(&s, CreateKey { disabled: true, ..request }).await;
    assert_eq!((key.status, key.expires_at, disabled.status), (KeyStatus::OnHold, None, KeyStatus::Disabled));
    let cursor = s.store.newest_event().await.unwrap();
    let later = at().plus(5 * DAY);
    // A counter that was looked at, and did not move, is no connection.
    let still = batch(0, "e", true, vec![moved(other.id, (0, 0), (0, 0))]);
    s.store.commit(StoreTxn::new(later, [still])).await.unwrap();
    let receipt = pass(&s, later, 2, key.id, 7).await;
    let started = get(&s, key.id).await.unwrap();
    assert_eq!((started.status, started.hold), (KeyStatus::Active, None));
    assert_eq!((started.expires_at, started.started_at), (Some(later.plus(30 * DAY)), Some(later)));
    assert_eq!((started.first_seen_at, started.seen_at, started.used), (Some(later), Some(later), 7));
    assert_eq!((receipt.transitions.len(), started.version), (1, 2));
    assert_eq!(kinds(&s, cursor).await, [EventKind::KeyStarted]);
    assert_eq!(get(&s, other.id).await.unwrap(), other);
    // Once.
    pass(&s, later.plus(DAY), 3, key.id, 7).await;
    let again = get(&s, key.id).await.unwrap();
    assert_eq!((again.expires_at, again.first_seen_at, again.version), (started.expires_at, Some(later), 2));
    let counts = s.store.count(&KeyQuery::default()).await.unwrap();
    assert_eq!(counts, KeyCounts { total: 3, active: 1, on_hold: 1, disabled: 1, ..KeyCounts::default() });
}

/// By an index on when something is due: of a hold, of a period, of a plan, of a deletion.
pub async fn what_is_due_is_settled(s: Subject) {
    let hold = CreateKey {
        hold_until: Some(at().plus(DAY)),
        ..CreateKey::named("hold").expires_in(30 * DAY).on_hold()
    };
    let hold = created(&s, hold).await;
    let reset = CreateKey::named("reset").data_limit(ByteSize::from_bytes(10));
    let reset =
        created(&s, reset.reset(DataReset { rolling: true, ..DataReset::each(ResetPeriod::Day) })).await;
    let plan = NextPlan { duration: Some(30 * DAY), ..NextPlan::default() };
    let plan = created(&s, CreateKey::named("plan").expires_in(DAY).next_plan(plan)).await;
    let gone = created(&s, CreateKey::named("gone").expires_in(DAY).delete_after(DAY)).await;
    let none = created(&s, CreateKey::named("none")).await;
    pass(&s, at(), 1, reset.id, 10).await;
    assert_eq!(get(&s, reset.id).await.unwrap().status, KeyStatus::Limited);
    let due = async |time: Timestamp| s.store.due(time, 10).await.unwrap();
    assert_eq!(due(at().plus(DAY - Duration::from_secs(1))).await, []);
    let now = at().plus(DAY);
    assert_eq!(due(now).await, [hold.id, reset.id, plan.id, gone.id]);
    let cursor = s.store.newest_event().await.unwrap();
    let ops = [hold.id, reset.id, plan.id, gone.id, none.id].map(KeyOp::Settle);
    let receipt = s.store.commit(StoreTxn::new(now, ops.clone())).await.unwrap();
    assert_eq!(receipt.over, []);
    use EventKind::{KeyActivated, KeyExpired, KeyNextPlan, KeyReset, KeyStarted};
    assert_eq!(kinds(&s, cursor).await, [KeyStarted, KeyReset, KeyActivated, KeyNextPlan, KeyExpired]);
    let stands = async |id| {
        let key = get(&s, id).await.unwrap();
        (key.status, key.expires_at, key.used)
    };
    assert_eq!(stands(hold.id).await, (KeyStatus::Active, Some(now.plus(30 * DAY)), 0));
    assert_eq!(stands(reset.id).await, (KeyStatus::Active, None, 0));
    assert_eq!(stands(plan.id).await, (KeyStatus::Active, Some(now.plus(30 * DAY)), 0));
    assert_eq!(stands(gone.id).await, (KeyStatus::Expired, Some(now), 0));
    assert_eq!(get(&s, none.id).await.unwrap(), none);
    // Settled again, nothing happens; what has ended for long enough is told.
    let cursor = s.store.newest_event().await.unwrap();
    s.store.commit(StoreTxn::new(now, ops)).await.unwrap();
    assert_eq!((s.store.newest_event().await.unwrap(), due(now).await), (cursor, vec![]));
    let later = now.plus(DAY);
    assert_eq!(due(later).await, [reset.id, gone.id]);
    let receipt = s.store.commit(StoreTxn::new(later, [KeyOp::Settle(gone.id)])).await.unwrap();
    assert_eq!(receipt.over, [gone.id]);
}

/// A pause, a plan that is called for, an end that is taken away.
pub async fn a_life_is_changed_by_patches(s: Subject) {
    let key = created(&s, CreateKey::default().expires_in(10 * DAY).data_limit(ByteSize::gib(1))).await;
    let change = async |days: u32, patch: KeyPatch| {
        let step = KeyOp::Patch { key: key.id, expected: None, patch: Box::new(patch) };
        commit_at(&s, at().plus(days * DAY), step).await.keys.remove(0)
    };
    let paused = change(2, KeyPatch { paused: Some(true), ..KeyPatch::default() }).await;
    assert_eq!((paused.status, paused.paused_at), (KeyStatus::Paused, Some(at().plus(2 * DAY))));
    assert_eq!(s.store.due(at().plus(100 * DAY), 10).await.unwrap(), []);
    let resumed = change(50, KeyPatch { paused: Some(false), ..KeyPatch::default() }).await;
    assert_eq!((resumed.status, resumed.expires_at), (KeyStatus::Active, Some(at().plus(58 * DAY))));
    let none = KeyPatch { begin_next_plan: true, ..KeyPatch::default() };
    let missing = commit(&s, [patch(key.id, none.clone())]).await.unwrap_err();
    assert_eq!((missing.kind(), missing.get("field")), (ErrorKind::NotFound, Some("next_plan")));
    let plan = NextPlan { data_limit: Some(ByteSize::gib(5)), duration: Some(DAY), ..NextPlan::default() };
    change(
        51,
        KeyPatch { next_plan: Patch::Set(plan), delete_after: Patch::Set(DAY), ..KeyPatch::default() },
    )
    .await;
    let begun = change(52, none).await;
    assert_eq!((begun.next_plan, begun.data_limit), (None, Some(ByteSize::gib(5))));
    assert_eq!((begun.expires_at, begun.delete_after), (Some(at().plus(53 * DAY)), Some(DAY)));
    // Each plan that has begun is an entry; one that is set for a key that has ended begins at once.
    let set = KeyPatch { next_plan: Patch::Set(plan), expires_at: Patch::Set(at()), ..KeyPatch::default() };
    assert_eq!(change(60, set).await.status, KeyStatus::Active);
    let entries = ledger(&s, key.id).await;
    let kinds: Vec<GrantKind> = entries.iter().map(|grant| grant.kind).collect();
    assert_eq!(kinds, [GrantKind::Created, GrantKind::NextPlan, GrantKind::NextPlan]);
    assert_eq!((entries[2].data_limit, entries[2].expires_in), (plan.data_limit, plan.duration));
    let reset =
        DataReset { time_zone: Some("Asia/Tehran".parse().unwrap()), ..DataReset::each(ResetPeriod::Month) };
    let monthly = change(52, KeyPatch { reset: Patch::Set(reset.clone()), ..KeyPatch::default() }).await;
    assert_eq!((&monthly.reset, monthly.resets_at.is_some()), (&Some(reset), true));
    assert_eq!(get(&s, key.id).await.unwrap(), monthly);
    let never = change(52, KeyPatch { reset: Patch::Clear, ..KeyPatch::default() }).await;
    assert_eq!((never.reset, never.resets_at), (None, None));
}

/// Each grant is an entry, and what it gave goes with it.
pub async fn grants_are_kept_and_taken_back(s: Subject) {
    let key = created(&s, CreateKey::named("k").expires_in(30 * DAY).data_limit(ByteSize::gib(50))).await;
    pass(&s, at(), 1, key.id, ByteSize::gib(10).bytes()).await;
    let month = Extension::days(30).data_limit(ByteSize::gib(50)).policy(RenewPolicy::Reset).reason("sold");
    let now = at().plus(10 * DAY);
    let cursor = s.store.newest_event().await.unwrap();
    let receipt = commit_at(&s, now, extend(&key, month.clone())).await;
    let extended = get(&s, key.id).await.unwrap();
    assert_eq!((extended.expires_at, extended.used), (Some(now.plus(30 * DAY)), 0));
    assert_eq!((receipt.keys.as_slice(), extended.version), (std::slice::from_ref(&extended), 2));
    assert_eq!(kinds(&s, cursor).await, [EventKind::KeyExtended]);
    let [first, second] = &ledger(&s, key.id).await[..] else { panic!("two entries") };
    assert_eq!(receipt.made, [Made::grant(second.id), Made::key(key.id)]);
    assert_eq!((first.kind, first.expires_in), (GrantKind::Created, Some(30 * DAY)));
    assert_eq!((second.kind, second.extension(), second.key_uid), (GrantKind::Extended, month, key.uid));
    assert_eq!((second.at, second.before.used, second.after.used), (now, ByteSize::gib(10).bytes(), 0));
    // Taken back, the time and the usage of before are there again.
    let undo = |grant: GrantId| KeyOp::Undo { grant, reason: Some("refund".into()) };
    let back = commit_at(&s, now.plus(DAY), undo(second.id)).await.keys.remove(0);
    assert_eq!((back.expires_at, back.used), (key.expires_at, ByteSize::gib(10).bytes()));
    assert_eq!(get(&s, key.id).await.unwrap(), back);
    let undone = ledger(&s, key.id).await.remove(1);
    assert_eq!((undone.undone_at, undone.undone_because.as_deref()), (Some(now.plus(DAY)), Some("refund")));
    let twice = commit(&s, [undo(second.id)]).await.unwrap_err();
    assert_eq!((twice.kind(), twice.get("field")), (ErrorKind::Conflict, Some("grant")));
    let unknown = commit(&s, [undo(GrantId(999))]).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.get("field")), (ErrorKind::NotFound, Some("grant")));
    // Of the first one nothing is left, and a key that has ended may be renewed.
    let ended = commit_at(&s, now.plus(DAY), undo(first.id)).await.keys.remove(0);
    assert_eq!(ended.status, KeyStatus::Expired);
    commit_at(&s, now.plus(DAY), extend(&key, Extension::days(1).data_limit(ByteSize::gib(11)))).await;
    assert_eq!(get(&s, key.id).await.unwrap().status, KeyStatus::Active);
    // The ledger outlives its key.
    commit(&s, [KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    assert_eq!(ledger(&s, key.id).await.len(), 3);
    let third = ledger(&s, key.id).await[2].id;
    assert_eq!(commit(&s, [undo(third)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    let gone = commit(&s, [extend(&key, Extension::days(1))]).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let some = |filter: GrantFilter| {
        let store = s.store.clone();
        async move { store.grants(&filter).await.unwrap().iter().map(|grant| grant.id.0).collect::<Vec<_>>() }
    };
    assert_eq!(
        some(GrantFilter { after: first.id, limit: 1, ..GrantFilter::default() }).await,
        [second.id.0]
    );
    let time = GrantFilter { since: now, until: now.plus(DAY), ..GrantFilter::default() };
    assert_eq!(some(time).await, [second.id.0]);
    assert_eq!(some(GrantFilter { id: Some(third), ..GrantFilter::default() }).await, [third.0]);
}

/// Whatever is pruned.
pub async fn a_payment_grants_once_and_for_good(s: Subject) {
    let key = created(&s, CreateKey::named("k").expires_in(30 * DAY)).await;
    let paid = Request::grant("stripe:1", Fingerprint::of(["a month"]));
    let txn = |days| {
        StoreTxn::new(at().plus(days * DAY), [extend(&key, Extension::days(30))])
            .for_request(Some(paid.clone()))
    };
    let (one, two) = tokio::join!(s.store.commit(txn(1)), s.store.commit(txn(1)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(one.replayed != two.replayed, "one of them gave");
    let other = || {
        let request = Request { for_good: false, ..Request::of("other", "2", Fingerprint::of(["x"])) };
        StoreTxn::new(at(), [create(CreateKey::default())]).for_request(Some(request))
    };
    s.store.commit(other()).await.unwrap();
    // Years later only what grants is known.
    let years = at().plus(3_000 * DAY);
    while s.store.prune(&Retention::of_events(years), None).await.unwrap().more {}
    assert!(s.store.commit(txn(2_000)).await.unwrap().replayed);
    assert!(!s.store.commit(other()).await.unwrap().replayed);
    assert_eq!(get(&s, key.id).await.unwrap().expires_at, Some(at().plus(60 * DAY)));
    let payment = GrantFilter { idempotency_key: Some("stripe:1".into()), ..GrantFilter::default() };
    let [grant] = &s.store.grants(&payment).await.unwrap()[..] else { panic!("one entry") };
    assert_eq!((grant.key, grant.expires_in), (key.id, Some(30 * DAY)));
}

/// Exactly, also after they have changed, in pages.
pub async fn keys_are_found_by_their_labels(s: Subject) {
    let labelled = |name: &str, telegram: &str| CreateKey::named(name).labelled("tg", telegram);
    let a = created(&s, labelled("a", "42").labelled("order", "7")).await;
    let b = created(&s, labelled("b", "42")).await;
    created(&s, labelled("c", "4")).await;
    let found = async |query: KeyQuery| {
        let names =
            s.store.find(&query).await.unwrap().keys.into_iter().map(|key| key.name.unwrap().to_string());
        names.collect::<Vec<_>>()
    };
    let of = |value: &str| KeyQuery::default().label("tg", value);
    assert_eq!(found(of("42")).await, ["a", "b"]);
    assert_eq!(found(of("42").label("order", "7")).await, ["a"]);
    assert_eq!(found(of("424")).await, Vec::<String>::new());
    assert_eq!(s.store.find(&of("")).await.unwrap_err().get("field"), Some("labels.tg"));
    assert_eq!(s.store.count(&of("42")).await.unwrap().total, 2);
    let first = s.store.find(&KeyQuery { limit: 1, ..of("42") }).await.unwrap();
    assert_eq!(found(KeyQuery { page: first.next, ..of("42") }).await, ["b"]);
    let change = KeyPatch {
        labels: [("tg".to_owned(), Some("43".to_owned())), ("order".to_owned(), None)].into(),
        ..KeyPatch::default()
    };
    let changed = commit(&s, [patch(a.id, change)]).await.unwrap().keys.remove(0);
    assert_eq!(changed.labels, [("tg".to_owned(), "43".to_owned())].into());
    assert_eq!((found(of("42")).await, found(of("43")).await), (vec!["b".to_owned()], vec!["a".to_owned()]));
    commit(&s, [KeyOp::Delete { key: b.id, expected: None }]).await.unwrap();
    assert_eq!(found(of("42")).await, Vec::<String>::new());
    let many = (0..17).map(|i| (format!("l{i}"), Some("x".to_owned()))).collect();
    let many = commit(&s, [patch(a.id, KeyPatch { labels: many, ..KeyPatch::default() })]).await.unwrap_err();
    assert_eq!((many.kind(), many.get("field")), (ErrorKind::InvalidInput, Some("labels")));
}

/// What ends soon, and what is nearly used up.
pub async fn keys_are_found_by_how_they_stand(s: Subject) {
    let soon = created(&s, CreateKey::named("soon").expires_in(DAY)).await;
    created(&s, CreateKey::named("late").expires_in(9 * DAY)).await;
    let used = created(&s, CreateKey::named("used").data_limit(ByteSize::from_bytes(1_000))).await;
    created(&s, CreateKey::named("fresh").data_limit(ByteSize::MAX)).await;
    pass(&s, at(), 1, used.id, 800).await;
    let found = async |query: KeyQuery| {
        let count = s.store.count(&query).await.unwrap().total;
        let keys = s.store.find(&query).await.unwrap().keys;
        assert_eq!(count, u64::try_from(keys.len()).unwrap());
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    let ends = |days: u32| KeyQuery { expires_before: Some(at().plus(days * DAY)), ..KeyQuery::default() };
    assert_eq!((found(ends(1)).await, found(ends(2)).await), (vec![], vec![soon.id]));
    let share = |percent| KeyQuery { used_percent: Some(percent), ..KeyQuery::default() };
    assert_eq!((found(share(80)).await, found(share(81)).await), (vec![used.id], vec![]));
    for query in [share(0), share(101)] {
        assert_eq!(s.store.find(&query).await.unwrap_err().get("field"), Some("used_percent"));
    }
}

/// Of a key that is gone, too, and longer than the stream has it; what comes by itself again and again goes with the stream.
pub async fn timelines_outlive_the_stream_and_the_key(s: Subject) {
    let cause = Cause {
        operation: "keys.disable".to_owned(),
        actor: Some("support:bob".to_owned()),
        by_admin: None,
        reason: Some("stolen".to_owned()),
        idempotency_key: None,
    };
    let key = created(&s, CreateKey::named("k").data_limit(ByteSize::from_bytes(100))).await;
    let other = created(&s, CreateKey::named("other")).await;
    let caused = |op: KeyOp, cause: &Cause| StoreTxn {
        cause: Some(cause.clone()),
        ..StoreTxn::new(at().plus(DAY), [op])
    };
    s.store.commit(caused(patch(key.id, KeyPatch::enabled(false)), &cause)).await.unwrap();
    let reset = DataReset { every: ResetPeriod::Day, rolling: true, since: None, time_zone: None };
    let daily = KeyPatch { enabled: Some(true), reset: Patch::Set(reset), ..KeyPatch::default() };
    commit_at(&s, at().plus(2 * DAY), patch(key.id, daily)).await;
    pass(&s, at().plus(2 * DAY), 1, key.id, 7).await;
    let payment = Request::grant("pay:1", Fingerprint::of(["1"]));
    let extension = Extension::default().data_limit(ByteSize::from_bytes(5)).policy(RenewPolicy::Reset);
    let bought = Cause { operation: "keys.extend".to_owned(), ..cause.clone() };
    let txn = StoreTxn {
        cause: Some(bought.clone()),
        ..StoreTxn::new(at().plus(2 * DAY), [extend(&key, extension)]).for_request(Some(payment))
    };
    s.store.commit(txn).await.unwrap();
    pass(&s, at().plus(2 * DAY), 2, key.id, 1).await;
    commit_at(&s, at().plus(4 * DAY), KeyOp::Settle(key.id)).await;
    let deleted = KeyOp::Delete { key: key.id, expected: None };
    commit_at(&s, at().plus(5 * DAY), deleted).await;

    let timeline = async || s.store.timeline(key.id, None, 100).await.unwrap();
    let all = timeline().await;
    let kinds: Vec<EventKind> = all.iter().rev().map(|event| event.kind).collect();
    let expected = [
        EventKind::KeyCreated,
        EventKind::KeyDisabled,
        EventKind::KeyUpdated,
        EventKind::KeyActivated,
        EventKind::KeyExtended,
        EventKind::KeyReset,
        EventKind::KeyDeleted,
    ];
    assert_eq!(kinds, expected);
    let of = |kind: EventKind| all.iter().find(|event| event.kind == kind).unwrap();
    assert_eq!(of(EventKind::KeyDisabled).cause.as_ref(), Some(&cause));
    let paid = Cause { idempotency_key: Some("pay:1".to_owned()), ..bought };
    assert_eq!(of(EventKind::KeyExtended).cause.as_ref(), Some(&paid));
    assert_eq!(of(EventKind::KeyReset).cause, None);
    assert_eq!(of(EventKind::KeyUpdated).detail, "reset");
    let granted = ledger(&s, key.id).await;
    let [_, granted] = granted.as_slice() else { panic!("{granted:?}") };
    assert_eq!((granted.actor.as_deref(), granted.reason.as_deref()), (Some("support:bob"), Some("stolen")));
    // By who called.
    let audit = AuditQuery { actor: Some("support:bob".to_owned()), ..AuditQuery::default() };
    let called = s.store.audit(&audit).await.unwrap();
    assert_eq!(
        called.iter().map(|event| event.kind).collect::<Vec<_>>(),
        [EventKind::KeyExtended, EventKind::KeyDisabled]
    );
    let older = AuditQuery { before: Some(called[0].cursor), ..audit.clone() };
    assert_eq!(s.store.audit(&older).await.unwrap(), called[1..]);
    assert!(
        s.store.audit(&AuditQuery { operation: Some("x".to_owned()), ..audit }).await.unwrap().is_empty()
    );
    // Page by page.
    let first = s.store.timeline(key.id, None, 2).await.unwrap();
    let second = s.store.timeline(key.id, Some(first[1].cursor), 100).await.unwrap();
    assert_eq!([first, second].concat(), all);
    assert_eq!(s.store.timeline(other.id, None, 9).await.unwrap().len(), 1);

    let forget = async |events: u32, timelines: u32| {
        let (events, timelines) = (at().plus(DAY * events), at().plus(DAY * timelines));
        let retention = Retention { timelines, ..Retention::of_events(events) };
        let mut gone = 0;
        loop {
            let pruned = s.store.prune(&retention, None).await.unwrap();
            gone += pruned.events;
            if !pruned.more {
                return gone;
            }
        }
    };
    assert_eq!(forget(9, 0).await, 8, "of both keys");
    let kept: Vec<EventKind> = timeline().await.iter().rev().map(|event| event.kind).collect();
    assert_eq!(kept, expected.into_iter().filter(|kind| *kind != EventKind::KeyReset).collect::<Vec<_>>());
    assert!(s.store.events(Cursor::START, 9).await.is_err(), "the stream has forgotten them");
    assert_eq!(forget(9, 4).await, 0);
    assert_eq!(timeline().await.len(), 1);
    assert_eq!(forget(9, 9).await, 0);
    assert_eq!(timeline().await, []);
    // What comes after goes on.
    let next = created(&s, CreateKey::named("next")).await;
    assert_eq!(s.store.timeline(next.id, None, 9).await.unwrap().len(), 1);
}

/// What was asked for comes back in its order, the key that stays in place of the one that went.
pub async fn a_repeated_request_finds_what_was_merged(s: Subject) {
    let older = created(&s, CreateKey::named("older")).await;
    let several = || {
        let ops = ["x", "y", "z"].map(|name| create(CreateKey::named(name)));
        StoreTxn::new(at(), ops).for_request(Some(Request::grant("pay:1", Fingerprint::of(["1"]))))
    };
    let made = s.store.commit(several()).await.unwrap().keys;
    let [x, y, z] = [made[0].id, made[1].id, made[2].id];
    let merge = |key: KeyId, into: KeyId| KeyOp::Merge { key, into, expected: None };
    let replayed = async || {
        let receipt = s.store.commit(several()).await.unwrap();
        assert!(receipt.replayed);
        receipt.keys.iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(replayed().await, [x, y, z]);
    commit_at(&s, at(), merge(y, older.id)).await;
    assert_eq!(replayed().await, [x, older.id, z]);
    commit_at(&s, at(), merge(x, z)).await;
    assert_eq!(replayed().await, [z, older.id, z], "one for each that was asked for");
    commit_at(&s, at(), merge(z, older.id)).await;
    assert_eq!(replayed().await, [older.id; 3], "over several merges");
    commit_at(&s, at(), KeyOp::Delete { key: older.id, expected: None }).await;
    assert_eq!(replayed().await, []);
}

/// As if it had been done, and nothing is left of it: no key, no event, no id that is used up.
pub async fn what_is_only_tried_leaves_nothing(s: Subject) {
    let key = created(&s, CreateKey::named("k").data_limit(ByteSize::from_bytes(100))).await;
    let cursor = s.store.newest_event().await.unwrap();
    let tried = |ops: Vec<KeyOp>| StoreTxn { dry_run: true, ..StoreTxn::new(at(), ops) };
    let payment = Request::grant("pay:1", Fingerprint::of(["1"]));
    let more = Extension::default().data_limit(ByteSize::from_bytes(5));
    let txn = tried(vec![extend(&key, more.clone())]).for_request(Some(payment.clone()));
    let receipt = s.store.commit(txn).await.unwrap();
    assert!(receipt.dry_run && !receipt.took_effect());
    assert_eq!(receipt.keys[0].data_limit, Some(ByteSize::from_bytes(105)));
    let KeyOp::Create(new) = create(CreateKey::named("new")) else { unreachable!() };
    let several = vec![KeyOp::Create(new.clone()), KeyOp::Delete { key: key.id, expected: None }];
    let receipt = s.store.commit(tried(several)).await.unwrap();
    assert_eq!(receipt.keys[0].name, new.name);
    let twice = tried(vec![KeyOp::Create(new.clone()), KeyOp::Create(new)]);
    assert_eq!(s.store.commit(twice).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(get(&s, key.id).await.unwrap(), key);
    assert_eq!(s.store.newest_event().await.unwrap(), cursor);
    assert_eq!(ledger(&s, key.id).await.len(), 1);
    assert_eq!(s.store.receipt(&payment).await.unwrap(), None);
    // Beside others, all at once: each is taken back for itself.
    let done = (0..20).map(|_| StoreTxn::new(at(), vec![extend(&key, more.clone())]));
    let mut all = tokio::task::JoinSet::new();
    for txn in done.flat_map(|txn| [StoreTxn { dry_run: true, ..txn.clone() }, txn]) {
        let store = std::sync::Arc::clone(&s.store);
        all.spawn(async move { store.commit(txn).await.unwrap() });
    }
    all.join_all().await;
    assert_eq!(get(&s, key.id).await.unwrap().data_limit, Some(ByteSize::from_bytes(200)));
    assert_eq!(ledger(&s, key.id).await.len(), 21);
    assert_eq!(created(&s, CreateKey::named("new")).await.id, KeyId(key.id.0 + 1), "no id was used up");
    // What was done before is told so.
    let txn = StoreTxn::new(at(), [extend(&key, more.clone())]).for_request(Some(payment.clone()));
    s.store.commit(txn).await.unwrap();
    let again = tried(vec![extend(&key, more)]).for_request(Some(payment));
    assert!(s.store.commit(again).await.unwrap().replayed);
}
