//! An HTTP origin against a server that says exactly what a test tells it to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::connection::READ_MAX;
use super::super::{Origin, Phase};
use super::*;

/// Far more than anything here takes; only a failure waits for it.
const LONG: Duration = Duration::from_secs(20);

/// For limits that are meant to run out.
const SHORT: Duration = Duration::from_millis(50);

/// A listener on a free port and an origin that points to it.
struct Scene {
    listener: TcpListener,
    origin: Arc<HttpOrigin>,
    pools: Arc<Pools>,
}

impl Scene {
    async fn new(change: impl FnOnce(&mut HttpSettings)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = Address {
            host: "127.0.0.1".into(),
            port,
            tls: None,
        };
        let mut settings = HttpSettings {
            address,
            host: HeaderValue::from_static("files.example"),
            base_path: String::new(),
            connect_timeout: LONG,
            head_timeout: LONG,
            gap_timeout: LONG,
            idle_timeout: LONG,
            max_idle: 8,
            allow_close_delimited: false,
        };
        change(&mut settings);
        Self {
            listener,
            origin: Arc::new(HttpOrigin::new(settings)),
            pools: Arc::default(),
        }
    }

    async fn accept(&self) -> Server {
        let (stream, _) = self.listener.accept().await.unwrap();
        Server {
            stream,
            unread: Vec::new(),
        }
    }

    /// Starts a request; it runs while the test plays the server.
    fn ask(
        &self,
        request: OriginRequest,
    ) -> tokio::task::JoinHandle<Result<Response<OriginBody>, OriginError>> {
        let (origin, pools) = (Arc::clone(&self.origin), Arc::clone(&self.pools));
        tokio::spawn(async move { Origin::Http(origin).fetch(&pools, request).await })
    }

    async fn fetch(&self, request: OriginRequest) -> Result<Response<OriginBody>, OriginError> {
        Origin::Http(Arc::clone(&self.origin))
            .fetch(&self.pools, request)
            .await
    }

    /// An idle connection.
    fn taken(&self) -> Option<Lease> {
        let ticket = self.origin.fleet.endpoints()[0]
            .enter(crate::origin::endpoint::Count::First)
            .unwrap();
        self.pools.checkout(ticket, Instant::now()).ok()
    }

    fn counts(&self) -> (u64, u64, u64, u64) {
        let stats = self.pools.stats();
        (
            stats.opened.load(Ordering::Relaxed),
            stats.reused.load(Ordering::Relaxed),
            stats.surplus.load(Ordering::Relaxed),
            stats.retried.load(Ordering::Relaxed),
        )
    }

    /// Lets the other tasks run until this holds.
    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        tokio::time::timeout(LONG, async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it never came to that");
    }
}

struct Server {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Server {
    /// One request head.
    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.unread.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            assert_ne!(
                self.stream.read_buf(&mut self.unread).await.unwrap(),
                0,
                "closed before a request"
            );
        }
    }

    async fn say(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Waits for the end of the connection, however it comes.
    async fn is_closed(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(LONG, self.stream.read_to_end(&mut rest))
            .await
            .expect("still open");
        assert!(end.is_err() || rest.is_empty(), "another request came: {rest:?}");
    }
}

fn get(target: &str) -> OriginRequest {
    request(Method::GET, target, &[])
}

fn request(method: Method, target: &str, headers: &[(&'static str, &'static str)]) -> OriginRequest {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    OriginRequest {
        method,
        target: target.to_owned(),
        headers: map,
        client: None,
        upload: Upload::None,
        now: crate::clock::UnixTime::default(),
    }
}

async fn text(response: Response<OriginBody>) -> Result<String, OriginError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn the_request_is_written_byte_for_byte_and_nothing_is_added() {
    let scene = Scene::new(|settings| settings.base_path = "/bucket/a%20b".to_owned()).await;
    let asked = request(
        Method::GET,
        "/v/%C3%A9;x=1?a=%2F&b",
        &[("accept", "*/*"), ("range", "bytes=0-")],
    );
    let answer = scene.ask(asked);
    let mut server = scene.accept().await;
    assert_eq!(
        server.head().await,
        "GET /bucket/a%20b/v/%C3%A9;x=1?a=%2F&b HTTP/1.1\r\n\
         accept: */*\r\nrange: bytes=0-\r\nhost: files.example\r\n\r\n"
    );
    server.say(OK).await;
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_body_was_read_to_its_end() {
    let scene = Scene::new(|_| ()).await;
    let mut answer = scene.ask(get("/0"));
    let mut server = scene.accept().await;
    for turn in 1..4 {
        server.head().await;
        server.say(OK).await;
        assert_eq!(text(answer.await.unwrap().unwrap()).await.unwrap(), "hello");
        answer = scene.ask(get(&format!("/{turn}")));
    }
    assert!(server.head().await.starts_with("GET /3 "));
    assert_eq!(scene.counts(), (1, 3, 0, 0));
}

#[tokio::test]
async fn chunked_bodies_pass_and_their_connection_is_used_again() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n").await;
    let response = answer.await.unwrap().unwrap();
    assert!(response.headers().is_empty(), "framing ends here");
    assert_eq!(text(response).await.unwrap(), "abcde");
    scene.ask(get("/2"));
    server.head().await;
    assert_eq!(scene.counts(), (1, 1, 0, 0));
}

#[tokio::test]
async fn headers_of_the_connection_end_here() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say(
            "HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop, Content-Length\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
              Upgrade: h2c\r\nTE: x\r\nTrailer: x\r\nProxy-Connection: x\r\nX-Stays: 1\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
    let response = answer.await.unwrap().unwrap();
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x-stays"]);
    assert!(
        response.extensions().is_empty(),
        "the origin's reason phrase is not passed on"
    );
}

#[tokio::test]
async fn a_short_body_is_an_error_and_its_connection_is_not_used_again() {
    for head in [
        "Content-Length: 9\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ] {
        let scene = Scene::new(|_| ()).await;
        let answer = scene.ask(get("/"));
        let mut server = scene.accept().await;
        server.head().await;
        server.say(&format!("HTTP/1.1 200 OK\r\n{head}")).await;
        drop(server);
        let result = text(answer.await.unwrap().unwrap()).await;
        assert!(matches!(result, Err(OriginError::Http(_))), "{result:?}");
        scene.ask(get("/2"));
        scene.accept().await.head().await;
        assert_eq!(scene.counts(), (2, 0, 0, 0));
    }
}

/// Every way to send more than was announced, all in one write.
const SURPLUS: [(Method, &str, &str); 6] = [
    (
        Method::GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "hello",
    ),
    (
        Method::GET,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "",
    ),
    (
        Method::GET,
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "",
    ),
    (
        Method::GET,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
        "",
    ),
    (
        Method::HEAD,
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "",
    ),
    (
        Method::GET,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
        "hello",
    ),
];

#[tokio::test]
async fn surplus_bytes_are_dropped_and_the_next_request_is_answered_as_itself() {
    for (method, said, body) in SURPLUS {
        let scene = Scene::new(|_| ()).await;
        let answer = scene.ask(request(method, "/1", &[("if-none-match", "\"a\"")]));
        let mut server = scene.accept().await;
        server.head().await;
        server.say(said).await;
        assert_eq!(
            text(answer.await.unwrap().unwrap()).await.unwrap(),
            body,
            "{said}"
        );
        let next = scene.ask(get("/2"));
        let mut fresh = scene.accept().await;
        assert!(fresh.head().await.starts_with("GET /2 "));
        fresh.say(OK).await;
        assert_eq!(text(next.await.unwrap().unwrap()).await.unwrap(), "hello");
        server.is_closed().await;
        scene.until(|scene| scene.counts().2 == 1).await;
    }
}

#[tokio::test]
async fn surplus_bytes_that_come_later_are_never_taken_for_an_answer() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    assert_eq!(text(answer.await.unwrap().unwrap()).await.unwrap(), "hello");
    // The socket is written to directly: the runtime has no chance to see the bytes before the next request is made.
    let wrote = server
        .stream
        .try_write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        .unwrap();
    assert_eq!(wrote, 42);
    let next = scene.ask(get("/2"));
    let mut fresh = scene.accept().await;
    assert!(fresh.head().await.starts_with("GET /2 "));
    fresh.say(OK).await;
    assert_eq!(text(next.await.unwrap().unwrap()).await.unwrap(), "hello");
    server.is_closed().await;
    assert_eq!(scene.counts().2, 1, "surplus is counted once");
}

#[tokio::test]
async fn bytes_before_the_first_request_are_no_answer() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.say(OK).await;
    let mut seen = Vec::new();
    let _ = server.stream.read_to_end(&mut seen).await;
    let result = answer.await.unwrap().map(|response| response.status());
    // Where the request was written first, the bytes can't be told from an answer.
    assert!(result.is_err() || !seen.is_empty(), "{result:?}");
}

#[tokio::test]
async fn a_range_that_is_longer_than_it_says_is_cut_to_what_it_said() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(request(Method::GET, "/", &[("range", "bytes=0-4")]));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/26\r\nTransfer-Encoding: chunked\r\n\r\n\
              3\r\nhel\r\n4\r\nlo!!\r\n0\r\n\r\n")
        .await;
    let response = answer.await.unwrap().unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(5));
    assert_eq!(text(response).await.unwrap(), "hello");
    server.is_closed().await;
    assert_eq!(scene.counts(), (1, 0, 1, 0));
}

#[tokio::test]
async fn answers_that_cannot_be_true_are_invalid_and_close_their_connection() {
    let table = [
        ("", "200 OK\r\n\r\nno length"),
        (
            "",
            "206 Partial Content\r\nContent-Range: bytes 0-4/26\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "bytes=0-4",
            "206 Partial Content\r\nContent-Range: bytes 1-5/26\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "bytes=0-4",
            "206 Partial Content\r\nContent-Range: bytes 0-4/26\r\nContent-Length: 6\r\n\r\nhello!",
        ),
        (
            "",
            "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "",
            "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        ),
    ];
    for (range, said) in table {
        let scene = Scene::new(|_| ()).await;
        let headers: &[_] = if range.is_empty() {
            &[]
        } else {
            &[("range", range)]
        };
        let answer = scene.ask(request(Method::GET, "/", headers));
        let mut server = scene.accept().await;
        server.head().await;
        server.say(&format!("HTTP/1.1 {said}")).await;
        let error = answer
            .await
            .unwrap()
            .map(|response| response.status())
            .unwrap_err();
        assert!(matches!(error, OriginError::Invalid(_)), "{said}: {error:?}");
        server.is_closed().await;
    }
}

#[tokio::test]
async fn lengths_that_differ_are_an_error() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")
        .await;
    assert!(answer.await.unwrap().is_err());
    server.is_closed().await;
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_passes_where_that_is_allowed() {
    for version in ["1.0", "1.1"] {
        let scene = Scene::new(|settings| settings.allow_close_delimited = true).await;
        let answer = scene.ask(get("/"));
        let mut server = scene.accept().await;
        server.head().await;
        server.say(&format!("HTTP/{version} 200 OK\r\n\r\nhello")).await;
        drop(server);
        let response = answer.await.unwrap().unwrap();
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), None);
        assert_eq!(text(response).await.unwrap(), "hello");
        scene.ask(get("/2"));
        scene.accept().await.head().await;
    }
}

#[tokio::test]
async fn an_http_1_0_origin_is_asked_over_a_fresh_connection_each_time() {
    let scene = Scene::new(|_| ()).await;
    for _ in 0..2 {
        let answer = scene.ask(get("/"));
        let mut server = scene.accept().await;
        server.head().await;
        server
            .say("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        let response = answer.await.unwrap().unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(text(response).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn informational_answers_are_skipped() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        .await;
    server.say(OK).await;
    let response = answer.await.unwrap().unwrap();
    assert!(!response.headers().contains_key("link"));
    assert_eq!(text(response).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_connection_that_the_origin_closed_meanwhile_costs_one_retry_at_most() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    drop(server);
    let next = scene.ask(get("/2"));
    let mut fresh = scene.accept().await;
    assert!(fresh.head().await.starts_with("GET /2 "));
    fresh.say(OK).await;
    assert_eq!(text(next.await.unwrap().unwrap()).await.unwrap(), "hello");
    assert_eq!(scene.counts().2, 0, "a close is no surplus");
}

#[tokio::test]
async fn a_request_that_got_no_byte_over_a_reused_connection_is_sent_once_more() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    let next = scene.ask(request(Method::GET, "/2", &[("range", "bytes=0-")]));
    server.head().await;
    drop(server);
    let mut fresh = scene.accept().await;
    assert_eq!(
        fresh.head().await,
        "GET /2 HTTP/1.1\r\nrange: bytes=0-\r\nhost: files.example\r\n\r\n"
    );
    drop(fresh);
    assert!(next.await.unwrap().is_err(), "there is no second retry");
    assert_eq!(scene.counts(), (2, 1, 0, 1));
}

#[tokio::test]
async fn a_request_whose_answer_had_begun_is_not_sent_again() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    let next = scene.ask(get("/2"));
    server.head().await;
    server.say("HTTP/1.1 20").await;
    drop(server);
    assert!(matches!(next.await.unwrap(), Err(OriginError::Http(_))));
    assert_eq!(scene.counts(), (1, 1, 0, 0));
}

#[tokio::test]
async fn other_methods_get_a_fresh_connection_and_are_sent_once() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    let next = scene.ask(request(Method::DELETE, "/2", &[]));
    let mut fresh = scene.accept().await;
    assert!(fresh.head().await.starts_with("DELETE /2 "));
    drop(fresh);
    assert!(next.await.unwrap().is_err());
    assert_eq!(scene.counts(), (2, 0, 0, 0));
}

#[tokio::test]
async fn a_body_that_is_dropped_before_its_end_closes_the_connection() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    drop(answer.await.unwrap().unwrap());
    server.is_closed().await;
    scene.ask(get("/2"));
    scene.accept().await.head().await;
    assert_eq!(scene.counts(), (2, 0, 0, 0));
}

#[tokio::test]
async fn a_connection_rests_after_an_answer_without_a_body() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(request(Method::HEAD, "/1", &[]));
    let mut server = scene.accept().await;
    server.head().await;
    server.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
    answer.await.unwrap().unwrap();
    scene.ask(get("/2"));
    let mut fresh = scene.accept().await;
    fresh.head().await;
    assert_eq!(scene.counts(), (2, 0, 0, 0));
    scene.until(|scene| scene.taken().is_some()).await;
}

#[tokio::test]
async fn idle_connections_are_limited_in_number_and_the_newest_is_used_first() {
    let scene = Scene::new(|settings| settings.max_idle = 1).await;
    let first = scene.ask(get("/1"));
    let mut older = scene.accept().await;
    older.head().await;
    let second = scene.ask(get("/2"));
    let mut newer = scene.accept().await;
    newer.head().await;
    older.say(OK).await;
    text(first.await.unwrap().unwrap()).await.unwrap();
    newer.say(OK).await;
    text(second.await.unwrap().unwrap()).await.unwrap();
    older.is_closed().await;
    scene.ask(get("/3"));
    assert!(newer.head().await.starts_with("GET /3 "));
    assert_eq!(scene.counts(), (2, 1, 0, 0));
}

#[tokio::test]
async fn what_is_tended_keeps_no_large_buffer_and_no_connection_that_its_origin_closed() {
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    let body = "x".repeat(100_000);
    let writer = tokio::spawn(async move {
        server
            .say(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{body}"
            ))
            .await;
        server
    });
    assert_eq!(text(answer.await.unwrap().unwrap()).await.unwrap().len(), 100_000);
    let server = writer.await.unwrap();
    let taken = || scene.taken();
    let mut lease = taken().unwrap();
    assert!(lease.connection.keeps_a_buffer());
    lease.give_back(Rest::Clean);
    scene.pools.tend();
    let mut lease = taken().unwrap();
    assert!(!lease.connection.keeps_a_buffer());
    lease.give_back(Rest::Clean);
    drop(server);
    scene
        .until(|scene| {
            scene.pools.tend();
            scene.pools.is_empty()
        })
        .await;
}

#[tokio::test]
async fn an_idle_connection_to_any_address_of_a_name_is_better_than_a_fresh_one() {
    let scene = Scene::new(|settings| settings.address.host = "files.example".into()).await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [scene.listener.local_addr().unwrap(), other.local_addr().unwrap()];
    scene.origin.fleet.learn(&addresses);
    let answering = async |listener: &TcpListener| {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = Server {
                stream,
                unread: Vec::new(),
            };
            tokio::spawn(async move {
                loop {
                    server.head().await;
                    server.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
                }
            });
        }
    };
    let asking = async {
        for _ in 0..30 {
            assert_eq!(text(scene.fetch(get("/a")).await.unwrap()).await.unwrap(), "ok");
        }
        assert_eq!(scene.counts(), (1, 29, 0, 0));
        // Whoever is busier is not asked for that: these two are held at once.
        let (one, two) = tokio::join!(scene.fetch(get("/a")), scene.fetch(get("/a")));
        assert_eq!(scene.origin.fleet.figures().in_flight, 2);
        let endpoints = scene.origin.fleet.endpoints();
        assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 1));
        drop((one, two));
    };
    tokio::select! {
        () = answering(&scene.listener) => {}
        () = answering(&other) => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_not_used() {
    let scene = Scene::new(|settings| settings.idle_timeout = Duration::ZERO).await;
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    scene.ask(get("/2"));
    scene.accept().await.head().await;
    server.is_closed().await;
    assert_eq!(scene.counts(), (2, 0, 0, 0));
}

#[tokio::test]
async fn an_origin_that_never_answers_is_a_timeout_of_the_head() {
    let scene = Scene::new(|settings| settings.head_timeout = SHORT).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    let result = answer.await.unwrap().map(|response| response.status());
    assert!(
        matches!(result, Err(OriginError::Timeout(Phase::Head))),
        "{result:?}"
    );
    server.head().await;
    server.is_closed().await;
}

#[tokio::test]
async fn a_body_that_stops_is_a_timeout_of_the_gap() {
    let scene = Scene::new(|settings| settings.gap_timeout = SHORT).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut body = answer.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, OriginError::Timeout(Phase::Gap)), "{error:?}");
    assert!(body.frame().await.is_none());
    server.is_closed().await;
}

#[tokio::test]
async fn no_connection_is_an_error_of_the_connection() {
    let scene = Scene::new(|_| ()).await;
    let Scene {
        listener,
        origin,
        pools,
    } = scene;
    drop(listener);
    let result = Origin::Http(origin)
        .fetch(&pools, get("/"))
        .await
        .map(|response| response.status());
    assert!(matches!(result, Err(OriginError::Connect(_))), "{result:?}");
}

#[tokio::test]
async fn an_origin_is_not_read_ahead_of_its_reader() {
    const SIZE: usize = 64 * 1024 * 1024;
    let scene = Scene::new(|_| ()).await;
    let answer = scene.ask(get("/"));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
        .await;
    let mut body = answer.await.unwrap().unwrap().into_body();
    let chunk = vec![b'x'; 1024 * 1024];
    let mut sent = 0;
    // Writes as long as somebody takes it.
    while let Ok(result) = tokio::time::timeout(SHORT * 4, server.stream.write(&chunk)).await {
        sent += result.unwrap();
    }
    assert!(
        sent < 16 * 1024 * 1024,
        "{sent} bytes were taken for a reader that did not read"
    );
    let writer = tokio::spawn(async move {
        while sent < SIZE {
            sent += server
                .stream
                .write(&chunk[..chunk.len().min(SIZE - sent)])
                .await
                .unwrap();
        }
        server
    });
    let (mut received, mut largest) = (0, 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        received += data.len();
        largest = largest.max(data.len());
    }
    assert_eq!(received, SIZE);
    assert!(largest <= 2 * READ_MAX, "{largest}");
    writer.await.unwrap();
}

#[tokio::test]
async fn a_body_that_takes_its_time_is_read_in_small_pieces_whatever_was_read_before_it() {
    const SIZE: usize = 4 * 1024 * 1024;
    let scene = Scene::new(|_| ()).await;
    let mut server = None;
    for most in [usize::MAX, 64 * 1024, 1000] {
        let answer = scene.ask(get("/"));
        let mut origin = match server.take() {
            Some(origin) => origin,
            None => scene.accept().await,
        };
        let writer = tokio::spawn(async move {
            origin.head().await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
            origin.say(&head).await;
            origin.stream.write_all(&vec![b'x'; SIZE]).await.unwrap();
            origin
        });
        let mut body = answer.await.unwrap().unwrap().into_body();
        if most < usize::MAX {
            body.read_at_most(most);
        }
        let (mut received, mut largest) = (0, 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            // What came with the head was read before.
            if received > 0 {
                largest = largest.max(data.len());
            }
            received += data.len();
        }
        assert_eq!(received, SIZE);
        assert!(largest <= most, "{largest} > {most}");
        server = Some(writer.await.unwrap());
    }
    assert_eq!(scene.counts(), (1, 2, 0, 0));
}

/// The body of a client's upload, as hyper's server hands it over.
async fn upload(sent: &'static str, limit: u64) -> (Upload, tokio::io::DuplexStream) {
    let (mut client, server) = tokio::io::duplex(1024);
    let (give, body) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
        TokioIo::new(server),
        hyper::service::service_fn(move |request: Request<Incoming>| {
            give.send(request.into_body()).unwrap();
            std::future::pending::<Result<Response<http_body_util::Empty<Bytes>>, std::convert::Infallible>>()
        }),
    ));
    client
        .write_all(format!("PUT / HTTP/1.1\r\nHost: x\r\n{sent}").as_bytes())
        .await
        .unwrap();
    let mut body = body;
    (Upload::client(body.recv().await.unwrap(), limit), client)
}

fn put(upload: Upload) -> OriginRequest {
    OriginRequest {
        upload,
        ..request(Method::PUT, "/", &[("content-length", "77")])
    }
}

#[tokio::test]
async fn an_upload_keeps_its_framing() {
    for (sent, framing, body) in [
        ("Content-Length: 5\r\n\r\nhello", "content-length: 5", "hello"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
        ("Content-Length: 0\r\n\r\n", "content-length: 0", ""),
    ] {
        let scene = Scene::new(|_| ()).await;
        let (upload, _client) = upload(sent, 5).await;
        let answer = scene.ask(put(upload));
        let mut server = scene.accept().await;
        let head = server.head().await;
        let mut lines: Vec<_> = head.trim_end().lines().collect();
        lines[1..].sort_unstable();
        let mut expected = ["PUT / HTTP/1.1", "host: files.example", framing];
        expected[1..].sort_unstable();
        assert_eq!(lines, expected);
        while server.unread.len() < body.len() {
            server.stream.read_buf(&mut server.unread).await.unwrap();
        }
        assert_eq!(server.unread, body.as_bytes());
        server.say(OK).await;
        assert_eq!(text(answer.await.unwrap().unwrap()).await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn an_upload_larger_than_allowed_is_cut_and_said_to_be_so() {
    for sent in [
        "Content-Length: 6\r\n\r\nhello!",
        "Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n",
    ] {
        let scene = Scene::new(|_| ()).await;
        let (upload, _client) = upload(sent, 5).await;
        let result = scene.fetch(put(upload)).await.map(|response| response.status());
        assert!(
            matches!(result, Err(OriginError::Upload(UploadFault::TooLarge))),
            "{sent}: {result:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_said_to_be_so() {
    let scene = Scene::new(|_| ()).await;
    let (upload, client) = upload("Content-Length: 6\r\n\r\nhel", 10).await;
    let answer = scene.ask(put(upload));
    let mut server = scene.accept().await;
    server.head().await;
    drop(client);
    let result = answer.await.unwrap().map(|response| response.status());
    assert!(
        matches!(result, Err(OriginError::Upload(UploadFault::Broken))),
        "{result:?}"
    );
}

#[tokio::test]
async fn an_answer_before_the_upload_ended_closes_the_connection() {
    let scene = Scene::new(|_| ()).await;
    let (upload, _client) = upload("Content-Length: 6\r\n\r\nhel", 10).await;
    let answer = scene.ask(put(upload));
    let mut server = scene.accept().await;
    server.head().await;
    server
        .say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    let response = answer.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(response).await.unwrap(), "hello");
    assert!(scene.taken().is_none());
}

#[test]
fn addresses_are_written_as_the_library_writes_them() {
    for text in [
        "0.0.0.0",
        "127.0.0.1",
        "10.20.100.255",
        "203.0.113.9",
        "2001:db8::1",
        "::ffff:1.2.3.4",
    ] {
        let client: IpAddr = text.parse().unwrap();
        assert_eq!(address(client), client.to_string());
    }
}

#[tokio::test]
async fn a_head_is_waited_for_no_longer_than_it_is_said_to_be() {
    let limit = Duration::from_millis(1000);
    let scene = Scene::new(|settings| {
        settings.head_timeout = limit;
        settings.connect_timeout = limit / 5;
    })
    .await;
    // Over a fresh connection.
    let begun = Instant::now();
    let answer = scene.ask(get("/1"));
    let mut server = scene.accept().await;
    server.head().await;
    let error = answer.await.unwrap().err().unwrap();
    assert!(matches!(error, OriginError::Timeout(Phase::Head)), "{error:?}");
    assert!(begun.elapsed() < limit * 9 / 5, "{:?}", begun.elapsed());
    // Over one that was idle, which ends late and without a word, and then over a fresh one.
    let answer = scene.ask(get("/2"));
    let mut server = scene.accept().await;
    server.head().await;
    server.say(OK).await;
    text(answer.await.unwrap().unwrap()).await.unwrap();
    let begun = Instant::now();
    let answer = scene.ask(get("/3"));
    server.head().await;
    tokio::time::sleep(limit * 4 / 5).await;
    drop(server);
    let mut server = scene.accept().await;
    server.head().await;
    let error = answer.await.unwrap().err().unwrap();
    assert!(matches!(error, OriginError::Timeout(Phase::Head)), "{error:?}");
    assert_eq!(scene.origin.head_wait(), limit * 6 / 5);
    assert!(begun.elapsed() < limit * 8 / 5, "{:?}", begun.elapsed());
}
