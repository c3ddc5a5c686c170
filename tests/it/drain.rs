//! The end of a server: requests that were on their way are answered, connections end as clients must expect, and
//! nothing waits longer than it may.

use std::time::Duration;

use crate::support::client::HOST;
use crate::support::origin::Signal;
use crate::support::program::Binary;
use crate::support::{Client, End, Origin, Script, Setup, Token, conf, wait};

fn token(path: &str) -> String {
    let now = mediagate::clock::Clock::system().now().secs();
    Token::whole().claim("iat", now).expires(now + 3600).at(path)
}

fn start(origin: &Origin, times: &str) -> Binary {
    Binary::start(Setup::new(conf::http(origin.address()) + &conf::route()).server(times))
}

fn until_closed(binary: &Binary) {
    wait::until_true("the gate's port is closed", || {
        std::net::TcpStream::connect(binary.gate).is_err()
    });
}

/// A connection that has had an answer, over a server whose drain has just begun. An idle connection lives for a second
/// from there; on a machine that is too busy to use it in that time, another try is made.
fn draining(origin: &Origin, before: impl Fn(&mut Client), then: impl Fn(&mut Client)) {
    for _ in 0..20 {
        let mut binary = start(origin, "drain_delay = \"0s\"\ndrain_timeout = \"60s\"");
        let mut client = Client::connect(binary.gate);
        before(&mut client);
        let (took, ()) = wait::timed(|| {
            binary.signal("TERM");
            until_closed(&binary);
            client.send(format!("GET {} HTTP/1.1\r\n", token("/a")));
        });
        if took > Duration::from_millis(500) {
            continue;
        }
        then(&mut client);
        assert_eq!(binary.running.code(), Some(0));
        return;
    }
    panic!("this machine is too busy");
}

/// The end of the head that `draining` began.
fn finish(client: &mut Client) {
    client.send(format!("Host: {HOST}\r\n\r\n"));
    let answer = client.read().expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(client.is_closed());
}

#[test]
fn a_kept_connection_gets_its_next_answer_and_is_told_that_it_is_the_last() {
    let origin = Origin::start();
    let ask = |client: &mut Client| {
        let answer = client.get(&token("/a"), &[]).expect(200);
        assert_eq!(answer.header("connection"), None);
    };
    draining(&origin, ask, finish);
}

#[test]
fn a_request_that_was_half_sent_is_answered_however_long_the_rest_takes() {
    let origin = Origin::start();
    let ask = |client: &mut Client| drop(client.get(&token("/a"), &[]).expect(200));
    draining(&origin, ask, |client| {
        wait::pause(
            Duration::from_millis(1500),
            "longer than an idle connection lives",
        );
        finish(client);
    });
}

#[test]
fn a_connection_without_a_request_may_still_send_its_first() {
    let origin = Origin::start();
    draining(&origin, |_| {}, finish);
}

#[test]
fn idle_connections_and_those_that_never_asked_end_orderly_and_hold_nothing_up() {
    let origin = Origin::start();
    let mut binary = start(&origin, "drain_delay = \"0s\"\ndrain_timeout = \"5m\"");
    let mut idle = Client::connect(binary.gate);
    idle.get(&token("/a"), &[]).expect(200);
    let mut unused = Client::connect(binary.gate);
    binary.signal("TERM");
    // An end, not a reset.
    assert_eq!(idle.read_to_end(), (Vec::new(), End::Cut));
    assert_eq!(unused.read_to_end(), (Vec::new(), End::Cut));
    assert_eq!(binary.running.code(), Some(0));
}

#[test]
fn a_body_runs_to_its_end_and_the_next_request_of_its_connection_is_answered_too() {
    let origin = Origin::start();
    let go_on = Signal::default();
    origin.on(
        "/slow",
        Script::new()
            .head("200 OK", &[("Content-Length", "10")])
            .send("first")
            .wait(&go_on)
            .send("other"),
    );
    let mut binary = start(&origin, "drain_delay = \"0s\"\ndrain_timeout = \"60s\"");
    let mut client = Client::connect(binary.gate);
    client.request("GET", &token("/slow"), &[]);
    client.read_only_head();
    binary.signal("TERM");
    until_closed(&binary);
    wait::pause(
        Duration::from_millis(1500),
        "longer than an idle connection lives",
    );
    go_on.raise();
    assert_eq!(client.read_bytes(10), b"firstother");
    // Its head had gone before the drain began: it could not say that it was the last.
    let answer = client.get(&token("/a"), &[]).expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(binary.running.code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let origin = Origin::start();
    let stall = Script::new()
        .head("200 OK", &[("Content-Length", "10")])
        .send("x")
        .stall();
    origin.on("/slow", stall);
    for delay in ["5m", "0s"] {
        let mut binary = start(
            &origin,
            &format!("drain_delay = \"{delay}\"\ndrain_timeout = \"1h\""),
        );
        let mut client = Client::connect(binary.gate);
        client.request("GET", &token("/slow"), &[]);
        client.read_only_head();
        binary.signal("TERM");
        wait::until_true("it is draining", || {
            Client::connect(binary.admin)
                .any_header()
                .get("/readyz", &[])
                .status
                == 503
        });
        if delay == "5m" {
            Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
        } else {
            until_closed(&binary);
        }
        binary.running.assert_running();
        binary.signal("INT");
        assert_eq!(binary.running.code(), Some(0));
        assert!(client.read_bytes(10).len() < 10, "the body is cut");
    }
}
