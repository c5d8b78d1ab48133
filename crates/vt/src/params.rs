//! The parameters of a CSI sequence.

/// How many are read; more are passed over, as vte does.
const MOST: usize = 32;

/// Numbers, and which of them belong to the one before (`4:3`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Params {
    /// `<`, `=`, `>` or `?` in front, or 0.
    pub prefix: u8,
    /// A byte between the numbers and the last byte, or 0.
    pub intermediate: u8,
    /// It cannot be: a sequence to be ignored.
    pub bad: bool,
    /// There are controls inside, which are obeyed first.
    pub controls: bool,
    values: [u16; MOST],
    sub: u32,
    count: usize,
}

impl Params {
    /// Reads what is between `CSI` and the last byte. Numbers are at most 65535.
    pub fn read(bytes: &[u8]) -> Self {
        let mut params = Self {
            prefix: 0,
            intermediate: 0,
            bad: false,
            controls: false,
            values: [0; MOST],
            sub: 0,
            count: 0,
        };
        // the number that is being read; kept at its end, and not where there is no room
        let mut value: u16 = 0;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    value = value
                        .saturating_mul(10)
                        .saturating_add((byte - b'0').into());
                }
                b';' | b':' => {
                    params.keep(value);
                    value = 0;
                    if *byte == b':' && params.count < MOST {
                        params.sub |= 1 << params.count;
                    }
                }
                b'<'..=b'?' if at == 0 => params.prefix = *byte,
                b'<'..=b'?' => params.bad = true,
                0x20..=0x2f if params.intermediate == 0 => params.intermediate = *byte,
                0x20..=0x2f => params.bad = true,
                _ => params.controls |= *byte < 0x20,
            }
        }
        if params.count > 0 || bytes.iter().any(u8::is_ascii_digit) {
            params.keep(value);
        }
        params
    }

    fn keep(&mut self, value: u16) {
        if let Some(place) = self.values.get_mut(self.count) {
            *place = value;
            self.count += 1;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether one has parts.
    pub fn has_parts(&self) -> bool {
        self.sub != 0
    }

    /// A number, 0 where there is none.
    pub fn raw(&self, at: usize) -> u16 {
        if at < self.count { self.values[at] } else { 0 }
    }

    /// A number, where none and 0 mean 1.
    pub fn count_at(&self, at: usize) -> u16 {
        self.raw(at).max(1)
    }

    /// Groups of a number and its parts.
    pub fn groups(&self) -> impl Iterator<Item = &[u16]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let from = at;
            if from >= self.count {
                return None;
            }
            at += 1;
            while at < self.count && self.sub & (1 << at) != 0 {
                at += 1;
            }
            Some(&self.values[from..at])
        })
    }

    /// The numbers, without regard to parts.
    pub fn all(&self) -> &[u16] {
        &self.values[..self.count]
    }
}
