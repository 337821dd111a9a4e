//! Steps of subscriptions.

use serde_json::{Map, Value, json};

use super::{Run, shown};
use vpnkit_core::Result;
use vpnkit_core::model::{InboundTag, NodeId, parse_duration};
use vpnkit_engine::engine::Engine;

impl Run {
    pub(super) async fn subscription(
        &mut self,
        engine: &Engine,
        verb: &str,
        argument: &Value,
        step: &Map<String, Value>,
    ) -> Result<Value> {
        let subscriptions = engine.subscriptions();
        let text = |name: &str| step.get(name).and_then(Value::as_str);
        match verb {
            "hosts" => {
                let hosts = serde_json::from_value(argument.clone()).expect("hosts");
                let (node, tag) = (NodeId::main(), InboundTag::new("main")?);
                engine.hosts().set(&node, &tag, hosts).await.map(|()| Value::Null)
            }
            "configure" => {
                let settings = serde_json::from_value(argument.clone()).expect("settings");
                subscriptions.configure(settings).await.map(|()| Value::Null)
            }
            "token" => {
                let token = subscriptions.token(self.key(argument)).await?;
                self.tokens.insert(text("as").expect("an alias").to_owned(), token);
                Ok(Value::Null)
            }
            "ask" => {
                let pair = |(name, value): (&String, &Value)| {
                    (name.clone(), value.as_str().expect("a header").to_owned())
                };
                let headers: Vec<_> =
                    step.get("headers").and_then(Value::as_object).into_iter().flatten().map(pair).collect();
                let token = &self.tokens[argument.as_str().expect("a token's alias")];
                let answer = subscriptions.for_request(token, &headers, text("format")).await?;
                let names: Vec<_> = answer.body.lines().filter_map(|link| link.split('#').nth(1)).collect();
                Ok(json!({
                    "status": answer.status, "type": answer.header("content-type"),
                    "title": answer.header("profile-title"), "names": names
                }))
            }
            "revoke" => {
                let given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
                let new = given.get("new_credentials").and_then(Value::as_bool).unwrap_or(false);
                let keep = given.get("keep_old").and_then(Value::as_str).map(parse_duration).transpose()?;
                Ok(shown(&subscriptions.revoke(self.key(argument), new, keep).await?))
            }
            "lookup" => {
                let token = &self.tokens[argument.as_str().expect("a token's alias")];
                let revoked = step.get("with").is_some();
                let found = engine.keys().lookup(&format!("https://sub.example/{token}"), revoked).await?;
                Ok(json!(found.map(|key| key.name)))
            }
            "rotate_secret" => {
                let keep = parse_duration(argument.as_str().expect("a length of time"))?;
                subscriptions.rotate_secret(keep).await.map(|()| Value::Null)
            }
            "devices" => {
                let devices = subscriptions.devices(self.key(argument)).await?;
                Ok(devices.into_iter().map(|device| Value::String(device.id)).collect())
            }
            "forget_device" => {
                let id = text("id").map(str::to_owned);
                subscriptions.forget_device(self.key(argument), id).await.map(|()| Value::Null)
            }
            other => panic!("unknown step {other}"),
        }
    }
}
