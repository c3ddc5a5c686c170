//! Policies: what is signed. In: JSON that somebody signed, or what a policy is to say. Out: what it says, or its text. Never:
//! leaves out a word that it doesn't know, which may restrict.
//! Source: Amazon CloudFront Developer Guide, "Values that you specify in the policy statement for a signed URL that uses a
//! custom policy".

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::clock::UnixTime;
use crate::token::json::{Json, Object};

/// The longest resource, in bytes: what it costs to match one is bounded by it.
pub(super) const MAX_RESOURCE_BYTES: usize = 2048;

/// What a custom policy says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// A URL with wildcards.
    pub(super) resource: Box<str>,
    /// `DateLessThan`: the first second in which it opens nothing.
    pub(super) expires: UnixTime,
    /// `DateGreaterThan`: the first second in which it opens something.
    pub(super) not_before: Option<UnixTime>,
    /// `IpAddress`: IPv4 alone, as CloudFront has it.
    pub(super) address: Option<Ipv4Net>,
}

impl Policy {
    /// Reads a policy. The error holds nothing of it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let policy = Object::parse(text)?;
        let [statements] = members(&policy, ["Statement"])?;
        let Some(Json::Array(statements)) = statements else {
            return Err("the policy has no list of statements");
        };
        let [Json::Object(statement)] = &**statements else {
            return Err("a policy has exactly one statement");
        };
        let [resource, condition] = members(statement, ["Resource", "Condition"])?;
        let resource = resource
            .and_then(Json::text)
            .filter(|resource| !resource.is_empty() && resource.len() <= MAX_RESOURCE_BYTES)
            .ok_or("the policy has no resource of 1 to 2048 bytes")?;
        let Some(Json::Object(condition)) = condition else {
            return Err("the policy has no condition");
        };
        let names = ["DateLessThan", "DateGreaterThan", "IpAddress"];
        let [less, greater, address] = members(condition, names)?;
        Ok(Self {
            resource: resource.into(),
            expires: time(less.ok_or("the policy has no DateLessThan")?)?,
            not_before: greater.map(time).transpose()?,
            address: address.map(net).transpose()?,
        })
    }

    /// Its text, without white space, in the order in which AWS' own libraries write it.
    pub(super) fn write(&self) -> String {
        let mut condition = format!(r#""DateLessThan":{{"AWS:EpochTime":{}}}"#, self.expires.secs());
        if let Some(net) = self.address {
            condition += &format!(r#","IpAddress":{{"AWS:SourceIp":"{net}"}}"#);
        }
        if let Some(start) = self.not_before {
            condition += &format!(r#","DateGreaterThan":{{"AWS:EpochTime":{}}}"#, start.secs());
        }
        let resource = serde_json::Value::from(&*self.resource);
        format!(r#"{{"Statement":[{{"Resource":{resource},"Condition":{{{condition}}}}}]}}"#)
    }
}

/// The text of a canned policy; `None` where the URL would end its own quotes and say more than a URL.
pub(super) fn canned(url: &str, expires: i64) -> Option<String> {
    if url.contains(['"', '\\']) {
        return None;
    }
    Some(format!(
        r#"{{"Statement":[{{"Resource":"{url}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{expires}}}}}}}]}}"#
    ))
}

/// The members of these names, in their order, of an object that has no others.
fn members<'o, 'j, const N: usize>(
    object: &'o Object<'j>,
    names: [&str; N],
) -> Result<[Option<&'o Json<'j>>; N], &'static str> {
    match object.iter().all(|(name, _)| names.contains(&name)) {
        true => Ok(names.map(|name| object.get(name))),
        false => Err("the policy has a word that means nothing here"),
    }
}

/// `{"AWS:EpochTime": 1}`.
fn time(condition: &Json<'_>) -> Result<UnixTime, &'static str> {
    only(condition, "AWS:EpochTime")
        .and_then(Json::whole)
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(UnixTime::from_secs)
        .ok_or("a date of the policy is not a number of seconds")
}

/// `{"AWS:SourceIp": "203.0.113.0/24"}`; an address alone is that one.
fn net(condition: &Json<'_>) -> Result<Ipv4Net, &'static str> {
    only(condition, "AWS:SourceIp")
        .and_then(Json::text)
        .and_then(|text| match text.contains('/') {
            true => text.parse().ok(),
            false => text.parse::<Ipv4Addr>().ok().map(Ipv4Net::from),
        })
        .ok_or("the address of the policy is not one of IPv4")
}

fn only<'o, 'j>(condition: &'o Json<'j>, name: &str) -> Option<&'o Json<'j>> {
    match condition {
        Json::Object(object) => members(object, [name]).ok().and_then(|[member]| member),
        _ => None,
    }
}
