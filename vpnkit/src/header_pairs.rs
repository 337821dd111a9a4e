//! Headers of requests as web frameworks have them.

/// Takes the headers of a request as [`for_request`](crate::Subscriptions::for_request) reads them; those that are no text are
/// left out. Every framework on the crate `http` has such a map: axum, hyper, warp, poem.
///
/// ```
/// let mut headers = http::HeaderMap::new();
/// headers.insert("user-agent", "Happ/3".parse().unwrap());
/// assert_eq!(vpnkit::header_pairs(&headers), [("user-agent".to_owned(), "Happ/3".to_owned())]);
/// ```
#[must_use]
pub fn header_pairs(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    headers.iter().filter_map(text).collect()
}
