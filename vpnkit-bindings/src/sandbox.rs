//! A kit for tests of applications: time stands still until it is told to move, a fake server does as it is told.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use vpnkit::engine::ServerParts;
use vpnkit::{
    ByteSize, Config, Error, ErrorKind, InboundTag, KeyId, KeyRef, ManualClock, Result, Timestamp, Traffic,
    VpnKit,
};
use vpnkit_testkit::{FakeServer, Fault};

use crate::Answer;

/// What happens in a sandbox.
#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum SandboxStep {
    Set { to: Timestamp },
    Pass { key: KeyRef, up: ByteSize, down: ByteSize },
    Online { key: KeyRef, from: Vec<IpAddr> },
    Fail,
    Refuse { key: KeyRef },
    Heal,
    Restart,
    LetsIn { key: KeyRef, tag: InboundTag },
}

#[derive(Debug)]
pub(crate) struct Sandbox {
    clock: ManualClock,
    server: Arc<FakeServer>,
}

impl Sandbox {
    pub(crate) async fn open(config: Config) -> Result<(VpnKit, Self)> {
        let (clock, server) = (ManualClock::default(), Arc::new(FakeServer::new()));
        let parts =
            ServerParts { backend: server.clone(), source: server.clone(), address: "vpn.example".into() };
        let kit = VpnKit::open_with(config, Arc::new(clock.clone()), vec![parts]).await?;
        Ok((kit, Self { clock, server }))
    }

    pub(crate) async fn step(&self, kit: &VpnKit, step: SandboxStep) -> Result<Answer> {
        let id = |key| async move {
            match key {
                // Also one that was deleted.
                KeyRef::Id(id) => Ok::<KeyId, vpnkit::Error>(id),
                key => Ok(kit.keys().require(key).await?.id),
            }
        };
        Ok(match step {
            SandboxStep::Set { to } => {
                self.clock.set(to);
                Answer::new(())
            }
            SandboxStep::Pass { key, up, down } => {
                self.server.pass(id(key).await?, Traffic { up: up.bytes(), down: down.bytes() });
                Answer::new(())
            }
            SandboxStep::Online { key, from } => {
                self.server.set_online(id(key).await?, &from);
                Answer::new(())
            }
            SandboxStep::Fail => {
                self.server.fail(Fault::Down);
                Answer::new(())
            }
            SandboxStep::Refuse { key } => {
                self.server.fail(Fault::Refuse(id(key).await?));
                Answer::new(())
            }
            SandboxStep::Heal => {
                self.server.heal();
                for server in kit.servers().status().await? {
                    kit.servers().reconcile(&server.id).await?;
                }
                Answer::new(())
            }
            SandboxStep::Restart => {
                self.server.restart().await;
                Answer::new(())
            }
            SandboxStep::LetsIn { key, tag } => {
                // Otherwise a test that somebody must not get in would pass for a slip of the pen.
                let there = kit.inbounds().list().await?.iter().any(|inbound| inbound.tag == tag);
                if !there {
                    return Err(
                        Error::new(ErrorKind::NotFound, "sandbox", "no such inbound").with("inbound", tag)
                    );
                }
                Answer::new(self.server.lets_in(id(key).await?, tag.as_str()))
            }
        })
    }
}
