//! What may be done in the name of an admin: every operation is judged here, by its own description.

use std::time::Instant;

use tracing::{Instrument as _, Span};

use super::Engine;
use super::context::{Current, Scope, in_call, is_scoped};
use crate::operation::{Access, Mark, OnEngine, Operation};
use vpnkit_core::model::{Admin, AdminId, AdminRef, AdminRole};
use vpnkit_core::{Error, ErrorKind, Result};

/// The most scopes of a kit or an API key.
const SCOPES_MAX: usize = 50;

/// Checks scopes: `*`, `*:read`, a noun such as `keys`, or one with what it is for: `keys:read`, `keys:change`.
///
/// Errors: `InvalidInput` about `scopes`.
pub(super) fn check_scopes(op: &'static str, scopes: &[String]) -> Result<()> {
    let fault = |message: String| Err(Error::invalid(op, "scopes", message));
    if scopes.len() > SCOPES_MAX {
        return fault(format!("more than {SCOPES_MAX}"));
    }
    let known = |noun: &str| noun == "*" || Operation::all().iter().any(|known| known.mark().noun() == noun);
    for scope in scopes {
        let (noun, what) = scope.split_once(':').unwrap_or((scope, "change"));
        if noun.is_empty() || !known(noun) || !matches!(what, "read" | "change") {
            return fault(format!(
                "{scope:?} is none of `*`, `*:read`, a noun, or one with `:read` or `:change`"
            ));
        }
    }
    Ok(())
}

/// Whether one of these scopes lets an operation through. What may be changed may be read.
fn covers(scopes: &[String], operation: Mark) -> bool {
    let one = |scope: &String| {
        let (noun, what) = scope.split_once(':').unwrap_or((scope, "change"));
        (noun == "*" || noun == operation.noun()) && (what == "change" || !operation.changes)
    };
    // What belongs to no noun tells nothing and changes nothing.
    operation.noun().is_empty() && !operation.changes || scopes.iter().any(one)
}

/// An admin and the resellers below it; sudo, and what is below that, belongs to no reseller.
fn own_tree(admin: AdminId, below: &[Admin]) -> std::sync::Arc<[AdminId]> {
    let mut tree = vec![admin];
    let mut next = 0;
    while let Some(above) = tree.get(next).copied() {
        let children =
            below.iter().filter(|one| one.parent == Some(above) && one.role == AdminRole::Reseller);
        tree.extend(children.map(|one| one.id));
        next += 1;
    }
    tree.sort_unstable();
    tree.into()
}

fn denied(operation: &'static str, message: &str) -> Error {
    Error::new(ErrorKind::PermissionDenied, operation, message.to_owned())
}

/// Carries a call out if who calls may make it. Every operation begins here.
pub(crate) async fn enter<T>(
    engine: &Engine,
    mark: Mark,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    // On the heap: around it are three more futures, each of which would hold all of it.
    let call = Box::pin(call);
    observed(engine, mark, judged(engine, mark, call)).await
}

async fn judged<T>(engine: &Engine, mark: Mark, call: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(admin) = engine.context.admin() else { return call.await };
    if is_scoped(admin) {
        // Part of a call that was judged.
        return call.await;
    }
    let scope = engine.judge(admin, mark).await?;
    let current =
        Current { operation: mark.name, context: engine.context.clone(), scope, entered: Some(admin) };
    in_call(current, call).await
}

/// Carries a call out so that it is seen from outside: as a span of `tracing`, and measured.
async fn observed<T>(engine: &Engine, mark: Mark, call: impl Future<Output = Result<T>>) -> Result<T> {
    let (span, began) = (span(engine, mark), Instant::now());
    let result = call.instrument(span.clone()).await;
    ended(engine, mark, &span, began, result.as_ref().err());
    result
}

fn span(engine: &Engine, mark: Mark) -> Span {
    let context = &engine.context;
    tracing::info_span!(
        "operation",
        name = mark.name,
        actor = context.actor(),
        admin = context.admin().map(|admin| admin.0),
        error = tracing::field::Empty,
    )
}

fn ended(engine: &Engine, mark: Mark, span: &Span, began: Instant, error: Option<&Error>) {
    engine.shared.metrics.call(mark.name, began.elapsed(), error);
    if let Some(e) = error {
        span.record("error", e.kind().code());
    }
}

impl Engine {
    /// Judges a call in the name of an admin; returns what it is restricted to.
    async fn judge(&self, admin: AdminId, mark: Mark) -> Result<Option<Scope>> {
        let operation = mark.name;
        self.shared.open(operation)?;
        if let Some(scopes) = self.context.scopes()
            && !covers(scopes, mark)
        {
            return Err(denied(operation, "the scopes do not cover this").with("admin", admin));
        }
        let acting = self.shared.acting(operation, admin).await?;
        if acting.first().is_some_and(|admin| admin.role == AdminRole::Sudo) {
            return Ok(None);
        }
        if mark.access != Access::Own {
            return Err(denied(operation, "only sudo may do this").with("admin", admin));
        }
        let below = self.shared.store.admins(Some(admin)).await.map_err(|e| e.during(operation))?;
        let tree = own_tree(admin, &below);
        Ok(Some(Scope { admin, tree, acting: acting.into() }))
    }
}

impl super::Shared {
    /// Returns an admin and those above it: none of them is disabled.
    pub(super) async fn acting(&self, op: &'static str, id: AdminId) -> Result<Vec<Admin>> {
        let (mut above, mut acting) = (Some(id), Vec::new());
        for _ in 0..=Admin::DEPTH_MAX {
            let Some(id) = above else { break };
            let found = self.store.admin(&AdminRef::Id(id)).await.map_err(|e| e.during(op))?;
            let Some(admin) = found.filter(|admin| !admin.disabled) else {
                // Which of those above it is not told.
                return Err(denied(op, "the admin is disabled, or not there"));
            };
            above = admin.parent;
            acting.push(admin);
        }
        Ok(acting)
    }
}

macro_rules! on_engine {
    ($($noun:ident),*) => {$(
        impl OnEngine for super::$noun {
            fn engine(&self) -> &Engine {
                &self.engine
            }
        }
    )*};
}

on_engine!(
    Admins,
    Events,
    Grants,
    HealthView,
    Hosts,
    Inbounds,
    KeyTemplates,
    Keys,
    Servers,
    StoreView,
    Subscriptions,
    TrafficView,
    Webhooks
);
