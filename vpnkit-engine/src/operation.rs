//! The facade's methods as data: what can be called by name, with JSON arguments.
//!
//! Each noun of the engine has a constant `OPERATIONS`, which the attribute `operations` makes from its methods. Bindings,
//! HTTP servers and the generator of other languages' code use nothing else.

use std::any::Any;
use std::pin::Pin;

use schemars::{Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Engine;
use vpnkit_core::{Error, ErrorKind, Result, Secret, read_json};

/// One operation.
#[derive(Debug)]
pub struct Operation {
    /// Noun and verb: `keys.create`.
    pub name: &'static str,
    /// The documentation of the method, in Markdown.
    pub docs: &'static str,
    /// Whether it changes something.
    pub changes: bool,
    /// Whether it is short enough to run on the thread that wakes it.
    pub inline: bool,
    /// Whether it can be tried: [`crate::engine::CallContext::dry_run`].
    pub dry_run: bool,
    /// Whether somebody has to be named on whose behalf it is done.
    pub needs_actor: bool,
    /// In whose name it may be called.
    pub access: Access,
    /// Its parameters, in the order of the method.
    pub parameters: &'static [Parameter],
    /// Reads arguments and makes the call.
    pub parse: fn(&str) -> Result<Call>,
}

/// The schemas of an operation.
#[derive(Debug)]
pub struct OperationSchema {
    /// [`Operation::name`].
    pub name: &'static str,
    /// Makes the JSON Schema of its arguments.
    pub arguments: fn(&mut SchemaGenerator) -> Schema,
    /// Makes the JSON Schema of its result.
    pub result: fn(&mut SchemaGenerator) -> Schema,
}

/// In whose name an operation may be called, apart from that of the application itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// In that of sudo.
    Sudo,
    /// In that of resellers, too: it does and shows what is their own.
    Own,
}

/// A noun, or the kit itself: what its operations are carried out by.
pub trait OnEngine {
    /// Returns the engine.
    fn engine(&self) -> &Engine;
}

impl OnEngine for Engine {
    fn engine(&self) -> &Engine {
        self
    }
}

/// Carries a call out if who calls may make it. Every operation begins here.
///
/// Errors: `PermissionDenied`.
pub async fn enter<T>(noun: &impl OnEngine, mark: Mark, call: impl Future<Output = Result<T>>) -> Result<T> {
    crate::engine::enter(noun.engine(), mark, call).await
}

/// What of an operation's description it is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// [`Operation::name`].
    pub name: &'static str,
    /// [`Operation::changes`].
    pub changes: bool,
    /// [`Operation::access`].
    pub access: Access,
}

impl Mark {
    /// Returns the noun of its name; empty for the kit itself.
    #[must_use]
    pub fn noun(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(noun, _)| noun)
    }
}

/// What the schema of the arguments does not say of a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// A record whose fields languages offer as arguments of their own.
    pub spread: bool,
    /// A record whose fields errors name without it.
    pub record: bool,
    /// Optional, and taken by its place.
    pub positional: bool,
}

/// A call that has not begun.
pub type Call = Box<dyn FnOnce(&Engine) -> Running + Send>;

/// A call that runs.
pub type Running = Pin<Box<dyn Future<Output = Result<Answer>> + Send>>;

impl Operation {
    /// Returns every operation of the engine; the facade has some of its own.
    #[must_use]
    pub fn all() -> Vec<&'static Self> {
        crate::engine::OPERATIONS.iter().copied().flatten().collect()
    }

    /// Finds an operation by its name.
    ///
    /// Errors: `Unsupported`.
    ///
    /// ```
    /// use vpnkit_engine::operation::Operation;
    /// let create = Operation::named("keys.create")?;
    /// assert!(create.changes);
    /// assert!(Operation::named("keys.steal").is_err());
    /// # Ok::<(), vpnkit_core::Error>(())
    /// ```
    pub fn named(name: &str) -> Result<&'static Self> {
        crate::engine::OPERATIONS
            .iter()
            .copied()
            .flatten()
            .find(|operation| operation.name == name)
            .ok_or_else(|| Error::new(ErrorKind::Unsupported, "call", "no such operation").with("name", name))
    }

    /// Returns its schemas.
    ///
    /// ```
    /// use schemars::SchemaGenerator;
    /// use vpnkit_engine::operation::Operation;
    /// let schemas = Operation::named("keys.create")?.schema().expect("every operation has them");
    /// let arguments = (schemas.arguments)(&mut SchemaGenerator::default());
    /// assert!(arguments.to_value().to_string().contains("request"));
    /// # Ok::<(), vpnkit_core::Error>(())
    /// ```
    #[must_use]
    pub fn schema(&self) -> Option<&'static OperationSchema> {
        crate::engine::SCHEMAS.iter().copied().flatten().find(|schema| schema.name == self.name)
    }

    /// Returns what it is judged by.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { name: self.name, changes: self.changes, access: self.access }
    }

    /// Returns the kinds of errors that its documentation promises: the names in backticks after `Errors:`.
    #[must_use]
    pub fn errors(&self) -> Vec<ErrorKind> {
        let promised = self.docs.split_once("Errors").map_or("", |(_, promised)| promised);
        ErrorKind::ALL.iter().copied().filter(|kind| promised.contains(&format!("`{kind:?}`"))).collect()
    }
}

trait Value: Any + Send {
    fn json(&self) -> serde_json::Result<String>;
    fn any(self: Box<Self>) -> Box<dyn Any + Send>;
    fn any_ref(&self) -> &dyn Any;
}

impl<T: Serialize + Any + Send> Value for T {
    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn any_ref(&self) -> &dyn Any {
        self
    }
}

/// What an operation returned.
pub struct Answer(Box<dyn Value>);

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

impl Answer {
    /// Takes a result in.
    pub fn new(value: impl Serialize + Any + Send) -> Self {
        Self(Box::new(value))
    }

    /// Returns the JSON of the result, with its secrets.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Nothing here fails to serialize: every key of a map is a string.
        Secret::reveal(|| self.0.json()).unwrap_or_default()
    }

    /// Returns the result itself; the answer again when it is of another type.
    pub fn downcast<T: Any>(self) -> Result<T, Self> {
        if !(*self.0).any_ref().is::<T>() {
            return Err(self);
        }
        match self.0.any().downcast() {
            Ok(value) => Ok(*value),
            Err(_) => unreachable!("its type was just looked at"),
        }
    }
}

/// Reads arguments. An error names the field as callers know it: of a record without the record's name.
pub fn read<T: DeserializeOwned>(operation: &'static str, parameters: &[Parameter], json: &str) -> Result<T> {
    read_json(json).map_err(|fault| {
        let records = parameters.iter().filter(|parameter| parameter.record);
        let inside = |parameter: &Parameter| {
            let rest = fault.path.strip_prefix(parameter.name)?;
            rest.strip_prefix('.')
        };
        let field = records.filter_map(inside).next().unwrap_or(&fault.path);
        Error::invalid(operation, field, fault.message.clone())
    })
}
