//! `mediagate check`: the configuration is right; what it does, route by route, and what deserves a second look.

use super::Failed;
use crate::config::{Loaded, in_file, show_duration, show_size};
use crate::gate::admit::MAX_URI_BYTES;
use crate::server::limits::FileLimit;
use crate::server::settings::{AddressHeader, ClientAddressRule, Listeners, ProxyProtocol, ServerSettings};

pub(super) fn check(loaded: &Loaded) -> Result<(), Failed> {
    let listeners = &loaded.listeners;
    say!("{} is right", loaded.file.display());
    let tls = &loaded.tls;
    let shown = |secure: bool| if secure { " with TLS" } else { "" };
    let in_clear = listeners.gate.len() - listeners.gate_tls;
    for (number, gate) in listeners.gate.iter().enumerate() {
        say!("gate {gate}{}", shown(number >= in_clear));
    }
    if let Some(issuer) = listeners.issuer {
        say!("issuer {issuer}{}", shown(tls.issuer.is_some()));
    }
    say!("admin {}{}", listeners.admin, shown(tls.admin.is_some()));
    for (door, certificates) in [
        ("gate", &tls.gate),
        ("issuer", &tls.issuer),
        ("admin", &tls.admin),
    ] {
        for certificate in certificates.iter().flat_map(|certificates| certificates.list()) {
            let names = match certificate.names() {
                [] => "clients that name no host".to_owned(),
                names => names.join(", "),
            };
            match certificate.valid_to() {
                Some(end) => say!("certificate of the {door} for {names}, until {}", end.rfc3339()),
                None => say!("certificate of the {door} for {names}"),
            }
        }
    }
    say!(
        "client address: {}",
        client_address(&loaded.client_address, listeners)
    );
    say!("{}", limits(&loaded.settings));
    for policy in &loaded.policies {
        say!("\n{}", policy.to_string().trim_end());
    }
    if let Some(landing) = &loaded.landing {
        say!("\n{}", landing.trim_end());
    }
    if let Some(warning) = FileLimit::reachable().warning(&loaded.settings) {
        eprintln!("warning: {warning}");
    }
    for warning in &loaded.warnings {
        eprintln!("warning: {}", in_file(&loaded.file, warning));
    }
    Ok(())
}

fn client_address(rule: &ClientAddressRule, at: &Listeners) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match rule {
        ClientAddressRule::Peer => "the peer of the connection".to_owned(),
        ClientAddressRule::Header { header, trusted } => {
            let header = match header {
                AddressHeader::XForwardedFor => "X-Forwarded-For",
                AddressHeader::Forwarded => "Forwarded",
            };
            format!(
                "{header} from {}",
                list(trusted.iter().map(ToString::to_string).collect())
            )
        }
        ClientAddressRule::Proxy(ProxyProtocol {
            listeners, trusted, ..
        }) => {
            let named = at.gate.iter().enumerate();
            let named = named.filter(|(place, _)| listeners.contains(place));
            format!(
                "a PROXY header on {} from {}, demanded",
                list(named.map(|(_, address)| address.to_string()).collect()),
                list(trusted.iter().map(ToString::to_string).collect()),
            )
        }
    }
}

fn limits(settings: &ServerSettings) -> String {
    let ServerSettings {
        header_timeout,
        idle_timeout,
        stall_timeout,
        max_connections,
        max_connections_per_address,
        max_head,
        ..
    } = settings;
    let per_address = match max_connections_per_address {
        Some(most) => format!(", {most} from one address"),
        None => String::new(),
    };
    format!(
        "limits: {max_connections} connections{per_address}, head {} in {}, target {}, idle {}, stalled {}",
        show_size(*max_head as u64),
        show_duration(*header_timeout),
        show_size(MAX_URI_BYTES as u64),
        show_duration(*idle_timeout),
        show_duration(*stall_timeout),
    )
}
