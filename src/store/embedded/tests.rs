use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::secret::Secret;
use crate::store::uses::Reservation;
use crate::store::{Purposes, Session};
use crate::token::Claims;
use crate::token::keys::LogKey;

mod crash;
mod disk;

fn id(number: u64) -> TokenId {
    TokenId((u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes())
}

fn log_key(byte: u8) -> LogKey {
    LogKey::new(&Secret::new(vec![byte; 32]))
}

fn clock() -> Clock {
    Clock::manual(START)
}

const START: UnixTime = UnixTime::from_secs(1_800_000_000);

fn setup(folder: &Path) -> StoreSetup {
    StoreSetup {
        folder: folder.to_owned(),
        max_entries: 100_000,
        log_key: Arc::new(log_key(1)),
    }
}

fn open(folder: &Path, clock: &Clock) -> Arc<Embedded> {
    Embedded::open(&setup(folder), clock.clone()).unwrap()
}

fn issued(expires: UnixTime) -> Issued {
    let mut claims = Claims::empty(id(0));
    claims.expires = Some(expires);
    claims.subject = Some("43".into());
    Issued {
        claims: Arc::new(claims),
        purposes: Purposes::FILE.and(Purposes::LOGIN),
        exchange_secs: 9,
    }
}

fn refresh(subject: &str, seconds: u64) -> Refresh {
    Refresh {
        subject: subject.into(),
        scope: "files:read".into(),
        client: "app".into(),
        issued: START,
        expires: START.after(Duration::from_secs(seconds)),
    }
}

fn later(seconds: u64) -> UnixTime {
    START.after(Duration::from_secs(seconds))
}

#[tokio::test]
async fn what_was_said_to_be_done_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    store.remember(id(1), issued(later(60))).await.unwrap();
    assert!(store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    assert!(!store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    let token = Revocation::Token {
        id: id(2),
        expires: Some(later(60)),
    };
    let subject = Revocation::Subject {
        subject: "42".into(),
        before: START,
    };
    let key = Revocation::Key { kid: "old".into() };
    for revocation in [token, subject, key] {
        store.revoke(revocation).await.unwrap();
    }
    store.remember_refresh(id(3), refresh("43", 60)).await.unwrap();
    assert_eq!(store.entries(), 6);
    store.close();

    let mode = std::fs::metadata(folder.path().join("store.redb"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let store = open(folder.path(), &clock);
    assert_eq!(store.entries(), 6);
    let known = store.recall(id(1)).unwrap().unwrap();
    assert_eq!(known.claims.subject.as_deref(), Some("43"));
    assert_eq!(known.purposes, Purposes::FILE.and(Purposes::LOGIN));
    assert_eq!(known.exchange_secs, 9);
    assert!(store.recall(id(9)).unwrap().is_none());
    assert_eq!(store.journal.read_use(id(1)).unwrap(), Some(Use::Spent));
    assert_eq!(store.journal.read_use(id(9)).unwrap(), None);
    assert!(!store.uses.spend(id(1), Use::Spent, later(120)).await.unwrap());
    let revoked = store.revoked();
    assert!(revoked.covers(&Claims::empty(id(2))) && !revoked.covers(&Claims::empty(id(1))));
    let of_subject = Claims {
        subject: Some("42".into()),
        ..Claims::empty(id(9))
    };
    let of_key = Claims {
        key: Some("old".into()),
        ..Claims::empty(id(9))
    };
    assert!(revoked.covers(&of_subject) && revoked.covers(&of_key));
    assert_eq!(store.take_refresh(id(3)).await.unwrap(), Some(refresh("43", 60)));
    assert_eq!(store.take_refresh(id(3)).await.unwrap(), None);
    store.close();
}

/// The engine frees pages that no reader holds, and fails a commit that would free one that is read (debug builds alone).
#[test]
fn no_page_is_freed_while_its_record_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &clock());
    let done = AtomicU8::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(Ordering::Acquire) == 0 {
                    for number in 0..8 {
                        let _ = store.recall(id(number)).unwrap();
                    }
                    std::thread::yield_now();
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for number in 0..60 {
            let remembered = runtime.block_on(store.remember(id(number), issued(later(60))));
            if remembered.is_err() {
                break;
            }
        }
        done.store(1, Ordering::Release);
    });
    assert_eq!((store.failures(), store.entries()), (0, 60));
}

/// Waits for something that another thread does.
fn until(is_so: impl Fn() -> bool) {
    let waited = Stopwatch::start();
    while !is_so() {
        assert!(waited.elapsed() < Duration::from_secs(20), "it did not happen");
        std::thread::yield_now();
    }
}

fn session() -> Session {
    Session {
        client: [1; 16],
        cookie: [2; 16],
        cookie_shown: false,
        target: [3; 16],
        etag: None,
        opened: START,
        ends: later(6 * 3600),
        last_byte: START,
        completed: None,
        size: Some(1000),
        handed: 10,
        covered: vec![(0, 10)],
    }
}

#[test]
fn of_many_threads_that_spend_a_token_one_is_told_that_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &clock());
    let rounds = 20;
    let first = std::sync::atomic::AtomicU32::new(0);
    let start = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for round in 0..rounds {
                    start.wait();
                    let spend = store.uses.spend(id(round), Use::Spent, later(60));
                    if runtime.block_on(spend).unwrap() {
                        first.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(u64::from(first.into_inner()), rounds);
    assert_eq!(store.entries(), rounds);
}

/// Holds the only write transaction that there can be, while `during` runs.
async fn while_the_disk_is_slow<T>(store: &Embedded, during: impl AsyncFnOnce() -> T) -> T {
    let state = store.journal.shared.state.load_full();
    let State::Up(database) = &*state else {
        panic!("it is up")
    };
    let transaction = database.begin_write().unwrap();
    let result = during().await;
    transaction.abort().unwrap();
    result
}

#[tokio::test]
async fn what_waits_together_is_committed_together_and_too_much_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &clock());
    let before = store.batches();
    let spend = |number| {
        let journal = Arc::clone(&store.journal);
        tokio::spawn(async move { journal.spend(id(number), Use::Spent, later(60)).await })
    };
    let many = QUEUE as u64 + 1000;
    let waiting = while_the_disk_is_slow(&store, async || {
        let first = spend(0);
        until_async(|| store.waiting() == 0).await;
        tokio::task::yield_now().await;
        let rest: Vec<_> = (1..many).map(spend).collect();
        until_async(|| store.waiting() >= QUEUE as u64).await;
        std::iter::once(first).chain(rest).collect::<Vec<_>>()
    })
    .await;
    let mut done = 0;
    for spend in waiting {
        match spend.await.unwrap() {
            Ok(true) => done += 1,
            Err(StoreError::Unavailable(reason)) => assert!(reason.contains("busy"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(done >= QUEUE as u64 && done < many, "{done}");
    let batches = store.batches();
    let commits = batches.commits - before.commits;
    assert_eq!(batches.operations - before.operations, done);
    // One was begun with the first; the others are as full as they may be.
    assert!(
        commits <= 1 + done.div_ceil(writer::MOST_AT_ONCE as u64),
        "{commits}"
    );
    assert_eq!(store.entries(), done);
    assert_eq!(store.waiting(), 0);
}

#[tokio::test]
async fn a_full_store_refuses_and_evicts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let small = StoreSetup {
        max_entries: 100,
        ..setup(folder.path())
    };
    let store = Embedded::open(&small, clock.clone()).unwrap();
    for number in 0..100 {
        assert!(store.uses.spend(id(number), Use::Spent, later(60)).await.unwrap());
    }
    let full = Err(StoreError::Full);
    assert_eq!(
        store.uses.spend(id(100), Use::Spent, later(60)).await,
        Err(StoreError::Full)
    );
    assert_eq!(store.remember(id(101), issued(later(60))).await, full);
    assert_eq!(store.remember_refresh(id(102), refresh("43", 60)).await, full);
    // The first is still spent, and what is known can still change.
    assert!(!store.uses.spend(id(0), Use::Spent, later(60)).await.unwrap());
    store.journal.update_use(id(0), Use::Spent).await.unwrap();
    // Revocations have a tenth of their own.
    for number in 200..210 {
        let token = Revocation::Token {
            id: id(number),
            expires: None,
        };
        store.revoke(token.clone()).await.unwrap();
        store.revoke(token).await.unwrap();
    }
    let token = Revocation::Token {
        id: id(210),
        expires: None,
    };
    assert_eq!(store.revoke(token).await, full);
    assert!(store.revoked.covers(&Claims::empty(id(209))));
    assert!(!store.revoked.covers(&Claims::empty(id(210))));
    store.close();

    let store = Embedded::open(&small, clock.clone()).unwrap();
    assert_eq!(
        store.uses.spend(id(100), Use::Spent, later(60)).await,
        Err(StoreError::Full)
    );
    assert!(!store.uses.spend(id(0), Use::Spent, later(60)).await.unwrap());
    // They go in steps of 64 seconds.
    clock.advance(Duration::from_secs(61 + 64));
    assert!(store.uses.spend(id(100), Use::Spent, later(160)).await.unwrap());
}

#[tokio::test]
async fn what_is_past_is_forgotten_the_oldest_first_and_so_much_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    let many = 2 * LEAST_FORGOTTEN as u64;
    // The later the number the earlier its end, each in a step of its own.
    let step = 64;
    for number in 0..many {
        let until = later(step * (1000 - number));
        store.journal.spend(id(number), Use::Spent, until).await.unwrap();
    }
    clock.advance(Duration::from_secs(step * (1000 - many - 1)));
    store
        .journal
        .spend(id(5000), Use::Spent, later(999_999))
        .await
        .unwrap();
    assert_eq!(store.entries(), many + 1, "nothing goes before its time");
    clock.advance(Duration::from_secs(step * 2000));
    assert!(
        store
            .journal
            .spend(id(5001), Use::Spent, later(999_999))
            .await
            .unwrap()
    );
    assert_eq!(store.entries(), many + 2 - LEAST_FORGOTTEN as u64);
    for number in 0..many {
        let known = store.journal.read_use(id(number)).unwrap();
        assert_eq!(
            known.is_some(),
            number < many - LEAST_FORGOTTEN as u64,
            "{number}"
        );
    }
    // The rest without anybody's doing.
    until_async(|| store.entries() == 2).await;
}

#[tokio::test]
async fn what_a_session_needs_is_remembered_as_long_as_it_may_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    let until = later(7 * 3600);
    let token = |number| Revocation::Token {
        id: id(number),
        expires: Some(later(60)),
    };
    for number in [1, 2] {
        store.remember(id(number), issued(later(60))).await.unwrap();
    }
    // One is withdrawn before its session begins, as happens when both come together, one after, one without a session.
    store.revoke(token(1)).await.unwrap();
    for number in [1, 2] {
        assert!(
            store
                .uses
                .spend(id(number), Use::Open(session()), until)
                .await
                .unwrap()
        );
    }
    store.revoke(token(2)).await.unwrap();
    store.revoke(token(3)).await.unwrap();
    clock.advance(Duration::from_secs(60 + 300 + 60));
    store.remember(id(4), issued(later(9 * 3600))).await.unwrap();
    let covers = |number| store.revoked.covers(&Claims::empty(id(number)));
    assert!(covers(1) && covers(2) && !covers(3));
    for number in [1, 2] {
        assert!(store.recall(id(number)).unwrap().is_some(), "{number}");
        let mut session = session();
        session.handed = 500;
        let open = Use::Open(session);
        store.journal.update_use(id(number), open.clone()).await.unwrap();
        assert_eq!(store.journal.read_use(id(number)).unwrap(), Some(open));
    }
    clock.advance(Duration::from_secs(7 * 3600));
    store.remember(id(4), issued(later(9 * 3600))).await.unwrap();
    assert!(!covers(1) && !covers(2));
    assert_eq!(store.entries(), 1);
    // What comes too late changes nothing.
    store.journal.update_use(id(1), Use::Spent).await.unwrap();
    assert_eq!(store.journal.read_use(id(1)).unwrap(), None);
    assert_eq!(store.entries(), 1);
}

#[tokio::test]
async fn a_session_that_has_ended_does_not_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &clock());
    let journal = &store.journal;
    journal
        .spend(id(1), Use::Open(session()), later(60))
        .await
        .unwrap();
    journal.update_use(id(1), Use::Spent).await.unwrap();
    journal.update_use(id(1), Use::Open(session())).await.unwrap();
    assert_eq!(journal.read_use(id(1)).unwrap(), Some(Use::Spent));
    for unspent in [
        Use::Fresh,
        Use::Reserved(Reservation {
            owner: 1,
            lease: START,
        }),
    ] {
        assert!(journal.spend(id(2), unspent, later(60)).await.is_err());
    }
    assert_eq!(journal.read_use(id(2)).unwrap(), None);
}

#[tokio::test]
async fn a_refresh_token_is_taken_once_and_gives_way_to_its_successor() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    store.remember_refresh(id(1), refresh("43", 60)).await.unwrap();
    let takers: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.take_refresh(id(1)).await.unwrap() })
        })
        .collect();
    let mut taken = 0;
    for taker in takers {
        taken += u32::from(taker.await.unwrap().is_some());
    }
    assert_eq!(taken, 1);

    store.remember_refresh(id(2), refresh("43", 60)).await.unwrap();
    store.remember_refresh(id(3), refresh("44", 60)).await.unwrap();
    store.remember_refresh(id(4), refresh("43", 90)).await.unwrap();
    assert_eq!(store.entries(), 2);
    assert_eq!(store.take_refresh(id(2)).await.unwrap(), None);
    clock.advance(Duration::from_secs(60));
    assert_eq!(store.take_refresh(id(3)).await.unwrap(), None, "it is expired");
    assert_eq!(store.take_refresh(id(4)).await.unwrap(), Some(refresh("43", 90)));
    assert_eq!(store.entries(), 0);
    // Its subject may have another one, and be forgotten in time.
    store.remember_refresh(id(5), refresh("43", 90)).await.unwrap();
    clock.advance(Duration::from_secs(30));
    store.remember_refresh(id(6), refresh("43", 200)).await.unwrap();
    assert_eq!(store.entries(), 1);
}

#[tokio::test]
async fn a_store_that_closes_ends_what_was_begun_and_begins_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    let reserved = Use::Reserved(Reservation {
        owner: 1,
        lease: later(30),
    });
    store.uses.step(id(1), |entry| entry.set(reserved)).unwrap();
    let closing = {
        let store = Arc::clone(&store);
        std::thread::spawn(move || store.close())
    };
    until(|| store.journal.phase.load(Ordering::Acquire) != OPEN);
    assert_eq!(store.uses.step(id(2), |_| ()), Err(StoreError::Closed));
    assert!(matches!(store.recall(id(1)), Err(StoreError::Closed)));
    assert_eq!(
        store.remember(id(2), issued(later(60))).await,
        Err(StoreError::Closed)
    );
    assert_eq!(store.take_refresh(id(2)).await, Err(StoreError::Closed));
    assert!(!closing.is_finished());
    // The reservation comes to its end.
    assert!(store.uses.spend(id(1), Use::Spent, later(60)).await.unwrap());
    store.uses.step(id(1), |entry| entry.set(Use::Spent)).unwrap();
    closing.join().unwrap();
    assert_eq!(
        store.uses.spend(id(3), Use::Spent, later(60)).await,
        Err(StoreError::Closed)
    );
    store.close();
    // Somebody else may open it while this one is still there.
    let other = open(folder.path(), &clock);
    assert_eq!(other.journal.read_use(id(1)).unwrap(), Some(Use::Spent));
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let refused = |log_key_byte, says: &str| {
        let setup = StoreSetup {
            log_key: Arc::new(log_key(log_key_byte)),
            ..setup(folder.path())
        };
        let error = Embedded::open(&setup, clock()).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("store.redb"), "{error}");
    };
    let mut garbage = vec![0; 100_000];
    garbage
        .iter_mut()
        .enumerate()
        .for_each(|(at, byte)| *byte = (at * 31 % 251) as u8);
    for content in [b"".as_slice(), b"x", b"redb", &garbage] {
        std::fs::write(&path, content).unwrap();
        refused(1, "");
        assert_eq!(std::fs::read(&path).unwrap(), content, "it is untouched");
    }
    std::fs::remove_file(&path).unwrap();
    // Another program's.
    let database = Database::create(&path).unwrap();
    drop(database);
    refused(1, "not a store of mediagate");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused(1, "");
    std::fs::remove_dir(&path).unwrap();
    // What a process left that died while it made a store is not a store.
    std::fs::write(folder.path().join("store.redb.new"), "half").unwrap();
    let store = open(folder.path(), &clock());
    // Two at a time are one too many.
    refused(1, "");
    store.close();
    refused(2, "another log key");
    drop(open(folder.path(), &clock()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    // Cut, as a copy may be.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(5000).unwrap();
    refused(1, "");
}

#[test]
fn a_folder_that_takes_no_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for place in [file, folder.path().join("absent")] {
        assert!(matches!(
            Embedded::open(&setup(&place), clock()),
            Err(StoreError::Unavailable(_))
        ));
    }
}

#[tokio::test]
async fn a_file_that_vanishes_is_not_made_again_while_the_store_runs() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = open(folder.path(), &clock);
    assert!(store.uses.spend(id(1), Use::Spent, later(60)).await.unwrap());
    let (path, aside) = (folder.path().join("store.redb"), folder.path().join("aside"));
    std::fs::rename(&path, &aside).unwrap();
    store
        .journal
        .queue
        .send(Message::Broken("a test".into()))
        .unwrap();
    until_async(|| !store.is_up()).await;
    let error = store.uses.spend(id(1), Use::Spent, later(60)).await;
    assert!(matches!(error, Err(StoreError::Unavailable(_))), "{error:?}");
    assert!(!path.exists());
    std::fs::rename(&aside, &path).unwrap();
    until_async(|| store.is_up()).await;
    assert!(!store.uses.spend(id(1), Use::Spent, later(60)).await.unwrap());
}

/// The same for what needs this thread, too.
async fn until_async(is_so: impl Fn() -> bool) {
    let waited = Stopwatch::start();
    while !is_so() {
        assert!(waited.elapsed() < Duration::from_secs(20), "it did not happen");
        tokio::task::yield_now().await;
    }
}
