//! What the MACs of links are computed with, and how they are written. A message comes in piece by piece, so that a secret
//! within it is copied nowhere.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac_md5::{Hmac, KeyInit, Mac as _};
use md5::{Digest, Md5};
use smallvec::SmallVec;

use ::hmac as hmac_md5;

/// A MAC, decoded.
pub(super) type Tag = SmallVec<[u8; 64]>;

/// Who wants to be told a message, piece by piece.
pub(super) type Sink<'s> = dyn FnMut(&[u8]) + 's;

/// A hash function. MD5 and SHA-1 are here because links of others are signed with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4, as the following.
    Sha1,
    /// 256 bits.
    Sha256,
    /// 384 bits.
    Sha384,
    /// 512 bits.
    Sha512,
}

/// How a MAC is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// The hash of a message that holds the secret.
    Plain(Hash),
    /// HMAC (RFC 2104) with the secret as its key.
    Hmac(Hash),
}

/// All algorithms and their names.
const ALGORITHMS: [(&str, Algorithm); 10] = [
    ("md5", Algorithm::Plain(Hash::Md5)),
    ("sha1", Algorithm::Plain(Hash::Sha1)),
    ("sha256", Algorithm::Plain(Hash::Sha256)),
    ("sha384", Algorithm::Plain(Hash::Sha384)),
    ("sha512", Algorithm::Plain(Hash::Sha512)),
    ("hmac-md5", Algorithm::Hmac(Hash::Md5)),
    ("hmac-sha1", Algorithm::Hmac(Hash::Sha1)),
    ("hmac-sha256", Algorithm::Hmac(Hash::Sha256)),
    ("hmac-sha384", Algorithm::Hmac(Hash::Sha384)),
    ("hmac-sha512", Algorithm::Hmac(Hash::Sha512)),
];

impl Algorithm {
    /// The algorithm of this name: `md5`, `hmac-sha256`.
    pub fn parse(name: &str) -> Option<Self> {
        ALGORITHMS
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| algorithm)
    }

    /// Length of a MAC in bytes.
    pub const fn size(self) -> usize {
        let (Self::Plain(hash) | Self::Hmac(hash)) = self;
        match hash {
            Hash::Md5 => 16,
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// The MAC of what `write` writes.
    pub(super) fn mac(self, secret: &[u8], write: impl Fn(&mut Sink<'_>)) -> Tag {
        match self {
            Self::Plain(hash) => match hash.plain() {
                Some(algorithm) => {
                    let mut state = digest::Context::new(algorithm);
                    write(&mut |bytes| state.update(bytes));
                    Tag::from_slice(state.finish().as_ref())
                }
                None => {
                    let mut state = Md5::new();
                    write(&mut |bytes| state.update(bytes));
                    Tag::from_slice(&state.finalize())
                }
            },
            Self::Hmac(hash) => match hash.keyed() {
                Some(algorithm) => {
                    let key = hmac::Key::new(algorithm, secret);
                    let mut state = hmac::Context::with_key(&key);
                    write(&mut |bytes| state.update(bytes));
                    Tag::from_slice(state.sign().as_ref())
                }
                None => {
                    let mut state =
                        Hmac::<Md5>::new_from_slice(secret).expect("a key of HMAC has any length");
                    write(&mut |bytes| state.update(bytes));
                    Tag::from_slice(&state.finalize().into_bytes())
                }
            },
        }
    }
}

impl fmt::Display for Algorithm {
    /// The name that `parse` reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALGORITHMS.iter().find(|(_, known)| known == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl Hash {
    /// `None` for MD5, which aws-lc-rs lacks.
    fn plain(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::Md5 => None,
            Self::Sha1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => Some(&digest::SHA256),
            Self::Sha384 => Some(&digest::SHA384),
            Self::Sha512 => Some(&digest::SHA512),
        }
    }

    /// As `plain`.
    fn keyed(self) -> Option<hmac::Algorithm> {
        match self {
            Self::Md5 => None,
            Self::Sha1 => Some(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            Self::Sha256 => Some(hmac::HMAC_SHA256),
            Self::Sha384 => Some(hmac::HMAC_SHA384),
            Self::Sha512 => Some(hmac::HMAC_SHA512),
        }
    }
}

/// Whether Base64 ends with `=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Never.
    Without,
    /// Always.
    With,
    /// Either is read; written without.
    Optional,
}

/// How a MAC is written. Read strictly: one text for one MAC, save the case of hexadecimal digits and optional padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal; written in lower case.
    Hex,
    /// As `Hex`; a `0x` before it is read over, which VCL writes.
    MarkedHex,
    /// Base64 (RFC 4648 §4).
    Base64(Padding),
    /// Base64 for URLs (RFC 4648 §5).
    Base64Url(Padding),
}

impl Encoding {
    /// The MAC of `size` bytes that a text says.
    pub(super) fn decode(self, text: &str, size: usize) -> Option<Tag> {
        // No encoding takes more than two letters a byte, and a mark or padding.
        if text.len() > 2 * size + 2 {
            return None;
        }
        let bytes = match self {
            Self::Hex => hex(text)?,
            Self::MarkedHex => hex(text.strip_prefix("0x").unwrap_or(text))?,
            Self::Base64(padding) => base64(padding, &STANDARD, &STANDARD_NO_PAD, text)?,
            Self::Base64Url(padding) => base64(padding, &URL_SAFE, &URL_SAFE_NO_PAD, text)?,
        };
        (bytes.len() == size).then_some(bytes)
    }

    /// The text of a MAC.
    pub(super) fn encode(self, mac: &[u8]) -> String {
        match self {
            Self::Hex | Self::MarkedHex => mac.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64(Padding::With) => STANDARD.encode(mac),
            Self::Base64(_) => STANDARD_NO_PAD.encode(mac),
            Self::Base64Url(Padding::With) => URL_SAFE.encode(mac),
            Self::Base64Url(_) => URL_SAFE_NO_PAD.encode(mac),
        }
    }

    /// Whether a MAC can hold this byte.
    pub(super) fn may_hold(self, byte: u8) -> bool {
        match self {
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::MarkedHex => byte.is_ascii_hexdigit() || byte == b'x',
            Self::Base64(_) => byte.is_ascii_alphanumeric() || b"+/=".contains(&byte),
            Self::Base64Url(_) => byte.is_ascii_alphanumeric() || b"-_=".contains(&byte),
        }
    }
}

fn hex(text: &str) -> Option<Tag> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

fn base64(padding: Padding, with: &GeneralPurpose, without: &GeneralPurpose, text: &str) -> Option<Tag> {
    let engine = match padding {
        Padding::With => with,
        Padding::Without => without,
        Padding::Optional if text.ends_with('=') => with,
        Padding::Optional => without,
    };
    engine.decode(text).ok().map(Tag::from_vec)
}
