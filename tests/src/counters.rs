//! Counters that outlive their reader: kept by the test, read over a socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use vpnkit::traffic::{Counter, Epoch, OnlineKey, Reading, TrafficSource};
use vpnkit::{DeviceName, Error, ErrorKind, KeyId, NodeId, Result, ServerId, Traffic};
use vpnkit_core::async_trait;

/// The test's side: counters of keys 1 to n that grow at every reading.
#[derive(Clone, Debug)]
pub struct CounterServer {
    /// Bytes so far, by key from 1 on.
    pub counters: Arc<Mutex<Vec<Traffic>>>,
}

impl CounterServer {
    /// Serves on a socket file.
    pub fn start(socket: &Path, keys: usize) -> Self {
        let counters = Arc::new(Mutex::new(vec![Traffic::default(); keys]));
        let listener = UnixListener::bind(socket).unwrap();
        let served = Arc::clone(&counters);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let text = {
                    let mut counters = served.lock().unwrap();
                    for (i, traffic) in counters.iter_mut().enumerate() {
                        let step = u64::try_from(i).unwrap();
                        *traffic = traffic.plus(Traffic { up: step * 3 + 1, down: step * 7 + 2 });
                    }
                    counters.iter().map(|t| format!("{} {}\n", t.up, t.down)).collect::<String>()
                };
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Self { counters }
    }
}

/// The reader's side.
#[derive(Debug)]
pub struct CounterClient {
    socket: PathBuf,
    server: ServerId,
}

impl CounterClient {
    /// Reads from a socket file.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), server: ServerId::new(&NodeId::main(), "fake") }
    }
}

#[async_trait]
impl TrafficSource for CounterClient {
    fn server(&self) -> &ServerId {
        &self.server
    }

    async fn read(&self, _last: Option<Epoch>) -> Result<Reading> {
        let fault =
            |e: std::io::Error| Error::new(ErrorKind::Unavailable, "fake.read", "no answer").caused_by(e);
        let mut stream = UnixStream::connect(&self.socket).await.map_err(fault)?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(fault)?;
        let counters = text.lines().zip(1..).map(|(line, key)| {
            let (up, down) = line.split_once(' ').unwrap();
            Counter::of(KeyId(key), Traffic { up: up.parse().unwrap(), down: down.parse().unwrap() })
        });
        let epoch = Epoch { id: "one".into(), evidence: String::new() };
        Ok(Reading { epoch, counters: counters.collect(), foreign: 0 })
    }

    async fn read_keys(&self, epoch: &Epoch, accounts: &[(KeyId, DeviceName)]) -> Result<Option<Reading>> {
        let mut reading = self.read(Some(epoch.clone())).await?;
        reading.counters.retain(|counter| accounts.iter().any(|(key, _)| *key == counter.key));
        Ok(Some(reading))
    }

    async fn online(&self) -> Result<Vec<OnlineKey>> {
        Ok(Vec::new())
    }

    async fn online_key(&self, _key: KeyId) -> Result<Option<OnlineKey>> {
        Ok(None)
    }
}
