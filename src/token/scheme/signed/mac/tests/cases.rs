//! The published vectors.

use super::*;
use crate::token::scheme::signed::vectors::run;

#[test]
fn all_vectors_are_decided_as_they_ask() {
    for (file, build, cases) in FILES {
        let ran = run(file, &[], |case| {
            let mac = build(case)?;
            Some((Box::new(mac), Duration::ZERO))
        });
        assert_eq!(ran, cases);
    }
}

#[test]
fn in_the_vectors_the_origin_is_asked_for_what_they_say() {
    let mut checked = 0;
    for (file, build, _) in FILES {
        each(file, build, |case, mac| {
            let Some(upstream) = case.json["upstream"].as_str() else {
                return;
            };
            let (_, target) = case.request().judge(&mac, Duration::ZERO).expect("a good link");
            assert_eq!(target.as_str(), upstream, "{}", case.text("name"));
            checked += 1;
        });
    }
    assert_eq!(checked, 2);
}

#[test]
fn in_the_vectors_what_is_over_is_gone_and_the_rest_is_forbidden() {
    let mut gone = 0;
    for (file, build, _) in FILES {
        each(file, build, |case, mac| {
            if case.json["status_hint"].as_u64() == Some(410) {
                assert_eq!(mac.statuses(), Statuses::ForbiddenOrGone);
                let error = case
                    .request()
                    .judge(&mac, Duration::ZERO)
                    .expect_err("it is over");
                // lighttpd says of a link that is yet to come that it is gone, too.
                let yet = case.text("name").ends_with("_future");
                assert_eq!(error, if yet { "NotYet" } else { "Expired" });
                gone += 1;
            }
        });
    }
    assert_eq!(gone, 9);
}
