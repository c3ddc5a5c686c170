//! What the strict reader takes and refuses, and the links it writes.

use serde_json::Value;

use crate::issuer::tests::{Bench, NOW, body, part, request, status};

fn ask(json: &str) -> (u16, Value) {
    let answer = Bench::new().post("/v1/tokens", json);
    (status(&answer), body(&answer))
}

#[test]
fn a_token_for_one_file_comes_with_its_link() {
    let (status, body) = ask(r#"{"paths":["/customers/42/Bild – Übersicht.jpg"],"expires_in":60}"#);
    assert_eq!(status, 201, "{body}");
    let token = body["token"].as_str().unwrap();
    let url =
        format!("https://media.example.com/customers/42/Bild%20%E2%80%93%20%C3%9Cbersicht.jpg?t={token}");
    assert_eq!(body["url"], url);
    assert_eq!(body["expires_at"], "2026-01-01T00:01:00.000Z");
    assert_eq!(body["token_id"].as_str().unwrap().len(), 32);
    let payload = part(token, 1);
    assert_eq!(payload["exp"], NOW.secs() + 60);
    assert_eq!(payload["aud"], "media");
    assert_eq!(payload["methods"], serde_json::json!(["GET", "HEAD"]));
}

#[test]
fn all_members_reach_the_token() {
    let (status, body) = ask(
        r#"{"paths":["/customers/42/a/","/customers/42/*.pdf"],"media":"01F9","expires_in":3600,"not_before":1767225700,
            "sub":"42","methods":["GET"],"ips":["192.0.2.7","2001:db8::/32"],"filename":"a b.pdf","args":{"w":"100"},"uses":1}"#,
    );
    assert_eq!(status, 201, "{body}");
    assert!(body.get("url").is_none());
    let payload = part(body["token"].as_str().unwrap(), 1);
    for (member, value) in [
        (
            "paths",
            serde_json::json!(["/customers/42/a/", "/customers/42/*.pdf"]),
        ),
        ("media", "01F9".into()),
        ("nbf", 1_767_225_700.into()),
        ("sub", "42".into()),
        ("methods", serde_json::json!(["GET", "HEAD"])),
        ("ips", serde_json::json!(["192.0.2.7", "2001:db8::/32"])),
        ("filename", "a b.pdf".into()),
        ("args", serde_json::json!({ "w": "100" })),
        ("uses", 1.into()),
    ] {
        assert_eq!(payload[member], value, "{member}");
    }
}

#[test]
fn what_is_not_one_object_with_distinct_names_is_a_bad_request() {
    for json in [
        "",
        "{",
        "[]",
        "\"x\"",
        "{} {}",
        r#"{"paths":["/customers/42/a"],"paths":["/customers/42/b"]}"#,
        r#"{"paths":["/customers/42/a"],"args":{"a":"1","a":"2"}}"#,
        r#"{"paths":["/customers/42/a"],}"#,
    ] {
        let (status, body) = ask(json);
        assert_eq!((status, &body["code"]), (400, &"bad_request".into()), "{json}");
    }
}

#[test]
fn each_bad_member_is_named() {
    for (member, value) in [
        ("paths", "[]"),
        ("paths", "null"),
        ("paths", r#""/customers/42/a""#),
        ("paths", "[1]"),
        ("paths[0]", r#"["customers/42/a"]"#),
        ("paths[0]", r#"["/customers/42/../43/a"]"#),
        ("paths[0]", r#"["/customers/42//a"]"#),
        ("media", "1"),
        ("media", r#""a/b""#),
        ("media", r#""..""#),
        ("media", r#""""#),
        ("expires_in", "0"),
        ("expires_in", "-1"),
        ("expires_in", "1.5"),
        ("expires_in", r#""60""#),
        ("expires_in", "null"),
        ("expires_in", "3601"),
        ("expires_in", "1e400"),
        ("expires_in", "18446744073709551615"),
        ("not_before", "-1"),
        ("not_before", r#""now""#),
        ("not_before", "1767229200"),
        ("not_before", "9223372036854775807"),
        ("sub", r#""""#),
        ("sub", r#""a\nb""#),
        ("sub", "42"),
        ("methods", "[]"),
        ("methods", r#"["BREW"]"#),
        ("methods", r#"["get"]"#),
        ("methods", r#""GET""#),
        ("ips", "[]"),
        ("ips[0]", r#"["192.0.2.0/33"]"#),
        ("ips[0]", r#"["example.com"]"#),
        ("filename", r#""a\r\nSet-Cookie: x""#),
        ("filename", r#""a/b""#),
        ("filename", r#""a\\b""#),
        ("filename", r#""..""#),
        ("filename", r#""""#),
        ("filename", r#""a\u0000""#),
        ("filename", r#""fdp\u202eexe""#),
        ("args", "[]"),
        ("args", r#"{"":"x"}"#),
        ("args", r#"{"a":[1]}"#),
        ("args", r#"{"a":"\r\n"}"#),
        ("uses", "0"),
        ("uses", "2"),
        ("uses", "true"),
        ("uses", "1.5"),
        ("rate", "1023"),
        ("rate", "1099511627777"),
        ("rate", "-2048"),
        ("rate", "2048.5"),
        ("rate", r#""2048""#),
        ("streams", "0"),
        ("streams", "1025"),
        ("streams", "4294967297"),
        ("streams", "null"),
        ("", "1"),
    ] {
        let name = match member.split('[').next().unwrap() {
            "" => "expires-in",
            name => name,
        };
        let json = match name {
            "paths" => format!("{{\"paths\":{value}}}"),
            name => format!("{{\"paths\":[\"/customers/42/a\"],\"{name}\":{value}}}"),
        };
        let (status, body) = ask(&json);
        if value == "1e400" {
            assert_eq!(status, 400);
            continue;
        }
        assert_eq!((status, &body["code"]), (422, &"unprocessable".into()), "{json}");
        assert_eq!(body["violations"][0]["propertyPath"], member, "{json}");
        assert!(!body.to_string().contains("Set-Cookie"));
    }
}

#[test]
fn a_life_that_is_too_long_is_refused_with_the_longest() {
    let (_, body) = ask(r#"{"paths":["/customers/42/a"],"expires_in":86400}"#);
    assert_eq!(body["violations"][0]["message"], "At most 3600 seconds.");
}

#[test]
fn all_violations_are_told_at_once() {
    let (_, body) = ask(r#"{"paths":["a","/customers/42/a","b"],"expires_in":0,"uses":2,"x":1}"#);
    let properties: Vec<_> = body["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|violation| violation["propertyPath"].as_str().unwrap())
        .collect();
    assert_eq!(properties, ["paths[0]", "paths[2]", "expires_in", "uses", ""]);
}

#[test]
fn huge_arguments_and_many_paths_are_refused() {
    let args: Vec<_> = (0..33).map(|at| format!("\"a{at}\":\"x\"")).collect();
    let path = |at| format!("\"/customers/42/{at}/{}\"", "a".repeat(200));
    let paths: Vec<_> = (0..60).map(path).collect();
    for json in [
        format!(
            "{{\"paths\":[\"/customers/42/a\"],\"args\":{{{}}}}}",
            args.join(",")
        ),
        format!(
            "{{\"paths\":[\"/customers/42/a\"],\"args\":{{\"a\":\"{}\"}}}}",
            "x".repeat(5000)
        ),
        format!("{{\"paths\":[{}]}}", paths.join(",")),
        format!("{{\"paths\":[{}]}}", vec!["\"/customers/42/a\""; 65].join(",")),
        format!("{{\"paths\":[\"/customers/42/{}\"]}}", "a".repeat(1100)),
    ] {
        assert_eq!(ask(&json).0, 422, "{}", &json[..60]);
    }
}

#[test]
fn the_body_is_json_or_says_nothing_of_its_type() {
    for (media_type, expected) in [
        ("application/json", 201),
        ("Application/JSON; charset=utf-8", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ] {
        let bench = Bench::new();
        let bearer = bench.bearer("media:read");
        let headers = [("authorization", &*bearer), ("content-type", media_type)];
        let answer = bench.ask(&request(
            "POST",
            "/v1/tokens",
            &headers,
            r#"{"paths":["/customers/42/a"]}"#,
        ));
        assert_eq!(status(&answer), expected, "{media_type}");
    }
}

#[test]
fn only_a_path_that_the_gate_would_take_gets_a_link() {
    for (path, expected) in [
        ("/a b/ü", Some("/a%20b/%C3%BC")),
        ("/", Some("/")),
        ("/100%", Some("/100%25")),
        ("/a?b#c", Some("/a%3Fb%23c")),
        ("/a%2fb", None),
        ("/%2e%2e/b", None),
    ] {
        assert_eq!(super::encoded(path).as_deref(), expected, "{path}");
    }
}
