//! slowhttptest, a real tool for slow attacks, for a few seconds in each of its modes: it finds the service available,
//! an honest client beside it gets every byte right, and afterwards nothing is left open. `benches/slow` measures it.

use std::process::Command;
use std::time::Duration;

use crate::support::origin::pattern;
use crate::support::program::Running;
use crate::support::{End, Gate, Origin, Setup, Token, conf, wait};

const CONNECTIONS: &str = "100";

fn gate() -> (Origin, Gate) {
    let origin = Origin::start();
    origin.file("/file", pattern(300_000));
    let more = "methods = [\"GET\", \"POST\"]\nmax_upload = \"1MiB\"";
    let gate = Setup::new(conf::impatient(origin.address(), "10s") + &conf::route_with("files", "/", more))
        .server("header_timeout = \"2s\"\nidle_timeout = \"10s\"\nstall_timeout = \"30s\"")
        .start();
    (origin, gate)
}

/// Attacks `target` in this mode; returns what the tool said, and how many requests an honest client made meanwhile.
fn attack(gate: &Gate, mode: &str, target: &str) -> (String, usize) {
    let url = format!("http://{}{target}", gate.address());
    let mut command = Command::new("slowhttptest");
    command.args([
        mode,
        "-c",
        CONNECTIONS,
        "-r",
        "100",
        "-i",
        "1",
        "-l",
        "4",
        "-p",
        "5",
        "-u",
        &url,
    ]);
    let mut tool = Running::start(command);
    let honest = Token::whole().at("/file");
    let content = pattern(300_000);
    let mut requests = 0;
    let mut ended = false;
    wait::until_within(Duration::from_secs(60), "the attack ends", || {
        let mut client = gate.connect();
        let from = requests * 997 % 200_000;
        let range = format!("bytes={from}-{}", from + 49_999);
        let part = client.get(&honest, &[("Range", &range)]).expect(206);
        assert!(part.body == content[from..from + 50_000] && part.end == End::Complete);
        client.get("/file", &[]).refused(401, "token_missing");
        requests += 1;
        ended |= tool.has_ended();
        ended.then_some(())
    });
    wait::until_true("its last line is there", || {
        tool.stdout.text().contains("Exit status:")
    });
    (tool.stdout.text(), requests)
}

fn survives(mode: &str, target: &str) {
    let (_origin, gate) = gate();
    let (said, requests) = attack(&gate, mode, target);
    let states: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("service available:"))
        .collect();
    assert!(
        !states.is_empty() && states.iter().all(|line| line.contains("YES")),
        "{said}"
    );
    assert!(requests >= 5, "{requests} honest requests");
    wait::until_true("nothing is left open", || {
        gate.metric("mediagate_connections", &[]) == 0.0
    });
    gate.get(&Token::whole().at("/file"), &[]).expect(200);
}

#[test]
fn p35_slow_headers_keep_nobody_else_out() {
    survives("-H", &Token::whole().at("/file"));
}

#[test]
fn p35_slow_bodies_keep_nobody_else_out() {
    let token = Token::whole().claim("methods", serde_json::json!(["GET", "POST"]));
    survives("-B", &token.at("/up"));
}

#[test]
fn p35_slow_readers_keep_nobody_else_out() {
    survives("-X", &Token::whole().at("/file"));
}

#[test]
fn p35_p36_many_ranges_keep_nobody_else_out() {
    survives("-R", &Token::whole().at("/file"));
}

#[test]
fn p35_a_reader_that_takes_nothing_is_not_read_far_ahead_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), vec![7; 16 << 20]).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/file"), &[]);
    client.read_only_head();
    wait::pause(
        Duration::from_millis(500),
        "a reader that takes nothing is what this is about",
    );
    drop(client);
    let line = &gate.access(1)[0];
    let bytes = line["bytes"].as_u64().unwrap();
    // What may wait in the kernel, two reads of the file, and what the receiver's own buffer took.
    assert!(line["end"] == "cut_by_client" && bytes < (5 << 19), "{line}");
}
