//! Plain data: what the product's words mean.

mod credential;
mod endpoint;
mod event;
mod id;
mod inbound;
mod key;
mod name;
mod query;
mod size;
mod span;
mod usage;

pub use credential::{Credential, CredentialSecret, Device, Protocol};
pub use endpoint::{ClientSecurity, Endpoint, Host};
pub use event::{Cursor, Event, EventBatch, EventKind, EventSubject, NewEvent};
pub use id::{AdminId, KeyId, KeyRef, NodeId, ServerId};
pub use inbound::{
    Inbound, InboundTag, Reality, Security, ShadowsocksMethod, ShortId, Tls, Transport, VpnProtocol,
    XhttpMode,
};
pub use key::{CreateKey, InboundSelection, Key, KeyPatch, KeyStatus, NewKey, Patch, Traffic};
pub use name::KeyName;
pub use query::{KeyQuery, Order, Page, PageToken, Sort, SortValue};
pub use size::ByteSize;
pub use span::parse_duration;
pub use usage::{UsagePoint, UsageQuery, UsageStep};
