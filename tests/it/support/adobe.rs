//! Short media tokens made and checked independently of the product: an RSA key of their own, and what a configuration
//! needs to take them and to issue them.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::gate::{NOW, Setup};
use super::mint::{CALLERS, CALLERS_AUDIENCE};
use super::{Gate, Origin, Response, Token, conf};

/// Where tokens are asked for.
pub(crate) const MEDIA: &str = "/api/v1/tokens/media";
/// A whole request for one, in XML.
pub(crate) const ASK: &str = "/api/v1/tokens/media?requestor=SPORT&deviceId=tv-1&resource=news";
/// `{"model":"x","osName":"y"}`.
pub(crate) const INFO: &str = "eyJtb2RlbCI6IngiLCJvc05hbWUiOiJ5In0=";

fn pair() -> &'static RsaKeyPair {
    static PAIR: OnceLock<RsaKeyPair> = OnceLock::new();
    PAIR.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
}

/// The key as it stands in a file.
fn pem() -> String {
    let der: Pkcs8V1Der<'_> = pair().as_der().expect("PKCS #8");
    let text = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("ASCII"))
        .collect();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

/// A token whose signed element is this text.
pub(crate) fn sign(element: &str) -> String {
    let mut signature = vec![0; pair().public_modulus_len()];
    pair()
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            element.as_bytes(),
            &mut signature,
        )
        .expect("signed");
    let signature = STANDARD.encode(signature);
    STANDARD.encode(format!("<signatureInfo>{signature}</signatureInfo>{element}"))
}

/// The signed element of a token, whose signature is checked.
#[track_caller]
pub(crate) fn opened(token: &str) -> String {
    let xml = String::from_utf8(STANDARD.decode(token).expect("Base64")).expect("UTF-8");
    let (signature, element) = xml
        .strip_prefix("<signatureInfo>")
        .and_then(|rest| rest.split_once("</signatureInfo>"))
        .expect("a signature");
    let signature = STANDARD.decode(signature).expect("Base64");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair().public_key().as_ref())
        .verify(element.as_bytes(), &signature)
        .expect("signed by our key");
    element.to_owned()
}

/// The signature of a token, as it stands in it.
pub(crate) fn signature(token: &str) -> String {
    let xml = String::from_utf8(STANDARD.decode(token).expect("Base64")).expect("UTF-8");
    text_of(&xml, "signatureInfo")
}

/// The text of an element that stands there once.
#[track_caller]
pub(crate) fn text_of(xml: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = xml
        .split_once(&open)
        .unwrap_or_else(|| panic!("no {name} in {xml}"));
    let (text, rest) = rest.split_once(&close).expect("its end");
    assert!(!rest.contains(&open), "{name} stands twice in {xml}");
    text.to_owned()
}

/// A token in the making: for `news`, requestor `SPORT`, seven minutes from now on.
#[derive(Clone)]
pub(crate) struct Short {
    session: String,
    requestor: String,
    resource: String,
    issued: String,
}

impl Short {
    /// Of this session.
    pub(crate) fn of(session: &str) -> Self {
        Self {
            session: session.into(),
            requestor: "SPORT".into(),
            resource: "news".into(),
            issued: (NOW * 1000).to_string(),
        }
    }

    /// For this resource, as XML writes it.
    pub(crate) fn resource(mut self, resource: &str) -> Self {
        self.resource = resource.into();
        self
    }

    /// For this requestor.
    pub(crate) fn requestor(mut self, requestor: &str) -> Self {
        self.requestor = requestor.into();
        self
    }

    /// Issued then.
    pub(crate) fn issued(mut self, issued: impl ToString) -> Self {
        self.issued = issued.to_string();
        self
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let Self {
            session,
            requestor,
            resource,
            issued,
        } = self;
        sign(&format!(
            "<shortAuthorizationToken><sessionGUID>{session}</sessionGUID><requestorID>{requestor}</requestorID>\
             <resourceID>{resource}</resourceID><ttl>420000</ttl><issueTime>{issued}</issueTime><mvpdId>cable</mvpdId>\
             </shortAuthorizationToken>"
        ))
    }
}

/// `[[route]]` whose tokens are short media tokens, with further keys; resources `news` and `sport`.
pub(crate) fn route(more: &str, scheme: &str) -> String {
    format!(
        "[[route]]\nname = \"tv\"\npath = \"/\"\norigin = \"files\"\ncarriers = [{{ query = \"token\" }}, {{ bearer = {{}} }}]\n\
         dialect = \"adobe\"\n{more}\n[route.scheme.short_media]\nkeys = \"adobe\"\nrequestors = [\"SPORT\", \"MOVIES\"]\n{scheme}\n"
    )
}

/// What its resources open.
pub(crate) const RESOURCES: &str = "resources = { SPORT = { news = [\"/channels/news/**\"], sport = [\"/channels/sport/**\", \"/extra.ts\"] }, MOVIES = {} }\n";

/// The issuer, with further keys of its dialect and these rows.
pub(crate) fn issuer(rule: &str, dialect: &str, rows: &str) -> String {
    format!(
        "[issuer]\nlisten = \"127.0.0.1:0\"\ncors_origins = [\"https://tv.example.com\"]\n\
         [[issuer.callers]]\nkeys = \"callers\"\nissuer = \"{CALLERS}\"\naudience = \"{CALLERS_AUDIENCE}\"\n\
         {rule}[issuer.adobe_media]\nkeys = \"adobe\"\n{dialect}{rows}"
    )
}

/// A rule for whoever may `tv:watch`.
pub(crate) const RULE: &str = "[[issuer.rule]]\nrequires = \"tv:watch\"\nmax_ttl = \"1h\"\n";

/// An entitlement, with further keys.
pub(crate) fn row(requestor: &str, resources: &str, more: &str) -> String {
    format!(
        "[[issuer.adobe_media.entitlement]]\nrequestor = \"{requestor}\"\nresources = [{resources}]\nmvpd = \"cable\"\n{more}\n"
    )
}

/// A gate in the making, with its key, its origin, and these tables behind its origin's.
pub(crate) fn setup(tables: &str) -> (Origin, Setup) {
    let origin = Origin::start();
    for path in [
        "/channels/news/1.ts",
        "/channels/news/2.ts",
        "/channels/sport/1.ts",
        "/extra.ts",
    ] {
        origin.file(path, "0123456789");
    }
    let keys = "[keys.adobe]\nfile = \"{dir}/adobe.pem\"\nalg = \"RS256\"\nkid = \"adobe-1\"\n";
    let toml = conf::http(origin.address()) + keys + tables;
    let setup = Setup::new(toml).file("adobe.pem", pem());
    (origin, setup)
}

/// The bearer of viewer 42.
pub(crate) fn viewer() -> String {
    Token::caller("42", "tv:watch").bearer()
}

/// Asks as viewer 42, whose device describes itself.
pub(crate) fn ask(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> Response {
    let bearer = viewer();
    let mut all = vec![("Authorization", &*bearer), ("X-Device-Info", INFO)];
    all.extend(headers);
    gate.ask("GET", target, &all, b"")
}
