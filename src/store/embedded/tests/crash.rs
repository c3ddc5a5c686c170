//! The store on a disk that fails or loses its power, at each of its calls.

use std::collections::HashMap;

use super::disk::{Disk, Left, Trouble};
use super::*;
use crate::store::file::{make_in, open_backend};

/// How often each token was answered to be spent by this call.
type Spent = HashMap<TokenId, u32>;

fn fingerprint() -> Fingerprint {
    Fingerprint::of(&log_key(1))
}

fn fresh() -> Disk {
    static MADE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let disk = Disk::with(Vec::new());
        drop(make_in(disk.open(), fingerprint()).unwrap());
        disk.synced()
    });
    Disk::with(MADE.clone())
}

fn start(disk: &Disk, clock: &Clock) -> Result<Arc<Embedded>, StoreError> {
    let open = {
        let disk = disk.clone();
        move || open_backend(disk.open(), fingerprint()).map_err(StoreError::Unavailable)
    };
    Embedded::start(Parts {
        database: open()?,
        reopen: Box::new(open),
        max_entries: 1_000,
        clock: clock.clone(),
        first_wait: Duration::from_millis(1),
    })
}

/// Spends some tokens one after the other and some at the same time; errors are allowed.
async fn storm(store: &Embedded, spent: &mut Spent) {
    let mut note = |id, answer: Result<bool, StoreError>| {
        if answer == Ok(true) {
            *spent.entry(id).or_default() += 1;
        }
    };
    for number in 0..4 {
        let spend = store.journal.spend(id(number), Use::Spent, later(60)).await;
        note(id(number), spend);
    }
    let together: Vec<_> = (2..10)
        .map(|number| {
            let journal = Arc::clone(&store.journal);
            let spend = async move { journal.spend(id(number), Use::Spent, later(60)).await };
            (id(number), tokio::spawn(spend))
        })
        .collect();
    for (id, spend) in together {
        note(id, spend.await.unwrap());
    }
}

/// Spends them all once more on what is left of the disk: all that were spent are, and none is spent twice.
async fn check(disk: &Disk, clock: &Clock, spent: &Spent, case: &str) {
    let store = start(disk, clock).unwrap_or_else(|error| panic!("{case}: {error}"));
    for id in (0..10).map(id) {
        let known = store.journal.read_use(id).unwrap();
        let before = spent.get(&id).copied().unwrap_or_default();
        assert!(before <= 1, "{case}: {id} was spent {before} times");
        assert!(
            before == 0 || known == Some(Use::Spent),
            "{case}: {id} is fresh again"
        );
        let again = store.journal.spend(id, Use::Spent, later(60)).await.unwrap();
        assert_eq!(again, known.is_none(), "{case}: {id}");
        assert!(!store.journal.spend(id, Use::Spent, later(60)).await.unwrap());
    }
    store.close();
}

async fn calls_of_a_storm(clock: &Clock) -> usize {
    let disk = fresh();
    let store = start(&disk, clock).unwrap();
    disk.arm(Trouble::Nothing);
    let mut spent = Spent::new();
    storm(&store, &mut spent).await;
    assert_eq!(spent.len(), 10);
    disk.calls()
}

#[tokio::test]
async fn a_power_cut_at_any_call_makes_no_spent_token_fresh() {
    let clock = clock();
    let calls = calls_of_a_storm(&clock).await;
    for at in 0..calls + 8 {
        let disk = fresh();
        let store = start(&disk, &clock).unwrap();
        disk.arm(Trouble::CutPower(at));
        let mut spent = Spent::new();
        storm(&store, &mut spent).await;
        drop(store);
        let left = [
            Left::Nothing,
            Left::Everything,
            Left::Some(7),
            Left::Some(at as u64 + 99),
        ];
        for left in left {
            let case = format!("power cut at {at} of {calls}, {left:?} is left");
            check(&disk.after_power_cut(left), &clock, &spent, &case).await;
        }
    }
}

#[tokio::test]
async fn a_call_that_fails_is_reported_and_the_store_comes_back_by_itself() {
    let clock = clock();
    let calls = calls_of_a_storm(&clock).await;
    let mut failures = 0;
    for at in 0..calls {
        let disk = fresh();
        let store = start(&disk, &clock).unwrap();
        disk.arm(Trouble::FailOnce(at));
        let mut spent = Spent::new();
        storm(&store, &mut spent).await;
        until(|| store.is_up());
        // What was answered with an error may be asked again.
        storm(&store, &mut spent).await;
        failures += store.failures();
        let case = format!("call {at} of {calls} fails");
        assert!(spent.values().all(|times| *times == 1), "{case}: {spent:?}");
        store.close();
        check(&disk.after_power_cut(Left::Nothing), &clock, &spent, &case).await;
    }
    assert!(failures >= calls as u64 / 2, "{failures} of {calls}");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_refuses_everything_and_keeps_what_it_has() {
    let clock = clock();
    for trouble in [Trouble::ReadOnly, Trouble::Unreadable, Trouble::FailOnce(0)] {
        let disk = fresh();
        let store = start(&disk, &clock).unwrap();
        assert!(store.journal.spend(id(0), Use::Spent, later(60)).await.unwrap());
        disk.arm(trouble);
        let error = store.journal.spend(id(1), Use::Spent, later(60)).await;
        if trouble == Trouble::Unreadable && error == Ok(true) {
            // All that it had to read was in memory. What is not is not said to be unknown.
            store
                .journal
                .queue
                .send(Message::Broken("a test".into()))
                .unwrap();
            until(|| !store.is_up());
        } else {
            assert!(
                matches!(error, Err(StoreError::Unavailable(_))),
                "{trouble:?}: {error:?}"
            );
        }
        if !matches!(trouble, Trouble::FailOnce(_)) {
            let token = Revocation::Key { kid: "k".into() };
            for _ in 0..3 {
                assert!(store.journal.read_use(id(0)).is_err(), "{trouble:?}");
                assert!(store.recall(id(0)).is_err(), "{trouble:?}");
                assert!(store.revoke(token.clone()).await.is_err(), "{trouble:?}");
                assert!(store.take_refresh(id(0)).await.is_err(), "{trouble:?}");
            }
            assert!(
                store.failures() == 1,
                "{trouble:?}: one failure, however often it is tried"
            );
        }
        disk.arm(Trouble::Nothing);
        until(|| store.is_up());
        assert_eq!(store.journal.read_use(id(0)).unwrap(), Some(Use::Spent));
        assert!(!store.journal.spend(id(0), Use::Spent, later(60)).await.unwrap());
        store.close();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let clock = clock();
    let disk = fresh();
    let store = start(&disk, &clock).unwrap();
    let mut spent = Vec::new();
    let mut refused = None;
    // Large records, until the file would have to grow.
    for number in 0..900 {
        if number == 100 {
            disk.arm(Trouble::Full);
        }
        let mut session = session();
        session.covered = (0..250).map(|at| (at * 10, at * 10 + 5)).collect();
        match store
            .journal
            .spend(id(number), Use::Open(session), later(60))
            .await
        {
            Ok(done) => spent.push((id(number), done)),
            Err(StoreError::Unavailable(_)) => {
                refused = Some(id(number));
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    let refused = refused.unwrap();
    disk.arm(Trouble::Nothing);
    until(|| store.is_up());
    assert!(spent.len() >= 100);
    for (id, done) in spent {
        assert!(done && matches!(store.journal.read_use(id), Ok(Some(Use::Open(_)))));
    }
    assert!(store.journal.spend(refused, Use::Spent, later(60)).await.unwrap());
    store.close();
}

#[test]
fn a_file_that_was_cut_or_overwritten_is_an_error_or_the_store_that_it_was() {
    let clock = clock();
    let disk = fresh();
    drop(start(&disk, &clock).unwrap());
    let whole = disk.synced();
    let open = |bytes: Vec<u8>| open_backend(Disk::with(bytes).open(), fingerprint());
    open(whole.clone()).unwrap();
    for length in [
        1,
        8,
        9,
        64,
        319,
        320,
        4095,
        4096,
        8192,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        assert!(open(whole[..length].to_vec()).is_err(), "cut to {length}");
    }
    // Each page in turn.
    for page in 0..whole.len() / 4096 {
        for filling in [0, 0xff, 0x55] {
            let mut torn = whole.clone();
            torn[page * 4096..(page + 1) * 4096].fill(filling);
            // Opens where nothing stands in the page. What counts is that nothing else happens.
            let _ = open(torn);
        }
    }
}
