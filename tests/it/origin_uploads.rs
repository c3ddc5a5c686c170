//! Uploads on their way to an origin: who is asked for them, how fast they go, how large they may be.

use std::time::Duration;

use crate::support::origin::Signal;
use crate::support::{Client, Gate, Origin, Script, Token, conf, wait};

fn start(limit: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    let more = format!("methods = [\"GET\", \"PUT\"]\nmax_upload = \"{limit}\"");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route_with("files", "/", &more));
    (origin, gate)
}

fn target() -> String {
    Token::whole()
        .claim("methods", serde_json::json!(["PUT"]))
        .at("/up")
}

fn expecting(gate: &Gate, target: &str, length: &str) -> Client {
    let mut client = gate.connect();
    client.request(
        "PUT",
        target,
        &[("Expect", "100-continue"), ("Content-Length", length)],
    );
    client
}

/// The head before the body that the client waits to send.
fn asked_for_it(client: &mut Client) {
    assert_eq!(client.read_bytes(25), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn an_upload_that_waits_is_asked_for_by_the_origin() {
    let (origin, gate) = start("1MiB");
    let go_on = Signal::default();
    origin.before_body(Script::new().wait(&go_on).send("HTTP/1.1 100 Continue\r\n\r\n"));
    let mut client = expecting(&gate, &target(), "5");
    wait::until_true("the head is at the origin", || {
        String::from_utf8_lossy(&origin.received().concat()).contains("\r\n\r\n")
    });
    let head = String::from_utf8_lossy(&origin.received().concat()).into_owned();
    assert!(
        head.contains("expect: 100-continue\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    go_on.raise();
    asked_for_it(&mut client);
    client.send("hello");
    client.read().expect(200);
    assert_eq!(origin.last().body, b"hello");
}

#[test]
fn an_origin_that_does_not_want_an_upload_gets_none() {
    let (origin, gate) = start("1MiB");
    origin.before_body(Script::answer("403 Forbidden", &[], "no").close());
    let mut client = expecting(&gate, &target(), "5");
    client.read().expect(403);
    let received = String::from_utf8_lossy(&origin.received().concat()).into_owned();
    assert!(received.ends_with("\r\n\r\n"), "{received}");
}

#[test]
fn an_origin_that_says_nothing_gets_the_upload_after_a_second() {
    let (origin, gate) = start("1MiB");
    let mut client = expecting(&gate, &target(), "5");
    let (took, ()) = wait::timed(|| asked_for_it(&mut client));
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(8),
        "{took:?}"
    );
    client.send("hello");
    client.read().expect(200);
    assert_eq!(origin.last().body, b"hello");
}

#[test]
fn who_is_refused_is_not_asked_for_an_upload() {
    let (origin, gate) = start("1KiB");
    let wrong = Token::whole()
        .claim("methods", serde_json::json!(["GET"]))
        .at("/up");
    for (target, length, status) in [
        (wrong.as_str(), "5", 403),
        (target().as_str(), "2000", 413),
        ("/up", "5", 401),
    ] {
        let mut client = expecting(&gate, target, length);
        assert_eq!(client.read().status, status, "{target}");
    }
    origin.untouched();
}

#[test]
fn who_does_not_wait_is_not_held_up() {
    let (origin, gate) = start("1MiB");
    let mut client = gate.connect();
    client.request("PUT", &target(), &[("Content-Length", "5")]);
    client.send("hello");
    let (took, answer) = wait::timed(|| client.read());
    answer.expect(200);
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert_eq!(origin.last().header("expect"), None);
    // Nothing to wait for.
    let mut client = expecting(&gate, &target(), "0");
    client.read().expect(200);
    assert_eq!(origin.last().header("expect"), None);
}

#[test]
fn an_upload_is_read_no_faster_than_the_origin_takes_it() {
    let (origin, gate) = start("1GiB");
    let go_on = Signal::default();
    // The origin reads nothing of the body until then.
    origin.before_body(Script::new().wait(&go_on));
    let target = target();
    let address = gate.address();
    let sent = std::sync::atomic::AtomicUsize::new(0);
    let total = 64 << 20;
    std::thread::scope(|scope| {
        let (sent, target) = (&sent, &target);
        let upload = scope.spawn(move || {
            let mut client = Client::connect(address);
            client.request("PUT", target, &[("Content-Length", &total.to_string())]);
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..total / piece.len() {
                client.send(&piece);
                sent.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
            }
            client.read().status
        });
        // It comes to rest with what the sockets hold.
        let mut before = usize::MAX;
        wait::until_true("the upload stands still", || {
            wait::pause(Duration::from_millis(300), "the kernel fills its buffers");
            let now = sent.load(std::sync::atomic::Ordering::Relaxed);
            std::mem::replace(&mut before, now) == now && now > 0
        });
        assert!(before < total / 2, "{before} bytes were taken without a reader");
        go_on.raise();
        assert_eq!(upload.join().unwrap(), 200);
    });
    assert_eq!(origin.last().body.len(), total);
}

#[test]
fn an_upload_past_the_limit_is_cut_wherever_it_is_noticed() {
    let (origin, gate) = start("10KiB");
    let mut client = gate.connect();
    client.request("PUT", &target(), &[("Transfer-Encoding", "chunked")]);
    for _ in 0..20 {
        client.send(format!("400\r\n{}\r\n", "x".repeat(1024)));
    }
    client.read().refused(413, "too_large");
    assert!(origin.seen().is_empty(), "it was never whole");
    let most: usize = origin.received().iter().map(Vec::len).sum();
    assert!(most <= 12 << 10, "{most}");
}
