//! What must hold for every input, written once: the fuzz targets hunt for inputs that break it, and
//! `tests/fuzz_corpora.rs` replays what they found. Each function takes bytes and panics when a promise is broken.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a target uses one of these, and fails by panicking"
)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, FORWARDED, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use mediagate::config::{KeyFiles, load};
use mediagate::origin::{Folder, Origin, OriginRequest, Pools, Upload};
use mediagate::server::peer;
use mediagate::server::proxy_protocol::{self, Step};
use mediagate::server::settings::{AddressHeader, ClientAddressRule};
use mediagate::target::{Target, encode_segment};
use mediagate::token::MAX_TOKEN_BYTES;
use mediagate::token::carrier::{Carrier, Carriers, Head, PathPattern, without_cookies};

#[path = "properties/carried.rs"]
mod carried;
#[path = "properties/families.rs"]
mod families;
#[path = "properties/signed.rs"]
mod signed;

pub(crate) use carried::{claims, short_media, sirv};
pub(crate) use signed::{
    bunny, cat, cloud_cdn, cloudfront, edge_auth, mac, media_cdn, presigned, uri_signing,
};

/// A token that no input holds by chance.
const CANARY: &str = "cAnArY.tOkEn-7_Qq";

/// The pieces of an input, which are separated by line feeds; missing ones are empty.
fn pieces<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(data).ok()?;
    let mut lines = text.splitn(N, '\n');
    Some(std::array::from_fn(|_| lines.next().unwrap_or("")))
}

fn carriers() -> Carriers {
    Carriers::new(vec![
        Carrier::Query {
            names: Box::new(["t".into()]),
        },
        Carrier::Query {
            names: Box::new(["Key-Pair-Id".into(), "Signature".into()]),
        },
        Carrier::PathPrefix { marker: "~".into() },
        Carrier::PathSegment(PathPattern::parse("/media/{id}/download/{token}").expect("a pattern")),
        Carrier::Bearer,
        Carrier::Cookie {
            names: Box::new(["media".into()]),
        },
    ])
}

/// What is taken out leaves no byte behind, and what is left is a target that parses to itself.
pub(crate) fn carrier(data: &[u8]) {
    let Some([path, query, authorization, cookie]) = pieces::<4>(data) else {
        return;
    };
    if data
        .windows(CANARY.len())
        .any(|window| window == CANARY.as_bytes())
    {
        return;
    }
    let mut headers = HeaderMap::new();
    for (name, text) in [(AUTHORIZATION, authorization), (COOKIE, cookie)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.append(name, value);
        }
    }
    let carriers = carriers();
    let locate = |path: &str, query: Option<&str>| {
        carriers
            .locate(Head {
                path,
                query,
                headers: &headers,
            })
            .ok()
            .map(|found| {
                let again = Target::parse(found.target.encoded_path(), found.target.query());
                assert_eq!(again.as_ref(), Ok(&found.target), "what is left parses to itself");
                for part in found.parts.iter().chain(&found.alternatives).flatten() {
                    assert!(
                        !part.is_empty() && part.len() <= MAX_TOKEN_BYTES,
                        "a token is bounded"
                    );
                    assert!(!part.contains(|letter: char| letter.is_ascii_control()));
                }
                (
                    found
                        .parts
                        .map(|parts| parts.into_iter().map(String::from).collect::<Vec<_>>()),
                    found.target,
                )
            })
    };
    locate(path, (!query.is_empty()).then_some(query));

    // The same, with a token where each carrier of the URL looks for it, spelled in two ways.
    let encoded: String = CANARY.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let id = path.trim_matches('/');
    for canary in [CANARY, encoded.as_str()] {
        let queries = [
            format!("{query}&t={canary}"),
            format!("t={canary}&{query}"),
            format!("%74={canary}&{query}"),
            format!("Signature={canary}&{query}&Key-Pair-Id={canary}"),
        ];
        for query in &queries {
            taken(locate(path, Some(query)));
        }
        let query = (!query.is_empty()).then_some(query);
        if path.starts_with('/') {
            taken(locate(&format!("/~{canary}{path}"), query));
            taken(locate(&format!("/%7e{canary}{path}"), query));
        }
        if !id.contains('/') && !id.is_empty() {
            taken(locate(&format!("/media/{id}/download/{canary}"), query));
        }
    }
    if let Some(rest) = without_cookies(&format!("{cookie}; media={CANARY}; x=1"), |name| name == "media") {
        assert!(!rest.contains(CANARY), "a cookie's token is left: {rest:?}");
    }
}

fn taken(located: Option<(Option<Vec<String>>, Target)>) {
    if let Some((parts, target)) = located {
        assert!(
            !target.as_str().contains(CANARY),
            "the token is left: {}",
            target.as_str()
        );
        assert!(
            !target.path().contains(CANARY),
            "the token is left: {}",
            target.path()
        );
        let query = target.query().unwrap_or_default();
        let decoded: Vec<u8> = percent_decoded(query);
        assert!(
            !decoded
                .windows(CANARY.len())
                .any(|window| window == CANARY.as_bytes()),
            "left: {query}"
        );
        assert!(
            parts.is_some_and(|parts| parts.iter().any(|part| part == CANARY)),
            "the token was lost"
        );
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut decoded = Vec::new();
    while at < bytes.len() {
        let digits = text
            .get(at + 1..at + 3)
            .filter(|digits| bytes[at] == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// A target has one reading: it parses to itself, and holds nothing that another program could resolve.
pub(crate) fn target(data: &[u8]) {
    let Some([path, query]) = pieces::<2>(data) else {
        return;
    };
    if let Ok(target) = Target::parse(path, (!query.is_empty()).then_some(query)) {
        let again = Target::parse(target.encoded_path(), target.query());
        assert_eq!(again.as_ref(), Ok(&target), "a target parses to itself");
        let encoded = target.encoded_path();
        assert!(encoded.starts_with('/'));
        assert!(
            encoded
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'?')
        );
        assert!(!target.as_str().contains([' ', '\r', '\n', '\0', '#']));
        // Every text that an origin could see by decoding as often as it likes.
        let mut seen = encoded.to_owned();
        for _ in 0..4 {
            assert!(
                !seen.contains("//") && !seen.contains(['\\', '\0', '\r', '\n']),
                "{seen:?}"
            );
            for segment in seen.split('/') {
                let name = segment.split(';').next().unwrap_or_default();
                assert!(!matches!(name, "." | ".."), "a dot segment in {seen:?}");
            }
            let Ok(deeper) = String::from_utf8(percent_decoded(&seen)) else {
                break;
            };
            assert_eq!(
                deeper.matches('/').count(),
                seen.matches('/').count(),
                "a hidden slash in {seen:?}"
            );
            seen = deeper;
        }
        if let Ok(from_text) = Target::from_decoded(target.path()) {
            assert_eq!(from_text.encoded_path(), encoded);
        }
        assert_eq!(
            target
                .with_query(None)
                .map(|target| target.as_str().to_owned())
                .as_deref(),
            Ok(encoded)
        );
    }
    if let Ok(segment) = encode_segment(path)
        && let Ok(target) = Target::parse(&format!("/a/{segment}"), None)
    {
        assert_eq!(
            target.path(),
            format!("/a/{path}"),
            "a value is one segment, and itself"
        );
    }
}

struct Files {
    _folder: tempfile::TempDir,
    origin: Origin,
    pools: Pools,
    runtime: tokio::runtime::Runtime,
    contents: [Vec<u8>; 3],
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let content = |size: usize| {
            (0..size)
                .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect()
        };
        let contents = [0, 1, 1000].map(content);
        for (name, content) in ["0", "1", "2"].iter().zip(&contents) {
            std::fs::write(folder.path().join(name), content).expect("a file");
        }
        Self {
            origin: Origin::Folder(Arc::new(Folder::open(folder.path()).expect("a folder"))),
            pools: Pools::new(Arc::default()),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            contents,
            _folder: folder,
        }
    }
}

/// An answer to a Range is never longer than the file and the heads of its parts, and holds the bytes it names.
pub(crate) fn range(data: &[u8]) {
    thread_local!(static FILES: Files = Files::new());
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    let ranges = lines.next().unwrap_or_default();
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_bytes(ranges) else {
        return;
    };
    headers.append(RANGE, value);
    if let Some(Ok(value)) = lines.next().map(HeaderValue::from_bytes) {
        headers.append(IF_RANGE, value);
    }
    FILES.with(|files| {
        for (number, content) in files.contents.iter().enumerate() {
            let request = OriginRequest {
                method: Method::GET,
                target: format!("/{number}"),
                headers: headers.clone(),
                client: None,
                upload: Upload::None,
                now: mediagate::clock::UnixTime::default(),
            };
            let (head, body) = files.runtime.block_on(async {
                let response = files
                    .origin
                    .fetch(&files.pools, request)
                    .await
                    .expect("an answer");
                let (head, body) = response.into_parts();
                (head, body.collect().await.expect("a body").to_bytes())
            });
            let parts = 17;
            assert!(body.len() <= content.len() + parts * 200, "{} bytes", body.len());
            let length = head
                .headers
                .get(CONTENT_LENGTH)
                .map(|length| length.to_str().unwrap().parse());
            assert!(
                length.is_none_or(|length| length == Ok(body.len())),
                "a length that is not the body's"
            );
            match head.status.as_u16() {
                200 => assert_eq!(body, content.as_slice()),
                206 => {
                    if let Some(range) = head.headers.get(CONTENT_RANGE) {
                        let slice = slice_of(range.to_str().unwrap(), content);
                        assert_eq!(Some(&body[..]), slice, "other bytes than {range:?}");
                    } else {
                        let text = String::from_utf8_lossy(&body);
                        let total: usize = text
                            .split("Content-Range: ")
                            .skip(1)
                            .map(|part| {
                                slice_of(part.split("\r\n").next().unwrap(), content)
                                    .unwrap()
                                    .len()
                            })
                            .sum();
                        assert!(total <= content.len(), "{total} bytes of a smaller file");
                    }
                }
                416 => assert!(body.is_empty()),
                other => panic!("status {other}"),
            }
        }
    });
}

/// The bytes that `bytes 1-2/10` names, which must lie in the file.
fn slice_of<'c>(range: &str, content: &'c [u8]) -> Option<&'c [u8]> {
    let (slice, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = slice.split_once('-')?;
    assert_eq!(size.parse(), Ok(content.len()));
    content.get(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
}

/// Whatever stands before it, the address that a trusted proxy appended is the client's; and nobody but a trusted
/// proxy is listened to.
pub(crate) fn forwarded(data: &[u8]) {
    const TRUSTED: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)), 1);
    const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 1);
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    for (header, name, prefix) in [
        (AddressHeader::XForwardedFor, X_FORWARDED_FOR, ""),
        (AddressHeader::Forwarded, FORWARDED, "for="),
    ] {
        let rule = ClientAddressRule::Header {
            header,
            trusted: vec!["10.0.0.0/8".parse().expect("a network")],
        };
        let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(8).collect();
        let map = |last: &str| {
            let mut headers = HeaderMap::new();
            for (at, value) in values.iter().enumerate() {
                let mut value = value.to_vec();
                if at + 1 == values.len() {
                    value.extend_from_slice(last.as_bytes());
                }
                headers.append(&name, HeaderValue::from_bytes(&value).ok()?);
            }
            Some(headers)
        };
        let (Some(plain), Some(appended)) = (map(""), map(&format!(", {prefix}198.51.100.77"))) else {
            return;
        };
        let client = peer::client(&rule, STRANGER, &plain);
        assert_eq!(
            (client.address, client.known),
            (STRANGER.ip(), true),
            "a stranger was believed"
        );
        let client = peer::client(&rule, TRUSTED, &plain);
        let trusted = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
        assert!(client.known || trusted(client.address), "a guess: {client:?}");
        assert_eq!(client.address, client.address.to_canonical());
        let readable = appended
            .get_all(&name)
            .iter()
            .next_back()
            .is_some_and(|last| last.to_str().is_ok());
        let client = peer::client(&rule, TRUSTED, &appended);
        if readable {
            let appended = IpAddr::from([198, 51, 100, 77]);
            assert_eq!(
                (client.address, client.known),
                (appended, true),
                "what a client wrote counted"
            );
        } else {
            assert!(!client.known);
        }
    }
}

/// A configuration is built or refused; each mistake says where it is, and twice the same text means twice the same.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Nothing but the file itself is read: what other files hold is not this text's fault.
    if ["/dev/", "/proc/", "/sys/"]
        .iter()
        .any(|tree| text.contains(tree))
    {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("proxy.toml");
    std::fs::create_dir(folder.path().join("media")).expect("a folder");
    std::fs::write(&path, text).expect("a file");
    let outcome = || load(&path, KeyFiles::ReadOnly).map(|loaded| loaded.warnings.len());
    let first = outcome();
    if let Err(errors) = &first {
        assert!(!errors.problems.is_empty());
        for problem in &errors.problems {
            assert!(!problem.what.is_empty());
            assert_ne!(problem.what, "can't be built", "refused without a reason");
            let whole = problem.hint.starts_with("this is not TOML");
            assert!(whole || !problem.path.is_empty(), "no key path: {problem:?}");
            assert!(
                problem
                    .line
                    .is_none_or(|line| line >= 1 && line <= text.matches('\n').count() + 1),
                "no such line: {problem:?}"
            );
        }
    }
    assert_eq!(first.is_ok(), outcome().is_ok());
    let written = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(written, 2, "something was written");
}

/// A header is as long as it says and no longer than is read; what is shorter is a part of one, and what follows it
/// changes nothing.
pub(crate) fn proxy(data: &[u8]) {
    let verdict = proxy_protocol::parse(data);
    if let Ok(Step::Whole(length, _)) = verdict {
        let longest = if data.starts_with(b"PROXY ") { 107 } else { 4096 };
        assert!(length <= data.len() && length <= longest, "{length}");
        assert_eq!(proxy_protocol::parse(&data[..length]), verdict);
        for end in 0..length {
            assert_eq!(
                proxy_protocol::parse(&data[..end]),
                Ok(Step::Part),
                "{end} of {length}"
            );
        }
    }
    if verdict != Ok(Step::Part) {
        let more = [data, b"\r\nGET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(proxy_protocol::parse(&more), verdict);
    }
}
