//! `Cache-Control` of what is delivered: private to the client, and never longer than the token lives (RFC 9111 §5.2).

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};

/// The directive for the client, from the origin's and the rest of the token's life. Where the origin says nothing, a
/// copy may be kept but is asked about each time, so that each use passes the gate.
pub(super) fn private(origin: &HeaderMap, remaining: Option<Duration>) -> HeaderValue {
    let mut max_age: Option<u64> = None;
    let mut revalidate = false;
    let directives = origin
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for directive in directives.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" => return HeaderValue::from_static("private, no-store"),
            "no-cache" => revalidate = true,
            // The smaller of two, and 0 for one that can't be read.
            "max-age" => {
                let seconds = value.trim_matches('"').parse().unwrap_or(0);
                max_age = Some(max_age.map_or(seconds, |old: u64| old.min(seconds)));
            }
            _ => {}
        }
    }
    let Some(max_age) = max_age.filter(|_| !revalidate) else {
        return HeaderValue::from_static("private, no-cache");
    };
    let age = origin
        .get(header::AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let left = max_age
        .saturating_sub(age)
        .min(remaining.map_or(u64::MAX, |remaining| remaining.as_secs()));
    HeaderValue::try_from(format!("private, max-age={left}"))
        .unwrap_or_else(|_| HeaderValue::from_static("private, no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_never_outlives_the_token_and_is_never_shared() {
        for (origin, age, remaining, expected) in [
            (None, None, Some(60), "private, no-cache"),
            (
                Some("public, max-age=3600, immutable"),
                None,
                Some(60),
                "private, max-age=60",
            ),
            (
                Some("max-age=30, s-maxage=999"),
                None,
                Some(60),
                "private, max-age=30",
            ),
            (Some("max-age=30"), Some("20"), Some(60), "private, max-age=10"),
            (Some("max-age=30"), None, None, "private, max-age=30"),
            (Some("No-Store, max-age=30"), None, Some(60), "private, no-store"),
            (Some("no-cache, max-age=30"), None, Some(60), "private, no-cache"),
            (Some("max-age=soon"), None, Some(60), "private, max-age=0"),
            (
                Some("max-age=60, max-age=5"),
                None,
                Some(60),
                "private, max-age=5",
            ),
            (Some("public"), None, Some(60), "private, no-cache"),
        ] {
            let mut headers = HeaderMap::new();
            origin.map(|value| headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(value)));
            age.map(|value| headers.insert(header::AGE, HeaderValue::from_static(value)));
            assert_eq!(
                private(&headers, remaining.map(Duration::from_secs)),
                expected,
                "{origin:?}"
            );
        }
    }
}
