//! Emacs, with the lines of README.md in its init file, without a frame; told what to do by
//! emacsclient.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::driver::Editor;
use crate::harness::{Cmd, Running, World, find, skipped, until};
use crate::{all_cases_of, cases_of, install_lines, root};

all_cases_of!(Emacs);

struct Emacs<'a> {
    world: &'a World,
    process: Running,
    socket: PathBuf,
    dir: PathBuf,
}

impl Emacs<'_> {
    /// The value of an expression, as it is printed, in a buffer of the directory.
    #[track_caller]
    fn eval(&self, expression: &str) -> String {
        let done = self.client(expression).run().ok();
        assert!(
            !done.text().starts_with("*ERROR*"),
            "{expression}: {}",
            done.text()
        );
        done.text().trim_end().to_owned()
    }

    fn client(&self, expression: &str) -> Cmd {
        let args = ["-s", self.socket.to_str().unwrap(), "-e", expression];
        self.world.program("emacsclient", &args).cwd(&self.dir)
    }

    /// All text of a buffer; nothing where there is none.
    fn buffer(&self, name: &str) -> String {
        let file = self.world.root().join("text-of-buffer");
        self.eval(&format!(
            "(let ((coding-system-for-write 'utf-8-unix) (buffer (get-buffer {})))
               (with-temp-buffer
                 (when buffer (insert-buffer-substring buffer))
                 (write-region nil nil {} nil 'quiet)))",
            quoted(name),
            quoted(file.to_str().unwrap())
        ));
        std::fs::read_to_string(file).unwrap()
    }

    fn sets(&self, variable: &str, value: &str) {
        self.eval(&format!("(setq clsess-{variable} {})", quoted(value)));
    }
}

/// It would start more of its kind, which compile what is loaded.
const NO_COMPILER: &str =
    "(setq native-comp-deferred-compilation nil native-comp-jit-compilation nil)";

/// As a string of Lisp's.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl<'a> Editor<'a> for Emacs<'a> {
    fn start_in(world: &'a World, dir: &Path) -> Option<Self> {
        if find("emacs").is_none() || find("emacsclient").is_none() {
            return skipped("there is no emacs");
        }
        let installed = root("contrib/emacs");
        let init = install_lines("**Emacs**")
            .replace("~/src/clsess/contrib/emacs", installed.to_str().unwrap());
        std::fs::write(world.home().join("init.el"), init).unwrap();
        let socket = world.root().join("emacs");
        let line = format!(
            "exec emacs -Q --eval '{NO_COMPILER}' -l ~/init.el --fg-daemon={}",
            socket.display()
        );
        let start = world.shell(&line).env("TMPDIR", world.root().join("tmp"));
        let process = start.cwd(dir).spawn();
        let emacs = Self {
            world,
            process,
            socket,
            dir: dir.to_owned(),
        };
        until("it listens", || emacs.client("t").run().code == 0);
        Some(emacs)
    }

    fn send(&self, prompt: &str) {
        self.eval(&format!(
            "(condition-case problem (clsess-send {})
               (user-error (message \"%s\" (error-message-string problem))))",
            quoted(prompt)
        ));
    }

    fn send_file(&self, prompt: &str, file: &Path) {
        self.eval(&format!(
            "(with-temp-buffer
               (let ((coding-system-for-read 'utf-8-unix)) (insert-file-contents {}))
               (clsess-send-region (point-min) (point-max) {}))",
            quoted(file.to_str().unwrap()),
            quoted(prompt)
        ));
    }

    fn counted(text: &str) -> String {
        format!("(+ {} characters)", text.chars().count())
    }

    fn uses(&self, session: &str) {
        self.sets("session", session);
    }

    fn on_question(&self, policy: &str) {
        self.sets("on-question", policy);
    }

    fn program(&self, path: &str) {
        self.sets("program", path);
    }

    fn stop(&self) {
        self.eval("(call-interactively #'clsess-stop)");
    }

    fn questions(&self) {
        self.eval("(call-interactively #'clsess-questions)");
    }

    fn approve(&self) {
        self.eval("(call-interactively #'clsess-approve)");
    }

    fn deny(&self) {
        self.eval("(call-interactively #'clsess-deny)");
    }

    fn state(&self) -> String {
        let line = self.eval("(format-mode-line '(:eval (clsess-mode-line)))");
        line.trim_matches('"').trim().to_owned()
    }

    fn text(&self, session: &str) -> String {
        self.buffer(&format!("*clsess: {session}*"))
    }

    fn messages(&self) -> String {
        self.buffer("*Messages*")
    }

    fn writes(&self, text: &str) -> String {
        let write = format!(
            "(with-current-buffer (get-buffer-create \"other\") (insert {}) (buffer-string))",
            quoted(text)
        );
        self.eval(&write).trim_matches('"').to_owned()
    }

    fn quit(self) {
        self.client("(kill-emacs)").run();
        self.process.wait().ok();
    }
}

/// Runs this in an Emacs that ends with it; what it says.
fn batch(args: &[&str]) -> Option<String> {
    if find("emacs").is_none() {
        return skipped("there is no emacs");
    }
    // What it writes is beside a copy.
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        root("contrib/emacs/clsess.el"),
        dir.path().join("clsess.el"),
    )
    .unwrap();
    let mut emacs = Command::new("emacs");
    emacs.args(["-Q", "--batch"]).args(args);
    let done = emacs
        .current_dir(&dir)
        .env("HOME", dir.path())
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let said = [done.stdout, done.stderr].concat();
    Some(String::from_utf8(said).unwrap())
}

#[test]
fn it_is_compiled_without_a_warning() {
    let strict = "(setq byte-compile-error-on-warn t)";
    let compile = ["--eval", strict, "-f", "batch-byte-compile", "clsess.el"];
    let Some(said) = batch(&compile) else { return };
    assert_eq!(said, "");
}

#[test]
fn its_texts_are_what_emacs_expects() {
    let check = "(progn (require 'checkdoc) (checkdoc-file \"clsess.el\"))";
    let Some(said) = batch(&["--eval", check]) else {
        return;
    };
    assert_eq!(said, "");
}

#[test]
fn a_person_types_a_prompt_and_a_session() {
    let Some(world) = World::real() else { return };
    let Some(emacs) = Emacs::start(&world) else {
        return;
    };
    let keys = |keys: &str| emacs.eval(&format!("(execute-kbd-macro (kbd {}))", quoted(keys)));
    keys("M-x clsess-send RET hello SPC there RET");
    emacs.shows("> hello there\nyou said: hello there\n\n\n");
    keys("C-u M-x clsess-send RET hi RET other RET");
    until("it is shown", || {
        emacs.text("other") == "> hi\nyou said: hi\n\n\n"
    });
    // From the session's buffer to its own.
    emacs.eval("(switch-to-buffer \"*clsess: other*\")");
    keys("C-c C-c again RET");
    until("it is shown", || {
        emacs.text("other").ends_with("\nyou said: again\n\n\n")
    });
    assert_eq!(world.api.prompts(0), ["hello there", "hi", "again"]);
    emacs.quit();
}

#[test]
fn the_end_of_the_buffer_stays_in_sight() {
    let Some(world) = World::real() else { return };
    let Some(emacs) = Emacs::start(&world) else {
        return;
    };
    let steps = json!([{"text": "a line\nanother line\n", "hold": "h", "hold_after": 1}]);
    world.api.rule("slow", steps);
    let at = |place: &str| {
        let window = "(get-buffer-window \"*clsess: work*\" t)";
        let buffer = "\"*clsess: work*\"";
        emacs.eval(&format!(
            "(with-current-buffer {buffer} (- {place} (window-point {window})))"
        ))
    };
    emacs.send("slow");
    world.api.wait_hold("h", 1);
    emacs.shows("> slow\na line\nanother l\n\n");
    assert_eq!(at("(point-max)"), "0");
    // Who reads further above while it comes is left there.
    emacs.eval("(set-window-point (get-buffer-window \"*clsess: work*\" t) 3)");
    world.api.release("h");
    emacs.shows("> slow\na line\nanother line\n\n\n");
    assert_eq!(at("3"), "0");
    emacs.send("hi");
    emacs.shows("> slow\na line\nanother line\n\n\n> hi\nyou said: hi\n\n\n");
    assert_eq!(at("(point-max)"), "0");
    emacs.quit();
}

#[test]
fn a_buffer_that_was_killed_is_made_again() {
    let Some(world) = World::real() else { return };
    let Some(emacs) = Emacs::start(&world) else {
        return;
    };
    let steps = json!([{"text": "nobody sees it", "hold": "h"}]);
    world.api.rule("slow", steps);
    emacs.send("slow");
    world.api.wait_hold("h", 1);
    emacs.eval("(kill-buffer \"*clsess: work*\")");
    world.api.release("h");
    world.clsess(&["wait", "work"]).run().ok();
    emacs.send("hi");
    emacs.shows("> hi\nyou said: hi\n\n\n");
    assert!(!emacs.messages().contains("error"), "{}", emacs.messages());
    emacs.quit();
}

#[test]
fn what_is_old_goes_when_the_buffer_is_full() {
    let Some(world) = World::real() else { return };
    let Some(emacs) = Emacs::start(&world) else {
        return;
    };
    let long = "line\n".repeat(200_100);
    world.api.answer("long", &long);
    emacs.send("long");
    emacs.shows(&format!("> long\n{long}\n\n"));
    emacs.send("hi");
    let kept = format!("{long}\n\n");
    let kept = &kept[kept.len() - 1_000_000..];
    emacs.shows(&format!("{kept}> hi\nyou said: hi\n\n\n"));
    emacs.quit();
}

#[test]
fn the_mode_line_has_the_state_where_that_is_wanted() {
    let Some(world) = World::real() else { return };
    let Some(emacs) = Emacs::start(&world) else {
        return;
    };
    let line = || emacs.eval("(format-mode-line global-mode-string)");
    assert_eq!(line(), "\"\"");
    emacs.eval("(clsess-state-mode 1)");
    world.session("work");
    until("it is told", || line() == "\" idle\"");
    // Of that buffer's session, and once.
    emacs.eval("(clsess-state-mode 1)");
    assert_eq!(line(), "\" idle\"");
    emacs.uses("other");
    assert_eq!(line(), "\"\"");
    emacs.uses("work");
    emacs.eval("(clsess-state-mode -1)");
    assert_eq!(line(), "\"\"");
    emacs.quit();
}
