//! What of a request may stand in a log: paths without anything that could be a token. Queries never do.

use std::fmt;

/// Segments longer than this are not shown: no file of ours has such a name, tokens do.
const LONGEST_SEGMENT: usize = 96;

/// A path for a log: long segments and such that look like a JWT are replaced by `…`.
pub struct Path<'p>(pub &'p str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= LONGEST_SEGMENT && !self.0.contains("eyJ") && !self.0.contains('~') {
            return f.write_str(self.0);
        }
        for (at, segment) in self.0.split('/').enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            // `eyJ` is how the JSON of every JWT header begins in base64.
            f.write_str(if segment.len() > LONGEST_SEGMENT || segment.contains("eyJ") {
                "…"
            } else {
                segment
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(Path(path).to_string(), shown);
        }
    }
}
