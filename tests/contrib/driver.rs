//! What the cases do with an editor.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, World};

/// An editor that runs, with the plugin, in a directory.
pub trait Editor<'a>: Sized {
    /// Starts it; `None` where it is not installed.
    fn start_in(world: &'a World, dir: &Path) -> Option<Self>;

    /// Gives the command for a prompt.
    fn send(&self, prompt: &str);

    /// The same with all text of a file behind it.
    fn send_file(&self, prompt: &str, file: &Path);

    /// How a turn's heading speaks of such a text.
    fn counted(text: &str) -> String;

    /// Names the session for all that comes.
    fn uses(&self, session: &str);

    /// Says what becomes of questions.
    fn on_question(&self, policy: &str);

    /// Names a program in place of `clsess`.
    fn program(&self, path: &str);

    fn stop(&self);

    fn questions(&self);

    fn approve(&self);

    fn deny(&self);

    /// What is in a status line.
    fn state(&self) -> String;

    /// The session's buffer; nothing where there is none.
    fn text(&self, session: &str) -> String;

    /// All messages.
    fn messages(&self) -> String;

    /// Writes this into another buffer; what is there then.
    fn writes(&self, text: &str) -> String;

    /// Leaves the editor, and waits for its end.
    fn quit(self);

    /// Starts it in the project, for the session `work`.
    fn start(world: &'a World) -> Option<Self> {
        let editor = Self::start_in(world, &world.project())?;
        editor.uses("work");
        Some(editor)
    }

    /// Waits until this is in the buffer of `work`, and nothing else.
    #[track_caller]
    fn shows(&self, expected: &str) {
        let mut text = String::new();
        let shown = soon(|| {
            text = self.text("work");
            text == expected
        });
        assert!(shown, "{}", difference(&text, expected));
    }

    /// Waits until a message has this.
    #[track_caller]
    fn says(&self, what: &str) {
        let said = soon(|| self.messages().contains(what));
        assert!(said, "no {what:?} in {}", self.messages());
    }
}

/// Looks until it is so; false when it never is.
pub fn soon(mut so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !so() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

fn difference(text: &str, expected: &str) -> String {
    let pairs = text.bytes().zip(expected.bytes());
    let at = pairs.take_while(|(one, two)| one == two).count();
    let part = |text: &str| String::from_utf8_lossy(&text.as_bytes()[at..]).into_owned();
    format!(
        "at byte {at}: {:.300?}, not {:.300?}",
        part(text),
        part(expected)
    )
}
