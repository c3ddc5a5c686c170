//! Which paths are the landing's. Compared as they were sent: there is one way to write them.

/// The languages of a path: how many letters, digits and hyphens.
const LANGUAGE: std::ops::RangeInclusive<usize> = 2..=8;

/// One segment of a template.
#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// Exactly this.
    Text(Box<str>),
    /// `{lang}`.
    Language,
}

/// A path in which `{lang}` stands for one segment.
#[derive(Debug, PartialEq, Eq)]
pub struct PathTemplate(Box<[Segment]>);

impl PathTemplate {
    /// Reads `/login`, `/{lang}/user/login`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("does not start with a slash")?;
        rest.split('/')
            .map(|segment| match segment {
                "" => Err("has an empty segment"),
                "." | ".." => Err("has a dot segment"),
                "{lang}" => Ok(Segment::Language),
                text if text.bytes().all(is_plain) => Ok(Segment::Text(text.into())),
                _ => Err("has a segment of other letters than A-Z, a-z, 0-9, -, ., _ and ~"),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// A path of it, with this language.
    pub fn path(&self, language: &str) -> String {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Text(text) => text,
            Segment::Language => language,
        });
        segments.fold(String::new(), |path, segment| path + "/" + segment)
    }

    /// Whether a path, as it was sent, is one of this template's.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return false;
        };
        let mut segments = rest.split('/');
        self.0
            .iter()
            .all(|own| segments.next().is_some_and(|segment| own.is(segment)))
            && segments.next().is_none()
    }
}

impl Segment {
    fn is(&self, segment: &str) -> bool {
        match self {
            Self::Text(text) => **text == *segment,
            Self::Language => {
                LANGUAGE.contains(&segment.len())
                    && segment
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            }
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_one_short_segment_and_the_rest_is_exact() {
        let template = PathTemplate::parse("/{lang}/user/login").unwrap();
        for path in ["/en/user/login", "/pt-BR/user/login", "/12345678/user/login"] {
            assert!(template.matches(path), "{path}");
        }
        for path in [
            "/user/login",
            "/e/user/login",
            "/123456789/user/login",
            "/en/user/login/",
            "/en/user/login/x",
            "/en/en/user/login",
            "/e%6e/user/login",
            "//user/login",
            "/en/User/login",
            "en/user/login",
            "",
        ] {
            assert!(!template.matches(path), "{path}");
        }
    }

    #[test]
    fn templates_are_plain_paths() {
        for text in [
            "",
            "login",
            "/",
            "//login",
            "/login/",
            "/../login",
            "/{sub}/login",
            "/log in",
            "/l%6fgin",
            "/login?x",
            "/{lang}x/login",
        ] {
            assert!(PathTemplate::parse(text).is_err(), "{text}");
        }
    }
}
