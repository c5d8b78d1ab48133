//! Finds the marks in what a program says, however that is cut into pieces.
//!
//! An ESC begins anew wherever it stands, so the first bytes of a mark are one in any state of a
//! terminal; BEL and `ESC \` end it, another ESC, CAN and SUB break it off.

/// What a mark begins with.
const MARKS: &[u8] = b"\x1b]133;";
/// Bytes inside of a mark; what is longer is none.
pub const MAX_MARK: usize = 4096;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A prompt begins.
    Prompt,
    /// The prompt has ended: what is typed now is a command.
    Input,
    /// The command's output begins.
    Output,
    /// It has ended, with this status where the program tells one.
    End(Option<i32>),
}

/// A piece of what a program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The inside of a mark, behind `133;`.
    Mark(&'a [u8]),
    /// Anything else.
    Other(&'a [u8]),
}

/// Cuts bytes into pieces. It keeps what was fed and not taken.
#[derive(Debug)]
pub struct Scanner {
    begins: &'static [u8],
    bytes: Vec<u8>,
    taken: usize,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::of(MARKS)
    }
}

/// What stands at the front.
enum Front {
    /// So many bytes, of which these are the inside of a mark.
    Mark(usize, std::ops::Range<usize>),
    /// So many bytes of something else.
    Other(usize),
    /// More has to come.
    Unfinished,
}

impl Scanner {
    /// For other words than marks: what they begin with, up to their inside.
    #[must_use]
    pub fn of(begins: &'static [u8]) -> Self {
        Self {
            begins,
            bytes: Vec::new(),
            taken: 0,
        }
    }

    /// Takes what the program has said. Whoever feeds takes all pieces before more is fed, but for what
    /// an earlier broker has left: so what is kept is a piece of input, and a mark that is not finished.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next piece. None while more has to come.
    pub fn next(&mut self) -> Option<Piece<'_>> {
        let from = self.taken;
        match front(&self.bytes[from..], self.begins) {
            Front::Unfinished => None,
            Front::Other(length) => {
                self.taken += length;
                Some(Piece::Other(&self.bytes[from..self.taken]))
            }
            Front::Mark(length, inside) => {
                self.taken += length;
                Some(Piece::Mark(
                    &self.bytes[from + inside.start..from + inside.end],
                ))
            }
        }
    }

    /// Bytes that were fed and not taken.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

fn front(bytes: &[u8], mark: &[u8]) -> Front {
    if bytes.is_empty() || (bytes.len() < mark.len() && mark.starts_with(bytes)) {
        return Front::Unfinished;
    }
    if let Some(rest) = bytes.strip_prefix(mark) {
        return mark_at_front(rest, mark.len());
    }
    let begins = |at: &usize| {
        let rest = &bytes[*at..];
        rest.starts_with(mark) || mark.starts_with(rest)
    };
    let escapes = (1..bytes.len()).filter(|at| bytes[*at] == 0x1b);
    Front::Other(escapes.into_iter().find(begins).unwrap_or(bytes.len()))
}

/// `rest`: what stands behind the beginning of a mark, which is `before` bytes long.
fn mark_at_front(rest: &[u8], before: usize) -> Front {
    let looked_at = &rest[..rest.len().min(MAX_MARK + 1)];
    let ends = |byte: &u8| matches!(byte, 0x07 | 0x18 | 0x1a | 0x1b);
    let Some(end) = looked_at.iter().position(ends) else {
        return match rest.len() > MAX_MARK {
            true => Front::Other(before + MAX_MARK),
            false => Front::Unfinished,
        };
    };
    match (rest[end], rest.get(end + 1)) {
        (0x07, _) => Front::Mark(before + end + 1, before..before + end),
        (0x1b, Some(b'\\')) => Front::Mark(before + end + 2, before..before + end),
        (0x1b, None) => Front::Unfinished,
        (0x1b, Some(_)) => Front::Other(before + end),
        _ => Front::Other(before + end + 1),
    }
}

/// Reads the inside of a mark: what it says, and whose it is (`aid=`, the id of the program that
/// prints it; empty where it says none). None for what is no mark of a turn.
#[must_use]
pub fn read(inside: &[u8]) -> Option<(Mark, &[u8])> {
    let mut words = inside.split(|byte| *byte == b';');
    let kind = words.next()?;
    let mut aid: &[u8] = b"";
    let mut status = None;
    for (at, word) in words.enumerate() {
        if let Some(id) = word.strip_prefix(b"aid=") {
            aid = id;
        } else if let Some(kind) = word.strip_prefix(b"k=") {
            // The prompt of a line that goes on, or one on the right.
            if kind != b"i" {
                return None;
            }
        } else if at == 0 {
            let text = std::str::from_utf8(word).ok();
            status = text.and_then(|text| text.parse().ok());
        }
    }
    let mark = match kind {
        b"A" | b"N" => Mark::Prompt,
        b"B" => Mark::Input,
        b"C" => Mark::Output,
        b"D" => Mark::End(status),
        _ => return None,
    };
    Some((mark, aid))
}
