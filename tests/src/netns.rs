//! Network namespaces of the test's own.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server's and two clients' namespaces, joined by veth. Nothing has a default route: no packet leaves.
#[derive(Debug)]
pub struct Namespaces {
    /// The server's; reached at 10.99.1.1 and 10.99.2.1.
    pub server: String,
    /// Two clients', at 10.99.1.2 and 10.99.2.2.
    pub clients: [String; 2],
}

impl Namespaces {
    /// Makes them; needs root.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("vk{}-{number}{role}", std::process::id());
        let all = Self { server: name("s"), clients: [name("c"), name("d")] };
        for namespace in [&all.server, &all.clients[0], &all.clients[1]] {
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        for (i, client) in all.clients.iter().enumerate() {
            let (net, server) = (i + 1, &all.server);
            run(&format!("ip link add vk{net} netns {server} type veth peer name eth0 netns {client}"));
            run(&format!("ip -n {server} addr add 10.99.{net}.1/24 dev vk{net}"));
            run(&format!("ip -n {server} link set vk{net} up"));
            run(&format!("ip -n {client} addr add 10.99.{net}.2/24 dev eth0"));
            run(&format!("ip -n {client} link set eth0 up"));
        }
        all
    }
}

impl Default for Namespaces {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.clients[0], &self.clients[1]] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
    assert!(status.success(), "{line}");
}

/// Runs the named test of this binary again inside the server's namespace; the clients' in the run that is inside. Without
/// root the test is left out.
pub fn inside(test: &str) -> Option<[String; 2]> {
    const CLIENTS: &str = "VPNKIT_TEST_CLIENT_NAMESPACES";
    if let Ok(clients) = std::env::var(CLIENTS) {
        let mut clients = clients.split(',').map(str::to_owned);
        return Some([clients.next().unwrap(), clients.next().unwrap()]);
    }
    if !crate::is_root(test) {
        return None;
    }
    let namespaces = Namespaces::new();
    let status = Command::new("ip")
        .args(["netns", "exec", &namespaces.server])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CLIENTS, namespaces.clients.join(","))
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its network namespace");
    None
}
