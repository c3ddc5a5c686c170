//! What an EdgeAuth token says, and whether it is true for the request.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::{ACL_DELIMITER, EdgeAuth, Escape, GRAMMAR, Query};
use crate::clock::UnixTime;
use crate::secret::Secret;
use crate::token::claims::Renewal;
use crate::token::scheme::signed::exchange::{self, Session};
use crate::token::scheme::signed::fields::patterns::{Encodings, Patterns};
use crate::token::scheme::signed::fields::{self, Fields, MAX_TRIALS, Mac};
use crate::token::scheme::signed::{Asked, NamedKey, same};
use crate::token::{Claims, Methods, TokenError};

impl EdgeAuth {
    /// Judges a short token.
    pub(super) fn short(&self, text: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let (fields, mac) = take_apart(text)?;
        let key = self.key(&fields, &mac, asked)?;
        let session = self.rules.session.as_ref();
        let data = fields.get("data");
        if session.is_some() && exchange::unmarked(data).is_some() {
            // Else a long token under a key that both share would be exchanged for ever.
            return Err(TokenError::Invalid(
                "it is a long token, and was to be a short one",
            ));
        }
        let id = self.value(&fields, "id")?;
        let data = self.value(&fields, "data")?;
        let mut claims = self.claims(&fields, &mac, asked)?;
        claims.key = Some(key.name.clone());
        claims.id = id.as_deref().map(Box::from);
        claims.subject = data.as_deref().map(Box::from);
        if let Some(session) = session {
            claims.renewal = self.renewal(session, &fields, &claims, asked.now)?;
        }
        Ok(claims)
    }

    /// Judges a long token.
    pub(super) fn long(
        &self,
        session: &Session,
        text: &str,
        asked: &Asked<'_, '_>,
    ) -> Result<Claims, TokenError> {
        let (fields, mac) = take_apart(text)?;
        asked.signatures.show(fields.text.as_bytes());
        let key = session.key(fields.text, &mac, asked.now)?;
        let data = exchange::unmarked(fields.get("data")).ok_or(TokenError::Invalid(
            "it is a short token, and was to be a long one",
        ))?;
        if fields.get("acl").is_none() {
            return Err(TokenError::Malformed("it opens nothing"));
        }
        let decoded = |value: Option<&str>| -> Result<_, TokenError> {
            value
                .map(|value| exchange::decoded(value).map(Box::from))
                .transpose()
        };
        Ok(Claims {
            key: Some(key.name.clone()),
            id: decoded(fields.get("id"))?,
            subject: decoded(data)?,
            ..self.claims(&fields, &mac, asked)?
        })
    }

    /// The key that sealed a short token, together with the path where it names no list of paths.
    fn key(
        &self,
        fields: &Fields<'_>,
        mac: &Mac,
        asked: &Asked<'_, '_>,
    ) -> Result<&NamedKey<Secret>, TokenError> {
        let urls: SmallVec<[Option<Cow<'_, str>>; 3]> = match fields.get("acl") {
            Some(_) => SmallVec::from_iter([None]),
            None => fields::spellings(asked)
                .into_iter()
                .filter(|path| !self.has_query(path))
                .map(|path| Some(self.signed_url(path, asked.query)))
                .collect(),
        };
        for url in urls {
            let sealed = self.sealed(fields.text, url.as_deref(), b"{secret}");
            asked.signatures.show(&sealed.concat());
            let sealed = self.sealed(fields.text, url.as_deref(), self.salt());
            let mut keys = self.rules.keys.at(asked.now).take(MAX_TRIALS);
            if let Some(key) = keys.find(|key| same(&self.rules.algorithm.mac(&key.key, &sealed), mac)) {
                return Ok(key);
            }
        }
        Err(TokenError::Invalid("no key sealed it"))
    }

    /// Whether what is written so would be a path and a query where those are signed together: a decoded one whose name has a
    /// question mark. `/a%3Fb` is another file than `/a` with a query.
    pub(super) fn has_query(&self, path: &str) -> bool {
        self.rules.query == Query::Signed && path.contains('?')
    }

    /// The path that is signed with a token for one path.
    pub(super) fn signed_url<'p>(&self, path: &'p str, query: Option<&str>) -> Cow<'p, str> {
        let url = match (self.rules.query, query) {
            (Query::Signed, Some(query)) => Cow::Owned(format!("{path}?{query}")),
            _ => Cow::Borrowed(path),
        };
        match self.rules.escape {
            Escape::Early => escape(&url).into(),
            Escape::Never => url,
        }
    }

    /// The pieces of what is sealed, one behind the other.
    pub(super) fn sealed<'s>(
        &self,
        text: &'s str,
        url: Option<&'s str>,
        salt: &'s [u8],
    ) -> SmallVec<[&'s [u8]; 5]> {
        let mut pieces = SmallVec::from_iter([text.as_bytes()]);
        if let Some(url) = url {
            pieces.extend([&b"~url="[..], url.as_bytes()]);
        }
        if self.rules.salt.is_some() {
            pieces.extend([&b"~salt="[..], salt]);
        }
        pieces
    }

    pub(super) fn salt(&self) -> &[u8] {
        self.rules.salt.as_ref().map_or(&[], Secret::reveal)
    }

    /// What every token says. A list of paths is judged here.
    fn claims(&self, fields: &Fields<'_>, mac: &Mac, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let expires = fields
            .time("exp")?
            .ok_or(TokenError::Malformed("it says no end"))?;
        if let Some(acl) = fields.get("acl")
            && !self.with_patterns(acl, |patterns| patterns.match_path(asked.target.path()))?
        {
            return Err(TokenError::Elsewhere("it is for other paths"));
        }
        let address = self.value(fields, "ip")?.map(|text| {
            let address = text.parse::<IpAddr>();
            address.map_err(|_| TokenError::Malformed("it is for what is no address"))
        });
        let id = [b"edge_auth\0", mac.as_slice()].concat();
        Ok(Claims {
            not_before: fields.time("st")?,
            expires: Some(expires),
            methods: Some(Methods::READ),
            addresses: address
                .transpose()?
                .map(|address| Box::from([IpNet::from(address.to_canonical())])),
            ..asked.opened(self.rules.log_key.name(&id))
        })
    }

    /// Looks at the patterns of an `acl`. Where values are escaped, so is it, whole or in part: its stars too.
    fn with_patterns<T>(&self, acl: &str, look: impl FnOnce(&Patterns<'_>) -> T) -> Result<T, TokenError> {
        let (acl, encodings) = match self.rules.escape {
            Escape::Never => (Cow::Borrowed(acl), Encodings::Letters),
            Escape::Early => (exchange::decoded(acl)?, Encodings::Decoded),
        };
        Ok(look(&Patterns::parse(&acl, ACL_DELIMITER, encodings)?))
    }

    /// The value of a field, as it was before it was escaped.
    fn value<'t>(&self, fields: &Fields<'t>, name: &str) -> Result<Option<Cow<'t, str>>, TokenError> {
        let Some(value) = fields.get(name) else {
            return Ok(None);
        };
        match self.rules.escape {
            Escape::Never => Ok(Some(Cow::Borrowed(value))),
            Escape::Early => unescape(value).map(Some),
        }
    }

    /// The long token for a short one that is in time and names a list of paths: it says the same, for longer. A token for one
    /// path is not exchanged, since no list of paths was signed.
    fn renewal(
        &self,
        session: &Session,
        fields: &Fields<'_>,
        claims: &Claims,
        now: UnixTime,
    ) -> Result<Option<Renewal>, TokenError> {
        let early = claims.not_before.is_some_and(|start| now < start);
        let late = claims.expires.is_none_or(|end| now >= end);
        let Some(acl) = fields.get("acl").filter(|_| !early && !late) else {
            return Ok(None);
        };
        let mut text = String::new();
        let addresses = claims.addresses.iter().flatten();
        addresses.for_each(|net| text.push_str(&format!("ip={}~", net.addr())));
        let (expires, acl) = (session.expires(now), (acl, fields::in_cookie(acl)));
        text.push_str(&format!("exp={expires}~acl={}", acl.1));
        if let Some(id) = &claims.id {
            text.push_str(&format!("~id={}", fields::encoded_value(id)));
        }
        let data = claims.subject.as_deref().map(fields::encoded_value);
        text.push_str(&format!("~data={}", exchange::marked(data.as_deref())));
        let Some(mac) = session.seal(&text, now) else {
            return Ok(None);
        };
        self.with_patterns(acl.0, |patterns| {
            session.cookie(&format!("{text}~hmac={mac}"), patterns.folder())
        })
    }
}

fn take_apart(text: &str) -> Result<(Fields<'_>, Mac), TokenError> {
    let fields = Fields::parse(text, &GRAMMAR)?;
    let mac = fields::unhex(fields.mac).ok_or(TokenError::Malformed("its hmac is not in digits"))?;
    Ok((fields, mac))
}

/// As the SDKs escape: a form's encoding, with lower-case digits.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => {
                escaped.push('%');
                escaped.push_str(&fields::hex(&[byte]));
            }
        }
    }
    escaped
}

fn unescape(text: &str) -> Result<Cow<'_, str>, TokenError> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let text = percent_decode_str(&text.replace('+', " "))
        .decode_utf8()
        .map_err(|_| TokenError::Malformed("it has a value that is no text"))?
        .into_owned();
    match text.bytes().any(|byte| byte.is_ascii_control()) {
        true => Err(TokenError::Malformed("it has a value with control bytes")),
        false => Ok(text.into()),
    }
}
