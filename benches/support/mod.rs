//! What benches share that measure a running server: the process, its CPU, free ports, and requests over connections that are kept.

#![allow(dead_code, reason = "each bench needs a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mediagate::config::{self, KeyFiles, Loaded};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Whether everything is only to be run once through, as `cargo test --benches` does.
pub(crate) fn is_trial() -> bool {
    !std::env::args().any(|word| word == "--bench")
}

/// An address that is free now.
pub(crate) fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// The configuration in a file; keys that it has made are made.
pub(crate) fn load(file: &Path) -> Loaded {
    config::load(file, KeyFiles::Make).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The program with this configuration, its standard output and what it is told on its input.
pub(crate) fn run(file: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mediagate"))
        .args(arguments)
        .arg("--config")
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?} failed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The server that is measured.
pub(crate) struct Served {
    process: Child,
}

impl Served {
    /// Starts it, and waits until it listens here.
    pub(crate) fn start(file: &Path, address: SocketAddr) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_mediagate"))
            .arg("serve")
            .arg("--config")
            .arg(file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "mediagate does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process }
    }

    /// Seconds of CPU that its process has used.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        // utime and stime, in hundredths (proc(5)).
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().unwrap())
            .sum();
        ticks / 100.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection that is kept, with one request at a time.
pub(crate) struct Kept {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Kept {
    /// To this address.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: vec![0; 16 * 1024],
        }
    }

    /// Sends the request and reads the whole answer; its status. The answer has a length, or no body.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        let mut got = 0;
        let mut whole = None;
        while whole.is_none_or(|whole| got < whole) {
            let count = self.stream.read(&mut self.buffer[got..]).await.unwrap();
            assert!(count > 0, "the connection was closed");
            got += count;
            if whole.is_none() {
                whole = end(&self.buffer[..got]);
            }
        }
        let digits = std::str::from_utf8(&self.buffer[9..12]).unwrap();
        digits.parse().unwrap()
    }
}

/// Where an answer ends, once its head is there.
fn end(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
    let length = text.split("\r\ncontent-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
    Some(head + length)
}

/// The wait that this share of all is not longer than, in milliseconds. They are sorted, in microseconds.
pub(crate) fn at(waits: &[u32], share: f64) -> f64 {
    f64::from(waits[((waits.len() - 1) as f64 * share) as usize]) / 1000.0
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
