//! Real programs as clients: curl, aria2c, ffprobe. One that is missing fails the test.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::program::{run, run_in, sample_media};
use crate::support::{Gate, NOW, Setup, Token, conf};

const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> Gate {
    Gate::start(conf::folder(&sample_media()) + &conf::route())
}

fn url(gate: &Gate, target: &str) -> String {
    format!("http://{}{target}", gate.address())
}

fn big() -> (TempDir, Vec<u8>, Gate) {
    let folder = TempDir::new().unwrap();
    let content = pattern(24 << 20);
    fs::write(folder.path().join("big.bin"), &content).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    (folder, content, gate)
}

#[test]
fn curl_saves_the_whole_file() {
    let gate = start();
    let out = TempDir::new().unwrap();
    let file = out.path().join("report.pdf");
    let target = url(&gate, &Token::whole().at("/report.pdf"));
    let done = run("curl", &["-fsS", "-o", file.to_str().unwrap(), &target], PATIENCE);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(
        fs::read(file).unwrap(),
        fs::read(sample_media().join("report.pdf")).unwrap()
    );
}

#[test]
fn curl_resumes_a_download() {
    let (_folder, content, gate) = big();
    let out = TempDir::new().unwrap();
    let file = out.path().join("big.bin");
    fs::write(&file, &content[..5_000_000]).unwrap();
    let target = url(&gate, &Token::whole().at("/big.bin"));
    let done = run(
        "curl",
        &["-fsS", "-C", "-", "-o", file.to_str().unwrap(), &target],
        PATIENCE,
    );
    assert!(done.status.success(), "{done:?}");
    assert!(fs::read(file).unwrap() == content);
    let line = &gate.access(1)[0];
    assert_eq!(
        (line["status"].as_u64(), line["bytes"].as_u64()),
        (Some(206), Some(content.len() as u64 - 5_000_000))
    );
}

#[test]
fn curl_saves_under_the_name_that_the_token_gives() {
    let gate = start();
    let out = TempDir::new().unwrap();
    let target = url(
        &gate,
        &Token::whole()
            .claim("filename", "Invoice 2026.pdf")
            .at("/report.pdf"),
    );
    let done = run_in(out.path(), "curl", &["-fsS", "-OJ", &target], PATIENCE);
    assert!(done.status.success(), "{done:?}");
    assert!(
        out.path().join("Invoice 2026.pdf").is_file(),
        "{:?}",
        fs::read_dir(out.path()).unwrap().collect::<Vec<_>>()
    );
}

#[test]
fn curl_is_told_about_an_expired_link() {
    let gate = start();
    let target = url(&gate, &Token::whole().expires(NOW - 60).at("/report.pdf"));
    let done = run("curl", &["-sS", "-w", "%{http_code}", &target], PATIENCE);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.ends_with("401") && text.contains("token_expired"), "{text}");
    let done = run("curl", &["-fsS", &target], PATIENCE);
    assert_eq!(done.status.code(), Some(22), "{done:?}");
}

#[test]
fn curl_sees_a_cut_body_as_an_error() {
    let origin = crate::support::Origin::start();
    origin.on(
        "/short",
        crate::support::Script::new()
            .head("200 OK", &[("Content-Length", "100")])
            .send("only this")
            .close(),
    );
    origin.on(
        "/chunked",
        crate::support::Script::new()
            .head("200 OK", &[("Transfer-Encoding", "chunked")])
            .send("5\r\nhello\r\n")
            .close(),
    );
    let gate = Gate::start(conf::http(origin.address()) + &conf::route());
    for path in ["/short", "/chunked"] {
        let done = run("curl", &["-sS", &url(&gate, &Token::whole().at(path))], PATIENCE);
        assert!(
            !done.status.success(),
            "{path}: curl took a cut body for a whole one: {done:?}"
        );
    }
}

#[test]
fn aria2c_fetches_one_file_over_eight_connections() {
    let (_folder, content, gate) = big();
    let out = TempDir::new().unwrap();
    let target = url(&gate, &Token::whole().at("/big.bin"));
    let folder = out.path().to_str().unwrap();
    let done = run(
        "aria2c",
        &[
            "-x8",
            "-s8",
            "-k1M",
            "--no-conf",
            "--file-allocation=none",
            "--summary-interval=0",
            "-d",
            folder,
            "-o",
            "out.bin",
            &target,
        ],
        PATIENCE,
    );
    assert!(done.status.success(), "{done:?}");
    assert!(fs::read(out.path().join("out.bin")).unwrap() == content);
    let parts = gate.access(2).iter().filter(|line| line["status"] == 206).count();
    assert!(parts >= 2, "several ranges: {}", gate.access_text());
}

fn probe(target: &str) -> Value {
    let done = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-of",
            "json",
            "-show_format",
            "-show_streams",
            "-count_packets",
            target,
        ],
        PATIENCE,
    );
    assert!(done.status.success(), "{done:?}");
    assert!(
        done.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn ffprobe_reads_an_mp4_by_its_query_token() {
    let gate = start();
    let found = probe(&url(&gate, &Token::opening(&["/clip.mp4"]).at("/clip.mp4")));
    let duration: f64 = found["format"]["duration"].as_str().unwrap().parse().unwrap();
    assert!((9.5..10.5).contains(&duration), "{duration}");
    let codecs: Vec<&str> = found["streams"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|stream| stream["codec_name"].as_str())
        .collect();
    assert!(codecs.contains(&"h264") && codecs.contains(&"aac"), "{codecs:?}");
}

#[test]
fn ffprobe_reads_hls_whose_every_request_carries_the_path_token() {
    let gate = start();
    let token = Token::opening(&["/hls/**"]);
    let found = probe(&url(&gate, &token.before("/hls/master.m3u8")));
    assert!(found["streams"].as_array().unwrap().len() >= 2, "{found}");
    let lines = gate.access(5);
    let paths: Vec<&str> = lines.iter().filter_map(|line| line["path"].as_str()).collect();
    for needed in [
        "/hls/master.m3u8",
        "/hls/low/index.m3u8",
        "/hls/high/index.m3u8",
        "/hls/low/init.mp4",
        "/hls/high/segment0.m4s",
    ] {
        assert!(paths.contains(&needed), "{needed} was not fetched: {paths:?}");
    }
    assert!(lines.iter().all(|line| line["code"] == "ok"), "{lines:?}");
}

#[test]
fn ffprobe_gets_nothing_of_hls_without_the_token() {
    let gate = start();
    for target in [
        "/hls/master.m3u8".to_owned(),
        Token::opening(&["/other/**"]).before("/hls/master.m3u8"),
    ] {
        let done = run("ffprobe", &["-v", "error", &url(&gate, &target)], PATIENCE);
        assert!(!done.status.success(), "{done:?}");
    }
}

#[test]
fn curl_reads_whole_answers_through_http_1_0_and_head() {
    let gate = Setup::new(conf::folder(&sample_media()) + &conf::route()).start();
    let target = url(&gate, &Token::whole().at("/picture.jpg"));
    let size = fs::metadata(sample_media().join("picture.jpg"))
        .unwrap()
        .len()
        .to_string();
    for arguments in [&["-0"][..], &["-I"], &["--http1.1"], &["--compressed"]] {
        let mut all = vec![
            "-fsS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code} %{size_download} %header{content-length}",
        ];
        all.extend_from_slice(arguments);
        all.push(&target);
        let done = run("curl", &all, PATIENCE);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success() && text.starts_with("200 "),
            "{arguments:?}: {done:?}"
        );
        let expected = if arguments == ["-I"] { "0" } else { &size };
        assert_eq!(text.split(' ').nth(1), Some(expected), "{arguments:?}: {text}");
    }
}
