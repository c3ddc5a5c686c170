//! What it costs to take a token out of a request and to verify it, for each scheme: with no memory of what was good, and with
//! it. The links are those of the published vectors. Run with `cargo bench --bench schemes`.

use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http::request::Parts;
use mediagate::clock::UnixTime;
use mediagate::config::{KeyFiles, load};
use mediagate::gate::Client;
use mediagate::gate::admit::admit;
use mediagate::gate::exchange::Exchange;
use mediagate::gate::locate::locate;
use mediagate::gate::route::Route;
use mediagate::gate::verify::{Checked, Remembering, TokenCache, verify};
use mediagate::token::Standing;
use serde_json::Value;

const MAX_HEAD: usize = 16 * 1024;

/// A vector file, a scheme that reads its links, and links: what they are called here, and their cases.
struct Item {
    file: &'static str,
    /// The route's own keys and its scheme; each `<pointer>` is a secret or key of the file.
    route: &'static str,
    links: &'static [(&'static str, &'static str)],
}

macro_rules! vectors {
    ($name:literal) => {
        include_str!(concat!("../tests/vectors/", $name, ".json"))
    };
}

const ITEMS: &[Item] = &[
    Item {
        file: vectors!("jwt_query"),
        route: "carriers = [{ query = \"t\" }]\nscope = \"whole\"\n[keys.all]\nfile = </keys/jwks>\n\
                [route.scheme.jwt]\nkeys = \"all\"\nissuer = \"https://issuer.example.com\"\naudience = \"media.example.com\"",
        links: &[
            ("jwt/hs256", "valid_hs256"),
            ("jwt/es256", "valid_es256"),
            ("jwt/rs256", "valid_rs256"),
        ],
    },
    Item {
        file: vectors!("nginx_secure_link"),
        route: "[route.scheme.mac]\npreset = \"nginx_secure_link\"\npattern = \"{secret}{path}{expires}\"\n\
                place = \"?st={mac}&e={expires}\"\nkeys = [{ name = \"a\", secret = { file = </keys/noip_secret> } }]",
        links: &[("mac/nginx md5", "valid_noip")],
    },
    Item {
        file: vectors!("cloudflare_timed_hmac"),
        route: "[route.scheme.mac]\npreset = \"cloudflare_timed_hmac\"\nttl = \"3h\"\n\
                keys = [{ name = \"a\", secret = { file = </keys/secret> } }]",
        links: &[("mac/cloudflare hmac-sha256", "valid")],
    },
    Item {
        file: vectors!("bunny"),
        route: "[route.scheme.bunny]\ngenerations = [\"hs256\", \"sha256\", \"md5\"]\n\
                keys = [{ name = \"a\", secret = { file = </keys/security_key> } }]",
        links: &[
            ("bunny/hs256", "hs256_valid"),
            ("bunny/hs256 folder", "hs256_dir_segment"),
        ],
    },
    Item {
        file: vectors!("google_cloud_cdn"),
        route: "[route.scheme.cloud_cdn]\nkeys = [{ name = \"my-key\", secret = { file = </keys/keys/my-key> } }]",
        links: &[
            ("cloud_cdn/url", "exact_valid"),
            ("cloud_cdn/prefix", "prefix_valid"),
        ],
    },
    Item {
        file: vectors!("akamai_edgeauth"),
        route: "[route.scheme.edge_auth]\nnames = [\"hdnts\"]\n\
                keys = [{ name = \"a\", secret = { file = </keys/primary_hex> } }]",
        links: &[("edge_auth/acl", "acl_valid")],
    },
    Item {
        file: vectors!("s3_sigv4"),
        route: "[[route.scheme.s3_presigned.keys]]\nname = \"AKIAIOSFODNN7EXAMPLE\"\nregion = \"us-east-1\"\n\
                secret = { file = </keys/credentials/AKIAIOSFODNN7EXAMPLE> }",
        links: &[("s3_presigned/get", "valid_path_style")],
    },
    Item {
        file: vectors!("google_media_cdn"),
        route: "[route.scheme.media_cdn]\nnames = [\"hdnts\"]\n\
                [[route.scheme.media_cdn.keys]]\nname = \"media-key\"\npublic_key = </keys/ed25519_public/media-key>\n\
                [[route.scheme.media_cdn.keys]]\nname = \"hmac\"\nsecret = { file = </keys/shared_hmac> }",
        links: &[
            ("media_cdn/hmac-sha256 token", "sha256_globs"),
            ("media_cdn/ed25519 token", "ed25519_globs"),
            ("media_cdn/ed25519 signature", "sig_exact_valid"),
        ],
    },
    Item {
        file: vectors!("cloudfront"),
        route: "[[route.scheme.cloudfront.keys]]\nname = \"K2JCJMDEHXQW5F\"\npublic_key = </keys/public_keys/K2JCJMDEHXQW5F>\n\
                [[route.scheme.cloudfront.keys]]\nname = \"K3ECDSAEXAMPLE1\"\npublic_key = </keys/public_keys/K3ECDSAEXAMPLE1>",
        links: &[
            ("cloudfront/rsa-2048 sha1", "canned_valid"),
            ("cloudfront/rsa-2048 sha256", "canned_sha256"),
            ("cloudfront/rsa-2048 sha1 policy", "custom_valid_wildcard"),
            ("cloudfront/ecdsa sha256", "canned_ecdsa_sha256"),
        ],
    },
    Item {
        file: vectors!("cat"),
        route: "[route.scheme.cat]\nissuer = \"https://cat.media.example.com\"\naudience = \"media.example.com\"\n\
                [[route.scheme.cat.keys]]\nname = \"cat-hs-1\"\nalg = \"HS256\"\nencoding = \"hex\"\n\
                secret = { file = </keys/mac/cat-hs-1> }\n\
                [[route.scheme.cat.keys]]\nname = \"cat-es-1\"\nalg = \"ES256\"\npublic_key = </keys/es256_public_pem/cat-es-1>\n\
                [[route.scheme.cat.keys]]\nname = \"cat-ps-1\"\nalg = \"PS256\"\npublic_key = </keys/ps256_public_pem/cat-ps-1>",
        links: &[
            ("cat/hs256", "query"),
            ("cat/es256", "es256"),
            ("cat/ps256", "ps256"),
        ],
    },
    Item {
        file: vectors!("rfc9246"),
        route: "[route.scheme.uri_signing]\naudience = \"media.example.com\"\nissuers = { \"CSP Example\" = \"all\" }\n\
                [keys.all]\nfile = </keys/issuers/CSP Example>",
        links: &[
            ("uri_signing/hs256", "hs256"),
            ("uri_signing/es256", "query_only"),
            ("uri_signing/es256 regex", "regex_dir"),
        ],
    },
];

impl Item {
    /// The route, as a configuration builds it.
    fn route(&self, file: &Value) -> Arc<Route> {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
            path
        };
        let mut route = String::new();
        let mut rest = self.route;
        // A comparison has no place in TOML, so that every `<` begins a pointer.
        while let Some((before, after)) = rest.split_once('<') {
            let (pointer, behind) = after.split_once('>').expect("the end of a pointer");
            let content = file.pointer(pointer).expect("a key");
            let name = format!("key-{}", route.len());
            match content.as_str() {
                Some(text) => write(&name, text.as_bytes()),
                None => write(&name, content.to_string().as_bytes()),
            };
            route += &format!("{before}\"{name}\"");
            rest = behind;
        }
        route += rest;
        let host = match self.file.contains("s3.media.example.com") {
            true => "s3.media.example.com",
            false => "media.example.com",
        };
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\npublic_url = \"https://{host}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [origin.files.http]\nurl = \"http://127.0.0.1:9\"\n[[route]]\nname = \"files\"\npath = \"/\"\norigin = \"files\"\n{route}\n"
        );
        let path = write("proxy.toml", text.as_bytes());
        let loaded = load(&path, KeyFiles::ReadOnly).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        Arc::clone(&loaded.routes[0])
    }
}

/// The request of a case.
fn head(case: &Value) -> Parts {
    let url = case["url"].as_str().expect("a URL");
    let start = url.find("://").expect("a whole URL") + 3;
    let end = url[start..].find('/').expect("a path") + start;
    let mut request = Request::get(&url[end..])
        .header("host", &url[start..end])
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        )
        .header("accept", "*/*")
        .header("range", "bytes=0-1023");
    for (name, value) in case["headers"].as_object().expect("headers") {
        request = request.header(name, value.as_str().expect("a value"));
    }
    request.body(()).expect("a request").into_parts().0
}

fn schemes(c: &mut Criterion) {
    for item in ITEMS {
        let file: Value = serde_json::from_str(item.file).expect("JSON");
        let route = item.route(&file);
        for (name, case) in item.links {
            let mut cases = file["cases"].as_array().expect("cases").iter();
            let case = cases
                .find(|known| known["name"] == *case)
                .unwrap_or_else(|| panic!("{case} is in no file"));
            let head = head(case);
            let address: IpAddr = case["client_ip"]
                .as_str()
                .expect("a client")
                .parse()
                .expect("an address");
            let client = Client {
                address,
                known: true,
                proxied: false,
                misdirected: false,
            };
            let now = UnixTime::from_secs(case["now"].as_i64().expect("a time"));
            let admitted = admit(&head, MAX_HEAD).expect("an admitted head");
            for (memory, tokens) in [("cold", 0), ("remembered", 1024)] {
                let cache = TokenCache::new(tokens);
                let memory_of = Remembering {
                    cache: &cache,
                    shown: None,
                };
                let mut exchange = Exchange::start(now, client.address, &head.method, &head.headers);
                let mut check = || {
                    let located = locate(&route, black_box(&head), &admitted, client, &mut exchange);
                    let mut located = located.unwrap_or_else(|_| panic!("{name}: no token"));
                    match verify(&route, &mut located, &memory_of, now) {
                        Ok(Checked::True(verified)) => verified.standing == Standing::InTime,
                        _ => false,
                    }
                };
                assert!(check(), "{name}: not believed");
                c.bench_function(&format!("{name}/{memory}"), |b| b.iter(&mut check));
            }
        }
    }
}

criterion_group!(benches, schemes);
criterion_main!(benches);
