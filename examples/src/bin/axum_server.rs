//! Subscriptions with axum. VPN_STORE, VPN_URL and PORT come from the environment.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::signal::unix::{SignalKind, signal};
use vpnkit::subscription::SubscriptionSettings;
use vpnkit::{Config, VpnKit};

async fn subscription(State(kit): State<VpnKit>, Path(token): Path<String>, headers: HeaderMap) -> Response {
    answer(&kit, &token, &headers, None).await
}

async fn in_format(
    State(kit): State<VpnKit>,
    Path((token, format)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(&kit, &token, &headers, Some(&format)).await
}

async fn answer(kit: &VpnKit, token: &str, headers: &HeaderMap, format: Option<&str>) -> Response {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let asked: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    match kit.subscriptions().for_request(token, &asked, format).await {
        Ok(answer) => {
            let pair = |(name, value): &(String, String)| {
                Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?))
            };
            let headers: HeaderMap = answer.headers.iter().filter_map(pair).collect();
            (StatusCode::from_u16(answer.status).unwrap_or_default(), headers, answer.body).into_response()
        }
        // The store does not answer.
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let store = setting("VPN_STORE", "sqlite:bot.db");
    let kit = VpnKit::open(Config::from_json(&format!("{{\"store\": {store:?}}}"))?).await?;
    let base_url = Some(setting("VPN_URL", "https://sub.example.com/s"));
    let settings =
        SubscriptionSettings { base_url, title: "Example".into(), ..SubscriptionSettings::default() };
    kit.subscriptions().configure(settings).await?;

    let app = axum::Router::new()
        .route("/s/{token}", get(subscription))
        .route("/s/{token}/{format}", get(in_format))
        .with_state(kit.clone());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, setting("PORT", "8080").parse()?));
    let mut stop = signal(SignalKind::terminate())?;
    axum::serve(tokio::net::TcpListener::bind(address).await?, app)
        .with_graceful_shutdown(async move {
            let _ = stop.recv().await;
        })
        .await?;
    kit.close().await?;
    Ok(())
}
