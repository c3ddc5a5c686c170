//! Real programs: started, watched, and killed when the test is over. A missing program fails the test.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::client::Client;
use super::gate::{Setup, write_private};
use super::wait;

/// Runs a program to its end; fails when it is missing or takes longer than `within`.
pub(crate) fn run(program: &str, arguments: &[&str], within: Duration) -> Output {
    run_in(Path::new("/"), program, arguments, within)
}

/// As `run`, in this folder.
pub(crate) fn run_in(folder: &Path, program: &str, arguments: &[&str], within: Duration) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
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
    let status = wait::until_within(within, &format!("{program} ends"), || {
        running.child.try_wait().expect("wait")
    });
    Output {
        status,
        stdout: running.stdout.all_at_end(),
        stderr: running.stderr.all_at_end(),
    }
}

/// A program in the background; killed on drop.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
}

impl Running {
    /// Starts a command with both outputs captured.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// As `start`, with this as standard input.
    pub(crate) fn start_with(mut command: Command, stdin: Stdio) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        let stdout = Captured::from(child.stdout.take().expect("stdout"));
        let stderr = Captured::from(child.stderr.take().expect("stderr"));
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success(), "{name}");
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Its status, where it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Its exit code, once it has ended.
    pub(crate) fn code(&mut self) -> Option<i32> {
        wait::until("it ends", || self.ended()).code()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    /// Fails with its output when it has ended.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("wait") {
            panic!(
                "ended with {status}: {}\n{}",
                self.stdout.text(),
                self.stderr.text()
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program has written so far.
#[derive(Clone)]
pub(crate) struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
}

impl Captured {
    fn from(pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let read = move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .append(&mut line);
            }
        };
        let reader = std::thread::Builder::new()
            .name("support-pipe".into())
            .spawn(read)
            .expect("thread");
        Self {
            bytes,
            reader: Arc::new(Mutex::new(Some(reader))),
        }
    }

    /// As text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// As text, once the program has ended.
    pub(crate) fn text_at_end(&self) -> String {
        String::from_utf8_lossy(&self.all_at_end()).into_owned()
    }

    /// All of it, once the program has ended.
    fn all_at_end(&self) -> Vec<u8> {
        if let Some(reader) = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reader.join().expect("reader");
        }
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A port that was free a moment ago, for programs that can't bind port 0 and tell.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// Addresses for programs that can't bind port 0 and tell, on an address of this machine that nothing else of these tests
/// uses: a port that was free a moment ago can't be taken by a neighbour meanwhile.
pub(crate) fn own_addresses<const N: usize>() -> [SocketAddr; N] {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let process = u8::try_from(std::process::id() % 128).expect("small");
    let address = [127, 64 + process, NEXT.fetch_add(1, Ordering::Relaxed), 1];
    // Held until all are known, so that they differ.
    let held = [(); N].map(|()| TcpListener::bind(SocketAddr::from((address, 0))).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("an address"))
}

/// A real nginx with this `http` block, in a folder of its own, once it listens at all these addresses.
pub(crate) fn nginx(dir: &Path, http: &str, addresses: &[SocketAddr]) -> Running {
    let own = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {own}/nginx.pid; error_log {own}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
           client_body_temp_path {own}/t1; proxy_temp_path {own}/t2; fastcgi_temp_path {own}/t3;\n\
           uwsgi_temp_path {own}/t4; scgi_temp_path {own}/t5;\n\
           {http}\n\
         }}\n"
    );
    let path = dir.join("nginx.conf");
    fs::write(&path, config).expect("nginx.conf");
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(&path)
        .env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    let mut running = Running::start(command);
    for address in addresses {
        wait_for_port(*address, &mut running);
    }
    running
}

/// Waits until something accepts connections there.
pub(crate) fn wait_for_port(address: SocketAddr, running: &mut Running) {
    wait::until_true(&format!("{address} accepts connections"), || {
        running.assert_running();
        TcpStream::connect(address).is_ok()
    });
}

/// The sample media of the demo.
pub(crate) fn sample_media() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/media")
}

/// The product's own program, running with a configuration that was written for it, on ports that were free.
pub(crate) struct Binary {
    pub(crate) running: Running,
    pub(crate) gate: SocketAddr,
    pub(crate) admin: SocketAddr,
    setup: Setup,
}

impl Binary {
    /// `mediagate serve`, once it is ready.
    pub(crate) fn start(setup: Setup) -> Self {
        let gate = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        Self::start_at(setup, gate, admin)
    }

    /// The same at these addresses.
    pub(crate) fn start_at(setup: Setup, gate: SocketAddr, admin: SocketAddr) -> Self {
        Self::start_by(setup, gate, admin, &[])
    }

    /// The same, started by another program: one that runs the rest of its arguments in its own place.
    pub(crate) fn start_by(setup: Setup, gate: SocketAddr, admin: SocketAddr, by: &[&str]) -> Self {
        let path = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
        let serve = Self::command(&path, &[]);
        let command = match by.split_first() {
            None => serve,
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(serve.get_program());
                command.args(serve.get_args());
                command.current_dir(setup.dir());
                command
            }
        };
        Self {
            running: Self::ready(Running::start(command), admin),
            gate,
            admin,
            setup,
        }
    }

    fn ready(mut running: Running, admin: SocketAddr) -> Running {
        wait_for_port(admin, &mut running);
        wait::until_true("it is ready", || {
            running.assert_running();
            Client::connect(admin).any_header().get("/readyz", &[]).status == 200
        });
        running
    }

    /// Ends the process as a crash does: at once, and with nothing said.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        wait::until("it is gone", || self.running.ended());
    }

    /// Starts again, over the same folder and at the same addresses, what was killed.
    pub(crate) fn start_again(&mut self) {
        self.running = Self::ready(Running::start(Self::command(&self.config(), &[])), self.admin);
    }

    fn command(config: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mediagate"));
        command
            .args(["serve", "--config"])
            .arg(config)
            .args(flags)
            .current_dir(config.parent().expect("a folder"));
        command
    }

    /// Another process over the same configuration.
    pub(crate) fn another(&self, flags: &[&str]) -> Running {
        Running::start(Self::command(&self.config(), flags))
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        self.setup.dir()
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.setup.dir().join("proxy.toml")
    }

    /// Puts another text in the place of one that stands in the configuration file, in one step.
    #[track_caller]
    pub(crate) fn edit(&self, from: &str, to: &str) -> &Self {
        let path = self.config();
        let text = fs::read_to_string(&path).expect("proxy.toml");
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        let new = path.with_extension("new");
        fs::write(&new, text.replace(from, to)).expect("proxy.new");
        fs::rename(new, path).expect("proxy.toml");
        self
    }

    /// Replaces a file in the folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        write_private(&self.dir().join(name), content.as_ref());
        self
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, name: &str) {
        self.running.signal(name);
    }
}
