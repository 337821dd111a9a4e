use serde::Serialize;
use vpnkit::KeyId;

use super::Big;

#[derive(Serialize)]
pub(crate) struct Traffic {
    up: Big,
    down: Big,
}

impl Traffic {
    pub(crate) fn of(traffic: &vpnkit::Traffic) -> Self {
        let vpnkit::Traffic { up, down } = *traffic;
        Self { up: Big(up), down: Big(down) }
    }
}

#[derive(Serialize)]
pub(crate) struct Point {
    at: i64,
    traffic: Traffic,
}

impl Point {
    pub(crate) fn of(point: &vpnkit::UsagePoint) -> Self {
        let vpnkit::UsagePoint { at, traffic } = point;
        Self { at: at.as_millis(), traffic: Traffic::of(traffic) }
    }
}

#[derive(Serialize)]
pub(crate) struct Collected {
    moved: usize,
    traffic: Traffic,
    limited: usize,
    backwards: usize,
}

impl Collected {
    pub(crate) fn of(collected: &vpnkit::Collected) -> Self {
        let vpnkit::Collected { moved, traffic, limited, backwards } = *collected;
        Self { moved, traffic: Traffic::of(&traffic), limited, backwards }
    }
}

#[derive(Serialize)]
pub(crate) struct Online {
    key: KeyId,
    addresses: Vec<(std::net::IpAddr, i64)>,
}

impl Online {
    pub(crate) fn of(online: &vpnkit::OnlineKey) -> Self {
        let vpnkit::OnlineKey { key, addresses } = online;
        Self { key: *key, addresses: addresses.iter().map(|(ip, at)| (*ip, at.as_millis())).collect() }
    }
}
