//! What goes out: lines in their shape, bytes, the end at a certain line.

use std::io;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::Value;

use crate::script::{Crash, Part, Shape};
use crate::shape::{render, rewrites};

/// stdout.
#[derive(Debug, Default)]
pub struct Out {
    /// How lines look.
    pub shape: Shape,
    /// The end that is to come, and the lines until it.
    bomb: Option<(usize, Crash)>,
    /// Nobody reads any more, or it was closed.
    closed: bool,
    lines: usize,
}

impl Out {
    /// Ends at a line that is to come.
    pub fn arm(&mut self, crash: Crash) {
        self.bomb = Some((crash.line, crash));
    }

    /// A line.
    pub fn line(&mut self, value: &Value) {
        let line = render(value, &self.shape, self.lines);
        self.whole(line);
    }

    /// A line that is given as text; it keeps its look if the shape does not ask for another.
    pub fn text_line(&mut self, line: &str) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) if rewrites(&self.shape) => self.line(&value),
            _ => self.whole(line.as_bytes().to_vec()),
        }
    }

    fn whole(&mut self, mut line: Vec<u8>) {
        self.lines += 1;
        line.extend_from_slice(if self.shape.crlf { b"\r\n" } else { b"\n" });
        if let Some((left, crash)) = self.bomb.take() {
            if left <= 1 {
                let written = match crash.part {
                    Part::Before => 0,
                    Part::Middle => line.len() / 2,
                    Part::After => line.len(),
                };
                self.bytes(&line[..written]);
                match (crash.exit, crash.signal) {
                    (Some(code), _) => std::process::exit(code),
                    (None, signal) => die(signal.as_deref().unwrap_or("KILL")),
                }
            }
            self.bomb = Some((left - 1, crash));
        }
        line.extend_from_slice(self.shape.between.as_bytes());
        self.bytes(&line);
    }

    /// Bytes, in the sizes that the shape asks for.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut sizes = self.shape.chunks.clone().into_iter().cycle();
        let mut rest = bytes;
        while !rest.is_empty() && !self.closed {
            let size = sizes.next().unwrap_or(rest.len()).clamp(1, rest.len());
            match nix::unistd::write(io::stdout(), &rest[..size]) {
                Ok(written) => rest = &rest[written..],
                Err(nix::Error::EINTR) => {}
                // Nobody reads: the real client goes on, too.
                Err(_) => self.closed = true,
            }
        }
    }

    /// Nothing is written from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }
}

/// Ends by a signal, without a core file.
pub fn die(name: &str) -> ! {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let name = format!("SIG{}", name.trim_start_matches("SIG"));
    if let Ok(signal) = name.parse::<Signal>() {
        let _ = SigSet::all().thread_unblock();
        // The handler of Rust's runtime takes the first SIGSEGV, and steps aside for the second.
        for _ in 0..2 {
            let _ = raise(signal);
        }
    }
    eprintln!("fake-claude: {name} does not end a process");
    std::process::exit(70);
}
