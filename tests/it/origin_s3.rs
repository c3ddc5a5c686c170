//! A bucket as origin, played by a server that keeps every byte: what is asked, how it is signed, and what becomes of each
//! answer. Nothing that S3 says of an error reaches a client.

use std::time::Duration;

use mediagate::origin::{Ejection, Reach};

use crate::support::origin::{Signal, pattern};
use crate::support::s3::{self, KEY_ID, SECRET, at, error};
use crate::support::{End, Gate, NOW, Origin, Response, Script, Setup, Token, conf, wait};

fn start(more: &str) -> (Origin, Gate) {
    start_named("files", more)
}

/// With a name that its lines in the log hold.
fn start_named(name: &str, more: &str) -> (Origin, Gate) {
    let origin = Origin::start();
    let gate = s3::setup_named(name, &s3::origin(origin.address(), more)).start();
    (origin, gate)
}

fn get(gate: &Gate, path: &str, headers: &[(&str, &str)]) -> Response {
    gate.get(&Token::whole().at(path), headers)
}

/// An answer that holds nothing of S3's own.
#[track_caller]
fn tells_nothing(answer: &Response) {
    let text = String::from_utf8_lossy(&answer.raw).to_lowercase();
    for word in [
        s3::BUCKET,
        KEY_ID,
        SECRET,
        "<error>",
        "amazons3",
        "internal-host",
        "x-amz",
    ] {
        assert!(!text.contains(&word.to_lowercase()), "{word}: {answer:?}");
    }
}

#[test]
fn a_file_comes_byte_for_byte_and_its_request_is_signed_at_the_time_of_the_clock() {
    let (origin, gate) = start("");
    let content = pattern(3_000_000);
    origin.file(&at("/videos/clip.mp4"), &content);
    let answer = get(&gate, "/videos/clip.mp4", &[]).expect(200);
    assert!(answer.body == content && answer.end == End::Complete);
    let seen = origin.only();
    s3::assert_signed(&seen, KEY_ID, SECRET);
    assert_eq!(seen.header("x-amz-date"), Some("20260101T000000Z"));
    gate.advance(86_400 * 2 + 61);
    let late = Token::whole().expires(NOW + 1_000_000);
    gate.get(&late.at("/videos/clip.mp4"), &[]).expect(200);
    let seen = origin.last();
    assert_eq!(seen.header("x-amz-date"), Some("20260103T000101Z"));
    s3::assert_signed(&seen, KEY_ID, SECRET);
}

#[test]
fn a_bucket_that_loses_a_request_gets_it_at_another_address_with_the_same_signature() {
    let (bad, good) = (Origin::start(), Origin::start());
    bad.on("/shared/f", Script::new().reset());
    good.file("/shared/f", "the content");
    let reach = Reach {
        addresses: vec![bad.address(), good.address()],
        ejection: Ejection {
            after: 2,
            time: Duration::from_secs(300),
            on_5xx: false,
        },
        ..Reach::default()
    };
    let bucket = s3::bucket(good.address(), "bucket.internal", reach);
    for _ in 0..40 {
        assert_eq!(&s3::ask(&bucket, "/f")[..], b"the content");
    }
    let signatures = |origin: &Origin| -> Vec<String> {
        let seen = origin.seen();
        seen.iter()
            .map(|seen| {
                s3::assert_signed(seen, KEY_ID, SECRET);
                seen.header("authorization").unwrap().to_owned()
            })
            .collect()
    };
    let (lost, came) = (signatures(&bad), signatures(&good));
    assert_eq!((lost.len(), came.len()), (2, 40), "it is left out after two");
    assert!(lost.iter().all(|signature| came.contains(signature)));
}

#[test]
fn the_addresses_of_a_buckets_server_are_looked_up_and_show_in_the_metrics() {
    let origin = Origin::start();
    origin.file(&at("/f"), "the content");
    let named = s3::origin(origin.address(), "resolve_interval = \"1s\"").replace("127.0.0.1", "localhost");
    let gate = s3::setup(&named).start();
    for _ in 0..20 {
        assert_eq!(get(&gate, "/f", &[]).expect(200).text(), "the content");
    }
    let host = format!("localhost:{}", origin.address().port());
    assert_eq!(origin.last().header("host"), Some(host.as_str()));
    s3::assert_signed(&origin.last(), KEY_ID, SECRET);
    let up = gate.metric(
        "mediagate_origin_addresses",
        &["origin=\"files\"", "state=\"up\""],
    );
    assert!(up >= 1.0, "{up}");
}

#[test]
fn requests_to_an_address_of_a_bucket_are_bounded() {
    let (origin, gate) = start("max_in_flight = 1\nmax_queue = 0");
    let go_on = Signal::default();
    let held = Script::new().wait(&go_on);
    origin.on(&at("/held"), held.head("200 OK", &[("Content-Length", "0")]));
    origin.file(&at("/f"), "the content");
    let mut client = gate.connect();
    client.request("GET", &Token::whole().at("/held"), &[]);
    origin.wait_seen(1);
    let in_flight = || gate.metric("mediagate_origin_in_flight", &["origin=\"files\""]);
    assert_eq!(in_flight(), 1.0);
    let answer = get(&gate, "/f", &[]).refused(503, "overloaded");
    assert_eq!(answer.header("retry-after"), Some("1"));
    go_on.raise();
    client.read().expect(200);
    wait::until_true("there is room", || in_flight() == 0.0);
    get(&gate, "/f", &[]).expect(200);
}

#[test]
fn ranges_conditions_and_head_are_sent_unchanged_and_unsigned() {
    let (origin, gate) = start("");
    let content = pattern(10_000);
    origin.file(&at("/f"), &content);
    let part = get(&gate, "/f", &[("Range", "bytes=100-199")]).expect(206);
    assert_eq!(part.body, &content[100..200]);
    assert_eq!(part.header("content-range"), Some("bytes 100-199/10000"));
    let seen = origin.only();
    s3::assert_signed(&seen, KEY_ID, SECRET);
    assert_eq!(seen.header("range"), Some("bytes=100-199"));
    assert!(!seen.header("authorization").unwrap().contains("range"));

    get(&gate, "/f", &[("Range", "bytes=0-1"), ("If-Range", "\"v1\"")]).expect(206);
    assert_eq!(origin.last().header("if-range"), Some("\"v1\""));
    get(&gate, "/f", &[("If-None-Match", "\"v1\"")]).expect(304);
    assert_eq!(origin.last().header("if-none-match"), Some("\"v1\""));
    let beyond = get(&gate, "/f", &[("Range", "bytes=10000-")]).refused(416, "range");
    assert_eq!(beyond.header("content-range"), Some("bytes */10000"));

    let head = gate.exchange("HEAD", &Token::whole().at("/f"), &[]).expect(200);
    assert_eq!(
        (head.header("content-length"), head.body.len()),
        (Some("10000"), 0)
    );
    let seen = origin.last();
    assert_eq!(seen.method, "HEAD");
    s3::assert_signed(&seen, KEY_ID, SECRET);
}

#[test]
fn a_bucket_is_told_nothing_of_the_client() {
    let origin = Origin::start();
    let route = conf::route_with(
        "files",
        "/",
        "identity_headers = { X-Media-Subject = \"sub\" }\nforward_cookies = true\nforward_authorization = true",
    )
    .replace("{ bearer = {} }, ", "");
    let gate = Setup::new(s3::origin(origin.address(), "") + &route)
        .file("s3-id", KEY_ID)
        .file("s3-secret", SECRET)
        .start();
    let headers = [
        ("User-Agent", "Mozilla/5.0 (a person)"),
        ("Accept-Language", "de"),
        ("Cookie", "a=b"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=forged"),
        ("X-Amz-Security-Token", "forged"),
        ("X-Amz-Date", "20200101T000000Z"),
        ("X-Amz-Request-Payer", "requester"),
        ("X-Forwarded-For", "203.0.113.7"),
    ];
    get(&gate, "/f", &headers).expect(200);
    let seen = origin.only();
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    let all = ["host", "x-amz-date", "x-amz-content-sha256", "authorization"];
    assert_eq!(names, all, "{seen:?}");
    s3::assert_signed(&seen, KEY_ID, SECRET);
    assert!(!format!("{seen:?}").contains("eyJ"), "a token got through");
}

/// Each name as a client may spell it, and the one spelling that is asked and signed.
#[test]
fn p11_every_awkward_name_is_asked_in_the_spelling_that_is_signed() {
    let (origin, gate) = start("prefix = \"/öffentlich/a b/\"");
    for (asked, key) in [
        ("/a%61", "/aa"),
        ("/plus+plus", "/plus%2Bplus"),
        ("/plus%2Bplus", "/plus%2Bplus"),
        ("/%c3%a4%C3%BC", "/%C3%A4%C3%BC"),
        ("/!*'()", "/%21%2A%27%28%29"),
        ("/a%20b", "/a%20b"),
        ("/a%23b%3Fc", "/a%23b%3Fc"),
        ("/%F0%9F%8E%AC", "/%F0%9F%8E%AC"),
        ("/100%25", "/100%25"),
        ("/100%2520", "/100%2520"),
        ("/a;b=c&d,e:f@g$h", "/a%3Bb%3Dc%26d%2Ce%3Af%40g%24h"),
        (
            "/%5B%5D%7B%7D%5E%60%7C%22%3C%3E",
            "/%5B%5D%7B%7D%5E%60%7C%22%3C%3E",
        ),
        ("/a~-._", "/a~-._"),
        ("/docs/report%201.pdf", "/docs/report%201.pdf"),
        ("/x/", "/x/"),
    ] {
        let answer = get(&gate, asked, &[]);
        assert_eq!(answer.status, 200, "{asked}: {answer:?}");
        let seen = origin.last();
        assert_eq!(
            seen.target,
            at(&format!("/%C3%B6ffentlich/a%20b{key}")),
            "{asked}"
        );
        s3::assert_signed(&seen, KEY_ID, SECRET);
    }
    let count = origin.seen().len();
    for asked in ["//a", "/a//b", "/a/%2e%2e/b", "/a%2fb", "/a%00", "/a%5cb", "/./a"] {
        get(&gate, asked, &[]).refused(400, "bad_path");
    }
    assert_eq!(origin.seen().len(), count, "what has two readings is not asked");
}

#[test]
fn p12_no_query_reaches_a_bucket_unless_it_is_listed() {
    let (origin, gate) = start("");
    for query in [
        "acl",
        "uploads",
        "list-type=2",
        "versionId=v1",
        "response-content-disposition=attachment",
        "X-Amz-Signature=0",
        "torrent&tagging&partNumber=1",
    ] {
        get(&gate, &format!("/f?{query}"), &[]).expect(200);
        let seen = origin.last();
        assert_eq!(seen.target, at("/f"), "{query}");
        s3::assert_signed(&seen, KEY_ID, SECRET);
    }
    let count = origin.seen().len();
    for root in ["/", "/?list-type=2", "/?versions"] {
        get(&gate, root, &[]).refused(404, "not_found");
    }
    assert_eq!(
        origin.seen().len(),
        count,
        "the root lists the bucket and is not asked"
    );
}

#[test]
fn p12_listed_parameters_are_sent_and_signed_in_one_spelling() {
    let (origin, gate) = start("query = [\"versionId\", \"response-content-disposition\"]");
    for (asked, sent) in [
        ("versionId=3HL4%2bMLUo", "versionId=3HL4%2BMLUo"),
        ("versionId=a&acl&versionId=b", "versionId=a"),
        (
            "versionId=v&response-content-disposition=attachment;%20filename=%22a+b.pdf%22&x=1",
            "response-content-disposition=attachment%3B%20filename%3D%22a%2Bb.pdf%22&versionId=v",
        ),
        ("versionid=v", ""),
        ("version%49d=v", "versionId=v"),
    ] {
        get(&gate, &format!("/f?{asked}"), &[]).expect(200);
        let seen = origin.last();
        let sent = if sent.is_empty() {
            at("/f")
        } else {
            format!("{}?{sent}", at("/f"))
        };
        assert_eq!(seen.target, sent, "{asked}");
        s3::assert_signed(&seen, KEY_ID, SECRET);
    }
    origin.on(&at("/gone"), error("405 Method Not Allowed", "MethodNotAllowed"));
    origin.on(&at("/none"), error("400 Bad Request", "InvalidArgument"));
    get(&gate, "/gone?versionId=v", &[]).refused(404, "not_found");
    get(&gate, "/none?versionId=v", &[]).refused(404, "not_found");
}

#[test]
fn every_error_of_s3_has_its_status_and_none_of_its_words_gets_out() {
    let (origin, gate) = start_named("errors-of-s3", "");
    for (status, code, ours, words) in [
        ("404 Not Found", "NoSuchKey", (404, "not_found"), ""),
        ("403 Forbidden", "AccessDenied", (404, "not_found"), ""),
        (
            "404 Not Found",
            "NoSuchBucket",
            (502, "origin_invalid"),
            "no such bucket",
        ),
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            (502, "origin_invalid"),
            "the secret key is wrong",
        ),
        (
            "403 Forbidden",
            "InvalidAccessKeyId",
            (502, "origin_invalid"),
            "does not know the access key",
        ),
        (
            "403 Forbidden",
            "RequestTimeTooSkewed",
            (502, "origin_invalid"),
            "our clock is wrong",
        ),
        (
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            (502, "origin_invalid"),
            "`region` is wrong",
        ),
        (
            "400 Bad Request",
            "ExpiredToken",
            (502, "origin_invalid"),
            "the credentials have expired",
        ),
        (
            "301 Moved Permanently",
            "PermanentRedirect",
            (502, "origin_invalid"),
            "at another place",
        ),
        (
            "307 Temporary Redirect",
            "TemporaryRedirect",
            (502, "origin_invalid"),
            "at another place",
        ),
        (
            "403 Forbidden",
            "InvalidObjectState",
            (502, "origin_invalid"),
            "has to be restored",
        ),
        (
            "400 Bad Request",
            "InvalidTokenId",
            (502, "origin_invalid"),
            "does not take the session token",
        ),
        ("400 Bad Request", "KeyTooLongError", (404, "not_found"), ""),
        (
            "403 Forbidden",
            "AllAccessDisabled",
            (502, "origin_invalid"),
            "not because of the object",
        ),
        (
            "400 Bad Request",
            "InvalidRequest",
            (502, "origin_invalid"),
            "answered with an error",
        ),
        (
            "401 Unauthorized",
            "Unauthorized",
            (502, "origin_invalid"),
            "answered with an error",
        ),
    ] {
        let path = format!("/{code}");
        origin.on(&at(&path), error(status, code));
        let answer = get(&gate, &path, &[]).refused(ours.0, ours.1);
        tells_nothing(&answer);
        if ours.0 == 502 {
            s3::logged(&["route=\"errors-of-s3\"", words]);
        }
    }
    // No other test makes a bucket say this.
    s3::logged(&["a bucket answers with an error", "code=\"AllAccessDisabled\""]);
    assert_eq!(origin.connections(), 1, "errors are read to their end");
}

#[test]
fn what_is_forbidden_is_502_where_that_is_configured() {
    let (origin, gate) = start_named("forbidden-is-502", "forbidden = 502");
    origin.on(&at("/f"), error("403 Forbidden", "AccessDenied"));
    tells_nothing(&get(&gate, "/f", &[]).refused(502, "origin_invalid"));
    s3::logged(&["route=\"forbidden-is-502\"", "the origin forbids the object"]);
}

#[test]
fn an_endless_error_is_not_read_to_its_end() {
    let (origin, gate) = start("");
    let long = error("403 Forbidden", "AccessDenied");
    origin.on(
        &at("/f"),
        Script::new()
            .head("403 Forbidden", &[("Content-Length", "1000000000")])
            .send("x".repeat(100_000))
            .stall(),
    );
    origin.on(&at("/f"), long);
    get(&gate, "/f", &[]).refused(502, "origin_invalid");
    get(&gate, "/f", &[]).refused(404, "not_found");
}

#[test]
fn what_is_forbidden_is_404_only_where_s3_says_access_denied() {
    let (origin, gate) = start_named("forbidden-unsaid", "");
    let bare = |length| Script::new().head("403 Forbidden", &[("Content-Length", length)]);
    for (path, script) in [
        ("/empty", bare("0").send("")),
        (
            "/html",
            Script::answer("403 Forbidden", &[], "<h1>AccessDenied</h1>"),
        ),
        ("/other", error("403 Forbidden", "SomethingOfItsOwn")),
        ("/short", bare("100").send("<Error><Code>AccessDen").close()),
    ] {
        origin.on(&at(path), script);
        let answer = get(&gate, path, &[]).refused(502, "origin_invalid");
        tells_nothing(&answer);
        assert!(!crate::support::gate::operational_log().contains("SomethingOfItsOwn"));
    }
    s3::logged(&["route=\"forbidden-unsaid\"", "not because of the object"]);
    // An answer to HEAD has no code, whatever length it names.
    for (path, headers) in [
        ("/head", &[][..]),
        ("/head-of-none", &[("Content-Length", "0")]),
        ("/head-of-some", &[("Content-Length", "243")]),
    ] {
        origin.on(&at(path), Script::new().head("403 Forbidden", headers));
        gate.exchange("HEAD", &Token::whole().at(path), &[]).expect(404);
    }
}

#[test]
fn s3_is_asked_again_where_it_has_no_time_and_its_file_comes_whole() {
    let (origin, gate) = start("");
    let content = pattern(200_000);
    origin.on(&at("/f"), error("503 Slow Down", "SlowDown"));
    origin.on(&at("/f"), error("500 Internal Server Error", "InternalError"));
    origin.on(&at("/f"), Script::ok(&[], &content));
    let answer = get(&gate, "/f", &[]).expect(200);
    assert!(answer.body == content);
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    for seen in &seen {
        s3::assert_signed(seen, KEY_ID, SECRET);
    }
    assert_eq!(origin.connections(), 1, "over the same connection");
}

#[test]
fn s3_that_never_has_time_is_503_with_a_time_to_come_again() {
    let (origin, gate) = start("");
    for (path, status, code) in [
        ("/slow", "503 Slow Down", "SlowDown"),
        ("/broken", "500 Internal Server Error", "InternalError"),
    ] {
        let before = origin.seen().len();
        origin.on(&at(path), error(status, code));
        let answer = get(&gate, path, &[]).refused(503, "overloaded");
        assert_eq!(answer.header("retry-after"), Some("1"));
        tells_nothing(&answer);
        assert_eq!(origin.seen().len(), before + 3, "three tries and no more");
    }
}

#[test]
fn a_file_that_was_begun_is_never_asked_for_again() {
    let (origin, gate) = start("");
    origin.on(
        &at("/f"),
        Script::new()
            .head("200 OK", &[("Content-Length", "1000")])
            .send("x".repeat(100))
            .close(),
    );
    let answer = get(&gate, "/f", &[]);
    assert_eq!((answer.status, answer.body.len()), (200, 100));
    assert_ne!(answer.end, End::Complete);
    assert_eq!(origin.seen().len(), 1);
}

/// Some servers that speak S3 do not know `If-Range`: parts of two files would be put together.
#[test]
fn a_part_of_another_file_than_if_range_names_is_not_delivered() {
    let (origin, gate) = start("");
    let content = pattern(5000);
    let part = Script::answer(
        "206 Partial Content",
        &[("ETag", "\"new\""), ("Content-Range", "bytes 10-19/5000")],
        &content[10..20],
    );
    origin.on(&at("/f"), part);
    origin.on(&at("/f"), Script::ok(&[("ETag", "\"new\"")], &content));
    let ask = [("Range", "bytes=10-19"), ("If-Range", "\"old\"")];
    let answer = get(&gate, "/f", &ask).expect(200);
    assert!(answer.body == content);
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(
        (seen[1].header("range"), seen[1].header("if-range")),
        (None, None)
    );
    s3::assert_signed(&seen[1], KEY_ID, SECRET);
}

#[test]
fn a_bucket_that_a_reload_does_not_change_keeps_its_connections() {
    let (origin, gate) = start("");
    get(&gate, "/a", &[]).expect(200);
    gate.edit(
        "origin = \"files\"",
        "origin = \"files\"\ndisposition = \"inline\"",
    );
    gate.reload();
    get(&gate, "/b", &[]).expect(200);
    assert_eq!(origin.connections(), 1);
    gate.file("s3-secret", "another-secret");
    gate.reload();
    get(&gate, "/c", &[]).expect(200);
    s3::assert_signed(&origin.last(), KEY_ID, "another-secret");
    assert_eq!(origin.connections(), 2, "another key is another origin");
}

#[test]
fn a_wrong_table_is_refused_with_what_is_wrong_and_without_a_secret() {
    let origin = s3::origin("127.0.0.1:9".parse().unwrap(), "");
    for (from, to, words) in [
        (
            "bucket = \"media-files\"",
            "bucket = \"a/b\"",
            "is no name of a bucket",
        ),
        ("region = \"us-east-1\"", "region = \"us east\"", "is no region"),
        (
            "style = \"path\"",
            "style = \"virtual-host\"",
            "write style = \\\"path\\\"",
        ),
        ("style = \"path\"", "style = \"paht\"", "did you mean"),
        (
            "127.0.0.1:9\"",
            "127.0.0.1:9/media-files\"",
            "the bucket has a key of its own",
        ),
        ("127.0.0.1:9\"", "u:p@127.0.0.1:9\"", "of a server alone"),
        ("http://", "ftp://", "is no http or https URL"),
        (
            "style = \"path\"",
            "style = \"path\"\nforbidden = 403",
            "is neither 404 nor 502",
        ),
        (
            "style = \"path\"",
            "style = \"path\"\nquery = [\"acl\"]",
            "can be let through",
        ),
        (
            "style = \"path\"",
            "style = \"path\"\nprefix = \"a/../b\"",
            "dot segment",
        ),
        ("{dir}/s3-secret", "{dir}/absent", "can't"),
        (
            "{ access_key_id",
            "\"AKIASECRET\" # ",
            "is no place where credentials are",
        ),
        (
            "connect_timeout = \"5s\"",
            "connect_timeout = \"1ms\"",
            "is out of range",
        ),
        (
            "connect_timeout = \"5s\"",
            "retry_percent = 101",
            "is out of range",
        ),
        (
            "connect_timeout = \"5s\"",
            "queue_timeout = \"2m\"",
            "is out of range",
        ),
    ] {
        assert!(origin.contains(from), "{from}");
        let wrong = s3::setup(&origin.replacen(from, to, 1)).try_start();
        let text = wrong.err().unwrap_or_else(|| panic!("{to} was taken"));
        // Behind it the test shows the file itself.
        let text = text.split("\nstate = ").next().unwrap();
        let words = words.replace("\\\"", "\"");
        assert!(
            text.contains("origin.files.s3") || text.contains("No such file"),
            "{to}: {text}"
        );
        assert!(text.contains(&words) || words == "can't", "{to}: {text}");
        assert!(
            !text.contains(SECRET) && !text.contains("AKIASECRET"),
            "{to}: {text}"
        );
    }
    let writing = origin.clone() + &conf::route_with("files", "/", "methods = [\"GET\", \"PUT\"]");
    let wrong = Setup::new(writing)
        .file("s3-id", KEY_ID)
        .file("s3-secret", SECRET)
        .try_start();
    assert!(wrong.err().unwrap().contains("buckets are only read"));
    let broken = s3::setup(&origin).file("s3-secret", "two\nlines").try_start();
    assert!(broken.err().unwrap().contains("secret_access_key"));
}

#[test]
fn what_a_token_forces_reaches_the_bucket_or_refuses_the_token() {
    let forced = |name: &str| {
        let args = serde_json::json!({ name: "v1" });
        Token::whole().claim("args", args).at("/f")
    };
    let (origin, gate) = start("");
    gate.get(&forced("versionId"), &[]).refused(401, "token_invalid");
    assert!(origin.seen().is_empty());
    let (origin, gate) = start("query = [\"versionId\"]");
    gate.get(&forced("versionId"), &[]).expect(200);
    assert_eq!(origin.last().target, at("/f") + "?versionId=v1");
    gate.get(&forced("acl"), &[]).refused(401, "token_invalid");
}
