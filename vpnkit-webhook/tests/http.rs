//! What is sent, over a real socket.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking")]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vpnkit_core::ErrorKind;
use vpnkit_engine::webhook::{WebhookRequest, WebhookSender as _};
use vpnkit_webhook::HttpSender;

/// Answers one request with a text; returns its port, and what it was sent.
async fn receiver(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4_096]);
        while !text.ends_with("{\"a\":1}") {
            let read = socket.read(&mut buffer).await.unwrap();
            text += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        socket.write_all(answer.as_bytes()).await.unwrap();
        text
    });
    (port, task)
}

fn request(url: String) -> WebhookRequest {
    WebhookRequest { url, headers: vec![("webhook-id", "evt_1".into())], body: "{\"a\":1}".into() }
}

#[tokio::test]
async fn a_request_is_sent_and_its_answer_understood() {
    let sender = HttpSender::new(true).unwrap();
    let (port, task) = receiver("HTTP/1.1 503 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
    let answer = sender.send(request(format!("http://localhost:{port}/hook"))).await.unwrap();
    assert_eq!((answer.status, answer.retry_after), (503, Some(Duration::from_secs(7))));
    let sent = task.await.unwrap().to_lowercase();
    assert!(sent.starts_with("post /hook http/1.1\r\n") && sent.contains("webhook-id: evt_1\r\n"), "{sent}");
    // A redirect is an answer like any other: it is not followed.
    let (port, task) =
        receiver("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
            .await;
    assert_eq!(sender.send(request(format!("http://127.0.0.1:{port}"))).await.unwrap().status, 302);
    task.await.unwrap();
}

#[tokio::test]
async fn private_addresses_are_refused_by_number_and_by_name() {
    let sender = HttpSender::new(false).unwrap();
    let private = [
        "http://127.0.0.1:1",
        "http://[::1]",
        "http://2130706433",
        "http://0x7f.1",
        "https://10.0.0.1",
        "http://[::ffff:a00:1]",
    ];
    for url in private {
        let refused = sender.check("webhooks.create", url).unwrap_err();
        assert_eq!((refused.kind(), refused.get("field")), (ErrorKind::InvalidInput, Some("url")), "{url}");
        assert!(sender.send(request(url.into())).await.is_err());
    }
    for url in ["ftp://a.example", "http://user:secret@a.example", "nonsense", "http://"] {
        assert_eq!(sender.check("webhooks.create", url).unwrap_err().get("field"), Some("url"), "{url}");
    }
    assert!(sender.check("webhooks.create", "https://shop.example/events?x=1").is_ok());
    // A name is looked up when it is sent to.
    let (port, task) = receiver("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let refused = sender.send(request(format!("http://localhost:{port}"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(!task.is_finished());
    // Nobody there.
    let open = HttpSender::new(true).unwrap();
    let nobody = open.send(request("http://127.0.0.1:1".into())).await.unwrap_err();
    assert_eq!((nobody.kind(), nobody.message()), (ErrorKind::Unavailable, "the receiver cannot be reached"));
}
