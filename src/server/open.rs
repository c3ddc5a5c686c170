//! The listening sockets of the whole server: bound here, or inherited from the service manager, which then has to hold all
//! of the gate's.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::listen::{Port, bind};
use super::settings::Listeners;
use super::systemd::Inherited;

/// All listening sockets.
pub(super) struct Opened {
    pub(super) admin: TcpListener,
    pub(super) issuer: Option<TcpListener>,
    /// The gate's, by worker, each in the order of the configuration.
    pub(super) gate: Vec<Vec<TcpListener>>,
    /// The gate's addresses, where port 0 has become a port.
    pub(super) addresses: Vec<SocketAddr>,
}

/// Opens them.
///
/// # Errors
/// When an address is taken or can't be bound, or when the sockets of the service manager are not those of the
/// configuration.
pub(super) fn open(listeners: &Listeners, workers: usize, mut inherited: Inherited) -> io::Result<Opened> {
    let is_inherited = !inherited.is_empty();
    let mut given = |address: SocketAddr| match inherited.take(address) {
        None if is_inherited => Err(io::Error::other(format!(
            "the service manager holds sockets, but none on {address} (add ListenStream={address}, or start without a \
             socket unit)"
        ))),
        given => Ok(given),
    };
    let gate_given = listeners
        .gate
        .iter()
        .map(|address| given(*address))
        .collect::<io::Result<Vec<_>>>()?;
    // The public does not come to these; they may be ours all the same.
    let issuer_given = listeners.issuer.and_then(|address| inherited.take(address));
    let admin_given = inherited.take(listeners.admin);
    inherited.all_taken()?;

    // It is bound first and alone: a second instance fails here, before it takes a share of the requests.
    let admin = given_or_bound(admin_given, listeners.admin)?;
    let issuer = match listeners.issuer {
        Some(address) => Some(given_or_bound(issuer_given, address)?),
        None => None,
    };
    let mut addresses = listeners.gate.clone();
    let mut gate = Vec::new();
    for _ in 0..workers {
        let mut own = Vec::new();
        for (address, given) in addresses.iter_mut().zip(&gate_given) {
            let listener = match given {
                // The workers accept from one queue, each by a descriptor of its own.
                Some(given) => given.try_clone(),
                None => bind(*address, Port::Shared),
            };
            let listener = named(*address, listener)?;
            // With port 0 the first worker's port is everybody's.
            *address = listener.local_addr()?;
            own.push(listener);
        }
        gate.push(own);
    }
    Ok(Opened {
        admin,
        issuer,
        gate,
        addresses,
    })
}

fn given_or_bound(given: Option<TcpListener>, address: SocketAddr) -> io::Result<TcpListener> {
    match given {
        Some(given) => Ok(given),
        None => named(address, bind(address, Port::Alone)),
    }
}

fn named<T>(address: SocketAddr, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("can't listen on {address}: {error}")))
}
