//! Makes EdgeAuth tokens, field by field as the SDKs do.

use ipnet::IpNet;

use super::verify::escape;
use super::{ACL_DELIMITER, EdgeAuth, Escape};
use crate::token::scheme::signed::fields::{self, hex, patterns};
use crate::token::scheme::signed::query::is;
use crate::token::scheme::signed::{Place, Signed, Wish, exchange};
use crate::token::{Methods, TokenError};

impl EdgeAuth {
    /// A token for the target alone, or for what the wish is to open. Whom it is for becomes `data`.
    pub(super) fn mint(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        let Some(key) = self.rules.keys.at(wish.now).next() else {
            return refuse("no key signs");
        };
        if !Methods::READ.contains(wish.method) {
            return refuse("its tokens are for reading");
        }
        let token = self.fields(wish)?;
        let url = wish.opens.is_none().then(|| {
            // What names this path and no other, decoded once; see `fields::spellings`.
            let decoded =
                Some(wish.target.path()).filter(|path| !path.contains('%') && !self.has_query(path));
            let path = match self.rules.escape {
                Escape::Never => wish.target.encoded_path(),
                Escape::Early => decoded.unwrap_or(wish.target.encoded_path()),
            };
            self.signed_url(path, wish.target.query())
        });
        let sealed = self.sealed(&token, url.as_deref(), self.salt());
        let mac = hex(&self.rules.algorithm.mac(&key.key, &sealed));
        let token = format!("{token}~hmac={mac}");
        let riding = fields::riding(&token);
        if !fields::is_readable(&riding) {
            return refuse("the token would be longer than what is read");
        }
        let unnamed = TokenError::Invalid("no name is configured for this place");
        let rules = &self.rules;
        Ok(match wish.place {
            Place::Url => {
                let name = rules.queries.first().ok_or(unnamed)?;
                let taken = |key: &str| rules.queries.iter().any(|name| is(key, name));
                Signed::Url(fields::with_query(
                    wish.target,
                    &format!("{name}={riding}"),
                    taken,
                )?)
            }
            Place::Header => {
                let name = rules.headers.first().ok_or(unnamed)?;
                Signed::Header(name.to_string(), riding.into_owned())
            }
            Place::Cookie => {
                let name = rules.cookies.first().ok_or(unnamed)?;
                Signed::Cookies(vec![(name.to_string(), riding.into_owned())])
            }
        })
    }

    fn fields(&self, wish: &Wish<'_>) -> Result<String, TokenError> {
        let mut token = Vec::new();
        if let Some(net) = wish.address {
            let net: IpNet = net;
            if net.prefix_len() != net.max_prefix_len() {
                return Err(TokenError::Invalid("its tokens are for one address"));
            }
            token.push(format!("ip={}", self.escaped(&net.addr().to_string())?));
        }
        if let Some(start) = wish.not_before {
            token.push(format!("st={}", fields::said(start)?));
        }
        token.push(format!("exp={}", fields::said(wish.expires)?));
        if let Some(opens) = wish.opens {
            token.push(format!("acl={}", patterns::pattern(opens, &[ACL_DELIMITER])?));
        }
        if let Some(id) = wish.id {
            token.push(format!("id={}", self.escaped(id)?));
        }
        if let Some(subject) = wish.subject {
            if self.rules.session.is_some() && exchange::unmarked(Some(subject)).is_some() {
                return Err(TokenError::Invalid("long tokens are marked by this subject"));
            }
            token.push(format!("data={}", self.escaped(subject)?));
        }
        Ok(token.join("~"))
    }

    fn escaped(&self, value: &str) -> Result<String, TokenError> {
        if !fields::is_value(value) {
            return Err(TokenError::Invalid("its tokens can't say this value"));
        }
        Ok(match self.rules.escape {
            Escape::Never => value.to_owned(),
            Escape::Early => escape(value),
        })
    }
}
