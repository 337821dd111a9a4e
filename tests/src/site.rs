//! A web site: plain, or with TLS 1.3, which also serves as the destination of REALITY.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::Digest as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A self-signed certificate in files.
#[derive(Debug)]
pub struct Certificate {
    /// PEM certificate.
    pub certificate_file: PathBuf,
    /// PEM key.
    pub key_file: PathBuf,
    /// SHA-256 in hex, to pin.
    pub sha256: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    _directory: tempfile::TempDir,
}

impl Certificate {
    /// A new one for this name.
    pub fn new(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (certificate_file, key_file) =
            (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        let key_pem = made.signing_key.serialize_pem();
        std::fs::write(&certificate_file, made.cert.pem()).unwrap();
        std::fs::write(&key_file, &key_pem).unwrap();
        let der = made.cert.der().clone();
        let sha256 = sha2::Sha256::digest(&der).iter().map(|b| format!("{b:02x}")).collect();
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
        Self { certificate_file, key_file, sha256, der, key, _directory: directory }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.der.clone()
    }

    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], self.key.clone_key())
            .unwrap();
        Arc::new(config)
    }
}

/// `GET /bytes/N` answers N bytes, `GET /endless` never ends, `POST` takes whatever comes.
#[derive(Debug)]
pub struct Site {
    /// Where it listens.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Site {
    /// Without TLS on 127.0.0.1.
    pub async fn plain() -> Self {
        Self::plain_at([127, 0, 0, 1]).await
    }

    /// Without TLS on an address of this machine. Not every tunnel lets loopback addresses through.
    pub async fn plain_at(address: [u8; 4]) -> Self {
        Self::start(address, None, Duration::from_secs(60)).await
    }

    /// With TLS 1.3 on 127.0.0.1.
    pub async fn tls(certificate: &Certificate) -> Self {
        Self::start([127, 0, 0, 1], Some(certificate), Duration::from_secs(60)).await
    }

    /// A destination of REALITY: TLS 1.3, connections side by side, and quick to hang up on who says nothing.
    /// A new REALITY inbound first listens to its destination until that hangs up, and keeps its first clients
    /// waiting meanwhile: up to 5 s.
    pub async fn destination(certificate: &Certificate) -> Self {
        Self::start([127, 0, 0, 1], Some(certificate), Duration::from_millis(200)).await
    }

    async fn start(address: [u8; 4], certificate: Option<&Certificate>, patience: Duration) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::from(address), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = certificate.map(|certificate| TlsAcceptor::from(certificate.server()));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, patience).await,
                        Some(acceptor) => match tokio::time::timeout(patience, acceptor.accept(stream)).await
                        {
                            Ok(Ok(stream)) => serve(stream, patience).await,
                            _ => Some(()),
                        },
                    }
                });
            }
        });
        Self { address, task }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request; `None` when the other side went away.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, patience: Duration) -> Option<()> {
    let mut head = vec![tokio::time::timeout(patience, stream.read_u8()).await.ok()?.ok()?];
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?, words.next()?);
    let block = vec![0x5a; 16 * 1024];
    if method == "POST" {
        let length =
            head.lines().find_map(|l| l.strip_prefix("Content-Length: "))?.trim().parse::<u64>().ok()?;
        let mut body = (&mut stream).take(length);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await.ok()?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.ok()?;
    } else if path == "/endless" {
        // A length that is never reached: a client that is cut off knows it.
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await.ok()?;
        loop {
            stream.write_all(&block).await.ok()?;
            // About 12 MB a second: fast enough to overrun, slow enough to watch.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    } else {
        let mut left: usize = path.strip_prefix("/bytes/")?.parse().ok()?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {left}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        while left > 0 {
            let now = left.min(block.len());
            stream.write_all(&block[..now]).await.ok()?;
            left -= now;
        }
    }
    stream.flush().await.ok()?;
    // The client hangs up: with XHTTP an end that comes right behind the data can overtake it inside Xray.
    let mut rest = tokio::io::sink();
    let hung_up = tokio::io::copy(&mut stream, &mut rest);
    let _ = tokio::time::timeout(Duration::from_secs(10), hung_up).await;
    stream.shutdown().await.ok()
}
