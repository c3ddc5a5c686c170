//! Short media tokens as Adobe's REST API v1 issues them (a1 – a14, a19, a20; traps 2, 3, 8 and 16).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Value, json};

use crate::support::adobe::{
    self, ASK, INFO, MEDIA, RESOURCES, RULE, ask, issuer, row, setup, text_of, viewer,
};
use crate::support::client::media_type;
use crate::support::gate::operational_log;
use crate::support::mint::{self, tampered};
use crate::support::{Client, Gate, NOW, Origin, Response, Setup, Token};

const XML: &str = "application/xml; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

fn rows() -> String {
    row("SPORT", "\"news\", \"a & b\"", "proxy_mvpd = \"A & B <tv>\"")
        + &row("SPORT", "\"final\"", "denied = \"Blackout in your region\"")
        + &row("SPORT", "\"old\"", "until = \"2025-12-31T23:59:59Z\"")
        + &row("SPORT", "\"vip\"", "subjects = [\"43\"]")
}

/// With further keys of the dialect.
fn with(dialect: &str) -> (Origin, Setup) {
    setup(&(adobe::route("", RESOURCES) + &issuer(RULE, dialect, &rows())))
}

fn start(dialect: &str) -> (Origin, Gate) {
    let (origin, setup) = with(dialect);
    (origin, setup.start())
}

fn with_resource(resource: &str) -> String {
    format!("{MEDIA}?requestor=SPORT&deviceId=tv-1&resource={resource}")
}

fn content_type(answer: &Response) -> &str {
    answer.header("content-type").unwrap_or_default()
}

#[track_caller]
fn is_xml_error(answer: Response, status: u16, body: &str) {
    let answer = answer.expect(status);
    assert_eq!(content_type(&answer), XML);
    assert_eq!(
        answer.text(),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><error><status>{status}</status>{body}</error>"
        )
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[track_caller]
fn is_json_error(answer: Response, status: u16, body: &Value) {
    let answer = answer.expect(status);
    assert_eq!(content_type(&answer), JSON);
    assert_eq!(&answer.json(), body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn a1_a2_trap_3_json_has_six_members_all_texts_in_their_order() {
    let (_origin, gate) = start("");
    let shape = Regex::new(concat!(
        r#"^\{"resource":"news","requestor":"SPORT","expires":"[0-9]{13}","#,
        r#""serializedToken":"[A-Za-z0-9+/]+={0,2}","userId":"[0-9a-f]{32}","mvpdId":"cable"\}$"#
    ));
    let shape = shape.unwrap();
    for path in [MEDIA, "/api/v1/mediatoken"] {
        let target =
            format!("{path}?requestor=SPORT&deviceId=D&resource=news&deviceType=Roku&deviceUser=x&appId=y");
        let answer = ask(&gate, &target, &[("Accept", "application/json")]).expect(200);
        assert_eq!(content_type(&answer), JSON);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.all("vary").any(|value| value == "Accept"));
        assert!(shape.is_match(&answer.text()), "{}", answer.text());
    }
}

#[test]
fn a3_xml_has_its_children_in_the_order_of_the_alphabet_and_escapes_their_text() {
    let (_origin, gate) = start("");
    let answer = ask(&gate, ASK, &[("Accept", "application/xml")]).expect(200);
    assert_eq!(content_type(&answer), XML);
    let shape = Regex::new(concat!(
        r#"^<\?xml version="1.0" encoding="UTF-8" standalone="yes"\?><play><expires>[0-9]{13}</expires>"#,
        "<mvpdId>cable</mvpdId><requestor>SPORT</requestor><resource>news</resource>",
        "<serializedToken>[A-Za-z0-9+/]+={0,2}</serializedToken><userId>[0-9a-f]{32}</userId></play>$"
    ));
    assert!(shape.unwrap().is_match(&answer.text()), "{}", answer.text());
    let answer = ask(&gate, &with_resource("a%20%26+b"), &[]).expect(200).text();
    assert_eq!(text_of(&answer, "resource"), "a &amp; b");
    let element = adobe::opened(&text_of(&answer, "serializedToken"));
    assert_eq!(text_of(&element, "resourceID"), "a &amp; b");
    assert_eq!(text_of(&element, "proxyMvpdId"), "A &amp; B &lt;tv&gt;");
}

#[test]
fn a4_a5_the_format_is_that_of_the_path_then_of_the_parameter_then_of_accept_then_of_the_file() {
    let query = "requestor=SPORT&deviceId=D&resource=news";
    let (_origin, gate) = start("");
    let (xml, json) = ("application/xml", "application/json");
    for (ending, parameter, accept, expected) in [
        ("", "", "*/*", xml),
        ("", "", "text/html", xml),
        ("", "", "application/json, text/plain, */*", json),
        ("", "", "application/json;q=0.5, application/xml", xml),
        ("", "&format=json", "*/*", json),
        ("", "&format=json", xml, json),
        ("", "&format=xml", json, xml),
        (".json", "", xml, json),
        (".xml", "", json, xml),
        (".json", "&format=xml", xml, json),
        (".xml", "&format=json", json, xml),
    ] {
        for path in [MEDIA, "/api/v1/mediatoken"] {
            let target = format!("{path}{ending}?{query}{parameter}");
            gate.advance(60);
            let answer = ask(&gate, &target, &[("Accept", accept)]).expect(200);
            assert_eq!(media_type(&answer), expected, "{target} {accept}");
        }
    }
    let refused = ask(&gate, &format!("{ASK}&format=yaml"), &[]);
    is_xml_error(
        refused,
        400,
        "<message>The parameter format is xml or json.</message>",
    );
    let (_origin, gate) = start("default_format = \"json\"\n");
    assert_eq!(
        media_type(&ask(&gate, ASK, &[("Accept", "*/*")]).expect(200)),
        json
    );
}

#[test]
fn a6_a14_the_token_is_signed_and_ends_when_the_answer_says() {
    let (_origin, gate) = start("");
    gate.running().advance(Duration::from_millis(345));
    let mut sessions = Vec::new();
    for subject in ["42", "42", "44"] {
        let bearer = Token::caller(subject, "tv:watch").bearer();
        let headers = [
            ("Authorization", &*bearer),
            ("X-Device-Info", INFO),
            ("Accept", "application/json"),
        ];
        let answer = gate.ask("GET", ASK, &headers, b"").expect(200).json();
        let text = |name: &str| answer[name].as_str().expect("a text").to_owned();
        let token = text("serializedToken");
        assert!(token.starts_with("PHNpZ25hdHVyZUluZm8+"));
        let element = adobe::opened(&token);
        let names = [
            "sessionGUID",
            "requestorID",
            "resourceID",
            "ttl",
            "issueTime",
            "mvpdId",
            "proxyMvpdId",
        ];
        let pattern: String = names
            .iter()
            .map(|name| format!("<{name}>[^<]+</{name}>"))
            .collect();
        let pattern = format!("^<shortAuthorizationToken>{pattern}</shortAuthorizationToken>$");
        assert!(Regex::new(&pattern).unwrap().is_match(&element), "{element}");
        let number = |name: &str| text_of(&element, name).parse::<i64>().expect("a number");
        let expires: i64 = text("expires").parse().expect("a number");
        assert_eq!(expires, number("issueTime") + number("ttl"));
        assert_eq!(expires, NOW * 1000 + 345 + 420_000);
        assert!(
            !element.contains(&text("userId")) && !element.contains(">42<"),
            "{element}"
        );
        sessions.push((text_of(&element, "sessionGUID"), text("userId"), token));
    }
    // The same viewer, another token; another viewer, another session.
    let [first, second, third] = &sessions[..] else {
        panic!()
    };
    assert_eq!((&first.0, &first.1), (&second.0, &second.1));
    assert_ne!(first.2, second.2);
    assert!(first.0 != third.0 && first.1 != third.1);
    let published = gate
        .ask("GET", "/.well-known/jwks.json", &[], b"")
        .expect(200)
        .json();
    assert_eq!(published["keys"][0]["kid"], "adobe-1");
}

#[test]
fn a7_a_missing_empty_or_second_parameter_is_400() {
    let (_origin, gate) = start("");
    let all = [("requestor", "SPORT"), ("deviceId", "D"), ("resource", "news")];
    for (missing, _) in all {
        for value in [None, Some("")] {
            let query: Vec<String> = all
                .iter()
                .filter(|(name, _)| *name != missing || value.is_some())
                .map(|(name, good)| format!("{name}={}", if *name == missing { "" } else { good }))
                .collect();
            let target = format!("{MEDIA}?{}", query.join("&"));
            let message = format!("Required '{missing}' is not present");
            is_xml_error(
                ask(&gate, &target, &[]),
                400,
                &format!("<message>{}</message>", message.replace('\'', "&apos;")),
            );
            let answer = ask(&gate, &target, &[("Accept", "application/json")]);
            is_json_error(answer, 400, &json!({ "status": 400, "message": message }));
        }
        gate.advance(60);
    }
    for more in ["&resource=news", "&%72equestor=SPORT", "&x=%zz", "&x=%ff"] {
        ask(&gate, &format!("{ASK}{more}"), &[]).expect(400);
    }
    ask(&gate, &with_resource(&"x".repeat(600)), &[]).expect(400);
    ask(&gate, &with_resource("a%00b"), &[]).expect(400);
}

#[test]
fn a8_a_device_that_does_not_describe_itself_is_refused_unless_it_need_not() {
    let (_origin, gate) = start("");
    let bearer = viewer();
    let bare = |gate: &Gate| gate.ask("GET", ASK, &[("Authorization", &bearer)], b"");
    is_xml_error(
        bare(&gate),
        400,
        "<message>Required &apos;device_info&apos; is not present</message>",
    );
    let (_origin, gate) = start("enhanced_errors = true\n");
    assert_eq!(
        text_of(&bare(&gate).expect(400).text(), "code"),
        "invalid_device_info"
    );
    let (_origin, gate) = start("require_device_info = false\n");
    bare(&gate).expect(200);
    let bad = gate.ask(
        "GET",
        ASK,
        &[("Authorization", &bearer), ("X-Device-Info", "{}")],
        b"",
    );
    bad.expect(400);
}

#[test]
fn a9_trap_2_the_description_is_base64_and_what_is_in_it_is_nobodys_business() {
    let (_origin, gate) = start("enhanced_errors = true\n");
    let bearer = viewer();
    let broken = STANDARD.encode("{\"model\":\"x\" \"osName\":\"y\"}??>>");
    let escaped = broken.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let twice = escaped.replace('%', "%25");
    assert!(broken.contains('+') || broken.contains('/'), "{broken}");
    let one = |target: &str, info: &[&str]| {
        gate.advance(2);
        let mut headers = vec![("Authorization", &*bearer)];
        headers.extend(info.iter().map(|value| ("X-Device-Info", *value)));
        gate.ask("GET", target, &headers, b"")
    };
    for good in [INFO, INFO.trim_end_matches('='), &broken, &escaped] {
        one(ASK, &[good]).expect(200);
    }
    for good in [INFO, &broken, &escaped, &twice] {
        one(&format!("{ASK}&device_info={good}"), &[]).expect(200);
    }
    // The header goes first.
    one(&format!("{ASK}&device_info=!"), &[INFO]).expect(200);
    one(&format!("{ASK}&device_info={INFO}"), &["!"]).expect(400);
    for bad in [
        &["{\"model\":\"x\"}"][..],
        &["YQ=a"],
        &["%zz"],
        &["%"],
        &["%ff"],
        &[INFO, INFO],
    ] {
        let answer = one(ASK, bad).expect(400).text();
        assert_eq!(text_of(&answer, "code"), "invalid_device_info", "{bad:?}");
    }
    one(&format!("{ASK}&device_info=%25ff"), &[]).expect(400);
}

#[test]
fn a10_nobody_on_a_device_that_is_not_listed_is_403() {
    let (_origin, gate) = start("");
    let info = ("X-Device-Info", INFO);
    is_xml_error(
        gate.ask("GET", ASK, &[info], b""),
        403,
        "<message>User not authenticated</message>",
    );
    let answer = gate.ask("GET", ASK, &[info, ("Accept", "application/json")], b"");
    let body = json!({ "status": 403, "message": "User not authenticated", "details": null });
    is_json_error(answer, 403, &body);
    let (_origin, gate) = start("enhanced_errors = true\nhelp_url = \"https://help.example.com/?a=1&b=2\"\n");
    let answer = gate
        .ask("GET", ASK, &[info, ("Accept", "application/json")], b"")
        .expect(403);
    let shape = Regex::new(concat!(
        r#"^\{"action":"authentication","status":403,"code":"authentication_session_missing","#,
        r#""message":"User not authenticated","helpUrl":"https://help.example.com/\?a=1&b=2","#,
        r#""trace":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"\}$"#
    ));
    assert!(shape.unwrap().is_match(&answer.text()), "{}", answer.text());
    let answer = gate.ask("GET", ASK, &[info], b"").expect(403).text();
    let shape = Regex::new(concat!(
        "<error><action>authentication</action><status>403</status><code>authentication_session_missing</code>",
        "<message>User not authenticated</message><helpUrl>https://help.example.com/\\?a=1&amp;b=2</helpUrl>",
        "<trace>[0-9a-f-]{36}</trace></error>$"
    ));
    assert!(shape.unwrap().is_match(&answer), "{answer}");
}

#[test]
fn a10_a_listed_device_needs_no_bearer_and_its_id_is_in_no_log() {
    let device = "living-room-7f3a9c51e0";
    let (_origin, setup_) = with(&format!(
        "devices = [\"{device}\"]\ndevices_scope = \"tv:watch\"\n"
    ));
    let gate = setup_.start();
    let target = |device: &str| format!("{MEDIA}.json?requestor=SPORT&deviceId={device}&resource=news");
    let get = |device: &str, resource: &str| {
        let target = target(device).replace("=news", &format!("={resource}"));
        gate.ask("GET", &target, &[("X-Device-Info", INFO)], b"")
    };
    let answer = get(device, "news").expect(200).json();
    assert_eq!(answer["userId"], get(device, "news").expect(200).json()["userId"]);
    get("living-room-7f3a9c51e1", "news").expect(403);
    // A row for some subjects is for no device.
    get(device, "vip").expect(403);
    let bearer = Token::caller("42", "tv:watch").bearer();
    let with_bearer = gate.ask(
        "GET",
        &target(device),
        &[("X-Device-Info", INFO), ("Authorization", &bearer)],
        b"",
    );
    assert_ne!(with_bearer.expect(200).json()["userId"], answer["userId"]);
    gate.access(5);
    let token = answer["serializedToken"].as_str().unwrap();
    for log in [gate.access_text(), operational_log()] {
        assert!(!log.contains(device) && !log.contains(token) && !log.contains(INFO));
    }
}

#[test]
fn a11_what_the_viewer_is_not_entitled_to_is_403_with_the_providers_reason() {
    let (_origin, gate) = start("");
    let unauthorized = "<message>User not authorized</message>";
    let details = format!("{unauthorized}<details>Blackout in your region</details>");
    is_xml_error(ask(&gate, &with_resource("final"), &[]), 403, &details);
    let line = &gate.access(1)[0];
    assert_eq!(
        (&line["code"], &line["sub"]),
        (&json!("not_allowed"), &json!("42"))
    );
    is_xml_error(ask(&gate, &with_resource("vip"), &[]), 403, unauthorized);
    is_xml_error(ask(&gate, &with_resource("other"), &[]), 403, unauthorized);
    let answer = ask(&gate, &with_resource("other"), &[("Accept", "application/json")]);
    let body = json!({ "status": 403, "message": "User not authorized", "details": null });
    is_json_error(answer, 403, &body);
    // Without a rule, and with a bearer for some addresses, which a token could not say.
    for bearer in [
        Token::caller("42", "other").bearer(),
        Token::caller("42", "tv:watch")
            .claim("ips", json!(["127.0.0.0/8"]))
            .bearer(),
    ] {
        let headers = [("Authorization", &*bearer), ("X-Device-Info", INFO)];
        let refused = gate.ask("GET", ASK, &headers, b"").expect(403).text();
        assert_eq!(text_of(&refused, "message"), "User not authorized");
    }
    let (_origin, gate) = start("enhanced_errors = true\n");
    let answer = ask(&gate, &with_resource("final"), &[("Accept", "application/json")])
        .expect(403)
        .json();
    assert_eq!(answer["code"], "authorization_denied_by_mvpd");
    assert_eq!(answer["details"], "Blackout in your region");
}

#[test]
fn a12_an_authorization_that_ended_or_is_missing_is_403_and_enhanced_says_which() {
    let missing = "/api/v1/tokens/media?requestor=MOVIES&deviceId=tv-1&resource=news";
    let (_origin, gate) = start("");
    for target in [&with_resource("old"), missing] {
        is_xml_error(
            ask(&gate, target, &[]),
            403,
            "<message>User not authorized</message>",
        );
    }
    let (_origin, gate) = start("enhanced_errors = true\n");
    for (target, status, code) in [
        (&*with_resource("old"), 410, "authorization_expired"),
        (missing, 404, "authorization_not_found"),
    ] {
        let answer = ask(&gate, target, &[("Accept", "application/json")])
            .expect(403)
            .json();
        assert_eq!(
            (&answer["status"], &answer["code"]),
            (&json!(status), &json!(code))
        );
        assert_eq!(answer["action"], "authorization");
        assert!(
            answer["trace"].is_string() && answer.get("details").is_none(),
            "{answer}"
        );
    }
}

#[test]
fn a13_a_bad_bearer_is_401_and_other_methods_are_405() {
    let (_origin, gate) = start("devices = [\"tv-1\"]\ndevices_scope = \"tv:watch\"\n");
    let caller = || Token::caller("42", "tv:watch");
    for bearer in [
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        caller().expires(NOW - 60).bearer(),
        caller().key(mint::STRANGER).bearer(),
        caller().header("alg", "none").bearer(),
        format!("Bearer {}", tampered(&caller().text())),
    ] {
        // A listed device does not heal it.
        let headers = [("Authorization", &*bearer), ("X-Device-Info", INFO)];
        let answer = gate.ask("GET", ASK, &headers, b"").expect(401);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert_eq!(text_of(&answer.text(), "status"), "401");
    }
    gate.advance(60);
    for method in ["POST", "PUT", "DELETE"] {
        let answer = gate.ask(method, ASK, &[], b"").expect(405);
        assert_eq!(answer.header("allow"), Some("GET, HEAD"), "{method}");
        assert_eq!(content_type(&answer), XML);
    }
}

#[test]
fn a13_head_makes_no_token_and_is_told_as_much_as_get() {
    let (_origin, setup_) =
        setup(&(adobe::route("", RESOURCES) + &issuer(&format!("{RULE}per_minute = 1\n"), "", &rows())));
    let gate = setup_.start();
    let bearer = viewer();
    let headers = [("Authorization", &*bearer), ("X-Device-Info", INFO)];
    let mut client = gate.connect_issuer();
    for _ in 0..2 {
        let head = client.exchange("HEAD", ASK, &headers).expect(200);
        assert!(head.text().is_empty() && head.header("content-length").is_none());
        assert_eq!(content_type(&head), XML);
    }
    client
        .exchange("HEAD", &with_resource("final"), &headers)
        .expect(403);
    ask(&gate, ASK, &[]).expect(200);
    // More than the rule allows in a minute: the same page as for who asks too fast.
    let limited = ask(&gate, ASK, &[]).expect(429);
    assert_eq!(
        (media_type(&limited).as_str(), limited.header("retry-after")),
        ("text/html", Some("60"))
    );
}

#[test]
fn a14_the_rule_shortens_what_the_dialect_gives() {
    let rule = RULE.replace("1h", "2m");
    let (_origin, setup_) = setup(&(adobe::route("", RESOURCES) + &issuer(&rule, "", &rows())));
    let gate = setup_.start();
    let answer = ask(&gate, ASK, &[]).expect(200).text();
    assert_eq!(text_of(&answer, "expires"), ((NOW + 120) * 1000).to_string());
}

#[test]
fn a19_a_resource_may_be_described_by_mrss_and_declares_nothing() {
    let mrss = "%3Crss%20version%3D%222.0%22%3E%3Cchannel%3E%3Ctitle%3Enews%3C%2Ftitle%3E%3Citem%3E%3Ctitle%3EPilot\
        %3C%2Ftitle%3E%3C%2Fitem%3E%3C%2Fchannel%3E%3C%2Frss%3E";
    let (_origin, gate) = start("");
    let plain = ask(&gate, &with_resource("news"), &[]).expect(200).text();
    let rich = ask(&gate, &with_resource(mrss), &[]).expect(200).text();
    for answer in [&plain, &rich] {
        assert_eq!(text_of(answer, "resource"), "news");
        let element = adobe::opened(&text_of(answer, "serializedToken"));
        assert_eq!(text_of(&element, "resourceID"), "news");
    }
    for bad in [
        "%3C!DOCTYPE%20rss%20%5B%3C!ENTITY%20x%20%22news%22%3E%5D%3E%3Crss%3E%3Cchannel%3E%3Ctitle%3E%26x%3B%3C%2Ftitle%3E%3C%2Fchannel%3E%3C%2Frss%3E",
        "%3Crss%3E%3Cchannel%3E%3Ctitle%3E%26xxe%3B%3C%2Ftitle%3E%3C%2Fchannel%3E%3C%2Frss%3E",
        "%3Crss%3E",
        "%3C",
    ] {
        ask(&gate, &with_resource(bad), &[]).expect(400);
    }
    let (_origin, gate) = start("mrss = \"off\"\n");
    ask(&gate, &with_resource(mrss), &[]).expect(403);
}

/// The statuses of requests at these milliseconds.
fn at(gate: &Gate, millis: &[u64], mut one: impl FnMut() -> Response) -> Vec<u16> {
    let mut last = 0;
    let mut all = Vec::new();
    for at in millis {
        gate.running().advance(Duration::from_millis(at - last));
        last = *at;
        all.push(one().status);
    }
    all
}

const TABLE: [u64; 17] = [
    0, 300, 600, 900, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 2100, 2200, 2400, 2600, 2800, 3100,
];

#[test]
fn a20_trap_8_trap_16_a_device_has_eleven_at_once_and_one_a_second() {
    let (_origin, setup_) = with("");
    let gate = setup_.behind_a_proxy().start();
    let from = |address: &str, path: &str| {
        ask(
            &gate,
            path,
            &[("X-Forwarded-For", address), ("Origin", "https://tv.example.com")],
        )
    };
    let mediatoken = ASK.replace("tokens/media", "mediatoken");
    let mut count = 0;
    let statuses = at(&gate, &TABLE, || {
        count += 1;
        from("203.0.113.7", if count % 2 == 0 { ASK } else { &mediatoken })
    });
    let expected: Vec<u16> = TABLE
        .iter()
        .map(|at| if [2400, 2600, 2800].contains(at) { 429 } else { 200 })
        .collect();
    assert_eq!(statuses, expected);
    let page = from("203.0.113.7", ASK).expect(429);
    assert_eq!(content_type(&page), "text/html");
    assert!(page.text().contains("<h1>429 Too Many Requests</h1>"));
    assert_eq!(page.header("retry-after"), Some("1"));
    assert_eq!(
        page.header("access-control-allow-origin"),
        Some("https://tv.example.com")
    );
    // Before anything else is looked at, and for nobody else.
    let nonsense = gate.ask("POST", MEDIA, &[("X-Forwarded-For", "203.0.113.7")], b"");
    nonsense.expect(429);
    from("203.0.113.8", ASK).expect(200);
    // What the client writes in front of the proxy's word does not count.
    from("198.51.100.1, 203.0.113.7", ASK).expect(429);
}

#[test]
fn a20_trap_16_nobody_but_a_trusted_proxy_says_who_the_device_is() {
    let (_origin, gate) = start("");
    let mut number = 0;
    let statuses = at(&gate, &TABLE, || {
        number += 1;
        ask(&gate, ASK, &[("X-Forwarded-For", &format!("203.0.113.{number}"))])
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        3,
        "{statuses:?}"
    );
    let bearer = viewer();
    let mut other = Client::connect_from("127.0.0.2", gate.issuer());
    let headers = [("Authorization", &*bearer), ("X-Device-Info", INFO)];
    other.exchange("GET", ASK, &headers).expect(200);
}

#[test]
fn browsers_may_send_what_devices_send() {
    let (_origin, gate) = start("");
    let preflight = gate.ask(
        "OPTIONS",
        ASK,
        &[
            ("Origin", "https://tv.example.com"),
            ("Access-Control-Request-Method", "GET"),
        ],
        b"",
    );
    let allowed = preflight
        .expect(204)
        .header("access-control-allow-headers")
        .unwrap()
        .to_owned();
    assert!(
        allowed.contains("X-Device-Info") && allowed.contains("Authorization"),
        "{allowed}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_at_the_start() {
    let build =
        |route: &str, dialect: &str, rows: &str| setup(&(route.to_owned() + &issuer(RULE, dialect, rows))).1;
    let good = adobe::route("", RESOURCES);
    for (setup_, told) in [
        (build(&good, "", ""), "issuer.adobe_media.entitlement"),
        (build(&good, "ttl = \"2d\"\n", &rows()), "issuer.adobe_media.ttl"),
        (build(&good, "mrss = \"x\"\n", &rows()), "meaning of MRSS"),
        (
            build(&good, "devices = [\"living-room-7f3a9c51e0\"]\n", &rows()),
            "issuer.adobe_media.devices_scope",
        ),
        (
            build(&good, "", &row("A\\n", "\"x\"", "")),
            "can't stand in a token",
        ),
        (build(&good, "", &row("A", "", "")), "resources"),
        (
            build(&good, "", &row("A", "\"x\"", "until = \"soon\"")),
            "is no time",
        ),
        (
            build(
                &adobe::route("", "resources = { SPORT = { news = [\"channels\"] } }"),
                "",
                &rows(),
            ),
            "route[0].scheme.short_media.resources.SPORT.news[0]",
        ),
        (
            build(
                &adobe::route("identity_headers = { X-A = \"email\" }", ""),
                "",
                &rows(),
            ),
            "no claim \"email\"",
        ),
        (
            build(&good.replace("keys = \"adobe\"", "keys = \"media\""), "", &rows()),
            "has no RS256 key",
        ),
        (
            build(&good.replace("[\"SPORT\", \"MOVIES\"]", "[]"), "", &rows()),
            "route[0].scheme.short_media.requestors",
        ),
    ] {
        let errors = setup_.refused();
        assert!(errors.contains(told), "{told} is not in {errors}");
    }
}
