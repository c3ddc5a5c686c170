//! What a refresh token is bound to: how its first bearer was earned, and the client that earned it. The store knows it as
//! one text, under which a later refresh token takes the place of the last.

use std::fmt;
use std::time::Duration;

/// How the first bearer was earned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// With the password of an account.
    Password {
        /// The account's name.
        account: Box<str>,
        /// Tells the password from a later one.
        mark: Box<str>,
    },
    /// With a one-time token whose bearers live so long at most.
    Exchange(Duration),
}

/// What a refresh token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) source: Source,
    /// The client's name for itself.
    pub(super) client: Box<str>,
}

impl Bound {
    /// Reads what `Display` writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (source, client) = text.split_once('\n')?;
        let (kind, detail) = source.split_once(' ')?;
        let source = match kind {
            "password" => {
                let (mark, account) = detail.split_once(' ')?;
                Source::Password {
                    account: account.into(),
                    mark: mark.into(),
                }
            }
            "exchange" => Source::Exchange(Duration::from_secs(detail.parse().ok()?)),
            _ => return None,
        };
        Some(Self {
            source,
            client: client.into(),
        })
    }

    /// Whether the client's name is the one that it gets when it gives none.
    pub(super) fn is_default(&self, subject: &str) -> bool {
        match &self.source {
            Source::Password { account, .. } => *account == self.client,
            Source::Exchange(_) => *self.client == *subject,
        }
    }
}

impl fmt::Display for Bound {
    /// Names of accounts have no line ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Password { account, mark } => write!(f, "password {mark} {account}")?,
            Source::Exchange(longest) => write!(f, "exchange {}", longest.as_secs())?,
        }
        write!(f, "\n{}", self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let password = |account: &str| Source::Password {
            account: account.into(),
            mark: "0a".into(),
        };
        for (source, client) in [
            (password("a b@example.com"), "a b@example.com"),
            (password("a"), "x\ny"),
            (Source::Exchange(Duration::from_secs(60)), ""),
        ] {
            let bound = Bound {
                source,
                client: client.into(),
            };
            assert_eq!(Bound::parse(&bound.to_string()), Some(bound));
        }
        for bad in [
            "",
            "password 0a a",
            "exchange x\na",
            "other a\nb",
            "password\na",
            "password a\na",
        ] {
            assert_eq!(Bound::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_default_client_is_the_account_or_the_subject() {
        let is_default = |text: &str| Bound::parse(text).unwrap().is_default("42");
        assert!(is_default("password 0a a\na") && is_default("exchange 60\n42"));
        assert!(!is_default("password 0a a\n42") && !is_default("exchange 60\na"));
    }
}
