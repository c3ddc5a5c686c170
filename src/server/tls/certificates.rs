//! Certificates and their keys: read as pairs, checked, found by the name that a client asks for (SNI), and read anew
//! without a restart. In: files. Out: what rustls signs with. Never: a key in a message, or half of a change.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme};
use zeroize::Zeroizing;

use super::Protocols;
use super::validity::{self, Validity};
use crate::clock::UnixTime;

/// The largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority, in PEM, the certificate itself first.
    pub chain: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

/// Why files are no certificate with its key. Says nothing of what is in the key's file.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain's file.
    #[error("the chain can't be read: {0}")]
    Chain(#[source] io::Error),
    /// The key's file.
    #[error("the key can't be read: {0}")]
    Key(#[source] io::Error),
    /// No PEM block of a certificate, or a broken one.
    #[error("the chain holds no certificate in PEM")]
    NoCertificate,
    /// One of them, counted from 1, is none.
    #[error("certificate {0} of the chain can't be parsed")]
    BadCertificate(usize),
    /// No PEM block of a key.
    #[error("the key's file holds no private key in PEM")]
    NoKey,
    /// A kind that is not known, or too weak.
    #[error("the key is none that can be used: RSA from 2048 bits, ECDSA P-256, P-384, P-521, Ed25519")]
    BadKey,
    /// The key is another certificate's.
    #[error("the key does not belong to the chain's first certificate")]
    Mismatch,
    /// rustls can't be set up.
    #[error("TLS can't be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    names: Arc<[Box<str>]>,
    validity: Option<Validity>,
}

impl Certificate {
    /// The DNS names that it is for, lower case.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// From when it is valid.
    pub fn valid_from(&self) -> Option<UnixTime> {
        self.validity.map(|validity| UnixTime::from_secs(validity.from))
    }

    /// Up to when.
    pub fn valid_to(&self) -> Option<UnixTime> {
        self.validity.map(|validity| UnixTime::from_secs(validity.to))
    }

    fn parse(pair: &Pair) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.chain)
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::NoCertificate)?;
        let mut names = Vec::new();
        for (at, der) in chain.iter().enumerate() {
            let parsed =
                webpki::EndEntityCert::try_from(der).map_err(|_| CertificateError::BadCertificate(at + 1))?;
            if at == 0 {
                names = parsed
                    .valid_dns_names()
                    .map(|name| name.to_ascii_lowercase().into_boxed_str())
                    .collect();
            }
        }
        let first = chain.first().ok_or(CertificateError::NoCertificate)?;
        let validity = validity::read(first);
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| CertificateError::NoKey)?;
        let certified =
            CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
                _ => CertificateError::BadKey,
            })?;
        Ok(Self {
            certified: Arc::new(certified),
            names: names.into(),
            validity,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// Both files as they were at one moment, or nearly: a pair that does not fit together is not taken.
struct Pair {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl Pair {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Ok(Self {
            chain: bounded(&files.chain).map_err(CertificateError::Chain)?,
            key: Zeroizing::new(bounded(&files.key).map_err(CertificateError::Key)?),
        })
    }

    /// Names the content.
    fn mark(&self) -> Mark {
        let (chain, key) = (digest(&SHA256, &self.chain), digest(&SHA256, &self.key));
        let mut mark = [0; 64];
        mark[..32].copy_from_slice(chain.as_ref());
        mark[32..].copy_from_slice(key.as_ref());
        mark
    }
}

type Mark = [u8; 64];

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // With room for all of it, so that no half of a key is left behind where the buffer grew.
    let mut bytes =
        Vec::with_capacity(usize::try_from(file.metadata()?.len().min(MAX_BYTES)).unwrap_or(0) + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(bytes)
}

/// One of the list.
#[derive(Clone)]
struct Slot {
    files: CertificateFiles,
    /// The last good one.
    certificate: Certificate,
    /// Of its content.
    mark: Mark,
    /// What was said of files that are not taken, so that it is said once.
    said: Option<String>,
}

/// The certificates of a listener. Tickets are the listener's as long as it lives, whatever becomes of its files.
pub struct Certificates {
    slots: Mutex<Vec<Slot>>,
    table: Arc<ArcSwap<Table>>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Reads them. The first is for clients that name no host, or an unknown one.
    ///
    /// # Errors
    /// Each that is wrong, by its number.
    pub fn load(
        files: Vec<CertificateFiles>,
        protocols: Protocols,
    ) -> Result<Arc<Self>, Vec<(usize, CertificateError)>> {
        let mut slots = Vec::new();
        let mut errors = Vec::new();
        for (number, files) in files.into_iter().enumerate() {
            let read = Pair::read(&files).and_then(|pair| Ok((Certificate::parse(&pair)?, pair.mark())));
            match read {
                Ok((certificate, mark)) => slots.push(Slot {
                    files,
                    certificate,
                    mark,
                    said: None,
                }),
                Err(error) => errors.push((number, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let table = Arc::new(ArcSwap::from_pointee(Table::of(&slots)));
        let resolver = Arc::new(Resolver(Arc::clone(&table)));
        let config =
            super::config(resolver, protocols).map_err(|error| vec![(0, CertificateError::Setup(error))])?;
        Ok(Arc::new(Self {
            slots: Mutex::new(slots),
            table,
            config: Arc::new(config),
        }))
    }

    /// Those that are in use.
    pub fn list(&self) -> Vec<Certificate> {
        self.lock().iter().map(|slot| slot.certificate.clone()).collect()
    }

    /// Reads the files anew. A pair that can't be used leaves the last good one where it is, and is logged once.
    pub fn reload(&self) {
        // Read without the lock: files may keep their readers waiting.
        let files: Vec<CertificateFiles> = self.lock().iter().map(|slot| slot.files.clone()).collect();
        let read: Vec<_> = files.iter().map(Pair::read).collect();
        let mut slots = self.lock();
        let mut changed = false;
        for (slot, (files, read)) in slots.iter_mut().zip(files.iter().zip(read)) {
            // Another configuration was adopted meanwhile.
            if slot.files == *files {
                changed |= slot.take(read);
            }
        }
        if changed {
            self.table.store(Arc::new(Table::of(&slots)));
        }
    }

    /// Takes over the list of another, as a changed configuration brings it.
    pub(super) fn adopt(&self, newer: &Self) {
        let list = newer.lock().clone();
        let mut slots = self.lock();
        *slots = list;
        self.table.store(Arc::new(Table::of(&slots)));
    }

    /// Whether `host` has certificates of its own, none of which is used for `named`.
    pub(super) fn are_apart(&self, named: &str, host: &str) -> bool {
        let table = self.table.load();
        let Some(own) = table.by_name(host) else {
            return false;
        };
        let used = table.by_name(named).unwrap_or(&table.default);
        !own.iter()
            .any(|one| used.iter().any(|other| Arc::ptr_eq(one, other)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl Slot {
    /// Whether the certificate in use is another now.
    fn take(&mut self, read: Result<Pair, CertificateError>) -> bool {
        let parsed = read.and_then(|pair| {
            let mark = pair.mark();
            if mark == self.mark {
                return Ok(None);
            }
            Ok(Some((Certificate::parse(&pair)?, mark)))
        });
        let chain = self.files.chain.display();
        match parsed {
            Ok(None) => self.said = None,
            Ok(Some((certificate, mark))) => {
                tracing::info!(%chain, names = ?certificate.names, "a certificate was replaced");
                self.certificate = certificate;
                self.mark = mark;
                self.said = None;
                return true;
            }
            Err(error) => {
                let what = error.to_string();
                if self.said.as_ref() != Some(&what) {
                    tracing::warn!(%chain, reason = %what, "a certificate is kept: the new files can't be used");
                    self.said = Some(what);
                }
            }
        }
        false
    }
}

/// Certificates by name.
struct Table {
    /// For clients that name no host, or an unknown one.
    default: Vec<Arc<CertifiedKey>>,
    /// By exact name; where several have it, in the order of the list.
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl Table {
    fn of(slots: &[Slot]) -> Self {
        let mut table = Self {
            default: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        let first: HashSet<&str> = slots
            .first()
            .map(|slot| slot.certificate.names.iter().map(|name| &**name).collect())
            .unwrap_or_default();
        for (number, slot) in slots.iter().enumerate() {
            let certified = &slot.certificate.certified;
            let names = &slot.certificate.names;
            // A second one for the very same names is there for its other kind of key.
            if number == 0 || (!first.is_empty() && names.iter().any(|name| first.contains(&**name))) {
                table.default.push(Arc::clone(certified));
            }
            for name in names.iter() {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut table.wildcard, parent),
                    None => (&mut table.exact, &**name),
                };
                map.entry(name.into()).or_default().push(Arc::clone(certified));
            }
        }
        table
    }

    /// Those that have this name.
    fn by_name(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        let parent = || name.split_once('.').map(|(_, parent)| parent);
        self.exact.get(name).or_else(|| self.wildcard.get(parent()?))
    }

    /// The first for this name whose key the client can check; failing that, the first.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| self.by_name(name)).unwrap_or(&self.default);
        found
            .iter()
            .find(|certified| certified.key.choose_scheme(schemes).is_some())
            .or(found.first())
            .map(Arc::clone)
    }
}

/// Looks up what a client asks for.
struct Resolver(Arc<ArcSwap<Table>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().find(hello.server_name(), hello.signature_schemes())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests;
