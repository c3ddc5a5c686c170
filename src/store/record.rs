//! Records as they stand in the file: a version, the moment until which the record is kept, and what is remembered.
//! Reads what it has written and nothing else: whatever is torn, foreign or too long is an error, never a guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::wire::{BadRecord, Pen, Reader};
use super::{Issued, Purposes, Refresh, Session, Use};
use crate::clock::UnixTime;
use crate::token::claims::Limits;
use crate::token::{Claims, Methods, Opens, Parameter, Scope, TokenId, Uses};

/// Until when a record is kept, whatever its kind.
///
/// # Errors
/// `BadRecord`.
pub(super) fn until(record: &[u8]) -> Result<UnixTime, BadRecord> {
    Reader::new(record).map(|(until, _)| until)
}

/// The same record, kept until another moment.
pub(super) fn kept_until(record: &[u8], until: UnixTime) -> Vec<u8> {
    let mut pen = Pen::new(until);
    pen.0.extend(record.iter().skip(pen.0.len()));
    pen.0
}

/// Writes a use; `None` for one that is not spent.
pub(super) fn write_use(spent: &Use, until: UnixTime) -> Option<Vec<u8>> {
    let mut pen = Pen::new(until);
    match spent {
        Use::Fresh | Use::Reserved(_) => return None,
        Use::Spent => pen.u8(1),
        Use::Open(session) => {
            pen.u8(2);
            pen.session(session);
        }
    }
    Some(pen.0)
}

/// Reads a use: `Open` or `Spent`.
///
/// # Errors
/// `BadRecord`.
pub(super) fn read_use(record: &[u8]) -> Result<Use, BadRecord> {
    let (_, mut reader) = Reader::new(record)?;
    let spent = match reader.u8()? {
        1 => Use::Spent,
        2 => Use::Open(reader.session()?),
        _ => return Err(BadRecord),
    };
    reader.end(spent)
}

/// Writes a token that is looked up. A renewal is not remembered.
pub(super) fn write_issued(issued: &Issued, until: UnixTime) -> Vec<u8> {
    let mut pen = Pen::new(until);
    pen.u8(issued.purposes.bits());
    pen.u32(issued.exchange_secs);
    pen.claims(&issued.claims);
    pen.0
}

/// Reads a token that is looked up.
///
/// # Errors
/// `BadRecord`.
pub(super) fn read_issued(record: &[u8]) -> Result<Issued, BadRecord> {
    let (_, mut reader) = Reader::new(record)?;
    let issued = Issued {
        purposes: Purposes::from_bits(reader.u8()?).ok_or(BadRecord)?,
        exchange_secs: reader.u32()?,
        claims: Arc::new(reader.claims()?),
    };
    reader.end(issued)
}

/// Writes a refresh token; it is kept until it expires.
pub(super) fn write_refresh(refresh: &Refresh) -> Vec<u8> {
    let mut pen = Pen::new(refresh.expires);
    pen.text(&refresh.subject);
    pen.text(&refresh.scope);
    pen.text(&refresh.client);
    pen.time(refresh.issued);
    pen.0
}

/// Reads a refresh token.
///
/// # Errors
/// `BadRecord`.
pub(super) fn read_refresh(record: &[u8]) -> Result<Refresh, BadRecord> {
    let (expires, mut reader) = Reader::new(record)?;
    let refresh = Refresh {
        subject: reader.text()?,
        scope: reader.text()?,
        client: reader.text()?,
        issued: reader.time()?,
        expires,
    };
    reader.end(refresh)
}

impl Pen {
    fn session(&mut self, session: &Session) {
        self.0.extend(session.client);
        self.0.extend(session.cookie);
        self.u8(u8::from(session.cookie_shown));
        self.0.extend(session.target);
        self.option(session.etag, |pen, etag| pen.0.extend(etag));
        self.time(session.opened);
        self.time(session.ends);
        self.time(session.last_byte);
        self.option(session.completed, Self::time);
        self.option(session.size, Self::u64);
        self.u64(session.handed);
        self.list(&session.covered, |pen, (first, end)| {
            pen.u64(*first);
            pen.u64(*end);
        });
    }

    fn claims(&mut self, claims: &Claims) {
        self.0.extend(claims.token_id.0);
        for text in [
            &claims.subject,
            &claims.id,
            &claims.issuer,
            &claims.key,
            &claims.filename,
        ] {
            self.option(text.as_deref(), Self::text);
        }
        for time in [claims.issued, claims.not_before, claims.expires] {
            self.option(time, Self::time);
        }
        self.u8(match claims.uses {
            Uses::UntilExpiry => 0,
            Uses::Once => 1,
            Uses::Strict => 2,
        });
        self.option(claims.scope.as_ref(), |pen, scope| {
            pen.list(&scope.0, Self::opens);
        });
        self.option(claims.methods, |pen, methods| pen.u8(bits(methods)));
        self.option(claims.addresses.as_deref(), |pen, nets| pen.list(nets, Self::net));
        self.option(claims.limits.rate, Self::u64);
        self.option(claims.limits.streams, Self::u32);
        // A number and a truth value come back as texts: a query holds nothing else.
        self.list(&claims.parameters, |pen, (name, value)| {
            pen.text(name);
            match value.text() {
                Some(text) => pen.text(&text),
                // No issuer says that. A length that no record has: what can't be kept must not be read back as less.
                None => pen.u32(u32::MAX),
            }
        });
        self.list(&claims.named, |pen, (name, value)| {
            pen.text(name);
            pen.text(value);
        });
    }

    fn opens(&mut self, opens: &Opens) {
        self.u8(match opens {
            Opens::Exact(_) => 1,
            Opens::Prefix(_) => 2,
            Opens::Glob(_) => 3,
            Opens::MediaId(_) => 4,
            Opens::StartsWith(_) => 5,
        });
        self.text(&opens.to_string());
    }

    fn net(&mut self, net: &IpNet) {
        match net.addr() {
            IpAddr::V4(address) => {
                self.u8(4);
                self.0.extend(address.octets());
            }
            IpAddr::V6(address) => {
                self.u8(6);
                self.0.extend(address.octets());
            }
        }
        self.u8(net.prefix_len());
    }
}

/// Methods by their place among all.
fn bits(methods: Methods) -> u8 {
    let ours: Vec<&str> = methods.names().collect();
    Methods::ALL
        .names()
        .enumerate()
        .filter(|(_, name)| ours.contains(name))
        .fold(0, |bits, (at, _)| bits | 1 << at)
}

impl Reader<'_> {
    fn session(&mut self) -> Result<Session, BadRecord> {
        Ok(Session {
            client: self.array()?,
            cookie: self.array()?,
            cookie_shown: self.flag()?,
            target: self.array()?,
            etag: self.option(Self::array)?,
            opened: self.time()?,
            ends: self.time()?,
            last_byte: self.time()?,
            completed: self.option(Self::time)?,
            size: self.option(Self::u64)?,
            handed: self.u64()?,
            covered: self.list(|reader| Ok((reader.u64()?, reader.u64()?)))?,
        })
    }

    fn claims(&mut self) -> Result<Claims, BadRecord> {
        let mut claims = Claims::empty(TokenId(self.array()?));
        for text in [
            &mut claims.subject,
            &mut claims.id,
            &mut claims.issuer,
            &mut claims.key,
            &mut claims.filename,
        ] {
            *text = self.option(Self::text)?;
        }
        for time in [&mut claims.issued, &mut claims.not_before, &mut claims.expires] {
            *time = self.option(Self::time)?;
        }
        claims.uses = match self.u8()? {
            0 => Uses::UntilExpiry,
            1 => Uses::Once,
            2 => Uses::Strict,
            _ => return Err(BadRecord),
        };
        claims.scope = self.option(|reader| Ok(Scope(reader.list(Self::opens)?.into())))?;
        claims.methods = self.option(Self::methods)?;
        claims.addresses = self.option(|reader| Ok(reader.list(Self::net)?.into()))?;
        claims.limits = Limits {
            rate: self.option(Self::u64)?,
            streams: self.option(Self::u32)?,
        };
        let text = |reader: &mut Self| Ok((reader.text()?, Parameter::Text(reader.text()?)));
        claims.parameters = self.list(text)?.into();
        claims.named = self.list(|reader| Ok((reader.text()?, reader.text()?)))?.into();
        Ok(claims)
    }

    fn opens(&mut self) -> Result<Opens, BadRecord> {
        let (kind, text) = (self.u8()?, self.text()?);
        Ok(match kind {
            1 => Opens::Exact(text),
            2 => Opens::Prefix(text),
            3 => match Opens::parse(&text) {
                Ok(glob @ Opens::Glob(_)) => glob,
                _ => return Err(BadRecord),
            },
            4 => Opens::MediaId(text),
            5 => Opens::StartsWith(text),
            _ => return Err(BadRecord),
        })
    }

    fn methods(&mut self) -> Result<Methods, BadRecord> {
        let ours = self.u8()?;
        let names = Methods::ALL
            .names()
            .enumerate()
            .filter(|(at, _)| ours & 1 << at != 0)
            .map(|(_, name)| name);
        let methods = Methods::parse(names).map_err(|_| BadRecord)?;
        if bits(methods) == ours {
            Ok(methods)
        } else {
            Err(BadRecord)
        }
    }

    fn net(&mut self) -> Result<IpNet, BadRecord> {
        let address = match self.u8()? {
            4 => IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.array::<16>()?)),
            _ => return Err(BadRecord),
        };
        IpNet::new(address, self.u8()?).map_err(|_| BadRecord)
    }
}

#[cfg(test)]
mod tests;
