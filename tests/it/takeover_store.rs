//! Takeovers, drains and crashes with the memory of tokens: what is spent is spent in the next process, a download goes on
//! in the old one, what is withdrawn stays withdrawn, and tokens are withdrawn and issued whether a server runs or not.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mediagate::clock::Clock;
use mediagate::server::control::wire::{Command, Message};
use mediagate::server::control::{self};
use mediagate::state::StateLock;

use crate::support::client::{Client, End, Response};
use crate::support::gate::Setup;
use crate::support::mint::Token;
use crate::support::origin::{Origin, Script, Signal, pattern};
use crate::support::program::{Binary, Running, run};
use crate::support::{conf, wait};

const PART: usize = 1 << 20;

/// Good for a while by the real clock.
fn token(id: &str) -> Token {
    let now = Clock::system().now().secs();
    Token::whole()
        .claim("jti", id)
        .claim("iat", now)
        .expires(now + 3600)
}

fn once(id: &str) -> Token {
    token(id).claim("uses", 1)
}

const OPAQUE: &str = "[[route]]\nname = \"links\"\npath = \"/links\"\norigin = \"files\"\ncarriers = [{ query = \"t\" }]\n\
     single_use = { strict = true }\n[route.scheme.opaque]\n";

/// Sessions below `/`, strict ones below `/strict`, opaque ones below `/links`; `/half` stops in the middle.
fn start(origin: &Origin, go_on: &Signal) -> Binary {
    let length = (2 * PART).to_string();
    origin.on(
        "/half",
        Script::new()
            .head("200 OK", &[("Content-Length", &length), ("ETag", "\"half\"")])
            .send(pattern(PART))
            .wait(go_on)
            .send(pattern(PART)),
    );
    let toml = conf::http(origin.address())
        + &conf::route_with("files", "/", "cut_revoked = true")
        + &conf::route_with("strict", "/strict", "single_use = { strict = true }")
        + OPAQUE;
    let setup = Setup::new(toml).server("drain_delay = \"0s\"\ndrain_timeout = \"1m\"");
    Binary::start(setup)
}

fn state(binary: &Binary) -> PathBuf {
    binary.dir().join("state")
}

/// Which process answers at the control socket; `None` where none does.
fn serving(state: &Path) -> Option<u32> {
    let mut wire = control::connect(state, wait::SOON).ok()?;
    wire.send(&Message::Command(Command::Status), &[]).ok()?;
    match wire.receive().ok()? {
        (Message::Status(status), _) => Some(status.pid),
        other => panic!("{other:?}"),
    }
}

/// Another process, once it answers.
fn succeed(binary: &Binary, flags: &[&str]) -> Running {
    let mut new = binary.another(flags);
    wait::until_true("the new process serves", || {
        new.assert_running();
        serving(&state(binary)) == Some(new.id())
    });
    new
}

/// The program with these words, over the same configuration.
fn command(binary: &Binary, words: &[&str]) -> Output {
    let config = binary.config();
    let config = ["--config", config.to_str().unwrap()];
    run(
        env!("CARGO_BIN_EXE_mediagate"),
        &[words, &config].concat(),
        wait::SOON,
    )
}

#[track_caller]
fn says(binary: &Binary, words: &[&str]) -> String {
    let output = command(binary, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn get(binary: &Binary, target: &str, agent: &str) -> Response {
    let mut client = Client::connect(binary.gate).allow("set-cookie");
    client.get(target, &[("User-Agent", agent)])
}

#[test]
fn a_download_goes_on_in_the_old_process_and_its_token_is_spent_in_the_new_one() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    origin.on("/half", Script::ok(&[("ETag", "\"half\"")], pattern(2 * PART)));
    let (session, strict) = (once("session").at("/half"), once("strict").at("/strict/a"));
    get(&binary, &strict, "anna").expect(200);
    let mut download = Client::connect(binary.gate)
        .allow("set-cookie")
        .patient(wait::SOON * 3);
    download.request("GET", &session, &[("User-Agent", "anna")]);
    download.read_only_head();
    assert_eq!(download.read_bytes(PART).len(), PART);
    let new = succeed(&binary, &["--takeover"]);
    let mut old = std::mem::replace(&mut binary.running, new);
    // Whoever it was spent in the old process for may go on in the new one, and nobody else.
    get(&binary, &session, "bert").refused(410, "token_spent");
    get(&binary, &strict, "anna").refused(410, "token_spent");
    let part = Client::connect(binary.gate).get(&session, &[("User-Agent", "anna"), ("Range", "bytes=0-9")]);
    assert!(matches!(part.status, 200 | 206), "{part:?}");
    old.assert_running();
    go_on.raise();
    assert_eq!(download.read_bytes(PART).len(), PART);
    drop(download);
    assert_eq!(old.code(), Some(0));
    // And when the process dies right away.
    binary.signal("KILL");
    wait::until("it is dead", || binary.running.ended());
    binary.running = succeed(&binary, &[]);
    get(&binary, &session, "bert").refused(410, "token_spent");
    get(&binary, &strict, "anna").refused(410, "token_spent");
}

/// Uses one token after the other, twice each, until told to stop. One retry over a new connection is what any client does;
/// a second is a failure. The first use has the file; the second has not.
fn use_up(binary: &Binary, name: usize, stop: &AtomicBool, used: &AtomicUsize) {
    let mut client = Client::connect(binary.gate);
    let mut ask = |target: &str| {
        for retry in [false, true] {
            client.request("GET", target, &[]);
            match client.try_read() {
                Ok(answer) if answer.status == 503 && !retry => {
                    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
                }
                Ok(answer) => {
                    if answer.header("connection") == Some("close") {
                        client = Client::connect(binary.gate);
                    }
                    return answer;
                }
                Err(end) => assert!(!retry, "cut twice: {end:?}"),
            }
            client = Client::connect(binary.gate);
        }
        unreachable!("the second time returns or fails")
    };
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let target = once(&format!("{name}-{number}")).at("/strict/a");
        ask(&target).expect(200);
        ask(&target).refused(410, "token_spent");
        used.fetch_add(1, Ordering::SeqCst);
    }
}

/// Tells all who ask to stop, also where the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn across_takeovers_every_token_works_once_and_none_fails_for_more_than_one_retry() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    let (stop, used) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = |count: usize| {
        let before = used.load(Ordering::SeqCst);
        wait::until_true("more tokens are used", || {
            used.load(Ordering::SeqCst) >= before + count
        });
    };
    let processes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let at_the_end = Stop(&stop);
        let shared = &binary;
        let users: Vec<_> = (0..4)
            .map(|name| {
                let (stop, used) = (&stop, &used);
                scope.spawn(move || use_up(shared, name, stop, used))
            })
            .collect();
        more(20);
        for _ in 0..3 {
            let new = succeed(shared, &["--takeover"]);
            processes.lock().unwrap_or_else(PoisonError::into_inner).push(new);
            more(20);
        }
        drop(at_the_end);
        for user in users {
            user.join().unwrap();
        }
    });
    // Each used token had the file once, whichever process it was.
    let seen = origin.seen().len();
    assert_eq!(
        seen,
        used.load(Ordering::SeqCst),
        "the origin was asked for a spent token"
    );
    let mut processes = processes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last = processes.pop().unwrap();
    let mut first = std::mem::replace(&mut binary.running, last);
    assert_eq!(first.code(), Some(0));
    for mut process in processes {
        assert_eq!(process.code(), Some(0));
    }
}

#[test]
fn a_takeover_that_fails_opens_the_store_again() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let binary = start(&origin, &go_on);
    let spent = once("spent").at("/strict/a");
    get(&binary, &spent, "anna").expect(200);
    let mut kept = Client::connect(binary.gate);
    kept.get(&token("many").at("/a"), &[]).expect(200);
    let mut wire = control::connect(&state(&binary), wait::SOON).unwrap();
    wire.send(&Message::Command(Command::Takeover), &[]).unwrap();
    assert!(matches!(wire.receive().unwrap().0, Message::Sockets { .. }));
    wire.send(&Message::Ready, &[]).unwrap();
    assert_eq!(wire.receive().unwrap().0, Message::Yours);
    // Nobody has the store now. Who needs it is to come again; the others notice nothing.
    kept.get(&token("many").at("/a"), &[]).expect(200);
    let answer = kept
        .get(&once("early").at("/strict/a"), &[])
        .refused(503, "store_unavailable");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(kept.is_closed());
    drop(wire);
    wait::until_true("the old one answers again", || {
        serving(&state(&binary)) == Some(binary.running.id())
    });
    get(&binary, &spent, "anna").refused(410, "token_spent");
    get(&binary, &once("early").at("/strict/a"), "anna").expect(200);
    get(&binary, &once("early").at("/strict/a"), "anna").refused(410, "token_spent");
    says(&binary, &["revoke", "--key", "another"]);
}

#[test]
fn a_reservation_that_runs_when_the_takeover_begins_comes_to_its_end() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let answers = Signal::default();
    let mut binary = start(&origin, &go_on);
    origin.on(
        "/strict/slow",
        Script::new()
            .wait(&answers)
            .head("200 OK", &[("Content-Length", "4")])
            .send("slow"),
    );
    let slow = once("slow").at("/strict/slow");
    let mut waiting = Client::connect(binary.gate);
    waiting.request("GET", &slow, &[]);
    origin.wait_seen(1);
    let mut kept = Client::connect(binary.gate);
    kept.get(&token("many").at("/a"), &[]).expect(200);
    let mut new = binary.another(&["--takeover"]);
    // It begins nothing new while it waits for what has begun.
    let mut number = 0;
    wait::until_true("the old one lets go", || {
        number += 1;
        let another = once(&format!("another-{number}")).at("/strict/a");
        kept.get(&another, &[]).status == 503
    });
    new.assert_running();
    answers.raise();
    assert_eq!(waiting.read().expect(200).text(), "slow");
    wait::until_true("the new process serves", || {
        new.assert_running();
        serving(&state(&binary)) == Some(new.id())
    });
    binary.running = new;
    get(&binary, &slow, "anna").refused(410, "token_spent");
}

// === `mediagate revoke` and `token mint --opaque` ===

#[test]
fn what_is_withdrawn_is_refused_within_a_second_and_stays_so() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    let mut client = Client::connect(binary.gate);
    let mut best = Duration::MAX;
    let mut links = Vec::new();
    for number in 0..5 {
        let link = token(&format!("link-{number}")).at("/a");
        client.get(&link, &[]).expect(200);
        let (took, ()) = wait::timed(|| {
            let said = says(&binary, &["revoke", "--token", &format!("http://host{link}")]);
            assert!(said.starts_with("withdrawn: token "), "{said}");
            // With the next request, over a connection on which it worked.
            client.get(&link, &[]).refused(410, "token_revoked");
        });
        best = best.min(took);
        links.push(link);
    }
    assert!(best < Duration::from_secs(1), "{best:?}");
    // The other ways to say which.
    let jti = token("by-jti").at("/a");
    let iat = Clock::system().now().secs();
    let subject = token("by-subject")
        .claim("sub", "customer-77")
        .claim("iat", iat - 10)
        .at("/a");
    client.get(&jti, &[]).expect(200);
    client.get(&subject, &[]).expect(200);
    says(
        &binary,
        &["revoke", "--jti", "by-jti", "--issuer", "https://issuer.test"],
    );
    says(&binary, &["revoke", "--subject", "customer-77"]);
    client.get(&jti, &[]).refused(410, "token_revoked");
    client.get(&subject, &[]).refused(410, "token_revoked");
    links.extend([jti, subject]);
    // In the process that takes over, and after a crash.
    let new = succeed(&binary, &["--takeover"]);
    let mut old = std::mem::replace(&mut binary.running, new);
    drop(client);
    assert_eq!(old.code(), Some(0));
    for link in &links {
        get(&binary, link, "anna").refused(410, "token_revoked");
    }
    binary.signal("KILL");
    wait::until("it is dead", || binary.running.ended());
    // Where no server runs, too.
    let offline = token("offline").at("/a");
    says(&binary, &["revoke", "--token", &offline]);
    binary.running = succeed(&binary, &[]);
    links.push(offline);
    for link in &links {
        get(&binary, link, "anna").refused(410, "token_revoked");
    }
    get(&binary, &token("good").at("/a"), "anna").expect(200);
    says(&binary, &["revoke", "--key", "media-1"]);
    get(&binary, &token("good").at("/a"), "anna").refused(410, "token_revoked");
}

#[test]
fn a_running_body_is_cut_by_the_command_also_while_the_server_drains() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    let link = token("body").at("/half");
    let mut client = Client::connect(binary.gate);
    client.request("GET", &link, &[]);
    client.read_only_head();
    assert_eq!(client.read_bytes(PART).len(), PART);
    binary.signal("TERM");
    wait::until_true("it drains", || {
        let mut admin = Client::connect(binary.admin).any_header();
        admin.get("/readyz", &[]).status == 503
    });
    says(&binary, &["revoke", "--token", &link]);
    let (rest, end) = client.read_to_end();
    assert!(rest.is_empty() && matches!(end, End::Cut | End::Reset), "{end:?}");
    assert_eq!(binary.running.code(), Some(0));
}

#[test]
fn opaque_tokens_are_minted_beside_a_server_and_without_one() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    let mint = [
        "token",
        "mint",
        "--path",
        "/links/**",
        "--open",
        "/links/a",
        "--opaque",
        "--uses",
        "1",
    ];
    let target = |link: &str| link[link.find("/links/").unwrap()..].to_owned();
    let beside = target(&says(&binary, &mint));
    get(&binary, &beside, "anna").expect(200);
    get(&binary, &beside, "anna").refused(410, "token_spent");
    let kept = target(&says(&binary, &mint));
    binary.signal("TERM");
    assert_eq!(binary.running.code(), Some(0));
    // Nothing of a token is in what the server said.
    let handle = kept.rsplit("t=").next().unwrap();
    for text in [binary.running.stdout.text(), binary.running.stderr.text()] {
        assert!(!text.contains(handle), "{text}");
    }
    let without = target(&says(&binary, &mint));
    let withdrawn = target(&says(&binary, &mint));
    says(&binary, &["revoke", "--token", &withdrawn]);
    binary.running = succeed(&binary, &[]);
    for link in [&kept, &without] {
        get(&binary, link, "anna").expect(200);
        get(&binary, link, "anna").refused(410, "token_spent");
    }
    get(&binary, &withdrawn, "anna").refused(410, "token_revoked");
    get(&binary, &beside, "anna").refused(410, "token_spent");
}

#[test]
fn a_server_that_starts_while_a_command_has_the_state_waits_for_it() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    binary.signal("KILL");
    wait::until("it is dead", || binary.running.ended());
    for flags in [&[][..], &["--takeover"]] {
        let lock = StateLock::take(&state(&binary)).unwrap();
        let mut new = binary.another(flags);
        wait::pause(Duration::from_millis(500), "it would have given up by now");
        new.assert_running();
        drop(lock);
        wait::until_true("it serves", || {
            new.assert_running();
            serving(&state(&binary)) == Some(new.id())
        });
        new.signal("KILL");
        wait::until("it is dead", || new.ended());
    }
}

#[test]
fn commands_without_a_server_wait_for_each_other() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    binary.signal("TERM");
    assert_eq!(binary.running.code(), Some(0));
    let links: Vec<String> = (0..6)
        .map(|number| token(&format!("many-{number}")).at("/a"))
        .collect();
    std::thread::scope(|scope| {
        let binary = &binary;
        for link in &links {
            scope.spawn(move || says(binary, &["revoke", "--token", link]));
        }
    });
    binary.running = succeed(&binary, &[]);
    for link in &links {
        get(&binary, link, "anna").refused(410, "token_revoked");
    }
}

#[test]
fn what_is_withdrawn_while_a_server_takes_over_holds_in_the_new_one() {
    let (origin, go_on) = (Origin::start(), Signal::default());
    let mut binary = start(&origin, &go_on);
    let links: Vec<String> = (0..8)
        .map(|number| token(&format!("meanwhile-{number}")).at("/a"))
        .collect();
    let new = std::thread::scope(|scope| {
        let binary = &binary;
        let new = scope.spawn(|| succeed(binary, &["--takeover"]));
        for link in &links {
            says(binary, &["revoke", "--token", link]);
        }
        new.join().unwrap()
    });
    let mut old = std::mem::replace(&mut binary.running, new);
    assert_eq!(old.code(), Some(0));
    for link in &links {
        get(&binary, link, "anna").refused(410, "token_revoked");
    }
}
