//! Which media a caller may hand out: what the dialect's interface offers, within what the rule allows.

use super::{Rule, is_file_name};
use crate::issuer::caller::Caller;
use crate::issuer::refusal::IssueRefusal;
use crate::media::{Known, Media, MediaId};

/// Which media a dialect may hand out, before any rule is asked.
#[derive(Clone, Copy, Default)]
pub struct Offer<'d> {
    /// The media; `None` knows of none.
    pub media: Option<&'d Media>,
    /// The one folder; others look unknown.
    pub folder: Option<&'d str>,
    /// Only what the caller owns, whatever the rule says.
    pub own_only: bool,
}

impl Offer<'_> {
    /// Whether the caller may hand out the medium, and the name to save it under, where that is known.
    pub(super) fn file_name(
        self,
        rule: &Rule,
        caller: &Caller,
        id: &MediaId,
    ) -> Result<Option<Box<str>>, IssueRefusal> {
        let Some(media) = self.media else {
            return Err(IssueRefusal::violation("media", "No media are configured here."));
        };
        let own_only = rule.own_media_only || self.own_only;
        let restricted = own_only || rule.folders.is_some() || self.folder.is_some();
        match media.find(id) {
            Known::No => Err(IssueRefusal::NotFound("There is no such medium.")),
            // Owner and folder are unknown, so the restriction can't be enforced.
            Known::Path(_) if restricted => Err(IssueRefusal::NotAllowed(
                "This caller may have some media alone, which needs a catalogue.",
            )),
            Known::Path(_) => Ok(None),
            // The same answer as for an unknown one: nobody learns what others have.
            Known::Medium(medium) if own_only && medium.owner.as_deref() != Some(caller.subject()) => {
                Err(IssueRefusal::NotFound("There is no such medium."))
            }
            Known::Medium(medium) if self.folder.is_some() && medium.folder.as_deref() != self.folder => {
                Err(IssueRefusal::NotFound("There is no such medium."))
            }
            Known::Medium(medium) => {
                let folder = medium.folder.as_deref();
                let allowed = |folders: &[Box<str>]| folders.iter().any(|name| Some(&**name) == folder);
                if rule.folders.as_deref().is_some_and(|folders| !allowed(folders)) {
                    return Err(IssueRefusal::violation(
                        "media",
                        "This caller may not hand out media of this folder.",
                    ));
                }
                let name = medium.file_name();
                Ok(is_file_name(name).then(|| name.into()))
            }
        }
    }
}
