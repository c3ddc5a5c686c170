//! `mediagate token inspect`: what a token says, without believing it. Nothing is verified, and the signature is not shown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Failed;
use super::found::{Found, find, read_argument};
use crate::clock::{Clock, UnixTime};

pub(super) fn inspect(argument: &str) -> Result<(), Failed> {
    let text = read_argument(argument)?;
    let token = match find(&text)? {
        Found::Jwt(token) => token,
        Found::Handle(_) => {
            say!(
                "opaque: 32 random digits; the store knows what it says, and nothing of it is in its text.\n\
                 The access log names it by a keyed hash; `mediagate revoke --token` withdraws it."
            );
            return Ok(());
        }
    };
    let parts: Vec<&str> = token.split('.').collect();
    let read =
        |part: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let (Some(header), Some(claims)) = (read(parts[0]), read(parts[1])) else {
        return Err(Failed::Other("header or claims are not base64url of JSON".into()));
    };
    say!(
        "NOT VERIFIED: anybody can write such a token. `mediagate explain` says what the gate makes of it.\n"
    );
    say!("header  {}", show(&header));
    say!("claims  {}", show(&claims));
    let now = Clock::system().now();
    for (name, what) in [("iat", "issued"), ("nbf", "valid from"), ("exp", "expires")] {
        if let Some(seconds) = claims.get(name).and_then(Value::as_f64) {
            // A time that no calendar holds is shown as it stands above.
            #[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
            if seconds.abs() < 1e11 {
                let time = UnixTime::from_millis((seconds * 1000.0) as i64);
                say!("{what:<11}{}, {}", time.rfc3339(), relative(now, time));
            }
        }
    }
    Ok(())
}

fn show(value: &Value) -> String {
    serde_json::to_string_pretty(value)
        .unwrap_or_default()
        .replace('\n', "\n        ")
}

fn relative(now: UnixTime, time: UnixTime) -> String {
    let seconds = now.secs().abs_diff(time.secs());
    let amount = match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    if time > now {
        format!("in {amount}")
    } else {
        format!("{amount} ago")
    }
}
