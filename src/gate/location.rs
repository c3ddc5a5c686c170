//! `Location` from an origin: path-only on the origin's own host, with a path-prefix token put back; other hosts only
//! where the route lists them. The origin's host never reaches the client.

use http::Uri;
use http::header::{self, HeaderMap, HeaderValue};

use super::refusal::{Code, Failure, Stop};
use super::route::Route;

/// The client's `Location`.
///
/// # Errors
/// `origin_invalid` for none, several, an unreadable one, or a host that is not allowed.
pub(super) fn rewrite(route: &Route, prefix: Option<&str>, headers: &HeaderMap) -> Result<HeaderValue, Stop> {
    let refused = |detail| {
        Stop::Failed(Failure {
            code: Code::OriginInvalid,
            detail,
            source: None,
            retry_after: None,
        })
    };
    let mut values = headers.get_all(header::LOCATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(refused("the origin redirects without one Location"));
    };
    let text = value
        .to_str()
        .map_err(|_| refused("the origin's Location can't be read"))?;
    let (location, fragment) = text
        .split_once('#')
        .map_or((text, None), |(before, after)| (before, Some(after)));
    // A browser reads `\` as `/` and drops control bytes: such a value has two readings.
    if location.contains('\\') || location.starts_with("//") || location.bytes().any(|byte| byte <= b' ') {
        return Err(refused("the origin's Location has two readings"));
    }
    let uri: Uri = location
        .parse()
        .map_err(|_| refused("the origin's Location can't be read"))?;
    let public = match uri.host() {
        None if location.starts_with('/') => own_path(&uri, prefix),
        // Relative to the target, which the client resolves, prefix and all.
        None => {
            return Err(refused(
                "the origin's Location is neither absolute nor a whole path",
            ));
        }
        Some(host) if is_listed(&route.origin_hosts, host, &uri) => own_path(&uri, prefix),
        Some(host) if is_listed(&route.redirect_hosts, host, &uri) => location.to_owned(),
        Some(_) => {
            return Err(refused(
                "the origin redirects to a host that the route does not list",
            ));
        }
    };
    let public = fragment.map_or(public.clone(), |fragment| format!("{public}#{fragment}"));
    HeaderValue::try_from(public).map_err(|_| refused("the origin's Location can't be read"))
}

fn own_path(uri: &Uri, prefix: Option<&str>) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match prefix {
        Some(prefix) => format!("/{prefix}{path}"),
        None => path.to_owned(),
    }
}

/// A host, or host and port, on the list.
fn is_listed(list: &[Box<str>], host: &str, uri: &Uri) -> bool {
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    matches!(uri.scheme_str(), Some("http" | "https"))
        && !authority.contains('@')
        && list
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(authority))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gate::tests::route;

    #[test]
    fn the_origins_host_never_reaches_the_client() {
        let route = Route {
            origin_hosts: Box::new(["origin.internal:9000".into(), "origin.internal".into()]),
            redirect_hosts: Box::new(["www.example.com".into()]),
            ..Arc::into_inner(route("files", None, "", &[])).unwrap()
        };
        for (location, expected) in [
            ("http://origin.internal:9000/new?x=1", Some("/~tok/new?x=1")),
            ("https://ORIGIN.internal/new", Some("/~tok/new")),
            ("/new#part", Some("/~tok/new#part")),
            (
                "https://www.example.com/shop",
                Some("https://www.example.com/shop"),
            ),
            ("https://evil.example/", None),
            ("//evil.example/", None),
            ("/\\evil.example/", None),
            ("http://www.example.com@evil.example/", None),
            ("http://user@www.example.com/", None),
            ("javascript:alert(1)", None),
            ("relative", None),
            ("", None),
            ("http://www.example.com.evil.example/", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, HeaderValue::from_str(location).unwrap());
            let result = rewrite(&route, Some("~tok"), &headers);
            assert_eq!(
                result.ok().as_ref().map(|value| value.to_str().unwrap()),
                expected,
                "{location}"
            );
        }
        assert!(rewrite(&route, None, &HeaderMap::new()).is_err());
    }
}
