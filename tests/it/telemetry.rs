//! One access line per request, the counters, health and readiness.

use regex::Regex;

use crate::support::origin::{Signal, pattern};
use crate::support::{Gate, NOW, Origin, Script, Setup, Token, conf, wait};

fn start() -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    (origin, gate)
}

#[test]
fn a_json_line_says_who_what_and_how_it_ended() {
    let (origin, gate) = start();
    origin.file("/a%20b", "0123456789");
    gate.get(&Token::whole().at("/a%20b?x=1"), &[("Range", "bytes=2-4")])
        .expect(206);
    let line = &gate.access(1)[0];
    assert_eq!(line["door"], "gate");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["route"], "files");
    assert_eq!(line["path"], "/a b");
    assert_eq!(line["status"], 206);
    assert_eq!(line["code"], "ok");
    assert_eq!(line["sub"], "customer-42");
    assert_eq!(line["bytes"], 3);
    assert_eq!(line["end"], "complete");
    assert_eq!(line["time"], "2026-01-01T00:00:00.000Z");
    assert!(
        line["token_id"]
            .as_str()
            .is_some_and(|id| Regex::new("^[0-9a-f]{32}$").unwrap().is_match(id)),
        "{line}"
    );
    assert!(
        line["head_us"].is_u64() && line["us"].as_u64() >= line["head_us"].as_u64(),
        "{line}"
    );
}

#[test]
fn a_text_line_says_the_same() {
    let origin = Origin::start();
    let gate = Setup::new(conf::http(origin.address()) + &conf::route())
        .text_log()
        .start();
    gate.get(&Token::whole().at("/a"), &[]).expect(200);
    gate.get("/b?t=abc", &[]).expect(401);
    let lines = gate.access_lines(2);
    let good = Regex::new(
        r#"^2026-01-01T00:00:00\.000Z 127\.0\.0\.1 gate GET "/a" 200 code=ok route=files token_id=[0-9a-f]{32} sub="customer-42" bytes=14 end=complete "#,
    )
    .unwrap();
    assert!(good.is_match(&lines[0]), "{}", lines[0]);
    assert!(
        lines[1].contains(" GET \"/b\" 401 code=token_malformed route=files "),
        "{}",
        lines[1]
    );
}

#[test]
fn every_request_is_one_line_and_never_two() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    for _ in 0..10 {
        client.get(&Token::whole().at("/a"), &[]).expect(200);
        client.get("/a", &[]).expect(401);
    }
    assert_eq!(gate.access(20).len(), 20);
    let codes: Vec<String> = gate
        .access(20)
        .iter()
        .map(|line| line["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(codes.iter().filter(|code| *code == "ok").count(), 10);
}

#[test]
fn a_token_has_one_name_when_it_is_issued_and_when_it_is_used() {
    let origin = Origin::start();
    origin.file("/store/report.bin", "x");
    let gate = Gate::start(
        conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &conf::issuer(conf::RULE),
    );
    let bearer = Token::caller("backend", "media:read").bearer();
    let issued = gate
        .ask(
            "POST",
            "/media/01F9/download-token",
            &[("Authorization", &bearer)],
            b"",
        )
        .expect(201)
        .json();
    let url = issued["url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://media.example.com")
        .unwrap()
        .to_owned();
    gate.get(&url, &[]).expect(200);
    gate.get(&url, &[]).expect(200);
    let lines = gate.access(3);
    let by_door = |door: &str| -> Vec<String> {
        let own = lines.iter().filter(|line| line["door"] == door);
        own.map(|line| line["token_id"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let (issuer, used) = (by_door("issuer"), by_door("gate"));
    assert_eq!((issuer.len(), used.len()), (1, 2), "{lines:?}");
    assert!(
        !issuer[0].is_empty() && used.iter().all(|id| *id == issuer[0]),
        "{lines:?}"
    );
    let line = lines.iter().find(|line| line["door"] == "issuer").unwrap();
    assert_eq!(
        (line["sub"].as_str(), line["status"].as_u64()),
        (Some("backend"), Some(201)),
        "{line}"
    );
}

#[test]
fn a_tokens_name_depends_on_its_id_and_survives_a_restart() {
    let (_origin, gate) = start();
    gate.get(&Token::whole().claim("jti", "one").at("/a"), &[])
        .expect(200);
    gate.get(&Token::whole().claim("jti", "two").at("/a"), &[])
        .expect(200);
    gate.get(&Token::whole().claim("jti", "one").claim("x", 1).at("/a"), &[])
        .expect(200);
    let lines = gate.access(3);
    assert_ne!(lines[0]["token_id"], lines[1]["token_id"]);
    assert_eq!(lines[0]["token_id"], lines[2]["token_id"]);
    let gate = gate.restart(NOW);
    gate.get(&Token::whole().claim("jti", "one").at("/a"), &[])
        .expect(200);
    assert_eq!(gate.access(4)[3]["token_id"], lines[0]["token_id"]);
}

#[test]
fn a_client_that_leaves_is_written_down_with_what_it_got() {
    let (origin, gate) = start();
    origin.file("/big", pattern(64 << 20));
    {
        let mut client = gate.connect();
        client.request("GET", &Token::whole().at("/big"), &[]);
        client.read_only_head();
        client.read_bytes(10_000);
    }
    let line = &gate.access(1)[0];
    assert_eq!(
        (line["end"].as_str(), line["status"].as_u64()),
        (Some("cut_by_client"), Some(200)),
        "{line}"
    );
    let bytes = line["bytes"].as_u64().unwrap();
    assert!((10_000..64 << 20).contains(&bytes), "{line}");
    wait::until_true("the cut is counted", || {
        gate.metric("mediagate_downloads_cut_total", &["by=\"client\""]) == 1.0
    });
}

#[test]
fn a_client_that_leaves_before_the_answer_is_written_down_too() {
    let (origin, gate) = start();
    let never = Signal::default();
    origin.on("/slow", Script::new().wait(&never));
    {
        let mut client = gate.connect();
        client.request("GET", &Token::whole().at("/slow"), &[]);
        origin.wait_seen(1);
    }
    let line = &gate.access(1)[0];
    assert_eq!(
        (line["end"].as_str(), line["bytes"].as_u64()),
        (Some("cut_by_client"), Some(0)),
        "{line}"
    );
    never.raise();
}

#[test]
fn a_head_request_counts_no_bytes() {
    let (_origin, gate) = start();
    gate.connect()
        .exchange("HEAD", &Token::whole().at("/a"), &[])
        .expect(200);
    let line = &gate.access(1)[0];
    assert_eq!(
        (line["bytes"].as_u64(), line["end"].as_str()),
        (Some(0), Some("complete")),
        "{line}"
    );
}

#[test]
fn whatever_is_in_a_path_it_stays_one_line() {
    let (_origin, gate) = start();
    for path in [
        "/a%22b",
        "/a%20%5Bx%5D",
        "/%C3%A4",
        "/a%E2%80%A8b",
        "/a%E2%80%AEb",
        "/x%3Cscript%3E",
    ] {
        gate.get(&Token::whole().at(path), &[]).expect(200);
    }
    let text = gate.access_text();
    wait::until_true("six lines", || gate.access_text().lines().count() == 6);
    assert!(!text.contains("\u{1b}"));
    assert_eq!(gate.access(6).len(), 6);
}

#[test]
fn metrics_count_requests_bytes_and_connections_by_route_and_code() {
    let (origin, gate) = start();
    origin.file("/f", "0123456789");
    let mut client = gate.connect();
    for _ in 0..3 {
        client.get(&Token::whole().at("/f"), &[]).expect(200);
    }
    client.get("/f", &[]).expect(401);
    wait::until_true("three requests are counted", || {
        gate.metric("mediagate_requests_total", &["route=\"files\"", "code=\"ok\""]) == 3.0
    });
    assert_eq!(
        gate.metric(
            "mediagate_requests_total",
            &["route=\"files\"", "code=\"token_missing\""]
        ),
        1.0
    );
    assert!(gate.metric("mediagate_response_bytes_total", &["route=\"files\""]) >= 30.0);
    assert_eq!(gate.metric("mediagate_connections", &[]), 1.0);
    assert_eq!(
        gate.metric("mediagate_origin_connections_total", &["event=\"opened\""]),
        1.0
    );
    assert_eq!(
        gate.metric("mediagate_origin_connections_total", &["event=\"reused\""]),
        2.0
    );
    drop(client);
    wait::until_true("the connection is gone", || {
        gate.metric("mediagate_connections", &[]) == 0.0
    });
}

#[test]
fn metrics_are_openmetrics_and_their_labels_never_come_from_requests() {
    let (_origin, gate) = start();
    for path in ["/label-one", "/label-two"] {
        gate.get(&Token::whole().at(path), &[("User-Agent", "label-agent")])
            .expect(200);
        gate.get(path, &[("Host", "label-host.example")]);
    }
    gate.exchange("BREW", "/label-three", &[]);
    let answer = gate.admin_get("/metrics").expect(200);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text"),
        "{answer:?}"
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(
        !text.contains("label-") && !text.contains("BREW") && !text.contains("customer-42"),
        "{text}"
    );
    let sample = Regex::new(r#"^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [0-9.eE+-]+$"#).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(sample.is_match(line) && line.starts_with("mediagate_"), "{line}");
    }
}

#[test]
fn every_series_stands_in_the_document_and_the_document_has_no_other() {
    let (_origin, gate) = start();
    let page = include_str!("../../docs/OPERATIONS.md");
    let mut told = Vec::new();
    for line in gate.metrics().lines() {
        let Some(rest) = line.strip_prefix("# TYPE ") else {
            continue;
        };
        let (name, kind) = rest.split_once(' ').unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let row = format!("| `{name}{suffix}` |");
        assert!(page.contains(&row), "docs/OPERATIONS.md lacks {row}");
        told.push(row);
    }
    let rows = page.lines().filter(|line| line.starts_with("| `mediagate_"));
    assert_eq!(rows.count(), told.len());
}

#[test]
fn heads_that_are_no_http_are_counted_by_kind() {
    let (_origin, gate) = start();
    let mut client = gate.connect();
    client.send("nonsense\r\n\r\n");
    client.read_to_end();
    wait::until_true("a parse error is counted", || {
        gate.metric("mediagate_connection_errors_total", &["kind=\"parse\""]) == 1.0
    });
}

#[test]
fn health_and_readiness_are_told_on_the_admin_port() {
    let (_origin, gate) = start();
    assert_eq!(gate.admin_get("/healthz").status, 200);
    assert_eq!(gate.admin_get("/readyz").status, 200);
    assert_eq!(gate.admin_get("/nothing").status, 404);
}
