//! Entitlements: which viewer may watch which resource for which requestor, and which provider vouches for that. A table in
//! the configuration; the first row that is for a request decides.

use crate::clock::UnixTime;

/// Any resource.
const ANY: &str = "*";

/// One row.
#[derive(Debug)]
pub struct Entitlement {
    /// The programmer's application.
    pub requestor: Box<str>,
    /// What it is for; `*` is any resource.
    pub resources: Box<[Box<str>]>,
    /// The provider that vouches for the viewer.
    pub mvpd: Box<str>,
    /// The provider behind whom that one stands.
    pub proxy_mvpd: Option<Box<str>>,
    /// When it ends.
    pub until: Option<UnixTime>,
    /// The subjects of the bearers that it is for; `None` is every viewer, listed devices too.
    pub subjects: Option<Box<[Box<str>]>>,
    /// Refuses, and says why.
    pub denied: Option<Box<str>>,
}

/// What the table says.
#[derive(Debug)]
pub(super) enum Entitled<'e> {
    /// Yes.
    Yes(&'e Entitlement),
    /// No, for this reason.
    Denied(Option<&'e str>),
    /// Not any more.
    Ended,
    /// It has nothing for this viewer and requestor at all.
    Unknown,
}

/// Looks a request up; `subject` is the bearer's, where there is one.
pub(super) fn entitled<'e>(
    table: &'e [Entitlement],
    requestor: &str,
    resource: &str,
    subject: Option<&str>,
    now: UnixTime,
) -> Entitled<'e> {
    let mut mine = table
        .iter()
        .filter(|row| *row.requestor == *requestor && row.is_for(subject))
        .peekable();
    if mine.peek().is_none() {
        return Entitled::Unknown;
    }
    match mine.find(|row| row.names(resource)) {
        None => Entitled::Denied(None),
        Some(row) if row.denied.is_some() => Entitled::Denied(row.denied.as_deref()),
        Some(row) if row.until.is_some_and(|end| now >= end) => Entitled::Ended,
        Some(row) => Entitled::Yes(row),
    }
}

impl Entitlement {
    fn is_for(&self, subject: Option<&str>) -> bool {
        let Some(subjects) = &self.subjects else {
            return true;
        };
        subject.is_some_and(|subject| subjects.iter().any(|one| **one == *subject))
    }

    fn names(&self, resource: &str) -> bool {
        self.resources
            .iter()
            .any(|one| **one == *ANY || **one == *resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(requestor: &str, resource: &str, subjects: Option<&[&str]>) -> Entitlement {
        Entitlement {
            requestor: requestor.into(),
            resources: Box::new([resource.into()]),
            mvpd: "mvpd".into(),
            proxy_mvpd: None,
            until: None,
            subjects: subjects.map(|all| all.iter().map(|one| (*one).into()).collect()),
            denied: None,
        }
    }

    fn word(table: &[Entitlement], requestor: &str, resource: &str, subject: Option<&str>) -> &'static str {
        match entitled(table, requestor, resource, subject, UnixTime::from_secs(100)) {
            Entitled::Yes(_) => "yes",
            Entitled::Denied(None) => "denied",
            Entitled::Denied(Some(_)) => "denied with a reason",
            Entitled::Ended => "ended",
            Entitled::Unknown => "unknown",
        }
    }

    #[test]
    fn the_first_row_for_viewer_requestor_and_resource_decides() {
        let table = [
            Entitlement {
                denied: Some("Blackout".into()),
                ..row("SPORT", "final", None)
            },
            Entitlement {
                until: Some(UnixTime::from_secs(100)),
                ..row("SPORT", "old", None)
            },
            row("SPORT", "vip", Some(&["42"])),
            row("NEWS", ANY, Some(&["42"])),
        ];
        for (requestor, resource, subject, expected) in [
            ("SPORT", "final", Some("42"), "denied with a reason"),
            ("SPORT", "old", Some("42"), "ended"),
            ("SPORT", "vip", Some("42"), "yes"),
            ("SPORT", "vip", Some("43"), "denied"),
            ("SPORT", "vip", None, "denied"),
            ("NEWS", "anything", Some("42"), "yes"),
            ("NEWS", "anything", Some("43"), "unknown"),
            ("NEWS", "anything", None, "unknown"),
            ("news", "anything", Some("42"), "unknown"),
        ] {
            assert_eq!(
                word(&table, requestor, resource, subject),
                expected,
                "{requestor} {resource}"
            );
        }
    }
}
