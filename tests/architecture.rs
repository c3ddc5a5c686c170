//! The directions of imports and the rules of the house, read off the source: what `docs/ARCHITECTURE.md` says is so.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where it finds something unexpected"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part of the crate may name by `crate::…`. Who is not listed may name everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("alarm", &[]),
    ("clock", &[]),
    ("pool", &[]),
    ("secret", &[]),
    ("state", &[]),
    ("target", &[]),
    ("throttle", &["clock"]),
    ("sigv4", &["clock", "secret", "sigv4"]),
    ("media", &["target"]),
    ("token", &["clock", "secret", "sigv4", "target", "token"]),
    (
        "origin",
        &["alarm", "clock", "origin", "secret", "sigv4", "target"],
    ),
    ("body", &["origin"]),
    ("store", &["clock", "store", "token"]),
    ("telemetry", &["clock", "telemetry", "token"]),
    ("keysource", &["clock", "keysource", "origin", "secret", "token"]),
    (
        "issuer",
        &[
            "clock", "issuer", "media", "origin", "pool", "secret", "store", "target", "throttle", "token",
        ],
    ),
    (
        "gate",
        &[
            "alarm",
            "body",
            "clock",
            "gate",
            "media",
            "origin",
            "pool",
            "secret",
            "store",
            "target",
            "telemetry",
            "throttle",
            "token",
        ],
    ),
    (
        "app",
        &[
            "app",
            "body",
            "clock",
            "gate",
            "issuer",
            "origin",
            "store",
            "telemetry",
            "throttle",
            "token",
        ],
    ),
    (
        "server",
        &[
            "alarm",
            "app",
            "body",
            "clock",
            "gate",
            "keysource",
            "origin",
            "server",
            "state",
            "store",
            "telemetry",
            "token",
        ],
    ),
    // It builds them all; none of them knows it.
    (
        "config",
        &[
            "app",
            "clock",
            "config",
            "gate",
            "issuer",
            "keysource",
            "media",
            "origin",
            "secret",
            "server",
            "sigv4",
            "store",
            "target",
            "telemetry",
            "throttle",
            "token",
        ],
    ),
];

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// The part of the crate that the file belongs to.
    fn part(&self) -> &str {
        let inner = self.path.strip_prefix("src").unwrap();
        let first = inner.components().next().unwrap().as_os_str().to_str().unwrap();
        first.trim_end_matches(".rs")
    }

    /// The lines without comments, up to the tests, which stand last.
    fn code(&self) -> impl Iterator<Item = &str> {
        let end = self.text.find("\n#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        self.text[..end]
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<Source>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && path.file_name().unwrap() != "tests.rs"
            {
                found.push(Source {
                    text: fs::read_to_string(&path).unwrap(),
                    path,
                });
            }
        }
    }
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    let mut found = Vec::new();
    walk(Path::new("src"), &mut found);
    assert!(found.len() > 40, "only {} files were found", found.len());
    found
}

/// The parts named by `crate::part` or `crate::{part, …}` in a line.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let word = |text: &'_ str| {
        text.find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(text.len())
    };
    line.match_indices("crate::").flat_map(move |(at, found)| {
        let rest = &line[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => list
                .split('}')
                .next()
                .unwrap_or(list)
                .split(',')
                .map(str::trim)
                .map(|one| &one[..word(one)])
                .collect(),
            None => vec![&rest[..word(rest)]],
        }
    })
}

#[test]
fn imports_go_in_one_direction() {
    let wrong: Vec<String> = sources().iter().flat_map(broken).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines of a file that name what its part may not.
fn broken(source: &Source) -> Vec<String> {
    let rules: BTreeMap<_, _> = MAY_NAME.iter().copied().collect();
    let Some(allowed) = rules.get(source.part()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for line in source.code() {
        for part in named(line).filter(|part| !allowed.contains(part)) {
            wrong.push(format!("{}: {part}: {}", source.path.display(), line.trim()));
        }
    }
    wrong
}

#[test]
fn a_rule_would_be_noticed_if_it_were_broken() {
    let planted = Source {
        path: PathBuf::from("src/token/planted.rs"),
        text: "//! x\nuse crate::{clock, gate};\nfn f() { crate::origin::g(); }\n// crate::app\n\n#[cfg(test)]\nmod tests { use crate::app; }\n".into(),
    };
    let wrong = broken(&planted);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong[0].contains("gate") && wrong[1].contains("origin"),
        "{wrong:?}"
    );
    let parts: Vec<String> = sources().iter().map(|source| source.part().to_owned()).collect();
    for (part, _) in MAY_NAME {
        assert!(parts.iter().any(|found| found == part), "there is no part {part}");
    }
    for source in sources() {
        let tests = source
            .text
            .find("\n#[cfg(test)]\nmod ")
            .map_or("", |at| &source.text[at..]);
        let after = tests
            .lines()
            .skip(3)
            .any(|line| line.starts_with("pub ") || line.starts_with("fn ") || line.starts_with("use "));
        assert!(
            !after,
            "{}: tests do not stand last, so what follows would not be looked at",
            source.path.display()
        );
    }
}

#[test]
fn the_document_draws_the_same_directions() {
    let page = fs::read_to_string("docs/ARCHITECTURE.md").unwrap();
    for (part, allowed) in MAY_NAME.iter().filter(|(part, _)| *part != "config") {
        let others: Vec<&str> = allowed.iter().copied().filter(|other| other != part).collect();
        let row = format!(
            "{part} → {}",
            if others.is_empty() {
                "nobody".to_owned()
            } else {
                others.join(", ")
            }
        );
        assert!(page.contains(&row), "docs/ARCHITECTURE.md lacks the line: {row}");
    }
}

/// Fails for each line of code in files of `within` (all but them, for `Except`) that holds one of `words`.
fn nowhere(words: &[&str], concerns: impl Fn(&Path) -> bool) {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| concerns(&source.path)) {
        for line in source.code() {
            if words.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}: {}", source.path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{words:?}:\n{}", wrong.join("\n"));
}

#[test]
fn tokens_are_pure() {
    nowhere(&["hyper::", "tokio::", "async fn", ".await"], |path| {
        path.starts_with("src/token")
    });
}

#[test]
fn sockets_time_and_the_environment_have_one_owner_each() {
    nowhere(
        &["tokio::net", "std::net::TcpListener", "std::net::TcpStream"],
        |path| {
            !path.starts_with("src/server") && !path.starts_with("src/origin") && !path.starts_with("src/cli")
        },
    );
    nowhere(&["SystemTime::now", "std::time::Instant"], |path| {
        path != Path::new("src/clock.rs")
    });
    // Secrets in the one, what the service manager says in the other.
    nowhere(&["env::var"], |path| {
        path != Path::new("src/secret.rs") && path != Path::new("src/server/systemd.rs")
    });
}

#[test]
fn only_the_command_line_names_the_configuration() {
    nowhere(&["crate::config"], |path| {
        !path.starts_with("src/config") && !path.starts_with("src/cli")
    });
}

#[test]
fn decisions_do_not_travel_in_extensions_and_bodies_are_not_boxed() {
    nowhere(
        &[".extensions()", ".extensions_mut()", "BoxBody", "Box<dyn Error"],
        |_| true,
    );
}

#[test]
fn a_grant_is_made_in_authorize_alone() {
    nowhere(&["Grant {"], |path| path != Path::new("src/gate/authorize.rs"));
    let authorize = fs::read_to_string("src/gate/authorize.rs").unwrap();
    let fields = authorize
        .split("pub struct Grant {")
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    assert!(
        fields.lines().count() > 3 && !fields.contains("pub"),
        "a field of Grant is public: {fields}"
    );
    assert_eq!(
        authorize.matches("= Grant {").count(),
        1,
        "a grant is made in one place"
    );
}

#[test]
fn every_file_says_what_it_is_and_none_is_endless() {
    let mut lengths = Vec::new();
    for source in sources() {
        assert!(
            source.text.starts_with("//!"),
            "{} does not say what it is",
            source.path.display()
        );
        let lines = source.code().count();
        assert!(lines <= 600, "{} has {lines} lines", source.path.display());
        lengths.push(lines);
    }
    lengths.sort_unstable();
    assert!(
        lengths[lengths.len() / 2] <= 220,
        "the median file has {} lines",
        lengths[lengths.len() / 2]
    );
}
