//! Starts that fail, and profiles that are wrong.

use crate::harness::World;
use crate::{answer, world};

#[test]
fn a_program_without_marks_is_not_started() {
    let more = "[profile.cat]\ncommand = ['cat']\nturns = 'marks'\nstart_timeout = 1\n\
        [profile.gone]\ncommand = ['sh', '-c', 'echo the reason; exit 3']\nturns = 'marks'\n\
        [profile.none]\ncommand = ['no-such-program']\nturns = 'marks'\n";
    let Some(world) = world(more) else { return };
    let new = |profile| {
        world
            .clsess(&["new", "x", "--profile", profile])
            .run()
            .fails(1)
    };
    let silent = new("cat");
    assert!(
        silent
            .stderr
            .contains("cat has marked no prompt (OSC 133) in time"),
        "{}",
        silent.stderr
    );
    assert!(silent.stderr.contains("hint: "), "{}", silent.stderr);
    let gone = new("gone");
    assert!(
        gone.stderr.contains("exit 3: the reason"),
        "{}",
        gone.stderr
    );
    let none = new("none");
    assert!(
        none.stderr.contains("no-such-program: no such program"),
        "{}",
        none.stderr
    );
    let ls = world.clsess(&["ls", "--json"]).run().ok();
    assert!(!ls.text().contains("\"x\""), "{}", ls.text());
}

#[test]
fn a_shell_without_answers_to_its_marks_is_any_program_with_them() {
    // Marks without ids and without statuses, by ESC \, and no line editor.
    let script = "s() { printf '\\033]133;%s\\033\\\\' \"$1\"; }; stty -echo; \
        while s A; printf '? '; s B; read -r line; do s C; echo \"<$line>\"; s D; done";
    let more =
        format!("[profile.plain]\ncommand = [\"sh\", \"-c\", {script:?}]\nturns = \"marks\"\n");
    let Some(world) = world(&more) else { return };
    world.clsess(&["new", "x", "--profile", "plain"]).run().ok();
    for number in 0..20 {
        assert_eq!(
            answer(&world, "x", &format!("line {number}")),
            format!("<line {number}>\n")
        );
    }
    let refused = world.clsess(&["send", "x", "two\nlines"]).run().fails(2);
    assert!(
        refused.stderr.contains("does not read pastes"),
        "{}",
        refused.stderr
    );
    let long = "x".repeat(5000);
    let refused = world.clsess(&["send", "x", &long]).run().fails(2);
    assert!(
        refused.stderr.contains("longer than the terminal's line"),
        "{}",
        refused.stderr
    );
}

#[test]
fn agents_options_are_not_for_programs() {
    let Some(world) = world("") else { return };
    for option in [
        ["--model", "opus"],
        ["--agent", "x"],
        ["--max-turns", "3"],
        ["--driver", "tui"],
    ] {
        let line = [&["new", "x", "--profile", "shell"][..], &option].concat();
        let refused = world.clsess(&line).run().fails(2);
        assert!(
            refused.stderr.contains("is for agents"),
            "{}",
            refused.stderr
        );
    }
    let twice = ["new", "x", "--profile", "shell", "--", "cat"];
    world.clsess(&twice).run().fails(2);
    world.config("[profile.p]\nmodel = 'opus'\ncommand = ['bash']\nturns = 'marks'\n");
    let bad = world.clsess(&["new", "x", "--profile", "p"]).run().fails(2);
    assert!(
        bad.stderr.contains("config.toml:3: model is of agents"),
        "{}",
        bad.stderr
    );
}

/// A profile for agents is what it was.
#[test]
fn the_environment_of_a_profile_is_the_programs() {
    let Some(world) = World::bare() else { return };
    let shell = crate::profile("shell.bash");
    world.config(&format!(
        "[profile.shell]\ncommand = ['bash', '--rcfile', '{}', '-i']\nturns = 'marks'\n\
         env = {{ FROM_PROFILE = 'yes' }}\n",
        shell.display()
    ));
    std::fs::write(
        world.home().join(".bashrc"),
        "PS1='mine> '\nPROMPT_COMMAND='PS1=\"$PS1\"'\nalias hi='echo hi'\n",
    )
    .unwrap();
    world.clsess(&["new", "x", "--profile", "shell"]).run().ok();
    assert_eq!(
        answer(&world, "x", "echo $FROM_PROFILE $TERM"),
        "yes xterm-256color\n"
    );
    assert_eq!(answer(&world, "x", "hi"), "hi\n");
    crate::shows(&world, "x", "mine> hi");
}
