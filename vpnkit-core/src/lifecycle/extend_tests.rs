use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::lifecycle;
use crate::model::{ByteSize, CreateKey, DataReset, KeyId, KeyPatch, KeyStatus, NextPlan, ResetPeriod};

const DAY: Duration = Duration::from_secs(86_400);

fn at(days: u64) -> Timestamp {
    Timestamp::default().plus(u32::try_from(days).unwrap() * DAY)
}

fn size(bytes: u64) -> ByteSize {
    ByteSize::from_bytes(bytes)
}

/// 30 days and 100 bytes, 40 of them used; ten days have passed.
fn key() -> Key {
    let request = CreateKey::default().data_limit(size(100)).expires_in(30 * DAY);
    let mut key = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
    key.used = 40;
    key
}

fn extended(key: &mut Key, extension: &Extension, now: Timestamp) -> Grant {
    let (grant, _) = extend_key(key, extension, None, now);
    lifecycle::settle(key, now);
    grant
}

/// The end in days, the limit, what is used.
fn stands(key: &Key) -> (Option<u64>, Option<u64>, u64) {
    (
        key.expires_at.map(|end| end.since(at(0)).as_secs() / 86_400),
        key.data_limit.map(ByteSize::bytes),
        key.used,
    )
}

#[test]
fn the_five_policies() {
    let grant = Extension::days(30).data_limit(size(1_000));
    for (policy, expected) in [
        (RenewPolicy::CarryOver, (60, 1_100, 40)),
        (RenewPolicy::Reset, (40, 1_000, 0)),
        (RenewPolicy::ResetTime, (40, 1_100, 40)),
        (RenewPolicy::ResetData, (60, 1_000, 0)),
        (RenewPolicy::RemainingToTotal, (60, 1_060, 0)),
    ] {
        let mut key = key();
        extended(&mut key, &grant.clone().policy(policy), at(10));
        let (end, limit, used) = expected;
        assert_eq!(stands(&key), (Some(end), Some(limit), used), "{policy:?}");
        // When all is over, time counts from now.
        let mut over = self::key();
        over.used = 130;
        lifecycle::settle(&mut over, at(50));
        extended(&mut over, &grant.clone().policy(policy), at(50));
        let (_, limit, used) = stands(&over);
        assert_eq!(stands(&over).0, Some(80), "{policy:?}");
        assert_eq!(over.status, KeyStatus::Active);
        let left = limit.unwrap() - used;
        // What was overrun is not given twice.
        let expected =
            if matches!(policy, RenewPolicy::CarryOver | RenewPolicy::ResetTime) { 970 } else { 1_000 };
        assert_eq!(left, expected, "{policy:?}");
    }
}

#[test]
fn what_is_not_given_stays() {
    let mut time = key();
    extended(&mut time, &Extension::days(5), at(10));
    assert_eq!(stands(&time), (Some(35), Some(100), 40));
    let mut volume = key();
    extended(&mut volume, &Extension::default().data_limit(size(7)), at(10));
    assert_eq!(stands(&volume), (Some(30), Some(107), 40));
    // The same plan once more: the limit stays, and nothing of it is used.
    let mut again = key();
    extended(&mut again, &Extension::days(30).policy(RenewPolicy::Reset), at(10));
    assert_eq!(stands(&again), (Some(40), Some(100), 0));
    let mut unlimited = key();
    extended(&mut unlimited, &Extension::default().unlimited(), at(10));
    assert_eq!(stands(&unlimited), (Some(30), None, 40));
    extended(&mut unlimited, &Extension::default().data_limit(size(7)), at(10));
    assert_eq!(stands(&unlimited).1, None, "it stays unlimited when volume is added");
}

#[test]
fn a_key_on_hold_lasts_longer_and_a_paused_one_counts_from_its_pause() {
    let request = CreateKey::default().expires_in(30 * DAY).on_hold();
    let mut held = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
    extended(&mut held, &Extension::days(10), at(5));
    assert_eq!(held.hold.unwrap().duration, 40 * DAY);
    let mut paused = key();
    KeyPatch { paused: Some(true), ..KeyPatch::default() }.apply(&mut paused, at(10));
    extended(&mut paused, &Extension::days(30).policy(RenewPolicy::Reset), at(25));
    KeyPatch { paused: Some(false), ..KeyPatch::default() }.apply(&mut paused, at(50));
    assert_eq!(stands(&paused).0, Some(80), "30 days from where it goes on");
}

#[test]
fn a_refund_takes_what_was_given() {
    // In time: what was lost by a reset is there again.
    let mut key = key();
    let mut grants = vec![extended(&mut key, &Extension::days(30).policy(RenewPolicy::Reset), at(10))];
    key.used += 5;
    assert_eq!(undo(&mut grants, &mut key, at(12)), EventKind::KeyGrantUndone);
    assert_eq!(stands(&key), (Some(30), Some(100), 45));
    assert_eq!(grants[0].undone_at, Some(at(12)));
    // Of the first purchase: nothing is left.
    let mut key = self::key();
    let mut grants = vec![Grant::created(&key, None)];
    key.used = 45;
    undo(&mut grants, &mut key, at(12));
    lifecycle::settle(&mut key, at(12));
    assert_eq!((key.expires_at, key.status), (Some(at(0)), KeyStatus::Expired));
}

#[test]
fn a_refund_of_the_first_of_two_leaves_the_second() {
    let mut key = key();
    let first = Grant::created(&Key { used: 0, ..self::key() }, None);
    let second = extended(&mut key, &Extension::days(30).data_limit(size(50)), at(10));
    assert_eq!(stands(&key), (Some(60), Some(150), 40));
    let mut grants = vec![first, second];
    undo(&mut grants, &mut key, at(12));
    assert_eq!(
        stands(&key),
        (Some(40), Some(50), 40),
        "as if it had been bought on day 10 with nothing before"
    );
    assert_eq!(grants[1].before.expires_at, Some(at(0)));
}

#[test]
fn a_key_whose_time_has_begun_since_loses_the_days_of_a_refund() {
    let request = CreateKey::default().expires_in(30 * DAY).on_hold();
    let mut key = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
    let created = Grant::created(&key, None);
    let mut grants = vec![extended(&mut key, &Extension::days(10), at(1))];
    lifecycle::connect(&mut key, at(5));
    assert_eq!(stands(&key).0, Some(45));
    undo(&mut grants, &mut key, at(6));
    assert_eq!(stands(&key).0, Some(35));
    grants.insert(0, created);
    undo(&mut grants, &mut key, at(7));
    assert_eq!(key.hold, None);
    lifecycle::settle(&mut key, at(7));
    assert_eq!(key.status, KeyStatus::Expired);
}

#[test]
fn a_refund_of_the_first_purchase_leaves_what_was_paid_for_later() {
    // Renewals that name only time go on with the limit of the purchase.
    for (limit, policy) in [(None, RenewPolicy::CarryOver), (Some(50), RenewPolicy::Reset)] {
        let request = CreateKey { data_limit: limit.map(size), ..CreateKey::default() }.expires_in(30 * DAY);
        let mut key = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
        let mut grants = vec![Grant::created(&key, None)];
        grants.push(extended(&mut key, &Extension::days(30).policy(policy), at(20)));
        undo(&mut grants, &mut key, at(25));
        lifecycle::settle(&mut key, at(25));
        assert_eq!((key.status, stands(&key)), (KeyStatus::Active, (Some(50), limit, 0)), "{policy:?}");
    }
    // Of a key that waits for its first connection the second length is left.
    let request = CreateKey::default().expires_in(3 * DAY).on_hold();
    let mut key = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
    let mut grants = vec![Grant::created(&key, None), extended(&mut key, &Extension::days(30), at(1))];
    undo(&mut grants, &mut key, at(31));
    assert_eq!((key.hold.unwrap().duration, key.expires_at), (30 * DAY, None));
    undo(&mut grants[1..], &mut key, at(31));
    lifecycle::settle(&mut key, at(31));
    assert_eq!((key.status, key.hold), (KeyStatus::Expired, None));
}

#[test]
fn a_plan_that_has_begun_is_not_the_refunds_to_take() {
    let plan = NextPlan { data_limit: Some(size(50)), duration: Some(30 * DAY), ..NextPlan::default() };
    let request = CreateKey::default().data_limit(size(50)).expires_in(30 * DAY).next_plan(plan);
    let mut key = request.validate(at(0)).unwrap().into_key(KeyId(1), at(0));
    let created = Grant::created(&key, None);
    let extension = extended(&mut key, &Extension::days(30).data_limit(size(100)), at(1));
    key.used = 150;
    let before = key.clone();
    assert_eq!(lifecycle::connect(&mut key, at(20)), [EventKind::KeyNextPlan]);
    let begun = Grant::begun(&before, &key, plan, at(20));
    assert_eq!(stands(&key), (Some(50), Some(50), 0));
    let mut grants = vec![extension, begun];
    undo(&mut grants, &mut key, at(25));
    assert_eq!(stands(&key), (Some(50), Some(50), 0), "it has replaced what was extended");
    grants.insert(0, created);
    undo(&mut grants, &mut key, at(26));
    assert_eq!(stands(&key), (Some(50), Some(50), 0));
    // A plan that has not begun goes with the purchase that it was part of.
    let mut waiting = CreateKey::default()
        .expires_in(DAY)
        .next_plan(plan)
        .validate(at(0))
        .unwrap()
        .into_key(KeyId(1), at(0));
    let mut grants = vec![Grant::created(&waiting, None)];
    undo(&mut grants, &mut waiting, at(0));
    assert_eq!(lifecycle::settle(&mut waiting, at(2)), []);
    assert_eq!((waiting.status, waiting.next_plan), (KeyStatus::Expired, None));
}

#[test]
fn what_would_give_nothing_is_refused() {
    let field = |key: &Key, extension: Extension| {
        extension.check("test", key).err().and_then(|e| e.get("field").map(str::to_owned))
    };
    let endless = Key { expires_at: None, data_limit: None, ..key() };
    assert_eq!(field(&endless, Extension::days(30)).as_deref(), Some("expires_in"));
    assert_eq!(field(&endless, Extension::default().data_limit(size(5))).as_deref(), Some("data_limit"));
    assert_eq!(field(&endless, Extension::days(30).policy(RenewPolicy::ResetTime)), None);
    assert_eq!(field(&endless, Extension::default().data_limit(size(5)).policy(RenewPolicy::Reset)), None);
    let refunded = Key { data_limit: Some(size(0)), ..key() };
    assert_eq!(field(&refunded, Extension::days(30)).as_deref(), Some("data_limit"));
    assert_eq!(field(&refunded, Extension::days(30).data_limit(size(5))), None);
    // What is added to a limit that comes back would come back each time.
    let monthly = Key { reset: Some(DataReset::each(ResetPeriod::Month)), ..key() };
    assert_eq!(field(&monthly, Extension::days(30).data_limit(size(5))).as_deref(), Some("data_limit"));
    assert_eq!(field(&monthly, Extension::days(30)), None);
    assert_eq!(field(&monthly, Extension::days(30).data_limit(size(5)).policy(RenewPolicy::ResetData)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Extend(Extension),
    Use(u64),
    Wait(u64),
    Pause,
    Resume,
    ResetUsage,
}

fn any_step() -> impl Strategy<Value = Step> {
    let extension = (
        proptest::option::of(1u32..40),
        proptest::option::of(1u64..200),
        0..=9usize,
        proptest::sample::select(RenewPolicy::ALL),
    );
    let extension = extension.prop_filter_map("grants something", |(days, volume, unlimited, policy)| {
        let extension = Extension {
            template: None,
            expires_in: days.map(|days| days * DAY),
            data_limit: volume.map(size),
            unlimited: unlimited == 0 && volume.is_none(),
            policy,
            reason: None,
        };
        extension.validate("test").is_ok().then_some(extension)
    });
    prop_oneof![
        4 => extension.prop_map(Step::Extend),
        3 => (0u64..60).prop_map(Step::Use),
        4 => (0u64..15).prop_map(Step::Wait),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => Just(Step::ResetUsage),
    ]
}

/// Runs a history, the extension at `without` left out; returns the key, its ledger and the time.
fn run(steps: &[Step], without: Option<usize>) -> (Key, Vec<(usize, Grant)>, Timestamp) {
    let (mut key, mut grants, mut now) = (key(), Vec::new(), at(1));
    for (i, step) in steps.iter().enumerate() {
        // A clock that moves tells entries of one day apart.
        now = now.plus(Duration::from_secs(1));
        match step {
            Step::Extend(_) if without == Some(i) => {}
            Step::Extend(extension) => grants.push((i, extended(&mut key, extension, now))),
            Step::Use(bytes) => key.used += bytes,
            Step::Wait(days) => now = now.plus(u32::try_from(*days).unwrap() * DAY),
            Step::Pause => lifecycle::pause(&mut key, now),
            Step::Resume => lifecycle::resume(&mut key, now),
            Step::ResetUsage => lifecycle::reset_usage(&mut key, now),
        }
    }
    (key, grants, now)
}

proptest! {
    /// A key from which a grant was taken stands as if it had never been given, whatever happened before and after it.
    #[test]
    fn an_undone_grant_was_never_given(steps in proptest::collection::vec(any_step(), 1..25), which in any::<prop::sample::Index>()) {
        let (mut key, grants, now) = run(&steps, None);
        prop_assume!(!grants.is_empty());
        let place = which.index(grants.len());
        let undone = grants[place].0;
        let mut later: Vec<Grant> = grants[place..].iter().map(|(_, grant)| grant.clone()).collect();
        undo(&mut later, &mut key, now);
        let (expected, ledger, _) = run(&steps, Some(undone));
        prop_assert_eq!(Terms::of(&key), Terms::of(&expected));
        for (have, (_, want)) in later[1..].iter().zip(&ledger[place..]) {
            prop_assert_eq!((have.before, have.after), (want.before, want.after));
        }
    }

    /// In whichever order: what is left is what it was created with.
    #[test]
    fn when_all_is_undone_nothing_was_given(steps in proptest::collection::vec(any_step(), 1..15), order in any::<u64>()) {
        let (mut key, grants, now) = run(&steps, None);
        let mut grants: Vec<Grant> = grants.into_iter().map(|(_, grant)| grant).collect();
        let mut left: Vec<usize> = (0..grants.len()).collect();
        let mut order = order;
        while !left.is_empty() {
            let place = left.remove(usize::try_from(order).unwrap() % left.len());
            order /= 7;
            undo(&mut grants[place..], &mut key, now);
        }
        let none: Vec<Step> = steps.iter().map(|step| match step { Step::Extend(_) => Step::Wait(0), other => other.clone() }).collect();
        let (expected, ..) = run(&none, None);
        prop_assert_eq!(Terms::of(&key), Terms::of(&expected));
    }
}
