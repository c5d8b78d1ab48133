//! From the bytes of a command's output to the text of an answer.
//!
//! The terminal makes CR and LF of each line end, which is undone exactly: one CR before an LF goes.
//! Escape sequences go: colours, titles, cursor movements. Other control characters stay. What is
//! not UTF-8 becomes U+FFFD.

/// Bytes of a control sequence's parameters that are looked at.
const MAX_PARAMETERS: usize = 16;
/// What a line editor that reads pastes says when it gives its line up.
const LINE_IS_OVER: &[u8] = b"?2004l";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    /// An escape sequence with a byte in between, such as `ESC ( B`.
    Between,
    Csi,
    /// OSC, which BEL ends, too.
    Osc,
    /// DCS, SOS, PM, APC.
    Text,
}

/// What is known between two pieces of output.
#[derive(Debug, Default)]
pub struct Plain {
    state: State,
    /// A CR came last.
    cr: bool,
    /// Of a control sequence, up to and with its last byte.
    sequence: Vec<u8>,
    /// Bytes without sequences, not made text yet.
    bytes: Vec<u8>,
    /// What comes before the line editor gives its line up is an echo.
    echoes: bool,
}

impl Plain {
    /// For what comes behind a prompt: the echo of what is typed is no text. It ends where the line
    /// editor says so; what came before that is forgotten.
    #[must_use]
    pub fn with_echo() -> Self {
        Self {
            echoes: true,
            ..Self::default()
        }
    }

    /// Adds to `out` what these bytes say.
    pub fn feed(&mut self, bytes: &[u8], out: &mut String) {
        for byte in bytes {
            self.byte(*byte, out);
        }
        self.drain(out, false);
    }

    /// No more comes.
    pub fn finish(&mut self, out: &mut String) {
        self.flush_cr();
        self.drain(out, true);
        self.state = State::Ground;
    }

    fn byte(&mut self, byte: u8, out: &mut String) {
        match (self.state, byte) {
            (State::Ground, 0x1b) => {
                self.flush_cr();
                self.state = State::Escape;
            }
            (State::Ground, byte) => self.said(byte),
            (_, 0x18 | 0x1a) => self.state = State::Ground,
            // It begins anew; behind a string it may be its end.
            (_, 0x1b) => self.state = State::Escape,
            (State::Escape, b'[') => {
                self.sequence.clear();
                self.state = State::Csi;
            }
            (State::Escape, b']') => self.state = State::Osc,
            (State::Escape, b'P' | b'X' | b'^' | b'_') => self.state = State::Text,
            (State::Escape | State::Between, 0x20..=0x2f) => self.state = State::Between,
            (State::Escape | State::Between, _) => self.state = State::Ground,
            (State::Csi, _) => self.in_sequence(byte, out),
            (State::Osc, 0x07) => self.state = State::Ground,
            (State::Osc | State::Text, _) => {}
        }
    }

    fn in_sequence(&mut self, byte: u8, out: &mut String) {
        if self.sequence.len() < MAX_PARAMETERS {
            self.sequence.push(byte);
        }
        if !(0x40..=0x7e).contains(&byte) {
            return;
        }
        self.state = State::Ground;
        if self.echoes && self.sequence == LINE_IS_OVER {
            self.bytes.clear();
            out.clear();
        }
    }

    fn said(&mut self, byte: u8) {
        let cr = std::mem::take(&mut self.cr);
        match byte {
            b'\r' => {
                if cr {
                    self.bytes.push(b'\r');
                }
                self.cr = true;
            }
            b'\n' => self.bytes.push(b'\n'),
            byte => {
                if cr {
                    self.bytes.push(b'\r');
                }
                self.bytes.push(byte);
            }
        }
    }

    fn flush_cr(&mut self) {
        if std::mem::take(&mut self.cr) {
            self.bytes.push(b'\r');
        }
    }

    /// Makes text of the bytes. A character whose end has not come waits for it.
    fn drain(&mut self, out: &mut String, all: bool) {
        let length = self.bytes.len();
        let (mut at, mut kept) = (0, length);
        for chunk in self.bytes.utf8_chunks() {
            out.push_str(chunk.valid());
            at += chunk.valid().len() + chunk.invalid().len();
            let invalid = chunk.invalid();
            let unfinished = at == length
                && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if unfinished && !all {
                kept = length - invalid.len();
            } else if !invalid.is_empty() {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.bytes.drain(..kept);
    }
}
