//! The real server in this process: its configuration and key files in a folder of its own, a clock that stands until
//! it is moved, its access log in a file, and a check on drop that nothing in it panicked.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use mediagate::server::control::orders::{Order, Withdrawal};
use mediagate::server::control::wire::{Command, Message};
use serde_json::Value;
use tempfile::TempDir;

use super::adapter::Server;
use super::client::{Client, HOST, Response};
use super::mint::{self, jwks};
use super::{conf, wait};

/// 2026-01-01T00:00:00Z: where every clock starts.
pub(crate) const NOW: i64 = 1_767_225_600;

/// A gate that is still to be started.
pub(crate) struct Setup {
    dir: TempDir,
    now: i64,
    listen: String,
    server: String,
    clear: bool,
    admin: String,
    workers: u8,
    server_table: Option<String>,
    log_format: &'static str,
    refresh: Option<Duration>,
    environment: HashMap<String, String>,
    toml: String,
}

impl Setup {
    /// With these origins, routes and issuer. State, keys, listeners and logs are put in front.
    pub(crate) fn new(toml: impl AsRef<str>) -> Self {
        watch_panics();
        capture_operational_log();
        let setup = Self {
            dir: TempDir::new().expect("a folder"),
            now: NOW,
            listen: "127.0.0.1:0".into(),
            server: String::new(),
            clear: true,
            admin: String::new(),
            workers: 1,
            server_table: None,
            log_format: "json",
            refresh: None,
            environment: HashMap::new(),
            toml: toml.as_ref().to_owned(),
        };
        setup
            .file("media.jwks.json", jwks(&[mint::MEDIA.jwk()]))
            .file("download.jwks.json", jwks(&[mint::DOWNLOAD.jwk()]))
            .file("callers.jwks.json", jwks(&[mint::CALLER.jwk()]))
            .file("catalogue.toml", conf::CATALOGUE)
    }

    /// Writes a file into the gate's folder, readable by its owner.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        write_private(&self.dir.path().join(name), content.as_ref());
        self
    }

    /// Further keys of `[server]`.
    pub(crate) fn server(mut self, line: &str) -> Self {
        self.server.push_str(line);
        self.server.push('\n');
        self
    }

    /// With so many workers, and not one.
    pub(crate) fn workers(mut self, workers: u8) -> Self {
        self.workers = workers;
        self
    }

    /// Further keys of `[admin]`.
    pub(crate) fn admin(mut self, line: &str) -> Self {
        self.admin.push_str(line);
        self
    }

    /// Without a listener in clear.
    pub(crate) fn without_clear(mut self) -> Self {
        self.clear = false;
        self
    }

    /// With these tables in the place of `[server]`, and of `[admin]` where it is among them.
    pub(crate) fn tables(mut self, toml: &str) -> Self {
        self.server_table = Some(toml.to_owned());
        self
    }

    /// Listens here, too.
    pub(crate) fn listen(mut self, also: &str) -> Self {
        self.listen.push_str("\", \"");
        self.listen.push_str(also);
        self
    }

    /// Takes the client's address from `X-Forwarded-For`, which loopback may send.
    pub(crate) fn behind_a_proxy(self) -> Self {
        self.server("client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\"] }")
    }

    /// The clock starts here.
    pub(crate) fn now(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    /// Fetches key sets, and looks at certificates, as often as this.
    pub(crate) fn refresh(mut self, every: Duration) -> Self {
        self.refresh = Some(every);
        self
    }

    /// A variable of the environment that credentials are looked for in; the process' own is never looked at.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// Has a container's service at this address give credentials, at `/creds`.
    pub(crate) fn container(self, metadata: SocketAddr) -> Self {
        self.variable(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("http://{metadata}/creds"),
        )
    }

    /// The access log as text.
    pub(crate) fn text_log(mut self) -> Self {
        self.log_format = "text";
        self
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes the configuration and tells where.
    pub(crate) fn write(&self) -> PathBuf {
        self.write_with(&self.listen, "127.0.0.1:0", "{dir}/access.log")
    }

    /// As `write`, with these listeners and this access log.
    pub(crate) fn write_with(&self, gate: &str, admin: &str, access: &str) -> PathBuf {
        let server = self.server_table.clone().unwrap_or_else(|| {
            let listen = if self.clear {
                format!("listen = [\"{gate}\"]\n")
            } else {
                String::new()
            };
            let public = match self.server.contains("public_url") {
                true => String::new(),
                false => format!("public_url = \"http://{HOST}\"\n"),
            };
            format!(
                "[server]\n{listen}{public}workers = {}\n{}",
                self.workers, self.server
            )
        });
        let mut toml = format!("state = \"{{dir}}/state\"\n{server}\n");
        if !server.contains("[admin]") {
            let _ = write!(toml, "[admin]\nlisten = \"{admin}\"\n{}", self.admin);
        }
        let _ = write!(
            toml,
            "[log]\nformat = \"{}\"\naccess = \"{access}\"\nlevel = \"debug\"\n",
            self.log_format
        );
        for name in ["media", "download", "callers"] {
            if !self.toml.contains(&format!("[keys.{name}]"))
                && !self.toml.contains(&format!("[[keys.{name}."))
            {
                let _ = write!(toml, "[keys.{name}]\nfile = \"{{dir}}/{name}.jwks.json\"\n");
            }
        }
        toml.push_str(&self.toml);
        let dir = self.dir.path().to_str().expect("UTF-8");
        let path = self.dir.path().join("proxy.toml");
        fs::write(&path, toml.replace("{dir}", dir)).expect("proxy.toml");
        path
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Gate {
        self.try_start()
            .unwrap_or_else(|error| panic!("does not start: {error}"))
    }

    /// Starts it, or tells why it does not start.
    pub(crate) fn try_start(self) -> Result<Gate, String> {
        let panics = panics().len();
        let path = self.write();
        match Server::start(&path, self.now, self.refresh, &self.environment) {
            Ok(server) => Ok(Gate {
                server: Some(server),
                dir: self.dir,
                panics,
            }),
            Err(error) => Err(format!(
                "{error}\n{}",
                fs::read_to_string(&path).unwrap_or_default()
            )),
        }
    }

    /// Asserts that the configuration is refused, and hands the errors back.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        match Server::start(&self.write(), self.now, self.refresh, &self.environment) {
            Ok(server) => {
                server.stop();
                panic!("the configuration was accepted:\n{}", self.toml)
            }
            Err(error) => error,
        }
    }
}

/// A running gate.
pub(crate) struct Gate {
    server: Option<Server>,
    dir: TempDir,
    panics: usize,
}

impl Gate {
    /// Starts a gate with these origins, routes and issuer.
    #[track_caller]
    pub(crate) fn start(toml: impl AsRef<str>) -> Self {
        Setup::new(toml).start()
    }

    /// The product itself.
    pub(crate) fn running(&self) -> &Server {
        self.server.as_ref().expect("running")
    }

    /// Where the gate listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running().gate()
    }

    /// Where the gate listens with TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.running().gate_tls()
    }

    /// Reads the certificates anew.
    pub(crate) fn reload_certificates(&self) {
        self.running().reload_certificates();
    }

    /// Drains it, as SIGTERM does.
    pub(crate) fn drain(mut self) {
        self.server.take().expect("running").drain();
    }

    /// Where else the gate listens.
    pub(crate) fn other_address(&self) -> SocketAddr {
        self.running().other_gate()
    }

    /// Where the issuer listens.
    pub(crate) fn issuer(&self) -> SocketAddr {
        self.running().issuer().expect("an issuer")
    }

    /// Where health and metrics are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.running().admin()
    }

    /// The gate's own folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Withdraws tokens.
    #[track_caller]
    pub(crate) fn revoke(&self, withdrawal: Withdrawal) {
        let answer = self.running().ask(&Command::Revoke(withdrawal));
        assert_eq!(answer, Message::Withdrawn);
    }

    /// Issues an opaque token; its text.
    #[track_caller]
    pub(crate) fn issue(&self, order: Order) -> String {
        match self.running().ask(&Command::Issue(order)) {
            Message::Issued { token, .. } => token.0,
            other => panic!("{other:?}"),
        }
    }

    /// Lets go of the store, as for a takeover.
    pub(crate) fn close_store(&self) {
        self.running().close_store();
    }

    /// Opens it again.
    pub(crate) fn open_store(&self) {
        self.running().open_store();
    }

    /// Moves the clock.
    pub(crate) fn advance(&self, seconds: u64) {
        self.running().advance(Duration::from_secs(seconds));
    }

    /// A connection to the gate.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// A connection to the issuer.
    pub(crate) fn connect_issuer(&self) -> Client {
        Client::connect(self.issuer())
    }

    /// A GET over a connection of its own.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.connect().get(target, headers)
    }

    /// A request without body over a connection of its own.
    pub(crate) fn exchange(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response {
        self.connect().exchange(method, target, headers)
    }

    /// A request to the issuer over a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut client = Client::connect(self.issuer());
        ask_over(&mut client, method, target, headers, body)
    }

    /// A GET to the admin listener.
    pub(crate) fn admin_get(&self, target: &str) -> Response {
        Client::connect(self.admin()).any_header().get(target, &[])
    }

    /// The metrics as text.
    pub(crate) fn metrics(&self) -> String {
        self.admin_get("/metrics").expect(200).text()
    }

    /// The sum of all samples of one metric whose labels hold all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        sample(&self.metrics(), name, labels)
    }

    /// Everything in the access log so far.
    pub(crate) fn access_text(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }

    /// The first `count` lines of the access log, once they are there.
    pub(crate) fn access_lines(&self, count: usize) -> Vec<String> {
        wait::until(&format!("{count} lines in the access log"), || {
            let text = self.access_text();
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// The first `count` lines of the JSON access log, once they are there.
    pub(crate) fn access(&self, count: usize) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
        };
        self.access_lines(count).iter().map(parse).collect()
    }

    /// Puts another text in the place of one that stands in the configuration file.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) -> &Self {
        let path = self.dir.path().join("proxy.toml");
        let text = fs::read_to_string(&path).expect("proxy.toml");
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        fs::write(&path, text.replace(from, to)).expect("proxy.toml");
        self
    }

    /// Replaces a file in the gate's folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        write_private(&self.dir.path().join(name), content.as_ref());
        self
    }

    /// Reads the configuration again, as on SIGHUP; the errors as text.
    pub(crate) fn try_reload(&self) -> Result<(), String> {
        self.running().reload(&self.dir.path().join("proxy.toml"))
    }

    /// As `try_reload`, which has to succeed.
    #[track_caller]
    pub(crate) fn reload(&self) {
        self.try_reload().unwrap_or_else(|errors| panic!("{errors}"));
    }

    /// Stops the server and starts it again over the same folder and configuration.
    pub(crate) fn restart(mut self, now: i64) -> Self {
        self.end();
        let dir = std::mem::replace(&mut self.dir, TempDir::new().expect("a folder"));
        let server =
            Server::start(&dir.path().join("proxy.toml"), now, None, &HashMap::new()).expect("starts again");
        Self {
            server: Some(server),
            dir,
            panics: panics().len(),
        }
    }

    /// Stops the server and checks that nothing panicked.
    fn end(&mut self) {
        let Some(server) = self.server.take() else { return };
        let counted = server.panics();
        server.stop();
        if !std::thread::panicking() {
            assert!(counted == 0, "{counted} panics were counted");
            let seen = panics();
            assert!(
                seen.len() == self.panics,
                "a task panicked: {:?}",
                &seen[self.panics..]
            );
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks an issuer over a connection.
pub(crate) fn ask_over(
    client: &mut Client,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let length = body.len().to_string();
    let mut all = headers.to_vec();
    if method != "GET" && method != "OPTIONS" {
        all.push(("Content-Length", &length));
    }
    client.request(method, target, &all);
    client.send(body);
    client.read()
}

/// The sum of all samples of one metric whose labels hold all of `labels`.
pub(crate) fn sample(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, content: &[u8]) {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .expect("a private file");
    file.write_all(content).expect("a private file");
}

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn panics() -> Vec<String> {
    lock(&PANICS).clone()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers panics of threads that are neither a test's (their names hold `::`) nor ours (`support…`).
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("unnamed");
            if !name.contains("::") && !name.starts_with("support") && name != "main" {
                lock(&PANICS).push(format!("{name}: {info}"));
            }
            before(info);
        }));
    });
}

static OPERATIONAL: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// All that was logged beside the access log by all gates of this process, at the most talkative level there is.
pub(crate) fn operational_log() -> String {
    String::from_utf8_lossy(&lock(&OPERATIONAL)).into_owned()
}

fn capture_operational_log() {
    struct Sink;
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&OPERATIONAL).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Sink)
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    });
}
