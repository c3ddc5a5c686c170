//! Time. The only file that reads the system's clocks; everybody else is handed a `UnixTime`.
//! Waits (timeouts) use `tokio::time`, which tests pause; judgements about tokens use `Clock`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment on the Unix time line, in milliseconds (may lie before 1970).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(i64);

impl UnixTime {
    /// The moment `seconds` after 1970-01-01T00:00:00Z; saturates at the ends of the range.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The moment `millis` milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment moved by `by` into the future; saturates.
    pub fn after(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// This moment moved by `by` into the past; saturates.
    pub fn before(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 with its offset, to the millisecond.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let read: toml::value::Datetime = text.parse().ok()?;
        let (date, time, offset) = (read.date?, read.time?, read.offset?);
        let offset_minutes = match offset {
            toml::value::Offset::Z => 0,
            toml::value::Offset::Custom { minutes } => i64::from(minutes),
        };
        // Civil date to days: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let (year, month) = (i64::from(date.year), i64::from(date.month));
        let year = year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(date.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let minutes = i64::from(time.hour) * 60 + i64::from(time.minute) - offset_minutes;
        let millis = i64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
        let seconds = days * 86_400 + minutes * 60 + i64::from(time.second.unwrap_or(0));
        Some(Self(seconds * 1000 + millis))
    }

    /// Reads `20260101T000000Z` (ISO 8601, basic format, UTC) and nothing else.
    pub fn parse_compact(text: &str) -> Option<Self> {
        let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
        let digits = |from: usize, to: usize| text.get(from..to);
        if bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        Self::parse_rfc3339(&format!(
            "{}-{}-{}T{}:{}:{}Z",
            digits(0, 4)?,
            digits(4, 6)?,
            digits(6, 8)?,
            digits(9, 11)?,
            digits(11, 13)?,
            digits(13, 15)?
        ))
    }

    /// `20260101T000000Z` (ISO 8601, basic format, UTC), for years of four digits. Without the formatting machinery, which
    /// a signature per request would feel.
    pub fn compact(self) -> [u8; 16] {
        let (year, month, day) = self.civil();
        let of_day = self.secs().rem_euclid(86_400);
        let mut text = *b"00000000T000000Z";
        let mut write = |at: usize, width: usize, mut value: i64| {
            for digit in text[at..at + width].iter_mut().rev() {
                *digit = b'0' + u8::try_from(value.rem_euclid(10)).unwrap_or(0);
                value = value.div_euclid(10);
            }
        };
        write(0, 4, year);
        write(4, 2, month);
        write(6, 2, day);
        write(9, 2, of_day / 3600);
        write(11, 2, of_day / 60 % 60);
        write(13, 2, of_day % 60);
        text
    }

    /// Year, month and day: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    fn civil(self) -> (i64, i64, i64) {
        let z = self.secs().div_euclid(86_400) + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }

    /// `2026-01-01T00:00:00.000Z` (RFC 3339, UTC).
    pub fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        let millis = match time.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        };
        Self(millis)
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.rfc3339())
    }
}

/// Writes a moment as RFC 3339 in UTC with milliseconds; made by `UnixTime::rfc3339`.
pub struct Rfc3339(UnixTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.civil();
        let of_day = self.0.secs().rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
            self.0.millis().rem_euclid(1000)
        )
    }
}

/// Where "now" comes from: the system, or a test's hand.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's wall clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until it is moved. Clones share the hand.
    pub fn manual(start: UnixTime) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.millis()))))
    }

    /// The present moment.
    #[allow(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
    pub fn now(&self) -> UnixTime {
        match &self.0 {
            Source::System => SystemTime::now().into(),
            Source::Manual(millis) => UnixTime(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock forward; a system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(millis) = &self.0 {
            millis.fetch_add(
                i64::try_from(by.as_millis()).unwrap_or(i64::MAX),
                Ordering::SeqCst,
            );
        }
    }
}

/// A point on the monotonic clock, to measure how long something took. Never used to judge a token.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    #[allow(clippy::disallowed_methods, reason = "the one reader of the monotonic clock")]
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (4_102_444_799, "2099-12-31T23:59:59.000Z"),
            (-1, "1969-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(UnixTime::from_secs(seconds).rfc3339().to_string(), text);
            assert_eq!(UnixTime::parse_rfc3339(text), Some(UnixTime::from_secs(seconds)));
            let compact: String = text.replace(['-', ':'], "").replace(".000", "");
            let bytes: [u8; 16] = compact.as_bytes().try_into().unwrap();
            assert_eq!(UnixTime::from_secs(seconds).compact(), bytes);
            assert_eq!(
                UnixTime::parse_compact(&compact),
                Some(UnixTime::from_secs(seconds))
            );
        }
        for text in [
            "",
            "20260101T000000",
            "20260101T000000z",
            "20261301T000000Z",
            "20260101 000000Z",
            "2026-101T000000Z",
        ] {
            assert_eq!(UnixTime::parse_compact(text), None, "{text}");
        }
    }

    #[test]
    fn a_manual_clock_moves_for_all_its_clones() {
        let clock = Clock::manual(UnixTime::from_secs(100));
        let other = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(other.now(), UnixTime::from_millis(101_500));
    }
}
