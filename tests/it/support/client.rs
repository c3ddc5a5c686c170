//! A raw HTTP/1.1 client over one TCP connection: sends exact bytes, parses answers strictly, and fails on every
//! response header that is not on its allow-list, so that nothing slips out of the gate unseen.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::wait::{Deadline, SOON};

/// The public host of every test's gate.
pub(crate) const HOST: &str = "media.example.com";

/// All headers that the gate's answers may hold.
const ALLOWED: &[&str] = &[
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "location",
    "referrer-policy",
    "retry-after",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-content-type-options",
];

/// Headers that may stand in several lines.
const REPEATABLE: &[&str] = &[
    "vary",
    "www-authenticate",
    "cache-control",
    "content-security-policy",
];

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By its own framing: Content-Length, chunked, or none allowed.
    Complete,
    /// With the connection, as its framing says.
    UntilClose,
    /// The connection was closed before the framing's end.
    Cut,
    /// The connection was reset before the framing's end.
    Reset,
}

/// A parsed answer.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
    /// Every byte of it as it came.
    pub(crate) raw: Vec<u8>,
}

impl Response {
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
            "{name} stands in several lines: {:?}",
            self.headers
        );
        value
    }

    /// All values of a header.
    pub(crate) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The `code` of a problem+json body.
    pub(crate) fn code(&self) -> String {
        assert_eq!(media_type(self), "application/problem+json", "{self:?}");
        self.json()["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {self:?}"))
            .to_owned()
    }

    /// Asserts the status and hands the answer back.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts a refusal with this status and code, complete and never stored.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.end, End::Complete, "{self:?}");
        self
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(600)];
        write!(
            f,
            "{} {:?} {:?} {} bytes: {}",
            self.status,
            self.headers,
            self.end,
            self.body.len(),
            String::from_utf8_lossy(shown)
        )
    }
}

/// The media type without its parameters, lower case.
pub(crate) fn media_type(response: &Response) -> String {
    let value = response.header("content-type").unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Which headers an answer may hold.
#[derive(Clone, Copy)]
enum Headers {
    Allowed,
    Any,
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: VecDeque<u8>,
    taken: Vec<u8>,
    headers: Headers,
    extra: Vec<String>,
    patience: Duration,
}

impl Client {
    /// Connects to a gate.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, SOON).expect("connect"))
    }

    /// Connects from this address: all of 127.0.0.0/8 is this machine.
    pub(crate) fn connect_from(source: &str, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        let source = SocketAddr::new(source.parse().expect("an address"), 0);
        socket.bind(&source.into()).expect("bind");
        socket.connect_timeout(&address.into(), SOON).expect("connect");
        Self::over(socket.into())
    }

    /// Connects as over a phone's network: small segments and a small window, so that what is not read soon fills the way.
    pub(crate) fn connect_slow(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        socket.set_tcp_mss(1400).expect("segments");
        socket.set_recv_buffer_size(8 * 1024).expect("window");
        socket.connect_timeout(&address.into(), SOON).expect("connect");
        Self::over(socket.into())
    }

    /// Over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        stream.set_write_timeout(Some(SOON)).expect("write timeout");
        Self {
            stream,
            buffer: VecDeque::new(),
            taken: Vec::new(),
            headers: Headers::Allowed,
            extra: Vec::new(),
            patience: SOON,
        }
    }

    /// Allows one more response header.
    pub(crate) fn allow(mut self, name: &str) -> Self {
        self.extra.push(name.to_ascii_lowercase());
        self
    }

    /// Allows all response headers: for servers that are not the gate.
    pub(crate) fn any_header(mut self) -> Self {
        self.headers = Headers::Any;
        self
    }

    /// How long one answer may take.
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends exactly these bytes. The peer may have closed already; what it said is still to be read.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.stream.write_all(bytes.as_ref()) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => panic!("send: {error}"),
        }
    }

    /// Sends a request line, Host, the headers, and the end of the head.
    pub(crate) fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) {
        self.send(head(method, target, headers));
    }

    /// A request without body and its answer.
    pub(crate) fn exchange(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        self.request(method, target, headers);
        if method == "HEAD" {
            self.read_head_answer()
        } else {
            self.read()
        }
    }

    /// A GET and its answer.
    pub(crate) fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.exchange("GET", target, headers)
    }

    /// Reads the answer to anything but HEAD.
    pub(crate) fn read(&mut self) -> Response {
        self.read_answer(false)
            .unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// Reads the answer to a HEAD.
    pub(crate) fn read_head_answer(&mut self) -> Response {
        self.read_answer(true)
            .unwrap_or_else(|end| panic!("no answer: {end:?}"))
    }

    /// Reads an answer, or tells how the connection ended without one.
    pub(crate) fn try_read(&mut self) -> Result<Response, End> {
        self.read_answer(false)
    }

    /// As `try_read`, for the answer to a HEAD.
    pub(crate) fn try_read_head_answer(&mut self) -> Result<Response, End> {
        self.read_answer(true)
    }

    /// Reads only the head of an answer; the body is left on the connection.
    pub(crate) fn read_only_head(&mut self) -> Response {
        let deadline = Deadline::after(self.patience);
        self.taken.clear();
        let (status, headers) = self
            .head(deadline)
            .unwrap_or_else(|end| panic!("no answer: {end:?}"));
        Response {
            status,
            headers,
            body: Vec::new(),
            end: End::Complete,
            raw: std::mem::take(&mut self.taken),
        }
    }

    /// Reads `count` raw bytes, or fewer when the connection ends.
    pub(crate) fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        let deadline = Deadline::after(self.patience);
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            match self.byte(deadline) {
                Ok(byte) => bytes.push(byte),
                Err(_) => break,
            }
        }
        bytes
    }

    /// Reads to the end of the connection: the bytes, and how it ended.
    pub(crate) fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let deadline = Deadline::after(self.patience);
        let mut bytes: Vec<u8> = self.buffer.drain(..).collect();
        loop {
            match self.fill(deadline) {
                Ok(()) => bytes.extend(self.buffer.drain(..)),
                Err(end) => return (bytes, end),
            }
        }
    }

    /// Whether the peer closes within the patience without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        let deadline = Deadline::after(self.patience);
        self.buffer.is_empty() && matches!(self.fill_or_wait(deadline), Err(Quiet::Ended(_)))
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn read_answer(&mut self, to_head: bool) -> Result<Response, End> {
        let deadline = Deadline::after(self.patience);
        self.taken.clear();
        let (status, headers) = self.head(deadline)?;
        let mut body = Vec::new();
        let end = if to_head || status / 100 == 1 || status == 204 || status == 304 {
            End::Complete
        } else {
            self.body(&headers, &mut body, deadline)
        };
        Ok(Response {
            status,
            headers,
            body,
            end,
            raw: std::mem::take(&mut self.taken),
        })
    }

    fn head(&mut self, deadline: Deadline) -> Result<(u16, Vec<(String, String)>), End> {
        let line = self.line(deadline)?;
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| line.strip_prefix("HTTP/1.0 "))
            .filter(|rest| rest.as_bytes().get(3).is_none_or(|byte| *byte == b' '))
            .and_then(|rest| rest.get(..3))
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {line:?}"));
        let mut headers: Vec<(String, String)> = Vec::new();
        loop {
            let line = self.line(deadline)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("not a header: {line:?}"));
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert!(
                !name.is_empty() && name.bytes().all(is_token),
                "not a header name: {line:?}"
            );
            let name = name.to_ascii_lowercase();
            let value = value.trim_matches([' ', '\t']);
            assert!(
                value
                    .bytes()
                    .all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f),
                "control byte: {line:?}"
            );
            if matches!(self.headers, Headers::Allowed) {
                assert!(
                    ALLOWED.contains(&name.as_str()) || self.extra.contains(&name),
                    "header not on the allow-list: {line:?}"
                );
                assert!(
                    REPEATABLE.contains(&name.as_str()) || headers.iter().all(|(known, _)| *known != name),
                    "{name} stands in several lines"
                );
            }
            headers.push((name, value.to_owned()));
        }
        Ok((status, headers))
    }

    fn body(&mut self, headers: &[(String, String)], body: &mut Vec<u8>, deadline: Deadline) -> End {
        let one = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.as_str())
        };
        if let Some(coding) = one("transfer-encoding") {
            assert!(
                coding.eq_ignore_ascii_case("chunked"),
                "transfer-encoding: {coding}"
            );
            assert!(
                one("content-length").is_none(),
                "both Content-Length and Transfer-Encoding: {headers:?}"
            );
            return self.chunks(body, deadline).err().unwrap_or(End::Complete);
        }
        if let Some(length) = one("content-length") {
            assert!(
                !length.is_empty() && length.bytes().all(|digit| digit.is_ascii_digit()),
                "length: {length}"
            );
            let length: usize = length.parse().expect("content-length");
            return self
                .exactly(length, body, deadline)
                .err()
                .unwrap_or(End::Complete);
        }
        loop {
            if let Err(end) = self.exactly(1, body, deadline) {
                return if end == End::Cut { End::UntilClose } else { end };
            }
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>, deadline: Deadline) -> Result<(), End> {
        loop {
            let line = self.line(deadline)?;
            let size =
                usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
            if size == 0 {
                let last = self.line(deadline)?;
                assert!(last.is_empty(), "a trailer: {last:?}");
                return Ok(());
            }
            self.exactly(size, body, deadline)?;
            let after = self.line(deadline)?;
            assert!(after.is_empty(), "a chunk is longer than it says: {after:?}");
        }
    }

    fn exactly(&mut self, count: usize, body: &mut Vec<u8>, deadline: Deadline) -> Result<(), End> {
        let mut missing = count;
        while missing > 0 {
            if self.buffer.is_empty() {
                self.fill(deadline)?;
            }
            let take = missing.min(self.buffer.len());
            let start = body.len();
            body.extend(self.buffer.drain(..take));
            if self.taken.len() < 1 << 20 {
                self.taken.extend_from_slice(&body[start..]);
            }
            missing -= take;
        }
        Ok(())
    }

    fn line(&mut self, deadline: Deadline) -> Result<String, End> {
        let mut line = Vec::new();
        loop {
            let byte = self.byte(deadline)?;
            self.taken.push(byte);
            match byte {
                b'\n' => {
                    assert_eq!(
                        line.pop(),
                        Some(b'\r'),
                        "a bare line feed after {:?}",
                        String::from_utf8_lossy(&line)
                    );
                    return Ok(String::from_utf8_lossy(&line).into_owned());
                }
                _ => {
                    assert!(line.last() != Some(&b'\r'), "a bare carriage return");
                    line.push(byte);
                }
            }
            assert!(line.len() < 64 * 1024, "an endless line");
        }
    }

    fn byte(&mut self, deadline: Deadline) -> Result<u8, End> {
        loop {
            if let Some(byte) = self.buffer.pop_front() {
                return Ok(byte);
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Deadline) -> Result<(), End> {
        match self.fill_or_wait(deadline) {
            Err(Quiet::Ended(end)) => Err(end),
            Err(Quiet::Waiting) => panic!("no answer within {:?}; so far {:?}", self.patience, self.so_far()),
            Ok(()) => Ok(()),
        }
    }

    fn fill_or_wait(&mut self, deadline: Deadline) -> Result<(), Quiet> {
        let left = deadline.left().ok_or(Quiet::Waiting)?;
        self.stream.set_read_timeout(Some(left)).expect("read timeout");
        let mut piece = vec![0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Quiet::Ended(End::Cut)),
            Ok(count) => {
                self.buffer.extend(&piece[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(Quiet::Waiting)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Quiet::Ended(End::Reset)),
        }
    }

    fn so_far(&self) -> String {
        let shown = &self.taken[..self.taken.len().min(400)];
        String::from_utf8_lossy(shown).into_owned()
    }
}

enum Quiet {
    Ended(End),
    Waiting,
}

/// A request head as this client writes it.
pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str(&format!("Host: {HOST}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}
