//! Small changes of tokens for tests, the same in every run.

/// A small generator of numbers, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap()
    }

    /// A text with one to three changes.
    pub(crate) fn changed(&mut self, text: &str) -> String {
        const LETTERS: &[u8] = b"ABab019-~_=&;%.+/Xx2fF\"";
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = LETTERS[self.below(LETTERS.len())],
                1 => bytes[at] = b'!' + u8::try_from(self.below(94)).unwrap(),
                2 => bytes.insert(at, LETTERS[self.below(LETTERS.len())]),
                3 => drop(bytes.remove(at)),
                4 => {
                    let end = (at + 1 + self.below(40)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        String::from_utf8(bytes).unwrap()
    }
}
