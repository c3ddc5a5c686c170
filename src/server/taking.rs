//! What a client takes of what is sent to it: how far ahead of it the kernel is filled, and when it has taken nothing for too
//! long. Judged by what its side has acknowledged: the kernel asks for more only when a good part of its buffer is empty,
//! and a slow reader may need longer for that than `stall_timeout`.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::alarm::Alarm;

/// What the kernel takes of an answer beyond what the client lets it send, at first. Without a bound a reader who takes
/// nothing makes us read and copy megabytes ahead, and a thousand of them that come together keep everybody else waiting.
const UNSENT_AT_FIRST: u32 = 128 * 1024;
/// The same for who has shown that it reads: larger pieces cost less.
const UNSENT: u32 = 1024 * 1024;
/// What it has taken then.
const SHOWN: u64 = 1024 * 1024;
/// Who takes as much within this time reads quickly: 8 Mbit/s.
const QUICK: Duration = Duration::from_secs(1);
/// How often a reader is looked at within its time.
const LOOKS: u32 = 8;

/// A client as a reader.
pub(super) struct Taking {
    limit: Duration,
    alarm: Alarm,
    /// Handed to the kernel until `SHOWN`.
    written: u64,
    /// Taken since `begun`, until it is `SHOWN`.
    taken: u64,
    begun: Instant,
    quick: bool,
    waiting: Option<Waiting>,
}

/// The kernel takes nothing more.
struct Waiting {
    /// When the reader was last seen to take something, or the wait began.
    since: Instant,
    /// When it is looked at.
    look: Instant,
    /// What it had not acknowledged at the last look; `None` where the kernel does not say.
    queued: Option<u32>,
}

impl Taking {
    /// Of a fresh connection.
    pub(super) fn new(stream: &TcpStream, limit: Duration) -> Self {
        let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_AT_FIRST);
        Self {
            limit,
            alarm: Alarm::default(),
            written: 0,
            taken: 0,
            begun: Instant::now(),
            quick: false,
            waiting: None,
        }
    }

    /// A write ended.
    pub(super) fn note(&mut self, result: io::Result<usize>, stream: &TcpStream) -> io::Result<usize> {
        let waited = self.waiting.take().is_some();
        let Ok(count) = result else { return result };
        if self.written < SHOWN {
            self.written += count as u64;
            if self.written >= SHOWN {
                let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
            }
        }
        self.taken += count as u64;
        if self.taken >= SHOWN || waited {
            self.judge();
        }
        result
    }

    /// Whether the client reads quickly. Time without an answer counts too, since nobody looks at a clock for every answer: who
    /// comes back after a pause may be taken for slow, for one `SHOWN`.
    fn judge(&mut self) {
        let now = Instant::now();
        let in_time = now - self.begun <= QUICK;
        if self.taken >= SHOWN || !in_time {
            self.quick = in_time;
            self.taken = 0;
            self.begun = now;
        }
    }

    /// Whether the client has shown that it reads quickly, and has not stopped since.
    pub(super) fn is_quick(&self) -> bool {
        self.quick
    }

    /// Whether the kernel takes nothing more.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.is_some()
    }

    /// Nothing more can be written: ready when the reader has taken nothing for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, stream: &TcpStream) -> Poll<()> {
        let step = self.limit / LOOKS;
        let waiting = self.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            Waiting {
                since: now,
                look: now + step,
                queued: queued(stream),
            }
        });
        while self.alarm.poll(cx, waiting.look).is_ready() {
            let (now, queued) = (Instant::now(), queued(stream));
            if let (Some(now_queued), Some(before)) = (queued, waiting.queued)
                && now_queued < before
            {
                waiting.since = now;
            }
            waiting.queued = queued;
            let end = waiting.since + self.limit;
            if now >= end {
                return Poll::Ready(());
            }
            waiting.look = end.min(now + step);
        }
        Poll::Pending
    }
}

/// How many bytes the peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
fn queued(stream: &TcpStream) -> Option<u32> {
    /// Linux's number of it on x86, Arm and RISC-V; elsewhere it is none, and nothing is known.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request reads nothing and writes one C int, which is what `Getter` has room for. A kernel to which the
    // number means nothing writes nothing and says so.
    let count = unsafe {
        let request = rustix::ioctl::Getter::<SIOCOUTQ, std::ffi::c_int>::new();
        rustix::ioctl::ioctl(stream, request)
    };
    count.ok().and_then(|count| u32::try_from(count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_quick_by_what_it_takes_in_a_second() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut taking = Taking::new(&stream, Duration::from_secs(30));
        // (milliseconds before a write, kibibytes written, whether it was waited for, quick afterwards)
        for (step, (pause, size, waited, quick)) in [
            (0, 1023, false, false),
            (0, 1, false, true),
            (900, 1023, true, true),
            (50, 1, true, true),
            // It stops.
            (1001, 1, true, false),
            (400, 500, true, false),
            (400, 500, true, false),
            (100, 24, true, true),
            // A pause between two answers; then it goes on as before.
            (60_000, 1, false, true),
            (0, 500, true, false),
            (500, 1024, true, true),
            // Steady, but slow.
            (1500, 1024, true, false),
            (1500, 1024, true, false),
        ]
        .into_iter()
        .enumerate()
        {
            tokio::time::advance(Duration::from_millis(pause)).await;
            if waited {
                std::future::poll_fn(|cx| {
                    assert!(taking.poll(cx, &stream).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            taking.note(Ok(size << 10), &stream).unwrap();
            assert_eq!(taking.is_quick(), quick, "step {step}");
        }
    }
}
