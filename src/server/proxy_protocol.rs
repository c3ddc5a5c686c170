//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): who the client
//! behind a load balancer is. `parse` is pure; `read` takes exactly the header off a connection and not one byte behind
//! it. Read strictly: what is unclear is a fault, and a fault ends the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest line of version 1, with its line end (§2.1).
const MAX_LINE: usize = 107;
/// The longest header of version 2 that is read. Addresses need at most 232 bytes; the rest is for what clouds append.
const MAX_HEADER: usize = 4096;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length (§2.2).
const V2_FIXED: usize = 16;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The connection is the load balancer's own, such as a health check: v1 `UNKNOWN`, v2 `LOCAL`.
    Peer,
    /// It was made for this client.
    Client(SocketAddr),
}

/// Why there is no header to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What came first is no PROXY header, or nothing came.
    Missing,
    /// It is one, and broken.
    Bad,
    /// It was not there in time.
    Late,
    /// The connection failed.
    Io,
    /// The client hung up without a word, as checks of a port do.
    Silent,
}

/// What is known from the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of them belong to a header that is not whole yet.
    Part,
    /// So many of them are the header.
    Whole(usize, Source),
}

/// Reads the first bytes of a connection.
///
/// # Errors
/// `Missing` or `Bad`, as soon as no more bytes can mend it.
pub fn parse(bytes: &[u8]) -> Result<Step, Fault> {
    let begins = |version: &[u8]| {
        let both = bytes.len().min(version.len());
        bytes[..both] == version[..both]
    };
    if bytes.is_empty() {
        Ok(Step::Part)
    } else if begins(V1) {
        line(bytes)
    } else if begins(V2) {
        binary(bytes)
    } else {
        Err(Fault::Missing)
    }
}

/// Version 1: one line (§2.1).
fn line(bytes: &[u8]) -> Result<Step, Fault> {
    let seen = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if bytes.len() < MAX_LINE {
            Ok(Step::Part)
        } else {
            Err(Fault::Bad)
        };
    };
    match seen[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if seen.len() < MAX_LINE => return Ok(Step::Part),
        _ => return Err(Fault::Bad),
    }
    let text = std::str::from_utf8(&seen[..end]).map_err(|_| Fault::Bad)?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    // "The receiver must ignore anything presented before the CRLF."
    if family == "UNKNOWN" {
        return Ok(Step::Whole(end + 2, Source::Peer));
    }
    let mut word = || words.next().ok_or(Fault::Bad);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    let (source, destination) = match family {
        "TCP4" => (address::<Ipv4Addr>(source)?, address::<Ipv4Addr>(destination)?),
        "TCP6" => (address::<Ipv6Addr>(source)?, address::<Ipv6Addr>(destination)?),
        _ => return Err(Fault::Bad),
    };
    let _ = (destination, destination_port);
    if words.next().is_some() {
        return Err(Fault::Bad);
    }
    Ok(Step::Whole(end + 2, client(source, source_port)?))
}

fn address<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Fault> {
    text.parse::<A>().map(Into::into).map_err(|_| Fault::Bad)
}

/// A port as it is written: no sign, no zero in front.
fn port(text: &str) -> Result<u16, Fault> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Fault::Bad)
}

/// An address that a client can have.
fn client(address: IpAddr, port: u16) -> Result<Source, Fault> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(Fault::Bad);
    }
    Ok(Source::Client(SocketAddr::new(address, port)))
}

/// Version 2 (§2.2).
fn binary(bytes: &[u8]) -> Result<Step, Fault> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED>() else {
        return Ok(Step::Part);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = V2_FIXED + length;
    if whole > MAX_HEADER || !matches!(command, 0x20 | 0x21) {
        return Err(Fault::Bad);
    }
    let Some(block) = rest.get(..length) else {
        return Ok(Step::Part);
    };
    // LOCAL: "the receiver must discard the protocol block including the family which is ignored".
    if command == 0x20 {
        return Ok(Step::Whole(whole, Source::Peer));
    }
    // TCP over IPv4 and IPv6. Datagrams, Unix sockets and families that are not told name no client of ours.
    let (source, vectors) = match family {
        0x11 => block
            .split_first_chunk::<12>()
            .map(|(at, rest)| {
                let source = Ipv4Addr::new(at[0], at[1], at[2], at[3]);
                ((IpAddr::V4(source), [at[8], at[9]]), rest)
            })
            .ok_or(Fault::Bad)?,
        0x21 => block
            .split_first_chunk::<36>()
            .and_then(|(at, rest)| {
                let source = <[u8; 16]>::try_from(&at[..16]).ok()?;
                Some(((IpAddr::V6(source.into()), [at[32], at[33]]), rest))
            })
            .ok_or(Fault::Bad)?,
        _ => return Err(Fault::Bad),
    };
    check_vectors(&bytes[..whole], vectors)?;
    let (address, port) = source;
    Ok(Step::Whole(whole, client(address, u16::from_be_bytes(port))?))
}

const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;

/// The type-length-value vectors behind the addresses (§2.2.1 to §2.2.8): they fill the header exactly, and a checksum that
/// is there is right.
fn check_vectors(header: &[u8], vectors: &[u8]) -> Result<(), Fault> {
    let mut sum = None;
    each_vector(vectors, |kind, value| match kind {
        CRC32C => {
            let value = <[u8; 4]>::try_from(value).map_err(|_| Fault::Bad)?;
            // Where the value stands in the header: it was computed with zeros there.
            let at = value_offset(header, vectors, kind)?;
            if sum.replace((at, u32::from_be_bytes(value))).is_some() {
                return Err(Fault::Bad);
            }
            Ok(())
        }
        UNIQUE_ID if value.len() > 128 => Err(Fault::Bad),
        // One byte of flags, four of the verification's result, then vectors again (§2.2.6).
        SSL => match value.split_first_chunk::<5>() {
            Some((_, inner)) => each_vector(inner, |_, _| Ok(())),
            None => Err(Fault::Bad),
        },
        _ => Ok(()),
    })?;
    match sum {
        Some((at, sum)) if crc32c(header, at) != sum => Err(Fault::Bad),
        _ => Ok(()),
    }
}

/// Where the value of the first vector of a kind stands in the header.
fn value_offset(header: &[u8], vectors: &[u8], wanted: u8) -> Result<usize, Fault> {
    let mut rest = vectors;
    while let Some((&[kind, high, low], behind)) = rest.split_first_chunk::<3>() {
        if kind == wanted {
            return Ok(header.len() - behind.len());
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = behind.get(length..).ok_or(Fault::Bad)?;
    }
    Err(Fault::Bad)
}

fn each_vector(mut rest: &[u8], mut look: impl FnMut(u8, &[u8]) -> Result<(), Fault>) -> Result<(), Fault> {
    while !rest.is_empty() {
        let (&[kind, high, low], behind) = rest.split_first_chunk::<3>().ok_or(Fault::Bad)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, behind) = behind.split_at_checked(length).ok_or(Fault::Bad)?;
        look(kind, value)?;
        rest = behind;
    }
    Ok(())
}

/// CRC-32C (RFC 9260, appendix A) of the header with four zeros at `hole`. Bit by bit: a header is short.
fn crc32c(header: &[u8], hole: usize) -> u32 {
    let byte = |(at, byte): (usize, &u8)| {
        if (hole..hole + 4).contains(&at) { 0 } else { *byte }
    };
    let step = |sum: u32, byte: u8| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            let odd = 0u32.wrapping_sub(sum & 1);
            (sum >> 1) ^ (0x82f6_3b78 & odd)
        })
    };
    !header.iter().enumerate().map(byte).fold(u32::MAX, step)
}

/// Takes the header off a connection. What is behind it stays in the socket: it is looked at, and only what surely belongs
/// to the header is taken.
pub(super) async fn read(stream: &mut TcpStream, within: Duration) -> Result<Source, Fault> {
    tokio::time::timeout(within, take(stream))
        .await
        .unwrap_or(Err(Fault::Late))
}

async fn take(stream: &mut TcpStream) -> Result<Source, Fault> {
    let io = |_: io::Error| Fault::Io;
    let mut seen = Vec::with_capacity(MAX_LINE);
    let mut ahead = [0; 256];
    loop {
        let more = stream.peek(&mut ahead).await.map_err(io)?;
        let taken = seen.len();
        if more == 0 {
            return Err(if taken == 0 { Fault::Silent } else { Fault::Bad });
        }
        seen.extend_from_slice(&ahead[..more]);
        let (length, source) = match parse(&seen)? {
            Step::Part => (seen.len(), None),
            Step::Whole(length, source) => (length, Some(source)),
        };
        // All that was taken before was part of the header, so the end is not before it.
        stream.read_exact(&mut seen[taken..length]).await.map_err(io)?;
        if let Some(source) = source {
            return Ok(source);
        }
    }
}

#[cfg(test)]
mod tests;
