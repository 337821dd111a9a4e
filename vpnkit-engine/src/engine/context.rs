//! Who calls, why, and whether it is only tried.

use std::sync::Arc;

use super::{Engine, Shared};
use crate::operation::Operation;
use vpnkit_core::model::{Admin, AdminId, Cause};
use vpnkit_core::store::{StoreOp, StoreTxn};
use vpnkit_core::{Error, ErrorKind, Result};

/// Longest name of an actor, in characters.
const ACTOR_MAX: usize = 255;
/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// Whether a character is seen as what it is: none that hides itself, or turns the others around.
fn is_visible(c: char) -> bool {
    let hidden =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !hidden
}

/// In whose name calls are made, why, and whether they are only tried.
///
/// ```
/// use vpnkit_engine::engine::CallContext;
/// let support = CallContext::default().acting_as("support:alice")?.because("asked by phone")?;
/// assert_eq!(support.actor(), Some("support:alice"));
/// assert!(CallContext::default().acting_as("").is_err());
/// # Ok::<(), vpnkit_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallContext {
    actor: Option<Arc<str>>,
    reason: Option<Arc<str>>,
    admin: Option<AdminId>,
    scopes: Option<Arc<[String]>>,
    dry_run: bool,
}

impl CallContext {
    /// Sets who calls, as events, grants and timelines tell it: 1 to 255 visible characters. It is not checked who that is. A reason of
    /// before is gone.
    ///
    /// Errors: `InvalidInput` about `actor`.
    pub fn acting_as(mut self, actor: &str) -> Result<Self> {
        let fits = !actor.is_empty() && actor.chars().count() <= ACTOR_MAX;
        if !fits || actor.trim() != actor || !actor.chars().all(is_visible) {
            return Err(Error::invalid("acting_as", "actor", "must have 1 to 255 visible characters"));
        }
        // Why somebody else has called says nothing of this one.
        (self.actor, self.reason) = (Some(actor.into()), None);
        Ok(self)
    }

    /// Sets why calls are made, as events, grants and timelines tell it.
    ///
    /// Errors: `InvalidInput` about `reason`: up to 500 characters on one line. It stands in every event of the call.
    pub fn because(mut self, reason: &str) -> Result<Self> {
        if reason.chars().count() > REASON_MAX || !reason.chars().all(is_visible) {
            let message = "must have up to 500 characters, on one line";
            return Err(Error::invalid("acting_as", "reason", message));
        }
        self.reason = Some(reason.into());
        Ok(self)
    }

    /// Makes calls in the name of an admin: they do and see what it may. With `scopes`, only what those cover.
    ///
    /// Errors: `PermissionDenied` when they are made in the name of another one already; `InvalidInput` about `scopes`.
    pub fn as_admin(mut self, admin: AdminId, scopes: Option<Vec<String>>) -> Result<Self> {
        const OP: &str = "as_admin";
        if self.admin.is_some_and(|held| held != admin) || (self.scopes.is_some() && scopes.is_none()) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                OP,
                "calls are made in the name of an admin already: begin with the kit that was opened",
            ));
        }
        if let Some(scopes) = scopes {
            super::access::check_scopes(OP, &scopes)?;
            if self.scopes.as_ref().is_some_and(|held| !scopes.iter().all(|scope| held.contains(scope))) {
                return Err(Error::new(ErrorKind::PermissionDenied, OP, "more scopes than it has"));
            }
            self.scopes = Some(scopes.into());
        }
        self.admin = Some(admin);
        Ok(self)
    }

    /// Checks that calls may give somebody else these scopes: none that they do not have themselves.
    pub(super) fn check_gives(&self, op: &'static str, scopes: Option<&[String]>) -> Result<()> {
        let Some(held) = &self.scopes else { return Ok(()) };
        let has = |scope: &String| held.contains(scope) || held.iter().any(|held| held == "*");
        match scopes {
            Some(scopes) if scopes.iter().all(has) => Ok(()),
            _ => Err(Error::new(ErrorKind::PermissionDenied, op, "more scopes than the call has itself")
                .with("field", "scopes")),
        }
    }

    /// Checks that the scopes of calls let them change what is of another noun, too.
    pub(super) fn check_covers(&self, op: &'static str, noun: &str) -> Result<()> {
        let covers = |scope: &String| {
            scope == "*" || scope == noun || *scope == format!("{noun}:change") || scope == "*:change"
        };
        match &self.scopes {
            Some(scopes) if !scopes.iter().any(covers) => {
                Err(Error::new(ErrorKind::PermissionDenied, op, "the scopes do not cover this")
                    .with("scope", noun))
            }
            _ => Ok(()),
        }
    }

    /// Returns the admin in whose name calls are made.
    #[must_use]
    pub const fn admin(&self) -> Option<AdminId> {
        self.admin
    }

    /// Returns what calls are restricted to; `None` is everything that the admin may.
    #[must_use]
    pub fn scopes(&self) -> Option<&[String]> {
        self.scopes.as_deref()
    }

    /// Makes changes only tried.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Returns who calls.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Returns why.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns whether changes are only tried.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// What a call in the name of a reseller is restricted to: its own, and that of those below it.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) admin: AdminId,
    /// Itself and those below it.
    pub(super) tree: Arc<[AdminId]>,
    /// Itself and those above it.
    pub(super) acting: Arc<[Admin]>,
}

impl Scope {
    /// Whether it sees what an admin owns.
    pub(super) fn sees(&self, owner: Option<AdminId>) -> bool {
        owner.is_some_and(|owner| self.tree.contains(&owner))
    }

    /// All that it sees.
    pub(super) fn owners(&self) -> Arc<[AdminId]> {
        Arc::clone(&self.tree)
    }
}

/// The call that a task carries out.
#[derive(Clone, Debug)]
pub(super) struct Current {
    pub(super) operation: &'static str,
    pub(super) context: CallContext,
    pub(super) scope: Option<Scope>,
    /// The admin in whose name it was judged.
    pub(super) entered: Option<AdminId>,
}

tokio::task_local! {
    static CURRENT: Option<Current>;
}

/// Carries a call out as what it was judged to be.
pub(super) async fn in_call<T>(current: Current, call: impl Future<Output = T>) -> T {
    CURRENT.scope(Some(current), call).await
}

fn current() -> Option<Current> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// What the call that this task carries out is restricted to.
pub(super) fn current_scope() -> Option<Scope> {
    CURRENT.try_with(|current| current.as_ref().and_then(|c| c.scope.clone())).ok().flatten()
}

/// Whether this task carries out a call that was judged in the name of this admin.
pub(super) fn is_scoped(admin: AdminId) -> bool {
    CURRENT.try_with(|current| current.as_ref().is_some_and(|c| c.entered == Some(admin))).unwrap_or(false)
}

impl Engine {
    /// Returns this engine for calls in another context. It closes with this one.
    #[must_use]
    pub fn with_context(&self, context: CallContext) -> Self {
        Self { context, ..self.clone() }
    }

    /// Returns the context of its calls.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }

    /// Refuses a call that cannot be tried.
    pub(super) fn not_tried(&self, operation: &'static str) -> Result<()> {
        match self.context.dry_run {
            true => Err(Error::new(ErrorKind::Unsupported, operation, "this cannot be tried, only done")),
            false => Ok(()),
        }
    }

    /// Carries out a change in the name of who calls: what it commits tells so. One that is only tried must say that it can be.
    pub(super) async fn in_context<T>(
        &self,
        operation: &'static str,
        change: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let judged = self.judged();
        self.in_judged_context(judged, operation, change).await
    }

    /// What this task was judged to be restricted to, for one that goes on in another task.
    pub(super) fn judged(&self) -> Judged {
        current()
            .map_or_else(Judged::default, |current| Judged { scope: current.scope, entered: current.entered })
    }

    /// The same for a change that another task was judged to be restricted for.
    pub(super) async fn in_judged_context<T>(
        &self,
        judged: Judged,
        operation: &'static str,
        change: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if !Operation::named(operation).is_ok_and(|found| found.dry_run) {
            self.not_tried(operation)?;
        }
        if judged.entered != self.context.admin {
            // No operation gets here without having been judged.
            return Err(Error::new(ErrorKind::PermissionDenied, operation, "this is not open to admins"));
        }
        let Judged { scope, entered } = judged;
        let current = Current { operation, context: self.context.clone(), scope, entered };
        CURRENT.scope(Some(current), change).await
    }
}

/// What a call was judged to be restricted to.
#[derive(Debug, Default)]
pub(super) struct Judged {
    scope: Option<Scope>,
    entered: Option<AdminId>,
}

/// Does what vpnkit would do by itself, in the middle of a call: without a cause.
pub(super) async fn by_itself<T>(work: impl Future<Output = T>) -> T {
    CURRENT.scope(None, work).await
}

/// Whether the call that this task carries out is only tried.
pub(super) fn is_dry_run() -> bool {
    CURRENT.try_with(|current| current.as_ref().is_some_and(|c| c.context.dry_run)).unwrap_or(false)
}

impl Shared {
    /// A batch of this engine, for the call that this task carries out.
    pub(super) fn txn<S: Into<StoreOp>>(&self, ops: impl IntoIterator<Item = S>) -> StoreTxn {
        let mut txn = StoreTxn::new(self.clock.now(), ops).by(self.origin);
        let _ = CURRENT.try_with(|current| {
            let Some(Current { operation, context, .. }) = current else { return };
            txn.cause = Some(Cause {
                operation: (*operation).to_owned(),
                actor: context.actor.as_deref().map(str::to_owned),
                by_admin: context.admin,
                reason: context.reason.as_deref().map(str::to_owned),
                idempotency_key: None,
            });
            txn.dry_run = context.dry_run;
        });
        txn
    }
}
