//! Credentials that the surroundings give, from the first place that is there, and once it has given some from no other.
//! Loaded in the background, and again before they end.
//! Never: falls back from a place that is there and fails to the next, puts worse ones in the place of good ones, or asks a
//! metadata service on another network.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, ECSCredentialProvider, EnvCredentialProvider,
    IMDSv2CredentialProvider, ProfileCredentialProvider,
};
use reqsign_core::{Context, Env, Error, ErrorKind, HttpSend, ProvideCredential};
use tokio::time::{Instant, sleep_until, timeout};

use super::keys::{Keys, Offer, Source};
use crate::clock::{Clock, UnixTime};
use crate::origin::connect::{Address, ask_small};
use crate::secret::{Environment, Secret};
use crate::sigv4::Credentials;

mod place;

pub(super) use place::Place;
use place::{NO_FILE, Reader, Surroundings};

/// Time for one request to a metadata service.
const REQUEST_DEADLINE: Duration = Duration::from_secs(5);
/// Time for all that one load takes.
const LOAD_DEADLINE: Duration = Duration::from_secs(30);
/// The largest answer, and the largest file, that is read.
const MAX_BYTES: usize = 64 * 1024;
/// So long before they end, about, credentials are loaded anew; sooner where they live for less than twice as long.
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

/// Why there are no credentials, or no better ones. For logs: an answer of a metadata service is not shown.
#[derive(Debug, thiserror::Error)]
enum ChainError {
    #[error(
        "there are none in the environment, in a profile, by web identity, of a container or of an instance"
    )]
    Nowhere,
    #[error("{0} gives none: {1}")]
    Failed(Place, &'static str),
    #[error("{0} gives some that can't be used")]
    Unusable(Place),
    #[error("{0} gives some that have ended already")]
    Ended(Place),
    #[error("{0} gives the same again that the origin did not take")]
    Same(Place),
    #[error("it took too long")]
    Slow,
}

/// Credentials as they were found.
struct Found {
    place: Place,
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
        let origin = self.keys.origin();
        let mut failures: u32 = 0;
        let mut has_ended = false;
        loop {
            let tried = Instant::now();
            let loaded = timeout(LOAD_DEADLINE, self.load())
                .await
                .unwrap_or(Err(ChainError::Slow));
            let now = clock.now();
            match loaded.and_then(|found| self.take(found, now)) {
                Ok(place) => {
                    if failures > 0 {
                        tracing::info!(origin, "credentials were loaded: {place}");
                    }
                    (failures, has_ended) = (0, false);
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(origin, %error, "credentials can't be loaded; the last stay");
                    }
                    failures = failures.saturating_add(1);
                    if self.keys.have_ended(now) && !has_ended {
                        tracing::warn!(origin, %error, "the credentials have ended: nothing is asked of the origin");
                        has_ended = true;
                    }
                    // What the origin does not take is asked for again once it has refused it again, or when its time has come.
                    if !matches!(error, ChainError::Same(_)) {
                        sleep_until(tried + self.pause(failures)).await;
                        continue;
                    }
                }
            }
            let next = now.after(self.keys.expires().map_or_else(
                || LASTING.mul_f64(jitter()),
                |expires| again_in(now, expires, jitter()),
            ));
            sleep_until(tried + self.pause(failures)).await;
            // A wall clock that jumps, or a machine that slept, is noticed: credentials end by it.
            while clock.now() < next && !self.keys.are_refused() {
                tokio::select! {
                    () = sleep_until(Instant::now() + self.look) => {}
                    () = self.keys.refused.notified() => {}
                }
            }
        }
    }

    /// Looks where credentials came from before, or else everywhere. By a library made anew each time: what it remembers of a
    /// metadata service ends by a clock of its own.
    async fn load(&self) -> Result<Found, ChainError> {
        let chain = Chain::new(&self.environment, self.keys.region());
        chain.load(self.keys.place()).await
    }

    /// Puts what was found in the place of what is held, unless that is better. From then on it comes from there alone.
    fn take(&self, found: Found, now: UnixTime) -> Result<Place, ChainError> {
        let place = found.place;
        match self.keys.offer(found.credentials, found.expires, now) {
            Offer::Ended => return Err(ChainError::Ended(place)),
            Offer::Refused => return Err(ChainError::Same(place)),
            Offer::Taken | Offer::Kept => {}
        }
        if self.keys.pin(place) {
            tracing::info!(
                origin = self.keys.origin(),
                "credentials come from {place}, and from there alone as long as this process runs"
            );
        }
        Ok(place)
    }

    /// Between two loads, at least.
    fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        self.look.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
    }
}

/// How long credentials that end at `expires` are left alone; `jitter` is about 1.
fn again_in(now: UnixTime, expires: UnixTime, jitter: f64) -> Duration {
    let life = now.until(expires);
    life.saturating_sub(EARLY.mul_f64(jitter))
        .max((life / 2).mul_f64(jitter))
}

/// From 0.9 to 1.1, so that many who began together do not ask together.
fn jitter() -> f64 {
    let mut byte = [0];
    let _ = aws_lc_rs::rand::fill(&mut byte);
    0.9 + 0.2 * f64::from(byte[0]) / 255.0
}

/// The places where credentials may be.
struct Chain {
    context: Context,
    surroundings: Surroundings,
    region: String,
}

impl Chain {
    fn new(environment: &Environment, region: &str) -> Self {
        let surroundings = Surroundings(environment.clone());
        Self {
            context: Context::new()
                .with_env(surroundings.clone())
                .with_http_send(Sender)
                .with_file_read(Reader),
            // STS is asked where the process runs; the bucket may be elsewhere.
            region: surroundings
                .var("AWS_REGION")
                .unwrap_or_else(|| region.to_owned()),
            surroundings,
        }
    }

    /// Asks the first place that is there, or this one alone.
    async fn load(&self, pinned: Option<Place>) -> Result<Found, ChainError> {
        if let Some(place) = pinned {
            return self.ask(place).await;
        }
        for place in Place::ALL {
            if self.surroundings.have(place).await {
                return self.ask(place).await;
            }
        }
        Err(ChainError::Nowhere)
    }

    /// What a place gives. It is there, so that nothing is a failure.
    async fn ask(&self, place: Place) -> Result<Found, ChainError> {
        let context = &self.context;
        let asked = match place {
            Place::Environment => EnvCredentialProvider::new().provide_credential(context).await,
            Place::CredentialsFile => {
                let provider = ProfileCredentialProvider::new().with_config_file(NO_FILE);
                provider.provide_credential(context).await
            }
            Place::Profile => {
                let provider = ProfileCredentialProvider::new().with_credentials_file(NO_FILE);
                provider.provide_credential(context).await
            }
            Place::WebIdentity => {
                let provider = AssumeRoleWithWebIdentityCredentialProvider::new()
                    .with_region(self.region.clone())
                    .with_regional_sts_endpoint();
                provider.provide_credential(context).await
            }
            Place::Container => ECSCredentialProvider::new().provide_credential(context).await,
            Place::Instance => IMDSv2CredentialProvider::new().provide_credential(context).await,
        };
        let credential = asked
            .map_err(|error| ChainError::Failed(place, reason(error.kind())))?
            .ok_or(ChainError::Failed(place, "it is not whole, or can't be read"))?;
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
        Ok(Found {
            place,
            credentials: Credentials {
                access_key_id: credential.access_key_id.into(),
                secret_access_key: Secret::new(credential.secret_access_key.into_bytes()),
                session_token: token.map(|token| Secret::new(token.into_bytes())),
            },
            expires,
        })
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

#[cfg(test)]
mod tests;
