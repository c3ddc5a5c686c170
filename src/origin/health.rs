//! What goes on beside the requests to an HTTP origin: its name is looked up now and then, and its addresses are checked.
//! Runs on the server's runtime for as long as the origin is configured. Never: delays a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::attempts::NO_HTTP2;
use super::endpoint::{Endpoint, Turns};
use super::fleet::Protocol;
use super::http1::HttpOrigin;
use super::{FleetFigures, HttpFault, OriginError, Phase};

/// The longest that one look-up may take. The name servers are asked by the system.
const LOOKUP_MAX: Duration = Duration::from_secs(15);

/// Requests that find out whether an address is well: any answer below 400 says so.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// The path, asked as it is.
    pub path: Box<str>,
    /// Time between two checks of one address.
    pub interval: Duration,
    /// Time for a check, connection included.
    pub timeout: Duration,
    /// How many in a row change anything.
    pub turns: Turns,
}

impl HttpOrigin {
    /// What is counted of its addresses.
    pub fn figures(&self) -> FleetFigures {
        self.fleet.figures()
    }

    /// Keeps what is known of the origin's addresses current. Ends only where there is nothing to do.
    pub async fn keep(self: Arc<Self>) {
        tokio::join!(self.keep_resolved(), self.keep_checked());
    }

    async fn keep_resolved(&self) {
        if !self.fleet.is_named() {
            return;
        }
        loop {
            // What is known stays in use when nothing can be found out.
            match self.settings.address.resolve(LOOKUP_MAX).await {
                Ok(addresses) => self.fleet.learn(&addresses),
                Err(error) => tracing::warn!(
                    origin = &*self.fleet.settings.name,
                    error = &error as &dyn std::error::Error,
                    "an origin's name can't be looked up; its addresses stay as they are"
                ),
            }
            tokio::time::sleep(self.fleet.settings.resolve_interval).await;
        }
    }

    async fn keep_checked(&self) {
        let Some(check) = self.fleet.settings.health.clone() else {
            return;
        };
        let check = Arc::new(check);
        loop {
            let mut running = JoinSet::new();
            for endpoint in self.fleet.endpoints() {
                let probe = self.probe(&endpoint, &check);
                let check = Arc::clone(&check);
                running.spawn(async move {
                    let answer = tokio::time::timeout(check.timeout, probe).await;
                    let well = matches!(answer, Ok(Ok(status)) if status.as_u16() < 400);
                    endpoint.checked(well, check.turns);
                });
            }
            while running.join_next().await.is_some() {}
            self.fleet.serve_line();
            tokio::time::sleep(check.interval).await;
        }
    }

    /// One request over a connection of its own.
    fn probe(
        &self,
        endpoint: &Arc<Endpoint>,
        check: &HealthCheck,
    ) -> impl Future<Output = Result<StatusCode, OriginError>> + Send + use<> {
        let (address, tls) = (self.settings.address.clone(), self.tls.clone());
        let (socket, limit) = (endpoint.address, check.timeout);
        let needs_http2 = tls.is_some() && self.fleet.settings.protocol == Protocol::Http2;
        let clear_http2 = self.speaks_http2_in_clear();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = self.settings.host.clone();
        let path = check.path.clone();
        async move {
            let stream = address.connect_to(socket, tls.as_ref(), limit).await?;
            if needs_http2 && !stream.is_http2() {
                return Err(OriginError::Http(HttpFault::Malformed(NO_HTTP2)));
            }
            let request = Request::builder()
                .method(Method::GET)
                .header(header::USER_AGENT, "mediagate");
            let impossible = |_| OriginError::Invalid("a path that can't be asked");
            if clear_http2 || stream.is_http2() {
                let authority = host.to_str().unwrap_or_default();
                let request = request
                    .uri(format!("{scheme}://{authority}{path}"))
                    .body(Empty::<Bytes>::new())
                    .map_err(impossible)?;
                let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(fault)?;
                return driven(connection, sender.send_request(request)).await;
            }
            let request = request
                .uri(&*path)
                .header(header::HOST, host)
                .header(header::CONNECTION, "close")
                .body(Empty::<Bytes>::new())
                .map_err(impossible)?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(fault)?;
            driven(connection, sender.send_request(request)).await
        }
    }
}

/// The status of an answer, over a connection that has to be driven meanwhile and is closed then.
async fn driven<B>(
    connection: impl Future<Output = hyper::Result<()>>,
    answer: impl Future<Output = hyper::Result<http::Response<B>>>,
) -> Result<StatusCode, OriginError> {
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer.map(|answer| answer.status()).map_err(fault),
        ended = &mut connection => {
            ended.map_err(fault)?;
            // The answer may have come with the end.
            tokio::time::timeout(Duration::from_millis(100), answer)
                .await
                .map_err(|_| OriginError::Timeout(Phase::Head))?
                .map(|answer| answer.status())
                .map_err(fault)
        }
    }
}

fn fault(error: hyper::Error) -> OriginError {
    OriginError::Http(error.into())
}
