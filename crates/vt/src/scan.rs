//! Finds text and escape sequences in bytes, as vte does: ESC begins anew, CAN and SUB abort, BEL or
//! ST end an OSC, ST ends the other strings. There are no 8-bit controls: it is UTF-8.

/// ESC.
pub(crate) const ESC: u8 = 0x1b;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;

/// What begins with an ESC.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// It goes on where the bytes end.
    Unfinished(Inside),
    /// It was broken off: nothing to do, but the controls that were inside.
    Broken(usize),
    /// `ESC`, intermediates, and its last byte.
    Escape(usize, &'a [u8]),
    /// `CSI`: all between `ESC [` and the last byte, and that.
    Csi(usize, &'a [u8], u8),
    /// A string: what it is, and its inside.
    Text(usize, Kind, &'a [u8]),
}

/// The kinds of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ESC ]`
    Osc,
    /// `ESC P`
    Dcs,
    /// `ESC X`, `ESC ^`, `ESC _`
    Other,
}

/// Where in a sequence the bytes have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    Sequence,
    Text(Kind),
}

/// How many bytes from the front are printable ASCII, CR or LF.
pub(crate) fn plain(bytes: &[u8]) -> usize {
    const STEP: usize = 32;
    let ordinary = |b: u8| (b.wrapping_sub(0x20) < 0x5f) | (b == b'\n') | (b == b'\r');
    let mut at = 0;
    // whole steps without a branch inside, which the compiler makes vectors of
    for piece in bytes.chunks_exact(STEP) {
        if !piece.iter().fold(true, |all, b| all & ordinary(*b)) {
            break;
        }
        at += STEP;
    }
    let rest = bytes[at..].iter();
    at + rest.take_while(|b| ordinary(**b)).count()
}

/// How many bytes from the front are neither controls nor DEL.
pub(crate) fn text(bytes: &[u8]) -> usize {
    let end = bytes.iter().position(|b| *b < 0x20 || *b == 0x7f);
    end.unwrap_or(bytes.len())
}

/// The sequence at the front, which is an ESC.
pub(crate) fn sequence(bytes: &[u8]) -> Found<'_> {
    match bytes.get(1) {
        None => Found::Unfinished(Inside::Sequence),
        Some(b'[') => csi(bytes),
        Some(b']') => string(bytes, Kind::Osc),
        Some(b'P') => string(bytes, Kind::Dcs),
        Some(b'X' | b'^' | b'_') => string(bytes, Kind::Other),
        Some(_) => escape(bytes),
    }
}

fn escape(bytes: &[u8]) -> Found<'_> {
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            &ESC => return Found::Broken(at),
            &CAN | &SUB => return Found::Broken(at + 1),
            0x30..=0x7e => return Found::Escape(at + 1, &bytes[1..=at]),
            _ => {}
        }
    }
    Found::Unfinished(Inside::Sequence)
}

fn csi(bytes: &[u8]) -> Found<'_> {
    for (at, byte) in bytes.iter().enumerate().skip(2) {
        match byte {
            &ESC => return Found::Broken(at),
            &CAN | &SUB => return Found::Broken(at + 1),
            0x40..=0x7e => return Found::Csi(at + 1, &bytes[2..at], *byte),
            _ => {}
        }
    }
    Found::Unfinished(Inside::Sequence)
}

fn string(bytes: &[u8], kind: Kind) -> Found<'_> {
    match string_end(&bytes[2..], kind) {
        None => Found::Unfinished(Inside::Text(kind)),
        Some((end, after)) => Found::Text(2 + after, kind, &bytes[2..2 + end]),
    }
}

/// Where a string ends and where what is behind it begins.
pub(crate) fn string_end(bytes: &[u8], kind: Kind) -> Option<(usize, usize)> {
    let ends = |b: &u8| matches!(*b, ESC | CAN | SUB) || (*b == 0x07 && kind == Kind::Osc);
    let end = bytes.iter().position(ends)?;
    match bytes[end] {
        ESC => match bytes.get(end + 1)? {
            b'\\' => Some((end, end + 2)),
            _ => Some((end, end)),
        },
        _ => Some((end, end + 1)),
    }
}

/// Where a sequence that is not looked at ends.
pub(crate) fn sequence_end(bytes: &[u8]) -> Option<usize> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            &ESC => return Some(at),
            &CAN | &SUB | 0x40..=0x7e => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The controls inside a sequence, which are obeyed before it is.
pub(crate) fn controls(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let obeyed = |b: &u8| *b < 0x20 && !matches!(*b, ESC | CAN | SUB);
    bytes.iter().copied().filter(obeyed)
}
