//! The store: spends that are on the disk when they are answered, from 64 callers; looks at what is remembered and at what
//! is withdrawn. Run with `cargo bench --bench store`. The file is made in the build folder: on a file system in memory
//! the first figure says nothing.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mediagate::clock::{Clock, Stopwatch, UnixTime};
use mediagate::secret::Secret;
use mediagate::store::{Embedded, Issued, Purposes, Revoked, Store, StoreSetup, Use};
use mediagate::token::keys::LogKey;
use mediagate::token::{Claims, Opens, Scope, TokenId};

const CALLERS: u64 = 64;

/// Spread over all names, none twice.
fn id(number: u64) -> TokenId {
    TokenId((u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes())
}

fn open(folder: &Path) -> Arc<Embedded> {
    let setup = StoreSetup {
        folder: folder.to_owned(),
        max_entries: u64::MAX,
        log_key: Arc::new(LogKey::new(&Secret::new(vec![7; 32]))),
    };
    Embedded::open(&setup, Clock::system()).expect("a folder of our own")
}

fn until() -> UnixTime {
    Clock::system().now().after(std::time::Duration::from_secs(3600))
}

/// Whether everything is only to be run once through, as `cargo test --benches` does.
fn is_trial() -> bool {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    has("--test") || !has("--bench")
}

fn spend(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder");
    let embedded = open(folder.path());
    let store = Store::Embedded(Arc::clone(&embedded));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let next = Cell::new(0);
    let mut group = c.benchmark_group("spend");
    group.throughput(Throughput::Elements(1));
    for callers in [1, CALLERS] {
        let before = embedded.batches();
        group.bench_function(format!("{callers}_callers"), |b| {
            b.iter_custom(|spends| {
                let first = next.replace(next.get() + spends);
                let started = Stopwatch::start();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..callers.min(spends))
                        .map(|caller| {
                            let uses = store.uses().clone();
                            let until = until();
                            tokio::spawn(async move {
                                for number in (caller..spends).step_by(usize::try_from(callers).unwrap_or(1))
                                {
                                    let spent = uses.spend(id(first + number), Use::Spent, until).await;
                                    assert_eq!(spent, Ok(true));
                                }
                            })
                        })
                        .collect();
                    for task in tasks {
                        task.await.expect("no panic");
                    }
                });
                started.elapsed()
            });
        });
        let after = embedded.batches();
        let (commits, spends) = (
            after.commits - before.commits,
            after.operations - before.operations,
        );
        println!(
            "{callers} callers: {spends} spends in {commits} commits, {:.1} in each on average",
            spends as f64 / commits.max(1) as f64
        );
    }
    group.finish();
    store.close();
}

fn recall(c: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder");
    let store = Store::Embedded(open(folder.path()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let many: u64 = if is_trial() { 100 } else { 100_000 };
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..many {
            let claims = Claims {
                subject: Some(format!("customer-{number}").into()),
                expires: Some(until()),
                scope: Some(Scope(Box::new([Opens::Exact("/files/a.pdf".into())]))),
                ..Claims::empty(id(number))
            };
            let issued = Issued {
                claims: Arc::new(claims),
                purposes: Purposes::FILE,
                exchange_secs: 0,
            };
            let store = store.clone();
            tasks.push(tokio::spawn(
                async move { store.remember(id(number), issued).await },
            ));
            if tasks.len() == 4096 || number + 1 == many {
                for task in tasks.drain(..) {
                    task.await.expect("no panic").expect("it is not full");
                }
            }
        }
        let mut number = 0;
        let mut next = move || {
            number = (number + 7919) % many;
            number
        };
        c.bench_function("recall/known", |b| {
            b.iter(|| {
                let known = now_or_never(store.recall(id(next())));
                assert!(known.is_some());
            });
        });
        c.bench_function("recall/unknown", |b| {
            b.iter(|| {
                let unknown = now_or_never(store.recall(id(u64::MAX - next())));
                assert!(unknown.is_none());
            });
        });
    });
    store.close();
}

/// A look waits for nothing.
fn now_or_never<T>(look: impl Future<Output = Result<Option<T>, mediagate::store::StoreError>>) -> Option<T> {
    let mut look = std::pin::pin!(look);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match look.as_mut().poll(&mut context) {
        std::task::Poll::Ready(found) => found.expect("the store works"),
        std::task::Poll::Pending => unreachable!("a look waits for nothing"),
    }
}

/// Pages of this process that are in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .map_or(0, |pages| pages * 4096)
}

fn revoked(c: &mut Criterion) {
    let many: u64 = if is_trial() { 10_000 } else { 10_000_000 };
    for number in [0, many] {
        let before = resident();
        let started = Stopwatch::start();
        let revoked = Revoked::default();
        revoked.insert_tokens(
            (0..number).map(|at| TokenId((u128::from(at) * (u128::MAX / u128::from(number))).to_be_bytes())),
        );
        if number > 0 {
            println!(
                "{number} revocations: loaded in {:?}, {:.1} bytes each by their size, {:.1} by the pages of the process",
                started.elapsed(),
                revoked.token_bytes() as f64 / number as f64,
                resident().saturating_sub(before) as f64 / number as f64
            );
        }
        let mut at = 0;
        let mut claims = Claims {
            subject: Some("customer-43".into()),
            key: Some("2026-11".into()),
            ..Claims::empty(id(0))
        };
        c.bench_function(&format!("revoked/{number}"), |b| {
            b.iter(|| {
                at += 1;
                claims.token_id = id(at);
                black_box(revoked.covers(black_box(&claims)))
            });
        });
    }
}

criterion_group!(benches, revoked, recall, spend);
criterion_main!(benches);
