//! What is wrong with a configuration: all of it, each with its key path, line, and what to do. Never holds a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong, or that deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `route[2].scheme.jwt.keys`, counted from 0; empty for the whole file.
    pub path: String,
    /// The line of the key, from 1; `None` where there is no file to point into.
    pub line: Option<usize>,
    /// What.
    pub what: String,
    /// What to do; may be empty.
    pub hint: String,
}

/// Something that works and deserves a second look.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors {
    /// The file.
    pub file: PathBuf,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigErrors {
    /// A line each: `file:line: key.path: what (hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&in_file(&self.file, problem))?;
        }
        Ok(())
    }
}

/// `file:line: key.path: what (hint)`.
pub fn in_file(file: &Path, problem: &Problem) -> String {
    match problem.line {
        Some(line) => format!("{}:{line}: {problem}", file.display()),
        None => format!("{}: {problem}", file.display()),
    }
}

/// Collects problems, and knows on which line each key stands.
#[derive(Debug)]
pub(super) struct Problems {
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
    /// Key path → line.
    lines: BTreeMap<String, usize>,
    /// Keys that an unknown key was probably meant to be, and which are not reported as missing too.
    meant: Vec<String>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(text: &str) -> Self {
        let after_breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(after_breaks).collect(),
            lines: BTreeMap::new(),
            meant: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }

    /// Remembers on which line a key stands. The first mark counts.
    pub(super) fn mark(&mut self, path: &str, line: usize) {
        self.lines.entry(path.to_owned()).or_insert(line);
    }

    /// Whether the file has this key, readable or not.
    pub(super) fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// Remembers what an unknown key was probably meant to be.
    pub(super) fn mean(&mut self, path: String) {
        self.meant.push(path);
    }

    /// Whether an unknown key was probably meant to be this one.
    pub(super) fn is_meant(&self, path: &str) -> bool {
        self.meant.iter().any(|meant| meant == path)
    }

    /// The names in a table of named parts, also of those that could not be read.
    pub(super) fn names(&self, table: &str) -> Vec<String> {
        let below = |path: &String| {
            path.strip_prefix(table)
                .and_then(|rest| rest.strip_prefix('.'))
                .map(str::to_owned)
        };
        self.lines
            .keys()
            .filter_map(below)
            .filter(|name| !name.contains(['.', '[']))
            .collect()
    }

    /// Whether anything at or below this key was reported.
    pub(super) fn has_error_below(&self, path: &str) -> bool {
        self.errors.iter().any(|problem| problem.path.starts_with(path))
    }

    pub(super) fn error(
        &mut self,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let problem = self.problem(path.into(), what.into(), hint.into());
        if !self.errors.contains(&problem) {
            self.errors.push(problem);
        }
    }

    /// An error on a line that no key path leads to (an unknown key).
    pub(super) fn error_on(
        &mut self,
        line: usize,
        path: impl Into<String>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.errors.push(Problem {
            path: path.into(),
            line: Some(line),
            what: what.into(),
            hint: hint.into(),
        });
    }

    pub(super) fn warn(&mut self, path: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) {
        let problem = self.problem(path.into(), what.into(), hint.into());
        self.warnings.push(problem);
    }

    /// All errors, or all warnings where there are none.
    pub(super) fn finish(mut self, file: &Path) -> Result<Vec<Warning>, ConfigErrors> {
        self.errors.sort_by_key(|problem| problem.line);
        self.warnings.sort_by_key(|problem| problem.line);
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfigErrors {
                file: file.to_owned(),
                problems: self.errors,
            })
        }
    }

    fn problem(&self, path: String, what: String, hint: String) -> Problem {
        // A key that is absent has the line of the nearest table above it.
        let mut known: &str = &path;
        let line = loop {
            if let Some(line) = self.lines.get(known) {
                break *line;
            }
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None => break 1,
            }
        };
        Problem {
            path,
            line: Some(line),
            what,
            hint,
        }
    }
}

/// The nearest of `known` to a mistyped word, if any is near.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance (Levenshtein), with a swap of neighbours as one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let swap = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(swap)
            };
        }
    }
    rows[a.len()][b.len()]
}
