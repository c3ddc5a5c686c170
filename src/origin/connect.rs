//! TCP and TLS towards origins and key servers: the only file outside `server` that opens sockets.
//! In: an address from the configuration. Out: a stream, or the answer to one small request. Never: follows a redirect,
//! speaks to another host than the configured one, or skips the check of a certificate.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::net::RecvFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{OriginError, Phase};

/// Where to connect to.
#[derive(Clone, Debug)]
pub struct Address {
    /// Host name or address.
    pub host: Box<str>,
    /// Port.
    pub port: u16,
    /// TLS, where the URL says `https`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
}

impl Address {
    /// From an `http` or `https` URL. `roots` is a PEM file of certificate authorities in the place of the system's.
    /// A path is not judged here: whoever has use for one takes it from the URL.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the URL or the file.
    pub fn parse(url: &Uri, roots: Option<&Path>) -> Result<Self, String> {
        let secure = match url.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err("the URL must start with http:// or https://".to_owned()),
            None => return Err("the URL has no scheme: write http:// or https:// in front".to_owned()),
        };
        let authority = url.authority().ok_or("the URL has no host")?;
        if authority.as_str().contains('@') {
            return Err("the URL must not hold a user name or password".to_owned());
        }
        if url.query().is_some() {
            return Err("the URL must not hold a query".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("the URL has no host".to_owned());
        }
        let port = match authority.port() {
            Some(port) => port
                .as_str()
                .parse()
                .map_err(|_| "the URL's port is not a port number".to_owned())?,
            None if authority.as_str().ends_with(':') => return Err("the URL's port is empty".to_owned()),
            None => 80 + u16::from(secure) * (443 - 80),
        };
        if port == 0 {
            return Err("port 0 can't be connected to".to_owned());
        }
        if !secure && roots.is_some() {
            return Err("certificate authorities are of no use to an http:// URL".to_owned());
        }
        let tls = secure.then(|| client_config(roots)).transpose()?;
        if secure {
            ServerName::try_from(host).map_err(|_| "the URL's host is no name for TLS".to_owned())?;
        }
        Ok(Self {
            host: host.into(),
            port,
            tls,
        })
    }

    /// As it stands in `Host`: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        match (self.port, &self.tls) {
            (80, None) | (443, Some(_)) => host,
            (port, _) => format!("{host}:{port}"),
        }
    }

    /// Tries every address of the host in turn, then TLS, all within `limit`.
    ///
    /// # Errors
    /// `Connect` with the last address's error, or `Timeout`.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Stream, OriginError> {
        within(limit, async {
            let tcp = self.connect_tcp().await?;
            self.secure(tcp, self.tls.as_ref()).await
        })
        .await
    }

    /// As `connect`, to this one of its addresses, and with this TLS.
    ///
    /// # Errors
    /// `Connect`, or `Timeout`.
    pub(super) async fn connect_to(
        &self,
        address: SocketAddr,
        tls: Option<&Arc<rustls::ClientConfig>>,
        limit: Duration,
    ) -> Result<Stream, OriginError> {
        within(limit, async {
            self.secure(TcpStream::connect(address).await?, tls).await
        })
        .await
    }

    /// All addresses of the host, as they are now.
    ///
    /// # Errors
    /// `Connect` where the name is not known, or nobody can be asked; `Timeout`.
    pub(super) async fn resolve(&self, limit: Duration) -> Result<Vec<SocketAddr>, OriginError> {
        within(limit, async {
            Ok(tokio::net::lookup_host((&*self.host, self.port)).await?.collect())
        })
        .await
    }

    async fn secure(&self, tcp: TcpStream, tls: Option<&Arc<rustls::ClientConfig>>) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        let Some(config) = tls else {
            return Ok(Stream::Tcp(tcp));
        };
        let name = ServerName::try_from(self.host.to_string()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    async fn connect_tcp(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in tokio::net::lookup_host((&*self.host, self.port)).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> Result<T, OriginError> {
    tokio::time::timeout(limit, work)
        .await
        .map_err(|_| OriginError::Timeout(Phase::Connect))?
        .map_err(OriginError::Connect)
}

fn client_config(roots: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS can't be set up: {error}"))?;
    let builder = match roots {
        None => builder
            .with_platform_verifier()
            .map_err(|error| format!("the system's certificate authorities can't be used: {error}"))?,
        Some(path) => builder.with_root_certificates(root_store(path)?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn root_store(path: &Path) -> Result<rustls::RootCertStore, String> {
    let mut store = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    for certificate in certificates {
        let certificate =
            certificate.map_err(|error| format!("{} is no PEM file: {error}", path.display()))?;
        store.add(certificate).map_err(|error| {
            format!(
                "{} holds a certificate that can't be used: {error}",
                path.display()
            )
        })?;
    }
    if store.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(store)
}

/// A stream to an origin.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What waits to be read from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nothing,
    /// The other side has closed.
    End,
    Bytes,
    /// TLS records, whatever they hold.
    Records,
}

impl Stream {
    /// Whether HTTP/2 was agreed on.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// What waits to be read, without reading it and without waiting for it.
    pub(super) fn waiting(&self) -> io::Result<Waiting> {
        let (tcp, some) = match self {
            Self::Tcp(tcp) => (tcp, Waiting::Bytes),
            Self::Tls(tls) => (tls.get_ref().0, Waiting::Records),
        };
        // What the runtime has been told of, an end among it, is looked at without a call if there is nothing.
        let told = tcp.try_io(Interest::READABLE, || {
            let mut byte = [0];
            Ok(rustix::net::recv(tcp, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1)
        });
        match told {
            Ok(0) => Ok(Waiting::End),
            Ok(_) => Ok(some),
            // It may not have been told yet of the newest bytes. Asking for their number is cheaper than peeking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match rustix::io::ioctl_fionread(tcp)?
            {
                0 => Ok(Waiting::Nothing),
                _ => Ok(some),
            },
            Err(error) => Err(error),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// One small GET outside the request path (key sets): follows no redirect, reads at most `max_bytes`, all within `deadline`.
/// Returns the headers and the body of a 200.
///
/// # Errors
/// `OriginError`; `Invalid` for any other status or a larger body.
pub async fn get_small(
    address: &Address,
    path_and_query: &str,
    max_bytes: usize,
    deadline: Duration,
) -> Result<(HeaderMap, Bytes), OriginError> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path_and_query)
        .header(header::ACCEPT, "*/*")
        .body(Bytes::new())
        .map_err(|_| OriginError::Invalid("a path that can't be asked"))?;
    let (head, body) = ask_small(address, request, max_bytes, deadline)
        .await?
        .into_parts();
    match head.status {
        StatusCode::OK => Ok((head.headers, body)),
        _ => Err(OriginError::Invalid("a status other than 200")),
    }
}

/// One small request outside the request path (credentials), whose URI is path and query: follows no redirect, reads at
/// most `max_bytes` of an answer of any status, all within `deadline`. `Host` is the address's.
///
/// # Errors
/// `OriginError`; `Invalid` for a larger body.
pub async fn ask_small(
    address: &Address,
    request: Request<Bytes>,
    max_bytes: usize,
    deadline: Duration,
) -> Result<Response<Bytes>, OriginError> {
    tokio::time::timeout(deadline, ask_unbounded(address, request, max_bytes, deadline))
        .await
        .map_err(|_| OriginError::Timeout(Phase::Head))?
}

fn fault(error: hyper::Error) -> OriginError {
    OriginError::Http(error.into())
}

async fn ask_unbounded(
    address: &Address,
    mut request: Request<Bytes>,
    max_bytes: usize,
    deadline: Duration,
) -> Result<Response<Bytes>, OriginError> {
    let host = HeaderValue::from_str(&address.authority())
        .map_err(|_| OriginError::Invalid("a host that can't be asked"))?;
    request.headers_mut().insert(header::HOST, host);
    let stream = address.connect(deadline).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(fault)?;
    let driver = tokio::spawn(connection);
    let answer = async {
        let sent = sender.send_request(request.map(Full::new));
        let (head, mut body) = sent.await.map_err(fault)?.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(fault)?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > max_bytes {
                return Err(OriginError::Invalid("a body larger than allowed"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    }
    .await;
    driver.abort();
    answer
}

#[cfg(test)]
mod tests;
