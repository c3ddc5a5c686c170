//! The `Content-Type` of a file by its name. Pure. In: a path. Out: a media type. Never: looks into a file.

use http::HeaderValue;

/// What no name tells.
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Names of media that `mime_guess` does not know or tells otherwise than players want.
const OWN: [(&str, &str); 20] = [
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m3u", "application/vnd.apple.mpegurl"),
    ("mpd", "application/dash+xml"),
    ("m4s", "video/iso.segment"),
    ("cmfv", "video/mp4"),
    ("cmfa", "audio/mp4"),
    ("mp4", "video/mp4"),
    ("m4v", "video/mp4"),
    ("m4a", "audio/mp4"),
    ("ts", "video/mp2t"),
    ("mkv", "video/matroska"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("heic", "image/heic"),
    ("heif", "image/heif"),
    ("avif", "image/avif"),
    ("jxl", "image/jxl"),
    ("webp", "image/webp"),
    ("opus", "audio/ogg"),
    ("flac", "audio/flac"),
    ("js", "text/javascript; charset=utf-8"),
];

/// The type of the file at `path`. Text is taken to be UTF-8.
pub(super) fn of(path: &str) -> HeaderValue {
    let name = path.rsplit('/').next().unwrap_or(path);
    let Some((_, extension)) = name.rsplit_once('.') else {
        return HeaderValue::from_static(UNKNOWN);
    };
    if let Some((_, own)) = OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(extension)) {
        return HeaderValue::from_static(own);
    }
    match mime_guess::from_ext(extension).first_raw() {
        None => HeaderValue::from_static(UNKNOWN),
        Some(text) if text.starts_with("text/") => HeaderValue::try_from(format!("{text}; charset=utf-8"))
            .unwrap_or(HeaderValue::from_static(UNKNOWN)),
        Some(other) => HeaderValue::from_static(other),
    }
}
