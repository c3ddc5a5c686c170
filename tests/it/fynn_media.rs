//! What media ids mean: the catalogue's word on a file, and the origin's on whether it is there (f7).

use std::net::TcpListener;

use serde_json::json;

use crate::support::client::media_type;
use crate::support::issuer::{ask_native, bearer, download_token, issued, made_nothing, setup, start};
use crate::support::origin::Signal;
use crate::support::{Gate, Origin, Response, Script, Setup, conf};

/// A catalogue whose file has a type of its own.
const TYPED: &str = "[01F9]\nfile = \"/store/report.bin\"\nname = \"Report.pdf\"\nfolder = \"invoice\"\ntype = \"application/pdf\"\n\
     [page]\nfile = \"/store/page.bin\"\nfolder = \"invoice\"\ntype = \"text/html; charset=utf-8\"\n\
     [plain]\nfile = \"/store/report.bin\"\nfolder = \"invoice\"\n";

fn link(gate: &Gate, id: &str) -> String {
    let answer = download_token(gate, id, &[("Authorization", &bearer())], b"");
    issued(answer, 201).1
}

#[test]
fn f10_the_catalogue_says_what_a_file_is() {
    let origin = Origin::start();
    let kind = [("Content-Type", "application/octet-stream"), ("ETag", "\"1\"")];
    origin.file_with("/store/report.bin", "0123456789", &kind);
    origin.file_with("/store/page.bin", "<p>", &kind);
    let gate = setup(&origin, conf::RULE).file("catalogue.toml", TYPED).start();
    let path = link(&gate, "01F9");
    let range = [("Range", "bytes=0-3")];
    for (method, headers, status) in [
        ("GET", &[][..], 200),
        ("GET", &range[..], 206),
        ("HEAD", &[][..], 200),
    ] {
        let answer = gate.exchange(method, &path, headers).expect(status);
        assert_eq!(
            answer.header("content-type"),
            Some("application/pdf"),
            "{answer:?}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    // A cache takes over what is said of an unchanged file.
    let unchanged = gate.get(&path, &[("If-None-Match", "\"1\"")]).expect(304);
    assert_eq!(
        unchanged.header("content-type"),
        Some("application/pdf"),
        "{unchanged:?}"
    );
    let other = gate.get(&link(&gate, "plain"), &[]).expect(200);
    assert_eq!(other.header("content-type"), Some("application/octet-stream"));
    // What runs in a browser is shut in, whoever said that it does.
    let page = gate.get(&link(&gate, "page"), &[]).expect(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
}

#[test]
fn f14_several_ranges_of_a_file_whose_type_is_known_are_the_whole_file() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    std::fs::write(folder.path().join("store/report.bin"), "0123456789").unwrap();
    let toml = conf::folder(folder.path()) + &conf::fynn_route() + &conf::route() + &conf::issuer(conf::RULE);
    let gate = Setup::new(toml).file("catalogue.toml", TYPED).start();
    let several = [("Range", "bytes=0-1,4-5")];
    let whole = gate.get(&link(&gate, "01F9"), &several).expect(200);
    assert_eq!(
        (media_type(&whole).as_str(), whole.text().as_str()),
        ("application/pdf", "0123456789")
    );
    let parts = gate.get(&link(&gate, "plain"), &several).expect(206);
    assert_eq!(media_type(&parts), "multipart/byteranges");
}

#[test]
fn f10_a_catalogue_may_be_json() {
    let origin = Origin::start();
    origin.file("/store/report.bin", "0123456789");
    let toml =
        conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &conf::issuer(conf::RULE);
    let medium = json!({ "file": "/store/report.bin", "name": "R.pdf", "type": "application/pdf", "folder": "invoice", "owner": "b" });
    let gate = Setup::new(toml.replace("catalogue.toml", "catalogue.json"))
        .file("catalogue.json", json!({ "01F9": medium }).to_string())
        .start();
    let answer = gate.get(&link(&gate, "01F9"), &[]).expect(200);
    assert_eq!(media_type(&answer), "application/pdf");
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"R.pdf\"")
    );
}

/// Media by template, of which the origin `files` is asked.
fn asking(origin: &str) -> Setup {
    let rule = conf::RULE.replace("folders = [\"invoice\", \"product\"]\n", "");
    let route = conf::fynn_route().replace(
        "file = \"{dir}/catalogue.toml\"",
        "template = \"/store/{id}.bin\"\nexists = \"origin\"\norigin = \"files\"",
    );
    Setup::new(origin.to_owned() + &route + &conf::route() + &conf::issuer(&rule))
}

fn ask(gate: &Gate, id: &str) -> Response {
    download_token(gate, id, &[("Authorization", &bearer())], b"")
}

#[test]
fn f7_an_id_that_an_http_origin_does_not_have_is_404() {
    let origin = Origin::start();
    origin.file("/store/a%20b.bin", "0123456789");
    origin.on("/store/none.bin", Script::answer("404 Not Found", &[], ""));
    origin.on("/store/gone.bin", Script::answer("410 Gone", &[], ""));
    let gate = asking(&conf::http(origin.address())).start();
    let path = issued(ask(&gate, "a%20b"), 201).1;
    let seen = origin.only();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("HEAD", "/store/a%20b.bin")
    );
    // Nothing of the caller goes to the origin.
    for name in ["authorization", "cookie", "x-forwarded-for", "range"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(gate.get(&path, &[]).expect(200).text(), "0123456789");
    for id in ["none", "gone"] {
        let answer = ask(&gate, id).expect(404);
        assert_eq!(answer.json()["code"], "not_found");
        made_nothing(&gate, &answer, id);
    }
    // The native dialect asks for its media, too.
    let answer = ask_native(&gate, &bearer(), &json!({ "media": "none" }));
    assert_eq!(answer.status, 404, "{answer:?}");
    // Who may not ask, and who asks for what is no id, learns nothing and makes us ask nobody.
    let before = origin.seen().len();
    download_token(&gate, "none", &[], b"").expect(401);
    ask(&gate, "..").expect(400);
    assert_eq!(origin.seen().len(), before);
}

#[test]
fn f7_an_id_that_a_folder_does_not_have_is_404() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("store/folder.bin")).unwrap();
    std::fs::write(folder.path().join("store/a.bin"), "0123456789").unwrap();
    std::fs::write(folder.path().join("secret.bin"), "secret").unwrap();
    let gate = asking(&conf::folder(folder.path())).start();
    let path = issued(ask(&gate, "a"), 201).1;
    assert_eq!(gate.get(&path, &[]).expect(200).text(), "0123456789");
    for id in ["b", "folder", "A"] {
        let answer = ask(&gate, id).expect(404);
        made_nothing(&gate, &answer, id);
    }
}

#[track_caller]
fn nobody_can_tell(answer: Response) {
    let answer = answer.expect(503);
    assert_eq!(answer.json()["code"], "origin_unavailable");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(!answer.text().contains("eyJ"), "{answer:?}");
}

#[test]
fn f7_while_the_origin_gives_no_clear_answer_nothing_is_issued() {
    let origin = Origin::start();
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "403 Forbidden",
        "302 Found",
        "204 No Content",
    ] {
        let number = &status[..3];
        origin.on(&format!("/store/{number}.bin"), Script::answer(status, &[], ""));
    }
    origin.on("/store/stall.bin", Script::new().stall());
    origin.on("/store/reset.bin", Script::new().reset());
    let gate = asking(&conf::impatient(origin.address(), "200ms")).start();
    for id in ["500", "503", "403", "302", "stall", "reset"] {
        nobody_can_tell(ask(&gate, id));
    }
    let lines = gate.access(6);
    assert!(
        lines
            .iter()
            .all(|line| line["code"] == "origin_unavailable" && line["token_id"].is_null()),
        "{lines:?}"
    );
}

#[test]
fn f7_an_origin_that_is_not_there_is_503() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    nobody_can_tell(ask(&asking(&conf::http(address)).start(), "a"));
}

#[test]
fn f7_eight_questions_at_a_time_and_all_are_answered() {
    let origin = Origin::start();
    let go = Signal::default();
    let waiting = Script::new().wait(&go).head("200 OK", &[("Content-Length", "1")]);
    for id in 0..12 {
        origin.on(&format!("/store/{id}.bin"), waiting.clone());
    }
    let gate = asking(&conf::http(origin.address())).start();
    let bearer = bearer();
    let headers = [("Authorization", bearer.as_str()), ("Content-Length", "0")];
    let mut asked = Vec::new();
    for id in 0..12 {
        let mut client = gate.connect_issuer();
        client.request("POST", &format!("/media/{id}/download-token"), &headers);
        asked.push(client);
    }
    // The others wait for a place; the issuer answers whoever needs no origin meanwhile.
    origin.wait_seen(8);
    download_token(&gate, "1", &[], b"").expect(401);
    assert_eq!(origin.seen().len(), 8);
    go.raise();
    for mut client in asked {
        client.read().expect(201);
    }
    assert_eq!(origin.seen().len(), 12);
}

#[test]
fn f7_questions_count_against_the_callers_limit() {
    let origin = Origin::start();
    origin.on("/store/none.bin", Script::answer("404 Not Found", &[], ""));
    let gate = asking(&conf::http(origin.address())).start();
    gate.edit("max_ttl = \"1h\"", "max_ttl = \"1h\"\nper_minute = 3")
        .reload();
    for _ in 0..3 {
        ask(&gate, "none").expect(404);
    }
    ask(&gate, "none").expect(429);
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn f7_a_catalogue_needs_no_origin() {
    let (origin, gate) = start();
    ask(&gate, "01F9").expect(201);
    ask(&gate, "01ZZ").expect(404);
    origin.untouched();
}
