//! The token schemes: a closed set, one file each. A new scheme is a file here and an arm in the matches below.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Claims, Evidence, TokenError, TokenId, VerifyToken};
use signed::{SignedScheme, Statuses};

pub mod jwt;
pub mod opaque;
pub mod short_media;
pub mod signed;
pub mod sirv;

/// A way to make and check tokens.
#[derive(Debug)]
pub enum Scheme {
    /// Signed JWT (RFC 7519), the native scheme.
    Jwt(jwt::Jwt),
    /// Random handles, looked up in the store.
    Opaque(opaque::Opaque),
    /// Signed JWTs as Sirv has them.
    Sirv(sirv::Sirv),
    /// Adobe's short media tokens.
    ShortMedia(short_media::ShortMedia),
}

/// The number of a new verifier, whatever its scheme: no two ever share cached verdicts.
fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// What a scheme makes of a token.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and moved once"
)]
pub enum Believed {
    /// It is true, and says this.
    Claims(Claims),
    /// It may be true; the store knows what it says.
    Handle(TokenId),
}

impl Scheme {
    /// Checks the presented token.
    ///
    /// # Errors
    /// `TokenError`.
    pub fn verify(&self, evidence: &Evidence<'_>) -> Result<Believed, TokenError> {
        match self {
            Self::Jwt(jwt) => jwt.verify(evidence).map(Believed::Claims),
            Self::Opaque(opaque) => opaque.id(evidence).map(Believed::Handle),
            Self::Sirv(sirv) => sirv.verify(evidence).map(Believed::Claims),
            Self::ShortMedia(short) => short.verify(evidence).map(Believed::Claims),
        }
    }

    /// Whether the presented token looks like one of this scheme: how schemes of one route are told apart.
    fn recognizes(&self, evidence: &Evidence<'_>) -> bool {
        match self {
            Self::Jwt(_) | Self::Sirv(_) => evidence.reveal().contains('.'),
            Self::Opaque(opaque) => opaque.recognizes(evidence),
            Self::ShortMedia(short) => short.recognizes(evidence),
        }
    }

    /// For a scheme whose verdict depends on nothing but the token: the number of the verifier and of its keys'
    /// generation, which a cached verdict is bound to. `None` when verdicts must not be cached.
    pub fn cache_stamp(&self) -> Option<[u64; 2]> {
        match self {
            Self::Jwt(jwt) => jwt.cache_stamp(),
            Self::Opaque(_) => None,
            Self::Sirv(sirv) => sirv.cache_stamp(),
            Self::ShortMedia(short) => short.cache_stamp(),
        }
    }

    /// The name in logs and in `explain`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Jwt(_) => "jwt",
            Self::Opaque(_) => "opaque",
            Self::Sirv(_) => "sirv",
            Self::ShortMedia(_) => "short_media",
        }
    }
}

/// The schemes of a route; at least one. Those whose tokens ride where the route's carriers say, at most one of a kind, and
/// those that judge whole requests.
#[derive(Debug)]
pub struct Schemes {
    carried: Box<[Scheme]>,
    signed: Box<[SignedScheme]>,
}

impl Schemes {
    /// In this order. `None` where both lists are empty.
    pub fn new(
        carried: impl IntoIterator<Item = Scheme>,
        signed: impl IntoIterator<Item = SignedScheme>,
    ) -> Option<Self> {
        let schemes = Self {
            carried: carried.into_iter().collect(),
            signed: signed.into_iter().collect(),
        };
        (!schemes.carried.is_empty() || !schemes.signed.is_empty()).then_some(schemes)
    }

    /// Those whose tokens ride where the carriers say.
    pub fn iter(&self) -> impl Iterator<Item = &Scheme> {
        self.carried.iter()
    }

    /// Those that judge whole requests.
    pub fn signed(&self) -> &[SignedScheme] {
        &self.signed
    }

    /// The one that a carried token is for, by its shape; the first where it looks like none. `None` where the route has no
    /// such scheme.
    pub fn of(&self, evidence: &Evidence<'_>) -> Option<&Scheme> {
        match &*self.carried {
            [only] => Some(only),
            several => several
                .iter()
                .find(|scheme| scheme.recognizes(evidence))
                .or(several.first()),
        }
    }

    /// How a refusal is answered before it is known which scheme its token is for.
    pub fn statuses(&self) -> Statuses {
        match (&*self.carried, &*self.signed) {
            ([], [first, ..]) => first.statuses(),
            _ => Statuses::Common,
        }
    }

    /// The scheme of signed JWTs.
    pub fn jwt(&self) -> Option<&jwt::Jwt> {
        self.iter().find_map(|scheme| match scheme {
            Scheme::Jwt(jwt) => Some(jwt),
            _ => None,
        })
    }

    /// The scheme of Sirv's tokens.
    pub fn sirv(&self) -> Option<&sirv::Sirv> {
        self.iter().find_map(|scheme| match scheme {
            Scheme::Sirv(sirv) => Some(sirv),
            _ => None,
        })
    }

    /// The scheme of short media tokens.
    pub fn short_media(&self) -> Option<&short_media::ShortMedia> {
        self.iter().find_map(|scheme| match scheme {
            Scheme::ShortMedia(short) => Some(short),
            _ => None,
        })
    }

    /// Their names.
    pub fn names(&self) -> String {
        let signed = self.signed.iter().map(|scheme| scheme.name());
        let names: Vec<&str> = self.iter().map(Scheme::name).chain(signed).collect();
        names.join(" or ")
    }
}
