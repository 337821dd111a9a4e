//! Questions that only the process that drives a server can answer: asked through the store, by any other one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::leases::SERVER_LEASE;
use super::server::Server;
use super::{AT_ONCE, Shared};
use vpnkit_core::model::{KeyId, ServerId};
use vpnkit_core::store::{Question, QuestionId, QuestionOp};
use vpnkit_core::{Error, ErrorKind, Result, Secret};

/// How long an answer is waited for: a comparison may take long.
const LIMIT: Duration = Duration::from_secs(50);

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// Who is online.
    Online,
    /// Where a key is online.
    OnlineKey(KeyId),
    /// How fast bytes pass: of so many keys.
    Rates(usize),
    /// What a reading adds.
    Collect,
    /// How many steps a comparison takes.
    Reconcile,
    /// The newest lines of the log.
    Log(usize),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answered {
    Value(serde_json::Value),
    Fault { code: String, message: String },
}

/// The questions of this engine, and those that it is about to answer.
#[derive(Debug, Default)]
pub(super) struct Asking {
    newest: AtomicU64,
    answering: Mutex<HashSet<QuestionId>>,
}

impl Shared {
    /// Asks the process that drives a server.
    ///
    /// Errors: `Timeout` when it does not answer; those of the question there.
    pub(super) async fn ask<T: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        op: &'static str,
        server: &ServerId,
        asked: &Asked,
    ) -> Result<T> {
        let (shared, server, asked) = (Arc::clone(self), server.clone(), asked.clone());
        // In a task: the question is taken back also when the caller waits no longer.
        let asking = self.tasks.spawn(async move { shared.ask_one(op, &server, &asked).await });
        asking.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, op, "vpnkit is closed")))
    }

    async fn ask_one<T: DeserializeOwned>(
        &self,
        op: &'static str,
        server: &ServerId,
        asked: &Asked,
    ) -> Result<T> {
        let unreadable = |e: serde_json::Error| {
            Error::new(ErrorKind::Unexpected, op, "a question cannot be written or read").caused_by(e)
        };
        let number = self.asking.newest.fetch_add(1, Ordering::Relaxed) + 1;
        let id = QuestionId { server: server.clone(), asker: self.origin, number };
        let text = Secret::new(serde_json::to_string(asked).map_err(unreadable)?);
        let ask = QuestionOp::Ask(Question { id: id.clone(), text });
        self.store.commit(self.txn([ask])).await.map_err(|e| e.during(op))?;
        let mut newest = self.store.newest();
        let answer = async {
            loop {
                newest.mark_unchanged();
                if let Some(answer) = self.store.answer(&id).await? {
                    return Ok(answer);
                }
                if newest.changed().await.is_err() {
                    return Err(Error::new(ErrorKind::Closed, op, "vpnkit is closed"));
                }
            }
        };
        let answer = tokio::select! {
            () = self.stop.cancelled() => Err(Error::new(ErrorKind::Closed, op, "vpnkit is closed")),
            answer = tokio::time::timeout(LIMIT, answer) => answer.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Timeout, op, "the process that drives the server does not answer")
                    .with("server", server))
            }),
        };
        let _ = self.store.commit(self.txn([QuestionOp::Forget(id)])).await;
        match serde_json::from_str(answer.map_err(|e| e.during(op))?.expose()).map_err(unreadable)? {
            Answered::Value(value) => serde_json::from_value(value).map_err(unreadable),
            Answered::Fault { code, message } => {
                let kind = ErrorKind::ALL.iter().find(|kind| kind.code() == code);
                Err(Error::new(kind.copied().unwrap_or(ErrorKind::Unexpected), op, message)
                    .with("server", server))
            }
        }
    }

    /// Asks the driver of every server that another process drives, side by side. One that does not answer is passed over, as a
    /// server here would be.
    pub(super) async fn ask_all<T: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        op: &'static str,
        asked: &Asked,
    ) -> Result<Vec<T>> {
        let leases = self.elsewhere().await.map_err(|e| e.during(op))?;
        let servers: Vec<ServerId> =
            leases.keys().filter_map(|name| name.strip_prefix(SERVER_LEASE)?.parse().ok()).collect();
        let ask = |server: ServerId| async move {
            let answer = self.ask(op, &server, asked).await;
            answer
                .inspect_err(|e| tracing::warn!(%server, error = %e, "another process was asked in vain"))
                .ok()
        };
        let answers = futures_util::stream::iter(servers.into_iter().map(ask)).buffered(AT_ONCE);
        Ok(answers.collect::<Vec<Option<T>>>().await.into_iter().flatten().collect())
    }

    /// Answers what others ask of the servers that this process drives, each in a task of its own.
    pub(super) async fn answer_questions(self: &Arc<Self>) -> Result<()> {
        let servers = self.servers();
        if !servers.iter().any(|server| server.is_driven()) {
            return Ok(());
        }
        for Question { id, text } in self.store.questions().await? {
            let Some(server) = servers.iter().find(|server| *server.id() == id.server && server.is_driven())
            else {
                continue;
            };
            let fresh = |shared: &Self| {
                let mut answering = shared.asking.answering.lock().unwrap_or_else(PoisonError::into_inner);
                answering.insert(id.clone())
            };
            if fresh(self) {
                let (shared, server) = (Arc::clone(self), Arc::clone(server));
                self.tasks.spawn(async move { shared.answer_one(&server, id, &text).await });
            }
        }
        Ok(())
    }

    async fn answer_one(&self, server: &Server, id: QuestionId, text: &Secret) {
        let answer = tokio::select! {
            () = self.stop.cancelled() => return,
            answer = self.find_out(server, text) => match answer {
                Ok(value) => Answered::Value(value),
                Err(e) => Answered::Fault { code: e.kind().code().to_owned(), message: e.message().to_owned() },
            },
        };
        let text = Secret::new(serde_json::to_string(&answer).unwrap_or_default());
        let told =
            async { self.store.commit(server.txn(self, [QuestionOp::Answer(id.clone(), text)])?).await };
        if let Err(e) = told.await {
            tracing::warn!(server = %server.id(), error = %e, "a question of another process was not answered");
        }
        self.asking.answering.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    async fn find_out(&self, server: &Server, text: &Secret) -> Result<serde_json::Value> {
        const OP: &str = "server.ask";
        let unknown = || {
            Error::new(ErrorKind::Unsupported, OP, "the process that drives the server has another version")
        };
        let value = match serde_json::from_str(text.expose()).map_err(|_| unknown())? {
            Asked::Online => serde_json::to_value(server.online(OP).await?),
            Asked::OnlineKey(key) => serde_json::to_value(server.online_key(OP, key).await?),
            Asked::Rates(most) => serde_json::to_value(server.measured(most)),
            Asked::Collect => serde_json::to_value(self.collect(server).await?),
            Asked::Reconcile => {
                let outcome = server.queue.reconcile().await;
                serde_json::to_value(
                    outcome.map_err(|_| Error::new(ErrorKind::Closed, OP, "vpnkit is closed"))??,
                )
            }
            Asked::Log(lines) => serde_json::to_value(server.backend.log(lines)),
        };
        value.map_err(|_| unknown())
    }
}
