//! The client that leaves: cut at every await of a use, it leaves no reservation behind, and what it was not given others
//! still get.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http::Request;

use super::*;
use crate::gate::tests::route;
use crate::origin::{Folder, Origin, OriginStats};
use crate::secret::Secret;
use crate::store::{Embedded, StoreSetup};
use crate::token::{Opens, Scope, Uses};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

struct Bench {
    till: Till,
    store: Arc<Store>,
    route: Arc<Route>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), vec![7; 100_000]).unwrap();
        let names = Arc::new(LogKey::new(&Secret::new(vec![1; 32])));
        let setup = StoreSetup {
            folder: folder.path().to_owned(),
            max_entries: 10_000,
            log_key: Arc::clone(&names),
        };
        let clock = Clock::manual(NOW);
        let store = Arc::new(Store::Embedded(Embedded::open(&setup, clock.clone()).unwrap()));
        let origin = Origin::Folder(Arc::new(Folder::open(folder.path()).unwrap()));
        let plain = Arc::into_inner(route("files", None, "", &[])).unwrap();
        Self {
            till: Till {
                store: Some(Arc::clone(&store)),
                clock,
                pools: Pools::new(Arc::new(OriginStats::default())),
                names,
                unknown: Arc::default(),
                limited: Arc::default(),
            },
            store,
            route: Arc::new(Route { origin, ..plain }),
            _folder: folder,
        }
    }

    /// A request of a client with the token of this number.
    fn ask(&self, token: u32, agent: &str) -> impl Future<Output = Redeemed> + Send + use<> {
        let head = Request::get("/a").header("user-agent", agent).body(()).unwrap();
        let mut id = [9; 16];
        id[..4].copy_from_slice(&token.to_be_bytes());
        let claims = Claims {
            expires: Some(NOW.after(Duration::from_secs(60))),
            uses: Uses::Once,
            scope: Some(Scope(Box::new([Opens::Exact("/a".into())]))),
            ..Claims::empty(TokenId(id))
        };
        let target = Target::parse("/a", None).unwrap();
        let verified = Verified {
            standing: claims.standing(NOW, Duration::ZERO),
            claims: Arc::new(claims),
        };
        let client = [203, 0, 113, 7].into();
        let variables = Variables::new();
        let asked = Asked {
            method: &Method::GET,
            target: &target,
            variables: &variables,
            client,
        };
        let Ok(Authorized::Once(once)) = authorize(&self.route, verified, &asked, None) else {
            panic!("it may be used once");
        };
        let held = Held {
            route: Arc::clone(&self.route),
            target,
            variables,
            prefix: None,
            token: Pending::Once(once),
            client,
        };
        redeem(self.till.clone(), held, head.into_parts().0, None)
    }

    /// Waits until no reservation runs.
    async fn quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.store.uses().is_reserved() {
            assert!(Instant::now() < deadline, "a reservation is left behind");
            tokio::task::yield_now().await;
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls a future so many times, each time after it was woken, and drops it. Tells whether it has ended.
async fn cut(future: impl Future<Output = Redeemed>, polls: u32) -> bool {
    let mut future = pin!(future);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    for _ in 0..polls {
        woken.0.store(false, Ordering::SeqCst);
        if let Poll::Ready(redeemed) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            assert!(redeemed.result.is_ok());
            return true;
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !woken.0.load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "it is never woken");
            tokio::task::yield_now().await;
        }
    }
    false
}

fn code(redeemed: Redeemed) -> Option<Code> {
    redeemed.result.err().map(|stop| stop.code())
}

#[tokio::test]
async fn a_client_that_is_cut_at_any_await_leaves_no_reservation() {
    let bench = Bench::new();
    let mut token = 0;
    // The task that uses the token is interrupted at its own pace: let it run so many turns before the cut.
    for turns in 0..12 {
        for polls in 0.. {
            token += 1;
            let ended = cut(bench.ask(token, "anna"), polls).await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            bench.quiet().await;
            // Whoever was not given it before it was spent has it still; who had it may come back.
            let other = code(bench.ask(token, "bert").await);
            match other {
                None => assert!(!ended, "two clients have used token {token}"),
                Some(Code::TokenSpent) => {
                    assert_eq!(
                        code(bench.ask(token, "anna").await),
                        None,
                        "its own session is lost"
                    );
                }
                Some(code) => panic!("{code:?}"),
            }
            bench.quiet().await;
            if ended {
                assert!(polls > 1, "there was nothing to wait for");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_was_closed_uses_nothing() {
    let bench = Bench::new();
    bench.store.close();
    assert_eq!(code(bench.ask(1, "anna").await), Some(Code::StoreUnavailable));
}
