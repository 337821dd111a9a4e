use serde::Serialize;
use serde::ser::SerializeMap as _;
use vpnkit::KeyId;

#[derive(Serialize)]
pub(crate) struct Response<'a> {
    status: u16,
    #[serde(serialize_with = "as_map")]
    headers: &'a [(String, String)],
    body: &'a str,
}

impl<'a> Response<'a> {
    pub(crate) fn of(response: &'a vpnkit::subscription::SubscriptionResponse) -> Self {
        let vpnkit::subscription::SubscriptionResponse { status, headers, body } = response;
        Self { status: *status, headers, body }
    }
}

/// Each name is there once.
fn as_map<S: serde::Serializer>(headers: &[(String, String)], s: S) -> Result<S::Ok, S::Error> {
    let mut map = s.serialize_map(Some(headers.len()))?;
    for (name, value) in headers {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

#[derive(Serialize)]
pub(crate) struct Device<'a> {
    key: KeyId,
    id: &'a str,
    os: Option<&'a str>,
    os_version: Option<&'a str>,
    model: Option<&'a str>,
    user_agent: Option<&'a str>,
    first_seen: i64,
    last_seen: i64,
}

impl<'a> Device<'a> {
    pub(crate) fn of(device: &'a vpnkit::ClientDevice) -> Self {
        let vpnkit::ClientDevice { key, id, os, os_version, model, user_agent, first_seen, last_seen } =
            device;
        Self {
            key: *key,
            id,
            os: os.as_deref(),
            os_version: os_version.as_deref(),
            model: model.as_deref(),
            user_agent: user_agent.as_deref(),
            first_seen: first_seen.as_millis(),
            last_seen: last_seen.as_millis(),
        }
    }
}
