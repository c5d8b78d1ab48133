//! The thread that reads stdin, and can be told to stop: a thread that stands in `read` would
//! keep the pipe open.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::log::Log;

/// What the player can hear.
#[derive(Debug)]
pub enum Heard {
    /// A line of stdin.
    Line(Vec<u8>),
    /// Its end.
    End,
    /// A hold was released.
    Released(String),
}

/// The other end of the reading thread.
#[derive(Debug)]
pub struct Reader {
    control: UnixStream,
}

impl Reader {
    /// Begins to read.
    pub fn start(log: Arc<Log>, heard: Sender<Heard>) -> std::io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        thread::spawn(move || read(&log, &heard, theirs));
        Ok(Self { control })
    }

    /// Nothing more is read when this returns.
    pub fn stop(&mut self) {
        // Fails when the input has ended: then nothing is read, either.
        let mut done = [0];
        let _ = self.control.write_all(b"s");
        let _ = self.control.read(&mut done);
    }
}

fn read(log: &Log, heard: &Sender<Heard>, mut control: UnixStream) {
    let stdin = std::io::stdin();
    let mut rest: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut ready = [
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        if ready[0].any() == Some(true) {
            let _ = control.write_all(b"s");
            return;
        }
        let Ok(count @ 1..) = nix::unistd::read(&stdin, &mut buffer) else {
            break;
        };
        let searched = rest.len();
        rest.extend_from_slice(&buffer[..count]);
        let mut from = searched;
        while let Some(at) = rest[from..].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=from + at).collect();
            from = 0;
            log.input(&line);
            let _ = heard.send(Heard::Line(line));
        }
    }
    if !rest.is_empty() {
        log.input(&rest);
        let _ = heard.send(Heard::Line(rest));
    }
    let _ = heard.send(Heard::End);
}
