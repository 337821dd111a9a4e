//! Plain data: what the product's words mean.

mod client_device;
mod credential;
mod endpoint;
mod event;
mod host;
mod id;
mod inbound;
mod key;
mod name;
mod patch;
mod query;
mod size;
mod span;
mod usage;

pub use client_device::{ClientDevice, Document};
pub use credential::{Credential, CredentialSecret, Device, Protocol};
pub use endpoint::{ClientSecurity, Endpoint, Proxy, WireGuardPeer};
pub use event::{Cursor, Event, EventBatch, EventKind, EventSubject, NewEvent};
pub use host::{Bounds, Fragment, Host, HostSecurity, Noise};
pub use id::{AdminId, KeyId, KeyRef, NodeId, ServerId};
pub use inbound::{
    Inbound, InboundTag, Reality, Security, ShadowsocksMethod, ShortId, Tls, Transport, VpnProtocol,
    XhttpMode,
};
pub use key::{CreateKey, InboundSelection, Key, KeyStatus, NewKey, Traffic};
pub use name::KeyName;
pub use patch::{KeyPatch, Patch};
pub use query::{KeyQuery, Order, Page, PageToken, Sort, SortValue};
pub use size::ByteSize;
pub use span::parse_duration;
pub use usage::{UsagePoint, UsageQuery, UsageStep};

/// Read as texts. serde says only what is wrong with one: where it stands is known to whoever reads the whole.
macro_rules! read_as_text {
    ($($name:ty),*) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(d)?;
                Self::new(text).map_err(|e| serde::de::Error::custom(e.message()))
            }
        }
    )*};
}

read_as_text!(KeyName, NodeId, InboundTag, ShortId, Device);
