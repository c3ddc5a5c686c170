//! `[server.proxy_protocol]`: which of the gate's listeners demand a PROXY header, and of whom.

use std::time::Duration;

use super::{in_range, raw, seconds, server};
use crate::config::problems::Problems;
use crate::server::settings::ProxyProtocol;

const TABLE: &str = "server.proxy_protocol";

pub(super) fn build(
    file: &raw::File,
    server: &raw::Server,
    rule: &raw::ProxyProtocol,
    problems: &mut Problems,
) -> Option<ProxyProtocol> {
    if server.client_address.is_some() {
        problems.error(
            TABLE,
            "stands beside [server.client_address]",
            "a client has one address from one source: keep the one that your load balancer speaks",
        );
    }
    let timeout = in_range(
        format!("{TABLE}.timeout"),
        rule.timeout,
        Duration::from_millis(100),
        seconds(5),
        problems,
    );
    let trusted = rule
        .trusted
        .as_deref()
        .map(|trusted| server::trusted(TABLE, trusted, problems));
    let listeners = listeners(file, server, rule, problems);
    Some(ProxyProtocol {
        listeners: listeners?,
        trusted: trusted?,
        timeout,
    })
}

/// The places of the named addresses among the gate's.
fn listeners(
    file: &raw::File,
    server: &raw::Server,
    rule: &raw::ProxyProtocol,
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    // In the order of `Listeners::gate`: those in clear, then those with TLS.
    let secure = server.tls.as_ref().and_then(|tls| tls.listen.as_ref());
    let gate: Vec<_> = server.listen.iter().chain(secure).flatten().collect();
    let named = rule.listen.as_ref()?;
    let private = [
        file.issuer.as_ref().and_then(|issuer| issuer.listen),
        file.admin.as_ref().and_then(|admin| admin.listen),
    ];
    if named.is_empty() {
        problems.error(
            format!("{TABLE}.listen"),
            "is empty",
            format!("name those of the gate's listeners that demand the header, or take out [{TABLE}]"),
        );
    }
    for address in named {
        if gate.iter().any(|listen| listen.value == address.value) {
            continue;
        }
        let hint = if private.contains(&Some(address.value)) {
            "the issuer and the admin listener never take a PROXY header"
        } else {
            "write it as it stands in server.listen or server.tls.listen"
        };
        problems.error(
            &address.at,
            format!("{} is none of the gate's listeners", address.value),
            hint,
        );
    }
    let is_named = |listen: &std::net::SocketAddr| named.iter().any(|address| address.value == *listen);
    Some(
        gate.iter()
            .enumerate()
            .filter(|(_, listen)| is_named(&listen.value))
            .map(|(place, _)| place)
            .collect(),
    )
}
