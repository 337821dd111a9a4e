//! The store itself: backups while it is written, and whether its file is sound.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vpnkit_macros::operations;

use super::{Engine, Shared};
use vpnkit_core::model::{Backup, EventKind, EventSubject, NewEvent, StoreCheck, StoreWork};
use vpnkit_core::store::{Progress, StoreOp};
use vpnkit_core::{Error, Result, Secret, Timestamp};

/// Long work on the store that is under way.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<Vec<Arc<Work>>>);

#[derive(Debug)]
struct Work {
    operation: &'static str,
    since: Timestamp,
    progress: Progress,
}

/// Work that is listed until it ends, also when nobody waits for it any more.
struct Listed<'u> {
    all: &'u UnderWay,
    work: Arc<Work>,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Work>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, operation: &'static str, since: Timestamp) -> Listed<'_> {
        let work = Arc::new(Work { operation, since, progress: Progress::default() });
        self.lock().push(Arc::clone(&work));
        Listed { all: self, work }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.all.lock().retain(|one| !Arc::ptr_eq(one, &self.work));
    }
}

/// Copies and checks the store while it is in use.
#[derive(Clone, Debug)]
pub struct StoreView {
    pub(super) engine: Engine,
}

#[operations(noun = "store", handle = Engine::store)]
impl StoreView {
    /// Copies the store as it is now into a new file (mode 0600), while this process and others go on writing, and checks the copy before it
    /// takes its name: a file under that name is a whole backup. Credentials in it are encrypted as in the store. `store.work` tells
    /// how far it is. One that ends early, by an error or because the kit is closed, leaves no file.
    ///
    /// Errors: `AlreadyExists` when there is a file; `NotFound` when there is no such directory; `PermissionDenied`; `StoreFull`;
    /// `StoreCorrupt` when the store is damaged; `Unsupported` by a store in memory.
    #[operation(change)]
    pub async fn back_up(&self, path: &str) -> Result<Backup> {
        const OP: &str = "store.back_up";
        let back_up = async {
            if path.trim().is_empty() {
                return Err(Error::invalid(OP, "path", "must name a file"));
            }
            let shared = self.shared(OP)?;
            let listed = shared.under_way.begin(OP, shared.clock.now());
            shared.store.back_up(Path::new(path), &listed.work.progress).await.map_err(|e| e.during(OP))
        };
        self.engine.in_context(OP, back_up).await
    }

    /// Reads the whole store, and returns what is wrong with its file. Others go on writing meanwhile; `store.work` tells how far it is.
    ///
    /// Errors: `Unsupported` by a store in memory.
    #[operation(read)]
    pub async fn check(&self) -> Result<StoreCheck> {
        const OP: &str = "store.check";
        let shared = self.shared(OP)?;
        let listed = shared.under_way.begin(OP, shared.clock.now());
        shared.store.check(&listed.work.progress).await.map_err(|e| e.during(OP))
    }

    /// Changes the passphrase that the store is encrypted under, while this process and others use it: they go on. A call that is made
    /// again has nothing to do.
    ///
    /// First give every process both for its next start, as `passphrase` and `previous_passphrase`: so each opens the store, whichever
    /// it has then. Backups keep the passphrase that they were made under.
    ///
    /// Errors: `PassphraseWrong`; `InvalidInput` about `passphrase`; `Unsupported` by a store that is not encrypted, or in memory.
    #[operation(change)]
    pub async fn change_passphrase(&self, previous: Secret, passphrase: Secret) -> Result<()> {
        const OP: &str = "store.change_passphrase";
        if passphrase.expose().is_empty() {
            return Err(Error::invalid(OP, "passphrase", "must not be empty"));
        }
        let engine = self.engine.clone();
        // To its end: who has given up waiting would not know which one it is now.
        let change = async move {
            let shared = &engine.shared;
            shared.open(OP)?;
            shared.store.change_passphrase(&previous, &passphrase).await.map_err(|e| e.during(OP))?;
            let subject = EventSubject::Settings("passphrase".to_owned());
            let event = NewEvent { kind: EventKind::SettingsChanged, subject, detail: String::new() };
            shared.store.commit(shared.txn([StoreOp::Emit(event)])).await.map(drop).map_err(|e| e.during(OP))
        };
        self.engine.run_to_completion(OP, change).await
    }

    /// Returns the backups and checks that this process is doing, the oldest first: for a bar of progress.
    #[operation(read)]
    pub async fn work(&self) -> Result<Vec<StoreWork>> {
        let shared = self.shared("store.work")?;
        let all = shared.under_way.lock();
        let told = all.iter().map(|work| StoreWork {
            operation: work.operation.to_owned(),
            done: work.progress.done().min(work.progress.total()),
            total: work.progress.total(),
            since: work.since,
        });
        Ok(told.collect())
    }
}

impl StoreView {
    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}
