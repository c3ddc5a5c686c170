//! The log field `s-uri-signing` (RFC 9246 §6.4): what became of a request on a route that takes signed URIs. Read off the
//! record alone; decides nothing.

use super::exchange::Exchange;
use super::record::Outcome;
use super::refusal::Code;
use crate::token::scheme::signed::cdni::{self, NAME};

/// The number of the field; `None` where the route has no such tokens, or the request had another.
pub(super) fn number(exchange: &Exchange, outcome: &Outcome) -> Option<u16> {
    let schemes = exchange.route.as_deref()?.schemes.signed();
    if !schemes.iter().any(|scheme| scheme.name() == NAME) {
        return None;
    }
    let field = match (exchange.scheme, outcome.code) {
        (Some(scheme), _) if scheme != NAME => return None,
        (None, Some(Code::TokenMissing)) => cdni::Code::NotPerformed,
        (None, Some(Code::TokenMalformed)) => cdni::Code::Malformed,
        (None, _) => return None,
        (Some(_), Some(Code::TokenExpired)) => cdni::Code::Expiry,
        (Some(_), Some(Code::TokenNotYetValid)) => cdni::Code::NotBefore,
        (Some(_), Some(Code::AddressDenied)) => cdni::Code::Address,
        (Some(_), Some(Code::TokenSpent | Code::TokenRevoked)) => cdni::Code::Id,
        (Some(_), Some(Code::KeysUnavailable)) => cdni::Code::NotPerformed,
        (Some(_), Some(code)) if code.is_no_way_in() => {
            let unnumbered = match code {
                Code::TokenMalformed => cdni::Code::Malformed,
                Code::ScopeDenied => cdni::Code::Container,
                _ => cdni::Code::Signature,
            };
            cdni::Code::of_text(outcome.detail).unwrap_or(unnumbered)
        }
        (Some(_), _) => cdni::Code::Verified,
    };
    Some(field.number())
}
