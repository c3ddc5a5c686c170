//! Real programs on both sides of a signature: a server that checks every one, AWS' own client, and curl.

use std::time::Duration;

use mediagate::clock::UnixTime;
use mediagate::origin::Reach;
use mediagate::sigv4::{EMPTY_PAYLOAD, Request, Signer};

use crate::support::client::HOST;
use crate::support::document::adapted;
use crate::support::origin::pattern;
use crate::support::program::{Binary, own_addresses, run};
use crate::support::s3::{self, KEY_ID, SECRET, Server};
use crate::support::{Client, End, Origin, Response, Setup, Token, conf};

/// A real server wants real time: the product's own program, and tokens that live as long as there are any.
fn setup(server: &Server, more: &str) -> Setup {
    s3::setup(&s3::origin(server.address, more))
}

fn token() -> Token {
    Token::whole().expires(4_102_444_800)
}

fn get(gate: &Binary, path: &str, headers: &[(&str, &str)]) -> Response {
    Client::connect(gate.gate).get(&token().at(path), headers)
}

#[test]
fn a_server_that_checks_signatures_gives_files_ranges_conditions_and_heads() {
    let server = Server::start();
    let content = pattern(7_654_321);
    server.put("videos/clip.mp4", &content);
    server.put("empty", "");
    let gate = Binary::start(setup(&server, ""));

    let whole = get(&gate, "/videos/clip.mp4", &[]).expect(200);
    assert!(whole.body == content && whole.end == End::Complete);
    for (range, from, to) in [
        ("bytes=0-0", 0, 0),
        ("bytes=1000000-1999999", 1_000_000, 1_999_999),
        ("bytes=7654320-", 7_654_320, 7_654_320),
        ("bytes=-5", 7_654_316, 7_654_320),
    ] {
        let part = get(&gate, "/videos/clip.mp4", &[("Range", range)]).expect(206);
        assert!(part.body == content[from..=to], "{range}");
        let said = format!("bytes {from}-{to}/7654321");
        assert_eq!(part.header("content-range"), Some(said.as_str()));
    }
    get(&gate, "/videos/clip.mp4", &[("Range", "bytes=7654321-")]).refused(416, "range");
    assert!(get(&gate, "/empty", &[]).expect(200).body.is_empty());

    let etag = whole.header("etag").expect("an ETag").to_owned();
    // This server knows no conditions; `If-Range` has to hold nevertheless.
    let resumed = [("Range", "bytes=0-1"), ("If-Range", etag.as_str())];
    assert_eq!(
        get(&gate, "/videos/clip.mp4", &resumed).expect(206).body,
        content[..2]
    );
    let changed = [("Range", "bytes=0-1"), ("If-Range", "\"x\"")];
    assert!(get(&gate, "/videos/clip.mp4", &changed).expect(200).body == content);

    let head = Client::connect(gate.gate).exchange("HEAD", &token().at("/videos/clip.mp4"), &[]);
    assert_eq!(head.expect(200).header("content-length"), Some("7654321"));
    get(&gate, "/absent", &[]).refused(404, "not_found");
}

#[test]
fn a_wrong_secret_opens_nothing() {
    let server = Server::start();
    server.put("f", "the content");
    let gate = Binary::start(setup(&server, "").file("s3-secret", "another-secret"));
    let answer = get(&gate, "/f", &[]).refused(502, "origin_invalid");
    assert!(!answer.text().contains("the content"));
    let said = gate.running.stderr.text() + &gate.running.stdout.text();
    assert!(said.contains("the secret key is wrong"), "{said}");
    assert!(
        !said.contains("another-secret") && !said.contains(KEY_ID),
        "{said}"
    );
    let stranger = Binary::start(setup(&server, "").file("s3-id", "AKIASTRANGER"));
    get(&stranger, "/f", &[]).refused(502, "origin_invalid");
}

/// Names below `localhost` lead nowhere on this machine, so the origin is given the address itself.
#[test]
fn a_bucket_in_the_host_name_is_found() {
    let server = Server::start();
    server.put("shared/a b.txt", "hello");
    let host = format!("{}.s3.localhost", s3::BUCKET);
    let bucket = s3::bucket(server.address, &host, Reach::default());
    let content = s3::ask(&bucket, "/a%20b.txt");
    assert_eq!(&content[..], b"hello");
}

#[test]
fn p11_boto3_s_objects_with_awkward_names_come_byte_for_byte() {
    let server = Server::start();
    let gate = Binary::start(setup(&server, ""));
    let done = run(
        s3::tool("boto3").to_str().unwrap(),
        &[
            s3::tool("boto3_names.py").to_str().unwrap(),
            &format!("http://{}", server.address),
            s3::BUCKET,
            KEY_ID,
            SECRET,
            &gate.gate.port().to_string(),
            HOST,
            &token().text(),
            "200",
        ],
        Duration::from_secs(300),
    );
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(said.lines().last(), Some("200"), "{done:?}");
}

/// curl's own signature, made again by ours from the bytes that it sent.
#[test]
fn curl_signs_as_we_do() {
    let origin = Origin::start();
    for path in ["/b/plain.txt", "/b/a%20b%2Bc.txt", "/b/x?versionId=a%2Fb&z=1"] {
        let hash = format!("x-amz-content-sha256: {EMPTY_PAYLOAD}");
        let url = format!("http://{}{path}", origin.address());
        let user = format!("{KEY_ID}:{SECRET}");
        let arguments = [
            "-fsS",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
            "--user",
            &user,
            "-H",
            &hash,
            &url,
        ];
        let done = run("curl", &arguments, Duration::from_secs(20));
        assert!(done.status.success(), "{done:?}");
        let seen = origin.last();
        s3::assert_signed(&seen, KEY_ID, SECRET);
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let signer = Signer::new(s3::credentials(), s3::REGION, "s3");
        let request = Request {
            method: "GET",
            host: seen.header("host").unwrap(),
            path,
            query,
            headers: &[],
        };
        let now = UnixTime::parse_compact(seen.header("x-amz-date").unwrap()).unwrap();
        let ours = signer.sign(&request, now).authorization;
        assert_eq!(seen.header("authorization"), Some(ours.as_str()));
    }
}

/// The examples' own table, as the document shows it.
#[test]
fn the_default_style_and_endpoint_are_those_of_aws() {
    let toml = "[origin.files.s3]\nbucket = \"media-files\"\nregion = \"eu-central-1\"\n\
                credentials = { access_key_id = { file = \"{dir}/s3-id\" }, secret_access_key = { file = \"{dir}/s3-secret\" } }\n";
    let setup = Setup::new(toml.to_owned() + &conf::route())
        .file("s3-id", KEY_ID)
        .file("s3-secret", SECRET);
    let path = setup.write();
    let done = run(
        env!("CARGO_BIN_EXE_mediagate"),
        &["check", "--config", path.to_str().unwrap()],
        Duration::from_secs(20),
    );
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        said.contains("bucket media-files at https://media-files.s3.eu-central-1.amazonaws.com"),
        "{done:?}"
    );
}

/// The table of the document, with the server and the bucket of the test.
#[test]
fn what_the_document_shows_of_s3_serves() {
    let server = Server::start();
    server.put("private/report.pdf", "the report");
    let endpoint = format!(
        "endpoint = \"http://{}\"\nstyle = \"path\"\nbucket = \"{}\"",
        server.address,
        s3::BUCKET
    );
    let table = adapted(
        "In front of S3",
        "toml",
        &[
            ("bucket = \"example-media\"", &endpoint),
            ("eu-central-1", s3::REGION),
        ],
    );
    let setup = Setup::new(table + &conf::route());
    let [gate, admin] = own_addresses();
    let id = format!("AWS_ACCESS_KEY_ID={KEY_ID}");
    let secret = format!("AWS_SECRET_ACCESS_KEY={SECRET}");
    let gate = Binary::start_by(setup, gate, admin, &["env", &id, &secret]);
    assert_eq!(get(&gate, "/report.pdf", &[]).expect(200).text(), "the report");
}
