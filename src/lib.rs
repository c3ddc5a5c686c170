//! mediagate: an edge reverse proxy that enforces media tokens.
//!
//! The path of a request: `server` (bytes, connections, waits) → `app` (which door) → `gate` (the phases, listed in
//! `gate/mod.rs`) → `origin` (the files). The issuer is the second, cold door. `docs/ARCHITECTURE.md` is the map.

pub mod app;
pub mod cli;
pub mod config;
pub mod gate;
pub mod issuer;
pub mod keysource;
pub mod origin;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod token;

pub mod alarm;
pub mod body;
pub mod clock;
pub mod media;
pub mod pool;
pub mod secret;
pub mod sigv4;
pub mod state;
pub mod target;
pub mod throttle;
