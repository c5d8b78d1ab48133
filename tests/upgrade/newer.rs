//! A command that meets a broker of another version.

use serde_json::json;

use crate::harness::{World, until};
use crate::programs::{NEW, OLD, new, newer, version};

const SAID: &str = "clsess: upgrading the broker 0.1.0 -> 9.9.9\n";

#[test]
fn a_newer_command_upgrades_the_broker_and_goes_on() {
    let Some(world) = World::real() else { return };
    world.session("work");
    world
        .api
        .rule("slow", json!([{"text": "late", "hold": "h"}]));
    let running = world.clsess(&["send", "work", "slow"]).spawn();
    world.api.wait_hold("h", 1);
    let agent = world.agent("work");
    // Who only looks changes nothing.
    for args in [
        &["broker", "status"][..],
        &["broker", "logs"],
        &["version"],
        &["doctor"],
    ] {
        let done = new(&world, args).run();
        assert!(
            !done.stderr.contains("upgrading"),
            "{args:?}: {}",
            done.stderr
        );
        assert_eq!(version(&world), OLD);
    }
    // Two at once: one upgrade, of which both may have wanted to make one.
    let clients: Vec<_> = (0..2)
        .map(|_| new(&world, &["ls", "-F", "#{name}"]).spawn())
        .collect();
    let mut said = 0;
    for client in clients {
        let done = client.wait().ok();
        assert_eq!(done.text(), "work\n");
        assert!(
            done.stderr.is_empty() || done.stderr == SAID,
            "{}",
            done.stderr
        );
        said += usize::from(!done.stderr.is_empty());
    }
    assert!(said > 0);
    assert_eq!(version(&world), NEW);
    let begun = world.log().matches("broker begins").count();
    assert_eq!(begun, 2);
    // The other way round nothing happens.
    let broker = world.broker();
    assert_eq!(world.clsess(&["ls"]).run().ok().stderr, "");
    assert_eq!(world.broker(), broker);
    world.api.release("h");
    let done = running.wait().ok();
    assert_eq!((done.text(), done.stderr.as_str()), ("late\n", ""));
    assert_eq!(world.agent("work"), agent);
}

#[test]
fn one_that_is_to_be_quiet_says_nothing_of_it() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    assert_eq!(new(&world, &["-q", "ls"]).run().ok().stderr, "");
    assert_eq!(version(&world), NEW);
}

/// One of the old program comes in its place.
#[test]
fn a_broker_that_dies_meanwhile_is_replaced_all_the_same() {
    let Some(mut world) = World::bare() else {
        return;
    };
    world.idle_agent();
    world.session("work");
    let agent = world.agent("work");
    let relay = world.relay();
    relay.drops("upgrade");
    let upgrade = new(&world, &["broker", "upgrade"]);
    let upgrade = relay.on_this_way(upgrade).spawn();
    relay.wait_asked("upgrade", 1);
    world.kill_broker();
    assert_eq!(version(&world), OLD);
    relay.cut();
    relay.wait_asked("upgrade", 2);
    until("it is replaced", || version(&world) == NEW);
    relay.cut();
    let done = upgrade.wait().ok();
    let said = format!("upgraded: {OLD} -> {NEW} (pid {})\n", world.broker());
    assert_eq!((done.text(), done.stderr.as_str()), (&*said, ""));
    assert_eq!(world.agent("work"), agent);
}

#[test]
fn one_that_cannot_makes_do_with_the_old_one() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    // Its file is gone when it looks for it.
    let script = format!(
        "cp {} gone; exec 3<gone; rm gone; exec /proc/self/fd/3 ls -F x",
        newer()
    );
    let done = world.program("bash", &["-c", &script]).run().ok();
    assert!(done.stderr.starts_with(SAID), "{}", done.stderr);
    assert!(
        done.stderr.contains("clsess: it stays 0.1.0: "),
        "{}",
        done.stderr
    );
    assert_eq!(version(&world), OLD);
}

#[test]
fn what_runs_inside_an_agent_does_not_upgrade() {
    let Some(world) = World::bare() else { return };
    world.clsess(&["broker", "start"]).run().ok();
    let done = new(&world, &["ls"])
        .env("CLSESS_SESSION", "work")
        .run()
        .ok();
    assert_eq!(done.stderr, "");
    assert_eq!(version(&world), OLD);
}

#[test]
fn without_a_broker_there_is_nothing_to_upgrade() {
    let Some(world) = World::bare() else { return };
    let done = world.clsess(&["broker", "upgrade"]).run().fails(11);
    assert_eq!(
        done.stderr,
        "clsess: no broker is running\nhint: clsess broker start\n"
    );
    assert!(world.processes().is_empty());
}
