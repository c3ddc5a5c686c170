//! TLS: certificates by name, protocols by ALPN, files that change, waits that end.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;

use crate::support::client::{HOST, head};
use crate::support::gate::operational_log;
use crate::support::h2::H2;
use crate::support::origin::pattern;
use crate::support::tls::{Authority, Secure};
use crate::support::{Client, Gate, Origin, Script, Setup, Token, conf, wait};

fn setup(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

/// An authority, an origin, and a gate with TLS in front of it.
fn start() -> (Authority, Origin, Gate) {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority.secure(setup(&origin)).start();
    (authority, origin, gate)
}

fn errors(gate: &Gate, kind: &str) -> f64 {
    gate.metric("mediagate_connection_errors_total", &[&format!("\"{kind}\"")])
}

#[track_caller]
fn counted(gate: &Gate, kind: &str) {
    wait::until_true(kind, || errors(gate, kind) >= 1.0);
}

#[test]
fn the_protocol_is_agreed_on_by_alpn() {
    let (authority, origin, gate) = start();
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&["spdy/3", "http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut client = authority.connect(gate.tls(), offered);
        assert_eq!(client.protocol().as_deref(), agreed, "{offered:?}");
        if agreed != Some("h2") {
            assert_eq!(client.get(&Token::whole().at("/a")).0, 200);
            assert_eq!(client.get(&Token::whole().at("/b")).0, 200);
        }
    }
    assert_eq!(origin.seen().len(), 6);
    let config = Arc::new(authority.client(&["spdy/3"]));
    assert!(Secure::try_connect(gate.tls(), &config, HOST).is_err());
    counted(&gate, "tls_incompatible");
    // The listener in clear is still there, and is in clear.
    gate.get(&Token::whole().at("/c"), &[]).expect(200);
}

#[test]
fn http2_can_be_turned_off() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority.secure(setup(&origin)).server("http2 = false").start();
    let client = authority.connect(gate.tls(), &["h2", "http/1.1"]);
    assert_eq!(client.protocol().as_deref(), Some("http/1.1"));
    let mut client = gate.connect();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let (bytes, _) = client.read_to_end();
    assert!(!bytes.starts_with(&[0, 0]), "a SETTINGS frame came: {bytes:?}");
}

#[test]
fn the_certificate_is_the_one_of_the_name_that_is_asked_for() {
    let (authority, origin) = (Authority::new(), Origin::start());
    authority.put("first", &["first.example"]);
    authority.put("wild", &["*.wild.example"]);
    let list = authority.list(&["first", "wild"]);
    let gate = setup(&origin)
        .server(&format!("tls = {{ listen = [\"127.0.0.1:0\"], {list} }}"))
        .start();
    let config = Arc::new(authority.client(&[]));
    for (name, first) in [
        ("first.example", "first.example"),
        ("a.wild.example", "*.wild.example"),
    ] {
        assert_eq!(Secure::connect(gate.tls(), &config, name).names()[0], first);
    }
    // The default, which this client does not accept for that name.
    let error = Secure::try_connect(gate.tls(), &config, "other.example")
        .err()
        .unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    counted(&gate, "tls_alert");
}

#[test]
fn a_request_for_a_host_with_another_certificate_is_misdirected() {
    let (authority, origin) = (Authority::new(), Origin::start());
    authority.put("first", &["first.example", "also.example"]);
    authority.put("second", &["second.example"]);
    authority.put("wild", &["*.wild.example"]);
    let list = authority.list(&["first", "second", "wild"]);
    let gate = setup(&origin)
        .server(&format!("tls = {{ listen = [\"127.0.0.1:0\"], {list} }}"))
        .start();
    let target = Token::whole().at("/a");
    let rows = [
        ("first.example", "first.example", 200),
        ("first.example", "FIRST.example.:8443", 200),
        // HTTP/2 clients use one connection for both (RFC 9113 §9.1.1).
        ("first.example", "also.example", 200),
        ("first.example", "second.example", 421),
        ("first.example", "second.example:443", 421),
        ("first.example", "Second.Example.", 421),
        ("first.example", "a.wild.example", 421),
        ("a.wild.example", "b.wild.example", 200),
        ("second.example", "also.example", 421),
        // A host without a certificate of its own is a matter of the routes.
        ("second.example", "unknown.example", 200),
        ("second.example", "192.0.2.1", 200),
    ];
    let fetched = |misdirected: usize| assert_eq!(origin.seen().len(), misdirected);
    let mut passed = 0;
    for (name, host, status) in rows {
        let config = Arc::new(authority.client(&["http/1.1"]));
        let mut client = Secure::connect(gate.tls(), &config, name);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let mut start = [0; 12];
        client.stream.read_exact(&mut start).unwrap();
        let line = String::from_utf8_lossy(&start).into_owned();
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{host} over {name}");

        let config = Arc::new(authority.client(&["h2"]));
        let mut client = H2::over_tls(Secure::connect(gate.tls(), &config, name));
        let fields = |host| {
            [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", host),
                (":path", &*target),
            ]
        };
        let stream = client.send(&fields(host));
        let answer = client.answer(stream);
        assert_eq!(answer.status, status, "{host} over {name}, HTTP/2");
        if status == 421 {
            assert_eq!(answer.code(), "misdirected");
        } else {
            passed += 2;
        }
        fetched(passed);
        // The connection is as good as before for its own host.
        let stream = client.send(&fields(name));
        assert_eq!(client.answer(stream).status, 200);
        passed += 1;
    }
    // In clear nothing was promised by a certificate.
    let mut client = gate.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: second.example\r\n\r\n"));
    assert_eq!(client.read().status, 200);
}

#[test]
fn a_changed_certificate_is_for_new_connections_and_old_ones_and_tickets_live_on() {
    let (authority, _origin, gate) = start();
    let config = Arc::new(authority.client(&["http/1.1"]));
    let target = Token::whole().at("/a");
    let mut old = Secure::connect(gate.tls(), &config, HOST);
    assert_eq!(old.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
    // Tickets come behind the handshake.
    assert_eq!(old.get(&target).0, 200);
    let resumed = Secure::connect(gate.tls(), &config, HOST);
    assert_eq!(resumed.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));

    authority.write("main", &authority.leaf(&[HOST, "renewed.example"]));
    gate.reload_certificates();
    let fresh = Arc::new(authority.client(&["http/1.1"]));
    let new = Secure::connect(gate.tls(), &fresh, HOST);
    assert_eq!(new.names(), [HOST, "renewed.example"]);
    assert_eq!(old.get(&target).0, 200);
    let mut resumed = Secure::connect(gate.tls(), &config, HOST);
    assert_eq!(resumed.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(resumed.get(&target).0, 200);
}

#[test]
fn a_torn_pair_changes_nothing_and_is_logged_once_without_the_key() {
    let (authority, _origin, gate) = start();
    let names = || authority.connect(gate.tls(), &[]).names();
    let before = names();
    let next = authority.leaf(&[HOST, "next.example"]);
    fs::write(authority.chain("main"), &next.chain).unwrap();
    for _ in 0..3 {
        gate.reload_certificates();
        assert_eq!(names(), before);
    }
    let folder = authority.folder().display().to_string();
    let log = operational_log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(&folder) && line.contains("does not belong"))
        .collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    authority.write("main", &next);
    gate.reload_certificates();
    assert_eq!(names(), [HOST, "next.example"]);
    for line in next.key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!operational_log().contains(line), "the key stands in the log");
    }
}

#[test]
fn files_are_looked_at_in_the_background() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let setup = authority.secure(setup(&origin));
    let gate = setup.refresh(Duration::from_millis(50)).start();
    assert_eq!(authority.connect(gate.tls(), &[]).names()[1], "localhost");
    authority.write("main", &authority.leaf(&[HOST, "later.example"]));
    wait::until_true("the new certificate is in use", || {
        authority.connect(gate.tls(), &[]).names()[1] == "later.example"
    });
}

#[test]
fn issuer_and_admin_can_have_tls_with_tickets_of_their_own() {
    let (authority, origin) = (Authority::new(), Origin::start());
    authority.put("main", &[HOST]);
    let tls = format!("tls = {{ {} }}\n", authority.list(&["main"]));
    let issuer = conf::issuer(conf::RULE).replacen("[issuer]\n", &format!("[issuer]\n{tls}"), 1);
    let setup = authority.secure(Setup::new(
        conf::http(origin.address()) + &conf::route() + &conf::fynn_route() + &issuer,
    ));
    let path = setup.write();
    let text = fs::read_to_string(&path).unwrap();
    let gate = setup.admin(&tls).start();
    assert!(text.contains("[issuer]\ntls"), "{text}");
    let config = Arc::new(authority.client(&["http/1.1"]));
    let mut admin = Secure::connect(gate.admin(), &config, HOST);
    assert_eq!(admin.get("/readyz"), (200, b"ready\n".to_vec()));
    // The session of one listener is none at another.
    let mut issuer = Secure::connect(gate.issuer(), &config, HOST);
    assert_eq!(issuer.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(issuer.get("/nothing").0, 404);
    let issuer = Secure::connect(gate.issuer(), &config, HOST);
    assert_eq!(issuer.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    let client = Secure::connect(
        gate.admin(),
        &Arc::new(authority.client(&["h2", "http/1.1"])),
        HOST,
    );
    assert_eq!(client.protocol().as_deref(), Some("http/1.1"));
}

#[test]
fn what_is_wrong_with_certificates_is_said_before_anything_is_served() {
    let (authority, origin) = (Authority::new(), Origin::start());
    authority.put("good", &[HOST]);
    authority.put("other", &[HOST]);
    fs::copy(authority.key("other"), authority.key("mixed")).unwrap();
    fs::copy(authority.chain("good"), authority.chain("mixed")).unwrap();
    let refused = |listen: &str, list: &str| {
        setup(&origin)
            .server(&format!("tls = {{ listen = {listen}, {list} }}"))
            .refused()
    };
    let listen = "[\"127.0.0.1:0\"]";
    for (names, key, what) in [
        (&["good", "nowhere"][..], "certificates[1].chain", "can't be read"),
        (&["mixed", "good"], "certificates[0].key", "does not belong"),
        (&[], "certificates", "is empty"),
    ] {
        let errors = refused(listen, &authority.list(names));
        assert!(
            errors.contains(&format!("server.tls.{key}")) && errors.contains(what),
            "{errors}"
        );
    }
    let errors = refused("[]", &authority.list(&["good"]));
    assert!(errors.contains("server.tls.listen: is empty"), "{errors}");
    let errors = refused(listen, "certificate = []");
    assert!(errors.contains("did you mean `certificates`"), "{errors}");
}

#[test]
fn tls_alone_is_enough() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority.secure(setup(&origin)).without_clear().start();
    assert_eq!(gate.address(), gate.tls());
    let mut client = authority.connect(gate.tls(), &["http/1.1"]);
    assert_eq!(client.get(&Token::whole().at("/a")).0, 200);
}

#[test]
fn a_handshake_that_does_not_come_ends_in_its_time() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("tls_timeout = \"1s\"")
        .start();
    // Nothing at all, and the first bytes of a ClientHello.
    for first in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let mut stream = TcpStream::connect(gate.tls()).unwrap();
        stream.write_all(first).unwrap();
        stream.set_read_timeout(Some(wait::SOON)).unwrap();
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)));
    }
    wait::until_true("both are counted", || errors(&gate, "tls_timeout") == 2.0);
}

#[test]
fn failed_handshakes_are_counted_by_kind() {
    let (authority, _origin, gate) = start();
    // HTTP in clear.
    let mut client = Client::connect(gate.tls());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_to_end();
    counted(&gate, "tls_protocol");
    // Somebody who trusts another authority.
    let stranger = Arc::new(Authority::new().client(&[]));
    assert!(Secure::try_connect(gate.tls(), &stranger, HOST).is_err());
    counted(&gate, "tls_alert");
    // Somebody who leaves.
    drop(TcpStream::connect(gate.tls()).unwrap());
    counted(&gate, "tls_io");
    let mut client = authority.connect(gate.tls(), &["http/1.1"]);
    assert_eq!(client.get(&Token::whole().at("/a")).0, 200);
}

/// What comes until the end, and whether TLS said goodbye.
fn to_the_end(client: &mut Secure) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match client.stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, true),
        Err(error) => {
            let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!late, "the connection did not end");
            (bytes, false)
        }
    }
}

#[test]
fn a_body_that_breaks_off_never_ends_cleanly() {
    let (authority, origin, gate) = start();
    let half = [("Content-Length", "1000000")];
    origin.on(
        "/cut",
        Script::new().head("200 OK", &half).send(pattern(1000)).close(),
    );
    for version in ["1.0", "1.1"] {
        let mut client = authority.connect(gate.tls(), &["http/1.1"]);
        let request = head("GET", &Token::whole().at("/cut"), &[("Connection", "close")]);
        client.send(request.replace("HTTP/1.1", &format!("HTTP/{version}")));
        let (bytes, clean) = to_the_end(&mut client);
        assert!(!clean, "{version}: {}", String::from_utf8_lossy(&bytes));
    }
    // A whole one does.
    let mut client = authority.connect(gate.tls(), &["http/1.1"]);
    client.send(head("GET", &Token::whole().at("/a"), &[("Connection", "close")]));
    let (bytes, clean) = to_the_end(&mut client);
    assert!(clean && bytes.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn waits_for_heads_requests_and_readers_hold_over_tls() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("header_timeout = \"1s\"\nidle_timeout = \"2s\"\nstall_timeout = \"1s\"")
        .start();
    // No head, half a head, no second request.
    let mut silent = authority.connect(gate.tls(), &["http/1.1"]);
    let mut half = authority.connect(gate.tls(), &["http/1.1"]);
    half.send("GET / HTTP/1.1\r\nHost:");
    let mut idle = authority.connect(gate.tls(), &["http/1.1"]);
    assert_eq!(idle.get(&Token::whole().at("/a")).0, 200);
    for client in [&mut silent, &mut half, &mut idle] {
        let (bytes, _) = to_the_end(client);
        assert!(
            bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 408"),
            "{bytes:?}"
        );
    }
    // A reader who takes nothing.
    origin.file("/big", pattern(16 << 20));
    let mut stalled = authority.connect(gate.tls(), &["http/1.1"]);
    stalled.send(head("GET", &Token::whole().at("/big"), &[]));
    let lines = gate.access(2);
    assert_eq!(lines[1]["end"], "cut_by_client", "{lines:?}");
    let (bytes, clean) = to_the_end(&mut stalled);
    assert!(!clean && bytes.len() < 16 << 20);
}

#[test]
fn a_drain_ends_idle_connections_and_lets_bodies_end() {
    let (authority, origin) = (Authority::new(), Origin::start());
    let gate = authority
        .secure(setup(&origin))
        .server("drain_delay = \"0s\"\ndrain_timeout = \"20s\"")
        .start();
    let content = pattern(8 << 20);
    origin.file("/big", &content);
    let mut idle = authority.connect(gate.tls(), &["http/1.1"]);
    idle.get(&Token::whole().at("/a"));
    let mut busy = authority.connect(gate.tls(), &["http/1.1"]);
    busy.send(head("GET", &Token::whole().at("/big"), &[]));
    origin.wait_seen(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (bytes, clean) = to_the_end(&mut idle);
            assert!(clean && bytes.is_empty());
            let (bytes, clean) = to_the_end(&mut busy);
            assert!(clean && bytes.ends_with(&content[content.len() - 1000..]));
        });
        gate.drain();
    });
}
