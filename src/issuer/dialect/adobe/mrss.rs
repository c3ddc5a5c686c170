//! A resource that is described by MRSS: `<rss version="2.0"><channel><title>REF30</title></channel></rss>` means `REF30`.
//! A small, flat document without declarations of its own: what could grow when it is read is refused.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::token::scheme::short_media::xml::referenced;

/// The deepest element.
const MAX_DEPTH: usize = 16;
const WHERE: [&str; 3] = ["rss", "channel", "title"];

const BROKEN: &str = "The resource is no well-formed MRSS.";
const DECLARES: &str = "The resource's MRSS has a declaration or a processing instruction.";
const UNTITLED: &str = "The resource's MRSS has not exactly one title of its channel.";

/// The title of the channel.
pub(super) fn channel_title(text: &str) -> Result<String, &'static str> {
    let mut reader = Reader::from_str(text.trim());
    // An empty title is one, however it is written.
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<String> = Vec::new();
    let mut title: Option<String> = None;
    let (mut starts, mut channels) = (0, 0);
    loop {
        let event = reader.read_event().map_err(|_| BROKEN)?;
        let is_title = path.iter().map(String::as_str).eq(WHERE);
        let said = match event {
            Event::Start(tag) => {
                starts += usize::from(path.is_empty());
                path.push(tag.name().as_ref().to_owned());
                if path.len() > MAX_DEPTH || starts > 1 {
                    return Err(BROKEN);
                }
                channels += usize::from(path.iter().map(String::as_str).eq(WHERE[..2].iter().copied()));
                if channels > 1 {
                    return Err(UNTITLED);
                }
                if path.iter().map(String::as_str).eq(WHERE) && title.replace(String::new()).is_some() {
                    return Err(UNTITLED);
                }
                None
            }
            Event::End(_) => {
                path.pop();
                None
            }
            Event::Empty(_) if path.is_empty() => return Err(BROKEN),
            Event::Text(text) if path.is_empty() && !text.trim().is_empty() => return Err(BROKEN),
            Event::Text(text) => Some(text.to_string()),
            Event::CData(text) => Some(text.to_string()),
            Event::GeneralRef(name) => Some(referenced(&name).ok_or(DECLARES)?.to_string()),
            Event::Decl(_) if starts == 0 => None,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => return Err(DECLARES),
            Event::Empty(_) | Event::Comment(_) => None,
            Event::Eof => break,
        };
        if let (true, Some(said), Some(title)) = (is_title, said, &mut title) {
            title.push_str(&said);
        }
    }
    if !path.is_empty() {
        return Err(BROKEN);
    }
    let title = title.unwrap_or_default();
    match title.trim() {
        "" => Err(UNTITLED),
        title => Ok(title.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_title_is_the_resource() {
        for (text, title) in [
            (
                r#"<rss version="2.0"><channel><title>REF30</title></channel></rss>"#,
                "REF30",
            ),
            (
                r#"<?xml version="1.0"?><rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel>
                <title> REF&amp;30&#33; </title><item><title>Pilot</title><guid>1</guid>
                <media:rating scheme="urn:mpaa">pg</media:rating></item></channel></rss>"#,
                "REF&30!",
            ),
            (
                "<rss><channel><title><![CDATA[A<B]]></title></channel></rss>",
                "A<B",
            ),
            (
                "<rss><channel><title>A<!-- x -->B</title><media:title>C</media:title></channel></rss>",
                "AB",
            ),
        ] {
            assert_eq!(channel_title(text).as_deref(), Ok(title), "{text}");
        }
    }

    #[test]
    fn declarations_entities_and_broken_documents_are_refused() {
        let deep = format!(
            "<rss><channel>{}{}</channel></rss>",
            "<a>".repeat(20),
            "</a>".repeat(20)
        );
        for (text, why) in [
            (
                "<!DOCTYPE rss [<!ENTITY x \"REF30\">]><rss><channel><title>&x;</title></channel></rss>",
                DECLARES,
            ),
            ("<rss><channel><title>&xxe;</title></channel></rss>", DECLARES),
            (
                "<rss><?php x?><channel><title>A</title></channel></rss>",
                DECLARES,
            ),
            ("<rss><channel><title>A</title></channel>", BROKEN),
            ("<rss><channel><title>A</channel></title></rss>", BROKEN),
            ("<rss><channel><title>A</title></channel></rss><rss/>", BROKEN),
            ("<rss><channel><title>A</title></channel></rss>x", BROKEN),
            (
                "<rss><channel><title>A</title></channel></rss><rss></rss>",
                BROKEN,
            ),
            (&deep, BROKEN),
            (
                "<rss><channel><title>A</title><title>B</title></channel></rss>",
                UNTITLED,
            ),
            ("<rss><channel><title></title></channel></rss>", UNTITLED),
            ("<rss><channel><title/></channel></rss>", UNTITLED),
            ("<rss><title>A</title></rss>", UNTITLED),
            ("<feed><channel><title>A</title></channel></feed>", UNTITLED),
        ] {
            assert_eq!(channel_title(text), Err(why), "{text}");
        }
    }
}
