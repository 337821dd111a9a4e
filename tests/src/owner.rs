//! Another process that has the store open.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::oneshot;

use crate::within;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, Value>>>>>;

/// A process that has opened a kit and does what it is told. It is killed when this is dropped.
#[derive(Debug)]
pub struct Owner {
    child: Child,
    input: Option<tokio::sync::Mutex<ChildStdin>>,
    waiting: Waiting,
    newest: AtomicU64,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Owner {
    /// Starts `program drive CONFIG` and waits until it has opened.
    pub async fn start(program: &str, config: &Value) -> Self {
        let mut child = Command::new(program)
            .args(["drive", &config.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = within("a process opens", PATIENCE, lines.next_line()).await.unwrap();
        assert_eq!(ready.as_deref(), Some("ready"));
        let waiting = Waiting::default();
        let answered = Arc::clone(&waiting);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let (id, value, error): (u64, Value, Value) = serde_json::from_str(&line).unwrap();
                if let Some(waiter) = answered.lock().unwrap().remove(&id) {
                    let _ = waiter.send(if error.is_null() { Ok(value) } else { Err(error) });
                }
            }
            answered.lock().unwrap().clear();
        });
        let input = child.stdin.take().map(tokio::sync::Mutex::new);
        Self { child, input, waiting, newest: AtomicU64::new(0) }
    }

    /// Calls an operation; an error of it is JSON too, and so is the end of the process.
    pub async fn call(&self, name: &str, arguments: Value) -> Result<Value, Value> {
        let answered = self.call_later(name, arguments).await;
        within(name, PATIENCE, answered).await.unwrap_or_else(|_| Err(json!("gone")))
    }

    /// Calls an operation and does not wait for it.
    pub async fn call_later(&self, name: &str, arguments: Value) -> oneshot::Receiver<Result<Value, Value>> {
        let id = self.newest.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        let line = format!("{}\n", json!([id, name, arguments]));
        let mut input = self.input.as_ref().unwrap().lock().await;
        if input.write_all(line.as_bytes()).await.is_err() {
            self.waiting.lock().unwrap().remove(&id);
        }
        answered
    }

    /// Calls an operation that succeeds.
    pub async fn ok(&self, name: &str, arguments: Value) -> Value {
        self.call(name, arguments).await.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Kills it, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Closes it in order.
    pub async fn close(mut self) {
        drop(self.input.take());
        let status = within("a process closes", PATIENCE, self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}
