//! The broker as a service: the units, and the socket that systemd hands over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../crates/clsess/cli.rs"]
#[allow(dead_code, missing_docs)]
mod cli;
mod harness;

use std::fs::DirBuilder;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use harness::{CLSESS, Cmd, Done, PATIENCE, Running, World, until};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn unit(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join("crates/clsess/service").join(name)).unwrap()
}

/// What a unit says of this: `Section.Key`, once.
fn said(unit: &str, what: &str) -> String {
    let (section, key) = what.split_once('.').unwrap();
    let header = format!("[{section}]");
    let section = unit.lines().skip_while(|line| *line != header).skip(1);
    let section = section.take_while(|line| !line.starts_with('['));
    let values = section.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let values: Vec<&str> = values.collect();
    assert_eq!(values.len(), 1, "{what}: {values:?}");
    values[0].to_owned()
}

/// Where the socket's unit listens.
fn listen_stream(runtime: &Path, label: &str) -> PathBuf {
    let path = said(&unit("clsess@.socket"), "Socket.ListenStream");
    let path = path.replace("%t", runtime.to_str().unwrap());
    path.replace("%i", label).into()
}

#[test]
fn the_units_say_what_matters() {
    let socket = unit("clsess@.socket");
    assert_eq!(said(&socket, "Socket.SocketMode"), "0600");
    assert_eq!(said(&socket, "Socket.DirectoryMode"), "0700");
    let service = unit("clsess@.service");
    for (what, value) in [
        // The holders of warm agents are not ended with the broker.
        ("Service.KillMode", "process"),
        ("Service.OOMPolicy", "continue"),
        ("Service.Type", "notify"),
        ("Service.Restart", "on-failure"),
        ("Unit.Requires", "clsess@%i.socket"),
    ] {
        assert_eq!(said(&service, what), value, "{what}");
    }
    // Those who wait look for it for ten seconds. Deaths are no reason to leave it, other than those of
    // a broker that cannot live: each try takes a tenth of a second or more.
    assert_eq!(said(&service, "Service.RestartSec"), "100ms");
    assert_eq!(said(&service, "Unit.StartLimitIntervalSec"), "10");
    let starts: u64 = said(&service, "Unit.StartLimitBurst").parse().unwrap();
    assert!((10..100).contains(&starts));
    // The agents' end (10 seconds) fits in.
    let stop: u64 = said(&service, "Service.TimeoutStopSec").parse().unwrap();
    assert!(stop > 15);
    // What would take from an agent what its user can.
    for hardening in [
        "NoNewPrivileges",
        "Private",
        "Protect",
        "Restrict",
        "System",
        "Memory",
    ] {
        let forbids = |line: &str| line.starts_with(hardening);
        assert!(!service.lines().any(forbids), "{hardening}");
    }
}

#[test]
fn every_command_of_a_service_is_one() {
    let service = unit("clsess@.service");
    let commands = service
        .lines()
        .filter_map(|line| line.strip_prefix("Exec")?.split_once('='));
    let mut commands: Vec<Vec<String>> = commands
        // The quotes are for a PREFIX with a blank.
        .map(|(_, command)| command.replace("%i", "default").replace('"', ""))
        .map(|command| command.split(' ').map(str::to_owned).collect())
        .collect();
    let plist = unit("clsess.plist");
    let arguments = plist.split_once("<array>").unwrap().1;
    let arguments = arguments.split_once("</array>").unwrap().0;
    let arguments = arguments.lines().filter_map(|line| {
        let text = line.trim().strip_prefix("<string>")?;
        text.strip_suffix("</string>")
    });
    commands.push(arguments.map(str::to_owned).collect());
    assert_eq!(commands.len(), 3);
    for command in commands {
        // `make install` puts PREFIX in place of this.
        assert_eq!(command[0], "/usr/local/bin/clsess");
        let taken = cli::Cli::try_parse_from(&command);
        assert!(taken.is_ok(), "{command:?}: {taken:?}");
    }
}

#[test]
fn systemd_takes_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["clsess@.service", "clsess@.socket"] {
        let text = unit(name).replace("/usr/local/bin/clsess", CLSESS);
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]);
    verify.args(["./clsess@default.service", "./clsess@default.socket"]);
    verify.current_dir(&dir).env("XDG_RUNTIME_DIR", dir.path());
    let Ok(done) = verify.output() else {
        return eprintln!("skipped: there is no systemd-analyze");
    };
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
}

/// What systemd does for `ListenStream=`.
fn listen(socket: &Path) -> UnixListener {
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    private.create(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600)).unwrap();
    listener
}

/// What it does for `ExecStart=` then: the descriptor is number 3, the variables say so.
fn activated(world: &World, variables: &str, arguments: &str) -> Cmd {
    let script = format!("exec 3<&0 </dev/null; {variables} exec \"$0\" {arguments} broker run");
    world.program("bash", &["-c", &script, CLSESS])
}

const ONE: &str = "LISTEN_PID=$$ LISTEN_FDS=1";

fn run(world: &World, listener: &UnixListener) -> Running {
    let listener = listener.try_clone().unwrap();
    activated(world, ONE, "").stdin_is(listener).spawn()
}

/// Waits until somebody connects; systemd looks by `poll` too, and leaves it to the broker.
fn wait_for_client(listener: &UnixListener) {
    assert!(knocks(listener, PATIENCE.as_millis()), "nobody connects");
}

fn knocks(listener: &UnixListener, wait_ms: u128) -> bool {
    let mut asked = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::try_from(wait_ms).unwrap();
    poll(&mut asked, wait).unwrap() == 1
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

#[test]
fn a_broker_takes_the_socket_that_it_is_handed() {
    let Some(world) = World::bare() else { return };
    let listener = listen(&world.socket());
    let made = inode(&world.socket());
    for _ in 0..2 {
        // It is asked before it is there.
        let client = world.clsess(&["ls"]).spawn();
        wait_for_client(&listener);
        let broker = run(&world, &listener);
        assert_eq!(client.wait().ok().text(), "");
        let status = world.clsess(&["broker", "status", "--json"]).run().ok();
        let status = status.json();
        assert_eq!(status["pid"], broker.pid);
        assert_eq!(status["socket"], world.socket().to_str().unwrap());
        world.clsess(&["broker", "stop"]).run().ok();
        let done = broker.wait().ok();
        assert!(!done.stderr.contains("made again"), "{}", done.stderr);
        // It is systemd's, and still there for the next one.
        assert_eq!(inode(&world.socket()), made);
        UnixStream::connect(world.socket()).unwrap();
        listener.accept().unwrap();
    }
}

#[test]
fn no_agent_has_the_socket_or_its_variables() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    let listener = listen(&world.socket());
    let broker = run(&world, &listener);
    world.session("work");
    let holder = world.show("work")["holder_pid"].to_string();
    let own = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
    for pid in [holder, world.agent("work").to_string()] {
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let variables = String::from_utf8(variables).unwrap();
        assert!(!variables.contains("LISTEN_"), "{variables:?}");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        for entry in open.flatten() {
            assert_ne!(std::fs::read_link(entry.path()).unwrap_or_default(), own);
        }
    }
    world.clsess(&["broker", "stop"]).run().ok();
    broker.wait().ok();
}

#[test]
fn a_removed_socket_becomes_the_brokers_own() {
    let Some(world) = World::bare() else { return };
    let listener = listen(&world.socket());
    let broker = run(&world, &listener);
    world.clsess(&["ls"]).run().ok();
    std::fs::remove_file(world.socket()).unwrap();
    until("the socket is there", || world.socket().exists());
    assert_eq!(world.broker(), broker.pid);
    // Nobody else listens there, so it goes with the broker.
    world.clsess(&["broker", "stop"]).run().ok();
    let done = broker.wait().ok();
    assert!(done.stderr.contains("made again"), "{}", done.stderr);
    assert!(!world.socket().exists());
}

#[test]
fn what_is_handed_to_another_process_is_left_alone() {
    let Some(world) = World::bare() else { return };
    let other = world.root().join("other");
    let listener = listen(&other.join("s"));
    let descriptor = listener.try_clone().unwrap();
    let run = activated(&world, "LISTEN_PID=1 LISTEN_FDS=1", "");
    let broker = run.stdin_is(descriptor).spawn();
    until("it listens", || world.socket().exists());
    world.clsess(&["broker", "stop"]).run().ok();
    broker.wait().ok();
    assert!(!world.socket().exists());
}

#[test]
fn what_is_no_socket_for_a_broker_is_refused() {
    let Some(world) = World::bare() else { return };
    let refused = |run: Cmd, what: &str| {
        let done: Done = run.run().fails(1);
        let said = format!("clsess: {what}");
        assert!(done.stderr.starts_with(&said), "{}", done.stderr);
        assert!(world.processes().is_empty());
    };
    let socket = world.socket();
    let listener = listen(&socket);
    let give = |variables: &str, arguments: &str| {
        activated(&world, variables, arguments).stdin_is(listener.try_clone().unwrap())
    };
    let two = give("LISTEN_PID=$$ LISTEN_FDS=2", "");
    refused(two, "LISTEN_FDS is \"2\"; a broker takes one socket\n");
    let named = give(ONE, "-S /tmp/other.sock");
    let what = format!(
        "the broker is to listen on /tmp/other.sock, and was handed {}\n",
        socket.display()
    );
    refused(named, &what);
    let (one, _other) = UnixStream::pair().unwrap();
    let silent = activated(&world, ONE, "").stdin_is(one);
    refused(silent, "the socket that was handed over does not listen\n");
    let file = std::fs::File::open("/dev/null").unwrap();
    let file = activated(&world, ONE, "").stdin_is(file);
    refused(file, "what systemd hands over is of no use: ");
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let what = format!(
        "the socket that was handed over claims {}, which is open to others (mode 666)\n\
         hint: SocketMode=0600 in its unit\n",
        socket.display()
    );
    refused(give(ONE, ""), &what);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "").unwrap();
    let what = format!(
        "the socket that was handed over claims {}, which is not a socket\n",
        socket.display()
    );
    refused(give(ONE, ""), &what);
}

#[test]
fn a_client_that_looks_elsewhere_wakes_the_broker_of_systemd() {
    let Some(world) = World::bare() else { return };
    // The default places are everybody's, so this one has a label of its own.
    let label = world.root().file_name().unwrap().to_str().unwrap();
    let runtime = world.root().join("xdg");
    let socket = listen_stream(&runtime, label);
    let login = |args: &[&str]| {
        let command = world.clsess(&[&["-L", label], args].concat());
        let command = command.env_remove("CLSESS_RUNTIME_DIR");
        command.env("XDG_RUNTIME_DIR", &runtime)
    };
    let listener = listen(&socket);
    let start_unit = || {
        let listener = listener.try_clone().unwrap();
        let run = activated(&world, ONE, &format!("-L {label}"));
        run.stdin_is(listener).spawn()
    };
    let is_left_alone = || {
        let status = login(&["broker", "status"]).run().fails(11);
        assert!(status.stderr.contains("no broker is running"));
        login(&["broker", "stop"]).run().ok();
        login(&["version"]).run().ok();
        let complete = world.clsess(&["complete", "-L", label, "send", ""]);
        let complete = complete.env_remove("CLSESS_RUNTIME_DIR");
        complete.env("XDG_RUNTIME_DIR", &runtime).run().ok();
        assert!(!knocks(&listener, 0), "who only looks has connected");
    };

    is_left_alone();
    if nix::unistd::geteuid().is_root() {
        // After `su` the variable is that of somebody else.
        std::os::unix::fs::chown(&runtime, Some(65534), None).unwrap();
        login(&["ls"]).run().ok();
        assert!(!knocks(&listener, 0), "it was asked of somebody else");
        login(&["broker", "stop"]).run().ok();
        std::os::unix::fs::chown(&runtime, Some(0), None).unwrap();
    }
    let client = login(&["ls"]).spawn();
    wait_for_client(&listener);
    let broker = start_unit();
    client.wait().ok();
    let status = login(&["broker", "status", "--json"]).run().ok().json();
    assert_eq!(status["pid"], broker.pid);
    assert_eq!(status["socket"], socket.to_str().unwrap());
    // A cron job has no XDG_RUNTIME_DIR: the lock says where.
    let job = login(&["broker", "status", "--json"]).env_remove("XDG_RUNTIME_DIR");
    assert_eq!(job.run().ok().json()["pid"], broker.pid);
    login(&["broker", "stop"]).run().ok();
    broker.wait().ok();

    // And when somebody wants it to be started.
    is_left_alone();
    let start = login(&["broker", "start"]).spawn();
    wait_for_client(&listener);
    let broker = start_unit();
    let said = format!("listening on {}\n", socket.display());
    assert_eq!(start.wait().ok().text(), said);
    assert_eq!(world.processes().len(), 1);
    login(&["broker", "stop"]).run().ok();
    broker.wait().ok();
    assert!(socket.exists());
}

#[test]
fn systemd_is_told_when_the_broker_listens() {
    let Some(world) = World::bare() else { return };
    let path = world.root().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let run = world.clsess(&["broker", "run"]).env("NOTIFY_SOCKET", &path);
    let broker = run.spawn();
    let mut said = [0; 64];
    let length = manager.recv(&mut said).unwrap();
    assert_eq!(&said[..length], b"READY=1\n");
    // No other one is started for this.
    world.clsess(&["broker", "status"]).run().ok();
    assert_eq!(world.broker(), broker.pid);
    world.clsess(&["broker", "stop"]).run().ok();
    broker.wait().ok();
}
