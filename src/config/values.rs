//! Single values of the configuration: durations, sizes, addresses, words. Each says what it expects.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use toml::Spanned;
use toml::de::DeValue;

use super::problems::{Problems, nearest};
use super::raw::{AccessKeys, Credentials, Exists, Scope, ScopeTemplate};
use super::read::{Read, text, wrong_type};
use crate::clock::UnixTime;
use crate::gate::route::{ActiveContent, DialectStatus, Disposition};
use crate::issuer::mint::SchemeName;
use crate::issuer::{DialectName, Format, Mrss};
use crate::origin::Protocol;
use crate::server::settings::AddressHeader;
use crate::store::Purposes;
use crate::telemetry::settings::{AccessSink, LogFormat};
use crate::token::scheme::jwt::Profile;
use crate::token::scheme::signed::bunny::{Folders, Form, Generation, Spelling};
use crate::token::scheme::signed::cdni::{SameSite, Style};
use crate::token::scheme::signed::mac::{self, Padding};
use crate::token::scheme::signed::{Statuses, exchange, media_cdn};

/// What is wrong, and a hint.
type Wrong = (String, String);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// How an HMAC secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Text,
    Base64Url,
    Base64,
    Hex,
}

/// What a shared secret makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MacName {
    Sha256,
    Sha1,
}

/// How a MAC is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MacText(pub(super) mac::Encoding);

/// What a link's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeMeaning {
    Expires,
    Issued,
    Window,
    Lifetime,
    Absent,
}

/// How a link's time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    Seconds,
    Hex,
    Millis,
    Minutes,
    Rfc3339,
}

/// How a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MacReading(pub(super) mac::Reading);

/// How parameters are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MacArguments(pub(super) mac::Arguments);

/// How a link is answered whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MacOver(pub(super) Statuses);

/// What seals a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealName {
    Sha256,
    Sha1,
    Md5,
}

/// Where the bucket stands in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketStyle {
    /// In the host name.
    VirtualHost,
    /// In the path.
    Path,
}

/// A text, or a list of texts.
#[derive(Debug)]
pub(super) struct Texts(pub(super) Vec<String>);

/// Algorithms by name.
const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// An algorithm's name (RFC 7518 §3.1).
pub fn algorithm_name(algorithm: Algorithm) -> &'static str {
    ALGORITHMS
        .iter()
        .find(|(_, known)| *known == algorithm)
        .map_or("unknown", |(name, _)| name)
}

/// Reads an algorithm's name.
///
/// # Errors
/// A sentence with the known names.
pub fn parse_algorithm(text: &str) -> Result<Algorithm, String> {
    word(text, "algorithm", ALGORITHMS).map_err(|(what, hint)| format!("{what} ({hint})"))
}

fn word<T: Copy>(text: &str, kind: &str, words: &[(&str, T)]) -> Result<T, Wrong> {
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let lower = text.to_lowercase();
            let near = names
                .iter()
                .copied()
                .find(|name| name.to_lowercase() == lower)
                .or_else(|| nearest(text, &names));
            let hint = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("one of: {}", names.join(", ")),
            };
            (format!("{text:?} is no {kind}"), hint)
        })
}

/// Values that are written as text.
macro_rules! texts {
    ($($kind:ty, $name:literal, $parse:expr;)*) => {
        $(impl Read for $kind {
            fn kind() -> String {
                $name.to_owned()
            }

            fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
                text(node, path, $name, problems, $parse)
            }
        })*
    };
}

texts! {
    String, "text", |text| Ok(text.to_owned());
    PathBuf, "file name", |text| if text.is_empty() {
        Err(("is empty".to_owned(), "name a file or folder".to_owned()))
    } else {
        Ok(Self::from(text))
    };
    Duration, "duration", parse_duration;
    Size, "size", parse_size;
    SocketAddr, "address", |text| text.parse().map_err(|_| (
        format!("{text:?} is no address with a port"),
        "write \"127.0.0.1:8080\", \"0.0.0.0:8080\" for all of IPv4, \"[::]:8080\" for all".to_owned(),
    ));
    IpNet, "network", |text| text.parse().or_else(|_| text.parse::<std::net::IpAddr>().map(Self::from)).map_err(|_| (
        format!("{text:?} is no network"),
        "write \"10.0.0.0/8\", \"2001:db8::/32\" or one address".to_owned(),
    ));
    Algorithm, "algorithm", |text| word(text, "algorithm", ALGORITHMS);
    Encoding, "word", |text| word(text, "encoding", &[
        ("text", Self::Text), ("base64url", Self::Base64Url), ("base64", Self::Base64), ("hex", Self::Hex),
    ]);
    BucketStyle, "word", |text| word(text, "style", &[
        ("virtual-host", Self::VirtualHost), ("path", Self::Path),
    ]);
    AddressHeader, "word", |text| word(&text.to_ascii_lowercase(), "header that names clients", &[
        ("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded),
    ]);
    LogFormat, "word", |text| word(text, "log format", &[("text", Self::Text), ("json", Self::Json)]);
    AccessSink, "word or file name", |text| Ok(match text {
        "stdout" => Self::Stdout,
        "stderr" => Self::Stderr,
        "off" => Self::Off,
        "" => return Err(("is empty".to_owned(), "\"stdout\", \"stderr\", \"off\" or a file".to_owned())),
        file => Self::File(PathBuf::from(file)),
    });
    tracing::Level, "word", |text| word(text, "level", &[
        ("error", Self::ERROR), ("warn", Self::WARN), ("info", Self::INFO), ("debug", Self::DEBUG),
    ]);
    DialectStatus, "word", |text| word(text, "dialect", &[
        ("native", Self::Native), ("fynn", Self::Fynn), ("sirv", Self::Sirv), ("adobe", Self::Adobe),
    ]);
    Format, "word", |text| word(text, "format", &[("xml", Self::Xml), ("json", Self::Json)]);
    Mrss, "word", |text| word(text, "meaning of MRSS", &[
        ("channel_title", Self::ChannelTitle), ("off", Self::Off),
    ]);
    UnixTime, "time", |text| Self::parse_rfc3339(text).ok_or_else(|| (
        format!("{text:?} is no time"), "write \"2026-12-31T23:59:59Z\"".to_owned(),
    ));
    DialectName, "word", |text| {
        let names: Vec<(&str, Self)> = Self::ALL.iter().map(|name| (name.as_str(), *name)).collect();
        word(text, "dialect", &names)
    };
    SchemeName, "word", |text| {
        let names: Vec<(&str, Self)> = Self::ALL.iter().map(|name| (name.as_str(), *name)).collect();
        word(text, "scheme", &names)
    };
    Generation, "word", |text| word(text, "generation", &[
        ("hs256", Self::Hs256), ("sha256", Self::Sha256), ("md5", Self::Md5),
    ]);
    Spelling, "word", |text| word(text, "spelling", &[("as_sent", Self::AsSent), ("decoded", Self::Decoded)]);
    Folders, "word", |text| word(text, "meaning of folders", &[("segments", Self::Segments), ("text", Self::Text)]);
    Form, "word", |text| word(text, "form", &[("path", Self::Path), ("query", Self::Query)]);
    Style, "word", |text| word(text, "style", &[
        ("query", Self::Query), ("segment", Self::Segment), ("parameter", Self::Parameter),
    ]);
    SameSite, "word", |text| word(text, "rule for other sites", &[("lax", Self::Lax), ("none", Self::None)]);
    MacText, "word", |text| word(text, "way to write a MAC", &[
        ("hex", Self(mac::Encoding::Hex)),
        ("marked_hex", Self(mac::Encoding::MarkedHex)),
        ("base64", Self(mac::Encoding::Base64(Padding::Optional))),
        ("base64_padded", Self(mac::Encoding::Base64(Padding::With))),
        ("base64_unpadded", Self(mac::Encoding::Base64(Padding::Without))),
        ("base64url", Self(mac::Encoding::Base64Url(Padding::Optional))),
        ("base64url_padded", Self(mac::Encoding::Base64Url(Padding::With))),
        ("base64url_unpadded", Self(mac::Encoding::Base64Url(Padding::Without))),
    ]);
    TimeMeaning, "word", |text| word(text, "meaning of a time", &[
        ("expires", Self::Expires), ("issued", Self::Issued), ("window", Self::Window), ("lifetime", Self::Lifetime),
        ("none", Self::Absent),
    ]);
    TimeForm, "word", |text| word(text, "way to write a time", &[
        ("seconds", Self::Seconds), ("hex", Self::Hex), ("millis", Self::Millis), ("minutes", Self::Minutes),
        ("rfc3339", Self::Rfc3339),
    ]);
    MacReading, "word", |text| word(text, "way to read a path", &[
        ("strict", Self(mac::Reading::Strict)), ("nginx", Self(mac::Reading::Resolved)),
    ]);
    MacArguments, "word", |text| word(text, "way to look parameters up", &[
        ("once", Self(mac::Arguments::Once)), ("nginx", Self(mac::Arguments::Nginx)),
    ]);
    MacOver, "word", |text| word(text, "answer", &[
        ("forbidden", Self(Statuses::Forbidden)), ("gone", Self(Statuses::ForbiddenOrGone)),
    ]);
    MacName, "word", |text| word(text, "MAC", &[("sha256", Self::Sha256), ("sha1", Self::Sha1)]);
    SealName, "word", |text| word(text, "algorithm", &[
        ("sha256", Self::Sha256), ("sha1", Self::Sha1), ("md5", Self::Md5),
    ]);
    exchange::SameSite, "word", |text| word(text, "rule for other sites", &[
        ("lax", Self::Lax), ("strict", Self::Strict), ("none", Self::None),
    ]);
    media_cdn::Form, "word", |text| word(text, "form", &[
        ("path_token", Self::PathToken), ("url_token", Self::UrlToken), ("signature", Self::Signature),
        ("path_component", Self::PathComponent),
    ]);
    Profile, "word", |text| word(text, "profile", &Self::ALL);
    Exists, "word", |text| word(text, "way to know", &[("any", Self::Any), ("origin", Self::Origin)]);
    Purposes, "word", |text| word(text, "purpose", &[
        ("login", Self::LOGIN), ("file", Self::FILE), ("exchange", Self::EXCHANGE),
    ]);
    ActiveContent, "word", |text| word(text, "rule for active content", &[
        ("sandbox", Self::Sandbox), ("attachment", Self::Attachment), ("allow", Self::Allow),
    ]);
    Disposition, "word", |text| word(text, "disposition", &[
        ("origin", Self::Origin), ("inline", Self::Inline), ("attachment", Self::Attachment),
    ]);
    Protocol, "word", |text| word(text, "protocol", &[
        ("http1", Self::Http1), ("http2", Self::Http2), ("auto", Self::Auto),
    ]);
}

impl Read for bool {
    fn kind() -> String {
        "boolean".to_owned()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        let value = node.get_ref().as_bool();
        if value.is_none() {
            wrong_type(node, path, "boolean", problems);
        }
        value
    }
}

macro_rules! integers {
    ($($kind:ty)*) => {
        $(impl Read for $kind {
            fn kind() -> String {
                "integer".to_owned()
            }

            fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
                let Some(integer) = node.get_ref().as_integer() else {
                    wrong_type(node, path, "integer", problems);
                    return None;
                };
                let value = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
                if value.is_none() {
                    let line = problems.line_of(node.span().start);
                    problems.error_on(line, path, format!("{integer} is out of range"), format!("0 to {}", Self::MAX));
                }
                value
            }
        })*
    };
}

integers! { u16 u32 u64 i64 usize }

impl Read for Texts {
    fn kind() -> String {
        "text or list of texts".to_owned()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::String(text) => Some(Self(vec![text.to_string()])),
            DeValue::Array(_) => Vec::read(node, path, problems).map(Self),
            _ => {
                wrong_type(node, path, &Self::kind(), problems);
                None
            }
        }
    }
}

/// A number and the unit behind it.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// `500ms`, `15s`, `5m`, `24h`, `7d`.
///
/// # Errors
/// A sentence and a hint.
pub fn parse_duration(text: &str) -> Result<Duration, (String, String)> {
    let bad = || (format!("{text:?} is no duration"), String::new());
    let (number, unit) = split_unit(text).ok_or_else(bad)?;
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(bad()),
    };
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(bad)
}

/// `512B`, `64KB`, `16KiB`, `1GiB`.
fn parse_size(text: &str) -> Result<Size, Wrong> {
    let bad = || (format!("{text:?} is no size"), String::new());
    let (number, unit) = split_unit(text).ok_or_else(bad)?;
    let bytes: u64 = match unit {
        "B" => 1,
        "KB" => 1000,
        "KiB" => 1024,
        "MB" => 1000 * 1000,
        "MiB" => 1024 * 1024,
        "GB" => 1000 * 1000 * 1000,
        "GiB" => 1024 * 1024 * 1024,
        _ => return Err(bad()),
    };
    number.checked_mul(bytes).map(Size).ok_or_else(bad)
}

/// A number of bytes as the configuration writes it.
///
/// # Errors
/// A sentence and a hint.
pub fn parse_bytes(text: &str) -> Result<u64, (String, String)> {
    parse_size(text).map(|size| size.0)
}

/// A duration as the configuration writes it: the largest unit that leaves no rest.
pub fn show_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        .into_iter()
        .find(|(_, size)| milliseconds >= *size && milliseconds.is_multiple_of(*size))
        .map_or_else(
            || format!("{milliseconds}ms"),
            |(unit, size)| format!("{}{unit}", milliseconds / size),
        )
}

/// A size as the configuration writes it.
pub fn show_size(bytes: u64) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, size)| format!("{}{unit}", bytes / size),
        )
}

impl Read for Scope {
    fn kind() -> String {
        "word or table".to_owned()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => ScopeTemplate::read(node, path, problems).map(Self::Template),
            DeValue::String(_) => text(node, path, "word", problems, |text| match text {
                "claims" => Ok(Self::Claims),
                "whole" => Ok(Self::Whole),
                other => Err((
                    format!("{other:?} is no rule for scopes"),
                    "\"claims\", \"whole\" or { template = \"/customers/{sub}/**\" }".to_owned(),
                )),
            }),
            _ => {
                wrong_type(node, path, &Self::kind(), problems);
                None
            }
        }
    }

    fn describe(path: &str, schema: &mut Vec<super::read::Key>) {
        ScopeTemplate::describe(path, schema);
    }
}

impl Read for Credentials {
    fn kind() -> String {
        "word or table".to_owned()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Table(_) => AccessKeys::read(node, path, problems).map(Self::Keys),
            DeValue::String(_) => text(node, path, "word", problems, |text| match text {
                "chain" => Ok(Self::Chain),
                // It may be a key that was written here, and is not shown again.
                _ => Err((
                    "is no place where credentials are".to_owned(),
                    "\"chain\", or { access_key_id = { env = \"…\" }, secret_access_key = { env = \"…\" } }"
                        .to_owned(),
                )),
            }),
            _ => {
                wrong_type(node, path, &Self::kind(), problems);
                None
            }
        }
    }

    fn describe(path: &str, schema: &mut Vec<super::read::Key>) {
        AccessKeys::describe(path, schema);
    }
}
