//! The access log: one line per request, text or JSON. Lines are gathered per worker and written by a thread of their
//! own; when it can't keep up, lines are dropped and counted, and no request waits.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
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
/// How long the last lines may take when the process ends.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// How often workers hand over what they have.
pub const TICK: Duration = Duration::from_millis(100);

/// What one line says.
#[derive(Debug)]
pub struct Line<'l> {
    /// When the request's head had been read.
    pub time: UnixTime,
    /// The client's address, as far as it is known.
    pub client: IpAddr,
    /// `gate`, `landing` or `issuer`.
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
    /// The field `s-uri-signing` of RFC 9246 §6.4, on routes that take signed URIs.
    pub uri_signing: Option<u16>,
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
    /// We cut it: its token was withdrawn.
    CutByGate,
}

impl End {
    /// The word in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CutByClient => "cut_by_client",
            Self::CutByOrigin => "cut_by_origin",
            Self::CutByGate => "cut_by_gate",
        }
    }
}

/// The access log of the process.
pub struct AccessLog {
    format: LogFormat,
    sender: Option<SyncSender<Vec<u8>>>,
    dropped: Arc<AtomicU64>,
    /// The thread, and what disconnects when it has written everything.
    writer: Mutex<Option<(JoinHandle<()>, Receiver<()>)>>,
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
            let (running, done) = sync_channel(0);
            let thread = std::thread::Builder::new()
                .name("access-log".into())
                .spawn(move || {
                    write_all(batches, out, &lost);
                    drop(running);
                })?;
            writer = Some((thread, done));
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
            batch: Mutex::default(),
        }
    }

    /// Lines that were lost because the writer could not keep up or failed.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for AccessLog {
    /// Waits until what was handed over is written, but not for ever: a pipe may have no reader any more.
    fn drop(&mut self) {
        self.sender = None;
        if let Some((writer, done)) = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            && done.recv_timeout(LAST_WRITES) != Err(RecvTimeoutError::Timeout)
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
    batch: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    stamp: Stamp,
}

/// The text of the present second: it is the same for thousands of lines.
#[derive(Default)]
struct Stamp {
    second: Option<i64>,
    /// `2026-01-01T00:00:00.`
    text: String,
}

impl Stamp {
    fn write(&mut self, out: &mut Vec<u8>, time: UnixTime) {
        if self.second != Some(time.secs()) {
            self.second = Some(time.secs());
            self.text = time.rfc3339().to_string();
            // The milliseconds and the `Z` are each line's own.
            self.text.truncate(self.text.len() - 4);
        }
        out.extend_from_slice(self.text.as_bytes());
        padded(out, time.millis().rem_euclid(1000).unsigned_abs());
        out.push(b'Z');
    }
}

impl Lines {
    /// Adds a line.
    pub fn add(&self, line: &Line<'_>) {
        if self.log.sender.is_none() {
            return;
        }
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        let Batch { bytes, stamp } = &mut *batch;
        match self.log.format {
            LogFormat::Text => write_text(bytes, stamp, line),
            LogFormat::Json => write_json(bytes, stamp, line),
        }
        if bytes.len() >= BATCH_BYTES {
            self.hand_over(bytes);
        }
    }

    /// Hands over what there is.
    pub fn flush(&self) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        if !batch.bytes.is_empty() {
            self.hand_over(&mut batch.bytes);
        }
    }

    fn hand_over(&self, bytes: &mut Vec<u8>) {
        let Some(sender) = &self.log.sender else { return };
        let full = std::mem::replace(bytes, Vec::with_capacity(BATCH_BYTES + 1024));
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

fn write_text(out: &mut Vec<u8>, stamp: &mut Stamp, line: &Line<'_>) {
    stamp.write(out, line.time);
    out.push(b' ');
    address(out, line.client);
    for word in [line.door, line.method] {
        out.push(b' ');
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b' ');
    match line.path {
        Some(path) => quoted(out, &redact::path(path)),
        None => out.push(b'-'),
    }
    out.push(b' ');
    digits(out, line.status.into());
    field(out, b" code=", line.code);
    if let Some(route) = line.route {
        field(out, b" route=", route);
    }
    if let Some(id) = line.token_id {
        out.extend_from_slice(b" token_id=");
        hex(out, id.0);
    }
    if let Some(subject) = line.subject {
        out.extend_from_slice(b" sub=");
        quoted(out, subject);
    }
    out.extend_from_slice(b" bytes=");
    digits(out, line.bytes);
    field(out, b" end=", line.end.as_str());
    for (name, time) in [(&b" head_ms="[..], line.head), (b" ms=", line.total)] {
        out.extend_from_slice(name);
        digits(out, time.as_millis().try_into().unwrap_or(u64::MAX));
        out.push(b'.');
        padded(out, (time.subsec_micros() % 1000).into());
    }
    if let Some(number) = line.uri_signing {
        out.extend_from_slice(b" s-uri-signing=");
        padded(out, number.into());
    }
    if !line.detail.is_empty() {
        out.extend_from_slice(b" detail=");
        quoted(out, line.detail);
    }
    out.push(b'\n');
}

fn write_json(out: &mut Vec<u8>, stamp: &mut Stamp, line: &Line<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    stamp.write(out, line.time);
    out.extend_from_slice(b"\",\"client\":\"");
    address(out, line.client);
    out.push(b'"');
    let path = line.path.map(redact::path);
    for (name, value) in [
        (&b",\"door\":"[..], Some(line.door)),
        (b",\"method\":", Some(line.method)),
        (b",\"route\":", line.route),
        (b",\"sub\":", line.subject),
        (b",\"path\":", path.as_deref()),
        (b",\"code\":", Some(line.code)),
        (b",\"detail\":", Some(line.detail)),
        (b",\"end\":", Some(line.end.as_str())),
    ] {
        if let Some(value) = value {
            out.extend_from_slice(name);
            quoted(out, value);
        }
    }
    if let Some(id) = line.token_id {
        out.extend_from_slice(b",\"token_id\":\"");
        hex(out, id.0);
        out.push(b'"');
    }
    if let Some(number) = line.uri_signing {
        out.extend_from_slice(b",\"s_uri_signing\":\"");
        padded(out, number.into());
        out.push(b'"');
    }
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    for (name, number) in [
        (&b",\"status\":"[..], line.status.into()),
        (b",\"bytes\":", line.bytes),
        (b",\"head_us\":", micros(line.head)),
        (b",\"us\":", micros(line.total)),
    ] {
        out.extend_from_slice(name);
        digits(out, number);
    }
    out.extend_from_slice(b"}\n");
}

// The lines are written by hand since `write!` costs a tenth of a whole small request.

fn field(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(value.as_bytes());
}

/// As a JSON string: one line, no control bytes, whatever is in it.
fn quoted(out: &mut Vec<u8>, text: &str) {
    if text
        .bytes()
        .all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\' | 0x7f))
    {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else if let Ok(json) = serde_json::to_string(text) {
        out.extend_from_slice(json.as_bytes());
    }
}

fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (at, octet) in address.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                digits(out, octet.into());
            }
        }
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Three digits.
fn padded(out: &mut Vec<u8>, number: u64) {
    let digit = |power: u64| b'0' + u8::try_from(number / power % 10).unwrap_or_default();
    out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
}

fn hex(out: &mut Vec<u8>, bytes: [u8; 16]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
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
            uri_signing: None,
            token_id: Some(crate::token::TokenId([1; 16])),
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
        write_text(&mut out, &mut Stamp::default(), &line());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00.000Z 127.0.0.1 gate GET \"/a \\\"b\\\"\\n\" 206 code=ok route=files \
             token_id=01010101010101010101010101010101 sub=\"4\\r2\" bytes=10 end=cut_by_client head_ms=1.500 ms=2000.001\n"
        );
    }

    #[test]
    fn json_parses_and_says_the_same() {
        let mut out = Vec::new();
        write_json(&mut out, &mut Stamp::default(), &line());
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["path"], "/a \"b\"\n");
        assert_eq!(value["sub"], "4\r2");
        assert_eq!(value["end"], "cut_by_client");
        assert_eq!(value["us"], 2_000_001);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }

    #[test]
    fn the_second_changes_and_numbers_are_written_whole() {
        let (mut out, mut stamp) = (Vec::new(), Stamp::default());
        for millis in [0, 7, 999, 1000, 60_045, -1] {
            stamp.write(&mut out, UnixTime::from_millis(millis));
            out.push(b' ');
        }
        let expected: Vec<String> = [0, 7, 999, 1000, 60_045, -1]
            .map(|millis| UnixTime::from_millis(millis).rfc3339().to_string())
            .into();
        assert_eq!(
            String::from_utf8(out)
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>(),
            expected
        );
        for number in [0, 9, 10, 255, 1_000_000, u64::MAX] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
        let mut out = Vec::new();
        address(&mut out, IpAddr::from([203, 0, 113, 7]));
        hex(
            &mut out,
            0x0001_9fa0_ff10_7f80_1122_3344_5566_7788_u128.to_be_bytes(),
        );
        assert_eq!(out, b"203.0.113.700019fa0ff107f801122334455667788");
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
