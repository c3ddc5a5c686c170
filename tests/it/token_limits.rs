//! `streams` and `rate` of a token: counted over all connections, streams and workers of its subject, given back however a
//! download ends, and a paced body that is whole, never ahead of its time, and cut by no wait of ours.

use std::time::Duration;

use mediagate::server::control::orders::{Order, Purpose, Withdrawal};
use serde_json::{Value, json};

use crate::support::client::{Client, End, Response};
use crate::support::gate::{Gate, NOW, Setup};
use crate::support::h2::{Ended, H2};
use crate::support::mint::{Token, opened};
use crate::support::origin::{Origin, Script, Signal, pattern};
use crate::support::{conf, wait};

const KIB: usize = 1024;

/// A token whose subject may have so many downloads at a time.
fn streams(most: u32) -> Token {
    Token::whole().claim("streams", most)
}

/// A token of this subject at this rate.
fn rate(subject: &str, bytes: usize) -> Token {
    Token::whole().claim("sub", subject).claim("rate", bytes)
}

/// An origin whose `/half` stops in the middle until the signal is given, and a gate before it.
fn halting(setup: impl Fn(&Origin) -> Setup) -> (Origin, Gate, Signal) {
    let origin = Origin::start();
    let go_on = Signal::default();
    let half = Script::new().head("200 OK", &[("Content-Length", "10"), ("ETag", "\"h\"")]);
    origin
        .on("/half", half.send("01234").wait(&go_on).send("56789"))
        .file("/a", "content");
    let gate = setup(&origin).start();
    (origin, gate, go_on)
}

fn plain(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

/// A download that stops in the middle.
fn held(gate: &Gate, target: &str) -> Client {
    let mut client = gate.connect().allow("set-cookie");
    client.request("GET", target, &[]);
    client.read_only_head().expect(200);
    assert_eq!(client.read_bytes(5), b"01234");
    client
}

#[track_caller]
fn over(answer: Response) {
    assert_eq!(answer.header("retry-after"), Some("1"));
    answer.refused(429, "limit_reached");
}

/// How many subjects are counted.
fn counted(gate: &Gate) -> u64 {
    gate.metric("mediagate_limited_subjects", &[]) as u64
}

#[track_caller]
fn until_nobody_is_counted(gate: &Gate) {
    wait::until_true("nobody is counted", || counted(gate) == 0);
}

// === streams ===

#[test]
fn streams_count_over_all_connections_and_workers_of_a_subject_and_the_origin_is_not_asked_for_more() {
    let (origin, gate, go_on) = halting(|origin| plain(origin).workers(2));
    let token = streams(4);
    let held: Vec<Client> = (0..4).map(|_| held(&gate, &token.at("/half"))).collect();
    for _ in 0..8 {
        over(gate.get(&token.at("/a"), &[]));
    }
    // Another token of the same subject is no way around, and holds its own number against the same count.
    over(gate.get(&streams(4).claim("jti", "another").at("/a"), &[]));
    over(gate.get(&streams(1).claim("jti", "strict").at("/a"), &[]));
    gate.get(&streams(5).claim("jti", "loose").at("/a"), &[])
        .expect(200);
    // Others are not held up.
    gate.get(&streams(1).claim("sub", "customer-43").at("/a"), &[])
        .expect(200);
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
    assert_eq!(origin.seen().len(), 4 + 3);
    go_on.raise();
    for mut client in held {
        assert_eq!(client.read_bytes(5), b"56789");
        // Who has read it all may come for the next at once.
        gate.get(&streams(1).claim("jti", "next").at("/a"), &[]);
    }
    until_nobody_is_counted(&gate);
    gate.get(&streams(1).at("/a"), &[]).expect(200);
}

#[test]
fn who_has_read_a_file_to_its_end_may_come_for_the_next_at_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), pattern(300 * KIB)).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    for (at, token) in [streams(1), streams(1).claim("rate", 100 << 20)]
        .iter()
        .enumerate()
    {
        let target = token.clone().claim("sub", at.to_string()).at("/a");
        for _ in 0..50 {
            let answer = gate.get(&target, &[]).expect(200);
            assert!(answer.body == pattern(300 * KIB));
        }
    }
}

#[test]
fn streams_count_over_the_streams_of_one_http2_connection() {
    let (origin, gate, go_on) = halting(plain);
    let token = streams(2);
    let mut client = H2::clear(gate.address());
    let first: Vec<u32> = (0..2).map(|_| client.start(&token.at("/half"), &[])).collect();
    for stream in &first {
        client.until(|client| client.stream(*stream).body == b"01234");
    }
    let refused = client.get(&token.at("/a"), &[]);
    assert_eq!((refused.status, refused.code().as_str()), (429, "limit_reached"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    over(gate.get(&token.at("/a"), &[]));
    assert_eq!(origin.seen().len(), 2);
    // A stream that is reset gives its place back.
    client.reset(first[0]);
    wait::until_true("there is room", || client.get(&token.at("/a"), &[]).status == 200);
    go_on.raise();
    let whole = client.answer(first[1]);
    assert_eq!(
        (whole.body.as_slice(), whole.ended),
        (&b"0123456789"[..], Some(Ended::Complete))
    );
    until_nobody_is_counted(&gate);
}

#[test]
fn a_download_counts_from_before_the_origin_is_asked_until_its_client_leaves() {
    let (origin, gate, _go_on) = halting(plain);
    origin.on("/silent", Script::new().stall());
    let token = streams(1);
    let mut waiting = gate.connect();
    waiting.request("GET", &token.at("/silent"), &[]);
    origin.wait_seen(1);
    over(gate.get(&token.at("/a"), &[]));
    assert_eq!(counted(&gate), 1);
    drop(waiting);
    until_nobody_is_counted(&gate);
    let reading = held(&gate, &token.at("/half"));
    over(gate.get(&token.at("/a"), &[]));
    drop(reading);
    until_nobody_is_counted(&gate);
    gate.get(&token.at("/a"), &[]).expect(200);
}

#[test]
fn what_brings_no_body_takes_no_stream_for_longer_than_it_lasts() {
    let (origin, gate, _go_on) = halting(plain);
    origin
        .on(
            "/not",
            Script::new().head("304 Not Modified", &[("ETag", "\"v1\"")]),
        )
        .on("/gone", Script::answer("404 Not Found", &[], "nothing"))
        .on(
            "/moved",
            Script::answer("302 Found", &[("Location", "/a")], "there"),
        )
        .on("/empty", Script::ok(&[], ""))
        .on("/reset", Script::new().reset())
        .on("/bad", Script::answer("500 Oh", &[], "no"))
        .on(
            "/cut",
            Script::new()
                .head("200 OK", &[("Content-Length", "10")])
                .send("01234")
                .close(),
        );
    let token = streams(1);
    let mut kept = gate.connect();
    for (path, status) in [
        ("/not", 304),
        ("/gone", 404),
        ("/moved", 302),
        ("/empty", 200),
        ("/reset", 502),
        ("/bad", 502),
    ] {
        let condition = [("If-None-Match", "\"v1\"")];
        let answer = kept.get(&token.at(path), &condition);
        assert_eq!(answer.status, status, "{path}");
        // The connection is still there; its answer counts no more.
        gate.get(&token.at("/a"), &[]).expect(200);
    }
    let cut = gate.get(&token.at("/cut"), &[]);
    assert_ne!(cut.end, End::Complete);
    wait::until_true("there is room", || gate.get(&token.at("/a"), &[]).status == 200);
    // HEAD takes none, and is answered while all are taken.
    let _reading = held(&gate, &token.at("/half"));
    gate.exchange("HEAD", &token.at("/a"), &[]).expect(200);
    over(gate.get(&token.at("/a"), &[]));
    drop(_reading);
    until_nobody_is_counted(&gate);
}

#[test]
fn a_reload_forgets_nothing() {
    let (_origin, gate, go_on) = halting(plain);
    let token = streams(1);
    let mut reading = held(&gate, &token.at("/half"));
    gate.edit("name = \"files\"", "name = \"again\"");
    gate.reload();
    over(gate.get(&token.at("/a"), &[]));
    go_on.raise();
    assert_eq!(reading.read_bytes(5), b"56789");
    gate.get(&token.at("/a"), &[]).expect(200);
    until_nobody_is_counted(&gate);
}

#[test]
fn a_token_for_one_use_is_not_used_by_a_download_that_was_one_too_many_and_its_ranges_count() {
    let single_use = |origin: &Origin| {
        Setup::new(conf::http(origin.address()) + &conf::route_with("files", "/", "single_use = {}"))
    };
    let (origin, gate, go_on) = halting(single_use);
    origin.file("/big", pattern(100));
    let once = |id: &str| streams(2).claim("uses", 1).claim("jti", id);
    let other = held(&gate, &streams(9).at("/half"));
    let first = held(&gate, &once("one").at("/half"));
    let get = |target: &str| gate.connect().allow("set-cookie").get(target, &[]);
    let unused = once("two").at("/big");
    over(get(&unused));
    // Parallel ranges of a session are downloads, too.
    let resume = || {
        let mut client = gate.connect().allow("set-cookie");
        client.request("GET", &once("one").at("/half"), &[]);
        client
    };
    over(resume().read());
    drop(other);
    wait::until_true("there is room", || resume().read_only_head().status == 200);
    go_on.raise();
    drop(first);
    wait::until_true("the first has gone", || counted(&gate) == 0);
    assert_eq!(get(&unused).expect(200).body, pattern(100));
    get(&unused).expect(200);
    Client::connect_from("127.0.0.2", gate.address())
        .get(&unused, &[])
        .refused(410, "token_spent");
}

/// An opaque token for one download at a time.
fn order() -> Order {
    Order {
        purposes: vec![Purpose::File],
        expires: (NOW + 60) * 1000,
        once: false,
        subject: Some("42".into()),
        paths: vec!["/**".into()],
        media: None,
        methods: None,
        addresses: None,
        filename: None,
        rate: None,
        streams: Some(1),
    }
}

#[test]
fn opaque_tokens_keep_their_limits_in_the_store() {
    let route = "[[route]]\nname = \"links\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{ query = \"t\" }]\n\
                 [route.scheme.opaque]\n";
    let (_origin, gate, _go_on) = halting(|origin| Setup::new(conf::http(origin.address()) + route));
    let issue = || gate.issue(order());
    let (one, another) = (issue(), issue());
    let reading = held(&gate, &format!("/half?t={one}"));
    over(gate.get(&format!("/a?t={one}"), &[]));
    over(gate.get(&format!("/a?t={another}"), &[]));
    drop(reading);
    until_nobody_is_counted(&gate);
    gate.get(&format!("/a?t={another}"), &[]).expect(200);
}

#[test]
fn the_session_of_a_login_link_has_the_links_limits() {
    let session = conf::session_route("") + &conf::landing("");
    let (_origin, gate, _go_on) = halting(|origin| Setup::new(conf::http(origin.address()) + &session));
    let link = gate.issue(Order {
        purposes: vec![Purpose::Login],
        once: true,
        ..order()
    });
    let target = format!("/login?t={link}&redirectUrl=%2Fa");
    let landed = gate.connect().allow("set-cookie").get(&target, &[]).expect(303);
    let cookie = landed.header("set-cookie").unwrap().split(';').next().unwrap();
    let mut reading = gate.connect();
    reading.request("GET", "/half", &[("Cookie", cookie)]);
    reading.read_only_head().expect(200);
    over(gate.get("/a", &[("Cookie", cookie)]));
    drop(reading);
    until_nobody_is_counted(&gate);
    gate.get("/a", &[("Cookie", cookie)]).expect(200);
}

// === rate ===

/// Reads a body of which so many bytes are at hand at once and the rest comes at this rate; checks the bound at every piece.
fn read_paced(gate: &Gate, target: &str, content: &[u8], rate: usize) -> Duration {
    let mut client = gate.connect();
    let start = wait::Since::now();
    client.request("GET", target, &[]);
    client.read_only_head().expect(200);
    let mut body = Vec::new();
    while body.len() < content.len() {
        let piece = client.read_bytes(KIB.min(content.len() - body.len()));
        assert!(!piece.is_empty(), "cut after {} bytes", body.len());
        body.extend(piece);
        let most = rate.max(64 * KIB) as f64 + rate as f64 * start.passed().as_secs_f64();
        assert!(body.len() as f64 <= most, "{} > {most}", body.len());
    }
    assert!(body == content);
    start.passed()
}

#[test]
fn a_paced_body_is_whole_and_never_ahead_of_its_time() {
    let origin = Origin::start();
    let content = pattern(192 * KIB);
    origin.file("/file", content.clone());
    let chunked = content.chunks(10_000).fold(
        Script::new().head("200 OK", &[("Transfer-Encoding", "chunked")]),
        |script, piece| {
            let length = format!("{:x}\r\n", piece.len());
            script.send(length).send(piece).send("\r\n")
        },
    );
    origin.on("/chunked", chunked.send("0\r\n\r\n"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), &content).unwrap();
    let proxied = plain(&origin).start();
    let local = Gate::start(conf::folder(folder.path()) + &conf::route());
    let pace = 64 * KIB;
    std::thread::scope(|scope| {
        for gate in [&proxied, &local] {
            let (content, target) = (&content, rate("plain", pace).at("/file"));
            scope.spawn(move || {
                let took = read_paced(gate, &target, content, pace);
                assert!(took >= Duration::from_millis(1990), "{took:?}");
            });
        }
        scope.spawn(|| {
            let target = rate("chunked", pace).at("/chunked");
            let (took, answer) = wait::timed(|| proxied.get(&target, &[]));
            assert!(took >= Duration::from_millis(1990), "{took:?}");
            assert!(answer.body == content && answer.end == End::Complete);
        });
        scope.spawn(|| {
            let mut client = H2::clear(proxied.address());
            let target = rate("h2", pace).at("/file");
            let (took, answer) = wait::timed(|| client.get(&target, &[]));
            assert!(took >= Duration::from_millis(1990), "{took:?}");
            assert!(answer.body == content && answer.ended == Some(Ended::Complete));
        });
    });
    until_nobody_is_counted(&proxied);
    until_nobody_is_counted(&local);
    let lines = proxied.access(3);
    assert!(
        lines
            .iter()
            .all(|line| line["end"] == "complete" && line["bytes"] == 192 * KIB),
        "{lines:?}"
    );
}

#[test]
fn downloads_of_one_subject_share_its_rate_and_each_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let content = pattern(8 << 20);
    std::fs::write(folder.path().join("endless"), &content).unwrap();
    std::fs::write(folder.path().join("short"), &content[..96 * KIB]).unwrap();
    let gate = Setup::new(conf::folder(folder.path()) + &conf::route())
        .workers(2)
        .start();
    let token = rate("shared", 128 * KIB);
    let (took, ()) = wait::timed(|| {
        // Three that would take minutes, over both kinds of connections.
        let mut endless = [gate.connect(), gate.connect()];
        for client in &mut endless {
            client.request("GET", &token.at("/endless"), &[]);
            client.read_only_head().expect(200);
        }
        let mut multiplexed = H2::clear(gate.address());
        let stream = multiplexed.start(&token.at("/endless"), &[]);
        multiplexed.until(|client| !client.stream(stream).body.is_empty());
        // One that comes last ends all the same, while they go on.
        let short = gate
            .get(&token.clone().claim("jti", "late").at("/short"), &[])
            .expect(200);
        assert!(short.body == content[..96 * KIB]);
        for client in &mut endless {
            assert!(client.read_bytes(96 * KIB) == content[..96 * KIB]);
        }
        multiplexed.until(|client| client.stream(stream).body.len() >= 96 * KIB);
    });
    // Together they had no more than the rate: 4 × 96 KiB, of which the bucket had 128.
    assert!(took >= Duration::from_millis(1990), "{took:?}");
    until_nobody_is_counted(&gate);
}

#[test]
fn no_wait_of_ours_and_none_for_the_origin_cuts_a_body_that_waits_for_its_time() {
    let origin = Origin::start();
    let content = pattern(70 * KIB);
    origin.file("/file", content.clone());
    // 4 KiB every four seconds, beyond what may be handed out at once.
    let slow = |subject| rate(subject, KIB).at("/file");
    let gate = Setup::new(conf::impatient(origin.address(), "1s") + &conf::route())
        .server("stall_timeout = \"2s\"\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"")
        .start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let answer = gate.get(&slow("one"), &[]).expect(200);
            assert!(answer.body == content && answer.end == End::Complete);
        });
        scope.spawn(|| {
            let mut client = H2::clear(gate.address());
            let (took, answer) = wait::timed(|| client.get(&slow("two"), &[]));
            assert!(answer.body == content && answer.ended == Some(Ended::Complete));
            assert!(took >= Duration::from_millis(5990), "{took:?}");
        });
    });
}

#[test]
fn a_paced_body_ends_with_its_token_and_its_client_frees_what_it_held() {
    let origin = Origin::start();
    origin.file("/file", pattern(4 << 20));
    let gate =
        Setup::new(conf::http(origin.address()) + &conf::route_with("files", "/", "cut_revoked = true"))
            .start();
    let token = rate("customer-42", 16 * KIB).claim("streams", 2);
    let mut clients: Vec<Client> = (0..2).map(|_| gate.connect()).collect();
    for client in &mut clients {
        client.request("GET", &token.at("/file"), &[]);
        client.read_only_head().expect(200);
    }
    over(gate.get(&token.at("/file"), &[]));
    // A client that leaves while its body waits is noticed.
    clients.pop();
    wait::until_true("there is room", || {
        gate.exchange("GET", &token.at("/file"), &[("Range", "bytes=0-0")])
            .status
            != 429
    });
    gate.revoke(Withdrawal::Subject {
        subject: "customer-42".into(),
        before: (NOW + 1) * 1000,
    });
    let (_, end) = clients[0].read_to_end();
    assert_ne!(end, End::Complete);
    let lines = wait::until("the line of the body that was cut", || {
        let lines: Vec<Value> = gate
            .access_lines(1)
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let cut = lines.iter().any(|line| line["end"] == "cut_by_gate");
        cut.then_some(lines)
    });
    assert!(
        lines.iter().any(|line| line["end"] == "cut_by_client"),
        "{lines:?}"
    );
}

#[test]
fn a_paced_body_is_not_read_ahead_of_its_time() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), pattern(16 << 20)).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let mut client = gate.connect();
    let (took, ()) = wait::timed(|| {
        client.request("GET", &rate("42", 16 * KIB).at("/file"), &[]);
        client.read_only_head().expect(200);
        assert_eq!(client.read_bytes(72 * KIB).len(), 72 * KIB);
        drop(client);
        gate.access(1);
    });
    let line = &gate.access(1)[0];
    let bytes = line["bytes"].as_u64().unwrap() as f64;
    assert_eq!(line["end"], "cut_by_client");
    assert!(
        bytes <= (64 * KIB) as f64 + (16 * KIB) as f64 * took.as_secs_f64(),
        "{line}"
    );
}

// === where limits come from ===

const RULES: &str = "[[issuer.rule]]\nrequires = \"media:read\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n\
     rate = \"2MiB\"\nstreams = 4\n";

fn issuing() -> (Origin, Gate) {
    let origin = Origin::start();
    origin.file("/a", "content").file("/store/report.bin", "report");
    let more = format!(
        "[issuer.nexudus_media]\nkeys = \"media\"\nissuer = \"{}\"\naudience = \"media\"\n[issuer.nexudus_token]\n",
        crate::support::mint::ISSUER
    );
    let toml = conf::http(origin.address())
        + &conf::session_route("")
        + &conf::fynn_route()
        + &conf::issuer(RULES)
        + &more;
    (origin, Setup::new(toml).start())
}

fn ask(gate: &Gate, method: &str, path: &str, body: &str) -> Response {
    let bearer = Token::caller("42", "media:read").bearer();
    gate.ask(method, path, &[("Authorization", &bearer)], body.as_bytes())
}

fn limits(token: &str) -> (Value, Value) {
    let claims = opened(token).1;
    (claims["rate"].clone(), claims["streams"].clone())
}

#[test]
fn a_rule_puts_its_limits_on_every_token_and_a_caller_may_ask_for_less_and_not_for_more() {
    let (_origin, gate) = issuing();
    let native = |more: Value| {
        let mut asked = json!({ "paths": ["/a"] });
        asked
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask(&gate, "POST", "/v1/tokens", &asked.to_string())
    };
    let most = 2 * 1024 * 1024;
    for (more, rate, streams) in [
        (json!({}), most, 4),
        (json!({ "rate": 1024 }), 1024, 4),
        (json!({ "streams": 1, "rate": most }), most, 1),
    ] {
        let answer = native(more).expect(201).json();
        let token = answer["token"].as_str().unwrap().to_owned();
        assert_eq!(limits(&token), (json!(rate), json!(streams)));
        gate.get(&format!("/a?t={token}"), &[]).expect(200);
    }
    for (more, property, message) in [
        (json!({ "rate": most + 1 }), "rate", "At most 2097152."),
        (json!({ "streams": 5 }), "streams", "At most 4."),
        (
            json!({ "rate": 1023 }),
            "rate",
            "Bytes per second: a whole number from 1024 to 1 TiB.",
        ),
        (
            json!({ "streams": 0 }),
            "streams",
            "A whole number from 1 to 1024.",
        ),
    ] {
        let answer = native(more).refused(422, "unprocessable").json();
        let violation = &answer["violations"][0];
        assert_eq!(
            (&violation["propertyPath"], &violation["message"]),
            (&json!(property), &json!(message))
        );
    }
}

#[test]
fn the_other_dialects_tokens_have_the_rules_limits() {
    let (_origin, gate) = issuing();
    let fynn = ask(&gate, "POST", "/media/01F9/download-token", "")
        .expect(201)
        .json();
    let media = ask(&gate, "GET", "/api/auth/media/customer", "")
        .expect(200)
        .json();
    for token in [&fynn["token"], &media["jwt"]] {
        assert_eq!(limits(token.as_str().unwrap()), (json!(2 << 20), json!(4)));
    }
    // What the store remembers of an opaque one: four at a time, all taken.
    let once = || {
        let answer = ask(&gate, "POST", "/api/sys/users/token/refresh", "")
            .expect(200)
            .json();
        answer["Value"].as_str().unwrap().to_owned()
    };
    let origin = Origin::start();
    let go_on = Signal::default();
    let half = Script::new().head("200 OK", &[("Content-Length", "10")]);
    origin.on("/half", half.send("01234").wait(&go_on).send("56789"));
    gate.edit(&_origin.address().to_string(), &origin.address().to_string());
    gate.reload();
    let _held: Vec<Client> = (0..4)
        .map(|_| held(&gate, &format!("/half?t={}", once())))
        .collect();
    over(gate.get(&format!("/a?t={}", once()), &[]));
}

#[test]
fn the_configuration_refuses_limits_that_can_not_be_meant() {
    for (from, to, at) in [
        ("rate = \"2MiB\"", "rate = \"1023B\"", "issuer.rule[0].rate"),
        ("rate = \"2MiB\"", "rate = \"1025GiB\"", "issuer.rule[0].rate"),
        ("streams = 4", "streams = 0", "issuer.rule[0].streams"),
        ("streams = 4", "streams = 1025", "issuer.rule[0].streams"),
    ] {
        let origin = Origin::start();
        let toml = conf::http(origin.address())
            + &conf::route()
            + &conf::fynn_route()
            + &conf::issuer(&RULES.replace(from, to));
        let errors = Setup::new(toml).refused();
        assert!(
            errors.contains(at) && errors.contains("out of its bounds"),
            "{errors}"
        );
    }
}
