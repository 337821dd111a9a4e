//! Fuzzing on a stable toolchain: what is in a corpus is changed at random, and must not panic what reads it.
//!
//! What panics is written into the corpus, where every later run tries it first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use vpnkit::{Clock as _, SystemClock};

/// A generator of numbers (SplitMix64): the same seed, the same run.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// What readers stumble over.
const SPICE: &[&str] = &[
    "\0",
    "\u{feff}",
    "\u{202e}",
    "🇩🇪",
    "é",
    "\r\n",
    "\"",
    "\\",
    "{{",
    "}}",
    "{%",
    "%}",
    "%00",
    "../",
    "::",
    "/",
    "-1",
    "0",
    "9223372036854775808",
    "18446744073709551616",
    "1e400",
    "NaN",
    "null",
    "[[[[",
    "{\"a\":",
    "999999999999 days",
    "P1Y",
    "0.0.0.0/0",
    "fe80::1%eth0",
    "\u{10ffff}",
];

/// Changes an entry of the corpus, a few times.
fn change(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let place = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if place < bytes.len() => bytes[place] ^= 1 << random.below(8),
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 => bytes.insert(place, u8::try_from(random.below(256)).unwrap()),
            3 => drop(bytes.splice(place..place, SPICE[random.below(SPICE.len())].bytes())),
            4 => bytes.truncate(place),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                bytes.truncate(place);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let part = bytes[..place].to_vec();
                bytes.extend(part.iter().cycle().take(part.len().min(64) * random.below(40)));
            }
        }
        bytes.truncate(16 * 1024);
    }
    bytes
}

/// For how long each target is tried: `VPNKIT_FUZZ_SECONDS`, or 2 seconds.
fn patience() -> Duration {
    let seconds = std::env::var("VPNKIT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// Tries a reader of bytes from strangers with everything in `tests/corpus/NAME`, and then with changes of it.
pub fn fuzz(name: &str, read: impl Fn(&[u8])) {
    let directory: PathBuf = crate::repository().join("tests/corpus").join(name);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} has nothing to begin with", directory.display());
    for (file, bytes) in files.iter().zip(&corpus) {
        let outcome = catch_unwind(AssertUnwindSafe(|| read(bytes)));
        assert!(outcome.is_ok(), "{} panics", file.display());
    }
    let now = u64::try_from(SystemClock.now().as_millis()).unwrap();
    let seed = now ^ u64::from(std::process::id());
    let mut random = Random(std::env::var("VPNKIT_FUZZ_SEED").map_or(seed, |seed| seed.parse().unwrap()));
    let (begun, seed) = (Instant::now(), random.0);
    let mut tries = 0u64;
    while begun.elapsed() < patience() {
        let bytes = change(&mut random, &corpus);
        if catch_unwind(AssertUnwindSafe(|| read(&bytes))).is_err() {
            let file = directory.join(format!("panics-{:016x}", random.0));
            std::fs::write(&file, &bytes).unwrap();
            panic!("{name} panics on {} (seed {seed})", file.display());
        }
        tries += 1;
    }
    eprintln!("{name}: {tries} tries, seed {seed}");
}
