//! Every backend and traffic source passes the suites: the fake one, and a real Xray in both modes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use testbed::{Site, XrayClient, inbound, xray_binary};
use vpnkit::backend::{Account, Change, ProtocolBackend};
use vpnkit::subscription::ResolvedHost;
use vpnkit::traffic::TrafficSource;
use vpnkit::xray::{Xray, XrayConfig};
use vpnkit::{AddressPool, Credential, CredentialKind, DeviceName, Inbound, KeyId, Protocol, Traffic};
use vpnkit_core::async_trait;
use vpnkit_testkit::traffic::Wire;
use vpnkit_testkit::{Counting, FakeServer, backend, traffic};

fn plain(tag: &str) -> Inbound {
    inbound(tag, Protocol::Vless { vision: false })
}

mod fake_backend {
    use super::*;

    fn with(inbound: Inbound) -> backend::Subject {
        let backend = Arc::new(FakeServer::new());
        let clients = Some(Arc::new(FakeClients(backend.clone())) as Arc<dyn backend::Clients>);
        backend::Subject { backend, inbound, clients, keep: Box::new(()) }
    }

    #[derive(Debug)]
    struct FakeClients(Arc<FakeServer>);

    #[async_trait]
    impl backend::Clients for FakeClients {
        async fn connect(&self, _inbound: &Inbound, account: &Account) {
            self.0.pass(account.key, Traffic { up: 1, down: 1 });
        }

        async fn is_connected(&self, key: KeyId) -> bool {
            self.0.is_online(key)
        }
    }

    mod accounts {
        use super::*;

        async fn accounts() -> backend::Subject {
            with(plain("suite"))
        }

        vpnkit_testkit::backend_conformance!(accounts, not_run: [two_accounts_do_not_share_an_address, what_was_revoked_is_observed]);
    }

    mod peers_with_addresses {
        use super::*;

        async fn peers() -> backend::Subject {
            let pool = AddressPool { v4: Some("10.8.0.0/24".parse().unwrap()), v6: None };
            with(plain("suite").addresses(pool))
        }

        vpnkit_testkit::backend_conformance!(peers, not_run: [what_was_revoked_is_observed]);
    }

    mod certificates {
        use super::*;

        async fn certificates() -> backend::Subject {
            with(plain("suite").certificate_lifetime(Duration::from_secs(3_600)))
        }

        vpnkit_testkit::backend_conformance!(certificates, not_run: [two_accounts_do_not_share_an_address]);
    }
}

/// One suite for each protocol: their user tables behave differently inside Xray.
macro_rules! xray_backend {
    ($name:ident, $protocol:expr) => {
        mod $name {
            use super::*;

            async fn subject() -> backend::Subject {
                testbed::log();
                let directory = tempfile::tempdir().unwrap();
                let config =
                    XrayConfig::managed("127.0.0.1", directory.path().join("x")).binary(xray_binary());
                let (backend, inbound) = (Arc::new(Xray::new(config).unwrap()), inbound("suite", $protocol));
                backend::Subject { backend, inbound, clients: None, keep: Box::new(directory) }
            }

            // Cutting needs a network of its own: `tests/limits.rs` has it.
            vpnkit_testkit::backend_conformance!(subject, not_run: [
                connections_of_ended_keys_are_cut, two_accounts_do_not_share_an_address, what_was_revoked_is_observed,
            ]);
        }
    };
}

fn shadowsocks(method: vpnkit::ShadowsocksMethod, key: Option<&str>) -> Protocol {
    Protocol::Shadowsocks { method, server_key: key.map(vpnkit::Secret::new) }
}

xray_backend!(xray_vless, Protocol::Vless { vision: false });
xray_backend!(xray_vmess, Protocol::Vmess);
xray_backend!(xray_trojan, Protocol::Trojan);
xray_backend!(xray_shadowsocks, shadowsocks(vpnkit::ShadowsocksMethod::Aes256Gcm, None));
xray_backend!(
    xray_shadowsocks_2022,
    shadowsocks(vpnkit::ShadowsocksMethod::Blake3Aes128Gcm, Some("BwcHBwcHBwcHBwcHBwcHBw=="))
);

mod fake_traffic {
    use super::*;

    #[derive(Debug)]
    struct FakeWire(Arc<FakeServer>);

    #[async_trait]
    impl Wire for FakeWire {
        async fn pass(&self, key: KeyId, traffic: Traffic) {
            self.0.pass(key, traffic);
        }

        async fn restart(&self) {
            self.0.restart().await;
        }

        async fn end(&self, key: KeyId) -> bool {
            self.0.end_session(key)
        }
    }

    async fn subject(counting: Counting) -> traffic::Subject {
        let server = Arc::new(FakeServer::new().counting(counting));
        backend::started(server.clone()).await;
        traffic::Subject { source: server.clone(), wire: Arc::new(FakeWire(server)), keep: Box::new(()) }
    }

    mod accounts {
        use super::*;

        async fn accounts() -> traffic::Subject {
            subject(Counting::Accounts).await
        }

        vpnkit_testkit::traffic_conformance!(accounts, not_run: [a_session_ends_once]);
    }

    mod sessions {
        use super::*;

        async fn sessions() -> traffic::Subject {
            subject(Counting::Sessions).await
        }

        vpnkit_testkit::traffic_conformance!(sessions);
    }

    mod peers {
        use super::*;

        async fn peers() -> traffic::Subject {
            subject(Counting::Peers).await
        }

        vpnkit_testkit::traffic_conformance!(peers);
    }
}

/// Real clients move real bytes.
#[derive(Debug)]
struct XrayWire {
    xray: Arc<Xray>,
    inbound: Arc<Inbound>,
    credentials: [Credential; 2],
    site: Site,
    /// What stands on the server's command line.
    mark: String,
}

impl XrayWire {
    async fn new(xray: Arc<Xray>, mark: String) -> Self {
        let credentials = [1, 2].map(|_| Credential::generate(CredentialKind::Vless));
        let wire =
            Self { xray, inbound: Arc::new(plain("suite")), credentials, site: Site::plain().await, mark };
        wire.install().await;
        wire
    }

    async fn install(&self) {
        let accounts = [1, 2].map(|key| {
            let secret = self.credentials[usize::try_from(key).unwrap() - 1].secret.clone();
            Account::of(KeyId(key), DeviceName::default(), secret)
        });
        let change = Change::PutInbound(Arc::clone(&self.inbound), accounts.into());
        for outcome in self.xray.apply(&[change]).await.unwrap() {
            outcome.unwrap();
        }
    }
}

#[async_trait]
impl Wire for XrayWire {
    async fn pass(&self, key: KeyId, traffic: Traffic) {
        let reach = ResolvedHost::at("127.0.0.1");
        let credential = &self.credentials[usize::try_from(key.0).unwrap() - 1];
        let endpoint = self.xray.rules().endpoint(key, credential, &self.inbound, &reach).unwrap();
        let client = XrayClient::start(&endpoint).await;
        client.tunnel.download(&self.site, usize::try_from(traffic.down).unwrap()).await.unwrap();
        client.tunnel.upload(&self.site, usize::try_from(traffic.up).unwrap()).await.unwrap();
        drop(client);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    async fn restart(&self) {
        let mut state = self.xray.state();
        for pid in testbed::children_of(&self.mark) {
            std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        }
        let up =
            |s: &vpnkit::backend::ServerState| matches!(s, vpnkit::backend::ServerState::Up { lifetime: 2 });
        testbed::within("it is back", Duration::from_secs(30), state.wait_for(up)).await.unwrap();
        self.install().await;
    }

    async fn end(&self, _key: KeyId) -> bool {
        false
    }
}

mod xray_traffic {
    use super::*;

    async fn subject() -> traffic::Subject {
        testbed::log();
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("x");
        let site = vpnkit::Egress::allowing(["127.0.0.1".parse().unwrap()]);
        let config = XrayConfig::managed("127.0.0.1", &home).binary(xray_binary()).egress(site);
        let xray = Arc::new(Xray::new(config).unwrap());
        backend::started(xray.clone()).await;
        let wire = XrayWire::new(Arc::clone(&xray), home.display().to_string()).await;
        let source: Arc<dyn TrafficSource> = xray;
        traffic::Subject { source, wire: Arc::new(wire), keep: Box::new(directory) }
    }

    vpnkit_testkit::traffic_conformance!(subject, not_run: [a_session_ends_once]);
}
