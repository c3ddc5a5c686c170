//! Who the client is: the peer of the connection (or whom its PROXY header named, read before), or the rightmost untrusted
//! hop of one configured header, from trusted proxies alone. Every other header of that kind is ignored.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Request;
use http::header::{FORWARDED, HeaderMap, HeaderName};

use super::settings::{AddressHeader, ClientAddressRule};
use super::tls::Named;
use crate::gate::Client;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most hops that are looked at.
const MAX_HOPS: usize = 32;

/// The other end of a connection.
#[derive(Clone)]
pub(super) struct Peer {
    /// Whose it is, as far as the connection tells.
    pub(super) address: SocketAddr,
    /// Whom it asked for by TLS.
    pub(super) named: Option<Arc<Named>>,
}

impl Peer {
    /// The client of a request that came over it.
    pub(super) fn client<B>(&self, rule: &ClientAddressRule, request: &Request<B>) -> Client {
        let misdirected = self.named.as_ref().is_some_and(|named| named.misdirects(request));
        Client {
            misdirected,
            ..client(rule, self.address, request.headers())
        }
    }
}

/// The client of a request, by its address.
pub fn client(rule: &ClientAddressRule, peer: SocketAddr, headers: &HeaderMap) -> Client {
    let peer = peer.ip().to_canonical();
    let seen = |address, known| Client {
        address,
        known,
        proxied: rule.trusts(peer),
        misdirected: false,
    };
    let ClientAddressRule::Header { header, .. } = rule else {
        return seen(peer, true);
    };
    let is_trusted = |address: IpAddr| rule.trusts(address);
    if !is_trusted(peer) {
        return seen(peer, true);
    }
    let name = match header {
        AddressHeader::XForwardedFor => &X_FORWARDED_FOR,
        AddressHeader::Forwarded => &FORWARDED,
    };
    let values: Vec<_> = headers.get_all(name).iter().collect();
    let mut address = peer;
    let mut hops = 0;
    for value in values.into_iter().rev() {
        let Ok(text) = value.to_str() else {
            return seen(address, false);
        };
        for hop in text.rsplit(',') {
            hops += 1;
            let parsed = match header {
                AddressHeader::XForwardedFor => node(hop.trim()),
                AddressHeader::Forwarded => forwarded_for(hop),
            };
            // What a trusted proxy wrote and we can't read hides who is behind it: nobody is guessed.
            let Some(hop) = parsed.filter(|_| hops <= MAX_HOPS) else {
                return seen(address, false);
            };
            address = hop;
            if !is_trusted(address) {
                return seen(address, true);
            }
        }
    }
    seen(address, true)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

/// The `for` of one element of `Forwarded` (RFC 7239 §4). An obfuscated or unknown node is not an address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let value = nodes.next().filter(|_| nodes.next().is_none())?;
    node(
        value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(header: AddressHeader, peer: &str, name: HeaderName, values: &[&str]) -> (String, bool) {
        let rule = ClientAddressRule::Header {
            header,
            trusted: vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, value.parse().unwrap());
        }
        let client = client(&rule, peer.parse().unwrap(), &headers);
        (client.address.to_string(), client.known)
    }

    #[test]
    fn the_rightmost_untrusted_hop_counts_and_only_from_trusted_peers() {
        for (peer, values, address, known) in [
            ("10.0.0.1:1", &["203.0.113.7"][..], "203.0.113.7", true),
            (
                "10.0.0.1:1",
                &["1.1.1.1, 203.0.113.7, 10.2.3.4"],
                "203.0.113.7",
                true,
            ),
            ("10.0.0.1:1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7", true),
            ("192.0.2.9:1", &["203.0.113.7"], "192.0.2.9", true),
            ("10.0.0.1:1", &[], "10.0.0.1", true),
            ("10.0.0.1:1", &["10.9.9.9"], "10.9.9.9", true),
            ("10.0.0.1:1", &["203.0.113.7:443"], "203.0.113.7", true),
            ("10.0.0.1:1", &["[2001:db8::1]:443"], "2001:db8::1", true),
            ("10.0.0.1:1", &["::ffff:203.0.113.7"], "203.0.113.7", true),
            ("10.0.0.1:1", &["203.0.113.7, unknown"], "10.0.0.1", false),
            ("10.0.0.1:1", &["203.0.113.7,"], "10.0.0.1", false),
            ("[::ffff:10.0.0.1]:1", &["203.0.113.7"], "203.0.113.7", true),
        ] {
            let result = seen(AddressHeader::XForwardedFor, peer, X_FORWARDED_FOR, values);
            assert_eq!(result, (address.to_owned(), known), "{peer} {values:?}");
        }
    }

    #[test]
    fn forwarded_is_read_by_its_grammar() {
        for (values, address, known) in [
            (
                &["for=203.0.113.7;proto=https, for=10.1.1.1"][..],
                "203.0.113.7",
                true,
            ),
            (&["For=\"[2001:db8::1]:4711\""], "2001:db8::1", true),
            (&["for=_hidden"], "10.0.0.1", false),
            (&["proto=https"], "10.0.0.1", false),
            (&["for=1.1.1.1;for=2.2.2.2"], "10.0.0.1", false),
        ] {
            let result = seen(AddressHeader::Forwarded, "10.0.0.1:1", FORWARDED, values);
            assert_eq!(result, (address.to_owned(), known), "{values:?}");
        }
    }

    #[test]
    fn without_a_rule_no_header_counts() {
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, "203.0.113.7".parse().unwrap());
        let client = client(&ClientAddressRule::Peer, "192.0.2.9:1".parse().unwrap(), &headers);
        assert_eq!(client.address.to_string(), "192.0.2.9");
    }
}
