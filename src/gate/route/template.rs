//! Paths of routes with variables: `/[{lang}/]api/public/billing/invoices/{id}/pdf`. A variable is one whole segment; what
//! stands in brackets may be absent.

use std::fmt;

use crate::token::carrier::Variables;

/// The path of a route, with variables.
#[derive(Clone, PartialEq, Eq)]
pub struct RouteTemplate(Box<[Segment]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    Variable(Box<str>),
}

/// The segments of a decoded path.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/')
        .filter(|rest| !rest.is_empty())
        .into_iter()
        .flat_map(|rest| rest.split('/'))
}

impl RouteTemplate {
    /// Whether a route's path is one.
    pub fn is_one(path: &str) -> bool {
        path.contains(['{', '['])
    }

    /// Reads a path: one template, or two where a part of it may be absent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(path: &str) -> Result<Vec<Self>, &'static str> {
        let Some((before, rest)) = path.split_once('[') else {
            return Ok(vec![Self::parse_one(path)?]);
        };
        let (part, after) = rest.split_once(']').ok_or("has a bracket that is not closed")?;
        if after.contains(['[', ']']) || part.is_empty() {
            return Err("has more than one part in brackets, or an empty one");
        }
        if !(before.ends_with('/') && part.ends_with('/')) {
            return Err("has brackets around something else than whole segments");
        }
        Ok(vec![
            Self::parse_one(&format!("{before}{after}"))?,
            Self::parse_one(&format!("{before}{part}{after}"))?,
        ])
    }

    fn parse_one(path: &str) -> Result<Self, &'static str> {
        if !path.starts_with('/') || path.contains(['?', '#', '%', '*', '\\']) {
            return Err("is not a plain path");
        }
        let mut names: Vec<&str> = Vec::new();
        let parsed: Vec<Segment> = segments(path.trim_end_matches('/'))
            .map(|segment| {
                let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                match name {
                    Some(name) if is_name(name) && !names.contains(&name) => {
                        names.push(name);
                        Ok(Segment::Variable(name.into()))
                    }
                    Some(_) => Err("has a variable without a name, or one twice"),
                    None if segment.contains(['{', '}', '[', ']']) => {
                        Err("has a variable that is not a whole segment")
                    }
                    None if matches!(segment, "" | "." | "..") => Err("has a segment that no path has"),
                    None => Ok(Segment::Text(segment.into())),
                }
            })
            .collect::<Result<_, _>>()?;
        if parsed.is_empty() {
            return Err("is empty");
        }
        Ok(Self(parsed.into()))
    }

    /// The names of its variables.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(&**name),
            Segment::Text(_) => None,
        })
    }

    /// How many segments it has.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether a decoded path is it, or lies below it.
    pub fn covers(&self, path: &str) -> bool {
        let mut theirs = segments(path);
        self.0.iter().all(|segment| match (segment, theirs.next()) {
            (_, None) => false,
            (Segment::Text(text), Some(theirs)) => **text == *theirs,
            (Segment::Variable(_), Some(theirs)) => !theirs.is_empty(),
        })
    }

    /// Whether a decoded path is it, and nothing below it.
    pub fn is(&self, path: &str) -> bool {
        segments(path).count() == self.0.len() && self.covers(path)
    }

    /// The values of its variables in a path that it covers.
    pub fn variables(&self, path: &str) -> Variables {
        self.0
            .iter()
            .zip(segments(path))
            .filter_map(|(segment, theirs)| match segment {
                Segment::Variable(name) => Some((name.clone(), theirs.into())),
                Segment::Text(_) => None,
            })
            .collect()
    }

    /// Whether the same paths are covered, whatever the variables are called.
    pub fn is_alike(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|pair| match pair {
                (Segment::Text(ours), Segment::Text(theirs)) => ours == theirs,
                (Segment::Variable(_), Segment::Variable(_)) => true,
                _ => false,
            })
    }
}

impl fmt::Display for RouteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Text(text) => write!(f, "/{text}"),
            Segment::Variable(name) => write!(f, "/{{{name}}}"),
        })
    }
}

impl fmt::Debug for RouteTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(path: &str) -> RouteTemplate {
        RouteTemplate::parse(path).unwrap().remove(0)
    }

    #[test]
    fn a_variable_is_one_segment() {
        let template = one("/api/{id}/pdf");
        for (path, covers, is) in [
            ("/api/42/pdf", true, true),
            ("/api/42/pdf/", true, false),
            ("/api/42/pdf/more", true, false),
            ("/api//pdf", false, false),
            ("/api/42", false, false),
            ("/api/4/2/pdf", false, false),
            ("/API/42/pdf", false, false),
            ("/", false, false),
        ] {
            assert_eq!((template.covers(path), template.is(path)), (covers, is), "{path}");
        }
        assert_eq!(
            template.variables("/api/a b/pdf").to_vec(),
            [("id".into(), "a b".into())]
        );
        assert_eq!(template.names().collect::<Vec<_>>(), ["id"]);
    }

    #[test]
    fn what_stands_in_brackets_may_be_absent() {
        let both = RouteTemplate::parse("/[{lang}/]api/public").unwrap();
        assert_eq!(both.iter().map(RouteTemplate::depth).collect::<Vec<_>>(), [2, 3]);
        assert!(both[0].covers("/api/public/x") && both[1].covers("/en/api/public/x"));
        assert!(one("/a/{x}").is_alike(&one("/a/{y}")) && !one("/a/{x}").is_alike(&one("/a/b")));
    }

    #[test]
    fn what_can_have_two_meanings_is_no_template() {
        for bad in [
            "",
            "api/{id}",
            "/",
            "/{}",
            "/{id}x",
            "/x{id}",
            "/{id}/{id}",
            "/{a b}",
            "/a//{id}",
            "/../{id}",
            "/%41/{id}",
            "/a/[{lang}",
            "/a[/{lang}]",
            "/[{lang}/][x/]a",
            "/[]a",
            "/a/*",
            "/{id}?x",
        ] {
            assert!(RouteTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
