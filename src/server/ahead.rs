//! How far an answer runs ahead of its client. In: whether the client reads quickly, what was handed out, when all of it is
//! written. Out: how much of a body is read at once, and whether its next piece waits. One per connection, flags only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

/// What is read at once for a client that has not shown that it reads quickly: what one of its downloads holds.
const READ: usize = 128 * 1024;

/// What a connection knows of it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Whether the client reads quickly.
    quick: AtomicBool,
    /// Whether a piece was handed out since all was written the last time.
    unwritten: AtomicBool,
    /// Whether the next one waits for that.
    waits: AtomicBool,
}

impl Ahead {
    /// How the client reads.
    pub(super) fn reads_quickly(&self, quick: bool) {
        self.quick.store(quick, Ordering::Relaxed);
    }

    /// What may be read at once of a body.
    pub(super) fn read(&self) -> usize {
        match self.quick.load(Ordering::Relaxed) {
            true => usize::MAX,
            false => READ,
        }
    }

    /// Whether the next piece has to wait until all before it is written; then `written` wakes its task. hyper's server of
    /// HTTP/1.1 alone would take sixteen pieces, or 408 KiB and one piece more, which is worth it for quick readers only.
    pub(super) fn holds(&self) -> bool {
        let holds = self.unwritten.load(Ordering::Relaxed) && !self.quick.load(Ordering::Relaxed);
        if holds {
            self.waits.store(true, Ordering::Relaxed);
        }
        holds
    }

    /// A piece was handed out.
    pub(super) fn hand(&self) {
        self.unwritten.store(true, Ordering::Relaxed);
    }

    /// All that was handed out is written. Over HTTP/1.1 a connection is one task, so nothing comes between these steps.
    pub(super) fn written(&self, cx: &Context<'_>) {
        self.unwritten.store(false, Ordering::Relaxed);
        if self.waits.load(Ordering::Relaxed) {
            self.waits.store(false, Ordering::Relaxed);
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_does_not_read_quickly_gets_one_piece_at_a_time() {
        let ahead = Ahead::default();
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        for round in 1..=3 {
            assert!(!ahead.holds());
            ahead.hand();
            assert!(ahead.holds() && ahead.holds());
            ahead.written(&cx);
            // What was written while nobody waited wakes nobody.
            ahead.written(&cx);
            assert_eq!(woken.0.load(Ordering::Relaxed), round);
        }
        assert_eq!(ahead.read(), READ);
        ahead.hand();
        ahead.reads_quickly(true);
        assert!(!ahead.holds() && ahead.read() == usize::MAX);
        ahead.written(&cx);
        assert_eq!(woken.0.load(Ordering::Relaxed), 3);
    }
}
