//! The access log: one line per request, text or JSON. Lines are gathered per worker and written by a thread of their
//! own; when it can't keep up, lines are dropped and counted, and no request waits.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::redact;
use super::settings::{AccessSink, LogFormat};
use crate::clock::UnixTime;

/// A worker hands its lines over when it has this many bytes, or at the next tick.
const BATCH_BYTES: usize = 32 * 1024;
/// Batches that may wait for the writer.
const WAITING_BATCHES: usize = 64;
/// How often workers hand over what they have.
pub const TICK: Duration = Duration::from_millis(100);

/// What one line says.
#[derive(Debug)]
pub struct Line<'l> {
    /// When the request's head had been read.
    pub time: UnixTime,
    /// The client's address, as far as it is known.
    pub client: IpAddr,
    /// `gate` or `issuer`.
    pub door: &'static str,
    /// The method.
    pub method: &'l str,
    /// The path without the token; `None` where it has no single reading.
    pub path: Option<&'l str>,
    /// The route.
    pub route: Option<&'l str>,
    /// The status that was sent.
    pub status: u16,
    /// `ok`, or the code of the refusal or failure.
    pub code: &'static str,
    /// The fact behind the code.
    pub detail: &'static str,
    /// The token's name in logs.
    pub token_id: Option<crate::token::TokenId>,
    /// Whom the token was issued for.
    pub subject: Option<&'l str>,
    /// Bytes of the body.
    pub bytes: u64,
    /// `complete`, or by whom it was cut.
    pub end: End,
    /// Time to the head of the answer.
    pub head: Duration,
    /// Time to the end of the body.
    pub total: Duration,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it was handed over.
    Complete,
    /// The client left, or took no more.
    CutByClient,
    /// The origin's side broke.
    CutByOrigin,
}

impl End {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CutByClient => "cut_by_client",
            Self::CutByOrigin => "cut_by_origin",
        }
    }
}

/// The access log of the process.
pub struct AccessLog {
    format: LogFormat,
    sender: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Opens the sink and starts the writer.
    ///
    /// # Errors
    /// When the file can't be opened or no thread can be started.
    pub fn start(sink: &AccessSink, format: LogFormat) -> io::Result<Arc<Self>> {
        let out: Option<Box<dyn Write + Send>> = match sink {
            AccessSink::Off => None,
            AccessSink::Stdout => Some(Box::new(io::stdout())),
            AccessSink::Stderr => Some(Box::new(io::stderr())),
            AccessSink::File(path) => {
                Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
        };
        let dropped = Arc::new(AtomicU64::new(0));
        let mut writer = None;
        let mut sender = None;
        if let Some(out) = out {
            let (to_writer, batches) = sync_channel(WAITING_BATCHES);
            let lost = Arc::clone(&dropped);
            writer = Some(
                std::thread::Builder::new()
                    .name("access-log".into())
                    .spawn(move || write_all(batches, out, &lost))?,
            );
            sender = Some(to_writer);
        }
        Ok(Arc::new(Self {
            format,
            sender,
            dropped,
            writer: Mutex::new(writer),
        }))
    }

    /// A place where one worker gathers its lines.
    pub fn lines(self: &Arc<Self>) -> Lines {
        Lines {
            log: Arc::clone(self),
            batch: Mutex::new(Vec::new()),
        }
    }

    /// Lines that were lost because the writer could not keep up or failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLog {
    /// Waits until what was handed over is written.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(writer) = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            let _ = writer.join();
        }
    }
}

fn write_all(batches: Receiver<Vec<u8>>, mut out: Box<dyn Write + Send>, lost: &AtomicU64) {
    for batch in batches {
        if out.write_all(&batch).and_then(|()| out.flush()).is_err() {
            lost.fetch_add(count_lines(&batch), Ordering::Relaxed);
        }
    }
}

fn count_lines(batch: &[u8]) -> u64 {
    batch.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// The lines of one worker that were not handed over yet.
pub struct Lines {
    log: Arc<AccessLog>,
    batch: Mutex<Vec<u8>>,
}

impl Lines {
    /// Adds a line.
    pub fn add(&self, line: &Line<'_>) {
        if self.log.sender.is_none() {
            return;
        }
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a Vec can't fail.
        let _ = match self.log.format {
            LogFormat::Text => write_text(&mut batch, line),
            LogFormat::Json => write_json(&mut batch, line),
        };
        if batch.len() >= BATCH_BYTES {
            self.hand_over(&mut batch);
        }
    }

    /// Hands over what there is.
    pub fn flush(&self) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if !batch.is_empty() {
            self.hand_over(&mut batch);
        }
    }

    fn hand_over(&self, batch: &mut Vec<u8>) {
        let Some(sender) = &self.log.sender else { return };
        let full = std::mem::replace(batch, Vec::with_capacity(BATCH_BYTES + 1024));
        if let Err(TrySendError::Full(lost) | TrySendError::Disconnected(lost)) = sender.try_send(full) {
            self.log.dropped.fetch_add(count_lines(&lost), Ordering::Relaxed);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write_text(out: &mut Vec<u8>, line: &Line<'_>) -> io::Result<()> {
    write!(
        out,
        "{} {} {} {} ",
        line.time.rfc3339(),
        line.client,
        line.door,
        line.method,
    )?;
    match line.path {
        Some(path) => quoted(out, redact::Path(path))?,
        None => out.write_all(b"-")?,
    }
    write!(out, " {} code={}", line.status, line.code)?;
    if let Some(route) = line.route {
        write!(out, " route={route}")?;
    }
    if let Some(id) = line.token_id {
        write!(out, " token_id={id}")?;
    }
    if let Some(subject) = line.subject {
        out.write_all(b" sub=")?;
        quoted(out, subject)?;
    }
    write!(
        out,
        " bytes={} end={} head_ms={}.{:03} ms={}.{:03}",
        line.bytes,
        line.end.as_str(),
        line.head.as_millis(),
        line.head.subsec_micros() % 1000,
        line.total.as_millis(),
        line.total.subsec_micros() % 1000,
    )?;
    if !line.detail.is_empty() {
        out.write_all(b" detail=")?;
        quoted(out, line.detail)?;
    }
    out.write_all(b"\n")
}

/// As a JSON string: one line, no control bytes, whatever is in it.
fn quoted(out: &mut Vec<u8>, text: impl std::fmt::Display) -> io::Result<()> {
    serde_json::to_writer(out, &format_args!("{text}")).map_err(io::Error::from)
}

fn write_json(out: &mut Vec<u8>, line: &Line<'_>) -> io::Result<()> {
    write!(
        out,
        "{{\"time\":\"{}\",\"client\":\"{}\",\"door\":\"{}\",\"method\":",
        line.time.rfc3339(),
        line.client,
        line.door
    )?;
    quoted(out, line.method)?;
    for (name, value) in [("route", line.route), ("sub", line.subject)] {
        if let Some(value) = value {
            write!(out, ",\"{name}\":")?;
            quoted(out, value)?;
        }
    }
    if let Some(path) = line.path {
        out.write_all(b",\"path\":")?;
        quoted(out, redact::Path(path))?;
    }
    if let Some(id) = line.token_id {
        write!(out, ",\"token_id\":\"{id}\"")?;
    }
    write!(
        out,
        ",\"status\":{},\"code\":\"{}\",\"detail\":",
        line.status, line.code
    )?;
    quoted(out, line.detail)?;
    writeln!(
        out,
        ",\"bytes\":{},\"end\":\"{}\",\"head_us\":{},\"us\":{}}}",
        line.bytes,
        line.end.as_str(),
        line.head.as_micros(),
        line.total.as_micros(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            time: UnixTime::from_secs(0),
            client: IpAddr::from([127, 0, 0, 1]),
            door: "gate",
            method: "GET",
            path: Some("/a \"b\"\n"),
            route: Some("files"),
            status: 206,
            code: "ok",
            detail: "",
            token_id: Some(crate::token::TokenId([1; 8])),
            subject: Some("4\r2"),
            bytes: 10,
            end: End::CutByClient,
            head: Duration::from_micros(1500),
            total: Duration::from_micros(2_000_001),
        }
    }

    #[test]
    fn text_is_one_line_whatever_is_in_it() {
        let mut out = Vec::new();
        write_text(&mut out, &line()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000Z 127.0.0.1 gate GET \"/a \\\"b\\\"\\n\" 206 code=ok route=files \
             token_id=0101010101010101 sub=\"4\\r2\" bytes=10 end=cut_by_client head_ms=1.500 ms=2000.001\n"
        );
    }

    #[test]
    fn json_parses_and_says_the_same() {
        let mut out = Vec::new();
        write_json(&mut out, &line()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["path"], "/a \"b\"\n");
        assert_eq!(value["sub"], "4\r2");
        assert_eq!(value["end"], "cut_by_client");
        assert_eq!(value["us"], 2_000_001);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn all_lines_are_in_the_file_when_the_log_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = AccessLog::start(&AccessSink::File(path.clone()), LogFormat::Text).unwrap();
        let lines = log.lines();
        for _ in 0..1000 {
            lines.add(&line());
        }
        drop(lines);
        assert_eq!(log.dropped(), 0);
        drop(log);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    }
}
