//! `mediagate check`: the configuration is right; what it does, route by route, and what deserves a second look.

use super::Failed;
use crate::config::{Loaded, in_file, show_duration, show_size};
use crate::gate::admit::MAX_URI_BYTES;
use crate::server::settings::{AddressHeader, ClientAddressRule, ServerSettings};

pub(super) fn check(loaded: &Loaded) -> Result<(), Failed> {
    let listeners = &loaded.listeners;
    say!("{} is right", loaded.file.display());
    for gate in &listeners.gate {
        say!("gate {gate}");
    }
    if let Some(issuer) = listeners.issuer {
        say!("issuer {issuer}");
    }
    say!("admin {}", listeners.admin);
    say!("client address: {}", client_address(&loaded.client_address));
    say!("{}", limits(&loaded.settings));
    for policy in &loaded.policies {
        say!("\n{}", policy.to_string().trim_end());
    }
    for warning in &loaded.warnings {
        eprintln!("warning: {}", in_file(&loaded.file, warning));
    }
    Ok(())
}

fn client_address(rule: &ClientAddressRule) -> String {
    match rule {
        ClientAddressRule::Peer => "the peer of the connection".to_owned(),
        ClientAddressRule::Header { header, trusted } => {
            let header = match header {
                AddressHeader::XForwardedFor => "X-Forwarded-For",
                AddressHeader::Forwarded => "Forwarded",
            };
            let trusted: Vec<String> = trusted.iter().map(ToString::to_string).collect();
            format!("{header} from {}", trusted.join(", "))
        }
    }
}

fn limits(settings: &ServerSettings) -> String {
    let ServerSettings {
        header_timeout,
        idle_timeout,
        stall_timeout,
        max_connections,
        max_head,
        ..
    } = settings;
    format!(
        "limits: {max_connections} connections, head {} in {}, target {}, idle {}, stalled {}",
        show_size(*max_head as u64),
        show_duration(*header_timeout),
        show_size(MAX_URI_BYTES as u64),
        show_duration(*idle_timeout),
        show_duration(*stall_timeout),
    )
}
