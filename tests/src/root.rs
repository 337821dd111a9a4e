//! Tests that need root: namespaces, file systems, capabilities of their own.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;

/// Returns whether this process is root. If it is not, the test is written into `target/left-out.txt`, which `make test` shows in
/// the end: what did not run is seen.
pub fn is_root(test: &str) -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|this| this.uid() == 0);
    if !root {
        eprintln!("{test}: left out, it needs root");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/left-out.txt");
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{test}");
        }
    }
    root
}
