//! Schemes that judge whole requests, on a running gate: which of several tokens counts, what is sent on, what browsers and
//! operators are told. Tokens are those of the published vectors.

use serde_json::Value;

use crate::support::origin::{Script, pattern};
use crate::support::{Gate, Origin, Response, Setup, conf, mint};

const NOW: i64 = 1_767_225_600;
const FILE: &str = "/videos/show1/master.m3u8";

/// A case of a vector file: the target of its URL, and its headers.
fn case(file: &str, name: &str) -> (String, Vec<(String, String)>) {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    let url = case["url"].as_str().unwrap();
    let target = url.strip_prefix("https://media.example.com").unwrap().to_owned();
    let headers = case["headers"].as_object().unwrap();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    (target, headers)
}

fn bunny() -> String {
    case(include_str!("../vectors/bunny.json"), "hs256_valid").0
}

fn cat() -> String {
    let (_, headers) = case(include_str!("../vectors/cat.json"), "header");
    headers[0].1.clone()
}

struct Bench {
    origin: Origin,
    gate: Gate,
}

impl Bench {
    /// One route with Bunny's links, Common Access Tokens and our own JWTs, and these keys of it.
    fn start(route: &str, cat: &str) -> Self {
        let origin = Origin::start();
        origin.file(FILE, pattern(1000));
        let secret = |file: &str, name: &[&str]| {
            let file: Value = serde_json::from_str(file).unwrap();
            let found = name.iter().fold(&file["keys"], |found, name| &found[*name]);
            found.as_str().unwrap().to_owned()
        };
        let routes = format!(
            "[[route]]\nname = \"files\"\npath = \"/\"\norigin = \"files\"\n\
             carriers = [{{ query = \"t\" }}, {{ bearer = {{}} }}, {{ cookie = \"media\" }}]\n{route}\n\
             [route.scheme.jwt]\nkeys = \"media\"\nissuer = \"{}\"\naudience = \"{}\"\n\
             [route.scheme.bunny]\nkeys = [{{ name = \"zone\", secret = {{ file = \"bunny.key\" }} }}]\n\
             [route.scheme.uri_signing]\nunnamed_keys = \"media\"\n\
             [route.scheme.cat]\naudience = \"media.example.com\"\nqueries = [\"CAT\"]\n{cat}\n\
             keys = [{{ name = \"cat-hs-1\", alg = \"HS256\", encoding = \"hex\", secret = {{ file = \"cat.key\" }} }}]\n",
            mint::ISSUER,
            mint::AUDIENCE,
        );
        let bunny = secret(include_str!("../vectors/bunny.json"), &["security_key"]);
        let cat = secret(include_str!("../vectors/cat.json"), &["mac", "cat-hs-1"]);
        let gate = Setup::new(conf::http(origin.address()) + &routes)
            .server("public_url = \"https://media.example.com\"")
            .file("bunny.key", bunny)
            .file("cat.key", cat)
            .now(NOW)
            .start();
        Self { origin, gate }
    }

    fn get(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        self.gate.get(target, headers)
    }
}

#[test]
fn what_is_wrong_in_a_place_that_does_not_decide_is_no_matter() {
    let bench = Bench::start("", "");
    let (bunny, cat) = (bunny(), cat());
    for broken in [
        ("Cookie", "CTA-Common-Access-Token="),
        ("Cookie", "URISigningPackage=zzz"),
        ("CTA-Common-Access-Token", "zzz"),
        ("Authorization", "Bearer \"\""),
    ] {
        bench.get(&bunny, &[broken]).expect(200);
    }
    // A header decides over a cookie.
    let good = ("CTA-Common-Access-Token", &*cat);
    bench.get(FILE, &[good, ("Cookie", "media=")]).expect(200);
    bench
        .get(FILE, &[good, ("Cookie", "URISigningPackage=zzz")])
        .expect(200);
}

#[test]
fn a_bad_token_that_decides_is_no_reason_to_look_elsewhere() {
    let bench = Bench::start("", "");
    let (bunny, cat) = (bunny(), cat());
    let changed = bunny.replace("HS256-I4", "HS256-J4");
    assert_ne!(changed, bunny);
    let cookie = format!("CTA-Common-Access-Token={cat}");
    let seen = bench.origin.connections();
    for (target, headers) in [
        (&*changed, &[("Cookie", &*cookie)][..]),
        (&changed, &[("CTA-Common-Access-Token", &cat)]),
        (FILE, &[("CTA-Common-Access-Token", "zzz"), ("Cookie", &cookie)]),
        (FILE, &[("Authorization", "Bearer zzz"), ("Cookie", &cookie)]),
    ] {
        let answer = bench.get(target, headers);
        assert!(
            matches!(answer.status, 401 | 403),
            "{target} {headers:?}: {}",
            answer.status
        );
    }
    // Two in one URL.
    bench
        .get(&format!("{bunny}&CAT={cat}"), &[])
        .refused(400, "bad_request");
    bench
        .get(&format!("{bunny}&t=a.b.c"), &[])
        .refused(400, "bad_request");
    assert_eq!(bench.origin.connections(), seen, "nothing reaches the origin");
}

#[test]
fn a_token_that_lost_does_not_change_the_path_of_the_one_that_won() {
    // URI signing resolves dot segments, where it is told to; a JWT never does.
    let origin = Origin::start();
    let routes = conf::route_carried("files", "/", "{ bearer = {} }", "")
        + "[route.scheme.uri_signing]\nunnamed_keys = \"media\"\nresolve_dots = true\n";
    let gate = Setup::new(conf::http(origin.address()) + &routes)
        .server("public_url = \"https://media.example.com\"")
        .start();
    let token = crate::support::Token::whole().text();
    let bearer = format!("Bearer {token}");
    for dots in ["/a/x/../b", "/a/%2e%2e/b"] {
        let headers = [("Authorization", &*bearer), ("Cookie", "URISigningPackage=zzz")];
        gate.get(dots, &headers).refused(400, "bad_path");
        gate.get(dots, &headers[..1]).refused(400, "bad_path");
    }
    origin.untouched();
}

#[test]
fn the_header_of_a_token_goes_to_no_origin_whatever_the_route_sends_on() {
    let bench = Bench::start(
        "forward_authorization = true\nforward_cookies = true",
        "headers = [\"Authorization\", \"CTA-Common-Access-Token\"]",
    );
    let cat = cat();
    let cookie = format!("CTA-Common-Access-Token={cat}; own=1");
    bench
        .get(FILE, &[("CTA-Common-Access-Token", &cat), ("Cookie", &cookie)])
        .expect(200);
    let seen = bench.origin.last();
    assert_eq!(seen.header("cookie"), Some("own=1"));
    for received in bench.origin.received() {
        let received = String::from_utf8_lossy(&received).into_owned();
        assert!(!received.contains(&cat), "{received}");
    }
}

#[test]
fn pages_of_other_origins_may_send_the_header_of_a_token() {
    let bench = Bench::start("cors = { origins = [\"https://player.example.com\"] }", "");
    let asked = [
        ("Origin", "https://player.example.com"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "cta-common-access-token"),
    ];
    let answer = bench.gate.exchange("OPTIONS", FILE, &asked).expect(204);
    let allowed = answer.header("access-control-allow-headers").unwrap();
    assert!(allowed.ends_with(", cta-common-access-token"), "{allowed}");
}

#[test]
fn tokens_are_counted_by_scheme_and_an_origin_that_fails_is_not_theirs() {
    let bench = Bench::start("", "");
    let bunny = bunny();
    bench.get(&bunny, &[]).expect(200);
    bench.get(&bunny.replace("HS256-I4", "HS256-J4"), &[]).expect(403);
    bench
        .origin
        .on(FILE, Script::answer("404 Not Found", &[], "none"));
    bench
        .get(FILE, &[("CTA-Common-Access-Token", &cat())])
        .expect(404);
    let count = |scheme: &str, result: &str| {
        let labels = [
            "route=\"files\"".to_owned(),
            format!("scheme=\"{scheme}\""),
            format!("result=\"{result}\""),
        ];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        bench.gate.metric("mediagate_tokens_total", &labels)
    };
    for (scheme, ok, refused) in [("bunny", 1.0, 1.0), ("cat", 1.0, 0.0)] {
        assert!(
            (count(scheme, "ok") - ok).abs() < 0.1 && (count(scheme, "refused") - refused).abs() < 0.1,
            "{scheme}"
        );
    }
}
