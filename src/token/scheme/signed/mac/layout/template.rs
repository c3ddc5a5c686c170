//! Texts of fields and what stands between: a segment of a path, or the value of a parameter.

use std::borrow::Cow;
use std::ops::Range;

use super::BadLayout;
use crate::token::scheme::signed::mac::Encoding;
use crate::token::scheme::signed::mac::pattern::{Written, read};

/// A field of a token, in the order of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::token::scheme::signed::mac) enum Field {
    Mac,
    /// `{expires}` or `{issued}`, as the rules have it.
    Time,
    Lifetime,
    Starts,
    Id,
    Subject,
}

/// All of them, as they are written.
pub(super) const FIELDS: [(&str, Field); 7] = [
    ("mac", Field::Mac),
    ("expires", Field::Time),
    ("issued", Field::Time),
    ("lifetime", Field::Lifetime),
    ("starts", Field::Starts),
    ("id", Field::Id),
    ("subject", Field::Subject),
];

/// The fields of one token; one that is absent is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::token::scheme::signed::mac) struct Fields<'f> {
    pub(in crate::token::scheme::signed::mac) mac: &'f str,
    pub(in crate::token::scheme::signed::mac) time: &'f str,
    pub(in crate::token::scheme::signed::mac) lifetime: &'f str,
    pub(in crate::token::scheme::signed::mac) starts: &'f str,
    pub(in crate::token::scheme::signed::mac) id: &'f str,
    pub(in crate::token::scheme::signed::mac) subject: &'f str,
}

impl<'f> Fields<'f> {
    /// By the parts of a token.
    pub(in crate::token::scheme::signed::mac) fn of(part: impl Fn(usize) -> &'f str) -> Self {
        let part = |field: Field| part(field as usize);
        Self {
            mac: part(Field::Mac),
            time: part(Field::Time),
            lifetime: part(Field::Lifetime),
            starts: part(Field::Starts),
            id: part(Field::Id),
            subject: part(Field::Subject),
        }
    }

    fn get(&self, field: Field) -> &'f str {
        match field {
            Field::Mac => self.mac,
            Field::Time => self.time,
            Field::Lifetime => self.lifetime,
            Field::Starts => self.starts,
            Field::Id => self.id,
            Field::Subject => self.subject,
        }
    }
}

/// A text of fields and what stands between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Box<[Bit]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bit {
    Text(Box<str>),
    Field(Field),
}

impl Template {
    /// Reads one; it is not empty.
    pub(super) fn parse(text: &str) -> Result<Self, BadLayout> {
        let mut bits: Vec<Bit> = Vec::new();
        for piece in read(text) {
            let bit = match piece {
                Ok(Written::Text(text)) => Bit::Text(text.into()),
                Ok(Written::Placeholder(name)) => {
                    let field = FIELDS.into_iter().find(|(known, _)| *known == name);
                    Bit::Field(field.ok_or_else(|| BadLayout::Unknown(name.into()))?.1)
                }
                Err(_) => return Err(BadLayout::Brace),
            };
            match (bits.last(), &bit) {
                (Some(Bit::Field(_)), Bit::Field(_)) => return Err(BadLayout::NoSeparator),
                (_, Bit::Text(text)) if !text.bytes().all(is_plain) => return Err(BadLayout::Letter),
                _ => bits.push(bit),
            }
        }
        match bits.is_empty() {
            true => Err(BadLayout::Empty),
            false => Ok(Self(bits.into())),
        }
    }

    /// Its text, where it has no field.
    pub(super) fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [Bit::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Its fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> {
        self.0.iter().filter_map(|bit| match bit {
            Bit::Field(field) => Some(*field),
            Bit::Text(_) => None,
        })
    }

    /// The text that it starts with.
    pub(super) fn start(&self) -> Option<&str> {
        match self.0.first() {
            Some(Bit::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the text behind a MAC starts with what no MAC holds.
    pub(super) fn separates(&self, encoding: Encoding) -> bool {
        self.0.windows(2).all(|pair| match pair {
            [Bit::Field(Field::Mac), Bit::Text(text)] => {
                !text.bytes().next().is_some_and(|byte| encoding.may_hold(byte))
            }
            _ => true,
        })
    }

    /// Reads the fields of a value: each ends where the text behind it first stands, the last with the value.
    pub(super) fn read(&self, value: &str, keep: &mut dyn FnMut(Field, Range<usize>)) -> bool {
        let mut at = 0;
        let mut bits = self.0.iter().peekable();
        while let Some(bit) = bits.next() {
            let rest = value.get(at..).unwrap_or_default();
            match bit {
                Bit::Text(text) => match rest.starts_with(&**text) {
                    true => at += text.len(),
                    false => return false,
                },
                Bit::Field(field) => {
                    let length = match bits.peek() {
                        Some(Bit::Text(text)) => rest.find(&**text),
                        _ => Some(rest.len()),
                    };
                    let Some(length) = length else {
                        return false;
                    };
                    keep(*field, at..at + length);
                    at += length;
                }
            }
        }
        at == value.len()
    }

    /// Whether it is a field by itself that may be absent, and is.
    pub(super) fn is_without(&self, fields: &Fields<'_>) -> bool {
        *self.0 == [Bit::Field(Field::Starts)] && fields.starts.is_empty()
    }

    /// With these fields.
    pub(super) fn write(&self, fields: &Fields<'_>) -> String {
        let mut text = String::new();
        for bit in &self.0 {
            match bit {
                Bit::Text(literal) => text.push_str(literal),
                Bit::Field(field) => text.push_str(fields.get(*field)),
            }
        }
        text
    }
}

/// A part of a text.
pub(super) fn cut<'r>(text: &Cow<'r, str>, range: Range<usize>) -> Cow<'r, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
    }
}

/// What stands in a path and in a query as itself.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*,;:@=".contains(&byte)
}
