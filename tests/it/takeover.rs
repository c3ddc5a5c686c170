//! Takeovers: a new process goes on in the place of a running one, and no client notices; a takeover that fails leaves
//! the old one serving. And who may serve over a state folder at all.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use mediagate::server::control::wire::{Command, Message, Wire};
use mediagate::server::control::{self};
use mediagate::server::takeover::Successor;
use mediagate::state::StateLock;

use crate::memory::{SIZE, origin_of_zeros};
use crate::support::client::head;
use crate::support::program::{Binary, Running, run};
use crate::support::{Client, Origin, Setup, Token, conf, wait};

/// Good for a while by the real clock.
fn token(path: &str) -> String {
    let now = mediagate::clock::Clock::system().now().secs();
    Token::whole().claim("iat", now).expires(now + 3600).at(path)
}

/// `/folder/…` with `big` and `small`, `/zeros/…` from an HTTP server that sends a gibibyte, `/…` from a small one.
fn setup(files: &Path, origin: &Origin) -> Setup {
    fs::write(files.join("small"), "small").unwrap();
    let big = fs::File::create(files.join("big")).unwrap();
    big.set_len(SIZE).unwrap();
    let route = |name: &str| {
        let route = conf::route_with(name, &format!("/{name}"), "strip_prefix = true");
        route.replace("origin = \"files\"", &format!("origin = \"{name}\""))
    };
    let zeros = conf::http(origin_of_zeros()).replace("origin.files", "origin.zeros");
    let folder = conf::folder(files).replace("origin.files", "origin.folder");
    Setup::new(
        folder + &zeros + &conf::http(origin.address()) + &route("folder") + &route("zeros") + &conf::route(),
    )
    // A takeover gives bodies all the time they need.
    .server("drain_delay = \"0s\"\ndrain_timeout = \"0s\"")
}

fn state(binary: &Binary) -> PathBuf {
    binary.dir().join("state")
}

/// Which process answers at the control socket; `None` where none does.
fn serving(state: &Path) -> Option<u32> {
    let mut wire = control::connect(state, wait::SOON).ok()?;
    wire.send(&Message::Command(Command::Status), &[]).ok()?;
    match wire.receive().ok()? {
        (Message::Status(status), _) => Some(status.pid),
        other => panic!("{other:?}"),
    }
}

/// A takeover that works: the new process, once it answers.
fn succeed(binary: &Binary) -> Running {
    let mut new = binary.another(&["--takeover"]);
    wait::until_true("the new process serves", || {
        new.assert_running();
        serving(&state(binary)) == Some(new.id())
    });
    new
}

/// A download of `SIZE` bytes on a thread, which stops in the middle until it is let go.
fn download(gate: SocketAddr, path: &str, go_on: &'static AtomicBool) -> JoinHandle<u64> {
    let target = token(path);
    let mut stream = TcpStream::connect(gate).unwrap();
    stream.set_read_timeout(Some(wait::SOON)).unwrap();
    stream
        .write_all(head("GET", &target, &[("Connection", "close")]).as_bytes())
        .unwrap();
    let mut buffer = vec![0; 256 * 1024];
    // The head and the first bytes are there before anything else happens.
    let mut seen = Vec::new();
    while seen.len() < 1 << 20 {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "cut at the start");
        seen.extend_from_slice(&buffer[..count]);
    }
    let body = seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(seen.starts_with(b"HTTP/1.1 200 "));
    let mut total = (seen.len() - body) as u64;
    let rest = move || {
        wait::until_within(wait::SOON * 6, "the download may go on", || {
            go_on.load(Ordering::SeqCst).then_some(())
        });
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count as u64,
            }
        }
    };
    Builder::new()
        .name("support-download".into())
        .spawn(rest)
        .unwrap()
}

/// Asks again and again over kept connections, until told to stop; counts the answers. A connection is left where the
/// answer says so, and nowhere else.
fn ask_on(gate: SocketAddr, path: &str, stop: &AtomicBool, answers: &AtomicUsize) {
    let target = token(path);
    let mut client = Client::connect(gate);
    while !stop.load(Ordering::SeqCst) {
        let answer = client.get(&target, &[]).expect(200);
        answers.fetch_add(1, Ordering::SeqCst);
        if answer.header("connection").is_some_and(|value| value == "close") {
            assert!(client.is_closed(), "it said that it would");
            client = Client::connect(gate);
        }
    }
}

/// Tells all who ask to stop, also where the test fails.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits until so many more answers have come.
fn more(answers: &AtomicUsize, count: usize) {
    let before = answers.load(Ordering::SeqCst);
    wait::until_true("more answers", || {
        answers.load(Ordering::SeqCst) >= before + count
    });
}

#[test]
fn several_takeovers_in_a_row_cut_no_body_and_fail_no_request() {
    static GO_ON: AtomicBool = AtomicBool::new(false);
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let gate = binary.gate;
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut downloads = Vec::new();
    let mut processes = Vec::new();
    std::thread::scope(|scope| {
        let at_the_end = Stop(&stop);
        let mut asking = Vec::new();
        for path in ["/folder/small", "/a", "/folder/small", "/b"] {
            let (stop, answers) = (&stop, &answers);
            asking.push(scope.spawn(move || ask_on(gate, path, stop, answers)));
        }
        // Connections that are made for one request each meet the queues.
        asking.push(scope.spawn(|| {
            let target = token("/c");
            while !stop.load(Ordering::SeqCst) {
                Client::connect(gate)
                    .get(&target, &[("Connection", "close")])
                    .expect(200);
            }
        }));
        more(&answers, 20);
        // More sockets than workers, fewer, and as many.
        for workers in [3, 1, 2] {
            if workers == 3 {
                downloads.push(download(gate, "/folder/big", &GO_ON));
                downloads.push(download(gate, "/zeros/big", &GO_ON));
            }
            let text = fs::read_to_string(binary.config()).unwrap();
            let line = text.lines().find(|line| line.starts_with("workers")).unwrap();
            binary.edit(line, &format!("workers = {workers}"));
            let new = succeed(&binary);
            processes.push(std::mem::replace(&mut binary.running, new));
            more(&answers, 20);
        }
        drop(at_the_end);
        // Nobody failed so far, or this does.
        for one in asking {
            one.join().unwrap();
        }
    });
    // The first still has its two bodies; the others had nothing left to do.
    assert_eq!(processes[1].code(), Some(0));
    assert_eq!(processes[2].code(), Some(0));
    processes[0].assert_running();
    GO_ON.store(true, Ordering::SeqCst);
    for one in downloads {
        assert_eq!(one.join().unwrap(), SIZE);
    }
    assert_eq!(processes[0].code(), Some(0));
    binary.signal("TERM");
    assert_eq!(binary.running.code(), Some(0));
}

#[test]
fn a_new_configuration_that_is_wrong_leaves_the_old_process_alone() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let mut client = Client::connect(binary.gate);
    client.get(&token("/a"), &[]).expect(200);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let both = format!("\"{}\", \"{}\"", binary.gate, taken.local_addr().unwrap());
    let one = format!("\"{}\"", binary.gate);
    for (from, to, code, says) in [
        ("workers = 1", "wrokers = 1", 78, "wrokers"),
        (&one, &both, 1, "can't listen on"),
    ] {
        binary.edit(from, to);
        let mut new = binary.another(&["--takeover"]);
        assert_eq!(new.code(), Some(code));
        wait::until_true("it says why", || new.stderr.text().contains(says));
        binary.edit(to, from);
        assert_eq!(serving(&state(&binary)), Some(binary.running.id()));
        client.get(&token("/a"), &[]).expect(200);
        Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
        binary.running.assert_running();
    }
}

/// The old process has let go of everything, and the new one holds the conversation.
fn half_way(binary: &Binary) -> Wire {
    let mut wire = control::connect(&state(binary), wait::SOON).unwrap();
    wire.send(&Message::Command(Command::Takeover), &[]).unwrap();
    let (sockets, descriptors) = wire.receive().unwrap();
    let Message::Sockets { sockets, last: true } = sockets else {
        panic!("{sockets:?}");
    };
    assert_eq!(sockets.len(), descriptors.len());
    wire.send(&Message::Ready, &[]).unwrap();
    assert_eq!(wire.receive().unwrap().0, Message::Yours);
    wire
}

#[test]
fn a_new_process_that_dies_or_hangs_half_way_gives_the_old_one_everything_back() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let mut kept = Client::connect(binary.gate);
    kept.get(&token("/a"), &[]).expect(200);
    for hangs in [false, true] {
        let wire = half_way(&binary);
        // Nobody accepts now; who connects waits in the queue. Who is connected is served.
        let seen = origin.seen().len();
        let mut waiting = Client::connect(binary.gate);
        waiting.request("GET", &token("/a"), &[]);
        kept.get(&token("/a"), &[]).expect(200);
        kept.get(&token("/a"), &[]).expect(200);
        assert_eq!(origin.seen().len(), seen + 2, "somebody accepted");
        if !hangs {
            drop(wire);
            assert_eq!(waiting.read().status, 200);
        } else {
            assert_eq!(waiting.read().status, 200);
            drop(wire);
        }
        wait::until_true("the old one answers again", || {
            serving(&state(&binary)) == Some(binary.running.id())
        });
        assert!(StateLock::take(&state(&binary)).is_err(), "it has the lock");
        assert_eq!(kept.get(&token("/a"), &[]).expect(200).header("connection"), None);
        Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
    }
    // One that speaks nonsense in the place of a confirmation.
    let mut wire = half_way(&binary);
    wire.send(&Message::Ready, &[]).unwrap();
    Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
    // And then one that works.
    let new = succeed(&binary);
    let mut old = std::mem::replace(&mut binary.running, new);
    Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
    drop(kept);
    assert_eq!(old.code(), Some(0));
}

#[test]
fn who_waits_to_be_accepted_when_the_end_comes_is_still_served() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    binary
        .edit("drain_timeout = \"0s\"", "drain_timeout = \"1m\"")
        .edit("workers = 1", "workers = 2");
    binary.running = succeed(&binary);
    let wire = half_way(&binary);
    let mut waiting: Vec<Client> = (0..8).map(|_| Client::connect(binary.gate)).collect();
    binary.signal("TERM");
    for client in &mut waiting {
        client.request("GET", &token("/a"), &[]);
    }
    drop(wire);
    for client in &mut waiting {
        client.read().expect(200);
    }
    assert_eq!(binary.running.code(), Some(0));
}

#[test]
fn an_old_process_that_finds_the_lock_taken_does_not_serve_beside_the_new_one() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let mut successor = Successor::ask(&state(&binary)).unwrap();
    let lock = successor.claim(&state(&binary)).unwrap();
    // It has the lock, and is too slow to say that it serves.
    drop(successor);
    assert_eq!(binary.running.code(), Some(0));
    drop(lock);
}

#[test]
fn a_new_process_that_is_killed_at_any_moment_costs_no_request() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let gate = binary.gate;
    let mut survived = 0;
    for millis in (0..).step_by(9).take(15) {
        let mut new = binary.another(&["--takeover"]);
        wait::pause(
            Duration::from_millis(millis),
            "it is killed at some moment of its start",
        );
        new.signal("KILL");
        wait::until("it is dead", || new.ended());
        let old_ended = wait::until("the old one serves or has ended", || {
            match binary.running.ended() {
                Some(_) => Some(true),
                None => (serving(&state(&binary)) == Some(binary.running.id())).then_some(false),
            }
        });
        if old_ended {
            // Killed after it had confirmed: a crash of the only server, which is another matter.
            let again = succeed_plainly(&binary);
            binary.running = again;
        } else {
            survived += 1;
        }
        Client::connect(gate).get(&token("/a"), &[]).expect(200);
    }
    assert!(survived > 0, "none was killed in time");
    let new = succeed(&binary);
    binary.running = new;
    Client::connect(gate).get(&token("/a"), &[]).expect(200);
}

/// Where the issuer listens, by what was printed.
fn issuer(process: &Running) -> SocketAddr {
    wait::until("the issuer's address is printed", || {
        let text = process.stdout.text();
        let rest = text.split("issuer http://").nth(1)?;
        rest.split(',').next()?.parse().ok()
    })
}

#[test]
fn the_issuers_socket_is_handed_over_too_also_where_its_port_was_any_free_one() {
    let origin = Origin::start();
    let toml = conf::http(origin.address())
        + &conf::route_with("files", "/", "mount = [\"native\"]")
        + &conf::fynn_route()
        + &conf::issuer(conf::RULE);
    let mut binary = Binary::start(Setup::new(toml));
    let address = issuer(&binary.running);
    let ask = || {
        Client::connect(address)
            .any_header()
            .get("/.well-known/jwks.json", &[])
            .status
    };
    assert_eq!(ask(), 200);
    let new = succeed(&binary);
    let mut old = std::mem::replace(&mut binary.running, new);
    assert_eq!(old.code(), Some(0));
    assert_eq!(issuer(&binary.running), address);
    assert_eq!(ask(), 200);
}

#[test]
fn the_service_manager_is_told_which_process_it_watches_from_then_on() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let path = binary.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(wait::SOON)).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mediagate"));
    command
        .args(["serve", "--takeover", "--config"])
        .arg(binary.config())
        .current_dir(binary.dir())
        .env("NOTIFY_SOCKET", &path);
    let new = Running::start(command);
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).unwrap();
    let told = String::from_utf8_lossy(&buffer[..count]);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], [&*format!("MAINPID={}", new.id()), "READY=1"]);
    // Told in time: the old process ends after that.
    assert_eq!(binary.running.code(), Some(0));
    Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
}

#[test]
fn a_takeover_where_nobody_serves_is_a_start() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    binary.signal("TERM");
    binary.signal("TERM");
    assert_eq!(binary.running.code(), Some(0));
    let new = succeed(&binary);
    binary.running = new;
    Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
}

// === who may serve ===

#[test]
fn a_second_server_over_the_same_state_ends_with_1_and_other_commands_work_beside_the_first() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    let config = binary.config();
    let config = config.to_str().unwrap();
    let command = |words: &[&str]| {
        run(
            env!("CARGO_BIN_EXE_mediagate"),
            &[words, &["--config", config]].concat(),
            wait::SOON,
        )
    };
    let second = command(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let why = String::from_utf8(second.stderr).unwrap();
    let line = why.lines().last().unwrap();
    let pid = format!("(process {})", binary.running.id());
    assert!(
        line.starts_with("mediagate: ") && line.contains(&pid) && line.contains("state"),
        "{why}"
    );
    for words in [
        &["check"][..],
        &["explain", "--url", &token("/a")],
        &["token", "mint", "--path", "/a"],
        &["keys"],
    ] {
        let output = command(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    }
    binary.running.assert_running();
    Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
}

#[test]
fn what_a_crash_leaves_blocks_no_start() {
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let mut binary = Binary::start(setup(files.path(), &origin));
    for _ in 0..2 {
        binary.signal("KILL");
        wait::until("it is dead", || binary.running.ended());
        assert!(state(&binary).join("control.sock").exists());
        let new = succeed_plainly(&binary);
        binary.running = new;
        Client::connect(binary.gate).get(&token("/a"), &[]).expect(200);
    }
}

fn succeed_plainly(binary: &Binary) -> Running {
    let mut new = binary.another(&[]);
    wait::until_true("it serves", || {
        new.assert_running();
        serving(&state(binary)) == Some(new.id())
    });
    new
}

#[test]
fn what_is_left_in_the_state_folder_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (files, origin) = (tempfile::tempdir().unwrap(), Origin::start());
    let binary = Binary::start(setup(files.path(), &origin));
    let mut names = Vec::new();
    for entry in fs::read_dir(state(&binary)).unwrap().flatten() {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["control.sock", "lock", "log-id.key", "store.redb"]);
}
