//! Making links and cookies: canned where a token says no more than one URL and one time, custom otherwise. Signed with SHA-256,
//! and saying so. Never: signs a pattern that opens more than was asked for.

use std::time::Duration;

use ipnet::IpNet;

use super::policy::{MAX_RESOURCE_BYTES, Policy, canned};
use super::{COOKIES, NAMES, Signer, hash_name, letters, url};
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::scheme::signed::public_key::Hash;
use crate::token::scheme::signed::{Place, Signed, Wish, query};
use crate::token::{MAX_TOKEN_BYTES, Methods, Opens, TokenError};

impl Signer {
    pub(super) fn sign(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        if !Methods::READ.contains(wish.method) {
            return refuse("the links are for reading");
        }
        if wish.subject.is_some() || wish.id.is_some() {
            return refuse("a policy has no word for a subject or an id");
        }
        let (expires, policy, text) = statement(wish)?;
        let signature = self
            .key
            .sign(text.as_bytes())
            .ok_or(TokenError::Invalid("the key does not sign"))?;
        let parts = [
            expires,
            policy,
            Some(letters::write(&signature)),
            Some(self.key_pair_id.to_string()),
            Some(hash_name(Hash::Sha256).to_owned()),
        ];
        if parts.iter().flatten().map(String::len).sum::<usize>() > MAX_TOKEN_BYTES {
            return refuse("the token would be longer than 8 KiB");
        }
        let named = |names: [&'static str; 5]| {
            let pairs = names.into_iter().zip(parts);
            pairs.filter_map(|(name, part)| Some((name.to_owned(), part?)))
        };
        match wish.place {
            Place::Header => refuse("the token rides in the query or in cookies"),
            Place::Cookie => Ok(Signed::Cookies(named(COOKIES).collect())),
            Place::Url => {
                let query = wish.target.query().map(str::to_owned);
                let ours = named(NAMES).map(|(name, part)| format!("{name}={part}"));
                let pieces: Vec<String> = query.into_iter().chain(ours).collect();
                let path = literal_path(wish.target.encoded_path());
                Ok(Signed::Url(format!("{path}?{}", pieces.join("&"))))
            }
        }
    }
}

/// The words of a token, the time or the policy, and the text that is signed.
fn statement(wish: &Wish<'_>) -> Result<(Option<String>, Option<String>, String), TokenError> {
    let refuse = |what| Err(TokenError::Invalid(what));
    let public = wish
        .public
        .ok_or(TokenError::Invalid("public scheme and host are not configured"))?;
    let query = wish.target.query();
    if !is_literal_query(query) {
        return refuse("the query can't be part of a link");
    }
    let itself = url(public, &literal_path(wish.target.encoded_path()), query);
    let expires = wish.expires.secs();
    // Whole seconds, and none before it.
    let not_before = wish
        .not_before
        .map(|start| start.after(Duration::from_millis(999)).secs());
    if expires < 1 || not_before.is_some_and(|start| start < 0) {
        return refuse("a policy can't say this time");
    }
    let address = match wish.address {
        None => None,
        Some(IpNet::V4(net)) => Some(net),
        Some(IpNet::V6(_)) => return refuse("a policy can't say an address of IPv6"),
    };
    let resource = match wish.opens {
        Some(opens) if !opens.opens(wish.target, None) => {
            return refuse("the target is not among what is to be opened");
        }
        None | Some(Opens::Exact(_)) if not_before.is_none() && address.is_none() => {
            let text =
                canned(&itself, expires).ok_or(TokenError::Invalid("no canned policy says this URL"))?;
            return Ok((Some(expires.to_string()), None, text));
        }
        None | Some(Opens::Exact(_)) => itself,
        Some(Opens::Prefix(start) | Opens::StartsWith(start)) => {
            let start = Target::from_decoded(start)
                .map_err(|_| TokenError::Invalid("a policy can't say what is to be opened"))?;
            url(public, &(literal_path(start.encoded_path()) + "*"), None)
        }
        Some(Opens::Glob(_) | Opens::MediaId(_)) => {
            return refuse("a policy can't say what is to be opened");
        }
    };
    if resource.len() > MAX_RESOURCE_BYTES {
        return refuse("the resource is longer than 2 KiB");
    }
    let policy = Policy {
        resource: resource.into(),
        expires: wish.expires,
        not_before: not_before.map(UnixTime::from_secs),
        address,
    };
    let text = policy.write();
    Ok((None, Some(letters::write(text.as_bytes())), text))
}

/// A path in which no letter is a wildcard. A canned policy is a custom one to whoever has it, so that its URL is a pattern, too.
/// Where cookies are made, the viewer has to ask for the path as it is written here.
fn literal_path(encoded: &str) -> String {
    encoded.replace('*', "%2A")
}

/// Whether a query can stand in a link: without a star, which can't be told from a wildcard, and without parameters of ours. The
/// `?` before it, and any in it, are taken for any character but a slash: CloudFront knows no other way.
fn is_literal_query(raw: Option<&str>) -> bool {
    let ours = |key: &str| NAMES.iter().any(|name| query::is(key, name));
    raw.is_none_or(|raw| !raw.contains('*') && !query::pieces(raw).any(|piece| ours(query::split(piece).0)))
}
