//! `[origin.NAME.s3]`.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Uri};

use super::inline::read_secret;
use super::origins::{Built, Waits, within_bounds};
use super::{Place, raw};
use crate::config::problems::Problems;
use crate::config::values::BucketStyle;
use crate::origin::connect::Address;
use crate::origin::s3::{CredentialSource, Forbidden, Keys, PARAMETERS};
use crate::origin::{Ejection, HttpSettings, Origin, Reach, S3Origin, S3Settings};
use crate::sigv4::{Credentials, encode_path};
use crate::target::Target;

/// The longest name of a bucket there ever was; today's have at most 63 letters.
const LONGEST_BUCKET: usize = 255;

/// A bucket.
pub(super) fn s3(name: &str, bucket: &raw::S3, place: &Place, problems: &mut Problems) -> Option<Built> {
    let waits = Waits {
        connect: bucket.connect_timeout,
        head: bucket.head_timeout,
        gap: bucket.gap_timeout,
        idle: bucket.idle_timeout,
    };
    waits.check(&bucket.at, problems);
    let reach = within_bounds(&bucket.at, reach(name, bucket), problems);
    let at = |key: &str| format!("{}.{key}", bucket.at);
    let query = parameters(bucket, problems);
    let forbidden = match bucket.forbidden {
        404 => Some(Forbidden::Absent),
        502 => Some(Forbidden::Failure),
        _ => {
            problems.error(
                at("forbidden"),
                "is neither 404 nor 502",
                "404 tells a client nothing",
            );
            None
        }
    };
    let prefix = prefix(bucket, problems);
    let region = bucket.region.as_deref().filter(|region| {
        let is_region = !region.is_empty() && is_word(region, "-");
        if !is_region {
            problems.error(at("region"), "is no region", "write \"eu-central-1\"");
        }
        is_region
    });
    let bucket_name = bucket.bucket.as_deref().filter(|name| {
        let is_name =
            (3..=LONGEST_BUCKET).contains(&name.len()) && is_word(name, "-._") && !name.starts_with('.');
        if !is_name {
            problems.error(at("bucket"), "is no name of a bucket", "letters, digits, - and .");
        }
        is_name
    });
    let credentials = bucket
        .credentials
        .as_ref()
        .and_then(|credentials| self::credentials(&at("credentials"), credentials, place, problems));
    let (region, bucket_name) = (region?, bucket_name?);
    let (uri, authority) = server(bucket, region, bucket_name, problems)?;
    let ca_file = bucket.ca_file.as_deref().map(|path| place.resolve(path));
    if let Some(path) = &ca_file {
        place.note(path);
    }
    let address = Address::parse(&uri, ca_file.as_deref())
        .map_err(|what| {
            let key = if ca_file.is_some() { "ca_file" } else { "endpoint" };
            problems.error(at(key), what, "");
        })
        .ok()?;
    let prefix = prefix?;
    let base = match bucket.style {
        BucketStyle::VirtualHost => prefix.clone(),
        BucketStyle::Path => format!("/{bucket_name}{prefix}"),
    };
    let keys = match credentials? {
        None => Keys::awaited(name, region),
        Some(credentials) => Keys::fixed(name, region, credentials),
    };
    let settings = S3Settings {
        http: HttpSettings {
            host: HeaderValue::from_str(&address.authority()).ok()?,
            address,
            base_path: String::new(),
            connect_timeout: waits.connect,
            head_timeout: waits.head,
            gap_timeout: waits.gap,
            idle_timeout: waits.idle,
            max_idle: bucket.max_idle,
            allow_close_delimited: false,
        },
        reach,
        base: base.into(),
        prefixed: !prefix.is_empty(),
        query: query?,
        forbidden: forbidden?,
        keys: Arc::new(keys),
    };
    Some(Built {
        origin: Origin::S3(Arc::new(S3Origin::new(settings))),
        hosts: vec![authority.into()],
        place: format!("bucket {bucket_name}{prefix} at {uri}"),
    })
}

/// How its server is reached. An answer of 500 and more says something of the bucket, not of the address that gave it.
fn reach(name: &str, bucket: &raw::S3) -> Reach {
    Reach {
        name: name.into(),
        resolve_interval: bucket.resolve_interval,
        max_in_flight: bucket.max_in_flight,
        max_queue: bucket.max_queue,
        queue_timeout: bucket.queue_timeout,
        ejection: Ejection {
            after: bucket.eject_after,
            time: bucket.eject_time,
            on_5xx: false,
        },
        retry_percent: bucket.retry_percent,
        ..Reach::default()
    }
}

/// What loads the credentials of a bucket in the background, where they are loaded.
pub(super) fn source(origin: &Origin) -> Option<CredentialSource> {
    match origin {
        Origin::S3(bucket) => CredentialSource::of(bucket.keys()),
        Origin::Folder(_) | Origin::Http(_) => None,
    }
}

/// The server that is connected to, as a URL and as its host.
fn server(bucket: &raw::S3, region: &str, name: &str, problems: &mut Problems) -> Option<(Uri, String)> {
    let at = format!("{}.endpoint", bucket.at);
    let aws = || {
        let zone = if region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://s3.{region}.amazonaws.com{zone}")
    };
    let endpoint = bucket.endpoint.clone().unwrap_or_else(aws);
    let uri = endpoint.parse::<Uri>().ok().filter(|uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
        scheme
            && bare
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
    });
    let Some(uri) = uri else {
        problems.error(
            &at,
            "is no http or https URL of a server alone",
            "write \"https://s3.eu-central-1.amazonaws.com\"; the bucket has a key of its own",
        );
        return None;
    };
    let host = uri.host()?.to_ascii_lowercase();
    let mut authority = uri.authority()?.as_str().to_ascii_lowercase();
    if bucket.style == BucketStyle::VirtualHost {
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let is_label = !name.contains(['_', '.']) && !name.bytes().any(|byte| byte.is_ascii_uppercase());
        // A certificate for `*.s3.…` does not cover a name with a dot.
        let fits = is_label || (uri.scheme_str() == Some("http") && name.contains('.'));
        if is_address || !fits {
            problems.error(
                format!("{}.style", bucket.at),
                "can't put this bucket into this host's name",
                "write style = \"path\"",
            );
            return None;
        }
        authority = format!("{name}.{authority}");
    }
    let is_near = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    if uri.scheme_str() == Some("http") && !is_near {
        problems.warn(
            &at,
            "is plain http: files, and signatures that are good for minutes, go in clear",
            "write https, unless nobody else is on that network",
        );
    }
    let uri = format!("{}://{authority}", uri.scheme_str()?).parse().ok()?;
    Some((uri, authority))
}

/// The prefix in S3's spelling, with a slash before it and none behind; empty for none.
fn prefix(bucket: &raw::S3, problems: &mut Problems) -> Option<String> {
    let prefix = bucket.prefix.trim_matches('/');
    if prefix.is_empty() {
        return Some(String::new());
    }
    match Target::from_decoded(&format!("/{prefix}")) {
        Ok(target) => {
            let mut spelled = String::new();
            encode_path(target.encoded_path(), &mut spelled);
            Some(spelled)
        }
        Err(error) => {
            problems.error(
                format!("{}.prefix", bucket.at),
                error.to_string(),
                "write \"media/public\"",
            );
            None
        }
    }
}

/// The query parameters that get through.
fn parameters(bucket: &raw::S3, problems: &mut Problems) -> Option<Box<[Box<str>]>> {
    let mut good = true;
    for name in &bucket.query {
        if !PARAMETERS.contains(&name.value.as_str()) {
            good = false;
            problems.error(
                &name.at,
                format!(
                    "{:?} is no parameter of an object that can be let through",
                    name.value
                ),
                format!("one of: {}", PARAMETERS.join(", ")),
            );
        }
    }
    good.then(|| {
        bucket
            .query
            .iter()
            .map(|name| name.value.as_str().into())
            .collect()
    })
}

/// Credentials by hand; none within where they are loaded in the background.
fn credentials(
    at: &str,
    credentials: &raw::Credentials,
    place: &Place,
    problems: &mut Problems,
) -> Option<Option<Credentials>> {
    let raw::Credentials::Keys(keys) = credentials else {
        return Some(None);
    };
    let mut read = |key: &str, secret: &raw::SecretRef| {
        let at = format!("{at}.{key}");
        let secret = read_secret(&at, secret, place, problems)?;
        let is_sound = !secret.reveal().is_empty() && secret.reveal().iter().all(u8::is_ascii_graphic);
        if !is_sound {
            problems.error(at, "is empty, or holds more than letters, digits and signs", "");
        }
        is_sound.then_some(secret)
    };
    let id = keys
        .access_key_id
        .as_ref()
        .and_then(|key| read("access_key_id", key));
    let secret = keys
        .secret_access_key
        .as_ref()
        .and_then(|key| read("secret_access_key", key));
    let token = match &keys.session_token {
        Some(token) => read("session_token", token).map(Some),
        None => Some(None),
    };
    let id = id?;
    let access_key_id = std::str::from_utf8(id.reveal())
        .ok()
        .filter(|id| !id.contains(['/', ',']));
    if access_key_id.is_none() {
        problems.error(format!("{at}.access_key_id"), "is no name of a key", "");
    }
    Some(Some(Credentials {
        access_key_id: access_key_id?.into(),
        secret_access_key: secret?,
        session_token: token?,
    }))
}

/// Letters, digits, and these.
fn is_word(text: &str, also: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || also.as_bytes().contains(&byte))
}
