//! A folder as origin: ranges, conditionals, types, and that nothing outside of it or special in it is ever opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::{End, Gate, Response, Setup, Token, conf, program, wait};

struct Folder {
    dir: TempDir,
    gate: Gate,
}

impl Folder {
    fn start(fill: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        fill(dir.path());
        let gate = Gate::start(conf::folder(dir.path()) + &conf::route());
        Self { dir, gate }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.gate.get(&Token::whole().at(path), headers)
    }
}

fn simple() -> (Folder, Vec<u8>) {
    let content = pattern(10_000);
    let folder = Folder::start(|root| {
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("file.bin"), &content).unwrap();
        fs::write(root.join("sub/ä b.txt"), "umlaut").unwrap();
        fs::write(root.join("empty"), "").unwrap();
    });
    (folder, content)
}

#[test]
fn a_file_comes_whole_with_validators() {
    let (folder, content) = simple();
    let answer = folder.get("/file.bin", &[]).expect(200);
    assert_eq!(answer.body, content);
    assert_eq!(answer.end, End::Complete);
    assert_eq!(answer.header("content-length"), Some("10000"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    let etag = answer.header("etag").expect("etag");
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
        "a strong validator: {etag}"
    );
    assert!(
        answer
            .header("last-modified")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
    assert_eq!(
        folder.get("/sub/%C3%A4%20b.txt", &[]).expect(200).text(),
        "umlaut"
    );
    let empty = folder.get("/empty", &[]).expect(200);
    assert_eq!((empty.body.len(), empty.header("content-length")), (0, Some("0")));
}

#[test]
fn ranges_are_exact() {
    let (folder, content) = simple();
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-9999", 0, 9999),
        ("bytes=0-99999", 0, 9999),
        ("bytes=9999-", 9999, 9999),
        ("bytes=-1", 9999, 9999),
        ("bytes=-20000", 0, 9999),
        ("bytes=5000-5001", 5000, 5001),
    ] {
        let answer = folder.get("/file.bin", &[("Range", range)]).expect(206);
        assert_eq!(answer.body, &content[from..=to], "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {from}-{to}/10000").as_str()),
            "{range}"
        );
        assert_eq!(
            answer.header("content-length"),
            Some((to - from + 1).to_string().as_str()),
            "{range}"
        );
    }
    for range in ["bytes=10000-", "bytes=-0", "bytes=20000-30000"] {
        let answer = folder.get("/file.bin", &[("Range", range)]).refused(416, "range");
        assert_eq!(answer.header("content-range"), Some("bytes */10000"), "{range}");
    }
    folder
        .get("/empty", &[("Range", "bytes=0-")])
        .refused(416, "range");
}

#[test]
fn several_ranges_come_as_parts_or_as_the_whole() {
    let (folder, content) = simple();
    let answer = folder.get("/file.bin", &[("Range", "bytes=0-9,100-109,-10")]);
    assert_eq!(answer.end, End::Complete);
    if answer.status == 200 {
        assert_eq!(answer.body, content);
        return;
    }
    assert_eq!(answer.status, 206, "{answer:?}");
    let kind = answer.header("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect(kind)
        .trim_matches('"');
    assert_eq!(answer.header("content-range"), None);
    let mut rest = &answer.body[..];
    for (from, to) in [(0, 9), (100, 109), (9990, 9999)] {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8_lossy(&rest[..end]).to_lowercase();
        assert!(
            head.contains(&format!("--{boundary}\r\n").to_lowercase()),
            "{head}"
        );
        assert!(
            head.contains(&format!("content-range: bytes {from}-{to}/10000\r\n")),
            "{head}"
        );
        assert_eq!(&rest[end..end + 10], &content[from..=to]);
        rest = &rest[end + 10..];
    }
    assert_eq!(String::from_utf8_lossy(rest).trim(), format!("--{boundary}--"));
}

#[test]
fn conditions_are_judged_in_the_order_of_the_rfc() {
    let (folder, content) = simple();
    let first = folder.get("/file.bin", &[]).expect(200);
    let etag = first.header("etag").unwrap().to_owned();
    let date = first.header("last-modified").unwrap().to_owned();
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    let past = "Thu, 01 Jan 1998 00:00:00 GMT";
    let future = "Fri, 01 Jan 2100 00:00:00 GMT";
    for (headers, status) in [
        (&[("If-None-Match", etag.as_str())][..], 304),
        (&[("If-None-Match", weak.as_str())], 304),
        (&[("If-None-Match", list.as_str())], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", "\"x\"")], 200),
        (
            &[("If-None-Match", "\"x\""), ("If-Modified-Since", date.as_str())],
            200,
        ),
        (&[("If-Modified-Since", date.as_str())], 304),
        (&[("If-Modified-Since", future)], 304),
        (&[("If-Modified-Since", past)], 200),
        (&[("If-Modified-Since", "not a date")], 200),
        (&[("If-Match", etag.as_str())], 200),
        (&[("If-Match", "*")], 200),
        (&[("If-Match", "\"x\"")], 412),
        (&[("If-Match", weak.as_str())], 412),
        (&[("If-Unmodified-Since", past)], 412),
        (&[("If-Unmodified-Since", date.as_str())], 200),
        (&[("If-Match", etag.as_str()), ("If-Unmodified-Since", past)], 200),
        (&[("If-Match", "\"x\""), ("If-None-Match", "*")], 412),
        (&[("If-None-Match", etag.as_str()), ("Range", "bytes=0-1")], 304),
        (&[("If-Match", "\"x\""), ("Range", "bytes=0-1")], 412),
    ] {
        let answer = folder.get("/file.bin", headers);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        match status {
            200 => assert_eq!(answer.body, content, "{headers:?}"),
            304 => {
                assert!(answer.body.is_empty());
                assert_eq!(answer.header("etag"), Some(etag.as_str()), "{headers:?}");
            }
            _ => {}
        }
    }
    for (if_range, status) in [
        (etag.as_str(), 206),
        (weak.as_str(), 200),
        ("\"x\"", 200),
        (past, 200),
        (future, 200),
        ("junk", 200),
    ] {
        let answer = folder.get("/file.bin", &[("Range", "bytes=0-1"), ("If-Range", if_range)]);
        assert_eq!(answer.status, status, "If-Range: {if_range}: {answer:?}");
    }
}

#[test]
fn head_is_the_same_head_without_the_body() {
    let (folder, _) = simple();
    let mut client = folder.gate.connect();
    let target = Token::whole().at("/file.bin");
    let whole = client.get(&target, &[]).expect(200);
    let head = client.exchange("HEAD", &target, &[]).expect(200);
    for name in [
        "content-length",
        "content-type",
        "etag",
        "last-modified",
        "accept-ranges",
        "cache-control",
    ] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    let head = client
        .exchange("HEAD", &target, &[("Range", "bytes=0-1")])
        .expect(200);
    assert_eq!(head.header("content-range"), None, "Range is for GET only");
    client.get(&target, &[]).expect(200);
}

#[test]
fn types_follow_the_name() {
    let names = [
        ("a.mp4", "video/mp4"),
        ("a.m3u8", "application/vnd.apple.mpegurl"),
        ("a.ts", "video/mp2t"),
        ("a.m4s", "video/iso.segment"),
        ("a.mpd", "application/dash+xml"),
        ("a.pdf", "application/pdf"),
        ("a.jpg", "image/jpeg"),
        ("A.JPG", "image/jpeg"),
        ("a.vtt", "text/vtt"),
        ("a", "application/octet-stream"),
        ("a.unknown-to-all", "application/octet-stream"),
    ];
    let folder = Folder::start(|root| {
        names
            .iter()
            .for_each(|(name, _)| fs::write(root.join(name), "x").unwrap())
    });
    for (name, kind) in names {
        let answer = folder.get(&format!("/{name}"), &[]).expect(200);
        assert_eq!(crate::support::client::media_type(&answer), kind, "{name}");
    }
}

#[test]
fn an_etag_changes_with_the_file() {
    let (folder, _) = simple();
    let before = folder
        .get("/file.bin", &[])
        .expect(200)
        .header("etag")
        .unwrap()
        .to_owned();
    let path = folder.dir.path().join("file.bin");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(folder.dir.path().join("new"), &pattern(10_001)[1..]).unwrap();
    fs::File::options()
        .write(true)
        .open(folder.dir.path().join("new"))
        .unwrap()
        .set_modified(modified)
        .unwrap();
    fs::rename(folder.dir.path().join("new"), &path).unwrap();
    let after = folder
        .get("/file.bin", &[])
        .expect(200)
        .header("etag")
        .unwrap()
        .to_owned();
    assert_ne!(before, after, "the same length and time, but another file");
}

#[test]
fn p10_nothing_outside_of_the_root_is_opened() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), "outside").unwrap();
    let folder = Folder::start(|root| {
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("inside"), "inside").unwrap();
        symlink(outside.path().join("secret"), root.join("absolute")).unwrap();
        symlink("/etc/passwd", root.join("passwd")).unwrap();
        symlink(outside.path(), root.join("folder")).unwrap();
        symlink("../../../../../../../../etc/passwd", root.join("sub/up")).unwrap();
        symlink("..", root.join("sub/parent")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
    });
    for path in [
        "/absolute",
        "/passwd",
        "/folder/secret",
        "/sub/up",
        "/sub/parent/../x",
        "/loop",
        "/magic",
        "/sub/parent/parent/inside",
    ] {
        let answer = folder.get(path, &[]);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    folder.get("/inside", &[]).expect(200);
}

#[test]
fn p10_special_files_and_folders_are_404_and_nothing_hangs() {
    let folder = Folder::start(|root| {
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/index.html"), "index").unwrap();
        let fifo = root.join("fifo");
        assert!(
            program::run("mkfifo", &[fifo.to_str().unwrap()], wait::SOON)
                .status
                .success()
        );
        std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        symlink("/dev/zero", root.join("zero")).unwrap();
        symlink("/dev/stdin", root.join("stdin")).unwrap();
    });
    for path in [
        "/fifo",
        "/socket",
        "/zero",
        "/stdin",
        "/sub",
        "/sub/",
        "/",
        "/absent",
        "/sub/absent",
        "/sub/index.html/",
        "/sub/index.html/x",
    ] {
        let answer = folder.get(path, &[]);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.text().contains("index.html"), "no listing: {answer:?}");
        let mut client = folder.gate.connect();
        assert_eq!(
            client.exchange("HEAD", &Token::whole().at(path), &[]).status,
            404,
            "{path}"
        );
    }
    folder.get("/sub/index.html", &[]).expect(200);
}

#[test]
fn p10_names_that_other_systems_read_otherwise_are_just_names() {
    let folder = Folder::start(|root| {
        fs::write(root.join("file"), "file").unwrap();
        fs::write(root.join("file."), "dot").unwrap();
        fs::write(root.join("file "), "space").unwrap();
        fs::write(root.join("CON"), "con").unwrap();
        fs::write(root.join("a:b"), "colon").unwrap();
        fs::write(root.join("..."), "dots").unwrap();
    });
    for (path, text) in [
        ("/file.", "dot"),
        ("/file%20", "space"),
        ("/CON", "con"),
        ("/a:b", "colon"),
        ("/...", "dots"),
    ] {
        assert_eq!(folder.get(path, &[]).expect(200).text(), text, "{path}");
    }
    for path in [
        "/C:/file",
        "/C:",
        "/file::$DATA",
        "/FILE",
        "/file;x",
        "/%5cfile",
        "/..%5cfile",
        "/file%00",
        "/file%00.jpg",
    ] {
        let answer = folder.get(path, &[]);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    let long = format!("/{}", "x".repeat(300));
    assert_eq!(
        folder.get(&long, &[]).status,
        404,
        "a name that no file system takes"
    );
    let deep = "/x".repeat(3000);
    assert_eq!(
        folder.get(&deep, &[]).status,
        404,
        "a path that no file system takes"
    );
}

#[test]
fn a_file_that_may_not_be_read_is_not_an_internal_error() {
    let folder = Folder::start(|root| {
        fs::write(root.join("locked"), "x").unwrap();
        fs::set_permissions(
            root.join("locked"),
            std::os::unix::fs::PermissionsExt::from_mode(0o000),
        )
        .unwrap();
    });
    let answer = folder.get("/locked", &[]);
    let is_root = program::run("id", &["-u"], wait::SOON).stdout == b"0\n";
    assert!(
        [404, 502].contains(&answer.status) || (is_root && answer.status == 200),
        "{answer:?}"
    );
}

#[test]
fn a_file_that_shrinks_under_a_download_cuts_it() {
    let size = 64 << 20;
    let folder = Folder::start(|root| fs::write(root.join("big"), pattern(size)).unwrap());
    let mut client = folder.gate.connect();
    client.request("GET", &Token::whole().at("/big"), &[]);
    assert_eq!(client.read_only_head().status, 200);
    assert_eq!(client.read_bytes(1000).len(), 1000);
    fs::File::options()
        .write(true)
        .open(folder.dir.path().join("big"))
        .unwrap()
        .set_len(2000)
        .unwrap();
    let (rest, end) = client.read_to_end();
    assert!(
        rest.len() + 1000 < size,
        "{} bytes came of a file that had shrunk",
        rest.len() + 1000
    );
    assert!(matches!(end, End::Cut | End::Reset), "{end:?}");
    let line = &folder.gate.access(1)[0];
    assert_eq!(line["end"], "cut_by_origin", "{line}");
}

#[test]
fn a_large_file_comes_through_byte_for_byte() {
    let content = pattern(20 << 20);
    let folder = Folder::start(|root| fs::write(root.join("big"), &content).unwrap());
    let answer = folder.get("/big", &[]).expect(200);
    assert!(answer.body == content, "{} bytes", answer.body.len());
    let answer = folder
        .get("/big", &[("Range", "bytes=10000000-10999999")])
        .expect(206);
    assert!(answer.body == content[10_000_000..11_000_000]);
}

#[test]
fn a_query_does_not_matter_to_a_file() {
    let (folder, content) = simple();
    assert_eq!(
        folder.get("/file.bin?v=3&download", &[]).expect(200).body,
        content
    );
}

#[test]
fn uploads_into_a_folder_are_405() {
    let dir = TempDir::new().unwrap();
    let more = "methods = [\"GET\", \"PUT\", \"DELETE\"]";
    let toml = conf::folder(dir.path()) + &conf::route_with("files", "/", more);
    // Either the configuration is refused, or the request is: nothing is ever written.
    let gate = match Setup::new(toml).try_start() {
        Ok(gate) => gate,
        Err(error) => return assert!(error.contains("methods"), "{error}"),
    };
    let token = Token::whole()
        .claim("methods", serde_json::json!(["PUT", "DELETE"]))
        .at("/new");
    let answer = gate.exchange("PUT", &token, &[("Content-Length", "0")]);
    assert!(answer.status >= 400, "{answer:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
