//! Every way in which a true token is not enough, and what the origin is asked where it is.

use std::time::Duration;

use http::HeaderName;

use super::*;
use crate::clock::UnixTime;
use crate::gate::tests::{over_http, route};
use crate::media::{Media, Medium};
use crate::token::scope::ScopeTemplate;
use crate::token::{Methods, Opens, Parameter, Scope, TokenId};

fn claims(paths: &[&str]) -> Claims {
    let scope = paths.iter().map(|path| Opens::parse(path).unwrap()).collect();
    Claims {
        subject: Some("42".into()),
        scope: Some(Scope(scope)),
        ..Claims::empty(TokenId([0; 16]))
    }
}

fn asked_of(
    route: &Route,
    claims: Claims,
    method: &Method,
    url: &str,
    variables: &[(&str, &str)],
) -> Result<Grant, Code> {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let target = Target::parse(path, query).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    let standing = claims.standing(UnixTime::from_secs(1000), Duration::from_secs(5));
    let verified = Verified {
        claims: Arc::new(claims),
        standing,
    };
    let client = "203.0.113.7".parse().unwrap();
    let asked = Asked {
        method,
        target: &target,
        variables: &variables,
        client,
    };
    match authorize(route, verified, &asked, None).map_err(|stop| stop.code())? {
        Authorized::Granted(grant) => Ok(grant),
        Authorized::Once(once) => panic!("{once:?} is not for these tests"),
    }
}

fn asked(route: &Route, claims: Claims, url: &str) -> Result<String, Code> {
    asked_of(route, claims, &Method::GET, url, &[]).map(|grant| grant.origin_target().to_owned())
}

fn plain() -> Route {
    Arc::into_inner(route("files", None, "", &[])).unwrap()
}

#[test]
fn each_restriction_has_its_refusal() {
    let route = plain();
    let ok = || claims(&["/a/**"]);
    let at = |seconds| Some(UnixTime::from_secs(seconds));
    for (claims, expected) in [
        (ok(), Ok("/a/b".to_owned())),
        (
            Claims {
                expires: at(995),
                ..ok()
            },
            Err(Code::TokenExpired),
        ),
        (
            Claims {
                expires: at(996),
                ..ok()
            },
            Ok("/a/b".to_owned()),
        ),
        (
            Claims {
                not_before: at(1006),
                ..ok()
            },
            Err(Code::TokenNotYetValid),
        ),
        (
            Claims {
                methods: Methods::parse(["PUT"]).ok(),
                ..ok()
            },
            Err(Code::MethodDenied),
        ),
        (
            Claims {
                addresses: Some(Box::new(["198.51.100.0/24".parse().unwrap()])),
                ..ok()
            },
            Err(Code::AddressDenied),
        ),
        (
            Claims {
                addresses: Some(Box::new(["203.0.113.0/24".parse().unwrap()])),
                ..ok()
            },
            Ok("/a/b".to_owned()),
        ),
        (Claims { scope: None, ..ok() }, Err(Code::ScopeDenied)),
        (
            Claims {
                scope: Some(Scope::default()),
                ..ok()
            },
            Err(Code::ScopeDenied),
        ),
        (claims(&["/b/**", "/a"]), Err(Code::ScopeDenied)),
    ] {
        let shown = format!("{claims:?}");
        assert_eq!(asked(&route, claims, "/a/b"), expected, "{shown}");
    }
}

#[test]
fn a_whole_route_still_keeps_to_the_tokens_own_scope() {
    let route = Route {
        scope: ScopeRule::Whole,
        ..plain()
    };
    assert!(
        asked(
            &route,
            Claims {
                scope: None,
                ..claims(&[])
            },
            "/x"
        )
        .is_ok()
    );
    assert_eq!(asked(&route, claims(&["/a"]), "/x"), Err(Code::ScopeDenied));
}

#[test]
fn a_template_opens_the_customers_own_files_alone() {
    let template = ScopeTemplate::parse("/customers/{sub}/**").unwrap();
    let route = Route {
        scope: ScopeRule::Template(template),
        ..plain()
    };
    let mine = || Claims {
        scope: None,
        ..claims(&[])
    };
    assert!(asked(&route, mine(), "/customers/42/invoices/1.pdf").is_ok());
    for path in [
        "/customers/43/invoices/1.pdf",
        "/customers/420/x",
        "/customers/4",
        "/x",
    ] {
        assert_eq!(asked(&route, mine(), path), Err(Code::ScopeDenied), "{path}");
    }
    for subject in [None, Some(""), Some(".."), Some("*"), Some("42/.."), Some("**")] {
        let claims = Claims {
            subject: subject.map(Into::into),
            ..mine()
        };
        assert_eq!(
            asked(&route, claims, "/customers/43/x"),
            Err(Code::ScopeDenied),
            "{subject:?}"
        );
    }
}

#[test]
fn a_prefix_is_taken_off_and_a_template_filled() {
    let strip = Route {
        mapping: Mapping::StripPrefix,
        prefix: "/api".into(),
        ..plain()
    };
    assert_eq!(
        asked(&strip, claims(&["/**"]), "/api/a%20b?x=1").unwrap(),
        "/a%20b?x=1"
    );
    assert_eq!(asked(&strip, claims(&["/**"]), "/api").unwrap(), "/");
    let fill = Route {
        mapping: Mapping::Template("/files/{id}/of/{sub}".into()),
        ..plain()
    };
    let filled = |id: &str| {
        asked_of(&fill, claims(&["/**"]), &Method::GET, "/x", &[("id", id)])
            .map(|grant| grant.origin_target().to_owned())
    };
    assert_eq!(filled("a b?").unwrap(), "/files/a%20b%3F/of/42");
    for id in ["..", ".", "", "a/b", "a\\b", "a\r\n"] {
        assert_eq!(filled(id), Err(Code::ScopeDenied), "{id:?}");
    }
}

#[test]
fn a_catalogue_names_the_file_and_unknown_ids_are_not_found() {
    let medium = Medium {
        file: "/in voice.pdf".into(),
        name: None,
        folder: None,
        owner: None,
        media_type: None,
    };
    let media = Media::Catalogue([("1".into(), medium)].into());
    let route = Route {
        mapping: Mapping::Media(Arc::new(media)),
        ..plain()
    };
    let scope = |id: &str| Claims {
        scope: Some(Scope(Box::new([Opens::MediaId(id.into())]))),
        ..claims(&[])
    };
    let get = |token: &str, id| {
        asked_of(
            &route,
            scope(token),
            &Method::GET,
            "/media/x/download",
            &[("id", id)],
        )
    };
    let grant = get("1", "1").unwrap();
    assert_eq!(
        (grant.origin_target(), grant.filename()),
        ("/in%20voice.pdf", Some("in voice.pdf"))
    );
    assert_eq!(get("2", "2").unwrap_err(), Code::NotFound);
    assert_eq!(get("1", "2").unwrap_err(), Code::ScopeDenied);
}

#[test]
fn forced_parameters_replace_the_clients() {
    let args = |pairs: &[(&str, &str)]| Claims {
        parameters: pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..claims(&["/**"])
    };
    let route = Route {
        origin: over_http(),
        ..plain()
    };
    for (url, expected) in [
        ("/i.jpg", "/i.jpg?w=300&t%20x=a%26b"),
        ("/i.jpg?w=9999", "/i.jpg?w=300&t%20x=a%26b"),
        // As an origin may read them that is less strict than others.
        (
            "/i.jpg?a=1;w=9&W=1&w[]=2&w%00=3&+w=4&%5bw=5",
            "/i.jpg?%5bw=5&w=300&t%20x=a%26b",
        ),
        (
            "/i.jpg?h=1&%77=9&t+x=0&w&z=%20",
            "/i.jpg?h=1&z=%20&w=300&t%20x=a%26b",
        ),
    ] {
        assert_eq!(
            asked(&route, args(&[("w", "300"), ("t x", "a&b")]), url).unwrap(),
            expected
        );
    }
}

#[test]
fn a_claim_that_cannot_be_a_header_refuses_the_request() {
    let route = Route {
        identity_headers: Box::new([(HeaderName::from_static("x-media-subject"), "sub".into())]),
        ..plain()
    };
    let of = |subject: &str| {
        let claims = Claims {
            subject: Some(subject.into()),
            ..claims(&["/**"])
        };
        asked_of(&route, claims, &Method::GET, "/x", &[]).map(|grant| grant.into_request().1)
    };
    assert_eq!(of("42").unwrap()[0].1, "42");
    assert_eq!(of("a\r\nX-Admin: 1").unwrap_err(), Code::TokenInvalid);
    assert_eq!(of("a\0").unwrap_err(), Code::TokenInvalid);
}

#[test]
fn a_folder_can_not_force_parameters() {
    let forced = Claims {
        parameters: Box::new([("w".into(), "300".into())]),
        ..claims(&["/**"])
    };
    assert_eq!(asked(&plain(), forced, "/i.jpg").unwrap_err(), Code::TokenInvalid);
    let withheld = Claims {
        parameters: Box::new([("w".into(), Parameter::Withheld)]),
        ..claims(&["/**"])
    };
    assert_eq!(asked(&plain(), withheld, "/i.jpg?w=1").unwrap(), "/i.jpg");
}
