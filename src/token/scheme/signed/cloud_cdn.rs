//! Signed URLs and cookies of Google Cloud CDN.
