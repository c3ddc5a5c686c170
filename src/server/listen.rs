//! Listening sockets: bound with or without `SO_REUSEPORT`, and accepted from until the drain.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::connection::{Shared, Stage, serve};
use super::doors::until;
use crate::telemetry::metrics::ConnectionError;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// How long nothing is accepted after an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether others may listen on the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Nobody.
    Alone,
    /// The other workers.
    Shared,
}

/// Binds an address.
pub(super) fn bind(address: SocketAddr, port: Port) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if port == Port::Shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The places for connections, over all workers.
#[derive(Clone)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    all: usize,
}

/// A place that is taken; its drop frees it.
struct Place(Arc<AtomicUsize>);

impl Places {
    pub(super) fn new(all: usize) -> Self {
        Self {
            taken: Arc::default(),
            all,
        }
    }

    /// Whether none is taken.
    pub(super) fn are_free(&self) -> bool {
        self.taken.load(Ordering::Relaxed) == 0
    }

    fn take(&self) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.all {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place(Arc::clone(&self.taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts until the drain begins, then closes the listener.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, places: Places) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut stage = shared.stage.clone();
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Who waits in the queue has been told by the kernel that we are there.
            _ = until(&mut stage, |stage| *stage != Stage::Serving) => match waiting(&listener) {
                Some(accepted) => accepted,
                None => return Ok(()),
            },
        };
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                let Some(place) = places.take() else {
                    shared
                        .worker
                        .recorder()
                        .counters
                        .connection_error(ConnectionError::Refused);
                    continue;
                };
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _place = place;
                    serve(shared, stream, peer).await;
                });
            }
            // The client was gone again before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if !failing {
                    tracing::error!(%error, "can't accept connections; trying again");
                }
                failing = true;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// A connection that waits to be accepted, if there is one. Asks the kernel: the runtime may not have heard of it yet.
fn waiting(listener: &tokio::net::TcpListener) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    let (socket, peer) = match SockRef::from(listener).accept() {
        Ok(accepted) => accepted,
        Err(_) => return None,
    };
    let stream = socket
        .set_nonblocking(true)
        .and_then(|()| TcpStream::from_std(socket.into()));
    Some(stream.and_then(|stream| Ok((stream, peer.as_socket().ok_or(io::ErrorKind::InvalidData)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_taken_in_one_by_one() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), Port::Alone).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(waiting(&listener).is_none());
        let clients: Vec<_> = (0..3)
            .map(|_| std::net::TcpStream::connect(address).unwrap())
            .collect();
        for client in &clients {
            let (_, peer) = waiting(&listener).unwrap().unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
        assert!(waiting(&listener).is_none());
    }
}
