//! Lines out of a stream of bytes that comes in pieces of any size.

/// Longest line, in bytes. The client's longest is an answer's assembled block or
/// a tool's result, both far below; a longer one ends the agent.
pub const MAX_LINE: usize = 64 * 1024 * 1024;

/// An idle buffer that once held a long line gives its memory back.
const KEEP: usize = 256 * 1024;

/// Bytes that have come and are not yet taken as lines.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Where the next line begins.
    start: usize,
    /// Up to where there is no line end.
    scanned: usize,
}

impl Lines {
    /// Takes a piece.
    pub fn feed(&mut self, piece: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEEP);
            (self.start, self.scanned) = (0, 0);
        } else if self.start > KEEP {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.scanned..)?;
        match rest.iter().position(|b| *b == b'\n') {
            Some(at) => {
                let (start, end) = (self.start, self.scanned + at);
                self.start = end + 1;
                self.scanned = end + 1;
                self.bytes.get(start..end)
            }
            None => {
                self.scanned = self.bytes.len();
                None
            }
        }
    }

    /// Bytes that are not yet taken as lines.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether a line has become longer than [`MAX_LINE`].
    #[must_use]
    pub fn too_long(&self) -> bool {
        self.pending() > MAX_LINE
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use proptest::prelude::*;

    fn all(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.feed(piece);
            while let Some(line) = lines.next() {
                found.push(line.to_vec());
            }
        }
        found
    }

    #[test]
    fn lines_come_whole() {
        assert_eq!(
            all(&[b"a\nb", b"c\n\nd"]),
            [b"a".to_vec(), b"bc".to_vec(), vec![]]
        );
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400), at in prop::collection::vec(0usize..400, 0..6)) {
            let mut cuts: Vec<usize> = at.into_iter().map(|n| n.min(bytes.len())).collect();
            cuts.push(0);
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(all(&pieces), all(&[&bytes]));
        }
    }
}
