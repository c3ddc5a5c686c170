//! Programs that were written for Sirv, over TLS: the examples of its documentation unchanged but for the host (s6), and its own
//! client for Python. What they get opens at our gate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::support::program::Running;
use crate::support::sirv::{KEY, SCHEME, SECRET, secrets, toml};
use crate::support::tls::Authority;
use crate::support::{Gate, NOW, Origin, Setup, Token, mint, wait};

const PATIENCE: Duration = Duration::from_secs(120);
const EMPTY: &str = "{}";
const GOOD: &str = "{\"filename\":\"/docs/a.pdf\",\"expiresIn\":60}";

struct Stage {
    origin: Origin,
    authority: Authority,
    gate: Gate,
}

impl Stage {
    /// A gate with TLS, whose links lead to that very listener.
    fn set() -> Self {
        Self::with("")
    }

    fn with(route: &str) -> Self {
        let (origin, authority) = (Origin::start(), Authority::new());
        origin
            .file("/docs/a.pdf", "0123456789")
            .file("/REST%20API%20Examples/%C3%A4.jpg", "a picture");
        let setup = secrets(Setup::new(toml(&origin, &format!("{route}{SCHEME}"), "", "")));
        let gate = authority.secure(setup).start();
        let public = format!(
            "[issuer]\npublic_url = \"https://localhost:{}\"\n",
            gate.tls().port()
        );
        gate.edit("[issuer]\n", &public).reload();
        Self {
            origin,
            authority,
            gate,
        }
    }

    /// An example with our host, a bearer and a body.
    fn example(&self, name: &str, body: &str) -> String {
        let text = std::fs::read_to_string(snippet(name)).expect(name);
        let bearer = Token::caller("svc", "files:read").text();
        let port = self.gate.tls().port();
        let changes = match name {
            "https.js" => vec![
                ("\"api.sirv.com\"", "\"localhost\"".to_owned()),
                ("\"port\": null", format!("\"port\": {port}")),
            ],
            _ => vec![("api.sirv.com", format!("localhost:{port}"))],
        };
        let text = changes.into_iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from} is not in {name}");
            text.replace(from, &to)
        });
        assert!(
            text.contains("BEARER_TOKEN_HERE") && text.contains(EMPTY),
            "{name}"
        );
        let body = match name {
            "curl.sh" => body.to_owned(),
            _ => body.replace('"', "\\\""),
        };
        text.replace("BEARER_TOKEN_HERE", &bearer).replace(EMPTY, &body)
    }

    /// What a program prints.
    fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let mut command = Command::new(program);
        command.args(arguments);
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        let mut running = Running::start(command);
        wait::until_within(PATIENCE, &format!("{program} ends"), || running.ended());
        let (said, complaints) = (running.stdout.text_at_end(), running.stderr.text());
        assert!(!said.is_empty(), "{program}: {complaints}");
        said
    }

    fn run_example(&self, name: &str, body: &str) -> Value {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, self.example(name, body)).expect(name);
        let program = match name {
            "curl.sh" => "sh",
            "https.js" => "node",
            _ => "python3",
        };
        let ca = self.authority.file();
        let ca = ca.to_str().expect("UTF-8");
        let variables = ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"].map(|name| (name, ca));
        let said = Self::run(program, &[file.to_str().expect("UTF-8")], &variables);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{name}: {error}: {said}"))
    }

    /// Whether the gate opens what an example got.
    #[track_caller]
    fn opens(&self, answer: &Value) {
        let url = answer["url"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let base = format!("https://localhost:{}", self.gate.tls().port());
        let target = url.strip_prefix(&base).unwrap_or_else(|| panic!("{url}"));
        assert_eq!(self.gate.get(target, &[]).expect(200).text(), "0123456789");
        assert_eq!(self.origin.last().target, "/docs/a.pdf");
    }
}

fn snippet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snippets/sirv")
        .join(name)
}

#[track_caller]
fn is_bad(answer: &Value) {
    assert_eq!(answer["statusCode"], 400, "{answer}");
    assert_eq!(answer["message"], "Supplied data is not valid");
    assert!(
        answer["validationErrors"]
            .as_array()
            .is_some_and(|errors| errors.len() == 2),
        "{answer}"
    );
}

#[test]
fn s6_the_examples_of_the_documentation_are_answered_and_with_a_body_they_get_a_url() {
    let stage = Stage::set();
    for name in ["curl.sh", "http_client.py", "https.js"] {
        is_bad(&stage.run_example(name, EMPTY));
        stage.opens(&stage.run_example(name, GOOD));
    }
    assert_eq!(stage.origin.seen().len(), 3);
}

#[test]
fn s6_the_example_for_browsers_works_from_a_listed_origin() {
    let stage = Stage::set();
    let page = format!("http://{}", stage.gate.address());
    let other = format!("cors_origins = [\"{page}\"]");
    stage
        .gate
        .edit("cors_origins = [\"https://app.example.com\"]", &other)
        .reload();
    // The page is on the listener in clear; what it calls is on the one with TLS.
    let leaf = stage.authority.put("main", &["localhost"]);
    stage.gate.reload_certificates();
    let trusted = format!(
        "--ignore-certificate-errors-spki-list={}",
        STANDARD.encode(leaf.spki)
    );
    let browser = Browser::start_with(&[&trusted]);
    let payload = json!({ "exp": NOW + 300, "aud": "/" });
    let token = mint::hs256(&json!({ "alg": "HS256", "typ": "JWT" }), &payload, KEY.as_bytes());
    stage
        .origin
        .file_with("/page.txt", "a page", &[("Content-Type", "text/plain")]);
    browser.open(&format!("{page}/page.txt?jwt={token}"));
    let run = |body: &str| -> Value {
        let example = stage.example("xhr.js", body);
        let said = browser.run_async(&format!("console.log = done;\n{example}"));
        let text = said.as_str().unwrap_or_else(|| panic!("{said}"));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    };
    is_bad(&run(EMPTY));
    stage.opens(&run(GOOD));
    // From an origin that is not listed it reads nothing.
    stage.gate.edit(&other, "cors_origins = []").reload();
    let example = stage.example("xhr.js", GOOD);
    assert_eq!(browser.run_async(&format!("console.log = done;\n{example}")), "");
}

#[test]
fn the_services_own_client_for_python_signs_in_and_fetches_what_it_asked_for() {
    let stage = Stage::set();
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/sirv-python");
    let base = format!("https://localhost:{}", stage.gate.tls().port());
    let program = snippet("sdk.py");
    let variables = [
        ("SIRV_CLIENT_SECRET", SECRET),
        ("SIRV_KEY", KEY),
        ("PYTHONUTF8", "1"),
    ];
    let ca = stage.authority.file();
    let arguments = [&ca, &program].map(|path| path.to_str().expect("UTF-8"));
    let said = Stage::run(tool, &[arguments[0], arguments[1], &base], &variables);
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}")))
        .collect();
    assert_eq!(lines.len(), 7, "{said}");
    assert_eq!(
        (&lines[0]["token"]["expiresIn"], &lines[0]["token"]["scope"]),
        (&json!(1200), &json!(["files:read", "other"]))
    );
    for (line, body) in [(1, "0123456789"), (2, "a picture"), (3, "0123456789")] {
        assert_eq!(
            (&lines[line]["status"], &lines[line]["body"]),
            (&json!(200), &json!(body)),
            "{said}"
        );
        assert!(lines[line]["url"].as_str().unwrap().starts_with(&base));
    }
    let asked: Vec<String> = stage.origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        asked,
        [
            "/docs/a.pdf",
            "/REST%20API%20Examples/%C3%A4.jpg?w=300&h=300",
            "/docs/a.pdf?text=a%20b%26c"
        ]
    );
    assert_eq!(
        lines[4],
        json!({ "refused": 400, "message": "Supplied data is not valid" })
    );
    assert_eq!(lines[5]["refused"], 403);
    assert_eq!(
        lines[6],
        json!({ "refused": 401, "message": "Authentication failed" })
    );
}
