//! `docs/MIGRATE.md`: every configuration that it shows, in front of a local origin, with links that backends' own libraries
//! have signed, fetched by curl over TLS from the public host.

use std::path::Path;
use std::time::Duration;

use mediagate::clock::{Clock, UnixTime};
use serde_json::{Value, json};

use crate::support::client::HOST;
use crate::support::document::block_of;
use crate::support::origin::pattern;
use crate::support::program::{run, run_in};
use crate::support::s3::{self, BUCKET, KEY_ID, SECRET, Server, tool};
use crate::support::tls::Authority;
use crate::support::wait::SOON;
use crate::support::{Gate, Origin, Setup};

const PAGE: &str = "docs/MIGRATE.md";

/// Time for a tool to be installed on first use.
const INSTALLATION: Duration = Duration::from_secs(900);

/// How long the links live that are signed here, in seconds.
const LIFE: u64 = 600;

const CLIP: &str = "/videos/clip.mp4";

/// What a backend's library has made.
struct Signed {
    /// Files for the gate: keys.
    files: Vec<(String, String)>,
    links: Vec<Link>,
}

#[derive(Clone)]
struct Link {
    what: String,
    url: String,
    cookie: Option<String>,
    /// What stands before the signature.
    before: String,
}

impl Link {
    fn bare(url: &str) -> Self {
        Self {
            what: url.to_owned(),
            url: url.to_owned(),
            cookie: None,
            before: String::new(),
        }
    }

    /// The same with one character of the signature changed.
    fn altered(&self) -> Self {
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
    fn unsigned(&self) -> Option<Self> {
        let url = match &self.cookie {
            Some(_) => &self.url,
            // What has its token in the path is not taken apart here.
            None => self.url.split_once('?')?.0,
        };
        Some(Self::bare(url))
    }
}

/// The moment that clocks show.
fn now() -> i64 {
    Clock::system().now().secs()
}

/// Has a program of `tests/tools` sign links to a URL, in a process of its own.
fn sign_with(by: &str, program: &str, signer: &str, wish: &Value) -> Signed {
    let program = tool(program);
    let arguments = [program.to_str().unwrap(), signer, &wish.to_string()];
    let done = run(tool(by).to_str().unwrap(), &arguments, INSTALLATION);
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

/// Links to the clip.
fn sign(by: &str, program: &str, signer: &str) -> Signed {
    let until = now() + LIFE.cast_signed();
    sign_with(
        by,
        program,
        signer,
        &json!({ "url": format!("https://{HOST}{CLIP}"), "until": until }),
    )
}

/// A gate with a configuration of the page.
struct Moved {
    gate: Gate,
    authority: Authority,
    content: Vec<u8>,
    /// None where the bytes come from a bucket.
    origin: Option<Origin>,
}

impl Moved {
    /// The page's server, origin and section over a local origin, with these files of the backend's.
    fn start(heading: &str, files: &[(String, String)]) -> Self {
        Self::start_changed(heading, &[], files)
    }

    /// The same with these texts of the section, which must be there, in the place of others.
    fn start_changed(heading: &str, changes: &[(&str, &str)], files: &[(String, String)]) -> Self {
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
    fn start_with(
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
    fn fetch(&self, link: &Link, more: &[&str]) -> (u16, Vec<u8>) {
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

    #[track_caller]
    fn opens(&self, link: &Link) {
        let (status, body) = self.fetch(link, &[]);
        let why = || self.explained(link)["detail"].to_string();
        assert_eq!(status, 200, "{}: {} {}", link.what, link.url, why());
        assert!(body == self.content, "{}: other bytes", link.what);
        let (status, part) = self.fetch(link, &["-r", "100-199"]);
        assert_eq!(status, 206, "{}", link.what);
        assert!(part == self.content[100..200], "{}: other bytes", link.what);
    }

    #[track_caller]
    fn refuses(&self, link: &Link, status: u16) {
        let (answered, body) = self.fetch(link, &[]);
        assert_eq!(answered, status, "{}: {}", link.what, link.url);
        assert!(body.len() < 1000, "{}", link.what);
    }

    /// What `mediagate explain` says of a link.
    fn explained(&self, link: &Link) -> Value {
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
    fn mediagate(&self, arguments: &[&str]) -> String {
        let done = run_in(self.gate.dir(), env!("CARGO_BIN_EXE_mediagate"), arguments, SOON);
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        String::from_utf8(done.stdout).expect("UTF-8").trim().to_owned()
    }

    /// How many tokens of this scheme were good, or not.
    fn count(&self, scheme: &str, result: &str) -> f64 {
        let (scheme, result) = (format!("scheme=\"{scheme}\""), format!("result=\"{result}\""));
        let labels = ["route=", scheme.as_str(), &result];
        self.gate.metric("mediagate_tokens_total", &labels)
    }

    /// That each link opens what it was signed for as long as it lives, and nothing else does, with the statuses of the page.
    #[track_caller]
    fn works(&self, scheme: &str, links: &[Link], expired: u16) {
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
        self.gate.advance(LIFE + 1);
        for link in links {
            self.refuses(link, expired);
        }
    }

    /// A link of the product's own, made by a command of the page.
    #[track_caller]
    fn mint(&self, scheme: &str, path: &str) -> Link {
        Link::bare(&self.mediagate(&[
            "token", "mint", "--scheme", scheme, "--path", path, "--ttl", "10m",
        ]))
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

#[test]
fn links_that_botocore_signs_for_cloudfront_work() {
    let signed = sign("signers", "signers_links.py", "cloudfront");
    Moved::start("CloudFront", &signed.files).works("cloudfront", &signed.links, 403);
}

#[test]
fn links_and_cookies_that_aws_sdk_for_javascript_signs_for_cloudfront_work() {
    let signed = sign("signers-node", "signers_links.cjs", "cloudfront");
    assert!(signed.links.iter().any(|link| link.cookie.is_some()));
    let moved = Moved::start("CloudFront", &signed.files);
    moved.works("cloudfront", &signed.links, 403);
    // A parameter of the link's own goes on to the origin.
    let seen = moved.origin.as_ref().expect("an origin").seen();
    let own = format!("{CLIP}?size=large");
    assert!(seen.iter().any(|seen| seen.target == own), "{seen:?}");
}

/// A bucket of a server that checks every signature; the key that signs links is unknown to it.
fn bucket() -> (Server, Vec<u8>) {
    let server = Server::start();
    let content = pattern(50_000);
    server.put("reports/report 2026 ä+b.pdf", &content);
    (server, content)
}

/// Links to the object that boto3 signs.
fn presigned(version: Option<&str>, region: &str) -> Signed {
    let wish = json!({
        "url": format!("https://{HOST}/{BUCKET}/reports/report%202026%20%C3%A4%2Bb.pdf"),
        "until": now() + LIFE.cast_signed(),
        "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "region": region,
        "version": version,
    });
    sign_with("signers", "signers_links.py", "s3_presigned", &wish)
}

/// The page's section with the server and the bucket of the test.
fn over(server: &Server, content: Vec<u8>, region: &str, mut files: Vec<(String, String)>) -> Moved {
    let bucket = format!(
        "endpoint = \"http://{}\"\nstyle = \"path\"\nbucket = \"{BUCKET}\"",
        server.address
    );
    let path = format!("path = \"/{BUCKET}\"");
    let key = format!("secret = {{ file = \"s3-link.key\" }}\nregion = \"{region}\"");
    let changes = [
        ("path = \"/example-media\"", path.as_str()),
        ("bucket = \"example-media\"", &bucket),
        (
            "secret = { file = \"s3-link.key\" }\nregion = \"eu-central-1\"",
            &key,
        ),
        (
            "\nregion = \"eu-central-1\"\ncredentials",
            "\nregion = \"us-east-1\"\ncredentials",
        ),
    ];
    files.push(("s3-id".to_owned(), KEY_ID.to_owned()));
    files.push(("s3-secret".to_owned(), SECRET.to_owned()));
    let section = block_of(PAGE, "S3 presigned URLs", "toml");
    Moved::start_with(&section, &changes, &files, content, None)
}

#[test]
fn urls_that_boto3_presigns_are_signed_anew_for_the_bucket() {
    assert_eq!(s3::REGION, "us-east-1");
    let (server, content) = bucket();
    let signed = presigned(Some("s3v4"), "eu-central-1");
    let moved = over(&server, content, "eu-central-1", signed.files);
    let (status, _) = moved.fetch(&signed.links[0], &["--head"]);
    assert_eq!(status, 403, "a link for GET serves no HEAD");
    let (_, head) = moved.fetch(&signed.links[1], &["-o", "/dev/null", "-D", "-"]);
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let wished = "content-disposition: attachment; filename=\"a b.pdf\"";
    assert!(head.contains(wished), "{head}");
    moved.works("s3_presigned", &signed.links, 403);
}

/// What the page says of boto3, and its one line against it.
#[test]
fn boto3_signs_by_version_2_for_some_regions_unless_it_is_told_not_to() {
    let (server, content) = bucket();
    let signed = presigned(None, "us-east-1");
    let link = &signed.links[0];
    assert!(link.url.contains("AWSAccessKeyId="), "{}", link.url);
    let moved = over(&server, content, "us-east-1", signed.files);
    moved.refuses(link, 403);
    moved.opens(&presigned(Some("s3v4"), "us-east-1").links[0]);
    moved.opens(&moved.mint("s3_presigned", &format!("/{BUCKET}/reports/report 2026 ä+b.pdf")));
}

#[test]
fn tokens_of_akamai_s_libraries_work() {
    for (by, program) in [
        ("signers", "signers_links.py"),
        ("signers-node", "signers_links.cjs"),
    ] {
        let signed = sign(by, program, "edge_auth");
        let moved = Moved::start("Akamai EdgeAuth", &signed.files);
        moved.works("edge_auth", &signed.links, 403);
    }
    let signed = sign("signers", "signers_links.py", "edge_auth");
    let moved = Moved::start("Akamai EdgeAuth", &signed.files);
    moved.opens(&moved.mint("edge_auth", CLIP));
}

/// A section whose signer is a function that the vendor publishes.
fn section(heading: &str, scheme: &str) {
    let signed = sign("signers", "signers_links.py", scheme);
    let moved = Moved::start(heading, &signed.files);
    moved.opens(&moved.mint(scheme, CLIP));
    let moved = Moved::start(heading, &signed.files);
    moved.works(scheme, &signed.links, 403);
}

#[test]
fn links_that_are_signed_as_bunny_s_documents_say_work() {
    section("Bunny", "bunny");
}

#[test]
fn links_and_cookies_that_are_signed_as_cloud_cdn_s_documents_say_work() {
    section("Google Cloud CDN", "cloud_cdn");
}

#[test]
fn links_cookies_and_tokens_that_are_signed_as_media_cdn_s_documents_say_work() {
    section("Google Media CDN", "media_cdn");
}

#[test]
fn a_key_opens_nothing_from_its_end_on_and_the_new_one_does() {
    let old = sign("signers", "signers_links.py", "cloud_cdn");
    let new = "AAECAwQFBgcICQoLDA0ODw==".to_owned();
    let mut files = old.files;
    files.push(("media-key-2.key".to_owned(), new));
    // The key ends before the link does.
    let heading = "Several keys, and the end of one";
    let end = UnixTime::from_secs(now() + 60).rfc3339().to_string();
    let moved = Moved::start_changed(heading, &[("2099-01-01T00:00:00Z", &end)], &files);
    moved.opens(&old.links[0]);
    let made = moved.mint("cloud_cdn", CLIP);
    assert!(
        made.url.contains("KeyName=media-key-2"),
        "the first signs: {}",
        made.url
    );
    moved.gate.advance(61);
    moved.refuses(&old.links[0], 403);
    moved.opens(&made);
}

#[test]
fn old_links_and_new_tokens_are_good_on_one_route_and_are_counted_apart() {
    let signed = sign("signers", "signers_links.py", "bunny");
    let moved = Moved::start("Leaving the old links behind", &signed.files);
    for link in &signed.links {
        moved.opens(link);
        moved.refuses(&link.altered(), 403);
    }
    let token = moved.mint("jwt", CLIP);
    moved.opens(&token);
    moved.refuses(&Link::bare(&format!("https://{HOST}{CLIP}")), 401);
    let counted = ["bunny", "jwt"].map(|scheme| moved.count(scheme, "ok"));
    assert_eq!(counted, [10.0, 2.0]);
}

/// The commands of the page, over its own configuration.
#[test]
fn the_commands_of_the_page_print_what_it_shows() {
    let moved = Moved::start(
        "Leaving the old links behind",
        &[(
            "bunny.key".to_owned(),
            "229248f0-f007-4bf9-ba1f-bbf1b4ad9d40".to_owned(),
        )],
    );
    let block = block_of(PAGE, "Trying it", "sh");
    let program = Path::new(env!("CARGO_BIN_EXE_mediagate")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let script = format!("set -euo pipefail\nPATH={}:{path}\n{block}", program.display());
    let done = run_in(moved.gate.dir(), "bash", &["-c", &script], SOON);
    let printed = String::from_utf8_lossy(&done.stdout);
    let shown: Vec<&str> = block
        .lines()
        .filter_map(|line| line.strip_prefix("#> "))
        .collect();
    let printed: Vec<&str> = printed.lines().collect();
    let alike = |(printed, shown): (&&str, &&str)| match shown.split_once('…') {
        Some((start, end)) => printed.starts_with(start) && printed.ends_with(end),
        None => printed == shown,
    };
    assert!(
        done.status.success() && printed.len() == shown.len() && printed.iter().zip(&shown).all(alike),
        "shown {shown:#?}, printed {printed:#?}\n{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
