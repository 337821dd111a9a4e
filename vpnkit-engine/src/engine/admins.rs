//! Admins: who owns keys, and what they may.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vpnkit_macros::operations;

use super::access::check_scopes;
use super::context::current_scope;
use super::{ApiKey, Engine, NewApiKey, Shared, api_keys, passwords};
use vpnkit_core::model::{
    Admin, AdminId, AdminPatch, AdminRef, CreateAdmin, KeyPatch, KeyQuery, KeyStatus, Patch,
};
use vpnkit_core::store::{AdminOp, StoreOp, errors};
use vpnkit_core::{Error, ErrorKind, Result, Secret};

/// What becomes of the keys of an admin that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeysOfDeleted {
    /// An admin that has keys is not deleted.
    #[default]
    Refuse,
    /// They are deleted, too.
    Delete,
    /// They have no owner any more.
    Release,
}

/// Keeps admins: a tree of sudo and resellers with quotas. What an admin owns counts for all above it.
///
/// [`super::CallContext::as_admin`] makes calls in the name of one.
#[derive(Clone, Debug)]
pub struct Admins {
    pub(super) engine: Engine,
}

#[operations(noun = "admins", handle = Engine::admins)]
impl Admins {
    /// Creates an admin. Called in the name of a reseller, it stands below that one unless `parent` names another one below it.
    ///
    /// Errors: `InvalidInput` with the `field`; `AlreadyExists` when the name is taken; `NotFound` for the parent; `LimitReached` when
    /// there are as many admins as there may be; `PermissionDenied`.
    #[operation(change, dry_run, own)]
    pub async fn create(
        &self,
        #[arg(spread)] request: CreateAdmin,
        password: Option<Secret>,
    ) -> Result<Admin> {
        const OP: &str = "admins.create";
        let this = self.clone();
        let create = async move {
            let shared = this.shared(OP)?;
            if let Some(password) = &password {
                this.engine.context().check_gives(OP, None)?;
                passwords::check(OP, password)?;
            }
            let parent = match &request.parent {
                Some(parent) => {
                    let found = shared.store.admin(parent).await.map_err(|e| e.during(OP))?;
                    Some(found.ok_or_else(|| no_admin(OP, parent, "parent"))?.id)
                }
                None => current_scope().map(|scope| scope.admin),
            };
            let new = request.validate(OP, parent)?;
            let txn = shared.txn([AdminOp::Create(Box::new(new))]);
            let admin = only_admin(OP, shared.store.commit(txn).await.map_err(|e| e.during(OP))?.admins)?;
            // Last: who may not create one hashes nothing.
            if let Some(password) = password.filter(|_| !this.engine.context().is_dry_run()) {
                let hash = passwords::hash(OP, &shared.checking, password).await?;
                let put = passwords::record(admin.id, hash, shared.clock.now());
                shared.store.commit(shared.txn([put])).await.map_err(|e| e.during(OP))?;
            }
            Ok(admin)
        };
        self.engine.run_to_completion(OP, create).await
    }

    /// Returns the admin with what it has and uses, or `None`.
    #[operation(read, own)]
    pub async fn get(&self, admin: impl Into<AdminRef>) -> Result<Option<Admin>> {
        const OP: &str = "admins.get";
        self.shared(OP)?.store.admin(&admin.into()).await.map_err(|e| e.during(OP))
    }

    /// Returns the admin with what it has and uses.
    ///
    /// Errors: `NotFound`.
    #[operation(read, own)]
    pub async fn require(&self, admin: impl Into<AdminRef>) -> Result<Admin> {
        const OP: &str = "admins.require";
        self.shared(OP)?.admin(OP, &admin.into()).await
    }

    /// Returns the admin in whose name calls are made; `None` for those of the application itself.
    #[operation(read, own)]
    pub async fn current(&self) -> Result<Option<Admin>> {
        const OP: &str = "admins.current";
        match self.engine.context().admin() {
            Some(admin) => self.shared(OP)?.admin(OP, &admin.into()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns all admins by id, or one and those below it.
    ///
    /// Errors: `NotFound` for the one.
    #[operation(read, own)]
    pub async fn list(&self, #[arg(positional)] below: Option<AdminRef>) -> Result<Vec<Admin>> {
        const OP: &str = "admins.list";
        let shared = self.shared(OP)?;
        let from = match &below {
            Some(admin) => Some(shared.admin(OP, admin).await?.id),
            None => None,
        };
        shared.store.admins(from).await.map_err(|e| e.during(OP))
    }

    /// Changes an admin. With `expected_version`, only if nobody changed it since. A limit that is lower than what there is takes nothing
    /// away: there is no more until there is less.
    ///
    /// Errors: `NotFound`, `Conflict`, `InvalidInput`, `AlreadyExists` (name); `PermissionDenied` for an admin about itself.
    #[operation(change, dry_run, own)]
    pub async fn update(
        &self,
        admin: impl Into<AdminRef>,
        #[arg(spread)] patch: AdminPatch,
        expected_version: Option<u64>,
    ) -> Result<Admin> {
        self.patch("admins.update", admin.into(), patch, expected_version).await
    }

    /// Sets the bytes that the keys of an admin have used to nothing: those that its quota had stopped may connect again. What the
    /// admins above it count stays.
    ///
    /// Errors: `NotFound`; `PermissionDenied` for an admin about itself.
    #[operation(change, dry_run, own)]
    pub async fn reset_usage(&self, admin: impl Into<AdminRef>) -> Result<Admin> {
        let patch = AdminPatch { reset_usage: true, ..AdminPatch::default() };
        self.patch("admins.reset_usage", admin.into(), patch, None).await
    }

    /// Switches off all keys of an admin that may connect or are suspended, in steps of 500; returns how many. Interrupted, the same
    /// call goes on. Keys of the admins below it stay as they are.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run, own)]
    pub async fn disable_keys(&self, admin: impl Into<AdminRef>) -> Result<usize> {
        let status = [KeyStatus::Active, KeyStatus::OnHold, KeyStatus::Suspended];
        self.change_keys("admins.disable_keys", admin.into(), &status, KeyPatch::enabled(false)).await
    }

    /// Lets all keys of an admin go on that were switched off, by this or one by one, in steps of 500; returns how many.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run, own)]
    pub async fn enable_keys(&self, admin: impl Into<AdminRef>) -> Result<usize> {
        self.change_keys("admins.enable_keys", admin.into(), &[KeyStatus::Disabled], KeyPatch::enabled(true))
            .await
    }

    /// Gives all keys of an admin to another one, in steps of 500; returns how many. They count against the quotas of that one: what
    /// is beyond them stays where it was, and `changed` of the error says how many were given.
    ///
    /// Errors: `NotFound`; `LimitReached` when a quota has no room for more.
    #[operation(change, own)]
    pub async fn hand_over_keys(&self, admin: impl Into<AdminRef>, to: impl Into<AdminRef>) -> Result<usize> {
        const OP: &str = "admins.hand_over_keys";
        let to = to.into();
        let to = match self.shared(OP)?.store.admin(&to).await.map_err(|e| e.during(OP))? {
            Some(found) => found.id,
            None => return Err(no_admin(OP, &to, "to")),
        };
        let from = admin.into();
        if self.shared(OP)?.admin(OP, &from).await?.id == to {
            return Ok(0);
        }
        let patch = KeyPatch { owner: Patch::Set(to), ..KeyPatch::default() };
        self.change_keys(OP, from, &[], patch).await
    }

    /// Deletes an admin with its password and API keys. What becomes of its keys `keys` says; those are done first, in steps of 500, and
    /// interrupted the same call goes on.
    ///
    /// Errors: `NotFound`; `Conflict` when there are admins below it, whose quotas are its own too, or when it has keys, unless `keys` says what becomes of them; `PermissionDenied` for an admin about
    /// itself, or when keys of a reseller would have no owner.
    #[operation(change, own)]
    pub async fn delete(
        &self,
        admin: impl Into<AdminRef>,
        #[arg(default = KeysOfDeleted::Refuse)] keys: KeysOfDeleted,
        expected_version: Option<u64>,
    ) -> Result<()> {
        const OP: &str = "admins.delete";
        let (this, admin) = (self.clone(), admin.into());
        let delete = async move {
            let shared = this.shared(OP)?;
            if keys != KeysOfDeleted::Refuse {
                this.engine.context().check_covers(OP, "keys")?;
            }
            let found = shared.admin(OP, &admin).await?;
            if let Some(expected) = expected_version
                && expected != found.version
            {
                return Err(errors::admin_version(found.id, expected, found.version).during(OP));
            }
            if found.admins > 0 {
                return Err(errors::has_admins(found.id).during(OP));
            }
            match keys {
                KeysOfDeleted::Refuse => {}
                KeysOfDeleted::Delete => shared.delete_owned(OP, found.id).await?,
                KeysOfDeleted::Release => {
                    let patch = KeyPatch { owner: Patch::Clear, ..KeyPatch::default() };
                    shared.change_owned(OP, found.id, &[], &patch).await.map(drop)?;
                }
            }
            let mut steps =
                vec![StoreOp::from(AdminOp::Delete { admin: found.id, expected: expected_version })];
            steps.push(passwords::remove(found.id).into());
            let api_keys = api_keys::of_admin(shared, OP, found.id).await?;
            steps.extend(api_keys.iter().map(|key| StoreOp::from(api_keys::remove(key))));
            shared.store.commit(shared.txn(steps)).await.map(drop).map_err(|e| e.during(OP))
        };
        self.engine.run_to_completion(OP, delete).await
    }

    /// Sets the password of an admin, 8 to 1,024 bytes, or takes it away: then nobody signs in with one. Only its Argon2id hash is kept.
    ///
    /// Errors: `NotFound`; `InvalidInput` about `password`.
    #[operation(change, dry_run, own)]
    pub async fn set_password(
        &self,
        admin: impl Into<AdminRef>,
        #[arg(required)] password: Option<Secret>,
    ) -> Result<()> {
        const OP: &str = "admins.set_password";
        let admin = admin.into();
        let set = async {
            let shared = self.shared(OP)?;
            // Who signs in with it is restricted by no scopes.
            self.engine.context().check_gives(OP, None)?;
            let admin = shared.admin(OP, &admin).await?.id;
            let step = match password {
                Some(password) => {
                    passwords::check(OP, &password)?;
                    let hash = passwords::hash(OP, &shared.checking, password).await?;
                    passwords::record(admin, hash, shared.clock.now())
                }
                None => passwords::remove(admin),
            };
            shared.store.commit(shared.txn([step])).await.map(drop).map_err(|e| e.during(OP))
        };
        self.engine.in_context(OP, set).await
    }

    /// Returns the admin who signs in with a name and a password; `None` when they are not right, or the admin is disabled. An
    /// unknown name takes as long as a wrong password. A few are checked at once, the others wait: limit how often one may try.
    #[operation(read)]
    pub async fn check_password(&self, name: &str, password: Secret) -> Result<Option<Admin>> {
        const OP: &str = "admins.check_password";
        let shared = self.shared(OP)?;
        let admin = shared.store.admin(&AdminRef::Name(name.to_owned())).await.map_err(|e| e.during(OP))?;
        let hash = match &admin {
            Some(admin) => passwords::of_admin(shared, OP, admin.id).await?,
            None => None,
        };
        let right = passwords::verify(OP, &shared.checking, hash, password).await?;
        match admin.filter(|_| right) {
            Some(admin) => shared.if_acting(OP, admin.id).await,
            None => Ok(None),
        }
    }

    /// Creates an API key of an admin: `name` is for people, up to 100 characters. `scopes` restrict it: `*`, `*:read`, a noun such as
    /// `keys`, or `keys:read`, `keys:change`; without any it may what the admin may. The token is shown now and never again.
    ///
    /// Errors: `NotFound`; `InvalidInput` with the `field`; `LimitReached` when the admin has 100 of them; `PermissionDenied` when
    /// the call has less to give.
    #[operation(change, dry_run, own)]
    pub async fn create_api_key(
        &self,
        admin: impl Into<AdminRef>,
        name: &str,
        scopes: Option<Vec<String>>,
        expires_in: Option<Duration>,
    ) -> Result<NewApiKey> {
        const OP: &str = "admins.create_api_key";
        let admin = admin.into();
        let create = async {
            let shared = self.shared(OP)?;
            if let Some(scopes) = &scopes {
                check_scopes(OP, scopes)?;
            }
            self.engine.context().check_gives(OP, scopes.as_deref())?;
            let admin = shared.admin(OP, &admin).await?.id;
            api_keys::create(shared, OP, admin, name, scopes, expires_in).await
        };
        self.engine.in_context(OP, create).await
    }

    /// Returns the API keys of an admin, without their tokens, by id.
    ///
    /// Errors: `NotFound`.
    #[operation(read, own)]
    pub async fn api_keys(&self, admin: impl Into<AdminRef>) -> Result<Vec<ApiKey>> {
        const OP: &str = "admins.api_keys";
        let shared = self.shared(OP)?;
        let admin = shared.admin(OP, &admin.into()).await?.id;
        api_keys::of_admin(shared, OP, admin).await
    }

    /// Makes an API key worthless from the next call on.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run, own)]
    pub async fn revoke_api_key(&self, id: &str) -> Result<()> {
        const OP: &str = "admins.revoke_api_key";
        let revoke = async {
            let shared = self.shared(OP)?;
            let found = api_keys::find(shared, OP, id).await?;
            let seen = match &found {
                Some(key) => shared.store.admin(&key.admin.into()).await.map_err(|e| e.during(OP))?.is_some(),
                None => false,
            };
            let key = found.filter(|_| seen).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, OP, "no such API key").with("field", "id").with("id", id)
            })?;
            let step = api_keys::remove(&key);
            shared.store.commit(shared.txn([step])).await.map(drop).map_err(|e| e.during(OP))
        };
        self.engine.in_context(OP, revoke).await
    }

    /// Returns the API key that a token is of; `None` when it is of none, has expired or was revoked, or its admin is disabled. Make calls
    /// with [`super::CallContext::as_admin`], with its admin and its scopes.
    #[operation(read)]
    pub async fn check_api_key(&self, token: Secret) -> Result<Option<ApiKey>> {
        const OP: &str = "admins.check_api_key";
        let shared = self.shared(OP)?;
        let Some(key) = api_keys::check(shared, OP, &token).await? else { return Ok(None) };
        Ok(shared.if_acting(OP, key.admin).await?.map(|_| key))
    }

    fn shared(&self, operation: &'static str) -> Result<&Arc<Shared>> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }

    async fn patch(
        &self,
        op: &'static str,
        admin: AdminRef,
        patch: AdminPatch,
        expected: Option<u64>,
    ) -> Result<Admin> {
        let this = self.clone();
        let change = async move {
            let shared = this.shared(op)?;
            let admin = shared.admin(op, &admin).await?.id;
            let step = AdminOp::Patch { admin, expected, patch: Box::new(patch) };
            let receipt = shared.store.commit(shared.txn([step])).await.map_err(|e| e.during(op))?;
            if receipt.took_effect() {
                // Now, and not at the next review.
                super::context::by_itself(shared.follow_owners(None)).await.map_err(|e| e.during(op))?;
            }
            only_admin(op, receipt.admins)
        };
        self.engine.run_to_completion(op, change).await
    }

    async fn change_keys(
        &self,
        op: &'static str,
        admin: AdminRef,
        status: &[KeyStatus],
        patch: KeyPatch,
    ) -> Result<usize> {
        let (this, status) = (self.clone(), status.to_vec());
        let change = async move {
            let shared = this.shared(op)?;
            this.engine.context().check_covers(op, "keys")?;
            let owner = shared.admin(op, &admin).await?.id;
            shared.change_owned(op, owner, &status, &patch).await
        };
        self.engine.run_to_completion(op, change).await
    }
}

fn only_admin(op: &'static str, admins: Vec<Admin>) -> Result<Admin> {
    let found = admins.into_iter().next();
    found.ok_or_else(|| Error::new(ErrorKind::Unexpected, op, "the store lost the admin"))
}

fn no_admin(op: &'static str, admin: &AdminRef, field: &'static str) -> Error {
    let message = match admin {
        AdminRef::Id(id) => format!("no admin has the id {id}"),
        AdminRef::Name(name) => format!("no admin is named {name:?}"),
    };
    Error::new(ErrorKind::NotFound, op, message).with("field", field).with("admin", admin)
}

impl Shared {
    pub(super) async fn admin(&self, op: &'static str, admin: &AdminRef) -> Result<Admin> {
        let found = self.store.admin(admin).await.map_err(|e| e.during(op))?;
        found.ok_or_else(|| no_admin(op, admin, "admin"))
    }

    /// An admin and those below it.
    pub(super) async fn below(&self, op: &'static str, admin: &AdminRef) -> Result<Arc<[AdminId]>> {
        let from = self.admin(op, admin).await?.id;
        let admins = self.store.admins(Some(from)).await.map_err(|e| e.during(op))?;
        Ok(admins.into_iter().map(|admin| admin.id).collect())
    }

    /// The admin, if it may act.
    async fn if_acting(&self, op: &'static str, admin: AdminId) -> Result<Option<Admin>> {
        match self.acting(op, admin).await {
            Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(None),
            acting => Ok(acting?.into_iter().next()),
        }
    }
}

/// The keys of an owner, those of some statuses.
pub(super) fn owned(owner: AdminId, status: &[KeyStatus]) -> KeyQuery {
    KeyQuery { owner: Some(owner), status: status.to_vec(), ..KeyQuery::default() }
}
