//! Listening sockets: bound with or without `SO_REUSEPORT`, and accepted from until the drain. Who has no place, and who
//! has to send a PROXY header and does not send a good one, goes no further than this.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::{Shared, Stage, note, serve};
use super::doors::until;
use super::limits::Places;
use super::proxy_protocol::{self, Fault, Source};
use super::settings::ClientAddressRule;
use crate::telemetry::metrics::ConnectionError;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 4096;
/// How long nothing is accepted after an error such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);
/// How long no such error must have come until the trouble is over.
const CALM: Duration = Duration::from_secs(1);

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

/// How the listeners of gate and issuer are, over all workers.
#[derive(Debug, Default)]
pub(super) struct Listening {
    expected: AtomicUsize,
    accepting: AtomicUsize,
    /// Those that can't accept for want of something.
    troubled: AtomicUsize,
}

impl Listening {
    /// Counts listeners that are to accept.
    pub(super) fn count<T>(&self, listeners: Vec<T>) -> Vec<T> {
        self.expected.fetch_add(listeners.len(), Ordering::Relaxed);
        listeners
    }

    /// Whether all accept.
    pub(super) fn is_whole(&self) -> bool {
        self.accepting.load(Ordering::Relaxed) >= self.expected.load(Ordering::Relaxed)
    }

    /// Whether one of them can't, for want of something.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed) > 0
    }
}

/// A listener that can't accept for want of something; over when it is dropped.
struct Trouble {
    listening: Arc<Listening>,
    /// When it is over, unless more comes.
    calm: Instant,
}

impl Trouble {
    fn begin(listening: &Arc<Listening>, error: &io::Error) -> Self {
        if listening.troubled.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(%error, "can't accept connections; trying again");
        }
        Self {
            listening: Arc::clone(listening),
            calm: Instant::now(),
        }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if self.listening.troubled.fetch_sub(1, Ordering::Relaxed) == 1 {
            tracing::info!("connections are accepted again");
        }
    }
}

/// What the listeners of all workers share.
#[derive(Clone)]
pub(super) struct Entrance {
    pub(super) places: Places,
    pub(super) listening: Arc<Listening>,
}

/// What a listener asks of who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Callers of the issuer: a place.
    Callers,
    /// The gate's clients: a place, and one of their address's own.
    Clients,
    /// Those, and a PROXY header before, within this time.
    Balanced(Duration),
}

impl Admission {
    /// What the gate's listener at this place asks.
    pub(super) fn of_gate(listener: usize, rule: &ClientAddressRule) -> Self {
        match rule {
            ClientAddressRule::Proxy(proxy) if proxy.listeners.contains(&listener) => {
                Self::Balanced(proxy.timeout)
            }
            _ => Self::Clients,
        }
    }
}

/// Accepts until the drain begins, then closes the listener.
pub(super) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    entrance: Entrance,
    admission: Admission,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    entrance.listening.accepting.fetch_add(1, Ordering::Relaxed);
    let mut stage = shared.stage.clone();
    let mut trouble: Option<Trouble> = None;
    loop {
        let accepted = tokio::select! {
            // In this order: a crowd does not hold up the drain, and what is still wrong is not over.
            biased;
            // Who waits in the queue has been told by the kernel that we are there.
            _ = until(&mut stage, |stage| *stage != Stage::Serving) => match waiting(&listener) {
                Some(accepted) => accepted,
                None => return Ok(()),
            },
            accepted = listener.accept() => accepted,
            () = at(trouble.as_ref().map(|trouble| trouble.calm)) => {
                trouble = None;
                continue;
            }
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, &entrance.places, admission, stream, peer),
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                let trouble = trouble.get_or_insert_with(|| Trouble::begin(&entrance.listening, &error));
                tokio::time::sleep(PAUSE).await;
                trouble.calm = Instant::now() + CALM;
            }
        }
    }
}

/// Errors that belong to one connection and not to the listener: the client was gone again before it was accepted, or its
/// network was (`accept(2)`: to be treated like "try again"). A pause for these would be a gift to whoever can cause them.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::NOPROTOOPT
                | Errno::OPNOTSUPP
        )
    )
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Serves a connection in a task of its own, where there is a place for it.
fn admit(
    shared: &Arc<Shared>,
    places: &Places,
    admission: Admission,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    let refuse = move |shared: &Shared, kind| {
        shared.worker.recorder().counters.connection_error(kind);
        note(peer, kind);
    };
    let Some(place) = places.take() else {
        return refuse(shared, ConnectionError::Refused);
    };
    let is_trusted = || shared.client_address.trusts(peer.ip().to_canonical());
    if matches!(admission, Admission::Balanced(_)) && !is_trusted() {
        return refuse(shared, ConnectionError::ProxyUntrusted);
    }
    let (shared, places) = (Arc::clone(shared), places.clone());
    tokio::spawn(async move {
        let client = match admission {
            Admission::Callers | Admission::Clients => peer,
            Admission::Balanced(within) => match proxy_protocol::read(&mut stream, within).await {
                Ok(Source::Client(client)) => client,
                Ok(Source::Peer) => peer,
                // Nothing is wrong with a balancer that looks whether the port is open.
                Err(Fault::Silent) => return,
                Err(Fault::Missing) => return refuse(&shared, ConnectionError::ProxyMissing),
                Err(Fault::Bad) => return refuse(&shared, ConnectionError::ProxyBad),
                Err(Fault::Late) => return refuse(&shared, ConnectionError::ProxyTimeout),
                Err(Fault::Io) => return refuse(&shared, ConnectionError::Io),
            },
        };
        let _own = match admission {
            Admission::Callers => None,
            Admission::Clients | Admission::Balanced(_) => {
                match places.take_own(client, &shared.client_address) {
                    Some(own) => Some(own),
                    None => return refuse(&shared, ConnectionError::RefusedAddress),
                }
            }
        };
        serve(shared, stream, client, place).await;
    });
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

    #[test]
    fn what_one_client_can_cause_pauses_nobody_and_what_is_lacking_does() {
        let of = |errno: Errno| is_of_the_client(&errno.into());
        assert!(
            [Errno::CONNABORTED, Errno::HOSTUNREACH, Errno::PROTO]
                .into_iter()
                .all(of)
        );
        assert!(
            ![Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
                .into_iter()
                .any(of)
        );
    }

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
