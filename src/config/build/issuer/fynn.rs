//! `[issuer.fynn]` and `[issuer.fynn_invoice]`: which media their ids mean, and that no token opens the media of another
//! catalogue.

use std::sync::Arc;

use super::dialects::{Built, Parts, believes, takes_opaque};
use crate::config::build::{DAY, in_range, links, raw, seconds};
use crate::config::problems::Problems;
use crate::gate::route::Mapping;
use crate::issuer::{Fynn, FynnInvoice, Inventory, Native, NativeScheme};
use crate::media::Media;
use crate::token::carrier::{Carrier, PathPattern};
use crate::token::scheme::jwt::{KidHeader, Minter};

/// What `secondsValid` may say at most: from the least that may be asked for to a year.
const MAX_SECONDS: std::ops::RangeInclusive<u64> = 5..=366 * 86_400;

impl Parts<'_> {
    pub(super) fn fynn(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<Fynn> {
        let fynn = raw.fynn.as_ref()?;
        let media = self.inventory(&fynn.at, fynn.media.as_deref(), problems);
        let ttl = in_range(format!("{}.ttl", fynn.at), fynn.ttl, seconds(1), DAY, problems);
        let named = (&fynn.keys, &fynn.issuer, &fynn.audience);
        let minter = self
            .minter(&fynn.at, named, KidHeader::Unnamed, problems)
            .map(Arc::new);
        let (minter, media) = match minter.zip(media) {
            Some(both) => both,
            None => return Some(None),
        };
        self.opens_one_catalogue(&fynn.at, &minter, &media, problems);
        Some(Some(Fynn { minter, media, ttl }))
    }

    pub(super) fn fynn_invoice(&self, raw: &raw::Issuer, problems: &mut Problems) -> Built<FynnInvoice> {
        let invoice = raw.fynn_invoice.as_ref()?;
        let at = &invoice.at;
        let media = self.inventory(at, invoice.media.as_deref(), problems);
        if !MAX_SECONDS.contains(&invoice.max_seconds) {
            let hint = format!("{} to {}", MAX_SECONDS.start(), MAX_SECONDS.end());
            problems.error(format!("{at}.max_seconds"), "is out of range", hint);
        }
        let named = (&invoice.keys, &invoice.issuer, &invoice.audience);
        let minter = self.minter(at, named, KidHeader::Unnamed, problems).map(Arc::new);
        let pattern = self.link_path(invoice, minter.as_deref(), problems);
        let shared = raw.fynn.as_ref().is_some_and(|fynn| fynn.media == invoice.media);
        if shared && invoice.folder.is_none() {
            problems.warn(
                at,
                "hands out all media of the catalogue that [issuer.fynn] has, too",
                "name the `folder` of invoices",
            );
        }
        let (minter, media) = match minter.zip(media) {
            Some(both) => both,
            None => return Some(None),
        };
        if invoice.folder.is_some() && matches!(*media.media, Media::Template(_)) {
            problems.error(
                format!("{at}.folder"),
                "does not go with a template, of whose media nothing is known",
                "take it out, or name a catalogue with `file`",
            );
        }
        self.opens_one_catalogue(at, &minter, &media, problems);
        Some(pattern.map(|()| FynnInvoice {
            minter,
            media,
            folder: invoice.folder.as_deref().map(Box::from),
            max_seconds: invoice.max_seconds,
            path: invoice.path.as_str().into(),
        }))
    }

    /// The path of links, which some route that believes their tokens should have.
    fn link_path(
        &self,
        invoice: &raw::FynnInvoice,
        minter: Option<&Minter>,
        problems: &mut Problems,
    ) -> Option<()> {
        let at = format!("{}.path", invoice.at);
        let hint = "write \"/invoices/{id}/download/{token}\", as a path carrier of a route";
        let pattern = match PathPattern::parse(&invoice.path) {
            Ok(pattern) if pattern.variables().eq(["id"]) => pattern,
            Ok(_) => {
                problems.error(at, "has other variables than {id} and {token}", hint);
                return None;
            }
            Err(what) => {
                problems.error(at, what, hint);
                return None;
            }
        };
        let carrier = Carrier::PathSegment(pattern);
        let takes = |built: &&super::RouteBuilt| built.route.carriers.iter().any(|one| *one == carrier);
        let minter = minter?;
        let mut routes = self.routes.built.iter().filter(|built| believes(built, minter));
        let first = routes.next();
        if first.is_some() && !first.into_iter().chain(routes).any(|built| takes(&built)) {
            problems.warn(
                at,
                "no route that accepts its tokens has such a path carrier",
                hint,
            );
        }
        Some(())
    }

    /// The media of a name, and the origin that is asked for them.
    fn inventory(&self, at: &str, name: Option<&str>, problems: &mut Problems) -> Option<Inventory> {
        let name = name?;
        if !self.media.media.contains_key(name) && !problems.has(&format!("media.{name}")) {
            links::unknown(&format!("{at}.media"), "media catalogue", "media", name, problems);
        }
        let media = self.media.media.get(name)?.clone()?;
        Some(Inventory::new(media, self.media.asked.get(name).cloned()))
    }

    /// A token names an id and no catalogue, so a route that believes it has to mean the same by ids.
    pub(super) fn opens_one_catalogue(
        &self,
        at: &str,
        minter: &Minter,
        media: &Inventory,
        problems: &mut Problems,
    ) {
        let other = self.of_another_catalogue(&media.media, |built| believes(built, minter));
        if let Some(other) = other {
            problems.error(
                format!("{at}.audience"),
                format!("its tokens open media of another catalogue at {}", other.at),
                "give each catalogue an audience of its own",
            );
        }
    }

    /// `POST /v1/tokens` names ids of the catalogue of `[issuer.fynn]`, and no route may mean another's by its tokens. Opaque
    /// ones have no audience: all routes that take them mean one catalogue.
    pub(super) fn native_opens_one_catalogue(
        &self,
        at: &str,
        native: &Native,
        fynn: &Fynn,
        problems: &mut Problems,
    ) {
        for scheme in &native.schemes {
            match scheme {
                NativeScheme::Jwt { minter, .. } => {
                    self.opens_one_catalogue(at, minter, &fynn.media, problems);
                }
                NativeScheme::Opaque { .. } => {
                    if let Some(other) = self.of_another_catalogue(&fynn.media.media, takes_opaque) {
                        problems.error(
                            format!("{}.scheme.opaque", other.at),
                            "takes tokens of POST /v1/tokens for media of another catalogue than that of [issuer.fynn]",
                            "take it out, or \"opaque\" out of `issuer.native.schemes`",
                        );
                    }
                }
                NativeScheme::Sirv { .. } | NativeScheme::ShortMedia => {}
            }
        }
    }

    /// The first of these routes that means another catalogue.
    fn of_another_catalogue(
        &self,
        media: &Arc<Media>,
        is_one: impl Fn(&super::RouteBuilt) -> bool,
    ) -> Option<&super::RouteBuilt> {
        let mut routes = self.routes.built.iter();
        routes.find(|built| {
            let mapping = &built.route.mapping;
            is_one(built) && matches!(mapping, Mapping::Media(other) if !Arc::ptr_eq(other, media))
        })
    }
}
