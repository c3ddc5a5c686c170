//! A scripted origin on a raw socket: keeps every byte it receives, by connection and by request, and answers by a
//! script per path. Unscripted paths answer 200 with a body that names the target.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::acceptor::Acceptor;
use super::wait::{self, Deadline, SOON};

/// A request as it arrived.
#[derive(Clone)]
pub(crate) struct Seen {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    pub(crate) method: String,
    /// The request target, byte for byte.
    pub(crate) target: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Head and body as they came.
    pub(crate) raw: Vec<u8>,
}

impl Seen {
    /// The value of a header that stands there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(
            values.next().is_none(),
            "{name} came in several lines: {:?}",
            self.headers
        );
        value
    }
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{} {}", self.connection, String::from_utf8_lossy(&self.raw))
    }
}

/// A hand that a test raises to let a script go on.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    /// Lets the script go on.
    pub(crate) fn raise(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    pub(crate) fn wait(&self, stop: &AtomicBool) {
        let deadline = Deadline::after(SOON * 3);
        let mut raised = lock(&self.0.0);
        while !*raised && !stop.load(Ordering::SeqCst) && deadline.left().is_some() {
            raised = self
                .0
                .1
                .wait_timeout(raised, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// One step of an answer.
#[derive(Clone)]
enum Step {
    Send(Vec<u8>),
    Wait(Signal),
    /// Says nothing more until the peer closes.
    Stall,
    /// Closes orderly.
    Close,
    /// Closes with a reset.
    Reset,
}

/// What an origin does with one request.
#[derive(Clone, Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
}

impl Script {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A whole answer: `200 OK` and these headers, a true Content-Length, the body.
    pub(crate) fn ok(headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::answer("200 OK", headers, body)
    }

    /// A whole answer with this status line, a true Content-Length and the body.
    pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len().to_string();
        let mut all = vec![("Content-Length", length.as_str())];
        all.extend_from_slice(headers);
        Self::new().head(status, &all).send(body)
    }

    /// Sends a head with exactly these headers.
    pub(crate) fn head(self, status: &str, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(head)
    }

    /// Sends bytes. Two sends in a row go out in one write.
    pub(crate) fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        match self.steps.last_mut() {
            Some(Step::Send(before)) => before.extend_from_slice(bytes.as_ref()),
            _ => self.steps.push(Step::Send(bytes.as_ref().to_vec())),
        }
        self
    }

    /// Waits for the test.
    pub(crate) fn wait(mut self, signal: &Signal) -> Self {
        self.steps.push(Step::Wait(signal.clone()));
        self
    }

    /// Says nothing more until the peer closes.
    pub(crate) fn stall(mut self) -> Self {
        self.steps.push(Step::Stall);
        self
    }

    /// Closes the connection.
    pub(crate) fn close(mut self) -> Self {
        self.steps.push(Step::Close);
        self
    }

    /// Resets the connection.
    pub(crate) fn reset(mut self) -> Self {
        self.steps.push(Step::Reset);
        self
    }
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Vec<Script>>,
    before_body: Script,
    files: HashMap<String, File>,
    seen: Vec<Seen>,
    received: Vec<Vec<u8>>,
    closed: usize,
}

#[derive(Clone)]
struct File {
    content: Vec<u8>,
    headers: Vec<(String, String)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stop: Arc<AtomicBool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running origin.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    acceptor: Acceptor,
}

impl Origin {
    /// Listens on a port of its own.
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let serve = move |stream| serve(stream, Arc::clone(&serving));
        let acceptor = Acceptor::start("support-origin", &shared.stop, serve);
        Self { shared, acceptor }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Adds a script for a path (without query). Several are used in turn; the last one stays.
    pub(crate) fn on(&self, path: &str, script: Script) -> &Self {
        lock(&self.shared.state)
            .scripts
            .entry(path.into())
            .or_default()
            .push(script);
        self
    }

    /// What is done with a request that has a body, once its head is there.
    pub(crate) fn before_body(&self, script: Script) -> &Self {
        lock(&self.shared.state).before_body = script;
        self
    }

    /// Serves a file the way a good server does: HEAD, Range, ETag.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.file_with(
            path,
            content,
            &[("Content-Type", "application/octet-stream"), ("ETag", "\"v1\"")],
        )
    }

    /// As `file`, with exactly these headers beside length and range.
    pub(crate) fn file_with(&self, path: &str, content: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> &Self {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        lock(&self.shared.state).files.insert(
            path.into(),
            File {
                content: content.as_ref().to_vec(),
                headers,
            },
        );
        self
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.state).seen.clone()
    }

    /// The only request so far.
    #[track_caller]
    pub(crate) fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// The last request.
    #[track_caller]
    pub(crate) fn last(&self) -> Seen {
        self.seen().pop().expect("a request at the origin")
    }

    /// Asserts that no request ever arrived.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        let seen = self.seen();
        assert!(seen.is_empty(), "the origin was contacted: {seen:?}");
    }

    /// Every byte that was received, by connection.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.state).received.clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.shared.state).received.len()
    }

    /// Waits until this many connections are over.
    pub(crate) fn wait_closed(&self, count: usize) {
        wait::until_true(&format!("{count} connections of the origin are over"), || {
            lock(&self.shared.state).closed >= count
        });
    }

    /// Waits until this many requests have arrived.
    pub(crate) fn wait_seen(&self, count: usize) -> Vec<Seen> {
        wait::until(&format!("{count} requests at the origin"), || {
            let seen = self.seen();
            (seen.len() >= count).then_some(seen)
        })
    }
}

fn serve(stream: TcpStream, shared: Arc<Shared>) -> JoinHandle<()> {
    let number = {
        let mut state = lock(&shared.state);
        state.received.push(Vec::new());
        state.received.len() - 1
    };
    let work = move || {
        let mut connection = Connection {
            stream,
            buffer: Vec::new(),
            number,
            shared,
        };
        let _ = connection.run();
        lock(&connection.shared.state).closed += 1;
    };
    std::thread::Builder::new()
        .name("support-origin-connection".into())
        .spawn(work)
        .expect("thread")
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    number: usize,
    shared: Arc<Shared>,
}

impl Connection {
    fn run(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_nodelay(true)?;
        self.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        self.stream.set_write_timeout(Some(SOON))?;
        while let Some(seen) = self.request()? {
            let script = self.script_for(&seen);
            lock(&self.shared.state).seen.push(seen);
            if !self.play(script)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Plays a script; false where it ends the connection.
    fn play(&mut self, script: Script) -> io::Result<bool> {
        for step in script.steps {
            match step {
                Step::Send(bytes) => self.stream.write_all(&bytes)?,
                Step::Wait(signal) => signal.wait(&self.shared.stop),
                Step::Stall => {
                    while self.more()? {}
                    return Ok(false);
                }
                Step::Close => return Ok(false),
                Step::Reset => {
                    socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// One request with its body; nothing when the peer has closed.
    fn request(&mut self) -> io::Result<Option<Seen>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more()? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let method = first.next().unwrap_or_default().to_owned();
        let target = first.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let one = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
        };
        let has_body =
            one("transfer-encoding").is_some() || one("content-length").is_some_and(|length| length != "0");
        if has_body {
            let before = lock(&self.shared.state).before_body.clone();
            if !self.play(before)? {
                return Ok(None);
            }
        }
        let length = if one("transfer-encoding").is_some() {
            loop {
                match chunks(&self.buffer[end..]) {
                    Some(length) => break length?,
                    None if !self.more()? => return Ok(None),
                    None => {}
                }
            }
        } else {
            one("content-length")
                .and_then(|length| length.parse().ok())
                .unwrap_or(0)
        };
        while self.buffer.len() < end + length {
            if !self.more()? {
                return Ok(None);
            }
        }
        let raw: Vec<u8> = self.buffer.drain(..end + length).collect();
        let body = raw[end..].to_vec();
        Ok(Some(Seen {
            connection: self.number,
            method,
            target,
            headers,
            body,
            raw,
        }))
    }

    /// Reads more; false at the end of the connection.
    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        loop {
            if self.shared.stop.load(Ordering::SeqCst) {
                return Ok(false);
            }
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.buffer.extend_from_slice(&piece[..count]);
                    lock(&self.shared.state).received[self.number].extend_from_slice(&piece[..count]);
                    return Ok(true);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn script_for(&self, seen: &Seen) -> Script {
        let path = seen.target.split('?').next().unwrap_or_default();
        let mut state = lock(&self.shared.state);
        if let Some(scripts) = state.scripts.get_mut(path) {
            return if scripts.len() > 1 {
                scripts.remove(0)
            } else {
                scripts[0].clone()
            };
        }
        if let Some(file) = state.files.get(path).cloned() {
            drop(state);
            return serve_file(&file, seen);
        }
        let body = format!("origin says {}", seen.target);
        let script = Script::ok(&[("Content-Type", "text/plain")], &body);
        if seen.method == "HEAD" {
            without_body(script, body.len())
        } else {
            script
        }
    }
}

fn without_body(mut script: Script, length: usize) -> Script {
    if let Some(Step::Send(bytes)) = script.steps.first_mut() {
        bytes.truncate(bytes.len() - length);
    }
    script
}

fn serve_file(file: &File, seen: &Seen) -> Script {
    let mut headers: Vec<(&str, &str)> = file
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    headers.push(("Accept-Ranges", "bytes"));
    let etag = file
        .headers
        .iter()
        .find(|(name, _)| name == "ETag")
        .map(|(_, value)| value.as_str());
    let total = file.content.len();
    if etag.is_some() && seen.header("if-none-match") == etag {
        return Script::new().head("304 Not Modified", &headers);
    }
    let range = seen
        .header("range")
        .filter(|_| seen.header("if-range").is_none_or(|tag| Some(tag) == etag));
    let slice = range.and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        match (from.parse::<usize>(), to.parse::<usize>()) {
            (Ok(from), Ok(to)) => Some((from, to.min(total - 1))),
            (Ok(from), Err(_)) => Some((from, total - 1)),
            (Err(_), Ok(last)) => Some((total - last.min(total), total - 1)),
            _ => None,
        }
    });
    let content_range;
    let (status, body) = match slice {
        Some((from, to)) if from <= to && from < total => {
            content_range = format!("bytes {from}-{to}/{total}");
            headers.push(("Content-Range", &content_range));
            ("206 Partial Content", &file.content[from..=to])
        }
        Some(_) => {
            content_range = format!("bytes */{total}");
            headers.push(("Content-Range", &content_range));
            ("416 Range Not Satisfiable", &[][..])
        }
        None => ("200 OK", &file.content[..]),
    };
    let script = Script::answer(status, &headers, body);
    if seen.method == "HEAD" {
        without_body(script, body.len())
    } else {
        script
    }
}

/// How long a body in chunks is, trailers included; nothing while it is not all there.
fn chunks(body: &[u8]) -> Option<io::Result<usize>> {
    let mut at = 0;
    loop {
        let line = find(&body[at..], b"\r\n")?;
        let size = String::from_utf8_lossy(&body[at..at + line]).into_owned();
        let Ok(size) = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16) else {
            return Some(Err(io::ErrorKind::InvalidData.into()));
        };
        at += line + 2;
        if size == 0 {
            // Trailers, up to an empty line.
            let end = find(&body[at - 2..], b"\r\n\r\n")?;
            return Some(Ok(at + end + 2));
        }
        at += size + 2;
        if at > body.len() {
            return None;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Bytes in which every piece is different: position `n` holds a function of `n`.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}
