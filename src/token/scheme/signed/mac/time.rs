//! The times of signed links: what they mean, and how they are written. A text in, a moment out, and back.

use std::time::Duration;

use crate::clock::UnixTime;

/// The most digits of a decimal number: a hundred thousand years in milliseconds.
const MAX_DIGITS: usize = 15;
/// The most digits of a lifetime in seconds.
const MAX_LIFETIME_DIGITS: usize = 10;

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeText {
    /// Seconds since 1970, decimal.
    Seconds,
    /// Seconds since 1970: eight hexadecimal digits, written in lower case.
    Hex,
    /// Milliseconds since 1970, decimal.
    Millis,
    /// `YYYYMMDDHHMM` on a clock that is so many minutes ahead of UTC.
    Minutes {
        /// 480 for China.
        ahead_of_utc: i16,
    },
    /// `2017-12-08T07:54:59+00:00` (RFC 3339), without fractions of seconds.
    Rfc3339,
}

/// What a link's time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// It has none: the link is good for ever.
    Absent,
    /// When the link ends. In patterns and places: `{expires}`.
    Expires(TimeText),
    /// When it was issued; how long it is good from then on is configured. `{issued}`, as all that follow.
    Issued {
        /// How it is written.
        text: TimeText,
        /// How long it is good.
        ttl: Duration,
        /// Whether it is good before it was issued.
        early: Early,
    },
    /// When it was issued; it is good as long before as after.
    Window {
        /// How it is written.
        text: TimeText,
        /// How long it is good, either way.
        timeout: Duration,
    },
    /// When it was issued; the link says itself for how many seconds it is good: `{lifetime}`.
    Lifetime(TimeText),
}

/// What becomes of a link whose time of issue has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// It is good: who signs may postpone its end so.
    Allowed,
    /// It is good from then on.
    Refused,
}

/// What the times of one link come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) issued: Option<UnixTime>,
    pub(super) not_before: Option<UnixTime>,
    pub(super) expires: Option<UnixTime>,
}

impl Time {
    /// The same, good for so long; nothing changes where the link says that itself.
    #[must_use]
    pub const fn lasting(self, span: Duration) -> Self {
        match self {
            Self::Issued { text, early, .. } => Self::Issued {
                text,
                ttl: span,
                early,
            },
            Self::Window { text, .. } => Self::Window { text, timeout: span },
            other => other,
        }
    }

    /// How it is written.
    pub const fn text(self) -> Option<TimeText> {
        match self {
            Self::Absent => None,
            Self::Expires(text)
            | Self::Issued { text, .. }
            | Self::Window { text, .. }
            | Self::Lifetime(text) => Some(text),
        }
    }

    /// What a link whose time is `moment`, and whose lifetime is `lifetime`, comes to. `grace`: what is added to an end that
    /// is itself still good.
    pub(super) fn span(self, moment: UnixTime, lifetime: Duration, grace: Duration) -> Span {
        match self {
            Self::Absent => Span::default(),
            Self::Expires(_) => Span {
                expires: Some(moment.after(grace)),
                ..Span::default()
            },
            Self::Issued { ttl, early, .. } => Span {
                issued: Some(moment),
                not_before: (early == Early::Refused).then_some(moment),
                expires: Some(moment.after(ttl).after(grace)),
            },
            Self::Window { timeout, .. } => Span {
                issued: Some(moment),
                not_before: Some(moment.before(timeout)),
                expires: Some(moment.after(timeout).after(grace)),
            },
            Self::Lifetime(_) => Span {
                issued: Some(moment),
                not_before: None,
                expires: Some(moment.after(lifetime).after(grace)),
            },
        }
    }
}

impl TimeText {
    /// The smallest step between two times.
    pub(super) const fn step(self) -> Duration {
        match self {
            Self::Millis => Duration::from_millis(1),
            _ => Duration::from_secs(1),
        }
    }

    /// Whether it has a shape that tells it from digits before and behind it.
    pub(super) const fn is_delimited(self) -> bool {
        matches!(self, Self::Rfc3339)
    }

    /// Reads a time after 1970. `exact`: as many digits as the present has, which keeps apart what a message does not.
    pub(super) fn read(self, text: &str, exact: bool) -> Option<UnixTime> {
        let time = match self {
            Self::Seconds => UnixTime::from_secs(decimal(text, exact.then_some(10))?),
            Self::Millis => UnixTime::from_millis(decimal(text, exact.then_some(13))?),
            Self::Hex => {
                let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = digits.then(|| u32::from_str_radix(text, 16).ok())??;
                UnixTime::from_secs(number.into())
            }
            Self::Minutes { ahead_of_utc } => {
                if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                let compact = format!("{}T{}00Z", text.get(..8)?, text.get(8..)?);
                shift(UnixTime::parse_compact(&compact)?, -i64::from(ahead_of_utc))
            }
            Self::Rfc3339 => {
                let zone = text.get(19..)?;
                let whole = zone == "Z" || zone.len() == 6 && zone.starts_with(['+', '-']);
                // A `t` or a space between, which the reader would take, is not what is signed here.
                if !whole || text.as_bytes().get(10) != Some(&b'T') {
                    return None;
                }
                UnixTime::parse_rfc3339(text)?
            }
        };
        (time.millis() > 0).then_some(time)
    }

    /// Writes the time, rounded down; `None` for one that can't be written so that `read` reads it.
    pub(super) fn write(self, time: UnixTime, exact: bool) -> Option<String> {
        let text = match self {
            Self::Seconds => time.secs().to_string(),
            Self::Millis => time.millis().to_string(),
            Self::Hex => format!("{:08x}", u32::try_from(time.secs()).ok()?),
            Self::Minutes { ahead_of_utc } => {
                let compact = shift(time, ahead_of_utc.into()).compact();
                let text = std::str::from_utf8(&compact).ok()?;
                format!("{}{}", text.get(..8)?, text.get(9..13)?)
            }
            Self::Rfc3339 => format!("{}+00:00", time.rfc3339().to_string().get(..19)?),
        };
        // Years of five digits would be cut.
        let read = self.read(&text, exact)?;
        (read <= time && read.until(time) < Duration::from_secs(60)).then_some(text)
    }
}

/// Reads a lifetime in seconds; none lasts no time.
pub(super) fn lifetime(text: &str) -> Option<Duration> {
    let digits = text.len() <= MAX_LIFETIME_DIGITS;
    let seconds = digits.then(|| decimal(text, None))??;
    let seconds = u64::try_from(seconds).ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// ASCII digits and nothing else, exactly so many where it matters.
fn decimal(text: &str, digits: Option<usize>) -> Option<i64> {
    let fits = match digits {
        Some(digits) => text.len() == digits,
        None => (1..=MAX_DIGITS).contains(&text.len()),
    };
    let clean = fits && text.bytes().all(|byte| byte.is_ascii_digit());
    clean.then(|| text.parse().ok())?
}

fn shift(time: UnixTime, minutes: i64) -> UnixTime {
    UnixTime::from_millis(time.millis().saturating_add(minutes * 60_000))
}
