//! Writes the files of `vpnkit-bindings/surface`: `make generate`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("surface");
    for (name, text) in vpnkit_bindings::surface() {
        std::fs::write(directory.join(name), text)?;
    }
    Ok(())
}
