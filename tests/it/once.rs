//! Tokens that may be used once, over the wire: who may go on, what never uses them, what gives them back, and races.

use std::sync::Barrier;

use crate::support::client::{Client, End, Response};
use crate::support::gate::{Gate, NOW, Setup, operational_log};
use crate::support::h2::H2;
use crate::support::mint::Token;
use crate::support::origin::{Origin, Script, Signal, pattern};
use crate::support::{conf, wait};

/// A token that may be used once, of its own id.
fn once(id: &str) -> Token {
    Token::opening(&["/**"]).claim("uses", 1).claim("jti", id)
}

fn configuration(origin: &Origin, single_use: &str) -> String {
    conf::http(origin.address()) + &conf::route_with("files", "/", single_use)
}

fn scene(single_use: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    origin.file("/a", pattern(1000)).file("/b", "other");
    let gate = Gate::start(configuration(&origin, single_use));
    (origin, gate)
}

/// A request of the client with this user agent, over a connection of its own.
fn visit(gate: &Gate, method: &str, target: &str, agent: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("User-Agent", agent)];
    headers.extend_from_slice(more);
    gate.connect()
        .allow("set-cookie")
        .exchange(method, target, &headers)
}

fn get(gate: &Gate, target: &str, agent: &str, more: &[(&str, &str)]) -> Response {
    visit(gate, "GET", target, agent, more)
}

/// The cookie that an answer sets, as a client sends it back.
fn cookie(answer: &Response) -> String {
    let set = answer.header("set-cookie").expect("a cookie");
    set.split(';').next().unwrap_or_default().to_owned()
}

#[test]
fn trap_13_the_first_client_has_the_file_and_may_go_on_and_nobody_else() {
    let (origin, gate) = scene("");
    let link = once("one").at("/a");
    let answer = get(&gate, &link, "anna", &[]).expect(200);
    assert_eq!(answer.body, pattern(1000));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let set = answer.header("set-cookie").unwrap();
    assert!(
        set.starts_with("mediagate-") && set.contains("HttpOnly") && set.contains("SameSite=Lax"),
        "{set}"
    );
    assert!(set.contains("Max-Age=21600") && set.contains("Path=/"), "{set}");
    get(&gate, &link, "bert", &[]).refused(410, "token_spent");
    let again = get(&gate, &link, "anna", &[("Range", "bytes=10-19")]).expect(206);
    assert_eq!(again.body, pattern(1000)[10..20]);
    assert!(again.header("set-cookie").is_none());
    visit(&gate, "HEAD", &link, "anna", &[]).expect(200);
    // Bound to its first file.
    get(&gate, &once("one").at("/b"), "anna", &[]).refused(410, "token_spent");
    // Somebody elsewhere is told before anything of the request is looked at.
    get(&gate, &link, "bert", &[("If-None-Match", "\"v1\"")]).refused(410, "token_spent");
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn who_has_shown_the_cookie_has_to_show_it_from_then_on() {
    let (_origin, gate) = scene("");
    let link = once("cookie").at("/a");
    let shown = cookie(&get(&gate, &link, "anna", &[]).expect(200));
    get(&gate, &link, "anna", &[]).expect(200);
    // It does not take the place of the address and the user agent.
    get(&gate, &link, "bert", &[("Cookie", &shown)]).refused(410, "token_spent");
    get(&gate, &link, "anna", &[("Cookie", &shown)]).expect(200);
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
    let (name, _) = shown.split_once('=').unwrap();
    let forged = format!("{name}={}", "0".repeat(32));
    get(&gate, &link, "anna", &[("Cookie", &forged)]).refused(410, "token_spent");
    get(&gate, &link, "anna", &[("Cookie", &shown)]).expect(200);
}

#[test]
fn a_session_outlives_its_token_and_ends_by_time() {
    let (_origin, gate) = scene("");
    let link = once("time").at("/a");
    get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).expect(206);
    for _ in 0..3 {
        // Past the token's life of 300 s.
        gate.advance(599);
        get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).expect(206);
    }
    get(&gate, &link, "bert", &[]).refused(410, "token_spent");
    gate.advance(600);
    get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).refused(410, "token_spent");
    let unused = once("late").at("/a");
    get(&gate, &unused, "anna", &[]).refused(401, "token_expired");
}

#[test]
fn a_session_ends_a_minute_after_every_byte_was_handed_out() {
    let (_origin, gate) = scene("");
    let link = once("whole").at("/a");
    let part = |range: &str| get(&gate, &link, "anna", &[("Range", range)]);
    part("bytes=0-499").expect(206);
    gate.advance(120);
    part("bytes=600-999").expect(206);
    gate.advance(120);
    part("bytes=400-699").expect(206);
    gate.advance(59);
    part("bytes=0-0").expect(206);
    gate.advance(1);
    part("bytes=0-0").refused(410, "token_spent");
}

#[test]
fn no_more_than_four_times_its_bytes_are_handed_out() {
    let (_origin, gate) = scene("");
    let link = once("often").at("/a");
    for _ in 0..4 {
        get(&gate, &link, "anna", &[("Range", "bytes=0-998")]).expect(206);
    }
    get(&gate, &link, "anna", &[("Range", "bytes=0-3")]).expect(206);
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
}

#[test]
fn strict_means_one_answer() {
    let (_origin, gate) = scene("single_use = { strict = true }");
    let link = once("strict").at("/a");
    let answer = get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).expect(206);
    assert!(answer.header("set-cookie").is_none());
    get(&gate, &link, "anna", &[("Range", "bytes=2-3")]).refused(410, "token_spent");
    visit(&gate, "HEAD", &link, "anna", &[]).refused_head(410);
}

trait RefusedHead {
    fn refused_head(self, status: u16);
}

impl RefusedHead for Response {
    #[track_caller]
    fn refused_head(self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.body.is_empty());
    }
}

#[test]
fn a_player_has_all_that_its_token_opens_for_as_long_as_it_plays() {
    let (_origin, gate) = scene("single_use = { playback = true }");
    let token = once("player");
    get(&gate, &token.at("/a"), "anna", &[]).expect(200);
    get(&gate, &token.at("/b"), "anna", &[]).expect(200);
    get(&gate, &token.at("/b"), "bert", &[]).refused(410, "token_spent");
    gate.advance(599);
    get(&gate, &token.at("/a"), "anna", &[]).expect(200);
    gate.advance(600);
    get(&gate, &token.at("/a"), "anna", &[]).refused(410, "token_spent");
}

#[test]
fn trap_13_what_looks_without_a_person_uses_nothing() {
    let (origin, gate) = scene("");
    let link = once("looks").at("/a");
    for (name, value) in [
        ("Sec-Purpose", "prefetch"),
        ("Purpose", "prefetch"),
        ("X-Moz", "prefetch"),
    ] {
        let answer = get(&gate, &link, "anna", &[(name, value)]);
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (425, Some("no-store"))
        );
    }
    for agent in [
        "Slackbot-LinkExpanding 1.0",
        "TelegramBot (like TwitterBot)",
        "WhatsApp/2.23",
    ] {
        assert_eq!(get(&gate, &link, agent, &[]).status, 425, "{agent}");
    }
    origin.untouched();
    let head = visit(&gate, "HEAD", &link, "bert", &[]).expect(200);
    assert_eq!(head.header("content-length"), Some("1000"));
    assert!(head.header("set-cookie").is_none());
    for method in ["POST", "PUT", "OPTIONS", "DELETE"] {
        assert_eq!(visit(&gate, method, &link, "bert", &[]).status, 405, "{method}");
    }
    get(&gate, &link, "anna", &[]).expect(200);
}

#[test]
fn an_answer_without_the_file_gives_the_token_back() {
    let (origin, gate) = scene("");
    origin
        .on("/gone", Script::answer("404 Not Found", &[], ""))
        .on("/gone", Script::answer("503 Service Unavailable", &[], ""))
        .on("/gone", Script::answer("301 Moved", &[("Location", "/a")], ""))
        .on("/gone", Script::new().reset())
        .on("/gone", Script::ok(&[], "at last"));
    let token = once("back");
    let statuses = [404, 502, 301, 502, 200];
    for status in statuses {
        get(&gate, &token.at("/gone"), "anna", &[]).expect(status);
    }
    get(&gate, &token.at("/gone"), "bert", &[]).refused(410, "token_spent");
    let other = once("conditional").at("/a");
    get(&gate, &other, "anna", &[("If-None-Match", "\"v1\"")]).expect(304);
    get(&gate, &other, "anna", &[("Range", "bytes=5000-")]).expect(416);
    get(&gate, &other, "bert", &[("If-None-Match", "\"v2\"")]).expect(200);
}

#[test]
fn the_origin_is_asked_for_plain_bytes_and_one_range() {
    let (origin, gate) = scene("");
    let link = once("plain").at("/a");
    let more = [("Accept-Encoding", "br, gzip"), ("Range", "bytes=0-1,5-6")];
    get(&gate, &link, "anna", &more).expect(200);
    let seen = origin.last();
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("range"), None);
    assert_eq!(seen.header("cookie"), None);
}

#[test]
fn a_file_that_has_changed_is_not_resumed() {
    let (origin, gate) = scene("");
    let link = once("changed").at("/a");
    get(&gate, &link, "anna", &[("Range", "bytes=0-9")]).expect(206);
    origin.file_with("/a", pattern(1000), &[("ETag", "\"v2\"")]);
    get(&gate, &link, "anna", &[("Range", "bytes=10-19")]).refused(502, "origin_invalid");
    origin.file_with("/a", pattern(1000), &[("ETag", "\"v1\"")]);
    get(&gate, &link, "anna", &[("Range", "bytes=10-19")]).expect(206);
}

#[test]
fn the_button_uses_the_token_and_opening_the_page_does_not() {
    let (origin, gate) = scene("single_use = { interstitial = true }");
    let link = once("button").at("/a");
    for agent in ["scanner", "anna", "anna"] {
        let page = get(&gate, &link, agent, &[("Accept", "text/html")]).expect(200);
        assert!(page.text().contains("<form method=\"post\">"), "{page:?}");
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert!(!page.text().contains("/a"), "the page echoes the request");
    }
    let head = visit(&gate, "HEAD", &link, "scanner", &[]).expect(200);
    assert_eq!(head.header("content-type"), Some("text/html; charset=utf-8"));
    origin.untouched();
    let answer = visit(&gate, "POST", &link, "anna", &[]).expect(200);
    assert_eq!(answer.body, pattern(1000));
    assert_eq!(origin.only().method, "GET");
    // From now on the link is the file.
    get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).expect(206);
    get(&gate, &link, "scanner", &[]).refused(410, "token_spent");
    visit(&gate, "POST", &link, "scanner", &[]).refused(410, "token_spent");
    // The button is for tokens that may be used once.
    let often = Token::whole().at("/a");
    get(&gate, &often, "anna", &[]).expect(200);
    visit(&gate, "POST", &often, "anna", &[]).refused(405, "method_not_allowed");
}

#[test]
fn who_comes_during_a_use_waits_for_its_outcome() {
    let (origin, gate) = scene("");
    let (first, second) = (Signal::default(), Signal::default());
    origin
        .on(
            "/slow",
            Script::new()
                .wait(&first)
                .send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        )
        .on(
            "/slow",
            Script::new()
                .wait(&second)
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        );
    let link = once("wait").at("/slow");
    std::thread::scope(|scope| {
        let ask = |agent: &'static str| {
            let (gate, link) = (&gate, &link);
            scope.spawn(move || get(gate, link, agent, &[]))
        };
        let anna = ask("anna");
        origin.wait_seen(1);
        let bert = ask("bert");
        let carl = ask("carl");
        first.raise();
        anna.join().unwrap().expect(404);
        // Released: exactly one of those who waited asks next.
        origin.wait_seen(2);
        second.raise();
        let mut statuses = [bert.join().unwrap().status, carl.join().unwrap().status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 410]);
    });
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn who_waits_too_long_is_told_to_come_again_and_the_token_still_works() {
    let (origin, gate) = scene("");
    let signal = Signal::default();
    origin
        .on(
            "/slow",
            Script::new()
                .wait(&signal)
                .send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        )
        .on("/slow", Script::ok(&[], "ok"));
    let link = once("patience").at("/slow");
    std::thread::scope(|scope| {
        let anna = scope.spawn(|| get(&gate, &link, "anna", &[]));
        origin.wait_seen(1);
        let (took, answer) = wait::timed(|| get(&gate, &link, "bert", &[]));
        let answer = answer.refused(503, "overloaded");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(took.as_secs() >= 5, "{took:?}");
        signal.raise();
        anna.join().unwrap().expect(404);
    });
    get(&gate, &link, "bert", &[]).expect(200);
}

#[test]
fn a_client_that_leaves_before_there_is_an_answer_has_used_nothing() {
    let (origin, gate) = scene("");
    let signal = Signal::default();
    origin
        .on(
            "/slow",
            Script::new()
                .wait(&signal)
                .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        )
        .on("/slow", Script::ok(&[], "ok"));
    let link = once("leaves").at("/slow");
    let mut client = gate.connect();
    client.request("GET", &link, &[("User-Agent", "anna")]);
    origin.wait_seen(1);
    drop(client);
    wait::until_true("the gate has seen it leave", || {
        gate.access_text().contains("\"status\":499")
    });
    signal.raise();
    get(&gate, &link, "bert", &[]).expect(200);
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
}

#[test]
fn a_download_that_is_cut_is_resumed_by_its_client_after_the_token_has_expired() {
    let (origin, gate) = scene("");
    let big = pattern(8 * 1024 * 1024);
    origin.file("/big", &big);
    let link = once("cut").at("/big");
    let mut client = gate.connect().allow("set-cookie");
    client.request("GET", &link, &[("User-Agent", "curl")]);
    client.read_only_head().expect(200);
    let had = client.read_bytes(100_000).len();
    drop(client);
    gate.advance(400);
    let range = format!("bytes={had}-");
    let rest = get(&gate, &link, "curl", &[("Range", &range), ("If-Range", "\"v1\"")]).expect(206);
    assert_eq!(rest.body, big[had..]);
    get(&gate, &link, "other", &[]).refused(410, "token_spent");
}

/// Statuses of this many clients who come at the same time, each with a connection and a user agent of its own.
fn storm(gate: &Gate, target: &str, clients: usize) -> Vec<(u16, End)> {
    let start = Barrier::new(clients);
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..clients)
            .map(|at| {
                let (start, gate) = (&start, &gate);
                scope.spawn(move || {
                    let mut client: Client = gate.connect().allow("set-cookie");
                    start.wait();
                    let answer = client.exchange("GET", target, &[("User-Agent", &format!("client-{at}"))]);
                    (answer.status, answer.end)
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

fn exactly_one(answers: &[(u16, End)]) {
    let with = |status| {
        answers
            .iter()
            .filter(|answer| **answer == (status, End::Complete))
            .count()
    };
    assert_eq!((with(200), with(410)), (1, answers.len() - 1), "{answers:?}");
}

#[test]
fn p19_trap_13_of_two_hundred_clients_at_once_one_has_the_file() {
    for single_use in ["", "single_use = { strict = true }"] {
        let origin = Origin::start();
        origin.file("/a", pattern(1000));
        let gate = Setup::new(configuration(&origin, single_use))
            .tables(&format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"http://{}\"\nworkers = 2\n",
                crate::support::client::HOST
            ))
            .start();
        exactly_one(&storm(&gate, &once("storm").at("/a"), 200));
        assert_eq!(origin.seen().len(), 1, "{single_use}");
    }
}

#[test]
fn p19_of_two_hundred_streams_of_one_connection_one_has_the_file() {
    let (origin, gate) = scene("single_use = { strict = true }");
    let link = once("streams").at("/a");
    let mut client = H2::clear(gate.address());
    let mut statuses = Vec::new();
    // A connection has room for a hundred at a time.
    for _ in 0..2 {
        let streams: Vec<u32> = (0..100).map(|_| client.start(&link, &[])).collect();
        statuses.extend(streams.into_iter().map(|stream| client.answer(stream).status));
    }
    let with = |status: u16| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((with(200), with(410)), (1, 199), "{statuses:?}");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn p19_what_was_used_stays_used_across_a_restart_and_its_session_goes_on() {
    let (_origin, gate) = scene("");
    let link = once("restart").at("/a");
    let shown = cookie(&get(&gate, &link, "anna", &[("Range", "bytes=0-1")]).expect(206));
    get(
        &gate,
        &link,
        "anna",
        &[("Range", "bytes=0-1"), ("Cookie", &shown)],
    )
    .expect(206);
    let gate = gate.restart(NOW + 60);
    get(&gate, &link, "bert", &[]).refused(410, "token_spent");
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
    get(&gate, &link, "anna", &[("Cookie", &shown)]).expect(200);
    // The session has ended by time, and the token by itself, long before it is forgotten.
    let gate = gate.restart(NOW + 6 * 3600);
    get(&gate, &link, "anna", &[("Cookie", &shown)]).refused(410, "token_spent");
    let gate = gate.restart(NOW + 7 * 3600);
    get(&gate, &link, "anna", &[("Cookie", &shown)]).refused(401, "token_expired");
}

#[test]
fn two_tokens_with_one_id_are_one_token() {
    let (_origin, gate) = scene("single_use = { strict = true }");
    get(&gate, &once("same").at("/a"), "anna", &[]).expect(200);
    let twin = once("same").claim("exp", NOW + 200).claim("sub", "other");
    get(&gate, &twin.at("/b"), "bert", &[]).refused(410, "token_spent");
    // Without an id, the whole payload is.
    let nameless = once("x").without("jti");
    get(&gate, &nameless.at("/a"), "anna", &[]).expect(200);
    get(&gate, &nameless.at("/a"), "anna", &[]).refused(410, "token_spent");
    get(&gate, &nameless.claim("sub", "other").at("/a"), "anna", &[]).expect(200);
}

#[test]
fn behind_a_proxy_that_hides_clients_sessions_have_to_be_asked_for() {
    let origin = Origin::start();
    let server =
        "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"https://media.example.com\"\nworkers = 1\n";
    let explicit = Setup::new(configuration(&origin, "single_use = { session_ttl = \"5m\" }"))
        .tables(server)
        .refused();
    assert!(
        explicit.contains("route[0].single_use") && explicit.contains("strict"),
        "{explicit}"
    );
    let quiet = Setup::new(configuration(&origin, "")).tables(server).start();
    get(&quiet, &once("quiet").at("/a"), "anna", &[]).expect(200);
    get(&quiet, &once("quiet").at("/a"), "anna", &[]).refused(410, "token_spent");
}

#[test]
fn p22_neither_the_token_nor_the_sessions_cookie_is_in_any_sink() {
    let (origin, gate) = scene("forward_cookies = true");
    let token = once("leak-of-a-single-use-token");
    let link = token.at("/a");
    let shown = cookie(&get(&gate, &link, "anna-the-reader", &[("Range", "bytes=0-1")]).expect(206));
    let both = format!("theme=dark; {shown}; lang=en");
    get(&gate, &link, "anna-the-reader", &[("Cookie", &both)]).expect(200);
    assert_eq!(origin.last().header("cookie"), Some("theme=dark; lang=en"));
    get(&gate, &link, "bert", &[("Cookie", &both)]).refused(410, "token_spent");
    get(&gate, &token.at("/b"), "anna-the-reader", &[("Cookie", &both)]).refused(410, "token_spent");
    let metrics = gate.metrics();
    let log = gate.access_lines(4).concat();
    let operational = operational_log();
    let received = origin.received().concat();
    let gate = gate.restart(NOW + 1);
    let store = std::fs::read(gate.dir().join("state/store.redb")).unwrap();
    let value = shown.split_once('=').unwrap().1;
    let text = token.text();
    let secrets = text
        .split('.')
        .skip(1)
        .chain([value, "leak-of-a-single-use-token"]);
    for secret in secrets {
        for (sink, bytes) in [
            ("metrics", metrics.as_bytes()),
            ("access log", log.as_bytes()),
            ("operational log", operational.as_bytes()),
            ("origin's bytes", &received),
            ("store", &store),
        ] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{secret} is in the {sink}");
        }
    }
    let agent = b"anna-the-reader";
    assert!(!store.windows(agent.len()).any(|part| part == agent));
}

#[test]
fn another_success_than_200_and_206_hands_out_nothing() {
    let (origin, gate) = scene("");
    for status in ["201 Created", "203 Non-Authoritative Information", "226 IM Used"] {
        origin.on("/odd", Script::answer(status, &[], "the file all the same"));
    }
    let token = once("odd");
    for _ in 0..3 {
        get(&gate, &token.at("/odd"), "anna", &[]).refused(502, "origin_invalid");
    }
    // Nor in a session.
    let other = once("odd-later").at("/late");
    origin
        .on("/late", Script::ok(&[], "the file"))
        .on("/late", Script::answer("203 Oh", &[], "the file"));
    get(&gate, &other, "anna", &[]).expect(200);
    get(&gate, &other, "anna", &[]).refused(502, "origin_invalid");
}

/// Two routes that take the same tokens and ask the origin for the same paths.
fn two_routes(first: &str, second: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    origin.file_with("/f", pattern(1000), &[]);
    let toml = conf::http(origin.address())
        + &conf::route_with("one", "/one", &format!("strip_prefix = true\n{first}"))
        + &conf::route_with("two", "/two", &format!("strip_prefix = true\n{second}"));
    (origin, Gate::start(toml))
}

#[test]
fn a_session_belongs_to_its_route_and_another_route_neither_shares_nor_ends_it() {
    let (_origin, gate) = two_routes("", "single_use = { strict = true }");
    let token = once("routes");
    get(&gate, &token.at("/one/f"), "anna", &[("Range", "bytes=0-9")]).expect(206);
    for agent in ["anna", "bert"] {
        get(&gate, &token.at("/two/f"), agent, &[]).refused(410, "token_spent");
    }
    get(&gate, &token.at("/one/f"), "anna", &[]).expect(200);
    let (_origin, gate) = two_routes("single_use = { playback = true }", "");
    get(&gate, &token.at("/one/f"), "anna", &[]).expect(200);
    get(&gate, &token.at("/two/f"), "anna", &[]).refused(410, "token_spent");
}

#[test]
fn what_was_used_where_clocks_are_exact_is_used_where_they_are_forgiven() {
    let (_origin, gate) = two_routes(
        "single_use = { strict = true }\nleeway = \"0s\"",
        "single_use = { strict = true }\nleeway = \"5m\"",
    );
    let token = once("leeway").expires(NOW + 60);
    get(&gate, &token.at("/one/f"), "anna", &[]).expect(200);
    // Long enough for what is past to be forgotten.
    for _ in 0..4 {
        gate.advance(75);
        get(
            &gate,
            &once(&format!("other-{}", gate.access_text().len()))
                .claim("exp", NOW + 9000)
                .at("/one/f"),
            "x",
            &[],
        );
        get(&gate, &token.at("/two/f"), "anna", &[]).refused(410, "token_spent");
    }
}

#[test]
fn p20_a_clock_that_ran_ahead_brings_no_token_back() {
    let (_origin, gate) = scene("single_use = { strict = true }");
    let link = once("ahead").claim("exp", NOW + 3000).at("/a");
    get(&gate, &link, "anna", &[]).expect(200);
    // A day ahead, long enough for everything of today to be forgotten.
    let gate = gate.restart(NOW + 86_400);
    get(
        &gate,
        &once("then").claim("exp", NOW + 90_000).at("/a"),
        "anna",
        &[],
    )
    .expect(200);
    let gate = gate.restart(NOW + 10);
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
    get(&gate, &link, "bert", &[]).refused(410, "token_spent");
}

#[test]
fn many_downloads_at_once_do_not_outrun_the_count() {
    let (origin, gate) = scene("");
    let link = once("crowd").at("/held");
    let signal = Signal::default();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab";
    origin
        .on("/held", Script::ok(&[], "abcd"))
        .on("/held", Script::new().send(head).wait(&signal).send("cd"));
    get(&gate, &link, "anna", &[]).expect(200);
    // Three more are on their way, and none of them is done.
    let mut running: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = gate.connect();
            client.request("GET", &link, &[("User-Agent", "anna")]);
            client.read_only_head().expect(200);
            client
        })
        .collect();
    get(&gate, &link, "anna", &[]).refused(410, "token_spent");
    signal.raise();
    for client in &mut running {
        assert_eq!(client.read_bytes(4), b"abcd");
    }
}

#[test]
fn of_several_cookies_a_handle_that_nobody_knows_hides_no_true_token() {
    let origin = Origin::start();
    origin.file("/a", "file");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route() + "[route.scheme.opaque]\n");
    let both = format!("media={}; media={}", "0".repeat(32), Token::whole().text());
    gate.get("/a", &[("Cookie", &both)]).expect(200);
    gate.get("/a", &[("Cookie", &format!("media={}", "0".repeat(32)))])
        .refused(401, "token_invalid");
}

#[test]
fn who_shows_many_unknown_tokens_is_told_when_to_come_again() {
    let origin = Origin::start();
    origin.file("/a", "file");
    let gate = Gate::start(conf::http(origin.address()) + &conf::route() + "[route.scheme.opaque]\n");
    let mut client = gate.connect();
    for number in 0..60 {
        let target = format!("/a?t={number:032x}");
        client.get(&target, &[]).refused(401, "token_invalid");
    }
    let answer = client
        .get(&format!("/a?t={:032x}", 99), &[])
        .refused(429, "limit_reached");
    assert_eq!(answer.header("retry-after"), Some("1"));
    client.get(&Token::whole().at("/a"), &[]).expect(200);
    gate.advance(60);
    client
        .get(&format!("/a?t={:032x}", 99), &[])
        .refused(401, "token_invalid");
}
