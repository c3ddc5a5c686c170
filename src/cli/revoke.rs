//! `mediagate revoke`: withdraws tokens, in force at once where a server runs.

use clap::Args;
use http::HeaderMap;

use super::found::{Found, alone, find, read_argument};
use super::{Failed, store};
use crate::clock::{Clock, UnixTime};
use crate::config::Loaded;
use crate::server::control::orders::Withdrawal;
use crate::server::control::wire::{Command, Message};
use crate::token::TokenId;
use crate::token::scheme::Believed;
use crate::token::scheme::jwt::{read_unchecked, token_id};
use crate::token::scheme::short_media::Token;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false).args(["id", "token", "jti", "subject", "key"]))]
pub(super) struct Flags {
    /// One token, by its name: the `token_id` of the access log and of the issuer's answer.
    #[arg(long, value_name = "TOKEN_ID", value_parser = name)]
    id: Option<TokenId>,
    /// One token, by its text, or a link that holds it; - reads it from standard input, so that it is in no history.
    #[arg(long, value_name = "TOKEN or LINK")]
    token: Option<String>,
    /// One JWT, by its own id.
    #[arg(long, value_name = "JTI", requires = "issuer")]
    jti: Option<String>,
    /// The issuer of that JWT, its `iss`.
    #[arg(long, value_name = "ISS", requires = "jti")]
    issuer: Option<String>,
    /// All tokens of a subject that were issued before a moment, and those that don't say when they were.
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// The moment: RFC 3339, seconds since 1970, or `now`, which is the default. Later ones of the subject work.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    before: Option<UnixTime>,
    /// All tokens that a key signed, by its name (`kid`), for good. It does not take the key out of its set.
    #[arg(long, value_name = "KID")]
    key: Option<String>,
}

fn name(text: &str) -> Result<TokenId, String> {
    TokenId::parse(text).ok_or_else(|| "not 32 hexadecimal digits; a token's text goes with --token".into())
}

/// `now`, RFC 3339, or seconds since 1970.
fn moment(text: &str) -> Result<UnixTime, String> {
    if text == "now" {
        return Ok(Clock::system().now());
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(UnixTime::from_secs(seconds));
    }
    UnixTime::parse_rfc3339(text)
        .ok_or_else(|| "not `now`, seconds since 1970, or a time like 2026-01-01T00:00:00Z".into())
}

pub(super) fn revoke(loaded: &Loaded, flags: &Flags) -> Result<(), Failed> {
    let withdrawal = withdrawal(loaded, flags)?;
    match store::ask(loaded, &Command::Revoke(withdrawal.clone()))? {
        Message::Withdrawn => {
            say!("withdrawn: {withdrawal}");
            Ok(())
        }
        _ => Err(Failed::Other("the server says something else".into())),
    }
}

fn withdrawal(loaded: &Loaded, flags: &Flags) -> Result<Withdrawal, Failed> {
    let one = |id: TokenId, expires: Option<UnixTime>| Withdrawal::Token {
        id: id.to_string(),
        expires: expires.map(UnixTime::millis),
    };
    let Flags {
        id,
        token,
        jti,
        issuer,
        subject,
        before,
        key,
    } = flags;
    // The parser lets them pass beside another of the group.
    if before.is_some() && subject.is_none() {
        return Err(Failed::Usage("--before goes with --subject".into()));
    }
    if issuer.is_some() && jti.is_none() {
        return Err(Failed::Usage("--issuer goes with --jti".into()));
    }
    if let Some(id) = id {
        return Ok(one(*id, None));
    }
    if let (Some(jti), Some(issuer)) = (jti, issuer) {
        return Ok(one(token_id(&loaded.log_key, issuer, Some(jti), &[]), None));
    }
    if let Some(subject) = subject {
        return Ok(Withdrawal::Subject {
            subject: subject.clone(),
            before: before.unwrap_or_else(|| Clock::system().now()).millis(),
        });
    }
    if let Some(kid) = key {
        return Ok(Withdrawal::Key { kid: kid.clone() });
    }
    let text = read_argument(token.as_deref().unwrap_or_default())?;
    match find(&text)? {
        Found::Handle(handle) => Ok(one(handle.id(&loaded.log_key), None)),
        Found::ShortMedia(text) => {
            let wrong = |what| Failed::Other(format!("the token can't be read: {what}"));
            let token = Token::parse(&text).map_err(wrong)?;
            // Its name is of all that it says, its end too.
            Ok(one(token.id(&loaded.log_key), Some(token.fields.expires())))
        }
        Found::Jwt(jwt) => {
            let wrong = |error| Failed::Other(format!("the token can't be read: {error}"));
            let unchecked = read_unchecked(jwt, &loaded.log_key).map_err(wrong)?;
            let expires = if unchecked.is_named_by_id {
                // Else a token that was made up, with the name of a true one and an early end, would have that one
                // forgotten too soon.
                true_end(loaded, jwt, unchecked.id)
            } else {
                unchecked.expires
            };
            Ok(one(unchecked.id, expires))
        }
    }
}

/// The end of a token that one of the routes believes.
fn true_end(loaded: &Loaded, jwt: &str, id: TokenId) -> Option<UnixTime> {
    for source in &loaded.key_sources {
        source.load_copy();
    }
    let headers = HeaderMap::new();
    let mut schemes = loaded
        .policies
        .iter()
        .flat_map(|policy| policy.route.schemes.iter());
    schemes.find_map(|scheme| match scheme.verify(&alone(jwt, &headers)).ok()? {
        Believed::Claims(claims) => claims.expires.filter(|_| claims.token_id == id),
        Believed::Handle(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_three_ways() {
        for (text, seconds) in [
            ("0", 0),
            ("1767225600", 1_767_225_600),
            ("2026-01-01T00:00:00Z", 1_767_225_600),
            ("2026-01-01T01:00:00+01:00", 1_767_225_600),
            ("2024-02-29 12:00:00Z", 1_709_208_000),
        ] {
            assert_eq!(moment(text), Ok(UnixTime::from_secs(seconds)), "{text}");
        }
        for text in ["", "yesterday", "2026-01-01", "2026-01-01T00:00:00", "12:00:00"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
