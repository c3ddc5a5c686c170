//! `mediagate serve` as people run it: what it prints, that it works, and how SIGTERM ends it.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mediagate::clock::Stopwatch;

const PATIENCE: Duration = Duration::from_secs(20);
/// Larger than all buffers between a server and a client that does not read.
const LARGE: u64 = 64 * 1024 * 1024;

/// Waits for something, looking again and again until the deadline.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(watch.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, to) = (
            entry.as_ref().unwrap(),
            to.join(entry.as_ref().unwrap().file_name()),
        );
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// The program with the shipped configuration on ports of its own.
struct Served {
    child: Child,
    lines: Receiver<String>,
    folder: tempfile::TempDir,
    gate: SocketAddr,
    issuer: SocketAddr,
    admin: SocketAddr,
}

impl Served {
    fn start(more: &str) -> Self {
        Self::start_with(more, &[])
    }

    /// With these texts of the configuration changed.
    fn start_with(more: &str, changes: &[(&str, &str)]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        copy(&root.join("demo"), &folder.path().join("demo"));
        File::create(folder.path().join("demo/media/large.bin"))
            .unwrap()
            .set_len(LARGE)
            .unwrap();
        // Held until all three are known, so that they differ.
        let free: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<SocketAddr> = free
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .collect();
        drop(free);
        let text = fs::read_to_string(root.join("proxy.toml"))
            .unwrap()
            .replace("127.0.0.1:8080", &ports[0].to_string())
            .replace("127.0.0.1:8081", &ports[1].to_string())
            .replace("127.0.0.1:8082", &ports[2].to_string())
            .replace("workers = 0", &format!("workers = 2\n{more}\n#"));
        let text = changes
            .iter()
            .fold(text, |text, (from, to)| text.replace(from, to));
        fs::write(folder.path().join("proxy.toml"), text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_mediagate"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("stderr.txt")).unwrap())
            .spawn()
            .unwrap();
        fs::write(folder.path().join("pid"), child.id().to_string()).unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            out.lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            lines,
            folder,
            gate: ports[0],
            issuer: ports[1],
            admin: ports[2],
        }
    }

    /// The next printed line that fits.
    fn line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let watch = Stopwatch::start();
        loop {
            let left = PATIENCE.saturating_sub(watch.elapsed());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("{what} was not printed"));
            if fits(&line) {
                return line.trim().to_owned();
            }
        }
    }

    fn is_ready(&self) -> Option<u16> {
        get(self.admin, "/readyz").map(|(status, _)| status)
    }

    /// The printed link.
    fn link(&self) -> String {
        self.line("the link", |line| line.contains("?t="))
    }

    fn target<'l>(&self, link: &'l str) -> &'l str {
        link.strip_prefix(&format!("http://{}", self.gate))
            .unwrap_or_else(|| panic!("{link} is not for us"))
    }

    /// A token for the large file.
    fn large(&self) -> String {
        let minted = Command::new(env!("CARGO_BIN_EXE_mediagate"))
            .args(["token", "mint", "--path", "/large.bin"])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let link = String::from_utf8(minted.stdout).unwrap();
        self.target(link.trim()).to_owned()
    }

    /// Runs this in a shell that finds the program.
    fn shell(&self, script: &str) -> std::process::Output {
        let program = Path::new(env!("CARGO_BIN_EXE_mediagate"));
        let path = format!(
            "{}:{}",
            program.parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        Command::new("bash")
            .args(["-c", script])
            .current_dir(self.folder.path())
            .env("PATH", &path)
            .output()
            .unwrap()
    }

    fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        until("the program ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(address: SocketAddr, target: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    Some(stream)
}

/// Status and body length; `None` where nobody listens.
fn get(address: SocketAddr, target: &str) -> Option<(u16, usize)> {
    let mut answer = Vec::new();
    send(address, target)?.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()?;
    Some((status, answer.len() - end - 4))
}

#[test]
fn the_printed_link_works_and_so_does_the_printed_command() {
    let served = Served::start("");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    // What was printed before it was ready is in the pipe by now.
    let link = served.link();
    let size = fs::metadata(served.folder.path().join("demo/media/clip.mp4"))
        .unwrap()
        .len();
    assert_eq!(
        get(served.gate, served.target(&link)),
        Some((200, usize::try_from(size).unwrap()))
    );
    assert!(link.rsplit("?t=").next().unwrap().starts_with("eyJ"), "{link}");
    let command = served.line("the next command", |line| line.contains(" token mint "));
    let words: Vec<&str> = command.split_whitespace().collect();
    let ran = Command::new(words[0])
        .args(&words[1..])
        .current_dir(served.folder.path())
        .output()
        .unwrap();
    let next = String::from_utf8(ran.stdout).unwrap();
    assert_ne!(next.trim(), link);
    assert_eq!(
        get(served.gate, served.target(next.trim())).map(|(status, _)| status),
        Some(200)
    );
    assert_eq!(get(served.gate, "/clip.mp4").map(|(status, _)| status), Some(401));
}

/// Headings and shell blocks of `docs/EXAMPLES.md`.
fn examples() -> Vec<(String, String)> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/EXAMPLES.md")).unwrap();
    let section = |text: &str| {
        let (heading, rest) = text.split_once('\n').unwrap();
        let blocks = rest.split("```sh\n").skip(1);
        let block: String = blocks.map(|rest| rest.split_once("```").unwrap().0).collect();
        (heading.to_owned(), block)
    };
    page.split("\n## ").skip(1).map(section).collect()
}

/// Whether a printed line is the one that was shown, in which `…` stands for anything.
fn is_shown(printed: &str, shown: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut wild = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        wild = part.is_empty();
    }
    rest.is_empty() || wild
}

#[test]
fn what_the_examples_show_is_what_the_shipped_configuration_does() {
    let served = Served::start("");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let start = format!(
        "set -euo pipefail\nexport no_proxy='*'\nGATE=http://{} ISSUER=http://{}\nBEARER=$(mediagate token caller --sub 42 --scope media:read)\n",
        served.gate, served.issuer
    );
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    for (heading, block) in examples {
        let ran = served.shell(&format!("{start}{block}"));
        let printed = String::from_utf8(ran.stdout).unwrap();
        let shown: Vec<&str> = block
            .lines()
            .filter_map(|line| line.strip_prefix("#> "))
            .collect();
        let printed: Vec<&str> = printed.lines().collect();
        let alike = shown.len() == printed.len()
            && printed
                .iter()
                .zip(&shown)
                .all(|(printed, shown)| is_shown(printed, shown));
        assert!(
            ran.status.success() && !shown.is_empty() && alike,
            "{heading}: shown {shown:#?}, printed {printed:#?}\n{}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }
}

#[test]
fn schemathesis_finds_nothing_that_the_openapi_document_does_not_say() {
    // Who asks is whom the header names: many addresses.
    let served =
        Served::start("client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\"] }");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let bearer = Command::new(env!("CARGO_BIN_EXE_mediagate"))
        .args([
            "token",
            "caller",
            "--sub",
            "42",
            "--scope",
            "media:read invoice:read",
        ])
        .current_dir(served.folder.path())
        .output()
        .unwrap();
    let bearer = String::from_utf8(bearer.stdout).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/schemathesis");
    let ran = Command::new(script)
        .args([&format!("http://{}", served.issuer), bearer.trim(), "25"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    // It looked at every operation but the one that it has the document from.
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
    let tested: usize = tested.expect("what it tested").trim().parse().unwrap();
    let document = include_str!("../docs/openapi.yaml");
    let operations = document.matches("\n    get:\n").count()
        + document.matches("\n    post:\n").count()
        + document.matches("\n    put:\n").count()
        + document.matches("\n    options: ").count()
        // The other addresses of short media tokens, with two methods each.
        + 2 * document.matches(": *short_media\n").count();
    assert_eq!(tested + 1, operations, "{said}");
}

#[test]
fn no_secret_of_any_dialect_is_in_a_sink() {
    let more = "client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\"] }";
    let served = Served::start_with(
        more,
        &[("format = \"text\"", "format = \"text\"\nlevel = \"debug\"")],
    );
    until("ready", || served.is_ready().filter(|status| *status == 200));
    served.line("the next command", |line| line.contains(" token mint "));
    let script = include_str!("snippets/every_dialect.sh");
    let ran = served.shell(&format!(
        "GATE=http://{} ISSUER=http://{}\n{script}",
        served.gate, served.issuer
    ));
    let asked = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    assert!(
        ran.status.success(),
        "{asked} {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let folder = served.folder.path();
    let secrets = fs::read_to_string(folder.join("secrets")).unwrap();
    let secrets: Vec<&str> = secrets.lines().collect();
    assert!(
        secrets.len() >= 25 && secrets.iter().all(|secret| secret.len() >= 20),
        "{secrets:?}"
    );
    // What was meant was answered; so the secrets were true ones.
    let answer = |number: usize| fs::read(folder.join(format!("answers/{number}"))).unwrap();
    for number in 1..=8 {
        let head = String::from_utf8_lossy(&answer(number)[..13]).into_owned();
        assert!(
            head == "HTTP/1.1 200 " || head == "HTTP/1.1 303 ",
            "{number}: {head}"
        );
    }
    let mut metrics = Vec::new();
    send(served.admin, "/metrics")
        .unwrap()
        .read_to_end(&mut metrics)
        .unwrap();
    let log = until("the last access line", || {
        let log: Vec<String> = served.lines.try_iter().collect();
        (!log.is_empty()).then(|| log.join("\n"))
    });
    let mut sinks = vec![
        ("metrics".to_owned(), metrics),
        ("access log".to_owned(), log.into_bytes()),
        ("log".to_owned(), fs::read(folder.join("stderr.txt")).unwrap()),
    ];
    for ((name, text), least) in sinks.iter().zip([1000, 10_000, 100]) {
        assert!(text.len() > least, "{name}: {} bytes", text.len());
    }
    let asked: usize = asked.parse().unwrap();
    assert!(asked > 300, "{asked}");
    // Answers to requests that were refused; those that hand a token out are read by the script.
    sinks.extend((9..=asked).map(|number| (format!("answer {number}"), answer(number))));
    for secret in &secrets {
        for (name, text) in &sinks {
            let found = text
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {name}: {}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn no_token_of_a_customer_opens_what_is_anothers() {
    let more = "client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\"] }";
    let served = Served::start(more);
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let script = include_str!("snippets/other_customers.sh");
    let look = |customer: &str, scopes: &str| {
        let ran = served.shell(&format!(
            "GATE=http://{} ISSUER=http://{} SUB={customer} SCOPES=({scopes})\n{script}",
            served.gate, served.issuer
        ));
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(
            ran.status.success(),
            "{said} {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        said
    };
    let said = look(
        "43",
        "media:read portal:exchange 'media:read customer:invoice:read invoice:read'",
    );
    let asked: usize = said.trim().parse().unwrap_or_else(|_| panic!("{said}"));
    assert!(asked > 300, "{asked}");
    // The script finds what there is to find: by path, by media token, after a login.
    let own = look("42", "media:read");
    for way in ["/~", "?t=", "-b jar"] {
        assert!(
            own.lines()
                .any(|line| line.contains("found with") && line.contains(way)),
            "{way}: {own}"
        );
    }
}

#[test]
fn a_second_instance_ends_with_1_and_leaves_the_first_alone() {
    let served = Served::start("");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let second = || {
        Command::new(env!("CARGO_BIN_EXE_mediagate"))
            .current_dir(served.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let refused = second();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("has the state folder"), "{why}");
    // With a state folder of its own it does not get past the admin port.
    let config = served.folder.path().join("proxy.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("state = \"state\"", "state = \"other\"")).unwrap();
    let refused = second();
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains(&served.admin.to_string()), "{why}");
    assert_eq!(
        get(served.gate, served.target(&served.link())).map(|(status, _)| status),
        Some(200)
    );
}

#[test]
fn sigterm_turns_readyz_accepts_for_a_while_and_lets_bodies_end() {
    let mut served = Served::start("drain_delay = \"2s\"\ndrain_timeout = \"60s\"");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let target = served.large();
    let mut download = send(served.gate, &target).unwrap();
    let mut first = [0; 4096];
    download.read_exact(&mut first).unwrap();
    served.terminate();
    until("not ready", || served.is_ready().filter(|status| *status == 503));
    assert_eq!(
        get(served.gate, "/clip.mp4").map(|(status, _)| status),
        Some(401),
        "still accepted"
    );
    until("no longer accepted", || {
        TcpStream::connect(served.gate).is_err().then_some(())
    });
    assert_eq!(served.child.try_wait().unwrap(), None, "the body still runs");
    let mut rest = Vec::new();
    download.read_to_end(&mut rest).unwrap();
    let head = first.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert_eq!((first.len() - head + rest.len()) as u64, LARGE);
    assert_eq!(served.exit_code(), Some(0));
}

#[test]
fn what_is_left_after_the_drain_timeout_is_cut() {
    let mut served = Served::start("drain_delay = \"0s\"\ndrain_timeout = \"1s\"");
    until("ready", || served.is_ready().filter(|status| *status == 200));
    let mut download = send(served.gate, &served.large()).unwrap();
    let mut first = [0; 4096];
    download.read_exact(&mut first).unwrap();
    served.terminate();
    assert_eq!(served.exit_code(), Some(0));
    let mut rest = Vec::new();
    // A reset or an early end: either way the client sees that it has not got all.
    let _ = download.read_to_end(&mut rest);
    assert!((rest.len() as u64) < LARGE - 4096, "{} bytes", rest.len());
}
