//! The listening sockets of a server: those that were handed to it, matched by address, and fresh ones for the rest; and
//! when they are accepted from. A server can pause: then they listen on, and what connects waits in their queues.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use super::connection::Stage;
use super::control::wire::Door;
use super::listen::{Port, bind};
use super::takeover::Socket;

/// After there was no descriptor left for a socket.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// A socket, and the place of its listener among those of its door.
pub(super) type Placed = (usize, Arc<TcpListener>);

/// The sockets of a server, as they were bound or handed over.
pub(super) struct Sockets {
    /// Handed over and not yet used.
    handed: Vec<Socket>,
    /// In use.
    pub(super) all: Vec<Socket>,
}

impl Sockets {
    pub(super) fn new(handed: Vec<Socket>) -> Self {
        Self {
            handed,
            all: Vec::new(),
        }
    }

    /// The sockets at this address, the listener at this place of its door, in one heap per worker. Each that was handed over is used, since each has a queue of
    /// its own; where there are fewer than workers, several accept from one. No socket is bound beside handed ones: what
    /// would connect to it were lost if this process did not come to accept.
    pub(super) fn at(
        &mut self,
        door: Door,
        (place, address): (usize, SocketAddr),
        port: Port,
        workers: usize,
    ) -> io::Result<Vec<Vec<Placed>>> {
        let mut found: Vec<Socket> = Vec::new();
        self.handed.retain(|socket| {
            let fits = match (address.port(), found.first()) {
                (0, None) => socket.door == door && socket.address.ip() == address.ip(),
                (0, Some(first)) => socket.address == first.address,
                _ => socket.address == address,
            };
            if fits {
                found.push(Socket {
                    door,
                    ..socket.clone()
                });
            }
            !fits
        });
        if found.is_empty() {
            let mut address = address;
            for _ in 0..workers {
                let named = |error: io::Error| {
                    io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
                };
                let listener = bind(address, port).map_err(named)?;
                // With port 0 the first worker's port is everybody's.
                address = listener.local_addr()?;
                found.push(Socket {
                    door,
                    address,
                    listener: Arc::new(listener),
                });
            }
        }
        let heaps = (0..workers.max(1))
            .map(|worker| {
                let own =
                    |(at, _): &(usize, &Socket)| at % workers.max(1) == worker || worker % found.len() == *at;
                found
                    .iter()
                    .enumerate()
                    .filter(own)
                    .map(|(_, socket)| (place, Arc::clone(&socket.listener)))
                    .collect()
            })
            .collect();
        self.all.append(&mut found);
        Ok(heaps)
    }

    /// Closes what was handed over and is not used, and tells where it listened.
    pub(super) fn close_unused(&mut self) -> Vec<SocketAddr> {
        self.handed.drain(..).map(|socket| socket.address).collect()
    }
}

/// Whether a server accepts, as its workers see it.
#[derive(Clone)]
pub(super) struct Accepting {
    wanted: watch::Receiver<bool>,
    /// Workers that have not stopped yet.
    accept: Arc<AtomicUsize>,
}

/// The other end.
pub(super) struct AcceptSwitch {
    wanted: watch::Sender<bool>,
    accept: Arc<AtomicUsize>,
}

impl AcceptSwitch {
    /// Off.
    pub(super) fn new() -> Self {
        Self {
            wanted: watch::Sender::new(false),
            accept: Arc::default(),
        }
    }

    pub(super) fn watch(&self) -> Accepting {
        Accepting {
            wanted: self.wanted.subscribe(),
            accept: Arc::clone(&self.accept),
        }
    }

    pub(super) fn set(&self, on: bool) {
        self.wanted.send_replace(on);
    }

    /// Workers that accept.
    pub(super) fn accepting(&self) -> usize {
        self.accept.load(Ordering::Acquire)
    }
}

impl Accepting {
    /// Runs `accept` on a copy of each socket while the server accepts, with the place of its listener in the
    /// configuration. Ends, and closes the sockets, at a stage that `ends`; the running acceptors see that by themselves.
    pub(super) async fn run<F>(
        mut self,
        sockets: Vec<Placed>,
        mut stage: watch::Receiver<Stage>,
        ends: fn(Stage) -> bool,
        accept: impl Fn(usize, TcpListener) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        loop {
            tokio::select! {
                biased; // Even at the end: the queues are emptied, unless another process has the sockets.
                there = until(&mut self.wanted, |on| *on) => if !there { return },
                _ = until(&mut stage, |stage| ends(*stage)) => return,
            }
            let one = Count::new(&self.accept);
            let acceptors: Vec<_> = sockets
                .iter()
                .map(|(place, socket)| {
                    let (place, socket, accept) = (*place, Arc::clone(socket), accept.clone());
                    tokio::spawn(async move {
                        let copy = copy_of(&socket).await;
                        accept(place, copy).await
                    })
                })
                .collect();
            tokio::select! {
                _ = until(&mut self.wanted, |on| !*on) => {}
                _ = until(&mut stage, |stage| ends(*stage)) => {
                    for acceptor in acceptors {
                        let _ = acceptor.await;
                    }
                    return;
                }
            }
            // Between two connections: one that was accepted is served.
            for acceptor in acceptors {
                acceptor.abort();
                let _ = acceptor.await;
            }
            drop(one);
        }
    }
}

/// Another descriptor of a socket, as soon as there is room for one.
async fn copy_of(socket: &TcpListener) -> TcpListener {
    loop {
        match socket.try_clone() {
            Ok(copy) => return copy,
            Err(error) => tracing::error!(%error, "a socket can't be accepted from; trying again"),
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Waits for a value that fits. False when the sender is gone.
pub(super) async fn until<T>(watched: &mut watch::Receiver<T>, fits: impl FnMut(&T) -> bool) -> bool {
    watched.wait_for(fits).await.is_ok()
}

/// Counts itself while it lives.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(door: Door) -> Socket {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Socket {
            door,
            address: listener.local_addr().unwrap(),
            listener: Arc::new(listener),
        }
    }

    /// Of each worker, which of the handed sockets it has.
    fn spread(handed: usize, workers: usize) -> Vec<Vec<usize>> {
        let address = SocketAddr::from(([127, 0, 0, 1], 4242));
        let all: Vec<Socket> = (0..handed)
            .map(|_| Socket {
                address,
                ..socket(Door::Gate)
            })
            .collect();
        let number = |(place, one): &Placed| {
            assert_eq!(*place, 4);
            all.iter()
                .position(|socket| Arc::ptr_eq(&socket.listener, one))
                .unwrap()
        };
        let mut sockets = Sockets::new(all.clone());
        let heaps = sockets
            .at(Door::Gate, (4, address), Port::Shared, workers)
            .unwrap();
        assert_eq!(sockets.all.len(), handed, "none was bound beside them");
        heaps
            .iter()
            .map(|heap| heap.iter().map(number).collect())
            .collect()
    }

    #[test]
    fn every_handed_socket_is_accepted_from_by_somebody_and_everybody_has_one() {
        assert_eq!(spread(2, 2), [[0], [1]]);
        assert_eq!(spread(3, 2), [vec![0, 2], vec![1]]);
        assert_eq!(spread(1, 3), [[0], [0], [0]]);
        assert_eq!(spread(2, 3), [vec![0], vec![1], vec![0]]);
        for handed in 1..6 {
            for workers in 1..6 {
                let heaps = spread(handed, workers);
                assert!(heaps.iter().all(|heap| !heap.is_empty()));
                assert!((0..handed).all(|at| heaps.iter().any(|heap| heap.contains(&at))));
            }
        }
    }

    #[test]
    fn sockets_are_matched_by_address_whatever_they_were_for_and_the_rest_is_closed() {
        let (was_issuer, other) = (socket(Door::Issuer), socket(Door::Gate));
        let address = was_issuer.address;
        let mut sockets = Sockets::new(vec![was_issuer.clone(), other.clone()]);
        let heaps = sockets.at(Door::Gate, (4, address), Port::Shared, 1).unwrap();
        assert!(Arc::ptr_eq(&heaps[0][0].1, &was_issuer.listener));
        assert_eq!(sockets.all[0].door, Door::Gate);
        assert_eq!(sockets.close_unused(), [other.address]);
    }

    #[test]
    fn a_fresh_address_is_bound_once_per_worker_on_one_port() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut sockets = Sockets::new(Vec::new());
        let heaps = sockets.at(Door::Gate, (4, any), Port::Shared, 3).unwrap();
        assert_eq!(heaps.len(), 3);
        assert!(
            sockets
                .all
                .iter()
                .all(|socket| socket.address == sockets.all[0].address)
        );
    }
}
