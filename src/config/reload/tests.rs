use super::*;

fn files(paths: &[&Path]) -> Files {
    let mut files = Files::default();
    for path in paths {
        files.note(path);
    }
    files
}

#[test]
fn a_change_is_told_once_it_rests_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    std::fs::write(&path, "one").unwrap();
    let mut watched = files(&[&path]);
    assert!(!watched.have_changed());
    std::fs::write(&path, "tw").unwrap();
    assert!(!watched.have_changed(), "it may still be written");
    std::fs::write(&path, "two").unwrap();
    assert!(!watched.have_changed(), "it was still written");
    assert!(watched.have_changed());
    let mut watched = files(&[&path]);
    assert!(!watched.have_changed());
    assert!(!watched.have_changed());
}

#[test]
fn a_change_that_keeps_length_and_time_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "one").unwrap();
    let mut watched = files(&[&path]);
    // As if it had happened in the same tick of the file system's clock.
    std::fs::write(&path, "two").unwrap();
    watched.files.get_mut(&path).unwrap().stamp = stamp(&path);
    assert!(!watched.have_changed());
    assert!(watched.have_changed());
}

#[test]
fn a_file_that_goes_or_comes_is_a_change_and_one_that_is_touched_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&there, "one").unwrap();
    let mut watched = files(&[&there, &missing]);
    std::fs::write(&there, "one").unwrap();
    assert!(!watched.have_changed() && !watched.have_changed());
    std::fs::write(&missing, "").unwrap();
    assert!(!watched.have_changed());
    assert!(watched.have_changed());
    let mut watched = files(&[&there, &missing]);
    std::fs::remove_file(&there).unwrap();
    assert!(!watched.have_changed());
    assert!(watched.have_changed());
}

#[test]
fn what_is_replaced_by_a_pipe_is_gone_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
    assert_eq!(digest(&path), None);
}

#[test]
fn a_name_keeps_its_number_and_no_number_is_given_twice() {
    let mut numbers = Numbers::default();
    assert_eq!((numbers.of("a"), numbers.of("b"), numbers.of("a")), (0, 1, 0));
    numbers.next = REMEMBERED_NUMBERS;
    assert_ne!(numbers.of("c"), numbers.of("c"));
    assert_eq!(numbers.of("b"), 1);
}

// === what is taken over ===

const BASE: &str = r#"
[server]
listen = ["127.0.0.1:0"]
public_url = "https://media.example.com"
[admin]
listen = "127.0.0.1:0"
[keys.media]
file = "media.json"
generate = "HS256"
[keys.other]
file = "other.json"
generate = "HS256"
[keys.idp]
jwks = "https://id.example.com/jwks.json"
ca_file = "ca.pem"
[origin.web.http]
url = "https://files.example.com"
ca_file = "ca.pem"
[[route]]
name = "one"
path = "/one"
origin = "web"
carriers = [{ query = "t" }]
scheme.jwt = { keys = "media", issuer = "i", audience = "a" }
[[route]]
name = "two"
path = "/two"
origin = "web"
carriers = [{ query = "t" }]
scheme.jwt = { keys = "other", issuer = "i", audience = "a" }
[[route]]
name = "three"
path = "/three"
origin = "web"
carriers = [{ query = "t" }]
scheme.jwt = { keys = "idp", issuer = "i", audience = "a" }
"#;

struct Bench {
    folder: tempfile::TempDir,
    kept: Kept,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            folder,
            kept: Kept::default(),
        };
        bench.authority("one.example");
        bench
    }

    fn authority(&self, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(self.folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    }

    fn load(&mut self, text: &str) -> Loaded {
        let path = self.folder.path().join("proxy.toml");
        std::fs::write(&path, text).unwrap();
        let attempt = super::super::attempt(&path, super::super::KeyFiles::Make, self.kept.clone());
        let loaded = *attempt.outcome.map_err(|errors| errors.to_string()).unwrap();
        self.kept = loaded.kept.clone();
        loaded
    }
}

fn ring<'l>(loaded: &'l Loaded, name: &str) -> &'l Arc<KeyRing> {
    let found = loaded.keys.iter().find(|keys| keys.ring.name() == name);
    &found.unwrap().ring
}

fn same_origin(one: &Loaded, other: &Loaded) -> bool {
    match (&one.routes[0].origin, &other.routes[0].origin) {
        (Origin::Http(one), Origin::Http(other)) => Arc::ptr_eq(one, other),
        _ => false,
    }
}

fn stamps(loaded: &Loaded) -> Vec<Option<[u64; 2]>> {
    loaded
        .routes
        .iter()
        .map(|route| route.schemes.jwt().unwrap().cache_stamp())
        .collect()
}

#[test]
fn what_did_not_change_is_the_very_same_with_its_cached_verdicts_connections_and_loops() {
    let mut bench = Bench::new();
    let before = bench.load(BASE);
    // Something else has changed.
    let after = bench.load(&BASE.replace("/three", "/drei"));
    for name in ["media", "other", "idp"] {
        assert!(Arc::ptr_eq(ring(&before, name), ring(&after, name)), "{name}");
    }
    assert_eq!(stamps(&before), stamps(&after));
    assert!(same_origin(&before, &after));
    let (old, new) = (&before.key_sources[0], &after.key_sources[0]);
    assert!(Arc::ptr_eq(&old.ring, &new.ring) && Arc::ptr_eq(&old.stats, &new.stats));
    assert!(Arc::ptr_eq(&before.log_key, &after.log_key));
}

#[test]
fn what_changed_is_another_and_voids_no_more_than_its_own() {
    let mut bench = Bench::new();
    let before = bench.load(BASE);
    let key = bench.folder.path().join("media.json");
    let fresh = crate::token::keys::KeySet::generate(jsonwebtoken::Algorithm::HS256).unwrap();
    std::fs::write(key, fresh).unwrap();
    let after = bench.load(BASE);
    assert!(!Arc::ptr_eq(ring(&before, "media"), ring(&after, "media")));
    let (old, new) = (stamps(&before), stamps(&after));
    assert_ne!(old[0], new[0]);
    assert_eq!(old[1..], new[1..]);
    assert!(same_origin(&before, &after));
}

#[test]
fn another_certificate_authority_makes_another_origin_and_another_key_set() {
    let mut bench = Bench::new();
    let before = bench.load(BASE);
    bench.authority("two.example");
    let after = bench.load(BASE);
    assert!(!same_origin(&before, &after));
    assert!(!Arc::ptr_eq(ring(&before, "idp"), ring(&after, "idp")));
    assert!(Arc::ptr_eq(ring(&before, "media"), ring(&after, "media")));
}

#[test]
fn another_demand_makes_another_verifier() {
    let mut bench = Bench::new();
    let before = stamps(&bench.load(BASE));
    for (from, to) in [
        ("issuer = \"i\"", "issuer = \"j\""),
        ("audience = \"a\"", "audience = \"b\""),
        ("audience = \"a\"", "audience = \"a\", typ = \"at+jwt\""),
        ("audience = \"a\"", "audience = \"a\", max_lifetime = \"5m\""),
        ("keys = \"media\"", "keys = \"other\""),
        (
            "path = \"/one\"",
            "scope = { template = \"/one/{customer}/**\" }\npath = \"/one\"",
        ),
    ] {
        let after = stamps(&bench.load(&BASE.replacen(from, to, 1)));
        assert_ne!(before[0], after[0], "{to}");
        assert_eq!(before[1], after[1], "{to}");
        bench.load(BASE);
    }
}

#[test]
fn all_files_that_are_named_are_watched() {
    let mut bench = Bench::new();
    let folder = bench.folder.path().to_owned();
    std::fs::write(folder.join("catalogue.toml"), "").unwrap();
    crate::config::keyfile::make(&folder.join("secret"), &[b'x'; 40]).unwrap();
    let text = format!(
        "{BASE}\n[media.store]\nfile = \"catalogue.toml\"\n\
         [[keys.hand.inline]]\nalg = \"HS256\"\nsecret = {{ file = \"secret\" }}\n"
    );
    bench.load(&text);
    let attempt = super::super::attempt(
        &folder.join("proxy.toml"),
        super::super::KeyFiles::Make,
        Kept::default(),
    );
    let names: Vec<_> = attempt
        .files
        .names()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "ca.pem",
            "catalogue.toml",
            "media.json",
            "other.json",
            "proxy.toml",
            "secret"
        ]
    );
    let mut files = attempt.files;
    assert!(!files.have_changed() && !files.have_changed());
}

#[test]
fn a_key_that_was_just_made_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    let text = BASE.lines().filter(|line| !line.starts_with("ca_file"));
    std::fs::write(&path, text.collect::<Vec<_>>().join("\n")).unwrap();
    let attempt = super::super::attempt(&path, super::super::KeyFiles::Make, Kept::default());
    let mut files = attempt.files;
    assert!(attempt.outcome.is_ok());
    assert!(!files.have_changed() && !files.have_changed() && !files.have_changed());
}

#[test]
fn whatever_is_fixed_at_the_start_is_named_when_it_changes() {
    let mut bench = Bench::new();
    let before = Fixed::of(&bench.load(BASE));
    let mut seen = Vec::new();
    for (table, line, key) in [
        ("[server]", "workers = 7", "server.workers"),
        ("[server]", "header_timeout = \"7s\"", "server.header_timeout"),
        ("[server]", "idle_timeout = \"7s\"", "server.idle_timeout"),
        ("[server]", "stall_timeout = \"7s\"", "server.stall_timeout"),
        ("[server]", "tls_timeout = \"7s\"", "server.tls_timeout"),
        ("[server]", "http2 = false", "server.http2"),
        ("[server]", "drain_delay = \"7s\"", "server.drain_delay"),
        ("[server]", "drain_timeout = \"7s\"", "server.drain_timeout"),
        ("[server]", "max_connections = 7", "server.max_connections"),
        ("[server]", "max_head = \"9KiB\"", "server.max_head"),
        ("[server]", "token_cache = 7", "server.token_cache"),
        (
            "[server]",
            "client_address = { header = \"forwarded\", trusted = [\"10.0.0.0/8\"] }",
            "server.client_address",
        ),
        ("[admin]", "[log]\nformat = \"json\"\n[admin]", "log.format"),
        ("[admin]", "[log]\naccess = \"off\"\n[admin]", "log.access"),
        ("[admin]", "[log]\nlevel = \"warn\"\n[admin]", "log.level"),
        ("[server]", "state = \"elsewhere\"\n[server]", "state"),
    ] {
        let to = match line.ends_with(table) {
            true => line.to_owned(),
            false => format!("{table}\n{line}"),
        };
        let after = Fixed::of(&bench.load(&BASE.replacen(table, &to, 1)));
        assert_eq!(before.changes(&after), [key]);
        seen.push(key);
    }
    let other = BASE.replacen("[\"127.0.0.1:0\"]", "[\"[::1]:0\"]", 1);
    assert_eq!(before.changes(&Fixed::of(&bench.load(&other))), ["server.listen"]);
    let other = BASE.replacen("listen = \"127.0.0.1:0\"", "listen = \"[::1]:0\"", 1);
    assert_eq!(before.changes(&Fixed::of(&bench.load(&other))), ["admin.listen"]);
    assert!(
        !bench.folder.path().join("elsewhere").exists(),
        "nobody holds its lock"
    );
}
