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
#[derive(Clone)]
struct Config {
    /// Further keys of `[server]`.
    server: &'static str,
    /// Files beside the configuration, mode 0600: name and content.
    files: Vec<(String, Vec<u8>)>,
    /// `[[route]]` and what it names.
    routes: String,
}

/// One route for everything, before its schemes.
const ROUTE: &str = "[[route]]\nname = \"files\"\npath = \"/\"\norigin = \"files\"\n\
                     methods = [\"GET\", \"HEAD\", \"PUT\", \"POST\", \"DELETE\"]\n";

/// Clients as a proxy on loopback names them.
const PROXIED: &str = "client_address = { header = \"x-forwarded-for\", trusted = [\"127.0.0.0/8\"] }";

impl Config {
    fn new(routes: impl Into<String>) -> Self {
        Self {
            server: "",
            files: Vec::new(),
            routes: routes.into(),
        }
    }

    /// One route for everything, with this scheme, behind an HTTP origin that nobody asks.
    fn of_scheme(scheme: &str) -> Self {
        Self::new(format!("{ROUTE}{scheme}\n"))
    }

    /// All of these schemes on one route: their tables and files, which keep apart by the names of the families.
    fn of_schemes(schemes: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let mut all = Self::new(ROUTE);
        for (name, scheme) in schemes {
            let mut tables = scheme.routes.strip_prefix(ROUTE).unwrap().to_owned();
            for (file, content) in scheme.files {
                let own = format!("{name}-{file}");
                for key in ["file", "public_key"] {
                    tables = tables.replace(&format!("{key} = \"{file}\""), &format!("{key} = \"{own}\""));
                }
                all.files.push((own, content));
            }
            all.routes += &tables;
        }
        all
    }

    fn server(mut self, keys: &'static str) -> Self {
        self.server = keys;
        self
    }

    fn file(mut self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.files.push((name.to_owned(), content.as_ref().to_vec()));
        self
    }
}

/// Asks `mediagate explain` for each line.
fn explain(config: &Config, public_url: &str, lines: &str) -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    for (name, content) in &config.files {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"{public_url}\"\n{}\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[origin.files.http]\nurl = \"http://127.0.0.1:9\"\n{}",
        config.server, config.routes
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

/// Scheme and authority of a case's URL: what the gate is configured to be reached under. Schemes that sign them are judged
/// with those, and never with what a request says.
fn base(case: &Value) -> String {
    let url = case["url"].as_str().unwrap();
    let start = url.find("://").unwrap() + 3;
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    url[..end].to_lowercase()
}

/// Runs the cases of a file, profile by profile; `config` is `None` for profiles that run elsewhere. `excused` are `should`
/// cases that are decided otherwise, each with its reason. Answers how many cases ran.
fn run(file: &str, excused: &[(&str, &str)], config: impl Fn(&str, &Value) -> Option<Config>) -> usize {
    run_without(file, &[], excused, config)
}

/// As `run`, without cases that the store decides.
fn run_without(
    file: &str,
    of_store: &[&str],
    excused: &[(&str, &str)],
    config: impl Fn(&str, &Value) -> Option<Config>,
) -> usize {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let mut faults = Vec::new();
    let mut count = 0;
    let mut used = 0;
    for profile in file["profiles"].as_object().unwrap().keys() {
        let is_of_store = |case: &Value| of_store.iter().any(|name| case["name"] == *name);
        let of_profile = cases
            .iter()
            .filter(|case| case["profile"] == **profile && !is_of_store(case));
        // A published example has a key of its own.
        let mut groups: Vec<((Value, String), Vec<&Value>)> = Vec::new();
        for case in of_profile {
            let own = (case["key_override"].clone(), base(case));
            match groups.iter_mut().find(|(known, _)| *known == own) {
                Some((_, group)) => group.push(case),
                None => groups.push((own, vec![case])),
            }
        }
        for ((own, public_url), group) in groups {
            let mut known = file.clone();
            known["key_override"] = own;
            let Some(config) = config(profile, &known) else {
                continue;
            };
            let proxied = config.server.contains("client_address");
            let lines: String = group.iter().map(|case| line(case, proxied)).collect();
            let answers = explain(&config, &public_url, &lines);
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

/// A case as `explain` reads it; from a trusted proxy on loopback, or from the client itself.
fn line(case: &Value, proxied: bool) -> String {
    let mut line = json!({
        "method": case["method"],
        "url": case["url"],
        "headers": case["headers"],
        "client_ip": case["client_ip"],
        "now": case["now"],
    });
    if proxied {
        line["headers"]["X-Forwarded-For"] = case["client_ip"].clone();
        line["client_ip"] = json!("127.0.0.1");
    }
    format!("{line}\n")
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

/// `keys` of a scheme with shared secrets.
fn secrets(scheme: &str, keys: &Value, encoding: &str) -> (String, Vec<(String, String)>) {
    let mut tables = String::new();
    let mut files = Vec::new();
    for (name, secret) in keys.as_object().unwrap() {
        tables += &format!(
            "[[route.scheme.{scheme}.keys]]\nname = \"{name}\"\nencoding = \"{encoding}\"\n\
             secret = {{ file = \"{name}.key\" }}\n"
        );
        files.push((format!("{name}.key"), secret.as_str().unwrap().to_owned()));
    }
    (tables, files)
}

fn bunny(profile: &str, file: &Value) -> Option<Config> {
    let bound = profile == "ip";
    let scheme = format!(
        "[route.scheme.bunny]\ngenerations = [\"hs256\", \"sha256\", \"md5\"]\nbound_to_address = {bound}\n\
             country_header = \"X-Country\"\nkeys = [{{ name = \"zone\", secret = {{ file = \"key\" }} }}]\n"
    );
    let key = file["keys"]["security_key"].as_str().unwrap();
    Some(Config::of_scheme(&scheme).server(PROXIED).file("key", key))
}

#[test]
fn vectors_of_bunny() {
    let ran = run(include_str!("vectors/bunny.json"), &[], bunny);
    assert_eq!(ran, 69);
}

fn cloud_cdn(_: &str, file: &Value) -> Option<Config> {
    let (keys, files) = secrets("cloud_cdn", &file["keys"]["keys"], "text");
    let config = Config::of_scheme(&format!("[route.scheme.cloud_cdn]\n{keys}"));
    Some(
        files
            .into_iter()
            .fold(config, |config, (name, key)| config.file(&name, key)),
    )
}

#[test]
fn vectors_of_cloud_cdn() {
    let ran = run(include_str!("vectors/google_cloud_cdn.json"), &[], cloud_cdn);
    assert_eq!(ran, 45);
}

fn cloudfront(_: &str, file: &Value) -> Option<Config> {
    let mut config = Config::of_scheme("[route.scheme.cloudfront]\n");
    for (id, pem) in file["keys"]["public_keys"].as_object().unwrap() {
        config.routes +=
            &format!("[[route.scheme.cloudfront.keys]]\nname = \"{id}\"\npublic_key = \"{id}.pem\"\n");
        config = config.file(&format!("{id}.pem"), pem.as_str().unwrap());
    }
    Some(config)
}

#[test]
fn vectors_of_cloudfront() {
    let ran = run(include_str!("vectors/cloudfront.json"), &[], cloudfront);
    assert_eq!(ran, 73);
}

fn presigned(_: &str, file: &Value) -> Option<Config> {
    let own = &file["key_override"];
    let credentials = match own.is_null() {
        true => &file["keys"]["credentials"],
        false => own,
    };
    let mut config = Config::of_scheme("[route.scheme.s3_presigned]\n");
    for (id, secret) in credentials.as_object().unwrap() {
        config.routes += &format!(
            "[[route.scheme.s3_presigned.keys]]\nname = \"{id}\"\nsecret = {{ file = \"{id}\" }}\n\
                 region = \"us-east-1\"\n"
        );
        config = config.file(id, secret.as_str().unwrap());
    }
    Some(config)
}

#[test]
fn vectors_of_presigned_urls() {
    let ran = run(include_str!("vectors/s3_sigv4.json"), &[], presigned);
    assert_eq!(ran, 47);
}

fn cat(profile: &str, file: &Value) -> Option<Config> {
    let (mut keys, mut files) = secrets("cat", &file["keys"]["mac"], "hex");
    keys = keys.replace("encoding = \"hex\"", "alg = \"HS256\"\nencoding = \"hex\"");
    for (kind, alg) in [("es256_public_pem", "ES256"), ("ps256_public_pem", "PS256")] {
        for (name, pem) in file["keys"][kind].as_object().unwrap() {
            keys += &format!(
                "[[route.scheme.cat.keys]]\nname = \"{name}\"\nalg = \"{alg}\"\npublic_key = \"{name}.pem\"\n"
            );
            files.push((format!("{name}.pem"), pem.as_str().unwrap().to_owned()));
        }
    }
    let config = Config::of_scheme(&format!(
        "[route.scheme.cat]\nissuer = \"https://cat.media.example.com\"\naudience = \"media.example.com\"\n\
             path_segment = {}\n{keys}",
        profile == "path"
    ));
    Some(
        files
            .into_iter()
            .fold(config, |config, (name, key)| config.file(&name, key)),
    )
}

#[test]
fn vectors_of_common_access_tokens() {
    // That a token was used is in the store: `tests/it/replay.rs`.
    let of_store = ["replay_again"];
    let file = include_str!("vectors/cat.json");
    let ran = run_without(file, &of_store, &[], cat);
    assert_eq!(ran, 99 - of_store.len());
}

fn uri_signing(profile: &str, file: &Value) -> Option<Config> {
    let keys = &file["keys"];
    let mut scheme = "[route.scheme.uri_signing]\nexpiry_required = false\nresolve_dots = true\n".to_owned();
    let mut sets = Vec::new();
    if profile == "official" {
        scheme += "audience = \"dCDN LLC\"\nissuers = { \"uCDN Inc\" = \"official\" }\nunnamed_keys = \"official\"\n";
        sets.push(("official".to_owned(), keys["official_jwks"].clone()));
    } else {
        let mut issuers = Vec::new();
        for (at, (issuer, set)) in keys["issuers"].as_object().unwrap().iter().enumerate() {
            issuers.push(format!("\"{issuer}\" = \"issuer{at}\""));
            sets.push((format!("issuer{at}"), set.clone()));
        }
        scheme += &format!(
            "audience = \"media.example.com\"\nissuers = {{ {} }}\nunnamed_keys = \"unnamed\"\n",
            issuers.join(", ")
        );
        sets.push(("unnamed".to_owned(), keys["issuer_less_tokens"].clone()));
    }
    if profile == "usp" {
        scheme += "attribute = \"usp\"\ncookie = \"usp\"\n";
    }
    let sealing = match profile {
        "official" => &keys["official_jwks"]["keys"][2],
        _ => &keys["encryption"][0],
    };
    scheme += &format!(
        "[[route.scheme.uri_signing.content_keys]]\nname = \"{}\"\nencoding = \"base64url\"\n\
             secret = {{ file = \"content.key\" }}\n",
        sealing["kid"].as_str().unwrap()
    );
    let mut config = Config::of_scheme(&scheme).file("content.key", sealing["k"].as_str().unwrap());
    for (name, set) in sets {
        config.routes += &format!("[keys.{name}]\nfile = \"{name}.json\"\n");
        config = config.file(&format!("{name}.json"), set.to_string());
    }
    Some(config)
}

#[test]
fn vectors_of_uri_signing() {
    // That a token was used is in the store: `tests/it/replay.rs`.
    let of_store = ["official_a2_replay", "jti_again"];
    let file = include_str!("vectors/rfc9246.json");
    let ran = run_without(file, &of_store, &[], uri_signing);
    assert_eq!(ran, 109 - of_store.len());
}

fn edge_auth(profile: &str, file: &Value) -> Option<Config> {
    let more = match profile {
        "escape" => "escape_early = true\n",
        "salted" => "salt = { file = \"salt\" }\n",
        "sha1" => "algorithm = \"sha1\"\n",
        "md5" => "algorithm = \"md5\"\n",
        _ => "",
    };
    let keys = &file["keys"];
    let scheme = format!(
        "[route.scheme.edge_auth]\nnames = [\"hdnts\"]\n{more}\
             keys = [{{ name = \"primary\", secret = {{ file = \"primary\" }} }}, {{ name = \"transition\", secret = {{ file = \"transition\" }} }}]\n"
    );
    let text = |name: &str| keys[name].as_str().unwrap();
    Some(
        Config::of_scheme(&scheme)
            .file("primary", text("primary_hex"))
            .file("transition", text("transition_hex"))
            .file("salt", text("salt")),
    )
}

#[test]
fn vectors_of_edge_auth() {
    let ran = run(include_str!("vectors/akamai_edgeauth.json"), &[], edge_auth);
    assert_eq!(ran, 60);
}

fn media_cdn(_: &str, file: &Value) -> Option<Config> {
    let scheme = "[route.scheme.media_cdn]\nnames = [\"hdnts\"]\n\
             [[route.scheme.media_cdn.keys]]\nname = \"media-key\"\npublic_key = \"media-key\"\n\
             [[route.scheme.media_cdn.keys]]\nname = \"hmac\"\nsecret = { file = \"hmac\" }\n\
             [[route.scheme.media_cdn.keys]]\nname = \"hmac1\"\nsecret = { file = \"hmac\" }\nmac = \"sha1\"\n";
    Some(
        Config::of_scheme(scheme)
            .file(
                "media-key",
                file["keys"]["ed25519_public"]["media-key"].as_str().unwrap(),
            )
            .file("hmac", file["keys"]["shared_hmac"].as_str().unwrap()),
    )
}

#[test]
fn vectors_of_media_cdn() {
    let ran = run(include_str!("vectors/google_media_cdn.json"), &[], media_cdn);
    assert_eq!(ran, 91);
}

/// `[route.scheme.mac]` with a secret from the file `key`.
fn mac(settings: &str) -> String {
    format!(
        "[route.scheme.mac]\n{settings}\nkeys = [{{ name = \"first\", secret = {{ file = \"key\" }} }}]\n"
    )
}

fn nginx(profile: &str, file: &Value) -> Option<Config> {
    let secret = |prefix: &str| {
        format!("preset = \"nginx_secure_link_secret\"\nwithout_expiry = true\nplace = \"{prefix}/{{mac}}\"")
    };
    let (settings, key) = match profile {
            "ip" => ("preset = \"nginx_secure_link\"".to_owned(), "ip_secret"),
            "doc" => ("preset = \"nginx_secure_link\"".to_owned(), ""),
            "noip" => (
                "preset = \"nginx_secure_link\"\npattern = \"{secret}{path}{expires}\"\nplace = \"?st={mac}&e={expires}\""
                    .to_owned(),
                "noip_secret",
            ),
            "prefix" => (
                "preset = \"nginx_secure_link\"\npattern = \"{expires}{segments:1}/ {secret}\"\nplace = \"/hls/{mac}/{expires}\""
                    .to_owned(),
                "prefix_secret",
            ),
            "nolimit" => (
                "preset = \"nginx_secure_link\"\npattern = \"{path} {secret}\"\nplace = \"?md5={mac}\"\ntime = \"none\"\n\
                 without_expiry = true"
                    .to_owned(),
                "noip_secret",
            ),
            "secret" => (secret("/w"), "secure_link_secret"),
            "doc_secret" => (secret("/p"), ""),
            other => panic!("{other}"),
        };
    let key = file["keys"][key].as_str().unwrap_or("secret");
    Some(Config::of_scheme(&mac(&settings)).file("key", key))
}

#[test]
fn vectors_of_nginx_secure_link() {
    let ran = run(include_str!("vectors/nginx_secure_link.json"), &[], nginx);
    assert_eq!(ran, 60);
}

fn lighttpd(profile: &str, file: &Value) -> Option<Config> {
    let (preset, pattern) = match profile {
        "md5" => ("lighttpd_secdownload", "{secret}{path}{issued}"),
        "sha1" => ("lighttpd_secdownload_hmac_sha1", "/{issued}{path}"),
        "sha256" => ("lighttpd_secdownload_hmac_sha256", "/{issued}{path}"),
        "seg" => ("lighttpd_secdownload_hmac_sha256", "/{issued}{segments:1}"),
        "qs" => ("lighttpd_secdownload_hmac_sha256", "/{issued}{path}{and_query}"),
        other => panic!("{other}"),
    };
    let settings = format!(
        "preset = \"{preset}\"\npattern = \"{pattern}\"\nplace = \"/dl/{{mac}}/{{issued}}\"\nttl = \"60s\""
    );
    Some(Config::of_scheme(&mac(&settings)).file("key", file["keys"]["secret"].as_str().unwrap()))
}

#[test]
fn vectors_of_lighttpd_secdownload() {
    let ran = run(include_str!("vectors/lighttpd_secdownload.json"), &[], lighttpd);
    assert_eq!(ran, 38);
}

fn cloudflare(profile: &str, file: &Value) -> Option<Config> {
    let flags = if profile == "s" {
        "encoding = \"base64url_unpadded\""
    } else {
        ""
    };
    let settings = format!("preset = \"cloudflare_timed_hmac\"\nttl = \"3h\"\n{flags}");
    Some(Config::of_scheme(&mac(&settings)).file("key", file["keys"]["secret"].as_str().unwrap()))
}

#[test]
fn vectors_of_cloudflare_timed_hmac() {
    let ran = run(
        include_str!("vectors/cloudflare_timed_hmac.json"),
        &[],
        cloudflare,
    );
    assert_eq!(ran, 25);
}

fn others(profile: &str, file: &Value) -> Option<Config> {
    // JWTs, which the native scheme reads.
    if matches!(profile, "mux" | "cloudflare_stream") {
        return None;
    }
    let ttl = match file["profiles"][profile]["ttl_seconds"].as_u64() {
        Some(ttl) => format!("ttl = \"{ttl}s\""),
        None => String::new(),
    };
    let settings = mac(&format!("preset = \"{profile}\"\n{ttl}"));
    let own = file["key_override"].as_str();
    let (settings, key) = match profile {
        "fastly" => (
            settings.replace("name = \"first\"", "name = \"first\", encoding = \"base64\""),
            "fastly_key_base64",
        ),
        _ => (settings, "secret"),
    };
    Some(Config::of_scheme(&settings).file("key", own.or(file["keys"][key].as_str()).unwrap()))
}

#[test]
fn vectors_of_other_cdns() {
    let ran = run(include_str!("vectors/misc_cdn.json"), &[], others);
    assert_eq!(ran, 79 - 12);
}

/// The native scheme, in `?t=`.
fn jwt(profile: &str, file: &Value) -> Option<Config> {
    let said = &file["profiles"][profile];
    (profile == "default").then(|| {
        let route = format!(
            "carriers = [{{ query = \"t\" }}]\nscope = \"whole\"\nleeway = \"0s\"\n[route.scheme.jwt]\nkeys = \"jwt\"\n\
             issuer = {}\naudience = {}\n[keys.jwt]\nfile = \"keys.json\"",
            said["issuer"], said["audience"]
        );
        Config::of_scheme(&route).file("keys.json", file["keys"]["jwks"].to_string())
    })
}

/// A vector file and how its profiles are configured.
struct Family {
    name: &'static str,
    file: &'static str,
    config: fn(&str, &Value) -> Option<Config>,
    /// What `explain` calls its scheme; the presets of a scheme have names behind its own.
    scheme: &'static str,
    /// Cases that the store decides.
    of_store: &'static [&'static str],
}

const fn family(
    name: &'static str,
    file: &'static str,
    config: fn(&str, &Value) -> Option<Config>,
    scheme: &'static str,
) -> Family {
    Family {
        name,
        file,
        config,
        scheme,
        of_store: &[],
    }
}

const FAMILIES: [Family; 13] = [
    // First: what it sets for the route stands before all schemes.
    family("jwt", include_str!("vectors/jwt_query.json"), jwt, "jwt"),
    family("bunny", include_str!("vectors/bunny.json"), bunny, "bunny"),
    family(
        "cloud_cdn",
        include_str!("vectors/google_cloud_cdn.json"),
        cloud_cdn,
        "cloud_cdn",
    ),
    family(
        "cloudfront",
        include_str!("vectors/cloudfront.json"),
        cloudfront,
        "cloudfront",
    ),
    family(
        "presigned",
        include_str!("vectors/s3_sigv4.json"),
        presigned,
        "s3_presigned",
    ),
    Family {
        of_store: &["replay_again"],
        ..family("cat", include_str!("vectors/cat.json"), cat, "cat")
    },
    Family {
        of_store: &["official_a2_replay", "jti_again"],
        ..family(
            "uri_signing",
            include_str!("vectors/rfc9246.json"),
            uri_signing,
            "uri_signing",
        )
    },
    family(
        "edge_auth",
        include_str!("vectors/akamai_edgeauth.json"),
        edge_auth,
        "edge_auth",
    ),
    family(
        "media_cdn",
        include_str!("vectors/google_media_cdn.json"),
        media_cdn,
        "media_cdn",
    ),
    family(
        "nginx",
        include_str!("vectors/nginx_secure_link.json"),
        nginx,
        "mac",
    ),
    family(
        "lighttpd",
        include_str!("vectors/lighttpd_secdownload.json"),
        lighttpd,
        "mac",
    ),
    family(
        "cloudflare",
        include_str!("vectors/cloudflare_timed_hmac.json"),
        cloudflare,
        "mac",
    ),
    family("others", include_str!("vectors/misc_cdn.json"), others, "mac"),
];

/// A profile with its keys, and the cases that go with it.
struct Setting {
    family: &'static Family,
    profile: String,
    config: Config,
    cases: Vec<Value>,
}

impl Family {
    /// All that the gate decides without its store, and is not a matter of taste.
    fn settings(&'static self) -> Vec<Setting> {
        let file: Value = serde_json::from_str(self.file).unwrap();
        let is_of_store = |case: &Value| self.of_store.iter().any(|name| case["name"] == *name);
        let mut settings: Vec<Setting> = Vec::new();
        for case in file["cases"].as_array().unwrap() {
            let profile = case["profile"].as_str().unwrap();
            if case["level"] != "must" || is_of_store(case) {
                continue;
            }
            let known = settings.iter_mut().find(|setting| {
                setting.profile == profile && setting.cases[0]["key_override"] == case["key_override"]
            });
            if let Some(setting) = known {
                setting.cases.push(case.clone());
                continue;
            }
            let mut known = file.clone();
            known["key_override"] = case["key_override"].clone();
            if let Some(config) = (self.config)(profile, &known) {
                settings.push(Setting {
                    family: self,
                    profile: profile.to_owned(),
                    config,
                    cases: vec![case.clone()],
                });
            }
        }
        settings
    }

    /// Whether `explain` names this family's scheme.
    fn is_named(&self, scheme: &Value) -> bool {
        let Some(scheme) = scheme.as_str() else {
            return false;
        };
        scheme == self.scheme
            || scheme
                .strip_prefix(self.scheme)
                .is_some_and(|rest| rest.starts_with(':'))
    }
}

/// Asks one route that has all of these schemes, each in one of its settings, for the cases of those; then again with the next
/// settings, until all were asked for. Answers how many cases ran.
fn run_together(takes_part: impl Fn(&Setting) -> bool) -> usize {
    // A route has one scheme of a kind.
    let mut kinds: Vec<Vec<Setting>> = Vec::new();
    for setting in FAMILIES.iter().flat_map(Family::settings).filter(takes_part) {
        let scheme = setting.family.scheme;
        match kinds.iter_mut().find(|kind| kind[0].family.scheme == scheme) {
            Some(kind) => kind.push(setting),
            None => kinds.push(vec![setting]),
        }
    }
    let rounds = kinds.iter().map(Vec::len).max().unwrap();
    let mut faults = Vec::new();
    let mut count = 0;
    for round in 0..rounds {
        let settings = kinds.iter().map(|kind| &kind[round % kind.len()]);
        let schemes = settings.map(|setting| (setting.family.name, setting.config.clone()));
        let config = Config::of_schemes(schemes).server(PROXIED);
        let mut hosts: Vec<(String, Vec<(&Setting, &Value)>)> = Vec::new();
        for setting in kinds.iter().filter_map(|kind| kind.get(round)) {
            for case in &setting.cases {
                let base = base(case);
                match hosts.iter_mut().find(|(known, _)| *known == base) {
                    Some((_, cases)) => cases.push((setting, case)),
                    None => hosts.push((base, vec![(setting, case)])),
                }
            }
        }
        for (base, cases) in hosts {
            let lines: String = cases.iter().map(|(_, case)| line(case, true)).collect();
            let answers = explain(&config, &base, &lines);
            assert_eq!(answers.len(), cases.len());
            for ((setting, case), answer) in cases.into_iter().zip(answers) {
                count += 1;
                let case_without_status = json!({ "expect": case["expect"], "upstream": case["upstream"] });
                let fault = judge(&case_without_status, &answer).or_else(|| {
                    let allowed = answer["decision"] == "allow";
                    let named = setting.family.is_named(&answer["scheme"]);
                    (allowed && !named).then(|| "was allowed by another scheme".to_owned())
                });
                faults.extend(fault.map(|fault| {
                    format!(
                        "{} {} {} ({}): {fault}\n  {}\n  {answer}",
                        setting.family.name, setting.profile, case["name"], case["reason"], case["url"]
                    )
                }));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    count
}

/// Which formats can't be told apart on one route, for their parameters have the same names: tokens of EdgeAuth and of Media
/// CDN in `hdnts`, signatures of Cloud CDN and of Media CDN (`KeyName`, `Signature`), and `token` of Bunny, KeyCDN and Fastly.
/// Each stands on one of two routes.
#[test]
fn vectors_of_all_families_pass_on_one_route() {
    let is_token = |setting: &Setting| matches!(&*setting.profile, "keycdn" | "fastly");
    let first =
        run_together(|setting| !matches!(setting.family.name, "jwt" | "media_cdn") && !is_token(setting));
    assert_eq!(first, 568);
    let second =
        run_together(|setting| !matches!(setting.family.name, "jwt" | "edge_auth" | "cloud_cdn" | "bunny"));
    assert_eq!(second, 516);
}

#[test]
fn vectors_of_native_tokens_pass_beside_signed_requests() {
    let ran = run_together(|setting| matches!(setting.family.name, "jwt" | "cloudfront" | "edge_auth"));
    assert_eq!(ran, 105 + 65 + 49);
}
