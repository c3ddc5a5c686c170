//! An HTTP origin against a server that says exactly what a test tells it to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Far more than anything here takes; only a failure waits for it.
const LONG: Duration = Duration::from_secs(20);

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
        let address = Address { host: "127.0.0.1".into(), port, tls: None };
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
        Self { listener, origin: Arc::new(HttpOrigin::new(settings)), pools: Arc::default() }
    }

    async fn accept(&self) -> Server {
        let (stream, _) = self.listener.accept().await.unwrap();
        Server { stream, unread: Vec::new() }
    }

    /// Starts a request; it runs while the test plays the server.
    fn ask(&self, request: OriginRequest) -> tokio::task::JoinHandle<Result<Response<OriginBody>, OriginError>> {
        let (origin, pools) = (Arc::clone(&self.origin), Arc::clone(&self.pools));
        tokio::spawn(async move { origin.fetch(&pools, request).await })
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
            assert_ne!(self.stream.read_buf(&mut self.unread).await.unwrap(), 0, "closed before a request");
        }
    }

    async fn say(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// Waits for the end of the connection, however it comes.
    async fn is_closed(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(LONG, self.stream.read_to_end(&mut rest)).await.expect("still open");
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
    OriginRequest { method, target: target.to_owned(), headers: map, upload: Upload::None }
}

async fn text(response: Response<OriginBody>) -> Result<String, OriginError> {
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn the_request_is_written_byte_for_byte_and_nothing_is_added() {
    let scene = Scene::new(|settings| settings.base_path = "/bucket/a%20b".to_owned()).await;
    let asked = request(Method::GET, "/v/%C3%A9;x=1?a=%2F&b", &[("accept", "*/*"), ("range", "bytes=0-")]);
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
