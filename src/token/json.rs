//! Strict JSON: one object, no member name twice at any depth (RFC 8725 §2.4 calls that a parser differential), bounded in
//! depth and in the number of members. Texts without escapes are borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// How deep values may be nested.
const MAX_DEPTH: usize = 32;
/// How many members one object may have: names are compared pairwise.
const MAX_MEMBERS: usize = 256;

/// A value.
#[derive(Clone, PartialEq)]
pub(crate) enum Json<'j> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'j, str>),
    Array(Vec<Json<'j>>),
    Object(Object<'j>),
}

/// Members in their order, each name once.
#[derive(Clone, PartialEq)]
pub(crate) struct Object<'j>(Vec<(Cow<'j, str>, Json<'j>)>);

impl<'j> Object<'j> {
    /// Reads a text that is one object. The error holds nothing of the text.
    pub(crate) fn parse(text: &'j [u8]) -> Result<Self, &'static str> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = Value { depth: MAX_DEPTH }.deserialize(&mut reader);
        match value.and_then(|value| reader.end().map(|()| value)) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err("the JSON is not an object"),
            Err(error) if error.is_data() => {
                Err("the JSON repeats a name, is too deep or has too many members")
            }
            Err(_) => Err("the text is not JSON"),
        }
    }

    /// The member called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'j>> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// All members.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json<'j>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl Json<'_> {
    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, where it is a whole one that is not negative. `300.0` is 300, as in JSON Schema.
    pub(crate) fn whole(&self) -> Option<u64> {
        /// Above it, not every whole number is a float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let Self::Number(number) = self else { return None };
        number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            // In range, so that nothing is cut off.
            (float.fract() == 0.0 && (0.0..=EXACT).contains(&float)).then_some(float as u64)
        })
    }

    /// The texts of an array that holds nothing else.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Array(values) => values.iter().map(Json::text).collect(),
            _ => None,
        }
    }
}

/// Reads a value that may nest `depth` levels.
struct Value {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value)
            .map(Json::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let depth = self
            .depth
            .checked_sub(1)
            .ok_or_else(|| A::Error::custom("too deep"))?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Value { depth })? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let depth = self
            .depth
            .checked_sub(1)
            .ok_or_else(|| A::Error::custom("too deep"))?;
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::new();
        while let Some(Name(name)) = items.next_key()? {
            if members.len() == MAX_MEMBERS || members.iter().any(|(known, _)| *known == name) {
                return Err(A::Error::custom("a name twice, or too many"));
            }
            members.push((name, items.next_value_seed(Value { depth })?));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// A member's name, borrowed where it has no escapes: serde's own `Cow` is always owned.
struct Name<'n>(Cow<'n, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match (Value { depth: 0 }).deserialize(deserializer)? {
            Json::Text(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a name is a text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_twice_is_refused_at_every_depth_and_when_escaped() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"b":{"a":1,"a":1}}]}"#,
        ] {
            assert!(Object::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Object::parse(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn only_one_object_and_nothing_else_is_read() {
        for text in [
            "",
            "[]",
            "1",
            "\"a\"",
            "{}x",
            "{} {}",
            "\u{feff}{}",
            "{\"a\":1e400}",
            "{\"a\":NaN}",
            "{a:1}",
            "{\"a\":1,}",
        ] {
            assert!(Object::parse(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
        assert!(Object::parse(b" { } \n").is_ok());
    }

    #[test]
    fn depth_and_members_are_bounded() {
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Object::parse(deep(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert!(Object::parse(deep(MAX_DEPTH).as_bytes()).is_err());
        let wide = |count: usize| {
            let members: Vec<_> = (0..count).map(|at| format!("\"{at}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Object::parse(wide(MAX_MEMBERS).as_bytes()).is_ok());
        assert!(Object::parse(wide(MAX_MEMBERS + 1).as_bytes()).is_err());
    }

    #[test]
    fn values_keep_their_type_and_names_are_borrowed() {
        let object =
            Object::parse(br#"{"t":"x","e":"\n","n":1,"f":1.5,"b":true,"z":null,"a":["p","q"],"m":["p",1]}"#)
                .unwrap();
        assert!(matches!(object.get("t"), Some(Json::Text(Cow::Borrowed("x")))));
        assert_eq!(object.get("e").and_then(Json::text), Some("\n"));
        assert_eq!(object.get("n").and_then(Json::text), None);
        assert!(matches!(object.get("z"), Some(Json::Null)));
        assert_eq!(object.get("a").and_then(Json::texts), Some(vec!["p", "q"]));
        assert_eq!(object.get("m").and_then(Json::texts), None);
        assert!(object.0.iter().all(|(name, _)| matches!(name, Cow::Borrowed(_))));
    }
}
