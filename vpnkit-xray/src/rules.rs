//! Which inbounds Xray can run. `tests/combinations` holds this to `xray run -test`.

use vpnkit_core::backend::{Account, Fingerprint, ServerRules};
use vpnkit_core::model::{Credential, Endpoint, Inbound, KeyId, Protocol, Security, Transport};
use vpnkit_core::subscription::ResolvedHost;
use vpnkit_core::{Error, Result, Secret};

use crate::account;
use crate::reality::{self, RealityKeys};

const OP: &str = "xray.check";

/// What is known of every Xray.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XrayRules;

impl ServerRules for XrayRules {
    fn program(&self) -> &'static str {
        "xray"
    }

    fn complete(&self, inbound: &mut Inbound, before: Option<&Inbound>) {
        let before = before.map(|before| &before.security);
        if let Security::Reality(reality) = &mut inbound.security {
            reality::complete(reality, before);
        }
    }

    fn check(&self, inbound: &Inbound) -> Result<()> {
        check(inbound)
    }

    fn account_fingerprint(&self, inbound: &Inbound, wanted: &Account) -> Fingerprint {
        account::message(inbound, wanted).map_or(Fingerprint(0), |held| account::fingerprint(Some(&held)))
    }

    fn inbound_fingerprint(&self, inbound: &Inbound) -> Fingerprint {
        let mut inbound = inbound.clone();
        if let Security::Reality(reality) = &mut inbound.security {
            // Xray knows nothing of it.
            (reality.rotation, reality.keys_since) = (None, None);
            reality.retired.clear();
        }
        Fingerprint::of([Secret::reveal(|| serde_json::to_string(&inbound)).unwrap_or_default()])
    }

    fn endpoint(
        &self,
        key: KeyId,
        credential: &Credential,
        inbound: &Inbound,
        host: &ResolvedHost,
    ) -> Result<Endpoint> {
        Endpoint::of(key, credential, inbound, host)
    }
}

/// Refuses what Xray refuses, with the field that is at fault.
pub(crate) fn check(inbound: &Inbound) -> Result<()> {
    let fault =
        |field: &str, message: &str| Err(Error::invalid(OP, field, message).with("inbound", &inbound.tag));
    if inbound.tag.as_str() == crate::server_config::API_TAG {
        return fault("tag", "is used by vpnkit itself");
    }
    if inbound.addresses.is_some() {
        return fault("addresses", "Xray gives its clients no addresses");
    }
    if inbound.certificate_lifetime.is_some() {
        return fault("certificate_lifetime", "Xray asks its clients for no certificates");
    }
    match &inbound.transport {
        Transport::WebSocket { path, .. }
        | Transport::HttpUpgrade { path, .. }
        | Transport::Xhttp { path, .. }
            if !path.starts_with('/') =>
        {
            return fault("transport.path", "must start with /");
        }
        Transport::Grpc { service_name } if service_name.is_empty() => {
            return fault("transport.service_name", "must not be empty");
        }
        _ => {}
    }
    match &inbound.security {
        Security::Reality(reality) => {
            if !matches!(inbound.transport, Transport::Tcp | Transport::Xhttp { .. } | Transport::Grpc { .. })
            {
                return fault("security", "REALITY goes with TCP, XHTTP and gRPC only");
            }
            let names = &reality.server_names;
            if names.is_empty() || names.iter().any(|n| n.is_empty() || n.contains('*')) {
                return fault("security.server_names", "at least one name, without wildcards");
            }
            if reality.short_ids.is_empty() {
                return fault("security.short_ids", "at least one short id");
            }
            let port = reality.dest.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none_or(|port| port == 0) {
                return fault("security.dest", "must be host:port");
            }
            if RealityKeys::from_private(reality.private_key.expose())?.public != reality.public_key {
                return fault("security.public_key", "does not belong to the private key");
            }
            if let Some(old) = &reality.previous
                && RealityKeys::from_private(old.private_key.expose())?.public != old.public_key
            {
                return fault("security.previous.public_key", "does not belong to the private key");
            }
        }
        Security::Tls(tls) => {
            if tls.server_name.is_empty() {
                return fault("security.server_name", "must not be empty");
            }
            for (field, path) in
                [("security.certificate_file", &tls.certificate_file), ("security.key_file", &tls.key_file)]
            {
                if !path.is_absolute() {
                    return fault(field, "must be an absolute path");
                }
            }
        }
        Security::None => {}
        _ => return fault("security", "is not known to Xray"),
    }
    match &inbound.protocol {
        Protocol::Vless { vision: true }
            if inbound.transport != Transport::Tcp || inbound.security == Security::None =>
        {
            fault("protocol.vision", "vision needs TCP with TLS or REALITY")
        }
        Protocol::Shadowsocks { method, server_key } => match (method.key_length(), server_key) {
            (None, Some(_)) => fault("protocol.server_key", "only a 2022 method has one"),
            (Some(length), key) => {
                use base64::Engine as _;
                let standard = base64::engine::general_purpose::STANDARD;
                let decoded = key.as_ref().and_then(|key| standard.decode(key.expose()).ok());
                match decoded {
                    Some(bytes) if bytes.len() == length => Ok(()),
                    _ => fault(
                        "protocol.server_key",
                        "must be as many bytes in standard base64 as the method wants",
                    ),
                }
            }
            (None, None) => Ok(()),
        },
        Protocol::Vless { .. } | Protocol::Vmess | Protocol::Trojan => Ok(()),
        _ => fault("protocol", "is not spoken by Xray"),
    }
}
