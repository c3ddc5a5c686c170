//! A folder origin over a real folder.

use std::fs;

use http_body_util::BodyExt;
use tempfile::TempDir;

use super::super::Upload;
use super::*;

fn scene() -> (TempDir, Folder) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("video/empty")).unwrap();
    fs::write(root.join("video/a b.m3u8"), "#EXTM3U").unwrap();
    fs::write(root.join("letters.txt"), "abcdefghijklmnopqrstuvwxyz").unwrap();
    fs::write(root.join("nothing.bin"), "").unwrap();
    fs::write(directory.path().join("secret.txt"), "secret").unwrap();
    let folder = Folder::open(&root).unwrap();
    (directory, folder)
}

async fn ask(
    folder: &Folder,
    method: Method,
    target: &str,
    headers: &[(&'static str, &str)],
) -> Response<OriginBody> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let request = OriginRequest {
        method,
        target: target.to_owned(),
        headers: map,
        client: None,
        upload: Upload::None,
        now: crate::clock::UnixTime::default(),
    };
    folder.fetch(request).await.unwrap()
}

async fn get(folder: &Folder, target: &str, headers: &[(&'static str, &str)]) -> Response<OriginBody> {
    ask(folder, Method::GET, target, headers).await
}

async fn bytes(response: Response<OriginBody>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

fn header_of<'a>(response: &'a Response<OriginBody>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("no {name}"))
        .to_str()
        .unwrap()
}

#[tokio::test]
async fn a_file_is_sent_whole_with_its_type_and_validators() {
    let (_directory, folder) = scene();
    let response = get(&folder, "/video/a%20b.m3u8?x=1", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        header_of(&response, "content-type"),
        "application/vnd.apple.mpegurl"
    );
    assert_eq!(header_of(&response, "content-length"), "7");
    assert_eq!(header_of(&response, "accept-ranges"), "bytes");
    assert!(header_of(&response, "etag").starts_with('"'));
    assert!(header_of(&response, "last-modified").ends_with(" GMT"));
    assert_eq!(bytes(response).await, b"#EXTM3U");
}

#[tokio::test]
async fn what_is_no_file_below_the_root_is_not_found() {
    let (directory, folder) = scene();
    let root = directory.path().join("root");
    std::os::unix::fs::symlink("../secret.txt", root.join("out")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("secret.txt"), root.join("absolute")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
    std::os::unix::fs::symlink("gone", root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("/proc/self/cwd", root.join("magic")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("zero")).unwrap();
    fs::write(root.join("back\\slash"), "x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let fifo = root.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let long = format!("/{}", "x".repeat(300));
    let longer = format!("/{}", "x/".repeat(4000));
    let table = [
        "/gone",
        "/",
        "",
        "letters.txt",
        "/video",
        "/video/",
        "/letters.txt/",
        "/letters.txt/x",
        "/video/empty",
        "/../secret.txt",
        "/video/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/out",
        "/absolute",
        "/up/secret.txt",
        "/up",
        "/loop",
        "/dangling",
        "/magic/Cargo.toml",
        "/zero",
        "/fifo",
        "/socket",
        "/letters.txt%00",
        "/letters.txt%00.mp4",
        "/back%5cslash",
        "/back\\slash",
        "/C:",
        "/C:/x",
        "/letters.txt::$DATA",
        "/letters.txt%3a%3a$DATA",
        "/%ff",
        "/~",
        &long,
        &longer,
    ];
    for target in table {
        for method in [Method::GET, Method::HEAD] {
            let response = ask(&folder, method, target, &[]).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{target}");
            assert!(response.headers().is_empty(), "{target}");
        }
    }
}

#[tokio::test]
async fn links_that_stay_below_the_root_are_followed() {
    let (directory, folder) = scene();
    std::os::unix::fs::symlink("../letters.txt", directory.path().join("root/video/inside")).unwrap();
    assert_eq!(
        bytes(get(&folder, "/video/inside", &[]).await).await,
        b"abcdefghijklmnopqrstuvwxyz"
    );
}

#[tokio::test]
async fn names_are_decoded_once() {
    let (directory, folder) = scene();
    fs::write(directory.path().join("root/a%20b"), "percent").unwrap();
    fs::write(directory.path().join("root/ü?#;+"), "odd").unwrap();
    assert_eq!(bytes(get(&folder, "/a%2520b", &[]).await).await, b"percent");
    assert_eq!(bytes(get(&folder, "/%C3%BC%3F%23;+", &[]).await).await, b"odd");
    assert_eq!(get(&folder, "/a%20b", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let (_directory, folder) = scene();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = ask(&folder, method, "/letters.txt", &[]).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header_of(&response, "allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn head_says_what_get_would_say_of_the_whole_file() {
    let (_directory, folder) = scene();
    for target in ["/letters.txt", "/nothing.bin", "/video/a%20b.m3u8"] {
        let whole = get(&folder, target, &[]).await;
        let head = ask(&folder, Method::HEAD, target, &[("range", "bytes=0-1")]).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.headers(), whole.headers());
        assert!(bytes(head).await.is_empty());
    }
}

#[tokio::test]
async fn one_range_is_answered_with_its_bytes() {
    let (_directory, folder) = scene();
    for (range, expected, position) in [
        ("bytes=0-4", "abcde", "bytes 0-4/26"),
        ("bytes=20-", "uvwxyz", "bytes 20-25/26"),
        ("bytes=-3", "xyz", "bytes 23-25/26"),
    ] {
        let response = get(&folder, "/letters.txt", &[("range", range)]).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(header_of(&response, "content-range"), position);
        assert_eq!(header_of(&response, "content-length"), expected.len().to_string());
        assert_eq!(bytes(response).await, expected.as_bytes());
    }
}

#[tokio::test]
async fn a_range_that_does_not_exist_is_416_with_the_size() {
    let (_directory, folder) = scene();
    for range in ["bytes=26-", "bytes=-0"] {
        let response = get(&folder, "/letters.txt", &[("range", range)]).await;
        assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(header_of(&response, "content-range"), "bytes */26");
        assert!(bytes(response).await.is_empty());
    }
}

#[tokio::test]
async fn several_ranges_come_as_parts_of_the_announced_length() {
    let (_directory, folder) = scene();
    let response = get(&folder, "/letters.txt", &[("range", "bytes=0-1,-2")]).await;
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    let length: usize = header_of(&response, "content-length").parse().unwrap();
    let boundary = header_of(&response, "content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |position, bytes| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {position}\r\n\r\n{bytes}"
        )
    };
    let expected = format!(
        "{}{}\r\n--{boundary}--\r\n",
        part("0-1/26", "ab"),
        part("24-25/26", "yz")
    );
    let body = bytes(response).await;
    assert_eq!(String::from_utf8(body).unwrap(), expected);
    assert_eq!(expected.len(), length);
}

#[tokio::test]
async fn two_range_headers_are_ignored() {
    let (_directory, folder) = scene();
    let response = get(
        &folder,
        "/letters.txt",
        &[("range", "bytes=0-1"), ("range", "bytes=2-3")],
    )
    .await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn conditions_are_answered_with_validators_and_no_body() {
    let (_directory, folder) = scene();
    let whole = get(&folder, "/letters.txt", &[]).await;
    let (etag, modified) = (header_of(&whole, "etag"), header_of(&whole, "last-modified"));
    for (name, value, status) in [
        ("if-none-match", etag, 304),
        ("if-modified-since", modified, 304),
        ("if-match", "\"x\"", 412),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT", 412),
    ] {
        let response = get(&folder, "/letters.txt", &[(name, value), ("range", "bytes=0-1")]).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(header_of(&response, "etag"), etag);
        assert_eq!(header_of(&response, "last-modified"), modified);
        assert!(bytes(response).await.is_empty());
    }
    for (value, status) in [(etag, 206), (modified, 206), ("\"x\"", 200)] {
        let response = get(
            &folder,
            "/letters.txt",
            &[("if-range", value), ("range", "bytes=0-1")],
        )
        .await;
        assert_eq!(response.status(), status, "{value}");
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn large_files_and_slices_come_whole_and_in_order() {
    let (directory, folder) = scene();
    let content = pattern(3_000_001);
    fs::write(directory.path().join("root/large.bin"), &content).unwrap();
    assert!(bytes(get(&folder, "/large.bin", &[]).await).await == content);
    let slice = bytes(get(&folder, "/large.bin", &[("range", "bytes=65535-2000000")]).await).await;
    assert!(slice == content[65_535..=2_000_000]);
    let response = get(
        &folder,
        "/large.bin",
        &[("range", "bytes=0-99999,1000000-1999999")],
    )
    .await;
    let length: usize = header_of(&response, "content-length").parse().unwrap();
    assert_eq!(bytes(response).await.len(), length);
}

async fn cut_by(change: impl FnOnce(&fs::File, &[u8])) -> io::Error {
    let (directory, folder) = scene();
    let path = directory.path().join("root/large.bin");
    let content = pattern(400_000);
    fs::write(&path, &content).unwrap();
    let mut body = get(&folder, "/large.bin", &[]).await.into_body();
    let mut received = body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    change(&fs::File::options().write(true).open(&path).unwrap(), &content);
    loop {
        match body.frame().await.expect("a short body must not look whole") {
            Ok(frame) => received += frame.into_data().unwrap().len(),
            Err(OriginError::Io(error)) => {
                assert!(received < content.len());
                assert!(body.frame().await.is_none());
                return error;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_shrinks_under_a_download_cuts_it() {
    let error = cut_by(|file, _| file.set_len(100_000).unwrap()).await;
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_file_that_is_written_to_under_a_download_cuts_it() {
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    cut_by(|file, _| file.set_modified(later).unwrap()).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_under_a_download_is_read_to_its_end() {
    let (directory, folder) = scene();
    let root = directory.path().join("root");
    let content = pattern(400_000);
    fs::write(root.join("large.bin"), &content).unwrap();
    let response = get(&folder, "/large.bin", &[]).await;
    fs::write(root.join("new"), "new").unwrap();
    fs::rename(root.join("new"), root.join("large.bin")).unwrap();
    assert!(bytes(response).await == content);
}

#[tokio::test]
async fn a_file_that_takes_its_time_is_read_in_small_pieces() {
    let (directory, folder) = scene();
    let content = pattern(400_000);
    fs::write(directory.path().join("root/large.bin"), &content).unwrap();
    for range in ["bytes=0-", "bytes=0-199999,200000-399999"] {
        let mut body = get(&folder, "/large.bin", &[("range", range)]).await.into_body();
        body.read_at_most(1000);
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= 1000, "{}", data.len());
            received.extend_from_slice(&data);
        }
        assert!(received.len() >= content.len());
        assert!(received == content || range.contains(','));
    }
}

#[test]
fn a_root_that_is_no_folder_cannot_be_opened() {
    let (directory, _folder) = scene();
    assert!(Folder::open(&directory.path().join("secret.txt")).is_err());
    assert!(Folder::open(&directory.path().join("gone")).is_err());
}

#[test]
fn media_types_are_told_by_name() {
    for (path, expected) in [
        ("a/b.M3U8", "application/vnd.apple.mpegurl"),
        ("b.mpd", "application/dash+xml"),
        ("b.m4s", "video/iso.segment"),
        ("b.ts", "video/mp2t"),
        ("b.vtt", "text/vtt; charset=utf-8"),
        ("b.html", "text/html; charset=utf-8"),
        ("b.jxl", "image/jxl"),
        ("b.avif", "image/avif"),
        ("b.jpg", "image/jpeg"),
        ("b.pdf", "application/pdf"),
        ("b.svg", "image/svg+xml"),
        ("b.json", "application/json"),
        ("b.unheard-of", "application/octet-stream"),
        ("a.html/b", "application/octet-stream"),
        ("b", "application/octet-stream"),
    ] {
        assert_eq!(media_type::of(path), expected, "{path}");
    }
}
