//! A real browser, headless, by the WebDriver protocol: opens links, plays and seeks, saves under the right name, shows
//! the page of an expired link. Screenshots go to `target/screenshots/`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::adapter::Known;
use crate::support::program::{Running, run, sample_media};
use crate::support::tls::Authority;
use crate::support::{Client, Gate, NOW, Setup, Token, conf, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// Plays, seeks to second TARGET, waits until it plays on from there.
const PLAY: &str = "const video = document.querySelector('video'); video.muted = true;
         if (video.readyState < 1) await new Promise(go => video.addEventListener('loadedmetadata', go, { once: true }));
         await video.play();
         const seeked = new Promise(go => video.addEventListener('seeked', go, { once: true }));
         video.currentTime = TARGET; await seeked;
         const at = video.currentTime;
         await new Promise(go => { const look = () => video.currentTime > at + 0.2 ? go() : requestAnimationFrame(look); look(); });
         done([video.duration, at, video.videoWidth, video.error && video.error.message]);";

pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    pub(crate) downloads: TempDir,
    _profile: TempDir,
    _running: Running,
}

impl Browser {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(more: &[&str]) -> Self {
        let profile = TempDir::new().unwrap();
        let downloads = TempDir::new().unwrap();
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        let mut running = Running::start(command);
        let port: u16 = wait::until_within(PATIENCE, "chromedriver says its port", || {
            running.assert_running();
            let text = running.stdout.text();
            let rest = text.split("successfully on port ").nth(1)?;
            rest.split(|letter: char| !letter.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        });
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--window-size=1000,800",
            "--autoplay-policy=no-user-gesture-required",
        ];
        let all = arguments.iter().chain(more);
        let mut arguments: Vec<String> = all.map(|argument| (*argument).to_owned()).collect();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": 30_000, "pageLoad": 30_000 },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let mut browser = Self {
            driver,
            session: String::new(),
            downloads,
            _profile: profile,
            _running: running,
        };
        let created = browser.call("POST", "/session", &capabilities);
        browser.session = created["sessionId"].as_str().expect("a session").to_owned();
        let folder = browser.downloads.path().to_str().unwrap().to_owned();
        browser.cdp(
            "Browser.setDownloadBehavior",
            &json!({ "behavior": "allow", "downloadPath": folder }),
        );
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut client = Client::connect(self.driver).any_header().patient(PATIENCE);
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let length = body.len().to_string();
        let host = self.driver.to_string();
        client.request(
            method,
            path,
            &[
                ("Host", &host),
                ("Content-Type", "application/json"),
                ("Content-Length", &length),
            ],
        );
        client.send(&body);
        let answer = client.read();
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()["value"].clone()
    }

    pub(crate) fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    pub(crate) fn cdp(&self, name: &str, parameters: &Value) -> Value {
        self.command(
            "POST",
            "/goog/cdp/execute",
            &json!({ "cmd": name, "params": parameters }),
        )
    }

    pub(crate) fn open(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that hands its result to `done`.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().catch(error => done('failed: ' + error));"
        );
        self.command("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    pub(crate) fn screenshot(&self, name: &str) -> Vec<u8> {
        let picture = self.command("GET", "/screenshot", &Value::Null);
        let bytes = STANDARD.decode(picture.as_str().expect("a picture")).unwrap();
        let folder = screenshots();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.png")), &bytes).unwrap();
        bytes
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.command("DELETE", "", &Value::Null);
        }
    }
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder")
        .join("screenshots")
}

fn start() -> Gate {
    Gate::start(conf::folder(&sample_media()) + &conf::route())
}

fn url(gate: &Gate, target: &str) -> String {
    format!("http://{}{target}", gate.address())
}

#[test]
fn the_browser_opens_a_picture_by_its_link() {
    let gate = start();
    let browser = Browser::start();
    browser.open(&url(&gate, &Token::opening(&["/picture.jpg"]).at("/picture.jpg")));
    let width = browser.run("return document.images[0] && document.images[0].naturalWidth");
    assert_eq!(width, 1280);
    assert!(browser.screenshot("picture").len() > 10_000);
}

/// The sample clip many times over: too long to be fetched before anybody seeks.
fn long_clip(folder: &Path) {
    let clip = sample_media().join("clip.mp4");
    let long = folder.join("long.mp4");
    let arguments = [
        "-v",
        "error",
        "-stream_loop",
        "400",
        "-i",
        clip.to_str().unwrap(),
        "-c",
        "copy",
    ];
    let mut all = arguments.to_vec();
    all.extend_from_slice(&["-movflags", "+faststart", long.to_str().unwrap()]);
    let done = run("ffmpeg", &all, PATIENCE);
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn the_browser_plays_a_long_mp4_and_seeks_far_ahead() {
    let folder = TempDir::new().unwrap();
    long_clip(folder.path());
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let browser = Browser::start();
    browser.open(&url(&gate, &Token::opening(&["/long.mp4"]).at("/long.mp4")));
    let played = browser.run_async(&PLAY.replace("TARGET", "3600"));
    let list = played.as_array().unwrap_or_else(|| panic!("{played}"));
    assert!((4000.0..4020.0).contains(&list[0].as_f64().unwrap()), "{played}");
    assert!((3599.0..3601.0).contains(&list[1].as_f64().unwrap()), "{played}");
    assert_eq!((&list[2], &list[3]), (&json!(640), &Value::Null), "{played}");
    browser.screenshot("video-seeked");
    drop(browser);
    let size = fs::metadata(folder.path().join("long.mp4")).unwrap().len();
    let far = wait::until("a range far into the file", || {
        let log = gate.access_text();
        let lines: Vec<Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        lines.into_iter().find(|line| line["status"] == 206)
    });
    assert!(far["bytes"].as_u64().unwrap() < size, "{far}");
}

#[test]
fn the_browser_plays_the_sample_mp4_and_seeks() {
    let gate = start();
    let browser = Browser::start();
    browser.open(&url(&gate, &Token::opening(&["/clip.mp4"]).at("/clip.mp4")));
    let played = browser.run_async(&PLAY.replace("TARGET", "7"));
    let list = played.as_array().unwrap_or_else(|| panic!("{played}"));
    assert!((9.5..10.5).contains(&list[0].as_f64().unwrap()), "{played}");
    assert!((6.9..7.1).contains(&list[1].as_f64().unwrap()), "{played}");
    assert_eq!((&list[2], &list[3]), (&json!(640), &Value::Null), "{played}");
    browser.screenshot("video");
    // The whole clip fits into the browser's first fetch, so a part of it is asked for as a player does.
    let part = "const answer = await fetch(location.href, { headers: { Range: 'bytes=100-199' }, cache: 'no-store' }); \
                done([answer.status, (await answer.arrayBuffer()).byteLength]);";
    assert_eq!(browser.run_async(part), json!([206, 100]));
    assert!(
        gate.access(1).iter().all(|line| line["code"] == "ok"),
        "{}",
        gate.access_text()
    );
}

#[test]
fn the_browser_plays_and_seeks_over_https_and_http2() {
    let authority = Authority::new();
    let leaf = authority.put("main", &["localhost"]);
    let setup = Setup::new(conf::folder(&sample_media()) + &conf::route());
    let gate = authority.listen(setup).start();
    let trusted = format!(
        "--ignore-certificate-errors-spki-list={}",
        STANDARD.encode(leaf.spki)
    );
    let browser = Browser::start_with(&[&trusted]);
    let port = gate.tls().port();
    let url = |path: &str| format!("https://localhost:{port}{}", Token::opening(&[path]).at(path));
    browser.open(&url("/clip.mp4"));
    let played = browser.run_async(&PLAY.replace("TARGET", "7"));
    let list = played.as_array().unwrap_or_else(|| panic!("{played}"));
    assert!((6.9..7.1).contains(&list[1].as_f64().unwrap()), "{played}");
    assert_eq!((&list[2], &list[3]), (&json!(640), &Value::Null), "{played}");
    let protocol = "return [performance.getEntriesByType('navigation')[0].nextHopProtocol, isSecureContext]";
    assert_eq!(browser.run(protocol), json!(["h2", true]));
    // Many at a time over the one connection.
    let many = "const all = await Promise.all([...Array(40).keys()].map(async at => { \
                const answer = await fetch(location.href, { headers: { Range: `bytes=${at}-${at + 99}` }, cache: 'no-store' }); \
                return [answer.status, (await answer.arrayBuffer()).byteLength]; })); \
                done(all.every(([status, length]) => status === 206 && length === 100));";
    assert_eq!(browser.run_async(many), json!(true));
    // Chromium opens a second one at most, for requests without credentials.
    assert!(gate.metric("mediagate_connections", &[]) <= 2.0);
    browser.screenshot("video-https");
}

#[test]
fn the_browser_saves_a_download_under_its_own_name() {
    let setup = Setup::new(
        conf::folder(&sample_media()) + &conf::fynn_route() + &conf::route() + &conf::issuer(conf::RULE),
    )
    .file(
        "catalogue.toml",
        "[3]\nfile = \"/picture.jpg\"\nname = \"Bild – Übersicht.jpg\"\nfolder = \"product\"\n",
    );
    let gate = setup.start();
    let bearer = Token::caller("backend", "media:read").bearer();
    let issued = gate
        .ask(
            "POST",
            "/media/3/download-token",
            &[("Authorization", &bearer)],
            b"",
        )
        .expect(201)
        .json();
    let target = issued["url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://media.example.com")
        .unwrap()
        .to_owned();
    let browser = Browser::start();
    browser.open("about:blank");
    browser.run(&format!("location.href = {}", json!(url(&gate, &target))));
    let expected = fs::read(sample_media().join("picture.jpg")).unwrap();
    let file = browser.downloads.path().join("Bild – Übersicht.jpg");
    wait::until_within(PATIENCE, "the file is saved under its name", || {
        fs::read(&file).ok().filter(|bytes| *bytes == expected).map(drop)
    });
}

#[test]
fn the_browser_shows_the_page_of_an_expired_link() {
    let gate = start();
    let browser = Browser::start();
    for (name, target, heading) in [
        (
            "expired",
            Token::whole().expires(NOW - 60).at("/report.pdf"),
            "This link has expired",
        ),
        ("incomplete", "/report.pdf".to_owned(), "This link is incomplete"),
        (
            "denied",
            Token::opening(&["/other"]).at("/report.pdf"),
            "This link does not open this file",
        ),
    ] {
        browser.open(&url(&gate, &target));
        assert_eq!(
            browser.run("return document.querySelector('h1').innerText"),
            heading
        );
        assert_eq!(browser.run("return document.documentElement.lang"), "en");
        assert!(
            browser
                .run("return document.title")
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let visible = browser.run("return document.body.innerText");
        assert!(!visible.as_str().unwrap().contains("report.pdf"), "{visible}");
        assert_eq!(
            browser.run("return performance.getEntriesByType('resource').length"),
            0,
            "the page stands alone"
        );
        assert!(browser.screenshot(&format!("refusal-{name}")).len() > 3_000);
    }
}

#[test]
fn the_browser_sends_no_referrer_with_the_token_in_it() {
    let folder = TempDir::new().unwrap();
    let elsewhere = crate::support::Origin::start();
    let page = format!(
        "<a id=out href='http://{}/out'>out</a><img src='http://{}/pixel'>",
        elsewhere.address(),
        elsewhere.address()
    );
    fs::write(folder.path().join("page.html"), page).unwrap();
    let route = conf::route_with("files", "/", "active_content = \"allow\"");
    let gate = Gate::start(conf::folder(folder.path()) + &route);
    let browser = Browser::start();
    browser.open(&url(&gate, &Token::whole().at("/page.html")));
    browser.run("document.getElementById('out').click()");
    let seen = wait::until_within(PATIENCE, "both are asked", || {
        let seen = elsewhere.seen();
        ["/out", "/pixel"]
            .iter()
            .all(|path| seen.iter().any(|one| one.target == *path))
            .then_some(seen)
    });
    for one in seen {
        // What the other site's own page fetches (its icon) names that page.
        if one.target == "/out" || one.target == "/pixel" {
            assert_eq!(one.header("referer"), None, "{one:?}");
        }
        assert!(!format!("{one:?}").contains("eyJ"), "{one:?}");
    }
}

#[test]
fn the_browser_runs_no_script_of_a_delivered_page() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("page.html"),
        "<p id=p>before</p><script>document.getElementById('p').innerText='ran'</script>",
    )
    .unwrap();
    let gate = Gate::start(conf::folder(folder.path()) + &conf::route());
    let browser = Browser::start();
    browser.open(&url(&gate, &Token::whole().at("/page.html")));
    assert_eq!(
        browser.run("return document.getElementById('p').innerText"),
        "before"
    );
}

/// A landing before a page that says where it is.
fn portal(landing: &str) -> (TempDir, Gate) {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("en/invoices/download")).unwrap();
    fs::write(
        folder.path().join("en/invoices/download/42.html"),
        "<!doctype html><title>Invoices</title><h1>Invoice 42</h1>",
    )
    .unwrap();
    let gate = Gate::start(
        conf::folder(folder.path())
            + &conf::session_route("active_content = \"allow\"")
            + &conf::landing(landing),
    );
    (folder, gate)
}

fn login_link(gate: &Gate) -> String {
    let token = gate.running().remember(&Known {
        subject: "Anna <anna@example.com>",
        paths: &["/en/invoices/**"],
        life: 60,
        purposes: &["login"],
        address: None,
    });
    url(
        gate,
        &format!("/en/user/login?server=true&t={token}&redirectUrl=%2Fen%2Finvoices%2Fdownload%2F42.html"),
    )
}

const HEADING: &str = "return document.querySelector('h1').innerText";

#[test]
fn the_browser_signs_in_by_a_login_link_and_the_link_works_once() {
    let (_folder, gate) = portal("");
    let browser = Browser::start();
    let link = login_link(&gate);
    browser.open(&link);
    assert_eq!(browser.run(HEADING), "Invoice 42");
    let place = browser.run("return location.href + document.referrer");
    assert_eq!(place, url(&gate, "/en/invoices/download/42.html"));
    assert_eq!(browser.run("return document.cookie"), "", "not for scripts");
    // Neither the back button nor the address again.
    browser.open(&link);
    assert_eq!(browser.run(HEADING), "This link no longer works");
    assert!(browser.screenshot("login-link-used").len() > 3_000);
    // The session goes on, until it is ended.
    let page = url(&gate, "/en/invoices/download/42.html");
    browser.open(&page);
    assert_eq!(browser.run(HEADING), "Invoice 42");
    browser.open(&url(&gate, "/logout"));
    browser.open(&page);
    assert_eq!(browser.run(HEADING), "This link is incomplete");
}

#[test]
fn the_browser_presses_the_button_of_a_login_link() {
    let (_folder, gate) = portal("interstitial = true");
    let browser = Browser::start();
    let link = login_link(&gate);
    browser.open(&link);
    assert_eq!(browser.run(HEADING), "Sign in");
    let text = browser.run("return document.body.innerText");
    assert!(
        text.as_str().unwrap().contains("Anna <anna@example.com>"),
        "{text}"
    );
    assert_eq!(
        browser.run("return performance.getEntriesByType('resource').length"),
        0,
        "the page stands alone"
    );
    assert!(browser.screenshot("login-button").len() > 3_000);
    // A page of another origin presses it in the visitor's name, in vain. `localhost` is another site than 127.0.0.1.
    let elsewhere = crate::support::Origin::start();
    elsewhere.on(
        "/evil",
        crate::support::Script::ok(
            &[("Content-Type", "text/html")],
            format!("<form method=post action='{link}'><button>x</button></form>"),
        ),
    );
    browser.open(&format!("http://localhost:{}/evil", elsewhere.address().port()));
    browser.run("document.querySelector('button').click()");
    wait::until("the button of the other page", || {
        let heading = browser.run("const h = document.querySelector('h1'); return h && h.innerText");
        (heading == "This link belongs to another device").then_some(())
    });
    browser.open(&link);
    browser.run("document.querySelector('button').click()");
    wait::until("the page behind the button", || {
        let heading = browser.run("const h = document.querySelector('h1'); return h && h.innerText");
        (heading == "Invoice 42").then_some(())
    });
    let place = browser.run("return location.href");
    assert_eq!(place, url(&gate, "/en/invoices/download/42.html"));
    let referrer = browser.run("return document.referrer");
    assert!(!referrer.as_str().unwrap().contains("t="), "{referrer}");
}
