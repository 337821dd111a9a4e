//! From a request to its answer.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use vpnkit::subscription::SubscriptionTemplate;
use vpnkit::{Error, ErrorKind, RenderOptions, Result};

use crate::request::{Picture, PutTemplate, Render, Request};
use crate::{Answer, Session};

impl Session {
    /// Calls the facade. To be run on the session's runtime. A panic is the error `Unexpected`: somebody waits for it.
    pub async fn call(&self, request: Request) -> Result<Answer> {
        let operation = request.operation();
        AssertUnwindSafe(self.perform(request)).catch_unwind().await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Unexpected, operation, "a fault in vpnkit; the log has its place"))
        })
    }

    async fn perform(&self, request: Request) -> Result<Answer> {
        let kit = self.kit(request.operation())?;
        let (keys, inbounds, traffic) = (kit.keys(), kit.inbounds(), kit.traffic());
        let (events, servers) = (kit.events(), kit.servers());
        let (hosts, subscriptions) = (kit.hosts(), kit.subscriptions());
        Ok(match request {
            Request::KeysCreate(request) => Answer::key(keys.create(*request).await?),
            Request::KeysCreateMany(all) => {
                Answer::Keys(keys.create_many(all.requests, all.idempotency_key).await?)
            }
            Request::KeysGet(of) => Answer::MaybeKey(keys.get(of.key).await?.map(Box::new)),
            Request::KeysRequire(of) => Answer::key(keys.require(of.key).await?),
            Request::KeysFind(query) => Answer::Page(keys.find(query).await?),
            Request::KeysUpdate(update) => {
                Answer::key(keys.update(update.key, update.patch, update.expected_version).await?)
            }
            Request::KeysEnable(of) => Answer::key(keys.enable(of.key).await?),
            Request::KeysDisable(of) => Answer::key(keys.disable(of.key).await?),
            Request::KeysResetUsage(of) => Answer::key(keys.reset_usage(of.key).await?),
            Request::KeysDelete(of) => {
                keys.delete(of.key, of.expected_version).await?;
                Answer::Nothing
            }
            Request::KeysDeleteMany(of) => Answer::Count(keys.delete_many(of.ids).await?),
            Request::KeysEndpoints(of) => Answer::Endpoints(keys.endpoints(of.key).await?),
            Request::KeysLinks(of) => Answer::Lines(keys.links(of.key).await?),
            Request::HostsList(_) => Answer::Hosts(hosts.list().await?),
            Request::HostsSet(set) => {
                hosts.set(&set.node, &set.tag, set.hosts).await?;
                Answer::Nothing
            }
            Request::HostsPreview(of) => {
                Answer::Endpoints(hosts.preview(of.key, &of.node, &of.tag, of.hosts).await?)
            }
            Request::InboundsEnsure(inbound) => Answer::inbound(inbounds.ensure(*inbound).await?),
            Request::InboundsList(_) => Answer::Inbounds(inbounds.list().await?),
            Request::InboundsGet(of) => {
                Answer::MaybeInbound(inbounds.get(&of.node, &of.tag).await?.map(Box::new))
            }
            Request::InboundsRemove(of) => {
                inbounds.remove(&of.node, &of.tag).await?;
                Answer::Nothing
            }
            Request::SubscriptionsSettings(_) => Answer::Settings(Box::new(subscriptions.settings().await?)),
            Request::SubscriptionsConfigure(settings) => {
                subscriptions.configure(*settings).await?;
                Answer::Nothing
            }
            Request::SubscriptionsToken(of) => Answer::Line(subscriptions.token(of.key).await?),
            Request::SubscriptionsUrl(of) => Answer::Line(subscriptions.url(of.key).await?),
            Request::SubscriptionsRender(Render { key, client, format, language }) => {
                Answer::Response(subscriptions.render(key, RenderOptions { client, format, language }).await?)
            }
            Request::SubscriptionsForRequest(of) => Answer::Response(
                subscriptions.for_request(&of.token, &of.headers, of.format.as_deref()).await?,
            ),
            Request::SubscriptionsRevoke(of) => {
                Answer::key(subscriptions.revoke(of.key, of.new_credentials).await?)
            }
            Request::SubscriptionsRotateSecret(rotate) => {
                subscriptions.rotate_secret(rotate.keep).await?;
                Answer::Nothing
            }
            Request::SubscriptionsTemplates(_) => Answer::Templates(subscriptions.templates().await?),
            Request::SubscriptionsPutTemplate(PutTemplate { name, content_type, source }) => {
                subscriptions.put_template(&name, SubscriptionTemplate { content_type, source }).await?;
                Answer::Nothing
            }
            Request::SubscriptionsRemoveTemplate(of) => {
                subscriptions.remove_template(&of.name).await?;
                Answer::Nothing
            }
            Request::SubscriptionsDevices(of) => Answer::Devices(subscriptions.devices(of.key).await?),
            Request::SubscriptionsForgetDevice(of) => {
                subscriptions.forget_device(of.key, of.id).await?;
                Answer::Nothing
            }
            Request::TrafficChart(of) => {
                let chart = traffic.chart(of.key, of.days).await?;
                Answer::Bytes(match of.format {
                    Picture::Png => chart.to_png(of.theme, of.width)?,
                    Picture::Svg => chart.to_svg(of.theme).into_bytes(),
                })
            }
            Request::TrafficHistory(query) => Answer::Points(traffic.history(query).await?),
            Request::TrafficCollect(_) => Answer::Collected(traffic.collect().await?),
            Request::TrafficOnline(_) => Answer::Online(traffic.online().await?),
            Request::TrafficOnlineKey(of) => Answer::MaybeOnline(traffic.online_key(of.key).await?),
            Request::EventsRead(read) => Answer::Events(events.read(read.after, read.max).await?),
            Request::EventsNewest(_) => Answer::Cursor(events.newest().await?),
            Request::ServersStatus(_) => Answer::Servers(servers.status().await?),
            Request::ServersReconcile(of) => Answer::Count(servers.reconcile(&of.id).await?),
            Request::ServersLog(of) => Answer::Lines(servers.log(&of.id, of.lines)?),
            Request::Tick(_) => {
                kit.tick().await?;
                Answer::Nothing
            }
            Request::Sandbox(step) => self.sandbox()?.step(kit, step).await?,
        })
    }
}
