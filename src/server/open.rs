//! The sockets that the service manager holds, as those of the configuration's listeners: all of the gate's, or none.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::control::wire::Door;
use super::settings::Listeners;
use super::systemd::Inherited;
use super::takeover::Socket;

/// Matches them by address.
///
/// # Errors
/// When the sockets of the service manager are not those of the configuration.
pub(super) fn inherited(listeners: &Listeners, mut inherited: Inherited) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    if inherited.is_empty() {
        return Ok(sockets);
    }
    let mut give = |door, address: SocketAddr| {
        let listener = inherited.take(address)?;
        sockets.push(Socket {
            door,
            address,
            listener: Arc::new(listener),
        });
        Some(())
    };
    for address in &listeners.gate {
        give(Door::Gate, *address).ok_or_else(|| {
            io::Error::other(format!(
                "the service manager holds sockets, but none on {address} (add ListenStream={address}, or start without a \
                 socket unit)"
            ))
        })?;
    }
    // The public does not come to these; they may be ours all the same.
    let _ = listeners.issuer.and_then(|address| give(Door::Issuer, address));
    let _ = give(Door::Admin, listeners.admin);
    inherited.all_taken()?;
    Ok(sockets)
}
