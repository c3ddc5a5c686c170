//! The gate between real proxies: what nginx or HAProxy in front of it, or behind it, calls one request is one request to
//! all. The rows of `framing` go through front → gate → origin and gate → back → origin; after each row a stranger asks
//! for a file of its own over the same pooled connections and has to get that one.

use std::fs;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::framing::{Reader, Targets, answers, body_of, check_request, check_safety, routes, rows};
use crate::support::program::{Running, free_port, wait_for_port};
use crate::support::{Client, Gate, Origin, Setup, Token, conf, wait};

const PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/// A real proxy, and where it listens.
pub(crate) struct Proxy {
    _running: Running,
    _dir: TempDir,
    pub(crate) address: SocketAddr,
}

/// nginx that keeps its connections to what is behind it, and streams what it gets.
fn nginx(behind: SocketAddr) -> Proxy {
    nginx_with(behind, "", "proxy_request_buffering off; proxy_buffering off;")
}

/// nginx as a shared cache whose key is the path alone, and which keeps what it may for as long as it may.
pub(crate) fn caching_nginx(behind: SocketAddr) -> Proxy {
    nginx_with(
        behind,
        "proxy_cache_path {own}/cache keys_zone=shared:1m;",
        "proxy_cache shared; proxy_cache_key $uri; proxy_cache_valid any 10m;",
    )
}

fn nginx_with(behind: SocketAddr, globally: &str, there: &str) -> Proxy {
    let upstream = format!("upstream behind {{ server {behind}; keepalive 4; }} {globally}");
    let location = format!(
        "proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $http_host; proxy_read_timeout 3s; {there}"
    );
    nginx_that(&upstream, &format!("location / {{ {location} }}"))
}

/// nginx that serves the files of a folder, compressed where that helps, and a redirect.
pub(crate) fn nginx_root(root: &Path) -> Proxy {
    let types = "types { video/mp4 mp4; text/plain txt; text/html html; application/pdf pdf; }\n\
                 gzip on; gzip_min_length 100; gzip_vary on; gzip_types text/plain;";
    let server = format!(
        "root {}; location /moved {{ return 302 /a.txt; }}",
        root.display()
    );
    nginx_that(types, &server)
}

fn nginx_that(globally: &str, server: &str) -> Proxy {
    let dir = TempDir::new().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let own = dir.path().display().to_string();
    let globally = globally.replace("{own}", &own);
    let config = format!(
        "daemon off; master_process off; pid {own}/nginx.pid; error_log {own}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; underscores_in_headers on; ignore_invalid_headers off;\n\
           large_client_header_buffers 8 64k; client_header_timeout 1s; client_body_timeout 1s;\n\
           client_body_temp_path {own}/t1; proxy_temp_path {own}/t2; fastcgi_temp_path {own}/t3;\n\
           uwsgi_temp_path {own}/t4; scgi_temp_path {own}/t5; {globally}\n\
           server {{ listen {address}; keepalive_timeout 1s; {server} }} }}\n"
    );
    let path = dir.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(dir.path())
        .arg("-c")
        .arg(&path)
        .env("PATH", PATH);
    start(command, dir, address)
}

/// HAProxy that shares its connections to what is behind it among all clients.
fn haproxy(behind: SocketAddr) -> Proxy {
    haproxy_with(behind, "")
}

/// HAProxy that passes on what it should have refused.
fn lenient_haproxy(behind: SocketAddr) -> Proxy {
    haproxy_with(behind, "  option accept-invalid-http-request\n")
}

fn haproxy_with(behind: SocketAddr, manners: &str) -> Proxy {
    let dir = TempDir::new().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = format!(
        "global\n  nbthread 1\n  maxconn 200\n  tune.bufsize 65536\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 2s\n  timeout server 3s\n\
         \x20 timeout http-request 1s\n  timeout http-keep-alive 1s\n\
         frontend front\n  bind {address}\n{manners}  default_backend back\n\
         backend back\n  http-reuse always\n  server one {behind}\n"
    );
    let path = dir.path().join("haproxy.cfg");
    fs::write(&path, config).unwrap();
    let mut command = Command::new("haproxy");
    command
        .arg("-db")
        .arg("-q")
        .arg("-f")
        .arg(&path)
        .env("PATH", PATH);
    start(command, dir, address)
}

fn start(command: Command, dir: TempDir, address: SocketAddr) -> Proxy {
    let mut running = Running::start(command);
    wait_for_port(address, &mut running);
    Proxy {
        _running: running,
        _dir: dir,
        address,
    }
}

fn gate(origin: SocketAddr) -> Gate {
    Setup::new(conf::impatient(origin, "2s") + &routes())
        .server("header_timeout = \"1s\"\nidle_timeout = \"2s\"")
        .start()
}

/// Sends every row to `entry` and judges what the origin at the end of the chain saw.
fn run(entry: SocketAddr, reader: Reader, origin: &Origin, route: &str) {
    let mut wrong = Vec::new();
    let mut through = 0;
    for row in rows() {
        let targets = Targets::of(route, row.name);
        let stranger = format!("/get/stranger/{}", row.name);
        let before = origin.seen().len();
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let mut client = Client::connect(entry).any_header();
            client.send(targets.message(&row));
            let answers = answers(&mut client, Some(&row));
            // Over whatever connections the row left in the pools.
            for _ in 0..2 {
                let answer = Client::connect(entry)
                    .any_header()
                    .get(&Token::whole().at(&stranger), &[]);
                assert_eq!(
                    answer.text(),
                    format!("origin says {stranger}"),
                    "{}: {answer:?}",
                    row.name
                );
            }
            let seen = origin.seen().split_off(before);
            let (own, ours): (Vec<_>, Vec<_>) = seen.into_iter().partition(|one| one.target == stranger);
            assert_eq!(own.len(), 2, "{}: {own:?}", row.name);
            check_safety(&row, &targets, reader, &answers, &ours);
            if let Some(ran) = ours.iter().find(|one| one.target == targets.row) {
                body_of(row.name, ran);
                assert!(!answers.is_empty(), "{}: no answer", row.name);
            }
            for one in own {
                check_request(row.name, &one);
            }
            ours.len()
        }));
        match judged {
            Ok(count) => through += count,
            Err(_) => wrong.push(row.name),
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:?}", wrong.len());
    assert!(
        through >= 40,
        "the chain lets ordinary requests through: {through}"
    );
}

#[test]
fn p25_nginx_in_front_and_the_gate_agree_on_every_framing() {
    let origin = Origin::start();
    let gate = gate(origin.address());
    let front = nginx(gate.address());
    run(front.address, Reader::Front, &origin, "up");
    run(front.address, Reader::Front, &origin, "get");
}

#[test]
fn p25_haproxy_in_front_and_the_gate_agree_on_every_framing() {
    let origin = Origin::start();
    let gate = gate(origin.address());
    let front = haproxy(gate.address());
    run(front.address, Reader::Front, &origin, "up");
    run(front.address, Reader::Front, &origin, "get");
}

#[test]
fn p25_a_front_that_lets_bad_messages_through_and_the_gate_agree_on_every_framing() {
    let origin = Origin::start();
    let gate = gate(origin.address());
    let front = lenient_haproxy(gate.address());
    run(front.address, Reader::Front, &origin, "up");
    run(front.address, Reader::Front, &origin, "get");
}

#[test]
fn p25_the_gate_and_nginx_behind_it_agree_on_every_framing() {
    let origin = Origin::start();
    let back = nginx(origin.address());
    let gate = gate(back.address);
    run(gate.address(), Reader::Gate, &origin, "up");
    run(gate.address(), Reader::Gate, &origin, "get");
}

#[test]
fn p25_the_gate_and_haproxy_behind_it_agree_on_every_framing() {
    let origin = Origin::start();
    let back = haproxy(origin.address());
    let gate = gate(back.address);
    run(gate.address(), Reader::Gate, &origin, "up");
    run(gate.address(), Reader::Gate, &origin, "get");
}

#[test]
fn p25_the_fronts_reuse_their_connections_to_the_gate() {
    // Without it, the rows above would prove nothing about what is left on a connection.
    for proxy in [nginx as fn(SocketAddr) -> Proxy, haproxy] {
        let origin = Origin::start();
        let gate = gate(origin.address());
        let front = proxy(gate.address());
        let opened = || gate.metric("mediagate_connections", &[]);
        for _ in 0..10 {
            let answer = Client::connect(front.address)
                .any_header()
                .get(&Token::whole().at("/get/a"), &[]);
            assert_eq!(answer.status, 200);
        }
        wait::until_true("one connection at most is open", || opened() <= 1.0);
        assert!(origin.connections() <= 2, "{}", origin.connections());
    }
}
