//! The pure phases of a request alone: route, locate, verify (cached and fresh, per algorithm), authorize, and all of them
//! through `explain`. Run with `cargo bench --bench phases`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http::request::Parts;
use mediagate::clock::{Clock, UnixTime};
use mediagate::gate::Client;
use mediagate::gate::admit::admit;
use mediagate::gate::authorize::{Asked, authorize};
use mediagate::gate::exchange::Exchange;
use mediagate::gate::locate::locate;
use mediagate::gate::route::{ActiveContent, DialectStatus, Disposition, Mapping, Route, Router, ScopeRule};
use mediagate::gate::session;
use mediagate::gate::verify::{Checked, Remembering, TokenCache, verify};
use mediagate::origin::{Folder, Origin};
use mediagate::secret::Secret;
use mediagate::sigv4::{Credentials, Request as SignedRequest, Signer, encode_path};
use mediagate::target::Target;
use mediagate::token::carrier::{Carrier, Carriers};
use mediagate::token::claims::TokenId;
use mediagate::token::keys::{KeyRing, KeySet, LogKey, SetSource};
use mediagate::token::scheme::jwt::{Jwt, KidHeader, Minter, Profile, Rules};
use mediagate::token::scheme::{Scheme, Schemes};
use mediagate::token::{Claims, Methods, MintToken, Opens, Scope};

const MAX_HEAD: usize = 16 * 1024;

fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::new(&Secret::new(vec![7; 32])))
}

fn ring(algorithm: jsonwebtoken::Algorithm) -> Arc<KeyRing> {
    let json = KeySet::generate(algorithm).expect("an algorithm that keys are made for");
    let keys = KeySet::from_jwks(json.as_bytes(), SetSource::Local).expect("a set that was just made");
    Arc::new(KeyRing::fixed("bench", keys))
}

fn route(keys: &Arc<KeyRing>) -> Arc<Route> {
    let rules = Rules {
        keys: Arc::clone(keys),
        issuers: Box::new(["bench".into()]),
        audiences: Box::new(["media".into()]),
        typ: None,
        profile: Profile::Native,
        require: Box::default(),
        max_lifetime: None,
        named: Box::default(),
        log_key: log_key(),
    };
    Arc::new(Route {
        name: "files".into(),
        number: 0,
        host: None,
        prefix: "".into(),
        templates: Box::default(),
        carriers: Carriers::new(vec![Carrier::Query {
            names: Box::new(["t".into()]),
        }]),
        schemes: Schemes::new([Scheme::Jwt(Jwt::new(rules))], []).expect("a scheme"),
        origin: Origin::Folder(Arc::new(
            Folder::open(&std::env::temp_dir()).expect("a temporary folder"),
        )),
        scope: ScopeRule::Claims,
        leeway: Duration::from_secs(5),
        single_use: session::Rules::default(),
        cut_revoked: false,
        methods: Methods::READ,
        max_upload: 0,
        mapping: Mapping::Same,
        status: HashMap::new(),
        dialect: DialectStatus::Native,
        cors: None,
        active_content: ActiveContent::Sandbox,
        disposition: Disposition::Origin,
        forward_cookies: false,
        forward_authorization: false,
        identity_headers: Box::default(),
        response_headers: Box::default(),
        origin_hosts: Box::default(),
        redirect_hosts: Box::default(),
        session_cookie: None,
        public: None,
    })
}

fn token(keys: &Arc<KeyRing>, now: UnixTime) -> String {
    let minter = Minter {
        keys: Arc::clone(keys),
        issuer: "bench".into(),
        audience: "media".into(),
        kid: KidHeader::Named,
        log_key: log_key(),
    };
    let claims = Claims {
        subject: Some("42".into()),
        expires: Some(now.after(Duration::from_secs(3600))),
        scope: Some(Scope(Box::new([Opens::parse("/videos/**").expect("a pattern")]))),
        ..Claims::empty(TokenId([0; 16]))
    };
    minter.mint(&claims, now).expect("a key that signs").text
}

fn head(token: &str) -> Parts {
    let request = Request::get(format!("/videos/2026/clip.mp4?t={token}"))
        .header("host", "media.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        )
        .header("accept", "*/*")
        .header("range", "bytes=0-1023");
    request.body(()).expect("a request").into_parts().0
}

fn phases(c: &mut Criterion) {
    use jsonwebtoken::Algorithm::{ES256, EdDSA, HS256};

    let now = Clock::system().now();
    let client = Client {
        address: [203, 0, 113, 7].into(),
        known: true,
        proxied: false,
        misdirected: false,
    };
    c.bench_function("target/plain", |b| {
        b.iter(|| Target::parse(black_box("/videos/2026/clip.mp4"), Some("w=1")))
    });
    c.bench_function("target/encoded", |b| {
        b.iter(|| Target::parse(black_box("/videos/2026/cl%C3%BCp%20.mp4"), None))
    });

    for algorithm in [HS256, ES256, EdDSA] {
        let keys = ring(algorithm);
        let route = route(&keys);
        let router = Router::new([Arc::clone(&route)]).expect("one route");
        let head = head(&token(&keys, now));
        let admitted = admit(&head, MAX_HEAD).expect("an admitted head");
        let exchange = || Exchange::start(now, client.address, &head.method, &head.headers);
        let name = format!("{algorithm:?}").to_lowercase();

        if algorithm == HS256 {
            c.bench_function("admit", |b| b.iter(|| admit(black_box(&head), MAX_HEAD).is_ok()));
            c.bench_function("route", |b| {
                b.iter(|| {
                    router
                        .find(Some("media.example.com"), admitted.raw_path)
                        .is_some()
                })
            });
            c.bench_function("locate", |b| {
                let mut exchange = exchange();
                b.iter(|| locate(&route, &head, &admitted, client, &mut exchange).is_ok());
            });
            c.bench_function("verify/cached", |b| {
                let cache = TokenCache::new(1024);
                let memory = Remembering {
                    cache: &cache,
                    shown: None,
                };
                let mut exchange = exchange();
                let mut located = locate(&route, &head, &admitted, client, &mut exchange).expect("a token");
                b.iter(|| verify(&route, &mut located, &memory, now).is_ok());
            });
            c.bench_function("authorize", |b| {
                let cache = TokenCache::new(1024);
                let memory = Remembering {
                    cache: &cache,
                    shown: None,
                };
                let mut exchange = exchange();
                let mut located = locate(&route, &head, &admitted, client, &mut exchange).expect("a token");
                b.iter(|| {
                    let Ok(Checked::True(verified)) = verify(&route, &mut located, &memory, now) else {
                        panic!("a true token");
                    };
                    let asked = Asked {
                        method: &head.method,
                        target: &located.target,
                        variables: &located.variables,
                        client: client.address,
                    };
                    authorize(&route, verified, &asked, None).is_ok()
                });
            });
        }
        c.bench_function(&format!("verify/fresh/{name}"), |b| {
            let mut exchange = exchange();
            let located = locate(&route, &head, &admitted, client, &mut exchange).expect("a token");
            b.iter(|| {
                route
                    .schemes
                    .of(&located.evidence)
                    .expect("a scheme")
                    .verify(black_box(&located.evidence))
                    .is_ok()
            });
        });
    }
}

/// What a signature adds to a request for a bucket: the name's spelling, and the headers.
fn sigv4(c: &mut Criterion) {
    let credentials = Credentials {
        access_key_id: "ASIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: Secret::new(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec()),
        session_token: Some(Secret::new(vec![b'x'; 800])),
    };
    let signer = Signer::new(credentials, "eu-central-1", "s3");
    let now = Clock::system().now();
    let sign = |path: &str, now| {
        let mut spelled = String::with_capacity(64);
        encode_path(path, &mut spelled);
        let request = SignedRequest {
            method: "GET",
            host: "example-media.s3.eu-central-1.amazonaws.com",
            path: &spelled,
            query: "",
            headers: &[],
        };
        signer.sign(&request, now).authorization.len()
    };
    c.bench_function("sigv4/sign", |b| {
        b.iter(|| sign(black_box("/videos/2026/cl%C3%BCp%20(1).mp4"), now));
    });
    c.bench_function("sigv4/sign/another-day", |b| {
        let mut day = now;
        b.iter(|| {
            day = day.after(Duration::from_secs(86_400));
            sign(black_box("/videos/2026/clip.mp4"), day)
        });
    });
}

criterion_group!(benches, phases, sigv4);
criterion_main!(benches);
