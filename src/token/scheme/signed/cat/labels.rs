//! The numbers of the claims: IANA's "CBOR Web Token (CWT) Claims", or what a rollout has in their place.

use super::cbor::Label;

/// A claim that is judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Issuer,
    Subject,
    Audience,
    Expires,
    NotBefore,
    Issued,
    Id,
    Replay,
    Version,
    Networks,
    Uri,
    Methods,
    Headers,
    Renewal,
}

/// Those that are judged, with their registered numbers and names.
const JUDGED: [(Claim, i64, &str); 14] = [
    (Claim::Issuer, 1, "iss"),
    (Claim::Subject, 2, "sub"),
    (Claim::Audience, 3, "aud"),
    (Claim::Expires, 4, "exp"),
    (Claim::NotBefore, 5, "nbf"),
    (Claim::Issued, 6, "iat"),
    (Claim::Id, 7, "cti"),
    (Claim::Replay, 308, "catreplay"),
    (Claim::Version, 310, "catv"),
    (Claim::Networks, 311, "catnip"),
    (Claim::Uri, 312, "catu"),
    (Claim::Methods, 313, "catm"),
    (Claim::Headers, 315, "cath"),
    (Claim::Renewal, 323, "catr"),
];

/// Those that are known and not judged: a token that has one is refused.
const OTHERS: [(i64, &str); 11] = [
    (8, "cnf"),
    (282, "geohash"),
    (309, "catpor"),
    (314, "catalpn"),
    (316, "catgeoiso3166"),
    (317, "catgeocoord"),
    (318, "catgeoalt"),
    (319, "cattpk"),
    (320, "catifdata"),
    (321, "catdpop"),
    (322, "catif"),
];

/// Numbers below are for private use (RFC 8392 §9.1): their claims mean nothing to whoever has not agreed on them.
const PRIVATE: i64 = -65_536;

/// The numbers under which claims stand. The registered ones are always read, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Vec<(i64, Claim)>);

/// Why a number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    /// No claim of that name is judged here.
    #[error("no claim of this name is judged here")]
    UnknownClaim,
    /// The number or the claim has another already.
    #[error("the number is another claim's, or the claim has a number already")]
    Taken,
}

impl Labels {
    /// Says that the claim of this name (`catu`) stands under this number, as 401 and 402 in AWS's sample.
    ///
    /// # Errors
    /// `BadLabel`.
    pub fn with(mut self, name: &str, number: i64) -> Result<Self, BadLabel> {
        let (claim, ..) = JUDGED
            .iter()
            .find(|(.., known)| *known == name)
            .ok_or(BadLabel::UnknownClaim)?;
        let configured = self.0.iter().any(|(_, known)| known == claim);
        if configured || self.judged(Label::Int(number)).is_some() {
            return Err(BadLabel::Taken);
        }
        self.0.push((number, *claim));
        Ok(self)
    }

    /// The claim that stands under a label, where it is one that is judged.
    pub(super) fn judged(&self, label: Label<'_>) -> Option<Claim> {
        let Label::Int(number) = label else {
            return None;
        };
        let registered = JUDGED.iter().map(|(claim, number, _)| (*number, *claim));
        let all = self.0.iter().copied().chain(registered);
        all.into_iter()
            .find(|(known, _)| *known == number)
            .map(|(_, claim)| claim)
    }

    /// The label under which a claim is written.
    pub(super) fn of(&self, claim: Claim) -> Label<'static> {
        let registered = JUDGED.iter().map(|(claim, number, _)| (*number, *claim));
        let mut all = self.0.iter().copied().chain(registered);
        // Each claim is registered, so that there is always one.
        Label::Int(
            all.find(|(_, known)| *known == claim)
                .map_or(0, |(number, _)| number),
        )
    }

    /// What people call the claim of a label.
    pub(super) fn name(&self, label: Label<'_>) -> Option<&'static str> {
        let judged = self.judged(label).and_then(|claim| {
            let known = JUDGED.iter().find(|(known, ..)| *known == claim);
            known.map(|(.., name)| *name)
        });
        judged.or_else(|| {
            let known = OTHERS.iter().find(|(number, _)| Label::Int(*number) == label);
            known.map(|(_, name)| *name)
        })
    }
}

/// Whether a claim that is not judged may stand in a token.
pub(super) fn may_be_passed_over(label: Label<'_>, ignored: &[i64]) -> bool {
    match label {
        Label::Int(number) => number < PRIVATE || ignored.contains(&number),
        Label::Text(_) => false,
    }
}
