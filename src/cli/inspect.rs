//! `mediagate token inspect`: what a token says, without believing it. Nothing is verified, and the signature is not shown.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Failed;
use crate::clock::{Clock, UnixTime};
use crate::token::MAX_TOKEN_BYTES;

pub(super) fn inspect(argument: &str) -> Result<(), Failed> {
    let text = if argument == "-" {
        let mut text = String::new();
        std::io::stdin()
            .take(4 * MAX_TOKEN_BYTES as u64)
            .read_to_string(&mut text)
            .map_err(Failed::other)?;
        text
    } else {
        argument.to_owned()
    };
    let token = find(text.trim()).ok_or_else(|| Failed::Other("there is no JWT in that".into()))?;
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

/// The JWT in a text: the text itself, or the first run of a link that looks like one.
fn find(text: &str) -> Option<&str> {
    let is_token = |piece: &&str| {
        let parts: Vec<&str> = piece.split('.').collect();
        parts.len() == 3 && parts[0].starts_with("eyJ") && !parts[1].is_empty()
    };
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter))
        .find(is_token)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_a_link() {
        let token = "eyJhbGciOiJIUzI1NiJ9.e30.c2ln";
        for text in [
            token.to_owned(),
            format!("http://h/a.mp4?x=1&t={token}&y=2"),
            format!("http://h/~{token}/hls/a.m3u8"),
            format!("http://h.example.com/media/1/download/{token}"),
        ] {
            assert_eq!(find(&text), Some(token), "{text}");
        }
        assert_eq!(find("http://www.example.com/a.b.c"), None);
    }
}
