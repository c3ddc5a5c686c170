//! Redemptions of login links over HTTP: how many a second, each durable before it is answered. Fills a store with links,
//! lets a server open it, and redeems them over keep-alive connections from a thread beside it. The store lies in the
//! target folder, on a real disk. `cargo bench --bench landing -- --help` tells the rest.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement stops where it finds something unexpected, and takes the time"
)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mediagate::clock::Clock;
use mediagate::config::{self, KeyFiles};
use mediagate::store::{Embedded, Issued, Purposes, Store};
use mediagate::token::keys::LogKey;
use mediagate::token::scheme::opaque::Handle;
use mediagate::token::{Claims, Opens, Scope, Uses};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const HELP: &str =
    "cargo bench --bench landing -- [--links N] [--connections N] [--workers N] [--alg HS256|ES256|EdDSA]

  --links        how many are redeemed (200000)
  --connections  keep-alive connections, one request at a time on each (64)
  --workers      of the server (1; the store's writer has a thread of its own)
  --alg          what signs the sessions (HS256)";

struct Options {
    links: usize,
    connections: usize,
    workers: usize,
    algorithm: String,
}

fn options() -> Option<Options> {
    let mut options = Options {
        // `cargo test` runs it without this word, to see that it works.
        links: if std::env::args().any(|word| word == "--bench") {
            200_000
        } else {
            500
        },
        connections: 64,
        workers: 1,
        algorithm: "HS256".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().unwrap().parse().unwrap();
        match argument.as_str() {
            "--links" => options.links = number(),
            "--connections" => options.connections = number(),
            "--workers" => options.workers = number(),
            "--alg" => options.algorithm = arguments.next().unwrap(),
            "--bench" => {}
            _ => return None,
        }
    }
    Some(options)
}

fn main() {
    let Some(options) = options() else {
        println!("{HELP}");
        return;
    };
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let dir = tempfile::tempdir_in(target).unwrap();
    let file = configure(dir.path(), &options);
    let loaded = config::load(&file, KeyFiles::Make).unwrap_or_else(|errors| panic!("{errors}"));
    let filling = Instant::now();
    let links = fill(&loaded, options.links);
    println!(
        "{} links put into the store in {:.1} s",
        links.len(),
        filling.elapsed().as_secs_f64()
    );
    let served = Served::start(&file, &loaded);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = served.cpu();
    let start = Instant::now();
    let mut waits = runtime.block_on(redeem(served.address, Arc::new(links), options.connections));
    let time = start.elapsed().as_secs_f64();
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
    println!(
        "{} redemptions in {time:.2} s over {} connections: {:.0} a second; p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms",
        waits.len(),
        options.connections,
        waits.len() as f64 / time,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    if let (Some(before), Some(after)) = (before, served.cpu()) {
        println!(
            "the server used {:.0} µs of CPU for each",
            (after - before) * 1e6 / waits.len() as f64
        );
    }
    served.report();
}

/// A configuration whose listeners are on ports that are free now.
fn configure(dir: &Path, options: &Options) -> PathBuf {
    std::fs::create_dir(dir.join("files")).unwrap();
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (gate, admin) = (free(), free());
    let text = format!(
        "[server]\nlisten = [\"{gate}\"]\nworkers = {}\npublic_url = \"http://{gate}\"\ndrain_delay = \"0s\"\n\
         [admin]\nlisten = \"{admin}\"\n[log]\naccess = \"access.log\"\nlevel = \"warn\"\n[store]\nmax_entries = 10000000\n\
         [keys.sessions]\nfile = \"sessions.jwks.json\"\ngenerate = \"{}\"\n[origin.files.folder]\nroot = \"files\"\n\
         [[route]]\nname = \"files\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{{ cookie = \"session\" }}]\n\
         [route.scheme.jwt]\nkeys = \"sessions\"\nissuer = \"bench\"\naudience = \"session\"\n\
         [landing]\nkeys = \"sessions\"\nissuer = \"bench\"\n",
        options.workers, options.algorithm
    );
    let file = dir.join("proxy.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Puts links into the store, many at a time.
fn fill(loaded: &config::Loaded, count: usize) -> Vec<String> {
    let clock = Clock::system();
    let embedded = Embedded::open(&loaded.store, clock.clone()).unwrap();
    let store = Arc::new(Store::Embedded(embedded));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let names = Arc::clone(&loaded.log_key);
    let links = runtime.block_on(async {
        let fillers: Vec<_> = (0..512)
            .map(|at| {
                let share = count / 512 + usize::from(at < count % 512);
                tokio::spawn(fill_some(
                    Arc::clone(&store),
                    clock.clone(),
                    Arc::clone(&names),
                    share,
                ))
            })
            .collect();
        let mut links = Vec::new();
        for filler in fillers {
            links.append(&mut filler.await.unwrap());
        }
        links
    });
    store.close();
    links
}

async fn fill_some(store: Arc<Store>, clock: Clock, names: Arc<LogKey>, count: usize) -> Vec<String> {
    let mut links = Vec::with_capacity(count);
    for _ in 0..count {
        let handle = Handle::random().unwrap();
        let id = handle.id(&names);
        let claims = Claims {
            subject: Some("42".into()),
            issued: Some(clock.now()),
            expires: Some(clock.now().after(Duration::from_secs(3600))),
            uses: Uses::Once,
            scope: Some(Scope(Box::new([Opens::parse("/customers/42/**").unwrap()]))),
            ..Claims::empty(id)
        };
        let issued = Issued {
            claims: Arc::new(claims),
            purposes: Purposes::LOGIN,
            exchange_secs: 0,
        };
        store.remember(id, issued).await.unwrap();
        links.push(handle.reveal().to_owned());
    }
    links
}

/// The server that is measured.
struct Served {
    address: SocketAddr,
    admin: SocketAddr,
    process: Child,
}

impl Served {
    fn start(file: &Path, loaded: &config::Loaded) -> Self {
        let (address, admin) = (loaded.listeners.gate[0], loaded.listeners.admin);
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
        Self {
            address,
            admin,
            process,
        }
    }

    /// Seconds of CPU that its process has used.
    fn cpu(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        // utime and stime, in hundredths (proc(5)).
        Some(
            fields
                .get(11..13)?
                .iter()
                .filter_map(|field| field.parse::<f64>().ok())
                .sum::<f64>()
                / 100.0,
        )
    }

    /// What the store has counted, by the server's metrics.
    fn report(mut self) {
        let mut admin = std::net::TcpStream::connect(self.admin).unwrap();
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        std::io::Write::write_all(&mut admin, request.as_bytes()).unwrap();
        let metrics = std::io::read_to_string(admin).unwrap();
        let sample = |name: &str| -> f64 {
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
        };
        let (commits, operations) = (
            sample("mediagate_store_commits_total"),
            sample("mediagate_store_operations_total"),
        );
        println!(
            "{commits} commits of the store, {:.1} operations in each on average",
            operations / commits
        );
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Redeems all links; answers how long each took, in microseconds.
async fn redeem(address: SocketAddr, links: Arc<Vec<String>>, connections: usize) -> Vec<u32> {
    let next = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(visitor(address, Arc::clone(&links), Arc::clone(&next))))
        .collect();
    let mut waits = Vec::with_capacity(links.len());
    for visitor in visitors {
        waits.append(&mut visitor.await.unwrap());
    }
    waits
}

async fn visitor(address: SocketAddr, links: Arc<Vec<String>>, next: Arc<AtomicUsize>) -> Vec<u32> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut waits = Vec::new();
    let mut buffer = vec![0; 4096];
    let mut request = String::new();
    while let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) {
        request.clear();
        let _ = write!(
            request,
            "GET /en/user/login?server=true&t={link}&redirectUrl=%2Fen%2Finvoices%2Fdownload%2F42 HTTP/1.1\r\n\
             Host: {address}\r\nUser-Agent: bench\r\nAccept: text/html\r\n\r\n"
        );
        let start = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = 0;
        // The answer has no body.
        while !buffer[..got].ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut buffer[got..]).await.unwrap();
            assert!(count > 0, "the connection was closed");
            got += count;
        }
        assert!(
            buffer.starts_with(b"HTTP/1.1 303 "),
            "{}",
            String::from_utf8_lossy(&buffer[..got])
        );
        waits.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    waits
}
