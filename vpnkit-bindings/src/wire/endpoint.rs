use serde::Serialize;
use vpnkit::{ClientSecurity, KeyId, Transport, VpnProtocol, subscription};

#[derive(Serialize)]
pub(crate) struct Endpoint<'a> {
    key: KeyId,
    inbound: &'a str,
    remark: &'a str,
    address: &'a str,
    port: u16,
    protocol: &'a VpnProtocol,
    transport: &'a Transport,
    security: &'a ClientSecurity,
    secret: String,
    link: String,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(endpoint: &'a vpnkit::Endpoint) -> Self {
        let vpnkit::Endpoint { key, inbound, remark, address, port, protocol, transport, security, secret } =
            endpoint;
        Self {
            key: *key,
            inbound: inbound.as_str(),
            remark,
            address,
            port: *port,
            protocol,
            transport,
            security,
            secret: secret.expose(),
            link: subscription::link(endpoint),
        }
    }
}
