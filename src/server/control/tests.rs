use std::io::Write as _;

use arc_swap::ArcSwapOption;

use super::orders::{Order, Purpose, Withdrawal};
use super::*;
use crate::clock::{Clock, UnixTime};
use crate::secret::Secret;
use crate::store::{Embedded, Purposes, Store, StoreSetup};
use crate::token::TokenId;
use crate::token::keys::LogKey;
use crate::token::scheme::opaque::Handle;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn clock() -> Clock {
    Clock::manual(UnixTime::from_secs(1000))
}

struct Bench {
    folder: tempfile::TempDir,
    store: Arc<ArcSwapOption<Store>>,
    names: Arc<LogKey>,
}

impl Bench {
    /// A control socket that answers, without a server behind it.
    fn start(folder: tempfile::TempDir) -> Self {
        let runtime = runtime();
        let control = {
            let _guard = runtime.enter();
            Control::bind(folder.path()).unwrap()
        };
        let store: Arc<ArcSwapOption<Store>> = Arc::default();
        let names = Arc::new(LogKey::new(&Secret::new(vec![1; 32])));
        let book = Book::new(Arc::clone(&store), Arc::clone(&names), clock());
        std::thread::spawn(move || {
            let (handovers, _ready) = mpsc::channel(1);
            runtime.block_on(control.serve(&Desk::new(Vec::new(), handovers, book)));
        });
        Self { folder, store, names }
    }

    fn open(&self) -> Arc<Store> {
        let setup = StoreSetup {
            folder: self.folder.path().to_owned(),
            max_entries: 1000,
            log_key: Arc::clone(&self.names),
        };
        let store = Arc::new(Store::Embedded(Embedded::open(&setup, clock()).unwrap()));
        self.store.store(Some(Arc::clone(&store)));
        store
    }

    fn ask(&self, command: Command) -> Message {
        let mut wire = connect(self.folder.path(), Duration::from_secs(20)).unwrap();
        wire.send(&Message::Command(command), &[]).unwrap();
        wire.receive().unwrap().0
    }
}

#[test]
fn who_asks_learns_who_serves_and_the_socket_is_the_owners_alone() {
    let bench = Bench::start(tempfile::tempdir().unwrap());
    let mode = fs::metadata(bench.folder.path().join(NAME))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let Message::Status(status) = bench.ask(Command::Status) else {
        panic!("another answer");
    };
    assert_eq!(status.pid, std::process::id());
}

#[test]
fn a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for name in [NAME, DRAFT] {
        drop(std::os::unix::net::UnixListener::bind(folder.path().join(name)).unwrap());
    }
    let bench = Bench::start(folder);
    assert!(matches!(bench.ask(Command::Status), Message::Status(_)));
    assert!(!bench.folder.path().join(DRAFT).exists());
}

#[test]
fn a_deep_folder_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    let runtime = runtime();
    let _guard = runtime.enter();
    let _control = Control::bind(&deep).unwrap();
    connect(&deep, PATIENCE).unwrap();
}

#[test]
fn nonsense_is_refused_and_more_than_a_few_at_a_time_too() {
    let bench = Bench::start(tempfile::tempdir().unwrap());
    let path = bench.folder.path().join(NAME);
    let mut stream = UnixStream::connect(&path).unwrap();
    let text = br#"{"version":1,"message":{"command":"dance"}}"#;
    stream
        .write_all(&u32::try_from(text.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(text).unwrap();
    let mut wire = Wire::new(stream, Duration::from_secs(20)).unwrap();
    assert!(matches!(wire.receive().unwrap().0, Message::Refused(_)));
    drop(wire);
    // Silent ones take all places, and the next is closed.
    let mut silent = Vec::new();
    loop {
        let mut wire = connect(bench.folder.path(), Duration::from_secs(20)).unwrap();
        if silent.len() < MAX_CONVERSATIONS - 1 {
            silent.push(wire);
            continue;
        }
        let sent = wire.send(&Message::Command(Command::Status), &[]);
        if sent.and_then(|()| wire.receive()).is_err() {
            break;
        }
        assert!(silent.len() <= MAX_CONVERSATIONS, "there is no bound");
        silent.push(connect(bench.folder.path(), Duration::from_secs(20)).unwrap());
    }
}

fn order() -> Order {
    Order {
        purposes: vec![Purpose::File],
        expires: 2_000_000,
        once: true,
        subject: Some("42".into()),
        paths: vec!["/a".into()],
        media: None,
        methods: None,
        addresses: None,
        filename: None,
        rate: None,
        streams: None,
    }
}

#[test]
fn a_token_that_is_issued_is_in_the_store_under_its_name() {
    let bench = Bench::start(tempfile::tempdir().unwrap());
    let store = bench.open();
    let Message::Issued { id, token } = bench.ask(Command::Issue(order())) else {
        panic!("another answer");
    };
    let handle = Handle::parse(&token.0).unwrap();
    assert_eq!(handle.id(&bench.names), TokenId::parse(&id).unwrap());
    let issued = runtime()
        .block_on(store.recall(TokenId::parse(&id).unwrap()))
        .unwrap()
        .unwrap();
    assert_eq!(issued.purposes, Purposes::FILE);
    assert_eq!(issued.claims.subject.as_deref(), Some("42"));
    // What can't be kept is refused, and why.
    let nothing = Order {
        purposes: Vec::new(),
        ..order()
    };
    assert!(matches!(bench.ask(Command::Issue(nothing)), Message::Refused(why) if why.contains("nothing")));
}

#[test]
fn while_the_store_is_not_open_who_asks_is_to_ask_again() {
    let bench = Bench::start(tempfile::tempdir().unwrap());
    let revoke = || Command::Revoke(Withdrawal::Key { kid: "k".into() });
    assert_eq!(bench.ask(revoke()), Message::AskAgain);
    assert_eq!(bench.ask(Command::Issue(order())), Message::AskAgain);
    bench.open();
    assert_eq!(bench.ask(revoke()), Message::Withdrawn);
    let bad = Withdrawal::Token {
        id: "0f".into(),
        expires: None,
    };
    assert!(matches!(bench.ask(Command::Revoke(bad)), Message::Refused(_)));
}
