//! Issuing: tokens a second, waits and CPU for each way to get one, from a running server over keep-alive connections; and
//! what a flood of such requests does to the gate beside it. `cargo bench --bench issue -- --help` tells the rest.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement stops where it finds something unexpected, and takes the time"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod beside;
#[path = "../support/mod.rs"]
mod support;

use support::{Kept, Served, at, free, is_trial, load, micros, run};

const HELP: &str = "cargo bench --bench issue -- [--quick] [--seconds N] [--connections N] [--items A,B] [--beside]

  --seconds      for each way to get a token, or each part of a round (5)
  --connections  keep-alive connections, one request at a time on each (32; 8 where passwords are hashed)
  --items        some of them, by the beginnings of their names
  --beside       what a flood of each does to the gate: 4,000 requests a second for a file of 1 KiB over 64 connections,
                 alone, beside a flood at another process, and beside the same flood at its own; seven rounds
  --quick        one second each, three rounds";

/// Passwords are hashed for two callers at a time, and 32 may wait: more than that get 503.
const HASHED: usize = 8;

const CALLER: &str = "bench";
const PASSWORD: &str = "correct horse battery staple";

/// One way to get a token.
struct Item {
    name: &'static str,
    /// What signs.
    algorithm: &'static str,
    /// Its table in the configuration, and what that needs.
    dialect: &'static str,
    method: &'static str,
    path: &'static str,
    headers: &'static str,
    body: &'static str,
    status: u16,
    connections: Option<usize>,
}

const JSON: &str = "Content-Type: application/json\r\n";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const NATIVE: &str = "[issuer.native]\nkeys = \"signing\"\nissuer = \"bench\"\naudience = \"media\"\n";
const PATHS: &str = r#"{"paths":["/a.mp4"],"expires_in":300}"#;

/// A signed token by `POST /v1/tokens`.
const fn native(name: &'static str, algorithm: &'static str) -> Item {
    Item {
        name,
        algorithm,
        dialect: NATIVE,
        method: "POST",
        path: "/v1/tokens",
        headers: JSON,
        body: PATHS,
        status: 201,
        connections: None,
    }
}

/// All of them. Another dialect is another entry.
const ITEMS: &[Item] = &[
    native("native HS256", "HS256"),
    native("native RS256", "RS256"),
    native("native ES256", "ES256"),
    native("native EdDSA", "EdDSA"),
    Item {
        name: "fynn",
        dialect: "[media.files]\ntemplate = \"/{id}\"\n\
                  [issuer.fynn]\nkeys = \"signing\"\nissuer = \"bench\"\naudience = \"media\"\nmedia = \"files\"\n",
        path: "/media/a.mp4/download-token",
        headers: "",
        body: "",
        ..native("", "HS256")
    },
    Item {
        name: "nexudus_media RS256",
        dialect: "[issuer.nexudus_media]\nkeys = \"signing\"\nissuer = \"bench\"\naudience = \"media\"\n",
        method: "GET",
        path: "/api/auth/media/customer",
        headers: "",
        body: "",
        status: 200,
        ..native("", "RS256")
    },
    Item {
        name: "nexudus_token (store)",
        dialect: "[issuer.nexudus_token]\n",
        path: "/api/sys/users/token/refresh",
        headers: "",
        body: "",
        status: 200,
        ..native("", "HS256")
    },
    Item {
        name: "sirv HS256",
        dialect: "[issuer.sirv]\nkeys = \"signing\"\nper_hour = 4000000000\n",
        path: "/v2/files/jwt",
        body: r#"{"filename":"/a.mp4","expiresIn":300,"secureParams":{"w":300}}"#,
        status: 200,
        ..native("", "HS256")
    },
    Item {
        // By our own interface: Adobe's holds an address to one request a second.
        name: "short_media RS256",
        dialect: "[issuer.native]\nkeys = \"signing\"\nissuer = \"bench\"\naudience = \"media\"\nschemes = [\"short_media\"]\n\
                  [issuer.adobe_media]\nkeys = \"signing\"\n\
                  [[issuer.adobe_media.entitlement]]\nrequestor = \"SPORT\"\nresources = [\"news\"]\nmvpd = \"cable\"\n",
        body: r#"{"scheme":"short_media","requestor":"SPORT","resource":"news"}"#,
        ..native("", "RS256")
    },
    Item {
        name: "nexudus_bearer (argon2id)",
        dialect: "[issuer.nexudus_bearer]\ntries_per_account = 1000000\ntries_per_address = 1000000\n",
        path: "/api/token",
        headers: FORM,
        body: "grant_type=password&username=bench&password=correct%20horse%20battery%20staple",
        status: 200,
        connections: Some(HASHED),
        ..native("", "HS256")
    },
];

struct Options {
    time: Duration,
    rounds: usize,
    connections: usize,
    items: Vec<String>,
    beside: bool,
    trial: bool,
}

fn options() -> Option<Options> {
    let trial = is_trial();
    let mut options = Options {
        time: Duration::from_millis(if trial { 50 } else { 5000 }),
        rounds: if trial { 1 } else { 7 },
        connections: 32,
        items: Vec::new(),
        beside: false,
        trial,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => options.time = Duration::from_secs_f64(arguments.next()?.parse().ok()?),
            "--connections" => options.connections = arguments.next()?.parse().ok()?,
            "--items" => options.items = arguments.next()?.split(',').map(str::to_owned).collect(),
            "--beside" => options.beside = true,
            "--quick" => (options.time, options.rounds) = (Duration::from_secs(1), 3),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let wanted = |item: &&Item| {
        let mut all = options.items.iter();
        options.items.is_empty() || all.any(|one| item.name.starts_with(one.as_str()))
    };
    if options.trial {
        beside::run(&options, &runtime, &mut ITEMS.iter().take(1));
    } else if options.beside {
        beside::run(&options, &runtime, &mut ITEMS.iter().filter(wanted));
        return;
    }
    println!("                             tokens/s    p50 ms    p99 ms   longest   CPU µs each");
    for item in ITEMS.iter().filter(wanted) {
        let place = Place::new(item);
        let served = Served::start(&place.file, place.issuer);
        let connections = item.connections.unwrap_or(options.connections);
        let warm = options.time / 10;
        runtime.block_on(flood(
            place.issuer,
            &place.request,
            item.status,
            connections,
            warm,
        ));
        let before = served.cpu();
        let start = Instant::now();
        let mut waits = runtime.block_on(flood(
            place.issuer,
            &place.request,
            item.status,
            connections,
            options.time,
        ));
        let (time, cpu) = (start.elapsed().as_secs_f64(), served.cpu() - before);
        waits.sort_unstable();
        println!(
            "{:<26} {:>10.0} {:>9.2} {:>9.2} {:>9.1} {:>13.1}",
            item.name,
            waits.len() as f64 / time,
            at(&waits, 0.5),
            at(&waits, 0.99),
            at(&waits, 1.0),
            cpu * 1e6 / waits.len() as f64
        );
    }
}

/// A server's folder and addresses, and what is asked of its issuer.
struct Place {
    _folder: tempfile::TempDir,
    file: PathBuf,
    gate: SocketAddr,
    issuer: SocketAddr,
    request: Vec<u8>,
}

impl Place {
    /// For one way to get a token.
    fn new(item: &Item) -> Self {
        // The store writes: so on the disk of the build.
        let folder = tempfile::tempdir_in(Path::new(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let (gate, issuer, admin) = (free(), free(), free());
        std::fs::create_dir(folder.path().join("files")).unwrap();
        std::fs::write(folder.path().join("files/a.mp4"), [7; 1024]).unwrap();
        let text = format!(
            "[server]\nlisten = [\"{gate}\"]\nworkers = 1\npublic_url = \"http://{gate}\"\ndrain_delay = \"0s\"\n\
             [admin]\nlisten = \"{admin}\"\n[log]\naccess = \"access.log\"\nlevel = \"error\"\n[store]\nmax_entries = 10000000\n\
             [keys.links]\nfile = \"links.jwks.json\"\ngenerate = \"HS256\"\n\
             [keys.signing]\nfile = \"signing.jwks.json\"\ngenerate = \"{}\"\n\
             [keys.callers]\nfile = \"callers.jwks.json\"\ngenerate = \"HS256\"\n[origin.files.folder]\nroot = \"files\"\n\
             [[route]]\nname = \"files\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{{ query = \"t\" }}]\n\
             [route.scheme.jwt]\nkeys = \"links\"\nissuer = \"bench\"\naudience = \"media\"\n\
             [issuer]\nlisten = \"{issuer}\"\ncallers_file = \"callers.toml\"\n\
             [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"bench\"\naudience = \"issuer\"\n\
             [issuer.bearers]\nkeys = \"callers\"\nissuer = \"bench\"\naudience = \"issuer\"\n\
             [[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n{}",
            item.algorithm, item.dialect
        );
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, text).unwrap();
        drop(load(&file));
        run(&file, &["callers", "add", "--name", CALLER], PASSWORD);
        let bearer = run(&file, &["token", "caller", "--sub", CALLER], "");
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: {issuer}\r\nAuthorization: Bearer {bearer}\r\n{}Content-Length: {}\r\n\r\n{}",
            item.method,
            item.path,
            item.headers,
            item.body.len(),
            item.body
        );
        Self {
            _folder: folder,
            file,
            gate,
            issuer,
            request: request.into_bytes(),
        }
    }
}

/// Asks for tokens for so long; how long each took, in microseconds.
async fn flood(
    address: SocketAddr,
    request: &[u8],
    status: u16,
    connections: usize,
    time: Duration,
) -> Vec<u32> {
    let end = Instant::now() + time;
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let request = request.to_vec();
            tokio::spawn(async move {
                let mut kept = Kept::connect(address).await;
                let mut waits = Vec::new();
                loop {
                    let start = Instant::now();
                    let answer = kept.ask(&request).await;
                    assert_eq!(answer, status, "{}", String::from_utf8_lossy(&request));
                    waits.push(micros(start.elapsed()));
                    if Instant::now() >= end {
                        return waits;
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.append(&mut caller.await.unwrap());
    }
    all
}
