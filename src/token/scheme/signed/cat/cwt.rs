//! The envelope of a Common Access Token: base64url, perhaps tag 61 (RFC 8392 §6), then COSE_Mac0 or COSE_Sign1 (RFC 9052),
//! whose payload is the claims. Opens it and seals it; believes nothing of it.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use memchr::memchr2;

use super::cbor::{self, Item, Label, member};
use super::keys::{Algorithm, CatKey};
use crate::token::scheme::signed::NamedKey;
use crate::token::{MAX_TOKEN_BYTES, TokenError};

const CWT: u64 = 61;
const MAC0: u64 = 17;
const SIGN1: u64 = 18;

/// Header parameters (RFC 9052 §3.1, RFC 9596, RFC 9597).
const ALG: i64 = 1;
const CRIT: i64 = 2;
const CONTENT_TYPE: i64 = 3;
const KID: i64 = 4;
const CWT_CLAIMS: i64 = 15;
const TYP: i64 = 16;
/// The most of them in each of the two headers.
const MAX_HEADERS: usize = 16;

/// With or without padding; stray bits are refused either way.
const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const OF_URLS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, FORGIVING);
const OF_OLD: GeneralPurpose = GeneralPurpose::new(&STANDARD, FORGIVING);

/// A token that was opened.
#[derive(Debug)]
pub(super) struct Envelope<'b> {
    /// The algorithm that it claims, which goes with the kind of its structure.
    pub(super) algorithm: Algorithm,
    /// The name of its key. Not signed where it stands in the unprotected header: it only chooses which key has to hold.
    pub(super) kid: Option<&'b [u8]>,
    /// The signed header, as it came.
    pub(super) protected: &'b [u8],
    /// The claims, as they came.
    pub(super) payload: &'b [u8],
    /// The signature or the MAC.
    pub(super) signature: &'b [u8],
}

/// The bytes of a token's text. Older tokens have the standard alphabet, and some libraries pad.
///
/// # Errors
/// `Malformed`.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    if text.is_empty() || text.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Malformed("it is empty or too long"));
    }
    let engine = match memchr2(b'+', b'/', text.as_bytes()) {
        Some(_) => OF_OLD,
        None => OF_URLS,
    };
    engine
        .decode(text)
        .map_err(|_| TokenError::Malformed("it is not base64url"))
}

/// Opens a token.
///
/// # Errors
/// `Malformed` for what is not such a structure, `Invalid` for an algorithm or a header that we don't take.
pub(super) fn open(bytes: &[u8]) -> Result<Envelope<'_>, TokenError> {
    let malformed = TokenError::Malformed;
    let whole = match cbor::read(bytes).map_err(malformed)? {
        Item::Tag(CWT, inner) => *inner,
        other => other,
    };
    let Item::Tag(kind @ (MAC0 | SIGN1), parts) = whole else {
        return Err(malformed("it is not COSE_Mac0 or COSE_Sign1"));
    };
    let Item::List(parts) = *parts else {
        return Err(malformed("a COSE structure is a list"));
    };
    let [
        Item::Bytes(protected),
        Item::Map(unprotected),
        Item::Bytes(payload),
        Item::Bytes(signature),
    ] = &*parts
    else {
        return Err(malformed("a COSE structure has two headers, a payload and a tag"));
    };
    let Item::Map(signed) = cbor::read(protected).map_err(malformed)? else {
        return Err(malformed("the protected header is not a map"));
    };
    check_headers(&signed, unprotected)?;
    let algorithm = match member(&signed, ALG) {
        Some(Item::Int(number)) => Algorithm::numbered(*number),
        _ => None,
    };
    let algorithm = algorithm
        .filter(|algorithm| (*algorithm == Algorithm::Hmac256) == (kind == MAC0))
        .ok_or(TokenError::Invalid("no algorithm that we take goes with it"))?;
    // RFC 9052 wants bytes; texts occur.
    let kid = match member(&signed, KID).or(member(unprotected, KID)) {
        None => None,
        Some(Item::Bytes(kid)) => Some(*kid),
        Some(Item::Text(kid)) => Some(kid.as_bytes()),
        Some(_) => return Err(malformed("the key's name is neither bytes nor a text")),
    };
    Ok(Envelope {
        algorithm,
        kid,
        protected,
        payload,
        signature,
    })
}

/// What stands in a header that we don't know could change what the token means, so the signed one holds nothing else; of the
/// unsigned one only the key's name is looked at.
fn check_headers(
    signed: &[(Label<'_>, Item<'_>)],
    unsigned: &[(Label<'_>, Item<'_>)],
) -> Result<(), TokenError> {
    if signed.len() > MAX_HEADERS || unsigned.len() > MAX_HEADERS {
        return Err(TokenError::Malformed("a header has too many parameters"));
    }
    let twice = |(label, _): &(Label<'_>, Item<'_>)| unsigned.iter().any(|(other, _)| other == label);
    if signed.iter().any(twice) {
        return Err(TokenError::Malformed("a parameter stands in both headers"));
    }
    let known =
        |(label, _): &(Label<'_>, Item<'_>)| matches!(label, Label::Int(ALG | CONTENT_TYPE | KID | TYP));
    let moved = |(label, _): &(Label<'_>, Item<'_>)| matches!(label, Label::Int(ALG | CRIT | CWT_CLAIMS));
    if !signed.iter().all(known) || unsigned.iter().any(moved) {
        return Err(TokenError::Invalid("a header has what we don't take there"));
    }
    Ok(())
}

impl Envelope<'_> {
    /// What is signed.
    pub(super) fn signed(&self) -> Vec<u8> {
        to_be_signed(self.algorithm, self.protected, self.payload)
    }
}

/// The structure over which the signature is (RFC 9052 §4.4, §6.3).
fn to_be_signed(algorithm: Algorithm, protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let context = match algorithm {
        Algorithm::Hmac256 => "MAC0",
        _ => "Signature1",
    };
    let parts = [
        Item::Text(context),
        Item::Bytes(protected),
        Item::Bytes(&[]),
        Item::Bytes(payload),
    ];
    Item::List(parts.into()).encode()
}

/// Signs claims. The key's name stands in the unprotected header, where the libraries look for it.
///
/// # Errors
/// `Invalid` where the key can't sign, or the token would be too long.
pub(super) fn seal(key: &NamedKey<CatKey>, payload: &[u8]) -> Result<String, TokenError> {
    let algorithm = key.key.algorithm();
    let protected = Item::Map(vec![(Label::Int(ALG), Item::Int(algorithm.number()))]).encode();
    let signature = key
        .key
        .sign(&to_be_signed(algorithm, &protected, payload))
        .ok_or(TokenError::Invalid("the key can't sign"))?;
    let kid = (Label::Int(KID), Item::Bytes(key.name.as_bytes()));
    let parts = [
        Item::Bytes(&protected),
        Item::Map(vec![kid]),
        Item::Bytes(payload),
        Item::Bytes(&signature),
    ];
    let kind = match algorithm {
        Algorithm::Hmac256 => MAC0,
        _ => SIGN1,
    };
    let cose = Item::Tag(kind, Box::new(Item::List(parts.into())));
    let text = URL_SAFE_NO_PAD.encode(Item::Tag(CWT, Box::new(cose)).encode());
    match text.len() <= MAX_TOKEN_BYTES {
        true => Ok(text),
        false => Err(TokenError::Invalid("the token would be too long")),
    }
}
