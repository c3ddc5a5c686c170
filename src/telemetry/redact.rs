//! What of a request may stand in a log: paths without anything that could be a token. Queries never do.

use std::borrow::Cow;

/// Segments longer than this are not shown: no file of ours has such a name, tokens do.
const LONGEST_SEGMENT: usize = 96;

/// A path for a log: long segments and such that look like a JWT are replaced by `…`.
pub fn path(path: &str) -> Cow<'_, str> {
    // `eyJ` is how the JSON of every JWT header begins in base64.
    if path.len() <= LONGEST_SEGMENT && !path.contains("eyJ") {
        return Cow::Borrowed(path);
    }
    let is_shown = |segment: &&str| segment.len() <= LONGEST_SEGMENT && !segment.contains("eyJ");
    let shown: Vec<&str> = path
        .split('/')
        .map(|segment| if is_shown(&segment) { segment } else { "…" })
        .collect();
    Cow::Owned(shown.join("/"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_looks_like_a_token_is_not_shown() {
        let long = "a".repeat(97);
        for (path, shown) in [
            ("/a/b.pdf", "/a/b.pdf"),
            (
                "/media/1/download/eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                "/media/1/download/…",
            ),
            ("/~eyJhbGciOiJIUzI1NiJ9.e30.c2ln/hls/a.m3u8", "/…/hls/a.m3u8"),
            (&format!("/x/{long}/y"), "/x/…/y"),
        ] {
            assert_eq!(super::path(path), shown);
        }
    }
}
