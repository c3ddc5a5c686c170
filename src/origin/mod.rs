//! Where the files are. An origin answers one `OriginRequest`; it knows nothing of tokens.
//! In: what `forward` asks. Out: a head and a body. Never: judges who may have it.
//! A new kind of origin is one file here and an arm in `Origin::fetch`.

use http::{HeaderMap, Method, Response};

pub mod body;
mod conditional;
pub mod connect;
mod error;
mod file_body;
pub mod folder;
pub mod http1;
mod media_type;
mod pool;
mod range;
mod truth;
mod upstream;
mod wire;

pub use body::{OriginBody, Upload};
pub use error::{OriginError, Phase, UploadFault};
pub use folder::Folder;
pub use http1::{HttpOrigin, HttpSettings};
pub use pool::{OriginStats, Pools};

/// A place that holds files.
#[derive(Debug)]
pub enum Origin {
    /// A local folder.
    Folder(Folder),
    /// One HTTP/1.1 server.
    Http(HttpOrigin),
}

/// What an origin is asked. Made by `forward` from a grant.
pub struct OriginRequest {
    /// GET, HEAD, or what the route allows.
    pub method: Method,
    /// Path and query, canonical and encoded: sent byte for byte.
    pub target: String,
    /// The allow-listed headers; neither `Host` nor hop-by-hop ones are among them, the origin adds its own.
    pub headers: HeaderMap,
    /// The body of an upload.
    pub upload: Upload,
}

impl Origin {
    /// The path in front of every target; empty for none.
    pub fn base_path(&self) -> &str {
        match self {
            Self::Folder(_) => "",
            Self::Http(http) => http.base_path(),
        }
    }

    /// Asks for a file. The head is checked against the request before it is handed on; the body streams.
    ///
    /// # Errors
    /// `OriginError` when there is no answer, or none that can be believed. "Not found" is an answer.
    pub async fn fetch(
        &self,
        pools: &Pools,
        request: OriginRequest,
    ) -> Result<Response<OriginBody>, OriginError> {
        match self {
            Self::Folder(folder) => folder.fetch(request).await,
            Self::Http(http) => http.fetch(pools, request).await,
        }
    }
}
