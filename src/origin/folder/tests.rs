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
    let request = OriginRequest { method, target: target.to_owned(), headers: map, upload: Upload::None };
    folder.fetch(request).await.unwrap()
}

async fn get(folder: &Folder, target: &str, headers: &[(&'static str, &str)]) -> Response<OriginBody> {
    ask(folder, Method::GET, target, headers).await
}

async fn bytes(response: Response<OriginBody>) -> Vec<u8> {
    response.into_body().collect().await.unwrap().to_bytes().to_vec()
}

fn header_of<'a>(response: &'a Response<OriginBody>, name: &str) -> &'a str {
    response.headers().get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
}

#[tokio::test]
async fn a_file_is_sent_whole_with_its_type_and_validators() {
    let (_directory, folder) = scene();
    let response = get(&folder, "/video/a%20b.m3u8?x=1", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header_of(&response, "content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(header_of(&response, "content-length"), "7");
    assert_eq!(header_of(&response, "accept-ranges"), "bytes");
    assert!(header_of(&response, "etag").starts_with('"'));
    assert!(header_of(&response, "last-modified").ends_with(" GMT"));
    assert_eq!(bytes(response).await, b"#EXTM3U");
}
