//! TCP and TLS towards origins and key servers: the only file outside `server` that opens sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};

use super::OriginError;

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
    ///
    /// # Errors
    /// A sentence that says what is wrong with the URL or the file.
    pub fn parse(url: &Uri, roots: Option<&std::path::Path>) -> Result<Self, String> {
        todo!("{url}{roots:?}")
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
    todo!("{address:?}{path_and_query}{max_bytes}{deadline:?}")
}
