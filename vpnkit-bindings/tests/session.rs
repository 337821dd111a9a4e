//! What both bindings stand on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use vpnkit::{Cursor, ErrorKind};
use vpnkit_bindings::{Answer, Request, Runtime, Session, record};

const MEMORY: &str = r#"{"store": "memory:"}"#;
const GRACE: Duration = Duration::from_secs(5);

fn open(runtime: &Runtime) -> Arc<Session> {
    let session = Session::open(runtime.clone(), MEMORY.to_owned(), false);
    Arc::new(runtime.block_on("open", session).unwrap().unwrap())
}

fn call(session: &Session, operation: &str, arguments: &str) -> vpnkit::Result<Answer> {
    let request = Request::named(operation)?.read(arguments)?;
    session.runtime().block_on("call", session.call(request, &vpnkit::CallContext::default()))?
}

#[test]
fn faults_name_the_field_and_not_the_value() {
    for (operation, arguments, field) in [
        ("keys.create", r#"{"request": {"name": 5}}"#, "name"),
        ("keys.create", r#"{"request": {"data_limit": "5 apples"}}"#, "data_limit"),
        ("keys.create", r#"{"request": {"expires_in": 30}}"#, "expires_in"),
        ("keys.create", r#"{"request": {"expires_at": "tomorrow"}}"#, "expires_at"),
        ("keys.update", r#"{"key": 1, "patch": {"name": "a b"}}"#, "name"),
        ("keys.update", r#"{"key": 1, "patch": {"data_limit": "x"}}"#, "data_limit"),
        ("keys.create_many", r#"{"requests": [{}, {"data_limit": "x"}]}"#, "requests[1].data_limit"),
        ("keys.get", r#"{"key": "uid:x"}"#, "key"),
        ("inbounds.get", r#"{"node": "main", "tag": "a b"}"#, "tag"),
        ("servers.log", r#"{"id": "main/xray", "lines": -1}"#, "lines"),
    ] {
        let error = Request::named(operation).unwrap().read(arguments).unwrap_err();
        assert_eq!((error.kind(), error.get("field")), (ErrorKind::InvalidInput, Some(field)), "{arguments}");
        assert_eq!(error.operation(), operation);
    }
    let secret = r#"{"key": 1, "patch": {"credentials": {"protocol": "trojan", "secret": "hunter2"}}}"#;
    let error = Request::named("keys.update").unwrap().read(secret).unwrap_err();
    assert!(!record(&error).contains("hunter2"), "{error:?}");
}

#[test]
fn an_error_becomes_a_record() {
    let runtime = Runtime::new().unwrap();
    let session = open(&runtime);
    let error = call(&session, "keys.require", r#"{"key": "bob"}"#).unwrap_err();
    let record: serde_json::Value = serde_json::from_str(&record(&error)).unwrap();
    assert_eq!(record["code"], "not_found");
    assert_eq!(record["context"]["key"], "name:bob");
    assert_eq!(record["retryable"], false);
    let error = Request::named("keys.steal").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn large_numbers_survive_json() {
    let runtime = Runtime::new().unwrap();
    let session = open(&runtime);
    let arguments = format!(r#"{{"request": {{"data_limit": {}}}}}"#, i64::MAX);
    let made = call(&session, "keys.create", &arguments).unwrap();
    let key: serde_json::Value = serde_json::from_str(&made.to_json()).unwrap();
    assert_eq!(key["data_limit"], i64::MAX);
    let read = call(&session, "events.read", r#"{"after": 0}"#).unwrap();
    assert_eq!(read.downcast::<vpnkit::EventBatch>().unwrap().events.len(), 1);
}

#[test]
fn after_its_end_a_runtime_answers_closed() {
    let runtime = Runtime::new().unwrap();
    let session = open(&runtime);
    let pump = Arc::new(session.events(&vpnkit::CallContext::default(), Cursor::START).unwrap());
    let waiting = std::thread::spawn({
        let (runtime, pump) = (runtime.clone(), Arc::clone(&pump));
        move || runtime.block_on("events.stream", pump.next(10)).unwrap().unwrap()
    });
    runtime.block_on("close", session.close()).unwrap().unwrap();
    assert!(waiting.join().unwrap().is_empty());
    runtime.shut_down(GRACE);
    let error = call(&session, "keys.get", r#"{"key": 1}"#).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    runtime.shut_down(GRACE);
}

#[test]
fn a_closing_runtime_waits_for_whoever_is_inside() {
    for _ in 0..20 {
        let runtime = Runtime::new().unwrap();
        let session = open(&runtime);
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let session = Arc::clone(&session);
                std::thread::spawn(move || {
                    loop {
                        match call(&session, "keys.create", "{}") {
                            Ok(_) => {}
                            Err(e) => return e.kind(),
                        }
                    }
                })
            })
            .collect();
        runtime.block_on("close", session.close()).unwrap().unwrap();
        runtime.shut_down(GRACE);
        for caller in callers {
            assert_eq!(caller.join().unwrap(), ErrorKind::Closed);
        }
    }
}

#[test]
fn a_session_may_end_in_a_light_call() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!(r#"{{"store": "sqlite:{}"}}"#, directory.path().join("keys.db").display());
    for _ in 0..30 {
        let runtime = Runtime::new().unwrap();
        let session = Session::open(runtime.clone(), config.clone(), false);
        let session = runtime.block_on("open", session).unwrap().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        // The last owner of both: they are dropped on the store's own thread.
        let handle = runtime.clone();
        runtime.spawn_inline(async move {
            let request = Request::named("keys.get").unwrap().read(r#"{"key": 1}"#).unwrap();
            let answer = session.call(request, &vpnkit::CallContext::default()).await;
            drop((session, handle));
            tell.send(answer.is_ok()).unwrap();
        });
        drop(runtime);
        assert!(told.recv_timeout(Duration::from_secs(60)).unwrap());
    }
}
