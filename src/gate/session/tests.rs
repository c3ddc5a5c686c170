//! The table of the state machine, exhaustively: every state with every visitor, and every end of an owner.

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const LEASE: Duration = Duration::from_secs(38);
const ME: u64 = 7;

fn rules(mode: Mode) -> Rules {
    Rules {
        mode,
        ..Rules::default()
    }
}

fn before(seconds: i64) -> UnixTime {
    UnixTime::from_secs(NOW.secs() - seconds)
}

/// A session of client 1 for target 1 under cookie 1, in the middle of its download.
fn session() -> Session {
    Session {
        client: [1; 16],
        cookie: [1; 16],
        cookie_shown: false,
        target: [1; 16],
        etag: None,
        opened: before(100),
        ends: NOW.after(Duration::from_secs(1)),
        last_byte: before(10),
        completed: None,
        size: Some(1000),
        handed: 10,
        covered: vec![(0, 10)],
    }
}

fn reserved(owner: u64, lease: UnixTime) -> Use {
    Use::Reserved(Reservation { owner, lease })
}

/// What the table tells apart of a state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Row {
    Fresh,
    Reserved,
    LeaseOver,
    Alive { shown: bool },
    Over,
    Spent,
}

fn states() -> Vec<(Row, Use)> {
    let with = |change: fn(&mut Session)| {
        let mut session = session();
        change(&mut session);
        Use::Open(session)
    };
    vec![
        (Row::Fresh, Use::Fresh),
        (Row::Reserved, reserved(1, NOW.after(Duration::from_millis(1)))),
        (Row::LeaseOver, reserved(1, NOW)),
        (Row::LeaseOver, reserved(1, before(1))),
        (Row::Alive { shown: false }, with(|_| {})),
        (
            Row::Alive { shown: true },
            with(|session| session.cookie_shown = true),
        ),
        // One moment before each of its ends.
        (
            Row::Alive { shown: false },
            with(|session| session.last_byte = before(599)),
        ),
        (
            Row::Alive { shown: false },
            with(|session| session.completed = Some(before(59))),
        ),
        (Row::Alive { shown: false }, with(|session| session.handed = 3999)),
        (Row::Alive { shown: false }, with(|session| session.size = None)),
        // And at each.
        (Row::Over, with(|session| session.ends = NOW)),
        (Row::Over, with(|session| session.last_byte = before(600))),
        (Row::Over, with(|session| session.completed = Some(before(60)))),
        (Row::Over, with(|session| session.handed = 4000)),
        (Row::Spent, Use::Spent),
    ]
}

#[test]
fn every_state_meets_every_visitor_as_the_table_says() {
    let mut met = 0;
    for (row, state) in states() {
        for standing in [Standing::InTime, Standing::Expired, Standing::NotYet] {
            for asks in [Asks::Head, Asks::Body] {
                for (client, target) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
                    for cookie in [None, Some([1; 16]), Some([2; 16])] {
                        let visitor = Visitor {
                            client: [client; 16],
                            target: [target; 16],
                            cookie,
                            asks,
                        };
                        let late = match standing {
                            Standing::InTime => None,
                            Standing::Expired => Some(Entered::Refused(Code::TokenExpired)),
                            Standing::NotYet => Some(Entered::Refused(Code::TokenNotYetValid)),
                        };
                        let own = client == 1 && target == 1;
                        let mine = Some(reserved(ME, NOW.after(LEASE)));
                        let shown = Use::Open(Session {
                            cookie_shown: true,
                            ..match &state {
                                Use::Open(session) => session.clone(),
                                _ => session(),
                            }
                        });
                        let spent = Entered::Refused(Code::TokenSpent);
                        let wanted = match (row, late, asks) {
                            (Row::Spent, ..) => (None, spent),
                            (Row::Alive { .. } | Row::Over, ..) if !own => (None, spent),
                            (Row::Over, ..) => (Some(Use::Spent), spent),
                            (Row::Alive { shown: true }, ..) if cookie == Some([1; 16]) => {
                                (None, Entered::Joins)
                            }
                            (Row::Alive { shown: true }, ..) => (None, spent),
                            (Row::Alive { shown: false }, ..) if cookie == Some([1; 16]) => {
                                (Some(shown), Entered::Joins)
                            }
                            (Row::Alive { shown: false }, ..) => (None, Entered::Joins),
                            (_, Some(late), _) => (None, late),
                            (_, None, Asks::Head) => (None, Entered::Passes),
                            (Row::Fresh | Row::LeaseOver, None, Asks::Body) => (mine, Entered::Reserved),
                            (Row::Reserved, None, Asks::Body) => (None, Entered::Waits),
                        };
                        let got = enter(&state, &visitor, standing, &rules(Mode::File), (ME, LEASE), NOW);
                        assert_eq!(got, wanted, "{row:?} {state:?} {visitor:?} {standing:?}");
                        met += 1;
                    }
                }
            }
        }
    }
    assert_eq!(met, 15 * 3 * 2 * 4 * 3);
}

#[test]
fn every_end_of_an_owner_does_what_the_table_says() {
    let opened = Use::Open(session());
    for state in states()
        .into_iter()
        .map(|(_, state)| state)
        .chain([reserved(ME, NOW)])
    {
        for committed in [&opened, &Use::Spent] {
            let next = settle(&state, ME, Settled::Committed(committed.clone()));
            let wanted = match &state {
                // Somebody was quicker, and the journal would have said so.
                Use::Open(_) | Use::Spent => None,
                Use::Fresh | Use::Reserved(_) => Some(committed.clone()),
            };
            assert_eq!(next, wanted, "{state:?}");
        }
        let next = settle(&state, ME, Settled::Released);
        let mine = matches!(&state, Use::Reserved(reservation) if reservation.owner == ME);
        assert_eq!(next, mine.then_some(Use::Fresh), "{state:?}");
    }
}

#[test]
fn a_strict_route_has_no_sessions_and_a_player_has_them_by_time_alone() {
    for (_, state) in states() {
        let Use::Open(session) = state else { continue };
        assert!(is_over(&session, &rules(Mode::Strict), NOW), "{session:?}");
        let by_time = NOW >= session.ends || session.last_byte == before(600);
        assert_eq!(
            is_over(&session, &rules(Mode::Playback), NOW),
            by_time,
            "{session:?}"
        );
    }
}

#[test]
fn an_empty_file_is_not_used_up() {
    let empty = Session {
        size: Some(0),
        handed: 0,
        ..session()
    };
    assert!(!is_over(&empty, &rules(Mode::File), NOW));
}
