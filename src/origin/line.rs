//! Requests that wait because every address of an origin has all it may have: first come, first served. Bounded in number
//! here, in time by who waits. Never: sends a request where it was before.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::endpoint::{Count, Endpoint, Ticket};
use super::fleet::Tried;

/// More never wait, whatever is configured.
const MOST: usize = 65_536;

/// The line.
#[derive(Debug, Default)]
pub(super) struct Line {
    most: usize,
    /// How many stand in it; read without the lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    /// By number.
    heads: VecDeque<Head>,
}

#[derive(Debug)]
struct Head {
    number: u64,
    tried: Tried,
    count: Count,
    sender: oneshot::Sender<Ticket>,
}

/// A place in the line. Dropping it leaves the line.
pub(super) struct Place<'l> {
    line: &'l Line,
    number: u64,
    receiver: oneshot::Receiver<Ticket>,
}

impl Line {
    /// A line of at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.min(MOST),
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

    /// A place in it for a request that was at these addresses; none when it is full. Who takes one has to look once more
    /// whether there is room for a request.
    pub(super) fn join(&self, tried: Tried, count: Count) -> Option<Place<'_>> {
        let mut queue = self.lock();
        if queue.heads.len() >= self.most {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let number = queue.next;
        queue.next += 1;
        queue.heads.push_back(Head {
            number,
            tried,
            count,
            sender,
        });
        self.waiting.store(queue.heads.len(), Ordering::SeqCst);
        Some(Place {
            line: self,
            number,
            receiver,
        })
    }

    /// Hands out what room this address has, to those who were not there yet.
    pub(super) fn serve(&self, endpoint: &Arc<Endpoint>) {
        loop {
            let mut queue = self.lock();
            let heads = &mut queue.heads;
            let first = heads
                .iter()
                .position(|head| !head.tried.contains(&endpoint.id()))
                .filter(|_| !endpoint.is_gone());
            let served = first.and_then(|first| {
                let ticket = endpoint.enter(heads[first].count)?;
                Some((heads.remove(first)?, ticket))
            });
            self.waiting.store(heads.len(), Ordering::SeqCst);
            drop(queue);
            let Some((head, ticket)) = served else {
                return;
            };
            // Who left in this moment gives the ticket back by dropping it, which leads here again.
            let _ = head.sender.send(ticket);
        }
    }

    fn leave(&self, number: u64) {
        let mut queue = self.lock();
        if let Ok(at) = queue.heads.binary_search_by_key(&number, |head| head.number) {
            let head = queue.heads.remove(at);
            self.waiting.store(queue.heads.len(), Ordering::SeqCst);
            drop(queue);
            drop(head);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Place<'_> {
    /// None where the line is no more.
    type Output = Option<Ticket>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.leave(self.number);
    }
}
