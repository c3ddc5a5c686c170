//! Programs that fetch a link without a person who wants the file: browsers that look ahead, and services that show a
//! preview of a link in a message. They never use a token that may be used once, and never get a body for one.

use http::header::{self, HeaderMap, HeaderName};

/// Where browsers say that they look ahead (Fetch §"Sec-Purpose", and what came before it).
static PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

/// What previewing services call themselves, lower case.
const PREVIEWERS: [&str; 20] = [
    "facebookexternalhit",
    "facebot",
    "slackbot",
    "slack-imgproxy",
    "telegrambot",
    "whatsapp",
    "twitterbot",
    "linkedinbot",
    "discordbot",
    "skypeuripreview",
    "microsoftpreview",
    "redditbot",
    "pinterestbot",
    "vkshare",
    "embedly",
    "iframely",
    "viber",
    "mattermost-bot",
    "google-pagerenderer",
    "bitlybot",
];

/// Whether such a program asks.
pub(super) fn is(headers: &HeaderMap) -> bool {
    let looks_ahead = PURPOSES.iter().any(|name| {
        headers.get_all(name).iter().any(|value| {
            let value = value.as_bytes().to_ascii_lowercase();
            [&b"prefetch"[..], b"prerender", b"preview"]
                .iter()
                .any(|word| value.windows(word.len()).any(|part| part == *word))
        })
    });
    looks_ahead
        || headers.get_all(header::USER_AGENT).iter().any(|agent| {
            let agent = String::from_utf8_lossy(agent.as_bytes()).to_ascii_lowercase();
            PREVIEWERS.iter().any(|name| agent.contains(name))
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn those_who_look_ahead_are_told_from_people() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch", true),
            ("sec-purpose", "prefetch;prerender", true),
            ("purpose", "Prefetch", true),
            ("x-moz", "prefetch", true),
            ("x-purpose", "preview", true),
            (
                "user-agent",
                "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
                true,
            ),
            ("user-agent", "TelegramBot (like TwitterBot)", true),
            ("user-agent", "WhatsApp/2.23.20.0", true),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0.0.0 Safari/537.36",
                false,
            ),
            ("user-agent", "curl/7.88.1", false),
            ("sec-purpose", "", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(is(&headers), expected, "{name}: {value}");
        }
        assert!(!is(&HeaderMap::new()));
    }
}
