//! `[route.single_use]`: what becomes of tokens that may be used once.

use super::{DAY, in_range, raw, seconds};
use crate::config::problems::Problems;
use crate::gate::session::{Mode, Rules};

/// The rules of a route. Where clients can't be told apart, there are no sessions: `apart` says whether they can.
pub(super) fn single_use(raw: &raw::Route, apart: bool, problems: &mut Problems) -> Rules {
    let Some(own) = &raw.single_use else {
        return Rules {
            mode: if apart { Mode::File } else { Mode::Strict },
            ..Rules::default()
        };
    };
    let at = |key: &str| format!("{}.{key}", own.at);
    if own.strict && own.playback {
        problems.error(
            at("playback"),
            "is a session, and `strict` has none",
            "take one of them out",
        );
    }
    if !own.strict && !apart {
        problems.error(
            own.at.clone(),
            "has sessions, but a proxy in front hides who the client is",
            "set server.client_address or server.proxy_protocol, or `strict = true`",
        );
    }
    let mut checked = |key: &str, value, least, most| in_range(at(key), value, least, most, problems);
    Rules {
        session_ttl: checked("session_ttl", own.session_ttl, seconds(10), DAY),
        session_max: checked("session_max", own.session_max, seconds(60), 7 * DAY),
        after_complete: checked("after_complete", own.after_complete, seconds(60), DAY),
        mode: match (own.strict, own.playback) {
            (true, _) => Mode::Strict,
            (false, true) => Mode::Playback,
            (false, false) => Mode::File,
        },
        interstitial: own.interstitial,
    }
}
