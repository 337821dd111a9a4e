//! Cases of leases, and of following what others commit.

use std::time::Duration;

use vpnkit_core::model::{
    CreateKey, Cursor, DeviceName, EventKind, EventSubject, Inbound, InboundTag, KeyPatch, Protocol,
};
use vpnkit_core::store::{
    Claim, Claimed, Fence, Holder, InboundOp, KeyOp, Lease, Newest, Origin, Question, QuestionId, QuestionOp,
    Retention, StoreOp, StoreTxn,
};
use vpnkit_core::{ErrorKind, Result, Secret};

use super::{Subject, at, create, created, patch};

const LONG: Duration = Duration::from_secs(600);

fn claim(name: &str, origin: i64, number: Option<u64>, time: Duration) -> Claim {
    let holder = Holder { origin: Origin(origin), process: 7, host: "here".into(), mark: None };
    let (name, progress) = (name.into(), Cursor::START);
    Claim { name, holder, number, instead_of: None, time, progress, note: None }
}

async fn claimed(s: &Subject, claim: Claim) -> Claimed {
    s.store.claim(&[claim]).await.unwrap().remove(0)
}

async fn lease(s: &Subject, name: &str) -> Lease {
    s.store.leases().await.unwrap().into_iter().find(|lease| lease.name == name).unwrap()
}

fn put_inbound() -> InboundOp {
    let tag = InboundTag::new("a").unwrap();
    InboundOp::Put(Box::new(Inbound::new(tag, 443, Protocol::Vmess)))
}

fn fence(name: &str, number: u64) -> Fence {
    Fence { lease: name.into(), number }
}

/// Then the next one gets it, under a greater number, and the first one does not get it back.
pub async fn a_lease_has_one_holder_until_it_is_over(s: Subject) {
    let short = Duration::from_millis(200);
    assert_eq!(claimed(&s, claim("a", 1, None, short)).await, Claimed::Held(1));
    let Claimed::Taken(held) = claimed(&s, claim("a", 2, None, LONG)).await else { panic!("it is held") };
    assert_eq!((held.holder.origin, held.number), (Origin(1), 1));
    assert!(held.is_held() && held.left <= short);
    // Another one is another one's.
    assert_eq!(claimed(&s, claim("b", 2, None, LONG)).await, Claimed::Held(1));
    let second = loop {
        match claimed(&s, claim("a", 2, None, LONG)).await {
            Claimed::Held(number) => break number,
            Claimed::Taken(held) => tokio::time::sleep(held.left + Duration::from_millis(1)).await,
        }
    };
    assert_eq!(second, 2);
    let Claimed::Taken(held) = claimed(&s, claim("a", 1, Some(1), LONG)).await else {
        panic!("who was late does not get it back")
    };
    assert_eq!((held.holder.origin, held.number), (Origin(2), 2));
    let names: Vec<_> = s.store.leases().await.unwrap().into_iter().map(|lease| lease.name).collect();
    assert_eq!(names, ["a", "b"]);
}

/// Also a little late, when nobody else has asked for it.
pub async fn a_lease_is_prolonged_by_its_holder(s: Subject) {
    assert_eq!(claimed(&s, claim("a", 1, None, Duration::from_millis(1))).await, Claimed::Held(1));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!lease(&s, "a").await.is_held());
    let told = Claim { progress: Cursor(3), note: Some("up".into()), ..claim("a", 1, Some(1), LONG) };
    assert_eq!(claimed(&s, told).await, Claimed::Held(1));
    assert_eq!(claimed(&s, claim("a", 1, Some(1), LONG)).await, Claimed::Held(1));
    let held = lease(&s, "a").await;
    assert!(held.left > LONG / 2);
    assert_eq!((held.progress, held.note.as_deref()), (Cursor::START, Some("up")), "a note stays");
}

/// And who has released it has nothing more to say.
pub async fn a_released_lease_is_free_at_once(s: Subject) {
    assert_eq!(claimed(&s, claim("a", 1, None, LONG)).await, Claimed::Held(1));
    s.store.release(&[fence("a", 7), fence("b", 1)]).await.unwrap();
    assert!(lease(&s, "a").await.is_held(), "only its holder releases it");
    s.store.release(&[fence("a", 1)]).await.unwrap();
    assert!(!lease(&s, "a").await.is_held());
    assert_eq!(claimed(&s, claim("a", 2, None, LONG)).await, Claimed::Held(2));
}

/// Who knows that the holder has ended does not wait; who is mistaken about who it was does.
pub async fn a_lease_of_a_holder_that_has_ended_is_free(s: Subject) {
    assert_eq!(claimed(&s, claim("a", 1, None, LONG)).await, Claimed::Held(1));
    let instead = |number, origin| Claim { instead_of: Some(number), ..claim("a", origin, None, LONG) };
    assert_eq!(claimed(&s, instead(1, 2)).await, Claimed::Held(2));
    assert!(matches!(claimed(&s, instead(1, 3)).await, Claimed::Taken(_)), "somebody else was first");
}

/// Nothing of it is written: a process that was frozen wakes up behind another one.
pub async fn a_batch_under_an_old_lease_is_refused(s: Subject) {
    claimed(&s, claim("a", 1, None, LONG)).await;
    let under = async |number, name: &str| -> Result<()> {
        let txn = StoreTxn::new(at(), [create(CreateKey::named(name))]);
        s.store.commit(txn.under(Some(fence("a", number)))).await.map(drop)
    };
    under(1, "one").await.unwrap();
    s.store.release(&[fence("a", 1)]).await.unwrap();
    claimed(&s, claim("a", 2, None, LONG)).await;
    let late = under(1, "two").await.unwrap_err();
    assert_eq!((late.kind(), late.get("lease")), (ErrorKind::LeaseLost, Some("a")));
    under(2, "three").await.unwrap();
    let unknown = StoreTxn::new(at(), [create(CreateKey::named("four"))]).under(Some(fence("b", 1)));
    assert_eq!(s.store.commit(unknown).await.unwrap_err().kind(), ErrorKind::LeaseLost);
    let retention = Retention::of_events(at());
    let late = s.store.prune(&retention, Some(fence("a", 1))).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    s.store.prune(&retention, Some(fence("a", 2))).await.unwrap();
    let keys = s.store.find(&Default::default()).await.unwrap().keys;
    let names: Vec<_> = keys.iter().filter_map(|key| key.name.as_ref()).map(|name| name.as_str()).collect();
    assert_eq!(names, ["one", "three"]);
}

/// Another process has changed inbounds or settings since: what was made from them may be wrong.
pub async fn a_batch_from_an_old_revision_is_refused(s: Subject) {
    let seen = s.store.revision().await.unwrap();
    let from = async |seen, name: &str| {
        let txn = StoreTxn::new(at(), [create(CreateKey::named(name))]).from_revision(Some(seen));
        s.store.commit(txn).await
    };
    from(seen, "one").await.unwrap();
    s.store.commit(StoreTxn::new(at(), [put_inbound()])).await.unwrap();
    let late = from(seen, "two").await.unwrap_err();
    let now = s.store.revision().await.unwrap();
    assert_eq!((late.kind(), late.get("revision")), (ErrorKind::Conflict, Some(now.to_string().as_str())));
    from(now, "two").await.unwrap();
}

/// In order, with what the store no longer knows.
pub async fn changes_are_those_of_others(s: Subject) {
    let (own, other) = (Origin(1), Origin(2));
    let commit =
        async |origin, op: StoreOp| s.store.commit(StoreTxn::new(at(), [op]).by(origin)).await.unwrap();
    let mine = commit(own, create(CreateKey::named("mine")).into()).await.keys.remove(0);
    let theirs = commit(other, create(CreateKey::named("theirs")).into()).await.keys.remove(0);
    commit(own, patch(theirs.id, KeyPatch::enabled(false)).into()).await;
    commit(other, KeyOp::Delete { key: mine.id, expected: None }.into()).await;
    let last = commit(Origin::NONE, put_inbound().into()).await.cursor;

    let batch = s.store.changes(Cursor::START, 100, own).await.unwrap();
    let seen: Vec<_> = batch.changes.iter().map(|change| (change.kind, change.subject.clone())).collect();
    let expected = [
        (EventKind::KeyCreated, theirs.subject()),
        (EventKind::KeyDeleted, mine.subject()),
        (EventKind::InboundChanged, EventSubject::Inbound("a".into())),
    ];
    assert_eq!((seen.as_slice(), batch.next, batch.more), (&expected[..], last, false));
    assert_eq!(batch.changes[1].devices, [DeviceName::default()]);
    assert_eq!(s.store.changes(last, 100, own).await.unwrap().changes, []);
    // Whoever follows nothing of its own sees all, and gets it in pieces.
    let (mut cursor, mut all) = (Cursor::START, 0);
    loop {
        let batch = s.store.changes(cursor, 2, Origin::NONE).await.unwrap();
        (cursor, all) = (batch.next, all + batch.changes.len());
        if !batch.more {
            break;
        }
    }
    assert_eq!((cursor, all), (last, 5));
    let ahead = s.store.changes(Cursor(last.0 + 1), 9, own).await.unwrap_err();
    assert_eq!(ahead.kind(), ErrorKind::CursorExpired);
}

/// And only that one; what nobody waits for any more is forgotten.
pub async fn a_question_has_one_answer(s: Subject) {
    let server: vpnkit_core::model::ServerId = "main/fake".parse().unwrap();
    let id = |asker, number| QuestionId { server: server.clone(), asker: Origin(asker), number };
    let ask = |id: QuestionId, text: &str| QuestionOp::Ask(Question { id, text: Secret::new(text) });
    let step = async |op: QuestionOp| s.store.commit(StoreTxn::new(at(), [op])).await.unwrap();
    step(ask(id(1, 1), "who?")).await;
    step(ask(id(2, 1), "what?")).await;
    let open = async || {
        let open = s.store.questions().await.unwrap();
        open.into_iter().map(|one| (one.id, one.text.expose().to_owned())).collect::<Vec<_>>()
    };
    let mut both = open().await;
    both.sort();
    assert_eq!(both, [(id(1, 1), "who?".to_owned()), (id(2, 1), "what?".to_owned())]);
    assert!(s.store.answer(&id(1, 1)).await.unwrap().is_none());
    let before = s.store.newest_event().await.unwrap();
    step(QuestionOp::Answer(id(1, 1), Secret::new("alice"))).await;
    step(QuestionOp::Answer(id(1, 7), Secret::new("nobody has asked"))).await;
    assert_eq!(s.store.answer(&id(1, 1)).await.unwrap().unwrap().expose(), "alice");
    assert!(s.store.answer(&id(1, 7)).await.unwrap().is_none());
    assert_eq!(open().await, [(id(2, 1), "what?".to_owned())]);
    step(QuestionOp::Forget(id(1, 1))).await;
    step(QuestionOp::Forget(id(2, 1))).await;
    assert!(open().await.is_empty() && s.store.answer(&id(1, 1)).await.unwrap().is_none());
    assert_eq!(s.store.newest_event().await.unwrap(), before, "nobody else is told");
}

/// Those who wait are woken by a commit, and know of it when it returns.
pub async fn what_is_newest_is_told(s: Subject) {
    let mut newest = s.store.newest();
    let before = *newest.borrow_and_update();
    let waiting = tokio::spawn(async move {
        newest.wait_for(|newest| newest.event > before.event).await.unwrap();
    });
    let key = created(&s, CreateKey::default()).await;
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("a wake").unwrap();
    let receipt = s.store.commit(StoreTxn::new(at(), [put_inbound()])).await.unwrap();
    let Newest { event, revision, .. } = *s.store.newest().borrow();
    assert_eq!((event, revision), (receipt.cursor, s.store.revision().await.unwrap()));
    assert!(s.store.keys(&[key.id]).await.unwrap().len() == 1);
    // A lease is no event, and is noticed too.
    let mut newest = s.store.newest();
    let before = newest.borrow_and_update().commit;
    claimed(&s, claim("a", 1, None, LONG)).await;
    let noticed = newest.wait_for(|newest| newest.commit > before);
    tokio::time::timeout(Duration::from_secs(30), noticed).await.expect("a wake").unwrap();
}
