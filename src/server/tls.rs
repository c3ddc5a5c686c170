//! TLS towards clients: versions 1.2 and 1.3, ALPN, certificates by name, tickets that outlive a change of certificates.
//! In: a socket. Out: a stream with its protocol, or why there is none. The certificates are read anew in the
//! background; a pair that does not fit together changes nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, header};
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::metrics::ConnectionError;

mod certificates;
mod validity;

pub use certificates::{Certificate, CertificateError, CertificateFiles, Certificates};

/// HTTP/2 in ALPN (RFC 9113 §3.1).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The protocols that a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2, else HTTP/1.1.
    Http2,
    /// HTTP/1.1 alone.
    Http1,
}

/// What the listeners that have TLS prove themselves with. Each has tickets of its own, so that a session of one is none
/// at another.
#[derive(Clone, Debug)]
pub struct TlsListeners {
    /// The gate's, where some of its listeners have TLS.
    pub gate: Option<Arc<Certificates>>,
    /// The issuer's.
    pub issuer: Option<Arc<Certificates>>,
    /// The admin listener's.
    pub admin: Option<Arc<Certificates>>,
    /// How often the files are looked at.
    pub poll: Duration,
}

impl TlsListeners {
    /// Each that is there.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Certificates>> {
        [&self.gate, &self.issuer, &self.admin].into_iter().flatten()
    }

    /// Reads all files anew. What is wrong is logged and changes nothing.
    pub fn reload(&self) {
        self.all().for_each(|certificates| certificates.reload());
    }

    /// Takes over what another configuration names, for the listeners that have TLS now as well as there. Tickets stay
    /// good.
    pub fn adopt(&self, newer: &Self) {
        for (own, newer) in [
            (&self.gate, &newer.gate),
            (&self.issuer, &newer.issuer),
            (&self.admin, &newer.admin),
        ] {
            if let (Some(own), Some(newer)) = (own, newer) {
                own.adopt(newer);
            }
        }
    }

    /// Looks at the files again and again.
    pub(super) async fn keep_current(self) {
        if self.all().next().is_none() {
            return;
        }
        loop {
            tokio::time::sleep(self.poll).await;
            let listeners = self.clone();
            // Files on a network may keep their readers waiting.
            let _ = tokio::task::spawn_blocking(move || listeners.reload()).await;
        }
    }
}

/// What rustls needs for a listener. Client certificates are not asked for, early data is not taken.
fn config(
    resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    protocols: Protocols,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = match protocols {
        Protocols::Http2 => vec![H2.to_vec(), HTTP_1_1.to_vec()],
        Protocols::Http1 => vec![HTTP_1_1.to_vec()],
    };
    config.ticketer = Ticketer::new()?;
    Ok(config)
}

/// The host that a client asked for in its handshake (SNI).
pub(super) struct Named {
    host: Box<str>,
    certificates: Arc<Certificates>,
}

impl Named {
    pub(super) fn of(certificates: &Arc<Certificates>, connection: &ServerConnection) -> Option<Arc<Self>> {
        let host = connection.server_name()?.into();
        let certificates = Arc::clone(certificates);
        Some(Arc::new(Self { host, certificates }))
    }

    /// Whether a request is for a host that has a certificate here, and not the one of this connection (RFC 9110 §15.5.20).
    /// Clients with HTTP/2 send requests for all hosts that a certificate names over one connection (RFC 9113 §9.1.1);
    /// whoever sends others mixes up what two certificates keep apart. A host without one is a matter of the routes.
    pub(super) fn misdirects<B>(&self, request: &Request<B>) -> bool {
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => request
                .headers()
                .get(header::HOST)
                .and_then(|host| host.to_str().ok()),
        };
        // Without one, or with an unreadable one, other rules refuse.
        let Some(host) = host else { return false };
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let host = host.strip_suffix('.').unwrap_or(host);
        !host.eq_ignore_ascii_case(&self.host)
            && self
                .certificates
                .are_apart(&self.host, &host.to_ascii_lowercase())
    }
}

/// The server's side of a handshake, in bounded time.
pub(super) async fn handshake<I>(
    certificates: &Certificates,
    io: I,
    within: Duration,
) -> Result<TlsStream<I>, ConnectionError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = TlsAcceptor::from(certificates.config()).accept(io);
    match tokio::time::timeout(within, accepted).await {
        Err(_) => Err(ConnectionError::TlsTimeout),
        Ok(Err(error)) => Err(kind(&error)),
        Ok(Ok(stream)) => Ok(stream),
    }
}

fn kind(error: &io::Error) -> ConnectionError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        None if error.kind() == io::ErrorKind::TimedOut => ConnectionError::TlsTimeout,
        None => ConnectionError::TlsIo,
        Some(rustls::Error::AlertReceived(_)) => ConnectionError::TlsAlert,
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
            ConnectionError::TlsIncompatible
        }
        Some(_) => ConnectionError::TlsProtocol,
    }
}
