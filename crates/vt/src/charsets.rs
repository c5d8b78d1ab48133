//! DEC's special graphics: lines and corners in the place of small letters.

/// Which character sets are designated, and which one of them is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Charsets {
    /// G0 to G3: whether it is the special graphics.
    graphics: [bool; 4],
    used: usize,
}

impl Charsets {
    /// `ESC ( 0` and the like. Any set that is not known is ASCII.
    pub fn designate(&mut self, intermediate: u8, set: u8) {
        if let Some(at) = b"()*+".iter().position(|b| *b == intermediate) {
            self.graphics[at] = set == b'0';
        }
    }

    /// SI, SO, and the locking shifts.
    pub fn shift(&mut self, to: usize) {
        self.used = to.min(3);
    }

    /// Whether characters have to be mapped.
    pub fn maps(&self) -> bool {
        self.graphics[self.used]
    }

    /// What is shown for a character.
    pub fn map(&self, c: char) -> char {
        if !self.maps() {
            return c;
        }
        const SHOWN: &str = " ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";
        match u32::from(c).checked_sub(0x5f) {
            Some(at) => SHOWN.chars().nth(at as usize).unwrap_or(c),
            None => c,
        }
    }

    /// Writes what makes this of ASCII everywhere.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (at, graphics) in self.graphics.iter().enumerate() {
            if *graphics {
                out.extend_from_slice(&[0x1b, b"()*+"[at], b'0']);
            }
        }
        match self.used {
            1 => out.push(0x0e),
            2 => out.extend_from_slice(b"\x1bn"),
            3 => out.extend_from_slice(b"\x1bo"),
            _ => {}
        }
    }
}

/// Writes what makes it ASCII everywhere.
pub(crate) const ASCII: &[u8] = b"\x1b(B\x1b)B\x0f";
