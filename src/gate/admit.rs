//! Admit: is this a request that can have one meaning at all? Sizes, target form, host. In: the head.
//! Out: `Admitted`, with the host that routes. Never looks at tokens.

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, Version, header};

use super::refusal::{Code, Refusal, Stop};
use crate::token::Methods;

/// The longest target, in bytes.
pub const MAX_URI_BYTES: usize = 16 * 1024;

/// A head that was let in.
pub struct Admitted<'r> {
    /// The host, lower case, without the port; `None` for HTTP/1.0 without `Host`.
    pub host: Option<Cow<'r, str>>,
    /// The path as the client sent it.
    pub raw_path: &'r str,
    /// The query as the client sent it.
    pub raw_query: Option<&'r str>,
}

/// Judges a head. `max_head` bounds the names and values of all headers together, in bytes.
///
/// # Errors
/// `uri_too_long`, `head_too_large`, `bad_request`, `bad_path`, `method_not_allowed`.
pub fn admit(head: &Parts, max_head: usize) -> Result<Admitted<'_>, Stop> {
    let uri = &head.uri;
    let raw_path = uri.path();
    let raw_query = uri.query();
    if raw_path.len() + raw_query.map_or(0, |query| query.len() + 1) > MAX_URI_BYTES {
        return Err(Stop::refused(
            Code::UriTooLong,
            "the address is longer than 16 KiB",
        ));
    }
    let size: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size > max_head {
        return Err(Stop::refused(Code::HeadTooLarge, "the headers are too large"));
    }
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        let refusal = Refusal::new(Code::MethodNotAllowed, "neither a tunnel nor an echo");
        return Err(Refusal {
            allow: Some(Methods::READ),
            ..refusal
        }
        .into());
    }
    if !raw_path.starts_with('/') {
        return Err(Stop::refused(
            Code::BadPath,
            "the path does not start with a slash",
        ));
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.as_bytes()),
        (None, _) if head.version == Version::HTTP_10 => None,
        // RFC 9113 §8.3.1: there `:authority` stands in the place of `Host`.
        (None, _) if head.version == Version::HTTP_2 && uri.authority().is_some() => {
            uri.authority().map(|authority| authority.as_str().as_bytes())
        }
        // RFC 9112 §3.2: exactly one, also beside an absolute target.
        _ => {
            return Err(Stop::refused(
                Code::BadRequest,
                "exactly one Host header is needed",
            ));
        }
    };
    if let Some(authority) = uri.authority()
        && host.is_none_or(|host| !host.eq_ignore_ascii_case(authority.as_str().as_bytes()))
    {
        return Err(Stop::refused(
            Code::BadRequest,
            "the target names another host than the Host header",
        ));
    }
    let host = host.map(host_name).transpose()?;
    Ok(Admitted {
        host,
        raw_path,
        raw_query,
    })
}

/// `Host` without its port, lower case (RFC 9110 §7.2). Brackets of an IPv6 address stay.
fn host_name(host: &[u8]) -> Result<Cow<'_, str>, Stop> {
    let bad = || Stop::refused(Code::BadRequest, "the Host header can't be read");
    let text = std::str::from_utf8(host).map_err(|_| bad())?;
    let (name, port) = match text.rfind(':').filter(|at| !text[*at..].contains(']')) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    let is_literal = name.starts_with('[')
        && name.ends_with(']')
        && name.len() > 2
        && name[1..name.len() - 1]
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.');
    if !is_literal && (name.is_empty() || !name.bytes().all(is_name)) {
        return Err(bad());
    }
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.len() > 5 {
        return Err(bad());
    }
    Ok(match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn admitted(uri: &str, hosts: &[&str]) -> Result<Option<Box<str>>, Code> {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        admit(&parts, 1000)
            .map(|admitted| admitted.host.map(|host| host.into_owned().into()))
            .map_err(|stop| stop.code())
    }

    #[test]
    fn the_host_is_read_once_and_strictly() {
        for (host, name) in [
            ("Media.Example.COM", "media.example.com"),
            ("media.example.com:8443", "media.example.com"),
            ("[2001:db8::1]:80", "[2001:db8::1]"),
            ("127.0.0.1:8080", "127.0.0.1"),
        ] {
            assert_eq!(admitted("/", &[host]), Ok(Some(name.into())), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "user@host",
            "host/path",
            "host:http",
            "[::1",
            "a,b:c:d",
            "host:123456",
            "[]",
        ] {
            assert_eq!(admitted("/", &[host]), Err(Code::BadRequest), "{host}");
        }
        assert_eq!(admitted("/", &[]), Err(Code::BadRequest));
        assert_eq!(admitted("/", &["a", "a"]), Err(Code::BadRequest));
    }

    #[test]
    fn an_absolute_target_agrees_with_the_host() {
        assert_eq!(
            admitted("http://a.example/x", &["A.example"]),
            Ok(Some("a.example".into()))
        );
        assert_eq!(
            admitted("http://evil.example/x", &["a.example"]),
            Err(Code::BadRequest)
        );
        assert_eq!(
            admitted("http://user@a.example/x", &["a.example"]),
            Err(Code::BadRequest)
        );
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(
            admitted(&format!("/{}", "a".repeat(MAX_URI_BYTES)), &["a"]),
            Err(Code::UriTooLong)
        );
        assert_eq!(admitted("/", &[&"a".repeat(1000)]), Err(Code::HeadTooLarge));
    }
}
