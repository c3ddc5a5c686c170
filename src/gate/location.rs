//! `Location` from an origin: path-only on the origin's own host, with a path-prefix token put back; other hosts only
//! where the route lists them. The origin's host never reaches the client.

use http::Uri;
use http::header::{self, HeaderMap, HeaderValue};

use super::refusal::{Code, Failure, Stop};
use super::route::{Mapping, Route};
use crate::target::Target;

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
    let lost = || refused("the origin redirects to a path that the route does not have");
    let public = match uri.host() {
        None if location.starts_with('/') => own_path(route, &uri, prefix).ok_or_else(lost)?,
        // Relative to the target, which the client resolves, prefix and all.
        None => {
            return Err(refused(
                "the origin's Location is neither absolute nor a whole path",
            ));
        }
        Some(host) if is_listed(&route.origin_hosts, host, &uri) => {
            own_path(route, &uri, prefix).ok_or_else(lost)?
        }
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

/// A path of the origin as the client has to ask for it: without the origin's base, with the route's prefix and the token
/// put back. `None` where it has no such path.
fn own_path(route: &Route, uri: &Uri, prefix: Option<&str>) -> Option<String> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let below = path
        .strip_prefix(route.origin.base_path())
        .filter(|rest| rest.starts_with('/'))?;
    // `//host/` is another host to a browser.
    if below.starts_with("//") {
        return None;
    }
    let mut public = String::new();
    if let Some(prefix) = prefix {
        public.push('/');
        public.push_str(prefix);
    }
    match route.mapping {
        Mapping::Same => {}
        Mapping::StripPrefix => public.push_str(
            Target::from_decoded(&format!("{}/", route.prefix))
                .ok()?
                .encoded_path()
                .trim_end_matches('/'),
        ),
        // What a template made of the client's path can't be turned back.
        Mapping::Template(_) | Mapping::Media(_) => return None,
    }
    public.push_str(below);
    Some(public)
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
        let of = |route: &Route, location: &'static str| {
            let headers = [(header::LOCATION, HeaderValue::from_static(location))]
                .into_iter()
                .collect();
            rewrite(route, None, &headers)
                .ok()
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(&route, "http://origin.internal//evil.example/x"), None);
        assert_eq!(of(&route, "http://origin.internal/x"), Some("/x".into()));
        let stripped = Route {
            mapping: Mapping::StripPrefix,
            prefix: "/a b".into(),
            ..route
        };
        assert_eq!(of(&stripped, "/dir/"), Some("/a%20b/dir/".into()));
        let filled = Route {
            mapping: Mapping::Template("/files/{id}".into()),
            ..stripped
        };
        assert_eq!(of(&filled, "/dir/"), None);
    }
}
