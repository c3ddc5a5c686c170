//! Which address is asked, for how long one is left out, who waits and who may try again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use http::StatusCode;

use super::*;
use crate::origin::endpoint::Turns;
use crate::origin::{HttpOrigin, HttpSettings};

fn address(text: &str) -> Address {
    Address::parse(&text.parse().unwrap(), None).unwrap()
}

fn fleet(count: u16, change: impl FnOnce(&mut Reach)) -> Fleet {
    let mut reach = Reach {
        addresses: (1..=count)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect(),
        ..Reach::default()
    };
    change(&mut reach);
    Fleet::new(
        reach,
        &address("http://files.example"),
        (Duration::from_secs(15), 8),
    )
}

fn take(fleet: &Fleet, random: u64) -> Option<Ticket> {
    match fleet.take(random, &Tried::new(), Instant::now()) {
        Choice::Ticket(ticket) => Some(ticket),
        Choice::Full | Choice::None => None,
    }
}

fn port(ticket: &Ticket) -> u16 {
    ticket.endpoint().address.port()
}

/// Numbers that differ in both halves.
fn lots() -> impl Iterator<Item = u64> {
    (1_u64..2000).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[tokio::test(start_paused = true)]
async fn requests_go_where_there_are_fewer() {
    let fleet = fleet(4, |_| {});
    let mut held = Vec::new();
    for lot in lots().take(400) {
        held.push(take(&fleet, lot).unwrap());
    }
    let mut counts: BTreeMap<u16, u32> = BTreeMap::new();
    for ticket in &held {
        *counts.entry(port(ticket)).or_default() += 1;
    }
    assert_eq!(counts.len(), 4);
    assert!(
        counts.values().all(|count| (95..=105).contains(count)),
        "{counts:?}"
    );
    // One that does not answer any more keeps what it has and gets next to nothing.
    held.retain(|ticket| port(ticket) == 1);
    let one = held.len() as u32;
    for lot in lots().take(100) {
        held.push(take(&fleet, lot).unwrap());
    }
    let first = fleet.endpoints()[0].in_flight();
    assert!(first <= one + 1, "{first} after {one}");
    drop(held);
    assert!(fleet.endpoints().iter().all(|endpoint| endpoint.in_flight() == 0));
    assert_eq!(
        fleet
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.begun())
            .sum::<u64>(),
        500
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_that_fails_in_a_row_is_left_out_for_a_growing_time() {
    let fleet = fleet(2, |reach| {
        reach.ejection.after = 3;
        reach.ejection.time = Duration::from_secs(10);
    });
    let (bad, good) = (fleet.endpoints()[0].clone(), fleet.endpoints()[1].clone());
    bad.failed();
    bad.failed();
    bad.answered(StatusCode::OK);
    bad.failed();
    bad.failed();
    assert_eq!(bad.standing(Instant::now()), Standing::Up, "not in a row");
    for (round, seconds) in [10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        // Once out, one failure more is enough.
        bad.failed();
        assert_eq!(bad.standing(Instant::now()), Standing::Ejected, "round {round}");
        for lot in lots().take(50) {
            assert_eq!(port(&take(&fleet, lot).unwrap()), good.address.port());
        }
        tokio::time::advance(Duration::from_secs(seconds) - Duration::from_millis(1)).await;
        assert_eq!(bad.standing(Instant::now()), Standing::Ejected, "round {round}");
        tokio::time::advance(Duration::from_millis(2)).await;
        assert_eq!(bad.standing(Instant::now()), Standing::Up, "round {round}");
    }
    assert_eq!(fleet.figures().ejections, 7);
    // What has been well for long enough begins anew.
    tokio::time::advance(Duration::from_secs(301)).await;
    bad.answered(StatusCode::OK);
    for _ in 0..3 {
        assert_eq!(bad.standing(Instant::now()), Standing::Up);
        bad.failed();
    }
    assert_eq!(bad.standing(Instant::now()), Standing::Ejected);
    tokio::time::advance(Duration::from_millis(10_001)).await;
    assert_eq!(bad.standing(Instant::now()), Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn answers_of_500_count_where_that_is_wanted() {
    for (on_5xx, standing) in [(false, Standing::Up), (true, Standing::Ejected)] {
        let fleet = fleet(2, |reach| {
            reach.ejection.after = 2;
            reach.ejection.on_5xx = on_5xx;
        });
        let endpoint = fleet.endpoints()[0].clone();
        endpoint.answered(StatusCode::BAD_GATEWAY);
        endpoint.answered(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(endpoint.standing(Instant::now()), standing, "{on_5xx}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_are_left_out_all_are_asked() {
    let fleet = fleet(3, |reach| reach.ejection.after = 1);
    let turns = Turns {
        healthy: 2,
        unhealthy: 1,
    };
    let endpoints = fleet.endpoints();
    endpoints[0].failed();
    endpoints[1].failed();
    endpoints[2].checked(false, turns);
    assert_eq!(fleet.figures().up, 0);
    let mut asked: Vec<u16> = Vec::new();
    for lot in lots().take(300) {
        asked.push(port(&take(&fleet, lot).unwrap()));
    }
    asked.sort_unstable();
    asked.dedup();
    assert!(!asked.is_empty());
    // One comes back, and has all of them.
    endpoints[2].checked(true, turns);
    endpoints[2].checked(true, turns);
    for lot in lots().take(50) {
        assert_eq!(port(&take(&fleet, lot).unwrap()), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn checks_change_what_is_thought_after_so_many_in_a_row() {
    let fleet = fleet(1, |_| {});
    let endpoint = fleet.endpoints()[0].clone();
    let turns = Turns {
        healthy: 2,
        unhealthy: 3,
    };
    let mut seen = Vec::new();
    for well in [false, false, true, false, false, false, true, false, true, true] {
        endpoint.checked(well, turns);
        seen.push(endpoint.standing(Instant::now()) == Standing::Up);
    }
    assert_eq!(
        seen,
        [true, true, true, true, true, false, false, false, false, true]
    );
}

#[tokio::test(start_paused = true)]
async fn no_address_has_more_than_it_may_and_who_waits_is_served_in_turn() {
    let fleet = Arc::new(fleet(2, |reach| {
        reach.max_in_flight = 2;
        reach.max_queue = 3;
        reach.queue_timeout = Duration::from_secs(5);
    }));
    let mut held: Vec<Ticket> = lots().take(4).map(|lot| take(&fleet, lot).unwrap()).collect();
    assert!(fleet.endpoints().iter().all(|endpoint| endpoint.in_flight() == 2));
    assert!(take(&fleet, 5).is_none());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..3 {
        let (fleet, order) = (Arc::clone(&fleet), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let ticket = wait(&fleet).await.unwrap();
            order.lock().unwrap().push(number);
            ticket
        }));
        tokio::task::yield_now().await;
    }
    assert_eq!(fleet.figures().waiting, 3);
    assert!(
        matches!(wait(&fleet).await, Err(OriginError::Overloaded)),
        "the line is full"
    );
    let mut served = Vec::new();
    for waiter in waiting {
        held.pop();
        served.push(waiter.await.unwrap());
        assert!(fleet.endpoints().iter().all(|endpoint| endpoint.in_flight() <= 2));
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    assert_eq!((fleet.figures().waiting, fleet.figures().in_flight), (0, 4));
    // In vain.
    let begun = Instant::now();
    assert!(matches!(wait(&fleet).await, Err(OriginError::Overloaded)));
    assert_eq!(begun.elapsed().as_secs(), 5);
    // Who has left is not in the way of who comes.
    drop((held, served));
    assert!(wait(&fleet).await.is_ok());
    assert_eq!((fleet.figures().waiting, fleet.figures().in_flight), (0, 0));
}

fn wish(tried: &[u64]) -> Wish {
    Wish {
        random: 7,
        tried: Tried::from_slice(tried),
        count: Count::First,
    }
}

async fn wait(fleet: &Fleet) -> Result<Ticket, OriginError> {
    fleet
        .wait(
            wish(&[]),
            &address("http://files.example"),
            Duration::from_secs(1),
            Instant::now() + Duration::from_secs(60),
        )
        .await
        .map(Option::unwrap)
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_as_it_is_served_loses_nothing() {
    let fleet = Arc::new(fleet(1, |reach| {
        reach.max_in_flight = 1;
        reach.max_queue = 100;
    }));
    for round in 0..100 {
        let held = take(&fleet, round).unwrap();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let fleet = Arc::clone(&fleet);
                tokio::spawn(async move { drop(wait(&fleet).await) })
            })
            .collect();
        tokio::task::yield_now().await;
        waiters[0].abort();
        drop(held);
        waiters[1].abort();
        for waiter in waiters {
            let _ = waiter.await;
        }
        let figures = fleet.figures();
        assert_eq!((figures.in_flight, figures.waiting), (0, 0), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_left_out_and_makes_room_is_used_once_all_are_out() {
    let fleet = Arc::new(fleet(2, |reach| {
        reach.max_in_flight = 1;
        reach.ejection.after = 1;
    }));
    let held = [take(&fleet, 1).unwrap(), take(&fleet, 1).unwrap()];
    for endpoint in fleet.endpoints() {
        endpoint.failed();
    }
    let waiter = {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move { wait(&fleet).await.is_ok() })
    };
    tokio::task::yield_now().await;
    drop(held);
    assert!(waiter.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_name_keeps_what_is_known_of_its_addresses() {
    let fleet = Fleet::new(
        Reach::default(),
        &address("http://files.example"),
        (Duration::from_secs(15), 8),
    );
    assert!(fleet.is_named() && !fleet.is_alone());
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let ports = || {
        let mut ports: Vec<u16> = fleet.endpoints().iter().map(|one| one.address.port()).collect();
        ports.sort_unstable();
        ports
    };
    fleet.learn(&[at(1), at(2), at(1)]);
    assert_eq!(ports(), [1, 2]);
    let first = fleet.endpoints()[0].id();
    fleet.learn(&[]);
    assert_eq!(ports(), [1, 2], "nothing was found out");
    fleet.learn(&[at(3), at(1)]);
    fleet.learn(&[at(1)]);
    assert_eq!(ports(), [1, 2, 3], "an answer may name a few of many");
    assert!(fleet.endpoints().iter().any(|one| one.id() == first));
    fleet.learn(&[at(1)]);
    assert_eq!(ports(), [1, 3]);
    let many: Vec<SocketAddr> = (1..1000).map(at).collect();
    fleet.learn(&many);
    assert_eq!(fleet.endpoints().len(), ADDRESSES_MAX);
    let literal = Fleet::new(
        Reach::default(),
        &address("http://[::1]:9"),
        (Duration::from_secs(15), 8),
    );
    assert!(literal.is_alone() && !literal.is_named());
}

#[tokio::test(start_paused = true)]
async fn the_only_address_is_never_left_out() {
    let fleet = fleet(1, |reach| reach.ejection.after = 1);
    let endpoint = fleet.endpoints()[0].clone();
    for _ in 0..10 {
        endpoint.failed();
    }
    assert_eq!(endpoint.standing(Instant::now()), Standing::Up);
}

#[tokio::test]
async fn a_name_is_looked_up_beside_the_requests_and_what_is_known_outlives_a_failure() {
    let origin = |host: &str| {
        let settings = HttpSettings {
            address: address(&format!("http://{host}:9")),
            host: http::HeaderValue::from_static("files.example"),
            base_path: String::new(),
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(5),
            gap_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            max_idle: 1,
            allow_close_delimited: false,
        };
        let reach = Reach {
            resolve_interval: Duration::from_millis(1),
            ..Reach::default()
        };
        Arc::new(HttpOrigin::with_reach(settings, reach))
    };
    let until = async |origin: &HttpOrigin, port: u16| {
        tokio::time::timeout(Duration::from_secs(20), async {
            while origin
                .fleet
                .endpoints()
                .iter()
                .all(|one| one.address.port() != port)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it was never looked up");
    };
    let known = origin("localhost");
    let other = SocketAddr::from(([192, 0, 2, 1], 7));
    known.fleet.learn(&[other]);
    let keeping = tokio::spawn(Arc::clone(&known).keep());
    until(&known, 9).await;
    // What the name no longer has goes after some answers.
    tokio::time::timeout(Duration::from_secs(20), async {
        while known.fleet.endpoints().iter().any(|one| one.address == other) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("an address that is gone stays");
    keeping.abort();
    let unknown = origin("nobody.invalid");
    unknown.fleet.learn(&[other]);
    let keeping = tokio::spawn(Arc::clone(&unknown).keep());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(unknown.fleet.endpoints()[0].address, other);
    keeping.abort();
}

#[tokio::test]
async fn places_in_the_pools_are_given_out_again_but_never_their_connections() {
    let one = Slot::new(Duration::ZERO, 1);
    let owner = one.owner();
    drop(one);
    let others: Vec<Slot> = (0..100).map(|_| Slot::new(Duration::ZERO, 1)).collect();
    assert!(others.iter().all(|slot| slot.owner() > owner));
}

/// A name that has these ports now.
fn named(ports: &[u16], change: impl FnOnce(&mut Reach)) -> Fleet {
    let mut reach = Reach::default();
    change(&mut reach);
    let fleet = Fleet::new(
        reach,
        &address("http://files.example"),
        (Duration::from_secs(15), 8),
    );
    learn(&fleet, ports);
    fleet
}

fn learn(fleet: &Fleet, ports: &[u16]) {
    let at = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
    fleet.learn(&ports.iter().map(at).collect::<Vec<_>>());
}

#[test]
fn a_choice_holds_while_others_change_the_numbers() {
    let fleet = Arc::new(fleet(60, |_| {}));
    let endpoints = fleet.endpoints();
    // All but the last two are left out, so that the choice nearly always sorts.
    let all = Tried::from_iter(endpoints.iter().take(20).map(|one| one.id()));
    std::thread::scope(|scope| {
        for lot in 1..4 {
            let (fleet, all) = (Arc::clone(&fleet), all.clone());
            scope.spawn(move || {
                let now = Instant::now();
                let mut held = VecDeque::new();
                for round in 0..20_000_u64 {
                    if let Choice::Ticket(ticket) = fleet.take(round.wrapping_mul(lot) % 20, &all, now) {
                        held.push_back(ticket);
                    }
                    if held.len() > 30 {
                        held.pop_front();
                    }
                }
            });
        }
    });
    assert_eq!(fleet.figures().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_name_with_one_address_keeps_it_and_serves_its_line_at_once() {
    let fleet = Arc::new(named(&[1], |reach| {
        reach.ejection.after = 1;
        reach.max_in_flight = 1;
    }));
    let endpoint = fleet.endpoints()[0].clone();
    endpoint.failed();
    assert_eq!(endpoint.standing(Instant::now()), Standing::Up);
    let turns = Turns {
        healthy: 1,
        unhealthy: 1,
    };
    endpoint.checked(false, turns);
    let held = take(&fleet, 1).unwrap();
    let waiter = {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move { wait(&fleet).await.is_ok() })
    };
    tokio::task::yield_now().await;
    let begun = Instant::now();
    drop(held);
    assert!(waiter.await.unwrap());
    assert_eq!(begun.elapsed(), Duration::ZERO, "not when it looks again");
    // With another it is left out, and is not once that is gone.
    endpoint.checked(true, turns);
    learn(&fleet, &[1, 2]);
    endpoint.failed();
    assert_eq!(endpoint.standing(Instant::now()), Standing::Ejected);
    for _ in 0..MISSING_MAX {
        learn(&fleet, &[1]);
    }
    assert_eq!(endpoint.standing(Instant::now()), Standing::Up);
}

#[tokio::test(start_paused = true)]
async fn an_address_that_is_gone_is_not_sent_those_who_wait() {
    let fleet = Arc::new(named(&[1, 2], |reach| reach.max_in_flight = 1));
    let held = [take(&fleet, 1).unwrap(), take(&fleet, 1).unwrap()];
    let (gone, stays): (Vec<Ticket>, Vec<Ticket>) = held.into_iter().partition(|ticket| port(ticket) == 1);
    for _ in 0..MISSING_MAX {
        learn(&fleet, &[2, 3]);
    }
    let third = take(&fleet, 1).unwrap();
    assert_eq!(port(&third), 3);
    let waiter = {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move { wait(&fleet).await.map(|ticket| port(&ticket)) })
    };
    tokio::task::yield_now().await;
    drop(gone);
    tokio::time::sleep(LOOK_AGAIN * 2).await;
    assert_eq!(fleet.figures().waiting, 1, "the address that is gone served it");
    drop(stays);
    assert_eq!(waiter.await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_sent_where_it_was_and_is_in_nobodys_way() {
    let fleet = Arc::new(fleet(2, |reach| {
        reach.max_in_flight = 1;
        reach.queue_timeout = Duration::from_secs(5);
    }));
    let (failing, busy) = (fleet.endpoints()[0].clone(), fleet.endpoints()[1].clone());
    let held = busy.enter(Count::First).unwrap();
    let again = {
        let (fleet, tried) = (Arc::clone(&fleet), failing.id());
        tokio::spawn(async move {
            let by = Instant::now() + Duration::from_secs(60);
            let address = address("http://files.example");
            fleet
                .wait(wish(&[tried]), &address, Duration::from_secs(1), by)
                .await
                .map(|ticket| ticket.as_ref().map(port))
        })
    };
    tokio::task::yield_now().await;
    assert_eq!(fleet.figures().waiting, 1);
    // Somebody else goes there at once.
    let begun = Instant::now();
    let other = wait(&fleet).await.unwrap();
    assert_eq!((port(&other), begun.elapsed()), (1, Duration::ZERO));
    drop(other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.figures().waiting, 1, "it was sent where it was");
    drop(held);
    assert_eq!(again.await.unwrap().unwrap(), Some(2));
    let address = address("http://files.example");
    // Where it was everywhere there is nothing to wait for, whoever else waits.
    let held = [take(&fleet, 1).unwrap(), take(&fleet, 1).unwrap()];
    let waiter = {
        let fleet = Arc::clone(&fleet);
        tokio::spawn(async move { wait(&fleet).await.is_ok() })
    };
    tokio::task::yield_now().await;
    let both = wish(&[failing.id(), busy.id()]);
    let by = Instant::now() + Duration::from_secs(60);
    let found = fleet.wait(both, &address, Duration::from_secs(1), by);
    assert!(found.await.unwrap().is_none());
    assert_eq!(fleet.figures().waiting, 1);
    drop(held);
    assert!(waiter.await.unwrap());
    // No longer than it is told to.
    let _held = [take(&fleet, 1).unwrap(), take(&fleet, 1).unwrap()];
    let begun = Instant::now();
    let by = begun + Duration::from_secs(2);
    let found = fleet.wait(wish(&[]), &address, Duration::from_secs(1), by);
    assert!(matches!(found.await, Err(OriginError::Overloaded)));
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_is_not_counted_any_more() {
    let fleet = Arc::new(fleet(1, |reach| {
        reach.max_in_flight = 1;
        reach.max_queue = usize::MAX;
    }));
    let _held = take(&fleet, 1).unwrap();
    let waiters: Vec<_> = (0..100)
        .map(|_| {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move { drop(wait(&fleet).await) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(fleet.figures().waiting, 100);
    for (left, waiter) in waiters.into_iter().enumerate() {
        waiter.abort();
        let _ = waiter.await;
        assert_eq!(fleet.figures().waiting, 99 - left as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn the_retry_budget_outlives_addresses_and_counts_requests_once() {
    let fleet = named(&[1, 2], |_| {});
    let granted = |fleet: &Fleet| (0..1000).filter(|_| fleet.may_retry()).count() as u64;
    for lot in lots().take(500) {
        drop(take(&fleet, lot));
    }
    assert_eq!(granted(&fleet), 20 + 50);
    for _ in 0..MISSING_MAX {
        learn(&fleet, &[3]);
    }
    for lot in lots().take(100) {
        drop(take(&fleet, lot));
        // Sent once more.
        drop(fleet.find(lot, &Tried::new(), Count::Again, Instant::now()));
    }
    assert_eq!(granted(&fleet), 10, "its requests go on being counted");
}
