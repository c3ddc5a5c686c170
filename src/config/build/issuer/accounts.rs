//! `issuer.callers_file`: local users and clients.

use crate::config::build::keys::owner_only;
use crate::config::build::{Place, raw};
use crate::config::problems::Problems;
use crate::config::{callers, in_file};
use crate::issuer::accounts::Accounts;

/// Reads the file; `None` only where a problem was reported.
pub(super) fn accounts(
    demo: bool,
    raw: &raw::Issuer,
    place: &Place,
    problems: &mut Problems,
) -> Option<Accounts> {
    const AT: &str = "issuer.callers_file";
    let Some(path) = &raw.callers_file else {
        return Some(Accounts::default());
    };
    let signs_in = [
        "issuer.nexudus_bearer",
        "issuer.adobe_bearer",
        "issuer.sirv_bearer",
    ]
    .iter()
    .any(|at| problems.has(at));
    if !signs_in {
        problems.warn(
            AT,
            "is read, but nobody can sign in with a password",
            "add [issuer.nexudus_bearer], [issuer.adobe_bearer] or [issuer.sirv_bearer]",
        );
    }
    let path = place.resolve(path);
    place.note(&path);
    if !path.exists() {
        // The demo has a caller without it.
        if !demo {
            problems.warn(
                AT,
                format!("{} does not exist yet", path.display()),
                "`mediagate callers add` makes it",
            );
        }
        return Some(Accounts::default());
    }
    if !owner_only(AT, &path, problems) {
        return None;
    }
    match callers::read(&path) {
        Ok(all) => Some(Accounts::new(all)),
        Err(errors) => {
            for problem in &errors.problems {
                problems.error(AT, in_file(&errors.file, problem), "see `mediagate callers`");
            }
            None
        }
    }
}
