//! Reads the spanned TOML tree into the mirror of `raw.rs`, and goes on after every mistake: unknown keys, wrong types,
//! missing keys and unreadable values are all reported, each with its line.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problems::{Problems, nearest};

/// A value of the configuration.
pub(super) trait Read: Sized {
    /// What is expected, as `docs/CONFIG.md` calls it.
    fn kind() -> String;

    /// Reads it; reports what is wrong and answers `None` where nothing can be made of it.
    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self>;

    /// Lists the keys below it.
    #[cfg_attr(not(test), allow(dead_code, reason = "read by the test of docs/CONFIG.md"))]
    fn describe(_path: &str, _schema: &mut Vec<Key>) {}
}

/// One key of the schema, for the test that holds `docs/CONFIG.md` against it.
#[derive(Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "read by the test of docs/CONFIG.md"))]
pub(super) struct Key {
    /// `keys.NAME.file`, `route.name`.
    pub(super) path: String,
    /// Its type.
    pub(super) kind: String,
    /// Whether it must be there, or what it is where it is absent.
    pub(super) need: Need,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "read by the test of docs/CONFIG.md"))]
pub(super) enum Need {
    Required,
    Optional,
    /// Absent, it is this TOML value.
    Default(&'static str),
}

/// Declares a table of the mirror: each key `required`, `optional` or `default("a TOML value")`.
/// `at` is the table's own key path.
macro_rules! table {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $need:ident $(($default:literal))? $key:ident: $kind:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) struct $name {
            /// The key path of this table.
            #[allow(dead_code, reason = "not every table has something to complain of")]
            pub(super) at: String,
            $($(#[$doc])* pub(super) $key: $crate::config::read::field!($need $kind),)*
        }

        impl $crate::config::read::Read for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn read(
                node: &toml::Spanned<toml::de::DeValue<'_>>,
                path: &str,
                problems: &mut $crate::config::problems::Problems,
            ) -> Option<Self> {
                let table = $crate::config::read::open(node, path, &[$(stringify!($key)),*], problems)?;
                let _ = table;
                Some(Self {
                    at: path.to_owned(),
                    $($key: $crate::config::read::$need(table, path, stringify!($key) $(, $default)?, problems),)*
                })
            }

            fn describe(path: &str, schema: &mut Vec<$crate::config::read::Key>) {
                $({
                    let path = $crate::config::read::join(path, stringify!($key));
                    schema.push($crate::config::read::Key {
                        path: path.clone(),
                        kind: <$kind as $crate::config::read::Read>::kind(),
                        need: $crate::config::read::need!($need $(($default))?),
                    });
                    <$kind as $crate::config::read::Read>::describe(&path, schema);
                })*
                let _ = (path, schema);
            }
        }
    };
}

/// Declares a choice: a table with exactly one of the keys.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident $key:literal ($kind:ty),)* }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) enum $name {
            $($(#[$doc])* $variant(#[allow(dead_code, reason = "`{}` says nothing more")] $kind),)*
        }

        impl $crate::config::read::Read for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn read(
                node: &toml::Spanned<toml::de::DeValue<'_>>,
                path: &str,
                problems: &mut $crate::config::problems::Problems,
            ) -> Option<Self> {
                let keys = &[$($key),*];
                let table = $crate::config::read::open(node, path, keys, problems)?;
                let only = $crate::config::read::only(table, path, keys, problems)?;
                match only {
                    $($key => $crate::config::read::optional(table, path, $key, problems).map(Self::$variant),)*
                    _ => None,
                }
            }

            fn describe(path: &str, schema: &mut Vec<$crate::config::read::Key>) {
                $({
                    let path = $crate::config::read::join(path, $key);
                    schema.push($crate::config::read::Key {
                        path: path.clone(),
                        kind: <$kind as $crate::config::read::Read>::kind(),
                        need: $crate::config::read::Need::Optional,
                    });
                    <$kind as $crate::config::read::Read>::describe(&path, schema);
                })*
            }
        }
    };
}

macro_rules! field {
    (default $kind:ty) => { $kind };
    ($need:ident $kind:ty) => { Option<$kind> };
}

macro_rules! need {
    (required) => {
        $crate::config::read::Need::Required
    };
    (optional) => {
        $crate::config::read::Need::Optional
    };
    (default($default:literal)) => {
        $crate::config::read::Need::Default($default)
    };
}

pub(super) use {choice, field, need, table};

/// `path.key`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The table behind a node; reports its unknown keys, and marks the lines of the known ones.
pub(super) fn open<'n, 'i>(
    node: &'n Spanned<DeValue<'i>>,
    path: &str,
    known: &[&str],
    problems: &mut Problems,
) -> Option<&'n DeTable<'i>> {
    let Some(table) = node.get_ref().as_table() else {
        wrong_type(node, path, "table", problems);
        return None;
    };
    for key in table.keys() {
        let (name, line) = (&**key.get_ref(), problems.line_of(key.span().start));
        if known.contains(&name) {
            problems.mark(&join(path, name), line);
        } else {
            let hint = match nearest(name, known) {
                Some(near) => {
                    problems.mean(join(path, near));
                    format!("did you mean `{near}`?")
                }
                None if known.is_empty() => "this table has no keys".to_owned(),
                None => format!("known here: {}", known.join(", ")),
            };
            problems.error_on(line, join(path, name), "unknown key", hint);
        }
    }
    Some(table)
}

/// The one known key that a choice has.
pub(super) fn only<'k>(
    table: &DeTable<'_>,
    path: &str,
    known: &[&'k str],
    problems: &mut Problems,
) -> Option<&'k str> {
    let mut there = known.iter().copied().filter(|key| table.contains_key(*key));
    let one_of = || format!("one of: {}", known.join(", "));
    let Some(first) = there.next() else {
        // An unknown key was reported already.
        if table.is_empty() {
            problems.error(path, "is empty", one_of());
        }
        return None;
    };
    if let Some(second) = there.next() {
        problems.error(path, format!("has both `{first}` and `{second}`"), one_of());
        return None;
    }
    Some(first)
}

/// A key that must be there.
pub(super) fn required<T: Read>(
    table: &DeTable<'_>,
    path: &str,
    key: &str,
    problems: &mut Problems,
) -> Option<T> {
    if !table.contains_key(key) && !problems.is_meant(&join(path, key)) {
        let hint = match T::kind().as_str() {
            "table" => format!("add the table `{}`", join(path, key)),
            kind => format!("add `{key} = …`, {}", with_article(kind)),
        };
        problems.error(join(path, key), "missing", hint);
    }
    optional(table, path, key, problems)
}

/// A key that may be absent.
pub(super) fn optional<T: Read>(
    table: &DeTable<'_>,
    path: &str,
    key: &str,
    problems: &mut Problems,
) -> Option<T> {
    T::read(table.get(key)?, &join(path, key), problems)
}

/// A key with a default, which also stands in for an unreadable value, so that reading goes on.
pub(super) fn default<T: Read>(
    table: &DeTable<'_>,
    path: &str,
    key: &str,
    default: &str,
    problems: &mut Problems,
) -> T {
    optional(table, path, key, problems).unwrap_or_else(|| {
        let node = DeValue::parse(default).expect("a default is TOML, which a test tries");
        // Its own collector: lines of the default are no lines of the file.
        T::read(&node, &join(path, key), &mut Problems::new(""))
            .expect("a default is valid, which a test tries")
    })
}

/// Reports a value of another type.
pub(super) fn wrong_type(node: &Spanned<DeValue<'_>>, path: &str, kind: &str, problems: &mut Problems) {
    let found = match node.get_ref().type_str() {
        "string" => "text",
        "array" => "list",
        other => other,
    };
    let line = problems.line_of(node.span().start);
    problems.error_on(
        line,
        path,
        format!("is {}, and should be {}", with_article(found), with_article(kind)),
        example(kind),
    );
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// How a value of a kind is written.
fn example(kind: &str) -> &'static str {
    match kind {
        "text" => "write \"…\"",
        "duration" => "write a number and a unit: \"500ms\", \"15s\", \"5m\", \"24h\", \"7d\"",
        "size" => "write a number and a unit: \"64KB\", \"16KiB\", \"1GiB\"",
        "boolean" => "write true or false",
        "integer" => "write a whole number without quotes",
        "address" => "write \"127.0.0.1:8080\"",
        kind if kind.starts_with("list") => "write […]",
        _ => "",
    }
}

/// Reads a value that is written as text.
pub(super) fn text<T>(
    node: &Spanned<DeValue<'_>>,
    path: &str,
    kind: &str,
    problems: &mut Problems,
    parse: impl FnOnce(&str) -> Result<T, (String, String)>,
) -> Option<T> {
    let Some(text) = node.get_ref().as_str() else {
        wrong_type(node, path, kind, problems);
        return None;
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err((what, hint)) => {
            let hint = if hint.is_empty() {
                example(kind).to_owned()
            } else {
                hint
            };
            problems.error_on(problems.line_of(node.span().start), path, what, hint);
            None
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn kind() -> String {
        let one = T::kind();
        let plural = if one.ends_with('s') { "es" } else { "s" };
        format!("list of {one}{plural}")
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        let Some(array) = node.get_ref().as_array() else {
            wrong_type(node, path, &Self::kind(), problems);
            return None;
        };
        let mut all = Self::new();
        for (at, node) in array.iter().enumerate() {
            let path = format!("{path}[{at}]");
            problems.mark(&path, problems.line_of(node.span().start));
            all.extend(T::read(node, &path, problems));
        }
        Some(all)
    }

    fn describe(path: &str, schema: &mut Vec<Key>) {
        T::describe(path, schema);
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn kind() -> String {
        "table".to_owned()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        let Some(table) = node.get_ref().as_table() else {
            wrong_type(node, path, "table", problems);
            return None;
        };
        let mut all = Self::new();
        for (key, node) in table {
            let name = key.get_ref().to_string();
            let path = join(path, &name);
            problems.mark(&path, problems.line_of(key.span().start));
            if let Some(value) = T::read(node, &path, problems) {
                all.insert(name, value);
            }
        }
        Some(all)
    }

    fn describe(path: &str, schema: &mut Vec<Key>) {
        T::describe(&join(path, "NAME"), schema);
    }
}

/// One table, or a list of tables.
#[derive(Debug)]
pub(super) struct Several<T>(pub(super) Vec<T>);

impl<T: Read> Read for Several<T> {
    fn kind() -> String {
        format!("{} or list of {}s", T::kind(), T::kind())
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        match node.get_ref() {
            DeValue::Array(_) => Vec::read(node, path, problems).map(Self),
            _ => T::read(node, path, problems).map(|one| Self(vec![one])),
        }
    }

    fn describe(path: &str, schema: &mut Vec<Key>) {
        T::describe(path, schema);
    }
}

/// A value with its own key path, for lists whose members are judged later.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) at: String,
    pub(super) value: T,
}

impl<T: Read> Read for At<T> {
    fn kind() -> String {
        T::kind()
    }

    fn read(node: &Spanned<DeValue<'_>>, path: &str, problems: &mut Problems) -> Option<Self> {
        T::read(node, path, problems).map(|value| Self {
            at: path.to_owned(),
            value,
        })
    }

    fn describe(path: &str, schema: &mut Vec<Key>) {
        T::describe(path, schema);
    }
}
