//! Memory stays constant, however large the file: the real program, measured by the kernel.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use mediagate::clock::Clock;

use crate::support::client::head;
use crate::support::program::{Binary, run};
use crate::support::{Setup, Token, conf, wait};

const MIB: u64 = 1 << 20;
pub(crate) const SIZE: u64 = 1024 * MIB;

/// The most memory that the process ever held, in KiB.
pub(crate) fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("VmHWM");
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Downloads and throws away; tells how many bytes of body came.
fn download(gate: SocketAddr, target: &str, headers: &[(&str, &str)]) -> u64 {
    let mut stream = TcpStream::connect(gate).unwrap();
    stream.set_read_timeout(Some(wait::SOON)).unwrap();
    let mut all = headers.to_vec();
    all.push(("Connection", "close"));
    stream.write_all(head("GET", target, &all).as_bytes()).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let mut first = Vec::new();
    let mut total = 0;
    let mut body_from = None;
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            return total - body_from.expect("a head");
        }
        total += count as u64;
        if body_from.is_none() {
            first.extend_from_slice(&buffer[..count]);
            if let Some(at) = first.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&first[..at]).into_owned();
                assert!(text.starts_with("HTTP/1.1 20"), "{text}");
                body_from = Some(at as u64 + 4);
            }
        }
    }
}

fn grows_little(origin: String) {
    let gate = Binary::start(Setup::new(origin + &conf::route()));
    let now = Clock::system().now().secs();
    let target = Token::whole().claim("iat", now).expires(now + 3600).at("/big");
    // Buffers and pools are there after this.
    assert_eq!(
        download(gate.gate, &target, &[("Range", "bytes=0-33554431")]) % (32 * MIB),
        0
    );
    let before = peak(gate.running.id());
    assert_eq!(download(gate.gate, &target, &[]), SIZE);
    let after = peak(gate.running.id());
    assert!(
        after.saturating_sub(before) < 8 * 1024,
        "the peak grew from {before} KiB to {after} KiB"
    );
}

#[test]
fn a_gibibyte_from_a_folder_needs_less_than_eight_mebibytes_more() {
    let folder = tempfile::tempdir().unwrap();
    fs::File::create(folder.path().join("big"))
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    grows_little(conf::folder(folder.path()));
}

#[test]
fn a_gibibyte_from_an_http_origin_needs_less_than_eight_mebibytes_more() {
    grows_little(conf::http(origin_of_zeros()));
}

/// An HTTP server that answers everything with a gibibyte. Ends with the test's process; it holds nothing but its socket.
pub(crate) fn origin_of_zeros() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::Builder::new()
        .name("support-zeros".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::Builder::new()
                    .name("support-zeros".into())
                    .spawn(move || zeros(stream))
                    .unwrap();
            }
        })
        .unwrap();
    address
}

#[test]
fn a_gibibyte_over_http2_needs_less_than_eight_mebibytes_more() {
    let folder = tempfile::tempdir().unwrap();
    fs::File::create(folder.path().join("big"))
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    let gate = Binary::start(Setup::new(conf::folder(folder.path()) + &conf::route()));
    let now = Clock::system().now().secs();
    let target = Token::whole().claim("iat", now).expires(now + 3600).at("/big");
    let url = format!("http://{}{target}", gate.gate);
    let fetch = |range: &str, count: u64| {
        let arguments = [
            "-fsS",
            "--http2-prior-knowledge",
            "-r",
            range,
            "-o",
            "/dev/null",
            "-w",
            "%{size_download}",
            &url,
        ];
        let done = run("curl", &arguments, std::time::Duration::from_secs(120));
        assert_eq!(
            String::from_utf8_lossy(&done.stdout),
            count.to_string(),
            "{done:?}"
        );
    };
    fetch("0-33554431", 32 * MIB);
    let before = peak(gate.running.id());
    fetch("0-", SIZE);
    let after = peak(gate.running.id());
    assert!(
        after.saturating_sub(before) < 8 * 1024,
        "the peak grew from {before} KiB to {after} KiB"
    );
}

fn zeros(mut stream: TcpStream) {
    let piece = vec![0; 1 << 20];
    let mut asked = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        asked.extend_from_slice(&buffer[..count]);
        if !asked.ends_with(b"\r\n\r\n") {
            continue;
        }
        asked.clear();
        if stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
            .is_err()
        {
            return;
        }
        for _ in 0..SIZE / MIB {
            if stream.write_all(&piece).is_err() {
                return;
            }
        }
    }
}
