//! The store behind the gate: full (P20), and left alone by tokens that do not need it.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::{Gate, NOW, Response, Token, conf, wait};

/// The least that a store may hold.
const ENTRIES: usize = 1000;

fn gate(store: &str, single_use: &str) -> (TempDir, Gate) {
    let files = TempDir::new().unwrap();
    fs::write(files.path().join("a"), pattern(1000)).unwrap();
    let route = conf::route_with("files", "/", single_use);
    let gate = Gate::start(store.to_owned() + &conf::folder(files.path()) + &route);
    (files, gate)
}

fn once(id: &str) -> Token {
    Token::whole().claim("uses", 1).claim("jti", id)
}

fn visit(gate: &Gate, method: &str, target: &str, agent: &str) -> Response {
    let mut client = gate.connect().allow("set-cookie");
    client.exchange(method, target, &[("User-Agent", agent)])
}

#[test]
fn p20_a_full_store_forgets_nothing_and_takes_nothing_until_something_has_expired() {
    let (_files, gate) = gate(
        &format!("[store]\nmax_entries = {ENTRIES}\n"),
        "single_use = { session_ttl = \"1m\", session_max = \"1m\" }",
    );
    let link = |at: usize| once(&format!("fill-{at}")).at("/a");
    visit(&gate, "GET", &link(0), "anna").expect(200);
    std::thread::scope(|scope| {
        for part in 0..8 {
            let (gate, link) = (&gate, &link);
            scope.spawn(move || {
                for at in (1..ENTRIES).skip(part).step_by(8) {
                    visit(gate, "GET", &link(at), "anna").expect(200);
                }
            });
        }
    });
    let late = once("late").expires(NOW + 3600).at("/a");
    let is_full = |gate: &Gate| {
        let refused = visit(gate, "GET", &late, "anna").refused(503, "store_unavailable");
        assert_eq!(refused.header("retry-after"), Some("1"));
        visit(gate, "GET", &link(0), "bert").refused(410, "token_spent");
        visit(gate, "GET", &link(ENTRIES - 1), "bert").refused(410, "token_spent");
        // What is known goes on, and so does what need not be.
        visit(gate, "GET", &link(0), "anna").expect(200);
        visit(gate, "HEAD", &late, "anna").expect(200);
        visit(gate, "GET", &Token::whole().at("/a"), "bert").expect(200);
    };
    is_full(&gate);
    let gate = gate.restart(NOW + 10);
    is_full(&gate);
    // The tokens' life, the longest leeway that a route may give, and a minute.
    gate.advance(400 + 300);
    visit(&gate, "GET", &late, "anna").expect(200);
    visit(&gate, "GET", &late, "bert").refused(410, "token_spent");
    visit(&gate, "GET", &once("later").expires(NOW + 3600).at("/a"), "anna").expect(200);
    // What has expired is forgotten piece by piece.
    wait::until_true("the use is forgotten", || {
        let refused = visit(&gate, "GET", &link(0), "bert");
        refused.status == 401 && refused.code() == "token_expired"
    });
}

/// The store's file, and when it was last written.
fn written(gate: &Gate) -> (Vec<u8>, SystemTime) {
    let file = gate.dir().join(Path::new("state/store.redb"));
    let content = fs::read(&file).unwrap();
    (content, fs::metadata(&file).unwrap().modified().unwrap())
}

#[test]
fn only_the_use_of_a_token_that_works_once_is_written() {
    let (_files, gate) = gate("", "single_use = { strict = true }");
    let link = once("one").at("/a");
    visit(&gate, "GET", &link, "anna").expect(200);
    let before = written(&gate);
    for _ in 0..50 {
        visit(&gate, "GET", &Token::whole().at("/a"), "anna").expect(200);
        visit(&gate, "HEAD", &Token::whole().at("/a"), "anna").expect(200);
        visit(&gate, "GET", &Token::whole().at("/missing"), "anna").expect(404);
        visit(&gate, "GET", &Token::whole().expires(NOW - 60).at("/a"), "anna").expect(401);
        visit(&gate, "HEAD", &once("another").at("/a"), "anna").expect(200);
        visit(&gate, "GET", &once("another").at("/missing"), "anna").expect(404);
        visit(&gate, "GET", &link, "bert").expect(410);
    }
    assert!(written(&gate) == before, "something was written");
    visit(&gate, "GET", &once("another").at("/a"), "anna").expect(200);
    assert!(written(&gate) != before, "and a use is");
}
