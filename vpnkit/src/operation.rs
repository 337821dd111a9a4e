//! The facade's methods as data: what can be called by name, with JSON arguments.

use vpnkit_core::{Error, ErrorKind, Result};
pub use vpnkit_engine::operation::{Answer, Call, Operation, OperationSchema, Parameter, Running, read};

use crate::Servers;

/// Returns every operation.
#[must_use]
pub fn all() -> Vec<&'static Operation> {
    let mut all = Operation::all();
    // Beside the others of its noun.
    let place =
        all.iter().rposition(|operation| operation.name.starts_with("servers.")).map_or(0, |last| last + 1);
    all.splice(place..place, Servers::OPERATIONS);
    all
}

/// Finds an operation by its name.
///
/// Errors: `Unsupported`.
///
/// ```
/// use vpnkit::operation;
/// assert!(operation::named("servers.add")?.changes);
/// assert!(operation::named("servers.steal").is_err());
/// # Ok::<(), vpnkit::Error>(())
/// ```
pub fn named(name: &str) -> Result<&'static Operation> {
    if let Some(own) = Servers::OPERATIONS.iter().find(|operation| operation.name == name) {
        return Ok(own);
    }
    Operation::named(name)
        .map_err(|_| Error::new(ErrorKind::Unsupported, "call", "no such operation").with("name", name))
}

/// Returns the schemas of an operation.
///
/// ```
/// use vpnkit::operation;
/// for one in operation::all() {
///     assert!(operation::schema(one).is_some(), "{}", one.name);
/// }
/// ```
#[must_use]
pub fn schema(operation: &Operation) -> Option<&'static OperationSchema> {
    let own = Servers::SCHEMAS.iter().find(|schema| schema.name == operation.name);
    own.or_else(|| operation.schema())
}
