//! What rules allow and refuse.

use super::*;
use crate::issuer::tests::{Bench, NOW, any_rule, body, known, part, status};
use crate::media::Media;

fn caller(subject: &str, scope: &str) -> Caller {
    let named = Box::new([("scope".into(), scope.into())]);
    Caller::new(Claims {
        subject: Some(subject.into()),
        named,
        ..Claims::empty(TokenId([0; 16]))
    })
    .unwrap()
}

fn rule(caller: Option<&str>, requires: &str) -> Rule {
    Rule {
        caller: caller.map(Box::from),
        requires: requires.into(),
        ..any_rule()
    }
}

#[test]
fn the_first_rule_that_is_for_the_caller_and_whose_permission_it_carries_decides() {
    let rules = [
        rule(Some("42"), "a"),
        rule(None, "b"),
        rule(Some("43"), "a"),
        rule(None, "a"),
    ];
    for (subject, scope, expected) in [
        ("42", "a", Some(0)),
        ("42", "b a", Some(0)),
        ("42", "b", Some(1)),
        ("43", "a", Some(2)),
        ("43", "a b", Some(1)),
        ("44", "a", Some(3)),
        ("44", "c", None),
        ("44", "", None),
        ("42", "A", None),
    ] {
        let found = rule_for(&rules, &caller(subject, scope), &[]).ok();
        let at = found.map(|found| rules.iter().position(|rule| std::ptr::eq(rule, found)).unwrap());
        assert_eq!(at, expected, "{subject} {scope}");
    }
    assert!(rule_for(&[], &caller("42", "a"), &[]).is_err());
    assert!(
        rule_for(&[rule(None, "")], &caller("42", ""), &[]).is_err(),
        "a rule without a permission is nobody's"
    );
}

/// What caller 42 gets from the native door under the rule.
fn ask(rule: Rule, json: &str) -> u16 {
    let mut bench = Bench::new();
    bench.settings.rules = vec![rule];
    status(&bench.post("/v1/tokens", json))
}

#[test]
fn no_path_is_wider_than_the_rules() {
    for (paths, expected) in [
        (r#"["/customers/42/a.pdf"]"#, 201),
        (r#"["/customers/42/"]"#, 201),
        (r#"["/customers/42/**"]"#, 201),
        (r#"["/customers/42/*/x.pdf"]"#, 201),
        (r#"["/customers/43/a.pdf"]"#, 403),
        (r#"["/customers/4*/a.pdf"]"#, 403),
        (r#"["/customers/**"]"#, 403),
        (r#"["/**"]"#, 403),
        (r#"["/"]"#, 403),
        (r#"["/customers/42"]"#, 403),
        (r#"["/customers/42x/a"]"#, 403),
        (r#"["/customers/42/a","/customers/43/a"]"#, 403),
        (r#"["/**/42/a"]"#, 403),
        (r#"["/customers/{sub}/a"]"#, 403),
    ] {
        assert_eq!(
            ask(any_rule(), &format!("{{\"paths\":{paths}}}")),
            expected,
            "{paths}"
        );
    }
    assert_eq!(
        ask(
            Rule {
                paths: Vec::new(),
                ..any_rule()
            },
            r#"{"paths":["/customers/42/a"]}"#
        ),
        403
    );
}

#[test]
fn a_template_whose_claim_is_missing_opens_nothing() {
    let paths = vec![ScopeTemplate::parse("/t/{tenant}/**").unwrap()];
    assert_eq!(ask(Rule { paths, ..any_rule() }, r#"{"paths":["/t/a/b"]}"#), 403);
}

#[test]
fn methods_are_within_the_rules_and_are_always_named_in_the_token() {
    assert_eq!(
        ask(any_rule(), r#"{"paths":["/customers/42/a"],"methods":["HEAD"]}"#),
        201
    );
    assert_eq!(
        ask(
            any_rule(),
            r#"{"paths":["/customers/42/a"],"methods":["GET","PUT"]}"#
        ),
        403
    );
    let put = Rule {
        methods: Methods::parse(["PUT"]).unwrap(),
        ..any_rule()
    };
    let mut bench = Bench::new();
    bench.settings.rules = vec![put];
    let answer = bench.post("/v1/tokens", r#"{"paths":["/customers/42/a"]}"#);
    let payload = part(body(&answer)["token"].as_str().unwrap(), 1);
    assert_eq!(payload["methods"], serde_json::json!(["PUT"]));
    // A download token reads; a rule that only writes has none.
    let mut bench = Bench::new();
    bench.settings.rules = vec![Rule {
        methods: Methods::parse(["PUT"]).unwrap(),
        ..any_rule()
    }];
    assert_eq!(status(&bench.post("/media/01F9/download-token", "")), 403);
}

#[test]
fn the_longest_life_is_allowed_and_a_second_more_is_not() {
    assert_eq!(
        ask(any_rule(), r#"{"paths":["/customers/42/a"],"expires_in":3600}"#),
        201
    );
    assert_eq!(
        ask(any_rule(), r#"{"paths":["/customers/42/a"],"expires_in":3601}"#),
        422
    );
    let mut bench = Bench::new();
    bench.settings.rules = vec![Rule {
        max_ttl: Duration::from_secs(20),
        ..any_rule()
    }];
    let answer = bench.post("/v1/tokens", r#"{"paths":["/customers/42/a"]}"#);
    let payload = part(body(&answer)["token"].as_str().unwrap(), 1);
    assert_eq!(
        payload["exp"],
        NOW.secs() + 20,
        "a default that is longer than the longest"
    );
}

#[test]
fn another_subject_needs_the_rules_leave() {
    let json = r#"{"paths":["/customers/42/a"],"sub":"43"}"#;
    assert_eq!(ask(any_rule(), json), 403);
    assert_eq!(
        ask(
            Rule {
                any_subject: true,
                ..any_rule()
            },
            json
        ),
        201
    );
    // The scope stays the caller's own.
    let json = r#"{"paths":["/customers/43/a"],"sub":"43"}"#;
    assert_eq!(
        ask(
            Rule {
                any_subject: true,
                ..any_rule()
            },
            json
        ),
        403
    );
}

#[test]
fn others_media_look_like_unknown_ones() {
    let own = || Rule {
        own_media_only: true,
        ..any_rule()
    };
    assert_eq!(ask(own(), r#"{"media":"01F9"}"#), 201);
    let refusal = |id: &str| {
        let mut bench = Bench::new();
        bench.settings.rules = vec![own()];
        let answer = bench.post("/v1/tokens", &format!("{{\"media\":\"{id}\"}}"));
        (status(&answer), body(&answer))
    };
    assert_eq!(refusal("o'neil").0, 404);
    assert_eq!(refusal("o'neil"), refusal("unknown"));
}

#[test]
fn what_can_not_be_checked_is_not_handed_out() {
    for restricted in [
        Rule {
            own_media_only: true,
            ..any_rule()
        },
        Rule {
            folders: Some(Box::new(["invoice".into()])),
            ..any_rule()
        },
    ] {
        let mut bench = Bench::new();
        bench.settings.rules = vec![restricted];
        bench.settings.fynn.as_mut().unwrap().media = known(Media::Template("/files/{id}".into()));
        assert_eq!(status(&bench.post("/media/01F9/download-token", "")), 403);
    }
    let mut bench = Bench::new();
    bench.settings.fynn = None;
    assert_eq!(status(&bench.post("/v1/tokens", r#"{"media":"01F9"}"#)), 422);
}

#[test]
fn a_catalogued_name_that_is_none_is_left_out() {
    for (name, expected) in [("a.pdf", true), ("a\r\nb", false), ("../a", false)] {
        let mut bench = Bench::new();
        let medium = crate::media::Medium {
            file: "/x".into(),
            name: Some(name.into()),
            folder: None,
            owner: None,
            media_type: None,
        };
        let all = std::collections::HashMap::from([("1".into(), medium)]);
        bench.settings.fynn.as_mut().unwrap().media = known(Media::Catalogue(all));
        let answer = bench.post("/media/1/download-token", "");
        let payload = part(body(&answer)["token"].as_str().unwrap(), 1);
        assert_eq!(payload.get("filename").is_some(), expected, "{name:?}");
    }
}
