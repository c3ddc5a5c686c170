//! Pairs of files, names, and changes under way.

use std::fs;

use tempfile::TempDir;

use super::*;

struct Made {
    chain: String,
    key: String,
}

fn made(names: &[&str], kind: &'static rcgen::SignatureAlgorithm) -> Made {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = rcgen::KeyPair::generate_for(kind).unwrap();
    let parameters = rcgen::CertificateParams::new(names).unwrap();
    Made {
        chain: parameters.self_signed(&key).unwrap().pem(),
        key: key.serialize_pem(),
    }
}

fn ecdsa(names: &[&str]) -> Made {
    made(names, &rcgen::PKCS_ECDSA_P256_SHA256)
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, made: &Made) -> CertificateFiles {
        let files = self.files(name);
        fs::write(&files.chain, &made.chain).unwrap();
        fs::write(&files.key, &made.key).unwrap();
        files
    }

    fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            chain: self.0.path().join(format!("{name}.pem")),
            key: self.0.path().join(format!("{name}.key")),
        }
    }
}

fn load(files: Vec<CertificateFiles>) -> Result<Arc<Certificates>, Vec<String>> {
    Certificates::load(files, Protocols::Http2).map_err(|errors| {
        errors
            .iter()
            .map(|(number, error)| format!("{number}: {error}"))
            .collect()
    })
}

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
const ED25519: &[SignatureScheme] = &[SignatureScheme::ED25519];

/// The names of the certificate that a client is given.
fn given(certificates: &Certificates, name: Option<&str>, schemes: &[SignatureScheme]) -> Vec<String> {
    let found = certificates.table.load().find(name, schemes).unwrap();
    let parsed = webpki::EndEntityCert::try_from(&found.cert[0]).unwrap();
    parsed.valid_dns_names().map(str::to_owned).collect()
}

#[test]
fn a_client_is_given_the_certificate_of_the_name_it_asks_for() {
    let folder = Folder::new();
    let certificates = load(vec![
        folder.put("a", &ecdsa(&["a.example"])),
        folder.put("wild", &ecdsa(&["*.b.example", "c.example"])),
        folder.put("exact", &ecdsa(&["x.b.example"])),
    ])
    .unwrap();
    for (name, first) in [
        (None, "a.example"),
        (Some("a.example"), "a.example"),
        (Some("unknown.example"), "a.example"),
        (Some("y.b.example"), "*.b.example"),
        (Some("c.example"), "*.b.example"),
        (Some("x.b.example"), "x.b.example"),
        // A wildcard stands for one label (RFC 6125 §6.4.3), and not for none.
        (Some("z.y.b.example"), "a.example"),
        (Some("b.example"), "a.example"),
        (Some("localhost"), "a.example"),
    ] {
        assert_eq!(given(&certificates, name, ECDSA)[0], first, "{name:?}");
    }
}

#[test]
fn of_two_certificates_for_a_name_the_client_gets_the_one_it_can_check() {
    let folder = Folder::new();
    let certificates = load(vec![
        folder.put(
            "ec",
            &made(&["a.example", "ec.example"], &rcgen::PKCS_ECDSA_P256_SHA256),
        ),
        folder.put("ed", &made(&["a.example", "ed.example"], &rcgen::PKCS_ED25519)),
    ])
    .unwrap();
    for name in [Some("a.example"), None] {
        assert_eq!(given(&certificates, name, ECDSA)[1], "ec.example");
        assert_eq!(given(&certificates, name, ED25519)[1], "ed.example");
    }
}

#[test]
fn each_fault_of_the_files_is_named_and_the_key_is_never_told() {
    let folder = Folder::new();
    let good = ecdsa(&["a.example"]);
    let other = ecdsa(&["a.example"]);
    let with = |name: &str, chain: &str, key: &str| {
        folder.put(
            name,
            &Made {
                chain: chain.to_owned(),
                key: key.to_owned(),
            },
        )
    };
    let broken = good.chain.replacen("MII", "AAA", 1);
    let small = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let large = "x".repeat(MAX_BYTES as usize + 1);
    for (files, what) in [
        (folder.files("nowhere"), "the chain can't be read"),
        (with("mixed", &good.chain, &other.key), "does not belong"),
        (
            with("order", &(ecdsa(&["ca.example"]).chain + &good.chain), &good.key),
            "does not belong",
        ),
        (with("empty", "", &good.key), "no certificate in PEM"),
        (with("swapped", &good.key, &good.key), "no certificate in PEM"),
        (with("broken", &broken, &good.key), "certificate 1 of the chain"),
        (
            with("second", &(good.chain.clone() + &broken), &good.key),
            "certificate 2 of the chain",
        ),
        (with("keyless", &good.chain, &good.chain), "no private key in PEM"),
        (with("small", &good.chain, small), "none that can be used"),
        (with("large", &large, &good.key), "larger than 1 MiB"),
    ] {
        let errors = load(vec![folder.put("fine", &good), files.clone()]).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].starts_with("1: ") && errors[0].contains(what),
            "{files:?}: {errors:?}"
        );
        let secret: String = good.key.lines().nth(1).unwrap().into();
        assert!(!format!("{errors:?}").contains(&secret));
    }
    let shown = format!("{:?}", load(vec![folder.put("fine", &good)]).unwrap());
    assert!(shown.contains("a.example") && shown.len() < 200, "{shown}");
}

#[test]
fn a_change_is_taken_whole_or_not_at_all() {
    let folder = Folder::new();
    let files = folder.put("a", &ecdsa(&["a.example", "first.example"]));
    let certificates = load(vec![files.clone()]).unwrap();
    let config = certificates.config();
    let now = |wanted: &str| {
        certificates.reload();
        assert_eq!(given(&certificates, Some("a.example"), ECDSA)[1], wanted);
    };
    now("first.example");
    let second = ecdsa(&["a.example", "second.example"]);
    // The chain is there, the key is not yet.
    fs::write(&files.chain, &second.chain).unwrap();
    now("first.example");
    fs::write(&files.key, &second.key[..100]).unwrap();
    now("first.example");
    fs::remove_file(&files.key).unwrap();
    now("first.example");
    fs::write(&files.key, &second.key).unwrap();
    now("second.example");
    fs::remove_file(&files.chain).unwrap();
    now("second.example");
    // Names that are gone find the default, new ones are found.
    fs::write(&files.chain, &second.chain).unwrap();
    let third = ecdsa(&["b.example", "third.example"]);
    folder.put("a", &third);
    now("third.example");
    assert_eq!(certificates.list()[0].names()[0].as_ref(), "b.example");
    // Tickets belong to the configuration of rustls, which stays the very same.
    assert!(Arc::ptr_eq(&config, &certificates.config()));
    let fourth = load(vec![folder.put("d", &ecdsa(&["d.example", "fourth.example"]))]).unwrap();
    certificates.adopt(&fourth);
    now("fourth.example");
    assert!(Arc::ptr_eq(&config, &certificates.config()));
}
