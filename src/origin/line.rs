//! Requests that wait because every address of an origin has all it may have: first come, first served. Bounded in number
//! here, in time by who waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::endpoint::{Endpoint, Ticket};

/// The line.
#[derive(Debug, Default)]
pub(super) struct Line {
    most: usize,
    /// How many stand in it; read without the lock.
    waiting: AtomicUsize,
    heads: Mutex<VecDeque<oneshot::Sender<Ticket>>>,
}

impl Line {
    /// A line of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Whether anybody waits: then nobody may go ahead.
    pub(super) fn is_waited_in(&self) -> bool {
        self.len() > 0
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// A place in it; none when it is full. Who takes one has to look once more whether there is room for a request.
    pub(super) fn join(&self) -> Option<oneshot::Receiver<Ticket>> {
        let mut heads = self.lock();
        if heads.len() >= self.most {
            // Those who left are still counted.
            heads.retain(|head| !head.is_closed());
        }
        let receiver = (heads.len() < self.most).then(|| {
            let (sender, receiver) = oneshot::channel();
            heads.push_back(sender);
            receiver
        });
        self.waiting.store(heads.len(), Ordering::SeqCst);
        receiver
    }

    /// Hands out what room this address has.
    pub(super) fn serve(&self, endpoint: &Arc<Endpoint>) {
        loop {
            let mut heads = self.lock();
            heads.retain(|head| !head.is_closed());
            let ticket = match heads.is_empty() {
                true => None,
                false => endpoint.enter(),
            };
            let head = ticket.is_some().then(|| heads.pop_front()).flatten();
            self.waiting.store(heads.len(), Ordering::SeqCst);
            drop(heads);
            let (Some(head), Some(ticket)) = (head, ticket) else {
                return;
            };
            // Who left in this moment gives the ticket back by dropping it, which leads here again.
            let _ = head.send(ticket);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<Ticket>>> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
