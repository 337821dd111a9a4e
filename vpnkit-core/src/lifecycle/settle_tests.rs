use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{ByteSize, CreateKey, DataReset, Hold, KeyId, KeyPatch, Patch, ResetPeriod};

const DAY: Duration = Duration::from_secs(86_400);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn created(request: CreateKey) -> Key {
    request.validate(at(1)).unwrap().into_key(KeyId(1), at(1))
}

fn key(limit: Option<u64>, used: u64, expires: Option<i64>, status: KeyStatus) -> Key {
    let mut key = created(CreateKey::default());
    key.data_limit = limit.map(ByteSize::from_bytes);
    key.used = used;
    key.expires_at = expires.map(at);
    key.status = status;
    key
}

/// Settles and stamps, as a store does.
fn look(key: &mut Key, now: Timestamp) -> Vec<EventKind> {
    let before = key.clone();
    let happened = settle(key, now);
    stamp(&before, key, now);
    happened
}

fn any_key() -> impl Strategy<Value = Key> {
    (
        (proptest::option::of(1u64..1000), 0u64..2000, proptest::option::of(0i64..2000)),
        proptest::sample::select(KeyStatus::ALL),
        proptest::option::of((1u64..500, proptest::option::of(0i64..2000))),
        proptest::option::of(0i64..2000),
        (any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(1u64..500)),
    )
        .prop_map(|((limit, used, expires), status, hold, paused, (reset, plan, either, delete))| {
            let mut key = key(limit, used, expires, status);
            key.hold =
                hold.map(|(secs, until)| Hold { duration: Duration::from_secs(secs), until: until.map(at) });
            if key.hold.is_some() {
                key.expires_at = None;
            }
            key.paused_at = paused.map(at);
            key.reset = reset.then(|| DataReset::each(ResetPeriod::Day));
            key.next_plan = plan.then(|| NextPlan {
                data_limit: Some(ByteSize::from_bytes(500)),
                duration: Some(Duration::from_secs(300)),
                fire_on_either: either,
                ..NextPlan::default()
            });
            key.delete_after = delete.map(Duration::from_secs);
            key
        })
}

proptest! {
    #[test]
    fn settling_twice_changes_nothing(mut key in any_key(), now in 0i64..2000) {
        look(&mut key, at(now));
        let once = key.clone();
        prop_assert_eq!(look(&mut key, at(now)), []);
        prop_assert_eq!(key, once);
    }

    #[test]
    fn nothing_changes_by_itself_before_it_is_due(mut key in any_key(), now in 0i64..2000, later in 0i64..4000) {
        look(&mut key, at(now));
        let later = at(now + later);
        if due_at(&key).is_none_or(|due| due > later) {
            let before = key.clone();
            prop_assert_eq!(look(&mut key, later), []);
            prop_assert_eq!(&key, &before);
            prop_assert!(!is_over(&key, later));
        }
    }

    #[test]
    fn what_is_due_is_done(mut key in any_key(), now in 0i64..2000, later in 0i64..4000) {
        look(&mut key, at(now));
        let later = at(now + later);
        look(&mut key, later);
        prop_assert!(due_at(&key).is_none_or(|due| due > later) || is_over(&key, later));
    }

    #[test]
    fn an_active_key_is_within_time_and_limit(mut key in any_key(), now in 0i64..2000) {
        look(&mut key, at(now));
        if key.status == KeyStatus::Active {
            prop_assert!(key.expires_at.is_none_or(|end| end > at(now)));
            prop_assert!(key.data_limit.is_none_or(|limit| key.used < limit.bytes()));
        }
    }

    #[test]
    fn only_resets_and_plans_revive_a_key(mut key in any_key(), now in 0i64..2000, later in 0i64..2000) {
        look(&mut key, at(now));
        let could = key.status.may_connect();
        let happened = look(&mut key, at(now + later));
        prop_assert!(could || !key.status.may_connect() || !happened.is_empty());
    }

    #[test]
    fn only_enabling_ends_a_disabled_state(mut key in any_key(), limit in 1u64..3000, now in 0i64..2000) {
        key.status = KeyStatus::Disabled;
        (key.hold, key.paused_at) = (None, None);
        let patch = KeyPatch {
            data_limit: Patch::Set(ByteSize::from_bytes(limit)),
            expires_at: Patch::Clear,
            reset_usage: true,
            ..KeyPatch::default()
        };
        patch.apply(&mut key, at(now));
        prop_assert_eq!(key.status, KeyStatus::Disabled);
        KeyPatch::enabled(true).apply(&mut key, at(now));
        prop_assert_eq!(key.status, KeyStatus::Active);
    }

    #[test]
    fn a_patch_that_changes_nothing_keeps_the_version(mut key in any_key(), now in 0i64..2000) {
        look(&mut key, at(now));
        let before = key.clone();
        prop_assert_eq!(KeyPatch::default().apply(&mut key, at(now)), None);
        prop_assert_eq!(key, before);
    }

    #[test]
    fn a_pause_takes_no_time(mut key in any_key(), now in 0i64..2000, pause in 0i64..2000) {
        key.paused_at = None;
        key.reset = None;
        look(&mut key, at(now));
        let left = key.expires_at.map(|end| end.as_millis() - at(now).as_millis());
        let paused = KeyPatch { paused: Some(true), ..KeyPatch::default() };
        let resumed = KeyPatch { paused: Some(false), ..KeyPatch::default() };
        let before = key.clone();
        paused.apply(&mut key, at(now));
        prop_assert!(!key.status.may_connect());
        look(&mut key, at(now + pause));
        resumed.apply(&mut key, at(now + pause));
        prop_assert_eq!(key.expires_at.map(|end| end.as_millis() - at(now + pause).as_millis()), left);
        prop_assert_eq!(key.status, before.status);
    }
}

#[test]
fn the_first_bytes_begin_the_time_of_a_key_on_hold() {
    let mut key = created(CreateKey::default().expires_in(30 * DAY).on_hold());
    assert_eq!((key.status, key.expires_at, due_at(&key)), (KeyStatus::OnHold, None, None));
    look(&mut key, at(1_000_000));
    assert_eq!(key.status, KeyStatus::OnHold);
    assert_eq!(connect(&mut key, at(2_000_000)), [EventKind::KeyStarted]);
    assert_eq!((key.status, key.started_at), (KeyStatus::Active, Some(at(2_000_000))));
    assert_eq!(key.expires_at, Some(at(2_000_000).plus(30 * DAY)));
    assert_eq!(connect(&mut key, at(2_000_001)), []);
}

#[test]
fn a_hold_that_ends_by_itself_ends_when_it_was_said_to() {
    let request = CreateKey { hold_until: Some(at(1_000)), ..CreateKey::default().expires_in(DAY).on_hold() };
    let mut key = created(request);
    assert_eq!(due_at(&key), Some(at(1_000)));
    // Nobody looked for an hour.
    assert_eq!(look(&mut key, at(4_600)), [EventKind::KeyStarted]);
    assert_eq!(key.expires_at, Some(at(1_000).plus(DAY)));
    // For two days: it is over.
    let mut other =
        created(CreateKey { hold_until: Some(at(1_000)), ..CreateKey::default().expires_in(DAY).on_hold() });
    assert_eq!(look(&mut other, at(1_000).plus(2 * DAY)), [EventKind::KeyStarted]);
    assert_eq!((other.status, other.ended_at), (KeyStatus::Expired, Some(at(1_000).plus(DAY))));
}

#[test]
fn a_reset_lets_a_limited_key_connect_again() {
    let request =
        CreateKey::default().data_limit(ByteSize::from_bytes(100)).reset(DataReset::each(ResetPeriod::Day));
    let mut key = created(request);
    assert_eq!(key.resets_at, Some(at(86_400)));
    key.used = 100;
    assert_eq!(connect(&mut key, at(50_000)), []);
    assert_eq!((key.status, key.ended_at), (KeyStatus::Limited, Some(at(50_000))));
    assert_eq!(due_at(&key), Some(at(86_400)));
    // Three days late it is one reset.
    assert_eq!(look(&mut key, at(86_400 * 3 + 5)), [EventKind::KeyReset]);
    assert_eq!((key.status, key.used, key.ended_at), (KeyStatus::Active, 0, None));
    assert_eq!((key.reset_at, key.resets_at), (Some(at(86_400 * 3 + 5)), Some(at(86_400 * 4))));
}

#[test]
fn resets_of_a_key_on_hold_count_from_its_first_connection() {
    let reset = DataReset { rolling: true, ..DataReset::each(ResetPeriod::Day) };
    let mut key = created(CreateKey::default().expires_in(30 * DAY).on_hold().reset(reset));
    assert_eq!(key.resets_at, None);
    connect(&mut key, at(10_000));
    assert_eq!(key.resets_at, Some(at(96_400)));
}

#[test]
fn the_next_plan_begins_once() {
    let plan = NextPlan {
        data_limit: Some(ByteSize::from_bytes(1_000)),
        duration: Some(DAY),
        add_remaining_traffic: true,
        ..NextPlan::default()
    };
    let request = CreateKey { expires_at: Some(at(500)), ..CreateKey::default() };
    let request = request.data_limit(ByteSize::from_bytes(100)).next_plan(plan);
    let mut key = created(request.clone());
    key.used = 40;
    assert_eq!(look(&mut key, at(500)), [EventKind::KeyNextPlan]);
    assert_eq!((key.status, key.used, key.next_plan), (KeyStatus::Active, 0, None));
    assert_eq!(
        (key.data_limit, key.expires_at),
        (Some(ByteSize::from_bytes(1_060)), Some(at(500).plus(DAY)))
    );
    // Only when both have ended.
    let both = NextPlan { fire_on_either: false, ..plan };
    let mut key = created(request.clone().next_plan(both));
    key.used = 100;
    assert_eq!(connect(&mut key, at(100)), []);
    assert_eq!(key.status, KeyStatus::Limited);
    assert_eq!(look(&mut key, at(500)), [EventKind::KeyNextPlan]);
    // One that may use what it likes waits for its end only.
    let mut endless = created(CreateKey { data_limit: None, ..request.next_plan(both) });
    assert_eq!(look(&mut endless, at(500)), [EventKind::KeyNextPlan]);
}

#[test]
fn what_has_ended_is_over_after_its_time() {
    let request = CreateKey { expires_at: Some(at(500)), ..CreateKey::default() };
    let mut key = created(request.data_limit(ByteSize::from_bytes(100)).delete_after(DAY));
    look(&mut key, at(600));
    assert_eq!((key.status, key.ended_at), (KeyStatus::Expired, Some(at(500))));
    assert_eq!(due_at(&key), Some(at(500).plus(DAY)));
    assert!(!is_over(&key, at(86_899)) && is_over(&key, at(86_900)));
    // Renewed, it is not.
    KeyPatch { expires_at: Patch::Clear, ..KeyPatch::default() }.apply(&mut key, at(700));
    assert_eq!((key.status, key.ended_at, due_at(&key)), (KeyStatus::Active, None, None));
    // One that is limited until its usage is set to nothing is not over either.
    key.used = 100;
    connect(&mut key, at(800));
    assert!(is_over(&key, at(800).plus(DAY)));
    key.reset = Some(DataReset::each(ResetPeriod::Month));
    look(&mut key, at(800));
    assert!(!is_over(&key, at(800).plus(DAY)));
}

#[test]
fn an_end_that_is_set_is_not_waited_for() {
    let mut key = created(CreateKey::default().expires_in(DAY).on_hold());
    KeyPatch::default().expires_at(at(90_000)).apply(&mut key, at(10));
    assert_eq!((key.status, key.hold, key.expires_at), (KeyStatus::Active, None, Some(at(90_000))));
    let hold = Hold { duration: DAY, until: None };
    KeyPatch { hold: Patch::Set(hold), ..KeyPatch::default() }.apply(&mut key, at(20));
    assert_eq!((key.status, key.expires_at), (KeyStatus::OnHold, None));
    let happened = KeyPatch { hold: Patch::Clear, ..KeyPatch::default() }.apply(&mut key, at(30));
    assert_eq!(happened, Some(vec![EventKind::KeyStarted]));
    assert_eq!((key.status, key.expires_at), (KeyStatus::Active, Some(at(30).plus(DAY))));
}

#[test]
fn a_pause_lengthens_nothing_that_is_set_during_it() {
    let patch = |patch: KeyPatch, key: &mut Key, now: i64| drop(patch.apply(key, at(now)));
    let paused = || KeyPatch { paused: Some(true), ..KeyPatch::default() };
    let resumed = || KeyPatch { paused: Some(false), ..KeyPatch::default() };
    let plan = NextPlan { duration: Some(DAY), ..NextPlan::default() };
    let left = |key: &Key, now: i64| key.expires_at.map(|end| end.since(at(now)));
    // A plan that begins.
    let mut key = created(CreateKey::default().expires_in(5 * DAY).next_plan(plan));
    patch(paused(), &mut key, 100);
    patch(KeyPatch { begin_next_plan: true, ..KeyPatch::default() }, &mut key, 900_000);
    patch(resumed(), &mut key, 1_000_000);
    assert_eq!(left(&key, 1_000_000), Some(DAY));
    // An end, before and with the resumption.
    for with in [false, true] {
        let mut key = created(CreateKey::default().expires_in(5 * DAY));
        patch(paused(), &mut key, 100);
        let end = KeyPatch { expires_at: Patch::Set(at(2_000_000)), ..KeyPatch::default() };
        patch(KeyPatch { paused: Some(false).filter(|_| with), ..end }, &mut key, 900_000);
        patch(resumed(), &mut key, 900_000);
        assert_eq!(key.expires_at, Some(at(2_000_000)));
    }
    // A hold: who connects before a pause is seen has begun his time.
    let mut held = created(CreateKey::default().expires_in(DAY).on_hold());
    patch(paused(), &mut held, 100);
    assert_eq!(connect(&mut held, at(200)), [EventKind::KeyStarted]);
    patch(resumed(), &mut held, 500_000);
    assert_eq!((held.hold, left(&held, 500_000)), (None, Some(DAY)));
    // Rolling resets are as far away as before; those of the calendar are where they are.
    let rolling = DataReset { rolling: true, ..DataReset::each(ResetPeriod::Day) };
    let mut key = created(CreateKey::default().reset(rolling));
    patch(paused(), &mut key, 86_300);
    patch(resumed(), &mut key, 186_300);
    assert_eq!(key.resets_at, Some(at(186_401)));
    assert_eq!(look(&mut key, at(186_401)), [EventKind::KeyReset]);
    assert_eq!(key.resets_at, Some(at(272_801)));
    // Nothing is left to keep of a key that is over.
    let mut over = created(CreateKey { expires_at: Some(at(50)), ..CreateKey::default() });
    look(&mut over, at(60));
    assert_eq!(paused().check("test", &over, at(60)).unwrap_err().get("field"), Some("paused"));
}

#[test]
fn a_key_that_is_ended_by_hand_is_kept_for_as_long_as_another() {
    let mut key = created(CreateKey::default().expires_in(30 * DAY).delete_after(DAY));
    KeyPatch { expires_at: Patch::Set(at(1)), ..KeyPatch::default() }.apply(&mut key, at(1_000_000));
    assert_eq!((key.status, key.ended_at), (KeyStatus::Expired, Some(at(1_000_000))));
    assert!(!is_over(&key, at(1_000_000)) && is_over(&key, at(1_000_000).plus(DAY)));
    // One that waits for its next plan is not over.
    let plan = NextPlan { data_limit: Some(ByteSize::gib(1)), fire_on_either: false, ..NextPlan::default() };
    let request = CreateKey::default().expires_in(30 * DAY).data_limit(ByteSize::from_bytes(1));
    let mut waiting = created(request.next_plan(plan).delete_after(DAY));
    waiting.used = 1;
    connect(&mut waiting, at(100));
    assert!(waiting.status == KeyStatus::Limited && !is_over(&waiting, at(1_000_000)));
}

#[test]
fn another_calendar_gives_no_reset_before_its_time() {
    let reset = |zone: &str| DataReset {
        time_zone: Some(zone.parse().unwrap()),
        ..DataReset::each(ResetPeriod::Day)
    };
    let mut key = created(CreateKey::default().data_limit(ByteSize::from_bytes(1)).reset(reset("UTC")));
    let before = key.resets_at;
    KeyPatch { reset: Patch::Set(reset("Etc/GMT-12")), ..KeyPatch::default() }.apply(&mut key, at(2));
    assert_eq!(key.resets_at, before);
    let monthly = DataReset { every: ResetPeriod::Month, ..reset("UTC") };
    KeyPatch { reset: Patch::Set(monthly), ..KeyPatch::default() }.apply(&mut key, at(3));
    assert_eq!(key.resets_at, Some(at(31 * 86_400)));
}
