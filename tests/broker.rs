//! The broker's own life: beginning, being found, idling, ending.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use harness::{CLSESS, World, alive, send_signal, until};
use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;
use serde_json::json;

fn start(world: &World) -> u32 {
    world.clsess(&["broker", "start"]).run().ok();
    world.broker()
}

#[test]
fn start_returns_when_the_broker_listens() {
    let Some(world) = World::bare() else { return };
    let done = world.clsess(&["broker", "start"]).run().ok();
    let socket = world.socket();
    assert_eq!(done.text(), format!("listening on {}\n", socket.display()));
    UnixStream::connect(&socket).unwrap();
    let status = world.clsess(&["broker", "status", "--json"]).run().ok();
    let pid = world.broker();
    assert_eq!(
        status.json(),
        json!({
            "pid": pid,
            "version": env!("CARGO_PKG_VERSION"),
            "socket": socket,
            "state_dir": world.state().join("default"),
            "sessions": 0,
        })
    );
    let again = world.clsess(&["broker", "start"]).run().ok();
    assert_eq!(again.text(), "a broker is running already\n");
    let quiet = world.clsess(&["broker", "start", "-q"]).run().ok();
    assert_eq!(quiet.text(), "");
    assert_eq!(world.broker(), pid);
    let version = world.clsess(&["version", "--json"]).run().ok().json();
    assert_eq!(version["broker"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn ten_that_start_at_once_have_one_broker() {
    let Some(world) = World::bare() else { return };
    for command in [&["broker", "start"][..], &["ls"]] {
        let clients: Vec<_> = (0..10).map(|_| world.clsess(command).spawn()).collect();
        for client in clients {
            client.wait().ok();
        }
        let all = world.processes();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, world.broker());
        world.clsess(&["broker", "stop"]).run().ok();
    }
}

#[test]
fn stop_returns_when_everything_is_gone() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.session("other");
    world.send("work", "hi");
    let done = world.clsess(&["broker", "stop"]).run().ok();
    let left = world.processes();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!((done.text(), done.stderr.as_str()), ("", ""));
    assert!(!world.socket().exists());
    let done = world.clsess(&["broker", "stop"]).run().ok();
    assert_eq!(done.stderr, "clsess: no broker is running\n");
}

#[test]
fn stop_returns_after_the_brokers_own_process_is_gone() {
    let Some(world) = World::bare() else { return };
    for round in 0..20 {
        let pid = start(&world);
        world.clsess(&["broker", "stop"]).run().ok();
        assert!(!alive(pid), "round {round}");
    }
}

#[test]
fn a_terminated_broker_tells_its_turns_and_leaves_nothing() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let queued = world.clsess(&["send", "work", "queued"]).spawn();
    world.wait_queued("work", 1);
    send_signal(world.broker(), Signal::SIGTERM);
    for client in [running, queued] {
        let done = client.wait().fails(11);
        assert_eq!(done.stderr, "clsess: the broker was stopped\n");
        assert_eq!(done.stdout, b"");
    }
    until("nothing is left", || world.processes().is_empty());
    let result = world.clsess(&["result", "-o", "json", "work", "-2"]);
    assert_eq!(result.run().fails(11).json()["outcome"], "interrupted");
    assert_eq!(world.api.prompts(0), ["slow"]);
}

#[test]
fn an_agent_and_its_turn_go_on_when_the_broker_is_killed() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let agent = world.agent("work");
    world.kill_broker();
    assert_eq!(world.show("work")["state"], "working");
    world.api.release("h");
    // The client has asked the next broker, by itself.
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("late\n", ""));
    assert_eq!(world.send("work", "and now?"), "you said: and now?\n");
    assert_eq!(world.agent("work"), agent);
    assert_eq!(world.api.prompts(0), ["slow", "and now?"]);
}

#[test]
fn what_only_looks_never_starts_a_broker() {
    let Some(world) = World::bare() else { return };
    let status = world.clsess(&["broker", "status"]).run().fails(11);
    assert_eq!(
        status.stderr,
        "clsess: no broker is running\nhint: clsess broker start\n"
    );
    world.clsess(&["broker", "logs"]).run().fails(11);
    world.clsess(&["broker", "stop"]).run().ok();
    world.clsess(&["version"]).run().ok();
    world.clsess(&["--help"]).run().ok();
    assert!(world.processes().is_empty());
    assert!(!world.state().exists() && !world.runtime().exists());
}

#[test]
fn a_broker_in_the_foreground_ends_with_its_terminal_key() {
    let Some(world) = World::bare() else { return };
    let run = world.clsess(&["broker", "run"]).spawn();
    until("it listens", || world.socket().exists());
    until("it answers", || {
        world.clsess(&["broker", "status"]).run().code == 0
    });
    assert_eq!(world.broker(), run.pid);
    let second = world.clsess(&["broker", "run"]).run().fails(11);
    assert!(second.stderr.contains(&format!("(pid {} on ", run.pid)));
    run.signal(Signal::SIGINT);
    let done = run.wait().ok();
    assert!(done.stderr.contains("broker begins") && done.stderr.contains("broker gone"));
}

#[test]
fn a_removed_socket_is_made_again() {
    let Some(world) = World::bare() else { return };
    let pid = start(&world);
    let answers = || {
        until("the socket is there", || world.socket().exists());
        let found = world.clsess(&["broker", "status", "--json"]).run();
        assert_eq!(found.ok().json()["pid"], pid);
        UnixStream::connect(world.socket()).unwrap();
    };
    for _ in 0..3 {
        std::fs::remove_file(world.socket()).unwrap();
        answers();
    }
    std::fs::rename(world.runtime(), world.root().join("moved")).unwrap();
    answers();
    let rm = world.program("rm", &["-rf", world.runtime().to_str().unwrap()]);
    // The broker may be quicker than `rm` and leave it a directory that is not empty.
    rm.run();
    answers();
    assert_eq!(world.broker(), pid);
}

#[test]
fn a_client_that_looks_elsewhere_finds_the_broker_by_its_lock() {
    let Some(world) = World::bare() else { return };
    let pid = start(&world);
    let elsewhere = world.root().join("elsewhere");
    let status = world.clsess(&["broker", "status", "--json"]);
    let status = status.env("CLSESS_RUNTIME_DIR", &elsewhere).run().ok();
    assert_eq!(status.json()["pid"], pid);
    let ls = world.clsess(&["ls"]).env("CLSESS_RUNTIME_DIR", &elsewhere);
    ls.run().ok();
    assert_eq!(world.processes().len(), 1);
    assert!(!elsewhere.exists());
    // Another label is another broker.
    let other = world.clsess(&["-L", "other", "broker", "status"]);
    other.run().fails(11);
}

/// Switches of all threads of a process.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.map(|task| task.unwrap().path().join("status"));
    let counts = statuses.flat_map(|status| {
        let text = std::fs::read_to_string(status).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:"));
        lines
            .map(|(_, n)| n.trim().parse::<u64>().unwrap())
            .collect::<Vec<_>>()
    });
    counts.sum()
}

#[test]
fn an_idle_broker_makes_no_wake_ups() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world.send("work", "hi");
    world.wait_state("work", "idle");
    // One that stays connected costs nothing either.
    let connected = UnixStream::connect(world.socket()).unwrap();
    drop(connected);
    let holder = world.show("work")["holder_pid"].as_u64().unwrap();
    let holder = u32::try_from(holder).unwrap();
    let broker = world.broker();
    // The time in which nothing may happen can only be spent.
    std::thread::sleep(Duration::from_secs(1));
    let before = (switches(broker), switches(holder));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!((switches(broker), switches(holder)), before);
    assert_eq!(world.broker(), broker);
    assert!(switches(broker) > before.0, "nothing is counted here");
}

#[test]
fn a_broker_outlives_the_process_group_that_started_it() {
    let Some(world) = World::bare() else { return };
    let script = "$0 ls; kill -KILL 0";
    let killed = world
        .program("setsid", &["bash", "-c", script, CLSESS])
        .run();
    assert_eq!(killed.code, -9);
    let pid = world.broker();
    assert!(alive(pid));
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let terminal = fields[4];
    assert_eq!(terminal, "0");
    let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd, Path::new("/"));
}

#[test]
fn a_broker_and_its_agents_outlive_the_logout() {
    let Some(world) = World::real() else { return };
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    // A login shell: it leads a session, whose terminal this is.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let terminal = posix_openpt(flags).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let mut shells_end = File::options();
    shells_end.read(true).write(true);
    shells_end.custom_flags(flags.bits());
    let shells_end = shells_end.open(ptsname_r(&terminal).unwrap()).unwrap();
    let script = "\"$0\" new work && \"$0\" send --no-wait work slow >turn && tty && read -r line";
    let login = world.program("setsid", &["--ctty", "bash", "-c", script, CLSESS]);
    let login = login.stdin_is(shells_end).spawn();
    login.wait_stdout(|out| out.starts_with(b"work\n/dev/pts/"));
    world.api.wait_hold("h", 1);
    let before = (
        world.broker(),
        world.agent("work"),
        world.show("work")["holder_pid"].clone(),
    );
    // Its terminal is gone: SIGHUP to all of its session.
    drop(terminal);
    let hung_up = -(Signal::SIGHUP as i32);
    assert_eq!(login.wait().code, hung_up);

    world.api.release("h");
    let result = world.clsess(&["result", "work"]).run().ok();
    assert_eq!(result.text(), "late\n");
    assert_eq!(world.send("work", "hi"), "you said: hi\n");
    let after = (
        world.broker(),
        world.agent("work"),
        world.show("work")["holder_pid"].clone(),
    );
    assert_eq!(after, before);
}

#[test]
fn a_broker_holds_nothing_of_the_caller_open() {
    let Some(world) = World::real() else { return };
    // Each of these pipes has its end only when nobody has it open any more.
    let script = "exec 7>&1; out=$(clsess send -A work hi 3>&1 4>&2 5>&7); echo \"got $out\"";
    let done = world.shell(script).run().ok();
    assert_eq!(done.text(), "got you said: hi\n");
    for pid in [
        world.broker(),
        u32::try_from(world.show("work")["holder_pid"].as_u64().unwrap()).unwrap(),
    ] {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        for entry in entries.flatten() {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_str().unwrap().to_owned();
            let own = [
                "/dev/null",
                "socket:",
                "pipe:",
                "anon_inode:",
                "/memfd:clsess-",
            ];
            let under = target.starts_with(world.state().to_str().unwrap());
            assert!(
                under || own.iter().any(|o| target.starts_with(o)),
                "{target}"
            );
        }
    }
}

#[test]
fn a_job_without_terminal_or_variables_finds_the_login_shells_broker() {
    let Some(world) = World::real() else { return };
    // The default places are everybody's, so this one has a label of its own.
    let label = world.root().file_name().unwrap().to_str().unwrap();
    let bin = Path::new(CLSESS).parent().unwrap();
    let home = world.home();
    let job = |args: &[&str]| {
        let set = [
            "-i".to_owned(),
            format!("HOME={}", home.display()),
            format!("PATH={}:/usr/bin:/bin", bin.display()),
            "clsess".to_owned(),
            format!("-L{label}"),
        ];
        let all: Vec<&str> = set
            .iter()
            .map(String::as_str)
            .chain(args.iter().copied())
            .collect();
        world.program("env", &all).silent_stdin()
    };
    let login = |args: &[&str]| {
        let all = [&["-L", label], args].concat();
        world.clsess(&all).env_remove("CLSESS_STATE_DIR")
    };
    login(&["new", "work"]).run().ok();
    let pid = login(&["broker", "status", "--json"]).run().ok().json()["pid"].clone();
    let done = job(&["send", "work", "hi"]).run().ok();
    assert_eq!(done.text(), "you said: hi\n");
    assert_eq!(
        job(&["broker", "status", "--json"]).run().ok().json()["pid"],
        pid
    );
    job(&["broker", "stop"]).run().ok();
    assert_eq!(world.processes(), []);

    // And the other way round: one that the job starts serves the login shell.
    let done = job(&["send", "work", "again"]).run().ok();
    assert_eq!(done.text(), "you said: again\n");
    let pid = job(&["broker", "status", "--json"]).run().ok().json()["pid"].clone();
    let found = login(&["broker", "status", "--json"]).run().ok();
    assert_eq!(found.json()["pid"], pid);
    login(&["broker", "stop"]).run().ok();
    assert_eq!(world.processes(), []);
}
