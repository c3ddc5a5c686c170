//! `demo`, `[server]`, `[admin]`, `[log]`, and the public URLs.

use std::num::NonZeroU32;

use http::Uri;
use ipnet::IpNet;

use super::{DAY, Place, in_range, proxy_protocol, raw, seconds};
use crate::config::problems::Problems;
use crate::server::settings::{ClientAddressRule, Listeners, ServerSettings};
use crate::telemetry::settings::{AccessSink, LogSettings};
use crate::token::PublicBase;

/// What this file builds.
pub(super) struct Served {
    pub(super) listeners: Option<Listeners>,
    pub(super) settings: ServerSettings,
    pub(super) client_address: Option<ClientAddressRule>,
    pub(super) log: LogSettings,
    pub(super) public: Option<PublicBase>,
    /// Whether clients have addresses of their own here. Behind a proxy that ends TLS and whose word is not taken, all
    /// have the proxy's.
    pub(super) tells_clients_apart: bool,
}

pub(super) fn build(file: &raw::File, place: &Place, problems: &mut Problems) -> Served {
    let defaults;
    let server = match &file.server {
        Some(server) => server,
        None => {
            // The missing table was reported; the rest is checked as if it were empty.
            defaults = empty_server();
            &defaults
        }
    };
    let public = server
        .public_url
        .as_deref()
        .and_then(|url| public_base("server.public_url", url, problems));
    let behind_a_proxy =
        public.as_ref().is_some_and(|public| &*public.scheme == "https") && server.tls.is_none();
    Served {
        tells_clients_apart: !behind_a_proxy
            || server.client_address.is_some()
            || server.proxy_protocol.is_some(),
        listeners: listeners(file, problems),
        settings: settings(server, problems),
        client_address: client_address(file, server, problems),
        log: LogSettings {
            format: file.log.format,
            access: match &file.log.access {
                AccessSink::File(path) => AccessSink::File(place.resolve(path)),
                other => other.clone(),
            },
            level: file.log.level,
        },
        public,
    }
}

fn empty_server() -> raw::Server {
    let node = toml::de::DeValue::parse("{}").expect("an empty table is TOML");
    <raw::Server as crate::config::read::Read>::read(&node, "server", &mut Problems::new(""))
        .expect("an empty table is a table")
}

fn listeners(file: &raw::File, problems: &mut Problems) -> Option<Listeners> {
    let server = file.server.as_ref();
    let clear = server.and_then(|server| server.listen.as_ref());
    let tls = server
        .and_then(|server| server.tls.as_ref())
        .and_then(|tls| tls.listen.as_ref());
    let gate: Vec<_> = clear
        .into_iter()
        .flatten()
        .chain(tls.into_iter().flatten())
        .collect();
    let admin = file.admin.as_ref().and_then(|admin| admin.listen);
    let issuer = file.issuer.as_ref().and_then(|issuer| issuer.listen);
    let mut all: Vec<(String, std::net::SocketAddr)> = Vec::new();
    all.extend(gate.iter().map(|listen| (listen.at.clone(), listen.value)));
    all.extend(issuer.map(|address| ("issuer.listen".to_owned(), address)));
    all.extend(admin.map(|address| ("admin.listen".to_owned(), address)));
    for (at, (path, address)) in all.iter().enumerate() {
        if file.demo && !address.ip().is_loopback() {
            problems.error(
                path,
                format!("{address} is not on loopback, and `demo` is true"),
                "listen on 127.0.0.1 or [::1], or take out `demo = true`",
            );
        }
        if address.port() != 0 && all[..at].iter().any(|(_, other)| other == address) {
            problems.error(
                path,
                format!("{address} is used twice"),
                "each listener needs its own address",
            );
        }
    }
    if let Some(admin) = admin
        && !admin.ip().is_loopback()
    {
        problems.warn(
            "admin.listen",
            format!("{admin} can be reached from other machines"),
            "anybody there can read the metrics",
        );
    }
    if gate.is_empty() && server.is_some() && !problems.has_error_below("server.listen") {
        let hint = "name at least one address, [\"127.0.0.1:8080\"], here or in `server.tls.listen`";
        let what = if clear.is_some() { "is empty" } else { "missing" };
        problems.error("server.listen", what, hint);
    }
    Some(Listeners {
        gate: gate.iter().map(|listen| listen.value).collect(),
        gate_tls: tls.map_or(0, Vec::len),
        issuer,
        admin: admin?,
    })
}

fn settings(server: &raw::Server, problems: &mut Problems) -> ServerSettings {
    let at = |key: &str| format!("server.{key}");
    let max_head = server.max_head.0;
    if !(8 * 1024..=1024 * 1024).contains(&max_head) {
        problems.error(
            at("max_head"),
            format!("{max_head} bytes is out of range"),
            "8KiB to 1MiB",
        );
    }
    if server.workers > 1024 {
        problems.error(
            at("workers"),
            format!("{} is out of range", server.workers),
            "0 (one per core) to 1024",
        );
    }
    if server.max_connections == 0 || server.max_connections > 10_000_000 {
        problems.error(
            at("max_connections"),
            format!("{} is out of range", server.max_connections),
            "1 to 10000000",
        );
    }
    if server.token_cache > 16_777_216 {
        problems.error(
            at("token_cache"),
            format!("{} is out of range", server.token_cache),
            "0 (none) to 16777216",
        );
    }
    ServerSettings {
        workers: server.workers,
        header_timeout: in_range(
            at("header_timeout"),
            server.header_timeout,
            seconds(1),
            seconds(300),
            problems,
        ),
        idle_timeout: in_range(
            at("idle_timeout"),
            server.idle_timeout,
            seconds(1),
            seconds(3600),
            problems,
        ),
        stall_timeout: in_range(
            at("stall_timeout"),
            server.stall_timeout,
            seconds(1),
            DAY,
            problems,
        ),
        tls_timeout: in_range(
            at("tls_timeout"),
            server.tls_timeout,
            seconds(1),
            seconds(60),
            problems,
        ),
        http2: server.http2,
        drain_delay: in_range(
            at("drain_delay"),
            server.drain_delay,
            seconds(0),
            seconds(300),
            problems,
        ),
        drain_timeout: in_range(
            at("drain_timeout"),
            server.drain_timeout,
            seconds(0),
            DAY,
            problems,
        ),
        max_connections: server.max_connections,
        max_connections_per_address: NonZeroU32::new(server.max_connections_per_address),
        max_head: usize::try_from(max_head).unwrap_or(usize::MAX),
        token_cache: server.token_cache,
    }
}

fn client_address(
    file: &raw::File,
    server: &raw::Server,
    problems: &mut Problems,
) -> Option<ClientAddressRule> {
    if let Some(rule) = &server.proxy_protocol {
        return proxy_protocol::build(file, server, rule, problems).map(ClientAddressRule::Proxy);
    }
    let Some(rule) = &server.client_address else {
        return Some(ClientAddressRule::Peer);
    };
    let trusted = trusted("server.client_address", rule.trusted.as_deref()?, problems);
    Some(ClientAddressRule::Header {
        header: rule.header?,
        trusted,
    })
}

/// The networks of load balancers: at least one, and not everybody.
pub(super) fn trusted(table: &str, networks: &[IpNet], problems: &mut Problems) -> Vec<IpNet> {
    let at = format!("{table}.trusted");
    if networks.is_empty() {
        problems.error(
            &at,
            "is empty",
            format!("name the networks of your load balancers, or take out [{table}]"),
        );
    }
    if let Some(all) = networks.iter().find(|net| net.prefix_len() == 0) {
        problems.error(
            &at,
            format!("{all} trusts everybody"),
            "any client could claim any address; name the load balancers only",
        );
    }
    networks.to_vec()
}

/// Reads `https://media.example.com`: scheme and host, nothing behind them.
pub(super) fn public_base(path: &str, url: &str, problems: &mut Problems) -> Option<PublicBase> {
    let mut wrong = |what: &str, hint: &str| {
        problems.error(path, what, hint);
        None
    };
    let example = "write \"https://media.example.com\"";
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("is no URL", example);
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return wrong("is no URL with scheme and host", example);
    };
    if scheme != "http" && scheme != "https" {
        return wrong("has a scheme that is neither https nor http", example);
    }
    if authority.as_str().contains('@') {
        return wrong("holds a user name", example);
    }
    if uri.path() != "/" || uri.query().is_some() {
        return wrong("has a path or a query", example);
    }
    let authority = authority.as_str().to_ascii_lowercase();
    let own = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(own).unwrap_or(&authority);
    Some(PublicBase {
        scheme: scheme.into(),
        authority: authority.into(),
    })
}
