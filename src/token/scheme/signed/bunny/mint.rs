//! Links as Bunny's signers write them.

use std::net::IpAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::conditions::Conditions;
use super::parameters::Parameters;
use super::token::{self, Message, Token};
use super::{Addresses, EXPIRES, Folders, Form, Generation, MARKER, NAMES, Rules, Spelling, marked};
use crate::target::Target;
use crate::token::scheme::signed::query::{is, pieces, split};
use crate::token::scheme::signed::{Place, Signed, Wish};
use crate::token::{Methods, Opens, TokenError};

/// All that is encoded in a value: everything but RFC 3986's unreserved characters.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Signs a link.
///
/// # Errors
/// `Invalid` for what the format can't say, or what would be refused again.
pub(super) fn sign(rules: &Rules, wish: &Wish<'_>) -> Result<Signed, TokenError> {
    let refuse = |what| Err(TokenError::Invalid(what));
    let unsayable = wish.not_before.is_some() || wish.subject.is_some() || wish.id.is_some();
    if unsayable || wish.place != Place::Url || !Methods::READ.contains(wish.method) {
        return refuse("a Bunny token can't say that");
    }
    let Some(&generation) = rules.generations.first() else {
        return refuse("no generation is accepted");
    };
    let Some(key) = rules.keys.at(wish.now).next() else {
        return refuse("no key counts any more");
    };
    let expires = wish.expires.secs().to_string();
    let end = token::seconds(&expires).map_err(|_| TokenError::Invalid("the end can't be said"))?;
    token::check_end(end, wish.now)?;
    if marked(wish.target.encoded_path()).is_some() {
        return refuse("the path begins as a token does");
    }

    let folder = match wish.opens {
        None => None,
        Some(Opens::Exact(path)) if **path == *wish.target.path() => None,
        Some(opens) => Some(folder(opens, wish.target, rules)?),
    };
    if folder.is_some() && generation == Generation::Md5 {
        return refuse("a token of this generation opens one path");
    }
    let ours = |piece| NAMES.iter().any(|name| is(split(piece).0, name));
    let own = wish.target.query();
    if own.into_iter().flat_map(pieces).any(ours) {
        return refuse("the link has a parameter that is the token's own");
    }
    let conditions = Conditions {
        folder: folder.as_deref(),
        ..Conditions::default()
    };
    // Of the one that signs them all: they stand in every link.
    let parameters = Parameters::of(own, &conditions, Generation::Hs256)
        .map_err(|_| TokenError::Invalid("the parameters can't be signed"))?;
    if generation != Generation::Md5 {
        parameters.check_start()?;
    }
    let path = match rules.spelling {
        Spelling::AsSent => wish.target.encoded_path(),
        Spelling::Decoded => wish.target.path(),
    };
    let message = Message {
        path: folder.as_deref().unwrap_or(path),
        expires: &expires,
        address: address(rules.addresses, generation, wish)?,
        parameters: &parameters.joined(),
    }
    .bytes(generation);
    let token = Token {
        generation,
        bound: rules.addresses == Addresses::Bound && generation == Generation::Hs256,
        mac: token::mac(generation, &key.key, &message),
    }
    .text();

    let mut said = token;
    for (name, value) in parameters.iter() {
        said.extend(["&"].into_iter().chain(utf8_percent_encode(name, VALUE)));
        said.extend(["="].into_iter().chain(utf8_percent_encode(value, VALUE)));
    }
    said.extend(["&", EXPIRES, "=", &expires]);
    let path = wish.target.encoded_path();
    Ok(Signed::Url(match (&folder, rules.form) {
        (Some(_), Form::Path) => format!("/{MARKER}{said}{path}"),
        _ => format!("{path}?token={said}"),
    }))
}

/// The `token_path` that opens this and no more.
fn folder(opens: &Opens, target: &Target, rules: &Rules) -> Result<String, TokenError> {
    let text = match opens {
        Opens::Prefix(text) => text,
        Opens::StartsWith(text) if rules.folders == Folders::Text => text,
        _ => return Err(TokenError::Invalid("a Bunny token can't say what it is to open")),
    };
    if !opens.opens(target, None) {
        return Err(TokenError::Invalid("the link is not among what it is to open"));
    }
    match rules.spelling {
        Spelling::Decoded => Ok(text.as_ref().to_owned()),
        Spelling::AsSent => Target::from_decoded(text)
            .map(|folder| folder.encoded_path().to_owned())
            .map_err(|_| TokenError::Invalid("what it is to open is no path")),
    }
}

/// The address that it is bound to. A /64 of IPv6 can be said by the third generation alone, which can't say less: whoever
/// names one address of IPv6 gets a link for its /64.
fn address(
    addresses: Addresses,
    generation: Generation,
    wish: &Wish<'_>,
) -> Result<Option<IpAddr>, TokenError> {
    match (addresses, wish.address) {
        (Addresses::Unbound, None) => Ok(None),
        (Addresses::Unbound, Some(_)) => Err(TokenError::Invalid("addresses are not checked here")),
        (Addresses::Bound, None) => Err(TokenError::Invalid("it has to name an address")),
        (Addresses::Bound, Some(net)) => {
            match net.prefix_len() >= token::bound_to(generation, net.addr()).prefix_len() {
                true => Ok(Some(net.addr())),
                false => Err(TokenError::Invalid("it can't name a net as large as that")),
            }
        }
    }
}
