//! A pattern filled in for one link: what its MAC is over. The secret is not in it; each key writes its own.

use std::borrow::Cow;
use std::net::IpAddr;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::hash::Sink;
use super::layout::Fields;
use super::pattern::{Form, Part, Pattern, Piece, TimeForm};
use super::{Arguments, query};
use crate::clock::UnixTime;
use crate::token::carrier::LocateError;
use crate::token::{PublicBase, TokenError};

/// What stands for the secret where people see the message.
const HIDDEN: &[u8] = b"{secret}";

/// What a link has for the placeholders.
pub(super) struct Material<'m> {
    /// The path, decoded, and as it was written.
    pub(super) path: &'m str,
    pub(super) path_raw: &'m str,
    /// The fields of the token.
    pub(super) fields: Fields<'m>,
    /// Its time, where it has one.
    pub(super) moment: Option<UnixTime>,
    /// The query without the token's parameters, and with them.
    pub(super) query: Option<&'m str>,
    pub(super) whole_query: Option<&'m str>,
    /// The name of the MAC's parameter.
    pub(super) mac_name: Option<&'m str>,
    pub(super) address: Option<IpAddr>,
    pub(super) public: Option<&'m PublicBase>,
    /// `None` where a link is signed: nobody knows what his headers will be.
    pub(super) headers: Option<&'m HeaderMap>,
    /// How parameters are looked up.
    pub(super) arguments: Arguments,
}

/// What is signed.
pub(super) struct Message<'m>(SmallVec<[Chunk<'m>; 8]>);

enum Chunk<'m> {
    Text(Cow<'m, str>),
    Secret,
    /// Sorted with the secret among them.
    Sorted(Vec<Cow<'m, str>>),
}

impl Pattern {
    /// What is signed of this link.
    ///
    /// # Errors
    /// `TokenError` where the link has not what the pattern asks for.
    pub(super) fn fill<'m>(&'m self, material: &Material<'m>) -> Result<Message<'m>, TokenError> {
        // Else `/a?b` would be one file and `/a` with a query, at the wish of the client.
        let decoded = |piece: &Piece| {
            matches!(
                piece,
                Piece::Path {
                    form: Form::Decoded,
                    ..
                }
            )
        };
        if material.path.contains('?') && self.any(decoded) && self.any(Piece::is_of_query) {
            return Err(TokenError::Malformed(
                "a question mark in a path that is signed decoded",
            ));
        }
        let chunks = self.pieces.iter().map(|piece| material.fill(piece));
        chunks.collect::<Result<_, _>>().map(Message)
    }
}

impl Message<'_> {
    /// Writes it, with a secret in its places.
    pub(super) fn write(&self, secret: &[u8], sink: &mut Sink<'_>) {
        self.write_as(secret, secret, sink);
    }

    /// The same for people, without the secret.
    pub(super) fn shown(&self, secret: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        self.write_as(secret, HIDDEN, &mut |bytes| text.extend_from_slice(bytes));
        text
    }

    /// `written` where the secret stands, which is sorted as itself.
    fn write_as(&self, secret: &[u8], written: &[u8], sink: &mut Sink<'_>) {
        for chunk in &self.0 {
            match chunk {
                Chunk::Text(text) => sink(text.as_bytes()),
                Chunk::Secret => sink(written),
                Chunk::Sorted(elements) => {
                    let at = elements.partition_point(|element| element.as_bytes() < secret);
                    let (before, after) = elements.split_at(at);
                    for element in before {
                        sink(element.as_bytes());
                        sink(b"&");
                    }
                    sink(written);
                    for element in after {
                        sink(b"&");
                        sink(element.as_bytes());
                    }
                }
            }
        }
    }
}

impl<'m> Material<'m> {
    fn fill(&self, piece: &'m Piece) -> Result<Chunk<'m>, TokenError> {
        let text = |text: &'m str| Ok(Chunk::Text(Cow::Borrowed(text)));
        let rest = self.query.unwrap_or_default();
        match piece {
            Piece::Text(literal) => text(literal),
            Piece::Secret => Ok(Chunk::Secret),
            Piece::Path { part, form } => {
                let path = match form {
                    Form::Decoded => self.path,
                    Form::Raw => self.path_raw,
                };
                text(part.of(path))
            }
            Piece::Expires(TimeForm::AsSent) | Piece::Issued(TimeForm::AsSent) => text(self.fields.time),
            Piece::Expires(TimeForm::Hex) | Piece::Issued(TimeForm::Hex) => {
                let seconds = self.moment.and_then(|moment| u32::try_from(moment.secs()).ok());
                let seconds = seconds.ok_or(TokenError::Malformed("the time is not of eight digits"))?;
                Ok(Chunk::Text(format!("{seconds:08x}").into()))
            }
            Piece::Starts => text(self.fields.starts),
            Piece::Lifetime => text(self.fields.lifetime),
            Piece::Id => text(self.fields.id),
            Piece::Subject => text(self.fields.subject),
            Piece::Address => Ok(Chunk::Text(self.address()?.into())),
            Piece::Scheme => text(&self.public()?.scheme),
            Piece::Host => text(&self.public()?.authority),
            Piece::Query => text(rest),
            Piece::AndQuery if rest.is_empty() => text(""),
            Piece::AndQuery => Ok(Chunk::Text(format!("?{rest}").into())),
            Piece::SortedQuery => {
                let mut pieces: Vec<&str> = query::pieces(rest).filter(|piece| !piece.is_empty()).collect();
                pieces.sort_unstable();
                Ok(Chunk::Text(pieces.join("&").into()))
            }
            Piece::Argument(name) => {
                // Also where the first of the token's own parameters counts: the origin gets both, and may take the other.
                let mut values = query::pieces(rest)
                    .map(query::split)
                    .filter(|(key, _)| self.arguments.names(key, name));
                match (values.next(), values.next()) {
                    (value, None) => text(value.map_or("", |(_, value)| value)),
                    _ => Err(TokenError::Malformed("a signed parameter stands twice")),
                }
            }
            Piece::Header(name) => {
                let headers = self
                    .headers
                    .ok_or(TokenError::Invalid("a header is signed, and is not known yet"))?;
                let mut values = headers.get_all(name).iter();
                match (values.next().map(|value| value.to_str()), values.next()) {
                    (None, _) => text(""),
                    (Some(Ok(value)), None) => text(value),
                    _ => Err(TokenError::Malformed(
                        "a signed header stands twice or is not ASCII",
                    )),
                }
            }
            Piece::Sorted { start, address } => self.sorted(start, *address),
        }
    }

    fn address(&self) -> Result<String, TokenError> {
        self.address
            .map(|address| address.to_string())
            .ok_or(TokenError::Invalid("a link of this kind is for one address"))
    }

    fn public(&self) -> Result<&'m PublicBase, TokenError> {
        self.public
            .ok_or(TokenError::Invalid("public scheme and host are not configured"))
    }

    fn sorted(&self, start: &str, address: bool) -> Result<Chunk<'m>, TokenError> {
        let is_mac = |key: &str| self.mac_name.is_some_and(|name| query::is(key, name));
        let mut elements: Vec<Cow<'m, str>> = query::pieces(self.whole_query.unwrap_or_default())
            .filter(|piece| {
                let (key, _) = query::split(piece);
                starts(key, start) && !is_mac(key)
            })
            .map(Cow::Borrowed)
            .collect();
        if address {
            elements.push(self.address()?.into());
        }
        elements.sort_unstable();
        Ok(Chunk::Sorted(elements))
    }
}

impl Part {
    /// This much of a path.
    pub(super) fn of(self, path: &str) -> &str {
        let link = |path: &'_ str| path.len() - path.strip_prefix('/').unwrap_or(path).len();
        let cut = |path: &'_ str, from: usize, to: usize| (from.min(path.len()), to.min(path.len()));
        let (from, to) = match self {
            Self::Whole => (0, path.len()),
            Self::Directory => (0, path.rfind('/').unwrap_or(0)),
            Self::First(count) => (0, first(path, count)),
            Self::Link => (link(path), path.len()),
            Self::FirstLink(count) => (link(path), first(path, count)),
        };
        let (from, to) = cut(path, from, to);
        path.get(from..to).unwrap_or_default()
    }
}

/// Where the first `count` segments end.
fn first(path: &str, count: u8) -> usize {
    path.match_indices('/')
        .map(|(at, _)| at)
        .nth(count.into())
        .unwrap_or(path.len())
}

/// Whether a raw key says a name that starts so.
pub(super) fn starts(key: &str, start: &str) -> bool {
    let mut bytes = percent_decode_str(key);
    start.bytes().all(|byte| bytes.next() == Some(byte))
}

impl Arguments {
    /// The raw value of a parameter.
    ///
    /// # Errors
    /// `Ambiguous` where it stands twice, and that is not read as nginx does.
    pub(super) fn find<'r>(self, query: Option<&'r str>, name: &str) -> Result<Option<&'r str>, LocateError> {
        match self {
            Self::Once => query::one(query, name),
            Self::Nginx => Ok(query
                .into_iter()
                .flat_map(query::pieces)
                .map(query::split)
                .find(|(key, _)| self.names(key, name))
                .map(|(_, value)| value)),
        }
    }

    /// Whether a raw key says this name.
    pub(super) fn names(self, key: &str, name: &str) -> bool {
        match self {
            Self::Once => query::is(key, name),
            Self::Nginx => {
                let lower = |byte: u8| byte.to_ascii_lowercase();
                percent_decode_str(key).map(lower).eq(name.bytes().map(lower))
            }
        }
    }
}
