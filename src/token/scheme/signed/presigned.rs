//! S3 URLs signed by SigV4.
