//! The product as a black box: the real server on free ports, raw bytes in and out, real programs as clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod harness;
mod support;

// What tokens open, and what refuses them.
mod once;
mod path_token;
mod preflight;
mod query_token;
mod refusals;
mod token_limits;
mod vectors;

// Attacks.
mod attacks_http;
mod attacks_operator;
mod attacks_paths;
mod attacks_tokens;
mod chains;
mod framing;
mod leaks;
mod no_cache;

// Issuer and keys.
mod adobe_bearer;
mod adobe_gate;
mod adobe_issuer;
mod fynn;
mod fynn_invoice;
mod fynn_media;
mod issuer;
mod keys;
mod landing;
mod native_schemes;
mod nexudus_bearer;
mod nexudus_files;
mod nexudus_issuer;
mod sirv_bearer;
mod sirv_clients;
mod sirv_files;
mod sirv_issuer;

// Origins.
mod origin_faults;
mod origin_fleet;
mod origin_folder;
mod origin_http;
mod origin_http2;
mod origin_nginx;
mod origin_s3;
mod origin_s3_clients;
mod origin_s3_credentials;
mod origin_servers;
mod origin_uploads;
mod redbot;
mod replay;
mod secure_link;

// Operation, and real clients.
mod balancers;
mod browser;
mod clients;
mod disk;
mod drain;
mod http2;
mod kills;
mod limits;
mod memory;
mod migrate;
mod once_clients;
mod reload;
mod revocation;
mod second_looks;
mod slow;
mod store;
mod systemd;
mod takeover;
mod takeover_store;
mod telemetry;
mod tls;
mod tls_clients;
