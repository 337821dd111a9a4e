//! Writes every generated file: `make generate`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, text) in vpnkit_bindings::surface() {
        std::fs::write(repository.join(path), text)?;
    }
    Ok(())
}
