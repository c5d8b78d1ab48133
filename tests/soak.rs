//! Many turns over a long time, with sessions that sleep and wake, a broker and agents that are
//! killed: what there is of memory, descriptors, processes and files stays as it is.
//!
//! `CLSESS_SOAK_TURNS` is the number of turns (`make soak` says 2000), `CLSESS_TEST_SEED` the
//! seed, which is printed, and so is a row of numbers for each of [`ROWS`] parts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

#[path = "chaos/count.rs"]
#[allow(dead_code, reason = "what only other scenes need")]
mod count;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use count::Counts;
use harness::random::Random;
use harness::tools::bash;
use harness::{World, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::json;

/// The variable that says how many turns are run.
const TURNS: &str = "CLSESS_SOAK_TURNS";
/// So many when it says nothing.
const FEW: usize = 60;
/// After each part everything sleeps, and is counted.
const ROWS: usize = 4;
/// Sessions, each with a worker; one more than may be warm.
const SESSIONS: usize = 5;
/// Between two deaths of the broker: five in ten seconds would be told.
const APART: Duration = Duration::from_millis(2500);
/// What the broker's memory may grow by, in KiB, from the first row to the last: a part of the
/// turns fills the histories first.
const GROWTH: u64 = 4096;

/// What one part came to.
struct Row {
    turns: usize,
    deaths: [usize; 2],
    took: Duration,
    memory: u64,
    ours: Counts,
    of_client: usize,
}

#[test]
fn everything_stays_as_it_is_over_many_turns() {
    let Some(world) = World::real() else { return };
    let turns = std::env::var(TURNS).map_or(FEW, |turns| turns.parse().expect("a number"));
    world.config("[defaults]\nidle_sleep = \"300ms\"\nmax_warm = 4\nhistory = 20\n");
    world.allow_bash();
    let uses = json!([{"blocks": [bash("echo x")]}, {"text": "used"}]);
    world.api.rule("use a tool", uses);
    world.api.rule(
        "at length",
        json!([{"repeat_text": {"text": "word ", "times": 4000}}]),
    );
    let names: Vec<String> = (0..SESSIONS).map(|n| format!("s{n}")).collect();
    for name in &names {
        world.session(name);
        world.send(name, "remember me");
    }
    let mut random = Random::from_environment();
    let mut rows = vec![rest(&world, &names, 0, [0, 0], Duration::ZERO)];
    for _ in 0..ROWS {
        let begun = Instant::now();
        let (done, deaths) = part(&world, &names, turns.div_ceil(ROWS), &mut random);
        rows.push(rest(&world, &names, done, deaths, begun.elapsed()));
    }
    told(&rows);
    let (first, last) = (&rows[1], &rows[ROWS]);
    let differs = count::difference(&first.ours, &last.ours);
    assert!(differs.is_empty(), "{differs:#?}");
    assert!(last.memory <= first.memory + GROWTH);
    for name in &names {
        let said = world.send(name, "recall");
        assert!(said.starts_with("remember me\n"), "{said}");
    }
}

/// Runs so many turns, in all sessions side by side, while the broker and agents are killed. How
/// many, and how often each was killed.
fn part(world: &World, names: &[String], turns: usize, random: &mut Random) -> (usize, [usize; 2]) {
    let (left, goes_on) = (AtomicUsize::new(turns), AtomicBool::new(true));
    let done = AtomicUsize::new(0);
    let deaths = thread::scope(|scope| {
        let workers: Vec<_> = names
            .iter()
            .map(|name| {
                let (left, done, random) = (&left, &done, random.branch());
                scope.spawn(move || work(world, name, left, done, random))
            })
            .collect();
        let (goes_on, random) = (&goes_on, random.branch());
        let killer = scope.spawn(move || kills(world, names, goes_on, random));
        let worked: Vec<_> = workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        goes_on.store(false, Ordering::SeqCst);
        let deaths = killer.join().unwrap();
        worked.into_iter().for_each(|worked| worked.unwrap());
        deaths
    });
    (done.into_inner(), deaths)
}

/// One turn after the other, with pauses in which the session may fall asleep.
fn work(world: &World, name: &str, left: &AtomicUsize, done: &AtomicUsize, mut random: Random) {
    let one_less = |left: usize| left.checked_sub(1);
    while left
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
    {
        let number = done.fetch_add(1, Ordering::SeqCst);
        let (prompt, answer) = match random.below(4) {
            0 => (format!("use a tool {name} {number}"), "used\n".to_owned()),
            1 => (
                format!("at length {name} {number}"),
                "word ".repeat(4000) + "\n",
            ),
            _ => {
                let prompt = format!("{name} {number}");
                (prompt.clone(), format!("you said: {prompt}\n"))
            }
        };
        let ended = world.clsess(&["send", name, &prompt]).run();
        // In a tool its agent may have died.
        // The API takes what another agent asks for the turn that it has answered already.
        let again = ended.stderr.contains("another one was given the prompt");
        let said = again && ended.text() == format!("you said: {prompt}\n");
        let unknown = ended.code == 9 && prompt.starts_with("use a tool");
        assert!(
            unknown || (ended.code == 0 && (said || ended.text() == answer)),
            "{prompt}: {ended:?}"
        );
        // Not a wait for anything: how long somebody thinks.
        if random.percent(30) {
            thread::sleep(random.moment(Duration::from_millis(600)));
        }
    }
}

/// Kills the broker, or an agent, now and then. How often each.
fn kills(world: &World, names: &[String], goes_on: &AtomicBool, mut random: Random) -> [usize; 2] {
    let mut deaths = [0, 0];
    while goes_on.load(Ordering::SeqCst) {
        thread::sleep(APART + random.moment(APART));
        let status = world.clsess(&["broker", "status", "--json"]).run();
        if status.code != 0 {
            continue;
        }
        if random.percent(50) {
            let broker = u32::try_from(status.json()["pid"].as_u64().unwrap()).unwrap();
            send_signal(broker, Signal::SIGKILL);
            deaths[0] += 1;
        } else {
            let name = &names[usize::try_from(random.below(names.len() as u64)).unwrap()];
            let shown = world.clsess(&["show", "--json", name]).run();
            // Looked at again, since a number may be another process's by now.
            let agent = (shown.code == 0)
                .then(|| shown.json()["pid"].as_u64())
                .flatten();
            let agent = agent.map(|pid| u32::try_from(pid).unwrap());
            if let Some(agent) = agent
                && world.processes().iter().any(|(pid, _)| *pid == agent)
            {
                send_signal(agent, Signal::SIGKILL);
                deaths[1] += 1;
            }
        }
    }
    deaths
}

/// Waits until everything sleeps, and counts.
fn rest(world: &World, names: &[String], turns: usize, deaths: [usize; 2], took: Duration) -> Row {
    for name in names {
        world.wait_state(name, "asleep");
    }
    until("only the broker is left", || world.processes().len() == 1);
    Row {
        turns,
        deaths,
        took,
        memory: count::memory(world),
        ours: count::ours(world),
        of_client: count::of_client(world).values().sum(),
    }
}

fn told(rows: &[Row]) {
    println!(
        "turns  brokers  agents  seconds  broker KiB  descriptors  processes  files  client's files"
    );
    for row in rows {
        let of = |kind: &str| -> usize {
            let counts = row.ours.iter().filter(|(what, _)| what.starts_with(kind));
            counts.map(|(_, count)| count).sum()
        };
        println!(
            "{:>5}  {:>7}  {:>6}  {:>7.1}  {:>10}  {:>11}  {:>9}  {:>5}  {:>14}",
            row.turns,
            row.deaths[0],
            row.deaths[1],
            row.took.as_secs_f64(),
            row.memory,
            of("descriptor"),
            of("process"),
            of("file"),
            row.of_client,
        );
    }
}
