//! Writes Common Access Tokens: the claims that a link needs and no more, in the deterministic encoding.

use http::Method;

use super::cbor::{Item, Label, Map};
use super::labels::Claim;
use super::matching::unhex;
use super::said::MAX_TIME;
use super::{Cat, cwt, network, uri};
use crate::clock::UnixTime;
use crate::target::Target;
use crate::token::scheme::signed::{Place, Signed, Wish};
use crate::token::{Opens, TokenError};

impl Cat {
    /// A token for the wish, and the link that it is in. The issuer is the first of the rules, the audience too where one is
    /// demanded; the host is the public one.
    pub(super) fn link(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let rules = &self.rules;
        let key = rules
            .keys
            .at(wish.now)
            .find(|key| key.key.signs())
            .ok_or(TokenError::Invalid("no key can sign"))?;
        let token = cwt::seal(key, &self.payload(wish)?)?;
        let nowhere = TokenError::Invalid("the rules name no place for it there");
        Ok(match wish.place {
            Place::Header => {
                let name = rules.headers.first().ok_or(nowhere)?;
                Signed::Header(name.to_string(), token)
            }
            Place::Cookie => {
                let name = rules.cookies.first().ok_or(nowhere)?;
                Signed::Cookies(vec![(name.to_string(), token)])
            }
            Place::Url => match rules.queries.first() {
                Some(name) => {
                    let mark = if wish.target.query().is_some() { '&' } else { '?' };
                    Signed::Url(format!("{}{mark}{name}={token}", wish.target.as_str()))
                }
                None if rules.path_segment => Signed::Url(format!("/{token}{}", wish.target.as_str())),
                None => return Err(nowhere),
            },
        })
    }

    fn payload(&self, wish: &Wish<'_>) -> Result<Vec<u8>, TokenError> {
        let rules = &self.rules;
        let mut claims = Map::new();
        let mut say = |claim, item| claims.push((rules.labels.of(claim), item));
        if let Some(issuer) = rules.issuers.first() {
            say(Claim::Issuer, Item::Text(issuer));
        }
        if let Some(subject) = wish.subject {
            say(Claim::Subject, Item::Text(subject));
        }
        if rules.audience_required {
            let audience = rules
                .audiences
                .first()
                .ok_or(TokenError::Invalid("the rules name no audience"))?;
            say(Claim::Audience, Item::Text(audience));
        }
        // Whole seconds, never later than wished nor earlier.
        let start = wish.not_before.map(whole_after);
        if [Some(wish.expires.secs()), start]
            .into_iter()
            .flatten()
            .any(|time| !(0..=MAX_TIME).contains(&time))
        {
            return Err(TokenError::Invalid("a Common Access Token can't say this time"));
        }
        say(Claim::Expires, Item::Int(wish.expires.secs()));
        if let Some(start) = start {
            say(Claim::NotBefore, Item::Int(start));
        }
        // Hexadecimal digits, as an id is read; any other text stands for its bytes.
        let id = wish
            .id
            .map(|id| unhex(id).unwrap_or_else(|| id.as_bytes().to_vec()));
        if let Some(id) = &id {
            say(Claim::Id, Item::Bytes(id));
        }
        let address = wish.address.map(|address| (address, network::bytes(address)));
        if let Some((address, bytes)) = &address {
            say(Claim::Networks, Item::List(vec![network::write(*address, bytes)]));
        }
        let host = wish.public.map(uri::host);
        let (kind, path) = path(wish)?;
        let mut parts = Map::new();
        if let Some(host) = &host {
            parts.push((Label::Int(uri::HOST), demand(0, host)));
        }
        parts.push((Label::Int(uri::PATH), demand(kind, &path)));
        say(Claim::Uri, Item::Map(parts));
        if !matches!(*wish.method, Method::GET | Method::HEAD) {
            say(Claim::Methods, Item::List(vec![Item::Text(wish.method.as_str())]));
        }
        Ok(Item::Map(claims).encode())
    }
}

/// A match of one type.
fn demand(kind: i64, text: &str) -> Item<'_> {
    Item::Map(vec![(Label::Int(kind), Item::Text(text))])
}

/// What the path has to be, exactly (0) or how it has to begin (1), encoded as it will be compared.
fn path(wish: &Wish<'_>) -> Result<(i64, String), TokenError> {
    let encoded = |path: &str| {
        Target::from_decoded(path)
            .map(|target| target.encoded_path().to_owned())
            .map_err(|_| TokenError::Invalid("what it is to open is not a path"))
    };
    Ok(match wish.opens {
        None => (0, wish.target.encoded_path().to_owned()),
        Some(Opens::Exact(path)) => (0, encoded(path)?),
        Some(Opens::Prefix(start) | Opens::StartsWith(start)) => (1, encoded(start)?),
        Some(Opens::Glob(_) | Opens::MediaId(_)) => {
            return Err(TokenError::Invalid("a Common Access Token can't say this path"));
        }
    })
}

fn whole_after(time: UnixTime) -> i64 {
    time.secs() + i64::from(time.millis() % 1000 != 0)
}
