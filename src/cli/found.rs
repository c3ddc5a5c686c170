//! Tokens as people hand them over: alone, in a link, or on standard input.

use std::borrow::Cow;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::Failed;
use crate::token::scheme::opaque::Handle;
use crate::token::scheme::short_media::looks_like_one;
use crate::token::{Evidence, MAX_TOKEN_BYTES};

/// A token by its looks.
#[derive(Debug)]
pub(super) enum Found<'t> {
    /// A JWT.
    Jwt(&'t str),
    /// An opaque token.
    Handle(Handle),
    /// A short media token, its Base64.
    ShortMedia(String),
}

/// What was handed over; `-` is standard input.
pub(super) fn read_argument(argument: &str) -> Result<String, Failed> {
    if argument != "-" {
        return Ok(argument.trim().to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .take(4 * MAX_TOKEN_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(Failed::other)?;
    Ok(text.trim().to_owned())
}

/// The token in a text: the text itself, or the part of a link that looks like one.
pub(super) fn find(text: &str) -> Result<Found<'_>, Failed> {
    let pieces = || text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter));
    let is_jwt = |piece: &&str| {
        let parts: Vec<&str> = piece.split('.').collect();
        parts.len() == 3 && parts[0].starts_with("eyJ") && !parts[1].is_empty()
    };
    if let Some(jwt) = pieces().find(is_jwt) {
        return Ok(Found::Jwt(jwt));
    }
    let mut handles = pieces().filter_map(Handle::parse);
    if let Some(token) = short_media(text) {
        return Ok(Found::ShortMedia(token));
    }
    match (handles.next(), handles.next()) {
        (Some(handle), None) => Ok(Found::Handle(handle)),
        (Some(_), Some(_)) => Err(Failed::Other(
            "several parts of that look like tokens; give the token alone".into(),
        )),
        (None, _) => Err(Failed::Other("there is no token in that".into())),
    }
}

/// Base64, with its `+`, `/` and `=` as they are or percent-encoded, as far as it goes.
fn short_media(text: &str) -> Option<String> {
    let (at, _) = text.char_indices().find(|(at, _)| looks_like_one(&text[*at..]))?;
    let goes_on = |letter: char| letter.is_ascii_alphanumeric() || "+/=% ".contains(letter);
    let raw = &text[at..];
    let end = raw.find(|letter| !goes_on(letter)).unwrap_or(raw.len());
    percent_decode_str(&raw[..end])
        .decode_utf8()
        .ok()
        .map(Cow::into_owned)
}

/// A token as nobody sends it: alone, for verifiers that look at nothing else.
pub(super) fn alone<'r>(token: &'r str, headers: &'r HeaderMap) -> Evidence<'r> {
    Evidence {
        method: &Method::GET,
        public: None,
        raw_path: "/",
        raw_query: None,
        headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        proxied: false,
        parts: [token.into()].into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwt_is_found_in_a_link() {
        let token = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        for text in [
            token.to_owned(),
            format!("http://h/a.mp4?x=1&t={token}&y=2"),
            format!("http://h/~{token}/hls/a.m3u8"),
            format!("http://h.example.com/media/1/download/{token}"),
        ] {
            assert!(
                matches!(find(&text), Ok(Found::Jwt(found)) if found == token),
                "{text}"
            );
        }
        assert!(find("http://www.example.com/a.b.c").is_err());
    }

    #[test]
    fn a_short_media_token_is_found_however_its_signs_are_written() {
        let token = "PHNpZ25hdHVyZUluZm8+YQ/b==";
        let encoded = "PHNpZ25hdHVyZUluZm8%2BYQ%2Fb%3D%3D";
        for text in [
            token.to_owned(),
            format!("http://h/a.mp4?token={token}&x=1"),
            format!("http://h/a.mp4?x=1&token={encoded}"),
        ] {
            assert!(
                matches!(find(&text), Ok(Found::ShortMedia(found)) if found == token),
                "{text}"
            );
        }
    }

    #[test]
    fn an_opaque_token_is_found_where_it_is_the_only_thing_like_one() {
        let token = "0123456789abcdef0123456789abcdef";
        for text in [
            token.to_owned(),
            format!("http://h/a.pdf?t={token}"),
            format!("http://h/~{token}/a"),
        ] {
            assert!(
                matches!(find(&text), Ok(Found::Handle(found)) if found.reveal() == token),
                "{text}"
            );
        }
        assert!(find(&format!("http://h/{token}.pdf?t={token}")).is_ok());
        assert!(find(&format!("http://h/{token}/a.pdf?t={token}")).is_err());
        assert!(find(&token.to_uppercase()).is_err());
    }
}
