//! What the tests are made of: the gate in process, a raw client, a scripted origin, tokens made independently of the
//! product, real programs. Nothing here sleeps to hope: `wait::until` waits for a condition, with a deadline.

pub(crate) mod acceptor;
pub(crate) mod adapter;
pub(crate) mod adobe;
pub(crate) mod client;
pub(crate) mod conf;
pub(crate) mod document;
pub(crate) mod framing;
pub(crate) mod gate;
pub(crate) mod h2;
pub(crate) mod h2_origin;
pub(crate) mod issuer;
pub(crate) mod mint;
pub(crate) mod moved;
pub(crate) mod origin;
pub(crate) mod program;
pub(crate) mod s3;
pub(crate) mod sirv;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) use client::{Client, End, Response};
pub(crate) use gate::{Gate, NOW, Setup};
pub(crate) use mint::Token;
pub(crate) use origin::{Origin, Script};
