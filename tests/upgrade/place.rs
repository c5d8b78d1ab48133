//! What the new process is: where it stands in the system, and what it has been given.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};

use nix::unistd::{Pid, getsid};

use crate::harness::{CLSESS, PATIENCE, World, alive, until};
use crate::programs::{NEW, new, upgrade, version};

fn limit(pid: u32) -> String {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    line.unwrap().split_whitespace().nth(3).unwrap().to_owned()
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn the_new_process_stands_as_one_that_was_started() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.clsess(&["broker", "start"]).run().ok();
    let before = world.broker();
    let open = descriptors(before);
    upgrade(&world);
    let pid = world.broker();
    assert!(!alive(before));
    let sid = getsid(Some(Pid::from_raw(pid.cast_signed()))).unwrap();
    assert_eq!(sid.as_raw().unsigned_abs(), pid);
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(),
        Some("/")
    );
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(
        environment,
        format!("CLSESS_STATE_DIR={}\0", world.state().display())
    );
    for number in 0..=2 {
        let is = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
        assert_eq!(is.to_str(), Some("/dev/null"), "{number}");
    }
    until("nothing more is open", || descriptors(pid) <= open);
    // The agents have the limit that the first broker was started with.
    world.session("work");
    assert_eq!(limit(world.agent("work")), limit(std::process::id()));
}

#[test]
fn the_next_one_is_of_the_new_program_and_upgrades_are_no_deaths() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    for _ in 0..3 {
        upgrade(&world);
        world.clsess(&["broker", "upgrade", "--force"]).run().ok();
    }
    upgrade(&world);
    let agent = world.agent("work");
    // The holder brings the next one.
    world.kill_broker();
    assert_eq!(version(&world), NEW);
    assert_eq!(world.agent("work"), agent);
}

#[test]
fn systemd_is_told_and_keeps_its_socket() {
    let Some(world) = World::bare() else { return };
    let path = world.root().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut said = [0; 64];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8(said[..length].to_vec()).unwrap()
    };
    fs::create_dir(world.runtime()).unwrap();
    fs::set_permissions(
        world.runtime(),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let listener = UnixListener::bind(world.socket()).unwrap();
    fs::set_permissions(
        world.socket(),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let inode = world.socket().metadata().unwrap().ino();
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" broker run";
    let run = world.program("bash", &["-c", script, CLSESS]);
    let run = run
        .stdin_is(listener.try_clone().unwrap())
        .env("NOTIFY_SOCKET", &path);
    let first = run.spawn();
    assert_eq!(told(), "READY=1\n");
    world.clsess(&["ls"]).run().ok();

    upgrade(&world);
    assert_eq!(told(), format!("MAINPID={}\n", world.broker()));
    // And the one behind it: by the reload of the unit.
    world.clsess(&["broker", "upgrade", "--force"]).run().ok();
    let last = world.broker();
    assert_eq!(told(), format!("MAINPID={last}\n"));
    assert_eq!(new(&world, &["broker", "status"]).run().code, 0);
    world.clsess(&["broker", "stop"]).run().ok();
    // What is logged to stderr goes there to the end.
    let done = first.wait().ok();
    assert!(done.stderr.ends_with("broker gone\n"), "{}", done.stderr);
    assert_eq!(world.socket().metadata().unwrap().ino(), inode);
    listener.set_nonblocking(true).unwrap();
    drop(listener);
}
