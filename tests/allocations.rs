//! A ceiling on what a hot request allocates: counts repeat exactly, so they guard the request path without timing.
//! Everything but the test's own thread is counted: the worker that serves, and nothing else runs then.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where it finds something unexpected"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mediagate::cli::setup;
use mediagate::clock::Clock;
use mediagate::config::{self, KeyFiles};
use mediagate::server::Server;
use mediagate::token::{Claims, MintToken, TokenId};

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

fn count(size: usize) {
    if !OURS.try_with(Cell::get).unwrap_or(true) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
    }
}

// SAFETY: hands everything on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: u64 = 300;
const REQUESTS: u64 = 1000;

/// An origin of one keep-alive connection at a time, on a thread that is not counted.
fn origin() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        OURS.with(|ours| ours.set(true));
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                OURS.with(|ours| ours.set(true));
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                let body = vec![b'x'; 1024];
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1024\r\nContent-Type: video/mp4\r\nETag: \"a\"\r\n\r\n";
                let answer = [head.as_bytes(), &body].concat();
                let mut seen = Vec::new();
                let mut buffer = [0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..count]);
                    while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        stream.write_all(&answer).unwrap();
                    }
                }
            });
        }
    });
    port
}

/// Allocations and bytes per request, after the warm-up.
fn per_request(address: std::net::SocketAddr, path: &str) -> (f64, f64) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n");
    let mut buffer = vec![0; 65536];
    let mut before = (0, 0);
    for round in 0..WARM_UP + REQUESTS {
        if round == WARM_UP {
            before = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
        }
        stream.write_all(request.as_bytes()).unwrap();
        let mut got = 0;
        loop {
            got += stream.read(&mut buffer[got..]).unwrap();
            assert!(got > 0, "the connection was closed");
            if let Some(end) = buffer[..got].windows(4).position(|window| window == b"\r\n\r\n") {
                assert!(
                    buffer.starts_with(b"HTTP/1.1 200 "),
                    "{}",
                    String::from_utf8_lossy(&buffer[..end])
                );
                if got == end + 4 + 1024 {
                    break;
                }
            }
        }
    }
    let after = (COUNT.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    (
        (after.0 - before.0) as f64 / REQUESTS as f64,
        (after.1 - before.1) as f64 / REQUESTS as f64,
    )
}

#[test]
fn a_hot_get_keeps_below_its_ceiling() {
    OURS.with(|ours| ours.set(true));
    let dir = tempfile::tempdir().unwrap();
    let port = origin();
    std::fs::create_dir(dir.path().join("files")).unwrap();
    std::fs::write(dir.path().join("files/a.mp4"), vec![b'x'; 1024]).unwrap();
    let route = |name: &str, origin: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nstrip_prefix = true\norigin = \"{origin}\"\n\
             carriers = [{{ query = \"t\" }}]\nscope = \"whole\"\n\
             [route.scheme.jwt]\nkeys = \"media\"\nissuer = \"issuer\"\naudience = \"media\"\n"
        )
    };
    let file = dir.path().join("proxy.toml");
    let text = format!(
        "[server]\ndrain_delay = \"0s\"\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [log]\naccess = \"access.log\"\n[keys.media]\nfile = \"media.jwks.json\"\ngenerate = \"HS256\"\n\
         [origin.web.http]\nurl = \"http://127.0.0.1:{port}\"\n[origin.files.folder]\nroot = \"files\"\n{}{}",
        route("web", "web"),
        route("folder", "files")
    );
    std::fs::write(&file, text).unwrap();
    let loaded = config::load(&file, KeyFiles::Make).unwrap_or_else(|errors| panic!("{errors}"));
    let clock = Clock::system();
    let minter = loaded.policies[0]
        .keys
        .as_ref()
        .unwrap()
        .minter(&loaded.log_key)
        .unwrap();
    let claims = Claims {
        subject: Some("42".into()),
        expires: Some(clock.now().after(Duration::from_secs(3600))),
        ..Claims::empty(TokenId([0; 16]))
    };
    let token = minter.mint(&claims, clock.now()).unwrap().text;
    let running = Server::start(setup(loaded, clock)).unwrap();
    running.ready();
    let address = running.gate()[0];

    let (web, web_bytes) = per_request(address, &format!("/web/a.mp4?t={token}"));
    let (folder, folder_bytes) = per_request(address, &format!("/folder/a.mp4?t={token}"));
    println!(
        "allocations per request: web {web:.2} ({web_bytes:.0} bytes), folder {folder:.2} ({folder_bytes:.0} bytes)"
    );
    assert!(web <= WEB_CEILING, "a proxied GET allocates {web:.2} times");
    assert!(
        folder <= FOLDER_CEILING,
        "a GET of a file allocates {folder:.2} times"
    );
    assert!(
        web_bytes.max(folder_bytes) <= BYTES_CEILING,
        "a GET allocates {web_bytes:.0} or {folder_bytes:.0} bytes"
    );
    running.stop();
}

/// Allocations of a proxied GET: 14, and a share of the access log's batches.
const WEB_CEILING: f64 = 14.5;
/// Allocations of a GET of a small file in a folder: 19, and the same share.
const FOLDER_CEILING: f64 = 19.5;
/// Bytes of either. A connection's read buffers are kept from request to request; one that is not shows here.
const BYTES_CEILING: f64 = 5000.0;
