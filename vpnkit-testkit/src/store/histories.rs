//! Random histories of years beside a plain model of a key's life.

use std::time::Duration;

use vpnkit_core::model::{
    ByteSize, CreateKey, DataReset, Extension, KeyId, KeyPatch, KeyStatus, NextPlan, RenewPolicy, ResetPeriod,
};
use vpnkit_core::store::{KeyOp, StoreOp, StoreTxn};
use vpnkit_core::{ErrorKind, Timestamp};

use super::{Subject, at, batch, get, moved};

const HOUR: u64 = 3_600_000;
const HISTORIES: u64 = 40;
const STEPS: usize = 120;

/// Numbers from a seed: xorshift64*.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn maybe(&mut self, sides: u64, value: impl FnOnce(&mut Self) -> u64) -> Option<u64> {
        if self.roll(sides) == 0 { None } else { Some(value(self)) }
    }
}

/// What a key is, said as plainly as possible; times in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
struct Model {
    disabled: bool,
    paused_at: Option<u64>,
    /// How long it lasts from its first connection on, and when that is not waited for any longer.
    hold: Option<(u64, Option<u64>)>,
    end: Option<u64>,
    limit: Option<u64>,
    used: u64,
    daily: bool,
    /// The day on which its usage was last set to nothing by the calendar.
    day: u64,
    /// Limit, length, whether what is left is added, whether one end is enough.
    plan: Option<(Option<u64>, Option<u64>, bool, bool)>,
}

impl Model {
    fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.used))
    }

    fn status(&self, now: u64) -> KeyStatus {
        if self.disabled {
            KeyStatus::Disabled
        } else if self.paused_at.is_some() {
            KeyStatus::Paused
        } else if self.hold.is_some() && self.left() != Some(0) {
            KeyStatus::OnHold
        } else if self.end.is_some_and(|end| end <= now) {
            KeyStatus::Expired
        } else if self.left() == Some(0) {
            KeyStatus::Limited
        } else {
            KeyStatus::Active
        }
    }

    fn start(&mut self, now: u64) {
        if let Some((length, _)) = self.hold.take() {
            self.end = Some(now + length);
            self.day = now / (24 * HOUR);
        }
    }

    fn look(&mut self, now: u64) {
        if let Some((_, Some(until))) = self.hold
            && until <= now
            && self.status(now) == KeyStatus::OnHold
        {
            self.start(until);
        }
        let runs = matches!(self.status(now), KeyStatus::Active | KeyStatus::Limited);
        if self.daily && runs && now / (24 * HOUR) > self.day {
            self.used = 0;
            self.day = now / (24 * HOUR);
        }
        let (over, full) = (self.end.is_some_and(|end| end <= now), self.left() == Some(0));
        let ended = matches!(self.status(now), KeyStatus::Expired | KeyStatus::Limited);
        if let Some((limit, length, add, either)) = self.plan
            && ended
            && (either || ((over || self.end.is_none()) && (full || self.limit.is_none())))
        {
            let left = if add { self.left().unwrap_or(0) } else { 0 };
            self.limit = limit.map(|limit| limit + left);
            self.end = length.map(|length| now + length);
            self.used = 0;
            self.plan = None;
        }
    }

    fn extend(&mut self, time: Option<u64>, volume: Option<u64>, policy: RenewPolicy, now: u64) {
        let from = self.paused_at.unwrap_or(now);
        if let Some(time) = time {
            let from_now = matches!(policy, RenewPolicy::Reset | RenewPolicy::ResetTime);
            match (&mut self.hold, self.end) {
                (Some((length, _)), _) => *length = if from_now { time } else { *length + time },
                (None, _) if from_now => self.end = Some(from + time),
                (None, Some(end)) => self.end = Some(end.max(from) + time),
                (None, None) => {}
            }
        }
        let left = self.left();
        match policy {
            RenewPolicy::Reset | RenewPolicy::ResetData => {
                self.limit = volume.or(self.limit);
                self.used = 0;
            }
            RenewPolicy::RemainingToTotal => {
                self.limit = left.map(|left| left + volume.unwrap_or(0));
                self.used = 0;
            }
            RenewPolicy::CarryOver | RenewPolicy::ResetTime => {
                self.limit = self.limit.map(|limit| limit + volume.unwrap_or(0));
            }
        }
    }
}

/// With what is due done at random times, as by a process that was down now and then.
pub async fn random_histories_follow_a_plain_model(s: Subject) {
    let seed = std::env::var("VPNKIT_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | u64::from(line!()));
    let histories = if seed.is_some() { 1 } else { HISTORIES };
    let mut readings = 0;
    for seed in first..first + histories {
        history(&s, seed, &mut readings).await;
    }
}

async fn history(s: &Subject, seed: u64, readings: &mut u64) {
    let mut dice = Dice(seed | 1);
    let mut now = u64::try_from(at().as_millis()).unwrap();
    let time = |millis: u64| Timestamp::from_millis(i64::try_from(millis).unwrap());
    let millis = |hours: u64| Duration::from_millis(hours * HOUR);
    let mut model = Model { daily: dice.roll(2) == 0, day: now / (24 * HOUR), ..Model::default() };
    let mut request = CreateKey::default();
    if model.daily {
        request = request.reset(DataReset::each(ResetPeriod::Day));
    }
    if let Some(limit) = dice.maybe(4, |dice| 1 + dice.roll(500)) {
        (model.limit, request.data_limit) = (Some(limit), Some(ByteSize::from_bytes(limit)));
    }
    if let Some(hours) = dice.maybe(4, |dice| 1 + dice.roll(1_000)) {
        request = request.expires_in(millis(hours));
        if dice.roll(2) == 0 {
            let until = dice.maybe(2, |dice| now + (1 + dice.roll(500)) * HOUR);
            model.hold = Some((hours * HOUR, until));
            request = CreateKey { hold_until: until.map(time), ..request.on_hold() };
        } else {
            model.end = Some(now + hours * HOUR);
        }
    }
    if (request.data_limit.is_some() || request.expires_in.is_some()) && dice.roll(2) == 0 {
        let limit = dice.maybe(3, |dice| 1 + dice.roll(500));
        let length =
            dice.maybe(3, |dice| (1 + dice.roll(500)) * HOUR).or(Some(HOUR).filter(|_| limit.is_none()));
        let (add, either) = (dice.roll(2) == 0, dice.roll(2) == 0);
        model.plan = Some((limit, length, add, either));
        request = request.next_plan(NextPlan {
            data_limit: limit.map(ByteSize::from_bytes),
            duration: length.map(Duration::from_millis),
            add_remaining_traffic: add,
            fire_on_either: either,
        });
    }
    let new = KeyOp::Create(Box::new(request.validate(time(now)).unwrap()));
    let key = s.store.commit(StoreTxn::new(time(now), [new])).await.unwrap().keys.remove(0).id;
    let patched = |patch: KeyPatch| KeyOp::Patch { key, expected: None, patch: Box::new(patch) }.into();
    let mut said = Vec::new();
    for step in 0..STEPS {
        now += dice.roll(3) * dice.roll(800) * HOUR / 4;
        let before = model.clone();
        let op: StoreOp = match dice.roll(8) {
            0 | 1 => {
                model.look(now);
                said.push(format!("{now} look"));
                KeyOp::Settle(key).into()
            }
            2 | 3 => {
                let bytes = 1 + dice.roll(120);
                said.push(format!("{now} pass {bytes}"));
                model.used += bytes;
                let started = model.hold.is_some();
                if started {
                    model.start(model.paused_at.unwrap_or(now));
                }
                if started || model.left() == Some(0) {
                    model.look(now);
                }
                *readings += 1;
                pass(*readings, key, bytes)
            }
            4 => {
                model.disabled = dice.roll(2) == 0;
                said.push(format!("{now} disabled {}", model.disabled));
                model.look(now);
                patched(KeyPatch::enabled(!model.disabled))
            }
            5 => {
                let paused = dice.roll(2) == 0;
                said.push(format!("{now} paused {paused}"));
                match (paused, model.paused_at) {
                    (true, None) => model.paused_at = Some(now),
                    (false, Some(from)) => {
                        model.paused_at = None;
                        model.end = model.end.map(|end| end + (now - from));
                        if let Some((_, Some(until))) = &mut model.hold {
                            *until += now - from;
                        }
                    }
                    _ => {}
                }
                model.look(now);
                patched(KeyPatch { paused: Some(paused), ..KeyPatch::default() })
            }
            6 => {
                said.push(format!("{now} reset"));
                model.used = 0;
                model.look(now);
                patched(KeyPatch { reset_usage: true, ..KeyPatch::default() })
            }
            _ => {
                let length = dice.maybe(4, |dice| (1 + dice.roll(300)) * HOUR);
                let volume =
                    dice.maybe(4, |dice| 1 + dice.roll(300)).or(Some(7).filter(|_| length.is_none()));
                let policies = u64::try_from(RenewPolicy::ALL.len()).unwrap();
                let policy = RenewPolicy::ALL[usize::try_from(dice.roll(policies)).unwrap()];
                said.push(format!("{now} extend {length:?} {volume:?} {policy:?}"));
                model.extend(length, volume, policy, now);
                model.look(now);
                let extension = Extension {
                    expires_in: length.map(Duration::from_millis),
                    data_limit: volume.map(ByteSize::from_bytes),
                    policy,
                    ..Extension::default()
                };
                KeyOp::Extend { key, expected: None, extension: Box::new(extension) }.into()
            }
        };
        let looked = !matches!(op, StoreOp::Traffic(_));
        match s.store.commit(StoreTxn::new(time(now), [op])).await {
            // It would give nothing, or there is nothing to keep: nothing is done.
            Err(e) if e.kind() == ErrorKind::InvalidInput => {
                model = before;
                said.push(format!("refused: {}", e.message()));
                continue;
            }
            done => drop(done.unwrap()),
        }
        let key = get(s, key).await.unwrap();
        let stands = (key.expires_at, key.data_limit.map(ByteSize::bytes), key.used, key.hold.is_some());
        let expected = (model.end.map(time), model.limit, model.used, model.hold.is_some());
        let place = || format!("VPNKIT_SEED={seed}, step {step}: {said:#?}\n{model:?}");
        assert_eq!(stands, expected, "{}", place());
        // Between two looks a status may be old.
        if looked {
            assert_eq!(key.status, model.status(now), "{}", place());
        }
    }
}

fn pass(reading: u64, key: KeyId, bytes: u64) -> StoreOp {
    batch(reading - 1, "histories", reading == 1, vec![moved(key, (0, reading), (0, bytes))])
}
