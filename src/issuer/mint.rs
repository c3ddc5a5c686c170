//! Rules and minting: which caller may have which scope, for how long, how often; never more than its own right.

use std::time::Duration;

use crate::token::Methods;
use crate::token::scope::ScopeTemplate;

/// What a caller may have.
#[derive(Debug)]
pub struct Rule {
    /// The caller's subject; `None` is any.
    pub caller: Option<Box<str>>,
    /// The scope value that the caller's bearer must carry (`scope`, space-separated), as `media:read`.
    pub requires: Box<str>,
    /// What its tokens may open; `{sub}` is the caller's subject.
    pub paths: Vec<ScopeTemplate>,
    /// The methods its tokens may be good for.
    pub methods: Methods,
    /// The longest life of a token.
    pub max_ttl: Duration,
    /// The life of a token where the caller names none.
    pub default_ttl: Duration,
    /// Tokens per minute and caller; `None` is no limit.
    pub per_minute: Option<u32>,
    /// Folders of the catalogue whose media it may hand out; `None` is all.
    pub folders: Option<Box<[Box<str>]>>,
    /// Whether only media that the caller owns (`owner` = its subject) may be handed out.
    pub own_media_only: bool,
    /// Whether a token may name another subject than the caller's own.
    pub any_subject: bool,
}
