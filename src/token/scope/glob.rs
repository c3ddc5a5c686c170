//! Matching of globs over decoded paths. The time is linear in the path: at most a step per byte and per 64 bytes of pattern.

use smallvec::SmallVec;

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::token) enum Piece<'p> {
    /// These bytes.
    Literal(&'p str),
    /// Any bytes but `/`: `*`.
    Segment,
    /// Any bytes: `**`.
    Anything,
    /// One character, whichever: `?` in patterns of other products; none of ours.
    One,
}

pub(in crate::token) type Pieces<'p> = SmallVec<[Piece<'p>; 8]>;

/// Takes a pattern apart. Two stars and more are `**`.
pub(super) fn pieces(pattern: &str) -> Pieces<'_> {
    let mut pieces = Pieces::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let stars = rest.bytes().take_while(|byte| *byte == b'*').count();
        let end = rest[stars..].find('*').map_or(rest.len(), |at| stars + at);
        match stars {
            0 => {}
            1 => pieces.push(Piece::Segment),
            _ => pieces.push(Piece::Anything),
        }
        if end > stars {
            pieces.push(Piece::Literal(&rest[stars..end]));
        }
        rest = &rest[end..];
    }
    pieces
}

/// Whether the pattern matches the whole path.
pub(in crate::token) fn matches(pieces: &[Piece<'_>], path: &str) -> bool {
    let (mut pieces, mut path) = (pieces, path);
    while let [Piece::Literal(literal), rest @ ..] = pieces {
        let Some(after) = path.strip_prefix(literal) else {
            return false;
        };
        (pieces, path) = (rest, after);
    }
    while let [rest @ .., Piece::Literal(literal)] = pieces {
        let Some(before) = path.strip_suffix(literal) else {
            return false;
        };
        (pieces, path) = (rest, before);
    }
    match pieces {
        [] => path.is_empty(),
        [Piece::Anything] => true,
        [Piece::Segment] => !path.contains('/'),
        _ => Machine::new(pieces).matches(path),
    }
}

/// The pattern as an automaton whose states are bits: state `i` means that the first `i` symbols have matched.
struct Machine {
    words: usize,
    accept: usize,
    /// For each byte, the states that it moves on from: `words` words each.
    moves: Vec<u64>,
    /// States that stay on any byte but `/`, and those that stay on any.
    segment: Vec<u64>,
    anything: Vec<u64>,
    /// States that move on with the first byte of a character, and those that stay on its others.
    one: Vec<u64>,
    within: Vec<u64>,
}

impl Machine {
    fn new(pieces: &[Piece<'_>]) -> Self {
        let symbols = |piece: &Piece<'_>| match piece {
            Piece::Literal(literal) => literal.len(),
            _ => 1,
        };
        let accept: usize = pieces.iter().map(symbols).sum();
        let words = accept / 64 + 1;
        let mut machine = Self {
            words,
            accept,
            moves: vec![0; 256 * words],
            segment: vec![0; words],
            anything: vec![0; words],
            one: vec![0; words],
            within: vec![0; words],
        };
        let mut state = 0;
        for piece in pieces {
            match piece {
                Piece::Literal(literal) => {
                    for byte in literal.bytes() {
                        machine.moves[usize::from(byte) * words + state / 64] |= 1 << (state % 64);
                        state += 1;
                    }
                    continue;
                }
                Piece::Segment => machine.segment[state / 64] |= 1 << (state % 64),
                Piece::Anything => machine.anything[state / 64] |= 1 << (state % 64),
                Piece::One => {
                    machine.one[state / 64] |= 1 << (state % 64);
                    let after = state + 1;
                    machine.within[after / 64] |= 1 << (after % 64);
                }
            }
            state += 1;
        }
        machine
    }

    fn matches(&self, path: &str) -> bool {
        let mut states = vec![0; self.words];
        states[0] = 1;
        self.pass_stars(&mut states);
        for byte in path.bytes() {
            let moves = &self.moves[usize::from(byte) * self.words..][..self.words];
            // Of a character of several bytes, all but the first are `10……` (RFC 3629 §3).
            let begins = byte & 0xc0 != 0x80;
            let mut carry = 0;
            let mut alive = 0;
            for (at, word) in states.iter_mut().enumerate() {
                let moved = *word & (moves[at] | if begins { self.one[at] } else { 0 });
                let stays = self.anything[at]
                    | if byte == b'/' { 0 } else { self.segment[at] }
                    | if begins { 0 } else { self.within[at] };
                *word = *word & stays | moved << 1 | carry;
                carry = moved >> 63;
                alive |= *word;
            }
            if alive == 0 {
                return false;
            }
            self.pass_stars(&mut states);
        }
        states[self.accept / 64] >> (self.accept % 64) & 1 == 1
    }

    /// A star may match nothing: its state brings the next one with it. Stars in a row are rare but possible when a
    /// claim stands between them, so this walks upwards, and a state set in one word is seen in the next.
    fn pass_stars(&self, states: &mut [u64]) {
        let mut carry = 0;
        for (at, word) in states.iter_mut().enumerate() {
            *word |= carry;
            let stars = self.segment[at] | self.anything[at];
            while (*word & stars) << 1 & !*word != 0 {
                *word |= (*word & stars) << 1;
            }
            carry = (*word & stars) >> 63;
        }
    }
}
