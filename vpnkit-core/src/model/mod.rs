//! Plain data: what the product's words mean.

mod address_pool;
mod address_range;
mod admin;
mod admin_patch;
mod audit;
mod backup;
mod certificate;
mod check_key;
mod client_device;
mod create_admin;
mod create_key;
mod credential;
mod data_reset;
mod egress;
mod endpoint;
mod event;
mod grant;
mod hold;
mod host;
mod id;
mod inbound;
mod inbound_id;
mod inbound_tag;
mod key;
mod key_rotation;
mod key_template;
mod labels;
mod name;
mod next_plan;
mod page;
mod patch;
mod protocol;
mod query;
mod record;
mod reminders;
mod security;
mod sharing;
mod size;
mod span;
mod transport;
mod usage;
mod webhook;

pub use address_pool::AddressPool;
pub use address_range::AddressRange;
pub use admin::{Admin, AdminRef, AdminRole};
pub use admin_patch::AdminPatch;
pub use audit::AuditQuery;
pub use backup::{Backup, StoreCheck, StoreWork};
pub use certificate::{CertificateTerm, Revocation};
pub(crate) use check_key::LONGEST;
pub use client_device::ClientDevice;
pub use create_admin::{CreateAdmin, NewAdmin};
pub use create_key::{CreateKey, NewKey};
pub use credential::{Credential, CredentialKind, CredentialSecret, DeviceName};
pub use data_reset::{DataReset, ResetPeriod, TimeZoneName};
pub use egress::{Destination, DestinationHost, Egress};
pub use endpoint::{ClientSecurity, Endpoint, EndpointRecord, Proxy, WireGuardPeer};
pub use event::{Cause, Cursor, Event, EventBatch, EventKind, EventRecord, EventSubject, NewEvent};
pub use grant::{
    Extension, Grant, GrantId, GrantKind, GrantQuery, GrantRef, RenewPolicy, Terms, check_reason,
};
pub use hold::Hold;
pub use host::{Bounds, Fragment, Host, HostSecurity, Noise};
pub use id::{AdminId, KeyId, KeyRef, NodeId, ServerId, check_server_name};
pub use inbound::{Inbound, Network};
pub use inbound_id::InboundId;
pub use inbound_tag::InboundTag;
pub use key::{InboundSelection, Key, KeyStatus, Traffic};
pub use key_rotation::{KeyRotation, PreviousKeys};
pub use key_template::KeyTemplate;
pub use labels::{LABELS_MAX, Labels};
pub use name::KeyName;
pub use next_plan::NextPlan;
pub use page::{Direction, Page, PageToken, Place};
pub use patch::{KeyPatch, Patch, given};
pub use protocol::{Protocol, ShadowsocksMethod};
pub use query::{KeyCounts, KeyQuery, Sort, SortValue};
pub use record::{Record, RecordQuery};
pub use reminders::ReminderPolicy;
pub use security::{Reality, Security, ShortId, Tls};
pub use sharing::{SharingAction, SharingPolicy};
pub use size::ByteSize;
pub use span::optional as optional_duration_text;
pub use span::{DurationText, duration_text, format_duration, parse_duration};
pub use transport::{Transport, XhttpMode};
pub use usage::{HistoryQuery, UsagePoint, UsageQuery, UsageStep};
pub use webhook::{CreateWebhook, DeadLetter, NewWebhook, Webhook, WebhookPatch, WebhookStatus};

/// The schema of identities: plain JSON values whose `format` says what they identify.
macro_rules! identity_schema {
    ($($name:ty: $kind:literal $format:literal),* $(,)?) => {$(
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $kind, "format": $format })
            }
        }
    )*};
}

identity_schema! {
    KeyId: "integer" "key-id",
    AdminId: "integer" "admin-id",
    GrantId: "integer" "grant-id",
    Cursor: "integer" "cursor",
    KeyName: "string" "key-name",
    NodeId: "string" "node",
    ServerId: "string" "server",
    InboundId: "string" "inbound-id",
    InboundTag: "string" "inbound-tag",
    ShortId: "string" "short-id",
    DeviceName: "string" "device",
    PageToken: "string" "page-token",
    Fragment: "string" "fragment",
    Noise: "string" "noise",
}

impl schemars::JsonSchema for AdminRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AdminRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "format": "admin-ref" })
    }
}

impl schemars::JsonSchema for KeyRef {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeyRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "format": "key-ref" })
    }
}

/// Read as strings. serde says only what is wrong with one: where it stands is known to the reader of the whole.
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

read_as_text!(KeyName, NodeId, InboundTag, ShortId, DeviceName);
