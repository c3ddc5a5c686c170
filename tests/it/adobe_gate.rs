//! Short media tokens at the gate (a15 – a18; trap 1): what they open, what refuses them and in which words, and that they
//! work once.

use std::time::Duration;

use mediagate::clock::Clock;
use mediagate::server::control::orders::Withdrawal;

use crate::support::adobe::{self, ASK, RESOURCES, RULE, Short, ask, issuer, row, setup, text_of};
use crate::support::gate::operational_log;
use crate::support::origin::pattern;
use crate::support::{Gate, NOW, Origin, Response, Script, Token, program};

const NEWS: &str = "/channels/news/1.ts";

fn start(more: &str, scheme: &str) -> (Origin, Gate) {
    let (origin, setup) = setup(&adobe::route(more, scheme));
    (origin, setup.start())
}

/// A GET, whose answer may open a session.
fn get(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> Response {
    gate.connect().allow("set-cookie").get(target, headers)
}

/// As a link that a careful program makes.
fn link(path: &str, token: &str) -> String {
    let token = token.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("{path}?token={token}&tokenType=ADOBEPASS")
}

#[track_caller]
fn refused(answer: Response, status: u16, code: &str, word: &str) {
    let answer = answer.refused(status, code);
    assert_eq!(answer.json()["verification"], word, "{answer:?}");
    assert_eq!(answer.header("www-authenticate"), None);
}

/// The token with one bit turned round of the text in it that this one starts.
fn flipped(token: &str, text: &str) -> String {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let mut bytes = engine.decode(token).expect("Base64");
    let at = String::from_utf8_lossy(&bytes).find(text).expect("the text");
    bytes[at] ^= 1;
    engine.encode(bytes)
}

#[test]
fn a15_an_issued_token_opens_its_resource_and_nothing_else() {
    let tables = adobe::route("", RESOURCES) + &issuer(RULE, "", &row("SPORT", "\"*\"", ""));
    let (origin, setup) = setup(&tables);
    let gate = setup.start();
    let token = |resource: &str| {
        let answer = ask(&gate, &ASK.replace("news", resource), &[]).expect(200).text();
        text_of(&answer, "serializedToken")
    };
    get(&gate, &link(NEWS, &token("news")), &[]).expect(200);
    assert_eq!(origin.only().target, format!("{NEWS}?tokenType=ADOBEPASS"));
    get(&gate, &link("/extra.ts", &token("sport")), &[]).expect(200);
    refused(
        get(&gate, &link(NEWS, &token("sport")), &[]),
        403,
        "scope_denied",
        "INVALID_RESOURCE_ID",
    );
    refused(
        get(&gate, &link(NEWS, &token("unheard-of")), &[]),
        403,
        "scope_denied",
        "INVALID_RESOURCE_ID",
    );
    let late = token("news");
    gate.advance(424);
    get(&gate, &link(NEWS, &late), &[]).expect(200);
    let late = token("news");
    gate.advance(425);
    refused(
        get(&gate, &link(NEWS, &late), &[]),
        403,
        "token_expired",
        "TOKEN_EXPIRED",
    );
    // Named alike where it was issued and where it was used.
    let lines = gate.access(12);
    let first = |door: &str| lines.iter().find(|line| line["door"] == door).expect("a line");
    assert_eq!(
        first("gate")["token_id"],
        first("issuer")["token_id"],
        "{lines:?}"
    );
}

#[test]
fn a15_a_route_may_mount_the_dialects_beside_its_files() {
    let tables = adobe::route("mount = [\"adobe_media\"]", RESOURCES)
        + &issuer(RULE, "", &row("SPORT", "\"news\"", ""));
    let (origin, setup) = setup(&tables);
    let gate = setup.start();
    let bearer = adobe::viewer();
    let headers = [("Authorization", &*bearer), ("X-Device-Info", adobe::INFO)];
    let answer = get(&gate, ASK, &headers).expect(200).text();
    let token = text_of(&answer, "serializedToken");
    get(&gate, &link(NEWS, &token), &[]).expect(200);
    assert_eq!(origin.seen().len(), 1);
    // What is not mounted is a file like any other.
    get(&gate, "/o/client/token", &[]).refused(403, "token_missing");
}

#[test]
fn trap_14_p22_no_sink_holds_a_token() {
    let (origin, gate) = start("", RESOURCES);
    let tokens: Vec<String> = [
        Short::of("leak-good"),
        Short::of("leak-late").issued((NOW - 900) * 1000),
        Short::of("leak-early").issued((NOW + 9000) * 1000),
        Short::of("leak-other").requestor("OTHER"),
        Short::of("leak-resource").resource("sport"),
    ]
    .iter()
    .map(Short::text)
    .collect();
    let mut answers = Vec::new();
    for token in &tokens {
        let bearer = format!("Bearer {token}");
        answers.push(get(&gate, &link(NEWS, token), &[]).raw);
        answers.push(
            get(
                &gate,
                &format!("{NEWS}?token={token}"),
                &[("Accept", "text/html")],
            )
            .raw,
        );
        answers.push(get(&gate, NEWS, &[("Authorization", &bearer)]).raw);
    }
    gate.access(15);
    let mut sinks = vec![gate.access_text(), operational_log(), gate.metrics()];
    sinks.extend(
        answers
            .iter()
            .chain(&origin.received())
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    );
    for token in &tokens {
        let signature = adobe::signature(token);
        for secret in [
            &token[40..80],
            &token[token.len() - 80..token.len() - 40],
            &signature[..40],
        ] {
            assert!(!sinks.iter().any(|sink| sink.contains(secret)), "{secret}");
        }
    }
}

#[test]
fn a15_each_fault_has_the_word_of_adobes_verifier() {
    let (origin, gate) = start("", RESOURCES);
    let good = Short::of("faults").text();
    let open = |token: &str| get(&gate, &link(NEWS, token), &[]);
    for text in ["cable", "420000", "faults"] {
        refused(
            open(&flipped(&good, text)),
            403,
            "token_invalid",
            "INVALID_SIGNATURE",
        );
    }
    for text in ["<ttl>", "/ttl", "<signatureInfo>", "</short"] {
        refused(
            open(&flipped(&good, text)),
            403,
            "token_malformed",
            "INVALID_TOKEN_FORMAT",
        );
    }
    let other = Short::of("faults").requestor("OTHER").text();
    refused(open(&other), 403, "token_invalid", "INVALID_SIGNATURE");
    let text = Short::of("faults").resource("nexs").text();
    refused(open(&text), 403, "scope_denied", "INVALID_RESOURCE_ID");
    let (head, _) = good.split_at(good.len() / 3);
    for token in ["x", head, "eyJhbGciOiJub25lIn0.e30.", "PHNpZ25hdHVyZUluZm8+"] {
        refused(open(token), 403, "token_malformed", "INVALID_TOKEN_FORMAT");
    }
    refused(get(&gate, NEWS, &[]), 403, "token_missing", "ERROR_UNKNOWN");
    let early = Short::of("faults").issued((NOW + 7200) * 1000).text();
    refused(open(&early), 403, "token_not_yet_valid", "ERROR_UNKNOWN");
    let answer = gate.exchange("POST", &link(NEWS, &good), &[("Content-Length", "0")]);
    assert!(answer.expect(405).json().get("verification").is_none());
    origin.untouched();
}

#[test]
fn a15_a_signature_over_other_bytes_is_told_as_such() {
    let (_origin, gate) = start("", RESOURCES);
    let good = Short::of("bytes").text();
    let element = adobe::opened(&good);
    let other = adobe::sign(&element.replace("420000", "420001"));
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    let decode = |token: &str| String::from_utf8(engine.decode(token).unwrap()).unwrap();
    let mixed = decode(&other).replace("420001", "420000");
    let answer = get(&gate, &link(NEWS, &engine.encode(mixed)), &[]);
    refused(answer, 403, "token_invalid", "INVALID_SIGNATURE");
    let unslashed = decode(&good).replace("</signatureInfo>", "<signatureInfo>");
    get(&gate, &link(NEWS, &engine.encode(unslashed)), &[]).expect(200);
}

#[test]
fn a16_without_a_resource_signature_and_time_alone_are_checked() {
    let (_origin, setup) = setup(&adobe::route("", RESOURCES));
    let config = setup.write();
    let config = config.to_str().expect("UTF-8");
    let now = Clock::system().now().millis();
    let inspect = |token: &str, resource: Option<&str>| {
        let mut flags = vec!["token", "inspect", "--config", config, "--verify", token];
        flags.extend(resource.iter().flat_map(|resource| ["--resource", resource]));
        let ran = program::run(env!("CARGO_BIN_EXE_mediagate"), &flags, Duration::from_secs(30));
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let word = said.lines().next().unwrap_or_default().to_owned();
        assert_eq!(ran.status.success(), word == "VALID_TOKEN", "{ran:?}");
        word
    };
    let good = Short::of("inspected").issued(now).text();
    let old = Short::of("inspected").issued(now - 500_000).text();
    for (token, resource, word) in [
        (&*good, None, "VALID_TOKEN"),
        (&good, Some("news"), "VALID_TOKEN"),
        (&good, Some("sport"), "INVALID_RESOURCE_ID"),
        (&old, None, "TOKEN_EXPIRED"),
        (&old, Some("sport"), "TOKEN_EXPIRED"),
        ("garbage", None, "INVALID_TOKEN_FORMAT"),
    ] {
        assert_eq!(inspect(token, resource), word, "{resource:?}");
    }
    assert_eq!(inspect(&flipped(&good, "cable"), None), "INVALID_SIGNATURE");
    let shown = program::run(
        env!("CARGO_BIN_EXE_mediagate"),
        &["token", "inspect", &link("http://h/a", &good)],
        Duration::from_secs(30),
    );
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for part in ["NOT VERIFIED", "inspected", "SPORT", "news", "cable", "420000 ms"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
}

#[test]
fn a17_a_second_start_is_refused_and_the_running_stream_goes_on() {
    let (origin, gate) = start("single_use = { playback = true }", RESOURCES);
    let film = pattern(300_000);
    let resume = crate::support::origin::Signal::default();
    let script = Script::new()
        .head("200 OK", &[("Content-Length", "300000"), ("ETag", "\"1\"")])
        .send(&film[..1000])
        .wait(&resume)
        .send(&film[1000..]);
    origin.on("/channels/news/film.ts", script);
    let token = Short::of("once").text();
    let mut player = gate.connect().allow("set-cookie");
    player.request(
        "GET",
        &link("/channels/news/film.ts", &token),
        &[("User-Agent", "player")],
    );
    origin.wait_seen(1);
    let thief = |path: &str| get(&gate, &link(path, &token), &[("User-Agent", "thief")]);
    refused(thief(NEWS), 403, "token_spent", "ERROR_UNKNOWN");
    // After its life the stream still runs, and so do the player's other files.
    gate.advance(500);
    resume.raise();
    let played = player.read();
    assert_eq!(played.expect(200).body, film);
    let more = get(
        &gate,
        &link("/channels/news/2.ts", &token),
        &[("User-Agent", "player")],
    );
    more.expect(200);
    refused(thief(NEWS), 403, "token_spent", "ERROR_UNKNOWN");
}

#[test]
fn a17_a_strict_route_refuses_the_same_player_and_another_token_of_the_same_millisecond_works() {
    let (_origin, gate) = start("single_use = { strict = true }", RESOURCES);
    let token = Short::of("strict").text();
    get(&gate, &link(NEWS, &token), &[]).expect(200);
    refused(
        get(&gate, &link(NEWS, &token), &[]),
        403,
        "token_spent",
        "ERROR_UNKNOWN",
    );
    let other = Short::of("strict").issued(NOW * 1000 + 1).text();
    get(&gate, &link(NEWS, &other), &[]).expect(200);
}

#[test]
fn a17_where_the_route_says_so_a_token_works_until_it_expires() {
    let (_origin, gate) = start("", &format!("one_time = false\n{RESOURCES}"));
    let token = Short::of("often").text();
    for agent in ["a", "b", "c"] {
        get(&gate, &link(NEWS, &token), &[("User-Agent", agent)]).expect(200);
    }
}

#[test]
fn a18_trap_1_a_plus_in_a_query_may_be_a_plus_or_what_a_form_makes_of_it() {
    let (_origin, gate) = start("", &format!("one_time = false\n{RESOURCES}"));
    let token = Short::of("plus").text();
    assert!(token.contains('+'), "{token}");
    get(&gate, &format!("{NEWS}?token={token}&resource=x"), &[]).expect(200);
    get(&gate, &format!("{NEWS}?token={}", token.replace('+', "%20")), &[]).expect(200);
    get(&gate, &format!("{NEWS}?token={}", token.replace('+', "%2B")), &[]).expect(200);
    let bearer = format!("Bearer {token}");
    get(&gate, NEWS, &[("Authorization", &bearer)]).expect(200);
}

#[test]
fn a_template_may_name_the_resource_and_opens_no_more() {
    let (_origin, gate) = start(
        "scope = { template = \"/channels/{resource}/**\" }\nidentity_headers = { X-Viewer = \"sub\", X-Provider = \"mvpd\" }",
        "",
    );
    get(&gate, &link(NEWS, &Short::of("template-1").text()), &[]).expect(200);
    for resource in ["sport", "..", "*", "news/..", "n*"] {
        let token = Short::of("template-2").resource(resource).text();
        refused(
            get(&gate, &link(NEWS, &token), &[]),
            403,
            "scope_denied",
            "INVALID_RESOURCE_ID",
        );
    }
}

#[test]
fn without_a_table_or_a_template_nothing_opens() {
    let (_origin, gate) = start("", "");
    let answer = get(&gate, &link(NEWS, &Short::of("nothing").text()), &[]);
    refused(answer, 403, "scope_denied", "INVALID_RESOURCE_ID");
}

#[test]
fn keys_that_are_taken_away_and_tokens_that_are_withdrawn_refuse_at_once() {
    let (_origin, gate) = start("", &format!("one_time = false\n{RESOURCES}"));
    let [one, other, third] =
        ["revoked-1", "revoked-2", "revoked-3"].map(|session| Short::of(session).text());
    let open = |token: &str| get(&gate, &link(NEWS, token), &[]);
    open(&one).expect(200);
    let id = gate.access(1)[0]["token_id"].as_str().expect("an id").to_owned();
    gate.revoke(Withdrawal::Token { id, expires: None });
    refused(open(&one), 403, "token_revoked", "ERROR_UNKNOWN");
    open(&other).expect(200);
    gate.revoke(Withdrawal::Subject {
        subject: "revoked-2".into(),
        before: (NOW + 1) * 1000,
    });
    refused(open(&other), 403, "token_revoked", "ERROR_UNKNOWN");
    open(&third).expect(200);
    let fresh = mediagate::token::keys::KeySet::generate(jsonwebtoken::Algorithm::RS256).expect("a key");
    gate.file("fresh.jwks.json", fresh).edit(
        "adobe.pem\"\nalg = \"RS256\"\nkid = \"adobe-1\"",
        "fresh.jwks.json\"",
    );
    gate.reload();
    refused(open(&third), 403, "token_invalid", "INVALID_SIGNATURE");
}

#[test]
fn a_route_may_take_jwts_beside_and_tells_them_apart() {
    let route = adobe::route("", &format!("one_time = false\n{RESOURCES}"))
        + &format!(
            "[route.scheme.jwt]\nkeys = \"media\"\nissuer = \"{}\"\naudience = \"media\"\n",
            crate::support::mint::ISSUER
        );
    let (_origin, setup) = setup(&route);
    let gate = setup.start();
    get(&gate, &link(NEWS, &Short::of("beside").text()), &[]).expect(200);
    get(&gate, &format!("{NEWS}?token={}", Token::whole().text()), &[]).expect(200);
    let names: Vec<_> = gate.access(2).iter().map(|line| line["sub"].clone()).collect();
    assert_eq!(names, ["beside", "customer-42"]);
}

#[test]
fn a_token_reads_and_does_nothing_else() {
    let (origin, gate) = start(
        "methods = [\"GET\", \"HEAD\", \"PUT\", \"DELETE\"]",
        &format!("one_time = false\n{RESOURCES}"),
    );
    let token = Short::of("reader").text();
    get(&gate, &link(NEWS, &token), &[]).expect(200);
    for method in ["PUT", "DELETE"] {
        let headers = [("Content-Length", "0")];
        gate.exchange(method, &link(NEWS, &token), &headers)
            .refused(403, "method_denied");
    }
    assert_eq!(origin.only().method, "GET");
}

#[test]
fn two_requestors_may_call_two_things_by_one_name() {
    let resources = "one_time = false\nresources = { SPORT = { news = [\"/channels/news/**\"] }, MOVIES = { news = [\"/extra.ts\"] } }";
    let (_origin, gate) = start("", resources);
    for (requestor, opens, other) in [("SPORT", NEWS, "/extra.ts"), ("MOVIES", "/extra.ts", NEWS)] {
        let token = Short::of("viewer").requestor(requestor).text();
        get(&gate, &link(opens, &token), &[]).expect(200);
        refused(
            get(&gate, &link(other, &token), &[]),
            403,
            "scope_denied",
            "INVALID_RESOURCE_ID",
        );
    }
}
