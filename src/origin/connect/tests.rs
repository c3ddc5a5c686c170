//! Addresses, TLS and small GETs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn parse(url: &str) -> Result<Address, String> {
    Address::parse(&url.parse().unwrap(), None)
}

#[test]
fn addresses_are_read_from_urls() {
    for (url, host, port, authority) in [
        ("http://files.example", "files.example", 80, "files.example"),
        ("http://files.example:80/", "files.example", 80, "files.example"),
        (
            "http://files.example:8080/base",
            "files.example",
            8080,
            "files.example:8080",
        ),
        ("https://files.example", "files.example", 443, "files.example"),
        (
            "https://files.example:80",
            "files.example",
            80,
            "files.example:80",
        ),
        ("http://127.0.0.1:9", "127.0.0.1", 9, "127.0.0.1:9"),
        ("http://[::1]:9", "::1", 9, "[::1]:9"),
        ("http://[::1]", "::1", 80, "[::1]"),
    ] {
        let address = parse(url).unwrap();
        assert_eq!((&*address.host, address.port), (host, port), "{url}");
        assert_eq!(address.authority(), authority, "{url}");
        assert_eq!(address.tls.is_some(), url.starts_with("https"), "{url}");
    }
}

#[test]
fn urls_with_more_than_an_address_are_refused() {
    for url in [
        "ftp://files.example",
        "files.example",
        "/path",
        "http://user@files.example",
        "http://user:password@files.example",
        "http://files.example?x=1",
        "http://files.example/?",
        "http://files.example:0",
        "https://not_ä",
    ] {
        let Ok(url) = url.parse::<Uri>() else { continue };
        assert!(Address::parse(&url, None).is_err(), "{url}");
    }
}

#[test]
fn roots_must_be_certificates_and_of_use() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let url: Uri = "https://files.example".parse().unwrap();
    assert!(
        Address::parse(&url, Some(file.path()))
            .unwrap_err()
            .contains("no certificate")
    );
    assert!(Address::parse(&url, Some(Path::new("/nowhere/at/all.pem"))).is_err());
    assert!(Address::parse(&"http://files.example".parse().unwrap(), Some(file.path())).is_err());
}

/// Answers one request with these bytes, over TLS where a configuration is given.
async fn serve(answer: &'static str, tls: Option<Arc<rustls::ServerConfig>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        match tls {
            None => respond(stream, answer).await,
            Some(config) => {
                if let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(stream).await {
                    respond(stream, answer).await;
                }
            }
        }
    });
    port
}

async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn small(answer: &'static str, max_bytes: usize) -> Result<(HeaderMap, Bytes), OriginError> {
    let port = serve(answer, None).await;
    get_small(
        &parse(&format!("http://127.0.0.1:{port}")).unwrap(),
        "/keys?x=1",
        max_bytes,
        LONG,
    )
    .await
}

#[tokio::test]
async fn a_small_get_gives_headers_and_body_of_a_200() {
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello";
    let (headers, body) = small(answer, 5).await.unwrap();
    assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn a_small_get_refuses_other_statuses_and_large_or_cut_bodies() {
    let hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    assert!(matches!(small(hello, 4).await, Err(OriginError::Invalid(_))));
    let redirect = "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(small(redirect, 99).await, Err(OriginError::Invalid(_))));
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    assert!(matches!(small(cut, 99).await, Err(OriginError::Http(_))));
}

#[tokio::test]
async fn a_small_get_ends_at_its_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let result = get_small(&parse(&url).unwrap(), "/", 9, Duration::from_millis(50)).await;
    assert!(matches!(result, Err(OriginError::Timeout(_))), "{result:?}");
}

#[tokio::test]
async fn tls_speaks_http_1_1_and_trusts_the_given_roots_only() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let server = Arc::new(server);
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), certified.cert.pem()).unwrap();
    for (roots, trusted) in [(Some(roots.path()), true), (None, false)] {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let port = serve(answer, Some(Arc::clone(&server))).await;
        let url = format!("https://localhost:{port}").parse().unwrap();
        let result = get_small(&Address::parse(&url, roots).unwrap(), "/", 99, LONG).await;
        assert_eq!(result.is_ok(), trusted, "{result:?}");
    }
}
