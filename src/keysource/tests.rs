//! How often is fetched, what is kept, and what is never believed.

use std::cell::{Cell, RefCell};

use jsonwebtoken::Algorithm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::clock::UnixTime;

const COOLDOWN: Duration = Duration::from_secs(30);
const REFRESH: Duration = Duration::from_secs(3600);

struct Bench {
    source: JwksSource,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = Address {
            host: "127.0.0.1".into(),
            port: 9,
            tls: None,
        };
        let source = JwksSource {
            ring: Arc::new(KeyRing::pending("idp")),
            address,
            path: "/jwks".to_owned(),
            refresh: REFRESH,
            cooldown: COOLDOWN,
            copy: folder.path().join("idp.jwks.json"),
            stats: Arc::default(),
        };
        Self {
            source,
            clock: Clock::manual(UnixTime::from_secs(1_767_225_600)),
            _folder: folder,
        }
    }

    fn fetches(&self) -> u64 {
        self.source.stats.fetches.load(Ordering::Relaxed)
    }

    fn failures(&self) -> u64 {
        self.source.stats.failures.load(Ordering::Relaxed)
    }

    fn generation(&self) -> Option<u64> {
        self.source.ring.load().map(|generation| generation.number)
    }

    /// Runs the task against answers by hand, for so long.
    async fn run_for<F>(&self, time: Duration, fetch: impl Fn() -> F)
    where
        F: Future<Output = Result<(HeaderMap, Bytes), FetchError>>,
    {
        timeout(time, self.source.keep(fetch, &self.clock))
            .await
            .unwrap_err();
    }
}

fn public_set() -> Bytes {
    let private = KeySet::generate(Algorithm::ES256).unwrap();
    let set = KeySet::from_jwks(private.as_bytes(), SetSource::Local).unwrap();
    set.public_jwks().to_string().into()
}

fn good(set: &Bytes) -> Result<(HeaderMap, Bytes), FetchError> {
    Ok((HeaderMap::new(), set.clone()))
}

fn down() -> Result<(HeaderMap, Bytes), FetchError> {
    Err(FetchError::Server(OriginError::Connect(
        io::ErrorKind::ConnectionRefused.into(),
    )))
}

#[tokio::test(start_paused = true)]
async fn a_thousand_unknown_kids_cause_at_most_one_fetch_per_cool_down() {
    let bench = Bench::new();
    let set = public_set();
    let storm = async {
        for _ in 0..1000 {
            bench.source.ring.missed();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.fetches(), 1);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = bench.run_for(COOLDOWN * 3, async || good(&set)) => {}
        () = storm => {}
    }
    assert_eq!(bench.fetches(), 2, "the storm was heard more than once");
}

#[tokio::test(start_paused = true)]
async fn misses_without_end_are_heard_once_per_cool_down_also_while_the_server_is_down() {
    let bench = Bench::new();
    let storm = async {
        loop {
            bench.source.ring.missed();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = bench.run_for(COOLDOWN * 10 - Duration::from_secs(1), async || down()) => {}
        () = storm => {}
    }
    assert_eq!((bench.fetches(), bench.failures()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn failures_pause_longer_and_longer_but_never_longer_than_the_refresh() {
    let bench = Bench::new();
    let at = RefCell::new(Vec::new());
    let start = Instant::now();
    let fetch = async || {
        at.borrow_mut().push(start.elapsed().as_secs());
        down()
    };
    bench.run_for(Duration::from_secs(3000), fetch).await;
    assert_eq!(*at.borrow(), [0, 30, 90, 210, 450, 930, 1890, 2850]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_the_last_good_set() {
    let bench = Bench::new();
    let set = public_set();
    let healthy = Cell::new(true);
    let fetch = async || {
        if healthy.replace(false) {
            good(&set)
        } else {
            down()
        }
    };
    bench.run_for(REFRESH + COOLDOWN * 2, fetch).await;
    assert!(bench.failures() > 0);
    assert_eq!(bench.source.ring.load().unwrap().keys.verifying().len(), 1);
    assert_eq!(
        bench.source.stats.last_success.load(Ordering::Relaxed),
        1_767_225_600_000
    );
}

#[tokio::test(start_paused = true)]
async fn the_generation_changes_with_the_keys_and_only_with_them() {
    let bench = Bench::new();
    let (old, new) = (public_set(), public_set());
    let rotated = Cell::new(false);
    let fetch = async || good(if rotated.get() { &new } else { &old });
    bench.run_for(REFRESH / 2, fetch).await;
    let first = bench.generation();
    // A second run starts from the copy, as after a restart.
    let kid = |bench: &Bench| bench.source.ring.load().unwrap().keys.verifying()[0].kid.clone();
    let (kid_before, started) = (kid(&bench), Cell::new(None));
    let fetch = async || {
        started.set(started.get().or(bench.generation()));
        good(if rotated.get() { &new } else { &old })
    };
    bench.run_for(REFRESH * 5, &fetch).await;
    assert!(first.is_some() && bench.fetches() > 5);
    assert_eq!(bench.generation(), started.get(), "the same set was loaded again");
    rotated.set(true);
    bench.run_for(REFRESH, &fetch).await;
    assert!(bench.generation() > started.get());
    assert_ne!(kid(&bench), kid_before);
}

#[tokio::test(start_paused = true)]
async fn max_age_shortens_the_interval_but_not_below_the_cool_down() {
    for (value, expected) in [
        ("max-age=600", 6),
        ("public, MAX-AGE=\"900\"", 4),
        ("max-age=1", 120),
        ("no-cache", 1),
        ("max-age=99999999", 1),
    ] {
        let bench = Bench::new();
        let set = public_set();
        let fetch = async || {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            Ok((headers, set.clone()))
        };
        bench.run_for(REFRESH - Duration::from_secs(1), fetch).await;
        assert_eq!(bench.fetches(), expected, "{value}");
    }
}

#[tokio::test(start_paused = true)]
async fn sets_with_secret_or_private_keys_are_refused() {
    let private = KeySet::generate(Algorithm::ES256).unwrap();
    let oct = KeySet::generate(Algorithm::HS256).unwrap();
    for set in [private, oct, "{}".to_owned(), "<html>".to_owned()] {
        let bench = Bench::new();
        let set = Bytes::from(set);
        bench.run_for(COOLDOWN / 2, async || good(&set)).await;
        assert_eq!(bench.failures(), 1);
        assert!(bench.source.ring.load().is_none());
        assert!(!bench.source.copy.exists());
    }
}

#[tokio::test(start_paused = true)]
async fn the_copy_is_loaded_when_the_server_is_down_and_is_readable_by_nobody_else() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Bench::new();
    let set = public_set();
    bench.run_for(COOLDOWN / 2, async || good(&set)).await;
    assert_eq!(fs::read(&bench.source.copy).unwrap(), set);
    assert_eq!(
        fs::metadata(&bench.source.copy).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let mut later = Bench::new();
    later.source.copy = bench.source.copy.clone();
    assert!(later.source.load_copy());
    later.run_for(COOLDOWN * 4, async || down()).await;
    assert_eq!(later.source.ring.load().unwrap().keys.verifying().len(), 1);
}

#[test]
fn a_copy_that_is_missing_damaged_or_too_large_is_not_loaded() {
    let bench = Bench::new();
    assert!(!bench.source.load_copy());
    let oct = KeySet::generate(Algorithm::HS256).unwrap().into_bytes();
    for damaged in [b"{\"keys\":[".to_vec(), oct, vec![b' '; MAX_SET_BYTES + 1]] {
        fs::write(&bench.source.copy, damaged).unwrap();
        assert!(!bench.source.load_copy());
        assert!(bench.source.ring.load().is_none());
    }
}

#[test]
fn plain_http_is_for_loopback_alone() {
    let plain = |host: &str| {
        is_unforgeable(&Address {
            host: host.into(),
            port: 80,
            tls: None,
        })
    };
    for good in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"] {
        assert!(plain(good), "{good}");
    }
    for bad in [
        "192.0.2.1",
        "169.254.169.254",
        "0.0.0.0",
        "localhost.example.com",
        "idp.example.com",
        "127.0.0.1.example.com",
    ] {
        assert!(!plain(bad), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_could_be_forged_is_never_asked() {
    let mut bench = Bench::new();
    bench.source.address.host = "192.0.2.1".into();
    let (ring, stats) = (Arc::clone(&bench.source.ring), Arc::clone(&bench.source.stats));
    timeout(COOLDOWN / 2, bench.source.run(bench.clock))
        .await
        .unwrap_err();
    assert_eq!(stats.failures.load(Ordering::Relaxed), 1);
    assert!(ring.load().is_none());
}

/// Answers every connection with the same bytes.
async fn serve(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    port
}

async fn fetched_from(answer: Vec<u8>) -> bool {
    let mut bench = Bench::new();
    bench.source.address.port = serve(answer).await;
    let (ring, stats) = (Arc::clone(&bench.source.ring), Arc::clone(&bench.source.stats));
    let task = tokio::spawn(bench.source.run(bench.clock));
    let ended = async {
        while stats.failures.load(Ordering::Relaxed) == 0 && ring.load().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), ended).await.unwrap();
    task.abort();
    ring.load().is_some()
}

fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[tokio::test]
async fn a_set_is_fetched_over_a_real_connection() {
    assert!(
        fetched_from(http(
            "200 OK",
            "Content-Type: application/json\r\n",
            &public_set()
        ))
        .await
    );
}

#[tokio::test]
async fn redirects_errors_and_huge_sets_bring_nothing() {
    let set = public_set();
    let elsewhere = serve(http("200 OK", "", &set)).await;
    let location = format!("Location: http://127.0.0.1:{elsewhere}/jwks\r\n");
    assert!(!fetched_from(http("302 Found", &location, b"")).await);
    assert!(!fetched_from(http("500 Internal Server Error", "", &set)).await);
    let mut huge = set.to_vec();
    huge.resize(MAX_SET_BYTES + 1, b' ');
    assert!(!fetched_from(http("200 OK", "", &huge)).await);
}
