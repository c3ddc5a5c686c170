//! Signed URLs and cookies of CloudFront.
