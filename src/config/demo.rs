//! The link that `demo = true` prints on start: for the first file of the first route that can be opened in a browser.
//! The only place besides `Location` where a token is shown.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::policy::Policy;
use super::raw;
use crate::clock::UnixTime;
use crate::gate::route::{Mapping, ScopeRule};
use crate::target::encode_segment;
use crate::token::carrier::Carrier;
use crate::token::claims::TokenId;
use crate::token::keys::LogKey;
use crate::token::scheme::jwt::Minter;
use crate::token::{Claims, MintToken, Opens, Scope, TokenError};

/// How long the demo link is good for.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is needed to print a link.
#[derive(Debug)]
pub struct Demo {
    /// `http://127.0.0.1:8080/clip.mp4?t=`, to which the token is appended.
    pub link_start: String,
    /// The one-line command that makes the next link.
    pub next: String,
    minter: Minter,
    path: String,
}

impl Demo {
    /// A link that is good for a day, any number of times.
    ///
    /// # Errors
    /// When signing fails.
    pub fn link(&self, now: UnixTime) -> Result<String, TokenError> {
        let claims = Claims {
            subject: Some("demo".into()),
            expires: Some(now.after(LIFE)),
            scope: Some(Scope(Box::new([Opens::Exact(self.path.as_str().into())]))),
            ..Claims::empty(TokenId([0; 16]))
        };
        Ok(format!(
            "{}{}",
            self.link_start,
            self.minter.mint(&claims, now)?.text
        ))
    }
}

/// Chooses the route and the file; `None` where no route fits.
pub(super) fn choose(
    file: &raw::File,
    config: &Path,
    folder: &Path,
    policies: &[Policy],
    log_key: &Arc<LogKey>,
) -> Option<Demo> {
    policies.iter().find_map(|policy| {
        let route = &policy.route;
        let query = route.carriers.iter().find_map(|carrier| match carrier {
            Carrier::Query { names } => names.first(),
            _ => None,
        })?;
        let whole = matches!(route.mapping, Mapping::Same) && !matches!(route.scope, ScopeRule::Template(_));
        let named = |raw: &&raw::Route| raw.name.as_deref() == Some(&*route.name);
        let raw::Origin::Folder(root) = file.origin.get(file.route.iter().find(named)?.origin.as_ref()?)?
        else {
            return None;
        };
        let root = folder.join(root.root.as_ref()?);
        let name = first_file(&root.join(route.prefix.trim_start_matches('/'))).filter(|_| whole)?;
        let minter = policy.keys.as_ref()?.minter(log_key)?;
        let public = route.public.as_ref()?;
        let path = format!("{}/{name}", route.prefix);
        let encoded = path
            .split('/')
            .skip(1)
            .map(encode_segment)
            .collect::<Result<Vec<_>, _>>()
            .ok()?
            .join("/");
        let config = match config.to_str() {
            Some("proxy.toml") => String::new(),
            _ => format!(" --config {}", config.display()),
        };
        Some(Demo {
            link_start: format!("{}://{}/{encoded}?{query}=", public.scheme, public.authority),
            next: format!("mediagate{config} token mint --path {path}"),
            minter,
            path,
        })
    })
}

/// A file that a browser shows: a film before a picture before anything else, each by name.
fn first_file(folder: &Path) -> Option<String> {
    let rank = |name: &str| match name.rsplit('.').next() {
        Some("mp4" | "webm") => 0,
        Some("jpg" | "png" | "webp") => 1,
        _ => 2,
    };
    let names = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && encode_segment(name).is_ok())
        .min_by_key(|name| (rank(name), name.clone()))
}
