//! Neovim, installed as README.md says, without a terminal; told what to do over its own socket.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::driver::Editor;
use crate::harness::{Cmd, Done, Running, World, find, skipped, until};
use crate::terminal::{Size, Terminal};
use crate::{all_cases_of, cases_of, install_lines, root};

all_cases_of!(Neovim);

struct Neovim<'a> {
    world: &'a World,
    process: Running,
    socket: PathBuf,
}

impl<'a> Neovim<'a> {
    /// The value of an expression.
    #[track_caller]
    fn eval(&self, expression: &str) -> String {
        let done = self.ask(expression).run().ok();
        // Neovim 0.7 prints the value there.
        done.text().to_owned() + &done.stderr
    }

    fn ask(&self, expression: &str) -> Cmd {
        let socket = self.socket.to_str().unwrap();
        neovim(
            self.world,
            &["--server", socket, "--remote-expr", expression],
        )
    }

    /// Gives a command of the command line.
    #[track_caller]
    fn command(&self, command: &str) {
        self.eval(&format!("execute({})", quoted(command)));
    }

    /// Types these keys.
    fn types(&self, keys: &str) -> Done {
        let socket = self.socket.to_str().unwrap();
        let send = ["--server", socket, "--remote-send", keys];
        neovim(self.world, &send).run()
    }

    fn sets(&self, variable: &str, value: &str) {
        self.command(&format!("let g:clsess_{variable} = {}", quoted(value)));
    }
}

/// Puts the plugin where README.md says; false where there is no Neovim.
fn installed(world: &World) -> bool {
    if find("nvim").is_none() {
        return skipped("there is no nvim").unwrap_or(false);
    }
    let lines = install_lines("**Neovim**");
    world.shell(&lines).cwd(root("")).run().ok();
    true
}

/// With a home and temporary files of its own.
fn neovim(world: &World, args: &[&str]) -> Cmd {
    let words = args.iter().map(|word| format!(" {}", shell_quoted(word)));
    let line = format!("exec nvim{}", words.collect::<String>());
    world.shell(&line).env("TMPDIR", world.root().join("tmp"))
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As a string of Vim's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl<'a> Editor<'a> for Neovim<'a> {
    fn start_in(world: &'a World, dir: &Path) -> Option<Self> {
        if !installed(world) {
            return None;
        }
        let socket = world.root().join("nvim");
        let listen = ["--headless", "--listen", socket.to_str().unwrap()];
        let process = neovim(world, &listen).cwd(dir).silent_stdin().spawn();
        let neovim = Self {
            world,
            process,
            socket,
        };
        until("it listens", || neovim.ask("1").run().code == 0);
        Some(neovim)
    }

    fn send(&self, prompt: &str) {
        let typed = prompt.replace('<', "<lt>");
        self.types(&format!(":Clsess {typed}<CR>")).ok();
    }

    fn send_file(&self, prompt: &str, file: &Path) {
        self.command(&format!("edit! {}", file.display()));
        self.command(&format!("%Clsess {prompt}"));
    }

    fn counted(text: &str) -> String {
        format!("(+ {} lines)", text.lines().count())
    }

    fn uses(&self, session: &str) {
        self.sets("session", session);
    }

    fn on_question(&self, policy: &str) {
        self.sets("on_question", policy);
    }

    fn program(&self, path: &str) {
        self.sets("program", path);
    }

    fn stop(&self) {
        self.command("ClsessStop");
    }

    fn questions(&self) {
        self.command("ClsessQuestions");
    }

    fn approve(&self) {
        self.command("ClsessApprove");
    }

    fn deny(&self) {
        self.command("ClsessDeny");
    }

    fn state(&self) -> String {
        let line = quoted("%{v:lua.require'clsess'.state()}");
        self.eval(&format!("nvim_eval_statusline({line}, {{}}).str"))
    }

    fn text(&self, session: &str) -> String {
        let file = self.world.root().join("text-of-buffer");
        let buffer = quoted(&format!("clsess://{session}"));
        self.eval(&format!(
            "writefile(getbufline({buffer}, 1, '$'), {})",
            quoted(file.to_str().unwrap())
        ));
        std::fs::read_to_string(file).unwrap()
    }

    fn messages(&self) -> String {
        self.eval("execute('messages')")
    }

    fn writes(&self, text: &str) -> String {
        self.command(&format!("normal! A{text}"));
        self.eval("getline('.')")
    }

    fn quit(self) {
        // It may be gone before it has said that it has taken this.
        self.types("<C-\\><C-N>:qa!<CR>");
        self.process.wait().ok();
    }
}

#[test]
fn marked_lines_go_behind_what_is_typed() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    let file = world.project().join("poem");
    std::fs::write(&file, "one\ntwo\nthree\nfour\n").unwrap();
    neovim.command(&format!("edit {}", file.display()));
    world.api.answer("Which?", "these");
    neovim.types("2GVj:Clsess Which?<CR>").ok();
    neovim.shows("> Which? (+ 2 lines)\nthese\n\n\n");
    assert_eq!(world.api.prompts(0), ["Which?\n\ntwo\nthree\n"]);
    // It is another window that shows it, and the file is as it was.
    assert_eq!(neovim.eval("expand('%:t') . winnr('$')"), "poem2");
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "one\ntwo\nthree\nfour\n"
    );
    neovim.quit();
}

#[test]
fn a_prompt_goes_to_a_named_session_and_from_its_buffer_to_its_own() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    neovim.command("ClsessTo other -- hi");
    until("it is shown", || {
        neovim.text("other") == "> -- hi\nyou said: -- hi\n\n\n"
    });
    assert_eq!(world.show("other")["turns"], 1);
    assert_eq!(
        neovim.eval("string(getcompletion('ClsessStop ', 'cmdline'))"),
        "['other']"
    );
    neovim.command("buffer clsess://other");
    neovim.send("again");
    until("it is shown", || world.api.prompts(0) == ["-- hi", "again"]);
    world.clsess(&["wait", "other"]).run().ok();
    assert_eq!(world.show("other")["turns"], 2);
    neovim.quit();
}

#[test]
fn the_end_of_the_buffer_stays_in_sight() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    world.api.answer("long", &"a line\n".repeat(300));
    neovim.send("long");
    until("all is there", || {
        neovim.text("work").lines().count() == 303
    });
    let in_window = |what: &str| {
        let window = "bufwinid('clsess://work')";
        neovim.eval(&format!("line('{what}', {window})"))
    };
    assert_eq!(in_window("."), in_window("$"));
    // Who reads further above while it comes is left there.
    let steps = json!([{"text": "a line\nanother line\n", "hold": "h", "hold_after": 1}]);
    world.api.rule("slow", steps);
    neovim.send("slow");
    world.api.wait_hold("h", 1);
    until("a part is there", || {
        neovim.text("work").contains("> slow\na line\nanother ")
    });
    assert_eq!(in_window("."), in_window("$"));
    neovim.command("call win_gotoid(bufwinid('clsess://work')) | normal! 10G");
    world.api.release("h");
    until("all is there", || {
        neovim.text("work").contains("another line\n")
    });
    assert_eq!(in_window("."), "10");
    neovim.quit();
}

#[test]
fn a_buffer_that_was_deleted_is_made_again() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    for delete in ["bdelete!", "bwipeout!", "bunload!"] {
        let steps = json!([{"text": "nobody sees it", "hold": "h"}]);
        world.api.rule("slow", steps);
        neovim.send("slow");
        world.api.wait_hold("h", 1);
        neovim.command(&format!("{delete} clsess://work"));
        world.api.release("h");
        world.clsess(&["wait", "work"]).run().ok();
        neovim.send("hi");
        neovim.shows("> hi\nyou said: hi\n\n\n");
        neovim.command("bwipeout! clsess://work");
        assert_eq!(neovim.messages(), "");
    }
    neovim.quit();
}

#[test]
fn what_is_old_goes_when_the_buffer_is_full() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    let long = "line\n".repeat(20_500);
    world.api.answer("long", &long);
    neovim.send("long");
    neovim.shows(&format!("> long\n{long}\n\n"));
    neovim.send("hi");
    let kept = "line\n".repeat(19_998);
    neovim.shows(&format!("{kept}\n\n> hi\nyou said: hi\n\n\n"));
    neovim.quit();
}

#[test]
fn an_agent_has_no_way_into_the_editor() {
    let Some(world) = World::real() else { return };
    let Some(neovim) = Neovim::start(&world) else {
        return;
    };
    neovim.send("hi");
    neovim.shows("> hi\nyou said: hi\n\n\n");
    let agent = world.agent("work");
    let environment = std::fs::read(format!("/proc/{agent}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let socket = neovim.socket.to_str().unwrap();
    assert!(environment.contains("HOME="), "{environment:?}");
    assert!(!environment.contains(socket), "{environment:?}");
    neovim.quit();
}

#[test]
fn no_failure_wants_a_key_before_it_goes_on() {
    let Some(world) = World::real() else { return };
    let untrusted = world.root().join("untrusted");
    std::fs::create_dir(&untrusted).unwrap();
    if !installed(&world) {
        return;
    }
    let command = neovim(&world, &[]).env("TERM", "xterm-256color");
    let terminal = Terminal::start(&command, Size(50, 80));
    terminal.until_screen(|screen| screen.contains("[No Name]"));
    for (prompt, answer) in [("first", "it came by itself"), ("slow", "late")] {
        let steps = json!([{"text": answer, "hold": prompt}]);
        world.api.rule(prompt, steps);
    }
    terminal.type_in(":ClsessTo work first\r");
    world.api.wait_hold("first", 1);
    terminal.type_in(":ClsessTo other slow\r");
    world.api.wait_hold("slow", 1);
    terminal.type_in(":ClsessTo other slow\r");
    world.wait_queued("other", 1);
    // Two at once, and a long one.
    terminal.type_in(":ClsessStop other\r");
    world.clsess(&["wait", "other"]).run().ok();
    terminal.type_in(format!(":cd {}\r:ClsessTo third hi\r", untrusted.display()));
    terminal.until_screen(|screen| screen.contains("is not trusted"));
    world.api.release("first");
    terminal.until_screen(|screen| screen.contains("it came by itself"));
    terminal.type_in(":qa!\r");
    assert_eq!(terminal.exit(), 0);
    world.api.release("slow");
}
