//! A raw HTTP/2 client: frames by hand, header blocks without compression, so that everything that a peer may and may
//! not do can be done. What comes back is kept by stream.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::client::HOST;
use super::tls::{Authority, Secure};
use super::wait::{Deadline, SOON};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete,
    Reset(u32),
}

/// What came on a stream.
#[derive(Clone, Default)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) ended: Option<Ended>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.body[..self.body.len().min(300)]);
        write!(
            f,
            "{} {:?} {:?} {} bytes: {shown}",
            self.status,
            self.headers,
            self.ended,
            self.body.len()
        )
    }
}

impl Stream {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} twice: {self:?}");
        value
    }

    pub(crate) fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// What happens to windows when data comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Windows {
    /// They are opened again.
    Open,
    /// They stay as they are.
    Shut,
}

/// One connection.
pub(crate) struct H2 {
    wire: Box<dyn Wire>,
    buffer: Vec<u8>,
    decoder: fluke_hpack::Decoder<'static>,
    next: u32,
    pub(crate) windows: Windows,
    pub(crate) streams: BTreeMap<u32, Stream>,
    /// The server's settings.
    pub(crate) settings: BTreeMap<u16, u32>,
    /// Last stream and code of the last GOAWAY.
    pub(crate) goaway: Option<(u32, u32)>,
    pub(crate) closed: bool,
    pub(crate) pongs: usize,
}

/// A header field, never indexed and in plain octets.
pub(crate) fn field(name: &str, value: &[u8]) -> Vec<u8> {
    fn length(out: &mut Vec<u8>, length: usize) {
        if length < 127 {
            out.push(length as u8);
        } else {
            out.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                out.push((rest % 128) as u8 | 0x80);
                rest /= 128;
            }
            out.push(rest as u8);
        }
    }
    let mut out = vec![0x10];
    length(&mut out, name.len());
    out.extend_from_slice(name.as_bytes());
    length(&mut out, value.len());
    out.extend_from_slice(value);
    out
}

/// A header block.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| field(name, value.as_bytes()))
        .collect()
}

impl H2 {
    /// In clear, with prior knowledge, and these settings.
    pub(crate) fn clear_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let tcp = TcpStream::connect_timeout(&address, SOON).expect("connect");
        tcp.set_nodelay(true).expect("nodelay");
        tcp.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("timeout");
        tcp.set_write_timeout(Some(SOON)).expect("timeout");
        Self::over(Box::new(tcp), settings)
    }

    /// In clear, with prior knowledge.
    pub(crate) fn clear(address: SocketAddr) -> Self {
        Self::clear_with(address, &[])
    }

    /// Over TLS, by ALPN.
    pub(crate) fn secure(address: SocketAddr, authority: &Authority) -> Self {
        Self::over_tls(authority.connect(address, &["h2"]))
    }

    /// Over a TLS connection that was made for it.
    pub(crate) fn over_tls(secure: Secure) -> Self {
        assert_eq!(secure.protocol().as_deref(), Some("h2"));
        secure
            .stream
            .sock
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("timeout");
        Self::over(Box::new(secure.stream), &[])
    }

    fn over(wire: Box<dyn Wire>, settings: &[(u16, u32)]) -> Self {
        let mut client = Self {
            wire,
            buffer: Vec::new(),
            decoder: fluke_hpack::Decoder::new(),
            next: 1,
            windows: Windows::Open,
            streams: BTreeMap::new(),
            settings: BTreeMap::new(),
            goaway: None,
            closed: false,
            pongs: 0,
        };
        client.raw(PREFACE);
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        client.frame(SETTINGS, 0, 0, &payload);
        client
    }

    /// Sends bytes. The peer may have closed; what it said is still to be read.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        if self
            .wire
            .write_all(bytes)
            .and_then(|()| self.wire.flush())
            .is_err()
        {
            self.closed = true;
        }
    }

    /// A frame's bytes.
    pub(crate) fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(9 + payload.len());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
        bytes.extend_from_slice(&[kind, flags]);
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    pub(crate) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.raw(&Self::bytes(kind, flags, stream, payload));
    }

    /// The next stream's number.
    pub(crate) fn next(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// The fields of a GET.
    pub(crate) fn fields<'f>(target: &'f str, more: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let mut fields = vec![
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", target),
        ];
        fields.extend_from_slice(more);
        fields
    }

    /// Sends a request without a body, as these fields say.
    pub(crate) fn send(&mut self, fields: &[(&str, &str)]) -> u32 {
        let stream = self.next();
        let block = block(fields);
        let pieces = block.chunks(16 * 1024).count();
        for (at, piece) in block.chunks(16 * 1024).enumerate() {
            let last = if at + 1 == pieces { END_HEADERS } else { 0 };
            match at {
                0 => self.frame(HEADERS, last | END_STREAM, stream, piece),
                _ => self.frame(CONTINUATION, last, stream, piece),
            }
        }
        stream
    }

    /// Sends a GET.
    pub(crate) fn start(&mut self, target: &str, more: &[(&str, &str)]) -> u32 {
        self.send(&Self::fields(target, more))
    }

    /// A GET and its answer.
    pub(crate) fn get(&mut self, target: &str, more: &[(&str, &str)]) -> Stream {
        let stream = self.start(target, more);
        self.answer(stream)
    }

    /// Waits for the end of a stream, or of the connection.
    pub(crate) fn answer(&mut self, stream: u32) -> Stream {
        self.until(|client| client.stream(stream).ended.is_some() || client.closed);
        self.stream(stream)
    }

    /// What came on a stream so far.
    pub(crate) fn stream(&self, stream: u32) -> Stream {
        self.streams.get(&stream).cloned().unwrap_or_default()
    }

    /// Opens a window.
    pub(crate) fn window(&mut self, stream: u32, by: u32) {
        self.frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
    }

    /// Resets a stream.
    pub(crate) fn reset(&mut self, stream: u32) {
        self.frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
    }

    /// Reads until `done`; panics when that takes too long.
    #[track_caller]
    pub(crate) fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let deadline = Deadline::after(SOON);
        while !done(self) {
            assert!(
                deadline.left().is_some(),
                "waited in vain: goaway {:?}, closed {}, {:?}",
                self.goaway,
                self.closed,
                self.streams
            );
            self.read_some();
        }
    }

    /// Waits until the server has closed.
    #[track_caller]
    pub(crate) fn until_closed(&mut self) {
        self.until(|client| client.closed);
    }

    /// Reads what is there, or waits a moment for it.
    pub(crate) fn read_some(&mut self) {
        let mut piece = [0; 64 * 1024];
        match self.wire.read(&mut piece) {
            Ok(0) => self.closed = true,
            Ok(count) => self.buffer.extend_from_slice(&piece[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(_) => self.closed = true,
        }
        while let Some(frame) = self.take() {
            self.handle(frame);
        }
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        if self.buffer.len() < 9 + length {
            return None;
        }
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let payload = self.buffer[9..9 + length].to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame {
            kind,
            flags,
            stream,
            payload,
        })
    }

    fn handle(&mut self, frame: Frame) {
        let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().expect("four"));
        let ends = frame.flags & END_STREAM != 0;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                for pair in frame.payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
                    self.settings
                        .insert(u16::from_be_bytes([pair[0], pair[1]]), value);
                }
                self.frame(SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => self.frame(PING, ACK, 0, &frame.payload),
            PING => self.pongs += 1,
            GOAWAY => self.goaway = Some((number(0), number(4))),
            HEADERS => {
                assert!(
                    frame.flags & END_HEADERS != 0,
                    "one frame is enough for our heads"
                );
                let fields = self.decoder.decode(&frame.payload).expect("a header block");
                let stream = self.streams.entry(frame.stream).or_default();
                for (name, value) in fields {
                    let name = String::from_utf8(name).expect("text");
                    let value = String::from_utf8(value).expect("text");
                    if name == ":status" {
                        stream.status = value.parse().expect("a status");
                    } else {
                        // RFC 9113 §8.2.1 and §8.2.2.
                        assert_eq!(name, name.to_ascii_lowercase());
                        assert!(
                            ![
                                "connection",
                                "keep-alive",
                                "proxy-connection",
                                "transfer-encoding",
                                "upgrade"
                            ]
                            .contains(&&*name),
                            "{name}: {value}"
                        );
                        stream.headers.push((name, value));
                    }
                }
                if ends {
                    stream.ended = Some(Ended::Complete);
                }
            }
            DATA => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.body.extend_from_slice(&frame.payload);
                if ends {
                    stream.ended = Some(Ended::Complete);
                }
                let count = frame.payload.len() as u32;
                if count > 0 && self.windows == Windows::Open {
                    self.window(0, count);
                    if !ends {
                        self.window(frame.stream, count);
                    }
                }
            }
            RST_STREAM => {
                let stream = self.streams.entry(frame.stream).or_default();
                // NO_ERROR after a whole answer only says that the rest of the request is not wanted.
                if stream.ended.is_none() {
                    stream.ended = Some(Ended::Reset(number(0)));
                }
            }
            _ => {}
        }
    }
}
