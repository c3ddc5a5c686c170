//! Real clients on a link that works once: a browser that shows and saves, download programs, players, programs that look
//! before a person does. Screenshots go to `target/screenshots/`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::support::origin::pattern;
use crate::support::program::{Running, run, sample_media};
use crate::support::{Gate, Origin, Response, Token, conf, wait};

const PATIENCE: Duration = Duration::from_secs(60);

fn once(id: &str) -> Token {
    Token::whole().claim("uses", 1).claim("jti", id)
}

fn gate(single_use: &str) -> Gate {
    Gate::start(conf::folder(&sample_media()) + &conf::route_with("files", "/", single_use))
}

/// A file that is too large to be on its way at once.
fn big() -> (TempDir, Vec<u8>, Gate) {
    let folder = TempDir::new().unwrap();
    let content = pattern(24 << 20);
    fs::write(folder.path().join("big.bin"), &content).unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    (folder, content, gate)
}

fn url(gate: &Gate, target: &str) -> String {
    format!("http://{}{target}", gate.address())
}

fn visit(gate: &Gate, method: &str, target: &str, agent: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("User-Agent", agent)];
    headers.extend_from_slice(more);
    let mut client = gate.connect().allow("set-cookie");
    client.exchange(method, target, &headers)
}

/// What a program says that has to succeed.
fn said(program: &str, arguments: &[&str]) -> String {
    let done = run(program, arguments, PATIENCE);
    assert!(done.status.success(), "{program}: {done:?}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Lines of the access log that are about this path.
fn lines(gate: &Gate, path: &str) -> Vec<Value> {
    let text = gate.access_text();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["path"] == path).collect()
}

/// Waits until the viewer has drawn a page of paper with something on it.
fn wait_for_paper(browser: &Browser, name: &str) {
    let folder = TempDir::new().unwrap();
    let (file, raw) = (folder.path().join("a.png"), folder.path().join("a.gray"));
    let options = [
        "-v",
        "error",
        "-y",
        "-i",
        file.to_str().unwrap(),
        "-pix_fmt",
        "gray",
        "-f",
    ];
    let mut all = options.to_vec();
    all.extend(["rawvideo", raw.to_str().unwrap()]);
    wait::until_within(PATIENCE, "the viewer has drawn it", || {
        fs::write(&file, browser.screenshot(name)).unwrap();
        said("ffmpeg", &all);
        let shades = fs::read(&raw).unwrap();
        let white = shades.iter().filter(|shade| **shade >= 250).count();
        let between = shades.iter().filter(|shade| (80..250).contains(*shade)).count();
        // The viewer itself is dark.
        (white * 10 > shades.len() && between * 200 > shades.len()).then_some(())
    });
}

#[test]
fn the_browser_shows_a_pdf_by_a_link_that_works_once() {
    let gate = gate("");
    let browser = Browser::start();
    let link = once("pdf").at("/report.pdf");
    browser.open(&url(&gate, &link));
    wait_for_paper(&browser, "once-pdf");
    let asked = lines(&gate, "/report.pdf");
    assert!(
        !asked.is_empty() && asked.iter().all(|line| line["code"] == "ok"),
        "{asked:?}"
    );
    // A person reloads.
    browser.open("about:blank");
    browser.open(&url(&gate, &link));
    wait_for_paper(&browser, "once-pdf-again");
    visit(&gate, "GET", &link, "somebody else", &[]).refused(410, "token_spent");
}

#[test]
fn the_browser_saves_a_download_whole_by_a_link_that_works_once() {
    let gate = gate("");
    let browser = Browser::start();
    let link = once("save")
        .claim("filename", "Report 2026.pdf")
        .at("/report.pdf");
    browser.open("about:blank");
    browser.run(&format!("location.href = {}", json!(url(&gate, &link))));
    let expected = fs::read(sample_media().join("report.pdf")).unwrap();
    let file = browser.downloads.path().join("Report 2026.pdf");
    wait::until_within(PATIENCE, "the file is saved whole", || {
        fs::read(&file).ok().filter(|bytes| *bytes == expected).map(drop)
    });
    visit(&gate, "GET", &link, "somebody else", &[]).refused(410, "token_spent");
}

#[test]
fn aria2c_fetches_a_file_over_sixteen_connections_by_a_link_that_works_once() {
    let (_folder, content, gate) = big();
    let out = TempDir::new().unwrap();
    let link = once("aria").at("/big.bin");
    let target = url(&gate, &link);
    // Slow enough that the first connection has not the whole file before the others are there.
    let options = "-x16 -s16 -k1M --max-overall-download-limit=12M --no-conf --file-allocation=none --summary-interval=0 -o out.bin";
    let mut all: Vec<&str> = options.split(' ').collect();
    all.extend(["-d", out.path().to_str().unwrap(), &target]);
    said("aria2c", &all);
    assert!(fs::read(out.path().join("out.bin")).unwrap() == content);
    let parts = wait::until("lines of eight ranges", || {
        let parts = lines(&gate, "/big.bin");
        let ranges = parts.iter().filter(|line| line["status"] == 206).count();
        (ranges >= 8).then_some(parts)
    });
    assert!(
        parts.iter().all(|line| line["code"] != "token_spent"),
        "{parts:?}"
    );
    visit(&gate, "GET", &link, "somebody else", &[]).refused(410, "token_spent");
}

#[test]
fn curl_resumes_after_a_cut_and_after_the_token_has_expired() {
    let (_folder, content, gate) = big();
    let out = TempDir::new().unwrap();
    let file = out.path().join("big.bin");
    let link = once("curl").at("/big.bin");
    let target = url(&gate, &link);
    let mut command = Command::new("curl");
    command
        .args(["-fsS", "--noproxy", "*", "--limit-rate", "2M", "-o"])
        .arg(&file)
        .arg(&target);
    let running = Running::start(command);
    wait::until_true("a part is there", || {
        fs::metadata(&file).is_ok_and(|metadata| metadata.len() > 1 << 20)
    });
    drop(running);
    let had = fs::metadata(&file).unwrap().len();
    assert!(had < content.len() as u64, "it was cut");
    gate.advance(400);
    said(
        "curl",
        &["-fsS", "-C", "-", "-o", file.to_str().unwrap(), &target],
    );
    assert!(fs::read(&file).unwrap() == content);
    let rest = wait::until("the second line", || {
        lines(&gate, "/big.bin")
            .into_iter()
            .find(|line| line["status"] == 206)
    });
    assert_eq!(rest["bytes"], content.len() as u64 - had);
    // Where nothing was begun, an expired link is one.
    let late = url(&gate, &once("late").at("/big.bin"));
    assert_eq!(
        said("curl", &["-sS", "-o", "/dev/null", "-w", "%{http_code}", &late]),
        "401"
    );
}

#[test]
fn a_program_that_first_looks_at_two_bytes_has_the_whole_file_then() {
    let (_folder, content, gate) = big();
    let link = once("probe").at("/big.bin");
    let probe = visit(&gate, "GET", &link, "player", &[("Range", "bytes=0-1")]).expect(206);
    assert_eq!(probe.body, content[..2]);
    let file = TempDir::new().unwrap();
    let file = file.path().join("a");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    said(
        "curl",
        &[
            "-fsS",
            "-A",
            "player",
            "-o",
            file.to_str().unwrap(),
            &url(&gate, &link),
        ],
    );
    assert!(fs::read(&file).unwrap() == content);
    visit(&gate, "GET", &link, "other", &[("Range", "bytes=0-1")]).refused(410, "token_spent");
}

#[test]
fn to_ask_for_the_headers_first_uses_nothing() {
    let (_folder, content, gate) = big();
    let link = url(&gate, &once("head").at("/big.bin"));
    let size = content.len().to_string();
    for agent in ["one", "two"] {
        let format = "%{http_code} %header{content-length}";
        let said = said(
            "curl",
            &["-fsS", "-I", "-A", agent, "-o", "/dev/null", "-w", format, &link],
        );
        assert_eq!(said, format!("200 {size}"));
    }
    let format = "%{http_code} %{size_download}";
    let said = said(
        "curl",
        &["-fsS", "-A", "three", "-o", "/dev/null", "-w", format, &link],
    );
    assert_eq!(said, format!("200 {size}"));
}

#[test]
fn a_browser_that_looks_ahead_uses_nothing_and_the_person_has_the_file() {
    let gate = gate("");
    let site = Origin::start();
    let link = url(&gate, &once("ahead").at("/picture.jpg"));
    let page = format!("<link rel=prefetch href=\"{link}\"><a id=a href=\"{link}\">the picture</a>");
    site.file_with("/page", page, &[("Content-Type", "text/html")]);
    let browser = Browser::start();
    browser.open(&format!("http://{}/page", site.address()));
    wait::until_within(PATIENCE, "the browser has looked ahead", || {
        lines(&gate, "/picture.jpg")
            .iter()
            .any(|line| line["status"] == 425)
            .then_some(())
    });
    browser.run("document.getElementById('a').click()");
    wait::until_within(PATIENCE, "the picture is shown", || {
        let width = browser.run("return document.images[0] ? document.images[0].naturalWidth : 0");
        (width == 1280).then_some(())
    });
    visit(&gate, "GET", &once("ahead").at("/picture.jpg"), "other", &[]).refused(410, "token_spent");
}

#[test]
fn a_mail_scanner_uses_nothing_and_the_person_presses_the_button() {
    let gate = gate("single_use = { interstitial = true }");
    let link = once("mail").at("/picture.jpg");
    for agent in ["scanner/1", "Mozilla/5.0 (a scanner that hides)", "scanner/2"] {
        visit(&gate, "HEAD", &link, agent, &[]).expect(200);
        let page = visit(&gate, "GET", &link, agent, &[]).expect(200);
        assert!(page.text().contains("<form method=\"post\">"), "{page:?}");
    }
    let browser = Browser::start();
    browser.open(&url(&gate, &link));
    assert_eq!(
        browser.run("return document.querySelector('h1').innerText"),
        "Your file is ready"
    );
    assert!(browser.screenshot("once-button").len() > 3_000);
    browser.run("document.querySelector('button').click()");
    wait::until_within(PATIENCE, "the picture is shown", || {
        let width = browser.run("return document.images[0] ? document.images[0].naturalWidth : 0");
        (width == 1280).then_some(())
    });
    browser.screenshot("once-button-pressed");
    visit(&gate, "GET", &link, "scanner/1", &[]).refused(410, "token_spent");
    // The person comes back to the link.
    browser.open("about:blank");
    browser.open(&url(&gate, &link));
    let width = browser.run("return document.images[0] ? document.images[0].naturalWidth : 0");
    assert_eq!(width, 1280);
}

#[test]
fn the_browser_shows_the_page_of_a_link_that_was_used() {
    let gate = gate("");
    let link = once("second").at("/report.pdf");
    visit(&gate, "GET", &link, "the first", &[]).expect(200);
    let browser = Browser::start();
    browser.open(&url(&gate, &link));
    let heading = browser.run("return document.querySelector('h1').innerText");
    assert_eq!(heading, "This link has been used");
    let visible = browser.run("return document.body.innerText");
    assert!(!visible.as_str().unwrap().contains("report.pdf"), "{visible}");
    assert!(browser.screenshot("once-used").len() > 3_000);
}

#[test]
fn a_player_reads_as_slowly_as_it_plays() {
    let gate = gate("");
    let link = url(&gate, &once("player").at("/clip.mp4"));
    let arguments = ["-v", "error", "-readrate", "4", "-i", &link, "-f", "null", "-"];
    let done = run("ffmpeg", &arguments, PATIENCE);
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let asked = lines(&gate, "/clip.mp4");
    assert!(
        asked.iter().all(|line| line["code"] != "token_spent"),
        "{asked:?}"
    );
}

#[test]
fn a_player_that_was_paused_goes_on_within_its_session() {
    let (_folder, content, gate) = big();
    let link = once("paused").at("/big.bin");
    let mut client = gate.connect().allow("set-cookie");
    client.request("GET", &link, &[("User-Agent", "player")]);
    client.read_only_head().expect(200);
    let had = client.read_bytes(1 << 20);
    assert!(had == content[..had.len()]);
    // The person is away for longer than connections may idle and tokens live.
    gate.advance(590);
    let more = client.read_bytes(1 << 20);
    assert!(more == content[had.len()..had.len() + more.len()]);
    drop(client);
    let from = had.len() + more.len();
    // And again, with the connection gone.
    gate.advance(590);
    let range = format!("bytes={from}-");
    let rest = visit(&gate, "GET", &link, "player", &[("Range", &range)]).expect(206);
    assert!(rest.body == content[from..]);
}
