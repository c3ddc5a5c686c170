//! Links of known products, as data: what the engine is set to for each. What an operator of such a product had configured
//! (names, lifetimes, whether the address counts) is then set in the rules.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Algorithm, Arguments, BadLayout, BadPattern, Early, Encoding, Hash, Layout, NamedKeys, Padding, Pattern,
    Reading, Rules, Statuses, Time, TimeText,
};
use crate::secret::Secret;
use crate::token::keys::LogKey;

/// The settings of one product.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// `mac:` and its name.
    pub name: &'static str,
    /// How the MAC is computed.
    pub algorithm: Algorithm,
    /// What it is computed over.
    pub pattern: &'static str,
    /// Where it rides.
    pub place: &'static str,
    /// How it is written.
    pub encoding: Encoding,
    /// What the time means.
    pub time: Time,
    /// Whether its last second counts.
    pub equal_is_valid: bool,
    /// How the path is read.
    pub reading: Reading,
    /// How parameters are looked up.
    pub arguments: Arguments,
    /// Whether the token ends the query.
    pub last: bool,
    /// The statuses of refusals.
    pub statuses: Statuses,
    /// How the product hands out its secrets.
    pub secret: SecretText,
    /// Whether `ttl` or `timeout` is the operator's to say: no two of them have the same.
    pub lasts_as_configured: bool,
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretText {
    /// As it is.
    Plain,
    /// In Base64.
    Base64,
}

/// Why a preset can't be read; a test reads them all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPreset {
    /// Its pattern.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// Its place.
    #[error(transparent)]
    Layout(#[from] BadLayout),
}

/// What most have.
const COMMON: Preset = Preset {
    name: "mac",
    algorithm: Algorithm::Plain(Hash::Md5),
    pattern: "",
    place: "",
    encoding: Encoding::Hex,
    time: Time::Expires(TimeText::Seconds),
    equal_is_valid: false,
    reading: Reading::Strict,
    arguments: Arguments::Once,
    last: false,
    statuses: Statuses::Forbidden,
    secret: SecretText::Plain,
    lasts_as_configured: false,
};

/// nginx and what is built on it.
const NGINX: Preset = Preset {
    encoding: Encoding::Base64Url(Padding::Optional),
    equal_is_valid: true,
    reading: Reading::Resolved,
    arguments: Arguments::Nginx,
    statuses: Statuses::ForbiddenOrGone,
    ..COMMON
};

/// A time of issue, to which a configured time is added; its last second counts.
const ISSUED: Preset = Preset {
    time: issued(TimeText::Seconds),
    equal_is_valid: true,
    lasts_as_configured: true,
    ..COMMON
};

const LIGHTTPD: Preset = Preset {
    place: "/{mac}/{issued}",
    time: Time::Window {
        text: TimeText::Hex,
        timeout: Duration::from_secs(60),
    },
    equal_is_valid: true,
    statuses: Statuses::ForbiddenOrGone,
    ..COMMON
};

/// What a link of issue lasts where nothing is said: what Alibaba's and lighttpd's documents have.
const fn issued(text: TimeText) -> Time {
    Time::Issued {
        text,
        ttl: Duration::from_secs(1800),
        early: Early::Allowed,
    }
}

/// China's clock, by which Alibaba's type B and Tencent's go.
const CHINA: TimeText = TimeText::Minutes { ahead_of_utc: 480 };

/// All of them.
pub const PRESETS: &[Preset] = &[
    // nginx.org/en/docs/http/ngx_http_secure_link_module.html; the example of `secure_link_md5`. It has nothing between path and
    // address: a client at 1.2.3.4 can present the link of 11.2.3.4 for `/a` as one for `/a1`. So is `gcore_ip`.
    Preset {
        name: "mac:nginx_secure_link",
        pattern: "{expires}{path}{ip} {secret}",
        place: "?md5={mac}&expires={expires}",
        ..NGINX
    },
    // The same page, `secure_link_secret`. The link is what was sent, its query too (ngx_http_secure_link_module.c, and
    // nginx 1.22 does so).
    Preset {
        name: "mac:nginx_secure_link_secret",
        pattern: "{link_raw}{and_query}{secret}",
        place: "/{mac}",
        encoding: Encoding::Hex,
        time: Time::Absent,
        reading: Reading::Strict,
        ..NGINX
    },
    // github.com/nginx-modules/ngx_http_hmac_secure_link_module; times of issue as RFC 3339, as its examples write them.
    Preset {
        name: "mac:hmac_secure_link",
        algorithm: Algorithm::Hmac(Hash::Sha256),
        pattern: "{path}|{issued}|{lifetime}",
        place: "?st={mac}&ts={issued}&e={lifetime}",
        time: Time::Lifetime(TimeText::Rfc3339),
        statuses: Statuses::Forbidden,
        ..NGINX
    },
    // lighttpd's mod_secdownload (until 1.4.67). `path-segments` is `{segments:n}`, `hash-querystr` is `{and_query}` behind
    // the path.
    Preset {
        name: "mac:lighttpd_secdownload",
        pattern: "{secret}{path}{issued}",
        ..LIGHTTPD
    },
    Preset {
        name: "mac:lighttpd_secdownload_hmac_sha1",
        algorithm: Algorithm::Hmac(Hash::Sha1),
        pattern: "/{issued}{path}",
        encoding: Encoding::Base64Url(Padding::Without),
        ..LIGHTTPD
    },
    Preset {
        name: "mac:lighttpd_secdownload_hmac_sha256",
        algorithm: Algorithm::Hmac(Hash::Sha256),
        pattern: "/{issued}{path}",
        encoding: Encoding::Base64Url(Padding::Without),
        ..LIGHTTPD
    },
    // Apache's mod_auth_token; `AuthTokenLimitByIp` is `{ip}` behind the time, with `touching = true`, see `bunny_v1`.
    Preset {
        name: "mac:mod_auth_token",
        pattern: "{secret}{path}{issued}",
        place: "/{mac}/{issued}",
        time: issued(TimeText::Hex).lasting(Duration::from_secs(60)),
        equal_is_valid: true,
        statuses: Statuses::ForbiddenOrGone,
        ..COMMON
    },
    // Bunny's first generation; with an address `{ip}` stands at the end. Nothing is between path, time and address then, and
    // whoever copies that format has to say `touching = true`.
    Preset {
        name: "mac:bunny_v1",
        pattern: "{secret}{path_raw}{expires}",
        place: "?token={mac}&expires={expires}",
        encoding: Encoding::Base64Url(Padding::Without),
        ..COMMON
    },
    // keycdn.com/support/secure-token
    Preset {
        name: "mac:keycdn",
        pattern: "{path_raw}{secret}{expires}",
        place: "?token={mac}&expire={expires}",
        encoding: Encoding::Base64Url(Padding::Without),
        statuses: Statuses::ForbiddenOrGone,
        ..COMMON
    },
    // Gcore's "Secure Token", which is nginx's.
    Preset {
        name: "mac:gcore",
        pattern: "{expires}{path} {secret}",
        place: "?md5={mac}&expires={expires}",
        encoding: Encoding::Base64Url(Padding::Optional),
        equal_is_valid: true,
        ..COMMON
    },
    Preset {
        name: "mac:gcore_ip",
        pattern: "{expires}{path}{ip} {secret}",
        place: "?md5={mac}&expires={expires}",
        encoding: Encoding::Base64Url(Padding::Optional),
        equal_is_valid: true,
        ..COMMON
    },
    // npm cdn77; the path form, which is for one folder, as the vendor's samples have it.
    Preset {
        name: "mac:cdn77",
        pattern: "{expires}{path_raw}{secret}",
        place: "?secure={mac},{expires}",
        encoding: Encoding::Base64Url(Padding::With),
        ..COMMON
    },
    Preset {
        name: "mac:cdn77_path",
        pattern: "{expires}{dir_raw}{secret}",
        place: "/{mac},{expires}",
        encoding: Encoding::Base64Url(Padding::With),
        ..COMMON
    },
    // github.com/fastly/token-functions
    Preset {
        name: "mac:fastly",
        algorithm: Algorithm::Hmac(Hash::Sha1),
        pattern: "{path_raw}{expires}",
        place: "?token={expires}_{mac}",
        encoding: Encoding::MarkedHex,
        secret: SecretText::Base64,
        ..COMMON
    },
    // developers.cloudflare.com: `is_timed_hmac_valid_v0`. With its flag `s` the MAC is Base64 for URLs without padding.
    Preset {
        name: "mac:cloudflare_timed_hmac",
        algorithm: Algorithm::Hmac(Hash::Sha256),
        pattern: "{path_raw}{and_query}{issued}",
        place: "?verify={issued}-{mac}",
        encoding: Encoding::Base64(Padding::With),
        time: Time::Issued {
            text: TimeText::Seconds,
            ttl: Duration::from_secs(10_800),
            early: Early::Refused,
        },
        equal_is_valid: false,
        last: true,
        ..ISSUED
    },
    // alibabacloud.com/help/en/cdn: types A, B and C. The time may be one that is to come; what is configured is added.
    Preset {
        name: "mac:alibaba_a",
        pattern: "{path_raw}-{issued}-{id}-{subject}-{secret}",
        place: "?auth_key={issued}-{id}-{subject}-{mac}",
        ..ISSUED
    },
    Preset {
        name: "mac:alibaba_b",
        pattern: "{secret}{issued}{path_raw}",
        place: "/{issued}/{mac}",
        time: issued(CHINA),
        ..ISSUED
    },
    Preset {
        name: "mac:alibaba_c",
        pattern: "{secret}{path_raw}{issued}",
        place: "/{mac}/{issued}",
        time: issued(TimeText::Hex),
        ..ISSUED
    },
    // tencentcloud.com/document/product/1552 (EdgeOne): types A to D.
    Preset {
        name: "mac:tencent_a",
        pattern: "{path_raw}-{issued}-{id}-{subject}-{secret}",
        place: "?sign={issued}-{id}-{subject}-{mac}",
        ..ISSUED
    },
    Preset {
        name: "mac:tencent_b",
        pattern: "{secret}{issued}{path_raw}",
        place: "/{issued}/{mac}",
        time: issued(CHINA),
        ..ISSUED
    },
    Preset {
        name: "mac:tencent_c",
        pattern: "{secret}{path_raw}{issued}",
        place: "/{mac}/{issued}",
        time: issued(TimeText::Hex),
        ..ISSUED
    },
    Preset {
        name: "mac:tencent_d",
        pattern: "{secret}{path_raw}{issued}",
        place: "?sign={mac}&t={issued}",
        ..ISSUED
    },
    // docs.byteplus.com: type A, whose `uid` is 0.
    Preset {
        name: "mac:byteplus_a",
        pattern: "{path_raw}-{issued}-{id}-{subject}-{secret}",
        place: "?auth_key={issued}-{id}-{subject}-{mac}",
        ..ISSUED
    },
    // docs.vngcloud.vn, "Security Link", of the type VNG; with an address `{ip}` stands at the end, with
    // `touching = true`, see `bunny_v1`.
    Preset {
        name: "mac:vcdn",
        pattern: "{secret}{dir_raw}{expires}",
        place: "/{mac}/{expires}",
        time: Time::Expires(TimeText::Millis),
        ..COMMON
    },
    // Wowza's SecureToken version 2, with the client's address; `{sorted:wowzatoken}` is without.
    Preset {
        name: "mac:wowza",
        algorithm: Algorithm::Plain(Hash::Sha256),
        pattern: "{link_raw:2}?{sorted_ip:wowzatoken}",
        place: "?wowzatokenstarttime={starts}&wowzatokenendtime={expires}&wowzatokenhash={mac}",
        encoding: Encoding::Base64Url(Padding::With),
        equal_is_valid: true,
        ..COMMON
    },
];

impl Preset {
    /// The preset of this name, without `mac:`.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.short() == name)
    }

    /// Its name in the configuration.
    pub fn short(&self) -> &'static str {
        self.name.strip_prefix("mac:").unwrap_or(self.name)
    }

    /// Rules with these settings.
    ///
    /// # Errors
    /// `BadPreset`, never for those of `PRESETS`.
    pub fn rules(&self, keys: NamedKeys<Secret>, log_key: Arc<LogKey>) -> Result<Rules, BadPreset> {
        let own = Rules::new(
            self.algorithm,
            Pattern::parse(self.pattern)?,
            self.encoding,
            Layout::parse(self.place)?,
            keys,
            log_key,
        );
        Ok(Rules {
            name: self.name,
            time: self.time,
            equal_is_valid: self.equal_is_valid,
            reading: self.reading,
            arguments: self.arguments,
            last: self.last,
            statuses: self.statuses,
            ..own
        })
    }
}
