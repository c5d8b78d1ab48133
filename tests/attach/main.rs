//! `clsess attach` with real terminals: what a person sees who attaches, detaches, comes back with
//! another terminal, is slow, or is not alone.
//!
//! `CLSESS_ATTACH_SECONDS` is how long many clients do all of that at random, `CLSESS_DEATHS` how
//! often the broker is killed under them, `CLSESS_SWAPS` how often somebody comes and goes under a
//! stream of prompts (`make soak` says more than `make test`);
//! `CLSESS_TEST_SEED` the seed, which is printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/terminal.rs"]
mod terminal;

mod agent;
mod deaths;
mod drawing;
mod input;
mod many;
mod restored;
mod same;
mod size;
mod slow;
mod swap;
mod viewers;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use harness::{Cmd, World, until};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use terminal::{Size, Terminal};

/// The size that most terminals here have.
const USUAL: Size = Size(24, 80);

/// The key that detaches.
const DETACH: &[u8] = b"\x1c";

/// A program that says what it is told to, byte by byte, and reads nothing.
struct Speaker {
    fifo: File,
    path: PathBuf,
}

impl Speaker {
    /// One that was not started yet.
    fn new(world: &World, name: &str) -> Self {
        let path = world.project().join(format!("{name}.fifo"));
        let _ = std::fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // With a reader of its own nobody waits for the other end.
        let mut fifo = File::options();
        fifo.read(true).write(true);
        let fifo = fifo.open(&path).unwrap();
        Self { fifo, path }
    }

    /// A session in which it runs.
    fn session(world: &World, name: &str, size: Size) -> Self {
        let speaker = Self::new(world, name);
        session(world, name, size, &speaker.script());
        speaker
    }

    /// It, as a script.
    fn script(&self) -> String {
        format!("stty raw -echo; exec cat {}", self.path.display())
    }

    fn say(&self, bytes: impl AsRef<[u8]>) {
        (&self.fifo).write_all(bytes.as_ref()).unwrap();
    }
}

/// A session in which this script runs, in a terminal of this size.
fn session(world: &World, name: &str, size: Size, script: &str) {
    let size = format!("{}x{}", size.1, size.0);
    let new = ["new", name, "--size", &size, "--", "bash", "-c", script];
    world.clsess(&new).run().ok();
}

/// Says on its terminal how large that is, at first and whenever it changes, and what is typed; into
/// a file with the pixels too. (A shell loses a `WINCH` that comes while its trap for it runs.)
const SAYS_SIZE: &str = "import fcntl, os, select, signal, struct, sys, termios, tty
tty.setcbreak(0)
woken, wakes = os.pipe()
os.set_blocking(wakes, False)
signal.signal(signal.SIGWINCH, lambda *_: None)
signal.set_wakeup_fd(wakes)
changed = True
while True:
    if changed:
        size = struct.unpack('HHHH', fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
        print(*size[:2], flush=True)
        with open(sys.argv[1], 'a') as said:
            print(*size, file=said)
    ready = select.select([0, woken], [], [])[0]
    changed = woken in ready and os.read(woken, 999)
    if 0 in ready:
        print(f'key {os.read(0, 1).decode()}.', flush=True)
";

/// A session `work` in which this runs; the file that it writes.
fn says_size(world: &World) -> PathBuf {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let (script, said) = (
        world.project().join("says.py"),
        world.project().join("said"),
    );
    std::fs::write(&script, SAYS_SIZE).unwrap();
    let run = format!("exec {python} {} {}", script.display(), said.display());
    session(world, "work", USUAL, &run);
    said
}

/// `clsess attach NAME` in a terminal of its own.
fn attach(world: &World, name: &str, size: Size) -> Terminal {
    attach_with(world, &["attach", name], size)
}

fn attach_with(world: &World, args: &[&str], size: Size) -> Terminal {
    Terminal::start(&world.clsess(args), size)
}

/// A command in the world that runs this script.
fn script(world: &World, script: &str) -> Cmd {
    world.program("bash", &["-c", script])
}

/// Waits until so many look at the session.
fn wait_attached(world: &World, name: &str, count: u64) {
    until(&format!("{count} attached"), || {
        world.show(name)["attached"] == count
    });
}
