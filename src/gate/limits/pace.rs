//! Bytes per second, for several bodies at a time: a bucket of one second, or of 64 KiB where that is more (GCRA, one number
//! for each rate of a subject and one for all). The time is a value. In the time `t` no more than the bucket and `rate × t` is ever handed out.

use std::time::Duration;

use tokio::time::Instant;

/// What may always be handed out at once, in bytes.
const BUCKET_MIN: u64 = 64 * 1024;
/// The bounds of a piece, in bytes. Small ones let bodies take turns often, large ones cost less.
const PIECE_MIN: u64 = 4 * 1024;
const PIECE_MAX: u64 = 64 * 1024;
/// Pieces in a second, where the bounds leave it at that.
const PIECES_PER_SECOND: u64 = 8;

/// The pace of one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    rate: u64,
    /// How long the bucket takes to fill.
    bucket: Duration,
}

impl Pace {
    /// So many bytes per second.
    pub fn new(rate: u64) -> Self {
        let rate = rate.max(1);
        Self {
            rate,
            bucket: time_of(BUCKET_MIN, rate).max(Duration::from_secs(1)),
        }
    }

    /// The largest piece, in bytes. It is never more than the bucket.
    pub fn piece(&self) -> usize {
        let bytes = (self.rate / PIECES_PER_SECOND).clamp(PIECE_MIN, PIECE_MAX);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

/// How long so many bytes take, rounded up.
fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(rate));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// When a piece may be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From then on.
    pub at: Instant,
    rate: u64,
    /// What it takes of the time of its rate, and of the time of all.
    own: Duration,
    total: Duration,
}

/// The time of the bodies of one rate.
#[derive(Debug)]
struct Lane {
    rate: u64,
    /// When its bucket is full again.
    full: Instant,
}

/// The time of a subject, which all its bodies share: those of one rate among themselves, so that they have that rate
/// together, and all at the pace of the fastest, so that nobody has more than that and a slow one holds up no other.
#[derive(Debug, Default)]
pub struct Timeline {
    lanes: Vec<Lane>,
    /// When the bucket of all is full again; `None` where it never was used.
    full: Option<Instant>,
    /// The rate by which that was reckoned.
    fastest: u64,
}

impl Timeline {
    /// Whether all buckets are full.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.full.is_none_or(|full| full <= now) && self.lanes.iter().all(|lane| lane.full <= now)
    }

    /// The next turn for a piece of so many bytes.
    pub fn turn(&mut self, pace: &Pace, bytes: u64, now: Instant) -> Turn {
        self.lanes
            .retain(|lane| lane.full > now || lane.rate == pace.rate);
        let fastest = self.lanes.iter().map(|lane| lane.rate).fold(pace.rate, u64::max);
        self.reckon(fastest, now);
        let fastest = Pace::new(fastest);
        let (own, total) = (time_of(bytes, pace.rate), time_of(bytes, fastest.rate));
        let lane = self.lanes.iter_mut().find(|lane| lane.rate == pace.rate);
        let own_full = match lane {
            Some(lane) => {
                lane.full = lane.full.max(now) + own;
                lane.full
            }
            None => {
                self.lanes.push(Lane {
                    rate: pace.rate,
                    full: now + own,
                });
                now + own
            }
        };
        let full = self.full.map_or(now, |full| full.max(now)) + total;
        self.full = Some(full);
        let start = |full: Instant, bucket| full.checked_sub(bucket).unwrap_or(now);
        Turn {
            at: start(own_full, pace.bucket).max(start(full, fastest.bucket)),
            rate: pace.rate,
            own,
            total,
        }
    }

    /// Has the time of all go by another rate: what is owed stays as many bytes.
    fn reckon(&mut self, fastest: u64, now: Instant) {
        if let Some(full) = self.full.filter(|_| self.fastest != fastest) {
            let owed = full.saturating_duration_since(now).as_nanos() * u128::from(self.fastest);
            let time = owed.div_ceil(u128::from(fastest.max(1)));
            self.full = Some(now + Duration::from_nanos(u64::try_from(time).unwrap_or(u64::MAX)));
        }
        self.fastest = fastest;
    }

    /// A turn that was not used.
    pub fn give_back(&mut self, turn: Turn) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.rate == turn.rate) {
            lane.full = lane.full.checked_sub(turn.own).unwrap_or(lane.full);
        }
        self.full = self.full.and_then(|full| full.checked_sub(turn.total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out as much as goes until `end`, always the earliest turn of `bodies` first; bytes by body, and every piece.
    fn run(paces: &[Pace], start: Instant, seconds: u64) -> (Vec<u64>, Vec<(Duration, u64)>) {
        let mut timeline = Timeline::default();
        let end = start + Duration::from_secs(seconds);
        let mut next: Vec<_> = paces
            .iter()
            .map(|pace| timeline.turn(pace, pace.piece() as u64, start))
            .collect();
        let mut bytes = vec![0; paces.len()];
        let mut pieces = Vec::new();
        let mut now = start;
        loop {
            let first = (0..paces.len()).min_by_key(|body| next[*body].at).unwrap();
            now = now.max(next[first].at);
            if now > end {
                return (bytes, pieces);
            }
            let size = paces[first].piece() as u64;
            bytes[first] += size;
            pieces.push((now - start, size));
            next[first] = timeline.turn(&paces[first], size, now);
        }
    }

    #[test]
    fn no_more_than_the_bucket_and_the_rate_is_handed_out_and_hardly_less() {
        let start = Instant::now() + Duration::from_secs(1000);
        for (rate, bodies) in [
            (1024, 1),
            (10_000, 3),
            (65_536, 2),
            (1 << 20, 1),
            (3 << 20, 7),
            (1 << 30, 4),
        ] {
            let pace = Pace::new(rate);
            let seconds = if rate > 1 << 24 { 2 } else { 100 };
            let (_, pieces) = run(&vec![pace; bodies], start, seconds);
            let bucket = rate.max(BUCKET_MIN);
            let mut sum = 0;
            for (at, size) in &pieces {
                sum += size;
                let most = bucket as f64 + rate as f64 * at.as_secs_f64();
                assert!(
                    sum as f64 <= most + 1.0,
                    "{rate} × {bodies}: {sum} bytes after {at:?}"
                );
            }
            let least = bucket + rate * seconds - (bodies as u64 + 1) * pace.piece() as u64;
            assert!(sum >= least, "{rate} × {bodies}: {sum} < {least}");
        }
    }

    #[test]
    fn bodies_take_turns() {
        let start = Instant::now() + Duration::from_secs(1000);
        let (bytes, _) = run(&[Pace::new(100_000); 4], start, 60);
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        // The bucket is for who comes first; after it, piece by piece.
        assert!(most - least <= 100_000, "{bytes:?}");
    }

    #[test]
    fn of_two_rates_each_keeps_its_own_and_both_together_the_faster_one() {
        let start = Instant::now() + Duration::from_secs(1000);
        let (bytes, _) = run(&[Pace::new(1 << 20), Pace::new(64 * 1024)], start, 60);
        assert!(bytes[1] <= 64 * 1024 * 61, "{bytes:?}");
        assert!(bytes[0] + bytes[1] <= (1 << 20) * 61, "{bytes:?}");
        assert!(
            bytes.iter().all(|body| *body > 64 * 1024),
            "both go on: {bytes:?}"
        );
    }

    #[test]
    fn a_slow_body_holds_up_no_fast_one() {
        let start = Instant::now() + Duration::from_secs(1000);
        let (slow, fast) = (1024, 100 << 20);
        let (bytes, _) = run(&[Pace::new(slow), Pace::new(fast)], start, 20);
        assert!(
            bytes[0] >= 64 * 1024 && bytes[0] <= 64 * 1024 + slow * 20,
            "{bytes:?}"
        );
        assert!(
            bytes[1] >= fast * 19 && bytes[0] + bytes[1] <= fast * 21,
            "{bytes:?}"
        );
    }

    #[test]
    fn a_turn_that_was_not_used_is_for_others_and_a_pause_saves_no_more_than_the_bucket() {
        let start = Instant::now() + Duration::from_secs(1000);
        let pace = Pace::new(1 << 20);
        let mut timeline = Timeline::default();
        let first = timeline.turn(&pace, 1 << 20, start);
        assert!(first.at <= start);
        let second = timeline.turn(&pace, 1 << 19, start);
        assert_eq!(second.at, start + Duration::from_millis(500));
        timeline.give_back(second);
        let third = timeline.turn(&pace, 1 << 18, start);
        assert_eq!(third.at, start + Duration::from_millis(250));
        assert!(!timeline.is_idle(start + Duration::from_secs(1)));
        // An hour later it is as if nothing had been.
        let later = start + Duration::from_secs(3600);
        assert!(timeline.is_idle(later));
        assert!(timeline.turn(&pace, 1 << 20, later).at <= later);
        assert!(timeline.turn(&pace, 1, later).at > later);
    }

    #[test]
    fn pieces_fit_the_bucket_and_the_slowest_pace_is_not_for_ever() {
        for rate in [0, 1, 1024, 1 << 20, u64::MAX] {
            let pace = Pace::new(rate);
            let piece = pace.piece() as u64;
            assert!((PIECE_MIN..=PIECE_MAX).contains(&piece));
            assert!(time_of(piece, pace.rate) <= pace.bucket);
            // Nothing overflows.
            let now = Instant::now();
            let mut timeline = Timeline::default();
            assert!(timeline.turn(&pace, piece, now).at <= now);
        }
    }
}
