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

    /// A byte that a URL may hold, often one of `letters`, which mean something.
    fn byte(&mut self, letters: &[u8]) -> u8 {
        match self.below(3) {
            0 => letters[self.below(letters.len())],
            _ => u8::try_from(0x21 + self.below(0x5e)).unwrap(),
        }
    }

    /// A text with one or two changes, often to `letters`.
    pub(crate) fn touched(&mut self, text: &str, letters: &[u8]) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.byte(letters),
                1 => bytes.insert(at, self.byte(letters)),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, bytes[at]),
                _ => {
                    let other = self.below(bytes.len());
                    bytes.swap(at, other);
                }
            }
        }
        String::from_utf8(bytes).unwrap()
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
