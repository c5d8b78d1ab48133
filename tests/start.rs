//! Agents that do not start: what is said, and that nothing is left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::{World, until};

/// What a scripted agent does first.
const VERSION: &str = "[ \"$1\" = --version ] && { echo '2.1.328 (Claude Code)'; exit; }\n";

/// `new` fails, and leaves no session and no process.
#[track_caller]
fn refused(world: &World, args: &[&str]) -> String {
    let args = [&["new", "work"], args].concat();
    let done = world.clsess(&args).run().fails(1);
    assert_eq!(done.stdout, b"");
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    // The holder tells of the end, and ends.
    until("only the broker is left", || world.processes().len() == 1);
    done.stderr
}

#[test]
fn an_agent_that_is_not_there() {
    let Some(world) = World::bare() else { return };
    assert_eq!(
        refused(&world, &[]),
        "clsess: claude was found neither in the PATH nor in ~/.local/bin or ~/bin\n\
         hint: install Claude Code, or name it: path in [agent] of the config\n"
    );
    world.config("[agent]\npath = '/no/such/claude'\n");
    assert_eq!(
        refused(&world, &[]),
        "clsess: /no/such/claude is not a program that can be run\n\
         hint: correct path in [agent] of the config\n"
    );
}

#[test]
fn an_agent_in_the_users_own_bin_directories_is_found() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let agent = world.scripted_agent("echo '2.1.100 (Claude Code)'");
    for dir in [".local/bin", "bin"] {
        let dir = world.home().join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("claude");
        std::fs::copy(&agent, &file).unwrap();
        let new = world.clsess(&["new", "work"]).env("PATH", "/usr/bin:/bin");
        let done = new.run().fails(1);
        let found = format!("claude 2.1.100 ({}) ", file.display());
        assert!(done.stderr.contains(&found), "{}", done.stderr);
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn an_agent_that_is_too_old_is_told_with_both_versions() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let agent = world.scripted_agent("echo '2.1.197 (Claude Code)'");
    assert_eq!(
        refused(&world, &[]),
        format!(
            "clsess: claude 2.1.197 ({}) cannot take every prompt exactly; 2.1.248 or later is needed\n\
             hint: claude update, or name a newer one: path in [agent] of the config\n",
            agent.display()
        )
    );
}

#[test]
fn an_agent_that_knows_no_version() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let agent = world.scripted_agent("echo something else");
    let said = refused(&world, &[]);
    let start = format!("clsess: {} --version: ", agent.display());
    assert!(said.starts_with(&start), "{said}");
}

#[test]
fn an_agent_that_ends_at_once_is_told_with_its_words() {
    let Some(mut world) = World::bare() else {
        return;
    };
    // Its end may come at any moment of the start.
    for _ in 0..20 {
        world.scripted_agent(&format!("{VERSION}echo 'no license today' >&2\nexit 3"));
        assert_eq!(
            refused(&world, &[]),
            "clsess: the agent did not start, exit 3: no license today\n"
        );
    }
    world.scripted_agent(&format!("{VERSION}kill -KILL $$"));
    assert_eq!(
        refused(&world, &[]),
        "clsess: the agent did not start, signal 9\n"
    );
}

#[test]
fn an_agent_that_is_never_ready_is_given_up_in_time() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.scripted_agent(&format!("{VERSION}trap '' TERM\nsleep 1000 & wait"));
    let expected = "clsess: the agent was not ready in time\n\
                    hint: give it longer with --start-timeout or start_timeout in the config\n";
    assert_eq!(refused(&world, &["--start-timeout", "1s"]), expected);
    world.config("[defaults]\nstart_timeout = '500ms'\n");
    assert_eq!(refused(&world, &[]), expected);
}

#[test]
fn an_agent_that_speaks_nonsense_is_given_up() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.scripted_agent(&format!(
        "{VERSION}echo '{{'; printf '\\377\\n'; head -c 1 >/dev/null; exit 1"
    ));
    assert_eq!(
        refused(&world, &[]),
        "clsess: the agent did not start, exit 1\n"
    );
}

#[test]
fn a_directory_that_is_not_there() {
    let Some(world) = World::bare() else { return };
    assert_eq!(
        refused(&world, &["-c", "/no/such/dir"]),
        "clsess: /no/such/dir: No such file or directory (os error 2)\n"
    );
    let file = world.project().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(
        refused(&world, &["-c", file.to_str().unwrap()]),
        format!("clsess: {}: not a directory\n", file.display())
    );
}

#[test]
fn a_conversation_that_is_not_there() {
    let Some(world) = World::real() else { return };
    let id = "00000000-0000-4000-8000-000000000000";
    let said = refused(&world, &["--resume", id]);
    let (first, hint) = said.split_once('\n').unwrap();
    let said = format!("clsess: the agent no longer has the conversation {id}: ");
    assert!(first.starts_with(&said) && first.ends_with(".jsonl is gone"));
    // There is no session that could be restarted.
    assert!(
        hint.starts_with("hint: ") && !hint.contains("restart"),
        "{hint}"
    );
}
