//! `[route.scheme.cloudfront]` and `[route.scheme.s3_presigned]`.

use std::sync::Arc;

use super::{Reading, table};
use crate::config::build::inline::read_secret;
use crate::config::problems::Problems;
use crate::secret::Secret;
use crate::sigv4;
use crate::token::scheme::signed::NamedKeys;
use crate::token::scheme::signed::cloudfront::{self, CloudFront};
use crate::token::scheme::signed::presigned::{self, PresignedUrls};
use crate::token::scheme::signed::private_key::PrivateKey;
use crate::token::scheme::signed::public_key::PublicKey;
use crate::token::scope::MAX_PATTERNS;
use crate::token::{Opens, Scope};

impl Reading<'_> {
    pub(super) fn cloudfront(
        &self,
        table: &table::CloudFront,
        problems: &mut Problems,
    ) -> Option<CloudFront> {
        self.needs_public(&table.at, problems);
        let keys = self.named(&table.at, table.keys.as_deref()?, problems)?;
        let mut all = Vec::new();
        let mut signer = None;
        for key in keys {
            let name = key.name.as_deref().unwrap_or_default();
            let Some((at, pem)) = self.pair(key, problems) else {
                continue;
            };
            let public = match key.private_key {
                None => PublicKey::from_pem(name, pem.reveal()),
                Some(_) => PrivateKey::from_pem(name, &pem).map(|private| {
                    let public = private.public().clone();
                    signer.get_or_insert(cloudfront::Signer {
                        key_pair_id: name.into(),
                        key: private,
                    });
                    public
                }),
            };
            match public {
                Ok(public) => all.push((name.into(), public, key.until)),
                Err(error) => problems.error(
                    at,
                    error.to_string(),
                    "RSA of 2048 bits or more, or P-256, in PEM",
                ),
            }
        }
        if all.len() != keys.len() || problems.has_error_below(&table.at) {
            return None;
        }
        Some(CloudFront::new(cloudfront::Rules {
            allow_sha1: table.allow_sha1,
            signer,
            ..cloudfront::Rules::new(NamedKeys::new(all), Arc::clone(&self.log_key))
        }))
    }

    pub(super) fn presigned(
        &self,
        table: &table::Presigned,
        problems: &mut Problems,
    ) -> Option<PresignedUrls> {
        self.needs_public(&table.at, problems);
        let keys = table.keys.as_ref()?;
        let at = format!("{}.keys", table.at);
        if !(1..=super::MAX_KEYS).contains(&keys.len()) && !problems.has_error_below(&at) {
            problems.error(
                at,
                "is not 1 to 64 keys",
                "add a [[route.scheme.s3_presigned.keys]]",
            );
        }
        let mut all = Vec::new();
        for key in keys {
            let secret = key.secret.as_ref();
            let secret = secret.and_then(|secret| {
                read_secret(&format!("{}.secret", key.at), secret, self.parts.place, problems)
            });
            let paths = key.paths.as_ref();
            let opens = paths.map(|paths| self.scope(&key.at, paths, problems));
            let mut word = |member: &str, text: &str| {
                let good = (1..=128).contains(&text.len())
                    && text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
                if !good {
                    problems.error(
                        format!("{}.{member}", key.at),
                        "is no such name",
                        "letters, digits and -",
                    );
                }
            };
            let (Some(name), Some(region)) = (&key.name, &key.region) else {
                continue;
            };
            word("name", name);
            word("region", region);
            word("service", &key.service);
            let Some(secret) = secret else { continue };
            let credentials = sigv4::Credentials {
                access_key_id: name.as_str().into(),
                secret_access_key: Secret::new(secret.reveal().to_vec()),
                session_token: None,
            };
            let signer = sigv4::Signer::new(credentials, region, &key.service);
            all.push((presigned::Key { signer, opens }, key.until));
        }
        if all.len() != keys.len() || problems.has_error_below(&table.at) {
            return None;
        }
        Some(PresignedUrls::new(presigned::Rules {
            keys: presigned::Key::named(all),
            log_key: Arc::clone(&self.log_key),
        }))
    }

    /// The paths that a key may sign for.
    fn scope(&self, at: &str, paths: &[crate::config::read::At<String>], problems: &mut Problems) -> Scope {
        if !(1..=MAX_PATTERNS).contains(&paths.len()) {
            problems.error(
                format!("{at}.paths"),
                "is not 1 to 64 patterns",
                "write [\"/my-bucket/**\"]",
            );
        }
        let mut opens = Vec::new();
        for path in paths {
            match Opens::parse(&path.value) {
                Ok(one) => opens.push(one),
                Err(bad) => problems.error(&path.at, bad.to_string(), "write \"/my-bucket/**\""),
            }
        }
        Scope(opens.into())
    }
}
