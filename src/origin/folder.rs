//! Files below one local root: contained by the kernel, strong validators, ranges, conditionals, no listing.

use std::io;
use std::path::Path;

use http::Response;

use super::{OriginBody, OriginError, OriginRequest};

/// A local folder.
#[derive(Debug)]
pub struct Folder {}

impl Folder {
    /// Opens the root.
    ///
    /// # Errors
    /// When it is not a folder that can be opened.
    pub fn open(root: &Path) -> io::Result<Self> {
        todo!("{root:?}")
    }

    /// Answers one request.
    ///
    /// # Errors
    /// `Io` when a file that is there can't be read.
    pub async fn fetch(&self, request: OriginRequest) -> Result<Response<OriginBody>, OriginError> {
        todo!("{}", request.target.len())
    }
}
