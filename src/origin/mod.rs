//! Where the files are. An origin answers one `OriginRequest`; it knows nothing of tokens.
//! In: what `forward` asks. Out: a head and a body. Never: judges who may have it.
//! A new kind of origin is one file here and an arm in `Origin::fetch`.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, Method, Response};

mod attempts;
pub mod body;
mod budget;
mod chunks;
mod conditional;
pub mod connect;
mod connection;
mod endpoint;
mod error;
mod file_body;
mod fleet;
pub mod folder;
mod head;
mod health;
pub mod http1;
mod http2;
mod line;
mod media_type;
mod multiplexed;
mod negotiated;
mod pool;
mod range;
pub mod s3;
mod sending;
mod truth;
mod upstream;

pub use body::{OriginBody, Upload};
pub use endpoint::{Ejection, Turns};
pub use error::{HttpFault, OriginError, Phase, UploadFault};
pub use fleet::{FleetFigures, Protocol, Reach};
pub use folder::Folder;
pub use health::HealthCheck;
pub use http1::{HttpOrigin, HttpSettings};
pub use pool::{OriginStats, Pools};
pub use s3::{S3Origin, S3Settings};

use crate::clock::UnixTime;

/// A place that holds files. A copy is the same place.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A local folder.
    Folder(Arc<Folder>),
    /// An HTTP server.
    Http(Arc<HttpOrigin>),
    /// A bucket of S3, or of a server that speaks its protocol.
    S3(Arc<S3Origin>),
}

/// The wait for an origin's answer. Small, and without a box wherever nothing cold happens.
#[expect(
    clippy::large_enum_variant,
    reason = "it is there while nothing is waited for, and moved once"
)]
pub enum Fetch {
    /// There is nothing to wait for.
    Ready(Option<Result<Response<OriginBody>, OriginError>>),
    /// Over an idle connection.
    Reused(http1::Reused),
    /// All that is rarer: a fresh connection, a file that the kernel has to look for, a bucket.
    Waiting(Pin<Box<dyn Future<Output = Result<Response<OriginBody>, OriginError>> + Send>>),
}

impl Future for Fetch {
    type Output = Result<Response<OriginBody>, OriginError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut *self {
                Self::Ready(answer) => return answer.take().map_or(Poll::Pending, Poll::Ready),
                Self::Reused(reused) => *self = ready!(reused.poll(cx)),
                Self::Waiting(answer) => return answer.as_mut().poll(cx),
            }
        }
    }
}

/// What an origin is asked. Made by `forward` from a grant.
pub struct OriginRequest {
    /// GET, HEAD, or what the route allows.
    pub method: Method,
    /// Path and query, canonical and encoded: sent byte for byte.
    pub target: String,
    /// The allow-listed headers; neither `Host` nor hop-by-hop ones are among them, the origin adds its own.
    pub headers: HeaderMap,
    /// Whom `X-Forwarded-For` names.
    pub client: Option<IpAddr>,
    /// The body of an upload.
    pub upload: Upload,
    /// When it is asked: what a signature is dated.
    pub now: UnixTime,
}

impl Origin {
    /// The path in front of every target; empty for none.
    pub fn base_path(&self) -> &str {
        match self {
            // A bucket never answers with a place that is passed on.
            Self::Folder(_) | Self::S3(_) => "",
            Self::Http(http) => http.base_path(),
        }
    }

    /// What has to be kept current beside the requests, where there is something.
    pub fn kept(&self) -> Option<&Arc<HttpOrigin>> {
        match self {
            Self::Folder(_) => None,
            Self::Http(http) => Some(http),
            Self::S3(s3) => Some(s3.server()),
        }
    }

    /// Whether a query parameter of this name reaches the place: what a token forces on it has to.
    pub fn takes_parameter(&self, name: &str) -> bool {
        match self {
            Self::Folder(_) => false,
            Self::Http(_) => true,
            Self::S3(bucket) => bucket.takes(name),
        }
    }

    /// How long the head of an answer is waited for at most.
    pub fn head_wait(&self) -> Duration {
        match self {
            Self::Folder(_) => Duration::ZERO,
            Self::Http(http) => http.head_wait(),
            Self::S3(s3) => s3.head_wait(),
        }
    }

    /// Asks for a file. The head is checked against the request before it is handed on; the body streams. The request is
    /// composed before this returns, so that nothing of the client's head is held while the origin is waited for.
    ///
    /// # Errors
    /// `OriginError` when there is no answer, or none that can be believed. "Not found" is an answer.
    pub fn fetch(&self, pools: &Pools, request: OriginRequest) -> Fetch {
        match self {
            Self::Folder(folder) => folder.fetch(request),
            Self::Http(http) => http.fetch(pools, request),
            Self::S3(s3) => s3.fetch(pools, request),
        }
    }
}
