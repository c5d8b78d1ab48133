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

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use count::Counts;
use harness::random::Random;
use harness::tools::bash;
use harness::{World, send_signal, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

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

/// How often holders are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// What one holder may have: it keeps what its agent has said in the turn that runs, and two
/// connections at most.
const HOLDER: Holder = Holder {
    memory: 256,
    files: 1024,
    descriptors: 16,
};
/// What the client may leave: files for each agent, and KiB for each turn.
const OF_CLIENT: [u64; 2] = [4, 64];

/// What one part did.
#[derive(Debug, Default)]
struct Part {
    turns: usize,
    /// Of brokers, and of agents.
    deaths: [usize; 2],
    /// How often a session fell asleep, and was woken.
    sleeps: usize,
    wakes: usize,
    took: Duration,
    /// The most that one holder had.
    holder: Holder,
}

/// What a holder has.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    /// Memory of its own, in KiB: see [`allocated`].
    memory: u64,
    /// Memory of the files that it keeps for its agent, in KiB.
    files: u64,
    descriptors: usize,
}

/// What is left when everything sleeps.
struct Rest {
    memory: u64,
    ours: Counts,
    /// Of the client's own files: how many, and their KiB.
    of_client: [u64; 2],
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
    let mut killed = Instant::now();
    let mut told = 0;
    asleep(&world, &names);
    let mut rows = vec![(Part::default(), rest(&world))];
    for _ in 0..ROWS {
        let since = told.to_string();
        let events = world.clsess(&["events", "--since", &since]).spawn();
        let mut part = part(
            &world,
            &names,
            turns.div_ceil(ROWS),
            &mut random,
            &mut killed,
        );
        asleep(&world, &names);
        events.signal(Signal::SIGTERM);
        count_sleeps(&events.wait().json_lines(), &mut told, &mut part);
        rows.push((part, rest(&world)));
    }
    print(&rows);
    for (before, (part, rest)) in rows.iter().zip(&rows[1..]) {
        assert!(part.deaths.iter().all(|deaths| *deaths > 0), "{part:?}");
        assert!(part.sleeps > 0 && part.wakes > 0, "{part:?}");
        assert!(part.holder.memory <= HOLDER.memory, "{part:?}");
        assert!(part.holder.files <= HOLDER.files, "{part:?}");
        assert!(part.holder.descriptors <= HOLDER.descriptors, "{part:?}");
        let agents = (part.wakes + part.deaths[1]) as u64;
        let most = [agents * OF_CLIENT[0], part.turns as u64 * OF_CLIENT[1]];
        let more =
            [0, 1].map(|which| rest.of_client[which].saturating_sub(before.1.of_client[which]));
        assert!(
            more[0] <= most[0] && more[1] <= most[1],
            "{more:?} {part:?}"
        );
    }
    let (first, last) = (&rows[1].1, &rows[ROWS].1);
    let differs = count::difference(&first.ours, &last.ours);
    assert!(differs.is_empty(), "{differs:#?}");
    assert!(last.memory <= first.memory + GROWTH);
    for name in &names {
        let said = world.send(name, "recall");
        assert!(said.starts_with("remember me\n"), "{said}");
    }
}

/// What the workers and the one who kills tell each other.
struct Progress {
    /// Turns that are left.
    left: AtomicUsize,
    done: AtomicUsize,
    /// Of brokers, and of agents.
    deaths: [AtomicUsize; 2],
    goes_on: AtomicBool,
}

impl Progress {
    fn deaths(&self) -> [usize; 2] {
        [0, 1].map(|which| self.deaths[which].load(Ordering::SeqCst))
    }

    /// The number of the next turn, while there is one: until they are all done, and one of each
    /// has died.
    fn next(&self) -> Option<usize> {
        let one_less = |left: usize| left.checked_sub(1);
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        let goes_on = left.is_ok() || self.deaths().contains(&0);
        goes_on.then(|| self.done.fetch_add(1, Ordering::SeqCst))
    }
}

/// Runs so many turns, in all sessions side by side, while the broker and agents are killed.
fn part(
    world: &World,
    names: &[String],
    turns: usize,
    random: &mut Random,
    killed: &mut Instant,
) -> Part {
    let progress = Progress {
        left: turns.into(),
        done: 0.into(),
        deaths: Default::default(),
        goes_on: true.into(),
    };
    let begun = Instant::now();
    let holder = thread::scope(|scope| {
        let progress = &progress;
        let workers: Vec<_> = names
            .iter()
            .map(|name| {
                let random = random.branch();
                scope.spawn(move || work(world, name, progress, random))
            })
            .collect();
        let random = random.branch();
        let killer = scope.spawn(move || kills(world, names, progress, random, killed));
        let worked: Vec<_> = workers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        progress.goes_on.store(false, Ordering::SeqCst);
        let holder = killer.join().unwrap();
        worked.into_iter().for_each(|worked| worked.unwrap());
        holder
    });
    Part {
        turns: progress.done.load(Ordering::SeqCst),
        deaths: progress.deaths(),
        took: begun.elapsed(),
        holder,
        ..Part::default()
    }
}

/// One turn after the other, with pauses in which the session may fall asleep.
fn work(world: &World, name: &str, progress: &Progress, mut random: Random) {
    while let Some(number) = progress.next() {
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

/// Kills the broker, or an agent, now and then; one of each at least. The most that a holder had
/// meanwhile.
fn kills(
    world: &World,
    names: &[String],
    progress: &Progress,
    mut random: Random,
    killed: &mut Instant,
) -> Holder {
    let mut most = Holder::default();
    let mut due = (*killed + APART).max(Instant::now() + random.moment(APART / 5));
    let mut broker = true;
    while progress.goes_on.load(Ordering::SeqCst) {
        thread::sleep(LOOK);
        most = holders(world).into_iter().fold(most, Holder::max);
        let done = progress.left.load(Ordering::SeqCst) == 0 && !progress.deaths().contains(&0);
        if done || Instant::now() < due {
            continue;
        }
        if broker {
            send_signal(world.broker(), Signal::SIGKILL);
            *killed = Instant::now();
        } else if !kill_an_agent(world, names, &mut random) {
            continue;
        }
        progress.deaths[usize::from(!broker)].fetch_add(1, Ordering::SeqCst);
        let both = !progress.deaths().contains(&0);
        let pause = if both { APART } else { APART / 5 };
        due = Instant::now() + pause + random.moment(pause);
        // One of each at first.
        broker = both && random.percent(50);
    }
    most
}

/// Kills one that lives, if there is one.
fn kill_an_agent(world: &World, names: &[String], random: &mut Random) -> bool {
    let name = &names[usize::try_from(random.below(names.len() as u64)).unwrap()];
    let shown = world.clsess(&["show", "--json", name]).run();
    let agent = (shown.code == 0)
        .then(|| shown.json()["pid"].as_u64())
        .flatten();
    let agent = agent.map(|pid| u32::try_from(pid).unwrap());
    // Looked at again, since a number may be another process's by now.
    let lives = agent.filter(|agent| world.processes().iter().any(|(pid, _)| pid == agent));
    if let Some(agent) = lives {
        send_signal(agent, Signal::SIGKILL);
    }
    lives.is_some()
}

impl Holder {
    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            files: self.files.max(other.files),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// All that there are now; one that goes meanwhile is none.
fn holders(world: &World) -> Vec<Holder> {
    let all = world.processes().into_iter();
    let holders = all.filter(|(_, line)| line.contains("clsess holder"));
    holders.filter_map(|(pid, _)| holder(pid)).collect()
}

fn holder(pid: u32) -> Option<Holder> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let open: Vec<PathBuf> = open.map_while(|entry| Some(entry.ok()?.path())).collect();
    let kept = open.iter().filter(|file| {
        let target = fs::read_link(file).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:")
    });
    let blocks = kept.filter_map(|file| Some(fs::metadata(file).ok()?.blocks()));
    let held = Holder {
        files: blocks.sum::<u64>() / 2,
        memory: allocated(pid)?,
        descriptors: open.len(),
    };
    // What it starts has its name until it is another program: that program's memory is not meant.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "clsess-holder").then_some(held)
}

/// Memory that a process has taken for itself, in KiB: not its copies of its program's pages, which are
/// the linker's (1060 KiB of relocations in a debug build, none in the one that is installed).
fn allocated(pid: u32) -> Option<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let (mut of_file, mut sum) = (false, 0);
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Anonymous:", kib, _] if !of_file => sum += kib.parse::<u64>().ok()?,
            // Range, rights, offset, device, inode, and perhaps a name.
            [range, _, _, _, inode, ..] if range.contains('-') => of_file = inode != "0",
            _ => {}
        }
    }
    Some(sum)
}

/// How often sessions fell asleep and were woken, by what was told. `told` is the last number.
fn count_sleeps(events: &[Value], told: &mut u64, part: &mut Part) {
    let mut states: HashMap<&str, &str> = HashMap::new();
    for event in events {
        *told = event["seq"].as_u64().unwrap().max(*told);
        if event["event"] != "state" {
            continue;
        }
        let (name, state) = (
            event["session"].as_str().unwrap(),
            event["state"].as_str().unwrap(),
        );
        // All sleep when a part begins.
        let before = states.insert(name, state).unwrap_or("asleep");
        part.sleeps += usize::from(before != "asleep" && state == "asleep");
        part.wakes += usize::from(before == "asleep" && state != "asleep");
    }
}

/// Waits until everything sleeps.
fn asleep(world: &World, names: &[String]) {
    for name in names {
        world.wait_state(name, "asleep");
    }
    until("only the broker is left", || {
        let of_ours = |(_, line): &(u32, String)| !line.contains("clsess events");
        world.processes().iter().filter(|it| of_ours(it)).count() == 1
    });
}

/// Counts what there is.
fn rest(world: &World) -> Rest {
    let of_client = [world.home().join(".claude"), world.root().join("tmp")].map(|dir| size(&dir));
    Rest {
        memory: count::memory(world),
        ours: count::ours(world),
        of_client: [
            count::of_client(world).values().sum::<usize>() as u64,
            of_client.iter().sum::<u64>() / 1024,
        ],
    }
}

/// Bytes of the files below.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size(&entry.path()),
        _ => entry.metadata().map_or(0, |file| file.len()),
    });
    sizes.sum()
}

fn print(rows: &[(Part, Rest)]) {
    let heads = [
        "turns",
        "brokers",
        "agents",
        "sleeps",
        "wakes",
        "seconds",
        "broker KiB",
        "descriptors",
        "processes",
        "files",
        "holder KiB",
        "its files",
        "its fds",
        "client's files",
        "KiB",
    ];
    println!("{}", heads.join("  "));
    for (part, rest) in rows {
        let of = |kind: &str| -> usize {
            let counts = rest.ours.iter().filter(|(what, _)| what.starts_with(kind));
            counts.map(|(_, count)| count).sum()
        };
        let row = [
            part.turns.to_string(),
            part.deaths[0].to_string(),
            part.deaths[1].to_string(),
            part.sleeps.to_string(),
            part.wakes.to_string(),
            format!("{:.1}", part.took.as_secs_f64()),
            rest.memory.to_string(),
            of("descriptor").to_string(),
            of("process").to_string(),
            of("file").to_string(),
            part.holder.memory.to_string(),
            part.holder.files.to_string(),
            part.holder.descriptors.to_string(),
            rest.of_client[0].to_string(),
            rest.of_client[1].to_string(),
        ];
        let cells = heads
            .iter()
            .zip(row)
            .map(|(head, cell)| format!("{cell:>0$}", head.len()));
        println!("{}", cells.collect::<Vec<_>>().join("  "));
    }
}
