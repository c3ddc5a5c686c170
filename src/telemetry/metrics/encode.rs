//! The counters as Prometheus reads them: one family after the other, workers added up.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::super::addresses::encode_addresses;
use super::{BUCKETS, ConnectionError, Counters, Metrics, RouteCounters};

/// What reads them.
pub(super) struct Reader(pub(super) Arc<Metrics>);

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Collector for Reader {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &*self.0;
        let workers = metrics.workers();
        let sum = |read: &dyn Fn(&Counters) -> u64| workers.iter().map(|worker| read(worker)).sum::<u64>();
        let of_route = |number: usize, read: &dyn Fn(&RouteCounters) -> u64| {
            workers
                .iter()
                .filter_map(|worker| worker.routes[number].get())
                .map(|counters| read(counters))
                .sum::<u64>()
        };
        let mut names: Vec<(usize, Box<str>)> = metrics
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(number, name)| (*number, name.clone()))
            .collect();
        names.push((metrics.capacity, "none".into()));
        let too_many = metrics.capacity + 1;
        if workers
            .iter()
            .any(|worker| worker.routes[too_many].get().is_some())
        {
            names.push((too_many, "too many".into()));
        }
        let names = || names.iter().map(|(number, name)| (*number, &**name));

        let mut family = encoder.encode_descriptor(
            "mediagate_requests",
            "Requests by route and outcome: ok, or the code of a refusal or failure",
            None,
            MetricType::Counter,
        )?;
        for (number, route) in names() {
            for (at, code) in std::iter::once("ok")
                .chain(metrics.codes.iter().copied())
                .enumerate()
            {
                let count = of_route(number, &|route| route.requests[at].load(Ordering::Relaxed));
                if count > 0 || at == 0 {
                    let labels = [("route", route), ("code", code)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_tokens",
            "Tokens by route, scheme and whether they were good for what was asked",
            None,
            MetricType::Counter,
        )?;
        for (number, route) in names() {
            let mut by_scheme: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
            let counters = workers.iter().filter_map(|worker| worker.routes[number].get());
            for counted in counters.flat_map(|counters| &counters.schemes) {
                let Some(scheme) = counted.name.get() else {
                    continue;
                };
                let sums = by_scheme.entry(scheme).or_default();
                for (sum, count) in sums.iter_mut().zip(&counted.tokens) {
                    *sum += count.load(Ordering::Relaxed);
                }
            }
            for (scheme, counts) in by_scheme {
                for (result, count) in ["ok", "refused"].into_iter().zip(counts) {
                    let labels = [("route", route), ("scheme", scheme), ("result", result)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_response_bytes",
            "Bytes of bodies handed to clients",
            None,
            MetricType::Counter,
        )?;
        for (number, route) in names() {
            let count = of_route(number, &|route| route.bytes.load(Ordering::Relaxed));
            ConstCounter::new(count).encode(family.encode_family(&[("route", route)])?)?;
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_downloads_cut",
            "Bodies that did not end: cut by the client, because the origin's side broke, or because the token was withdrawn",
            None,
            MetricType::Counter,
        )?;
        for (number, route) in names() {
            let by_client = of_route(number, &|route| route.cut_by_client.load(Ordering::Relaxed));
            let by_origin = of_route(number, &|route| route.cut_by_origin.load(Ordering::Relaxed));
            let by_gate = of_route(number, &|route| route.cut_by_gate.load(Ordering::Relaxed));
            for (by, count) in [("client", by_client), ("origin", by_origin), ("gate", by_gate)] {
                ConstCounter::new(count).encode(family.encode_family(&[("route", route), ("by", by)])?)?;
            }
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_head_seconds",
            "Time from a request's head to the head of its answer",
            None,
            MetricType::Histogram,
        )?;
        for (number, route) in names() {
            let mut buckets: Vec<(f64, u64)> = Vec::with_capacity(BUCKETS.len() + 1);
            let bounds = BUCKETS
                .iter()
                .map(|micros| *micros as f64 / 1e6)
                .chain(std::iter::once(f64::INFINITY));
            for (at, bound) in bounds.enumerate() {
                buckets.push((
                    bound,
                    of_route(number, &|route| route.buckets[at].load(Ordering::Relaxed)),
                ));
            }
            let count = buckets.iter().map(|(_, count)| count).sum();
            let total = of_route(number, &|route| route.head_micros.load(Ordering::Relaxed)) as f64 / 1e6;
            family
                .encode_family(&[("route", route)])?
                .encode_histogram::<[(&str, &str); 0]>(total, count, &buckets, None)?;
        }

        let family = encoder.encode_descriptor(
            "mediagate_connections",
            "Open connections of clients",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(metrics.connections()).encode(family)?;

        let mut family = encoder.encode_descriptor(
            "mediagate_connection_errors",
            "Connections that ended without an answer of ours, by kind",
            None,
            MetricType::Counter,
        )?;
        for kind in ConnectionError::ALL {
            let count = sum(&|worker| worker.errors[kind as usize].load(Ordering::Relaxed));
            ConstCounter::new(count).encode(family.encode_family(&[("kind", kind.as_str())])?)?;
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_reloads",
            "Reloads of the configuration; of a failed one nothing is taken",
            None,
            MetricType::Counter,
        )?;
        for (result, count) in ["ok", "failed"].into_iter().zip(&metrics.reloads) {
            let count = count.load(Ordering::Relaxed);
            ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
        }

        let mut family = encoder.encode_descriptor(
            "mediagate_issuer_answers",
            "Answers of the issuer, by outcome",
            None,
            MetricType::Counter,
        )?;
        for (code, count) in metrics
            .issued
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            ConstCounter::new(*count).encode(family.encode_family(&[("code", *code)])?)?;
        }

        let limited = metrics.limited.get().map_or(0, |read| read());
        let family = encoder.encode_descriptor(
            "mediagate_limited_subjects",
            "Subjects whose downloads under limits (rate, streams) are counted",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(limited).unwrap_or(i64::MAX)).encode(family)?;

        let store = metrics.store.get().and_then(|read| read()).unwrap_or_default();
        for (name, help, kind, figure) in [
            (
                "mediagate_store_entries",
                "What is remembered of tokens: issued, spent, withdrawn",
                MetricType::Gauge,
                store.entries,
            ),
            (
                "mediagate_store_waiting",
                "Operations that wait to be written",
                MetricType::Gauge,
                store.waiting,
            ),
            (
                "mediagate_store_commits",
                "Times that the store was written",
                MetricType::Counter,
                store.commits,
            ),
            (
                "mediagate_store_operations",
                "Operations that were written",
                MetricType::Counter,
                store.operations,
            ),
            (
                "mediagate_store_failures",
                "Times that the store failed and was opened again",
                MetricType::Counter,
                store.failures,
            ),
        ] {
            let counter = matches!(kind, MetricType::Counter);
            let family = encoder.encode_descriptor(name, help, None, kind)?;
            if counter {
                ConstCounter::new(figure).encode(family)?;
            } else {
                ConstGauge::new(i64::try_from(figure).unwrap_or(i64::MAX)).encode(family)?;
            }
        }

        let origins = metrics.addresses.get().map_or_else(Vec::new, |read| read());
        encode_addresses(&mut encoder, &origins)?;

        for (reading, name, help, kind) in [
            (
                &metrics.origins,
                "mediagate_origin_connections",
                "Connections to origins, by event",
                MetricType::Counter,
            ),
            (
                &metrics.key_ages,
                "mediagate_key_set_age_seconds",
                "Time since a fetched key set was last fetched well",
                MetricType::Gauge,
            ),
            (
                &metrics.dropped,
                "mediagate_access_log_dropped_lines",
                "Lines of the access log that were lost",
                MetricType::Counter,
            ),
        ] {
            let values = reading.get().map_or_else(Vec::new, |read| read());
            let counter = matches!(kind, MetricType::Counter);
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (label, value, figure) in values {
                let labels = [(label, value)];
                let metric = family.encode_family(&labels)?;
                if counter {
                    ConstCounter::new(figure as u64).encode(metric)?;
                } else {
                    ConstGauge::new(figure).encode(metric)?;
                }
            }
        }
        Ok(())
    }
}
