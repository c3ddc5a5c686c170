//! Credentials that the surroundings give: the environment, the shared profile, a web identity, a container's or an
//! instance's metadata, in this order; the first that is there decides. Loaded in the background, and again before they end.
//! Never: falls back from one that is there and fails to the next, or asks a metadata service on another network.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider, EnvCredentialProvider,
    IMDSv2CredentialProvider, ProfileCredentialProvider,
};
use reqsign_core::{Context, Env, Error, ErrorKind, FileRead, HttpSend, ProvideCredential};
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep_until, timeout};

use super::keys::{Keys, Source};
use crate::clock::{Clock, UnixTime};
use crate::origin::connect::{Address, ask_small};
use crate::secret::{Environment, Secret};
use crate::sigv4::Credentials;

/// Time for one request to a metadata service.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Time for all that one load takes.
const LOAD_DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer, and the largest file, that is read.
const MAX_BYTES: usize = 64 * 1024;
/// So long before they end credentials are loaded anew; sooner where they live for less than twice as long.
const EARLY: Duration = Duration::from_secs(10 * 60);
/// Credentials that do not say when they end are looked at as often: somebody may have put others in their place.
const LASTING: Duration = Duration::from_secs(5 * 60);
/// Between two tries after failures, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// After so many failures in a row the pause no longer doubles.
const MAX_DOUBLINGS: u32 = 6;

/// Where a bucket's credentials come from.
#[derive(Debug)]
pub struct CredentialSource {
    /// What is kept current.
    pub keys: Arc<Keys>,
    /// What the process was told.
    pub environment: Environment,
    /// How often the clock is looked at: the least time between two loads.
    pub look: Duration,
}

/// Why there are no credentials. For logs: an answer of a metadata service is not shown.
#[derive(Debug, thiserror::Error)]
enum ChainError {
    #[error(
        "there are none in the environment, in a profile, by web identity, of a container or of an instance"
    )]
    Nowhere,
    #[error("{0} gives none: {1}")]
    Failed(&'static str, &'static str),
    #[error("{0} gives some that can't be used")]
    Unusable(&'static str),
    #[error("it took too long")]
    Slow,
}

/// Credentials as they were found.
struct Found {
    place: &'static str,
    credentials: Credentials,
    expires: Option<UnixTime>,
}

impl CredentialSource {
    /// For these keys, from the process' own environment; none where they were given by hand.
    pub fn of(keys: &Arc<Keys>) -> Option<Self> {
        (keys.source() == Source::Chain).then(|| Self {
            keys: Arc::clone(keys),
            environment: Environment::Process,
            look: Duration::from_secs(1),
        })
    }

    /// Keeps the keys current until the task is dropped.
    pub async fn run(self, clock: Clock) {
        let chain = Chain::new(&self.environment, self.keys.region());
        let mut failures: u32 = 0;
        loop {
            let tried = Instant::now();
            let loaded = timeout(LOAD_DEADLINE, chain.load()).await;
            let next = match loaded.unwrap_or(Err(ChainError::Slow)) {
                Ok(found) => {
                    if failures > 0 || !self.keys.are_there() {
                        tracing::info!(
                            origin = self.keys.origin(),
                            "credentials were loaded: {}",
                            found.place
                        );
                    }
                    failures = 0;
                    let now = clock.now();
                    let wait = found.expires.map_or(LASTING, |expires| again_in(now, expires));
                    self.keys.put(found.credentials, found.expires);
                    now.after(wait)
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(origin = self.keys.origin(), %error, "credentials can't be loaded; the last stay");
                    }
                    failures = failures.saturating_add(1);
                    let pause = self.look.saturating_mul(1 << (failures - 1).min(MAX_DOUBLINGS));
                    sleep_until(tried + pause.min(LONGEST_PAUSE)).await;
                    continue;
                }
            };
            // A wall clock that jumps, or a machine that slept, is noticed: credentials end by it.
            sleep_until(tried + self.look).await;
            while clock.now() < next {
                tokio::select! {
                    () = sleep_until(Instant::now() + self.look) => {}
                    () = self.keys.refused.notified() => break,
                }
            }
        }
    }
}

/// How long credentials that end at `expires` are left alone.
fn again_in(now: UnixTime, expires: UnixTime) -> Duration {
    let life = now.until(expires);
    life.saturating_sub(EARLY).max(life / 2)
}

/// The places where credentials may be.
struct Chain {
    context: Context,
    environment: EnvCredentialProvider,
    profile: ProfileCredentialProvider,
    web_identity: AssumeRoleWithWebIdentityCredentialProvider,
    container: ECSCredentialProvider,
    instance: IMDSv2CredentialProvider,
}

impl Chain {
    fn new(environment: &Environment, region: &str) -> Self {
        Self {
            context: Context::new()
                .with_env(Surroundings(environment.clone()))
                .with_http_send(Sender)
                .with_file_read(Reader),
            environment: EnvCredentialProvider::new(),
            profile: ProfileCredentialProvider::new(),
            web_identity: AssumeRoleWithWebIdentityCredentialProvider::new()
                .with_region(region.to_owned())
                .with_regional_sts_endpoint(),
            container: ECSCredentialProvider::new(),
            instance: IMDSv2CredentialProvider::new(),
        }
    }

    async fn load(&self) -> Result<Found, ChainError> {
        if let Some(found) = self.ask("the environment", &self.environment).await? {
            return Ok(found);
        }
        if let Some(found) = self.ask("the shared profile", &self.profile).await? {
            return Ok(found);
        }
        if let Some(found) = self.ask("the web identity", &self.web_identity).await? {
            return Ok(found);
        }
        if let Some(found) = self.ask("the container", &self.container).await? {
            return Ok(found);
        }
        let found = self.ask("the instance", &self.instance).await?;
        found.ok_or(ChainError::Nowhere)
    }

    async fn ask(
        &self,
        place: &'static str,
        provider: &impl ProvideCredential<Credential = Credential>,
    ) -> Result<Option<Found>, ChainError> {
        let asked = provider.provide_credential(&self.context).await;
        let credential = match asked.map_err(|error| ChainError::Failed(place, reason(error.kind())))? {
            Some(credential) => credential,
            None => return Ok(None),
        };
        let expires = credential
            .expires_in
            .map(|expires| UnixTime::from_secs(expires.as_second()));
        let is_header = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let token = credential.session_token.filter(|token| !token.is_empty());
        if !is_header(&credential.access_key_id)
            || credential.access_key_id.contains(['/', ','])
            || credential.secret_access_key.is_empty()
            || !token.as_deref().is_none_or(is_header)
        {
            return Err(ChainError::Unusable(place));
        }
        Ok(Some(Found {
            place,
            credentials: Credentials {
                access_key_id: credential.access_key_id.into(),
                secret_access_key: Secret::new(credential.secret_access_key.into_bytes()),
                session_token: token.map(|token| Secret::new(token.into_bytes())),
            },
            expires,
        }))
    }
}

/// What kind of failure it is. The library's own sentences hold answers of others.
fn reason(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::CredentialInvalid => "what it has is not valid",
        ErrorKind::PermissionDenied => "it refuses us",
        ErrorKind::ConfigInvalid => "what it was told is wrong",
        ErrorKind::RateLimited => "it asks for patience",
        _ => "it can't be asked, or answers with an error",
    }
}

/// The environment as the library reads it.
struct Surroundings(Environment);

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Surroundings(…)")
    }
}

impl Env for Surroundings {
    fn var(&self, key: &str) -> Option<String> {
        self.0.variable(key)
    }

    fn vars(&self) -> HashMap<String, String> {
        self.0.variables()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        self.0.variable("HOME").map(PathBuf::from)
    }
}

/// Sends the library's requests with our own client.
#[derive(Debug)]
struct Sender;

impl HttpSend for Sender {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let address = Address::parse(&without_path(request.uri())?, None)
            .ok()
            .filter(is_trustworthy)
            .ok_or_else(|| Error::config_invalid("a place that credentials are not asked of"))?;
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target
            .parse()
            .map_err(|_| Error::request_invalid("a path that can't be asked"))?;
        let request = Request::from_parts(head, body);
        ask_small(&address, request, MAX_BYTES, REQUEST_DEADLINE)
            .await
            .map_err(|error| Error::unexpected(error.to_string()))
    }
}

fn without_path(uri: &http::Uri) -> reqsign_core::Result<http::Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    http::Uri::from_parts(parts).map_err(|_| Error::request_invalid("a URL that can't be asked"))
}

/// Whether nobody on the way can read what is asked there: TLS, this machine, or its own link, where metadata services are.
fn is_trustworthy(address: &Address) -> bool {
    let is_near = |address: IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::254 and fd00:ec2::23 are AWS' own.
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
    };
    address.tls.is_some() || *address.host == *"localhost" || address.host.parse().is_ok_and(is_near)
}

/// Reads the files that the library names.
#[derive(Debug)]
struct Reader;

impl FileRead for Reader {
    async fn file_read(&self, path: &str) -> reqsign_core::Result<Vec<u8>> {
        let fault = |_| Error::config_invalid("a file can't be read");
        let file = tokio::fs::File::open(path).await.map_err(fault)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64)
            .read_to_end(&mut bytes)
            .await
            .map_err(fault)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
