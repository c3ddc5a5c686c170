//! The published vectors of token schemes through the gate's own phases, as a user would ask: the configuration of each
//! profile in TOML, and every case a line on standard input of `mediagate explain`, which walks `gate::judge` with the
//! case's clock and client address. `upstream` and `status_hint` are held against what it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What stands around the routes of a profile.
struct Config {
    /// `[server] public_url`.
    public_url: &'static str,
    /// Files beside the configuration, mode 0600: name and content.
    files: Vec<(String, Vec<u8>)>,
    /// `[[route]]` and what it names.
    routes: String,
}

impl Config {
    fn new(routes: impl Into<String>) -> Self {
        Self {
            public_url: "https://media.example.com",
            files: Vec::new(),
            routes: routes.into(),
        }
    }

    fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name.to_owned(), content.as_ref().to_vec()));
        self
    }
}

/// Asks `mediagate explain` for each line.
fn explain(config: &Config, lines: &str) -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    for (name, content) in &config.files {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"{}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[origin.files.folder]\nroot = \".\"\n{}",
        config.public_url, config.routes
    );
    let file = folder.path().join("proxy.toml");
    fs::write(&file, &text).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_mediagate"))
        .arg("explain")
        .arg("--config")
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{text}");
    writer.join().unwrap().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Runs the cases of a file, profile by profile; `config` is `None` for profiles that run elsewhere. `excused` are `should`
/// cases that are decided otherwise, each with its reason. Answers how many cases ran.
fn run(file: &str, excused: &[(&str, &str)], config: impl Fn(&str, &Value) -> Option<Config>) -> usize {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut faults = Vec::new();
    let mut count = 0;
    let mut used = 0;
    for profile in file["profiles"].as_object().unwrap().keys() {
        let of_profile: Vec<&Value> = cases.iter().filter(|case| case["profile"] == **profile).collect();
        // A published example has a key of its own.
        let mut groups: Vec<(Value, Vec<&Value>)> = Vec::new();
        for case in of_profile {
            let own = case["key_override"].clone();
            match groups.iter_mut().find(|(key, _)| *key == own) {
                Some((_, group)) => group.push(case),
                None => groups.push((own, vec![case])),
            }
        }
        for (own, group) in groups {
            let mut known = file.clone();
            known["key_override"] = own;
            let Some(config) = config(profile, &known) else {
                continue;
            };
            let lines: String = group
                .iter()
                .map(|case| {
                    let line = json!({
                        "method": case["method"],
                        "url": case["url"],
                        "headers": case["headers"],
                        "client_ip": case["client_ip"],
                        "now": case["now"],
                    });
                    format!("{line}\n")
                })
                .collect();
            let answers = explain(&config, &lines);
            assert_eq!(answers.len(), group.len(), "{profile}");
            for (case, answer) in group.iter().zip(answers) {
                count += 1;
                let excuse = excused.iter().find(|(name, _)| case["name"] == *name);
                used += usize::from(excuse.is_some());
                let judged = judge(case, &answer);
                let is_must = case["level"] == "must";
                match (judged, excuse) {
                    (None, None) => {}
                    (Some(_), Some(_)) if !is_must => {}
                    (None, Some(_)) => {
                        faults.push(format!("{profile} {}: is excused and agrees", case["name"]))
                    }
                    (Some(fault), _) => faults.push(format!(
                        "{profile} {} ({}, {}): {fault}\n  {}\n  {answer}",
                        case["name"], case["level"], case["reason"], case["url"]
                    )),
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!(used, excused.len(), "every excuse is of a case");
    count
}

/// What is wrong with the answer to a case.
fn judge(case: &Value, answer: &Value) -> Option<String> {
    let allowed = match answer["decision"].as_str() {
        Some("allow") => true,
        Some("deny") => false,
        // The client could not even have asked that.
        _ if answer["error"].is_string() => false,
        _ => return Some("no decision".to_owned()),
    };
    if allowed != (case["expect"] == "allow") {
        return Some(format!("was to {}", case["expect"]));
    }
    if let Some(status) = case["status_hint"].as_u64()
        && answer["status"] != status
    {
        return Some(format!("was to answer {status}"));
    }
    if let Some(upstream) = case["upstream"].as_str()
        && allowed
        && answer["target"] != upstream
    {
        return Some(format!("was to ask for {upstream}"));
    }
    None
}

#[test]
fn vectors_of_jwt_vendors_pass_by_profiles_of_the_native_scheme() {
    let ran = run(include_str!("vectors/misc_cdn.json"), &[], |profile, file| {
        let route = match profile {
            "mux" => {
                "carriers = [{ query = \"token\" }]\nscope = { template = \"/{sub}.*\" }\n\
                 [route.scheme.jwt]\nprofile = \"mux\"\n"
            }
            "cloudflare_stream" => {
                "carriers = [{ path = \"/{token}/**\" }]\nscope = \"whole\"\nto = \"/{sub}{target}\"\n\
                 [route.scheme.jwt]\nprofile = \"cloudflare_stream\"\n"
            }
            _ => return None,
        };
        let key = file["keys"]["rs256"]["mux-key-1"].as_str().unwrap();
        let config = format!(
            "[keys.vendor]\nfile = \"key.pem\"\nalg = \"RS256\"\nkid = \"mux-key-1\"\n\
             [[route]]\nname = \"{profile}\"\npath = \"/\"\norigin = \"files\"\nleeway = \"0s\"\n{route}keys = \"vendor\"\n"
        );
        Some(Config::new(config).file("key.pem", key))
    });
    assert_eq!(ran, 12);
}
