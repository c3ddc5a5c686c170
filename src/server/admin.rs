//! The second port: `/healthz`, `/readyz`, `/metrics`. Read-only, and never on the gate's listener.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::background::KeyAges;
use super::listen::Listening;
use super::tls::{self, Certificates};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// What the admin port tells.
pub(super) struct Health {
    /// Whether the start is over.
    pub(super) ready: AtomicBool,
    /// Whether the end has begun.
    pub(super) draining: AtomicBool,
    pub(super) listening: Arc<Listening>,
    keys: KeyAges,
    /// Whether some requests can't be answered without the store.
    pub(super) needs_store: AtomicBool,
    store: Arc<ArcSwapOption<Store>>,
    pulses: Vec<Arc<AtomicU64>>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// Of a server that starts with so many threads.
    pub(super) fn new(
        metrics: &Arc<Metrics>,
        keys: KeyAges,
        store: &Arc<ArcSwapOption<Store>>,
        threads: usize,
    ) -> Self {
        Self {
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            listening: Arc::default(),
            keys,
            needs_store: AtomicBool::new(false),
            store: Arc::clone(store),
            pulses: (0..threads).map(|_| Arc::default()).collect(),
            metrics: Arc::clone(metrics),
        }
    }

    /// What the thread of this number counts on.
    pub(super) fn pulse(&self, thread: usize) -> Arc<AtomicU64> {
        Arc::clone(&self.pulses[thread])
    }

    pub(super) fn pulses(&self) -> Vec<u64> {
        self.pulses
            .iter()
            .map(|pulse| pulse.load(Ordering::Relaxed))
            .collect()
    }

    /// Why requests should not be sent here, if so.
    fn unready(&self) -> Option<String> {
        if self.draining.load(Ordering::Acquire) {
            Some("draining".to_owned())
        } else if !self.ready.load(Ordering::Acquire) || !self.listening.is_whole() {
            Some("starting".to_owned())
        } else if self.listening.is_troubled() {
            Some("connections can't be accepted".to_owned())
        } else if self.needs_store.load(Ordering::Acquire)
            && !self.store.load().as_ref().is_some_and(|store| store.is_up())
        {
            Some("the store can't be used".to_owned())
        } else {
            self.keys.lacking()
        }
    }
}

/// Answers until the process ends.
pub(super) async fn run(
    listener: TcpListener,
    health: Arc<Health>,
    certificates: Option<Arc<Certificates>>,
    tls_timeout: Duration,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = Arc::clone(&health);
        let certificates = certificates.clone();
        tokio::spawn(async move {
            match certificates {
                None => serve(stream, &health).await,
                Some(certificates) => {
                    if let Ok(stream) = tls::handshake(&certificates, stream, tls_timeout).await {
                        serve(stream, &health).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, health: &Health) {
    let service = service_fn(|request| {
        let response = answer(health, &request);
        async { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30));
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn answer(health: &Health, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&(Method::GET | Method::HEAD), "/healthz") => (StatusCode::OK, TEXT, "ok\n".to_owned()),
        (&(Method::GET | Method::HEAD), "/readyz") => match health.unready() {
            None => (StatusCode::OK, TEXT, "ready\n".to_owned()),
            Some(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                TEXT,
                format!("not ready: {why}\n"),
            ),
        },
        (&(Method::GET | Method::HEAD), "/metrics") => {
            (StatusCode::OK, OPEN_METRICS, health.metrics.render())
        }
        (_, "/healthz" | "/readyz" | "/metrics") => (
            StatusCode::METHOD_NOT_ALLOWED,
            TEXT,
            "this port can be read\n".to_owned(),
        ),
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "/healthz /readyz /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
