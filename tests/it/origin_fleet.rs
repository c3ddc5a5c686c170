//! An origin at several addresses: how requests are spread, what happens when one dies, who is left out and who waits.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::gate::ask_over;
use crate::support::h2_origin::H2Origin;
use crate::support::origin::Signal;
use crate::support::{Client, End, Gate, Origin, Response, Script, Setup, Token, conf, wait};

/// `[origin.files]` at these addresses, and a route.
fn fleet(addresses: &[SocketAddr], more: &str) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        "[origin.files.http]\nurl = \"http://files.internal\"\naddresses = [{}]\nconnect_timeout = \"2s\"\n\
         head_timeout = \"2s\"\ngap_timeout = \"2s\"\n{more}\n{}",
        list.join(", "),
        conf::route_with(
            "files",
            "/",
            "methods = [\"GET\", \"HEAD\", \"PUT\", \"DELETE\"]\nmax_upload = \"1MiB\""
        )
    )
}

fn token() -> Token {
    Token::whole().claim("methods", serde_json::json!(["GET", "HEAD", "PUT", "DELETE"]))
}

fn get(gate: &Gate, path: &str) -> Response {
    gate.get(&token().at(path), &[])
}

fn put(gate: &Gate, path: &str) -> Response {
    ask_over(&mut gate.connect(), "PUT", &token().at(path), &[], b"content")
}

fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn addresses(gate: &Gate, state: &str) -> f64 {
    gate.metric(
        "mediagate_origin_addresses",
        &["origin=\"files\"", &format!("state=\"{state}\"")],
    )
}

#[test]
fn several_addresses_share_the_requests_and_get_the_urls_host() {
    let origins = [Origin::start(), Origin::start(), Origin::start()];
    let gate = Gate::start(fleet(&origins.each_ref().map(Origin::address), ""));
    for number in 0..90 {
        assert_eq!(
            get(&gate, &format!("/{number}")).expect(200).text(),
            format!("origin says /{number}")
        );
    }
    for origin in &origins {
        let seen = origin.seen();
        assert!((10..=60).contains(&seen.len()), "{} of 90", seen.len());
        assert!(
            seen.iter()
                .all(|seen| seen.header("host") == Some("files.internal"))
        );
    }
    assert_eq!(addresses(&gate, "up"), 3.0);
    let metrics = gate.metrics();
    for origin in &origins {
        let address = origin.address().to_string();
        assert!(
            !metrics.contains(&address),
            "an origin's address is in the metrics"
        );
        assert!(!metrics.contains("files.internal"));
    }
}

#[test]
fn who_is_busy_gets_fewer_requests() {
    let (busy, idle) = (Origin::start(), Origin::start());
    let gate = Gate::start(fleet(&[busy.address(), idle.address()], ""));
    let go_on = Signal::default();
    for origin in [&busy, &idle] {
        origin.on(
            "/held",
            Script::new()
                .wait(&go_on)
                .head("200 OK", &[("Content-Length", "0")]),
        );
    }
    // Held requests go in turn to the two; what follows while one has more of them goes to the other.
    let mut held: Vec<Client> = Vec::new();
    for _ in 0..8 {
        let mut client = gate.connect();
        client.request("GET", &token().at("/held"), &[]);
        held.push(client);
        wait::until_true("it is held", || {
            busy.seen().len() + idle.seen().len() == held.len()
        });
    }
    let counts = (busy.seen().len(), idle.seen().len());
    assert!(counts.0.abs_diff(counts.1) <= 1, "{counts:?}");
    assert_eq!(
        gate.metric("mediagate_origin_in_flight", &["origin=\"files\""]),
        8.0
    );
    go_on.raise();
    for mut client in held {
        client.read().expect(200);
    }
}

#[test]
fn a_name_is_looked_up_and_its_addresses_are_tried_in_turn() {
    let origin = Origin::start();
    let port = origin.address().port();
    // The machine's own name has an IPv6 address, too, where it has IPv6; nobody listens there.
    let gate = Gate::start(
        format!("[origin.files.http]\nurl = \"http://localhost:{port}\"\nresolve_interval = \"1s\"\n")
            + &conf::route(),
    );
    for number in 0..20 {
        gate.get(&Token::whole().at(&format!("/{number}")), &[])
            .expect(200);
    }
    assert_eq!(origin.seen().len(), 20);
    assert_eq!(
        origin.last().header("host"),
        Some(format!("localhost:{port}").as_str())
    );
    let gate =
        Gate::start("[origin.files.http]\nurl = \"http://nobody.invalid\"\n".to_owned() + &conf::route());
    gate.get(&Token::whole().at("/a"), &[])
        .refused(502, "origin_unreachable");
}

#[test]
fn a_dead_address_costs_nobody_a_request_and_is_left_out() {
    let (dead, origin) = (closed(), Origin::start());
    let gate = Gate::start(fleet(
        &[dead, origin.address()],
        "eject_after = 2\neject_time = \"60s\"\nmax_idle = 0",
    ));
    for number in 0..40 {
        get(&gate, &format!("/{number}")).expect(200);
    }
    assert_eq!(origin.seen().len(), 40);
    assert_eq!((addresses(&gate, "up"), addresses(&gate, "ejected")), (1.0, 1.0));
    assert_eq!(
        gate.metric("mediagate_origin_ejections_total", &["origin=\"files\""]),
        1.0
    );
    let retried = gate.metric("mediagate_origin_connections_total", &["event=\"retried\""]);
    assert_eq!(retried, 2.0, "an address that is left out is not tried");
    // An upload that was sent to nobody may go to another address.
    let gate = Gate::start(fleet(&[dead, origin.address()], "eject_after = 0"));
    for number in 0..10 {
        put(&gate, &format!("/up-{number}")).expect(200);
    }
}

#[test]
fn where_all_addresses_are_dead_they_are_tried_and_the_answer_is_502() {
    let gate = Gate::start(fleet(
        &[closed(), closed()],
        "eject_after = 1\neject_time = \"60s\"",
    ));
    for _ in 0..5 {
        get(&gate, "/a").refused(502, "origin_unreachable");
    }
    assert_eq!(addresses(&gate, "ejected"), 2.0);
    let retried = gate.metric("mediagate_origin_connections_total", &["event=\"retried\""]);
    assert_eq!(retried, 5.0, "each request tried both");
}

#[test]
fn an_address_whose_connections_break_is_replaced_for_get_and_head_alone() {
    let (broken, origin) = (Origin::start(), Origin::start());
    for path in ["/a", "/b", "/c"] {
        broken.on(path, Script::new().close());
    }
    broken.on(
        "/half",
        Script::new().send("HTTP/1.1 200 OK\r\nContent-Le").close(),
    );
    let gate = Gate::start(fleet(
        &[broken.address(), origin.address()],
        "eject_after = 0\nmax_idle = 0\nretry_percent = 100",
    ));
    for _ in 0..20 {
        for path in ["/a", "/half"] {
            assert_eq!(get(&gate, path).expect(200).text(), format!("origin says {path}"));
        }
        gate.exchange("HEAD", &token().at("/b"), &[]).expect(200);
    }
    let lost = broken.seen().len();
    assert!(lost > 5, "{lost}");
    // What may have had an effect is sent once.
    let before = (broken.seen().len(), origin.seen().len());
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(put(&gate, "/c").status);
        statuses.push(gate.exchange("DELETE", &token().at("/c"), &[]).status);
    }
    let after = (broken.seen().len(), origin.seen().len());
    assert_eq!(after.0 - before.0 + after.1 - before.1, 20, "each was sent once");
    assert_eq!(
        statuses.iter().filter(|status| **status == 502).count(),
        after.0 - before.0
    );
    assert!(after.0 > before.0 && after.1 > before.1);
}

#[test]
fn a_body_that_has_begun_is_never_begun_again() {
    let (broken, origin) = (Origin::start(), Origin::start());
    broken.on(
        "/f",
        Script::new()
            .head("200 OK", &[("Content-Length", "10")])
            .send("from")
            .close(),
    );
    origin.on(
        "/f",
        Script::new()
            .head("200 OK", &[("Content-Length", "10")])
            .send("0123456789"),
    );
    let gate = Gate::start(fleet(&[broken.address(), origin.address()], "eject_after = 0"));
    let mut cuts = 0;
    for _ in 0..30 {
        let answer = get(&gate, "/f");
        match answer.end {
            End::Complete => assert_eq!(answer.text(), "0123456789"),
            _ => {
                assert_eq!(answer.text(), "from");
                cuts += 1;
            }
        }
    }
    assert!(cuts > 0);
}

#[test]
fn retries_are_bounded_by_a_share_of_the_requests() {
    let broken = [Origin::start(), Origin::start()];
    for origin in &broken {
        origin.on("/a", Script::new().close());
    }
    let gate = Gate::start(fleet(
        &broken.each_ref().map(Origin::address),
        "eject_after = 0\nretry_percent = 10",
    ));
    for _ in 0..100 {
        assert_eq!(get(&gate, "/a").status, 502);
    }
    let sent: usize = broken.iter().map(|origin| origin.seen().len()).sum();
    // Twenty always, and a tenth of those that there were.
    assert!((115..=135).contains(&sent), "{sent} for 100 requests");
    let none = Gate::start(fleet(
        &broken.each_ref().map(Origin::address),
        "eject_after = 0\nretry_percent = 0",
    ));
    for _ in 0..10 {
        get(&none, "/a");
    }
    let more: usize = broken.iter().map(|origin| origin.seen().len()).sum();
    assert_eq!(more - sent, 10);
}

/// Requests in a loop over many connections while one of two origins dies: each gets its answer.
pub(crate) fn nothing_is_lost(addresses: [SocketAddr; 2], more: &str, kill: impl FnOnce() + Send) {
    let gate = Setup::new(fleet(&addresses, more)).workers(2).start();
    let (done, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let target = gate.address();
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for number in 0..16 {
            let (done, killed) = (&done, &killed);
            clients.push(scope.spawn(move || {
                let mut client = Client::connect(target);
                let mut after = 0;
                for round in 0..5000 {
                    let path = format!("/{number}/{round}");
                    let answer = client.get(&token().at(&path), &[]).expect(200);
                    assert_eq!(
                        (answer.text(), answer.end),
                        (format!("origin says {path}"), End::Complete)
                    );
                    done.fetch_add(1, Ordering::Relaxed);
                    after += usize::from(killed.load(Ordering::Relaxed));
                    if after == 20 {
                        return;
                    }
                }
                panic!("the origin was never killed");
            }));
        }
        wait::until_true("they are at it", || done.load(Ordering::Relaxed) > 300);
        kill();
        killed.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("a client");
        }
    });
    let answered = gate.metric("mediagate_requests_total", &["route=\"files\"", "code=\"ok\""]);
    assert_eq!(answered as usize, done.load(Ordering::Relaxed));
}

#[test]
fn killing_one_of_two_addresses_under_load_loses_no_request() {
    let (dies, lives) = (Origin::start(), Origin::start());
    nothing_is_lost([dies.address(), lives.address()], "", move || drop(dies));
    assert!(lives.seen().len() > 300);
}

#[test]
fn requests_that_a_dying_address_has_read_and_not_answered_go_to_the_other_one() {
    let (dies, lives) = (Origin::start(), Origin::start());
    let go = Signal::default();
    // It lets nothing go but its connections.
    dies.on("/held", Script::new().wait(&Signal::default()).close());
    let kept = Script::new().wait(&go);
    lives.on(
        "/held",
        kept.head("200 OK", &[("Content-Length", "4")]).send("kept"),
    );
    let config = fleet(&[dies.address(), lives.address()], "");
    let config = config.replace("head_timeout = \"2s\"", "head_timeout = \"60s\"");
    let gate = Setup::new(config).workers(2).start();
    let read = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| get(&gate, "/held").expect(200).text()))
            .collect();
        wait::until_true("each origin has read some, and both together all", || {
            let (dying, living) = (dies.seen().len(), lives.seen().len());
            dying >= 4 && dying + living == 16
        });
        let read = dies.seen().len();
        drop(dies);
        wait::until_true("the other one has them all", || lives.seen().len() == 16);
        go.raise();
        for client in clients {
            assert_eq!(client.join().expect("a client"), "kept");
        }
        read
    });
    let retried = gate.metric("mediagate_origin_connections_total", &["event=\"retried\""]);
    assert_eq!(retried as usize, read);
}

#[test]
fn killing_one_of_two_http2_addresses_under_load_loses_no_request() {
    let (dies, lives) = (H2Origin::start(), H2Origin::start());
    nothing_is_lost(
        [dies.address(), lives.address()],
        "protocol = \"http2\"\neject_after = 2",
        move || drop(dies),
    );
    assert!(lives.seen().len() > 300);
}

#[test]
fn who_waits_for_a_connection_that_never_comes_moves_on_with_the_others() {
    // Connections are made by the kernel, and nobody says a word over them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = H2Origin::start();
    let addresses = [silent.local_addr().unwrap(), origin.address()];
    for eject in [0, 5] {
        let more = format!("protocol = \"http2\"\neject_after = {eject}");
        let gate = Setup::new(fleet(&addresses, &more)).workers(2).start();
        let target = gate.address();
        let (took, ()) = wait::timed(|| {
            std::thread::scope(|scope| {
                for number in 0..50 {
                    scope.spawn(move || {
                        let path = format!("/{number}");
                        let answer = Client::connect(target).get(&token().at(&path), &[]);
                        assert_eq!(answer.expect(200).text(), format!("origin says {path}"));
                    });
                }
            });
        });
        // The time for one connection is two seconds.
        assert!(took < Duration::from_millis(3900), "{took:?}");
    }
}

#[test]
fn checks_leave_an_address_out_and_take_it_back() {
    let (sick, well) = (Origin::start(), Origin::start());
    for origin in [&sick, &well] {
        origin.on("/healthz", Script::ok(&[], "well"));
    }
    let gate = Gate::start(fleet(
        &[sick.address(), well.address()],
        "[origin.files.http.health]\npath = \"/healthz\"\ninterval = \"100ms\"\ntimeout = \"5s\"\nunhealthy = 2\nhealthy = 2",
    ));
    wait::until_true("both were checked", || {
        sick.seen().iter().any(|seen| seen.target == "/healthz") && well.seen().len() > 1
    });
    assert_eq!(addresses(&gate, "up"), 2.0);
    let checked = sick.last();
    assert_eq!(
        (checked.header("host"), checked.method.as_str()),
        (Some("files.internal"), "GET")
    );
    sick.on("/healthz", Script::answer("500 Internal Server Error", &[], ""));
    wait::until_true("it is down", || addresses(&gate, "down") == 1.0);
    let before = sick
        .seen()
        .iter()
        .filter(|seen| seen.target != "/healthz")
        .count();
    for number in 0..20 {
        get(&gate, &format!("/{number}")).expect(200);
    }
    let after = sick
        .seen()
        .iter()
        .filter(|seen| seen.target != "/healthz")
        .count();
    assert_eq!(before, after, "who is down gets no request");
    sick.on("/healthz", Script::ok(&[], "well again"));
    wait::until_true("it is up", || addresses(&gate, "up") == 2.0);
}

#[test]
fn checks_speak_http2_where_that_is_spoken() {
    let origin = H2Origin::start();
    let gate = Gate::start(fleet(
        &[origin.address()],
        "protocol = \"http2\"\n[origin.files.http.health]\npath = \"/healthz?x=1\"\ninterval = \"100ms\"\nunhealthy = 1",
    ));
    wait::until_true("it was checked twice", || origin.seen().len() >= 2);
    assert_eq!(origin.seen()[0].field(":path"), Some("/healthz?x=1"));
    assert_eq!(addresses(&gate, "up"), 1.0);
}

#[test]
fn a_reload_keeps_what_is_known_of_addresses_or_begins_anew() {
    let (dead, origin) = (closed(), Origin::start());
    let gate = Gate::start(fleet(
        &[dead, origin.address()],
        "eject_after = 1\neject_time = \"60s\"\nmax_idle = 0",
    ));
    for number in 0..20 {
        get(&gate, &format!("/{number}")).expect(200);
    }
    assert_eq!(addresses(&gate, "ejected"), 1.0);
    gate.edit("max_upload = \"1MiB\"", "max_upload = \"2MiB\"")
        .reload();
    assert_eq!(addresses(&gate, "ejected"), 1.0, "the origin did not change");
    gate.edit("eject_after = 1", "eject_after = 9").reload();
    assert_eq!((addresses(&gate, "ejected"), addresses(&gate, "up")), (0.0, 2.0));
}

#[test]
fn requests_past_the_bound_wait_and_past_the_line_are_503() {
    let origin = Origin::start();
    let go_on = Signal::default();
    origin.on(
        "/held",
        Script::new()
            .wait(&go_on)
            .head("200 OK", &[("Content-Length", "4")])
            .send("held"),
    );
    let gate = Gate::start(fleet(
        &[origin.address()],
        "max_in_flight = 2\nmax_queue = 1\nqueue_timeout = \"20s\"",
    ));
    let mut held: Vec<Client> = (0..3).map(|_| gate.connect()).collect();
    for client in &mut held {
        client.request("GET", &token().at("/held"), &[]);
    }
    wait::until_true("two are at the origin and one waits", || {
        origin.seen().len() == 2 && gate.metric("mediagate_origin_waiting", &["origin=\"files\""]) == 1.0
    });
    let answer = get(&gate, "/next").refused(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(origin.seen().len(), 2, "nothing more went to the origin");
    go_on.raise();
    for mut client in held {
        assert_eq!(client.read().expect(200).text(), "held");
    }
    get(&gate, "/next").expect(200);
    assert_eq!(
        gate.metric("mediagate_origin_in_flight", &["origin=\"files\""]),
        0.0
    );
}

#[test]
fn a_wait_for_room_ends() {
    let origin = Origin::start();
    origin.on(
        "/held",
        Script::new()
            .head("200 OK", &[("Content-Length", "4")])
            .send("he")
            .stall(),
    );
    let gate = Gate::start(fleet(
        &[origin.address()],
        "max_in_flight = 1\nqueue_timeout = \"200ms\"",
    ));
    let mut client = gate.connect();
    client.request("GET", &token().at("/held"), &[]);
    assert_eq!(client.read_only_head().status, 200);
    // A body that runs has its place until its end.
    let (took, answer) = wait::timed(|| get(&gate, "/next"));
    answer.refused(503, "overloaded");
    assert!(took >= Duration::from_millis(190), "{took:?}");
    drop(client);
    wait::until_true("the place is free", || {
        gate.metric("mediagate_origin_in_flight", &["origin=\"files\""]) == 0.0
    });
    get(&gate, "/next").expect(200);
}

#[test]
fn a_token_that_works_once_survives_the_death_of_an_address() {
    let (broken, origin) = (Origin::start(), Origin::start());
    broken.on("/f", Script::new().close());
    origin.on("/f", Script::ok(&[], "content"));
    let text = fleet(
        &[broken.address(), origin.address()],
        "eject_after = 0\nmax_idle = 0",
    ) + "[route.single_use]\nstrict = true\n";
    let gate = Gate::start(text);
    for number in 0..20 {
        let target = token()
            .claim("uses", 1)
            .claim("jti", format!("t-{number}"))
            .at("/f");
        assert_eq!(gate.get(&target, &[]).expect(200).text(), "content");
        gate.get(&target, &[]).refused(410, "token_spent");
    }
    assert!(!broken.seen().is_empty());
}

#[test]
fn wrong_settings_of_a_fleet_are_named() {
    let wrong = "retry_percent = 101\nmax_streams = 0\nqueue_timeout = \"1ms\"\neject_time = \"1h\"\n\
                 resolve_interval = \"1ms\"\n[origin.files.http.health]\npath = \"healthz\"\nhealthy = 0";
    let errors = Setup::new(fleet(&[closed()], wrong)).refused();
    for key in [
        "retry_percent",
        "max_streams",
        "queue_timeout",
        "eject_time",
        "resolve_interval",
        "health.path",
        "health.healthy",
    ] {
        assert!(
            errors.contains(&format!("origin.files.http.{key}")),
            "{key}: {errors}"
        );
    }
}
