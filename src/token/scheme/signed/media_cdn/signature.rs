//! Signatures over URLs, their starts and folders. Each form signs another text, so that none is read as another's.

use super::prefix::{UrlPrefix, decoded, url};
use super::{EXPIRES, FOLDER, KEY_NAME, Key, MARKER, MediaCdn, PREFIX, SIGNATURE, base64};
use crate::token::scheme::signed::fields::seconds;
use crate::token::scheme::signed::{Asked, NamedKey, same};
use crate::token::{Claims, Methods, TokenError};

/// What a signature says.
pub(super) struct Policy<'p> {
    /// What is signed, where that is the text before the signature.
    signed: &'p str,
    prefix: &'p str,
    expires: &'p str,
    key_name: &'p str,
    signature: &'p str,
}

impl<'p> Policy<'p> {
    /// Reads `URLPrefix=…:Expires=…:KeyName=…:Signature=…` of a cookie, or `Expires=…&KeyName=…&Signature=…` of a path.
    ///
    /// # Errors
    /// `Malformed`.
    pub(super) fn parse(text: &'p str) -> Result<Self, TokenError> {
        Self::read(text, ':', &["URLPrefix", "Expires", "KeyName", "Signature"])
            .or_else(|| Self::read(text, '&', &["Expires", "KeyName", "Signature"]))
            .ok_or(TokenError::Malformed("it is no signed policy"))
    }

    fn read(text: &'p str, joint: char, names: &[&str]) -> Option<Self> {
        let mut values = [""; 4];
        let mut pieces = text.split(joint);
        // From the last one, so that an absent prefix is the first.
        for (value, name) in values.iter_mut().skip(4 - names.len()).zip(names) {
            *value = pieces.next()?.strip_prefix(name)?.strip_prefix('=')?;
        }
        let signed = text.get(..text.rfind(joint)?)?;
        let [prefix, expires, key_name, signature] = values;
        pieces.next().is_none().then_some(Self {
            signed,
            prefix,
            expires,
            key_name,
            signature,
        })
    }

    /// From the parameters of a query.
    pub(super) fn of(part: &dyn Fn(usize) -> &'p str) -> Self {
        Self {
            signed: "",
            prefix: part(PREFIX),
            expires: part(EXPIRES),
            key_name: part(KEY_NAME),
            signature: part(SIGNATURE),
        }
    }

    /// Names and values, without the signature.
    pub(super) fn tell(&self) -> impl Iterator<Item = (&'static str, &'p str)> + use<'p> {
        let pairs = [
            ("URLPrefix", self.prefix),
            ("Expires", self.expires),
            ("KeyName", self.key_name),
        ];
        pairs.into_iter().filter(|(_, value)| !value.is_empty())
    }
}

impl MediaCdn {
    /// Judges a signature in a cookie.
    pub(super) fn in_cookie(&self, text: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let policy = Policy::parse(text)?;
        if policy.prefix.is_empty() {
            return Err(TokenError::Malformed("it says no prefix"));
        }
        let claims = self.holds(&policy, policy.signed, asked)?;
        within(policy.prefix, asked).map(|()| claims)
    }

    /// Judges a signature in the path, which opens what is behind it: the target starts with the folder that was signed.
    pub(super) fn in_path(&self, text: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let policy = Policy::parse(text)?;
        if !policy.prefix.is_empty() {
            return Err(TokenError::Malformed("it has a prefix, and its place is one"));
        }
        let folder = url(asked.evidence.public, asked.part(FOLDER))?;
        self.holds(&policy, &format!("{folder}{MARKER}{}", policy.signed), asked)
    }

    /// Judges a signature in the query.
    pub(super) fn in_query(&self, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let values = [PREFIX, EXPIRES, KEY_NAME, SIGNATURE].map(|number| decoded(asked.part(number)));
        let [prefix, expires, key_name, signature] = values;
        let (prefix, expires, key_name, signature) = (prefix?, expires?, key_name?, signature?);
        let policy = Policy {
            signed: "",
            prefix: &prefix,
            expires: &expires,
            key_name: &key_name,
            signature: &signature,
        };
        if policy.prefix.is_empty() {
            return self.holds(&policy, &whole_url(asked)?, asked);
        }
        let signed = format!("URLPrefix={prefix}&Expires={expires}&KeyName={key_name}");
        let claims = self.holds(&policy, &signed, asked)?;
        within(policy.prefix, asked).map(|()| claims)
    }

    /// Whether the key that is named signed this text, and what the policy says then. Where it opens is the caller's matter.
    fn holds(&self, policy: &Policy<'_>, signed: &str, asked: &Asked<'_, '_>) -> Result<Claims, TokenError> {
        let message = signed.as_bytes();
        asked.signatures.show(message);
        let mut keys = self.rules.keys.at(asked.now);
        let key = keys
            .find(|key| *key.name == *policy.key_name && key.key.verifier().is_some())
            .ok_or(TokenError::UnknownKey)?;
        if !verifies(key, message, &base64(policy.signature)?, asked) {
            return Err(TokenError::Invalid("its signature is not the key's"));
        }
        let expires = seconds(policy.expires).ok_or(TokenError::Malformed("its end is not in digits"))?;
        let id = [b"media_cdn\0", message].concat();
        Ok(Claims {
            key: Some(key.name.clone()),
            expires: Some(expires),
            methods: Some(Methods::READ),
            ..asked.opened(self.rules.log_key.name(&id))
        })
    }
}

/// Whether an Ed25519 key signed the message.
pub(super) fn verifies(key: &NamedKey<Key>, message: &[u8], signature: &[u8], asked: &Asked<'_, '_>) -> bool {
    key.key.verifier().is_some_and(|public| {
        let check = || public.verify_sig(message, signature).is_ok();
        asked.signatures.holds(key.number, message, signature, &check)
    })
}

fn within(prefix: &str, asked: &Asked<'_, '_>) -> Result<(), TokenError> {
    match UrlPrefix::parse(prefix, asked.public()?)?.starts(asked) {
        true => Ok(()),
        false => Err(TokenError::Elsewhere("it is for other URLs")),
    }
}

/// The URL as it was sent, up to the signature, which is its end: everything of it is signed.
fn whole_url(asked: &Asked<'_, '_>) -> Result<String, TokenError> {
    let malformed = TokenError::Malformed("the signature is not the end of the URL");
    let query = asked.evidence.raw_query.ok_or(malformed)?;
    let (signed, _) = query
        .rsplit_once("&Signature=")
        .filter(|(_, signature)| same(signature.as_bytes(), asked.part(SIGNATURE).as_bytes()))
        .ok_or(malformed)?;
    let last = format!("Expires={}&KeyName={}", asked.part(EXPIRES), asked.part(KEY_NAME));
    let before = signed.strip_suffix(&*last).ok_or(malformed)?;
    if !before.is_empty() && !before.ends_with('&') {
        return Err(malformed);
    }
    url(
        asked.evidence.public,
        &format!("{}?{signed}", asked.evidence.raw_path),
    )
}
