//! Real programs over TLS and HTTP/2: curl, openssl, h2load, a browser, a scanner. One that is missing fails the test.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::client::HOST;
use crate::support::document::adapted;
use crate::support::origin::pattern;
use crate::support::program::{run, sample_media};
use crate::support::tls::Authority;
use crate::support::{Gate, Setup, Token, conf};

const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> (Authority, Gate) {
    let authority = Authority::new();
    let setup = Setup::new(conf::folder(&sample_media()) + &conf::route());
    let gate = authority.secure(setup).start();
    (authority, gate)
}

/// The listener of the document, on a port of ours, with certificates of ours.
#[test]
fn what_the_document_shows_of_certificates_serves_curl() {
    let authority = Authority::new();
    authority.put("fullchain", &[HOST]);
    let (chain, key) = (authority.chain("fullchain"), authority.key("fullchain"));
    let folder = "/etc/mediagate/media.example.com";
    let tables = adapted(
        "Alone, with certificates",
        "toml",
        &[
            ("0.0.0.0:443\", \"[::]:443", "127.0.0.1:0"),
            ("127.0.0.1:8082", "127.0.0.1:0"),
            (&format!("{folder}/fullchain.pem"), chain.to_str().unwrap()),
            (&format!("{folder}/privkey.pem"), key.to_str().unwrap()),
        ],
    );
    let setup = Setup::new(conf::folder(&sample_media()) + &conf::route());
    let gate = setup.tables(&tables).start();
    let done = curl(
        &authority,
        &gate,
        &Token::whole().at("/report.pdf"),
        &["-o", "/dev/null"],
    );
    assert_eq!(text(&done), "2 200 1\n", "{done:?}");
}

/// curl with the test authority, asking for the public host; its report on standard output.
fn curl(authority: &Authority, gate: &Gate, target: &str, more: &[&str]) -> Output {
    let port = gate.tls().port();
    let resolve = format!("{HOST}:{port}:127.0.0.1");
    let ca = authority.file();
    let url = format!("https://{HOST}:{port}{target}");
    let mut arguments = vec![
        "-fsS",
        "--resolve",
        &resolve,
        "--cacert",
        ca.to_str().unwrap(),
        "-w",
        "%{http_version} %{http_code} %{num_connects}\n",
    ];
    arguments.extend_from_slice(more);
    arguments.push(&url);
    run("curl", &arguments, PATIENCE)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn curl_speaks_each_version_of_tls_and_http() {
    let (authority, gate) = start();
    let out = TempDir::new().unwrap();
    let file = out.path().join("report.pdf");
    let file = file.to_str().unwrap();
    let target = Token::whole().at("/report.pdf");
    for (more, report) in [
        (&["--http2"][..], "2 200 1\n"),
        (&["--http1.1"], "1.1 200 1\n"),
        (&["--no-alpn"], "1.1 200 1\n"),
        (&["--tlsv1.2", "--tls-max", "1.2", "--http2"], "2 200 1\n"),
        (&["--tlsv1.3", "--http2"], "2 200 1\n"),
        (&["--http2", "-H", "Range: bytes=0-99"], "2 206 1\n"),
    ] {
        let mut all = more.to_vec();
        all.extend(["-o", file]);
        let done = curl(&authority, &gate, &target, &all);
        assert_eq!(text(&done), report, "{more:?}: {done:?}");
        let expected = fs::read(sample_media().join("report.pdf")).unwrap();
        let expected = if report.contains("206") {
            &expected[..100]
        } else {
            &expected[..]
        };
        assert!(fs::read(file).unwrap() == expected, "{more:?}");
    }
    // What is too old is refused.
    let old = [
        "--tlsv1.0",
        "--tls-max",
        "1.1",
        "--ciphers",
        "DEFAULT@SECLEVEL=0",
        "-o",
        file,
    ];
    let done = curl(&authority, &gate, &target, &old);
    assert_eq!(done.status.code(), Some(35), "{done:?}");
}

#[test]
fn curl_speaks_http2_in_clear_with_prior_knowledge_and_is_not_upgraded() {
    let (_authority, gate) = start();
    let target = format!("http://{}{}", gate.address(), Token::whole().at("/report.pdf"));
    for (how, version) in [("--http2-prior-knowledge", "2"), ("--http2", "1.1")] {
        let done = run(
            "curl",
            &["-fsS", how, "-o", "/dev/null", "-w", "%{http_version}", &target],
            PATIENCE,
        );
        assert_eq!(text(&done), version, "{done:?}");
    }
}

#[test]
fn curl_fetches_many_files_over_one_connection() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let content = pattern(1 << 20);
    for number in 0..30 {
        fs::write(folder.path().join(format!("{number}.bin")), &content).unwrap();
    }
    let setup = Setup::new(conf::folder(folder.path()) + &conf::route());
    let gate = authority.secure(setup).start();
    let out = TempDir::new().unwrap();
    let file = format!("{}/#1.bin", out.path().display());
    let target = format!("/[0-29].bin?t={}", Token::whole().text());
    let done = curl(&authority, &gate, &target, &["--http2", "-Z", "-o", &file]);
    assert!(done.status.success(), "{done:?}");
    for number in 0..30 {
        let got = fs::read(out.path().join(format!("{number}.bin"))).unwrap();
        assert!(got == content, "{number}");
    }
    let connects: u32 = text(&done)
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
        .sum();
    assert!(connects <= 3, "{connects} connections");
}

/// `openssl s_client`, which says nothing and ends with its input.
fn s_client(authority: &Authority, gate: &Gate, more: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &gate.tls().to_string(), "-CAfile"])
        .arg(authority.file())
        .args(more)
        .stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    // Asks for something, so that the tickets behind the handshake are read before the end.
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let _ = std::io::Write::write_all(child.stdin.as_mut().expect("stdin"), request.as_bytes());
    let mut input = child.stdin.take();
    if !more.contains(&"-ign_eof") {
        input = None;
    }
    let output = child.wait_with_output().expect("openssl");
    drop(input);
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn openssl_agrees_on_protocol_name_and_version() {
    let (authority, gate) = start();
    authority.put("other", &["other.example"]);
    for (more, wanted) in [
        (
            &["-servername", HOST, "-alpn", "h2,http/1.1"][..],
            &["ALPN protocol: h2", "Verification: OK"][..],
        ),
        (
            &["-servername", HOST, "-alpn", "http/1.1"],
            &["ALPN protocol: http/1.1"],
        ),
        (
            &["-servername", HOST, "-alpn", "spdy/3"],
            &["no application protocol"],
        ),
        (&["-noservername"], &["No ALPN negotiated", "Verification: OK"]),
        (
            &["-tls1_2", "-servername", HOST],
            &["TLSv1.2", "ECDHE-ECDSA-AES", "Secure Renegotiation IS supported"],
        ),
        (&["-tls1_3", "-servername", HOST], &["TLSv1.3", "TLS_AES"]),
        (
            &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            &["SSL alert number", "Cipher    : 0000"],
        ),
        (
            &["-verify_hostname", HOST, "-verify_return_error"],
            &["Verification: OK"],
        ),
        (
            &["-verify_hostname", "other.example", "-verify_return_error"],
            &["ostname mismatch"],
        ),
    ] {
        let said = s_client(&authority, &gate, more);
        for wanted in wanted {
            assert!(said.contains(wanted), "{more:?}: {wanted}: {said}");
        }
    }
}

#[test]
fn openssl_resumes_sessions_after_the_certificate_has_changed() {
    let (authority, gate) = start();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = authority.folder().join(format!("session{version}"));
        let session = session.to_str().unwrap();
        let first = s_client(
            &authority,
            &gate,
            &[version, "-servername", HOST, "-sess_out", session, "-ign_eof"],
        );
        assert!(first.contains("New, TLSv1"), "{first}");
        authority.write("main", &authority.leaf(&[HOST]));
        gate.reload_certificates();
        let second = s_client(
            &authority,
            &gate,
            &[version, "-servername", HOST, "-sess_in", session, "-ign_eof"],
        );
        assert!(second.contains("Reused, TLSv1"), "{version}: {second}");
        assert!(second.contains("HTTP/1.1 401"), "{version}: {second}");
        // No early data, whatever the ticket says.
        assert!(!second.contains("Early data was accepted"), "{second}");
    }
}

#[test]
fn h2load_is_served_without_a_failure() {
    let (_authority, gate) = start();
    let target = Token::whole().at("/report.pdf");
    for url in [
        format!("https://{}{target}", gate.tls()),
        format!("http://{}{target}", gate.address()),
    ] {
        let done = run("h2load", &["-n", "2000", "-c", "10", "-m", "50", &url], PATIENCE);
        let said = text(&done);
        assert!(
            said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"),
            "{url}: {said}"
        );
        assert!(said.contains("status codes: 2000 2xx"), "{url}: {said}");
    }
}

#[test]
fn the_scanner_of_mozilla_finds_the_intermediate_configuration() {
    let (authority, gate) = start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/sslyze");
    let target = format!("localhost:{}", gate.tls().port());
    let ca = authority.file();
    let done = run(script, &[ca.to_str().unwrap(), &target], Duration::from_secs(300));
    let said = text(&done) + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(
        said.contains("intermediate") && said.contains("OK - Compliant"),
        "{said}"
    );
}
