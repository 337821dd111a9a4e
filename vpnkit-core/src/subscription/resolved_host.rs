//! A host as one key sees it: choices made, variables filled in.

use crate::Timestamp;
use crate::model::{
    ClientSecurity, Fragment, Host, HostSecurity, InboundTag, Key, Noise, Security, Transport,
};

use super::Variables;

/// What HTTP transports name as their user agent when the host asks for a random one.
const USER_AGENTS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
];

/// A [`Host`] as one key sees it on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedHost {
    /// What the client shows.
    pub remark: String,
    /// Name or IP to dial.
    pub address: String,
    /// The port to dial; `None` is the inbound's.
    pub port: Option<u16>,
    /// The name to ask for; `None` is the inbound's.
    pub sni: Option<String>,
    /// The `Host` header; `None` is the inbound's.
    pub host: Option<String>,
    /// The path or service name; `None` is the inbound's.
    pub path: Option<String>,
    /// What protects the connection.
    pub security: HostSecurity,
    /// Protocols to offer; empty is the inbound's.
    pub alpn: Vec<String>,
    /// The browser to look like; `None` is the default.
    pub fingerprint: Option<String>,
    /// Whether any certificate will do.
    pub allow_insecure: bool,
    /// Whether several streams share a connection.
    pub mux: bool,
    /// How the first packets are cut.
    pub fragment: Option<Fragment>,
    /// What is sent before the first packet of UDP.
    pub noises: Vec<Noise>,
    /// The user agent of HTTP transports.
    pub user_agent: Option<&'static str>,
    /// The `Host` header is the name asked for.
    pub sni_as_host: bool,
    /// Chooses among what the inbound offers.
    pub seed: Seed,
}

/// Decides choices: the same for a key, an inbound and a day, so that a client that asks twice gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// Of a key on an inbound at a day.
    #[must_use]
    pub fn of(key: &Key, inbound: &InboundTag, now: Timestamp) -> Self {
        let day = now.day().as_secs().to_le_bytes();
        let bytes = key.uid.as_bytes().iter().chain(inbound.as_str().as_bytes()).chain(&day);
        // FNV-1a: choices need no secrecy, but they must not change with a version of Rust.
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }

    /// A number for one of several choices.
    fn number(self, choice: u64) -> u64 {
        // splitmix64
        let mut z = self.0.wrapping_add(choice.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn pick<T>(self, choice: u64, from: &[T]) -> Option<&T> {
        let index = self.number(choice).checked_rem(u64::try_from(from.len()).unwrap_or(0))?;
        from.get(usize::try_from(index).unwrap_or(0))
    }
}

const ADDRESS: u64 = 1;
const SNI: u64 = 2;
const HOST: u64 = 3;
const USER_AGENT: u64 = 4;
const WILDCARD: u64 = 5;
const SHORT_ID: u64 = 6;

impl ResolvedHost {
    /// `host` as a key sees it; `place` is the host's place among those of its inbound.
    #[must_use]
    pub fn of(host: &Host, place: usize, variables: &Variables<'_>, seed: Seed) -> Self {
        let seed = Seed(seed.number(u64::try_from(place).unwrap_or(0).wrapping_add(100)));
        let random = |text: &str| match text.contains('*') {
            true => text.replace('*', &format!("{:08x}", seed.number(WILDCARD) >> 32)),
            false => text.to_owned(),
        };
        let choose = |choice, from: &[String]| seed.pick(choice, from).map(|text| random(text));
        Self {
            remark: variables.fill(&host.remark).into_owned(),
            address: choose(ADDRESS, &host.addresses)
                .map(|address| dialable(&variables.fill(&address)))
                .unwrap_or_default(),
            port: host.port,
            sni: choose(SNI, &host.sni),
            host: choose(HOST, &host.host),
            path: host.path.as_ref().map(|path| variables.fill(path).into_owned()),
            security: host.security,
            alpn: host.alpn.clone(),
            fingerprint: host.fingerprint.clone(),
            allow_insecure: host.allow_insecure,
            mux: host.mux,
            fragment: host.fragment.clone(),
            noises: host.noises.clone(),
            user_agent: match host.random_user_agent {
                true => seed.pick(USER_AGENT, &USER_AGENTS).copied(),
                false => None,
            },
            sni_as_host: host.sni_as_host,
            seed,
        }
    }

    /// An address and nothing else: everything is as the inbound has it.
    pub fn at(address: impl Into<String>) -> Self {
        let address = address.into();
        Self {
            remark: address.clone(),
            address,
            port: None,
            sni: None,
            host: None,
            path: None,
            security: HostSecurity::InboundDefault,
            alpn: Vec::new(),
            fingerprint: None,
            allow_insecure: false,
            mux: false,
            fragment: None,
            noises: Vec::new(),
            user_agent: None,
            sni_as_host: false,
            seed: Seed(0),
        }
    }

    /// The inbound's transport with this host's path and `Host` header, which may be the name asked for in `security`.
    #[must_use]
    pub fn transport(&self, transport: &Transport, security: &ClientSecurity) -> Transport {
        let mut transport = transport.clone();
        let own_host = match security {
            ClientSecurity::Tls { sni, .. } | ClientSecurity::Reality { sni, .. } if self.sni_as_host => {
                Some(sni)
            }
            _ => self.host.as_ref(),
        };
        match &mut transport {
            Transport::Tcp => {}
            Transport::WebSocket { path, host }
            | Transport::HttpUpgrade { path, host }
            | Transport::Xhttp { path, host, .. } => {
                if let Some(own) = &self.path {
                    path.clone_from(own);
                }
                if let Some(own) = own_host {
                    *host = Some(own.clone());
                }
            }
            Transport::Grpc { service_name } => {
                if let Some(own) = &self.path {
                    service_name.clone_from(own);
                }
            }
        }
        transport
    }

    /// The client's side of the inbound's security with what this host says of it.
    #[must_use]
    pub fn security(&self, security: &Security) -> ClientSecurity {
        let fingerprint = self.fingerprint.clone().unwrap_or_else(|| ClientSecurity::FINGERPRINT.to_owned());
        let named = |inbound: &str| self.sni.clone().unwrap_or_else(|| inbound.to_owned());
        match (self.security, security) {
            (HostSecurity::None, _) | (HostSecurity::InboundDefault, Security::None) => ClientSecurity::None,
            (_, Security::Tls(tls)) => ClientSecurity::Tls {
                sni: named(&tls.server_name),
                alpn: if self.alpn.is_empty() { tls.alpn.clone() } else { self.alpn.clone() },
                fingerprint,
                // Whatever ends TLS before the inbound has a certificate of its own.
                pinned_sha256: match self.security {
                    HostSecurity::Tls => None,
                    _ => tls.pinned_sha256.clone(),
                },
                allow_insecure: self.allow_insecure,
            },
            (HostSecurity::Tls, _) => ClientSecurity::Tls {
                sni: named(&self.address),
                alpn: self.alpn.clone(),
                fingerprint,
                pinned_sha256: None,
                allow_insecure: self.allow_insecure,
            },
            (HostSecurity::InboundDefault, Security::Reality(reality)) => ClientSecurity::Reality {
                sni: self
                    .sni
                    .clone()
                    .or_else(|| self.seed.pick(SNI, &reality.server_names).cloned())
                    .unwrap_or_default(),
                public_key: reality.public_key.clone(),
                short_id: self
                    .seed
                    .pick(SHORT_ID, &reality.short_ids)
                    .map(|id| id.as_str().to_owned())
                    .unwrap_or_default(),
                fingerprint,
            },
        }
    }
}

/// What a variable brings into an address must not end it: a name may have `@` and `+`, a label anything.
fn dialable(address: &str) -> String {
    if address.parse::<std::net::IpAddr>().is_ok() {
        return address.to_owned();
    }
    let fits = |c: char| c.is_alphanumeric() || ".-_".contains(c);
    address.chars().map(|c| if fits(c) { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CreateKey, KeyId, Reality, ShortId, Tls};
    use crate::subscription::Language;

    fn key(id: i64) -> Key {
        CreateKey::named(format!("k{id}"))
            .validate(Timestamp::default())
            .unwrap()
            .into_key(KeyId(id), Timestamp::default())
    }

    fn reach(host: &Host, key: &Key, now: Timestamp) -> ResolvedHost {
        let variables = Variables {
            key,
            now,
            utc_offset_minutes: 0,
            language: Language::En,
            server: "192.0.2.1",
            protocol: "vless",
            transport: "ws",
        };
        ResolvedHost::of(host, 0, &variables, Seed::of(key, &InboundTag::new("x").unwrap(), now))
    }

    fn tls() -> Tls {
        Tls {
            server_name: "in.example".into(),
            certificate_file: "/c".into(),
            key_file: "/k".into(),
            alpn: vec!["h2".into()],
            pinned_sha256: Some("ab".into()),
        }
    }

    #[test]
    fn choices_hold_for_a_day_and_differ_between_keys() {
        let mut host = Host::new("{USERNAME}", "*.a.example");
        host.addresses.push("{SERVER_IP}".into());
        host.sni = vec!["*.s.example".into()];
        host.sni_as_host = true;
        host.random_user_agent = true;
        let day = Timestamp::from_secs(86_400 * 20_000);
        let mut seen = std::collections::BTreeSet::new();
        for id in 1..=40 {
            let key = key(id);
            let first = reach(&host, &key, day);
            assert_eq!(first, reach(&host, &key, day.plus(std::time::Duration::from_secs(86_399))));
            let security = first.security(&Security::Tls(tls()));
            let transport =
                first.transport(&Transport::WebSocket { path: "/".into(), host: None }, &security);
            assert_eq!(transport, Transport::WebSocket { path: "/".into(), host: first.sni.clone() });
            assert!(first.user_agent.is_some());
            assert!(first.address == "192.0.2.1" || first.address.ends_with(".a.example"));
            assert_eq!(first.sni.as_ref().unwrap().len(), "01234567.s.example".len());
            seen.insert((first.address, first.sni));
        }
        assert!(seen.len() > 30, "{seen:?}");
    }

    #[test]
    fn a_variable_cannot_break_an_address() {
        let host = Host::new("{LABEL}", "{USERNAME}.{LABEL}.example");
        let mut key = key(1);
        key.name = crate::model::KeyName::new("a+b@c").ok();
        key.label = Some("x/y #z:443".into());
        let reached = reach(&host, &key, Timestamp::default());
        assert_eq!(
            (reached.address.as_str(), reached.remark.as_str()),
            ("a-b-c.x-y--z-443.example", "x/y #z:443")
        );
    }

    #[test]
    fn a_host_overrides_what_its_inbound_says() {
        let mut host = Host::new("r", "cdn.example");
        host.path = Some("/{USERNAME}".into());
        host.host = vec!["front.example".into()];
        let reached = reach(&host, &key(1), Timestamp::default());
        let transport = Transport::WebSocket { path: "/in".into(), host: None };
        let expected = Transport::WebSocket { path: "/k1".into(), host: Some("front.example".into()) };
        assert_eq!(reached.transport(&transport, &ClientSecurity::None), expected);

        let tls = Security::Tls(tls());
        let reality = Security::Reality(Reality {
            dest: "site.example:443".into(),
            server_names: vec!["a.example".into(), "b.example".into()],
            private_key: crate::Secret::new("x"),
            public_key: "y".into(),
            short_ids: vec![ShortId::new("01").unwrap(), ShortId::new("02").unwrap()],
            ..Reality::at("site.test:443", "site.test")
        });
        assert_eq!(reached.security(&Security::None), ClientSecurity::None);
        assert!(matches!(reached.security(&tls), ClientSecurity::Tls { pinned_sha256: Some(_), .. }));
        let ids: std::collections::BTreeSet<String> = (1..30)
            .map(|id| match reach(&host, &key(id), Timestamp::default()).security(&reality) {
                ClientSecurity::Reality { short_id, sni, .. } => format!("{short_id} {sni}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids.len(), 4, "every name and every short id is used: {ids:?}");

        host.security = HostSecurity::Tls;
        host.alpn = vec!["http/1.1".into()];
        host.fingerprint = Some("firefox".into());
        let behind_cdn = reach(&host, &key(1), Timestamp::default());
        for inbound in [&Security::None, &tls, &reality] {
            let ClientSecurity::Tls { sni, alpn, fingerprint, pinned_sha256, .. } =
                behind_cdn.security(inbound)
            else {
                panic!("no TLS");
            };
            assert_eq!((alpn, fingerprint.as_str(), pinned_sha256), (host.alpn.clone(), "firefox", None));
            assert!(sni == "cdn.example" || sni == "in.example");
        }
        host.security = HostSecurity::None;
        assert_eq!(reach(&host, &key(1), Timestamp::default()).security(&tls), ClientSecurity::None);
    }
}
