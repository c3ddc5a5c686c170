//! A gate with a configuration of `docs/MIGRATE.md` over a local origin, links that backends' own libraries have signed, and curl,
//! which fetches them over TLS from the public host.

use std::time::Duration;

use mediagate::clock::Clock;
use serde_json::{Value, json};

use super::client::HOST;
use super::document::block_of;
use super::origin::pattern;
use super::program::{run, run_in};
use super::s3::tool;
use super::tls::Authority;
use super::wait::SOON;
use super::{Gate, Origin, Setup};

/// The document.
pub(crate) const PAGE: &str = "docs/MIGRATE.md";

/// Time for a tool to be installed on first use.
const INSTALLATION: Duration = Duration::from_secs(900);

/// How long the links live that are signed here, in seconds.
pub(crate) const LIFE: u64 = 3600;

/// The file that they are for.
pub(crate) const CLIP: &str = "/videos/clip.mp4";

/// A program of `tests/tools` that signs with vendors' libraries, and the one that has those for it.
pub(crate) type Signer = (&'static str, &'static str);

/// Libraries for Python.
pub(crate) const PYTHON: Signer = ("signers_links.py", "signers");

/// Libraries for Node.
pub(crate) const NODE: Signer = ("signers_links.cjs", "signers-node");

/// What a backend's library has made.
pub(crate) struct Signed {
    /// Files for the gate: keys.
    pub(crate) files: Vec<(String, String)>,
    /// The links.
    pub(crate) links: Vec<Link>,
}

/// A link as a client has it.
#[derive(Clone)]
pub(crate) struct Link {
    /// Which of its signer's kinds it is.
    pub(crate) what: String,
    /// The URL.
    pub(crate) url: String,
    /// Cookies that go with it.
    pub(crate) cookie: Option<String>,
    /// What stands before the signature.
    pub(crate) before: String,
}

impl Link {
    /// A URL alone.
    pub(crate) fn bare(url: &str) -> Self {
        Self {
            what: url.to_owned(),
            url: url.to_owned(),
            cookie: None,
            before: String::new(),
        }
    }

    /// The same with one character of the signature changed.
    pub(crate) fn altered(&self) -> Self {
        let mut altered = self.clone();
        let text = match &mut altered.cookie {
            Some(cookie) => cookie,
            None => &mut altered.url,
        };
        let start = text.rfind(&self.before).expect(&self.before) + self.before.len();
        // Within the signature, so that all bits of the character count.
        let at = start + 5;
        let other = if &text[at..=at] == "0" { "1" } else { "0" };
        text.replace_range(at..=at, other);
        altered.what.push_str(", changed");
        altered
    }

    /// The same without the cookie, or without the query.
    pub(crate) fn unsigned(&self) -> Option<Self> {
        let url = match &self.cookie {
            Some(_) => &self.url,
            // What has its token in the path is not taken apart here.
            None => self.url.split_once('?')?.0,
        };
        Some(Self::bare(url))
    }
}

/// The moment that clocks show.
pub(crate) fn now() -> i64 {
    Clock::system().now().secs()
}

/// Has a signer make its links of a scheme, in a process of its own.
pub(crate) fn sign_with((program, libraries): Signer, scheme: &str, wish: &Value) -> Signed {
    let program = tool(program);
    let arguments = [program.to_str().unwrap(), scheme, &wish.to_string()];
    let done = run(tool(libraries).to_str().unwrap(), &arguments, INSTALLATION);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let made: Value = serde_json::from_slice(&done.stdout).expect("what was signed");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let files = made["files"].as_object().expect("files");
    let links = made["links"].as_array().expect("links");
    Signed {
        files: files
            .iter()
            .map(|(name, content)| (name.clone(), text(content)))
            .collect(),
        links: links
            .iter()
            .map(|link| Link {
                what: text(&link["what"]),
                url: text(&link["url"]),
                cookie: link["cookie"].as_str().map(str::to_owned),
                before: text(&link["before"]),
            })
            .collect(),
    }
}

/// The same for the clip.
pub(crate) fn sign(signer: Signer, scheme: &str) -> Signed {
    let until = now() + LIFE.cast_signed();
    sign_with(
        signer,
        scheme,
        &json!({ "url": format!("https://{HOST}{CLIP}"), "until": until }),
    )
}

/// A gate with a configuration of the page.
pub(crate) struct Moved {
    /// The gate.
    pub(crate) gate: Gate,
    authority: Authority,
    /// What the links lead to.
    pub(crate) content: Vec<u8>,
    /// None where the bytes come from a bucket.
    pub(crate) origin: Option<Origin>,
}

impl Moved {
    /// The page's server, origin and section over a local origin, with these files of the backend's.
    pub(crate) fn start(heading: &str, files: &[(String, String)]) -> Self {
        Self::start_changed(heading, &[], files)
    }

    /// The same with these texts of the section, which must be there, in the place of others.
    pub(crate) fn start_changed(heading: &str, changes: &[(&str, &str)], files: &[(String, String)]) -> Self {
        let origin = Origin::start();
        let content = pattern(50_000);
        origin.file(CLIP, &content);
        let url = format!("http://{}", origin.address());
        let section = changed(&block_of(PAGE, heading, "toml"), changes);
        Self::start_with(
            &section,
            &[("http://127.0.0.1:9000", &url)],
            files,
            content,
            Some(origin),
        )
    }

    /// With this section, and these texts of all in the place of others, which must be there.
    pub(crate) fn start_with(
        section: &str,
        changes: &[(&str, &str)],
        files: &[(String, String)],
        content: Vec<u8>,
        origin: Option<Origin>,
    ) -> Self {
        let shown = block_of(PAGE, "Before all of them", "toml");
        let (server, origins) = shown
            .split_once("[origin.")
            .expect("an origin behind the server's tables");
        let ports = [("0.0.0.0:443", "127.0.0.1:0"), ("127.0.0.1:9090", "127.0.0.1:0")];
        let server = changed(server, &ports);
        let rest = changed(&format!("[origin.{origins}{section}"), changes);
        let authority = Authority::new();
        let leaf = authority.leaf(&[HOST]);
        let setup = Setup::new(rest)
            .tables(&server)
            .now(now())
            .file("fullchain.pem", leaf.chain)
            .file("privkey.pem", leaf.key);
        let gate = files
            .iter()
            .fold(setup, |setup, (name, content)| setup.file(name, content))
            .start();
        Self {
            gate,
            authority,
            content,
            origin,
        }
    }

    /// What curl is answered: the status and the body.
    pub(crate) fn fetch(&self, link: &Link, more: &[&str]) -> (u16, Vec<u8>) {
        let port = self.gate.tls().port();
        let to = format!("{HOST}:443:127.0.0.1:{port}");
        let authority = self.authority.file();
        let mut arguments = vec![
            "-sSg",
            "--cacert",
            authority.to_str().unwrap(),
            "--connect-to",
            &to,
            "-w",
            "%{stderr}%{http_code}",
        ];
        if let Some(cookie) = &link.cookie {
            arguments.extend(["-b", cookie]);
        }
        arguments.extend(more);
        arguments.push(&link.url);
        let done = run("curl", &arguments, SOON);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {said}", link.what);
        (said.parse().expect(&said), done.stdout)
    }

    /// That a link leads to the right bytes, whole and in part.
    #[track_caller]
    pub(crate) fn opens(&self, link: &Link) {
        let (status, body) = self.fetch(link, &[]);
        let why = || self.explained(link)["detail"].to_string();
        assert_eq!(status, 200, "{}: {} {}", link.what, link.url, why());
        assert!(body == self.content, "{}: other bytes", link.what);
        let (status, part) = self.fetch(link, &["-r", "100-199"]);
        assert_eq!(status, 206, "{}", link.what);
        assert!(part == self.content[100..200], "{}: other bytes", link.what);
    }

    /// That it is answered with this status, and none of the bytes.
    #[track_caller]
    pub(crate) fn refuses(&self, link: &Link, status: u16) {
        let (answered, body) = self.fetch(link, &[]);
        assert_eq!(answered, status, "{}: {}", link.what, link.url);
        assert!(body.len() < 1000, "{}", link.what);
    }

    /// What `mediagate explain` says of a link.
    pub(crate) fn explained(&self, link: &Link) -> Value {
        let cookie = link.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}"));
        let mut arguments = vec!["explain", "--url", &link.url, "--show-signed"];
        if let Some(cookie) = &cookie {
            arguments.extend(["--header", cookie]);
        }
        let said = self.mediagate(&arguments);
        serde_json::from_str(&said).expect("a JSON line")
    }

    /// What the program says, over the gate's own configuration.
    #[track_caller]
    pub(crate) fn mediagate(&self, arguments: &[&str]) -> String {
        let done = run_in(self.gate.dir(), env!("CARGO_BIN_EXE_mediagate"), arguments, SOON);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).expect("UTF-8").trim().to_owned()
    }

    /// How many tokens of this scheme were good, or not.
    pub(crate) fn count(&self, scheme: &str, result: &str) -> f64 {
        let (scheme, result) = (format!("scheme=\"{scheme}\""), format!("result=\"{result}\""));
        let labels = ["route=", scheme.as_str(), &result];
        self.gate.metric("mediagate_tokens_total", &labels)
    }

    /// That each link opens what it was signed for as long as it lives, and nothing else does, with the statuses of the page.
    #[track_caller]
    pub(crate) fn works(&self, scheme: &str, links: &[Link], expired: u16) {
        let before = ["ok", "refused"].map(|result| self.count(scheme, result));
        for link in links {
            self.opens(link);
            self.refuses(&link.altered(), 403);
            if let Some(unsigned) = link.unsigned() {
                self.refuses(&unsigned, 403);
            }
            let explained = self.explained(link);
            assert_eq!(explained["decision"], "allow", "{}: {explained}", link.what);
            assert_eq!(explained["scheme"], scheme, "{}", link.what);
            let signed = explained["signed"].as_array().expect("texts");
            assert!(!signed.is_empty(), "{}: {explained}", link.what);
            assert_eq!(
                self.explained(&link.altered())["decision"],
                "deny",
                "{}",
                link.what
            );
        }
        let each = f64::from(u32::try_from(links.len()).unwrap());
        let counted = ["ok", "refused"].map(|result| self.count(scheme, result));
        assert_eq!(counted, [before[0] + 2.0 * each, before[1] + each], "{scheme}");
        if let Some(origin) = &self.origin {
            for seen in origin.seen() {
                let secrets = ["Signature", "token", "hmac", "hdn", "Expires", "Key", "md5"];
                let leaked = secrets.iter().find(|name| seen.target.contains(**name));
                assert_eq!(leaked, None, "{seen:?}");
                assert_eq!(seen.header("cookie"), None);
            }
        }
        // The clock stood still, and that of the signers did not.
        self.gate.advance(2 * LIFE);
        for link in links {
            self.refuses(link, expired);
        }
    }

    /// A link of the product's own, made by a command of the page.
    #[track_caller]
    pub(crate) fn mint(&self, scheme: &str, path: &str) -> Link {
        self.mint_with(scheme, path, &[])
    }

    /// The same with further flags.
    #[track_caller]
    pub(crate) fn mint_with(&self, scheme: &str, path: &str, more: &[&str]) -> Link {
        let mint = [
            "token", "mint", "--scheme", scheme, "--path", path, "--ttl", "10m",
        ];
        Link::bare(&self.mediagate(&[&mint, more].concat()))
    }
}

/// A text with each of these, which must be there, in the place of another.
#[track_caller]
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in\n{text}");
        text.replace(from, to)
    })
}
