//! `clsess doctor`: what it finds, and that it only looks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use harness::{Cmd, KEY, World, alive, send_signal, until};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// What it says of everything.
struct Report {
    code: i32,
    checks: Vec<Value>,
}

impl Report {
    fn of(command: Cmd) -> Self {
        let done = command.run();
        let said = done.text().to_owned() + &done.stderr;
        assert!(!said.contains(KEY) && !said.contains(SECRET), "{said}");
        assert!(!said.contains("null"), "{said}");
        let report = done.json();
        let checks = report["checks"].as_array().unwrap().clone();
        let problem = checks.iter().any(|check| check["status"] == "problem");
        assert_eq!(done.code, i32::from(problem), "{report}");
        let code = done.code;
        Self { code, checks }
    }

    fn check(&self, name: &str) -> &Value {
        let mut such = self.checks.iter().filter(|check| check["name"] == name);
        let check = such.next().unwrap_or_else(|| panic!("nothing of {name}"));
        assert_eq!(such.next(), None);
        check
    }

    /// Insists on this status; message and hint.
    #[track_caller]
    fn says(&self, name: &str, status: &str) -> (String, String) {
        let check = self.check(name);
        assert_eq!(check["status"], status, "{check}");
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        (text("message"), text("hint"))
    }
}

/// In every file that must not be told.
const SECRET: &str = "what-nobody-may-read-0123456789";

fn doctor(world: &World) -> Report {
    Report::of(world.clsess(&["doctor", "--json"]))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Every file below, with its mode, size and time of change.
fn tree(dir: &Path) -> Vec<(PathBuf, u32, u64, i64, i64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            found.extend(tree(&path));
        }
        let (size, seconds, rest) = (meta.size(), meta.ctime(), meta.ctime_nsec());
        found.push((path, meta.mode(), size, seconds, rest));
    }
    found.sort();
    found
}

#[test]
fn where_all_is_well_it_says_so_and_only_looks() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "hi");
    world.wait_state("work", "idle");
    let processes = world.processes();
    let report = doctor(&world);
    assert_eq!(report.code, 0, "{:?}", report.checks);
    for name in [
        "state-directory",
        "socket-directory",
        "socket-path",
        "config",
        "lock",
        "claude",
        "login",
        "sessions",
        "journals",
        "agents",
        "leftovers",
    ] {
        report.says(name, "ok");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(report.says("broker", "ok").0, format!("{version} runs"));
    assert_eq!(report.says("login", "ok").0, "ANTHROPIC_API_KEY is set");
    assert_eq!(world.processes(), processes);
    // For people: a line each.
    let done = world.clsess(&["doctor"]).run().ok();
    let lines: Vec<&str> = done.text().lines().collect();
    assert!(lines.contains(&"ok       journals: every line can be read"));
    assert_eq!(world.clsess(&["doctor", "-q"]).run().ok().text(), "");
    // Nobody else writes when everything is gone.
    world.clsess(&["broker", "stop"]).run().ok();
    let before = tree(world.root());
    assert_eq!(doctor(&world).code, 0);
    assert_eq!(tree(world.root()), before);
    assert_eq!(world.processes(), []);
}

#[test]
fn where_nothing_is_there_it_makes_nothing() {
    let Some(world) = World::bare() else { return };
    let before = tree(world.root());
    let report = doctor(&world);
    let (message, hint) = report.says("claude", "problem");
    assert!(
        message.contains("was found neither in the PATH"),
        "{message}"
    );
    assert!(hint.starts_with("install Claude Code"), "{hint}");
    for name in [
        "state-directory",
        "socket-directory",
        "broker",
        "lock",
        "sessions",
    ] {
        report.says(name, "ok");
    }
    assert_eq!(tree(world.root()), before);
    assert_eq!(world.processes(), []);
    let done = world.clsess(&["doctor", "-q"]).run().fails(1);
    assert!(done.text().starts_with("problem  claude: "), "{done:?}");
    assert!(done.text().contains("\nhint: install Claude Code"));
}

#[test]
fn directories_and_config() {
    let Some(world) = World::bare() else { return };
    fs::create_dir_all(world.state()).unwrap();
    chmod(&world.state(), 0o755);
    let (message, hint) = doctor(&world).says("state-directory", "problem");
    let state = world.state();
    let state = state.display();
    assert_eq!(message, format!("{state} is open to others (mode 755)"));
    assert_eq!(hint, format!("chmod 700 {state}"));

    let real = world.root().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, world.runtime()).unwrap();
    let (message, _) = doctor(&world).says("socket-directory", "problem");
    assert!(message.ends_with("is not a directory, or a link to one"));

    let long = world.root().join("x".repeat(100));
    let there = world.clsess(&["doctor", "--json"]);
    let report = Report::of(there.env("CLSESS_RUNTIME_DIR", long));
    assert!(
        report
            .says("socket-path", "problem")
            .0
            .contains("at most 107")
    );

    let file = world.config("driver = 1\n");
    let (message, hint) = doctor(&world).says("config", "problem");
    assert!(
        message.contains(&format!("{}:1", file.display())),
        "{message}"
    );
    assert_eq!(hint, "man clsess-config");
    chmod(file.parent().unwrap(), 0o777);
    let (message, hint) = doctor(&world).says("config-directory", "warning");
    assert!(message.contains("others may write"), "{message}");
    assert!(hint.starts_with("chmod go-w "), "{hint}");
}

#[test]
fn a_lock_that_says_another() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    world.clsess(&["broker", "stop"]).run().ok();
    // What a broker that is gone has left there is no matter.
    doctor(&world).says("lock", "ok");
    let lock = world.state().join("default/lock");
    let held = Flock::lock(File::open(&lock).unwrap(), FlockArg::LockExclusive).unwrap();
    let report = doctor(&world);
    let (message, hint) = report.says("lock", "problem");
    assert!(message.contains("which it names, is not here"), "{message}");
    assert_eq!(hint, format!("find who it is: fuser -v {}", lock.display()));
    report.says("broker", "problem");
    held.unlock().unwrap();
    fs::remove_file(lock).unwrap();
}

#[test]
fn agents_that_cannot_be_used() {
    let Some(mut world) = World::bare() else {
        return;
    };
    let program = world.scripted_agent("echo '2.1.100 (Claude Code)'");
    let (message, hint) = doctor(&world).says("claude", "problem");
    assert!(message.contains("2.1.248 or later is needed"), "{message}");
    assert!(hint.starts_with("claude update"), "{hint}");
    world.scripted_agent("echo '2.1.328 (Claude Code)'");
    let (message, _) = doctor(&world).says("claude", "ok");
    assert_eq!(message, format!("{} is 2.1.328", program.display()));
    world.config("[agent]\npath = \"/nowhere/claude\"\n");
    let (message, _) = doctor(&world).says("claude", "problem");
    assert!(message.starts_with("/nowhere/claude is not"), "{message}");
}

#[test]
fn ways_to_be_logged_in() {
    let Some(world) = World::bare() else { return };
    let bare = || {
        let command = world.clsess(&["doctor", "--json"]);
        Report::of(command.env_remove("ANTHROPIC_API_KEY"))
    };
    let (message, hint) = bare().says("login", "problem");
    assert_eq!(message, "the agent is not logged in");
    assert!(hint.starts_with("run claude, then /login"), "{hint}");

    let record = world.home().join(".claude.json");
    let account = json!({"oauthAccount": {"accountUuid": SECRET}});
    fs::write(record, account.to_string()).unwrap();
    bare().says("login", "warning");

    let claude = world.home().join(".claude");
    fs::create_dir(&claude).unwrap();
    fs::write(claude.join(".credentials.json"), SECRET).unwrap();
    let (message, _) = bare().says("login", "ok");
    assert_eq!(message, "there is a .credentials.json of /login");

    let settings = json!({"apiKeyHelper": SECRET, "env": {"ANTHROPIC_AUTH_TOKEN": SECRET}});
    fs::write(claude.join("settings.json"), settings.to_string()).unwrap();
    let (message, _) = bare().says("login", "ok");
    assert_eq!(
        message,
        "ANTHROPIC_AUTH_TOKEN is set in the agent's settings, apiKeyHelper is in the agent's \
         settings, there is a .credentials.json of /login"
    );
    // Another home is another agent's.
    let elsewhere = world.clsess(&["doctor", "--json"]);
    let elsewhere = elsewhere.env_remove("ANTHROPIC_API_KEY");
    let elsewhere = elsewhere.env("CLAUDE_CONFIG_DIR", world.root().join("other"));
    Report::of(elsewhere).says("login", "problem");
    // What the config sets for agents counts.
    fs::remove_dir_all(&claude).unwrap();
    world.config(&format!(
        "[defaults.env]\nCLAUDE_CODE_OAUTH_TOKEN = \"{SECRET}\"\n"
    ));
    let (message, _) = bare().says("login", "ok");
    assert_eq!(message, "CLAUDE_CODE_OAUTH_TOKEN is set");
}

#[test]
fn what_killed_agents_leave_behind() {
    let Some(world) = World::real() else { return };
    world.session("work");
    doctor(&world).says("leftovers", "ok");
    // The real client, killed.
    let agent = world.agent("work");
    harness::send_signal(agent, nix::sys::signal::Signal::SIGKILL);
    world.wait_state("work", "asleep");
    let temporary = world.root().join("tmp");
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    let probes = temporary.join(format!("claude-{}", nix::unistd::geteuid()));
    fs::create_dir_all(&probes).unwrap();
    for file in [
        temporary.join("claude-1a2b-cwd"),
        probes.join("fswatch-probe-old"),
    ] {
        let file = File::create(file).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    // One that runs, and one of another machine.
    let registry = world.home().join(".claude/sessions");
    let start = clsess_broker::lock::stat_fields("self").unwrap().start_time;
    let own = json!({"pid": std::process::id(), "procStart": start.to_string()});
    fs::write(registry.join("1.json"), own.to_string()).unwrap();
    let far = json!({"pid": 1, "procStart": "1", "pidDomain": "linux:far:pid:[1]"});
    fs::write(registry.join("2.json"), far.to_string()).unwrap();

    let (message, hint) = doctor(&world).says("leftovers", "warning");
    assert_eq!(
        message,
        format!(
            "killed agents have left behind 3 files of processes that are gone, 1 of \
             {}/claude-*-cwd, 1 of {}/fswatch-probe-*",
            temporary.display(),
            probes.display()
        )
    );
    assert!(hint.contains(&format!("{agent}.json")), "{hint}");
    world.shell(&hint).run().ok();
    doctor(&world).says("leftovers", "ok");
    assert!(registry.join("1.json").exists() && registry.join("2.json").exists());
}

#[test]
fn sessions_and_journals_that_cannot_be_read() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    let id = world.show("work")["id"].as_str().unwrap().to_owned();
    world.clsess(&["broker", "stop"]).run().ok();
    let sessions = world.state().join("default/sessions");
    assert_eq!(doctor(&world).says("sessions", "ok").0, "1 session on disk");

    let journal = sessions.join(&id).join("turns.jsonl");
    fs::write(&journal, "nonsense\n{\"record\":\"sta").unwrap();
    let (message, _) = doctor(&world).says("journals", "warning");
    let lines = format!("{} (2 lines)", journal.display());
    assert!(message.ends_with(&lines), "{message}");

    let broken = sessions.join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("session.json"), format!("{{{SECRET}")).unwrap();
    let (message, hint) = doctor(&world).says("sessions", "problem");
    assert!(message.contains(&broken.display().to_string()), "{message}");
    assert!(hint.starts_with("move the directory away"), "{hint}");
}

#[test]
fn agents_that_nobody_holds() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    // One that a holder has.
    doctor(&world).says("agents", "ok");
    world.clsess(&["broker", "stop"]).run().ok();
    doctor(&world).says("agents", "ok");
    // As after the death of a holder.
    let stray = world.program("sleep", &["1000"]).spawn();
    let stat = |pid: u32| clsess_broker::lock::stat_fields(&pid.to_string()).unwrap();
    let boot = clsess_broker::lock::boot_id();
    let note = format!("{} {} {boot}\n", stray.pid, stat(stray.pid).start_time);
    let sessions = fs::read_dir(world.state().join("default/sessions")).unwrap();
    let dir = sessions.flatten().next().unwrap().path();
    fs::write(dir.join("agent"), note).unwrap();
    let (message, hint) = doctor(&world).says("agents", "warning");
    let expected = format!("agents run that nobody holds: {} of work", stray.pid);
    assert_eq!(message, expected);
    assert_eq!(hint, format!("kill {}", stray.pid));
    assert!(alive(stray.pid));
}

#[test]
fn a_broker_that_is_missing_is_told_of() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    // Nobody can start one: nor can the holder.
    chmod(&world.runtime(), 0o777);
    send_signal(world.broker(), Signal::SIGKILL);
    until("it is gone", || {
        doctor(&world).check("broker")["status"] == "warning"
    });
    let (message, hint) = doctor(&world).says("broker", "warning");
    assert_eq!(
        message,
        "none runs, and 1 agent of one that has died live on"
    );
    assert!(hint.contains("clsess broker stop"), "{hint}");
    chmod(&world.runtime(), 0o700);
}

#[test]
fn so_is_one_that_dies_over_and_over() {
    let Some((world, _)) = World::fake(json!({})) else {
        return;
    };
    world.session("work");
    for _ in 0..4 {
        world.kill_broker();
    }
    send_signal(world.broker(), Signal::SIGKILL);
    until("it is left to people", || {
        doctor(&world).check("broker")["status"] == "problem"
    });
    let (message, hint) = doctor(&world).says("broker", "problem");
    assert!(
        message.starts_with("the broker has died 5 times"),
        "{message}"
    );
    assert!(hint.contains("clsess broker logs"), "{hint}");
}

#[test]
fn a_unit_that_systemd_has_given_up_is_told_of() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    let systemctl = world.root().join("bin/systemctl");
    fs::write(
        &systemctl,
        "#!/bin/sh\necho failed; echo inactive; [ \"$3\" = clsess@default.service ]\n",
    )
    .unwrap();
    chmod(&systemctl, 0o755);
    let (message, hint) = doctor(&world).says("service", "warning");
    assert_eq!(message, "systemd has given up: clsess@default.service");
    assert!(
        hint.contains("systemctl --user reset-failed clsess@default.service;"),
        "{hint}"
    );
}
