//! A real nginx as origin, started by the test.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::program::{Running, free_port, nginx};
use crate::support::{End, Gate, Response, Token, conf, wait};

struct Nginx {
    // Dropped first.
    gate: Gate,
    _running: Running,
    dir: TempDir,
}

fn start() -> Nginx {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("clip.mp4"), pattern(500_000)).unwrap();
    fs::write(root.join("text.txt"), "hello from nginx\n".repeat(1000)).unwrap();
    fs::write(root.join("a b;c#d?e%f+g.txt"), "odd name").unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let own = dir.path().display();
    let http = format!(
        "types {{ video/mp4 mp4; text/plain txt; }}\n\
         access_log {own}/access.log; gzip on; gzip_min_length 100; gzip_types text/plain; server_tokens on;\n\
         server {{ listen {address}; root {own}/root; location /moved {{ return 302 /clip.mp4; }}\n\
           location /denied {{ return 403; }} }}"
    );
    let running = nginx(dir.path(), &http, &[address]);
    Nginx {
        gate: Gate::start(conf::http(address) + &conf::route()),
        _running: running,
        dir,
    }
}

impl Nginx {
    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.gate.get(&Token::whole().at(path), headers)
    }
}

#[test]
fn nginx_files_ranges_conditions_and_errors_come_through() {
    let nginx = start();
    let content = pattern(500_000);
    let whole = nginx.get("/clip.mp4", &[]).expect(200);
    assert!(whole.body == content && whole.end == End::Complete);
    assert_eq!(whole.header("content-type"), Some("video/mp4"));
    let etag = whole.header("etag").unwrap().to_owned();

    let part = nginx
        .get("/clip.mp4", &[("Range", "bytes=1000-1999")])
        .expect(206);
    assert_eq!(part.body, &content[1000..2000]);
    assert_eq!(part.header("content-range"), Some("bytes 1000-1999/500000"));
    assert_eq!(
        nginx
            .get("/clip.mp4", &[("Range", "bytes=-100")])
            .expect(206)
            .body,
        &content[499_900..]
    );
    assert_eq!(
        nginx
            .get("/clip.mp4", &[("Range", "bytes=0-1"), ("If-Range", &etag)])
            .expect(206)
            .body,
        &content[..2]
    );
    assert!(
        nginx
            .get("/clip.mp4", &[("Range", "bytes=0-1"), ("If-Range", "\"x\"")])
            .expect(200)
            .body
            == content
    );
    let beyond = nginx
        .get("/clip.mp4", &[("Range", "bytes=500000-")])
        .refused(416, "range");
    assert_eq!(beyond.header("content-range"), Some("bytes */500000"));

    nginx.get("/clip.mp4", &[("If-None-Match", &etag)]).expect(304);
    nginx.get("/clip.mp4", &[("If-Match", "\"x\"")]).expect(412);
    nginx.get("/absent", &[]).refused(404, "not_found");
    nginx.get("/denied", &[]).refused(502, "origin_invalid");
    let moved = nginx.get("/moved", &[]).expect(302);
    assert_eq!(moved.header("location"), Some("/clip.mp4"));
    let folder = nginx.get("/folder", &[]);
    assert!([301, 502].contains(&folder.status), "{folder:?}");
    if folder.status == 301 {
        assert_eq!(
            folder.header("location"),
            Some("/folder/"),
            "the origin's host stays behind"
        );
    }
    for answer in [&whole, &moved, &folder] {
        assert!(
            !format!("{:?}", answer.headers).to_lowercase().contains("nginx"),
            "{answer:?}"
        );
    }
}

#[test]
fn nginx_gets_names_as_they_were_judged_and_no_token() {
    let nginx = start();
    let answer = nginx.get("/a%20b;c%23d%3Fe%25f+g.txt", &[]).expect(200);
    assert_eq!(answer.text(), "odd name");
    let log = wait::until("nginx logs the request", || {
        fs::read_to_string(nginx.dir.path().join("access.log"))
            .ok()
            .filter(|log| log.contains("\n"))
    });
    assert!(!log.contains("eyJ") && !log.contains("?t="), "{log}");
}

#[test]
fn p11_names_arrive_as_they_were_judged_however_they_were_written() {
    let nginx = start();
    let root = nginx.dir.path().join("root/names");
    fs::create_dir(&root).unwrap();
    // The name on disk, and ways in which clients write it.
    for (name, written) in [
        ("aa", &["aa", "a%61", "%61%61"][..]),
        ("plus+plus", &["plus+plus", "plus%2Bplus", "plus%2bplus"]),
        ("lower", &["%6cower", "%6Cower", "lower"]),
        ("!*'()", &["!*'()", "%21%2A%27%28%29", "!%2a'()"]),
        ("a b", &["a%20b"]),
        ("a#b?c", &["a%23b%3Fc", "a%23b%3fc"]),
        ("100%", &["100%25"]),
        ("café-😀", &["caf%C3%A9-%F0%9F%98%80", "caf%c3%a9-%f0%9f%98%80"]),
        ("semi;colon=1,2", &["semi;colon=1,2", "semi%3Bcolon%3D1%2C2"]),
        (
            "~tilde@at:colon$&",
            &["~tilde@at:colon$&", "%7Etilde%40at%3Acolon%24%26"],
        ),
    ] {
        fs::write(root.join(name), name).unwrap();
        for written in written {
            let answer = nginx.get(&format!("/names/{written}"), &[]).expect(200);
            assert_eq!(answer.text(), name, "{written}");
        }
    }
    nginx.get("//names/aa", &[]).refused(400, "bad_path");
}

#[test]
fn nginx_compression_comes_through_where_the_client_asked() {
    let nginx = start();
    let plain = nginx.get("/text.txt", &[]).expect(200);
    assert_eq!(
        (plain.body.len(), plain.header("content-encoding")),
        (17_000, None)
    );
    let packed = nginx.get("/text.txt", &[("Accept-Encoding", "gzip")]).expect(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(
        packed.body.len() < 5000 && packed.body.starts_with(&[0x1f, 0x8b]),
        "{packed:?}"
    );
    assert_eq!(packed.end, End::Complete);
}

#[test]
fn nginx_serves_a_big_file_whole() {
    let nginx = start();
    let content = pattern(100 << 20);
    fs::write(nginx.dir.path().join("root/big.bin"), &content).unwrap();
    let answer = nginx.get("/big.bin", &[]).expect(200);
    assert!(answer.body == content, "{} bytes", answer.body.len());
}
