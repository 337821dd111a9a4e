//! The described surface: committed as it is made, and whole.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;

use vpnkit::operation;

#[test]
fn the_committed_surface_is_the_facade_s() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, made) in vpnkit_bindings::surface() {
        let committed = std::fs::read_to_string(repository.join(path)).unwrap_or_default();
        assert!(committed == made, "{path} is stale: run `make generate` and commit what it writes");
    }
}

#[test]
fn every_operation_is_described() {
    let mut names = BTreeSet::new();
    for operation in operation::all() {
        assert!(names.insert(operation.name), "{} is there twice", operation.name);
        let summary = operation.docs.lines().next().unwrap_or_default();
        assert!(summary.ends_with(['.', ',']) || summary.len() > 40, "{}: {summary:?}", operation.name);
        // A change is made on somebody's behalf.
        assert!(!operation.changes || operation.needs_actor, "{}", operation.name);
    }
    assert!(names.len() >= 45, "{names:?}");
}

#[test]
fn the_errors_of_an_operation_are_those_that_its_documentation_names() {
    let codes =
        |name| operation::named(name).unwrap().errors().iter().map(|k| k.code()).collect::<BTreeSet<_>>();
    assert_eq!(
        codes("keys.update"),
        BTreeSet::from(["not_found", "conflict", "invalid_input", "already_exists", "idempotency_mismatch"])
    );
    assert_eq!(codes("kit.now".trim_start_matches("kit.")), BTreeSet::new());
}
