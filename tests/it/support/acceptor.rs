//! A listener of a scripted server. In: what serves a connection. Out: an address; when dropped, it stops and joins all.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Accepts until it is dropped.
pub(crate) struct Acceptor {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Listens on a port of its own, in a thread of this name. `stop` tells those that serve to end.
    pub(crate) fn start<S>(name: &str, stop: &Arc<AtomicBool>, serve: S) -> Self
    where
        S: Fn(TcpStream) -> JoinHandle<()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        listener.set_nonblocking(true).expect("nonblocking");
        let stopped = Arc::clone(stop);
        let accept = move || {
            let mut running = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => running.push(serve(stream)),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
            for thread in running {
                let _ = thread.join();
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(accept)
            .expect("thread");
        Self {
            address,
            stop: Arc::clone(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
