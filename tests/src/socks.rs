//! Using a site through a client's SOCKS port.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Certificate, Site};

/// How long a site may take to answer through a tunnel.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one of several attempts may take.
const ATTEMPT: Duration = Duration::from_secs(7);

/// A stream to a site, through a tunnel or not.
pub trait Transfer: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transfer for T {}

/// A SOCKS5 proxy.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// Where it listens.
    pub proxy: SocketAddr,
}

impl Tunnel {
    /// Connects to an address behind the proxy. The proxy says yes before it knows: only an answer is a proof.
    async fn connect(self, target: SocketAddr) -> io::Result<TcpStream> {
        self.connect_to(&target.ip().to_string(), target.port()).await
    }

    /// The same with an address, or a name that the server resolves.
    pub async fn connect_to(self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.proxy).await?;
        stream.write_all(&[5, 1, 0]).await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        let mut request = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                request.push(4);
                request.extend(ip.octets());
            }
            Err(_) => {
                request.extend([3, u8::try_from(host.len()).map_err(io::Error::other)?]);
                request.extend(host.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        stream.write_all(&request).await?;
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).await?;
        match answer[1] {
            0 => Ok(stream),
            code => Err(io::Error::other(format!("socks answer {code}"))),
        }
    }

    /// Opens a stream, with TLS inside when the site's certificate is given.
    pub async fn open(self, target: SocketAddr, tls: Option<&Certificate>) -> io::Result<Box<dyn Transfer>> {
        let stream = self.connect(target).await?;
        let Some(certificate) = tls else { return Ok(Box::new(stream)) };
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("site.test").map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// Downloads so many bytes; the bytes of the body that came.
    pub async fn download(self, site: &Site, bytes: usize) -> io::Result<usize> {
        let work = async {
            let mut stream = self.open(site.address, None).await?;
            get(&mut stream, &format!("/bytes/{bytes}")).await?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            // By length: not every protocol tells the other side that a stream has ended.
            let mut body = stream.take(u64::try_from(bytes).map_err(io::Error::other)?);
            let came = tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
            usize::try_from(came).map_err(io::Error::other)
        };
        tokio::time::timeout(PATIENCE * 4, work).await?
    }

    /// Uploads so many bytes.
    pub async fn upload(self, site: &Site, bytes: usize) -> io::Result<()> {
        let work = async {
            let mut stream = self.open(site.address, None).await?;
            let head = format!("POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&vec![0x5a; bytes]).await?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await?;
            match &answer == b"HTTP/1.1 200" {
                true => Ok(()),
                false => Err(io::Error::other("not the answer")),
            }
        };
        tokio::time::timeout(PATIENCE * 4, work).await?
    }

    /// Whether a new connection reaches the site: one of three, because Xray may never answer a connection that
    /// comes while a new REALITY inbound still looks at its destination.
    pub async fn connects(self, site: &Site) -> bool {
        for _ in 0..3 {
            let attempt = tokio::time::timeout(ATTEMPT, self.download(site, 100)).await;
            if attempt.is_ok_and(|got| got.is_ok_and(|n| n == 100)) {
                return true;
            }
        }
        false
    }
}

/// Asks for a path.
pub async fn get(stream: &mut (dyn Transfer + '_), path: &str) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n").as_bytes()).await?;
    stream.flush().await
}
