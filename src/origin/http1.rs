//! One HTTP/1.1 server: a keep-alive pool per worker, bounded waits, one retry where nothing was delivered.

use std::time::Duration;

use http::Response;

use super::connect::Address;
use super::{OriginBody, OriginError, OriginRequest, Pools};

/// How an HTTP origin is spoken to.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where it is.
    pub address: Address,
    /// What stands in `Host`; the URL's authority unless configured.
    pub host: http::HeaderValue,
    /// A path in front of every target, canonical, without a slash at its end; empty for none.
    pub base_path: String,
    /// Time for TCP and TLS.
    pub connect_timeout: Duration,
    /// Time from the request to the head of the response.
    pub head_timeout: Duration,
    /// Time between two pieces of a body.
    pub gap_timeout: Duration,
    /// How long a connection may lie idle; keep it below the origin's own keep-alive.
    pub idle_timeout: Duration,
    /// Idle connections kept per worker.
    pub max_idle: usize,
    /// Whether a body that ends with its connection is accepted (its end can't be told from a cut).
    pub allow_close_delimited: bool,
}

/// One HTTP/1.1 server.
#[derive(Debug)]
pub struct HttpOrigin {}

impl HttpOrigin {
    /// An origin with these settings; it connects when it is first asked.
    pub fn new(settings: HttpSettings) -> Self {
        todo!("{settings:?}")
    }

    /// Answers one request.
    ///
    /// # Errors
    /// `OriginError`.
    pub async fn fetch(
        &self,
        pools: &Pools,
        request: OriginRequest,
    ) -> Result<Response<OriginBody>, OriginError> {
        let _ = pools;
        todo!("{}", request.target.len())
    }
}
