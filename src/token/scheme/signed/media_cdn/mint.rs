//! Makes tokens and signatures, letter by letter as Google's samples do.

use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

use super::prefix::url;
use super::token::has_fields;
use super::{Form, Key, MARKER, MediaCdn};
use crate::target::Target;
use crate::token::scheme::signed::fields::{self, hex, patterns};
use crate::token::scheme::signed::query::is;
use crate::token::scheme::signed::{NamedKey, Place, Signed, Wish, exchange};
use crate::token::{Methods, Opens, TokenError};

impl MediaCdn {
    pub(super) fn mint(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        if !Methods::READ.contains(wish.method) {
            return Err(invalid("its tokens are for reading"));
        }
        match self.rules.form {
            Form::PathToken | Form::UrlToken => self.token(wish),
            Form::Signature => self.signature(wish),
            Form::PathComponent => self.component(wish),
        }
    }

    fn token(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let name = self.rules.names.first();
        let name = name.ok_or(invalid("no name is configured for this place"))?;
        let rest = self.fields(wish)?;
        let (scope, signed) = match (self.rules.form, wish.opens) {
            (Form::UrlToken, Some(opens)) => {
                let field = format!("URLPrefix={}", URL_SAFE_NO_PAD.encode(start(wish, opens)?));
                (field.clone(), field)
            }
            (_, Some(opens)) => {
                let field = format!("PathGlobs={}", patterns::pattern(opens, &[',', '!'])?);
                (field.clone(), field)
            }
            (_, None) if has_fields(wish.target.path()) => {
                return Err(invalid("no token is for a path with fields in it"));
            }
            (_, None) => (
                "FullPath".to_owned(),
                format!("FullPath={}", wish.target.encoded_path()),
            ),
        };
        let signed = format!("{signed}~{rest}");
        let mut keys = self.rules.keys.at(wish.now);
        let seal = keys.find_map(|key| {
            let mac = key.key.mac(signed.as_bytes());
            let signature = || key.key.sign(signed.as_bytes());
            mac.map(|mac| format!("hmac={}", hex(&mac)))
                .or_else(|| Some(format!("Signature={}", URL_SAFE_NO_PAD.encode(signature()?))))
        });
        let seal = seal.ok_or(invalid("no key signs"))?;
        let token = format!("{scope}~{rest}~{seal}");
        let riding = fields::riding(&token);
        if !fields::is_readable(&riding) {
            return Err(invalid("the token would be longer than what is read"));
        }
        match wish.place {
            Place::Url => {
                let taken = |key: &str| self.rules.names.iter().any(|name| is(key, name));
                fields::with_query(wish.target, &format!("{name}={riding}"), taken).map(Signed::Url)
            }
            Place::Cookie => Ok(Signed::Cookies(vec![(name.to_string(), riding.into_owned())])),
            Place::Header => Err(invalid("its tokens ride in no header")),
        }
    }

    /// The fields behind the one that says what is opened.
    fn fields(&self, wish: &Wish<'_>) -> Result<String, TokenError> {
        let mut token = Vec::new();
        if let Some(start) = wish.not_before {
            token.push(format!("Starts={}", fields::said(start)?));
        }
        token.push(format!("Expires={}", fields::said(wish.expires)?));
        for (name, value) in [("SessionID", wish.id), ("Data", wish.subject)] {
            let Some(value) = value else { continue };
            if !fields::is_value(value) {
                return Err(invalid("its tokens can't say this value"));
            }
            token.push(format!("{name}={value}"));
        }
        if self.rules.session.is_some() && exchange::unmarked(wish.subject).is_some() {
            return Err(invalid("long tokens are marked by this subject"));
        }
        if let Some(net) = wish.address {
            token.push(format!("IPRanges={}", URL_SAFE_NO_PAD.encode(net.to_string())));
        }
        Ok(token.join("~"))
    }

    fn signature(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let (key, expires) = self.signer(wish)?;
        let name = &key.name;
        let sign = |text: &str| signed(key, text).map(|signature| URL_SAFE.encode(signature));
        let policy = format!("Expires={expires}&KeyName={name}");
        let taken = |key: &str| {
            let names = ["URLPrefix", "Expires", "KeyName", "Signature"];
            names.iter().any(|name| is(key, name))
        };
        match (wish.place, wish.opens) {
            (Place::Url, None) => {
                let unsigned = fields::with_query(wish.target, &policy, taken)?;
                let signature = sign(&url(wish.public, &unsigned)?)?;
                Ok(Signed::Url(format!("{unsigned}&Signature={signature}")))
            }
            (Place::Url, Some(opens)) => {
                let policy = format!("URLPrefix={}&{policy}", URL_SAFE.encode(start(wish, opens)?));
                let query = format!("{policy}&Signature={}", sign(&policy)?);
                fields::with_query(wish.target, &query, taken).map(Signed::Url)
            }
            (Place::Cookie, Some(opens)) => {
                let prefix = URL_SAFE.encode(start(wish, opens)?);
                let policy = format!("URLPrefix={prefix}:Expires={expires}:KeyName={name}");
                let value = format!("{policy}:Signature={}", sign(&policy)?);
                Ok(Signed::Cookies(vec![(self.rules.cookie.to_string(), value)]))
            }
            (Place::Cookie, None) => Err(invalid("its cookies open what starts alike, not one file")),
            (Place::Header, _) => Err(invalid("its signatures ride in no header")),
        }
    }

    fn component(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let (key, expires) = self.signer(wish)?;
        let (Place::Url, Some(Opens::Prefix(folder))) = (wish.place, wish.opens) else {
            return Err(invalid("a signature in the path opens a folder"));
        };
        let folder = Target::from_decoded(folder).map_err(|_| invalid("the folder is no path"))?;
        let folder = folder.encoded_path();
        let rest = wish.target.as_str().strip_prefix(folder);
        let rest = rest.ok_or(invalid("the target is not in the folder that is to be opened"))?;
        let unsigned = format!("{folder}{MARKER}Expires={expires}&KeyName={}", key.name);
        let signature = URL_SAFE_NO_PAD.encode(signed(key, &url(wish.public, &unsigned)?)?);
        Ok(Signed::Url(format!("{unsigned}&Signature={signature}/{rest}")))
    }

    /// Who signs, and until when; a signature says nothing more.
    fn signer(&self, wish: &Wish<'_>) -> Result<(&NamedKey<Key>, i64), TokenError> {
        let said = [wish.id.is_some(), wish.subject.is_some()];
        if said.contains(&true) || wish.address.is_some() || wish.not_before.is_some() {
            return Err(invalid("a signature says no more than an end"));
        }
        let signs = |key: &&NamedKey<Key>| key.key.can_sign() && is_key_name(&key.name);
        let key = self.rules.keys.at(wish.now).find(signs);
        Ok((key.ok_or(invalid("no key signs"))?, fields::said(wish.expires)?))
    }
}

fn invalid(what: &'static str) -> TokenError {
    TokenError::Invalid(what)
}

fn signed(key: &NamedKey<Key>, text: &str) -> Result<Vec<u8>, TokenError> {
    key.key.sign(text.as_bytes()).ok_or(invalid("no key signs"))
}

/// Names that stand in a query, a cookie and a path as they are. Google's are letters, digits and hyphens.
fn is_key_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.bytes().all(plain)
}

/// The start of the URLs that are to be opened.
fn start(wish: &Wish<'_>, opens: &Opens) -> Result<String, TokenError> {
    let (Opens::Prefix(start) | Opens::StartsWith(start)) = opens else {
        return Err(invalid("a prefix opens what starts alike"));
    };
    let path = Target::from_decoded(start).map_err(|_| invalid("the prefix is no path"))?;
    url(wish.public, path.encoded_path())
}
