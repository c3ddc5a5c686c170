//! The token's text, what is signed, and the MAC.

use std::net::IpAddr;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use md5::{Digest, Md5};
use smallvec::SmallVec;

use super::Generation;
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::keys::LogKey;
use crate::token::scheme::signed::FURTHEST;
use crate::token::{TokenError, TokenId};

/// Before the signature of the third generation.
const HS256: &str = "HS256-";
/// After it, where the token is bound to an address.
const BOUND: &str = "1-";
/// Digits of the longest time. Nothing separates the path from the time that follows it: `/a/50` until 1767229200 has the same
/// signature as `/a/5` until 01767229200 and `/a/` until 501767229200. Where the time is the last of what is signed, up to ten
/// digits without a leading zero are one reading: a time with nine of them is over. Where an address or parameters follow,
/// digits can be moved through the time into those, too, so that it keeps its ten: `/a/42` until 1767229200 with `w=1` is
/// `/a/4` until 2176722920 with `0w=1`. So no first parameter begins with a digit (`Parameters::check_start`), and no time is
/// further away than `FURTHEST`. Against the digits of an address that is not enough, and the format has no more: for the older
/// two generations `/a18` until 1767229213 for 3.0.113.7 is also `/a` until 1817672292 for 133.0.113.7.
const MAX_DIGITS: usize = 10;

/// The longest address, as a text.
const ADDRESS_LEN: usize = 39;

/// A signature, decoded.
pub(super) type Mac = SmallVec<[u8; 32]>;

/// A token that was read.
pub(super) struct Token {
    pub(super) generation: Generation,
    /// Whether it says that it is bound to an address: the older two generations don't say.
    pub(super) bound: bool,
    pub(super) mac: Mac,
}

impl Generation {
    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "hs256",
            Self::Sha256 => "sha256",
            Self::Md5 => "md5",
        }
    }

    /// Characters of a signature: base64url without padding.
    const fn text_len(self) -> usize {
        match self {
            Self::Hs256 | Self::Sha256 => 43,
            Self::Md5 => 22,
        }
    }
}

impl Token {
    /// Reads one; its generation is told by prefix and length.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn parse(text: &str) -> Result<Self, TokenError> {
        let bound = text
            .strip_prefix(HS256)
            .and_then(|rest| rest.strip_prefix(BOUND))
            .map(|rest| (Generation::Hs256, true, rest));
        let unbound = text
            .strip_prefix(HS256)
            .map(|rest| (Generation::Hs256, false, rest));
        let readings = [
            bound,
            unbound,
            Some((Generation::Sha256, false, text)),
            Some((Generation::Md5, false, text)),
        ];
        readings
            .into_iter()
            .flatten()
            .filter(|(generation, _, text)| text.len() == generation.text_len())
            .find_map(|(generation, bound, text)| {
                Some(Self {
                    generation,
                    bound,
                    mac: URL_SAFE_NO_PAD.decode(text).ok()?.into(),
                })
            })
            .ok_or(TokenError::Malformed("neither HS256, SHA-256 nor MD5"))
    }

    /// As it stands in a link.
    pub(super) fn text(&self) -> String {
        let prefix = match (self.generation, self.bound) {
            (Generation::Hs256, true) => "HS256-1-",
            (Generation::Hs256, false) => HS256,
            _ => "",
        };
        format!("{prefix}{}", URL_SAFE_NO_PAD.encode(&self.mac))
    }

    /// What the logs call it.
    pub(super) fn id(&self, log_key: &LogKey) -> TokenId {
        log_key.name(&[b"bunny\0", &self.mac[..]].concat())
    }
}

/// Reads the time in `expires`. It is the first second in which the link is dead: "when the URL becomes invalid".
///
/// # Errors
/// `Malformed` for anything but one to ten digits that don't begin with a zero.
pub(super) fn seconds(text: &str) -> Result<UnixTime, TokenError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || text.len() > MAX_DIGITS || !digits || text.starts_with('0') {
        return Err(TokenError::Malformed("expires is not a time in seconds"));
    }
    text.parse()
        .map(UnixTime::from_secs)
        .map_err(|_| TokenError::Malformed("expires is not a time in seconds"))
}

/// Whether a link that ends then can have been signed: see `MAX_DIGITS`.
///
/// # Errors
/// `Invalid` for an end that is too far away.
pub(super) fn check_end(expires: UnixTime, now: UnixTime) -> Result<(), TokenError> {
    match expires > now.after(FURTHEST) {
        true => Err(TokenError::Invalid("its end is more than ten years away")),
        false => Ok(()),
    }
}

/// What is signed, in its parts.
pub(super) struct Message<'m> {
    /// The path, or the folder where the token opens one.
    pub(super) path: &'m str,
    pub(super) expires: &'m str,
    /// The client's, where the token is bound to one.
    pub(super) address: Option<IpAddr>,
    pub(super) parameters: &'m str,
}

impl Message<'_> {
    /// Put together. None of the parts holds a control byte or what is not UTF-8, so that nobody can lengthen what the older two
    /// generations hash: the padding would have to stand in a part.
    pub(super) fn bytes(&self, generation: Generation) -> Vec<u8> {
        let texts = self.path.len() + self.expires.len() + self.parameters.len();
        let mut bytes = Vec::with_capacity(texts + ADDRESS_LEN);
        bytes.extend_from_slice(self.path.as_bytes());
        bytes.extend_from_slice(self.expires.as_bytes());
        if let Some(address) = self.address {
            match (generation, bound_to(generation, address).network()) {
                (Generation::Hs256, IpAddr::V4(address)) => bytes.extend_from_slice(&address.octets()),
                (Generation::Hs256, IpAddr::V6(address)) => bytes.extend_from_slice(&address.octets()),
                (_, address) => bytes.extend_from_slice(address.to_string().as_bytes()),
            }
        }
        if generation != Generation::Md5 {
            bytes.extend_from_slice(self.parameters.as_bytes());
        }
        bytes
    }
}

/// The addresses that a token is good for which is bound to this one: it alone, and in the third generation the /64 of an
/// IPv6 address.
pub(super) fn bound_to(generation: Generation, address: IpAddr) -> IpNet {
    let bits = match (generation, address) {
        (Generation::Hs256, IpAddr::V6(_)) => 64,
        (_, IpAddr::V6(_)) => 128,
        (_, IpAddr::V4(_)) => 32,
    };
    IpNet::new_assert(address, bits).trunc()
}

/// What people are shown who ask why their signature is another.
pub(super) fn shown(generation: Generation, message: &[u8]) -> Vec<u8> {
    match generation {
        Generation::Hs256 => message.to_vec(),
        Generation::Sha256 | Generation::Md5 => [b"{secret}", message].concat(),
    }
}

/// The signature.
pub(super) fn mac(generation: Generation, key: &Secret, message: &[u8]) -> Mac {
    match generation {
        Generation::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.reveal());
            Mac::from_slice(hmac::sign(&key, message).as_ref())
        }
        Generation::Sha256 => {
            let mut context = digest::Context::new(&digest::SHA256);
            context.update(key.reveal());
            context.update(message);
            Mac::from_slice(context.finish().as_ref())
        }
        Generation::Md5 => {
            let hash = Md5::new().chain_update(key.reveal()).chain_update(message);
            Mac::from_slice(&hash.finalize())
        }
    }
}
