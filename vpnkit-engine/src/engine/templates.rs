//! Templates: what keys are made of again and again.

use vpnkit_macros::operations;

use super::{Engine, Shared};
use vpnkit_core::model::{CreateKey, Extension, KeyTemplate};
use vpnkit_core::{Error, ErrorKind, Result, Timestamp};

/// Keeps the products of a shop: templates that keys are created and extended with, in every process that uses the store.
#[derive(Clone, Debug)]
pub struct KeyTemplates {
    pub(super) engine: Engine,
}

/// The most templates of a store: all of them are held in memory.
const TEMPLATES_MAX: usize = 1_000;

#[operations(noun = "templates", handle = Engine::templates)]
impl KeyTemplates {
    /// Makes sure that a template exists as described: adds it, replaces the one of its name, or does nothing. Keys that were made of
    /// it stay as they are.
    ///
    /// Errors: `InvalidInput` with the `field`; `LimitReached` when there are 1,000 others.
    #[operation(change, dry_run)]
    pub async fn ensure(&self, #[arg(record)] template: KeyTemplate) -> Result<KeyTemplate> {
        const OP: &str = "templates.ensure";
        let put = async {
            let shared = self.shared(OP)?;
            template.validate(OP)?;
            let cache = shared.reload().await.map_err(|e| e.during(OP))?;
            let others = cache.key_templates.keys().filter(|name| **name != template.name).count();
            if others >= TEMPLATES_MAX {
                return Err(Error::new(ErrorKind::LimitReached, OP, "there are 1000 templates already"));
            }
            shared.put_key_template(OP, &template.name, Some(&template)).await?;
            Ok(template.clone())
        };
        self.engine.in_context(OP, put).await
    }

    /// Returns the template, or `None`.
    #[operation(read, own)]
    pub async fn get(&self, name: &str) -> Result<Option<KeyTemplate>> {
        const OP: &str = "templates.get";
        let shared = self.shared(OP)?;
        let cache = shared.refreshed(shared.known_revision()).await.map_err(|e| e.during(OP))?;
        Ok(cache.key_templates.get(name).filter(|template| Shared::may_sell(template)).cloned())
    }

    /// Returns all templates, sorted by name.
    #[operation(read, own)]
    pub async fn list(&self) -> Result<Vec<KeyTemplate>> {
        const OP: &str = "templates.list";
        let shared = self.shared(OP)?;
        let cache = shared.refreshed(shared.known_revision()).await.map_err(|e| e.during(OP))?;
        Ok(cache.key_templates.values().filter(|template| Shared::may_sell(template)).cloned().collect())
    }

    /// Removes a template. Keys that were made of it stay as they are.
    ///
    /// Errors: `NotFound`.
    #[operation(change, dry_run)]
    pub async fn remove(&self, name: &str) -> Result<()> {
        const OP: &str = "templates.remove";
        let remove = async {
            let shared = self.shared(OP)?;
            let cache = shared.reload().await.map_err(|e| e.during(OP))?;
            if !cache.key_templates.contains_key(name) {
                return Err(no_template(OP, name));
            }
            shared.put_key_template(OP, name, None).await
        };
        self.engine.in_context(OP, remove).await
    }

    fn shared(&self, operation: &'static str) -> Result<&Shared> {
        self.engine.shared.open(operation)?;
        Ok(&self.engine.shared)
    }
}

fn no_template(op: &'static str, name: &str) -> Error {
    Error::new(ErrorKind::NotFound, op, "no such template").with("field", "template").with("template", name)
}

impl Shared {
    /// The template of a name, as the store has it now.
    async fn template(&self, op: &'static str, name: &str) -> Result<KeyTemplate> {
        let cache = self.refreshed(self.known_revision()).await.map_err(|e| e.during(op))?;
        cache.key_templates.get(name).cloned().ok_or_else(|| no_template(op, name))
    }

    /// Fills in what a template says of a key that is created.
    pub(super) async fn made_of_template(
        &self,
        op: &'static str,
        request: CreateKey,
        now: Timestamp,
    ) -> Result<CreateKey> {
        match &request.template {
            Some(name) => Ok(self.template(op, name).await?.create(request, now)),
            None => Ok(request),
        }
    }

    /// Fills in what a template says of an extension.
    pub(super) async fn extended_by_template(
        &self,
        op: &'static str,
        extension: Extension,
    ) -> Result<Extension> {
        match &extension.template {
            Some(name) => Ok(self.template(op, name).await?.extend(extension)),
            None => Ok(extension),
        }
    }
}
