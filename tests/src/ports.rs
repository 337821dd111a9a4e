//! Ports that nobody listens on.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections, so that none of them gets in between.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// So many different free ports of 127.0.0.1; none is given twice by one process.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let start = u16::try_from(std::process::id() * 131 % u32::from(COUNT)).unwrap();
    std::array::from_fn(|_| {
        loop {
            let place = u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let port = FIRST + u16::try_from(place % u32::from(COUNT)).unwrap();
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}
