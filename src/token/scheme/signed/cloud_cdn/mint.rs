//! Links and cookies as Google's samples write them.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use super::{EXPIRES, KEY_NAME, PREFIX, Rules, SIGNATURE, prefix_text};
use crate::target::Target;
use crate::token::scheme::signed::query::{is, pieces, split};
use crate::token::scheme::signed::{Place, Signed, Wish};
use crate::token::{Methods, Opens, PublicBase, TokenError};

/// Signs a link or a cookie.
///
/// # Errors
/// `Invalid` for what the format can't say.
pub(super) fn sign(rules: &Rules, wish: &Wish<'_>) -> Result<Signed, TokenError> {
    let refuse = |what| Err(TokenError::Invalid(what));
    let unsayable =
        wish.not_before.is_some() || wish.address.is_some() || wish.subject.is_some() || wish.id.is_some();
    if unsayable || !Methods::READ.contains(wish.method) {
        return refuse("a token of Cloud CDN can't say that");
    }
    let Some(public) = wish.public else {
        return refuse("public scheme and host are not configured");
    };
    let Some(key) = rules.keys.at(wish.now).next() else {
        return refuse("no key counts any more");
    };
    let expires = wish.expires.secs();
    if expires < 0 {
        return refuse("the end can't be said");
    }
    let expires = expires.to_string();
    let prefix = match wish.opens {
        None => None,
        Some(Opens::Exact(path)) if **path == *wish.target.path() => None,
        Some(opens) => Some(prefix(opens, public, wish.target)?),
    };
    let mac = |signed: &str| URL_SAFE.encode(hmac::sign(&key.key.0, signed.as_bytes()));
    match (wish.place, prefix) {
        (Place::Url, prefix) => {
            let target = wish.target.as_str();
            let ours = |piece| {
                let names = [PREFIX, EXPIRES, KEY_NAME, SIGNATURE];
                names.iter().any(|name| is(split(piece).0, name))
            };
            let own = wish.target.query();
            if own.into_iter().flat_map(pieces).any(ours) {
                return refuse("the link has a parameter that is the token's own");
            }
            let before = format!("{target}{}", if own.is_some() { '&' } else { '?' });
            let (shown, signature) = match prefix {
                Some(prefix) => {
                    let signed = prefix_text(&prefix, &expires, &key.name, '&');
                    let signature = mac(&signed);
                    (format!("{before}{signed}"), signature)
                }
                None => {
                    let shown = format!("{before}{EXPIRES}={expires}&{KEY_NAME}={}", key.name);
                    let signature = mac(&format!("{}://{}{shown}", public.scheme, public.authority));
                    (shown, signature)
                }
            };
            Ok(Signed::Url(format!("{shown}&{SIGNATURE}={signature}")))
        }
        (Place::Cookie, Some(prefix)) => {
            let Some(name) = &rules.cookie else {
                return refuse("cookies are not read here");
            };
            let signed = prefix_text(&prefix, &expires, &key.name, ':');
            let value = format!("{signed}:{SIGNATURE}={}", mac(&signed));
            Ok(Signed::Cookies(vec![(name.as_ref().to_owned(), value)]))
        }
        (Place::Cookie, None) => refuse("a cookie of Cloud CDN opens all that starts alike"),
        (Place::Header, _) => refuse("a token of Cloud CDN rides in no header"),
    }
}

/// `URLPrefix` for what is to be opened.
fn prefix(opens: &Opens, public: &PublicBase, target: &Target) -> Result<String, TokenError> {
    let (Opens::Prefix(text) | Opens::StartsWith(text)) = opens else {
        return Err(TokenError::Invalid(
            "a token of Cloud CDN can't say what it is to open",
        ));
    };
    if !opens.opens(target, None) {
        return Err(TokenError::Invalid("the link is not among what it is to open"));
    }
    let path =
        Target::from_decoded(text).map_err(|_| TokenError::Invalid("what it is to open is no path"))?;
    let url = format!("{}://{}{}", public.scheme, public.authority, path.encoded_path());
    Ok(URL_SAFE.encode(url))
}
