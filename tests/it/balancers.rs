//! Load balancers in front: the PROXY protocol byte by byte, and real HAProxy and nginx as `docs/DEPLOY.md` sets them up.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::client::{HOST, head};
use crate::support::document::adapted;
use crate::support::gate::operational_log;
use crate::support::h2::H2;
use crate::support::program::{self, Binary, Running, own_addresses, wait_for_port};
use crate::support::tls::{Authority, Secure};
use crate::support::{Client, End, Gate, Origin, Setup, Token, conf, wait};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LISTED: &str =
    "proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [\"127.0.0.1\"], timeout = \"1s\" }";

fn setup(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

/// A gate that demands the header on its first listener and has another without.
fn start(origin: &Origin) -> Gate {
    setup(origin).listen("127.0.0.2:0").server(LISTED).start()
}

/// A header of version 2 with this command, family and block.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend(block);
    header
}

const FROM_203: [u8; 12] = [203, 0, 113, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb];

fn from_2001() -> Vec<u8> {
    let address = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let block = [
        &address("2001:db8::7")[..],
        &address("2001:db8::1"),
        &[0x30, 0x39, 1, 0xbb],
    ]
    .concat();
    v2(0x21, 0x21, &block)
}

fn refused(gate: &Gate, kind: &str) -> f64 {
    gate.metric(
        "mediagate_connection_errors_total",
        &[&format!("kind=\"{kind}\"")],
    )
}

#[test]
fn a_proxy_header_names_the_client_and_nothing_behind_it_is_lost() {
    let origin = Origin::start();
    let gate = start(&origin);
    let request = head("GET", &Token::whole().at("/a"), &[]).into_bytes();
    let ours = "127.0.0.1";
    for (number, (header, client)) in [
        (
            b"PROXY TCP4 203.0.113.7 198.51.100.1 12345 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 12345 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (v2(0x21, 0x11, &FROM_203), "203.0.113.7"),
        (from_2001(), "2001:db8::7"),
        // The balancer's own: health checks.
        (b"PROXY UNKNOWN\r\n".to_vec(), ours),
        (v2(0x20, 0x00, &[]), ours),
        (v2(0x20, 0x11, &FROM_203), ours),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client_side = gate.connect();
        // With the header in two pieces and the first request behind it at once, then another on the same connection.
        let (first, second) = header.split_at(header.len() / 2);
        client_side.send(first);
        client_side.send([second, &request].concat());
        assert_eq!(client_side.read().status, 200);
        client_side.send(&request);
        assert_eq!(client_side.read().status, 200);
        let lines = gate.access(2 * number + 2);
        for line in &lines[2 * number..] {
            assert_eq!(line["client"], client, "{:?}", String::from_utf8_lossy(&header));
        }
    }
}

#[test]
fn on_a_listener_with_tls_the_header_stands_before_the_handshake() {
    let (authority, origin) = (Authority::new(), Origin::start());
    authority.put("main", &[HOST]);
    let list = authority.list(&["main"]);
    // Its number counts on behind the listeners in clear.
    let gate = setup(&origin)
        .server(&format!("tls = {{ listen = [\"127.0.0.3:0\"], {list} }}"))
        .server(&LISTED.replace("[\"127.0.0.1:0\"]", "[\"127.0.0.3:0\"]"))
        .start();
    let target = Token::whole().claim("ips", json!(["203.0.113.7"])).at("/a");
    let v1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 12345 443\r\n".to_vec();
    for (number, header) in [v1, v2(0x21, 0x11, &FROM_203)].into_iter().enumerate() {
        for (turn, protocol) in ["http/1.1", "h2"].into_iter().enumerate() {
            let config = Arc::new(authority.client(&[protocol]));
            let mut secure = Secure::behind(&header, gate.tls(), &config, HOST).unwrap();
            let status = match protocol {
                "h2" => H2::over_tls(secure).get(&target, &[]).status,
                _ => secure.get(&target).0,
            };
            assert_eq!(status, 200, "{protocol}");
            let line = 2 * number + turn;
            assert_eq!(gate.access(line + 1)[line]["client"], "203.0.113.7");
        }
    }
    // A ClientHello is no header, and what is in clear asks for none.
    let config = Arc::new(authority.client(&["http/1.1"]));
    assert!(Secure::try_connect(gate.tls(), &config, HOST).is_err());
    wait::until_true("the missing header is counted", || {
        refused(&gate, "proxy_missing") >= 1.0
    });
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
}

#[test]
fn a_token_bound_to_an_address_opens_for_the_headers_client_alone() {
    let origin = Origin::start();
    let gate = start(&origin);
    let target = Token::whole().claim("ips", json!(["203.0.113.0/24"])).at("/a");
    for (client, status) in [("203.0.113.7", 200), ("198.51.100.7", 403)] {
        let mut connection = gate.connect();
        connection.send(format!("PROXY TCP4 {client} 198.51.100.1 1 2\r\n"));
        assert_eq!(connection.get(&target, &[]).status, status, "{client}");
    }
    // No header of a request counts beside it.
    let mut connection = gate.connect();
    connection.send("PROXY TCP4 198.51.100.7 198.51.100.1 1 2\r\n");
    let forged = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("Forwarded", "for=203.0.113.7"),
    ];
    assert_eq!(connection.get(&target, &forged).status, 403);
}

#[test]
fn p32_a_header_that_is_missing_half_or_broken_ends_the_connection_without_an_answer() {
    let origin = Origin::start();
    let gate = start(&origin);
    let request = head("GET", &Token::whole().at("/a"), &[]).into_bytes();
    let v1 = |line: &str| line.as_bytes().to_vec();
    let rows: Vec<(&str, &str, Vec<u8>)> = vec![
        ("missing", "proxy_missing", vec![]),
        ("TLS at once", "proxy_missing", v1("\x16\x03\x01\x02\x00")),
        (
            "lower case",
            "proxy_missing",
            v1("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
        ),
        (
            "a bare line feed",
            "proxy_bad",
            v1("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"),
        ),
        (
            "no address",
            "proxy_bad",
            v1("PROXY TCP4 1.2.3.400 1.2.3.4 1 2\r\n"),
        ),
        (
            "another family's",
            "proxy_bad",
            v1("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
        ),
        (
            "one word more",
            "proxy_bad",
            v1("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
        ),
        (
            "an endless line",
            "proxy_bad",
            v1(&format!("PROXY UNKNOWN {}\r\n", "x".repeat(200))),
        ),
        ("another version", "proxy_bad", v2(0x11, 0x11, &FROM_203)),
        ("another command", "proxy_bad", v2(0x2f, 0x11, &FROM_203)),
        ("datagrams", "proxy_bad", v2(0x21, 0x12, &FROM_203)),
        ("no family", "proxy_bad", v2(0x21, 0x00, &[])),
        ("too short for its family", "proxy_bad", v2(0x21, 0x21, &FROM_203)),
        ("oversized", "proxy_bad", v2(0x21, 0x11, &[1; 60_000])),
        (
            "half a TLV",
            "proxy_bad",
            v2(0x21, 0x11, &[&FROM_203[..], &[4, 0]].concat()),
        ),
        (
            "a TLV that is too long",
            "proxy_bad",
            v2(0x21, 0x11, &[&FROM_203[..], &[4, 0, 9, 1]].concat()),
        ),
        (
            "a wrong checksum",
            "proxy_bad",
            v2(0x21, 0x11, &[&FROM_203[..], &[3, 0, 4, 1, 2, 3, 4]].concat()),
        ),
    ];
    for (what, kind, header) in rows {
        let before = refused(&gate, kind);
        let mut client = gate.connect();
        client.send([&header[..], &request].concat());
        let (said, _) = client.read_to_end();
        assert!(said.is_empty(), "{what}: {}", String::from_utf8_lossy(&said));
        wait::until_true(&format!("{what} is counted as {kind}"), || {
            refused(&gate, kind) > before
        });
    }
    // Half of one, and nothing more: given up after the second that is configured; or the end of the connection.
    for (half, end, kind) in [
        (&b"PROXY TCP4 203.0"[..], false, "proxy_timeout"),
        (b"", false, "proxy_timeout"),
        (&SIGNATURE[..7], false, "proxy_timeout"),
        (&v2(0x21, 0x11, &FROM_203)[..20], false, "proxy_timeout"),
        (b"PROXY TCP4 203.0", true, "proxy_bad"),
    ] {
        let before = refused(&gate, kind);
        let mut client = gate.connect().patient(Duration::from_secs(8));
        client.send(half);
        if end {
            client.finish();
        }
        assert!(client.is_closed(), "{half:?}");
        wait::until_true("it is counted", || refused(&gate, kind) > before);
    }
    origin.untouched();
    assert!(gate.access_text().is_empty());
    // Once a second at most, with the address alone.
    assert!(operational_log().contains("kind=\"proxy_"), "it is told");
    let mut client = gate.connect();
    client.send(v2(0x21, 0x11, &FROM_203));
    assert_eq!(
        client.get(&Token::whole().at("/a"), &[]).status,
        200,
        "who sends one is served"
    );
}

#[test]
fn p32_a_header_from_others_than_the_listed_is_not_even_read() {
    let origin = Origin::start();
    let gate = start(&origin);
    let mut client = Client::connect_from("127.0.0.9", gate.address());
    client.send("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n");
    client.request("GET", &Token::whole().at("/a"), &[]);
    let (said, _) = client.read_to_end();
    assert!(said.is_empty());
    wait::until_true("it is counted", || {
        (refused(&gate, "proxy_untrusted") - 1.0).abs() < 0.1
    });
    origin.untouched();
}

#[test]
fn p32_where_it_is_not_demanded_a_proxy_header_is_no_http() {
    let origin = Origin::start();
    let gate = setup(&origin).listen("127.0.0.2:0").server(LISTED).start();
    let header = "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n";
    for (what, address) in [
        ("another listener of the gate", gate.other_address()),
        ("admin", gate.admin()),
    ] {
        for header in [header.as_bytes(), &v2(0x21, 0x11, &FROM_203)] {
            let mut client = Client::connect(address).any_header();
            client.send([header, head("GET", "/readyz", &[]).as_bytes()].concat());
            let (said, _) = client.read_to_end();
            let said = String::from_utf8_lossy(&said).into_owned();
            assert!(
                said.is_empty() || said.starts_with("HTTP/1.1 400 "),
                "{what}: {said}"
            );
        }
    }
    // Without one, the peer itself is the client there.
    let answer = Client::connect(gate.other_address()).get(&Token::whole().at("/a"), &[]);
    assert_eq!(answer.status, 200);
    assert_eq!(gate.access(1)[0]["client"], "127.0.0.1");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_balancer_that_only_looks_whether_the_port_is_open_is_no_fault() {
    let origin = Origin::start();
    let gate = start(&origin);
    for _ in 0..3 {
        let mut client = gate.connect();
        client.finish();
        assert!(client.is_closed());
    }
    assert!(refused(&gate, "").abs() < 0.1, "{}", gate.metrics());
}

#[test]
fn p31_trap_16_a_forwarded_header_counts_from_the_listed_proxies_alone() {
    let origin = Origin::start();
    for (rule, name, value) in [
        ("x-forwarded-for", "X-Forwarded-For", "203.0.113.7"),
        ("forwarded", "Forwarded", "for=203.0.113.7"),
    ] {
        let gate = setup(&origin)
            .server(&format!(
                "client_address = {{ header = \"{rule}\", trusted = [\"127.0.0.1\"] }}"
            ))
            .start();
        let target = Token::whole().claim("ips", json!(["203.0.113.7"])).at("/a");
        for (number, (source, client, status)) in
            [("127.0.0.1", "203.0.113.7", 200), ("127.0.0.9", "127.0.0.9", 403)]
                .into_iter()
                .enumerate()
        {
            let mut connection = Client::connect_from(source, gate.address());
            let answer = connection.get(&target, &[(name, value)]);
            assert_eq!(answer.status, status, "{rule} from {source}");
            assert_eq!(gate.access(number + 1)[number]["client"], client);
        }
        // The other header of the two never counts.
        let other = [
            ("X-Forwarded-For", "203.0.113.7"),
            ("Forwarded", "for=203.0.113.7"),
        ];
        let other: Vec<_> = other.into_iter().filter(|(known, _)| *known != name).collect();
        let answer = Client::connect_from("127.0.0.1", gate.address()).get(&target, &other);
        assert_eq!(answer.status, 403, "{rule}");
    }
}

#[test]
fn the_configuration_knows_one_source_of_addresses_and_only_the_gates_listeners() {
    let origin = Origin::start();
    for (lines, error) in [
        (
            "proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [\"10.0.0.1\"] }\n\
             client_address = { header = \"forwarded\", trusted = [\"10.0.0.1\"] }",
            "server.proxy_protocol: stands beside [server.client_address]",
        ),
        (
            "proxy_protocol = { listen = [\"127.0.0.1:1\"], trusted = [\"10.0.0.1\"] }",
            "server.proxy_protocol.listen[0]: 127.0.0.1:1 is none of the gate's listeners",
        ),
        (
            "proxy_protocol = { listen = [\"127.0.0.1:0\"] }",
            "server.proxy_protocol.trusted",
        ),
        (
            "proxy_protocol = { trusted = [\"10.0.0.1\"] }",
            "server.proxy_protocol.listen",
        ),
        (
            "proxy_protocol = { listen = [], trusted = [\"10.0.0.1\"] }",
            "server.proxy_protocol.listen: is empty",
        ),
        (
            "proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [] }",
            "server.proxy_protocol.trusted: is empty",
        ),
        (
            "proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [\"0.0.0.0/0\"] }",
            "server.proxy_protocol.trusted: 0.0.0.0/0 trusts everybody",
        ),
        (
            "proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [\"10.0.0.1\"], timeout = \"6s\" }",
            "server.proxy_protocol.timeout: 6s is out of range",
        ),
    ] {
        let told = setup(&origin).server(lines).refused();
        assert!(told.contains(error), "{lines}\n{told}");
    }
    let behind = setup(&origin).server(LISTED);
    let said = program::run_in(
        behind.dir(),
        env!("CARGO_BIN_EXE_mediagate"),
        &["check", "--config", behind.write().to_str().unwrap()],
        wait::SOON,
    );
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = "client address: a PROXY header on 127.0.0.1:0 from 127.0.0.1/32, demanded";
    assert!(said.contains(line), "{said}");
    let private = Setup::new(conf::http(origin.address()) + &conf::route()).tables(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nproxy_protocol = { listen = [\"127.0.0.1:2\"], trusted = [\"10.0.0.1\"] }\n\
         [admin]\nlisten = \"127.0.0.1:2\"",
    );
    let told = private.refused();
    assert!(
        told.contains("the admin listener never take a PROXY header"),
        "{told}"
    );
}

// === real balancers ===

fn started(name: &str, arguments: &[&str], front: SocketAddr) -> Running {
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    let mut running = Running::start(command);
    wait_for_port(front, &mut running);
    running
}

fn haproxy(
    dir: &Path,
    front: SocketAddr,
    gate: SocketAddr,
    admin: SocketAddr,
    changes: &[(&str, &str)],
) -> Running {
    let (bind, server, port) = (
        format!("bind {front}"),
        gate.to_string(),
        format!("port {}", admin.port()),
    );
    let mut all = vec![
        ("bind :80", bind.as_str()),
        ("10.0.0.11:8080", &server),
        ("port 8082", &port),
        ("inter 1s", "inter 100ms"),
    ];
    all.extend(changes);
    let path = dir.join("haproxy.cfg");
    fs::write(&path, adapted("Behind HAProxy", "haproxy", &all)).unwrap();
    started("haproxy", &["-db", "-f", path.to_str().unwrap()], front)
}

/// `[server]` and `[admin]` of the document, on these ports.
fn tables_behind_haproxy(gate: SocketAddr, admin: SocketAddr) -> String {
    adapted(
        "Behind HAProxy",
        "toml",
        &[
            ("10.0.0.11:8080", &gate.to_string()),
            ("10.0.0.11:8082", &admin.to_string()),
            ("10.0.0.5", "127.0.0.1"),
        ],
    )
}

/// One client through the balancer, once that serves at all.
fn served(front: SocketAddr, source: &str, target: &str) -> u16 {
    wait::until("the balancer has a server that is up", || {
        let mut client = Client::connect_from(source, front);
        client.request("GET", target, &[]);
        client.try_read().ok().map(|answer| answer.status)
    })
}

#[test]
fn behind_haproxy_the_client_is_who_haproxy_says_in_both_versions() {
    for send in [
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c",
        "send-proxy",
    ] {
        let origin = Origin::start();
        let dir = TempDir::new().unwrap();
        let [front, gate, admin] = own_addresses();
        let gate_process = setup(&origin).tables(&tables_behind_haproxy(gate, admin)).start();
        let _haproxy = haproxy(dir.path(), front, gate, admin, &[("send-proxy-v2", send)]);
        let bound = Token::whole().claim("ips", json!(["127.0.0.77"])).at("/a");
        assert_eq!(served(front, "127.0.0.77", &bound), 200, "{send}");
        assert_eq!(served(front, "127.0.0.78", &bound), 403, "{send}");
        let lines = gate_process.access(2);
        let clients: Vec<_> = lines
            .iter()
            .map(|line| line["client"].as_str().unwrap())
            .collect();
        assert!(
            clients.contains(&"127.0.0.77") && clients.contains(&"127.0.0.78"),
            "{send}: {clients:?}"
        );
        // A large body through it is whole, and the checks are no faults.
        origin.file("/big", crate::support::origin::pattern(4 << 20));
        let answer = Client::connect(front).get(&Token::whole().at("/big"), &[]);
        assert_eq!((answer.body.len(), answer.end), (4 << 20, End::Complete));
        let faults: f64 = ["proxy_missing", "proxy_bad", "proxy_untrusted", "proxy_timeout"]
            .iter()
            .map(|kind| refused(&gate_process, kind))
            .sum();
        assert!(faults.abs() < 0.1, "{}", gate_process.metrics());
    }
}

#[test]
fn haproxy_may_check_the_gates_own_port_with_a_header_or_without_a_word() {
    for (change, headers) in [
        ("check check-send-proxy", "send-proxy-v2"),
        ("check", "send-proxy-v2"),
    ] {
        let origin = Origin::start();
        let dir = TempDir::new().unwrap();
        let [front, gate, admin] = own_addresses();
        let gate_process = setup(&origin).tables(&tables_behind_haproxy(gate, admin)).start();
        let port = format!("port {} check", admin.port());
        let plain = [
            (port.as_str(), change),
            ("    option httpchk\n", ""),
            ("    http-check send meth GET uri /readyz\n", ""),
            ("    http-check expect status 200\n", ""),
        ];
        let _haproxy = haproxy(dir.path(), front, gate, admin, &plain);
        assert_eq!(
            served(front, "127.0.0.77", &Token::whole().at("/a")),
            200,
            "{change} {headers}"
        );
        let faults: f64 = ["proxy_missing", "proxy_bad"]
            .iter()
            .map(|kind| refused(&gate_process, kind))
            .sum();
        assert!(faults.abs() < 0.1, "{change}: {}", gate_process.metrics());
    }
}

#[test]
fn haproxy_sends_nobody_more_while_the_gate_still_accepts_in_its_drain() {
    let origin = Origin::start();
    let dir = TempDir::new().unwrap();
    let [front, gate, admin] = own_addresses();
    let tables = tables_behind_haproxy(gate, admin).replace("[admin]", "[admin] # ");
    let tables = tables.replacen("[server]", "[server]\ndrain_delay = \"15s\"\nworkers = 1", 1);
    let mut process = Binary::start_at(setup(&origin).tables(&tables), gate, admin);
    let _haproxy = haproxy(dir.path(), front, gate, admin, &[]);
    let now = mediagate::clock::Clock::system().now().secs();
    let target = Token::whole().claim("iat", now).expires(now + 600).at("/a");
    assert_eq!(served(front, "127.0.0.77", &target), 200);
    process.running.terminate();
    wait::until_true("HAProxy takes it out", || {
        let mut client = Client::connect(front);
        client.request("GET", &target, &[]);
        client.try_read().is_err()
    });
    let mut direct = Client::connect(gate);
    direct.send("PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n");
    assert_eq!(direct.get(&target, &[]).status, 200, "it still serves who comes");
    process.running.assert_running();
    let mut checks = Client::connect(admin).any_header();
    let answer = checks.get("/readyz", &[]);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "not ready: draining\n")
    );
    assert_eq!(checks.exchange("HEAD", "/readyz", &[]).status, 503);
}

#[test]
fn behind_nginx_the_client_is_who_nginx_adds_and_not_who_it_claims_to_be() {
    let origin = Origin::start();
    let dir = TempDir::new().unwrap();
    let [front, gate] = own_addresses();
    let tables = adapted("Behind nginx", "toml", &[("127.0.0.1:8080", &gate.to_string())]);
    let gate_process = setup(&origin).tables(&tables).start();
    let own = dir.path().display().to_string();
    let block = adapted(
        "Behind nginx",
        "nginx",
        &[
            ("listen 80", &format!("listen {front}")),
            ("127.0.0.1:8080", &gate.to_string()),
            ("/var/log/nginx", &own),
        ],
    );
    let config = format!(
        "daemon off; master_process off; pid {own}/nginx.pid; error_log {own}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ client_body_temp_path {own}/t1; proxy_temp_path {own}/t2; fastcgi_temp_path {own}/t3;\n\
         uwsgi_temp_path {own}/t4; scgi_temp_path {own}/t5;\n{block}}}\n"
    );
    let path = dir.path().join("nginx.conf");
    fs::write(&path, config).unwrap();
    let arguments = ["-p", own.as_str(), "-c", path.to_str().unwrap()];
    let _nginx = started("nginx", &arguments, front);

    let bound = Token::whole().claim("ips", json!(["127.0.0.77"])).at("/a%20b;c");
    let get = |source: &str, headers: &[(&str, &str)]| {
        let mut client = Client::connect_from(source, front).any_header();
        client.get(&bound, headers).status
    };
    assert_eq!(get("127.0.0.77", &[]), 200);
    assert_eq!(get("127.0.0.77", &[("X-Forwarded-For", "198.51.100.7")]), 200);
    assert_eq!(get("127.0.0.78", &[("X-Forwarded-For", "127.0.0.77")]), 403);
    assert_eq!(get("127.0.0.78", &[("Forwarded", "for=127.0.0.77")]), 403);
    let lines = gate_process.access(4);
    let mut clients: Vec<_> = lines
        .iter()
        .map(|line| line["client"].as_str().unwrap())
        .collect();
    // Each worker writes its own lines.
    clients.sort_unstable();
    assert_eq!(clients, ["127.0.0.77", "127.0.0.77", "127.0.0.78", "127.0.0.78"]);
    assert_eq!(
        origin.seen()[0].target,
        "/a%20b;c",
        "the path comes as it was written"
    );
    // A body that is larger than nginx's buffers, and a range of it.
    origin.file("/big", crate::support::origin::pattern(4 << 20));
    let mut client = Client::connect(front).any_header();
    assert_eq!(client.get(&Token::whole().at("/big"), &[]).body.len(), 4 << 20);
    let part = client.get(&Token::whole().at("/big"), &[("Range", "bytes=5-9")]);
    assert_eq!((part.status, part.body.len()), (206, 5));
    // Whatever nginx wrote down, no token is in it.
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(&path).unwrap_or_default();
            assert!(!text.contains("eyJ"), "{}: {text}", path.display());
        }
    }
}
