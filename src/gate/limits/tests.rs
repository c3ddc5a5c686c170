//! Who counts with whom, what a full table does, and bodies that are handed out in a time that is a value.

use std::future::poll_fn;

use super::*;
use crate::token::claims::Limits;

fn claims(subject: Option<&str>, rate: Option<u64>, streams: Option<u32>) -> Claims {
    Claims {
        issuer: Some("issuer".into()),
        subject: subject.map(Into::into),
        limits: Limits { rate, streams },
        ..Claims::empty(TokenId([7; 16]))
    }
}

fn subjects() -> Arc<Subjects> {
    Arc::default()
}

/// What came of it: a share, none needed, or the code of the refusal.
fn ask(subjects: &Arc<Subjects>, claims: &Claims) -> Result<Option<Box<Share>>, Code> {
    let asked = subjects.share(claims, &Method::GET);
    asked.map_err(|stop| {
        assert_eq!(stop.retry_after(), Some(COME_AGAIN));
        stop.code()
    })
}

fn taken(subjects: &Arc<Subjects>, claims: &Claims) -> Box<Share> {
    ask(subjects, claims).unwrap().unwrap()
}

/// All pieces of a body, and when they came.
async fn read(mut share: Box<Share>, mut body: Body, start: Instant) -> Vec<(Duration, Bytes)> {
    let mut pieces = Vec::new();
    while let Some(frame) = poll_fn(|cx| share.poll_frame(&mut body, cx)).await {
        pieces.push((start.elapsed(), frame.unwrap().into_data().unwrap()));
    }
    assert_eq!(share.left(), 0);
    pieces
}

fn bytes(pieces: &[(Duration, Bytes)]) -> usize {
    pieces.iter().map(|(_, piece)| piece.len()).sum()
}

#[tokio::test]
async fn so_many_downloads_of_a_subject_are_let_through_and_one_that_ended_makes_room() {
    let subjects = subjects();
    let two = claims(Some("42"), None, Some(2));
    let (first, _second) = (taken(&subjects, &two), taken(&subjects, &two));
    assert_eq!(ask(&subjects, &two).unwrap_err(), Code::LimitReached);
    drop(first);
    let third = taken(&subjects, &two);
    assert_eq!(ask(&subjects, &two).unwrap_err(), Code::LimitReached);
    drop((third, _second));
    assert!(subjects.is_empty());
}

#[tokio::test]
async fn a_token_holds_its_own_limit_against_all_that_its_subject_does() {
    let subjects = subjects();
    let (strict, loose) = (
        claims(Some("42"), None, Some(1)),
        claims(Some("42"), None, Some(3)),
    );
    let rated = claims(Some("42"), Some(1 << 20), None);
    let _rated = taken(&subjects, &rated);
    assert_eq!(ask(&subjects, &strict).unwrap_err(), Code::LimitReached);
    let _held = (taken(&subjects, &loose), taken(&subjects, &loose));
    assert_eq!(ask(&subjects, &loose).unwrap_err(), Code::LimitReached);
    // Who names no number of streams is counted, and never sent away.
    let _another = taken(&subjects, &rated);
    assert_eq!(subjects.len(), 1);
}

#[tokio::test]
async fn issuers_subjects_and_tokens_without_a_subject_count_for_themselves() {
    let subjects = subjects();
    let one = claims(Some("42"), None, Some(1));
    let mut all = vec![
        one.clone(),
        claims(Some("43"), None, Some(1)),
        claims(None, None, Some(1)),
    ];
    all.push(Claims {
        issuer: Some("another".into()),
        ..one.clone()
    });
    // The same text, cut elsewhere.
    all.push(Claims {
        issuer: Some("issuer4".into()),
        subject: Some("2".into()),
        ..one.clone()
    });
    all.push(Claims { issuer: None, ..one });
    all.push(Claims {
        token_id: TokenId([8; 16]),
        ..claims(Some(""), None, Some(1))
    });
    let held: Vec<_> = all.iter().map(|claims| taken(&subjects, claims)).collect();
    assert_eq!(subjects.len(), all.len());
    for claims in &all {
        assert_eq!(ask(&subjects, claims).unwrap_err(), Code::LimitReached);
    }
    // Another token of the same subject counts with it.
    let other = Claims {
        token_id: TokenId([9; 16]),
        ..all[0].clone()
    };
    assert_eq!(ask(&subjects, &other).unwrap_err(), Code::LimitReached);
    drop(held);
    assert!(subjects.is_empty());
}

#[tokio::test]
async fn a_head_and_a_token_without_limits_take_nothing() {
    let subjects = subjects();
    assert!(ask(&subjects, &claims(Some("42"), None, None)).unwrap().is_none());
    let limited = claims(Some("42"), Some(2048), Some(1));
    for _ in 0..3 {
        assert!(subjects.share(&limited, &Method::HEAD).unwrap().is_none());
    }
    assert!(subjects.is_empty());
}

#[tokio::test]
async fn where_no_more_can_be_counted_nobody_new_is_let_through() {
    let subjects = Arc::new(Subjects::with_capacity(2));
    let of = |subject| claims(Some(subject), None, Some(2));
    let (first, _second) = (taken(&subjects, &of("1")), taken(&subjects, &of("2")));
    assert_eq!(ask(&subjects, &of("3")).unwrap_err(), Code::Overloaded);
    let _known = taken(&subjects, &of("2"));
    drop(first);
    let _third = taken(&subjects, &of("3"));
    assert_eq!(subjects.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_subject_had_is_remembered_for_as_long_as_it_counts() {
    let subjects = subjects();
    let limited = claims(Some("42"), Some(1 << 20), None);
    let start = Instant::now();
    // One download after the other: a new one has no bucket of its own.
    for _ in 0..8 {
        let content = Bytes::from(vec![7; 1 << 19]);
        read(taken(&subjects, &limited), Body::Full(content), start).await;
    }
    assert!(
        start.elapsed() >= Duration::from_millis(2999),
        "{:?}",
        start.elapsed()
    );
    subjects.tend();
    assert_eq!(subjects.len(), 1, "the bucket is empty");
    tokio::time::advance(Duration::from_millis(1001)).await;
    subjects.tend();
    assert!(subjects.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_paced_body_is_whole_and_never_ahead_of_its_time() {
    let subjects = subjects();
    let content: Vec<u8> = (0..500_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let start = Instant::now();
    let body = Body::Full(Bytes::from(content.clone()));
    let pieces = read(
        taken(&subjects, &claims(Some("42"), Some(10_000), None)),
        body,
        start,
    )
    .await;
    let mut sum = 0;
    for (at, piece) in &pieces {
        sum += piece.len();
        assert!(
            sum as f64 <= 65_536.0 + 10_000.0 * at.as_secs_f64() + 10.0,
            "{sum} after {at:?}"
        );
    }
    let whole: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.to_vec()).collect();
    assert!(whole == content);
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn bodies_of_one_subject_share_its_rate_and_all_go_on() {
    let subjects = subjects();
    let limited = claims(Some("42"), Some(100_000), None);
    let start = Instant::now();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let body = Body::Full(Bytes::from(vec![7; 1_000_000]));
            tokio::spawn(read(taken(&subjects, &limited), body, start))
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let until = |seconds| {
        let then = Duration::from_secs(seconds);
        let by_then = |pieces: &Vec<(Duration, Bytes)>| -> usize {
            let early = pieces.iter().take_while(|(at, _)| *at <= then);
            early.map(|(_, piece)| piece.len()).sum()
        };
        all.iter().map(by_then).collect::<Vec<_>>()
    };
    for seconds in [0, 1, 5, 10, 20, 30] {
        let bytes = until(seconds);
        let sum: usize = bytes.iter().sum();
        assert!(sum as u64 <= 100_000 * (seconds + 1), "{seconds}: {bytes:?}");
        let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
        assert!(most - least <= 100_000, "{seconds}: {bytes:?}");
        assert!(seconds < 5 || *least > 0, "{seconds}: {bytes:?}");
    }
    assert!(all.iter().all(|pieces| bytes(pieces) == 1_000_000));
    assert!(start.elapsed() < Duration::from_secs(41), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_left_takes_no_more_of_the_time_of_others() {
    let subjects = subjects();
    let limited = claims(Some("42"), Some(4096), None);
    let start = Instant::now();
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut share = taken(&subjects, &limited);
        let mut body = Body::Full(Bytes::from(vec![7; 100_000]));
        // Until it waits for its turn.
        poll_fn(|cx| {
            while share.poll_frame(&mut body, cx).is_ready() {}
            Poll::Ready(())
        })
        .await;
        held.push(share);
    }
    drop(held);
    let body = Body::Full(Bytes::from(vec![7; 8192]));
    read(taken(&subjects, &limited), body, start).await;
    assert!(start.elapsed() <= Duration::from_secs(3), "{:?}", start.elapsed());
    tokio::time::advance(Duration::from_secs(20)).await;
    subjects.tend();
    assert!(subjects.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_rate_is_not_held_up() {
    let subjects = subjects();
    let start = Instant::now();
    let body = Body::Full(Bytes::from(vec![7; 50_000_000]));
    let pieces = read(taken(&subjects, &claims(Some("42"), None, Some(1))), body, start).await;
    assert_eq!((pieces.len(), start.elapsed()), (1, Duration::ZERO));
}
