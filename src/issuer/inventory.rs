//! Which media there are: what the catalogue knows, and where every id may be a file, the origin, which is asked by HEAD.
//! In: an id that a caller may have. Out: it is there. Never: asks without a limit, or takes an unclear answer for a yes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::refusal::IssueRefusal;
use crate::clock::UnixTime;
use crate::media::{Known, Media, MediaId};
use crate::origin::{Origin, OriginError, OriginRequest, Pools, Upload};

/// How long an answer is waited for: a backend holds a person up meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a place is waited for.
const QUEUE: Duration = Duration::from_secs(1);
/// Questions at a time about one catalogue, of all callers and workers.
const PLACES: usize = 8;

/// Which media there are.
#[derive(Clone)]
pub struct Inventory {
    /// What ids mean.
    pub media: Arc<Media>,
    /// The origin that is asked for media of which nothing else is known; `None` takes every id for a file.
    pub origin: Option<Origin>,
    /// The places for questions: a slow origin takes those of no other.
    places: Arc<Semaphore>,
}

impl Inventory {
    /// Of these media.
    pub fn new(media: Arc<Media>, origin: Option<Origin>) -> Self {
        Self {
            media,
            origin,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// Whether the origin has the medium, where it has to be asked.
    ///
    /// # Errors
    /// `NotFound`; `OriginUnavailable` and `Overloaded` where nobody can tell.
    pub(super) async fn demand(
        &self,
        id: &MediaId,
        pools: &Pools,
        now: UnixTime,
    ) -> Result<(), IssueRefusal> {
        let (Some(origin), Known::Path(target)) = (&self.origin, self.media.find(id)) else {
            return Ok(());
        };
        let place = timeout(QUEUE, self.places.acquire()).await;
        let _place = place.map_err(|_| IssueRefusal::Overloaded)?;
        let question = OriginRequest {
            method: Method::HEAD,
            target,
            headers: HeaderMap::new(),
            client: None,
            upload: Upload::None,
            now,
        };
        let Ok(answer) = timeout(PATIENCE, origin.fetch(pools, question)).await else {
            tracing::warn!("an origin does not say in time whether a medium is there");
            return Err(IssueRefusal::OriginUnavailable);
        };
        judge(answer.map(|answer| answer.status()))
    }
}

/// What an answer says of the file. Whatever is neither a yes nor a no is none.
fn judge(answer: Result<StatusCode, OriginError>) -> Result<(), IssueRefusal> {
    match answer {
        Ok(StatusCode::OK) => Ok(()),
        Ok(StatusCode::NOT_FOUND | StatusCode::GONE) => {
            Err(IssueRefusal::NotFound("There is no such medium."))
        }
        Ok(status) => {
            tracing::warn!(%status, "an origin does not say whether a medium is there");
            Err(IssueRefusal::OriginUnavailable)
        }
        Err(error) => {
            tracing::warn!(%error, "an origin can't be asked whether a medium is there");
            Err(IssueRefusal::OriginUnavailable)
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::origin::connect::Address;
    use crate::origin::{HttpOrigin, HttpSettings};

    /// Asks an origin that takes connections, has an hour for everything, and never says a word. Time jumps while nobody works.
    async fn ask_silence(taken: usize) -> (Result<(), IssueRefusal>, Duration) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let hour = Duration::from_secs(3600);
        let settings = HttpSettings {
            address: Address::parse(&format!("http://{authority}").parse().unwrap(), None).unwrap(),
            host: HeaderValue::from_str(&authority).unwrap(),
            base_path: String::new(),
            connect_timeout: hour,
            head_timeout: hour,
            gap_timeout: hour,
            idle_timeout: hour,
            max_idle: 1,
            allow_close_delimited: false,
        };
        let inventory = Inventory::new(
            Arc::new(Media::Template("/files/{id}".into())),
            Some(Origin::Http(Arc::new(HttpOrigin::new(settings)))),
        );
        let _taken = inventory.places.acquire_many(taken as u32).await.unwrap();
        let id = MediaId::parse("1").unwrap();
        let begun = tokio::time::Instant::now();
        let answer = inventory
            .demand(&id, &Pools::default(), UnixTime::from_secs(0))
            .await;
        (answer, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_says_nothing_is_waited_for_five_seconds() {
        let (answer, waited) = ask_silence(0).await;
        assert_eq!(answer, Err(IssueRefusal::OriginUnavailable));
        assert_eq!(waited.as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_waited_for_one_second() {
        let (answer, waited) = ask_silence(PLACES).await;
        assert_eq!(answer, Err(IssueRefusal::Overloaded));
        assert_eq!(waited.as_secs(), 1);
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        for (status, expected) in [
            (200, None),
            (404, Some("not_found")),
            (410, Some("not_found")),
            (204, Some("origin_unavailable")),
            (206, Some("origin_unavailable")),
            (301, Some("origin_unavailable")),
            (304, Some("origin_unavailable")),
            (403, Some("origin_unavailable")),
            (405, Some("origin_unavailable")),
            (500, Some("origin_unavailable")),
            (503, Some("origin_unavailable")),
        ] {
            let judged = judge(Ok(StatusCode::from_u16(status).unwrap()));
            assert_eq!(judged.err().map(|refusal| refusal.code()), expected, "{status}");
        }
        let broken = judge(Err(OriginError::Invalid("x")));
        assert_eq!(broken, Err(IssueRefusal::OriginUnavailable));
    }
}
