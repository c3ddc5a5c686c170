//! The chunked transfer coding (RFC 9112 §7.1), taken off. Pure.
//! In: the bytes of a body as they come. Out: its data. Never: a line that ends in anything but CRLF, a size that does
//! not fit, more than a bounded number of bytes that are not data; extensions and trailers are dropped.

use bytes::{Buf, Bytes};

/// Bytes of extensions and trailers in one body, line ends included.
const OVERHEAD_MAX: u32 = 16 * 1024;

/// Where in the coding a body is.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    overhead: u32,
    /// What was found behind the data that was handed out last.
    fault: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// At the first digit of a size.
    #[default]
    Start,
    /// Behind a digit of a size.
    Size(u64),
    /// In what follows a size on its line.
    Extension(u64),
    /// Before the LF of a size's line.
    SizeEnd(u64),
    /// In data, of which this much is left.
    Data(u64),
    /// Before the CR behind data.
    DataCr,
    /// Before the LF behind data.
    DataLf,
    /// At the start of a line of the trailer section.
    Line,
    /// In a line of the trailer section.
    Trailer,
    /// Before the LF of such a line.
    TrailerEnd,
    /// Before the LF of the empty line.
    LastLf,
    /// Behind the last byte of the body.
    Done,
}

impl Chunks {
    /// Whether the body has ended.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next data out of `input`, and the framing on both sides of it. `None` when `input` is used up or the body
    /// has ended; what is then left in it lies behind the body.
    ///
    /// # Errors
    /// Why it is not the chunked coding.
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
        if let Some(reason) = self.fault {
            return Err(reason);
        }
        self.skip(input)?;
        let State::Data(left) = self.state else {
            return Ok(None);
        };
        if input.is_empty() {
            return Ok(None);
        }
        let data = input.split_to(usize::try_from(left).unwrap_or(usize::MAX).min(input.len()));
        self.state = match left - data.len() as u64 {
            0 => State::DataCr,
            left => State::Data(left),
        };
        // The data was good; what comes behind it is not its fault.
        self.fault = self.skip(input).err();
        Ok(Some(data))
    }

    /// Reads framing up to the next data.
    fn skip(&mut self, input: &mut Bytes) -> Result<(), &'static str> {
        let mut read = 0;
        for &byte in &input[..] {
            self.state = match self.state {
                State::Done | State::Data(_) => break,
                State::Start => State::Size(digit(byte).ok_or("a chunk without a size")?),
                State::Size(size) => match (byte, digit(byte)) {
                    (_, Some(digit)) => State::Size(
                        size.checked_mul(16)
                            .map(|size| size | digit)
                            .ok_or("a chunk too large to be one")?,
                    ),
                    (b'\r', _) => State::SizeEnd(size),
                    (b';' | b' ' | b'\t', _) => self.count(State::Extension(size))?,
                    _ => return Err("a size of a chunk that is no number"),
                },
                State::Extension(size) => match byte {
                    b'\r' => State::SizeEnd(size),
                    b'\n' => return Err("a line of a chunk that does not end as it must"),
                    _ => self.count(State::Extension(size))?,
                },
                State::SizeEnd(size) => match (byte, size) {
                    (b'\n', 0) => State::Line,
                    (b'\n', size) => State::Data(size),
                    _ => return Err("a line of a chunk that does not end as it must"),
                },
                State::DataCr => expect(byte, b'\r', State::DataLf)?,
                State::DataLf => expect(byte, b'\n', State::Start)?,
                State::Line => match byte {
                    b'\r' => State::LastLf,
                    b'\n' => return Err("a trailer that does not end as it must"),
                    _ => self.count(State::Trailer)?,
                },
                State::Trailer => match byte {
                    b'\r' => State::TrailerEnd,
                    b'\n' => return Err("a trailer that does not end as it must"),
                    _ => self.count(State::Trailer)?,
                },
                State::TrailerEnd => expect(byte, b'\n', State::Line)?,
                State::LastLf => expect(byte, b'\n', State::Done)?,
            };
            read += 1;
        }
        input.advance(read);
        Ok(())
    }

    fn count(&mut self, next: State) -> Result<State, &'static str> {
        self.overhead += 1;
        if self.overhead > OVERHEAD_MAX {
            return Err("chunks with more around them than in them");
        }
        Ok(next)
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

fn expect(byte: u8, expected: u8, next: State) -> Result<State, &'static str> {
    if byte == expected {
        Ok(next)
    } else {
        Err("data of a chunk that does not end where it must")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, whether the body ended, and what lies behind it, fed in pieces of `step` bytes.
    fn decode(text: &str, step: usize) -> Result<(String, bool, String), &'static str> {
        let mut chunks = Chunks::default();
        let (mut data, mut behind) = (Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(piece) = chunks.next(&mut input)? {
                assert!(!piece.is_empty());
                data.extend_from_slice(&piece);
            }
            behind.extend_from_slice(&input);
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok((text(data), chunks.is_done(), text(behind)))
    }

    #[test]
    fn bodies_are_read_however_they_are_cut() {
        for (text, data, done, behind) in [
            ("0\r\n\r\n", "", true, ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", true, ""),
            ("5\r\nhel", "hel", false, ""),
            ("5\r\nhello\r\n0\r\n", "hello", false, ""),
            (
                "3\r\nhel\r\n002\r\nlo\r\n000\r\nA: b\r\nC: d\r\n\r\nmore",
                "hello",
                true,
                "more",
            ),
            ("A;x=\"y\"\r\n0123456789\r\n0 \r\n\r\n", "0123456789", true, ""),
            (
                "0000000000000000a\r\n0123456789\r\n0\r\n\r\n",
                "0123456789",
                true,
                "",
            ),
        ] {
            for step in 1..=text.len() {
                assert_eq!(
                    decode(text, step),
                    Ok((data.to_owned(), done, behind.to_owned())),
                    "{text:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(17_000));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(5_000));
        for text in [
            "\r\n",
            ";x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1_0\r\n",
            "5\nhello",
            "5\r\r\n",
            "5;a\nb\r\n",
            "5\rhello",
            "5\r\nhelloX",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\r0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA: b\rX",
            "g\r\n",
            &long,
            &trailers,
        ] {
            for step in [1, 7, text.len()] {
                assert!(decode(text, step).is_err(), "{text:.40?} by {step}");
            }
        }
    }
}
