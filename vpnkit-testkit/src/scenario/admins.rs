//! Steps of admins and of what is told to others.

use serde_json::{Map, Value, json};

use super::{Run, UNKNOWN};
use vpnkit_core::model::{AdminPatch, CreateAdmin, Cursor, parse_duration};
use vpnkit_core::{Result, Secret};
use vpnkit_engine::engine::Engine;

impl Run {
    /// A step of admins, or of consumers of events; `None` when it is neither.
    pub(super) async fn admin_step(
        &mut self,
        engine: &Engine,
        verb: &str,
        argument: &Value,
        step: &Map<String, Value>,
    ) -> Option<Result<Value>> {
        let admins = engine.admins();
        let given = step.get("with").and_then(Value::as_object).cloned().unwrap_or_default();
        let text = |name: &str| given.get(name).and_then(Value::as_str);
        let secret = |name: &str| Secret::new(text(name).expect("a text"));
        let alias = || step.get("as").and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = step.get("expected_version").and_then(Value::as_u64);
        let answer = async {
            Ok::<_, vpnkit_core::Error>(match verb {
                "admin" => {
                    let request: CreateAdmin = serde_json::from_value(argument.clone()).expect("a request");
                    let made = admins.create(request, None).await?;
                    self.admins.insert(alias(), made.id);
                    self.shown_admin(&made)
                }
                "update_admin" => {
                    let patch = step.get("patch").cloned().unwrap_or_else(|| json!({}));
                    let patch: AdminPatch = serde_json::from_value(patch).expect("a patch");
                    self.shown_admin(&admins.update(self.admin(argument), patch, version).await?)
                }
                "get_admin" => self.shown_admin(&admins.require(self.admin(argument)).await?),
                "admins" => {
                    admins.list(None).await?.into_iter().map(|admin| Value::String(admin.name)).collect()
                }
                "reset_admin" => self.shown_admin(&admins.reset_usage(self.admin(argument)).await?),
                "disable_keys" => json!(admins.disable_keys(self.admin(argument)).await?),
                "enable_keys" => json!(admins.enable_keys(self.admin(argument)).await?),
                "hand_over" => {
                    let to = self.admin(given.get("to").expect("another admin"));
                    json!(admins.hand_over_keys(self.admin(argument), to).await?)
                }
                "delete_admin" => {
                    let keys =
                        given.get("keys").cloned().map(|keys| serde_json::from_value(keys).expect("a word"));
                    admins.delete(self.admin(argument), keys.unwrap_or_default(), version).await?;
                    Value::Null
                }
                "set_password" => {
                    admins.set_password(self.admin(argument), Some(secret("password"))).await?;
                    Value::Null
                }
                "check_password" => {
                    let name = argument.as_str().expect("a name");
                    json!(admins.check_password(name, secret("password")).await?.map(|admin| admin.name))
                }
                "api_key" => {
                    let scopes = given.get("scopes").cloned();
                    let scopes = scopes.map(|scopes| serde_json::from_value(scopes).expect("scopes"));
                    let time = text("expires_in").map(parse_duration).transpose()?;
                    let name = text("name").expect("a name");
                    let made = admins.create_api_key(self.admin(argument), name, scopes, time).await?;
                    self.api_keys.insert(alias(), made);
                    Value::Null
                }
                "api_keys" => {
                    let all = admins.api_keys(self.admin(argument)).await?;
                    all.into_iter().map(|key| Value::String(key.name)).collect()
                }
                "check_api_key" => {
                    let token = self.api_keys[argument.as_str().expect("an alias")].token.clone();
                    let found = admins.check_api_key(token).await?;
                    found.map_or(Value::Null, |key| json!({ "name": key.name, "scopes": key.scopes }))
                }
                "revoke_api_key" => {
                    let id = &self.api_keys[argument.as_str().expect("an alias")].key.id;
                    admins.revoke_api_key(id).await?;
                    Value::Null
                }
                "server_status" => json!(engine.servers().status().await?.len()),
                "consume" => {
                    let after = given.get("after").and_then(Value::as_i64).map(Cursor);
                    let mut consumer = engine.events().consume(argument.as_str().expect("a name"), after)?;
                    let mut events = Vec::new();
                    for _ in 0..given.get("count").and_then(Value::as_u64).unwrap_or(1) {
                        events.extend(consumer.next().await?.map(|event| json!(event.kind.code())));
                    }
                    consumer.acknowledge().await?;
                    consumer.close().await?;
                    Value::Array(events)
                }
                "consumers" => engine
                    .events()
                    .consumers()
                    .await?
                    .into_iter()
                    .map(|one| Value::String(one.name))
                    .collect(),
                "remove_consumer" => {
                    engine.events().remove_consumer(argument.as_str().expect("a name")).await?;
                    Value::Null
                }
                other => return Ok(Value::String(format!("{UNKNOWN}{other}"))),
            })
        };
        match answer.await {
            Ok(Value::String(text)) if text.starts_with(UNKNOWN) => None,
            answer => Some(answer),
        }
    }
}
