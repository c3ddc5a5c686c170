//! The head of an HTTP/1 answer. Pure.
//! In: the bytes that came so far. Out: status and headers, which share one copy of those bytes, and what came behind
//! the head. Never: headers of the connection (RFC 9110 §7.6.1), but for `Transfer-Encoding`, which `truth` judges.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use smallvec::SmallVec;

/// Header lines in one head.
const HEADERS_MAX: usize = 100;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What the bytes so far are.
pub(super) enum Parsed {
    /// The beginning of a head.
    Partial,
    /// An answer before the answer (1xx), of this many bytes.
    Interim(usize),
    /// The head of the answer.
    Whole(Head),
}

/// The head of an answer.
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether the connection may be used again after this answer.
    pub(super) persistent: bool,
    /// What came behind the head.
    pub(super) rest: Bytes,
}

/// Reads a head.
///
/// # Errors
/// Why it is no HTTP/1 head that has one meaning.
pub(super) fn parse(received: &[u8]) -> Result<Parsed, &'static str> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let length = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, received, &mut fields)
        .map_err(reason)?;
    let (httparse::Status::Complete(length), Some(code), Some(minor)) = (length, parsed.code, parsed.version)
    else {
        return Ok(Parsed::Partial);
    };
    let status = StatusCode::from_u16(code).map_err(|_| "a status that is none")?;
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Parsed::Interim(length));
    }
    let version = if minor == 0 {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    // One copy that all values share: the buffer itself is kept for the connection's next answer.
    let copy = Bytes::copy_from_slice(received);
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let mut connection = Connection::default();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| "a header name that is none")?;
        if name == header::CONNECTION {
            connection.read(field.value);
        } else if !is_hop_by_hop(&name) {
            let value = HeaderValue::from_maybe_shared(copy.slice(place(received, field.value)))
                .map_err(|_| "a header value that is none")?;
            headers.append(name, value);
        }
    }
    for name in connection.nominated {
        headers.remove(name);
    }
    if version == Version::HTTP_10 && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err("a transfer coding in HTTP/1.0");
    }
    Ok(Parsed::Whole(Head {
        status,
        headers,
        persistent: !connection.close && (version == Version::HTTP_11 || connection.keep_alive),
        rest: copy.slice(length..),
    }))
}

/// Where a part of the whole stands in it.
fn place(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// Headers that end here, but for `Connection`.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    *name == KEEP_ALIVE
        || *name == PROXY_CONNECTION
        || *name == header::TE
        || *name == header::TRAILER
        || *name == header::UPGRADE
}

/// What `Connection` says.
#[derive(Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
    nominated: SmallVec<[HeaderName; 2]>,
}

impl Connection {
    fn read(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if let Ok(name) = HeaderName::from_bytes(option) {
                // Framing is not for the origin to take away.
                if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
                    self.nominated.push(name);
                }
            }
        }
    }
}

fn reason(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header name that is none",
        httparse::Error::HeaderValue => "a header value that is none",
        httparse::Error::NewLine => "a line that does not end as it must",
        httparse::Error::Status => "a status that is none",
        httparse::Error::Token => "a status line that is none",
        httparse::Error::TooManyHeaders => "too many headers",
        httparse::Error::Version => "another protocol, or a version of HTTP that is not spoken here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Ok(Parsed::Whole(head)) => head,
            Ok(_) => panic!("no whole head: {text:?}"),
            Err(reason) => panic!("{reason}: {text:?}"),
        }
    }

    #[test]
    fn every_beginning_of_a_head_is_partial() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n";
        for end in 0..text.len() {
            assert!(
                matches!(parse(&text.as_bytes()[..end]), Ok(Parsed::Partial)),
                "{:?}",
                &text[..end]
            );
        }
        let head = whole(text);
        assert_eq!((head.status.as_u16(), &head.rest[..]), (200, &b""[..]));
        assert_eq!(head.headers["content-length"], "5");
        assert_eq!(head.headers["x-a"], "b");
    }

    #[test]
    fn whether_a_connection_persists_is_told_by_version_and_header() {
        for (text, persistent) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\n\r\n", false),
            (
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
                false,
            ),
            ("HTTP/1.0 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive, close\r\n\r\n", false),
        ] {
            assert_eq!(whole(text).persistent, persistent, "{text:?}");
        }
    }

    #[test]
    fn interim_answers_are_told_by_their_length_and_what_follows_a_head_is_kept() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbody";
        let Ok(Parsed::Interim(length)) = parse(text.as_bytes()) else {
            panic!("no interim answer");
        };
        assert_eq!(&whole(&text[length..]).rest[..], b"body");
        assert_eq!(
            whole("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n")
                .status
                .as_u16(),
            101
        );
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        for text in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "\u{1}\u{1}\r\n\r\n",
            &many,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn framing_cannot_be_nominated_away() {
        let head = whole(
            "HTTP/1.1 200 OK\r\nConnection: content-length, transfer-encoding, x-a\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\nX-A: b\r\n\r\n",
        );
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "transfer-encoding"]);
    }
}
