//! The harness itself: that the raw client and the scripted origin see what they say they see. A test that can't fail
//! is worth nothing, and these are the parts that would make all others pass.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::mint::{MEDIA, opened, raw, tampered};
use crate::support::{Client, End, Origin, Script, Token, wait};

fn read(script: Script) -> Result<crate::support::Response, String> {
    let origin = Origin::start();
    origin.on("/x", script);
    let mut client = Client::connect(origin.address());
    client.request("GET", "/x", &[]);
    catch_unwind(AssertUnwindSafe(|| client.read())).map_err(|panic| {
        panic
            .downcast_ref::<String>()
            .cloned()
            .or(panic.downcast_ref::<&str>().map(|text| (*text).into()))
            .unwrap()
    })
}

#[test]
fn the_client_tells_a_whole_body_from_a_cut_one() {
    let whole = read(Script::ok(&[], "hello")).unwrap();
    assert_eq!((whole.text().as_str(), whole.end), ("hello", End::Complete));
    let short = read(
        Script::new()
            .head("200 OK", &[("Content-Length", "9")])
            .send("hello")
            .close(),
    )
    .unwrap();
    assert_eq!((short.text().as_str(), short.end), ("hello", End::Cut));
    let reset = read(
        Script::new()
            .head("200 OK", &[("Content-Length", "9")])
            .send("hello")
            .reset(),
    )
    .unwrap();
    assert!(matches!(reset.end, End::Reset | End::Cut), "{reset:?}");
    let closed = read(Script::new().head("200 OK", &[]).send("hello").close()).unwrap();
    assert_eq!((closed.text().as_str(), closed.end), ("hello", End::UntilClose));
    let chunked = [("Transfer-Encoding", "chunked")];
    let whole = read(
        Script::new()
            .head("200 OK", &chunked)
            .send("5\r\nhello\r\n0\r\n\r\n"),
    )
    .unwrap();
    assert_eq!((whole.text().as_str(), whole.end), ("hello", End::Complete));
    let cut = read(
        Script::new()
            .head("200 OK", &chunked)
            .send("5\r\nhello\r\n")
            .close(),
    )
    .unwrap();
    assert_eq!((cut.text().as_str(), cut.end), ("hello", End::Cut));
}

#[test]
fn the_client_fails_on_headers_that_are_not_on_its_list() {
    for name in ["Set-Cookie", "Server", "X-Powered-By", "Via", "Link"] {
        let error = read(Script::ok(&[(name, "x")], "")).expect_err(name);
        assert!(error.contains("allow-list"), "{error}");
    }
    let error = read(Script::ok(&[("ETag", "a"), ("ETag", "b")], "")).unwrap_err();
    assert!(error.contains("several lines"), "{error}");
}

#[test]
fn the_client_fails_on_what_is_not_strictly_http() {
    for bytes in [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: a\rb\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nETag: a\u{1}b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n",
    ] {
        assert!(read(Script::new().send(bytes).close()).is_err(), "{bytes:?}");
    }
}

#[test]
fn the_client_sees_when_its_peer_closes() {
    let origin = Origin::start();
    origin
        .on("/x", Script::ok(&[], "x").close())
        .on("/y", Script::ok(&[], "y"));
    let mut client = Client::connect(origin.address());
    client.get("/x", &[]);
    assert!(client.is_closed());
    let mut client = Client::connect(origin.address()).patient(std::time::Duration::from_millis(200));
    client.get("/y", &[]);
    assert!(!client.is_closed());
}

#[test]
fn the_origin_keeps_every_byte_and_serves_ranges() {
    let origin = Origin::start();
    origin.file("/f", "0123456789");
    let mut client = Client::connect(origin.address());
    let first = "GET /f HTTP/1.1\r\nHost: a\r\nRange: bytes=2-4\r\n\r\n";
    client.send(first);
    let answer = client.read();
    assert_eq!(
        (
            answer.status,
            answer.text().as_str(),
            answer.header("content-range")
        ),
        (206, "234", Some("bytes 2-4/10"))
    );
    let second = "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    client.send(second);
    assert_eq!(client.read().text(), "origin says /up");
    let seen = origin.seen();
    assert_eq!(
        (seen[1].body.as_slice(), seen[1].raw.as_slice()),
        (&b"body"[..], second.as_bytes())
    );
    assert_eq!(
        origin.received().concat(),
        format!("{first}{second}").into_bytes()
    );
    let head = client.exchange("HEAD", "/f", &[]);
    assert_eq!((head.header("content-length"), head.body.len()), (Some("10"), 0));
    assert_eq!(client.get("/f", &[("Range", "bytes=10-")]).status, 416);
    assert_eq!(client.get("/f", &[("If-None-Match", "\"v1\"")]).status, 304);
}

#[test]
fn tokens_are_what_other_programs_make() {
    // From jwt.io: the HS256 example with its 256-bit secret.
    let made = raw(
        "{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        "{\"sub\":\"1234567890\",\"name\":\"John Doe\",\"iat\":1516239022}",
        b"your-256-bit-secret",
    );
    assert!(
        made.ends_with(".SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c"),
        "{made}"
    );
    let token = Token::whole().text();
    assert_eq!(opened(&token).0, MEDIA.header());
    let changed = tampered(&token);
    assert!(changed != token && changed.len() == token.len());
    assert_eq!(
        changed.rsplit_once('.').unwrap().0,
        token.rsplit_once('.').unwrap().0,
        "only the signature changed"
    );
}

#[test]
fn waiting_in_vain_fails() {
    let waited =
        catch_unwind(|| wait::until_within(std::time::Duration::from_millis(50), "never", || None::<()>));
    assert!(waited.is_err());
}
