//! How vpnkit's accounts look to Xray.

use prost::Message as _;
use serde_json::{Value, json};
use vpnkit_core::backend::{Account, Fingerprint};
use vpnkit_core::model::{CredentialSecret, DeviceName, Inbound, KeyId, Protocol, ShadowsocksMethod};
use vpnkit_core::{Error, ErrorKind, Result};

use crate::proto::accounts;
use crate::proto::xray::common::protocol::User;
use crate::proto::xray::common::serial::TypedMessage;

/// All accounts are on this level; the policy of the config counts it.
const LEVEL: u32 = 0;

const VLESS: &str = "xray.proxy.vless.Account";
const VMESS: &str = "xray.proxy.vmess.Account";
const TROJAN: &str = "xray.proxy.trojan.Account";
const SHADOWSOCKS: &str = "xray.proxy.shadowsocks.Account";
const SHADOWSOCKS_2022: &str = "xray.proxy.shadowsocks_2022.Account";

/// The names under which Xray knows and counts the accounts of one store: `vk1f2e3d4c-7`, or `vk1f2e3d4c-7.phone`. The store's
/// id is in them, since an Xray may have accounts of another store, or of somebody who calls them `vk7`. Lower case, because
/// Xray looks names up in lower case and counts them as given; never used again, because counters outlive accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    prefix: String,
}

impl Names {
    /// Of the store with this id.
    pub(crate) fn of_store(id: &str) -> Self {
        Self { prefix: format!("vk{id}-") }
    }

    /// Returns the name of an account.
    pub(crate) fn name(&self, key: KeyId, device: &DeviceName) -> String {
        let prefix = &self.prefix;
        if device.is_default() { format!("{prefix}{key}") } else { format!("{prefix}{key}.{device}") }
    }

    /// Returns the account of a name; `None` when it is not of this store.
    pub(crate) fn parse(&self, name: &str) -> Option<(KeyId, DeviceName)> {
        let rest = name.strip_prefix(&self.prefix).filter(|_| !self.prefix.is_empty())?;
        let (id, device) = match rest.split_once('.') {
            Some((id, device)) => (id, DeviceName::stored(device).ok()?),
            None => (rest, DeviceName::default()),
        };
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some((KeyId(id.parse().ok()?), device))
    }
}

/// The account as Xray's API takes it.
pub(crate) fn user(names: &Names, inbound: &Inbound, account: &Account) -> Result<User> {
    let message = message(inbound, account)?;
    Ok(User { level: LEVEL, email: names.name(account.key, &account.device), account: Some(message) })
}

/// The account without its name.
///
/// Xray dies of an account whose type is not the inbound's, so that is refused here.
pub(crate) fn message(inbound: &Inbound, account: &Account) -> Result<TypedMessage> {
    let (kind, value) = match (&inbound.protocol, &account.secret) {
        (Protocol::Vless { vision }, CredentialSecret::Vless(id)) => {
            let flow = flow(*vision).to_owned();
            (VLESS, accounts::Vless { id: id.to_string(), flow, encryption: String::new() }.encode_to_vec())
        }
        (Protocol::Vmess, CredentialSecret::Vmess(id)) => {
            (VMESS, accounts::Vmess { id: id.to_string() }.encode_to_vec())
        }
        (Protocol::Trojan, CredentialSecret::Trojan(password)) => {
            (TROJAN, accounts::Password { password: password.expose().to_owned() }.encode_to_vec())
        }
        (Protocol::Shadowsocks { method, .. }, CredentialSecret::Shadowsocks(password)) => {
            let account = accounts::Shadowsocks {
                password: password.expose().to_owned(),
                cipher_type: cipher(*method),
            };
            (SHADOWSOCKS, account.encode_to_vec())
        }
        (Protocol::Shadowsocks { method, .. }, secret @ CredentialSecret::Shadowsocks2022(_)) => {
            let account = accounts::Shadowsocks2022 { key: method.user_key(secret).expose().to_owned() };
            (SHADOWSOCKS_2022, account.encode_to_vec())
        }
        _ => {
            return Err(Error::new(
                ErrorKind::Rejected,
                "xray.apply",
                "the credential is not of the inbound's protocol",
            )
            .with("inbound", &inbound.tag)
            .with("protocol", account.secret.protocol())
            .with("key", account.key));
        }
    };
    Ok(TypedMessage { r#type: kind.to_owned(), value })
}

/// The account as the config file has it.
pub(crate) fn client(names: &Names, inbound: &Inbound, account: &Account) -> Value {
    let (email, secret) = (names.name(account.key, &account.device), account.secret.expose());
    match &inbound.protocol {
        Protocol::Vless { vision } => json!({ "id": secret, "email": email, "flow": flow(*vision) }),
        Protocol::Vmess => json!({ "id": secret, "email": email }),
        Protocol::Trojan => json!({ "password": secret, "email": email }),
        Protocol::Shadowsocks { method, .. } => match method.key_length() {
            Some(_) => json!({ "password": method.user_key(&account.secret), "email": email }),
            None => json!({ "password": secret, "method": method.code(), "email": email }),
        },
        // `rules::check` lets no other protocol come so far.
        _ => Value::Null,
    }
}

/// What is equal exactly when two accounts let the same client in.
pub(crate) fn fingerprint(account: Option<&TypedMessage>) -> Fingerprint {
    let Some(account) = account else { return Fingerprint::of::<&str>([]) };
    // Xray fills in fields that vpnkit leaves empty: compare what matters, not bytes.
    let value = account.value.as_slice();
    let kind = account.r#type.as_str();
    let parts: Vec<Vec<u8>> = match kind {
        VLESS => accounts::Vless::decode(value).map(|a| vec![a.id.into(), a.flow.into()]),
        VMESS => accounts::Vmess::decode(value).map(|a| vec![a.id.into()]),
        TROJAN => accounts::Password::decode(value).map(|a| vec![a.password.into()]),
        SHADOWSOCKS => accounts::Shadowsocks::decode(value)
            .map(|a| vec![a.password.into(), a.cipher_type.to_be_bytes().to_vec()]),
        SHADOWSOCKS_2022 => accounts::Shadowsocks2022::decode(value).map(|a| vec![a.key.into()]),
        _ => Ok(vec![value.to_vec()]),
    }
    .unwrap_or_default();
    Fingerprint::of(std::iter::once(kind.as_bytes().to_vec()).chain(parts))
}

/// The type of an inbound's settings, as `ListInbounds` shows it.
pub(crate) fn settings_type(protocol: &Protocol) -> &'static str {
    match protocol {
        Protocol::Vless { .. } => "xray.proxy.vless.inbound.Config",
        Protocol::Vmess => "xray.proxy.vmess.inbound.Config",
        Protocol::Trojan => "xray.proxy.trojan.ServerConfig",
        Protocol::Shadowsocks { method, .. } if method.key_length().is_some() => {
            "xray.proxy.shadowsocks_2022.MultiUserServerConfig"
        }
        Protocol::Shadowsocks { .. } => "xray.proxy.shadowsocks.ServerConfig",
        // Equal to no type of Xray's, so that nothing is sent.
        _ => "",
    }
}

const fn flow(vision: bool) -> &'static str {
    if vision { "xtls-rprx-vision" } else { "" }
}

const fn cipher(method: ShadowsocksMethod) -> i32 {
    match method {
        ShadowsocksMethod::Aes128Gcm => 5,
        ShadowsocksMethod::Aes256Gcm => 6,
        ShadowsocksMethod::ChaCha20Poly1305 => 7,
        // A 2022 method has no cipher type: its inbound has one method for all.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vpnkit_core::model::InboundTag;

    use super::*;
    use crate::proto::xray::app::proxyman::command::{
        AddUserOperation, AlterInboundRequest, RemoveUserOperation,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn altered(operation: &str, value: Vec<u8>) -> String {
        let operation = TypedMessage { r#type: format!("xray.app.proxyman.command.{operation}"), value };
        hex(&AlterInboundRequest { tag: "vl".into(), operation: Some(operation) }.encode_to_vec())
    }

    /// The bytes that Xray's own descriptors give for the same message.
    #[test]
    fn messages_have_the_published_bytes() {
        let inbound = Inbound::new(InboundTag::new("vl").unwrap(), 1, Protocol::Vless { vision: true });
        let secret = CredentialSecret::Vless("11111111-2222-4333-8444-555555555555".parse().unwrap());
        let account = Account::of(KeyId(1), DeviceName::default(), secret);
        let mut user = user(&Names::default(), &inbound, &account).unwrap();
        user.email = "u1".into();
        let add = AddUserOperation { user: Some(user) }.encode_to_vec();
        assert_eq!(
            altered("AddUserOperation", add),
            "0a02766c128a010a2a787261792e6170702e70726f78796d616e2e636f6d6d616e642e416464557365724f7065726174696f6e\
             125c0a5a120275311a540a18787261792e70726f78792e766c6573732e4163636f756e7412380a2431313131313131312d3232\
             32322d343333332d383434342d35353535353535353535353512107874\
             6c732d727072782d766973696f6e"
        );
        let remove = RemoveUserOperation { email: "u1".into() }.encode_to_vec();
        assert_eq!(
            altered("RemoveUserOperation", remove),
            "0a02766c12350a2d787261792e6170702e70726f78796d616e2e636f6d6d616e642e52656d6f7665557365724f706572617469\
             6f6e12040a027531"
        );
    }

    #[test]
    fn a_credential_of_another_protocol_is_never_sent() {
        let inbound = Inbound::new(InboundTag::new("vl").unwrap(), 1, Protocol::Vless { vision: true });
        let secret = CredentialSecret::generate(vpnkit_core::model::CredentialKind::Trojan);
        let account = Account::of(KeyId(1), DeviceName::default(), secret);
        assert_eq!(message(&inbound, &account).unwrap_err().kind(), ErrorKind::Rejected);
    }

    proptest! {
        /// What an attached Xray answers is not vpnkit's.
        #[test]
        fn no_account_of_a_server_panics(kind in 0usize..6, value in prop::collection::vec(any::<u8>(), 0..100)) {
            let kinds = [VLESS, VMESS, TROJAN, SHADOWSOCKS, SHADOWSOCKS_2022, "xray.proxy.unknown"];
            let r#type = (*kinds.get(kind).unwrap()).to_owned();
            let _ = fingerprint(Some(&TypedMessage { r#type, value: value.clone() }));
            let _ = User::decode(value.as_slice()).map(|user| fingerprint(user.account.as_ref()));
        }

        #[test]
        fn names_round_trip(store in "[0-9a-f]{8}", id in 1i64.., device in "[a-z0-9_-]{1,32}") {
            let (names, device) = (Names::of_store(&store), DeviceName::new(device).unwrap());
            prop_assert_eq!(names.parse(&names.name(KeyId(id), &device)), Some((KeyId(id), device)));
        }

        #[test]
        fn names_of_others_are_left_alone(name in "(vk[0-9a-f]{0,8}-?)?[a-z0-9._@-]{0,20}", other in 1i64..) {
            let names = Names::of_store("0a1b2c3d");
            if !name.starts_with("vk0a1b2c3d-") {
                prop_assert_eq!(names.parse(&name), None);
            }
            let theirs = Names::of_store("0a1b2c3e").name(KeyId(other), &DeviceName::default());
            prop_assert_eq!(names.parse(&theirs), None);
            prop_assert_eq!(names.parse(&format!("vk{other}")), None);
            prop_assert_eq!(Names::default().parse(&name), None);
        }
    }
}
