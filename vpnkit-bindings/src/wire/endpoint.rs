use serde::Serialize;
use vpnkit::{ClientSecurity, Fragment, KeyId, Noise, Transport, subscription};

#[derive(Serialize)]
pub(crate) struct Endpoint<'a> {
    key: KeyId,
    inbound: &'a str,
    remark: &'a str,
    address: &'a str,
    port: u16,
    protocol: &'static str,
    transport: &'a Transport,
    security: &'a ClientSecurity,
    mux: bool,
    fragment: Option<&'a Fragment>,
    noises: &'a [Noise],
    user_agent: Option<&'a str>,
    secret: &'a str,
    link: String,
}

impl<'a> Endpoint<'a> {
    pub(crate) fn of(endpoint: &'a vpnkit::Endpoint) -> Self {
        let vpnkit::Endpoint {
            key,
            inbound,
            remark,
            address,
            port,
            proxy,
            transport,
            security,
            mux,
            fragment,
            noises,
            user_agent,
        } = endpoint;
        Self {
            key: *key,
            inbound: inbound.as_str(),
            remark,
            address,
            port: *port,
            protocol: proxy.code(),
            transport,
            security,
            mux: *mux,
            fragment: fragment.as_ref(),
            noises,
            user_agent: user_agent.as_deref(),
            secret: proxy.secret().expose(),
            link: subscription::link(endpoint),
        }
    }
}
