//! What the tests of the phases share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::route::{ActiveContent, DialectStatus, Disposition, Mapping, Route, ScopeRule};
use super::session::Rules;
use crate::origin::connect::Address;
use crate::origin::{Folder, HttpOrigin, HttpSettings, Origin};
use crate::secret::Secret;
use crate::token::Methods;
use crate::token::carrier::{Carrier, Carriers};
use crate::token::keys::{KeyRing, LogKey};
use crate::token::scheme::jwt::{Jwt, Profile, Rules as JwtRules};
use crate::token::scheme::{Scheme, Schemes};

/// An HTTP origin that nobody asks.
pub(super) fn over_http() -> Origin {
    let second = Duration::from_secs(1);
    let url = "http://127.0.0.1:9".parse().unwrap();
    Origin::Http(Arc::new(HttpOrigin::new(HttpSettings {
        address: Address::parse(&url, None).unwrap(),
        host: http::HeaderValue::from_static("127.0.0.1:9"),
        base_path: String::new(),
        connect_timeout: second,
        head_timeout: second,
        gap_timeout: second,
        idle_timeout: second,
        max_idle: 1,
        allow_close_delimited: false,
    })))
}

/// A route over an empty folder, whose scheme has no keys.
pub(super) fn route(name: &str, host: Option<&str>, prefix: &str, carriers: &[Carrier]) -> Arc<Route> {
    let scheme = Scheme::Jwt(Jwt::new(JwtRules {
        keys: Arc::new(KeyRing::pending("none")),
        issuers: Box::new(["issuer".into()]),
        audiences: Box::new(["media".into()]),
        typ: None,
        profile: Profile::Native,
        require: Box::default(),
        max_lifetime: None,
        named: Box::default(),
        log_key: Arc::new(LogKey::new(&Secret::new(vec![1; 32]))),
    }));
    Arc::new(Route {
        name: name.into(),
        number: 0,
        host: host.map(Into::into),
        prefix: prefix.into(),
        templates: Box::default(),
        carriers: Carriers::new(carriers.to_vec()),
        schemes: Schemes::new([scheme], []).unwrap(),
        origin: Origin::Folder(Arc::new(Folder::open(&std::env::temp_dir()).unwrap())),
        scope: ScopeRule::Claims,
        leeway: Duration::from_secs(5),
        single_use: Rules::default(),
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
