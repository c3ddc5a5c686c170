//! What is asked of the memory of tokens over the control socket, as it is written there: tokens to withdraw, and opaque
//! ones to issue. What is not understood whole is refused: a restriction that was skipped over would open more.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;
use crate::store::{Issued, Purposes, Revocation};
use crate::token::claims::Limits;
use crate::token::keys::MAX_KID_BYTES;
use crate::token::scheme::jwt::is_filename;
use crate::token::scope::{MAX_PATTERN_BYTES, MAX_PATTERNS};
use crate::token::{Claims, Methods, Opens, Scope, TokenId, Uses};

/// The longest subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 1024;

/// Tokens that shall not work any more. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Withdrawal {
    /// One.
    Token {
        /// Its name: 32 hexadecimal digits.
        id: String,
        /// Its end; without it, it is remembered for good.
        expires: Option<i64>,
    },
    /// Those of a subject.
    Subject {
        /// Whose.
        subject: String,
        /// Issued before this.
        before: i64,
    },
    /// Those of a key.
    Key {
        /// Its name.
        kid: String,
    },
}

impl fmt::Display for Withdrawal {
    /// Which tokens they are, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { id, expires: None } => write!(f, "token {id}, for good"),
            Self::Token {
                id,
                expires: Some(at),
            } => write!(
                f,
                "token {id}, which expires at {}",
                UnixTime::from_millis(*at).rfc3339()
            ),
            Self::Subject { subject, before } => write!(
                f,
                "the tokens of subject {subject:?} from before {}",
                UnixTime::from_millis(*before).rfc3339()
            ),
            Self::Key { kid } => write!(f, "the tokens of key {kid:?}"),
        }
    }
}

impl Withdrawal {
    /// For the store.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self) -> Result<Revocation, &'static str> {
        match self {
            Self::Token { id, expires } => Ok(Revocation::Token {
                id: TokenId::parse(id).ok_or("the token's name is not 32 hexadecimal digits")?,
                expires: expires.map(UnixTime::from_millis),
            }),
            Self::Subject { subject, .. } if subject.len() > MAX_SUBJECT_BYTES => {
                Err("the subject is longer than 1024 bytes")
            }
            Self::Subject { subject, before } => Ok(Revocation::Subject {
                subject: subject.as_str().into(),
                before: UnixTime::from_millis(*before),
            }),
            Self::Key { kid } if kid.is_empty() || kid.len() > MAX_KID_BYTES => Err("no key has such a name"),
            Self::Key { kid } => Ok(Revocation::Key {
                kid: kid.as_str().into(),
            }),
        }
    }
}

/// What an opaque token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Opens files.
    File,
    /// Opens a session at the landing.
    Login,
}

impl From<Purpose> for Purposes {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::File => Self::FILE,
            Purpose::Login => Self::LOGIN,
        }
    }
}

/// An opaque token that is to be issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What it is good for; at least one.
    pub purposes: Vec<Purpose>,
    /// Its end, in milliseconds since 1970.
    pub expires: i64,
    /// Whether any of the purposes spends it.
    pub once: bool,
    /// Whom it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The paths that it opens, as patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The medium that it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// The methods that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// The client addresses and networks that it is good for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Vec<String>>,
    /// The name to save the file under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Bytes per second of its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Downloads of its subject at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
}

impl Order {
    /// For a token that says this, `expires` included.
    ///
    /// # Errors
    /// What can't be ordered.
    pub fn of(claims: &Claims, purposes: &[Purpose]) -> Result<Self, &'static str> {
        let mut paths = Vec::new();
        let mut media = None;
        for opens in claims.scope.iter().flat_map(|scope| &scope.0) {
            match opens {
                Opens::MediaId(id) => media = Some(id.to_string()),
                // An exact path that is written like a pattern would be read back as one that opens more.
                _ if Opens::parse(&opens.to_string()).as_ref() != Ok(opens) => {
                    return Err("a path can't be written as a pattern");
                }
                _ => paths.push(opens.to_string()),
            }
        }
        let texts = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect();
        Ok(Self {
            purposes: purposes.to_vec(),
            expires: claims.expires.ok_or("it has no end")?.millis(),
            once: claims.uses.is_once(),
            subject: claims.subject.as_deref().map(str::to_owned),
            paths,
            media,
            methods: claims
                .methods
                .map(|methods| methods.names().map(str::to_owned).collect()),
            addresses: claims.addresses.as_deref().map(texts),
            filename: claims.filename.as_deref().map(str::to_owned),
            rate: claims.limits.rate,
            streams: claims.limits.streams,
        })
    }

    /// For the store: a token of this name that is issued now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, id: TokenId, now: UnixTime) -> Result<Issued, &'static str> {
        let expires = UnixTime::from_millis(self.expires);
        if expires <= now {
            return Err("it would have expired already");
        }
        let purposes = self.purposes.iter().copied().map(Purposes::from);
        let purposes = purposes.reduce(Purposes::and).ok_or("it is good for nothing")?;
        if self
            .subject
            .as_ref()
            .is_some_and(|subject| subject.len() > MAX_SUBJECT_BYTES)
        {
            return Err("the subject is longer than 1024 bytes");
        }
        if self.filename.as_deref().is_some_and(|name| !is_filename(name)) {
            return Err("the file name is not one");
        }
        let limits = Limits {
            rate: self.rate,
            streams: self.streams,
        };
        if !limits.are_sound() {
            return Err("a limit is out of its bounds");
        }
        let methods = match &self.methods {
            None => None,
            Some(names) => Some(
                Methods::parse(names.iter().map(String::as_str)).map_err(|_| "a method is not for tokens")?,
            ),
        };
        let addresses = match &self.addresses {
            None => None,
            Some(texts) => Some(
                texts
                    .iter()
                    .map(|text| text.parse::<IpNet>())
                    .collect::<Result<Box<[_]>, _>>()
                    .map_err(|_| "an address is not one")?,
            ),
        };
        Ok(Issued {
            claims: std::sync::Arc::new(Claims {
                subject: self.subject.as_deref().map(Into::into),
                issued: Some(now),
                expires: Some(expires),
                uses: if self.once { Uses::Once } else { Uses::UntilExpiry },
                scope: self.scope()?,
                methods,
                addresses,
                filename: self.filename.as_deref().map(Into::into),
                limits,
                ..Claims::empty(id)
            }),
            purposes,
            // For files and logins alone: a bearer may do what a rule says, and there is none here.
            exchange_secs: 0,
        })
    }

    fn scope(&self) -> Result<Option<Scope>, &'static str> {
        if self.paths.len() + usize::from(self.media.is_some()) > MAX_PATTERNS {
            return Err("the scope has more than 64 patterns");
        }
        let mut opens = Vec::new();
        for path in &self.paths {
            opens.push(Opens::parse(path).map_err(|_| "a path is not a pattern")?);
        }
        if let Some(id) = &self.media {
            if id.is_empty() || id.len() > MAX_PATTERN_BYTES {
                return Err("the media id is not one");
            }
            opens.push(Opens::MediaId(id.as_str().into()));
        }
        Ok((!opens.is_empty()).then(|| Scope(opens.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1000);

    fn order() -> Order {
        let claims = Claims {
            subject: Some("42".into()),
            expires: Some(UnixTime::from_secs(1060)),
            uses: Uses::Once,
            scope: Some(Scope(Box::new([
                Opens::parse("/a/*.ts").unwrap(),
                Opens::MediaId("7".into()),
            ]))),
            methods: Some(Methods::READ),
            addresses: Some(Box::new(["192.0.2.0/24".parse().unwrap()])),
            filename: Some("a.pdf".into()),
            limits: Limits {
                rate: Some(1 << 20),
                streams: Some(4),
            },
            ..Claims::empty(TokenId([0; 16]))
        };
        Order::of(&claims, &[Purpose::File, Purpose::Login]).unwrap()
    }

    #[test]
    fn nothing_of_an_order_is_lost_on_the_way() {
        let text = serde_json::to_string(&order()).unwrap();
        let read: Order = serde_json::from_str(&text).unwrap();
        assert_eq!(read, order());
        let issued = read.read(TokenId([7; 16]), NOW).unwrap();
        assert_eq!(issued.purposes, Purposes::FILE.and(Purposes::LOGIN));
        assert_eq!(issued.claims.token_id, TokenId([7; 16]));
        assert_eq!(issued.claims.issued, Some(NOW));
        // All else of the claims, through the same door once more.
        let again = Order::of(&issued.claims, &read.purposes).unwrap();
        assert_eq!(again, order());
    }

    #[test]
    fn what_can_not_be_kept_is_refused() {
        let now = |order: &Order| order.read(TokenId([7; 16]), NOW).map(drop);
        for (what, change) in [
            ("purpose", (|order| order.purposes.clear()) as fn(&mut Order)),
            ("end", |order| order.expires = NOW.millis()),
            ("path", |order| order.paths.push("relative".into())),
            ("paths", |order| order.paths = vec!["/a".into(); 65]),
            ("media", |order| order.media = Some(String::new())),
            ("method", |order| order.methods = Some(vec!["BREW".into()])),
            ("address", |order| order.addresses = Some(vec!["nowhere".into()])),
            ("file name", |order| order.filename = Some("../a".into())),
            ("subject", |order| order.subject = Some("s".repeat(1025))),
            ("rate", |order| order.rate = Some(1023)),
            ("streams", |order| order.streams = Some(0)),
        ] {
            let mut order = order();
            assert_eq!(now(&order), Ok(()));
            change(&mut order);
            assert!(now(&order).is_err(), "{what}");
        }
        for unknown in [
            r#"{"purposes":["file"],"expires":1,"once":true,"speed":5}"#,
            r#"{"purposes":["exchange"],"expires":1,"once":true}"#,
        ] {
            assert!(serde_json::from_str::<Order>(unknown).is_err());
        }
    }

    #[test]
    fn what_is_withdrawn_is_read_strictly() {
        let id = "0f".repeat(16);
        let token = |id: &str| Withdrawal::Token {
            id: id.to_owned(),
            expires: Some(5),
        };
        assert_eq!(
            token(&id).read(),
            Ok(Revocation::Token {
                id: TokenId([0x0f; 16]),
                expires: Some(UnixTime::from_millis(5)),
            })
        );
        assert!(token(&id[1..]).read().is_err());
        let key = |kid: &str| Withdrawal::Key { kid: kid.to_owned() }.read();
        assert!(key("k").is_ok() && key("").is_err() && key(&"k".repeat(MAX_KID_BYTES + 1)).is_err());
        let more = r#"{"subject":{"subject":"42","before":1,"audience":"x"}}"#;
        assert!(serde_json::from_str::<Withdrawal>(more).is_err());
    }
}
