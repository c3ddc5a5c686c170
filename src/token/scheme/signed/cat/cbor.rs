//! CBOR (RFC 8949) as tokens need it: bytes in, a tree of borrowed items out, and back into the one deterministic encoding.
//! Strict: nothing behind the item, no indefinite lengths, no label twice in a map, bounded depth and number. Libraries merge
//! what has no length and keep what stands twice, so that they can't be asked.

use std::fmt;

/// The deepest nesting: a claim, its parts, their matches and a list in one are five.
const MAX_DEPTH: usize = 12;
/// The most items in one text: more than any token says, few enough to be read at once.
const MAX_ITEMS: usize = 512;

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item<'b> {
    /// An integer; larger ones are refused.
    Int(i64),
    /// A byte string.
    Bytes(&'b [u8]),
    /// A text.
    Text(&'b str),
    /// An array.
    List(Vec<Item<'b>>),
    /// A map.
    Map(Map<'b>),
    /// A tagged item.
    Tag(u64, Box<Item<'b>>),
    /// A float, of whatever width.
    Float(f64),
    /// False, true, null or undefined: 20 to 23.
    Simple(u8),
}

/// The members of a map, in the order in which they stand.
pub(super) type Map<'b> = Vec<(Label<'b>, Item<'b>)>;

/// What a map's members are called. Other kinds of keys are refused: neither COSE nor a claim has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label<'b> {
    /// By a number.
    Int(i64),
    /// By a text.
    Text(&'b str),
}

/// Reads the one item that `bytes` are.
///
/// # Errors
/// What is wrong with them.
pub(super) fn read(bytes: &[u8]) -> Result<Item<'_>, &'static str> {
    let mut reader = Reader {
        rest: bytes,
        left: MAX_ITEMS,
    };
    let item = reader.item(MAX_DEPTH)?;
    match reader.rest {
        [] => Ok(item),
        _ => Err("bytes follow the CBOR"),
    }
}

/// The member of this label.
pub(super) fn member<'m, 'b>(map: &'m [(Label<'b>, Item<'b>)], label: i64) -> Option<&'m Item<'b>> {
    map.iter()
        .find(|(known, _)| *known == Label::Int(label))
        .map(|(_, item)| item)
}

struct Reader<'b> {
    rest: &'b [u8],
    left: usize,
}

const CUT: &str = "the CBOR is cut off";

impl<'b> Reader<'b> {
    fn item(&mut self, depth: usize) -> Result<Item<'b>, &'static str> {
        self.left = self.left.checked_sub(1).ok_or("the CBOR has too many items")?;
        let depth = depth.checked_sub(1).ok_or("the CBOR is nested too deep")?;
        let first = self.byte()?;
        let (major, short) = (first >> 5, first & 31);
        if major == 7 {
            return self.simple(short);
        }
        let value = self.argument(short)?;
        let number = || i64::try_from(value).map_err(|_| "a number of the CBOR is too large");
        Ok(match major {
            0 => Item::Int(number()?),
            1 => Item::Int(-1 - number()?),
            2 => Item::Bytes(self.bytes(value)?),
            3 => {
                let text = std::str::from_utf8(self.bytes(value)?);
                Item::Text(text.map_err(|_| "a text of the CBOR is not UTF-8")?)
            }
            4 => {
                // Grows as items are read, whatever number is announced.
                let mut list = Vec::new();
                for _ in 0..value {
                    list.push(self.item(depth)?);
                }
                Item::List(list)
            }
            5 => Item::Map(self.map(value, depth)?),
            _ => Item::Tag(value, Box::new(self.item(depth)?)),
        })
    }

    fn map(&mut self, count: u64, depth: usize) -> Result<Map<'b>, &'static str> {
        let mut map = Map::new();
        for _ in 0..count {
            let label = match self.item(depth)? {
                Item::Int(number) => Label::Int(number),
                Item::Text(text) => Label::Text(text),
                _ => return Err("a key of the CBOR is neither a number nor a text"),
            };
            map.push((label, self.item(depth)?));
        }
        let mut labels: Vec<Label<'b>> = map.iter().map(|(label, _)| *label).collect();
        labels.sort_unstable();
        match labels.windows(2).any(|pair| pair.first() == pair.last()) {
            true => Err("a key of the CBOR stands twice"),
            false => Ok(map),
        }
    }

    fn simple(&mut self, short: u8) -> Result<Item<'b>, &'static str> {
        Ok(match short {
            20..=23 => Item::Simple(short),
            25 => Item::Float(half(u16::from_be_bytes(self.array()?))),
            26 => Item::Float(f32::from_be_bytes(self.array()?).into()),
            27 => Item::Float(f64::from_be_bytes(self.array()?)),
            _ => return Err("the CBOR holds a value without a meaning"),
        })
    }

    fn argument(&mut self, short: u8) -> Result<u64, &'static str> {
        Ok(match short {
            0..=23 => short.into(),
            24 => self.byte()?.into(),
            25 => u16::from_be_bytes(self.array()?).into(),
            26 => u32::from_be_bytes(self.array()?).into(),
            27 => u64::from_be_bytes(self.array()?),
            31 => return Err("the CBOR has something of no length"),
            _ => return Err("the CBOR has a reserved length"),
        })
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*array)
    }

    fn bytes(&mut self, count: u64) -> Result<&'b [u8], &'static str> {
        let count = usize::try_from(count).map_err(|_| CUT)?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(CUT)?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// RFC 8949 appendix D.
fn half(bits: u16) -> f64 {
    let mantissa = f64::from(bits & 0x3ff);
    let value = match bits >> 10 & 0x1f {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (mantissa + 1024.0) * 2_f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 0 { value } else { -value }
}

impl Item<'_> {
    /// The deterministic encoding (RFC 8949 §4.2.1), whatever order the members have here. Floats take eight bytes: we make
    /// none, and who made one may have meant its width.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => write_int(*number, out),
            Self::Bytes(bytes) => {
                head(2, bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                head(4, items.len() as u64, out);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(map) => {
                head(5, map.len() as u64, out);
                let mut members: Vec<(Vec<u8>, &Item<'_>)> =
                    map.iter().map(|(label, item)| (label.encode(), item)).collect();
                members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                for (label, item) in members {
                    out.extend(label);
                    item.write(out);
                }
            }
            Self::Tag(tag, item) => {
                head(6, *tag, out);
                item.write(out);
            }
            Self::Float(number) => {
                out.push(0xfb);
                out.extend(number.to_be_bytes());
            }
            Self::Simple(value) => out.push(0xe0 | value),
        }
    }
}

impl Label<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Int(number) => write_int(*number, &mut out),
            Self::Text(text) => write_text(text, &mut out),
        }
        out
    }
}

fn write_int(number: i64, out: &mut Vec<u8>) {
    match u64::try_from(number) {
        Ok(value) => head(0, value, out),
        Err(_) => head(1, number.unsigned_abs() - 1, out),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Kind and number in the fewest bytes.
fn head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    let (short, kept) = match value {
        0..=23 => {
            out.push(major | bytes[7]);
            return;
        }
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major | short);
    out.extend(&bytes[8 - kept..]);
}

impl fmt::Display for Item<'_> {
    /// Diagnostic notation (RFC 8949 §8), for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Bytes(bytes) => {
                f.write_str("h'")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("'")
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Map(map) => {
                f.write_str("{")?;
                for (at, (label, item)) in map.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{label}: {item}")?;
                }
                f.write_str("}")
            }
            Self::Tag(tag, item) => write!(f, "{tag}({item})"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Simple(value) => f.write_str(match value {
                20 => "false",
                21 => "true",
                22 => "null",
                _ => "undefined",
            }),
        }
    }
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}
