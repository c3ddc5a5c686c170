//! Whose JWTs a verifier reads: our own, or those that another product's backend signs. A profile says which claims have to
//! be there, which one names the path, and which restrict in a way that is not enforced here, so that they refuse the token.

use crate::token::TokenError;
use crate::token::json::{Json, Object};

/// The maker of JWTs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Profile {
    /// Ours: `iss` and `aud` are demanded.
    #[default]
    Native,
    /// Mux (docs.mux.com, "Secure video playback"): `sub` is the playback id, `aud` is `v` for videos.
    Mux,
    /// Cloudflare Stream (developers.cloudflare.com/stream, "Secure your Stream"): the token stands in the place of the video
    /// id, which is its `sub`.
    CloudflareStream,
    /// AWS IVS (docs.aws.amazon.com/ivs, "Setting up private channels"): ES384; the channel is in `aws:channel-arn`.
    AwsIvs,
    /// JW Player (docs.jwplayer.com, "Protect your content with signed URLs"): `resource` is the path.
    JwPlayer,
    /// nginx Plus (`ngx_http_auth_jwt_module`): signature and times, and what `require` says.
    NginxPlus,
}

impl Profile {
    /// All of them, by the names that the configuration has for them.
    pub const ALL: [(&'static str, Self); 6] = [
        ("native", Self::Native),
        ("mux", Self::Mux),
        ("cloudflare_stream", Self::CloudflareStream),
        ("aws_ivs", Self::AwsIvs),
        ("jw_player", Self::JwPlayer),
        ("nginx_plus", Self::NginxPlus),
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(_, profile)| *profile == self);
        known.map_or("native", |(name, _)| name)
    }

    /// The audience where the configuration names none.
    pub fn audience(self) -> Option<&'static str> {
        match self {
            Self::Mux => Some("v"),
            _ => None,
        }
    }

    /// The claim that is the path which the token opens.
    pub(super) fn path_claim(self) -> Option<&'static str> {
        match self {
            Self::JwPlayer => Some("resource"),
            _ => None,
        }
    }

    /// Claims that restrict, and are not enforced here.
    fn restrictions(self) -> &'static [&'static str] {
        match self {
            // The domains and user agents are kept at Mux.
            Self::Mux => &["playback_restriction_id"],
            Self::CloudflareStream => &["accessRules"],
            Self::AwsIvs => &[
                "aws:strict-origin-enforcement",
                "aws:single-use-uuid",
                "aws:maximum-resolution",
            ],
            Self::Native | Self::JwPlayer | Self::NginxPlus => &[],
        }
    }

    /// Refuses a token with a restriction that is not enforced here.
    pub(super) fn check(self, members: &Object<'_>) -> Result<(), TokenError> {
        let restricts = |name: &&str| !matches!(members.get(name), None | Some(Json::Bool(false)));
        match self.restrictions().iter().any(restricts) {
            true => Err(TokenError::Invalid(
                "it has a restriction that is not enforced here",
            )),
            false => Ok(()),
        }
    }
}
