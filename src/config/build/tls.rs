//! `[server.tls]`, `[issuer.tls]`, `[admin.tls]`: certificates and keys, read and checked while nothing is served yet.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Place, raw, seconds};
use crate::clock::Clock;
use crate::config::keyfile;
use crate::config::problems::Problems;
use crate::server::tls::{
    Certificate, CertificateError, CertificateFiles, Certificates, Protocols, TlsListeners,
};

/// How often the files are looked at.
const POLL: Duration = seconds(10);

/// What the listeners prove themselves with; `None` only where a problem was reported.
pub(super) fn build(file: &raw::File, place: &Place, problems: &mut Problems) -> Option<TlsListeners> {
    let server = file.server.as_ref();
    let http2 = if server.is_none_or(|server| server.http2) {
        Protocols::Http2
    } else {
        Protocols::Http1
    };
    let gate = server.and_then(|server| server.tls.as_ref());
    if let Some(gate) = gate
        && gate.listen.as_ref().is_some_and(Vec::is_empty)
    {
        let hint = "name at least one address, [\"0.0.0.0:443\"], or take out [server.tls]";
        problems.error(format!("{}.listen", gate.at), "is empty", hint);
    }
    let issuer = file.issuer.as_ref().and_then(|issuer| issuer.tls.as_ref());
    let admin = file.admin.as_ref().and_then(|admin| admin.tls.as_ref());
    let mut of = |tls: Option<(&str, Option<&Vec<raw::Certificate>>)>, protocols| match tls {
        None => Some(None),
        Some((at, list)) => certificates(at, list?, protocols, place, problems).map(Some),
    };
    let gate = of(gate.map(|tls| (&*tls.at, tls.certificates.as_ref())), http2);
    let issuer = of(issuer.map(|tls| (&*tls.at, tls.certificates.as_ref())), http2);
    let admin = of(
        admin.map(|tls| (&*tls.at, tls.certificates.as_ref())),
        Protocols::Http1,
    );
    Some(TlsListeners {
        gate: gate?,
        issuer: issuer?,
        admin: admin?,
        poll: POLL,
    })
}

fn certificates(
    at: &str,
    list: &[raw::Certificate],
    protocols: Protocols,
    place: &Place,
    problems: &mut Problems,
) -> Option<Arc<Certificates>> {
    if list.is_empty() {
        let hint = "name at least one: [{ chain = \"fullchain.pem\", key = \"privkey.pem\" }]";
        problems.error(format!("{at}.certificates"), "is empty", hint);
        return None;
    }
    let mut files = Vec::new();
    for raw in list {
        files.push(CertificateFiles {
            chain: place.resolve(raw.chain.as_ref()?),
            key: place.resolve(raw.key.as_ref()?),
        });
    }
    match Certificates::load(files.clone(), protocols) {
        Err(errors) => {
            for (number, error) in errors {
                let (key, file, hint) = blame(&error, &files[number]);
                let what = format!("{}: {error}", file.display());
                problems.error(format!("{}.{key}", list[number].at), what, hint);
            }
            None
        }
        Ok(certificates) => {
            for (number, certificate) in certificates.list().iter().enumerate() {
                judge(&list[number].at, number, certificate, problems);
                exposed(&format!("{}.key", list[number].at), &files[number].key, problems);
            }
            Some(certificates)
        }
    }
}

/// Which of the two keys an error belongs to, its file, and what to do.
fn blame<'f>(
    error: &CertificateError,
    files: &'f CertificateFiles,
) -> (&'static str, &'f Path, &'static str) {
    let (key, hint) = match error {
        CertificateError::Chain(_) => ("chain", "is it there, and readable for this user?"),
        CertificateError::Key(_) => ("key", "is it there, and readable for this user?"),
        CertificateError::NoCertificate => ("chain", "it starts with -----BEGIN CERTIFICATE-----"),
        CertificateError::BadCertificate(_) => ("chain", "export it anew"),
        CertificateError::NoKey => (
            "key",
            "it starts with -----BEGIN PRIVATE KEY----- and has no password",
        ),
        CertificateError::BadKey => ("key", "make another key, and have it certified"),
        CertificateError::Mismatch => (
            "key",
            "the server's own certificate stands first in the chain; is the key of the same date?",
        ),
        CertificateError::Setup(_) => ("chain", ""),
    };
    let file = if key == "key" { &files.key } else { &files.chain };
    (key, file, hint)
}

/// What deserves a second look.
fn judge(at: &str, number: usize, certificate: &Certificate, problems: &mut Problems) {
    let now = Clock::system().now();
    let at = format!("{at}.chain");
    if certificate.valid_to().is_some_and(|end| end <= now) {
        problems.warn(
            &at,
            "the certificate has expired",
            "clients will refuse it: renew it",
        );
    }
    if certificate.valid_from().is_some_and(|start| start > now) {
        problems.warn(
            &at,
            "the certificate is not valid yet",
            "clients will refuse it until then; is the clock right?",
        );
    }
    if certificate.names().is_empty() {
        let what = "the certificate has no DNS name (subjectAltName)";
        if number == 0 {
            problems.warn(at, what, "it is only for clients that name no host");
        } else {
            problems.error(
                at,
                what,
                "no client would ever be given it: take it out, or put it first",
            );
        }
    }
}

/// A key that everybody on the machine can read works, and should not.
fn exposed(at: &str, key: &Path, problems: &mut Problems) {
    if let Ok(Some(mode)) = keyfile::exposed(key)
        && mode & 0o007 != 0
    {
        let what = format!(
            "{} has mode {mode:04o}: anybody here can read the key",
            key.display()
        );
        problems.warn(at, what, format!("chmod o= {}", key.display()));
    }
}
