//! `docs/MIGRATE.md`: every configuration that it shows, in front of a local origin, with links that backends' own libraries
//! have signed.

use std::path::Path;

use mediagate::clock::UnixTime;
use serde_json::json;

use crate::support::client::HOST;
use crate::support::document::block_of;
use crate::support::moved::{CLIP, LIFE, Link, Moved, NODE, PAGE, PYTHON, Signed, now, sign, sign_with};
use crate::support::origin::pattern;
use crate::support::program::{run, run_in};
use crate::support::s3::{BUCKET, KEY_ID, REGION, SECRET, Server};
use crate::support::wait::SOON;

#[test]
fn links_that_botocore_signs_for_cloudfront_work() {
    let signed = sign(PYTHON, "cloudfront");
    Moved::start("CloudFront", &signed.files).works("cloudfront", &signed.links, 403);
}

#[test]
fn links_and_cookies_that_aws_sdk_for_javascript_signs_for_cloudfront_work() {
    let signed = sign(NODE, "cloudfront");
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
    sign_with(PYTHON, "s3_presigned", &wish)
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
    assert_eq!(REGION, "us-east-1");
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
    for signer in [PYTHON, NODE] {
        let signed = sign(signer, "edge_auth");
        let moved = Moved::start("Akamai EdgeAuth", &signed.files);
        moved.works("edge_auth", &signed.links, 403);
    }
    let signed = sign(PYTHON, "edge_auth");
    let moved = Moved::start("Akamai EdgeAuth", &signed.files);
    moved.opens(&moved.mint("edge_auth", CLIP));
}

/// A section whose signer is no package; where the token stands in the path, relative links go along with it.
fn section(heading: &str, scheme: &str) {
    let signed = sign(PYTHON, scheme);
    let moved = Moved::start(heading, &signed.files);
    let origin = moved.origin.as_ref().expect("an origin");
    origin.file("/videos/segment-1.m4s", &moved.content);
    let in_path = |link: &&Link| !link.url.contains('?') && link.cookie.is_none();
    for link in signed.links.iter().filter(in_path) {
        moved.opens(&Link::bare(&link.url.replace("clip.mp4", "segment-1.m4s")));
    }
    if scheme != "media_cdn" {
        moved.opens(&moved.mint(scheme, CLIP));
    }
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

/// The command of nginx's documentation, run as it is, for the end of 32-bit time.
#[test]
fn a_link_by_the_command_of_nginx_s_documentation_works_and_is_gone_in_2038() {
    let heading = "nginx secure_link";
    let block = block_of(PAGE, heading, "sh");
    let (command, shown) = block.split_once("\n#> ").expect("what is printed");
    let done = run("sh", &["-c", command], SOON);
    let mac = String::from_utf8(done.stdout).expect("text");
    assert_eq!(mac.trim(), shown.trim());
    let end: i64 = 2_147_483_647;
    let link = Link {
        what: command.to_owned(),
        url: format!("https://{HOST}/s/link?md5={}&expires={end}", mac.trim()),
        cookie: None,
        before: "md5=".to_owned(),
    };
    let moved = Moved::start(heading, &[("secure_link.key".to_owned(), "secret".to_owned())]);
    let origin = moved.origin.as_ref().expect("an origin");
    origin.file("/s/link", &moved.content);
    moved.opens(&moved.mint_with("mac", CLIP, &["--ip", "127.0.0.1"]));
    let left = u64::try_from(end - now()).expect("before 2038") - LIFE;
    moved.gate.advance(left);
    moved.works("mac:nginx_secure_link", &[link], 410);
}

#[test]
fn what_the_page_says_of_all_schemes_holds() {
    let signed = sign(PYTHON, "bunny");
    let moved = Moved::start("Leaving the old links behind", &signed.files);
    let url = &signed.links[0].url;
    let ask = |url: &str, more: &[&str]| moved.fetch(&Link::bare(url), more).0;
    assert_eq!(ask(url, &["--head"]), 200);
    assert_eq!(ask(url, &["-X", "POST"]), 405);
    for path in [
        "/videos//clip.mp4",
        "/videos%2Fclip.mp4",
        "/a/../videos/clip.mp4",
        "/%zz",
    ] {
        assert_eq!(ask(&url.replace(CLIP, path), &["--path-as-is"]), 400, "{path}");
    }
    let parameter = url.rsplit(['?', '&']).next().expect("a parameter");
    assert_eq!(ask(&format!("{url}&{parameter}"), &[]), 400, "one twice");
    let token = moved.mint("jwt", CLIP).url;
    let jwt = token.split_once('?').expect("a query").1;
    assert_eq!(ask(&format!("{url}&{jwt}"), &[]), 400, "two tokens");
    // The host is the configuration's, whatever the request says.
    let signed = sign(PYTHON, "cloud_cdn");
    let moved = Moved::start("Google Cloud CDN", &signed.files);
    let header = [
        "-H",
        "Host: cdn.example.net",
        "-H",
        "X-Forwarded-Host: cdn.example.net",
    ];
    assert_eq!(moved.fetch(&signed.links[0], &header).0, 200);
    let prefix = ["-H", "X-Forwarded-Proto: http"];
    assert_eq!(moved.fetch(&signed.links[1], &prefix).0, 200);
}

#[test]
fn a_key_opens_nothing_from_its_end_on_and_the_new_one_does() {
    let old = sign(PYTHON, "cloud_cdn");
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
    let signed = sign(PYTHON, "bunny");
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
