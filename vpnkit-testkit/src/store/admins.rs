//! Admins: their tree, their quotas, and what they may do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vpnkit_core::backend::Fingerprint;
use vpnkit_core::model::{
    Admin, AdminId, AdminPatch, AdminRef, ByteSize, Cause, CreateAdmin, CreateKey, Cursor, DataReset,
    EventKind, Extension, Inbound, InboundSelection, InboundTag, Key, KeyId, KeyPatch, KeyQuery, KeyStatus,
    NextPlan, NodeId, Patch, Protocol, RecordQuery, RenewPolicy, ResetPeriod, UsageQuery,
};
use vpnkit_core::store::{
    AdminOp, ConsumerOp, DeviceOp, GrantFilter, InboundOp, KeyOp, Receipt, RecordOp, Request, StoreOp,
    StoreTxn,
};
use vpnkit_core::{ErrorKind, Result, Secret, Timestamp};

use super::histories::Dice;
use super::{Subject, at, batch, commit, create, created, get, kinds, moved, patch};

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn bytes(count: u64) -> ByteSize {
    ByteSize::from_bytes(count)
}

fn new_admin(request: CreateAdmin) -> AdminOp {
    let parent = match &request.parent {
        Some(AdminRef::Id(id)) => Some(*id),
        _ => None,
    };
    AdminOp::Create(Box::new(request.validate("test", parent).unwrap()))
}

pub(super) async fn admin(s: &Subject, request: CreateAdmin) -> Admin {
    commit(s, [new_admin(request)]).await.unwrap().admins.remove(0)
}

async fn now(s: &Subject, id: AdminId) -> Admin {
    s.store.admin(&AdminRef::Id(id)).await.unwrap().unwrap()
}

/// As a call: quotas refuse.
async fn call<S: Into<StoreOp>>(s: &Subject, ops: impl IntoIterator<Item = S>) -> Result<Receipt> {
    s.store.commit(StoreTxn { cause: Some(cause()), ..StoreTxn::new(at(), ops) }).await
}

/// As a call in the name of an admin.
async fn call_as<S: Into<StoreOp>>(
    s: &Subject,
    scope: AdminId,
    ops: impl IntoIterator<Item = S>,
) -> Result<Receipt> {
    s.store.commit(StoreTxn { cause: Some(cause()), scope: Some(scope), ..StoreTxn::new(at(), ops) }).await
}

fn cause() -> Cause {
    let operation = "test".to_owned();
    Cause { operation, actor: None, by_admin: None, reason: None, idempotency_key: None }
}

fn owned(owner: AdminId, limit: u64) -> CreateKey {
    CreateKey { owner: Some(owner), data_limit: Some(bytes(limit)), ..CreateKey::default() }
}

fn patch_admin(admin: AdminId, patch: AdminPatch) -> AdminOp {
    AdminOp::Patch { admin, expected: None, patch: Box::new(patch) }
}

pub(super) async fn pass(s: &Subject, sequence: u64, key: KeyId, count: u64) -> Receipt {
    commit(s, [batch(sequence, "1", sequence == 0, vec![moved(key, (count, 0), (count, 0))])]).await.unwrap()
}

/// Names are unique, versions grow, and an admin that others are below is not deleted.
pub async fn admins_are_a_tree(s: Subject) {
    let top = admin(&s, CreateAdmin::named("Top").admin_limit(3)).await;
    let middle = admin(&s, CreateAdmin::named("middle").below(top.id).admin_limit(2)).await;
    let low = admin(&s, CreateAdmin::named("low").below(middle.id)).await;
    assert_eq!((low.version, low.parent), (1, Some(middle.id)));
    assert_eq!(s.store.admin(&"tOP".into()).await.unwrap().unwrap().id, top.id);
    let ids = |admins: Vec<Admin>| admins.into_iter().map(|admin| admin.id).collect::<Vec<_>>();
    assert_eq!(ids(s.store.admins(None).await.unwrap()), [top.id, middle.id, low.id]);
    assert_eq!(ids(s.store.admins(Some(middle.id)).await.unwrap()), [middle.id, low.id]);
    assert_eq!((now(&s, top.id).await.admins, now(&s, middle.id).await.admins), (2, 1));
    assert!(s.store.admins(Some(AdminId(99))).await.unwrap().is_empty());

    let refused = async |request: CreateAdmin| commit(&s, [new_admin(request)]).await.unwrap_err();
    let taken = refused(CreateAdmin::named("LOW")).await;
    assert_eq!((taken.kind(), taken.get("field")), (ErrorKind::AlreadyExists, Some("name")));
    let orphan = refused(CreateAdmin::named("x").below(AdminId(99))).await;
    assert_eq!((orphan.kind(), orphan.get("field")), (ErrorKind::NotFound, Some("parent")));
    assert_eq!(refused(CreateAdmin::named("x").below(low.id)).await.kind(), ErrorKind::LimitReached);
    let other = admin(&s, CreateAdmin::named("other").below(middle.id)).await;
    // The one above has a limit, too.
    let full = refused(CreateAdmin::named("x").below(top.id)).await;
    assert_eq!((full.kind(), full.get("quota")), (ErrorKind::LimitReached, Some("admins")));

    let renamed =
        AdminPatch { name: Some("lower".into()), note: Patch::Set("n".into()), ..AdminPatch::default() };
    let changed = commit(&s, [patch_admin(low.id, renamed.clone())]).await.unwrap().admins.remove(0);
    assert_eq!((changed.version, changed.name.as_str(), changed.note.as_deref()), (2, "lower", Some("n")));
    assert_eq!(commit(&s, [patch_admin(low.id, renamed)]).await.unwrap().admins[0].version, 2);
    let old = AdminOp::Patch { admin: low.id, expected: Some(1), patch: Box::default() };
    assert_eq!(commit(&s, [old]).await.unwrap_err().kind(), ErrorKind::Conflict);

    let key = created(&s, owned(middle.id, 5)).await;
    let delete = |admin| AdminOp::Delete { admin, expected: None };
    assert_eq!(commit(&s, [delete(middle.id)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    commit(&s, [KeyOp::Delete { key: key.id, expected: None }]).await.unwrap();
    // Those below it would be free of its quotas.
    assert_eq!(commit(&s, [delete(middle.id)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    let before = s.store.newest_event().await.unwrap();
    commit(&s, [delete(other.id)]).await.unwrap();
    assert_eq!(kinds(&s, before).await, [EventKind::AdminDeleted]);
    assert_eq!(s.store.admin(&AdminRef::Id(other.id)).await.unwrap(), None);
    assert_eq!((now(&s, middle.id).await.admins, now(&s, top.id).await.admins), (1, 2));
    assert_eq!(commit(&s, [delete(other.id)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    // Sudo stands below nobody who sees less.
    let refused = refused(CreateAdmin::named("root").below(top.id).sudo()).await;
    assert_eq!((refused.kind(), refused.get("field")), (ErrorKind::InvalidInput, Some("role")));
    let promoted = AdminPatch { role: Some("sudo".parse().unwrap()), ..AdminPatch::default() };
    assert_eq!(
        commit(&s, [patch_admin(low.id, promoted.clone())]).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    commit(&s, [patch_admin(top.id, promoted)]).await.unwrap();
    let demoted = AdminPatch { role: Some("reseller".parse().unwrap()), ..AdminPatch::default() };
    assert_eq!(commit(&s, [patch_admin(top.id, demoted)]).await.unwrap_err().kind(), ErrorKind::Conflict);
    // Ids are never used again.
    assert!(admin(&s, CreateAdmin::named("other")).await.id > other.id);
    // Eight above each other.
    let mut above = admin(&s, CreateAdmin::named("d0").admin_limit(100)).await.id;
    for depth in 1..Admin::DEPTH_MAX {
        above = admin(&s, CreateAdmin::named(format!("d{depth}")).below(above).admin_limit(100)).await.id;
    }
    let deep =
        commit(&s, [new_admin(CreateAdmin::named("x").below(above).admin_limit(100))]).await.unwrap_err();
    assert_eq!((deep.kind(), deep.get("field")), (ErrorKind::LimitReached, Some("parent")));
}

/// Of an admin and of all above it; what vpnkit does by itself is counted, and not refused.
pub async fn quotas_of_keys_are_enforced(s: Subject) {
    let top = admin(&s, CreateAdmin::named("top").key_limit(3).admin_limit(2)).await.id;
    let low = admin(&s, CreateAdmin::named("low").below(top).key_limit(2)).await.id;
    let other = admin(&s, CreateAdmin::named("other").below(top)).await.id;
    let first = call(&s, [create(owned(low, 5)), create(owned(low, 5))]).await.unwrap().keys.remove(0);
    let refused = call(&s, [create(owned(low, 5))]).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("quota")), (ErrorKind::LimitReached, Some("keys")));
    assert_eq!(refused.get("admin"), Some(low.to_string().as_str()));
    call(&s, [create(owned(other, 5))]).await.unwrap();
    let refused = call(&s, [create(owned(other, 5))]).await.unwrap_err();
    assert_eq!(refused.get("admin"), Some(top.to_string().as_str()));
    // All or nothing.
    let both = [create(CreateKey::named("free")), create(owned(other, 5))];
    assert_eq!(call(&s, both).await.unwrap_err().kind(), ErrorKind::LimitReached);
    assert_eq!(s.store.key(&"free".into()).await.unwrap(), None);
    assert_eq!((now(&s, top).await.keys, now(&s, low).await.keys, now(&s, other).await.keys), (3, 2, 1));

    // Handed over.
    let to = |owner: Patch<AdminId>| patch(first.id, KeyPatch { owner, ..KeyPatch::default() });
    let key = call(&s, [to(Patch::Set(other))]).await.unwrap().keys.remove(0);
    assert_eq!(key.owner, Some(other));
    assert_eq!((now(&s, top).await.keys, now(&s, low).await.keys, now(&s, other).await.keys), (3, 1, 2));
    let nobody = call(&s, [to(Patch::Set(AdminId(99)))]).await.unwrap_err();
    assert_eq!((nobody.kind(), nobody.get("field")), (ErrorKind::NotFound, Some("owner")));
    call(&s, [to(Patch::Clear)]).await.unwrap();
    assert_eq!((now(&s, top).await.keys, now(&s, other).await.keys), (2, 1));
    commit(&s, [create(owned(low, 5)), create(owned(low, 5))]).await.unwrap();
    assert_eq!((now(&s, top).await.keys, now(&s, low).await.keys), (4, 3));
    let unknown = call(&s, [create(owned(AdminId(99), 5))]).await.unwrap_err();
    assert_eq!((unknown.kind(), unknown.get("field")), (ErrorKind::NotFound, Some("owner")));
}

/// What a key may use is sold; what it did not use comes back.
pub async fn bytes_sold_are_counted(s: Subject) {
    let seller = admin(&s, CreateAdmin::named("seller").sold_limit(bytes(100))).await.id;
    let sold = async || now(&s, seller).await.sold;
    let key = call(&s, [create(owned(seller, 40))]).await.unwrap().keys.remove(0).id;
    let extend = |count: u64, policy: RenewPolicy| KeyOp::Extend {
        key,
        expected: None,
        extension: Box::new(Extension::default().data_limit(bytes(count)).policy(policy)),
    };
    call(&s, [extend(40, RenewPolicy::CarryOver)]).await.unwrap();
    assert_eq!(sold().await, 80);
    let refused = call(&s, [extend(21, RenewPolicy::CarryOver)]).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("quota")), (ErrorKind::LimitReached, Some("sold")));
    assert_eq!(get(&s, key).await.unwrap().data_limit, Some(bytes(80)));
    let before = s.store.newest_event().await.unwrap();
    call(&s, [extend(20, RenewPolicy::CarryOver)]).await.unwrap();
    let told: Vec<EventKind> = kinds(&s, before).await;
    assert!(told.contains(&EventKind::AdminQuotaReached), "{told:?}");
    // Sixty were used: the reset sells them again, which the quota has no room for.
    pass(&s, 0, key, 60).await;
    let reset = patch(key, KeyPatch::default().reset_usage());
    assert_eq!(call(&s, [reset]).await.unwrap_err().kind(), ErrorKind::LimitReached);
    // A refund takes back what was given last.
    let last = s.store.grants(&GrantFilter { key: Some(key), ..GrantFilter::default() }).await.unwrap();
    let undo = KeyOp::Undo { grant: last.last().unwrap().id, reason: None };
    call(&s, [undo]).await.unwrap();
    assert_eq!(sold().await, 80);
    call(&s, [KeyOp::Delete { key, expected: None }]).await.unwrap();
    assert_eq!(sold().await, 60, "what was used stays sold");

    // What nobody knows the end of cannot be sold within a quota.
    let refused = async |request: CreateKey| {
        let error = call(&s, [create(request)]).await.unwrap_err();
        (error.kind(), error.get("field").map(str::to_owned))
    };
    let field = |name: &str| (ErrorKind::LimitReached, Some(name.to_owned()));
    let unlimited = CreateKey { data_limit: None, ..owned(seller, 1) };
    assert_eq!(refused(unlimited).await, field("data_limit"));
    let every = DataReset { every: ResetPeriod::Day, rolling: true, since: None, time_zone: None };
    assert_eq!(refused(owned(seller, 1).reset(every)).await, field("reset"));
    let plan = NextPlan { duration: Some(DAY), ..NextPlan::default() };
    assert_eq!(refused(owned(seller, 1).next_plan(plan)).await, field("next_plan"));
    // The next plan is sold with the key, not again when it begins.
    let plan = NextPlan { data_limit: Some(bytes(30)), ..plan };
    let key = call(&s, [create(owned(seller, 10).next_plan(plan))]).await.unwrap().keys.remove(0).id;
    assert_eq!(sold().await, 100);
    pass(&s, 1, key, 10).await;
    assert_eq!((get(&s, key).await.unwrap().data_limit, sold().await), (Some(bytes(30)), 100));
    // Two keys become one at the limit.
    let freed = AdminPatch::default().sold_limit(bytes(105));
    commit(&s, [patch_admin(seller, freed)]).await.unwrap();
    let five = call(&s, [create(owned(seller, 5).expires_in(DAY))]).await.unwrap().keys.remove(0).id;
    call(&s, [KeyOp::Merge { key: five, into: key, expected: None }]).await.unwrap();
    assert_eq!((sold().await, now(&s, seller).await.keys), (105, 1));
    // Nothing that was used comes back, whatever becomes of the limit; a grant that is undone takes what it gave.
    let used_up = call(&s, [patch(key, KeyPatch::default().data_limit(bytes(20)))]).await;
    used_up.unwrap();
    pass(&s, 2, key, 20).await;
    let before = sold().await;
    for limit in [1, 20] {
        call(&s, [patch(key, KeyPatch::default().data_limit(bytes(limit)))]).await.unwrap();
        assert_eq!(sold().await, before, "{limit}");
    }
    let grants = s.store.grants(&GrantFilter { key: Some(key), ..GrantFilter::default() }).await.unwrap();
    let undo = KeyOp::Undo { grant: grants[0].id, reason: None };
    call(&s, [undo]).await.unwrap();
    assert_eq!(sold().await, before, "a creation that was used");
    // A plan that begins as it is set is sold, and is within the quota.
    let room = AdminPatch::default().sold_limit(bytes(before + 10));
    commit(&s, [patch_admin(seller, room)]).await.unwrap();
    let at_once = |limit: Option<u64>| {
        let plan = NextPlan { data_limit: limit.map(bytes), duration: Some(DAY), ..NextPlan::default() };
        patch(key, KeyPatch { next_plan: Patch::Set(plan), begin_next_plan: true, ..KeyPatch::default() })
    };
    for limit in [Some(11), None] {
        let refused = call(&s, [at_once(limit)]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LimitReached, "{limit:?}");
    }
    call(&s, [at_once(Some(10))]).await.unwrap();
    assert_eq!(sold().await, before + 10);
    // To begin anew.
    let again = AdminPatch { reset_sold: true, ..AdminPatch::default() };
    commit(&s, [patch_admin(seller, again)]).await.unwrap();
    assert_eq!(sold().await, 0);
}

/// Keys stop when those of their owner have used what they may, and go on when there is more.
pub async fn bytes_used_stop_all_keys(s: Subject) {
    let top = admin(&s, CreateAdmin::named("top").used_limit(bytes(100)).admin_limit(1)).await.id;
    let low = admin(&s, CreateAdmin::named("low").below(top)).await.id;
    let one = created(&s, owned(top, 1_000)).await.id;
    let two = created(&s, owned(low, 1_000)).await.id;
    let off = created(&s, CreateKey { disabled: true, ..owned(low, 1_000) }).await.id;
    let free = created(&s, CreateKey::default()).await.id;
    let before = s.store.newest_event().await.unwrap();
    pass(&s, 0, two, 95).await;
    assert_eq!((now(&s, top).await.used, now(&s, low).await.used), (95, 95));
    assert_eq!(kinds(&s, before).await, [EventKind::AdminQuotaNear]);
    assert_eq!(s.store.owners_to_follow(10).await.unwrap().keys, []);
    pass(&s, 1, one, 5).await;
    assert_eq!(kinds(&s, before).await, [EventKind::AdminQuotaNear, EventKind::AdminQuotaReached]);

    let follow = async || {
        let mut steps = 0;
        loop {
            let next = s.store.owners_to_follow(2).await.unwrap();
            if next.keys.is_empty() && next.done.is_empty() {
                return steps;
            }
            steps += 1;
            let done =
                next.done.into_iter().map(|(admin, mark)| StoreOp::from(AdminOp::Followed { admin, mark }));
            let keys = next.keys.into_iter().map(|key| StoreOp::from(KeyOp::FollowOwner(key)));
            commit(&s, keys.chain(done)).await.unwrap();
        }
    };
    assert!(follow().await >= 2);
    let status = async |key| get(&s, key).await.unwrap().status;
    assert_eq!((status(one).await, status(two).await), (KeyStatus::Suspended, KeyStatus::Suspended));
    assert_eq!((status(off).await, status(free).await), (KeyStatus::Disabled, KeyStatus::Active));
    // Nothing gets around it: neither enabled nor extended, created nor taken over.
    let enabled = commit(&s, [patch(off, KeyPatch::enabled(true))]).await.unwrap().keys.remove(0);
    assert_eq!(enabled.status, KeyStatus::Suspended);
    let refused = call(&s, [create(owned(low, 1))]).await.unwrap_err();
    assert_eq!((refused.kind(), refused.get("quota")), (ErrorKind::LimitReached, Some("used")));
    assert_eq!(created(&s, owned(low, 1)).await.status, KeyStatus::Suspended);
    let to = |owner: Patch<AdminId>| patch(free, KeyPatch { owner, ..KeyPatch::default() });
    assert_eq!(commit(&s, [to(Patch::Set(low))]).await.unwrap().keys[0].status, KeyStatus::Suspended);
    assert_eq!(commit(&s, [to(Patch::Clear)]).await.unwrap().keys[0].status, KeyStatus::Active);
    let counts = s.store.count(&KeyQuery::default()).await.unwrap();
    assert_eq!((counts.suspended, counts.active, counts.total), (4, 1, 5));

    // More of it, or all of it again.
    commit(&s, [patch_admin(top, AdminPatch::default().used_limit(bytes(101)))]).await.unwrap();
    follow().await;
    assert_eq!(status(two).await, KeyStatus::Active);
    pass(&s, 2, one, 6).await;
    follow().await;
    assert_eq!(status(two).await, KeyStatus::Suspended);
    let reset = AdminPatch { reset_usage: true, ..AdminPatch::default() };
    commit(&s, [patch_admin(top, reset)]).await.unwrap();
    follow().await;
    assert_eq!(status(two).await, KeyStatus::Active);
    assert_eq!((now(&s, top).await.used, now(&s, top).await.total_used), (0, 106));

    // What passed stays with who owned the key then.
    let usage = async |owners: &[AdminId]| {
        let (key, node) = (None, None);
        let query = UsageQuery {
            key,
            owners: Some(owners.into()),
            node,
            from: Timestamp::default(),
            to: Timestamp::MAX,
        };
        s.store.usage(&query).await.unwrap().iter().map(|point| point.traffic.total()).sum::<u64>()
    };
    commit(&s, [patch(two, KeyPatch { owner: Patch::Set(top), ..KeyPatch::default() })]).await.unwrap();
    assert_eq!((usage(&[low]).await, usage(&[top]).await, usage(&[top, low]).await), (95, 11, 106));
}

/// Many that commit at once.
pub async fn the_last_key_is_sold_once(s: Subject) {
    let seller = admin(&s, CreateAdmin::named("seller").key_limit(3).sold_limit(bytes(10))).await.id;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (store, step) = (Arc::clone(&s.store), create(owned(seller, 4)));
        let txn = StoreTxn { cause: Some(cause()), ..StoreTxn::new(at(), [step]) };
        all.spawn(async move { store.commit(txn).await });
    }
    let done = all.join_all().await;
    let won = done.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 2);
    assert!(done.iter().filter_map(|o| o.as_ref().err()).all(|e| e.kind() == ErrorKind::LimitReached));
    let seller = now(&s, seller).await;
    assert_eq!((seller.keys, seller.sold), (2, 8));
}

/// Each step, of a stranger's key and of its own.
pub async fn a_reseller_touches_its_own_only(s: Subject) {
    let a = admin(&s, CreateAdmin::named("a").admin_limit(5)).await.id;
    let below = admin(&s, CreateAdmin::named("below").below(a)).await.id;
    let b = admin(&s, CreateAdmin::named("b").admin_limit(5)).await.id;
    let mine = created(&s, owned(a, 10)).await;
    let lower = created(&s, owned(below, 10)).await;
    let (foreign, nobodys) = (created(&s, owned(b, 10)).await, created(&s, CreateKey::default()).await);
    let grants =
        s.store.grants(&GrantFilter { key: Some(foreign.id), ..GrantFilter::default() }).await.unwrap();
    let extension = || Box::new(Extension::default().data_limit(bytes(1)));
    for key in [&foreign, &nobodys] {
        let id = key.id;
        let steps: Vec<StoreOp> = vec![
            patch(id, KeyPatch::enabled(false)).into(),
            KeyOp::Delete { key: id, expected: None }.into(),
            KeyOp::Extend { key: id, expected: None, extension: extension() }.into(),
            KeyOp::Merge { key: id, into: mine.id, expected: None }.into(),
            KeyOp::Merge { key: mine.id, into: id, expected: None }.into(),
            DeviceOp::Forget { key: id, id: None }.into(),
        ];
        for step in steps {
            let told = format!("{step:?}");
            let error = call_as(&s, a, [step]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{told}");
        }
        assert_eq!(get(&s, id).await.as_ref(), Some(key));
    }
    let undo = KeyOp::Undo { grant: grants[0].id, reason: None };
    assert_eq!(call_as(&s, a, [undo]).await.unwrap_err().kind(), ErrorKind::NotFound);
    let inbound = Inbound::new(InboundTag::new("ws").unwrap(), 80, Protocol::Vmess);
    let place = || ("settings".to_owned(), String::new());
    let closed: Vec<StoreOp> = vec![
        InboundOp::Put(Box::new(inbound.clone())).into(),
        RecordOp::Put { place: place(), expected: None, index: None, body: Secret::new("{}") }.into(),
        RecordOp::Remove { place: place(), expected: None }.into(),
        KeyOp::Settle(mine.id).into(),
        ConsumerOp::Remove("bot".to_owned()).into(),
        batch(0, "1", true, Vec::new()),
    ];
    for step in closed {
        let told = format!("{step:?}");
        let error = call_as(&s, a, [step]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{told}");
    }
    // Its own.
    for key in [&mine, &lower] {
        call_as(&s, a, [patch(key.id, KeyPatch::enabled(false))]).await.unwrap();
    }
    assert_eq!(
        call_as(&s, below, [patch(mine.id, KeyPatch::enabled(true))]).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let owner = |owner: Patch<AdminId>| [patch(mine.id, KeyPatch { owner, ..KeyPatch::default() })];
    call_as(&s, a, owner(Patch::Set(below))).await.unwrap();
    assert_eq!(call_as(&s, a, owner(Patch::Set(b))).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(call_as(&s, a, owner(Patch::Clear)).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        call_as(&s, a, [create(CreateKey::default())]).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    assert_eq!(call_as(&s, a, [create(owned(b, 1))]).await.unwrap_err().kind(), ErrorKind::NotFound);

    // Admins: those below it, and never more than a reseller.
    let child =
        call_as(&s, a, [new_admin(CreateAdmin::named("child").below(a))]).await.unwrap().admins.remove(0).id;
    let kind = async |op: AdminOp| call_as(&s, a, [op]).await.unwrap_err().kind();
    assert_eq!(kind(new_admin(CreateAdmin::named("x").below(b))).await, ErrorKind::NotFound);
    assert_eq!(kind(new_admin(CreateAdmin::named("x"))).await, ErrorKind::PermissionDenied);
    assert_eq!(kind(new_admin(CreateAdmin::named("x").below(a).sudo())).await, ErrorKind::PermissionDenied);
    let more = || AdminPatch::default().key_limit(None);
    assert_eq!(kind(patch_admin(a, more())).await, ErrorKind::PermissionDenied);
    assert_eq!(kind(patch_admin(b, more())).await, ErrorKind::NotFound);
    let sudo = AdminPatch { role: Some("sudo".parse().unwrap()), ..AdminPatch::default() };
    assert_eq!(kind(patch_admin(child, sudo)).await, ErrorKind::PermissionDenied);
    assert_eq!(kind(AdminOp::Delete { admin: a, expected: None }).await, ErrorKind::PermissionDenied);
    assert_eq!(kind(AdminOp::Delete { admin: b, expected: None }).await, ErrorKind::NotFound);
    call_as(&s, a, [patch_admin(child, more())]).await.unwrap();
    call_as(&s, a, [AdminOp::Delete { admin: child, expected: None }]).await.unwrap();

    // Disabled, it or the one above it; and gone.
    let off = |disabled| AdminPatch { disabled: Some(disabled), ..AdminPatch::default() };
    commit(&s, [patch_admin(a, off(true))]).await.unwrap();
    for admin in [a, below, AdminId(99)] {
        let error = call_as(&s, admin, [patch(lower.id, KeyPatch::enabled(true))]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{admin}");
    }
}

/// Inbounds, nodes and templates.
pub async fn a_reseller_sells_what_it_may(s: Subject) {
    let (tag, edge) = (|tag: &str| InboundTag::new(tag).unwrap(), NodeId::new("edge").unwrap());
    let mut far = Inbound::new(tag("both"), 2, Protocol::Vmess);
    far.node = edge.clone();
    let near = [Inbound::new(tag("both"), 1, Protocol::Vmess), Inbound::new(tag("ws"), 3, Protocol::Vmess)];
    let puts = near.into_iter().chain([far]).map(|inbound| InboundOp::Put(Box::new(inbound)));
    commit(&s, puts).await.unwrap();
    let request =
        CreateAdmin { nodes: Some(vec![NodeId::main()]), ..CreateAdmin::named("here").admin_limit(1) };
    let here = admin(&s, request).await.id;
    let request = CreateAdmin {
        inbounds: InboundSelection::Only(vec![tag("ws")]),
        ..CreateAdmin::named("ws").below(here)
    };
    let ws = admin(&s, request).await.id;
    let on = |owner, tags: &[&str]| create(owned(owner, 1).only(tags.iter().map(|t| tag(t)).collect()));
    let fault = async |who, op: KeyOp| {
        let error = call_as(&s, who, [op]).await.unwrap_err();
        (error.kind(), error.get("field").map(str::to_owned))
    };
    let denied = |field: &str| (ErrorKind::PermissionDenied, Some(field.to_owned()));
    assert_eq!(fault(here, create(owned(here, 1))).await, denied("inbounds"));
    assert_eq!(fault(here, on(here, &["both"])).await, denied("inbounds"), "it stands on another node, too");
    let key = call_as(&s, here, [on(here, &["ws"])]).await.unwrap().keys.remove(0).id;
    let moved = KeyPatch { inbounds: Some(InboundSelection::All), ..KeyPatch::default() };
    assert_eq!(fault(here, patch(key, moved)).await, denied("inbounds"));
    // What those above may not, it may not.
    call_as(&s, ws, [on(ws, &["ws"])]).await.unwrap();
    let both = AdminPatch {
        inbounds: Some(InboundSelection::Only(vec![tag("ws"), tag("both")])),
        ..AdminPatch::default()
    };
    commit(&s, [patch_admin(ws, both)]).await.unwrap();
    assert_eq!(fault(ws, on(ws, &["both"])).await, denied("inbounds"));

    let request = CreateAdmin { templates: Some(vec!["month".into()]), ..CreateAdmin::named("shop") };
    let shop = admin(&s, request).await.id;
    let made = |template: &str| create(owned(shop, 1).template(template));
    assert_eq!(fault(shop, create(owned(shop, 1))).await, denied("template"));
    assert_eq!(fault(shop, made("year")).await, denied("template"));
    let key = call_as(&s, shop, [made("month")]).await.unwrap().keys.remove(0).id;
    let extend = |template: Option<&str>| {
        let extension =
            Extension { template: template.map(str::to_owned), ..Extension::default().data_limit(bytes(1)) };
        KeyOp::Extend { key, expected: None, extension: Box::new(extension) }
    };
    assert_eq!(fault(shop, extend(None)).await, denied("template"));
    call_as(&s, shop, [extend(Some("month"))]).await.unwrap();
    for (field, given) in [
        ("data_limit", KeyPatch::default().data_limit(bytes(100))),
        ("expires_at", KeyPatch::default().expires_at(at().plus(DAY))),
        ("reset_usage", KeyPatch::default().reset_usage()),
        ("device_limit", KeyPatch { device_limit: Patch::Set(9), ..KeyPatch::default() }),
    ] {
        assert_eq!(fault(shop, patch(key, given)).await, denied(field));
    }
    call_as(&s, shop, [patch(key, KeyPatch::default().note("n".to_owned()))]).await.unwrap();
}

/// Counters of a tree of admins beside a plain model, under random changes of keys.
pub async fn counters_of_admins_follow_a_plain_model(s: Subject) {
    let seed = 0x5eed_0000_0000_0007;
    let mut dice = Dice(seed);
    let root = admin(&s, CreateAdmin::named("root").admin_limit(10)).await.id;
    let mut parents = BTreeMap::from([(root, None)]);
    for i in 0..5u32 {
        let above = *parents.keys().nth(usize::try_from(dice.roll(u64::from(i) + 1)).unwrap()).unwrap();
        let id = admin(&s, CreateAdmin::named(format!("a{i}")).below(above).admin_limit(10)).await.id;
        parents.insert(id, Some(above));
    }
    let admins: Vec<AdminId> = parents.keys().copied().collect();
    // What was given by key, and what was used of what was given.
    let mut sold: BTreeMap<AdminId, i64> = BTreeMap::new();
    let (mut used, mut keys) = (BTreeMap::<AdminId, u64>::new(), Vec::<KeyId>::new());
    let pick = |dice: &mut Dice| admins[usize::try_from(dice.roll(6)).unwrap()];
    let mut sequence = 0;
    for step in 0..150u32 {
        let key = keys.get(usize::try_from(dice.roll(keys.len().max(1) as u64)).unwrap()).copied();
        match (dice.roll(7), key) {
            (0 | 1, _) | (_, None) => {
                let (owner, limit) = (pick(&mut dice), dice.roll(1_000) + 1);
                keys.push(created(&s, owned(owner, limit)).await.id);
                *sold.entry(owner).or_default() += i64::try_from(limit).unwrap();
            }
            (2, Some(key)) => {
                let before = get(&s, key).await.unwrap();
                let count = dice.roll(300) + 1;
                let reading = vec![moved(key, (count + u64::from(step) * 10_000, 0), (count, 0))];
                commit(&s, [batch(sequence, "1", sequence == 0, reading)]).await.unwrap();
                sequence += 1;
                *used.entry(before.owner.unwrap()).or_default() += count;
            }
            (3, Some(key)) => {
                let before = get(&s, key).await.unwrap();
                let limit = dice.roll(1_000) + 1;
                commit(&s, [patch(key, KeyPatch::default().data_limit(bytes(limit)))]).await.unwrap();
                // What was used stays sold.
                let left = |limit: u64| i64::try_from(limit.saturating_sub(before.used)).unwrap();
                let change = left(limit) - left(before.data_limit.unwrap().bytes());
                *sold.entry(before.owner.unwrap()).or_default() += change;
            }
            (4, Some(key)) => {
                let before = get(&s, key).await.unwrap();
                commit(&s, [patch(key, KeyPatch::default().reset_usage())]).await.unwrap();
                *sold.entry(before.owner.unwrap()).or_default() += i64::try_from(consumed(&before)).unwrap();
            }
            (5, Some(key)) => {
                let (before, to) = (get(&s, key).await.unwrap(), pick(&mut dice));
                commit(&s, [patch(key, KeyPatch { owner: Patch::Set(to), ..KeyPatch::default() })])
                    .await
                    .unwrap();
                let left = i64::try_from(before.data_limit.unwrap().bytes() - consumed(&before)).unwrap();
                if before.owner != Some(to) {
                    *sold.entry(before.owner.unwrap()).or_default() -= left;
                    *sold.entry(to).or_default() += left;
                }
            }
            (_, Some(key)) => {
                let before = get(&s, key).await.unwrap();
                commit(&s, [KeyOp::Delete { key, expected: None }]).await.unwrap();
                keys.retain(|id| *id != key);
                let left = before.data_limit.unwrap().bytes() - consumed(&before);
                *sold.entry(before.owner.unwrap()).or_default() -= i64::try_from(left).unwrap();
            }
        }
        for id in &admins {
            let below: Vec<AdminId> =
                s.store.admins(Some(*id)).await.unwrap().iter().map(|admin| admin.id).collect();
            let found = now(&s, *id).await;
            let owners =
                KeyQuery { owners: Some(below.clone().into()), limit: 10_000, ..KeyQuery::default() };
            let held = s.store.find(&owners).await.unwrap().keys.len();
            assert_eq!(found.keys, held as u64, "keys of {id}, step {step}, seed {seed:x}");
            let all: i64 = below.iter().filter_map(|id| sold.get(id)).sum();
            assert_eq!(i64::try_from(found.sold).unwrap(), all, "sold of {id}, step {step}, seed {seed:x}");
            let all: u64 = below.iter().filter_map(|id| used.get(id)).sum();
            assert_eq!(
                (found.used, found.total_used),
                (all, all),
                "used of {id}, step {step}, seed {seed:x}"
            );
        }
    }
}

fn consumed(key: &Key) -> u64 {
    key.used.min(key.data_limit.map_or(0, |limit| limit.bytes()))
}

/// What is due of a key by itself is not refused to a call that finds it.
pub async fn what_is_due_is_not_refused_to_a_call(s: Subject) {
    let seller = admin(&s, CreateAdmin::named("seller")).await.id;
    let every = DataReset { every: ResetPeriod::Day, rolling: true, since: None, time_zone: None };
    let key = created(&s, owned(seller, 10).reset(every)).await.id;
    pass(&s, 0, key, 10).await;
    let full = AdminPatch::default().sold_limit(bytes(10));
    commit(&s, [patch_admin(seller, full)]).await.unwrap();
    let note = patch(key, KeyPatch::default().note("n".to_owned()));
    let later = StoreTxn { cause: Some(cause()), ..StoreTxn::new(at().plus(2 * DAY), [note]) };
    let changed = s.store.commit(later).await.unwrap().keys.remove(0);
    assert_eq!((changed.used, now(&s, seller).await.sold), (0, 20));
}

/// Moves within a tree: who is above both has what it had, and nobody is told of what was there for a moment.
pub async fn a_move_within_a_tree_changes_nothing_above(s: Subject) {
    let top = admin(&s, CreateAdmin::named("top").key_limit(2).sold_limit(bytes(20)).admin_limit(2)).await.id;
    let one = admin(&s, CreateAdmin::named("one").below(top)).await.id;
    let two = admin(&s, CreateAdmin::named("two").below(top)).await.id;
    let a = call(&s, [create(owned(one, 10).expires_in(DAY))]).await.unwrap().keys.remove(0).id;
    let b = call(&s, [create(owned(one, 10).expires_in(DAY))]).await.unwrap().keys.remove(0).id;
    // Now there is less room than there is.
    let less = AdminPatch::default().key_limit(1).sold_limit(bytes(5));
    commit(&s, [patch_admin(top, less)]).await.unwrap();
    let before = s.store.newest_event().await.unwrap();
    call(&s, [patch(a, KeyPatch { owner: Patch::Set(two), ..KeyPatch::default() })]).await.unwrap();
    call(&s, [patch(a, KeyPatch { owner: Patch::Set(one), ..KeyPatch::default() })]).await.unwrap();
    call(&s, [KeyOp::Merge { key: b, into: a, expected: None }]).await.unwrap();
    let told = kinds(&s, before).await;
    assert!(told.iter().all(|kind| kind.subject() == "key"), "{told:?}");
    assert_eq!((now(&s, top).await.keys, now(&s, top).await.sold, now(&s, two).await.keys), (1, 20, 0));
}

/// What was asked for in the name of one admin is nothing to another one.
pub async fn a_call_tells_who_made_it(s: Subject) {
    let a = admin(&s, CreateAdmin::named("a")).await.id;
    let cause = Cause { by_admin: Some(a), ..cause() };
    let request = Request::grant("pay:1", Fingerprint::of(["1"]));
    let txn = StoreTxn { cause: Some(cause.clone()), ..StoreTxn::new(at(), [create(owned(a, 5))]) };
    let key = s.store.commit(txn.for_request(Some(request))).await.unwrap().keys.remove(0);
    let event = s.store.timeline(key.id, None, 1).await.unwrap().remove(0);
    let paid = Cause { idempotency_key: Some("pay:1".to_owned()), ..cause };
    assert_eq!((event.cause, event.kind), (Some(paid), EventKind::KeyCreated));
    let owners = |owners: &[AdminId]| GrantFilter { owners: Some(owners.into()), ..GrantFilter::default() };
    let grants = s.store.grants(&owners(&[a])).await.unwrap();
    assert_eq!((grants.len(), grants[0].owner, grants[0].by_admin), (1, Some(a), Some(a)));
    // What two of them call the same is not the same payment.
    let b = admin(&s, CreateAdmin::named("b")).await.id;
    let request = Request::grant("pay:1", Fingerprint::of(["2"]));
    let request = Request { id: format!("b:{}", request.id), ..request };
    let txn = StoreTxn { scope: Some(b), ..StoreTxn::new(at(), [create(owned(b, 5))]) };
    s.store.commit(txn.for_request(Some(request))).await.unwrap();
    for scope in [None, Some(b)] {
        let idempotency_key = Some("pay:1".to_owned());
        let filter = GrantFilter { idempotency_key, scope: Some(scope), ..GrantFilter::default() };
        let found = s.store.grants(&filter).await.unwrap();
        let owner = scope.or(Some(a));
        assert_eq!(found.iter().map(|grant| grant.owner).collect::<Vec<_>>(), [owner]);
    }
    // Its own secrets are no settings, and what is not there does not go.
    let place = || ("api_key".to_owned(), format!("{a}/x"));
    let revision = s.store.revision().await.unwrap();
    let newest = s.store.newest_event().await.unwrap();
    call(&s, [RecordOp::Remove { place: place(), expected: None }]).await.unwrap();
    assert_eq!(s.store.newest_event().await.unwrap(), newest);
    call(&s, [RecordOp::Put { place: place(), expected: None, index: None, body: Secret::new("{}") }])
        .await
        .unwrap();
    assert_eq!(s.store.revision().await.unwrap(), revision);
    let below = |id: &str| RecordQuery { below: Some(id.to_owned()), ..RecordQuery::of("api_key") };
    assert_eq!(s.store.records(&below(&a.to_string())).await.unwrap().len(), 1);
    assert!(s.store.records(&below("")).await.unwrap().is_empty());
    assert!(s.store.grants(&owners(&[AdminId(99)])).await.unwrap().is_empty());
    // Its record tells, too.
    let place = ("settings".to_owned(), String::new());
    call(&s, [RecordOp::Put { place, expected: None, index: None, body: Secret::new("{}") }]).await.unwrap();
    let newest = s.store.newest_event().await.unwrap();
    let told = s.store.events(Cursor(newest.0 - 1), 1).await.unwrap().events.remove(0);
    assert_eq!(told.kind, EventKind::SettingsChanged);
}
