//! The configuration file as it is written: a mirror without logic, the only list of keys and defaults.
//! `docs/CONFIG.md` describes every key, and a test holds it against this file. What a key means is in `build`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use jsonwebtoken::Algorithm;

use super::raw_schemes as schemes;
use super::read::{At, Several, choice, table};
use super::values::{BucketStyle, Encoding, Size, Texts};
use crate::clock::UnixTime;
use crate::gate::route::{ActiveContent, DialectStatus, Disposition};
use crate::issuer::mint::SchemeName;
use crate::issuer::{DialectName, Format, Mrss};
use crate::origin::Protocol;
use crate::server::settings::AddressHeader;
use crate::store::Purposes;
use crate::telemetry::settings::{AccessSink, LogFormat};
use crate::token::scheme::jwt::Profile;

table! {
    /// The whole file.
    pub struct File {
        /// Prints a demo link on start and trusts the demo caller; loopback only.
        default("false") demo: bool,
        /// The folder for keys and copies of key sets.
        default("'state'") state: PathBuf,
        /// The gate's listener.
        required server: Server,
        /// The admin listener.
        required admin: Admin,
        /// Logs.
        default("{}") log: Log,
        /// The memory of tokens.
        default("{}") store: Store,
        /// Key sets by name.
        default("{}") keys: BTreeMap<String, Keys>,
        /// Origins by name.
        default("{}") origin: BTreeMap<String, Origin>,
        /// Media catalogues by name.
        default("{}") media: BTreeMap<String, Media>,
        /// Routes.
        default("[]") route: Vec<Route>,
        /// Where login links arrive.
        optional landing: Landing,
        /// The issuer.
        optional issuer: Issuer,
    }
}

table! {
    /// `[server]`.
    pub struct Server {
        /// Addresses of the gate in clear; may be absent where some have TLS.
        optional listen: Vec<At<SocketAddr>>,
        /// Addresses of the gate with TLS.
        optional tls: ServerTls,
        /// Worker threads; 0 is one per core.
        default("0") workers: usize,
        /// `https://media.example.com`: the public scheme and host.
        optional public_url: String,
        /// Where the client's address stands; the peer of the connection where absent.
        optional client_address: ClientAddress,
        /// The PROXY protocol, on listeners that demand it.
        optional proxy_protocol: ProxyProtocol,
        /// Time from a request's first byte to the end of its head.
        default("'15s'") header_timeout: Duration,
        /// How long a connection may wait for its next request.
        default("'75s'") idle_timeout: Duration,
        /// How long a reader may accept no byte.
        default("'300s'") stall_timeout: Duration,
        /// How long a TLS handshake may take.
        default("'10s'") tls_timeout: Duration,
        /// Speak HTTP/2: by ALPN over TLS, with prior knowledge in clear.
        default("true") http2: bool,
        /// After SIGTERM: how long `/readyz` says 503 while connections are still accepted.
        default("'5s'") drain_delay: Duration,
        /// After that: how long bodies may still run.
        default("'30s'") drain_timeout: Duration,
        /// Connections at a time, over all workers.
        default("10000") max_connections: usize,
        /// Connections at a time from one address; 0 is any number.
        default("1024") max_connections_per_address: u32,
        /// The largest request head.
        default("'16KiB'") max_head: Size,
        /// Verified tokens kept per worker.
        default("16384") token_cache: usize,
    }
}

table! {
    /// `[server.tls]`.
    pub struct ServerTls {
        /// Addresses.
        required listen: Vec<At<SocketAddr>>,
        /// Certificates; the first is for clients that name no host, or an unknown one.
        required certificates: Vec<Certificate>,
    }
}

table! {
    /// `[issuer.tls]`, `[admin.tls]`.
    pub struct Tls {
        /// Certificates; the first is for clients that name no host, or an unknown one.
        required certificates: Vec<Certificate>,
    }
}

table! {
    /// A certificate with its key.
    pub struct Certificate {
        /// The certificate and those that lead to its authority, in PEM.
        required chain: PathBuf,
        /// Its private key, in PEM.
        required key: PathBuf,
    }
}

table! {
    /// `[server.client_address]`.
    pub struct ClientAddress {
        /// `x-forwarded-for` or `forwarded`.
        required header: AddressHeader,
        /// Networks of the proxies that may send it.
        required trusted: Vec<IpNet>,
    }
}

table! {
    /// `[server.proxy_protocol]`.
    pub struct ProxyProtocol {
        /// Those of `server.listen` that demand a header.
        required listen: Vec<At<SocketAddr>>,
        /// Networks of the load balancers that may connect there.
        required trusted: Vec<IpNet>,
        /// How long a header may take.
        default("'5s'") timeout: Duration,
    }
}

table! {
    /// `[admin]`.
    pub struct Admin {
        /// Address of health and metrics.
        required listen: SocketAddr,
        /// Makes it TLS.
        optional tls: Tls,
    }
}

table! {
    /// `[log]`.
    pub struct Log {
        /// `text` or `json`.
        default("'text'") format: LogFormat,
        /// `stdout`, `stderr`, `off`, or a file.
        default("'stdout'") access: AccessSink,
        /// `error`, `warn`, `info`, `debug`; `RUST_LOG` does not count.
        default("'info'") level: tracing::Level,
    }
}

table! {
    /// `[store]`: what is remembered of tokens, in the state folder.
    pub struct Store {
        /// Entries that it may hold; a full store refuses and forgets nothing before its time.
        default("1000000") max_entries: u64,
    }
}

table! {
    /// `[keys.NAME]`: exactly one of `file`, `jwks` and `inline`.
    pub struct Keys {
        /// A file that holds a JWK set, or one key in PEM.
        optional file: PathBuf,
        /// With `file`: make a key of this algorithm (HS256, RS256, ES256, EdDSA) where the file does not exist.
        optional generate: Algorithm,
        /// With a PEM `file`: the algorithm of its key.
        optional alg: Algorithm,
        /// With a PEM `file`: the name of its key.
        optional kid: String,
        /// The URL of a JWK set.
        optional jwks: String,
        /// With `jwks`: a PEM file of certificate authorities, in the place of the system's.
        optional ca_file: PathBuf,
        /// With `jwks`: the regular interval.
        default("'10m'") refresh: Duration,
        /// With `jwks`: the least time between two fetches.
        default("'30s'") cooldown: Duration,
        /// Keys by hand.
        optional inline: Vec<InlineKey>,
    }
}

table! {
    /// `[[keys.NAME.inline]]`.
    pub struct InlineKey {
        /// Its name.
        optional kid: String,
        /// Its algorithm.
        required alg: Algorithm,
        /// The key: the bytes of an HMAC secret, or PEM.
        required secret: SecretRef,
        /// How an HMAC secret is written: `text`, `base64url`, `base64` or `hex`.
        default("'text'") encoding: Encoding,
    }
}

choice! {
    /// Where a secret is.
    pub enum SecretRef {
        /// An environment variable.
        Env "env" (String),
        /// A file.
        File "file" (PathBuf),
    }
}

choice! {
    /// `[origin.NAME.folder]`, `[origin.NAME.http]` or `[origin.NAME.s3]`.
    #[allow(clippy::large_enum_variant, reason = "there are a handful, and they are read once")]
    pub enum Origin {
        /// A local folder.
        Folder "folder" (Folder),
        /// An HTTP server.
        Http "http" (Http),
        /// A bucket.
        S3 "s3" (S3),
    }
}

table! {
    /// `[origin.NAME.folder]`.
    pub struct Folder {
        /// The root.
        required root: PathBuf,
    }
}

table! {
    /// `[origin.NAME.http]`.
    pub struct Http {
        /// `http://127.0.0.1:9000/base`.
        required url: String,
        /// What stands in `Host`; the URL's host and port where absent.
        optional host: String,
        /// A PEM file of certificate authorities, in the place of the system's.
        optional ca_file: PathBuf,
        /// Time for TCP and TLS.
        default("'3s'") connect_timeout: Duration,
        /// Time to the head of the answer.
        default("'30s'") head_timeout: Duration,
        /// Time between two pieces of a body.
        default("'60s'") gap_timeout: Duration,
        /// How long a connection may lie idle.
        default("'15s'") idle_timeout: Duration,
        /// Idle connections per worker.
        default("128") max_idle: usize,
        /// Whether a body that ends with its connection is accepted.
        default("false") allow_close_delimited: bool,
        /// What is spoken.
        default("'http1'") protocol: Protocol,
        /// HTTP/2 streams on one connection at a time.
        default("32") max_streams: usize,
        /// The addresses, in the place of the URL's host.
        default("[]") addresses: Vec<At<SocketAddr>>,
        /// How often the URL's host is looked up.
        default("'30s'") resolve_interval: Duration,
        /// Requests at a time to one address; 0 is any number.
        default("0") max_in_flight: u32,
        /// Requests that may wait for that.
        default("256") max_queue: usize,
        /// For how long.
        default("'2s'") queue_timeout: Duration,
        /// Failures in a row until an address is left out; 0 is never.
        default("5") eject_after: u32,
        /// For how long at first.
        default("'10s'") eject_time: Duration,
        /// Whether answers of 500 and more are failures.
        default("false") eject_on_5xx: bool,
        /// Requests that are sent once more elsewhere, per hundred.
        default("10") retry_percent: u32,
        /// Requests that find out whether an address is well.
        optional health: OriginHealth,
    }
}

table! {
    /// `[origin.NAME.http.health]`.
    pub struct OriginHealth {
        /// The path, asked as it is.
        required path: String,
        /// Time between two checks.
        default("'5s'") interval: Duration,
        /// Time for one.
        default("'2s'") timeout: Duration,
        /// Good ones in a row until an address is asked again.
        default("2") healthy: u32,
        /// Bad ones in a row until it is not.
        default("3") unhealthy: u32,
    }
}

table! {
    /// `[origin.NAME.s3]`.
    pub struct S3 {
        /// The server; that of AWS for the region where absent.
        optional endpoint: String,
        /// The bucket.
        required bucket: String,
        /// The region that is signed for.
        required region: String,
        /// `virtual-host` or `path`.
        default("'virtual-host'") style: BucketStyle,
        /// What stands before every key.
        default("''") prefix: String,
        /// `chain`, or keys by hand.
        required credentials: Credentials,
        /// What "forbidden" becomes: 404 or 502.
        default("404") forbidden: u16,
        /// Query parameters that get through.
        default("[]") query: Vec<At<String>>,
        /// A PEM file of certificate authorities, in the place of the system's.
        optional ca_file: PathBuf,
        /// Time for TCP and TLS.
        default("'3s'") connect_timeout: Duration,
        /// Time to the head of the answer.
        default("'30s'") head_timeout: Duration,
        /// Time between two pieces of a body.
        default("'60s'") gap_timeout: Duration,
        /// How long a connection may lie idle.
        default("'15s'") idle_timeout: Duration,
        /// Idle connections per worker.
        default("128") max_idle: usize,
        /// How often the server's host is looked up.
        default("'30s'") resolve_interval: Duration,
        /// Requests at a time to one address; 0 is any number.
        default("0") max_in_flight: u32,
        /// Requests that may wait for that.
        default("256") max_queue: usize,
        /// For how long.
        default("'2s'") queue_timeout: Duration,
        /// Failures in a row until an address is left out; 0 is never.
        default("5") eject_after: u32,
        /// For how long at first.
        default("'10s'") eject_time: Duration,
        /// Requests that are sent once more elsewhere, per hundred.
        default("10") retry_percent: u32,
    }
}

/// `credentials`.
#[derive(Debug)]
pub(super) enum Credentials {
    /// `chain`.
    Chain,
    /// Keys by hand.
    Keys(AccessKeys),
}

table! {
    /// `[origin.NAME.s3.credentials]`.
    pub struct AccessKeys {
        /// The name of the key.
        required access_key_id: SecretRef,
        /// The key.
        required secret_access_key: SecretRef,
        /// What comes with a key that ends by itself.
        optional session_token: SecretRef,
    }
}

table! {
    /// `[media.NAME]`: exactly one of `file` and `template`.
    pub struct Media {
        /// A TOML or JSON catalogue: id → file, name, type, folder, owner.
        optional file: PathBuf,
        /// `/files/{id}`.
        optional template: String,
        /// With `template`: which ids there are, `any` or those that the `origin` has.
        default("'any'") exists: Exists,
        /// With `exists = "origin"`: the name of the origin that the issuer asks.
        optional origin: String,
    }
}

/// `exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exists {
    /// Every id.
    Any,
    /// Those that the origin has.
    Origin,
}

table! {
    /// `[[route]]`.
    pub struct Route {
        /// Its name.
        required name: String,
        /// The host it is for; any where absent.
        optional host: String,
        /// The path prefix it is for.
        required path: String,
        /// The name of its origin.
        required origin: String,
        /// Where tokens may ride, but those of schemes that say it themselves.
        optional carriers: Vec<At<Carrier>>,
        /// How they are checked.
        required scheme: Scheme,
        /// `claims`, `whole`, or `{ template = "…" }`.
        default("'claims'") scope: Scope,
        /// Forgiven clock skew.
        default("'5s'") leeway: Duration,
        /// What becomes of tokens that may be used once.
        optional single_use: SingleUse,
        /// Cut bodies whose token is withdrawn.
        default("false") cut_revoked: bool,
        /// Methods.
        default("['GET', 'HEAD']") methods: Vec<At<String>>,
        /// The largest upload.
        default("'16MiB'") max_upload: Size,
        /// Take the route's path off.
        default("false") strip_prefix: bool,
        /// The origin's path: `/files/{id}`.
        optional to: String,
        /// The name of a media catalogue; the path variable `id` is the media id.
        optional media: String,
        /// Statuses by code.
        default("{}") status: BTreeMap<String, u16>,
        /// The dialect whose statuses apply: `native`, `fynn`, `sirv` or `adobe`.
        default("'native'") dialect: DialectStatus,
        /// Dialects of the issuer that are mounted below this route on the gate's listener.
        default("[]") mount: Vec<At<DialectName>>,
        /// Cross-origin rules.
        optional cors: Cors,
        /// `sandbox`, `attachment` or `allow`.
        default("'sandbox'") active_content: ActiveContent,
        /// `origin`, `inline` or `attachment`.
        default("'origin'") disposition: Disposition,
        /// Send the client's cookies on.
        default("false") forward_cookies: bool,
        /// Send the client's `Authorization` on.
        default("false") forward_authorization: bool,
        /// Headers that tell the origin who it is.
        default("{}") identity_headers: BTreeMap<String, String>,
        /// Further headers of the origin that pass.
        default("[]") response_headers: Vec<At<String>>,
        /// Hosts that a `Location` may name.
        default("[]") redirect_hosts: Vec<At<String>>,
    }
}

table! {
    /// `[route.single_use]`.
    pub struct SingleUse {
        /// No session: one answer, and nothing after it.
        default("false") strict: bool,
        /// A session covers all that the token opens, by time alone: players that fetch many files.
        default("false") playback: bool,
        /// How long a session lives after the last byte that was handed out.
        default("'10m'") session_ttl: Duration,
        /// How long it lives at most.
        default("'6h'") session_max: Duration,
        /// How long it lives after every byte was handed out.
        default("'60s'") after_complete: Duration,
        /// A page whose button uses the token, for links that pass through mail scanners.
        default("false") interstitial: bool,
    }
}

choice! {
    /// One member of `carriers`.
    pub enum Carrier {
        /// `{ query = "t" }`.
        Query "query" (String),
        /// `{ path = "/media/{id}/download/{token}" }`.
        Path "path" (String),
        /// `{ path_prefix = "~" }`.
        PathPrefix "path_prefix" (String),
        /// `{ cookie = "media" }`.
        Cookie "cookie" (String),
        /// `{ bearer = {} }`.
        Bearer "bearer" (Empty),
    }
}

table! {
    /// `{}`.
    pub struct Empty {}
}

table! {
    /// `[route.scheme]`: one or more; their tokens are told apart by their shape.
    pub struct Scheme {
        /// Signed JWTs.
        optional jwt: Jwt,
        /// Opaque tokens, which the store knows: `{}`.
        optional opaque: Empty,
        /// Sirv's JWTs; not beside `jwt`.
        optional sirv: SirvScheme,
        /// Adobe's short media tokens.
        optional short_media: ShortMedia,
        /// Bunny's token authentication.
        optional bunny: schemes::Bunny,
        /// Signed URLs and cookies of Google Cloud CDN.
        optional cloud_cdn: schemes::CloudCdn,
        /// Common Access Tokens (CTA-5007).
        optional cat: schemes::Cat,
        /// Signed URLs and cookies of CloudFront.
        optional cloudfront: schemes::CloudFront,
        /// Akamai's EdgeAuth tokens.
        optional edge_auth: schemes::EdgeAuth,
        /// Signatures and tokens of Google Media CDN.
        optional media_cdn: schemes::MediaCdn,
        /// Links with a MAC over a written pattern: one table, or several.
        optional mac: Several<schemes::MacScheme>,
        /// URI signing (RFC 9246).
        optional uri_signing: schemes::UriSigning,
        /// S3 URLs that an application signed in advance.
        optional s3_presigned: schemes::Presigned,
    }
}

impl Scheme {
    /// Whether there is one whose tokens ride where the route's carriers say.
    pub(super) fn is_carried(&self) -> bool {
        self.jwt.is_some() || self.opaque.is_some() || self.sirv.is_some() || self.short_media.is_some()
    }
}

table! {
    /// How Sirv's JWTs are checked.
    pub struct SirvScheme {
        /// The name of the key set.
        required keys: String,
        /// Send the token's `args` to the origin; where not, the client's parameters of their names are taken out all the same.
        default("true") forward_args: bool,
        /// The longest `exp - iat`.
        optional max_lifetime: Duration,
    }
}

table! {
    /// How short media tokens are checked.
    pub struct ShortMedia {
        /// The name of the key set; its RS256 keys count.
        required keys: String,
        /// Accepted requestors.
        required requestors: Vec<At<String>>,
        /// Whether a token may be used once.
        default("true") one_time: bool,
        /// What each resource of each requestor opens: path patterns.
        optional resources: BTreeMap<String, BTreeMap<String, At<Vec<At<String>>>>>,
    }
}

table! {
    /// How JWTs are checked.
    pub struct Jwt {
        /// The name of the key set.
        required keys: String,
        /// Who makes the tokens: `native`, or another product.
        default("'native'") profile: Profile,
        /// Accepted issuers; only tokens of another product may have none.
        optional issuer: Texts,
        /// Accepted audiences; only tokens of another product may have none.
        optional audience: Texts,
        /// Further claims that tokens need, each with what it may be; `[]` is any text.
        default("{}") require: BTreeMap<String, Texts>,
        /// The `typ` that is demanded; none or `JWT` where absent.
        optional typ: String,
        /// The longest `exp - iat`.
        optional max_lifetime: Duration,
    }
}

table! {
    /// How callers' bearers are checked.
    pub struct CallerKeys {
        /// The name of the key set.
        required keys: String,
        /// Accepted issuers.
        required issuer: Texts,
        /// Accepted audiences.
        required audience: Texts,
        /// The `typ` that is demanded; none or `JWT` where absent.
        optional typ: String,
        /// The longest `exp - iat`.
        optional max_lifetime: Duration,
    }
}

/// `scope`.
#[derive(Debug)]
pub(super) enum Scope {
    /// `claims`.
    Claims,
    /// `whole`.
    Whole,
    /// `{ template = "/customers/{sub}/**" }`.
    Template(ScopeTemplate),
}

table! {
    /// `{ template = "…" }`.
    pub struct ScopeTemplate {
        /// The pattern.
        required template: String,
    }
}

table! {
    /// `[route.cors]`.
    pub struct Cors {
        /// Exact origins, or `*` alone.
        required origins: Vec<At<String>>,
        /// Whether cookies may come along.
        default("false") credentials: bool,
    }
}

table! {
    /// `[landing]`: where login links arrive.
    pub struct Landing {
        /// The host it is for; any where absent.
        optional host: String,
        /// Its paths; `{lang}` is one segment.
        default("['/login', '/user/login', '/{lang}/user/login']") paths: Vec<At<String>>,
        /// Where sessions end.
        default("'/logout'") logout: String,
        /// Where a link leads that names nothing, and a logout.
        default("'/'") home: String,
        /// The query parameter of the token.
        default("'t'") query: String,
        /// The query parameter of the redirect.
        default("'redirectUrl'") redirect_query: String,
        /// The name of the session's cookie, without a prefix.
        default("'session'") cookie: String,
        /// The name of the key set that signs sessions.
        required keys: String,
        /// `iss` of sessions.
        required issuer: String,
        /// How long a session lives.
        default("'8h'") session_ttl: Duration,
        /// A page whose button uses the link.
        default("false") interstitial: bool,
        /// Other origins that a redirect may name.
        default("[]") allowed_origins: Vec<At<String>>,
    }
}

table! {
    /// `[issuer]`.
    pub struct Issuer {
        /// Its address.
        required listen: SocketAddr,
        /// Makes it TLS.
        optional tls: Tls,
        /// What links start with; `server.public_url` where absent.
        optional public_url: String,
        /// How callers' bearers are checked.
        required callers: Vec<CallerKeys>,
        /// What callers may have.
        default("[]") rule: Vec<Rule>,
        /// `POST /v1/tokens`.
        optional native: NativeDialect,
        /// `POST /media/{id}/download-token`.
        optional fynn: FynnDialect,
        /// `PUT /invoices/{id}/download-link`.
        optional fynn_invoice: FynnInvoice,
        /// `GET /api/auth/media/customer`.
        optional nexudus_media: NexudusMedia,
        /// `POST /api/sys/users/token/refresh`.
        optional nexudus_token: NexudusToken,
        /// `POST /api/token`.
        optional nexudus_bearer: NexudusBearer,
        /// `POST /api/sys/users/exchange`.
        optional nexudus_exchange: NexudusExchange,
        /// `POST /v2/files/jwt`.
        optional sirv: SirvDialect,
        /// `POST /v2/token`.
        optional sirv_bearer: SirvBearer,
        /// `GET /api/v1/tokens/media`.
        optional adobe_media: AdobeMedia,
        /// `POST /o/client/token`.
        optional adobe_bearer: AdobeBearer,
        /// How the issuer's own bearers are made.
        optional bearers: Bearers,
        /// The file of local users and clients.
        optional callers_file: PathBuf,
        /// Browser origins that may call.
        default("[]") cors_origins: Vec<At<String>>,
    }
}

table! {
    /// `[[issuer.rule]]`.
    pub struct Rule {
        /// The caller's subject; any where absent.
        optional caller: String,
        /// The scope that its bearer must carry.
        required requires: String,
        /// What its tokens may open.
        default("[]") paths: Vec<At<String>>,
        /// The methods they may be good for.
        default("['GET', 'HEAD']") methods: Vec<At<String>>,
        /// Their longest life.
        required max_ttl: Duration,
        /// Their usual life; `5m` or `max_ttl`, the shorter, where absent.
        optional default_ttl: Duration,
        /// How many a minute; no limit where absent.
        optional per_minute: u32,
        /// Folders of the catalogue; all where absent.
        optional folders: Vec<String>,
        /// Only the caller's own media.
        default("false") own_media_only: bool,
        /// May name another subject.
        default("false") any_subject: bool,
        /// 1: its tokens may be used once; any number of times where absent.
        optional uses: u32,
        /// Bytes per second of each of its tokens; no limit where absent.
        optional rate: Size,
        /// Downloads at the same time of each of its tokens; no limit where absent.
        optional streams: u32,
        /// What its one-time tokens are good for: `login`, `file`, `exchange`.
        default("['login', 'file']") purposes: Vec<At<Purposes>>,
        /// The longest life of a bearer that a one-time token is exchanged for.
        default("'24h'") max_exchange: Duration,
    }
}

table! {
    /// `[issuer.native]`.
    pub struct NativeDialect {
        /// The key set that signs.
        required keys: String,
        /// `iss`.
        required issuer: String,
        /// `aud`.
        required audience: String,
        /// How tokens may be made: `jwt`, `opaque`; JWTs, and opaque ones where a route takes them, where absent.
        optional schemes: Vec<At<SchemeName>>,
    }
}

table! {
    /// `[issuer.fynn]`.
    pub struct FynnDialect {
        /// The key set that signs; an HS256 key in the original.
        required keys: String,
        /// `iss`.
        required issuer: String,
        /// `aud`.
        required audience: String,
        /// The name of the media catalogue.
        required media: String,
        /// How long the tokens live; one minute in the original.
        default("'1m'") ttl: Duration,
    }
}

table! {
    /// `[issuer.fynn_invoice]`.
    pub struct FynnInvoice {
        /// The key set that signs.
        required keys: String,
        /// `iss`.
        required issuer: String,
        /// `aud`.
        required audience: String,
        /// The name of the media catalogue in which the ids of invoices are media ids.
        required media: String,
        /// The folder of the catalogue whose media are invoices; all where absent.
        optional folder: String,
        /// The most that `secondsValid` may say.
        default("2678400") max_seconds: u64,
        /// The path of the links, as a route's path carrier says it.
        default("'/media/{id}/download/{token}'") path: String,
    }
}

table! {
    /// `[issuer.nexudus_media]`.
    pub struct NexudusMedia {
        /// The key set that signs; an RS256 key in the original.
        required keys: String,
        /// `iss`.
        required issuer: String,
        /// `aud`.
        required audience: String,
        /// How long the tokens live; one minute in the original.
        default("'1m'") ttl: Duration,
        /// The status for who asks too often: 409, as the original, or 429.
        default("409") limit_status: u16,
    }
}

table! {
    /// `[issuer.nexudus_token]`.
    pub struct NexudusToken {
        /// How long the tokens may wait for their use.
        default("'1m'") ttl: Duration,
        /// Whether GET asks for one, too.
        default("false") allow_get: bool,
        /// The status for who asks too often: 409, as the original, or 429.
        default("409") limit_status: u16,
    }
}

table! {
    /// `[issuer.bearers]`.
    pub struct Bearers {
        /// The key set that signs.
        required keys: String,
        /// `iss`.
        required issuer: String,
        /// `aud`.
        required audience: String,
        /// How long they live.
        default("'1d'") ttl: Duration,
        /// How long a refresh token may wait for its use.
        default("'15d'") refresh_ttl: Duration,
    }
}

table! {
    /// `[issuer.nexudus_bearer]`.
    pub struct NexudusBearer {
        /// Passwords that are tried for one account in a minute.
        default("10") tries_per_account: u32,
        /// Passwords that are tried from one address in a minute.
        default("30") tries_per_address: u32,
        /// The status for who tries too often: 409, as the original, or 429.
        default("409") limit_status: u16,
    }
}

table! {
    /// `[issuer.nexudus_exchange]`.
    pub struct NexudusExchange {
        /// Whether GET exchanges, too.
        default("false") allow_get: bool,
        /// The status for who shows too many unknown tokens: 409, as the original, or 429.
        default("409") limit_status: u16,
    }
}

table! {
    /// `[issuer.sirv]`.
    pub struct SirvDialect {
        /// The key set that signs; its first HS256 key where the caller names none.
        required keys: String,
        /// How much one caller may ask in an hour, of both Sirv endpoints.
        default("7000") per_hour: u32,
        /// Accounts under other names.
        default("{}") aliases: BTreeMap<String, SirvAlias>,
    }
}

table! {
    /// `[issuer.adobe_media]`.
    pub struct AdobeMedia {
        /// The key set that signs; its first RS256 key does.
        required keys: String,
        /// How long the tokens live; seven minutes in the original.
        default("'7m'") ttl: Duration,
        /// `xml` or `json`: the language of answers where the request names none.
        default("'xml'") default_format: Format,
        /// `channel_title` or `off`: what a resource that is described by MRSS means.
        default("'channel_title'") mrss: Mrss,
        /// Whether devices have to describe themselves.
        default("true") require_device_info: bool,
        /// Errors with a code, an action and a trace.
        default("false") enhanced_errors: bool,
        /// Where enhanced errors send people for help.
        optional help_url: String,
        /// Device ids that need no bearer.
        default("[]") devices: Vec<At<String>>,
        /// The permission that those have.
        optional devices_scope: String,
        /// Who may watch what.
        default("[]") entitlement: Vec<Entitlement>,
    }
}

table! {
    /// `[issuer.sirv.aliases.NAME]`.
    pub struct SirvAlias {
        /// What its links start with.
        required url: String,
        /// The key set that signs; that of `[issuer.sirv]` where absent.
        optional keys: String,
    }
}

table! {
    /// `[[issuer.adobe_media.entitlement]]`.
    pub struct Entitlement {
        /// The programmer's application.
        required requestor: String,
        /// What it is for; `*` is any resource.
        required resources: Vec<At<String>>,
        /// The provider that vouches for the viewer.
        required mvpd: String,
        /// The provider behind whom that one stands.
        optional proxy_mvpd: String,
        /// When it ends.
        optional until: UnixTime,
        /// The subjects of bearers that it is for; every viewer where absent.
        optional subjects: Vec<String>,
        /// Refuses, and says why.
        optional denied: String,
    }
}

table! {
    /// `[issuer.sirv_bearer]`.
    pub struct SirvBearer {
        /// Passwords that are tried for one account in a minute.
        default("10") tries_per_account: u32,
        /// Passwords that are tried from one address in a minute.
        default("30") tries_per_address: u32,
    }
}

table! {
    /// `[issuer.adobe_bearer]`.
    pub struct AdobeBearer {
        /// How long the bearers live at most; six hours in the original.
        default("'6h'") ttl: Duration,
        /// Secrets that are tried for one client in a minute.
        default("10") tries_per_account: u32,
        /// Secrets that are tried from one address in a minute.
        default("30") tries_per_address: u32,
    }
}
