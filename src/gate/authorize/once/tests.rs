//! The steps of single use under many schedules (shuttle): clients that come together, wait, leave, are refused by the
//! origin or by the journal. Whatever happens, one has it, nobody is forgotten, and nothing stays reserved.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use shuttle::rand::Rng;

use super::*;
use crate::gate::session::Asks;
use crate::store::{Session, StoreError};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const LEASE: Duration = Duration::from_secs(10);
const SCHEDULES: usize = 3000;

/// A journal whose answers take a while, and which may fail before or after it has written.
#[derive(Default)]
struct Journal {
    written: Mutex<HashMap<TokenId, Use>>,
    won: AtomicUsize,
    fails: bool,
}

impl Durable for Journal {
    fn read_use(&self, id: TokenId) -> Result<Option<Use>, StoreError> {
        Ok(self.written.lock().unwrap().get(&id).cloned())
    }

    async fn spend(
        &self,
        id: TokenId,
        spent: Use,
        _kept: impl Into<Kept> + Send,
    ) -> Result<bool, StoreError> {
        let broken = || Err(StoreError::Unavailable("a fault".into()));
        shuttle::future::yield_now().await;
        if self.fails && shuttle::rand::thread_rng().gen_bool(0.3) {
            return broken();
        }
        let won = match self.written.lock().unwrap().entry(id) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(spent);
                true
            }
        };
        self.won.fetch_add(usize::from(won), Ordering::Relaxed);
        shuttle::future::yield_now().await;
        if self.fails && shuttle::rand::thread_rng().gen_bool(0.3) {
            // It is written, but nobody learns of it.
            return broken();
        }
        Ok(won)
    }

    async fn update_use(&self, id: TokenId, spent: Use) -> Result<(), StoreError> {
        self.written.lock().unwrap().insert(id, spent);
        Ok(())
    }
}

fn once() -> Once {
    let claims = Claims {
        uses: crate::token::Uses::Once,
        ..Claims::empty(TokenId([5; 16]))
    };
    let grant = Grant {
        origin_target: "/a".into(),
        identity: Vec::new(),
        filename: None,
        media_type: None,
        claims: Arc::new(claims),
        once: true,
    };
    Once::new(grant, Standing::InTime)
}

fn session(client: u8) -> Use {
    Use::Open(Session {
        client: [client; 16],
        cookie: [client; 16],
        cookie_shown: false,
        target: [1; 16],
        etag: None,
        opened: NOW,
        ends: NOW.after(Duration::from_secs(1000)),
        last_byte: NOW,
        completed: None,
        size: None,
        handed: 0,
        covered: Vec::new(),
    })
}

/// What a client ended with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The file, as the first.
    Served,
    /// The file, in its own session.
    Joined,
    /// `token_spent`.
    Spent,
    /// 503, or the origin had nothing, or it left.
    Nothing,
}

#[derive(Clone, Copy, PartialEq)]
enum Faults {
    None,
    Origin,
    Journal,
}

async fn client(uses: Uses<Journal>, number: u8, spent: Use, faults: Faults) -> End {
    let visitor = Visitor {
        client: [number; 16],
        cookie: None,
        target: [1; 16],
        asks: Asks::Body,
    };
    let mut once = once();
    loop {
        // A lease that is over is for others to take.
        let now = match faults == Faults::Journal && shuttle::rand::thread_rng().gen_bool(0.1) {
            true => NOW.after(LEASE),
            false => NOW,
        };
        match once.enter(&uses, &visitor, &Rules::default(), LEASE, now) {
            Err(stop) if stop.code() == Code::TokenSpent => return End::Spent,
            Err(stop) => panic!("{stop:?}"),
            Ok(Tried::Passes(_)) => panic!("nobody asked for headers"),
            Ok(Tried::Joins(_)) => return End::Joined,
            Ok(Tried::Waits(again, changed)) => {
                once = again;
                changed.await;
            }
            Ok(Tried::Reserved(_, lease)) => {
                shuttle::future::yield_now().await;
                if faults == Faults::Origin && shuttle::rand::thread_rng().gen_bool(0.5) {
                    // The origin had nothing, or the client left.
                    return End::Nothing;
                }
                return match lease.commit(spent, NOW.into()).await {
                    Ok(true) => End::Served,
                    Ok(false) => End::Spent,
                    Err(_) => End::Nothing,
                };
            }
        }
    }
}

/// Lets these clients come together, under many schedules, and holds `wanted` against what each ended with.
fn together(numbers: &'static [u8], strict: bool, faults: Faults, wanted: fn(&[End], usize)) {
    shuttle::check_random(
        move || {
            let journal = Arc::new(Journal {
                fails: faults == Faults::Journal,
                ..Journal::default()
            });
            let uses = Uses::new(Arc::clone(&journal));
            let clients: Vec<_> = numbers
                .iter()
                .map(|number| {
                    let spent = if strict { Use::Spent } else { session(*number) };
                    shuttle::future::spawn(client(uses.clone(), *number, spent, faults))
                })
                .collect();
            let ends: Vec<End> = clients
                .into_iter()
                .map(|client| shuttle::future::block_on(client).unwrap())
                .collect();
            assert!(!uses.is_reserved(), "a reservation is left: {ends:?}");
            assert_eq!(uses.live(), 0, "something is held in memory: {ends:?}");
            wanted(&ends, journal.won.load(Ordering::Relaxed));
        },
        SCHEDULES,
    );
}

fn count(ends: &[End], end: End) -> usize {
    ends.iter().filter(|one| **one == end).count()
}

#[test]
fn strictly_one_of_five_has_it_under_every_schedule() {
    together(&[1, 2, 3, 4, 5], true, Faults::None, |ends, won| {
        assert_eq!(
            (won, count(ends, End::Served), count(ends, End::Spent)),
            (1, 1, 4),
            "{ends:?}"
        );
    });
}

#[test]
fn one_session_is_opened_and_its_client_alone_joins_it() {
    together(&[1, 1, 2, 2], false, Faults::None, |ends, won| {
        assert_eq!(won, 1);
        assert_eq!(
            (
                count(ends, End::Served),
                count(ends, End::Joined),
                count(ends, End::Spent)
            ),
            (1, 1, 2),
            "{ends:?}"
        );
    });
}

#[test]
fn what_is_given_back_is_tried_by_the_next_who_waits() {
    together(&[1, 2, 3, 4], true, Faults::Origin, |ends, won| {
        assert_eq!(count(ends, End::Served), won, "{ends:?}");
        // Nobody is told that it is spent unless somebody has it.
        assert_eq!(won == 0, count(ends, End::Nothing) == ends.len(), "{ends:?}");
    });
}

#[test]
fn a_journal_that_fails_and_leases_that_end_give_it_to_nobody_twice() {
    together(&[1, 2, 3, 4], true, Faults::Journal, |ends, won| {
        assert!(won <= 1 && count(ends, End::Served) <= won, "{ends:?}");
        assert!(won == 1 || count(ends, End::Spent) == 0, "{ends:?}");
    });
}
