//! Tokens found and taken out, carrier by carrier.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn query(names: &[&str]) -> Carrier {
    Carrier::Query {
        names: names.iter().map(|name| (*name).into()).collect(),
    }
}

fn cookie(names: &[&str]) -> Carrier {
    Carrier::Cookie {
        names: names.iter().map(|name| (*name).into()).collect(),
    }
}

fn segment(pattern: &str) -> Carrier {
    Carrier::PathSegment(PathPattern::parse(pattern).unwrap())
}

fn marker() -> Carrier {
    Carrier::PathPrefix { marker: "~".into() }
}

fn headers(list: &[(&'static str, &'static [u8])]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in list {
        map.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    map
}

/// The token's parts joined by a bar, and what is left.
fn locate_with(
    carriers: &[Carrier],
    uri: &str,
    headers: &HeaderMap,
) -> Result<(Option<String>, String), LocateError> {
    let (path, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    let found = Carriers::new(carriers.to_vec()).locate(Head { path, query, headers })?;
    Ok((
        found.parts.map(|parts| parts.join("|")),
        found.target.as_str().to_owned(),
    ))
}

fn locate(carriers: &[Carrier], uri: &str) -> Result<(Option<String>, String), LocateError> {
    locate_with(carriers, uri, &HeaderMap::new())
}

fn found(token: &str, target: &str) -> Result<(Option<String>, String), LocateError> {
    Ok((Some(token.to_owned()), target.to_owned()))
}

fn nothing(target: &str) -> Result<(Option<String>, String), LocateError> {
    Ok((None, target.to_owned()))
}

#[test]
fn a_query_token_is_taken_out_with_its_separator() {
    let t = [query(&["t"])];
    assert_eq!(locate(&t, "/a?t=x"), found("x", "/a"));
    assert_eq!(locate(&t, "/a?t=x&b=2"), found("x", "/a?b=2"));
    assert_eq!(locate(&t, "/a?b=%41&t=x&c"), found("x", "/a?b=%41&c"));
    assert_eq!(locate(&t, "/a?b=2&t=x"), found("x", "/a?b=2"));
    assert_eq!(locate(&t, "/a?b==&&c=&t=x&=d"), found("x", "/a?b==&&c=&=d"));
    assert_eq!(locate(&t, "/a?b=2"), nothing("/a?b=2"));
    assert_eq!(locate(&t, "/a"), nothing("/a"));
    assert_eq!(locate(&t, "/a?t=a=b"), found("a=b", "/a"));
}

#[test]
fn a_query_name_is_compared_decoded_and_with_its_case() {
    let t = [query(&["t"])];
    assert_eq!(locate(&t, "/a?%74=x"), found("x", "/a"));
    assert_eq!(locate(&t, "/a?%74=x&t=x"), Err(LocateError::Ambiguous));
    assert_eq!(locate(&t, "/a?T=x"), nothing("/a?T=x"));
}

#[test]
fn a_query_value_is_decoded_once_and_plus_stays_plus() {
    let t = [query(&["t"])];
    assert_eq!(locate(&t, "/a?t=a%2Eb+c"), found("a.b+c", "/a"));
    assert_eq!(locate(&t, "/a?t=a%252E"), found("a%2E", "/a"));
    for bad in [
        "/a?t=",
        "/a?t",
        "/a?t=%",
        "/a?t=%4",
        "/a?t=%zz",
        "/a?t=%ff",
        "/a?t=%00",
        "/a?t=a%0ab",
    ] {
        assert_eq!(locate(&t, bad), Err(LocateError::Malformed), "{bad}");
    }
}

#[test]
fn a_token_longer_than_the_limit_is_malformed() {
    let t = [query(&["t"])];
    let most = "a".repeat(MAX_TOKEN_BYTES);
    assert!(locate(&t, &format!("/a?t={most}")).is_ok());
    assert_eq!(locate(&t, &format!("/a?t={most}a")), Err(LocateError::Malformed));
    assert!(locate(&t, &format!("/a?t={}", "%61".repeat(MAX_TOKEN_BYTES))).is_ok());
    assert_eq!(
        locate(&[marker()], &format!("/~{most}a/x")),
        Err(LocateError::Malformed)
    );
}

#[test]
fn two_values_in_one_carrier_are_ambiguous() {
    assert_eq!(
        locate(&[query(&["t"])], "/a?t=x&t=x"),
        Err(LocateError::Ambiguous)
    );
    assert_eq!(
        locate(&[query(&["t"])], "/a?t=x&b=1&t=y"),
        Err(LocateError::Ambiguous)
    );
}

#[test]
fn url_carriers_that_differ_are_ambiguous_and_equal_ones_are_all_taken_out() {
    let both = [query(&["t"]), marker(), query(&["token"])];
    assert_eq!(locate(&both, "/~x/a?t=x&b=1&token=x"), found("x", "/a?b=1"));
    assert_eq!(locate(&both, "/~x/a?t=y"), Err(LocateError::Ambiguous));
    assert_eq!(locate(&both, "/a?t=x&token=y"), Err(LocateError::Ambiguous));
    let path = [segment("/m/{token}"), query(&["t"])];
    assert_eq!(locate(&path, "/m/x?t=x"), found("x", "/m"));
    assert_eq!(locate(&path, "/m/x?t=y"), Err(LocateError::Ambiguous));
}

#[test]
fn a_token_of_several_parameters_is_there_as_a_whole_or_malformed() {
    let three = [query(&["Policy", "Signature", "Key"])];
    assert_eq!(
        locate(&three, "/a?Key=k&x=1&Policy=p&Signature=s"),
        found("p|s|k", "/a?x=1")
    );
    assert_eq!(locate(&three, "/a?Policy=p&Key=k"), Err(LocateError::Malformed));
    assert_eq!(locate(&three, "/a?x=1"), nothing("/a?x=1"));
}

#[test]
fn a_path_pattern_takes_its_token_out_and_names_its_variables() {
    let carriers = Carriers::new(vec![segment("/media/{id}/download/{token}")]);
    let headers = HeaderMap::new();
    let found = carriers
        .locate(Head {
            path: "/%6dedia/a%20b/download/tok%2Een",
            query: Some("x=1"),
            headers: &headers,
        })
        .unwrap();
    assert_eq!(found.parts.unwrap()[0], "tok.en");
    assert_eq!(found.target.as_str(), "/media/a%20b/download?x=1");
    assert_eq!(found.variables[0], ("id".into(), "a b".into()));
}

#[test]
fn an_open_path_pattern_keeps_what_follows() {
    let carriers = Carriers::new(vec![segment("/{token}/**")]);
    for (path, rest) in [
        ("/t0k3n/manifest/a%20b.m3u8", "/manifest/a%20b.m3u8"),
        ("/t0k3n", "/"),
    ] {
        let headers = HeaderMap::new();
        let found = carriers
            .locate(Head {
                path,
                query: None,
                headers: &headers,
            })
            .unwrap();
        assert_eq!(found.parts.unwrap()[0], "t0k3n", "{path}");
        assert_eq!(found.target.encoded_path(), rest);
    }
    assert!(PathPattern::parse("/**").is_err() && PathPattern::parse("/a/**").is_err());
}

#[test]
fn a_path_that_is_not_of_the_pattern_is_left_alone() {
    let carriers = [segment("/media/{id}/download/{token}")];
    for path in [
        "/media/9/download/",
        "/media/9/download",
        "/media/9/other/x",
        "/media/9/download/x/y",
    ] {
        assert_eq!(locate(&carriers, path), nothing(path));
    }
    assert_eq!(locate(&[segment("/{token}")], "/x"), found("x", "/"));
    assert_eq!(locate(&[segment("/a/{token}/b")], "/a/x/b"), found("x", "/a/b"));
}

#[test]
fn a_path_variable_with_two_readings_is_a_bad_target() {
    let carriers = [segment("/media/{id}/{token}")];
    for id in ["..", "%2e%2e", "a%2fb", "a%5cb", "%00", "%ff", "%"] {
        let refused = locate(&carriers, &format!("/media/{id}/x"));
        assert!(
            matches!(refused, Err(LocateError::Target(_))),
            "{id}: {refused:?}"
        );
    }
}

#[test]
fn path_patterns_are_read_strictly() {
    for bad in [
        "media/{token}",
        "/media",
        "/{token}/{token}",
        "/{a}/{a}/{token}",
        "/a//{token}",
        "/a-{id}/{token}",
        "/{}/{token}",
        "/../{token}",
        "/{token}/",
    ] {
        assert!(PathPattern::parse(bad).is_err(), "{bad}");
    }
    let pattern = PathPattern::parse("/m/{id}/{name}/{token}").unwrap();
    assert_eq!(pattern.variables().collect::<Vec<_>>(), ["id", "name"]);
}

#[test]
fn a_marked_first_segment_is_taken_out_and_remembered() {
    let carriers = Carriers::new(vec![marker()]);
    let headers = HeaderMap::new();
    let locate = |path| {
        carriers.locate(Head {
            path,
            query: None,
            headers: &headers,
        })
    };
    for (path, token, segment) in [
        ("/~TOK/hls/x", "TOK", "~TOK"),
        ("/%7ETOK/hls/x", "TOK", "%7ETOK"),
        ("/~T%4fK/hls/x", "TOK", "~T%4fK"),
    ] {
        let found = locate(path).unwrap();
        assert_eq!(found.parts.unwrap()[0], token);
        assert_eq!(found.target.as_str(), "/hls/x");
        assert_eq!(found.prefix.unwrap(), segment);
    }
    assert_eq!(locate("/~TOK").unwrap().target.as_str(), "/");
    for path in ["/~/hls/x", "/hls/~TOK/x", "/"] {
        let found = locate(path).unwrap();
        assert!(found.parts.is_none() && found.prefix.is_none(), "{path}");
        assert_eq!(found.target.as_str(), path);
    }
    assert!(matches!(locate("/~%ff/x"), Err(LocateError::Malformed)));
    assert!(matches!(
        locate("/~TOK/../x"),
        Err(LocateError::Target(BadTarget::DotSegment))
    ));
    assert!(matches!(
        locate("/~TOK//x"),
        Err(LocateError::Target(BadTarget::EmptySegment))
    ));
}

#[test]
fn a_bearer_token_is_the_one_word_after_the_scheme() {
    let bearer =
        |value: &'static [u8]| locate_with(&[Carrier::Bearer], "/a", &headers(&[("authorization", value)]));
    assert_eq!(bearer(b"Bearer x.y"), found("x.y", "/a"));
    assert_eq!(bearer(b"bEARER  x"), found("x", "/a"));
    assert_eq!(bearer(b"Basic x"), nothing("/a"));
    assert_eq!(bearer(b"Bearerx y"), nothing("/a"));
    for bad in [
        &b"Bearer a b"[..],
        b"Bearer",
        b"Bearer ",
        b"Bearer a,b",
        b"Bearer a\tb",
        b"Bearer \xffa",
        b"Bearer a, Bearer b",
    ] {
        assert_eq!(bearer(bad), Err(LocateError::Malformed), "{bad:?}");
    }
    let two = headers(&[("authorization", b"Bearer a"), ("authorization", b"Bearer a")]);
    assert_eq!(
        locate_with(&[Carrier::Bearer], "/a", &two),
        Err(LocateError::Ambiguous)
    );
}

#[test]
fn url_comes_before_header_before_cookie_without_falling_through() {
    let all = [cookie(&["t"]), Carrier::Bearer, query(&["t"])];
    let both = headers(&[("authorization", b"Bearer b"), ("cookie", b"t=c")]);
    assert_eq!(locate_with(&all, "/a?t=q", &both), found("q", "/a"));
    assert_eq!(locate_with(&all, "/a", &both), found("b", "/a"));
    assert_eq!(
        locate_with(&all, "/a", &headers(&[("cookie", b"t=c")])),
        found("c", "/a")
    );
    assert_eq!(locate_with(&all, "/a?t=", &both), Err(LocateError::Malformed));
}

#[test]
fn cookies_of_one_name_are_alternatives_up_to_four() {
    let map = headers(&[
        ("cookie", b"t=1; x=\xff; t=\"2\";t = 3 ; T=9"),
        ("cookie", b"t=; t=4; t=5"),
    ]);
    assert_eq!(
        cookies(&map, "t").collect::<Vec<_>>(),
        ["1", "2", "3", "", "4", "5"]
    );
    let carriers = Carriers::new(vec![cookie(&["t"])]);
    let found = carriers
        .locate(Head {
            path: "/a",
            query: None,
            headers: &map,
        })
        .unwrap();
    assert_eq!(found.parts.unwrap()[0], "1");
    assert_eq!(
        found
            .alternatives
            .iter()
            .map(|parts| &*parts[0])
            .collect::<Vec<_>>(),
        ["2", "3"]
    );
    let empty = headers(&[("cookie", b"t=")]);
    assert_eq!(
        locate_with(&[cookie(&["t"])], "/a", &empty),
        Err(LocateError::Malformed)
    );
}

#[test]
fn a_token_of_several_cookies_needs_all_of_them() {
    let carriers = [cookie(&["p", "s"])];
    assert_eq!(
        locate_with(&carriers, "/a", &headers(&[("cookie", b"s=2; p=1")])),
        found("1|2", "/a")
    );
    assert_eq!(
        locate_with(&carriers, "/a", &headers(&[("cookie", b"p=1")])),
        nothing("/a")
    );
}

#[test]
fn cookies_are_taken_out_of_a_header() {
    let ours = |name: &str| matches!(name, "t" | "u");
    assert_eq!(
        without_cookies("a=1; t=x;b=2; u=\"y\"", ours).as_deref(),
        Some("a=1; b=2")
    );
    assert_eq!(without_cookies("t=x; u=y", ours), None);
    assert_eq!(without_cookies("T=x; tt=y", ours).as_deref(), Some("T=x; tt=y"));
    assert_eq!(without_cookies("", ours), None);
}

#[test]
fn a_query_token_without_escapes_is_borrowed() {
    let carriers = Carriers::new(vec![query(&["t"])]);
    let headers = HeaderMap::new();
    let found = carriers
        .locate(Head {
            path: "/a",
            query: Some("t=abc"),
            headers: &headers,
        })
        .unwrap();
    assert!(matches!(found.parts.unwrap()[0], Cow::Borrowed("abc")));
    assert!(found.target.query().is_none());
}

proptest! {
    #[test]
    fn no_byte_of_the_token_stays_in_the_target(
        token in "[A-Z]{6,40}",
        before in proptest::collection::vec("[a-s=%]{0,6}", 0..3),
        after in proptest::collection::vec("[a-s=%]{0,6}", 0..3),
    ) {
        let rest = [before.clone(), after.clone()].concat().join("&");
        let ours = format!("t={token}");
        let query = [&before[..], &[ours], &after[..]].concat().join("&");
        let (parts, target) = locate(&[self::query(&["t"]), marker()], &format!("/~{token}/a?{query}")).unwrap();
        prop_assert_eq!(parts.as_deref(), Some(&*token));
        let expected = if rest.is_empty() { "/a".to_owned() } else { format!("/a?{rest}") };
        prop_assert_eq!(target, expected);
    }

    #[test]
    fn locating_never_panics(uri in "/[~a%2e/?&=t]{0,24}") {
        let all = [marker(), segment("/{id}/{token}"), query(&["t"]), query(&["a", "e"])];
        let _ = locate(&all, &uri);
    }
}
