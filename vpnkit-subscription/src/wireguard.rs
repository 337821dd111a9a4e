//! WireGuard's `.conf`.

use std::fmt::Write as _;

use vpnkit_core::model::{Endpoint, Proxy};

/// The configuration that `wg-quick` and every app reads; `None` for other protocols.
#[must_use]
pub fn conf(endpoint: &Endpoint) -> Option<String> {
    let Proxy::WireGuard(peer) = &endpoint.proxy else { return None };
    let mut text = format!("# {}\n[Interface]\nPrivateKey = ", one_line(&endpoint.remark));
    // Writing to a text does not fail.
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name}{value}");
        }
    };
    line("", peer.private_key.expose());
    line("Address = ", &peer.prefixes().join(", "));
    line("DNS = ", &peer.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    line("MTU = ", &peer.mtu.to_string());
    line("\n[Peer]\nPublicKey = ", &peer.public_key);
    line("PresharedKey = ", peer.preshared_key.as_ref().map_or("", |key| key.expose()));
    line("AllowedIPs = ", "0.0.0.0/0, ::/0");
    line("Endpoint = ", &place(endpoint));
    if peer.keepalive > 0 {
        line("PersistentKeepalive = ", &peer.keepalive.to_string());
    }
    Some(text)
}

/// `address:port`, an IPv6 address in brackets.
pub(crate) fn place(endpoint: &Endpoint) -> String {
    match endpoint.address.contains(':') {
        true => format!("[{}]:{}", endpoint.address, endpoint.port),
        false => format!("{}:{}", endpoint.address, endpoint.port),
    }
}

/// A comment must not end before its line does.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use vpnkit_core::model::WireGuardPeer;

    use super::*;
    use crate::sample::endpoint;
    use vpnkit_core::Secret;

    #[test]
    fn every_part_is_there() {
        let mut there = endpoint(Proxy::WireGuard(WireGuardPeer {
            private_key: Secret::new("private"),
            public_key: "public".into(),
            preshared_key: Some(Secret::new("shared")),
            addresses: vec!["10.8.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            dns: vec!["1.1.1.1".parse().unwrap()],
            mtu: 1_420,
            keepalive: 25,
        }));
        there.address = "2001:db8::1".into();
        there.remark = "two\nlines".into();
        let expected = "# two lines\n[Interface]\nPrivateKey = private\nAddress = 10.8.0.2/32, fd00::2/128\n\
                        DNS = 1.1.1.1\nMTU = 1420\n\n[Peer]\nPublicKey = public\nPresharedKey = shared\n\
                        AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = [2001:db8::1]:443\nPersistentKeepalive = 25\n";
        assert_eq!(conf(&there).unwrap(), expected);
        assert_eq!(conf(&endpoint(Proxy::Vmess { id: Secret::new("x") })), None);
    }
}
