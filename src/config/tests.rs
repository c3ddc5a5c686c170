//! The reader as a whole: every kind of mistake with its line, the schema against its document, the shipped files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::read::{Key, Need, Read};
use super::*;

mod issuer;
mod signed;

/// The least that is right; `{}` in `more` is put at its end.
const BASE: &str = r#"
[server]
listen = ["127.0.0.1:0"]
public_url = "https://media.example.com"

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
origin = "files"
carriers = [{ query = "t" }]
scheme.jwt = { keys = "media", issuer = "i", audience = "a" }
"#;

/// A configuration in a folder of its own.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&self.path("proxy.toml"), KeyFiles::Make)
    }
}

fn errors(text: &str) -> Vec<Problem> {
    match Case::new(text).load() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.problems,
    }
}

fn warnings(text: &str) -> Vec<Problem> {
    Case::new(text)
        .load()
        .map_err(|errors| errors.to_string())
        .unwrap()
        .warnings
}

/// `BASE` with one line in the place of another, or with lines at the end.
fn changed(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replace(from, to)
}

#[test]
fn the_least_that_is_right_is_right() {
    let loaded = Case::new(BASE)
        .load()
        .map_err(|errors| errors.to_string())
        .unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.routes.len(), 1);
    assert!(loaded.demo.is_none());
}

#[test]
fn every_mistake_is_reported_with_its_path_and_line() {
    let text = changed(
        "public_url = \"https://media.example.com\"",
        "public_url = 7\nidle_timout = \"1s\"\nstall_timeout = \"5 minutes\"",
    )
    .replace("name = \"files\"\n", "")
    .replace("keys = \"media\"", "keys = \"meida\"")
    .replace("{ query = \"t\" }", "{ query = \"a=b\" }");
    let found: Vec<(String, Option<usize>)> = errors(&text)
        .into_iter()
        .map(|problem| (problem.path, problem.line))
        .collect();
    let line = |needle: &str| Some(text.lines().position(|line| line.contains(needle)).unwrap() + 1);
    assert_eq!(
        found,
        [
            ("server.public_url".to_owned(), line("public_url")),
            ("server.idle_timout".to_owned(), line("idle_timout")),
            ("server.stall_timeout".to_owned(), line("stall_timeout")),
            ("route[0].name".to_owned(), line("[[route]]")),
            ("route[0].carriers[0].query".to_owned(), line("carriers")),
            ("route[0].scheme.jwt.keys".to_owned(), line("scheme.jwt")),
        ]
    );
    assert!(errors(&text).iter().all(|problem| !problem.hint.is_empty()));
}

#[test]
fn broken_toml_is_one_error_with_its_line() {
    let found = errors("[server]\nlisten = [\n\"127.0.0.1:1\"\n[admin]\n");
    assert_eq!(found.len(), 1);
    assert!(matches!(found[0].line, Some(3 | 4)), "{:?}", found[0]);
}

#[test]
fn each_rule_has_its_error() {
    let route = |line: &str| changed("scheme.jwt", &format!("{line}\nscheme.jwt"));
    let more = |lines: &str| format!("{BASE}\n{lines}");
    let issuer = |caller: &str| {
        more(&format!(
            "[issuer]\nlisten = \"127.0.0.1:0\"\nnative = {{ keys = \"media\", issuer = \"i\", audience = \"a\" }}\n\
             [[issuer.callers]]\n{caller}\n[[issuer.rule]]\nrequires = \"r\"\npaths = [\"/**\"]\nmax_ttl = \"1h\"\n"
        ))
    };
    // With another rule line, and further tables.
    let nexudus = |rule: &str, tables: &str| {
        let text = issuer("keys = \"callers\"\nissuer = \"c\"\naudience = \"c\"");
        let text = text.replace("max_ttl = \"1h\"", &format!("max_ttl = \"1h\"{rule}"));
        format!("{text}{tables}\n[keys.callers]\njwks = \"http://127.0.0.1:1/\"\n")
    };
    let table: &[(String, &str, &str)] = &[
        (changed("[server]", "demo = true\n[server]").replacen("127.0.0.1:0", "0.0.0.0:0", 1), "server.listen[0]", "not on loopback"),
        (changed("listen = [\"127.0.0.1:0\"]", "listen = []"), "server.listen", "is empty"),
        (changed("[\"127.0.0.1:0\"]", "[\"127.0.0.1\"]"), "server.listen[0]", "no address"),
        (changed("listen = [\"127.0.0.1:0\"]\npublic_url", "public_url"), "server.listen", "missing"),
        (changed("[admin]", "tls_timeout = \"2m\"\n[admin]"), "server.tls_timeout", "out of range"),
        (changed("https://media.example.com", "https://media.example.com/x"), "server.public_url", "path"),
        (changed("[admin]", "max_head = \"1KiB\"\n[admin]"), "server.max_head", "out of range"),
        (changed("[admin]", "client_address = { header = \"X-Forwarded-For\", trusted = [\"0.0.0.0/0\"] }\n[admin]"), "server.client_address.trusted", "everybody"),
        (changed("generate = \"HS256\"", "generate = \"RS384\""), "keys.media.generate", "not made"),
        (changed("generate = \"HS256\"", ""), "keys.media.file", "can't be read"),
        (changed("generate = \"HS256\"", "jwks = \"https://h/\""), "keys.media", "together"),
        (more("[keys.far]\njwks = \"http://id.example.com/jwks\""), "keys.far.jwks", "https"),
        (more("[keys.\"a/b\"]\njwks = \"https://h/\""), "keys.a/b", "no name"),
        (more("[keys.hand]\ninline = [{ alg = \"HS256\", secret = { env = \"MEDIAGATE_NOT_SET\" } }]"), "keys.hand.inline[0].secret", "not set"),
        (changed("root = \".\"", "root = \"nowhere\""), "origin.files.folder.root", "can't be opened"),
        (more("[origin.web.http]\nurl = \"http://u:p@h/\""), "origin.web.http.url", "secret"),
        (more("[origin.web.http]\nurl = \"http://h/\"\n[origin.web.folder]\nroot = \".\""), "origin.web", "both"),
        (more("[media.m]\ntemplate = \"/files\""), "media.m.template", "{id}"),
        (more("[media.m]\nfile = \"x.toml\"\ntemplate = \"/{id}\""), "media.m", "both"),
        (more("[media.m]\nfile = \"proxy.toml\""), "media.m.file", "proxy.toml"),
        (more("[media.m]\ntemplate = \"/{id}\"\nexists = \"origin\""), "media.m.origin", "missing"),
        (more("[media.m]\ntemplate = \"/{id}\"\nexists = \"origin\"\norigin = \"flies\""), "media.m.origin", "did you mean"),
        (more("[media.m]\ntemplate = \"/{id}\"\norigin = \"files\""), "media.m.origin", "no origin is asked"),
        (more("[media.m]\nfile = \"x.toml\"\nexists = \"origin\"\norigin = \"files\""), "media.m.exists", "does not go with"),
        (more("[media.m]\ntemplate = \"/{id}\"\nexists = \"orign\""), "media.m.exists", "did you mean"),
        (changed("carriers = [{ query = \"t\" }]", "carriers = []"), "route[0].carriers", "is empty"),
        (changed("{ query = \"t\" }", "{ query = \"t\" }, { query = \"t\" }"), "route[0].carriers[1]", "twice"),
        (changed("{ query = \"t\" }", "{ query = \"t\", cookie = \"t\" }"), "route[0].carriers[0]", "both"),
        (changed("{ query = \"t\" }", "{ path = \"/x/{token}\" }").replace("path = \"/\"", "path = \"/y\""), "route[0].carriers[0].path", "below"),
        (changed("path = \"/\"", "path = \"/a/../b\""), "route[0].path", "dot"),
        (changed("path = \"/\"", "path = \"/a/*\""), "route[0].path", "pattern"),
        (route("host = \"https://h\""), "route[0].host", "no host"),
        (route("methods = [\"OPTIONS\"]"), "route[0].methods[0]", "OPTIONS"),
        (route("status = { token_expird = 403 }"), "route[0].status.token_expird", "no code"),
        (route("status = { token_expired = 200 }"), "route[0].status.token_expired", "200"),
        (route("scope = { template = \"a/{sub}\" }"), "route[0].scope.template", "slash"),
        (route("scope = { template = \"/{exp}\" }"), "route[0].scope.template", "no text"),
        (route("to = \"/f/{id}\""), "route[0].to", "{id}"),
        (route("to = \"/f\"\nstrip_prefix = true"), "route[0].to", "strip_prefix"),
        (route("media = \"m\"") + "\n[media.m]\ntemplate = \"/{id}\"", "route[0].media", "path carrier"),
        (route("media = \"m\""), "route[0].media", "no media catalogue"),
        (route("mount = [\"native\"]"), "route[0].mount[0]", "no dialect"),
        (route("identity_headers = { connection = \"sub\" }"), "route[0].identity_headers.connection", "one connection"),
        (route("identity_headers = { Authorization = \"sub\" }"), "route[0].identity_headers.Authorization", "already"),
        (route("identity_headers = { X_Sub = \"sub\" }"), "route[0].identity_headers.X_Sub", "underscore"),
        (route("response_headers = [\"Transfer-Encoding\"]"), "route[0].response_headers[0]", "one connection"),
        (route("redirect_hosts = [\"https://h\"]"), "route[0].redirect_hosts[0]", "no host"),
        (route("cors = { origins = [\"null\"] }"), "route[0].cors.origins[0]", "null"),
        (route("cors = { origins = [\"https://h/\"] }"), "route[0].cors.origins[0]", "slash"),
        (route("cors = { origins = [\"https://h:443\"] }"), "route[0].cors.origins[0]", "own port"),
        (route("cors = { origins = [\"*\"], credentials = true }"), "route[0].cors.credentials", "does not go"),
        (more("[[route]]\nname = \"files\"\npath = \"/x\"\norigin = \"files\"\ncarriers = [{ bearer = {} }]\nscheme.jwt = { keys = \"media\", issuer = \"i\", audience = \"a\" }"), "route[1].name", "same name"),
        (more("[[route]]\nname = \"two\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{ bearer = {} }]\nscheme.jwt = { keys = \"media\", issuer = \"i\", audience = \"a\" }"), "route[1].path", "same host and path"),
        (more("[[route]]\nname = \"two\"\npath = \"/~x\"\norigin = \"files\"\ncarriers = [{ path_prefix = \"~\" }]\nscheme.jwt = { keys = \"media\", issuer = \"i\", audience = \"a\" }").replace("{ query = \"t\" }", "{ path_prefix = \"~\" }"), "route[1].path", "no request reaches"),
        (issuer("keys = \"media\"\nissuer = \"c\"\naudience = \"c\""), "issuer.callers[0].keys", "only under demo"),
        (issuer("keys = \"media\"\nissuer = \"i\"\naudience = \"a\""), "issuer.callers[0].audience", "pass as callers"),
        (issuer("keys = \"nobody\"\nissuer = \"c\"\naudience = \"c\""), "issuer.callers[0].keys", "no key set"),
        (issuer("keys = \"media\"\nissuer = \"c\"\naudience = \"c\"").replace("public_url = \"https://media.example.com\"", ""), "server.public_url", "missing"),
        (issuer("keys = \"media\"\nissuer = \"c\"\naudience = \"c\"").replace("requires = \"r\"", "requires = \"r s\""), "issuer.rule[0].requires", "one scope"),
        (issuer("keys = \"media\"\nissuer = \"c\"\naudience = \"c\"").replace("max_ttl", "default_ttl = \"2h\"\nmax_ttl"), "issuer.rule[0].default_ttl", "longer"),
        (nexudus("\nuses = 2", ""), "issuer.rule[0].uses", "not 1"),
        (nexudus("\npurposes = []", "[issuer.nexudus_token]"), "issuer.rule[0].purposes", "empty"),
        (nexudus("\npurposes = [\"logon\"]", ""), "issuer.rule[0].purposes[0]", "did you mean"),
        (nexudus("\nmax_exchange = \"1s\"", ""), "issuer.rule[0].max_exchange", "out of range"),
        (nexudus("", "[issuer.nexudus_token]\nttl = \"2d\""), "issuer.nexudus_token.ttl", "out of range"),
        (nexudus("", "[issuer.nexudus_token]\nlimit_status = 404"), "issuer.nexudus_token.limit_status", "409 or 429"),
        (nexudus("", "[issuer.nexudus_media]\nkeys = \"callers\"\nissuer = \"i\"\naudience = \"a\""), "issuer.nexudus_media.keys", "no key that can sign"),
        (nexudus("", "[issuer.nexudus_exchange]"), "issuer.nexudus_exchange", "[issuer.bearers]"),
        (nexudus("", "[issuer.nexudus_bearer]"), "issuer.nexudus_bearer", "callers_file"),
        (nexudus("", "[issuer.nexudus_bearer]\ntries_per_account = 0"), "issuer.nexudus_bearer.tries_per_account", "nobody can sign in"),
        (nexudus("", "[issuer.bearers]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\""), "issuer.bearers", "believes"),
        (nexudus("", "[issuer.bearers]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\"\nttl = \"90d\""), "issuer.bearers.ttl", "out of range"),
        (nexudus("", "").replace("native =", "mount = 1\nnative ="), "issuer.mount", "unknown key"),
        (nexudus("", "").replacen("scheme.jwt", "mount = [\"nexudus_media\"]\nscheme.jwt", 1), "route[0].mount[0]", "nexudus_media"),
    ];
    for (text, path, what) in table {
        let found = errors(text);
        assert!(
            found
                .iter()
                .any(|problem| problem.path == *path && problem.to_string().contains(what)),
            "{path}: {what}: {found:#?}"
        );
    }
}

#[test]
fn what_deserves_a_second_look_is_a_warning() {
    for (line, path) in [
        ("scope = \"whole\"", "route[0].scope"),
        ("leeway = \"2m\"", "route[0].leeway"),
        ("active_content = \"allow\"", "route[0].active_content"),
        ("strip_prefix = true", "route[0].strip_prefix"),
    ] {
        let found = warnings(&changed("scheme.jwt", &format!("{line}\nscheme.jwt")));
        assert!(
            found.iter().any(|warning| warning.path == path),
            "{path}: {found:?}"
        );
    }
    let found = warnings(&format!("{BASE}\n[media.m]\ntemplate = \"/{{id}}\""));
    assert!(
        found
            .iter()
            .any(|warning| warning.path == "media.m" && warning.what == "is not used")
    );
}

#[test]
fn a_bucket_over_plain_http_is_a_warning_unless_it_is_near() {
    for (endpoint, warned) in [
        ("http://minio.internal:9000", true),
        ("http://10.0.0.1:9000", true),
        ("http://127.0.0.1:9000", false),
        ("http://[::1]:9000", false),
        ("http://localhost:9000", false),
        ("https://minio.internal:9000", false),
    ] {
        let found = warnings(&format!(
            "{BASE}\n[origin.b.s3]\nbucket = \"media\"\nregion = \"r\"\nstyle = \"path\"\n\
             credentials = \"chain\"\nendpoint = \"{endpoint}\"\n"
        ));
        let is_about = |warning: &Problem| warning.path == "origin.b.s3.endpoint";
        assert_eq!(found.iter().any(is_about), warned, "{endpoint}: {found:?}");
    }
}

#[test]
fn a_rule_that_is_narrow_for_paths_and_open_for_media_ids_is_a_warning() {
    let of = |rule: &str| {
        let found = warnings(&format!(
            "{BASE}\n[keys.callers]\njwks = \"http://127.0.0.1:1/\"\n[media.m]\ntemplate = \"/{{id}}\"\n[issuer]\nlisten = \"127.0.0.1:0\"\n\
             native = {{ keys = \"media\", issuer = \"i\", audience = \"a\" }}\n\
             fynn = {{ keys = \"media\", issuer = \"i\", audience = \"a\", media = \"m\", ttl = \"1m\" }}\n\
             [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"c\"\naudience = \"c\"\n\
             [[issuer.rule]]\nrequires = \"r\"\nmax_ttl = \"1h\"\n{rule}\n"
        ));
        found
            .iter()
            .any(|warning| warning.path == "issuer.rule[0].paths" && warning.what.contains("media ids"))
    };
    assert!(of("paths = [\"/invoices/**\"]"));
    assert!(!of("paths = [\"/**\"]"));
    assert!(!of("paths = [\"/invoices/**\", \"/**\"]"));
    assert!(!of(""), "nothing says that it was meant to be narrow");
}

#[test]
fn what_a_sirv_token_can_never_open_is_a_warning() {
    let of = |route: &str, paths: &str, more: &str| {
        let case = Case::new(&format!(
            "{BASE}\n[[keys.sirv.inline]]\nalg = \"HS256\"\nsecret = {{ file = \"sirv.key\" }}\n\
             [[route]]\nname = \"images\"\npath = \"/images\"\norigin = \"files\"\n{route}\n\
             [keys.callers]\njwks = \"http://127.0.0.1:1/\"\n[issuer]\nlisten = \"127.0.0.1:0\"\n\
             [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"c\"\naudience = \"c\"\n\
             [[issuer.rule]]\nrequires = \"r\"\nmax_ttl = \"1h\"\npaths = [{paths}]\n\
             [issuer.sirv]\nkeys = \"sirv\"\n{more}\n"
        ));
        let key = case.path("sirv.key");
        fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let loaded = case.load().map_err(|errors| errors.to_string()).unwrap();
        let shown = loaded.policies[1].to_string();
        assert!(
            shown.contains("\"/a/bc\" too") == shown.contains("sirv, leeway"),
            "{shown}"
        );
        let found = loaded.warnings.iter();
        found
            .map(|warning| format!("{}: {}", warning.path, warning.what))
            .collect::<Vec<_>>()
    };
    let route = "carriers = [{ query = \"jwt\" }]\nscheme.sirv = { keys = \"sirv\" }";
    let alias = "aliases.b = { url = \"https://b.example\", keys = \"other\" }\n\
        [[keys.other.inline]]\nalg = \"HS256\"\nsecret = { file = \"sirv.key\" }";
    let has = |found: &[String], text: &str| found.iter().any(|warning| warning.contains(text));
    let good = of(route, "\"/images/\", \"/images/**\", \"/a.jpg\"", "");
    assert!(good.is_empty(), "{good:?}");
    let start = of(route, "\"/images/\", \"/images/t\"", "");
    assert!(
        has(&start, "issuer.rule[0].paths[1]: gets no Sirv token"),
        "{start:?}"
    );
    let others = of(route, "\"/images/\"", alias);
    assert!(
        has(&others, "issuer.sirv.aliases.b: no route accepts its tokens"),
        "{others:?}"
    );
    let elsewhere = of(&route.replace("\"jwt\"", "\"t\""), "\"/images/\"", "");
    assert!(
        has(
            &elsewhere,
            "issuer.sirv: no route that accepts its tokens looks for them in `?jwt=`"
        ),
        "{elsewhere:?}"
    );
    let whole = of(&format!("{route}\nscope = \"whole\""), "\"/images/\"", "");
    assert!(has(&whole, "route[1].scope: is not the token's own"), "{whole:?}");
}

#[test]
fn what_a_nexudus_dialect_gives_away_or_never_gives_is_a_warning() {
    let of = |rule: &str, tables: &str| {
        warnings(&format!(
            "{BASE}\n[issuer]\nlisten = \"127.0.0.1:0\"\n\
             [[issuer.callers]]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\"\n\
             [issuer.bearers]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\"\n\
             [[issuer.rule]]\nrequires = \"r\"\nmax_ttl = \"1h\"\n{rule}\n{tables}\n"
        ))
    };
    let has = |found: &[super::Warning], path: &str, what: &str| {
        found
            .iter()
            .any(|warning| warning.path == path && warning.what.contains(what))
    };
    let media = "[issuer.nexudus_media]\nkeys = \"media\"\nissuer = \"i\"\naudience = \"b\"";
    let found = of("paths = [\"/**\"]", media);
    assert!(
        has(&found, "issuer.rule[0].paths[0]", "every caller"),
        "{found:?}"
    );
    assert!(
        has(&found, "issuer.nexudus_media", "no route accepts"),
        "{found:?}"
    );
    let media = media.replace("\"b\"", "\"a\"");
    let found = of("paths = [\"/customers/{sub}/**\"]", &media);
    assert!(!has(&found, "issuer.rule[0].paths[0]", ""), "{found:?}");
    assert!(!has(&found, "issuer.nexudus_media", ""), "{found:?}");
    let found = of(
        "paths = [\"/{sub}/**\"]",
        "[issuer.nexudus_token]\n[issuer.nexudus_exchange]",
    );
    assert!(
        has(&found, "issuer.nexudus_token", "no route accepts"),
        "{found:?}"
    );
    assert!(
        has(&found, "issuer.nexudus_exchange", "no rule allows"),
        "{found:?}"
    );
}

#[test]
fn a_short_media_token_that_opens_nothing_or_too_little_is_a_warning() {
    let of = |route: &str, resources: &str, dialect: &str| -> Vec<String> {
        let text = format!(
            "{BASE}\n[keys.adobe]\nfile = \"adobe.jwks.json\"\ngenerate = \"RS256\"\n\
             [[route]]\nname = \"tv\"\npath = \"/tv\"\norigin = \"files\"\ncarriers = [{{ query = \"token\" }}]\n{route}\n\
             [route.scheme.short_media]\nkeys = \"adobe\"\nrequestors = [\"SPORT\"]\n{resources}\n\
             [issuer]\nlisten = \"127.0.0.1:0\"\n\
             [[issuer.callers]]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\"\n\
             [issuer.bearers]\nkeys = \"media\"\nissuer = \"c\"\naudience = \"c\"\n\
             [[issuer.rule]]\nrequires = \"r\"\nmax_ttl = \"1h\"\n\
             [issuer.adobe_media]\nkeys = \"adobe\"\n{dialect}\n\
             [[issuer.adobe_media.entitlement]]\nrequestor = \"NEWS\"\nresources = [\"*\"]\nmvpd = \"m\"\n"
        );
        warnings(&text).into_iter().map(|warning| warning.path).collect()
    };
    let has = |found: &[String], path: &str| found.iter().any(|one| one == path);
    let devices = "devices = [\"tv-1\"]\ndevices_scope = \"r\"";
    let found = of("", "", devices);
    for path in [
        "route[1].scheme.short_media",
        "route[1].scheme.short_media.one_time",
        "issuer.adobe_media.devices[0]",
        "issuer.adobe_media.entitlement[0].requestor",
    ] {
        assert!(has(&found, path), "{path}: {found:?}");
    }
    let single_use = "single_use = { strict = true }";
    let resources = "resources = { SPORT = { news = [\"/tv/**\"] } }";
    let found = of(single_use, resources, "");
    assert!(
        !found.iter().any(|path| path.starts_with("route[1]")),
        "{found:?}"
    );
    let found = of(
        "scope = { template = \"/tv/{resource}/**\" }",
        "one_time = false",
        "",
    );
    assert!(
        !found.iter().any(|path| path.starts_with("route[1]")),
        "{found:?}"
    );
}

#[test]
fn certificates_are_judged_before_they_are_used() {
    use std::os::unix::fs::PermissionsExt;
    let line =
        "tls = { listen = [\"127.0.0.1:0\"], certificates = [{ chain = \"c.pem\", key = \"k.pem\" }] }";
    let case = Case::new(&changed("[admin]", &format!("{line}\n[admin]")));
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(case.path("k.pem"), key.serialize_pem()).unwrap();
    for (mode, names, from, to, path, what) in [
        (0o600, &["a.example"][..], 2020, 2090, "", ""),
        (0o640, &["a.example"], 2020, 2090, "", ""),
        (
            0o644,
            &["a.example"],
            2020,
            2090,
            "key",
            "anybody here can read the key",
        ),
        (0o600, &["a.example"], 2020, 2021, "chain", "has expired"),
        (0o600, &["a.example"], 2090, 2091, "chain", "not valid yet"),
        (0o600, &[], 2020, 2090, "chain", "no DNS name"),
    ] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = rcgen::CertificateParams::new(names).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(to, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        fs::write(case.path("c.pem"), certificate.pem()).unwrap();
        fs::set_permissions(case.path("k.pem"), fs::Permissions::from_mode(mode)).unwrap();
        let loaded = case.load().unwrap();
        assert_eq!((loaded.listeners.gate.len(), loaded.listeners.gate_tls), (2, 1));
        let found: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        if what.is_empty() {
            assert!(found.is_empty(), "{found:?}");
        } else {
            let path = format!("server.tls.certificates[0].{path}: ");
            assert!(found.len() == 1 && found[0].starts_with(&path), "{found:?}");
            assert!(found[0].contains(what), "{what}: {found:?}");
        }
    }
}

#[test]
fn keys_are_made_for_this_user_alone_and_only_when_allowed() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new(BASE);
    let checked = load(&case.path("proxy.toml"), KeyFiles::ReadOnly).unwrap();
    assert!(!case.path("state").exists());
    assert_eq!(checked.warnings.len(), 2, "{:?}", checked.warnings);
    let first = case.load().unwrap();
    let mode = |name: &str| fs::metadata(case.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("state"), mode("state/media.json"), mode("state/log-id.key")),
        (0o700, 0o600, 0o600)
    );
    // The same keys the next time.
    let name = |loaded: &Loaded| loaded.log_key.name(b"id");
    assert_eq!(name(&first), name(&case.load().unwrap()));

    fs::set_permissions(case.path("state/media.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let errors = case.load().err().unwrap();
    assert_eq!(errors.problems[0].path, "keys.media.file");
    assert!(
        errors.to_string().contains("0640") && errors.to_string().contains("chmod 600"),
        "{errors}"
    );
}

#[test]
fn no_secret_stands_in_an_error() {
    let case = Case::new(&format!(
        "{BASE}\n[keys.hand]\ninline = [{{ alg = \"HS256\", secret = {{ file = \"weak\" }} }}, {{ alg = \"ES256\", secret = {{ file = \"weak\" }} }}, {{ alg = \"HS256\", secret = \"hunter2\" }}]"
    ));
    fs::write(case.path("weak"), "hunter2").unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(case.path("weak"), fs::Permissions::from_mode(0o600)).unwrap();
    let errors = case.load().err().unwrap();
    assert_eq!(errors.problems.len(), 3, "{errors}");
    assert!(
        !errors.to_string().contains("hunter2") && !format!("{errors:?}").contains("hunter2"),
        "{errors}"
    );
}

#[test]
fn the_claims_that_templates_and_headers_need_are_kept() {
    let text = changed(
        "scheme.jwt",
        "scope = { template = \"/{tenant}/{sub}/**\" }\nidentity_headers = { X-Plan = \"plan\" }\nscheme.jwt",
    );
    let loaded = Case::new(&text)
        .load()
        .map_err(|errors| errors.to_string())
        .unwrap();
    let jwt = loaded.routes[0].schemes.jwt().unwrap();
    let shown = format!("{jwt:?}");
    assert!(shown.contains("named: [\"plan\", \"tenant\"]"), "{shown}");
    assert!(loaded.policies[0].to_string().contains("/{tenant}/{sub}/**"));
}

#[test]
fn the_shipped_configurations_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("proxy.toml")];
    files.extend(
        fs::read_dir(root.join("examples"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "toml")),
    );
    assert_eq!(files.len(), 10);
    for file in files {
        let loaded = load(&file, KeyFiles::ReadOnly).unwrap_or_else(|errors| panic!("{errors}"));
        let lasting = loaded
            .warnings
            .iter()
            .filter(|warning| !warning.what.contains("does not exist yet"));
        assert_eq!(
            lasting.collect::<Vec<_>>(),
            Vec::<&Warning>::new(),
            "{}",
            file.display()
        );
    }
}

/// Where the document says it of several tables together: keys of schemes, and what is below a `session`.
fn shared_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix("route.scheme.")?;
    let (scheme, below) = rest.split_once('.')?;
    let below = below
        .replace("session.keys", "keys")
        .replace("content_keys", "keys");
    let own = scheme == "s3_presigned";
    (!own && (below.starts_with("keys") || below.starts_with("session")))
        .then(|| format!("route.scheme.*.{below}"))
}

#[test]
fn the_document_and_the_schema_say_the_same() {
    let mut schema: Vec<Key> = Vec::new();
    raw::File::describe("", &mut schema);
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIG.md")).unwrap();
    let mut sections: Vec<String> = Vec::new();
    let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push(
                heading
                    .split('`')
                    .nth(1)
                    .unwrap_or_default()
                    .trim_matches(['[', ']'])
                    .to_owned(),
            );
        } else if line.starts_with("| `") {
            let cells: Vec<&str> = line
                .split(" | ")
                .map(|cell| cell.trim_matches(['|', ' ']))
                .collect();
            let path = read::join(sections.last().unwrap(), cells[0].trim_matches('`'));
            assert!(
                rows.insert(path.clone(), (cells[1].to_owned(), cells[2].to_owned()))
                    .is_none(),
                "{path} twice"
            );
        }
    }
    let mut shared = BTreeSet::new();
    for key in &schema {
        let row = rows.remove(&key.path).or_else(|| {
            let path = shared_path(&key.path)?;
            shared.insert(path.clone());
            rows.get(&path).cloned()
        });
        let Some((kind, default)) = row else {
            let path = shared_path(&key.path).unwrap_or_else(|| key.path.clone());
            let section = sections.iter().any(|name| {
                *name == key.path || *name == path || name.starts_with(&format!("{}.", key.path))
            });
            assert!(
                section && key.kind.contains("table"),
                "docs/CONFIG.md lacks {}",
                key.path
            );
            continue;
        };
        assert_eq!(kind, key.kind, "the type of {}", key.path);
        match key.need {
            Need::Required => assert_eq!(default, "required", "{}", key.path),
            Need::Optional => assert!(default.starts_with('–'), "{}: {default}", key.path),
            Need::Default(value) => assert_eq!(
                default,
                format!("`{}`", value.replace('\'', "\"")),
                "{}",
                key.path
            ),
        }
    }
    rows.retain(|path, _| !shared.contains(path));
    assert!(
        rows.is_empty(),
        "docs/CONFIG.md has keys that do not exist: {:?}",
        rows.keys()
    );
}
