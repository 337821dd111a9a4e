//! Plain data from JSON that came from outside.

use serde::de::DeserializeOwned;

/// Where JSON cannot be read, and why. The value that stands there is not repeated: it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// `servers[0].xray.address`; `.` is the whole.
    pub path: String,
    /// What was expected.
    pub message: String,
}

/// Reads plain data of vpnkit.
///
/// ```
/// use vpnkit_core::{model::CreateKey, read_json};
/// let fault = read_json::<Vec<CreateKey>>(r#"[{}, {"data_limit": "50"}]"#).unwrap_err();
/// assert_eq!((fault.path.as_str(), fault.message.as_str()), ("[1].data_limit", "a unit is missing"));
/// ```
pub fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    if let Ok(read) = serde_json::from_str(text) {
        return Ok(read);
    }
    // Once more, slowly, for where it is wrong.
    let value: serde_json::Value = serde_json::from_str(text)
        .map_err(|e| Unreadable { path: ".".to_owned(), message: format!("not JSON, line {}", e.line()) })?;
    serde_path_to_error::deserialize(value).map_err(|e| Unreadable {
        path: e.path().to_string(),
        message: for_people(&e.into_inner().to_string()),
    })
}

/// serde writes `invalid type: string "x", expected u32`: the value goes, and types get the names that people know.
fn for_people(message: &str) -> String {
    let expected = match (message.starts_with("invalid "), message.rsplit_once(", expected ")) {
        (true, Some((_, expected))) => expected,
        _ => return message.to_owned(),
    };
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "expected a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" => "expected a whole number".to_owned(),
        "a boolean" => "expected true or false".to_owned(),
        "a sequence" => "expected a list".to_owned(),
        other if other.starts_with("struct ") => "expected an object".to_owned(),
        other => format!("expected {other}"),
    }
}
