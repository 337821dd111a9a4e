//! Ports that nobody listens on.

use std::net::TcpListener;

/// So many different free ports of 127.0.0.1. All are held until all are found.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
    std::array::from_fn(|i| held[i].local_addr().unwrap().port())
}
