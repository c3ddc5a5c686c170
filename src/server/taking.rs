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
/// How often a reader is looked at within its time.
const LOOKS: u32 = 8;

/// A client as a reader.
pub(super) struct Taking {
    limit: Duration,
    alarm: Alarm,
    /// Handed to the kernel until `SHOWN`.
    written: u64,
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
            waiting: None,
        }
    }

    /// A write ended.
    pub(super) fn note(&mut self, result: io::Result<usize>, stream: &TcpStream) -> io::Result<usize> {
        self.waiting = None;
        if self.written < SHOWN
            && let Ok(count) = result
        {
            self.written += count as u64;
            if self.written >= SHOWN {
                let _ = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
            }
        }
        result
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
