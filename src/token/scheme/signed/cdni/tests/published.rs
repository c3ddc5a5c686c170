//! The published vectors: decisions, codes, and what they say of replay.

use std::collections::HashSet;

use super::*;
use crate::token::Uses;
use crate::token::scheme::signed::NoMemory;
use crate::token::scheme::signed::vectors::run;

#[test]
fn all_vectors_of_rfc9246_are_decided_as_published() {
    let ran = run(FILE, &[], |case| {
        let alone = case.json["sequence"].is_null();
        alone
            .then(|| -> (Box<dyn SignedRequest>, _) { (Box::new(Cdni::new(rules_of(case))), Duration::ZERO) })
    });
    let file = file();
    let mut spent = HashSet::new();
    let mut in_sequences = 0;
    each_case(&file, |case| {
        if case.json["sequence"].is_null() {
            return;
        }
        in_sequences += 1;
        let judged = case.request().judge(&Cdni::new(rules_of(&case)), Duration::ZERO);
        // As the store does it: the second use of a name is none.
        let judged = judged.and_then(|(claims, _)| {
            assert_eq!(claims.uses, Uses::Strict);
            assert!(claims.id.is_some());
            spent
                .insert(claims.token_id)
                .then_some(())
                .ok_or("spent".to_owned())
        });
        assert_eq!(
            judged.is_ok(),
            case.text("expect") == "allow",
            "{}: {judged:?}",
            case.text("name")
        );
    });
    assert_eq!((ran, in_sequences), (104, 5));
    assert_eq!(ran + in_sequences, file["cases"].as_array().unwrap().len());
}

#[test]
fn without_resolving_dots_the_vectors_differ_in_the_one_that_has_them() {
    let excused = [("norm_dots", "dot segments are refused unless configured")];
    let ran = run(FILE, &excused, |case| {
        let alone = case.json["sequence"].is_null();
        alone.then(|| -> (Box<dyn SignedRequest>, _) {
            let rules = Rules {
                dots: Dots::Refused,
                ..rules_of(case)
            };
            (Box::new(Cdni::new(rules)), Duration::ZERO)
        })
    });
    assert_eq!(ran, 104);
}

/// The code of the first thing that is wrong with the request, as the gate would log it.
fn code(case: &Case<'_>) -> Code {
    let request = case.request();
    let scheme = Cdni::new(rules_of(case));
    let head = Head {
        path: &request.path,
        query: request.query.as_deref(),
        headers: &request.headers,
    };
    let taken = match scheme.take(head) {
        Ok(Some(taken)) => taken,
        Ok(None) => return Code::NotPerformed,
        Err(_) => return Code::Malformed,
    };
    match request.verify(&scheme, &taken, &NoMemory) {
        Err(error) => Code::of(&error),
        Ok(claims) if !claims.allows_address(request.client) => Code::Address,
        Ok(claims) => Code::of_standing(claims.standing(request.now, Duration::ZERO)),
    }
}

#[test]
fn the_codes_of_the_vectors_are_those_of_section_6_4() {
    // The target refuses an encoded slash and an empty segment before anybody asks for the token; the store knows of the
    // second use.
    let others = [
        "norm_reserved_kept",
        "regex_start_anchor",
        "official_a2_replay",
        "jti_again",
    ];
    let mut seen = 0;
    let file = file();
    each_case(&file, |case| {
        let name = case.text("name");
        if others.contains(&name) {
            return;
        }
        match case.json["code"].as_u64() {
            Some(wanted) => {
                seen += 1;
                assert_eq!(u64::from(code(&case).number()), wanted, "{name}");
            }
            None if case.text("expect") == "allow" && name != "cookie_second_is_good" => {
                assert_eq!(code(&case), Code::Verified, "{name}");
            }
            None => {}
        }
    });
    assert_eq!(seen, 47);
}

#[test]
fn the_origin_is_asked_what_the_vectors_say() {
    let mut seen = 0;
    let file = file();
    each_case(&file, |case| {
        if let Some(upstream) = case.json["upstream"].as_str() {
            seen += 1;
            let judged = case.request().judge(&Cdni::new(rules_of(&case)), Duration::ZERO);
            assert_eq!(judged.unwrap().1.as_str(), upstream);
        }
    });
    assert_eq!(seen, 1);
}

#[test]
fn texts_of_codes_are_three_digits_and_are_read_back_from_errors() {
    assert_eq!(Code::NotPerformed.to_string(), "000");
    assert_eq!(Code::Container.to_string(), "411");
    assert_eq!(Code::of(&TokenError::Invalid("404 it has no exp")), Code::Expiry);
    assert_eq!(
        Code::of(&TokenError::Malformed("not three parts")),
        Code::Malformed
    );
    assert_eq!(
        Code::of(&TokenError::Invalid("no such algorithm")),
        Code::Signature
    );
    assert_eq!(Code::of(&TokenError::UnknownKey), Code::Signature);
    assert_eq!(Code::of(&TokenError::KeysUnavailable), Code::NotPerformed);
}
