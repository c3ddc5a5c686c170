//! What the store knows of tokens that other products say may be used once: the sequences of the published vectors over
//! raw sockets, one gate for each. And what a renewed token is worth.

use serde_json::Value;

use crate::support::origin::{Script, pattern};
use crate::support::{Gate, Origin, Response, Setup, conf};

const CAT: &str = include_str!("../vectors/cat.json");
const URI_SIGNING: &str = include_str!("../vectors/rfc9246.json");

/// The cases of a sequence, in their order.
fn sequence<'v>(file: &'v Value, name: &str) -> Vec<&'v Value> {
    let cases = file["cases"].as_array().unwrap();
    cases.iter().filter(|case| case["sequence"] == name).collect()
}

fn cat(file: &Value, origin: &Origin, now: i64) -> Gate {
    let mut keys = String::new();
    let mut setup_files = Vec::new();
    for (name, secret) in file["keys"]["mac"].as_object().unwrap() {
        keys += &format!(
            "[[route.scheme.cat.keys]]\nname = \"{name}\"\nalg = \"HS256\"\nencoding = \"hex\"\nsecret = {{ file = \"{name}\" }}\n"
        );
        setup_files.push((name.clone(), secret.as_str().unwrap().to_owned()));
    }
    let route = format!(
        "[[route]]\nname = \"cat\"\npath = \"/\"\norigin = \"files\"\n[route.scheme.cat]\n\
         issuer = \"https://cat.media.example.com\"\naudience = \"media.example.com\"\n{keys}"
    );
    start(origin, "https://media.example.com", now, &route, setup_files)
}

fn uri_signing(file: &Value, origin: &Origin, case: &Value) -> Gate {
    let keys = &file["keys"];
    let (audience, issuer, set, sealing, public_url) = match case["profile"].as_str().unwrap() {
        "official" => (
            "dCDN LLC",
            "uCDN Inc",
            &keys["official_jwks"],
            &keys["official_jwks"]["keys"][2],
            "http://cdni.example",
        ),
        _ => (
            "media.example.com",
            "CSP Example",
            &keys["issuers"]["CSP Example"],
            &keys["encryption"][0],
            "https://media.example.com",
        ),
    };
    let route = format!(
        "[keys.csp]\nfile = \"csp.json\"\n[[route]]\nname = \"cdni\"\npath = \"/\"\norigin = \"files\"\n\
         [route.scheme.uri_signing]\naudience = \"{audience}\"\nissuers = {{ \"{issuer}\" = \"csp\" }}\n\
         expiry_required = false\nunnamed_keys = \"csp\"\n\
         content_keys = [{{ name = \"{}\", encoding = \"base64url\", secret = {{ file = \"content.key\" }} }}]\n",
        sealing["kid"].as_str().unwrap()
    );
    let files = vec![
        ("csp.json".to_owned(), set.to_string()),
        (
            "content.key".to_owned(),
            sealing["k"].as_str().unwrap().to_owned(),
        ),
    ];
    start(origin, public_url, case["now"].as_i64().unwrap(), &route, files)
}

fn start(origin: &Origin, public_url: &str, now: i64, route: &str, files: Vec<(String, String)>) -> Gate {
    for path in ["/videos/show1/master.m3u8", "/foo/bar/123.png"] {
        origin.file(path, pattern(1000));
    }
    let setup = Setup::new(conf::http(origin.address()) + route)
        .server(&format!("public_url = \"{public_url}\""))
        .behind_a_proxy()
        .now(now);
    files
        .into_iter()
        .fold(setup, |setup, (name, content)| setup.file(&name, content))
        .start()
}

fn ask(gate: &Gate, case: &Value) -> Response {
    let url = case["url"].as_str().unwrap();
    let target = url.split_once("://").unwrap().1;
    let target = &target[target.find('/').unwrap()..];
    let mut headers = vec![("X-Forwarded-For", case["client_ip"].as_str().unwrap())];
    for (name, value) in case["headers"].as_object().unwrap() {
        headers.push((name, value.as_str().unwrap()));
    }
    gate.connect().allow("set-cookie").get(target, &headers)
}

/// Asks for each case of a sequence; a second use is gone.
fn run(gate: &Gate, cases: &[&Value]) {
    for case in cases {
        let answer = ask(gate, case);
        let (name, allowed) = (&case["name"], case["expect"] == "allow");
        match allowed {
            true => assert!(matches!(answer.status, 200 | 206), "{name}: {}", answer.status),
            false => assert_eq!((answer.status, &*answer.code()), (410, "token_spent"), "{name}"),
        }
    }
}

#[test]
fn the_sequences_of_the_vectors_of_common_access_tokens() {
    let file: Value = serde_json::from_str(CAT).unwrap();
    for (name, count) in [("r1", 2), ("r2", 2)] {
        let cases = sequence(&file, name);
        assert_eq!(cases.len(), count);
        let origin = Origin::start();
        run(&cat(&file, &origin, cases[0]["now"].as_i64().unwrap()), &cases);
    }
}

#[test]
fn the_sequences_of_the_vectors_of_uri_signing() {
    let file: Value = serde_json::from_str(URI_SIGNING).unwrap();
    for (name, count) in [("a2", 2), ("jti", 2), ("jti2", 1)] {
        let cases = sequence(&file, name);
        assert_eq!(cases.len(), count);
        let origin = Origin::start();
        run(&uri_signing(&file, &origin, cases[0]), &cases);
    }
}

#[test]
fn a_token_that_may_be_used_once_has_no_session_whatever_the_route_says() {
    // The route has sessions; the very client that used the token is refused a second range.
    let file: Value = serde_json::from_str(URI_SIGNING).unwrap();
    let cases = sequence(&file, "jti2");
    let origin = Origin::start();
    let gate = uri_signing(&file, &origin, cases[0]);
    let first = ask(&gate, cases[0]).expect(206);
    assert!(first.header("set-cookie").is_none());
    ask(&gate, cases[0]).refused(410, "token_spent");
}

#[test]
fn a_renewed_token_opens_what_the_one_before_it_did() {
    let file: Value = serde_json::from_str(CAT).unwrap();
    let case = file["cases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["name"] == "renew_cookie_due")
        .unwrap();
    let origin = Origin::start();
    let gate = cat(&file, &origin, case["now"].as_i64().unwrap());
    let answer = ask(&gate, case).expect(200);
    let cookie = answer.header("set-cookie").expect("a renewed token").to_owned();
    let cookie = cookie.split(';').next().unwrap();
    // Of the token before, the cookie alone is left.
    let get = |path| {
        gate.connect()
            .allow("set-cookie")
            .get(path, &[("Cookie", cookie)])
    };
    get("/videos/show1/master.m3u8").expect(200);
    // Nothing is renewed for what the origin does not have.
    origin.on(
        "/videos/show1/none.m3u8",
        Script::answer("404 Not Found", &[], "none"),
    );
    let missing = get("/videos/show1/none.m3u8");
    assert!(
        missing.status >= 400 && missing.header("set-cookie").is_none(),
        "{}",
        missing.status
    );
}

#[test]
fn the_log_has_the_codes_of_the_vectors_of_uri_signing() {
    let file: Value = serde_json::from_str(URI_SIGNING).unwrap();
    let keys = &file["keys"];
    let sealing = &keys["encryption"][0];
    let route = format!(
        "[keys.one]\nfile = \"one.json\"\n[keys.two]\nfile = \"two.json\"\n[keys.none]\nfile = \"none.json\"\n\
         [[route]]\nname = \"cdni\"\npath = \"/\"\norigin = \"files\"\n\
         [route.scheme.uri_signing]\naudience = \"media.example.com\"\nunnamed_keys = \"none\"\n\
         issuers = {{ \"CSP Example\" = \"one\", \"uCDN One\" = \"two\" }}\nexpiry_required = false\nresolve_dots = true\n\
         content_keys = [{{ name = \"{}\", encoding = \"base64url\", secret = {{ file = \"content.key\" }} }}]\n",
        sealing["kid"].as_str().unwrap()
    );
    let files = vec![
        ("one.json".to_owned(), keys["issuers"]["CSP Example"].to_string()),
        ("two.json".to_owned(), keys["issuers"]["uCDN One"].to_string()),
        ("none.json".to_owned(), keys["issuer_less_tokens"].to_string()),
        (
            "content.key".to_owned(),
            sealing["k"].as_str().unwrap().to_owned(),
        ),
    ];
    let origin = Origin::start();
    let now = 1_767_225_600;
    let gate = start(&origin, "https://media.example.com", now, &route, files);
    // The path has a second reading, which is refused before a token is looked at.
    let earlier = ["norm_reserved_kept", "regex_start_anchor"];
    let cases = file["cases"].as_array().unwrap().iter().filter(|case| {
        case["profile"] == "default"
            && case["now"] == now
            && case["url"]
                .as_str()
                .unwrap()
                .starts_with("https://media.example.com/")
            && !earlier.iter().any(|name| case["name"] == *name)
    });
    let (mut asked, mut compared) = (0, 0);
    for case in cases {
        ask(&gate, case);
        asked += 1;
        let lines = gate.access(asked);
        // All are asked, for some have to be second.
        let Some(code) = case["code"].as_u64() else {
            continue;
        };
        let (line, code) = (&lines[asked - 1], format!("{code:03}"));
        assert_eq!(line["s_uri_signing"], *code, "{}: {line}", case["name"]);
        compared += 1;
    }
    assert!(compared > 30, "{compared}");
}
