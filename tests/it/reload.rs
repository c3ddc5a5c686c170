//! Reloads: what changed counts from the next request on, what did not goes on undisturbed, and a configuration that is
//! wrong changes nothing and says why.

use std::fs;

use crate::support::gate::sample;
use crate::support::mint::{DOWNLOAD, Ed25519, MEDIA, STRANGER, jwks};
use crate::support::origin::Signal;
use crate::support::program::{Binary, run};
use crate::support::{Client, Gate, Origin, Script, Setup, Token, conf, wait};

fn over(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

#[test]
fn p18_a_removed_key_refuses_its_tokens_at_once_also_in_a_warm_cache() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    let old = Token::whole().at("/a");
    let mut client = gate.connect();
    for _ in 0..20 {
        client.get(&old, &[]).expect(200);
    }
    // Another key under another name: the old one is gone.
    gate.file("media.jwks.json", jwks(&[DOWNLOAD.jwk()]));
    gate.reload();
    client.get(&old, &[]).refused(401, "token_invalid");
    gate.get(&old, &[]).refused(401, "token_invalid");
    let new = Token::whole().header("kid", DOWNLOAD.kid).key(DOWNLOAD).at("/a");
    client.get(&new, &[]).expect(200);
}

#[test]
fn p18_another_key_under_the_same_name_refuses_the_old_tokens_at_once() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    let old = Token::whole().at("/a");
    let mut client = gate.connect();
    client.get(&old, &[]).expect(200);
    client.get(&old, &[]).expect(200);
    gate.file("media.jwks.json", jwks(&[STRANGER.jwk()]));
    gate.reload();
    assert_eq!(STRANGER.kid, MEDIA.kid);
    client.get(&old, &[]).refused(401, "token_invalid");
    client
        .get(&Token::whole().key(STRANGER).at("/a"), &[])
        .expect(200);
}

#[test]
fn p45_a_wrong_configuration_changes_nothing_and_names_every_mistake() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    let open = Token::opening(&["/a"]).at("/a");
    gate.get(&open, &[]).expect(200);
    let mistakes = [
        ("workers = 1", "workers = 1\nwrokers = 2"),
        ("audience = \"media\"", "audience = 3"),
        ("origin = \"files\"", "origin = \"flies\""),
        ("format = \"json\"", "format = \"yaml\""),
        ("head_timeout = \"10s\"", "head_timeout = \"10 parsecs\""),
    ];
    for (from, to) in mistakes {
        gate.edit(from, to);
    }
    let errors = gate.try_reload().unwrap_err();
    assert_eq!(errors.lines().count(), 5, "{errors}");
    // Neither opened nor dropped: what was refused is refused, what was allowed is allowed.
    gate.get("/a", &[]).refused(401, "token_missing");
    gate.get(&Token::opening(&["/b"]).at("/a"), &[])
        .refused(403, "scope_denied");
    gate.get(&open, &[]).expect(200);
    assert_eq!(gate.metric("mediagate_reloads_total", &["failed"]), 1.0);
    for (from, to) in mistakes {
        gate.edit(to, from);
    }
    gate.reload();
    gate.get(&open, &[]).expect(200);
    assert_eq!(gate.metric("mediagate_reloads_total", &["ok"]), 1.0);
}

#[test]
fn p45_a_broken_or_missing_key_file_keeps_the_last_good_keys() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    let token = Token::whole().at("/a");
    let path = gate.dir().join("media.jwks.json");
    let good = fs::read(&path).unwrap();
    for broken in [&b""[..], b"{\"keys\": [", b"{\"keys\": []}"] {
        gate.file("media.jwks.json", broken);
        let errors = gate.try_reload().unwrap_err();
        assert!(errors.contains("keys.media.file"), "{errors}");
        gate.get(&token, &[]).expect(200);
        gate.get(&Token::whole().key(STRANGER).at("/a"), &[])
            .refused(401, "token_invalid");
    }
    fs::remove_file(&path).unwrap();
    assert!(gate.try_reload().unwrap_err().contains("media.jwks.json"));
    gate.get(&token, &[]).expect(200);
    gate.file("media.jwks.json", good);
    gate.reload();
    gate.get(&token, &[]).expect(200);
}

#[test]
fn a_generated_key_that_is_taken_away_is_not_made_anew_while_the_server_runs() {
    let origin = Origin::start();
    let gate = Setup::new(
        "[keys.made]\nfile = \"{dir}/made.json\"\ngenerate = \"HS256\"\n".to_owned()
            + &conf::http(origin.address())
            + &conf::route(),
    )
    .start();
    let made = gate.dir().join("made.json");
    let text = fs::read(&made).unwrap();
    gate.reload();
    assert_eq!(fs::read(&made).unwrap(), text);
    fs::remove_file(&made).unwrap();
    let errors = gate.try_reload().unwrap_err();
    assert!(
        errors.contains("keys.made.file") && errors.contains("is gone"),
        "{errors}"
    );
    assert!(!made.exists());
    // Another file is another matter.
    gate.edit("made.json", "other.json");
    gate.reload();
    assert!(gate.dir().join("other.json").exists());
}

#[test]
fn a_request_lives_on_the_configuration_it_began_with() {
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
    let gate = over(&origin).start();
    let mut slow = gate.connect();
    slow.request("GET", &Token::whole().at("/slow"), &[]);
    slow.read_only_head();
    gate.edit("path = \"/\"", "path = \"/elsewhere\"");
    gate.reload();
    gate.get(&Token::whole().at("/a"), &[]).refused(404, "not_found");
    go_on.raise();
    assert_eq!(slow.read_bytes(10), b"firstother");
    // And the connection is on the new one.
    slow.get(&Token::whole().at("/a"), &[]).refused(404, "not_found");
}

#[test]
fn an_origin_that_did_not_change_keeps_its_connections_and_a_changed_one_gets_none_of_them() {
    let (one, other) = (Origin::start(), Origin::start());
    let gate = over(&one).start();
    let token = Token::whole().at("/a");
    for _ in 0..3 {
        gate.get(&token, &[]).expect(200);
        gate.edit("name = \"files\"", "name = \"files2\"").reload();
        gate.get(&token, &[]).expect(200);
        gate.edit("name = \"files2\"", "name = \"files\"").reload();
    }
    assert_eq!(one.connections(), 1);
    gate.edit(&one.address().to_string(), &other.address().to_string())
        .reload();
    gate.get(&token, &[]).expect(200);
    assert_eq!(one.seen().len(), 6);
    assert_eq!(other.seen().len(), 1);
    // Back again: it is a new origin, with none of the connections that lie there.
    gate.edit(&other.address().to_string(), &one.address().to_string())
        .reload();
    gate.get(&token, &[]).expect(200);
    assert_eq!(one.connections(), 2);
}

#[test]
fn counts_go_on_and_a_route_keeps_its_own_when_the_order_changes() {
    let origin = Origin::start();
    let first = conf::route_with("first", "/first", "");
    let gate = Setup::new(
        conf::http(origin.address())
            + &first
            + "# end of the first\n"
            + &conf::route_with("second", "/second", ""),
    )
    .start();
    let ask = |path: &str, times| (0..times).for_each(|_| drop(gate.get(&Token::whole().at(path), &[])));
    ask("/first/a", 1);
    ask("/second/a", 2);
    gate.edit(&first, "").reload();
    ask("/second/a", 3);
    gate.edit("# end of the first", &conf::route_with("third", "/third", ""))
        .reload();
    ask("/third/a", 4);
    gate.edit("\"third\"", "\"first\"")
        .edit("/third", "/first")
        .reload();
    ask("/first/a", 6);
    let metrics = gate.metrics();
    let count = |route: &str| {
        let label = format!("route=\"{route}\"");
        sample(&metrics, "mediagate_requests_total", &[&label, "code=\"ok\""])
    };
    assert_eq!(["first", "second", "third"].map(count), [7.0, 5.0, 4.0]);
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("mediagate_requests_total") && line.contains("\"ok\""));
    assert_eq!(lines.count(), 4, "each name once, and none");
}

#[test]
fn a_caller_who_had_enough_has_enough_after_a_reload() {
    let origin = Origin::start();
    let rule = format!("{}per_minute = 2\n", conf::RULE);
    let gate = Setup::new(
        conf::http(origin.address())
            + &conf::route_with("files", "/", "mount = [\"native\"]")
            + &conf::fynn_route()
            + &conf::issuer(&rule),
    )
    .start();
    let bearer = Token::caller("customer-42", "media:read").bearer();
    let ask = || {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        gate.ask("POST", "/v1/tokens", &headers, b"{\"paths\": [\"/a\"]}")
            .status
    };
    assert_eq!([ask(), ask(), ask()], [201, 201, 429]);
    gate.reload();
    assert_eq!(ask(), 429);
    gate.edit("per_minute = 2", "").reload();
    assert_eq!(ask(), 201, "the new rule counts, which has no limit");
}

// === key sets from URLs ===

const PATH: &str = "/jwks.json";

fn fetched(files: &Origin, keys: &Origin, more: &str) -> Setup {
    Setup::new(format!(
        "[keys.media]\njwks = \"http://{}{PATH}\"\n{more}\n{}{}",
        keys.address(),
        conf::http(files.address()),
        conf::route()
    ))
}

fn set(keys: &[&Ed25519]) -> Script {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    Script::ok(&[("Content-Type", "application/json")], jwks(&keys))
}

fn until_status(gate: &Gate, target: &str, status: u16) {
    wait::until_true(&format!("{status}"), || gate.get(target, &[]).status == status);
}

#[test]
fn a_key_set_that_is_fetched_goes_on_without_another_fetch() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, set(&[&key]));
    let gate = fetched(&files, &keys, "refresh = \"1h\"\ncooldown = \"1h\"").start();
    let target = format!("/a?t={}", key.sign(Token::whole().claims()));
    until_status(&gate, &target, 200);
    for round in 0..5 {
        gate.edit("path = \"/\"", &format!("leeway = \"{round}s\"\npath = \"/\""));
        gate.reload();
        gate.get(&target, &[]).expect(200);
        gate.edit(&format!("leeway = \"{round}s\"\npath"), "path");
    }
    assert_eq!(keys.seen().len(), 1);
    assert_eq!(
        gate.metric("mediagate_key_set_age_seconds", &["keys=\"media\""]),
        0.0
    );
}

#[test]
fn p45_another_url_means_other_keys_and_never_those_of_the_old_url() {
    let (files, old, new) = (Origin::start(), Origin::start(), Origin::start());
    let (old_key, new_key) = (Ed25519::from_seed("one", 1), Ed25519::from_seed("one", 2));
    old.on(PATH, set(&[&old_key]));
    let go_on = Signal::default();
    let body = jwks(&[new_key.jwk()]);
    new.on(
        PATH,
        Script::new()
            .wait(&go_on)
            .head("200 OK", &[("Content-Length", &body.len().to_string())])
            .send(&body),
    );
    let by = |key: &Ed25519| format!("/a?t={}", key.sign(Token::whole().claims()));
    let gate = fetched(&files, &old, "refresh = \"1s\"\ncooldown = \"1s\"").start();
    until_status(&gate, &by(&old_key), 200);
    gate.edit(&old.address().to_string(), &new.address().to_string())
        .reload();
    // Not loaded yet, and the copy on disk is the old server's.
    gate.get(&by(&old_key), &[]).refused(503, "keys_unavailable");
    gate.get(&by(&new_key), &[]).refused(503, "keys_unavailable");
    new.wait_seen(1);
    let fetches = old.seen().len();
    go_on.raise();
    until_status(&gate, &by(&new_key), 200);
    gate.get(&by(&old_key), &[]).refused(401, "token_invalid");
    // The loop of the old one has ended: the new one is fetched again and again, the old one not once more.
    new.wait_seen(4);
    assert_eq!(old.seen().len(), fetches);
}

// === the real program ===

/// A token by the real clock.
fn lasting(paths: &[&str]) -> Token {
    let now = mediagate::clock::Clock::system().now().secs();
    Token::opening(paths).claim("iat", now).expires(now + 3600)
}

#[test]
fn sighup_with_five_mistakes_keeps_the_old_and_says_what_check_says() {
    let origin = Origin::start();
    let binary = Binary::start(over(&origin));
    let token = lasting(&["/**"]).at("/a");
    let mut client = Client::connect(binary.gate);
    client.get(&token, &[]).expect(200);
    binary
        .edit("workers = 1", "workers = 1\nwrokers = 2")
        .edit("audience = \"media\"", "audience = 3")
        .edit("origin = \"files\"", "origin = \"flies\"")
        .edit("format = \"json\"", "format = \"yaml\"")
        .edit("head_timeout = \"10s\"", "head_timeout = \"10 parsecs\"");
    binary.signal("HUP");
    let config = binary.config();
    let checked = run(
        env!("CARGO_BIN_EXE_mediagate"),
        &["check", "--config", config.to_str().unwrap()],
        wait::SOON,
    );
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8(checked.stderr).unwrap();
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(lines.len(), 5, "{said}");
    wait::until_true("all five are in the log", || {
        let log = unescaped(&binary.running.stderr.text());
        lines.iter().all(|line| log.contains(line))
    });
    client.get(&token, &[]).expect(200);
    Client::connect(binary.gate)
        .get("/a", &[])
        .refused(401, "token_missing");
}

/// The log is JSON; the lines of `check` hold quotes.
fn unescaped(log: &str) -> String {
    log.replace("\\\"", "\"")
}

#[test]
fn a_change_of_the_configuration_or_of_a_key_file_is_taken_without_being_asked_for() {
    let origin = Origin::start();
    let binary = Binary::start(over(&origin));
    let token = lasting(&["/**"]).at("/a");
    let status = |target: &str| Client::connect(binary.gate).get(target, &[]).status;
    assert_eq!(status(&token), 200);
    binary.file("media.jwks.json", jwks(&[STRANGER.jwk()]));
    wait::until_true("the removed key refuses", || status(&token) == 401);
    let new = lasting(&["/**"]).key(STRANGER).at("/a");
    assert_eq!(status(&new), 200);
    binary.edit("path = \"/\"", "path = \"/elsewhere\"");
    wait::until_true("the route has moved", || status(&new) == 404);
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let origin = Origin::start();
    let binary = Binary::start(over(&origin));
    let token = lasting(&["/**"]).at("/a");
    Client::connect(binary.gate).get(&token, &[]).expect(200);
    binary
        .edit("workers = 1", "workers = 3")
        .edit(&binary.gate.to_string(), "127.0.0.1:0")
        .edit("path = \"/\"", "path = \"/elsewhere\"");
    binary.signal("HUP");
    wait::until_true("both keys are named", || {
        let log = binary.running.stderr.text();
        ["server.workers", "server.listen"]
            .iter()
            .all(|key| log.contains(&format!("{key} has changed and needs a restart")))
    });
    wait::until_true("the rest is taken", || {
        Client::connect(binary.gate).get(&token, &[]).status == 404
    });
}

#[test]
fn a_demo_can_not_be_turned_on_by_a_reload() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    gate.edit("state = ", "demo = true\nstate = ");
    let errors = gate.try_reload().unwrap_err();
    assert!(errors.contains("demo: can't be turned on"), "{errors}");
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
    gate.get("/a", &[]).refused(401, "token_missing");
}

#[test]
fn reloads_under_load_fail_no_request() {
    let origin = Origin::start();
    let gate = over(&origin).start();
    let token = Token::whole().at("/a");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gate.connect();
                    (0..200).for_each(|_| drop(client.get(&token, &[]).expect(200)));
                })
            })
            .collect();
        let mut rounds = 0;
        while !asking.iter().all(|one| one.is_finished()) || rounds < 20 {
            gate.edit("[log]", &format!("# {rounds}\n[log]")).reload();
            rounds += 1;
        }
    });
    assert!(gate.metric("mediagate_reloads_total", &["ok"]) >= 20.0);
}
