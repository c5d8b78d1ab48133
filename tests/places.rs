//! Files, directories and sockets that are not as they must be are refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use harness::World;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn make_dir(path: &Path, mode: u32) {
    std::fs::create_dir_all(path).unwrap();
    chmod(path, mode);
}

/// `broker start` refuses, and so does a command that would start one.
#[track_caller]
fn refused(world: &World, message: &str, hint: Option<&str>) {
    let hint = hint.map_or_else(String::new, |hint| format!("hint: {hint}\n"));
    let done = world.clsess(&["broker", "start"]).run().fails(1);
    assert_eq!(done.stderr, format!("clsess: {message}\n{hint}"));
    let done = world.clsess(&["ls"]).run();
    assert_ne!(done.code, 0);
    assert!(done.stderr.contains(message), "{}", done.stderr);
    assert!(world.processes().is_empty());
}

const SOCKET_HINT: &str = "the socket's directory must be yours alone: set CLSESS_RUNTIME_DIR";
const OTHER_SOCKET: &str = "give another socket with -S PATH or CLSESS_RUNTIME_DIR";

#[test]
fn a_state_directory_that_is_open_to_others() {
    let Some(world) = World::bare() else { return };
    let dir = world.state();
    for (mode, told) in [(0o755, "755"), (0o777, "777"), (0o710, "710")] {
        make_dir(&dir, mode);
        let message = format!("{} is open to others (mode {told})", dir.display());
        refused(
            &world,
            &message,
            Some(&format!("chmod 700 {}", dir.display())),
        );
    }
    make_dir(&dir, 0o700);
    make_dir(&dir.join("default"), 0o750);
    let message = format!("{}/default is open to others (mode 750)", dir.display());
    refused(
        &world,
        &message,
        Some(&format!("chmod 700 {}/default", dir.display())),
    );
}

#[test]
fn a_state_directory_that_is_a_symlink_or_a_file() {
    let Some(world) = World::bare() else { return };
    let dir = world.state();
    let real = world.root().join("real");
    make_dir(&real, 0o700);
    symlink(&real, &dir).unwrap();
    refused(
        &world,
        &format!("{} is not a directory", dir.display()),
        None,
    );
    std::fs::remove_file(&dir).unwrap();
    std::fs::write(&dir, "").unwrap();
    refused(
        &world,
        &format!("{} is not a directory", dir.display()),
        None,
    );
}

#[test]
fn a_directory_of_somebody_else() {
    let Some(world) = World::bare() else { return };
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: only root can give a directory away");
    }
    let dir = world.state();
    make_dir(&dir, 0o700);
    chown(&dir, Some(12345), None).unwrap();
    refused(
        &world,
        &format!("{} belongs to user 12345", dir.display()),
        None,
    );
    std::fs::remove_dir(&dir).unwrap();
    let dir = world.runtime();
    make_dir(&dir, 0o700);
    chown(&dir, Some(12345), None).unwrap();
    let message = format!("{} lets others in (user 12345, mode 700)", dir.display());
    refused(&world, &message, Some(SOCKET_HINT));
}

#[test]
fn a_runtime_directory_in_which_others_may_write() {
    let Some(world) = World::bare() else { return };
    let dir = world.runtime();
    for mode in [0o777, 0o770] {
        make_dir(&dir, mode);
        let uid = dir.metadata().unwrap().uid();
        let message = format!(
            "{} lets others in (user {uid}, mode {mode:o})",
            dir.display()
        );
        refused(&world, &message, Some(SOCKET_HINT));
    }
}

#[test]
fn a_runtime_directory_that_is_a_symlink() {
    let Some(world) = World::bare() else { return };
    let real = world.root().join("real");
    make_dir(&real, 0o700);
    // Whoever owns the link may let it lead elsewhere at any time.
    symlink(&real, world.runtime()).unwrap();
    let done = world.clsess(&["broker", "start"]).run().fails(1);
    assert!(
        done.stderr
            .starts_with(&format!("clsess: {} ", world.runtime().display()))
    );
    assert!(world.processes().is_empty());
}

#[test]
fn a_socket_path_that_is_too_long() {
    let Some(world) = World::bare() else { return };
    let long = world.root().join("x".repeat(90));
    let socket = long.join("default.sock");
    let length = socket.as_os_str().len();
    let expected = format!(
        "clsess: the socket's path is {length} bytes long, at most 107 are possible: {}\n\
         hint: set CLSESS_RUNTIME_DIR to a shorter directory, or give -S PATH\n",
        socket.display()
    );
    for command in [&["broker", "start"][..], &["ls"], &["broker", "status"]] {
        let run = world.clsess(command).env("CLSESS_RUNTIME_DIR", &long).run();
        assert_eq!(run.fails(1).stderr, expected, "{command:?}");
    }
    let fits = world
        .root()
        .join("y".repeat(106 - world.root().as_os_str().len()));
    assert_eq!(fits.as_os_str().len(), 107);
    let fits = fits.to_str().unwrap();
    world.clsess(&["-S", fits, "broker", "start"]).run().ok();
    assert_eq!(world.clsess(&["-S", fits, "ls"]).run().ok().text(), "");
}

#[test]
fn a_config_that_others_may_write() {
    let Some(world) = World::bare() else { return };
    let file = world.config("");
    for (mode, told) in [(0o666, "666"), (0o620, "620")] {
        chmod(&file, mode);
        let done = world.clsess(&["send", "work", "hi"]).run().fails(2);
        assert_eq!(
            done.stderr,
            format!(
                "clsess: the config {}: others may write it (mode {told}); chmod go-w it\n\
                 hint: man clsess-config\n",
                file.display()
            )
        );
    }
    if nix::unistd::geteuid().is_root() {
        chmod(&file, 0o600);
        chown(&file, Some(12345), None).unwrap();
        let done = world.clsess(&["new", "work"]).run().fails(2);
        assert!(
            done.stderr.contains(": it belongs to user 12345\n"),
            "{}",
            done.stderr
        );
    }
}

#[test]
fn a_stale_socket_is_replaced() {
    let Some(world) = World::bare() else { return };
    make_dir(&world.runtime(), 0o700);
    drop(UnixListener::bind(world.socket()).unwrap());
    let old = world.socket().symlink_metadata().unwrap().ino();
    world.clsess(&["broker", "start"]).run().ok();
    let new = world.socket().symlink_metadata().unwrap().ino();
    let pid = world.broker();
    assert_ne!((old, pid), (new, 0));
    // One that a killed broker left is stale too.
    harness::send_signal(pid, nix::sys::signal::Signal::SIGKILL);
    harness::until("it is gone", || world.processes().is_empty());
    assert!(world.socket().exists());
    assert_eq!(world.clsess(&["ls"]).run().ok().text(), "");
    assert_ne!(world.broker(), pid);
}

#[test]
fn a_living_socket_is_never_displaced() {
    let Some(world) = World::bare() else { return };
    make_dir(&world.runtime(), 0o700);
    let listener = UnixListener::bind(world.socket()).unwrap();
    let inode = world.socket().symlink_metadata().unwrap().ino();
    let message = format!(
        "{} belongs to another living broker",
        world.socket().display()
    );
    let done = world.clsess(&["broker", "start"]).run().fails(1);
    assert_eq!(
        done.stderr,
        format!("clsess: {message}\nhint: {OTHER_SOCKET}\n")
    );
    assert_eq!(world.socket().symlink_metadata().unwrap().ino(), inode);
    drop(listener);

    // The broker of another state directory.
    world.clsess(&["broker", "start"]).run().ok();
    let pid = world.broker();
    let other = world.root().join("other-state");
    let start = world
        .clsess(&["broker", "start"])
        .env("CLSESS_STATE_DIR", &other);
    let done = start.run().fails(1);
    assert_eq!(
        done.stderr,
        format!("clsess: {message}\nhint: {OTHER_SOCKET}\n")
    );
    assert_eq!(world.broker(), pid);
    assert_eq!(world.processes().len(), 1);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let Some(world) = World::bare() else { return };
    make_dir(&world.runtime(), 0o700);
    std::fs::write(world.socket(), "precious").unwrap();
    let message = format!("{} exists and is not a socket", world.socket().display());
    refused(&world, &message, Some(OTHER_SOCKET));
    assert_eq!(std::fs::read(world.socket()).unwrap(), b"precious");
    std::fs::remove_file(world.socket()).unwrap();
    symlink("/etc/passwd", world.socket()).unwrap();
    refused(&world, &message, Some(OTHER_SOCKET));
}

#[test]
fn the_broker_of_another_state_directory_is_not_taken_for_ours() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let other = world.root().join("other-state");
    let run = |args: &[&str]| world.clsess(args).env("CLSESS_STATE_DIR", &other).run();
    let done = run(&["broker", "status"]).fails(11);
    assert_eq!(
        done.stderr,
        format!(
            "clsess: the broker at {} is another one, of {}\n\
             hint: set CLSESS_RUNTIME_DIR, or CLSESS_STATE_DIR to that one's\n",
            world.socket().display(),
            world.state().join("default").display()
        )
    );
    let done = run(&["ls"]).fails(11);
    let message = format!(
        "{} belongs to another living broker",
        world.socket().display()
    );
    assert_eq!(
        done.stderr,
        format!("clsess: the broker cannot be started: {message}\nhint: {OTHER_SOCKET}\n")
    );
    // Stopping stops nobody else's.
    assert_ne!(run(&["broker", "stop"]).code, -1);
    world.broker();
    // A socket that is named on purpose is meant.
    run(&["-S", world.socket().to_str().unwrap(), "ls"]).ok();
}

#[test]
fn the_broker_of_somebody_else_is_not_spoken_to() {
    let Some(world) = World::bare() else { return };
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: only root can become somebody else");
    }
    world.clsess(&["broker", "start"]).run().ok();
    // As if the doors had been left open.
    for dir in [world.root(), &world.runtime()] {
        chmod(dir, 0o755);
    }
    chmod(&world.socket(), 0o666);
    let home = world.root().join("theirs");
    make_dir(&home, 0o700);
    chown(&home, Some(65534), Some(65534)).unwrap();
    let socket = world.socket();
    let args = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        harness::CLSESS,
        "-S",
        socket.to_str().unwrap(),
        "broker",
        "status",
    ];
    let done = world.program("setpriv", &args).env("HOME", &home).run();
    assert_eq!(
        done.fails(1).stderr,
        "clsess: somebody else (user Some(0)) listens where the broker should\n\
         hint: set CLSESS_RUNTIME_DIR to a directory of your own\n"
    );
}
