//! The file of local users and clients: read as strictly as the configuration, written whole and for its owner alone.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::keyfile;
use super::problems::{ConfigErrors, Problem, Problems};
use super::read::{Read, table};
use crate::issuer::accounts::{Account, Kind, MAX_NAME_BYTES, PasswordHash};

table! {
    /// The whole file.
    pub struct Callers {
        /// People.
        default("[]") user: Vec<Entry>,
        /// Programs.
        default("[]") client: Vec<Entry>,
    }
}

table! {
    /// One of them.
    pub struct Entry {
        /// Its name.
        required name: String,
        /// Whom its bearers are for.
        required subject: String,
        /// What its bearers may do.
        required scope: String,
        /// The hash of its password.
        required hash: String,
    }
}

/// Reads the file; one that does not exist holds nobody.
///
/// # Errors
/// `ConfigErrors`: all that is wrong. Nothing of a hash is in them.
pub fn read(path: &Path) -> Result<Vec<Account>, ConfigErrors> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fail(path, None, format!("can't be read: {error}"))),
    }
}

fn fail(path: &Path, line: Option<usize>, what: String) -> ConfigErrors {
    ConfigErrors {
        file: path.to_owned(),
        problems: vec![Problem {
            path: String::new(),
            line,
            what,
            hint: "it is written by `mediagate callers add`".to_owned(),
        }],
    }
}

fn parse(path: &Path, text: &str) -> Result<Vec<Account>, ConfigErrors> {
    let mut problems = Problems::new(text);
    let tree = toml::de::DeTable::parse(text).map_err(|error| {
        let line = error.span().map(|span| problems.line_of(span.start));
        // The parser's own message may show what stands there.
        fail(path, line, "is not TOML".to_owned())
    })?;
    let tree = toml::Spanned::new(tree.span(), toml::de::DeValue::Table(tree.into_inner()));
    let file = Callers::read(&tree, "", &mut problems);
    let mut accounts: Vec<Account> = Vec::new();
    if let Some(file) = file {
        let users = file.user.iter().map(|entry| (Kind::User, entry));
        let clients = file.client.iter().map(|entry| (Kind::Client, entry));
        for (kind, entry) in users.chain(clients) {
            let Some(account) = account(kind, entry, &mut problems) else {
                continue;
            };
            if accounts.iter().any(|other| other.name == account.name) {
                problems.error(
                    format!("{}.name", entry.at),
                    "is somebody else's, too",
                    "users and clients have different names",
                );
            }
            accounts.push(account);
        }
    }
    problems.finish(path)?;
    Ok(accounts)
}

fn account(kind: Kind, entry: &Entry, problems: &mut Problems) -> Option<Account> {
    let at = |key: &str| format!("{}.{key}", entry.at);
    let (name, subject) = (entry.name.as_deref()?, entry.subject.as_deref()?);
    for (key, text) in [("name", name), ("subject", subject)] {
        if let Err(what) = check_name(text) {
            problems.error(at(key), what, "write \"a@example.com\"");
        }
    }
    let scope = entry.scope.as_deref()?;
    if let Err(what) = check_scope(scope) {
        problems.error(at("scope"), what, "write \"media:read\"");
    }
    match PasswordHash::parse(entry.hash.as_deref()?) {
        Ok(hash) => Some(Account {
            name: name.into(),
            subject: subject.into(),
            scope: scope.into(),
            kind,
            hash,
        }),
        Err(what) => {
            problems.error(at("hash"), what, "let `mediagate callers add --replace` write it");
            None
        }
    }
}

/// Whether a text can be a name or a subject.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    let good = (1..=MAX_NAME_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    good.then_some(())
        .ok_or("has 1 to 256 bytes and no control character")
}

/// Whether a text can be a scope: words of visible characters (RFC 6749 §3.3), a space between each two.
///
/// # Errors
/// What is wrong with it.
pub fn check_scope(text: &str) -> Result<(), &'static str> {
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    let good = text.len() <= MAX_NAME_BYTES && text.split(' ').all(word);
    good.then_some(())
        .ok_or("is not words with one space between each two, at most 256 bytes")
}

/// Changes the file: nobody else does meanwhile.
///
/// # Errors
/// What hinders it, as a sentence; the file is as it was.
pub fn change<E: ToString>(
    path: &Path,
    change: impl FnOnce(&mut Vec<Account>) -> Result<(), E>,
) -> Result<(), String> {
    let text = |error: io::Error| format!("{}: {error}", path.display());
    let folder = keyfile::folder_of(path);
    keyfile::make_folder(folder).map_err(text)?;
    // A file that is replaced can't be locked itself.
    let lock = File::open(folder).map_err(text)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| text(error.into()))?;
    let mut accounts = read(path).map_err(|errors| errors.to_string())?;
    change(&mut accounts).map_err(|error| error.to_string())?;
    keyfile::replace(path, write(&accounts).as_bytes()).map_err(text)
}

fn write(accounts: &[Account]) -> String {
    let mut text = "# Local users and clients. Written by `mediagate callers`; a server that runs takes changes by itself.\n".to_owned();
    for account in accounts {
        let quoted = |value: &str| toml::Value::from(value).to_string();
        text.push_str(&format!(
            "\n[[{}]]\nname = {}\nsubject = {}\nscope = {}\nhash = {}\n",
            account.kind.as_str(),
            quoted(&account.name),
            quoted(&account.subject),
            quoted(&account.scope),
            quoted(account.hash.reveal()),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn account(name: &str) -> Account {
        Account {
            name: name.into(),
            subject: "4\"2\\".into(),
            scope: "media:read a".into(),
            kind: Kind::Client,
            hash: PasswordHash::of(b"x").unwrap(),
        }
    }

    #[test]
    fn it_is_read_as_it_is_written_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/callers.toml");
        assert!(read(&path).unwrap().is_empty());
        for name in ["ä b@example.com", "\"quoted\"", "[x]"] {
            change(&path, |all| {
                all.push(account(name));
                Ok::<_, String>(())
            })
            .unwrap();
        }
        let all = read(&path).unwrap();
        let names: Vec<&str> = all.iter().map(|account| &*account.name).collect();
        assert_eq!(names, ["ä b@example.com", "\"quoted\"", "[x]"]);
        assert_eq!((&*all[0].subject, all[0].kind), ("4\"2\\", Kind::Client));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let kept = std::fs::read(&path).unwrap();
        assert!(change(&path, |_| Err("no")).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), kept);
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_nothing_of_a_hash() {
        let hash = PasswordHash::of(b"x").unwrap();
        let good = format!(
            "name = \"a\"\nsubject = \"1\"\nscope = \"s\"\nhash = \"{}\"\n",
            hash.reveal()
        );
        let entry = |kind: &str, from: &str, to: &str| format!("[[{kind}]]\n{}", good.replace(from, to));
        for (text, place, what) in [
            (entry("user", "name = \"a\"\n", ""), "1: user[0].name", "missing"),
            (entry("user", "\"a\"", "\"\""), "2: user[0].name", "1 to 256"),
            (entry("user", "\"a\"", "\"a\\nb\""), "2: user[0].name", "control"),
            (
                entry("client", "\"s\"", "\"a  b\""),
                "4: client[0].scope",
                "words",
            ),
            (
                entry("client", "argon2id", "argon2d"),
                "5: client[0].hash",
                "argon2id",
            ),
            (entry("user", "subject", "sub"), "3: user[0].sub", "unknown key"),
            (entry("admin", "x", "y"), "1: admin", "unknown key"),
            (
                entry("user", "", "") + &entry("client", "", ""),
                "7: client[0].name",
                "somebody else",
            ),
            ("[[user]\n".to_owned(), "1: ", "TOML"),
        ] {
            let errors = parse(Path::new("callers.toml"), &text).unwrap_err().to_string();
            assert!(
                errors.contains(&format!("callers.toml:{place}")),
                "{text}\n{errors}"
            );
            assert!(errors.contains(what), "{text}\n{errors}");
            assert!(!errors.contains("m=19456"), "{errors}");
        }
        assert_eq!(parse(Path::new("x"), &entry("user", "", "")).unwrap().len(), 1);
    }
}
