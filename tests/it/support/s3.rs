//! S3 for the tests: a configuration, a second opinion on signatures that shares nothing with the product's, and a real
//! server that checks every one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use mediagate::clock::Clock;
use mediagate::origin::connect::Address;
use mediagate::origin::s3::{Forbidden, Keys};
use mediagate::origin::{
    HttpSettings, Origin as Bucket, OriginRequest, Pools, Reach, S3Origin, S3Settings, Upload,
};
use mediagate::secret::Secret;
use mediagate::sigv4::Credentials;
use tempfile::TempDir;

use super::gate::operational_log;
use super::origin::Seen;
use super::program::{Running, own_addresses, run, wait_for_port};
use super::wait::{self, SOON};
use super::{Script, Setup, conf};

/// The name of the key that the tests sign with.
pub(crate) const KEY_ID: &str = "AKIATESTOFMEDIAGATE";
/// The key.
pub(crate) const SECRET: &str = "s3-secret/of+the-tests/never-shown0";
/// The bucket.
pub(crate) const BUCKET: &str = "media-files";
/// The region.
pub(crate) const REGION: &str = "us-east-1";

/// Time for a tool to be installed on first use.
const INSTALLATION: Duration = Duration::from_secs(900);

/// `[origin.files]`: a bucket in path style with further keys, whose credentials `setup` puts there.
pub(crate) fn origin(address: SocketAddr, more: &str) -> String {
    origin_by(
        address,
        "{ access_key_id = { file = \"{dir}/s3-id\" }, secret_access_key = { file = \"{dir}/s3-secret\" } }",
        more,
    )
}

/// The same with other credentials.
pub(crate) fn origin_by(address: SocketAddr, credentials: &str, more: &str) -> String {
    format!(
        "[origin.files.s3]\nendpoint = \"http://{address}\"\nbucket = \"{BUCKET}\"\nregion = \"{REGION}\"\n\
         style = \"path\"\ncredentials = {credentials}\nconnect_timeout = \"5s\"\nhead_timeout = \"10s\"\n\
         gap_timeout = \"10s\"\n{more}\n"
    )
}

/// A gate over a bucket, with one route for everything.
pub(crate) fn setup(origin: &str) -> Setup {
    setup_named("files", origin)
}

/// The same, with this name for the origin and the route: the log is one for all tests, and a line is known by it.
pub(crate) fn setup_named(name: &str, origin: &str) -> Setup {
    let toml = (origin.to_owned() + &conf::route())
        .replace("[origin.files", &format!("[origin.{name}"))
        .replace("\"files\"", &format!("\"{name}\""));
    Setup::new(toml).file("s3-id", KEY_ID).file("s3-secret", SECRET)
}

/// Waits until the program has logged one line with all of these words, one of which no other test makes it say.
#[track_caller]
pub(crate) fn logged(words: &[&str]) {
    wait::until_true(&words.join(" … "), || {
        operational_log()
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    });
}

/// The key that the tests sign with.
pub(crate) fn credentials() -> Credentials {
    Credentials {
        access_key_id: KEY_ID.into(),
        secret_access_key: Secret::new(SECRET.into()),
        session_token: None,
    }
}

/// A bucket without a gate, below `/shared`, reached in a way that no name of this machine allows.
pub(crate) fn bucket(address: SocketAddr, host: &str, reach: Reach) -> Bucket {
    let settings = S3Settings {
        http: HttpSettings {
            address: Address::parse(&format!("http://{address}").parse().unwrap(), None).unwrap(),
            host: HeaderValue::from_str(host).unwrap(),
            base_path: String::new(),
            connect_timeout: SOON,
            head_timeout: SOON,
            gap_timeout: SOON,
            idle_timeout: SOON,
            max_idle: 1,
            allow_close_delimited: false,
        },
        reach,
        base: "/shared".into(),
        prefixed: true,
        query: Box::default(),
        forbidden: Forbidden::Failure,
        keys: Arc::new(Keys::fixed("files", REGION, credentials())),
    };
    Bucket::S3(Arc::new(S3Origin::new(settings)))
}

/// The content of a file in such a bucket, over a fresh connection.
#[track_caller]
pub(crate) fn ask(bucket: &Bucket, target: &str) -> Bytes {
    let request = OriginRequest {
        method: Method::GET,
        target: target.into(),
        headers: HeaderMap::new(),
        client: None,
        upload: Upload::None,
        now: Clock::system().now(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let answer = bucket.fetch(&Pools::default(), request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap().to_bytes()
    })
}

/// A key's path at the server.
pub(crate) fn at(path: &str) -> String {
    format!("/{BUCKET}{path}")
}

/// An error as S3 writes it.
pub(crate) fn error(status: &str, code: &str) -> Script {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>about {BUCKET} and {KEY_ID}\
         </Message><BucketName>{BUCKET}</BucketName><HostId>internal-host</HostId></Error>"
    );
    Script::answer(
        status,
        &[("Content-Type", "application/xml"), ("Server", "AmazonS3")],
        body,
    )
}

/// Asserts that a request is signed with this key, over the bytes that came. Written apart from the product, from AWS'
/// document; the path and the query have to come in the very spelling that is signed.
#[track_caller]
pub(crate) fn assert_signed(seen: &Seen, key_id: &str, secret: &str) {
    let authorization = seen.header("authorization").expect("a signature");
    let rest = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .expect("the algorithm");
    let field = |name: &str| {
        rest.split(", ")
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("{name} in {authorization}"))
    };
    let date = seen.header("x-amz-date").expect("a date");
    let scope = format!("{}/{REGION}/s3/aws4_request", &date[..8]);
    assert_eq!(field("Credential"), format!("{key_id}/{scope}"));
    let names: Vec<&str> = field("SignedHeaders").split(';').collect();
    let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs.join("&"), query, "the query is sorted");
    let mut canonical = format!("{}\n{path}\n{query}\n", seen.method);
    for name in &names {
        canonical += &format!("{name}:{}\n", seen.header(name).expect("a signed header"));
    }
    let payload = seen.header("x-amz-content-sha256").expect("a hash");
    canonical += &format!("\n{}\n{payload}", names.join(";"));
    for (name, _) in &seen.headers {
        assert!(
            !name.starts_with("x-amz-") && name != "host" || names.contains(&name.as_str()),
            "{name} is not signed: {seen:?}"
        );
    }
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [&date[..8], REGION, "s3", "aws4_request", &text] {
        let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
        key = signed.as_ref().to_vec();
    }
    assert_eq!(field("Signature"), hex(&key), "{canonical}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program of `tests/tools`.
pub(crate) fn tool(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tools")
        .join(name)
}

/// A running S3 server over a folder. It checks every signature.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _running: Running,
    root: TempDir,
}

impl Server {
    /// Starts it, with an empty bucket.
    pub(crate) fn start() -> Self {
        let program = tool("s3s-fs");
        let there = run(program.to_str().expect("UTF-8"), &["--version"], INSTALLATION);
        assert!(there.status.success(), "{there:?}");
        let root = TempDir::new().expect("a folder");
        fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let [address] = own_addresses();
        let mut command = Command::new(program);
        command
            .args([
                "--host",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
            ])
            .args(["--access-key", KEY_ID, "--secret-key", SECRET])
            .args(["--domain", "s3.localhost"])
            .arg(root.path());
        let mut running = Running::start(command);
        wait_for_port(address, &mut running);
        Self {
            address,
            _running: running,
            root,
        }
    }

    /// Puts an object into the bucket.
    pub(crate) fn put(&self, key: &str, content: impl AsRef<[u8]>) {
        let path = self.root.path().join(BUCKET).join(key);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("an object");
    }
}
