//! What can go wrong with an origin, and in which phase.

use std::io;

/// The phase of a wait that ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP or TLS set-up.
    Connect,
    /// From the request to the head of the response.
    Head,
    /// Between two pieces of a body.
    Gap,
}

/// What is wrong with a client's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadFault {
    /// It is larger than the route allows.
    TooLarge,
    /// No byte of it came for as long as an origin may pause.
    TooSlow,
    /// It broke off.
    Broken,
}

/// No answer, or none that can be believed. `Display` is for logs: it names no host, path or credential.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// No connection.
    #[error("can't connect to the origin")]
    Connect(#[source] io::Error),
    /// A wait ran out.
    #[error("the origin took too long: {0:?}")]
    Timeout(Phase),
    /// The connection failed or spoke no HTTP.
    #[error("the exchange with the origin failed")]
    Http(#[source] HttpFault),
    /// An answer that can't be true: a lying range, a body without a length, a switch of protocols.
    #[error("the origin's answer can't be believed: {0}")]
    Invalid(&'static str),
    /// It asks for patience, again and again.
    #[error("the origin is busy")]
    Busy,
    /// There are no credentials to ask it with.
    #[error("there are no credentials: {0}")]
    NoCredentials(&'static str),
    /// A file can't be read.
    #[error("a file can't be read")]
    Io(#[source] io::Error),
    /// All addresses have all the requests that they may have, and it was waited for room in vain.
    #[error("the origin has no room for another request")]
    Overloaded,
    /// The client's upload failed or was larger than allowed.
    #[error("the client's body failed: {0:?}")]
    Upload(UploadFault),
}

/// What went wrong in an exchange.
#[derive(Debug, thiserror::Error)]
pub enum HttpFault {
    /// The socket.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer did")]
    Ended,
    /// What came is no HTTP.
    #[error("{0}")]
    Malformed(&'static str),
    /// HTTP/2, or a key server.
    #[error(transparent)]
    Client(#[from] hyper::Error),
}
