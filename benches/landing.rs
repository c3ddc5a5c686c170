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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mediagate::clock::Clock;
use mediagate::config;
use mediagate::store::{Embedded, Issued, Purposes, Store};
use mediagate::token::keys::LogKey;
use mediagate::token::scheme::opaque::Handle;
use mediagate::token::{Claims, Opens, Scope, Uses};

mod support;

use support::{Kept, Served, at, free, is_trial, load, micros};

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
        links: if is_trial() { 500 } else { 200_000 },
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
    let loaded = load(&file);
    let filling = Instant::now();
    let links = fill(&loaded, options.links);
    println!(
        "{} links put into the store in {:.1} s",
        links.len(),
        filling.elapsed().as_secs_f64()
    );
    let (address, admin) = (loaded.listeners.gate[0], loaded.listeners.admin);
    let served = Served::start(&file, address);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = served.cpu();
    let start = Instant::now();
    let mut waits = runtime.block_on(redeem(address, Arc::new(links), options.connections));
    let time = start.elapsed().as_secs_f64();
    waits.sort_unstable();
    println!(
        "{} redemptions in {time:.2} s over {} connections: {:.0} a second; p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms",
        waits.len(),
        options.connections,
        waits.len() as f64 / time,
        at(&waits, 0.5),
        at(&waits, 0.99),
        at(&waits, 1.0)
    );
    println!(
        "the server used {:.0} µs of CPU for each",
        (served.cpu() - before) * 1e6 / waits.len() as f64
    );
    report(admin);
}

/// A configuration whose listeners are on ports that are free now.
fn configure(dir: &Path, options: &Options) -> PathBuf {
    std::fs::create_dir(dir.join("files")).unwrap();
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

/// What the store has counted, by the server's metrics.
fn report(admin: SocketAddr) {
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let metrics = std::io::read_to_string(stream).unwrap();
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
    let mut kept = Kept::connect(address).await;
    let mut waits = Vec::new();
    let mut request = String::new();
    while let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) {
        request.clear();
        let _ = write!(
            request,
            "GET /en/user/login?server=true&t={link}&redirectUrl=%2Fen%2Finvoices%2Fdownload%2F42 HTTP/1.1\r\n\
             Host: {address}\r\nUser-Agent: bench\r\nAccept: text/html\r\n\r\n"
        );
        let start = Instant::now();
        assert_eq!(kept.ask(request.as_bytes()).await, 303);
        waits.push(micros(start.elapsed()));
    }
    waits
}
