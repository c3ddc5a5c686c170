//! Workers are added up, and what has no bound of its own has one here.

use super::*;

#[test]
fn workers_are_added_up_and_the_series_are_twenty_two() {
    let metrics = Metrics::new(vec!["files".into()], vec!["token_missing", "token_invalid"]);
    let (one, two) = (metrics.worker(), metrics.worker());
    one.request(Some(0), 0, 100, End::Complete, Duration::from_micros(700));
    two.request(Some(0), 0, 23, End::CutByClient, Duration::from_secs(60));
    two.request(None, 2, 0, End::Complete, Duration::ZERO);
    for (worker, scheme, opened) in [
        (&one, "jwt", true),
        (&two, "cloudfront", false),
        (&two, "jwt", true),
    ] {
        worker.token(0, scheme, opened);
    }
    two.connection_error(ConnectionError::Parse);
    one.connected();
    metrics.issued("issued");
    metrics.read_origins(Box::new(|| vec![("event", "opened".into(), 3.0)]));
    metrics.read_addresses(Box::new(|| {
        vec![OriginFigures {
            origin: "web".into(),
            addresses: [("up", 2), ("ejected", 1), ("down", 0)],
            in_flight: 4,
            ..OriginFigures::default()
        }]
    }));
    metrics.read_key_ages(Box::new(|| vec![("keys", "idp".into(), 1.5)]));
    metrics.read_dropped(Box::new(|| vec![("sink", "access".into(), 0.0)]));
    metrics.read_store(Box::new(|| {
        Some(StoreFigures {
            entries: 7,
            commits: 5,
            ..StoreFigures::default()
        })
    }));
    metrics.read_limited(Box::new(|| 4));
    let text = metrics.render();
    for line in [
        "mediagate_limited_subjects 4",
        "mediagate_store_entries 7",
        "mediagate_store_commits_total 5",
        "mediagate_store_failures_total 0",
        "mediagate_requests_total{route=\"files\",code=\"ok\"} 2",
        "mediagate_requests_total{route=\"none\",code=\"token_invalid\"} 1",
        "mediagate_tokens_total{route=\"files\",scheme=\"jwt\",result=\"ok\"} 2",
        "mediagate_tokens_total{route=\"files\",scheme=\"jwt\",result=\"refused\"} 0",
        "mediagate_tokens_total{route=\"files\",scheme=\"cloudfront\",result=\"refused\"} 1",
        "mediagate_response_bytes_total{route=\"files\"} 123",
        "mediagate_downloads_cut_total{route=\"files\",by=\"client\"} 1",
        "mediagate_head_seconds_bucket{le=\"0.001\",route=\"files\"} 1",
        "mediagate_head_seconds_bucket{le=\"+Inf\",route=\"files\"} 2",
        "mediagate_head_seconds_count{route=\"files\"} 2",
        "mediagate_connections 1",
        "mediagate_connection_errors_total{kind=\"parse\"} 1",
        "mediagate_issuer_answers_total{code=\"issued\"} 1",
        "mediagate_origin_connections_total{event=\"opened\"} 3",
        "mediagate_origin_addresses{origin=\"web\",state=\"ejected\"} 1",
        "mediagate_origin_in_flight{origin=\"web\"} 4",
        "mediagate_origin_ejections_total{origin=\"web\"} 0",
        "mediagate_key_set_age_seconds{keys=\"idp\"} 1.5",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 22);
}

#[test]
fn names_of_later_configurations_are_added_and_their_number_is_bounded() {
    let metrics = Metrics::new(vec!["old".into()], vec![]);
    let worker = metrics.worker();
    let ask = |number| worker.request(Some(number), 0, 0, End::Complete, Duration::ZERO);
    ask(0);
    for round in 0..10 {
        let names = (0..1000).map(|at| 1 + round * 1000 + at);
        metrics.name_routes(names.map(|number| (number, format!("route-{number}").into())));
    }
    ask(1);
    ask(5_000);
    ask(usize::MAX);
    metrics.reloaded(true);
    metrics.reloaded(false);
    let text = metrics.render();
    for line in [
        "mediagate_requests_total{route=\"old\",code=\"ok\"} 1",
        "mediagate_requests_total{route=\"route-1\",code=\"ok\"} 1",
        "mediagate_requests_total{route=\"too many\",code=\"ok\"} 2",
        "mediagate_reloads_total{result=\"ok\"} 1",
        "mediagate_reloads_total{result=\"failed\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let series = text
        .lines()
        .filter(|line| line.starts_with("mediagate_requests_total"));
    assert_eq!(series.count(), 1 + SPARE_ROUTES + 2);
}
