//! What a token says, for people: nothing of it was checked. Encrypted claims stay encrypted, and there is no signature.

use std::borrow::Cow;

use crate::token::json::{Json, Object};
use crate::token::scheme::jwt::Compact;

/// Members of the header that are told.
const HEADER: [&str; 3] = ["alg", "kid", "typ"];
/// Claims that hold what nobody but us is to read (RFC 9246 §2.1.2 and §2.1.10).
const ENCRYPTED: [&str; 2] = ["sub", "cdniip"];

/// Pairs of a name and what it says; none for what can't be read.
pub(super) fn tell(token: &str) -> Vec<(Cow<'static, str>, String)> {
    let Ok(token) = Compact::parse(token) else {
        return Vec::new();
    };
    let (Ok(header), Ok(claims)) = (Object::parse(&token.header), Object::parse(&token.payload)) else {
        return Vec::new();
    };
    let header = header.iter().filter(|(name, _)| HEADER.contains(name));
    header
        .chain(claims.iter())
        .map(|(name, value)| (Cow::Owned(name.to_owned()), text(name, value)))
        .collect()
}

fn text(name: &str, value: &Json<'_>) -> String {
    match value {
        _ if ENCRYPTED.contains(&name) => "(encrypted)".into(),
        Json::Text(text) => text.clone().into_owned(),
        Json::Number(number) => number.to_string(),
        Json::Bool(truth) => truth.to_string(),
        Json::Null => "null".into(),
        Json::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| text("", value)).collect();
            values.join(", ")
        }
        Json::Object(_) => "(an object)".into(),
    }
}
