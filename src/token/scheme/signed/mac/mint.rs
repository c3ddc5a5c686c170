//! Signing links: what a wish says, if the format can say it. A link is read again before it is handed out.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use super::layout::{Field, Fields};
use super::message::Material;
use super::pattern::{Part, Piece};
use super::{Encoding, Mac, Signed, SignedRequest, Time, is_name, query};
use crate::clock::UnixTime;
use crate::token::carrier::Head;
use crate::token::scheme::signed::{Place, Wish};
use crate::token::{MAX_TOKEN_BYTES, Opens, TokenError};

/// The end of links that have none: a wish for less can't be said by them.
pub const NEVER: UnixTime = UnixTime::from_millis(i64::MAX);

/// What is said to who asks for one file where a link is for its folder.
const WHOLE_FOLDER: &str = "it signs the whole folder: ask for that, with a path that ends in a slash";

/// What stands for an id or a subject that nobody is.
const NOBODY: &str = "0";

impl Mac {
    /// See `SignedRequest::sign`.
    pub(super) fn mint(&self, wish: &Wish<'_>) -> Result<Signed, TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        if wish.place != Place::Url {
            return refuse("these tokens ride in the URL");
        }
        if !matches!(*wish.method, Method::GET | Method::HEAD) {
            return refuse("these links are for reading");
        }
        let rest = self.rest(wish.target.path());
        let raw = self.rest(wish.target.encoded_path());
        let Some((path, path_raw)) = rest.zip(raw) else {
            return refuse("the path is not below the place of these tokens");
        };
        self.check_opens(wish.opens, wish.target.path(), path)?;
        let others = wish.target.query().unwrap_or_default();
        if query::pieces(others).any(|piece| self.is_ours(query::split(piece).0)) {
            return refuse("the link has a parameter of the token already");
        }
        let (time, lifetime, starts) = self.times(wish)?;
        let fields = Fields {
            mac: "",
            time: &time,
            lifetime: &lifetime,
            starts: &starts,
            id: self.named(Field::Id, wish.id)?,
            subject: self.named(Field::Subject, wish.subject)?,
        };
        let (_, unsigned) = self.rules.place.write(&fields);
        let material = Material {
            path,
            path_raw,
            fields,
            moment: self.moment(&fields)?,
            query: wish.target.query(),
            whole_query: Some(&unsigned),
            mac_name: self.rules.place.name_of(Field::Mac),
            address: self.address(wish)?,
            public: wish.public,
            headers: None,
            arguments: self.rules.arguments,
        };
        let message = self.rules.pattern.fill(&material)?;
        let key = self
            .rules
            .keys
            .at(wish.now)
            .next()
            .ok_or(TokenError::UnknownKey)?;
        let secret = key.key.reveal();
        let mac = self
            .rules
            .algorithm
            .mac(secret, |sink| message.write(secret, sink));
        let mac = self.rules.encoding.encode(&mac);
        let written = match self.rules.encoding {
            Encoding::Base64(_) => mac.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
            _ => mac.clone(),
        };
        let (segments, parameters) = self.rules.place.write(&Fields {
            mac: &written,
            ..fields
        });
        let query = [others, &parameters].into_iter().filter(|part| !part.is_empty());
        let query = query.collect::<Vec<_>>().join("&");
        let path = format!("{}{segments}{path_raw}", self.rules.place.prefix());
        self.read_again(&path, &query, &Fields { mac: &mac, ..fields }, wish)?;
        Ok(Signed::Url(match query.is_empty() {
            true => path,
            false => format!("{path}?{query}"),
        }))
    }

    /// What is read as something else says something else.
    fn read_again(
        &self,
        path: &str,
        query: &str,
        fields: &Fields<'_>,
        wish: &Wish<'_>,
    ) -> Result<(), TokenError> {
        let headers = HeaderMap::new();
        let head = Head {
            path,
            query: Some(query).filter(|query| !query.is_empty()),
            headers: &headers,
        };
        let taken = self.take(head).ok().flatten();
        let taken = taken.filter(|taken| taken.path == wish.target.encoded_path());
        let taken = taken.filter(|taken| taken.query.as_deref() == wish.target.query());
        let same = taken.is_some_and(|taken| {
            let read = Fields::of(|at| taken.parts.get(at).map_or("", |part| part));
            read == *fields
        });
        match same && path.len() + query.len() <= MAX_TOKEN_BYTES {
            true => Ok(()),
            false => Err(TokenError::Invalid("the link would be read as another one")),
        }
    }

    /// The texts of its times.
    fn times(&self, wish: &Wish<'_>) -> Result<(String, String, String), TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        let waits = wish.not_before.filter(|start| *start > wish.now);
        let Some(text) = self.rules.time.text() else {
            return match wish.expires == NEVER && waits.is_none() {
                true => Ok(Default::default()),
                false => refuse("these links have no time"),
            };
        };
        let last = wish.expires.before(self.grace(text));
        let moment = match self.rules.time {
            Time::Absent | Time::Expires(_) => last,
            Time::Issued { ttl, .. } => last.before(ttl),
            Time::Window { timeout, .. } => last.before(timeout),
            Time::Lifetime(_) => wish.now,
        };
        let unsayable = TokenError::Invalid("these links can't say this time");
        let time = text.write(moment, self.exact_times).ok_or(unsayable)?;
        let issued = text.read(&time, self.exact_times).ok_or(unsayable)?;
        self.check_moment(Some(issued), wish.now)?;
        let lifetime = match self.rules.time {
            Time::Lifetime(_) => issued.until(last).as_secs().to_string(),
            _ => String::new(),
        };
        let starts = match wish.not_before {
            Some(start) if self.rules.place.has(Field::Starts) => {
                // Rounded up: not a moment before.
                let start = start
                    .after(text.step())
                    .before(std::time::Duration::from_millis(1));
                text.write(start, self.exact_times).ok_or(unsayable)?
            }
            _ => String::new(),
        };
        let span = self.span(&Fields {
            time: &time,
            lifetime: &lifetime,
            starts: &starts,
            ..Fields::default()
        })?;
        if span
            .expires
            .is_none_or(|expires| expires <= wish.now || expires > wish.expires)
        {
            return refuse("the link would be over at once");
        }
        match (span.not_before.filter(|start| *start > wish.now), waits) {
            (None, None) => Ok((time, lifetime, starts)),
            (Some(_), Some(_)) if !starts.is_empty() => Ok((time, lifetime, starts)),
            (None, Some(_)) => refuse("these links can't wait"),
            _ => refuse("the end is further away than these links last"),
        }
    }

    /// An id or a subject, where the token has room for one.
    fn named<'w>(&self, field: Field, name: Option<&'w str>) -> Result<&'w str, TokenError> {
        match (self.rules.place.has(field), name) {
            (true, Some(name)) if is_name(name) && !matches!(name, "" | NOBODY) => Ok(name),
            (true, None) => Ok(NOBODY),
            (false, None) => Ok(""),
            _ => Err(TokenError::Invalid("these links can't say whom they are for")),
        }
    }

    fn address(&self, wish: &Wish<'_>) -> Result<Option<IpAddr>, TokenError> {
        match wish.address {
            Some(net) if self.binds_address() && net.prefix_len() == net.max_prefix_len() => {
                Ok(Some(net.addr().to_canonical()))
            }
            None if !self.binds_address() => Ok(None),
            _ => Err(TokenError::Invalid("these links are for one address, or for all")),
        }
    }

    /// Whether the client's address is signed.
    pub(super) fn binds_address(&self) -> bool {
        self.rules
            .pattern
            .any(|piece| matches!(piece, Piece::Address | Piece::Sorted { address: true, .. }))
    }

    /// Whether a link for `rest` of `path` opens what is asked: no less, and a folder only for who asks for that. A link of
    /// `{dir}` is for the files in its folder and nothing deeper, and there is no other word for that than the folder in most
    /// places where links are asked for.
    fn check_opens(&self, opens: Option<&Opens>, path: &str, rest: &str) -> Result<(), TokenError> {
        let refuse = |what| Err(TokenError::Invalid(what));
        match (self.folder(path, rest), opens) {
            (None, None) => Ok(()),
            (None, Some(Opens::Exact(exact))) if **exact == *path => Ok(()),
            (Some(_), None) => refuse(WHOLE_FOLDER),
            (Some(_), Some(Opens::Exact(exact))) if **exact == *path => refuse(WHOLE_FOLDER),
            (Some(folder), Some(Opens::Prefix(asked))) if **asked == *folder => Ok(()),
            (Some(folder), Some(opens @ Opens::Glob(_)))
                if self.signs_directory()
                    && !path.contains('*')
                    && opens.to_string() == format!("{folder}*") =>
            {
                Ok(())
            }
            _ => refuse("these links can't open that"),
        }
    }

    fn signs_directory(&self) -> bool {
        let is_directory = |piece: &Piece| {
            matches!(
                piece,
                Piece::Path {
                    part: Part::Directory,
                    ..
                }
            )
        };
        self.rules.pattern.any(is_directory)
    }

    /// The folder, with its slash, that a link for `rest` of `path` opens; `None` where it opens that one file. Of several parts
    /// of the path that are signed the longest tells.
    pub(super) fn folder(&self, path: &str, rest: &str) -> Option<String> {
        let before = path.strip_suffix(rest)?;
        let mut counted = 0;
        for piece in &self.rules.pattern.pieces {
            match piece {
                Piece::Path {
                    part: Part::Whole | Part::Link,
                    ..
                } => return None,
                Piece::Path {
                    part: Part::First(count) | Part::FirstLink(count),
                    ..
                } => counted = counted.max(usize::from(*count)),
                _ => {}
            }
        }
        let segments = rest.matches('/').count();
        let directory = self.signs_directory();
        // All of it is signed, and what has more segments has other ones.
        let is_whole = counted == segments && (directory || rest.ends_with('/'));
        if counted > segments || is_whole {
            return None;
        }
        let part = match directory {
            true => Part::Directory,
            false => Part::First(u8::try_from(counted).ok()?),
        };
        Some(format!("{before}{}/", part.of(rest)))
    }
}
