//! The configuration file as it is written: a mirror without logic. Unknown keys are refused everywhere.
//! Every field is described in `docs/CONFIG.md`, which a test holds against this file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Prints a demo link on start and trusts the demo caller; loopback only.
    #[serde(default)]
    pub demo: bool,
    /// The folder for keys and copies of key sets.
    #[serde(default = "state")]
    pub state: PathBuf,
    /// The gate's listener.
    #[serde(default)]
    pub server: Server,
    /// The admin listener.
    pub admin: Admin,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Key sets by name.
    #[serde(default)]
    pub keys: BTreeMap<String, Keys>,
    /// Origins by name.
    #[serde(default)]
    pub origin: BTreeMap<String, Origin>,
    /// Media catalogues by name.
    #[serde(default)]
    pub media: BTreeMap<String, Media>,
    /// Routes.
    #[serde(default)]
    pub route: Vec<Route>,
    /// The issuer.
    pub issuer: Option<Issuer>,
}

fn state() -> PathBuf {
    PathBuf::from("state")
}

/// `[server]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Addresses of the gate.
    pub listen: Vec<String>,
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// `https://media.example.com`: the public scheme and host.
    pub public_url: Option<String>,
    /// Where the client's address stands.
    pub client_address: Option<ClientAddress>,
    /// Time from a request's first byte to the end of its head.
    pub header_timeout: Option<String>,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Option<String>,
    /// How long a reader may accept no byte.
    pub stall_timeout: Option<String>,
    /// After SIGTERM: how long `/readyz` says 503 while connections are still accepted.
    pub drain_delay: Option<String>,
    /// After that: how long bodies may still run.
    pub drain_timeout: Option<String>,
    /// Connections at a time, over all workers.
    pub max_connections: Option<usize>,
    /// The largest request head, in bytes with a unit.
    pub max_head: Option<String>,
    /// Verified tokens kept per worker.
    pub token_cache: Option<usize>,
}

/// `[server.client_address]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAddress {
    /// `x-forwarded-for` or `forwarded`.
    pub header: String,
    /// Networks of the proxies that may send it.
    pub trusted: Vec<String>,
}

/// `[admin]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address of health and metrics.
    pub listen: String,
}

/// `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: Option<String>,
    /// `stdout`, `stderr`, `off`, or a file.
    pub access: Option<String>,
    /// `error`, `warn`, `info`, `debug`; `RUST_LOG` does not count.
    pub level: Option<String>,
}

/// `[keys.NAME]`: exactly one of `file`, `jwks` and `inline`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// A file that holds a JWK set, or one key in PEM.
    pub file: Option<PathBuf>,
    /// With `file`: make a key of this algorithm (HS256, ES256, EdDSA) where the file does not exist.
    pub generate: Option<String>,
    /// With a PEM `file`: the algorithm of its key.
    pub alg: Option<String>,
    /// With a PEM `file`: the name of its key.
    pub kid: Option<String>,
    /// The URL of a JWK set.
    pub jwks: Option<String>,
    /// With `jwks`: a PEM file of certificate authorities, in the place of the system's.
    pub ca_file: Option<PathBuf>,
    /// With `jwks`: the regular interval.
    pub refresh: Option<String>,
    /// With `jwks`: the least time between two fetches.
    pub cooldown: Option<String>,
    /// Keys by hand.
    pub inline: Option<Vec<InlineKey>>,
}

/// `[[keys.NAME.inline]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InlineKey {
    /// Its name.
    pub kid: Option<String>,
    /// Its algorithm.
    pub alg: String,
    /// The key: the bytes of an HMAC secret, or PEM.
    pub secret: SecretRef,
    /// How an HMAC secret is written: `text`, `base64url`, `base64` or `hex`.
    pub encoding: Option<String>,
}

/// Where a secret is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// `[origin.NAME.folder]` or `[origin.NAME.http]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Origin {
    /// A local folder.
    Folder(Folder),
    /// An HTTP server.
    Http(Http),
}

/// `[origin.NAME.folder]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The root.
    pub root: PathBuf,
}

/// `[origin.NAME.http]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// `http://127.0.0.1:9000/base`.
    pub url: String,
    /// What stands in `Host`.
    pub host: Option<String>,
    /// A PEM file of certificate authorities, in the place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time for TCP and TLS.
    pub connect_timeout: Option<String>,
    /// Time to the head of the answer.
    pub head_timeout: Option<String>,
    /// Time between two pieces of a body.
    pub gap_timeout: Option<String>,
    /// How long a connection may lie idle.
    pub idle_timeout: Option<String>,
    /// Idle connections per worker.
    pub max_idle: Option<usize>,
    /// Whether a body that ends with its connection is accepted.
    #[serde(default)]
    pub allow_close_delimited: bool,
}

/// `[media.NAME]`: exactly one of `file` and `template`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// A TOML or JSON catalogue: id → file, name, folder, owner.
    pub file: Option<PathBuf>,
    /// `/files/{id}`.
    pub template: Option<String>,
}

/// `[[route]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// The host it is for.
    pub host: Option<String>,
    /// The path prefix it is for.
    pub path: String,
    /// The name of its origin.
    pub origin: String,
    /// Where tokens may ride.
    pub carriers: Vec<Carrier>,
    /// How they are checked.
    pub scheme: Scheme,
    /// `claims`, `whole`, or `{ template = "…" }`.
    pub scope: Option<Scope>,
    /// Forgiven clock skew.
    pub leeway: Option<String>,
    /// Methods.
    pub methods: Option<Vec<String>>,
    /// The largest upload.
    pub max_upload: Option<String>,
    /// Take the route's path off.
    #[serde(default)]
    pub strip_prefix: bool,
    /// The origin's path: `/files/{id}`.
    pub to: Option<String>,
    /// The name of a media catalogue; the path variable `id` is the media id.
    pub media: Option<String>,
    /// Statuses by code.
    #[serde(default)]
    pub status: BTreeMap<String, u16>,
    /// The dialect whose statuses apply: `native` or `fynn`.
    pub dialect: Option<String>,
    /// Dialects of the issuer that are mounted below this route on the gate's listener.
    #[serde(default)]
    pub mount: Vec<String>,
    /// Cross-origin rules.
    pub cors: Option<Cors>,
    /// `sandbox`, `attachment` or `allow`.
    pub active_content: Option<String>,
    /// `origin`, `inline` or `attachment`.
    pub disposition: Option<String>,
    /// Send the client's cookies on.
    #[serde(default)]
    pub forward_cookies: bool,
    /// Send the client's `Authorization` on.
    #[serde(default)]
    pub forward_authorization: bool,
    /// Headers that tell the origin who it is.
    #[serde(default)]
    pub identity_headers: BTreeMap<String, String>,
    /// Further headers of the origin that pass.
    #[serde(default)]
    pub response_headers: Vec<String>,
    /// Hosts that a `Location` may name.
    #[serde(default)]
    pub redirect_hosts: Vec<String>,
}

/// One member of `carriers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Carrier {
    /// `{ query = "t" }`.
    Query(String),
    /// `{ path = "/media/{id}/download/{token}" }`.
    Path(String),
    /// `{ path_prefix = "~" }`.
    PathPrefix(String),
    /// `{ cookie = "media" }`.
    Cookie(String),
    /// `{ bearer = {} }`.
    Bearer(Empty),
}

/// `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// `[route.scheme.jwt]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Scheme {
    /// Signed JWTs.
    Jwt(Jwt),
}

/// How JWTs are checked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The name of the key set.
    pub keys: String,
    /// Accepted issuers.
    pub issuer: OneOrMany,
    /// Accepted audiences.
    pub audience: OneOrMany,
    /// The `typ` that is demanded.
    pub typ: Option<String>,
    /// The longest `exp - iat`.
    pub max_lifetime: Option<String>,
}

/// A text or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// `scope`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Scope {
    /// `claims` or `whole`.
    Word(String),
    /// `{ template = "/customers/{sub}/**" }`.
    Template(ScopeTemplate),
}

/// `{ template = "…" }`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeTemplate {
    /// The pattern.
    pub template: String,
}

/// `[route.cors]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Exact origins, or `*` alone.
    pub origins: Vec<String>,
    /// Whether cookies may come along.
    #[serde(default)]
    pub credentials: bool,
}

/// `[issuer]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its address.
    pub listen: String,
    /// What links start with; `server.public_url` where absent.
    pub public_url: Option<String>,
    /// How callers' bearers are checked.
    pub callers: Vec<Jwt>,
    /// What callers may have.
    #[serde(default)]
    pub rule: Vec<Rule>,
    /// `POST /v1/tokens`.
    pub native: Option<NativeDialect>,
    /// `POST /media/{id}/download-token`.
    pub fynn: Option<FynnDialect>,
    /// Browser origins that may call.
    #[serde(default)]
    pub cors_origins: Vec<String>,
}

/// `[[issuer.rule]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The caller's subject; any where absent.
    pub caller: Option<String>,
    /// The scope that its bearer must carry.
    pub requires: String,
    /// What its tokens may open.
    #[serde(default)]
    pub paths: Vec<String>,
    /// The methods they may be good for.
    pub methods: Option<Vec<String>>,
    /// Their longest life.
    pub max_ttl: String,
    /// Their usual life.
    pub default_ttl: Option<String>,
    /// How many a minute.
    pub per_minute: Option<u32>,
    /// Folders of the catalogue.
    pub folders: Option<Vec<String>>,
    /// Only the caller's own media.
    #[serde(default)]
    pub own_media_only: bool,
    /// May name another subject.
    #[serde(default)]
    pub any_subject: bool,
}

/// `[issuer.native]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NativeDialect {
    /// The key set that signs.
    pub keys: String,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
}

/// `[issuer.fynn]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FynnDialect {
    /// The key set that signs; an HS256 key in the original.
    pub keys: String,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The name of the media catalogue.
    pub media: String,
    /// How long the tokens live; one minute in the original.
    pub ttl: Option<String>,
}
