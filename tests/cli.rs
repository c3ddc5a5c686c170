//! The program as people run it: exit codes, what is printed where, and files that it makes.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder with a configuration in it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// The shipped configuration, with the demo's files.
    fn shipped() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let place = Self::with(&fs::read_to_string(root.join("proxy.toml")).unwrap());
        fs::create_dir_all(place.path("demo/media")).unwrap();
        fs::copy(
            root.join("demo/catalogue.toml"),
            place.path("demo/catalogue.toml"),
        )
        .unwrap();
        fs::write(place.path("demo/media/clip.mp4"), b"clip").unwrap();
        fs::write(place.path("demo/media/report.pdf"), b"report").unwrap();
        place
    }

    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file that its owner alone can read.
    fn private(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mediagate"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    fn feed(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::from(child.wait_with_output().unwrap())
    }

    /// One line on standard output.
    fn line(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.err);
        ran.out.trim_end().to_owned()
    }

    fn explain(&self, url: &str, more: &[&str]) -> Value {
        let mut arguments = vec!["explain", "--url", url];
        arguments.extend(more);
        serde_json::from_str(&self.line(&arguments)).unwrap()
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

#[test]
fn usage_errors_exit_64_and_help_exits_0() {
    let place = Place::shipped();
    for arguments in [
        &["serv"][..],
        &["--nonsense"],
        &["check", "more"],
        &["token"],
        &["token", "mint"],
        &["token", "mint", "--path", "/a", "--ttl", "5 minutes"],
        &["token", "mint", "--path", "relative"],
        &["token", "mint", "--path", "/a", "--route", "nobody"],
        &["token", "mint", "--path", "/a", "--method", "BREW"],
        &["token", "mint", "--path", "/a", "--media", "1"],
        &["keys", "new", "--alg", "PS512"],
        &["explain", "--method", "GET"],
        &["explain", "--url", "/a", "--header", "no colon"],
        &["explain", "--url", "/a", "--client-ip", "nowhere"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 64, "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
    for arguments in [
        &["--help"][..],
        &["help", "check"],
        &["token", "mint", "--help"],
        &["--version"],
    ] {
        assert_eq!(place.run(arguments).code, 0, "{arguments:?}");
    }
}

#[test]
fn every_mistake_is_reported_and_the_exit_code_is_78() {
    let place = Place::with(
        r#"
[server]
listen = "127.0.0.1:8080"
idle_timout = "75s"
stall_timeout = "75"

[admin]
listen = "127.0.0.1:0"

[keys.media]
file = "state/media.json"
generate = "HS256"

[origin.files.folder]
root = "."

[[route]]
name = "files"
path = "/"
origin = "flies"
carriers = [{ query = "t" }, { path_prefix = "a/b" }]
scheme.jwt = { keys = "media", issuer = "i" }
"#,
    );
    for command in ["check", "serve", "keys"] {
        let ran = place.run(&[command]);
        assert_eq!(ran.code, 78, "{}", ran.err);
        assert!(ran.out.is_empty());
        let lines: Vec<&str> = ran.err.lines().skip(1).collect();
        let wanted = [
            ("proxy.toml:3: server.listen: is a text", "(write […])"),
            (
                "proxy.toml:4: server.idle_timout: unknown key",
                "(did you mean `idle_timeout`?)",
            ),
            (
                "proxy.toml:5: server.stall_timeout: ",
                "(write a number and a unit",
            ),
            (
                "proxy.toml:20: route[0].origin: there is no origin \"flies\"",
                "(did you mean \"files\"?)",
            ),
            ("proxy.toml:21: route[0].carriers[1].path_prefix: ", "(write "),
            ("proxy.toml:22: route[0].scheme.jwt.audience: missing", "(add "),
        ];
        assert_eq!(lines.len(), wanted.len(), "{}", ran.err);
        for (line, (start, hint)) in lines.iter().zip(wanted) {
            assert!(line.starts_with(start) && line.contains(hint), "{line}");
        }
    }
    let absent = place.run(&["check", "--config", "nowhere.toml"]);
    assert_eq!(absent.code, 78);
    assert!(
        absent.err.contains("nowhere.toml") && absent.err.contains("--config"),
        "{}",
        absent.err
    );
}

#[test]
fn demo_is_refused_off_loopback() {
    let place = Place::shipped();
    let text = fs::read_to_string(place.path("proxy.toml")).unwrap();
    for address in ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"] {
        let open = text.replacen(&format!("\"{address}\""), "\"0.0.0.0:0\"", 1);
        assert_ne!(open, text);
        fs::write(place.path("open.toml"), open).unwrap();
        let ran = place.run(&["-c", "open.toml"]);
        assert_eq!(ran.code, 78, "{address}");
        assert!(
            ran.err.contains("loopback") && ran.err.contains("demo"),
            "{}",
            ran.err
        );
    }
    let trusted = text.replacen("demo = true", "demo = false", 1);
    fs::write(place.path("open.toml"), trusted).unwrap();
    let ran = place.run(&["check", "-c", "open.toml"]);
    assert_eq!(ran.code, 78);
    assert!(
        ran.err.contains("issuer.callers[0].keys") && ran.err.contains("only under demo"),
        "{}",
        ran.err
    );
}

#[test]
fn check_prints_each_policy_and_makes_nothing() {
    let place = Place::shipped();
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for word in [
        "route download",
        "route files",
        "?t=",
        "/media/{id}/download/{token}",
        "GET, HEAD",
        "demo/media",
        "leeway 5s",
    ] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    assert!(!place.path("state").exists());
}

#[test]
fn a_minted_link_opens_what_it_names_and_nothing_else() {
    let place = Place::shipped();
    let link = place.line(&[
        "token",
        "mint",
        "--path",
        "/clip.mp4",
        "--ttl",
        "1d",
        "--sub",
        "42",
    ]);
    assert!(link.starts_with("http://127.0.0.1:8080/clip.mp4?t="), "{link}");
    let allowed = place.explain(&link, &[]);
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    assert_eq!(allowed["target"], "/clip.mp4");
    assert_eq!(allowed["subject"], "42");
    assert_eq!(allowed["route"], "files");
    assert_eq!(allowed["scheme"], "jwt");
    assert_eq!(
        allowed["unchecked"],
        serde_json::json!(["uses", "revocation", "binding", "limits"])
    );
    let expires = allowed["expires"].as_i64().unwrap();

    let other = place.explain(&link.replace("clip.mp4", "report.pdf"), &[]);
    assert_eq!(
        (other["decision"].as_str(), other["code"].as_str()),
        (Some("deny"), Some("scope_denied"))
    );
    // The leeway is five seconds, and `exp + leeway` is dead.
    for (now, code) in [(expires + 4, "ok"), (expires + 5, "token_expired")] {
        assert_eq!(place.explain(&link, &["--now", &now.to_string()])["code"], code);
    }
    let forged = place.explain(&format!("{}AAAA", &link[..link.len() - 4]), &[]);
    assert_eq!(forged["decision"], "deny");

    let raw = place.line(&["token", "mint", "--path", "/clip.mp4", "--raw"]);
    assert_eq!(raw.split('.').count(), 3);
    let bound = place.line(&[
        "token",
        "mint",
        "--path",
        "/clip.mp4",
        "--ip",
        "203.0.113.0/24",
        "--method",
        "GET",
    ]);
    assert_eq!(place.explain(&bound, &[])["code"], "address_denied");
    assert_eq!(
        place.explain(&bound, &["--client-ip", "203.0.113.7"])["code"],
        "ok"
    );
}

#[test]
fn explain_knows_the_clients_header_and_what_is_the_issuers() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml")).unwrap();
    let rule = "[server]\nclient_address = { header = \"x-forwarded-for\", trusted = [\"192.0.2.1\"] }";
    assert!(text.contains("\n[server]\n") && text.contains("mount = [\"native\", "));
    let text = text.replace("\n[server]\n", &format!("\n{rule}\n"));
    let place = Place::shipped();
    fs::write(place.path("proxy.toml"), text).unwrap();
    let bound = place.line(&["token", "mint", "--path", "/clip.mp4", "--ip", "203.0.113.7"]);
    for (peer, header, code) in [
        ("192.0.2.1", "X-Forwarded-For: 203.0.113.7", "ok"),
        ("192.0.2.1", "X-Forwarded-For: 203.0.113.8", "address_denied"),
        ("192.0.2.2", "X-Forwarded-For: 203.0.113.7", "address_denied"),
        ("192.0.2.1", "X-Forwarded-For: unknown", "bad_request"),
        ("203.0.113.7", "X-Forwarded-For: 203.0.113.8", "ok"),
    ] {
        let said = place.explain(&bound, &["--client-ip", peer, "--header", header]);
        assert_eq!(said["code"], code, "{peer} {header}");
    }
    let said = place.explain("http://127.0.0.1:8080/v1/tokens", &["--method", "POST"]);
    let expected = ("allow", "issuer", "files");
    let got = ["decision", "code", "route"].map(|key| said[key].as_str().unwrap());
    assert_eq!((got[0], got[1], got[2]), expected);
}

#[test]
fn links_are_made_for_every_carrier() {
    let place = Place::shipped();
    let prefix = place.line(&[
        "token",
        "mint",
        "--path",
        "/hls/**",
        "--open",
        "/hls/a.m3u8",
        "--carrier",
        "path-prefix",
    ]);
    assert!(
        prefix.starts_with("http://127.0.0.1:8080/~ey") && prefix.ends_with("/hls/a.m3u8"),
        "{prefix}"
    );
    assert_eq!(place.explain(&prefix, &[])["target"], "/hls/a.m3u8");

    let media = place.line(&["token", "mint", "--media", "1"]);
    assert!(
        media.starts_with("http://127.0.0.1:8080/media/1/download/ey"),
        "{media}"
    );
    assert_eq!(place.explain(&media, &[])["target"], "/report.pdf");
    assert_eq!(
        place.explain(&media.replace("/media/1/", "/media/2/"), &[])["decision"],
        "deny"
    );

    for (carrier, start) in [
        ("bearer", "Authorization: Bearer ey"),
        ("cookie", "Cookie: media=ey"),
    ] {
        let header = place.line(&["token", "mint", "--path", "/clip.mp4", "--carrier", carrier]);
        assert!(header.starts_with(start), "{header}");
        let answer = place.explain("http://127.0.0.1:8080/clip.mp4", &["--header", &header]);
        assert_eq!(answer["decision"], "allow", "{answer}");
    }
}

#[test]
fn inspect_shows_what_a_token_says_without_its_signature() {
    let place = Place::shipped();
    let token = place.line(&["token", "mint", "--path", "/clip.mp4", "--ttl", "1d", "--raw"]);
    let link = format!("http://h/clip.mp4?t={token}");
    for ran in [
        place.run(&["token", "inspect", &token]),
        place.run(&["token", "inspect", &link]),
        place.feed(&["token", "inspect", "-"], &token),
    ] {
        assert_eq!(ran.code, 0, "{}", ran.err);
        for word in ["NOT VERIFIED", "EdDSA", "/clip.mp4", "expires", "in 23 hours"] {
            assert!(
                ran.out.contains(word) || word == "in 23 hours" && ran.out.contains("in 24 hours"),
                "{word}: {}",
                ran.out
            );
        }
        assert!(
            !ran.out.contains(token.rsplit('.').next().unwrap()),
            "{}",
            ran.out
        );
    }
    for garbage in ["garbage", "a.b.c", "eyJ.e30.x", "eyJhIjo.e30.x"] {
        let ran = place.run(&["token", "inspect", garbage]);
        assert_eq!(ran.code, 1, "{garbage}: {}", ran.out);
    }
}

#[test]
fn a_callers_bearer_is_made_from_the_demo_key() {
    let place = Place::shipped();
    let bearer = place.line(&[
        "token",
        "caller",
        "--sub",
        "42",
        "--scope",
        "media:read media:write",
    ]);
    let ran = place.run(&["token", "inspect", &bearer]);
    for word in [
        "\"42\"",
        "media:read media:write",
        "mediagate-issuer",
        "mediagate-callers",
    ] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    // It is no link.
    let header = format!("Authorization: Bearer {bearer}");
    let answer = place.explain("http://127.0.0.1:8080/clip.mp4", &["--header", &header]);
    assert_eq!(answer["code"], "token_invalid", "{answer}");
}

#[test]
fn keys_are_listed_and_made_and_never_shown_by_accident() {
    let place = Place::shipped();
    let listed = place.run(&["keys"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    for word in ["media", "download", "callers", "EdDSA", "HS256", "signs"] {
        assert!(listed.out.contains(word), "{word}: {}", listed.out);
    }
    for name in [
        "media.jwks.json",
        "download.jwks.json",
        "callers.jwks.json",
        "log-id.key",
    ] {
        let mode = fs::metadata(place.path("state").join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(place.path("state")).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let public: Value = serde_json::from_str(&place.line(&["keys", "--public"])).unwrap();
    let keys = public["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 5, "{public}");
    assert!(
        keys.iter()
            .all(|key| key["kty"] != "oct" && key.get("d").is_none() && key.get("k").is_none()),
        "{public}"
    );
    // No secret member of any key file in anything that was printed.
    for name in ["media", "download", "callers", "portal", "images"] {
        let file: Value =
            serde_json::from_slice(&fs::read(place.path(&format!("state/{name}.jwks.json"))).unwrap())
                .unwrap();
        let key = &file["keys"][0];
        let secret = key.get("d").or(key.get("k")).and_then(Value::as_str).unwrap();
        assert!(!listed.out.contains(secret) && !public.to_string().contains(secret));
    }
    for (alg, kty) in [("EdDSA", "OKP"), ("ES256", "EC"), ("HS256", "oct")] {
        let made: Value = serde_json::from_str(&place.line(&["keys", "new", "--alg", alg])).unwrap();
        assert_eq!(made["keys"][0]["kty"], kty);
    }
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let place = Place::shipped();
    assert_eq!(place.run(&["keys"]).code, 0);
    fs::set_permissions(
        place.path("state/media.jwks.json"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let ran = place.run(&["serve"]);
    assert_eq!(ran.code, 78);
    assert!(
        ran.err.contains("keys.media.file") && ran.err.contains("0644") && ran.err.contains("chmod 600"),
        "{}",
        ran.err
    );
}

#[test]
fn explain_answers_every_line_with_one_line() {
    let place = Place::shipped();
    let link = place.line(&["token", "mint", "--path", "/clip.mp4"]);
    let lines = [
        serde_json::json!({ "method": "GET", "url": link, "headers": {}, "client_ip": "203.0.113.7", "now": null }).to_string(),
        serde_json::json!({ "url": format!("{link}#t=10") }).to_string(),
        serde_json::json!({ "url": "http://127.0.0.1:8080/clip.mp4" }).to_string(),
        serde_json::json!({ "url": "http://127.0.0.1:8080/a/%2e%2e/b?t=x" }).to_string(),
        serde_json::json!({ "url": link, "method": "DELETE" }).to_string(),
        serde_json::json!({ "url": link, "now": 4_102_444_800_i64 }).to_string(),
        "not json".to_owned(),
        r#"{"method":"GET"}"#.to_owned(),
        r#"{"url":"/a","unknown":1}"#.to_owned(),
        format!("{{\"url\":\"/{}\"}}", "a".repeat(200_000)),
        serde_json::json!({ "url": link }).to_string(),
    ];
    let ran = place.feed(&["explain"], &(lines.join("\n") + "\n"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let answers: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said: Vec<&str> = answers
        .iter()
        .map(|answer| {
            answer["code"]
                .as_str()
                .unwrap_or(if answer["error"].is_string() { "error" } else { "?" })
        })
        .collect();
    assert_eq!(
        said,
        [
            "ok",
            "ok",
            "token_missing",
            "bad_path",
            "method_not_allowed",
            "token_expired",
            "error",
            "error",
            "error",
            "error",
            "ok"
        ]
    );
    // The token is in no answer.
    let token = link.split("t=").nth(1).unwrap();
    assert!(!ran.out.contains(token));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let place = Place::shipped();
    let mut child = place
        .command(&["check"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("panicked"),
        "{output:?}"
    );
}

#[test]
fn callers_are_added_listed_and_removed_and_no_hash_is_ever_shown() {
    let place = Place::shipped();
    let text = fs::read_to_string(place.path("proxy.toml")).unwrap();
    assert!(text.contains("callers_file = \"state/callers.toml\"\n"));
    assert_eq!(place.run(&["callers", "list"]).code, 0);
    let add = ["callers", "add", "--name", "a@example.com", "--subject", "42"];
    let added = place.feed(&add, "correct horse battery\n");
    assert_eq!((added.code, added.out.as_str()), (0, ""), "{}", added.err);
    let file = fs::read_to_string(place.path("state/callers.toml")).unwrap();
    assert!(
        file.contains("$argon2id$v=19$") && !file.contains("correct horse"),
        "{file}"
    );
    let mode = fs::metadata(place.path("state/callers.toml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let again = place.feed(&add, "another password\n");
    assert!(
        again.code == 1 && again.err.contains("--replace"),
        "{}",
        again.err
    );
    let replaced = place.feed(&[&add[..], &["--replace"]].concat(), "another password\n");
    assert_eq!(replaced.code, 0, "{}", replaced.err);
    assert_ne!(
        fs::read_to_string(place.path("state/callers.toml")).unwrap(),
        file
    );

    let made = place.run(&[
        "callers",
        "add",
        "--name",
        "backend",
        "--client",
        "--generate",
        "--scope",
        "a b",
    ]);
    assert!(made.code == 0 && made.out.trim().len() == 24, "{}", made.err);
    let list = place.run(&["callers", "list"]).out;
    assert_eq!(
        list,
        "user\ta@example.com\t42\tmedia:read\nclient\tbackend\tbackend\ta b\n"
    );

    for (arguments, input, code) in [
        (&["callers", "add", "--name", ""][..], "x\n", 64),
        (&["callers", "add", "--name", "a\nb"], "x\n", 64),
        (&["callers", "add", "--name", "c", "--scope", "a  b"], "x\n", 64),
        (&["callers", "add", "--name", "c"], "", 64),
        (&["callers", "add", "--name", "c"], "two\nlines\n", 64),
        (&["callers", "add"], "x\n", 64),
        (&["callers", "remove", "--name", "nobody"], "", 1),
    ] {
        let ran = place.feed(arguments, input);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
    }
    let removed = place.run(&["callers", "remove", "--name", "a@example.com"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    assert_eq!(
        place.run(&["callers", "list"]).out,
        "client\tbackend\tbackend\ta b\n"
    );

    fs::write(place.path("state/callers.toml"), "[[user]]\nname = 1\n").unwrap();
    let wrong = place.run(&["callers", "list"]);
    assert!(
        wrong.code == 78 && wrong.err.contains("callers.toml"),
        "{}",
        wrong.err
    );
}

#[test]
fn without_a_file_of_callers_there_is_nobody_to_manage() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml")).unwrap();
    // Nor may anybody sign in.
    let text = text.replace("callers_file = \"state/callers.toml\"\n", "");
    let text = [
        "[issuer.nexudus_bearer]",
        "[issuer.adobe_bearer]",
        "[issuer.sirv_bearer]",
    ]
    .iter()
    .fold(text, |text, table| text.replace(table, "#"));
    let place = Place::shipped();
    fs::write(place.path("proxy.toml"), text).unwrap();
    let ran = place.run(&["callers", "list"]);
    assert!(ran.code == 64 && ran.err.contains("callers_file"), "{}", ran.err);
}

// === withdraw, and tokens that need the store ===

/// The shipped configuration with a second route for opaque tokens.
fn with_opaque() -> Place {
    let place = Place::shipped();
    let text = fs::read_to_string(place.path("proxy.toml")).unwrap();
    let route = "\n[[route]]\nname = \"links\"\npath = \"/links\"\norigin = \"files\"\ncarriers = [{ query = \"t\" }]\n\
        strip_prefix = true\n[route.scheme.opaque]\n";
    fs::write(place.path("proxy.toml"), text + route).unwrap();
    place
}

#[test]
fn revoke_takes_one_thing_at_a_time() {
    let place = Place::shipped();
    let id = "0f".repeat(16);
    for arguments in [
        &["revoke"][..],
        &["revoke", "--id", "0f"],
        &["revoke", "--id", &id, "--key", "k"],
        &["revoke", "--id", &id, "--before", "now"],
        &["revoke", "--subject", "42", "--key", "k"],
        &["revoke", "--subject", "42", "--before", "yesterday"],
        &["revoke", "--jti", "5f"],
        &["revoke", "--issuer", "https://a.example"],
        &["revoke", "--id", &id, "--issuer", "https://a.example"],
        &["revoke", "--token", &id, "--subject", "42"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 64, "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
    for (arguments, says) in [
        (["revoke", "--token", "nothing"], "no token in that"),
        (
            ["revoke", "--token", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"],
            "names no issuer",
        ),
        (["revoke", "--key", ""], "no key has such a name"),
    ] {
        let ran = place.run(&arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {} {}", ran.out, ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
    let wrong = Place::with("[server]\n");
    assert_eq!(wrong.run(&["revoke", "--key", "k"]).code, 78);
    let help = place.line(&["revoke", "--help"]);
    for example in [
        "--token",
        "--id",
        "--jti",
        "--subject",
        "--before",
        "--key",
        "standard input",
    ] {
        assert!(help.contains(example), "{example} is not in\n{help}");
    }
}

#[test]
fn revoke_says_in_one_line_what_was_withdrawn_and_names_one_token_the_same_in_every_way() {
    let place = with_opaque();
    let link = place.line(&["token", "mint", "--path", "/clip.mp4"]);
    let named = place.line(&["revoke", "--token", &link]);
    let words: Vec<&str> = named.split_whitespace().collect();
    assert_eq!(words[..2], ["withdrawn:", "token"]);
    let id = words[2].trim_end_matches(',');
    // One of our own keys signed it, so that its end is believed.
    assert!(id.len() == 32 && named.contains("which expires at 20"), "{named}");
    let token = link.rsplit("?t=").next().unwrap();
    assert_eq!(
        place
            .feed(&["revoke", "--token", "-"], &format!("{token}\n"))
            .out
            .trim_end(),
        named
    );
    let (_, claims) = opened(token);
    let (jti, issuer) = (claims["jti"].as_str().unwrap(), claims["iss"].as_str().unwrap());
    for arguments in [
        &["revoke", "--id", id][..],
        &["revoke", "--jti", jti, "--issuer", issuer],
    ] {
        assert_eq!(place.line(arguments), format!("withdrawn: token {id}, for good"));
    }
    // Somebody else's text with that name and an early end must not have it forgotten early.
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.AAAA");
    assert_eq!(
        place.line(&["revoke", "--token", &forged]),
        format!("withdrawn: token {id}, for good")
    );
    assert_eq!(
        place.line(&["revoke", "--subject", "42", "--before", "1767225600"]),
        "withdrawn: the tokens of subject \"42\" from before 2026-01-01T00:00:00.000Z"
    );
    assert_eq!(
        place.line(&["revoke", "--key", "k1"]),
        "withdrawn: the tokens of key \"k1\""
    );
    let now = place.line(&["revoke", "--subject", "42"]);
    assert!(now.contains("from before 20"), "{now}");
    // An opaque one goes by its own text.
    let link = place.line(&["token", "mint", "--path", "/links/clip.mp4", "--scheme", "opaque"]);
    assert!(
        place
            .line(&["revoke", "--token", &link])
            .starts_with("withdrawn: token ")
    );
}

#[test]
fn sirv_tokens_are_minted_shown_explained_and_withdrawn() {
    let place = Place::shipped();
    let text = fs::read_to_string(place.path("proxy.toml")).unwrap();
    let more = "\n[[keys.pictures.inline]]\nalg = \"HS256\"\nsecret = { file = \"images.key\" }\n\
        [[route]]\nname = \"images\"\npath = \"/images\"\norigin = \"files\"\ndialect = \"sirv\"\n\
        carriers = [{ query = \"jwt\" }]\nstrip_prefix = true\nscheme.sirv = { keys = \"pictures\" }\n";
    fs::write(place.path("proxy.toml"), text + more).unwrap();
    fs::write(place.path("images.key"), "0123456789abcdef0123456789abcdef").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(place.path("images.key"), private).unwrap();
    assert!(
        place
            .line(&["check"])
            .contains("sirv, leeway 5s, keys \"pictures\"")
    );
    let link = place.line(&["token", "mint", "--path", "/images/clip.mp4", "--ttl", "1h"]);
    let (_, claims) = opened(link.rsplit("?jwt=").next().unwrap());
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(
        (names.as_slice(), &claims["aud"]),
        (
            &[&"aud".to_owned(), &"exp".into(), &"iat".into()][..],
            &"/images/clip.mp4".into()
        )
    );
    let explained = place.explain(&link, &[]);
    assert_eq!(
        (&explained["decision"], &explained["scheme"]),
        (&"allow".into(), &"sirv".into()),
        "{explained}"
    );
    let other = place.explain(&link.replace("clip.mp4", "report.pdf"), &[]);
    assert_eq!(
        (&other["status"], &other["code"]),
        (&403.into(), &"scope_denied".into()),
        "{other}"
    );
    let withdrawn = place.line(&["revoke", "--token", &link]);
    assert!(withdrawn.contains("which expires at 20"), "{withdrawn}");
    for what in [
        &["--path", "/images/**"][..],
        &["--path", "/images/a"],
        &["--path", "/images/a.jpg", "--uses", "1"],
    ] {
        let ran = place.run(&[&["token", "mint"], what].concat());
        assert!(
            ran.code == 1 && ran.err.contains("Sirv token can't say"),
            "{what:?}: {}",
            ran.err
        );
    }
}

/// Header and claims of a JWT.
fn opened(token: &str) -> (Value, Value) {
    use base64::Engine;
    let mut parts = token.split('.').map(|part| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn tokens_for_one_use_and_opaque_ones_are_minted_without_a_server() {
    let place = with_opaque();
    let once = place.line(&["token", "mint", "--path", "/clip.mp4", "--uses", "1", "--raw"]);
    assert_eq!(opened(&once).1["uses"], 1);
    let mint = |more: &[&str]| {
        let mut arguments = vec![
            "token",
            "mint",
            "--path",
            "/links/clip.mp4",
            "--opaque",
            "--sub",
            "42",
        ];
        arguments.extend(more);
        place.line(&arguments)
    };
    let is_handle = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let link = mint(&["--uses", "1"]);
    let (path, handle) = link.split_once("/links/clip.mp4?t=").unwrap();
    assert!(path.starts_with("http://") && is_handle(handle), "{link}");
    let login = mint(&["--purpose", "login"]);
    let (_, rest) = login.split_once("/login?t=").unwrap();
    let (handle, rest) = rest.split_once('&').unwrap();
    assert!(is_handle(handle), "{login}");
    assert_eq!(rest, "redirectUrl=%2Flinks%2Fclip%2Emp4");
    assert!(is_handle(&mint(&["--raw"])));
    let inspected = place.line(&["token", "inspect", &link]);
    assert!(inspected.starts_with("opaque: ") && inspected.contains("the store knows what it says"));
    // `explain` touches no store, and says so.
    let explained = place.explain(&link, &[]);
    assert_eq!(explained["decision"], "deny");
    assert_eq!(explained["code"], "needs_store");
    assert_eq!(explained["scheme"], "opaque");
    assert_eq!(
        explained["unchecked"],
        serde_json::json!(["uses", "revocation", "binding", "limits"])
    );
    let bare = Place::shipped();
    let text = fs::read_to_string(bare.path("proxy.toml")).unwrap();
    let (before, landing) = text.split_once("[landing]\n").unwrap();
    let after = landing.split_once("\n\n").unwrap().1;
    fs::write(bare.path("proxy.toml"), format!("{before}{after}")).unwrap();
    let elsewhere = bare.run(&[
        "token",
        "mint",
        "--path",
        "/clip.mp4",
        "--opaque",
        "--purpose",
        "login",
    ]);
    assert_eq!(elsewhere.code, 64);
    assert!(elsewhere.err.contains("[landing]"), "{}", elsewhere.err);
    for arguments in [
        &["token", "mint", "--path", "/clip.mp4", "--uses", "2"][..],
        &["token", "mint", "--path", "/clip.mp4", "--uses", "0"],
        &["token", "mint", "--path", "/clip.mp4", "--opaque"],
        &["token", "mint", "--path", "/links/clip.mp4", "--purpose", "login"],
        // A bearer may do what a rule says, and here there is none.
        &[
            "token",
            "mint",
            "--path",
            "/links/clip.mp4",
            "--opaque",
            "--purpose",
            "exchange",
        ],
        &[
            "token",
            "mint",
            "--path",
            "/links/clip.mp4",
            "--opaque",
            "--purpose",
            "nothing",
        ],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 64, "{arguments:?}: {} {}", ran.out, ran.err);
    }
}

#[test]
fn limits_are_minted_and_explained_and_kept_in_their_bounds() {
    let place = Place::shipped();
    let mint = |more: &[&str]| {
        let mut arguments = vec!["token", "mint", "--path", "/clip.mp4"];
        arguments.extend(more);
        place.run(&arguments)
    };
    let link = mint(&["--rate", "2MiB", "--streams", "4"]);
    assert_eq!(link.code, 0, "{}", link.err);
    let (_, token) = link.out.trim().split_once("?t=").unwrap();
    let claims = opened(token).1;
    assert_eq!(
        (&claims["rate"], &claims["streams"]),
        (&(2 << 20).into(), &4.into())
    );
    let explained = place.explain(link.out.trim(), &[]);
    assert_eq!(explained["decision"], "allow", "{explained}");
    assert!(
        explained["unchecked"]
            .as_array()
            .unwrap()
            .contains(&"limits".into())
    );
    for bad in [
        ["--rate", "1023B"],
        ["--rate", "1025GiB"],
        ["--rate", "2048"],
        ["--streams", "0"],
        ["--streams", "1025"],
    ] {
        assert_eq!(mint(&bad).code, 64, "{bad:?}");
    }
}

/// A route for each scheme that judges whole requests, and its keys in files.
fn every_signed_scheme() -> Place {
    let mut text = String::from(
        "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"https://media.example.com\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [origin.files.http]\nurl = \"http://127.0.0.1:9\"\n\
         [keys.csp]\nfile = \"csp.json\"\n",
    );
    let shared = |scheme: &str, more: &str, file: &str| {
        format!(
            "[route.scheme.{scheme}]\n{more}\n[[route.scheme.{scheme}.keys]]\nname = \"key-1\"\nsecret = {{ file = \"{file}\" }}\n"
        )
    };
    let cat = shared("cat", "", "text").replace("name = \"key-1\"", "name = \"key-1\"\nalg = \"HS256\"");
    let presigned = shared("s3_presigned", "", "text")
        .replace("name = \"key-1\"", "name = \"AKID\"\nregion = \"eu-central-1\"");
    for (name, scheme) in [
        ("bunny", shared("bunny", "", "text")),
        ("edge_auth", shared("edge_auth", "", "hex")),
        ("media_cdn", shared("media_cdn", "", "base64url")),
        ("cloud_cdn", shared("cloud_cdn", "", "short")),
        ("cat", cat),
        ("s3_presigned", presigned),
        (
            "cloudfront",
            "[route.scheme.cloudfront]\nkeys = [{ name = \"KEYPAIR\", private_key = { file = \"p256.pem\" } }]\n".to_owned(),
        ),
        (
            "uri_signing",
            "[route.scheme.uri_signing]\nissuers = { csp = \"csp\" }\n".to_owned(),
        ),
        ("mac", shared("mac", "preset = \"keycdn\"", "text")),
    ] {
        text += &format!("[[route]]\nname = \"{name}\"\npath = \"/{name}\"\norigin = \"files\"\n{scheme}");
    }
    let place = Place::with(&text);
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .unwrap()
        .serialize_pem();
    for (name, content) in [
        ("text", "a secret of thirty-two bytes, or more"),
        ("hex", "00112233445566778899aabbccddeeff"),
        ("base64url", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"),
        ("short", "AAECAwQFBgcICQoLDA0ODw=="),
        ("p256.pem", &pem),
    ] {
        place.private(name, content);
    }
    let set = place.line(&["keys", "new", "--alg", "HS256"]);
    place.private("csp.json", &set);
    place
}

#[test]
fn links_of_every_signed_scheme_are_minted_explained_and_told() {
    let place = every_signed_scheme();
    for scheme in [
        "bunny",
        "edge_auth",
        "media_cdn",
        "cloud_cdn",
        "cat",
        "s3_presigned",
        "cloudfront",
        "uri_signing",
        "mac",
    ] {
        let path = format!("/{scheme}/a/b.mp4");
        let link = place.line(&["token", "mint", "--path", &path, "--ttl", "10m"]);
        assert!(link.starts_with("https://media.example.com/"), "{scheme}: {link}");
        let named = place.line(&["token", "mint", "--path", &path, "--scheme", scheme]);
        assert_eq!(
            place.explain(&named, &[])["decision"],
            "allow",
            "{scheme}: {named}"
        );
        let said = place.explain(&link, &["--show-signed"]);
        assert_eq!(said["decision"], "allow", "{scheme}: {said}");
        assert_eq!(said["route"], scheme);
        assert_eq!(said["target"], *path, "{scheme}: nothing of the token is left");
        let signed = said["signed"].to_string();
        assert!(signed.len() > 10, "{scheme}: {signed}");
        for secret in ["thirty-two", "00112233", "AAECAwQF"] {
            assert!(!signed.contains(secret), "{scheme}: {signed}");
        }
        assert!(place.explain(&link, &[])["signed"].is_null());
        let other = link.replace("/a/b.mp4", "/a/c.mp4");
        assert_eq!(
            place.explain(&other, &[])["decision"],
            "deny",
            "{scheme}: {other}"
        );
        let later = place.explain(&link, &["--now", "4102444800"]);
        assert_eq!(
            (&later["code"], &later["status"]),
            (
                &"token_expired".into(),
                &match scheme {
                    "mac" => 410.into(),
                    _ => 403.into(),
                }
            ),
            "{scheme}"
        );
        let told = place.line(&["token", "inspect", &link]);
        assert!(
            told.starts_with("NOT VERIFIED")
                && told.contains(match scheme {
                    "mac" => "mac:keycdn",
                    scheme => scheme,
                }),
            "{scheme}: {told}"
        );
    }
    // A cookie and a header, of those that have them.
    for (scheme, carrier, start) in [
        ("cloudfront", "cookie", "Cookie: CloudFront-Policy="),
        ("cat", "header", "cta-common-access-token: "),
        ("edge_auth", "cookie", "Cookie: hdnts="),
    ] {
        let pattern = format!("/{scheme}/**");
        let open = format!("/{scheme}/a/b.mp4");
        let line = place.line(&[
            "token",
            "mint",
            "--path",
            &format!("/{scheme}/"),
            "--open",
            &open,
            "--carrier",
            carrier,
        ]);
        assert!(line.starts_with(start), "{pattern}: {line}");
        let url = format!("https://media.example.com{open}");
        assert_eq!(
            place.explain(&url, &["--header", &line])["decision"],
            "allow",
            "{scheme}: {line}"
        );
        assert!(place.line(&["token", "inspect", &line]).contains(scheme));
    }
    let refused = place.run(&["token", "mint", "--path", "/mac/a", "--scheme", "cloudfront"]);
    assert!(
        refused.code == 64 && refused.err.contains("has no such scheme"),
        "{}",
        refused.err
    );
    let refused = place.run(&["token", "mint", "--path", "/mac/a", "--uses", "1"]);
    assert_eq!(refused.code, 64, "{}", refused.err);
}
