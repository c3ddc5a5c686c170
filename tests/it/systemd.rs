//! Under a service manager: sockets that it holds, what it is told, and the units that are shipped.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Path, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::document::block;
use crate::support::program::{self, Running, own_addresses, wait_for_port};
use crate::support::{Client, Origin, Setup, Token, conf, wait};

fn setup(origin: &Origin) -> Setup {
    Setup::new(conf::http(origin.address()) + &conf::route())
}

/// A token for everything, good now.
fn target() -> String {
    let now = mediagate::clock::Clock::system().now().secs();
    Token::whole().claim("iat", now).expires(now + 600).at("/a")
}

/// `mediagate serve`, with its standard input as descriptor 3, announced as systemd does it.
fn activated(setup: &Setup, config: &std::path::Path, socket: Stdio) -> Running {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=gate exec \"$0\" serve --config \"$1\"")
        .arg(env!("CARGO_BIN_EXE_mediagate"))
        .arg(config)
        .current_dir(setup.dir());
    Running::start_with(command, socket)
}

fn held(listener: &TcpListener) -> Stdio {
    Stdio::from(OwnedFd::from(listener.try_clone().unwrap()))
}

#[test]
fn an_inherited_socket_is_served_by_all_workers_and_outlives_a_restart() {
    let origin = Origin::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = listener.local_addr().unwrap();
    let [admin] = own_addresses();
    let setup = setup(&origin);
    let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("workers = 1", "workers = 3\ndrain_delay = \"0s\""),
    )
    .unwrap();
    let mut first = activated(&setup, &config, held(&listener));
    wait_for_port(admin, &mut first);
    for _ in 0..10 {
        assert_eq!(Client::connect(gate).get(&target(), &[]).status, 200);
    }
    first.terminate();
    assert_eq!(first.code(), Some(0), "{}", first.stderr.text());
    // Nobody is refused in between: who comes now waits in the queue of the socket.
    let mut waiting = Client::connect(gate);
    waiting.request("GET", &target(), &[]);
    let _second = activated(&setup, &config, held(&listener));
    assert_eq!(waiting.read().status, 200);
}

#[test]
fn systemds_own_launcher_starts_it_and_its_socket_may_be_the_issuers_or_the_admins_too() {
    let origin = Origin::start();
    let [gate, admin, issuer] = own_addresses();
    let issuer_part = conf::issuer(conf::RULE).replace("127.0.0.1:0", &issuer.to_string());
    let setup =
        Setup::new(conf::http(origin.address()) + &conf::fynn_route() + &conf::route() + &issuer_part);
    let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let mut command = Command::new("systemd-socket-activate");
    for address in [gate, issuer, admin] {
        command.arg("-l").arg(address.to_string());
    }
    command
        .arg(env!("CARGO_BIN_EXE_mediagate"))
        .args(["serve", "--config"])
        .arg(&config)
        .current_dir(setup.dir());
    let mut running = Running::start(command);
    // It starts the program at the first connection.
    wait_for_port(gate, &mut running);
    assert_eq!(Client::connect(gate).get(&target(), &[]).status, 200);
    // It serves a moment before it says that all of its threads do.
    wait::until_true("it is ready", || {
        Client::connect(admin).any_header().get("/readyz", &[]).status == 200
    });
    let keys = Client::connect(issuer)
        .any_header()
        .get("/.well-known/jwks.json", &[]);
    assert_eq!(keys.status, 200);
}

#[test]
fn sockets_that_are_not_those_of_the_configuration_end_the_start() {
    let origin = Origin::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    let [other, admin] = own_addresses();
    let setup = setup(&origin);
    let not_listening = || {
        let connected = std::net::TcpStream::connect(own).unwrap();
        Stdio::from(OwnedFd::from(connected))
    };
    let not_a_socket = || Stdio::from(fs::File::open("/dev/null").unwrap());
    let rows: [(&str, String, Stdio, &str); 5] = [
        (
            "no listener is configured there",
            other.to_string(),
            held(&listener),
            "the service manager holds sockets, but none on",
        ),
        (
            "one of two is missing",
            format!("{own}\", \"{other}"),
            held(&listener),
            "the service manager holds sockets, but none on",
        ),
        (
            "a connection",
            own.to_string(),
            not_listening(),
            "does not listen for TCP connections",
        ),
        ("a file", own.to_string(), not_a_socket(), "not a socket"),
        ("nothing", own.to_string(), Stdio::null(), "not a socket"),
    ];
    for (what, gate, socket, error) in rows {
        let config = setup.write_with(&gate, &admin.to_string(), "off");
        let mut running = activated(&setup, &config, socket);
        assert_eq!(running.code(), Some(1), "{what}");
        wait::until_true(&format!("{what} is told: {}", running.stderr.text()), || {
            running.stderr.text().contains(error)
        });
    }
}

#[test]
fn a_socket_that_no_listener_is_configured_for_ends_the_start() {
    let origin = Origin::start();
    let [gate, admin, stray] = own_addresses();
    let setup = setup(&origin);
    let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let mut command = Command::new("systemd-socket-activate");
    command
        .args(["-l", &gate.to_string(), "-l", &stray.to_string()])
        .arg(env!("CARGO_BIN_EXE_mediagate"))
        .args(["serve", "--config"])
        .arg(&config);
    let mut running = Running::start(command);
    let _first = wait::until("the launcher listens", || std::net::TcpStream::connect(gate).ok());
    assert_eq!(running.code(), Some(1));
    wait::until_true("it is told", || {
        let text = running.stderr.text();
        text.contains(&format!(
            "holds a socket on {stray}, and no listener is configured there"
        ))
    });
}

#[test]
fn sockets_that_were_announced_to_another_process_are_left_alone() {
    let origin = Origin::start();
    let [gate, admin] = own_addresses();
    let setup = setup(&origin);
    let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mediagate"));
    command
        .args(["serve", "--config"])
        .arg(&config)
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1");
    let mut running = Running::start(command);
    wait_for_port(gate, &mut running);
    assert_eq!(Client::connect(gate).get(&target(), &[]).status, 200);
}

/// What the service manager heard, message by message.
fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    socket.set_read_timeout(Some(wait::SOON)).unwrap();
    loop {
        match socket.recv(&mut buffer) {
            Ok(count) => return String::from_utf8(buffer[..count].to_vec()).unwrap(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("nothing was told: {error}"),
        }
    }
}

#[test]
fn the_service_manager_hears_of_start_life_and_end() {
    let origin = Origin::start();
    let setup = setup(&origin).server("drain_delay = \"0s\"");
    let in_folder = setup.dir().join("notify");
    let name = format!("mediagate-test-{}", std::process::id());
    let sockets = [
        (
            in_folder.to_str().unwrap().to_owned(),
            UnixDatagram::bind(&in_folder).unwrap(),
        ),
        (
            format!("@{name}"),
            UnixDatagram::bind_addr(&Path::from_abstract_name(&name).unwrap()).unwrap(),
        ),
    ];
    for (address, socket) in sockets {
        let [gate, admin] = own_addresses();
        let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mediagate"));
        command
            .args(["serve", "--config"])
            .arg(&config)
            .env("NOTIFY_SOCKET", &address)
            .env("WATCHDOG_USEC", "600000");
        let mut running = Running::start(command);
        let first = hear(&socket);
        assert!(first.lines().any(|line| line == "READY=1"), "{first}");
        let ready = Client::connect(admin).any_header().get("/readyz", &[]);
        assert_eq!(ready.status, 200, "who says so is ready");
        assert_eq!(
            (hear(&socket).as_str(), hear(&socket).as_str()),
            ("WATCHDOG=1", "WATCHDOG=1")
        );
        running.terminate();
        let end = wait::until("the end is told", || {
            Some(hear(&socket)).filter(|heard| heard != "WATCHDOG=1")
        });
        assert!(end.lines().any(|line| line == "STOPPING=1"), "{end}");
        assert_eq!(running.code(), Some(0));
    }
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let origin = Origin::start();
    let setup = setup(&origin);
    let path = setup.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let [gate, admin] = own_addresses();
    let config = setup.write_with(&gate.to_string(), &admin.to_string(), "off");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mediagate"));
    command
        .args(["serve", "--config"])
        .arg(&config)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_PID", "1")
        .env("WATCHDOG_USEC", "100000");
    let mut running = Running::start(command);
    assert!(hear(&socket).contains("READY=1"));
    socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err());
    running.assert_running();
}

#[test]
fn the_units_are_those_of_the_document_and_systemd_finds_no_fault_in_them() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for (kind, language) in [("socket", "ini"), ("service", "service")] {
        let unit = fs::read_to_string(root.join(format!("examples/systemd/mediagate.{kind}"))).unwrap();
        assert_eq!(block("Under systemd", language), unit, "{kind}");
        // The program is somewhere else here.
        let here = unit.replace("/usr/local/bin/mediagate", env!("CARGO_BIN_EXE_mediagate"));
        fs::write(folder.path().join(format!("mediagate.{kind}")), here).unwrap();
    }
    let unit = folder.path().join("mediagate.service");
    let socket = folder.path().join("mediagate.socket");
    let arguments = [
        "verify",
        "--man=no",
        unit.to_str().unwrap(),
        socket.to_str().unwrap(),
    ];
    let output = program::run("systemd-analyze", &arguments, Duration::from_secs(60));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("mediagate")).collect();
    assert!(output.status.success() && of_ours.is_empty(), "{said}");
}
