//! `catnip`: the networks that a token is for, as tags 52 and 54 (RFC 9164), read and written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::cbor::Item;
use crate::token::TokenError;

const V4: u64 = 52;
const V6: u64 = 54;
/// The most networks of one token.
const MAX_NETWORKS: usize = 64;

/// Reads the claim. Members are alternatives: a network by its number (ASN) is one that nobody is found in, as we don't know
/// whose network is which.
///
/// # Errors
/// `Invalid`, also where nothing is left that can be judged.
pub(super) fn read(item: &Item<'_>) -> Result<Box<[IpNet]>, TokenError> {
    let wrong = TokenError::Invalid("catnip is not a list of networks");
    let Item::List(list) = item else {
        return Err(wrong);
    };
    if list.len() > MAX_NETWORKS {
        return Err(TokenError::Invalid("catnip has too many networks"));
    }
    let mut networks = Vec::new();
    for member in list {
        match member {
            Item::Int(number) if *number >= 0 => {}
            Item::Tag(V4, inner) => networks.push(network::<4>(inner).ok_or(wrong)?),
            Item::Tag(V6, inner) => networks.push(network::<16>(inner).ok_or(wrong)?),
            _ => return Err(wrong),
        }
    }
    match networks.is_empty() {
        true => Err(TokenError::Invalid("catnip has no network that can be judged")),
        false => Ok(networks.into()),
    }
}

/// An address, or the length of a prefix and its bytes: zeros at the end may be left out, and bits behind the prefix are none.
fn network<const N: usize>(item: &Item<'_>) -> Option<IpNet> {
    let (length, bytes) = match item {
        Item::Bytes(bytes) if bytes.len() == N => (N * 8, *bytes),
        Item::List(list) => match &**list {
            [Item::Int(length), Item::Bytes(bytes)] if bytes.len() <= N => {
                (usize::try_from(*length).ok()?, *bytes)
            }
            _ => return None,
        },
        _ => return None,
    };
    let mut whole = [0; 16];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    let [a, b, c, d, ..] = whole;
    let address: IpAddr = match N {
        4 => Ipv4Addr::new(a, b, c, d).into(),
        _ => Ipv6Addr::from(whole).into(),
    };
    let network = IpNet::new(address, length.try_into().ok()?).ok()?;
    (network.addr() == network.network()).then(|| folded(network))
}

/// IPv4 inside IPv6 is IPv4, as client addresses are folded, too.
fn folded(network: IpNet) -> IpNet {
    let inner = match (
        network.addr().to_canonical(),
        network.prefix_len().checked_sub(96),
    ) {
        (address @ IpAddr::V4(_), Some(length)) if network.addr().is_ipv6() => {
            IpNet::new(address, length).ok()
        }
        _ => None,
    };
    inner.unwrap_or(network)
}

/// The bytes of a network's address as far as they are not zero, and the whole of a single address.
pub(super) fn bytes(network: IpNet) -> Vec<u8> {
    let mut bytes = match network.network() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    if network.prefix_len() < network.max_prefix_len() {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        bytes.truncate(used);
    }
    bytes
}

/// One network as a member of the claim; `bytes` are its own.
pub(super) fn write(network: IpNet, bytes: &[u8]) -> Item<'_> {
    let tag = if network.addr().is_ipv4() { V4 } else { V6 };
    let length = network.prefix_len();
    let inner = if length == network.max_prefix_len() {
        Item::Bytes(bytes)
    } else {
        Item::List(vec![Item::Int(length.into()), Item::Bytes(bytes)])
    };
    Item::Tag(tag, Box::new(inner))
}
