//! What connections may take, and how long they may take it: places in all, places of one address, file descriptors,
//! time.

use std::process::Command;
use std::time::Duration;

use crate::support::client::head;
use crate::support::h2::{H2, NO_ERROR};
use crate::support::origin::pattern;
use crate::support::program::{Running, own_addresses, run, wait_for_port};
use crate::support::{Client, Gate, Origin, Setup, Token, conf, wait};

fn setup(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

fn errors(gate: &Gate, kind: &str) -> f64 {
    gate.metric(
        "mediagate_connection_errors_total",
        &[&format!("kind=\"{kind}\"")],
    )
}

/// A connection from this address that was served once and is kept.
fn kept(gate: &Gate, source: &str) -> Option<Client> {
    let mut client = Client::connect_from(source, gate.address());
    client.request("GET", &Token::whole().at("/a"), &[]);
    (client.try_read().ok()?.status == 200).then_some(client)
}

/// Waits until there is a place again.
fn kept_soon(gate: &Gate, source: &str) -> Client {
    wait::until("a place is free", || kept(gate, source))
}

#[test]
fn when_all_places_are_taken_the_next_is_refused_and_a_freed_place_is_given_again() {
    let origin = Origin::start();
    let gate = setup(&origin).server("max_connections = 3").start();
    let mut held: Vec<Client> = (0..3)
        .map(|number| kept_soon(&gate, &format!("127.0.0.{}", number + 1)))
        .collect();
    // Whose request is on its way is not idle.
    let request = head("GET", &Token::whole().at("/a"), &[]);
    let (first, rest) = request.split_at(10);
    for client in &mut held {
        client.send(first);
    }
    for refused in 1..=4 {
        assert!(kept(&gate, "127.0.0.9").is_none());
        assert_eq!(errors(&gate, "refused") as u64, refused);
    }
    // Who was there first goes on.
    for client in &mut held {
        client.send(rest);
        assert_eq!(client.read().status, 200);
        client.send(first);
    }
    held.pop();
    let _again = kept_soon(&gate, "127.0.0.9");
    assert!(kept(&gate, "127.0.0.9").is_none());
    assert_eq!(errors(&gate, "refused_address") as u64, 0);
    assert_eq!(gate.metric("mediagate_connections", &[]) as u64, 3);
}

#[test]
fn when_all_places_are_taken_the_connection_that_is_idle_for_longest_makes_room() {
    let origin = Origin::start();
    let gate = setup(&origin).server("max_connections = 3").start();
    let mut oldest = kept_soon(&gate, "127.0.0.1");
    let mut multiplexed = H2::clear(gate.address());
    assert_eq!(multiplexed.get(&Token::whole().at("/a"), &[]).status, 200);
    let mut youngest = kept_soon(&gate, "127.0.0.2");
    // Not in the first second: the next request may be on its way.
    let _first = kept_soon(&gate, "127.0.0.3");
    assert!(oldest.is_closed());
    let _second = kept_soon(&gate, "127.0.0.4");
    multiplexed.until_closed();
    assert_eq!(multiplexed.goaway.map(|(_, code)| code), Some(NO_ERROR));
    assert_eq!(youngest.get(&Token::whole().at("/a"), &[]).status, 200);
    wait::until_true("no more than there are places", || {
        gate.metric("mediagate_connections", &[]) as u64 == 3
    });
    // Who never says a word is idle too.
    drop((oldest, youngest, _first, _second));
    wait::until_true("all have ended", || {
        gate.metric("mediagate_connections", &[]) as u64 == 0
    });
    let silent: Vec<Client> = (0..3).map(|_| gate.connect()).collect();
    let _last = kept_soon(&gate, "127.0.0.5");
    drop(silent);
}

#[test]
fn one_address_takes_its_own_places_and_no_others() {
    let origin = Origin::start();
    let gate = setup(&origin).server("max_connections_per_address = 2").start();
    let mut held: Vec<Client> = (0..2).map(|_| kept_soon(&gate, "127.0.0.5")).collect();
    assert!(kept(&gate, "127.0.0.5").is_none());
    assert_eq!(errors(&gate, "refused_address") as u64, 1);
    assert_eq!(errors(&gate, "refused") as u64, 0);
    let _other = kept(&gate, "127.0.0.6").expect("another address is served");
    held.pop();
    let _again = kept_soon(&gate, "127.0.0.5");
    assert!(kept(&gate, "127.0.0.5").is_none());
}

#[test]
fn behind_a_proxy_header_the_headers_address_is_counted_and_not_the_balancers() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server(
            "max_connections_per_address = 2\n\
             proxy_protocol = { listen = [\"127.0.0.1:0\"], trusted = [\"127.0.0.1\"] }",
        )
        .start();
    let open = |header: &str| {
        let mut client = gate.connect();
        client.send(header);
        client.request("GET", &Token::whole().at("/a"), &[]);
        (client.try_read().ok()?.status == 200).then_some(client)
    };
    let (one, two) = (
        "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
        "PROXY TCP4 203.0.113.7 198.51.100.1 1 2\r\n",
    );
    let held = (open(one).unwrap(), open(one).unwrap());
    assert!(
        open("PROXY TCP6 2001:db8::2 ::1 1 2\r\n").is_none(),
        "the same /64"
    );
    assert_eq!(errors(&gate, "refused_address") as u64, 1);
    let other: Vec<_> = (0..2).map(|_| open(two).expect("another client")).collect();
    let checks: Vec<_> = (0..4)
        .map(|_| open("PROXY UNKNOWN\r\n").expect("the balancer itself"))
        .collect();
    drop(held);
    let _again = wait::until("a place is free", || open(one));
    drop((other, checks));
}

#[test]
fn a_proxy_that_names_clients_in_a_header_brings_as_many_connections_as_it_likes() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server("max_connections_per_address = 1")
        .server("client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.1\"] }")
        .start();
    let held: Vec<_> = (0..4)
        .map(|_| kept(&gate, "127.0.0.1").expect("the proxy"))
        .collect();
    let _stranger = kept(&gate, "127.0.0.9").expect("one of a stranger's");
    assert!(kept(&gate, "127.0.0.9").is_none());
    drop(held);
}

#[test]
fn without_file_descriptors_accepting_stops_and_goes_on_when_there_are_some() {
    let origin = Origin::start();
    let [gate, admin] = own_addresses();
    let setup = setup(&origin);
    let path = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let mut command = Command::new("sh");
    // The soft limit is lower still: it is raised to the hard one on start.
    command
        .arg("-c")
        .arg("ulimit -Sn 40; ulimit -Hn 80; exec \"$0\" serve --config \"$1\"")
        .arg(env!("CARGO_BIN_EXE_mediagate"))
        .arg(path)
        .current_dir(setup.dir());
    let mut running = Running::start(command);
    wait_for_port(admin, &mut running);
    wait_for_port(gate, &mut running);
    let limit = std::fs::read_to_string(format!("/proc/{}/limits", running.id())).unwrap();
    let files = limit
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("80"), "{files}");
    let mut checks = Client::connect(admin).any_header();
    wait::until_true("it is ready", || checks.get("/readyz", &[]).status == 200);

    let held: Vec<Client> = (0..120).map(|_| Client::connect(gate)).collect();
    let begins = "can't accept connections; trying again";
    let ends = "connections are accepted again";
    wait::until_true("the log tells", || running.stderr.text().contains(begins));
    let answer = checks.get("/readyz", &[]);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "not ready: connections can't be accepted\n")
    );
    assert!(!running.stderr.text().contains(ends));
    running.assert_running();

    drop(held);
    wait::until_true("the log tells", || running.stderr.text().contains(ends));
    let now = mediagate::clock::Clock::system().now().secs();
    let target = Token::whole().claim("iat", now).expires(now + 600).at("/a");
    assert_eq!(Client::connect(gate).get(&target, &[]).status, 200);
    assert_eq!(
        Client::connect(admin).any_header().get("/readyz", &[]).status,
        200
    );
    let log = running.stderr.text();
    assert_eq!(
        (log.matches(begins).count(), log.matches(ends).count()),
        (1, 1),
        "{log}"
    );
    let warning = "10000 connections can need 20256 open files, and this process may have 80";
    assert!(log.contains(warning), "{log}");
}

#[test]
fn check_warns_where_the_connections_need_more_files_than_the_process_may_have() {
    let origin = Origin::start();
    for (connections, warned) in [(1000, true), (100, false)] {
        let setup = setup(&origin).server(&format!("max_connections = {connections}"));
        let path = setup.write();
        let script = "ulimit -Sn 300; ulimit -Hn 600; exec \"$0\" check --config \"$1\"";
        let program = env!("CARGO_BIN_EXE_mediagate");
        let output = run("sh", &["-c", script, program, path.to_str().unwrap()], wait::SOON);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        let warning = "1000 connections can need 2256 open files, and this process may have 600";
        assert_eq!(told.contains(warning), warned, "{told}");
        assert_eq!(told.contains("open files"), warned, "{told}");
    }
}

#[test]
fn p35_many_sockets_that_say_nothing_or_a_byte_now_and_then_are_closed_in_time() {
    let origin = Origin::start();
    let gate = setup(&origin)
        .server("header_timeout = \"2s\"\nidle_timeout = \"2s\"")
        .start();
    let mut clients: Vec<Client> = (0..400)
        .map(|number| Client::connect_from(&format!("127.0.1.{}", number % 200 + 1), gate.address()))
        .collect();
    wait::until_true("all are there", || {
        gate.metric("mediagate_connections", &[]) as u64 >= 400
    });
    let (took, ()) = wait::timed(|| {
        let mut bytes = b"GET /".iter().copied().chain(std::iter::repeat(b'a'));
        wait::until_true("all are closed", || {
            // Half of them say a byte each time, of a head that never ends.
            let byte = [bytes.next().expect("endless")];
            for client in clients.iter_mut().step_by(2) {
                client.send(byte);
            }
            wait::pause(Duration::from_millis(50), "slow clients are the point");
            gate.metric("mediagate_connections", &[]) as u64 == 0
        });
    });
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Who says nothing is closed as every idle connection; half a head is a fault.
    assert_eq!(errors(&gate, "timeout") as u64, 200);
    origin.untouched();
    drop(clients);
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
}

#[test]
fn p35_a_slow_and_honest_reader_is_not_cut() {
    let origin = Origin::start();
    let content = pattern(600 * 1024);
    origin.file("/big", content.clone());
    let gate = setup(&origin)
        // The kernel asks for more when a good part of its buffer is empty, which takes this reader longer than that.
        .server("stall_timeout = \"4s\"\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    // As a phone's: small segments and a small window, and 4 kB in a second.
    let mut client = Client::connect_slow(gate.address()).patient(Duration::from_secs(60));
    client.request("GET", &Token::whole().at("/big"), &[]);
    let answer = client.read_only_head();
    assert_eq!(answer.status, 200);
    let mut body = Vec::new();
    let (took, ()) = wait::timed(|| {
        while body.len() < 56 * 1024 {
            let piece = client.read_bytes(2 * 1024);
            assert_eq!(piece.len(), 2 * 1024, "cut after {} bytes", body.len());
            body.extend(piece);
            wait::pause(Duration::from_millis(500), "slowness is the point");
        }
    });
    assert!(
        took > Duration::from_secs(12),
        "longer than every wait of the gate: {took:?}"
    );
    body.extend(client.read_bytes(content.len() - body.len()));
    assert!(body == content);
    assert_eq!(gate.access(1)[0]["end"], "complete");
}

#[test]
fn readiness_tells_why_it_is_lacking_and_head_works() {
    let (files, keys) = (Origin::start(), Origin::start());
    let gate = Setup::new(format!(
        "[keys.media]\njwks = \"http://{}/absent.json\"\n{}{}",
        keys.address(),
        conf::http(files.address()),
        conf::route()
    ))
    .start();
    keys.on("/absent.json", crate::support::Script::answer("500 Oh", &[], ""));
    let answer = gate.admin_get("/readyz");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, "not ready: key set \"media\" was never loaded\n")
    );
    let head = |target: &str| {
        Client::connect(gate.admin())
            .any_header()
            .exchange("HEAD", target, &[])
    };
    let answer = head("/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.is_empty());
    assert_eq!(head("/healthz").status, 200);
}
