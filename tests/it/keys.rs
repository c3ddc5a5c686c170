//! Key sets from URLs: fetched in the background and never followed anywhere; unknown keys cause no storm; a rotated key
//! is dead at once, also for cached verdicts; no set, no service.

use std::time::Duration;

use crate::support::mint::{Ed25519, STRANGER, jwks};
use crate::support::{Gate, NOW, Origin, Response, Script, Setup, Token, conf, wait};

const PATH: &str = "/jwks.json";
/// Where a test waits for the next regular fetch.
const OFTEN: Duration = Duration::from_millis(200);

fn setup(files: &Origin, keys: &Origin, more: &str) -> Setup {
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

fn by(key: &Ed25519) -> String {
    format!("/a?t={}", key.sign(Token::whole().claims()))
}

fn until_status(gate: &Gate, target: &str, status: u16) -> Response {
    wait::until(&format!("{status}"), || {
        Some(gate.get(target, &[])).filter(|answer| answer.status == status)
    })
}

#[test]
fn a_set_is_fetched_and_its_keys_open() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, set(&[&key]));
    let gate = setup(&files, &keys, "").start();
    until_status(&gate, &by(&key), 200);
    gate.get(&by(&Ed25519::from_seed("one", 2)), &[])
        .refused(401, "token_invalid");
    assert_eq!(keys.seen()[0].target, PATH);
}

#[test]
fn a_set_that_was_never_loaded_is_503_and_never_200() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, Script::answer("500 Oh", &[], ""))
        .on(PATH, set(&[&key]));
    let gate = setup(&files, &keys, "cooldown = \"1s\"").refresh(OFTEN).start();
    keys.wait_seen(1);
    let answer = gate.get(&by(&key), &[]);
    if answer.status != 200 {
        let answer = answer.refused(503, "keys_unavailable");
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    } else {
        assert!(keys.seen().len() >= 2, "served by keys that were never loaded");
    }
    until_status(&gate, &by(&key), 200);
}

#[test]
fn p15_a_flood_of_unknown_keys_causes_one_fetch_per_cool_down() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, set(&[&key]));
    let gate = setup(&files, &keys, "refresh = \"1h\"\ncooldown = \"1h\"").start();
    until_status(&gate, &by(&key), 200);
    let before = keys.seen().len();
    let mut client = gate.connect();
    for number in 0..1000 {
        let token = Token::whole()
            .header("kid", format!("unknown-{number}"))
            .key(STRANGER)
            .at("/a");
        client.get(&token, &[]).refused(401, "token_invalid");
    }
    // One fetch may be due; it is over when a request has gone through behind it.
    client.get(&by(&key), &[]).expect(200);
    assert!(keys.seen().len() <= before + 1, "{} fetches", keys.seen().len());
    assert!(files.seen().iter().all(|seen| seen.target == "/a"));
}

#[test]
fn a_new_key_is_found_when_it_is_first_asked_for() {
    let (files, keys) = (Origin::start(), Origin::start());
    let (old, new) = (Ed25519::from_seed("old", 1), Ed25519::from_seed("new", 2));
    keys.on(PATH, set(&[&old])).on(PATH, set(&[&old, &new]));
    let gate = setup(&files, &keys, "refresh = \"1h\"\ncooldown = \"1s\"").start();
    until_status(&gate, &by(&old), 200);
    until_status(&gate, &by(&new), 200);
    gate.get(&by(&old), &[]).expect(200);
}

#[test]
fn p18_a_key_that_left_the_set_is_dead_at_once_also_in_the_cache() {
    let (files, keys) = (Origin::start(), Origin::start());
    let (old, new) = (Ed25519::from_seed("old", 1), Ed25519::from_seed("new", 2));
    keys.on(PATH, set(&[&old])).on(PATH, set(&[&new]));
    let gate = setup(&files, &keys, "refresh = \"1h\"\ncooldown = \"1s\"").start();
    until_status(&gate, &by(&old), 200);
    let mut client = gate.connect();
    for _ in 0..20 {
        client.get(&by(&old), &[]).expect(200);
    }
    until_status(&gate, &by(&new), 200);
    client.get(&by(&old), &[]).refused(401, "token_invalid");
}

#[test]
fn p18_a_key_that_changed_under_its_name_is_dead_at_once() {
    let (files, keys) = (Origin::start(), Origin::start());
    let (old, new) = (Ed25519::from_seed("same", 1), Ed25519::from_seed("same", 2));
    keys.on(PATH, set(&[&old])).on(PATH, set(&[&new]));
    let gate = setup(&files, &keys, "cooldown = \"1s\"").refresh(OFTEN).start();
    until_status(&gate, &by(&old), 200);
    until_status(&gate, &by(&new), 200);
    gate.get(&by(&old), &[]).refused(401, "token_invalid");
}

#[test]
fn a_broken_set_keeps_the_last_good_one() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, set(&[&key]))
        .on(PATH, Script::ok(&[], "{ not json"))
        .on(PATH, Script::answer("404 Not Found", &[], ""))
        .on(PATH, Script::ok(&[], jwks(&[])))
        .on(PATH, Script::new().close());
    let gate = setup(&files, &keys, "cooldown = \"1s\"").refresh(OFTEN).start();
    until_status(&gate, &by(&key), 200);
    keys.wait_seen(5);
    gate.get(&by(&key), &[]).expect(200);
}

#[test]
fn the_last_good_set_survives_a_restart() {
    let (files, keys) = (Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    keys.on(PATH, set(&[&key])).on(PATH, Script::new().stall());
    let gate = setup(&files, &keys, "refresh = \"1h\"").start();
    until_status(&gate, &by(&key), 200);
    // It is in use before it is on the disk.
    wait::until_true("the copy is written", || {
        let state = std::fs::read_dir(gate.dir().join("state")).into_iter().flatten();
        let names = state
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .into_iter()
            .any(|name| name.starts_with("jwks-") && name.ends_with(".json"))
    });
    let gate = gate.restart(NOW);
    until_status(&gate, &by(&key), 200);
}

#[test]
fn sets_that_must_not_be_believed_are_not() {
    let key = Ed25519::from_seed("one", 1);
    let secret = crate::support::mint::MEDIA.jwk();
    let other = Ed25519::from_seed("one", 2);
    let mut private = key.jwk();
    private["d"] = serde_json::json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    for (what, script) in [
        ("a symmetric key", Script::ok(&[], jwks(&[key.jwk(), secret]))),
        (
            "two keys of one name",
            Script::ok(&[], jwks(&[key.jwk(), other.jwk()])),
        ),
        ("a private key", Script::ok(&[], jwks(&[private]))),
        (
            "a huge set",
            Script::ok(&[], format!("{}{}", " ".repeat(4 << 20), jwks(&[key.jwk()]))),
        ),
        ("an error page", Script::answer("500 Oh", &[], jwks(&[key.jwk()]))),
        (
            "a partial answer",
            Script::answer("206 Partial Content", &[], jwks(&[key.jwk()])),
        ),
    ] {
        let (files, keys) = (Origin::start(), Origin::start());
        keys.on(PATH, script);
        let gate = setup(&files, &keys, "cooldown = \"1s\"").refresh(OFTEN).start();
        keys.wait_seen(2);
        let answer = gate.get(&by(&key), &[]);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "keys_unavailable"),
            "{what}: {answer:?}"
        );
        files.untouched();
    }
}

#[test]
fn p15_a_redirect_of_a_set_is_not_followed() {
    let (files, keys, elsewhere) = (Origin::start(), Origin::start(), Origin::start());
    let key = Ed25519::from_seed("one", 1);
    elsewhere.on(PATH, set(&[&key]));
    let location = format!("http://{}{PATH}", elsewhere.address());
    keys.on(PATH, Script::answer("302 Found", &[("Location", &location)], ""));
    let gate = setup(&files, &keys, "cooldown = \"1s\"").refresh(OFTEN).start();
    keys.wait_seen(2);
    gate.get(&by(&key), &[]).refused(503, "keys_unavailable");
    elsewhere.untouched();
}

#[test]
fn a_key_server_that_stalls_holds_up_nobody() {
    let (files, keys) = (Origin::start(), Origin::start());
    keys.on(PATH, Script::new().stall());
    let gate = setup(&files, &keys, "").start();
    keys.wait_seen(1);
    let (took, answer) = wait::timed(|| gate.get(&by(&Ed25519::from_seed("one", 1)), &[]));
    answer.refused(503, "keys_unavailable");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(gate.admin_get("/healthz").status, 200);
}
