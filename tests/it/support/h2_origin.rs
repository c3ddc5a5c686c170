//! A scripted origin that speaks HTTP/2 in raw frames, in clear and with prior knowledge, and plays each request's script in
//! a thread of its own: so that everything that an origin may and may not do can be done. Bodies are small: it looks at
//! nobody's windows.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::acceptor::Acceptor;
use super::h2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block,
};
use super::origin::Signal;
use super::wait::{self, SOON};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The number of its connection, from 0.
    pub(crate) connection: usize,
    /// All fields, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The value of a field that stands there at most once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    fn path(&self) -> &str {
        self.field(":path")
            .unwrap_or_default()
            .split('?')
            .next()
            .unwrap_or_default()
    }
}

/// One step of an answer.
#[derive(Clone)]
pub(crate) enum Act {
    /// A header block; `true` ends the stream.
    Head(Vec<(String, String)>, bool),
    /// Data; `true` ends the stream.
    Data(Vec<u8>, bool),
    /// Resets the stream with this code.
    Reset(u32),
    /// GOAWAY: the last stream that is looked at (`None` is this one) and the code.
    GoAway(Option<u32>, u32),
    /// A frame of this kind and with these flags on the stream.
    Frame(u8, u8, Vec<u8>),
    /// Bytes as they are.
    Raw(Vec<u8>),
    Wait(Signal),
    /// Closes the connection orderly.
    Close,
    /// Closes it with a reset.
    Abort,
}

/// A head without an end.
pub(crate) fn head(status: &str, fields: &[(&str, &str)]) -> Act {
    Act::Head(owned(status, fields), false)
}

/// A head that is the whole answer.
pub(crate) fn only_head(status: &str, fields: &[(&str, &str)]) -> Act {
    Act::Head(owned(status, fields), true)
}

/// Data that more follows.
pub(crate) fn data(bytes: &str) -> Act {
    Act::Data(bytes.into(), false)
}

/// The last data.
pub(crate) fn last(bytes: &str) -> Act {
    Act::Data(bytes.into(), true)
}

fn owned(status: &str, fields: &[(&str, &str)]) -> Vec<(String, String)> {
    std::iter::once((":status", status))
        .chain(fields.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Vec<Vec<Act>>>,
    seen: Vec<Asked>,
    settings: Vec<(u16, u32)>,
    connections: usize,
    open: usize,
    /// Streams whose script runs, and the most there were at once on one connection.
    running: HashMap<usize, usize>,
    most: usize,
    resets: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stop: Arc<AtomicBool>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running origin.
pub(crate) struct H2Origin {
    shared: Arc<Shared>,
    acceptor: Acceptor,
}

impl H2Origin {
    /// Listens on a port of its own.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// As `start`, with these settings.
    pub(crate) fn with(settings: &[(u16, u32)]) -> Self {
        let shared = Arc::new(Shared::default());
        shared.lock().settings = settings.to_vec();
        let serving = Arc::clone(&shared);
        let serve = move |stream| serve(stream, Arc::clone(&serving));
        let acceptor = Acceptor::start("support-h2-origin", &shared.stop, serve);
        Self { shared, acceptor }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Adds a script for a path (without query). Several are used in turn; the last one stays.
    pub(crate) fn on(&self, path: &str, script: Vec<Act>) -> &Self {
        self.shared
            .lock()
            .scripts
            .entry(path.into())
            .or_default()
            .push(script);
        self
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.shared.lock().seen.clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// The most requests that were at work at once on one connection.
    pub(crate) fn most_streams(&self) -> usize {
        self.shared.lock().most
    }

    /// Streams that the other side has reset.
    pub(crate) fn resets(&self) -> usize {
        self.shared.lock().resets
    }

    /// Waits until this holds.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        wait::until_true(what, || holds(self));
    }

    /// Waits until no connection is open.
    #[track_caller]
    pub(crate) fn wait_closed(&self) {
        self.until("all connections of the origin are over", |origin| {
            origin.shared.lock().open == 0
        });
    }
}

fn serve(stream: TcpStream, shared: Arc<Shared>) -> JoinHandle<()> {
    let number = {
        let mut state = shared.lock();
        state.connections += 1;
        state.open += 1;
        state.connections - 1
    };
    let work = move || {
        let ended = Connection {
            read: stream.try_clone().expect("clone"),
            write: Arc::new(Mutex::new(stream)),
            buffer: Vec::new(),
            number,
            shared: Arc::clone(&shared),
        }
        .run();
        let _ = ended;
        shared.lock().open -= 1;
    };
    std::thread::Builder::new()
        .name("support-h2-connection".into())
        .spawn(work)
        .expect("thread")
}

struct Connection {
    read: TcpStream,
    write: Arc<Mutex<TcpStream>>,
    buffer: Vec<u8>,
    number: usize,
    shared: Arc<Shared>,
}

impl Connection {
    fn run(mut self) -> io::Result<()> {
        self.read.set_nonblocking(false)?;
        self.read.set_nodelay(true)?;
        self.read.set_read_timeout(Some(Duration::from_millis(20)))?;
        self.read.set_write_timeout(Some(SOON))?;
        let mut payload = Vec::new();
        for (name, value) in self.shared.lock().settings.clone() {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        send(&self.write, &H2::bytes(SETTINGS, 0, 0, &payload))?;
        let mut decoder = fluke_hpack::Decoder::new();
        let mut asked: HashMap<u32, Asked> = HashMap::new();
        let mut heads: HashMap<u32, Vec<u8>> = HashMap::new();
        let mut players = Vec::new();
        self.fill(PREFACE.len())?;
        if self.buffer[..PREFACE.len()] != *PREFACE {
            return Ok(());
        }
        self.buffer.drain(..PREFACE.len());
        while let Ok((kind, flags, stream, payload)) = self.frame() {
            let ends = flags & END_STREAM != 0;
            match kind {
                SETTINGS if flags & ACK == 0 => send(&self.write, &H2::bytes(SETTINGS, ACK, 0, &[]))?,
                PING if flags & ACK == 0 => send(&self.write, &H2::bytes(PING, ACK, 0, &payload))?,
                RST_STREAM => self.shared.lock().resets += 1,
                HEADERS | CONTINUATION => {
                    let head = heads.entry(stream).or_default();
                    // Priority and padding are not what our client sends.
                    head.extend_from_slice(&payload);
                    if kind == HEADERS {
                        let request = Asked {
                            connection: self.number,
                            fields: Vec::new(),
                            body: if ends { Vec::new() } else { vec![0] },
                        };
                        asked.insert(stream, request);
                    }
                    if flags & END_HEADERS != 0 {
                        let head = heads.remove(&stream).unwrap_or_default();
                        let fields = decoder.decode(&head).expect("a header block");
                        let request = asked.get_mut(&stream).expect("a request");
                        request.fields = fields
                            .into_iter()
                            .map(|(name, value)| {
                                (
                                    String::from_utf8(name).expect("text"),
                                    String::from_utf8(value).expect("text"),
                                )
                            })
                            .collect();
                        let is_whole = request.body.is_empty();
                        request.body.clear();
                        if is_whole {
                            players.push(self.play(stream, asked.remove(&stream).expect("a request")));
                        }
                    }
                }
                DATA => {
                    if let Some(request) = asked.get_mut(&stream) {
                        request.body.extend_from_slice(&payload);
                        if !payload.is_empty() {
                            let count = (payload.len() as u32).to_be_bytes();
                            send(&self.write, &H2::bytes(WINDOW_UPDATE, 0, 0, &count))?;
                            if !ends {
                                send(&self.write, &H2::bytes(WINDOW_UPDATE, 0, stream, &count))?;
                            }
                        }
                    }
                    if ends && let Some(request) = asked.remove(&stream) {
                        players.push(self.play(stream, request));
                    }
                }
                _ => {}
            }
        }
        let _ = self.read.shutdown(Shutdown::Both);
        for player in players {
            let _ = player.join();
        }
        Ok(())
    }

    fn play(&self, stream: u32, request: Asked) -> JoinHandle<()> {
        let script = self.script_for(&request);
        let (number, shared, write) = (self.number, Arc::clone(&self.shared), Arc::clone(&self.write));
        {
            let mut state = shared.lock();
            state.seen.push(request);
            let running = state.running.entry(number).or_default();
            *running += 1;
            let running = *running;
            state.most = state.most.max(running);
        }
        let work = move || {
            for act in script {
                if perform(&write, stream, act, &shared.stop).is_err() {
                    break;
                }
            }
            *shared.lock().running.entry(number).or_default() -= 1;
        };
        std::thread::Builder::new()
            .name("support-h2-script".into())
            .spawn(work)
            .expect("thread")
    }

    fn script_for(&self, request: &Asked) -> Vec<Act> {
        let mut state = self.shared.lock();
        if let Some(scripts) = state.scripts.get_mut(request.path()) {
            return if scripts.len() > 1 {
                scripts.remove(0)
            } else {
                scripts[0].clone()
            };
        }
        let body = format!("origin says {}", request.field(":path").unwrap_or_default());
        let length = body.len().to_string();
        let fields = [
            ("content-length", length.as_str()),
            ("content-type", "text/plain"),
        ];
        if request.field(":method") == Some("HEAD") {
            vec![only_head("200", &fields)]
        } else {
            vec![head("200", &fields), last(&body)]
        }
    }

    fn frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        self.fill(9)?;
        let length = u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize;
        self.fill(9 + length)?;
        let head: Vec<u8> = self.buffer.drain(..9).collect();
        let payload = self.buffer.drain(..length).collect();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Ok((head[3], head[4], stream, payload))
    }

    /// Reads until so much is there.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        let mut piece = [0; 16 * 1024];
        while self.buffer.len() < count {
            if self.shared.stop.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match self.read.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn send(write: &Mutex<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    write
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(bytes)
}

fn perform(write: &Mutex<TcpStream>, stream: u32, act: Act, stop: &AtomicBool) -> io::Result<()> {
    match act {
        Act::Head(fields, ends) => {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
            let block = block(&fields);
            let end = if ends { END_STREAM } else { 0 };
            let mut bytes = Vec::new();
            let count = block.chunks(16 * 1024).count();
            for (at, piece) in block.chunks(16 * 1024).enumerate() {
                let last = if at + 1 == count { END_HEADERS } else { 0 };
                let (kind, flags) = if at == 0 {
                    (HEADERS, end | last)
                } else {
                    (CONTINUATION, last)
                };
                bytes.extend(H2::bytes(kind, flags, stream, piece));
            }
            send(write, &bytes)
        }
        Act::Data(bytes, ends) => {
            let flags = if ends { END_STREAM } else { 0 };
            send(write, &H2::bytes(DATA, flags, stream, &bytes))
        }
        Act::Reset(code) => send(write, &H2::bytes(RST_STREAM, 0, stream, &code.to_be_bytes())),
        Act::GoAway(last, code) => {
            let payload = [last.unwrap_or(stream).to_be_bytes(), code.to_be_bytes()].concat();
            send(write, &H2::bytes(GOAWAY, 0, 0, &payload))
        }
        Act::Frame(kind, flags, payload) => send(write, &H2::bytes(kind, flags, stream, &payload)),
        Act::Raw(bytes) => send(write, &bytes),
        Act::Wait(signal) => {
            signal.wait(stop);
            Ok(())
        }
        Act::Close => write
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .shutdown(Shutdown::Both),
        // Connecting a TCP socket to nowhere resets its connection, also where it has another handle (Linux).
        Act::Abort => {
            let socket = write.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(rustix::net::connect_unspec(&*socket)?)
        }
    }
}
