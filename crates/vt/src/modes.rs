//! The modes that a program has set: vt100 is not asked for them.

use std::io::Write as _;

/// Modes of which terminals have different defaults: said again only when the program said them.
const OPTIONAL: [u16; 8] = [12, 1007, 1034, 1035, 1036, 1039, 1042, 2027];
/// Modes that are off unless set.
const PLAIN: [u16; 7] = [1, 5, 45, 1004, 2004, 2031, 2048];
/// What a mouse does; one of them, or none.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];
/// How that is written; several can be on, and the order matters to some terminals.
const ENCODINGS: [u16; 4] = [1005, 1006, 1015, 1016];
/// Kitty's stack has at most so many entries, the oldest go.
const KITTY: usize = 16;

/// The modes that are the same for both screens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modes {
    pub autowrap: bool,
    pub insert: bool,
    pub newline: bool,
    pub keypad: bool,
    pub visible: bool,
    /// Synchronized output: the program is in the middle of a frame.
    pub sync: bool,
    pub style: u8,
    pub modify_other_keys: u8,
    mouse: Option<u16>,
    encodings: Vec<u16>,
    /// The others, as they were set.
    set: Vec<(u16, bool)>,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            autowrap: true,
            insert: false,
            newline: false,
            keypad: false,
            visible: true,
            sync: false,
            style: 0,
            modify_other_keys: 0,
            mouse: None,
            encodings: Vec::new(),
            set: Vec::new(),
        }
    }
}

impl Modes {
    /// Sets or resets a private mode, if it is one that is kept here.
    pub fn set(&mut self, mode: u16, on: bool) {
        match mode {
            7 => self.autowrap = on,
            25 => self.visible = on,
            66 => self.keypad = on,
            2026 => self.sync = on,
            _ if MOUSE.contains(&mode) => match on {
                true => self.mouse = Some(mode),
                false if self.mouse == Some(mode) => self.mouse = None,
                false => {}
            },
            _ if ENCODINGS.contains(&mode) => {
                self.encodings.retain(|m| *m != mode);
                if on {
                    self.encodings.push(mode);
                }
            }
            _ if PLAIN.contains(&mode) || OPTIONAL.contains(&mode) => {
                self.set.retain(|(m, _)| *m != mode);
                if on || OPTIONAL.contains(&mode) {
                    self.set.push((mode, on));
                    self.set.sort_unstable();
                }
            }
            _ => {}
        }
    }

    /// Whether a private mode is on, if it is one that is kept here.
    pub fn get(&self, mode: u16) -> Option<bool> {
        match mode {
            7 => Some(self.autowrap),
            25 => Some(self.visible),
            66 => Some(self.keypad),
            2026 => Some(self.sync),
            _ if MOUSE.contains(&mode) => Some(self.mouse == Some(mode)),
            _ if ENCODINGS.contains(&mode) => Some(self.encodings.contains(&mode)),
            _ if PLAIN.contains(&mode) || OPTIONAL.contains(&mode) => {
                Some(self.set.contains(&(mode, true)))
            }
            _ => None,
        }
    }

    /// `CSI ! p`: what a soft reset changes.
    pub fn soft_reset(&mut self) {
        self.visible = true;
        self.autowrap = true;
        self.insert = false;
        self.keypad = false;
        self.set(1, false);
    }

    /// Writes what sets the modes that say which input comes, where all are off.
    pub fn write_input(&self, out: &mut Vec<u8>) {
        for (mode, on) in &self.set {
            let _ = write!(out, "\x1b[?{mode}{}", if *on { 'h' } else { 'l' });
        }
        for mode in self.mouse.iter().chain(&self.encodings) {
            let _ = write!(out, "\x1b[?{mode}h");
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b=");
        }
        if self.modify_other_keys != 0 {
            let _ = write!(out, "\x1b[>4;{}m", self.modify_other_keys);
        }
        if self.style != 0 {
            let _ = write!(out, "\x1b[{} q", self.style);
        }
        if self.newline {
            out.extend_from_slice(b"\x1b[20h");
        }
    }
}

/// Writes what turns all modes off that say which input comes, and the cursor's style.
pub(crate) fn write_input_off(out: &mut Vec<u8>) {
    for mode in PLAIN.iter().chain(&MOUSE).chain(&ENCODINGS) {
        let _ = write!(out, "\x1b[?{mode}l");
    }
    out.extend_from_slice(b"\x1b>\x1b[20l\x1b[>4;0m\x1b[0 q");
}

/// Kitty's keyboard flags of a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Kitty {
    base: u8,
    stack: Vec<u8>,
}

impl Kitty {
    pub fn flags(&self) -> u8 {
        self.stack.last().copied().unwrap_or(self.base)
    }

    pub fn push(&mut self, flags: u16) {
        if self.stack.len() == KITTY {
            self.stack.remove(0);
        }
        self.stack.push(known(flags));
    }

    pub fn pop(&mut self, count: u16) {
        if usize::from(count) > self.stack.len() {
            self.base = 0;
        }
        let left = self.stack.len().saturating_sub(count.into());
        self.stack.truncate(left);
    }

    pub fn change(&mut self, flags: u16, how: u16) {
        let flags = known(flags);
        let now = self.stack.last_mut().unwrap_or(&mut self.base);
        match how {
            0 | 1 => *now = flags,
            2 => *now |= flags,
            3 => *now &= !flags,
            _ => {}
        }
    }

    /// Writes what makes this of an empty one.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.base != 0 {
            let _ = write!(out, "\x1b[={};1u", self.base);
        }
        for flags in &self.stack {
            let _ = write!(out, "\x1b[>{flags}u");
        }
    }
}

/// Writes what empties a screen's stack.
pub(crate) fn write_kitty_off(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x1b[<99u\x1b[=0;1u");
}

fn known(flags: u16) -> u8 {
    u8::try_from(flags & 31).unwrap_or(0)
}
