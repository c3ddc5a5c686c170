//! Single use across crashes (P19): a storm of clients uses tokens up, the process is killed in the middle of it and
//! started again over the same folder, and every token that was ever answered is shown again. `benches/hostile/kills`
//! does the same for hours.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mediagate::clock::Clock;
use mediagate::secret::Secret;
use mediagate::server::control::orders::{Order, Purpose};
use mediagate::server::control::wire::{Command, Message};
use mediagate::server::control::{self};
use mediagate::store::{Embedded, StoreSetup};
use mediagate::token::keys::LogKey;
use tempfile::TempDir;

use crate::support::origin::pattern;
use crate::support::program::{Binary, own_addresses};
use crate::support::{Client, End, Response, Setup, Token, conf, wait};

const KILLS: usize = 20;
/// Tokens of a round, in equal parts of each kind.
const TOKENS: usize = 40;
const CLIENTS: usize = 10;

/// Numbers that differ from run to run; who fails prints the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}

/// As long as the test, however busy the machine is.
const SESSION: &str = "single_use = { session_ttl = \"1h\", after_complete = \"1h\" }\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A JWT, one answer.
    Strict,
    /// A JWT that opens a session.
    Session,
    /// A handle that opens a session.
    Opaque,
    /// A login link.
    Login,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Strict, Self::Session, Self::Opaque, Self::Login];

    /// What its only use is answered with.
    fn success(self) -> u16 {
        if self == Self::Login { 303 } else { 200 }
    }

    /// What its own client has after a restart.
    fn again(self) -> u16 {
        match self {
            Self::Strict | Self::Login => 410,
            Self::Session | Self::Opaque => 200,
        }
    }
}

struct Link {
    kind: Kind,
    target: String,
}

fn setup(files: &Path) -> Setup {
    fs::write(files.join("a"), pattern(1000)).unwrap();
    let route = |name: &str, more: &str| {
        conf::route_with(name, &format!("/{name}"), &format!("strip_prefix = true\n{more}"))
    };
    let opaque = "[[route]]\nname = \"opaque\"\npath = \"/opaque\"\norigin = \"files\"\nstrip_prefix = true\n\
                  carriers = [{ query = \"t\" }]\n";
    let landing = "[landing]\nkeys = \"sessions\"\nissuer = \"https://landing.test\"\n\
                   [keys.sessions]\nfile = \"{dir}/sessions.jwks.json\"\ngenerate = \"EdDSA\"\n";
    Setup::new(
        conf::folder(files)
            + &route("strict", "single_use = { strict = true }")
            + &route("session", SESSION)
            + opaque
            + SESSION
            + "[route.scheme.opaque]\n"
            + landing,
    )
    .workers(2)
}

/// Has the running process issue an opaque token.
fn issue(state: &Path, purpose: Purpose) -> String {
    let mut wire = control::connect(state, wait::SOON).expect("the control socket");
    let order = Order {
        purposes: vec![purpose],
        expires: Clock::system().now().millis() + 3_600_000,
        once: true,
        subject: Some("customer-42".into()),
        paths: vec!["/**".into()],
        media: None,
        methods: None,
        addresses: None,
        filename: None,
        rate: None,
        streams: None,
    };
    wire.send(&Message::Command(Command::Issue(order)), &[]).unwrap();
    match wire.receive().unwrap().0 {
        Message::Issued { token, .. } => token.0,
        other => panic!("{other:?}"),
    }
}

/// Fresh tokens of all kinds.
fn links(state: &Path, round: usize) -> Vec<Link> {
    let now = Clock::system().now().secs();
    let link = |at: usize| {
        let kind = Kind::ALL[at % Kind::ALL.len()];
        let signed = |path| {
            Token::whole()
                .claim("uses", 1)
                .claim("jti", format!("{round}-{at}"))
                .claim("iat", now)
                .expires(now + 3600)
                .at(path)
        };
        let target = match kind {
            Kind::Strict => signed("/strict/a"),
            Kind::Session => signed("/session/a"),
            Kind::Opaque => format!("/opaque/a?t={}", issue(state, Purpose::File)),
            Kind::Login => format!("/login?t={}&redirectUrl=%2F", issue(state, Purpose::Login)),
        };
        Link { kind, target }
    };
    let parts: Vec<usize> = (0..8).collect();
    std::thread::scope(|scope| {
        let makers: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(move || (*part..TOKENS).step_by(8).map(link).collect::<Vec<_>>()))
            .collect();
        makers
            .into_iter()
            .flat_map(|maker| maker.join().unwrap())
            .collect()
    })
}

/// A client that tells of a connection that ended, or of none.
struct Asker {
    gate: SocketAddr,
    client: Option<Client>,
}

impl Asker {
    fn new(gate: SocketAddr) -> Self {
        Self { gate, client: None }
    }

    /// The status of the answer, also where its body was cut; `None` where the process was gone before.
    fn ask(&mut self, target: &str, agent: &str) -> Option<u16> {
        self.answer(target, agent).map(|answer| answer.status)
    }

    fn answer(&mut self, target: &str, agent: &str) -> Option<Response> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::over(TcpStream::connect(self.gate).ok()?).allow("set-cookie"),
        };
        client.request("GET", target, &[("User-Agent", agent)]);
        let answer = client.try_read().ok()?;
        if answer.header("connection").is_none() && answer.end == End::Complete {
            self.client = Some(client);
        }
        Some(answer)
    }
}

/// What clients know of the links of a round, by their numbers.
#[derive(Default)]
struct Seen {
    /// Who had the file.
    had: HashMap<usize, String>,
    /// Asked for by somebody who was never answered.
    lost: HashSet<usize>,
}

/// Each link is asked for by two clients; the process is killed when so many were answered.
fn storm(binary: &mut Binary, links: &[Link], answers: usize) -> Seen {
    let (next, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = Mutex::new(Seen::default());
    let gate = binary.gate;
    let work = |client: usize| {
        let mut asker = Asker::new(gate);
        let agent = format!("client-{client}");
        loop {
            // Twice in a row: often at the same time.
            let at = next.fetch_add(1, Ordering::SeqCst) / 2;
            let Some(link) = links.get(at) else { return };
            match asker.ask(&link.target, &agent) {
                None => {
                    seen.lock().unwrap().lost.insert(at);
                    return;
                }
                Some(410) => {}
                Some(status) => {
                    assert_eq!(status, link.kind.success(), "{:?}", link.kind);
                    // The same client may have been given both turns, and be in its own session.
                    let other = seen.lock().unwrap().had.insert(at, agent.clone());
                    assert!(
                        other
                            .as_ref()
                            .is_none_or(|other| *other == agent && link.kind.again() == 200),
                        "{:?} had by {other:?} and {agent}",
                        link.kind
                    );
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    };
    let work = &work;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || work(client)))
            .collect();
        wait::until_true("so many are answered", || {
            answered.load(Ordering::SeqCst) >= answers || clients.iter().all(|client| client.is_finished())
        });
        binary.kill();
        for client in clients {
            client.join().unwrap();
        }
    });
    seen.into_inner().unwrap()
}

/// What has been answered is shown again: by somebody else, and by its own client.
fn replay(gate: SocketAddr, links: &[Link], had: &HashMap<usize, String>) {
    let entries: Vec<_> = had.iter().collect();
    std::thread::scope(|scope| {
        for part in entries.chunks(entries.len().div_ceil(4).max(1)) {
            scope.spawn(move || {
                let mut asker = Asker::new(gate);
                for (at, agent) in part {
                    let link = &links[**at];
                    assert_eq!(asker.ask(&link.target, "second"), Some(410), "{:?}", link.kind);
                    assert_eq!(
                        asker.ask(&link.target, agent),
                        Some(link.kind.again()),
                        "{:?}, by its own client",
                        link.kind
                    );
                }
            });
        }
    });
}

/// What nobody had works once; where an answer was lost, it may have been used.
fn use_up(gate: SocketAddr, links: &[Link], seen: &mut Seen) {
    let left: Vec<usize> = (0..links.len()).filter(|at| !seen.had.contains_key(at)).collect();
    let lost = &seen.lost;
    let work = |part: &[usize]| {
        let mut asker = Asker::new(gate);
        let mut late = Vec::new();
        for at in part {
            let link = &links[*at];
            let answer = asker.answer(&link.target, "late").expect("an answer");
            let used = answer.status == 410 && lost.contains(at);
            assert!(
                used || answer.status == link.kind.success(),
                "{:?}: {answer:?}",
                link.kind
            );
            assert_eq!(asker.ask(&link.target, "later"), Some(410), "{:?}", link.kind);
            late.extend((!used).then_some(*at));
        }
        late
    };
    let work = &work;
    let late: Vec<usize> = std::thread::scope(|scope| {
        let parts = left.chunks(left.len().div_ceil(8).max(1));
        let users: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        users.into_iter().flat_map(|user| user.join().unwrap()).collect()
    });
    seen.had
        .extend(late.into_iter().map(|at| (at, "late".to_owned())));
}

/// What the kernel had of the file when the process was gone can be opened, by whoever finds it.
fn a_copy_opens(state: &Path) {
    let copy = TempDir::new().unwrap();
    fs::copy(state.join("store.redb"), copy.path().join("store.redb")).unwrap();
    let key = Secret::from_file(&state.join("log-id.key")).unwrap();
    let setup = StoreSetup {
        folder: copy.path().to_owned(),
        max_entries: 1_000_000,
        log_key: std::sync::Arc::new(LogKey::new(&key)),
    };
    let store = Embedded::open(&setup, Clock::system()).expect("the copy opens");
    assert!(store.entries() > 0 && store.is_up());
}

#[test]
fn p19_what_was_answered_never_works_again_however_often_the_process_is_killed() {
    let seed = RandomState::new().hash_one(0);
    eprintln!("seed {seed:#x}");
    let mut random = Random(seed);
    let files = TempDir::new().unwrap();
    let [gate, admin] = own_addresses();
    let mut binary = Binary::start_at(setup(files.path()), gate, admin);
    let state = binary.dir().join("state");
    let mut rounds = Vec::new();
    for round in 0..KILLS {
        let links = links(&state, round);
        let mut seen = storm(&mut binary, &links, random.below(TOKENS));
        a_copy_opens(&state);
        binary.start_again();
        replay(gate, &links, &seen.had);
        use_up(gate, &links, &mut seen);
        rounds.push((links, seen.had));
    }
    for (links, had) in &rounds {
        replay(gate, links, had);
    }
}
