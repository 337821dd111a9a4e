//! Xray's gRPC API, as far as vpnkit speaks it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Response, Status};
use vpnkit_core::{Error, Result, Timestamp};

use crate::api_error::convert;
use crate::proto::xray::app::proxyman::command as handler;
use crate::proto::xray::app::proxyman::command::InboundHandlerConfig;
use crate::proto::xray::app::stats::command as stats;
use crate::proto::xray::common::protocol::User;
use crate::proto::xray::common::serial::TypedMessage;

/// For calls about one thing.
const SHORT: Duration = Duration::from_secs(10);
/// For calls about everything.
const LONG: Duration = Duration::from_secs(60);
/// After so long without a byte the kernel asks whether the other machine is still there. HTTP/2's own question is asked too
/// often for Xray's gRPC library before five minutes have passed.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// 100,000 users are 11 MB; the default of 4 MB would end at 35,000.
const LARGEST: usize = 256 << 20;

/// Where an Xray's API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiAddress {
    /// `host:port`
    Tcp(String),
    /// A socket file.
    Unix(PathBuf),
}

impl ApiAddress {
    /// Takes `host:port` or `unix:/path`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fault = |message: &str| {
            Error::invalid("xray.api", "api", message).with("value", text).hint("127.0.0.1:10085")
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.trim_start_matches("//"));
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(fault("the path must be absolute"))
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0) => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err(fault("not `host:port` or `unix:/path`")),
        }
    }

    /// As the command `xray api` takes it.
    pub(crate) fn for_command(&self) -> String {
        match self {
            Self::Tcp(address) => address.clone(),
            Self::Unix(path) => format!("unix://{}", path.display()),
        }
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a running process says of itself; every number but the uptime only grows while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SystemStats {
    pub(crate) uptime_secs: u64,
    pub(crate) total_alloc: u64,
    pub(crate) mallocs: u64,
    pub(crate) collections: u64,
}

/// A client of one Xray. Connects when it is first used and again whenever the connection is lost.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    handler: handler::handler_service_client::HandlerServiceClient<Channel>,
    stats: stats::stats_service_client::StatsServiceClient<Channel>,
}

impl Api {
    pub(crate) fn new(address: &ApiAddress) -> Result<Self> {
        let endpoint = |uri: String| {
            Endpoint::from_shared(uri)
                .map(|e| e.connect_timeout(Duration::from_secs(3)).tcp_keepalive(Some(KEEPALIVE)))
                .map_err(|e| Error::invalid("xray.api", "api", "not an address").caused_by(e))
        };
        let channel = match address {
            ApiAddress::Tcp(address) => endpoint(format!("http://{address}"))?.connect_lazy(),
            ApiAddress::Unix(path) => {
                let path = path.clone();
                // The authority is not used.
                endpoint("http://xray".to_owned())?.connect_with_connector_lazy(tower::service_fn(
                    move |_: Uri| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    },
                ))
            }
        };
        Ok(Self {
            handler: handler::handler_service_client::HandlerServiceClient::new(channel.clone())
                .max_decoding_message_size(LARGEST),
            stats: stats::stats_service_client::StatsServiceClient::new(channel)
                .max_decoding_message_size(LARGEST),
        })
    }

    pub(crate) async fn add_user(&self, tag: &str, user: User) -> Result<(), Status> {
        let operation = handler::AddUserOperation { user: Some(user) };
        self.alter(tag, "AddUserOperation", operation.encode_to_vec()).await
    }

    pub(crate) async fn remove_user(&self, tag: &str, email: &str) -> Result<(), Status> {
        let operation = handler::RemoveUserOperation { email: email.to_owned() };
        self.alter(tag, "RemoveUserOperation", operation.encode_to_vec()).await
    }

    async fn alter(&self, tag: &str, operation: &str, value: Vec<u8>) -> Result<(), Status> {
        let r#type = format!("xray.app.proxyman.command.{operation}");
        let request = handler::AlterInboundRequest {
            tag: tag.to_owned(),
            operation: Some(TypedMessage { r#type, value }),
        };
        answered(SHORT, self.handler.clone().alter_inbound(request)).await.map(drop)
    }

    /// The user of this name on an inbound.
    pub(crate) async fn user(&self, tag: &str, email: &str) -> Result<Option<User>, Status> {
        let request = handler::GetInboundUserRequest { tag: tag.to_owned(), email: email.to_owned() };
        let answer = answered(SHORT, self.handler.clone().get_inbound_users(request)).await?;
        // An unknown name is answered with one empty user.
        Ok(answer.users.into_iter().find(|user| user.account.is_some()))
    }

    pub(crate) async fn users(&self, tag: &str) -> Result<Vec<User>, Status> {
        let request = handler::GetInboundUserRequest { tag: tag.to_owned(), email: String::new() };
        Ok(answered(LONG, self.handler.clone().get_inbound_users(request)).await?.users)
    }

    /// Tag and type of settings of every inbound.
    pub(crate) async fn inbounds(&self) -> Result<HashMap<String, String>, Status> {
        let all = self.listed().await?.into_iter();
        Ok(all.map(|one| (one.tag, one.proxy_settings.map(|s| s.r#type).unwrap_or_default())).collect())
    }

    /// Whether what an inbound listens with contains these bytes, as its private key: its form changes between versions.
    pub(crate) async fn listens_with(&self, tag: &str, bytes: &[u8]) -> Result<bool, Status> {
        let all = self.listed().await?;
        let receiver = all.into_iter().find(|one| one.tag == tag).and_then(|one| one.receiver_settings);
        Ok(receiver.is_some_and(|receiver| receiver.value.windows(bytes.len()).any(|window| window == bytes)))
    }

    async fn listed(&self) -> Result<Vec<InboundHandlerConfig>, Status> {
        let request = handler::ListInboundsRequest { is_only_tags: false };
        Ok(answered(LONG, self.handler.clone().list_inbounds(request)).await?.inbounds)
    }

    pub(crate) async fn remove_inbound(&self, tag: &str) -> Result<(), Status> {
        let request = handler::RemoveInboundRequest { tag: tag.to_owned() };
        answered(SHORT, self.handler.clone().remove_inbound(request)).await.map(drop)
    }

    /// Cumulative counters whose name contains `pattern`; never reset.
    pub(crate) async fn counters(&self, pattern: &str) -> Result<Vec<stats::Stat>> {
        let request = stats::QueryStatsRequest { pattern: pattern.to_owned(), reset: false };
        let answer = answered(LONG, self.stats.clone().query_stats(request)).await;
        Ok(answer.map_err(|e| convert("xray.read", &e))?.stat)
    }

    /// A cumulative counter; nothing when Xray has none of this name yet.
    pub(crate) async fn counter(&self, name: String) -> Result<i64> {
        let request = stats::GetStatsRequest { name, reset: false };
        match answered(SHORT, self.stats.clone().get_stats(request)).await {
            Ok(answer) => Ok(answer.stat.map_or(0, |stat| stat.value)),
            Err(e) if e.message().to_ascii_lowercase().contains("not found") => Ok(0),
            Err(e) => Err(convert("xray.read", &e)),
        }
    }

    pub(crate) async fn system(&self) -> Result<SystemStats> {
        let answer = answered(SHORT, self.stats.clone().get_sys_stats(stats::SysStatsRequest {})).await;
        let s = answer.map_err(|e| convert("xray.health", &e))?;
        Ok(SystemStats {
            uptime_secs: u64::from(s.uptime),
            total_alloc: s.total_alloc,
            mallocs: s.mallocs,
            collections: u64::from(s.num_gc),
        })
    }

    /// Names of users that have connections open.
    pub(crate) async fn online(&self) -> Result<Vec<String>> {
        let request = stats::GetAllOnlineUsersRequest {};
        let answer = answered(LONG, self.stats.clone().get_all_online_users(request)).await;
        let names = answer.map_err(|e| convert("xray.online", &e))?.users;
        let plain = |name: String| name.split(">>>").nth(1).map(ToOwned::to_owned);
        Ok(names.into_iter().filter_map(plain).collect())
    }

    /// From where a user is online; empty when it is not.
    pub(crate) async fn online_addresses(&self, email: &str) -> Result<Vec<(IpAddr, Timestamp)>> {
        let request = stats::GetStatsRequest { name: format!("user>>>{email}>>>online"), reset: false };
        match answered(SHORT, self.stats.clone().get_stats_online_ip_list(request)).await {
            Ok(answer) => {
                let parse = |(ip, secs): (String, i64)| Some((ip.parse().ok()?, Timestamp::from_secs(secs)));
                let mut all: Vec<_> = answer.ips.into_iter().filter_map(parse).collect();
                all.sort_unstable_by_key(|(ip, _)| *ip);
                Ok(all)
            }
            // It was online a moment ago.
            Err(e) if e.message().to_ascii_lowercase().contains("not found") => Ok(Vec::new()),
            Err(e) => Err(convert("xray.online", &e)),
        }
    }
}

/// Waits for an answer to its last byte. tonic's own limit ends with the headers: a machine that goes dark in the middle of
/// an answer would be waited for without end.
async fn answered<T>(
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("the answer did not come to its end in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_end_is_not_waited_for() {
        let never = std::future::pending::<Result<Response<()>, Status>>();
        assert_eq!(answered(SHORT, never).await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
    }

    #[test]
    fn addresses_are_host_and_port_or_a_socket_file() {
        for good in ["127.0.0.1:10085", "[::1]:10085", "xray.internal:1"] {
            assert_eq!(ApiAddress::parse(good).unwrap(), ApiAddress::Tcp(good.to_owned()));
        }
        for unix in ["unix:/run/x.sock", "unix:///run/x.sock"] {
            assert_eq!(ApiAddress::parse(unix).unwrap(), ApiAddress::Unix("/run/x.sock".into()));
        }
        for bad in ["", "127.0.0.1", "127.0.0.1:0", ":1", "host:port", "unix:run/x.sock"] {
            assert!(ApiAddress::parse(bad).is_err(), "{bad}");
        }
    }
}
