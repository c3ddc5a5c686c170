//! What is signed: a text with placeholders, read once. Not a language: the placeholders below, and nothing nested. Literal
//! text stands for itself, `{{` and `}}` for braces. Between two pieces that a client can choose stands best what neither can
//! hold: a line feed.
//!
//! Some published formats have nothing between, and what that leaves open can't be mended here. A path before an address, as in
//! nginx's `{path}{ip}`: a client at 1.2.3.4 can present the link of 11.2.3.4 for `/a` as one for `/a1`. That is let be, for
//! nobody chooses his address, and the file has to exist. A time between such two, `{path}{expires}{ip}`, would be moved as well:
//! that has to be asked for (`touching = true`), and its times are at most ten years away. A time through which one digit was
//! moved is further, until late in 2028; one through which two were moved need not be. Own formats have a line feed there.
//!
//! | placeholder | stands for |
//! |---|---|
//! | `{secret}` | the key; for hashes that are no HMAC |
//! | `{path}` | the path, decoded, without the segments of the token and what stands before them |
//! | `{dir}` | `{path}` up to its last slash, without that |
//! | `{segments:2}` | the first segments of `{path}`: `/a/b` of `/a/b/c`; all of it where it has no more |
//! | `{link}`, `{link:2}` | `{path}` and `{segments:2}` without the slash before them |
//! | `{path_raw}`, `{dir_raw}`, `{segments_raw:2}`, `{link_raw}`, `{link_raw:2}` | the same as the client wrote it |
//! | `{expires}`, `{issued}` | the time as the link writes it: when it ends, or when it was issued |
//! | `{expires_hex}`, `{issued_hex}` | the same in seconds, eight hexadecimal digits in lower case |
//! | `{starts}` | from when it is good, as the link writes it |
//! | `{lifetime}` | how many seconds it is good, as the link writes it |
//! | `{id}`, `{subject}` | the token's own id, and whom it is for, as the link writes them |
//! | `{ip}` | the client's address; IPv6 in its short form (RFC 5952) |
//! | `{scheme}`, `{host}` | of the public address, with the port where that is not the scheme's own |
//! | `{query_without_token}` | the query as it was sent, without the token's parameters |
//! | `{and_query}` | `?` and that; nothing where it is empty |
//! | `{sorted_query}` | its parameters as they were sent, sorted by their bytes, with `&` between |
//! | `{arg:name}` | the raw value of one of its parameters; nothing where it is absent |
//! | `{header:name}` | a header's value; nothing where it is absent |
//! | `{sorted:start}` | the parameters whose names start so, save the MAC's, and the secret, sorted, with `&` between |
//! | `{sorted_ip:start}` | the same with the client's address among them (Wowza) |

use http::HeaderName;
use smallvec::SmallVec;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// The most pieces of a pattern: placeholders, and the texts between.
pub const MAX_PIECES: usize = 32;
/// The most segments that a placeholder counts.
const MAX_SEGMENTS: u8 = 16;
/// The longest name in a placeholder.
const MAX_NAME_BYTES: usize = 64;

/// Why a pattern is refused. Safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// It has none.
    #[error("the pattern is empty")]
    Empty,
    /// Longer than `MAX_PATTERN_BYTES`.
    #[error("a pattern has at most 1024 bytes")]
    TooLong,
    /// More than `MAX_PIECES`.
    #[error("a pattern has at most 32 placeholders and texts between them")]
    TooManyPieces,
    /// A brace without its other half.
    #[error("a placeholder is written {{name}}, and a brace that is none is doubled")]
    Brace,
    /// It would hide where a message ends.
    #[error("a pattern has no zero byte")]
    Zero,
    /// No such placeholder.
    #[error("there is no placeholder {{{0}}}")]
    Unknown(Box<str>),
    /// Something is wrong behind its colon.
    #[error("the placeholder {{{0}}} is written {1}")]
    Argument(Box<str>, &'static str),
}

/// What is signed, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub(super) pieces: Box<[Piece]>,
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<str>),
    Secret,
    Path { part: Part, form: Form },
    Expires(TimeForm),
    Issued(TimeForm),
    Starts,
    Lifetime,
    Id,
    Subject,
    Address,
    Scheme,
    Host,
    Query,
    AndQuery,
    SortedQuery,
    Argument(Box<str>),
    Header(HeaderName),
    Sorted { start: Box<str>, address: bool },
}

/// How much of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Directory,
    First(u8),
    /// Without the slash before it.
    Link,
    FirstLink(u8),
}

/// Which of its two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Decoded,
    Raw,
}

/// How a time stands in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    AsSent,
    Hex,
}

impl Pattern {
    /// Reads a pattern. Whether it signs enough is judged with the other rules.
    ///
    /// # Errors
    /// `BadPattern`.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() {
            return Err(BadPattern::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(BadPattern::TooLong);
        }
        if text.contains('\0') {
            return Err(BadPattern::Zero);
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in read(text) {
            pieces.push(match piece? {
                Written::Text(text) => Piece::Text(text.into()),
                Written::Placeholder(name) => Piece::parse(name)?,
            });
            if pieces.len() > MAX_PIECES {
                return Err(BadPattern::TooManyPieces);
            }
        }
        Ok(Self {
            pieces: pieces.into(),
        })
    }

    /// Whether a piece of it is like this.
    pub(super) fn any(&self, what: impl Fn(&Piece) -> bool) -> bool {
        self.pieces.iter().any(what)
    }

    /// What the names of the parameters start with that are signed together.
    pub(super) fn family(&self) -> Option<&str> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Sorted { start, .. } => Some(&**start),
            _ => None,
        })
    }
}

impl Piece {
    fn parse(name: &str) -> Result<Self, BadPattern> {
        let (word, argument) = match name.split_once(':') {
            Some((word, argument)) => (word, Some(argument)),
            None => (name, None),
        };
        let (word, form) = match word.strip_suffix("_raw") {
            Some(word) => (word, Form::Raw),
            None => (word, Form::Decoded),
        };
        let path = |part| Ok(Self::Path { part, form });
        match (word, form, argument) {
            ("path", _, None) => return path(Part::Whole),
            ("dir", _, None) => return path(Part::Directory),
            ("segments", _, Some(count)) => return path(Part::First(segments(name, count)?)),
            ("link", _, None) => return path(Part::Link),
            ("link", _, Some(count)) => return path(Part::FirstLink(segments(name, count)?)),
            (_, Form::Raw, _) => return Err(BadPattern::Unknown(name.into())),
            _ => {}
        }
        Ok(match (word, argument) {
            ("secret", None) => Self::Secret,
            ("expires", None) => Self::Expires(TimeForm::AsSent),
            ("expires_hex", None) => Self::Expires(TimeForm::Hex),
            ("issued", None) => Self::Issued(TimeForm::AsSent),
            ("issued_hex", None) => Self::Issued(TimeForm::Hex),
            ("starts", None) => Self::Starts,
            ("lifetime", None) => Self::Lifetime,
            ("id", None) => Self::Id,
            ("subject", None) => Self::Subject,
            ("ip", None) => Self::Address,
            ("scheme", None) => Self::Scheme,
            ("host", None) => Self::Host,
            ("query_without_token", None) => Self::Query,
            ("and_query", None) => Self::AndQuery,
            ("sorted_query", None) => Self::SortedQuery,
            ("arg", Some(argument)) => Self::Argument(parameter(name, argument)?),
            ("header", Some(header)) => Self::Header(
                header
                    .parse()
                    .ok()
                    .filter(|_| header.len() <= MAX_NAME_BYTES)
                    .ok_or_else(|| BadPattern::Argument(name.into(), "with a header's name"))?,
            ),
            ("sorted" | "sorted_ip", Some(start)) => Self::Sorted {
                start: parameter(name, start)?,
                address: word == "sorted_ip",
            },
            _ => return Err(BadPattern::Unknown(name.into())),
        })
    }

    /// The placeholder, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Secret => "{secret}",
            Self::Path { part, .. } => match part {
                Part::Whole => "{path}",
                Part::Directory => "{dir}",
                Part::First(_) => "{segments}",
                Part::Link | Part::FirstLink(_) => "{link}",
            },
            Self::Expires(_) => "{expires}",
            Self::Issued(_) => "{issued}",
            Self::Starts => "{starts}",
            Self::Lifetime => "{lifetime}",
            Self::Id => "{id}",
            Self::Subject => "{subject}",
            Self::Address => "{ip}",
            Self::Scheme => "{scheme}",
            Self::Host => "{host}",
            Self::Query => "{query_without_token}",
            Self::AndQuery => "{and_query}",
            Self::SortedQuery => "{sorted_query}",
            Self::Argument(_) => "{arg}",
            Self::Header(_) => "{header}",
            Self::Sorted { .. } => "{sorted}",
        }
    }
}

/// A piece of a text with placeholders.
pub(super) enum Written<'t> {
    Text(String),
    Placeholder(&'t str),
}

/// The pieces of a text with placeholders; what stands between two of them is one piece.
pub(super) fn read(text: &str) -> impl Iterator<Item = Result<Written<'_>, BadPattern>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut literal = String::new();
        loop {
            let at = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            rest = from;
            let doubled = [("{{", '{'), ("}}", '}')];
            if let Some((pair, brace)) = doubled.into_iter().find(|(pair, _)| from.starts_with(pair)) {
                literal.push(brace);
                rest = from.get(pair.len()..).unwrap_or_default();
            } else if !literal.is_empty() {
                return Some(Ok(Written::Text(literal)));
            } else if from.is_empty() {
                return None;
            } else {
                let inner = from.strip_prefix('{').and_then(|from| from.split_once('}'));
                let Some((name, after)) = inner.filter(|(name, _)| !name.contains('{')) else {
                    rest = "";
                    return Some(Err(BadPattern::Brace));
                };
                rest = after;
                return Some(Ok(Written::Placeholder(name)));
            }
        }
    })
}

fn segments(name: &str, count: &str) -> Result<u8, BadPattern> {
    let digits = count.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| count.parse().ok())
        .flatten()
        .filter(|count| (1..=MAX_SEGMENTS).contains(count))
        .ok_or_else(|| BadPattern::Argument(name.into(), "with a number of segments, from 1 to 16"))
}

fn parameter(name: &str, parameter: &str) -> Result<Box<str>, BadPattern> {
    let fits = (1..=MAX_NAME_BYTES).contains(&parameter.len())
        && parameter
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"&=%#+".contains(&byte));
    fits.then(|| parameter.into())
        .ok_or_else(|| BadPattern::Argument(name.into(), "with the name of a parameter"))
}

/// How one piece stands beside the next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// The same for every link, or of a shape of its own.
    Fixed,
    /// Of any length, and starts with what nothing before it holds.
    Marked,
    /// Of any length.
    Free,
    /// A number, which is of one length or can be held to that. What it stands between is not told apart by it.
    Number,
    /// A client's address: of several lengths, and nobody chooses his own. Stands behind a path as it is, and behind a time that
    /// stands behind a path only where that is asked for.
    Address,
}

/// What a pattern leaves open: where a text may be moved from one piece to the next, the message stays the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seams {
    /// Times need as many digits as the present has.
    pub(super) exact_times: bool,
    /// Two pieces between which that doesn't help.
    pub(super) touching: Option<(&'static str, &'static str)>,
    /// Whether a time has neighbours on both sides that are of no length of their own: digits that come in on the one side
    /// can go out on the other, and it is as long as before.
    pub(super) shifting: bool,
}

impl Pattern {
    /// Looks at all pieces that touch. `delimited`: whether times have a shape that nothing else has.
    pub(super) fn seams(&self, delimited: bool) -> Seams {
        let mut seams = Seams::default();
        let mut run: SmallVec<[(Edge, &Piece); 8]> = SmallVec::new();
        for piece in &self.pieces {
            let edge = piece.edge(delimited);
            let free = run
                .iter()
                .rev()
                .find(|(edge, _)| matches!(edge, Edge::Free | Edge::Marked));
            // `/a` until 1767229200 for 11.2.3.4 is `/a1` until 7672292001 for 1.2.3.4.
            let addressed = run.iter().any(|(edge, _)| *edge == Edge::Address);
            if let Some((Edge::Number, number)) = run.last()
                && (edge == Edge::Address && free.is_some() || edge == Edge::Free && addressed)
            {
                seams.touching.get_or_insert((number.name(), piece.name()));
            }
            match (edge, free) {
                (Edge::Fixed, _) => {
                    seams.end(&run);
                    run.clear();
                    continue;
                }
                // A raw path has no question mark, and a message whose decoded path has one is refused.
                (Edge::Marked, Some((_, Piece::Path { .. }))) if *piece == Piece::AndQuery => {
                    seams.end(&run);
                    run.clear();
                }
                (Edge::Marked, None) => {
                    seams.end(&run);
                    run.clear();
                }
                (Edge::Free | Edge::Marked, Some((_, before))) => {
                    seams.touching.get_or_insert((before.name(), piece.name()));
                }
                _ => {}
            }
            run.push((edge, piece));
        }
        seams.end(&run);
        seams
    }
}

impl Seams {
    /// A number alone ends where its neighbours begin; beside anything else it needs a length.
    fn end(&mut self, run: &[(Edge, &Piece)]) {
        let is_number = |(edge, _): &(Edge, &Piece)| *edge == Edge::Number;
        let is_other = |piece: &(Edge, &Piece)| !is_number(piece);
        self.exact_times |= run.len() > 1 && run.iter().any(is_number);
        let others = run.iter().position(is_other).zip(run.iter().rposition(is_other));
        let between = others.and_then(|(first, last)| run.get(first..last));
        self.shifting |= between.is_some_and(|between| between.iter().any(is_number));
    }
}

impl Piece {
    /// Whether it is of the query, or all of it.
    pub(super) fn is_of_query(&self) -> bool {
        matches!(
            self,
            Self::Query | Self::AndQuery | Self::SortedQuery | Self::Argument(_) | Self::Sorted { .. }
        )
    }

    fn edge(&self, delimited: bool) -> Edge {
        match self {
            Self::Text(_) | Self::Secret | Self::Scheme | Self::Host => Edge::Fixed,
            Self::Path { part, .. } => match part {
                Part::Whole | Part::First(_) => Edge::Marked,
                // That of `/a` is empty.
                Part::Directory | Part::Link | Part::FirstLink(_) => Edge::Free,
            },
            Self::AndQuery => Edge::Marked,
            Self::Expires(TimeForm::AsSent) | Self::Issued(TimeForm::AsSent) | Self::Starts if delimited => {
                Edge::Fixed
            }
            Self::Expires(_) | Self::Issued(_) | Self::Starts => Edge::Number,
            Self::Address => Edge::Address,
            Self::Lifetime
            | Self::Id
            | Self::Subject
            | Self::Query
            | Self::SortedQuery
            | Self::Argument(_)
            | Self::Header(_)
            | Self::Sorted { .. } => Edge::Free,
        }
    }
}
