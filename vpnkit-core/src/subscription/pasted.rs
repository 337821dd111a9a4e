//! What a customer pastes: a subscription URL, a share link, a whole subscription.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::Secret;
use crate::model::{CredentialKind, CredentialSecret};

/// Text that is looked at, in bytes.
const TEXT_MAX: usize = 64 << 10;
/// What is looked up of it.
const FOUND_MAX: usize = 16;
/// Letters of a token of a subscription URL.
const TOKEN: usize = 28;

/// Something that may tell whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pasted {
    /// What could be the token of a subscription URL.
    Token(Secret),
    /// What could be the secret of a credential.
    Secret(CredentialSecret),
}

/// Returns what a text has that only the holder of a key knows, at most 16 of them: tokens of subscription URLs, also inside deep
/// links, and the secrets of share links. Names and ids tell nothing: anybody could write them.
///
/// ```
/// use vpnkit_core::subscription::pasted::{Pasted, pasted};
/// let link = "vless://0a3d7d0c-7c62-4bfb-8b1c-1f7a4f3a2b11@vpn.example.com:443?security=none#home";
/// assert!(matches!(pasted(link).as_slice(), [Pasted::Secret(_), ..]));
/// assert_eq!(pasted("alice"), []);
/// ```
#[must_use]
pub fn pasted(text: &str) -> Vec<Pasted> {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default().trim();
    let mut found = Vec::new();
    read(text, &mut found);
    if found.is_empty()
        && let Some(inside) = decoded(text)
    {
        // A subscription as clients get it.
        read(&inside, &mut found);
    }
    found.truncate(FOUND_MAX);
    found
}

fn read(text: &str, found: &mut Vec<Pasted>) {
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '`' | ',')) {
        if found.len() >= FOUND_MAX {
            return;
        }
        let mut add = |one: Pasted| {
            if !found.contains(&one) {
                found.push(one);
            }
        };
        match word.split_once("://") {
            Some(("vless", rest)) => {
                secret(CredentialKind::Vless, user(rest)).into_iter().for_each(&mut add);
            }
            Some(("vmess", rest)) => {
                let id = match user(rest) {
                    "" => vmess(rest),
                    id => Some(id.to_owned()),
                };
                id.and_then(|id| secret(CredentialKind::Vmess, &id)).into_iter().for_each(&mut add);
            }
            Some(("trojan", rest)) => {
                secret(CredentialKind::Trojan, &unescaped(user(rest))).into_iter().for_each(&mut add);
            }
            Some(("ss", rest)) => shadowsocks(rest).into_iter().for_each(&mut add),
            _ => {
                let word = unescaped(word);
                tokens(&word).for_each(&mut add);
                uuids(&word).for_each(&mut add);
            }
        }
    }
}

/// The part before `@`; empty when there is none.
fn user(rest: &str) -> &str {
    let link = rest.split(['?', '#']).next().unwrap_or_default();
    link.rsplit_once('@').map_or("", |(user, _)| user)
}

/// What has fewer letters could be guessed: a password that moved in from elsewhere.
const SHORTEST: usize = 12;

fn secret(kind: CredentialKind, text: &str) -> Option<Pasted> {
    if text.len() < SHORTEST {
        return None;
    }
    CredentialSecret::parse(kind, text).ok().map(Pasted::Secret)
}

/// The id of a link whose content is JSON in base64.
fn vmess(rest: &str) -> Option<String> {
    let json = decoded(rest.split('#').next().unwrap_or_default())?;
    let json: serde_json::Value = serde_json::from_str(&json).ok()?;
    json.get("id")?.as_str().map(str::to_owned)
}

/// `base64(method:password)@…`, `method:password@…` or all of it in base64.
fn shadowsocks(rest: &str) -> Vec<Pasted> {
    let plain = match user(rest) {
        "" => decoded(rest.split(['?', '#']).next().unwrap_or_default())
            .and_then(|all| all.rsplit_once('@').map(|(user, _)| user.to_owned())),
        user => Some(decoded(user).filter(|text| text.contains(':')).unwrap_or_else(|| unescaped(user))),
    };
    let Some((_, password)) = plain.as_deref().and_then(|user| user.split_once(':')) else {
        return Vec::new();
    };
    // Of a server and its user it is the user's.
    let own = password.rsplit(':').next().unwrap_or(password);
    let kinds = [(CredentialKind::Shadowsocks2022, own), (CredentialKind::Shadowsocks, password)];
    kinds.into_iter().filter_map(|(kind, password)| secret(kind, password)).collect()
}

/// Words of the alphabet and length of a token, wherever they stand.
fn tokens(word: &str) -> impl Iterator<Item = Pasted> {
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    word.split(move |c| !letter(c))
        .filter(|part| part.len() == TOKEN)
        .map(|part| Pasted::Token(Secret::new(part)))
}

/// UUIDs as they stand in configurations of clients.
fn uuids(word: &str) -> impl Iterator<Item = Pasted> {
    let inside = |c: char| c.is_ascii_hexdigit() || c == '-';
    let found = word.split(move |c| !inside(c)).filter(|part| part.len() == 36);
    found
        .filter_map(|part| Uuid::parse_str(part).ok())
        .flat_map(|uuid| [CredentialSecret::Vless(uuid), CredentialSecret::Vmess(uuid)].map(Pasted::Secret))
}

fn unescaped(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn decoded(text: &str) -> Option<String> {
    const ANY: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let alphabets = [base64::alphabet::STANDARD, base64::alphabet::URL_SAFE];
    let bytes =
        alphabets.iter().find_map(|alphabet| GeneralPurpose::new(alphabet, ANY).decode(&compact).ok())?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0a3d7d0c-7c62-4bfb-8b1c-1f7a4f3a2b11";
    const LETTERS: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQV";

    fn has(text: &str, kind: CredentialKind, secret: &str) {
        let wanted = Pasted::Secret(CredentialSecret::parse(kind, secret).unwrap());
        assert!(pasted(text).contains(&wanted), "{text}");
    }

    #[test]
    fn links_give_their_secrets() {
        has(&format!("vless://{ID}@h:443?type=ws#a%20b"), CredentialKind::Vless, ID);
        has(&format!("vmess://{ID}@[::1]:443?x=@y"), CredentialKind::Vmess, ID);
        let json = STANDARD.encode(format!(r#"{{"v":"2","add":"h","port":443,"id":"{ID}"}}"#));
        has(&format!("look: vmess://{json}"), CredentialKind::Vmess, ID);
        has("trojan://p%40ss%20word%20long@h:443?security=tls#x", CredentialKind::Trojan, "p@ss word long");
        let user = STANDARD.encode("chacha20-ietf-poly1305:secret-secret");
        has(&format!("ss://{user}@h:8388#x"), CredentialKind::Shadowsocks, "secret-secret");
        let all = STANDARD.encode("aes-256-gcm:sec:ret-secret@h:8388");
        has(&format!("ss://{all}#x"), CredentialKind::Shadowsocks, "sec:ret-secret");
        let key = STANDARD.encode([7; 32]);
        let link = format!("ss://2022-blake3-aes-256-gcm:AAAA%3A{}@h:1#x", key.replace('=', "%3D"));
        has(&link, CredentialKind::Shadowsocks2022, &key);
        let config = format!(r#"{{"users": [{{"id": "{ID}", "encryption": "none"}}]}}"#);
        has(&config, CredentialKind::Vless, ID);
        // A whole subscription.
        let body = STANDARD.encode(format!("trojan://other-password@h:1\nvless://{ID}@h:443"));
        has(&body, CredentialKind::Vless, ID);
        has(&body, CredentialKind::Trojan, "other-password");
    }

    #[test]
    fn urls_and_deep_links_give_their_token() {
        for text in [
            format!("https://sub.example.com/s/{LETTERS}"),
            format!("<https://sub.example.com/s/{LETTERS}/clash?x=1>"),
            format!("hiddify://import/https://sub.example.com/s/{LETTERS}#name"),
            format!("clash://install-config?url=https%3A%2F%2Fsub.example.com%2Fs%2F{LETTERS}&name=x"),
            format!("my link is {LETTERS}"),
        ] {
            assert!(pasted(&text).contains(&Pasted::Token(Secret::new(LETTERS))), "{text}");
        }
        assert_eq!(pasted("alice 42 hello@example.com"), []);
        assert_eq!(pasted(""), []);
        assert_eq!(pasted("trojan://1234@h:1"), [], "that could be guessed");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,400}") {
            prop_assert!(pasted(&text).len() <= FOUND_MAX);
        }

        #[test]
        fn any_link_is_read(kind in "(vless|vmess|trojan|ss)", rest in "[ -~]{0,100}") {
            let link = format!("{kind}://{rest}");
            prop_assert!(pasted(&link).len() <= FOUND_MAX);
        }
    }

    #[test]
    fn much_text_is_cut() {
        let many = format!("{LETTERS} ").repeat(100_000);
        assert_eq!(pasted(&many).len(), 1);
        let umlauts = "ä".repeat(TEXT_MAX);
        assert_eq!(pasted(&umlauts), []);
    }
}
