use super::*;

/// Evenly spread over all names, in their order.
fn spread(number: u128, of: u128) -> TokenId {
    TokenId((number * (u128::MAX / of)).to_be_bytes())
}

fn token(id: TokenId) -> Claims {
    Claims::empty(id)
}

#[test]
fn nothing_is_covered_until_it_is_withdrawn_and_the_number_tells() {
    let revoked = Revoked::default();
    let claims = Claims {
        subject: Some("43".into()),
        key: Some("k1".into()),
        issued: Some(UnixTime::from_secs(100)),
        ..token(TokenId([7; 16]))
    };
    assert!(!revoked.covers(&claims) && revoked.is_empty());
    assert_eq!(revoked.generation(), 0);
    for (revocation, same_but_free) in [
        (
            Revocation::Token {
                id: TokenId([7; 16]),
                expires: None,
            },
            token(TokenId([8; 16])),
        ),
        (
            Revocation::Subject {
                subject: "43".into(),
                before: UnixTime::from_secs(101),
            },
            Claims {
                issued: Some(UnixTime::from_secs(101)),
                ..claims.clone()
            },
        ),
        (
            Revocation::Key { kid: "k1".into() },
            Claims {
                key: Some("k2".into()),
                ..claims.clone()
            },
        ),
    ] {
        let revoked = Revoked::default();
        revoked.insert(&revocation);
        assert!(revoked.covers(&claims), "{revocation:?}");
        assert!(!revoked.covers(&same_but_free), "{revocation:?}");
        assert_eq!((revoked.generation(), revoked.len()), (1, 1));
        revoked.insert(&revocation);
        assert_eq!((revoked.generation(), revoked.len()), (2, 1));
    }
}

#[test]
fn the_latest_moment_of_a_subject_counts_and_tokens_without_a_date_are_covered() {
    let revoked = Revoked::default();
    for seconds in [200, 100] {
        revoked.insert(&Revocation::Subject {
            subject: "43".into(),
            before: UnixTime::from_secs(seconds),
        });
    }
    let issued = |issued| Claims {
        subject: Some("43".into()),
        issued,
        ..token(TokenId([1; 16]))
    };
    assert!(revoked.covers(&issued(Some(UnixTime::from_millis(199_999)))));
    assert!(!revoked.covers(&issued(Some(UnixTime::from_secs(200)))));
    assert!(revoked.covers(&issued(None)));
    let other = Claims {
        subject: Some("430".into()),
        ..token(TokenId([1; 16]))
    };
    assert!(!revoked.covers(&other) && !revoked.covers(&token(TokenId([1; 16]))));
}

#[test]
fn many_subjects_are_told_apart() {
    let revoked = Revoked::default();
    let subject = |number: u32, suffix: &str| Box::from(format!("customer-{number}{suffix}"));
    for number in 0..20_000 {
        revoked.insert(&Revocation::Subject {
            subject: subject(number, ""),
            before: UnixTime::from_secs(1),
        });
    }
    let covers = |subject| {
        revoked.covers(&Claims {
            subject: Some(subject),
            ..token(TokenId([0; 16]))
        })
    };
    assert!((0..20_000).all(|number| covers(subject(number, "")) && !covers(subject(number, "x"))));
    assert_eq!(revoked.len(), 20_000);
}

#[test]
fn the_order_in_which_tokens_come_does_not_matter_and_the_forgotten_are_gone() {
    let revoked = Revoked::default();
    let many = 30_000;
    // In leaps, some twice, some alone.
    let ids: Vec<TokenId> = (0..many).map(|at| spread(at * 7919 % many, many)).collect();
    let (alone, together) = ids.split_at(1_000);
    for id in alone {
        revoked.insert(&Revocation::Token {
            id: *id,
            expires: None,
        });
    }
    revoked.insert_tokens(together.iter().chain(alone).copied());
    assert_eq!(revoked.len(), ids.len());
    assert!(ids.iter().all(|id| revoked.covers(&token(*id))));
    let mut gone: Vec<TokenId> = ids.iter().step_by(3).copied().collect();
    let generation = revoked.generation();
    revoked.forget(&mut gone);
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(revoked.covers(&token(*id)), at % 3 != 0);
    }
    assert_eq!(revoked.len(), ids.len() - gone.len());
    assert_eq!(revoked.generation(), generation, "nothing new is withdrawn");
    revoked.forget(&mut ids.clone());
    assert!(revoked.is_empty());
    revoked.insert_tokens([]);
    assert_eq!(revoked.generation(), generation);
}

#[test]
fn who_looks_while_others_change_it_sees_all_that_was_there_before() {
    let revoked = Revoked::default();
    let many = 2_000;
    let known: Vec<TokenId> = (0..many).map(|at| spread(2 * at, 2 * many)).collect();
    revoked.insert_tokens(known.iter().copied());
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for at in 0..many {
                let id = spread(2 * at + 1, 2 * many);
                revoked.insert(&Revocation::Token { id, expires: None });
                assert!(revoked.covers(&token(id)), "in force at once");
            }
        });
        while !changes.is_finished() {
            assert!(known.iter().step_by(97).all(|id| revoked.covers(&token(*id))));
        }
    });
    assert_eq!(revoked.len() as u128, 2 * many);
}

#[test]
fn ten_million_tokens_take_less_than_twenty_bytes_each() {
    let revoked = Revoked::default();
    let many = 10_000_000;
    revoked.insert_tokens((0..many).map(|at| spread(at, many)));
    assert_eq!(revoked.len() as u128, many);
    let bytes = revoked.token_bytes() as f64 / many as f64;
    assert!(bytes <= 17.0, "{bytes} bytes each");
    for at in (0..many).step_by(9_973) {
        let id = spread(at, many);
        assert!(revoked.covers(&token(id)));
        assert!(!revoked.covers(&token(TokenId((u128::from_be_bytes(id.0) + 1).to_be_bytes()))));
    }
    // Another one copies its bucket and no more.
    revoked.insert(&Revocation::Token {
        id: TokenId([0xa5; 16]),
        expires: None,
    });
    assert!(revoked.covers(&token(TokenId([0xa5; 16]))));
}

#[test]
fn tokens_that_are_not_spread_are_found_too() {
    // All of them in one bucket, at its start, at its end, or in lumps.
    for shape in 0..4_u32 {
        let revoked = Revoked::default();
        let id = |number: u128| {
            TokenId(match shape {
                0 => number.to_be_bytes(),
                1 => ((u128::MAX >> TOKEN_BITS) - 2 * number).to_be_bytes(),
                2 => (number % 7 * (u128::MAX >> 17) + number).to_be_bytes(),
                _ => (number * number * number).to_be_bytes(),
            })
        };
        revoked.insert_tokens((1..500).map(|number| id(2 * number)));
        for number in 1..500 {
            assert!(revoked.covers(&token(id(2 * number))), "{shape} {number}");
            let among: Vec<TokenId> = (1..500).map(|number| id(2 * number)).collect();
            for other in [id(2 * number + 1), TokenId([0; 16]), TokenId([0xff; 16])] {
                assert_eq!(
                    revoked.covers(&token(other)),
                    among.contains(&other),
                    "{shape} {number}"
                );
            }
        }
    }
}
