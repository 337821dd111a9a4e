//! Names that tell endpoints apart.

use std::collections::HashSet;

use vpnkit_core::model::Endpoint;

/// A name for each endpoint: its remark, with a number when another one or `reserved` has it. Clash and sing-box refer
/// to endpoints by name and refuse a file in which two have the same.
pub(crate) fn unique<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    reserved: &[&str],
) -> Vec<String> {
    let mut taken: HashSet<String> = reserved.iter().map(|&name| name.to_owned()).collect();
    let mut name = |remark: &str| {
        let mut name = remark.to_owned();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{remark} {number}");
            number += 1;
        }
        name
    };
    endpoints.into_iter().map(|endpoint| name(&endpoint.remark)).collect()
}

/// A WebSocket path and the early data that Xray writes as its query: `/path?ed=2560`.
pub(crate) fn early_data(path: &str) -> (&str, Option<u32>) {
    match path.split_once("?ed=") {
        Some((path, size)) if size.parse::<u32>().is_ok() => (path, size.parse().ok()),
        _ => (path, None),
    }
}
