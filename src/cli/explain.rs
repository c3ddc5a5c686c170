//! `mediagate explain`: requests from flags or JSON lines, walked through the gate's pure phases, one JSON line each.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr};

use clap::Args;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde::Deserialize;
use serde_json::json;

use super::Failed;
use crate::app::{Mount, mounted};
use crate::clock::{Clock, UnixTime};
use crate::config::Loaded;
use crate::gate::explain::{self, Explained, UNCHECKED};
use crate::server::peer;
use crate::token::scheme::signed::Shown;

/// The longest line on standard input, in bytes.
const MAX_LINE_BYTES: u64 = 128 * 1024;

#[derive(Args)]
pub(super) struct Flags {
    /// The link, as the client opens it. Without it, JSON lines are read from standard input.
    #[arg(long)]
    url: Option<String>,
    /// The method.
    #[arg(long, default_value = "GET", requires = "url")]
    method: String,
    /// A header, `Name: value`; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", requires = "url")]
    headers: Vec<String>,
    /// The address that connects. Where the configuration finds clients in a header, the headers say who the client is.
    #[arg(long, default_value = "127.0.0.1", requires = "url")]
    client_ip: IpAddr,
    /// The time, in seconds since 1970; now where absent.
    #[arg(long, value_name = "UNIX SECONDS", requires = "url")]
    now: Option<i64>,
    /// Add "signed": what a signature or MAC was compared with, secrets left out, for links that judge whole requests.
    #[arg(long)]
    show_signed: bool,
}

/// One request, as a JSON line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    method: Option<String>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    client_ip: Option<IpAddr>,
    #[serde(default)]
    now: Option<i64>,
}

pub(super) fn explain(loaded: &Loaded, flags: Flags) -> Result<(), Failed> {
    // A key set from a URL is read from its last good copy: nothing is fetched here.
    for source in &loaded.key_sources {
        source.load_copy();
    }
    let mut out = io::stdout().lock();
    let mut say = |value: serde_json::Value| writeln!(out, "{value}").map_err(Failed::other);
    let Some(url) = flags.url else {
        return each_line(|line| say(answer(loaded, line, flags.show_signed)));
    };
    let mut headers = BTreeMap::new();
    for header in &flags.headers {
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| Failed::Usage(format!("{header:?} is not `Name: value`")))?;
        headers.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    let line = Line {
        method: Some(flags.method),
        url,
        headers,
        client_ip: Some(flags.client_ip),
        now: flags.now,
    };
    match walk(loaded, &line, flags.show_signed) {
        Ok(value) => say(value),
        Err(what) => Err(Failed::Usage(what)),
    }
}

fn each_line(mut call: impl FnMut(&[u8]) -> Result<(), Failed>) -> Result<(), Failed> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut input)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .map_err(Failed::other)?;
        if line.is_empty() {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() as u64 == MAX_LINE_BYTES {
            input.skip_until(b'\n').map_err(Failed::other)?;
            line.truncate(0);
            line.push(b'!');
        }
        if !line.trim_ascii().is_empty() {
            call(&line)?;
        }
    }
}

fn answer(loaded: &Loaded, line: &[u8], show_signed: bool) -> serde_json::Value {
    let walked = serde_json::from_slice::<Line>(line)
        .map_err(|error| format!("not a request: {error}"))
        .and_then(|line| walk(loaded, &line, show_signed));
    walked.unwrap_or_else(|what| json!({ "error": what }))
}

fn walk(loaded: &Loaded, line: &Line, show_signed: bool) -> Result<serde_json::Value, String> {
    let head = head(line)?;
    let now = line
        .now
        .map_or_else(|| Clock::system().now(), UnixTime::from_secs);
    let address = line
        .client_ip
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
        .to_canonical();
    let client = peer::client(
        &loaded.client_address,
        SocketAddr::from((address, 0)),
        &head.headers,
    );
    if let Some((_, mount)) = mounted(&loaded.snapshot, &head, client, loaded.settings.max_head) {
        return Ok(render(&of_issuer(loaded, &head, mount)));
    }
    let shown = show_signed.then(Shown::default);
    let explained = explain::explain(
        &loaded.snapshot.router,
        loaded.snapshot.landing.as_ref(),
        &head,
        client,
        now,
        loaded.settings.max_head,
        shown.as_ref(),
    );
    let mut rendered = render(&explained);
    if let Some(shown) = shown {
        let texts = shown.into_texts();
        rendered["signed"] = texts
            .iter()
            .map(|text| match std::str::from_utf8(text) {
                Ok(text) => text.to_owned(),
                Err(_) => text.iter().map(|byte| format!("{byte:02x}")).collect(),
            })
            .collect();
    }
    Ok(rendered)
}

/// The head that a client would send for the URL: its path and query byte for byte, the fragment cut.
fn head(line: &Line) -> Result<Parts, String> {
    let url = line.url.split('#').next().unwrap_or_default();
    let (host, target) = match url.split_once("://") {
        Some((_, rest)) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
        None => (None, url),
    };
    let target = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    let method: Method = line
        .method
        .as_deref()
        .unwrap_or("GET")
        .parse()
        .map_err(|_| "not a method")?;
    let uri: http::Uri = target
        .parse()
        .map_err(|_| "not a target that a client could ask for")?;
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in &line.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("{name:?} is not a header's name"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("the value of {name} can't be a header's"))?;
        request = request.header(name, value);
    }
    let (mut parts, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
    if !parts.headers.contains_key(header::HOST) {
        let host = HeaderValue::from_str(host.unwrap_or("localhost")).map_err(|_| "not a host")?;
        parts.headers.insert(header::HOST, host);
    }
    Ok(parts)
}

fn render(explained: &Explained) -> serde_json::Value {
    json!({
        "decision": if explained.allowed { "allow" } else { "deny" },
        "status": explained.status,
        "code": explained.code,
        "detail": explained.detail,
        "route": explained.route,
        "scheme": explained.scheme,
        "subject": explained.subject,
        "expires": explained.expires,
        "target": explained.target,
        "unchecked": UNCHECKED,
    })
}

/// A request that is none for the gate: a dialect on its route answers it, and asks who the caller is.
fn of_issuer(loaded: &Loaded, head: &Parts, mount: Mount) -> Explained {
    let route = loaded.routes.iter().find(|route| route.number == mount.route);
    Explained {
        allowed: true,
        status: 200,
        code: "issuer",
        detail: "the issuer answers, by a dialect that is mounted here; the caller is not checked",
        route: route.map(|route| route.name.to_string()),
        scheme: None,
        subject: None,
        expires: None,
        target: Some(head.uri.path().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(url: &str) -> Line {
        Line {
            method: None,
            url: url.into(),
            headers: BTreeMap::new(),
            client_ip: None,
            now: None,
        }
    }

    #[test]
    fn the_target_stays_byte_for_byte_and_the_fragment_is_cut() {
        for (url, host, target) in [
            (
                "https://media.example.com/a%20b/..?t=%41&x#t=y",
                "media.example.com",
                "/a%20b/..?t=%41&x",
            ),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "/"),
            ("http://h?t=1", "h", "/?t=1"),
            ("/a?b", "localhost", "/a?b"),
        ] {
            let head = head(&line(url)).unwrap();
            assert_eq!(head.headers[header::HOST], host, "{url}");
            assert_eq!(head.uri.path_and_query().unwrap().as_str(), target, "{url}");
        }
        assert!(head(&line("/a b")).is_err());
    }
}
