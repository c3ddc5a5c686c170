//! What the configuration says of listeners, waits and limits. Plain data, checked by `config`; nothing here has a
//! default of its own.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// Where we listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// The gate; at least one. First those in clear, then those with TLS.
    pub gate: Vec<SocketAddr>,
    /// How many of them, counted from the end, have TLS.
    pub gate_tls: usize,
    /// The issuer, where there is one.
    pub issuer: Option<SocketAddr>,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// How connections are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// Time from a request's first byte to the end of its head.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a reader may accept no byte.
    pub stall_timeout: Duration,
    /// How long a TLS handshake may take.
    pub tls_timeout: Duration,
    /// Whether HTTP/2 is spoken: by ALPN over TLS, with prior knowledge in clear.
    pub http2: bool,
    /// After SIGTERM: how long `/readyz` says 503 while connections are still accepted.
    pub drain_delay: Duration,
    /// After that: how long bodies may still run.
    pub drain_timeout: Duration,
    /// Connections at a time, over all workers.
    pub max_connections: usize,
    /// The largest request head, in bytes.
    pub max_head: usize,
    /// Verified tokens kept per worker; 0 keeps none.
    pub token_cache: usize,
}

/// Where the client's address stands. Exactly one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddressRule {
    /// The peer of the connection.
    Peer,
    /// A header, from trusted proxies alone: its rightmost address that is not trusted.
    Header {
        /// Which.
        header: AddressHeader,
        /// Networks of the proxies that may send it; at least one.
        trusted: Vec<IpNet>,
    },
}

/// A header that names clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
