//! A state folder on a disk that fails: full, or read-only. What needs the store is refused and nothing is
//! delivered; what does not goes on; when the disk is back, so is every token. The disk is a small one of the process's
//! own, in a mount namespace.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use mediagate::clock::Clock;
use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::program::{Binary, own_addresses, run};
use crate::support::{Client, Response, Setup, Token, conf, wait};

/// A process and its files.
struct Scene {
    binary: Binary,
    _files: TempDir,
}

fn setup() -> (TempDir, Setup) {
    let files = TempDir::new().unwrap();
    fs::write(files.path().join("a"), pattern(1000)).unwrap();
    let strict = conf::route_with("files", "/", "single_use = { strict = true }");
    let setup = Setup::new(conf::folder(files.path()) + &strict);
    (files, setup)
}

/// Mounts need a namespace of the user's own, unless it is root's.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Scene {
    /// `serve` with a state folder on a disk of this size.
    fn on_a_disk_of(size: &str) -> Self {
        let (files, setup) = setup();
        let state = setup.dir().join("state");
        fs::create_dir(&state).unwrap();
        let mount = format!(
            "mount -t tmpfs -o mode=0700,size={size} none {} && exec \"$@\"",
            state.display()
        );
        let namespace = if is_root() { "-m" } else { "-rm" };
        Self::start(files, setup, &["unshare", namespace, "sh", "-c", &mount, "sh"])
    }

    fn start(files: TempDir, setup: Setup, by: &[&str]) -> Self {
        let [gate, admin] = own_addresses();
        Self {
            binary: Binary::start_by(setup, gate, admin, by),
            _files: files,
        }
    }

    /// The state folder, as the process sees it.
    fn state(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.binary.running.id());
        let folder = self.binary.dir().join("state");
        PathBuf::from(root).join(folder.strip_prefix("/").unwrap())
    }

    /// Runs a command where the process's disks are.
    fn inside(&self, command: &str) {
        let id = self.binary.running.id().to_string();
        let mut all = vec!["-t", &id, "-m"];
        if !is_root() {
            all.extend(["-U", "--preserve-credentials"]);
        }
        let state = self.binary.dir().join("state");
        let command = command.replace("STATE", state.to_str().unwrap());
        all.extend(["sh", "-c", &command]);
        let done = run("nsenter", &all, wait::SOON);
        assert!(done.status.success(), "{command}: {done:?}");
    }

    /// Leaves no byte of the disk free.
    fn fill(&self) -> fs::File {
        let mut file = fs::File::create(self.state().join("fill")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        file
    }

    fn get(&self, target: &str, agent: &str) -> Response {
        get(self.binary.gate, target, agent)
    }

    /// Uses tokens up until one can't be; which these were, and that one.
    fn use_until_refused(&self) -> (Vec<String>, String) {
        let mut used = Vec::new();
        for number in 0..20_000 {
            let link = link(&format!("fill-{number}"));
            let answer = self.get(&link, "anna");
            if answer.status != 200 {
                answer.refused(503, "store_unavailable");
                return (used, link);
            }
            assert_eq!(answer.body, pattern(1000));
            used.push(link);
        }
        panic!("the disk is never full");
    }

    /// Plain links need no store.
    fn serves_on(&mut self) {
        self.binary.running.assert_running();
        let now = Clock::system().now().secs();
        let plain = Token::whole().claim("iat", now).expires(now + 3600).at("/a");
        assert_eq!(self.get(&plain, "anna").expect(200).body, pattern(1000));
    }

    /// The disk is back: what was refused works once, what was used stays used.
    fn is_whole_again(&self, used: &[String], refused: &str) {
        wait::until_true("the store is back", || self.get(refused, "anna").status == 200);
        self.get(refused, "bert").refused(410, "token_spent");
        for link in used {
            self.get(link, "bert").refused(410, "token_spent");
        }
        self.get(&link("afterwards"), "anna").expect(200);
    }
}

fn get(gate: SocketAddr, target: &str, agent: &str) -> Response {
    Client::connect(gate).get(target, &[("User-Agent", agent)])
}

fn link(id: &str) -> String {
    let now = Clock::system().now().secs();
    let token = Token::whole().claim("uses", 1).claim("jti", id).claim("iat", now);
    token.expires(now + 3600).at("/a")
}

#[test]
fn a_full_disk_uses_no_token_and_loses_none() {
    let mut scene = Scene::on_a_disk_of("8m");
    scene.get(&link("before"), "anna").expect(200);
    let fill = scene.fill();
    let (used, refused) = scene.use_until_refused();
    scene.serves_on();
    // As long as it is full, also for those that were used: nothing is known of them.
    for link in used.last().into_iter().chain([&refused]) {
        scene.get(link, "bert").refused(503, "store_unavailable");
    }
    fill.set_len(0).unwrap();
    scene.is_whole_again(&used, &refused);
    scene.get(&link("before"), "bert").refused(410, "token_spent");
    scene.serves_on();
}

#[test]
fn a_disk_that_turns_read_only_uses_no_token_and_loses_none() {
    let mut scene = Scene::on_a_disk_of("8m");
    let fill = scene.fill();
    let (used, refused) = scene.use_until_refused();
    // The store has let go of its file and tries to open it again. Now it has room, and can't be written all the same.
    scene.inside("mount --bind STATE STATE && mount -o remount,bind,ro STATE");
    fill.set_len(0).unwrap();
    for _ in 0..50 {
        scene.get(&refused, "anna").refused(503, "store_unavailable");
    }
    scene.serves_on();
    scene.inside("umount STATE");
    scene.is_whole_again(&used, &refused);
}

#[test]
fn a_limit_on_the_size_of_files_uses_no_token_and_does_not_end_the_process() {
    let (files, setup) = setup();
    let mut scene = Scene::start(files, setup, &[]);
    let size = fs::metadata(scene.state().join("store.redb")).unwrap().len();
    let id = scene.binary.running.id().to_string();
    let limit = |size: &str| {
        let limit = format!("--fsize={size}:unlimited");
        let done = run("prlimit", &["--pid", &id, &limit], wait::SOON);
        assert!(done.status.success(), "{done:?}");
    };
    limit(&size.to_string());
    let (used, refused) = scene.use_until_refused();
    scene.serves_on();
    limit("unlimited");
    scene.is_whole_again(&used, &refused);
}

#[test]
fn a_state_folder_that_cannot_be_written_is_named_at_the_start() {
    let (_files, setup) = setup();
    let config = setup.write();
    let state = setup.dir().join("state");
    fs::create_dir(&state).unwrap();
    let mount = format!(
        "mount -t tmpfs -o mode=0700,ro none {} && exec \"$@\"",
        state.display()
    );
    let namespace = if is_root() { "-m" } else { "-rm" };
    let done = Command::new("unshare")
        .args([
            namespace,
            "sh",
            "-c",
            &mount,
            "sh",
            env!("CARGO_BIN_EXE_mediagate"),
            "serve",
            "--config",
        ])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(78), "{done:?}");
    assert!(
        said.contains(state.to_str().unwrap()) && said.contains("ead-only"),
        "{said}"
    );
}
