//! `kill -9` of the broker alone, at every stage of a turn, at random moments under load.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::random::Random;
use crate::harness::tools::{bash, waits_for};
use crate::harness::{Running, World, alive, process_state, send_signal, until};
use crate::{APART, Seen, deaths, world};

/// Where the sessions are when the broker dies.
const STAGES: [&str; 7] = [
    "at rest",
    "in the line of a large prompt",
    "in a stream",
    "in a tool",
    "a question is open",
    "20 clients wait",
    "there is a queue",
];
/// Sessions, each with its own kind of work.
const SESSIONS: [&str; 6] = ["idle", "large", "streams", "tools", "asks", "crowd"];
/// Clients that wait behind one turn.
const CROWD: usize = 20;
/// So many deaths have to be at each stage too.
const MANY: usize = 50;
/// A conversation of large prompts is sent whole with each of them.
const LARGE_AT_MOST: usize = 10;

/// One of the holder's files, in which the kernel counts what was moved.
struct Memory {
    file: PathBuf,
    moved: u64,
}

impl Memory {
    fn of(holder: u32, name: &str) -> Self {
        let open = fs::read_dir(format!("/proc/{holder}/fd")).unwrap();
        let mut files = open.map(|entry| entry.unwrap().path());
        let file = files.find(|file| {
            let target = fs::read_link(file).unwrap_or_default();
            target
                .to_string_lossy()
                .starts_with(&format!("/memfd:clsess-{name} "))
        });
        let file = file.unwrap();
        let descriptor = file.file_name().unwrap().to_str().unwrap();
        let info = fs::read_to_string(format!("/proc/{holder}/fdinfo/{descriptor}")).unwrap();
        let moved = info.lines().find_map(|line| line.strip_prefix("pos:"));
        let moved = moved.unwrap().trim().parse().unwrap();
        Self { file, moved }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.file).unwrap().size()
    }

    /// Whether there is a line with all of these.
    fn says(&self, all: &[&str]) -> bool {
        let bytes = fs::read(&self.file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.lines()
            .any(|line| all.iter().all(|it| line.contains(it)))
    }
}

/// The prompts of a session's turns that have come so far, with their last records.
fn turns(world: &World, id: &str) -> HashMap<String, String> {
    let file = world
        .state()
        .join("default/sessions")
        .join(id)
        .join("turns.jsonl");
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut prompts: HashMap<String, String> = HashMap::new();
    let mut last = HashMap::new();
    // The last line may be half written.
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    for line in lines {
        let Some(turn) = line["turn"].as_str() else {
            continue;
        };
        let record = line["record"].as_str().unwrap().to_owned();
        if let Some(prompt) = line["prompt"].as_str() {
            prompts.insert(turn.to_owned(), prompt.to_owned());
        }
        last.insert(turn.to_owned(), record);
    }
    let named = last
        .into_iter()
        .filter_map(|(turn, record)| Some((prompts.get(&turn)?.clone(), record)));
    named.collect()
}

/// What is under way when the broker is killed. None of it ends before that.
struct Round {
    token: String,
    /// The processes that hold the agents, and the sessions' ids.
    holders: HashMap<&'static str, (u32, String)>,
    /// Bytes that the agent of the large prompt had been given before.
    given: u64,
    /// Commands that wait, and what each has to print.
    waiting: Vec<(Running, String)>,
    crowd: Vec<(Running, String)>,
    /// Turns that nobody waits for, by the commands that tell their ids, and their answers.
    left: Vec<(Running, String)>,
}

impl Round {
    /// Work for everybody but the one that streams; `settled`, nobody of the crowd comes too early
    /// to wait.
    fn begin(world: &World, number: usize, settled: bool) -> Self {
        let holders = SESSIONS.map(|session| {
            let shown = world.show(session);
            let holder = u32::try_from(shown["holder_pid"].as_u64().unwrap()).unwrap();
            (session, (holder, shown["id"].as_str().unwrap().to_owned()))
        });
        let holders = HashMap::from(holders);
        let mut round = Self {
            token: format!("t{number}"),
            given: Memory::of(holders["large"].0, "outbox").length(),
            holders,
            waiting: Vec::new(),
            crowd: Vec::new(),
            left: Vec::new(),
        };
        // A prompt of 1 MB, which an agent that is stopped does not read.
        send_signal(world.agent("large"), Signal::SIGSTOP);
        let large = round.prompt("large") + &"x".repeat(1_000_000);
        world.api.answer(&round.prompt("large"), "all of it");
        let sent = world.clsess(&["send", "large"]).stdin(large).spawn();
        round.waiting.push((sent, "all of it\n".to_owned()));

        let command = format!(
            "touch {}; {}",
            round.file(world, "began").display(),
            waits_for(&round.file(world, "goes-on"))
        );
        round.send(
            world,
            "tools",
            json!([{"blocks": [bash(&command)]}, {"text": "used"}]),
            "used",
        );
        let asks = world.write(&round.prompt("asks"));
        round.send(
            world,
            "asks",
            json!([{"blocks": [asks]}, {"text": "allowed"}]),
            "allowed",
        );

        let first = json!([{"text": "the first", "hold": round.prompt("first")}]);
        world.api.rule(&round.prompt("first"), first);
        round.no_wait(world, "first", "the first\n");
        if settled {
            world.api.wait_hold(&round.prompt("first"), 1);
        }
        for n in 0..CROWD {
            let prompt = round.prompt(&format!("crowd{n}."));
            let sent = world.clsess(&["send", "crowd", &prompt]).spawn();
            round.crowd.push((sent, format!("you said: {prompt}\n")));
        }
        let queued = format!("you said: {}\n", round.prompt("queued"));
        round.no_wait(world, "queued", &queued);
        round
    }

    fn prompt(&self, kind: &str) -> String {
        format!("{}-{kind}", self.token)
    }

    fn file(&self, world: &World, kind: &str) -> PathBuf {
        world.project().join(self.prompt(kind))
    }

    /// A prompt to the session of its kind.
    fn send(&mut self, world: &World, kind: &str, steps: Value, answer: &str) {
        let prompt = self.prompt(kind);
        world.api.rule(&prompt, steps);
        let send = ["send", "--on-question", "wait", kind, &prompt];
        self.waiting
            .push((world.clsess(&send).spawn(), format!("{answer}\n")));
    }

    /// A prompt to the crowd's session that nobody waits for.
    fn no_wait(&mut self, world: &World, kind: &str, answer: &str) {
        let send = ["send", "--no-wait", "crowd", &self.prompt(kind)];
        let sent = world.clsess(&send).spawn();
        self.left.push((sent, answer.to_owned()));
    }

    /// A text that comes for nearly a second, and then waits for its second half.
    fn stream(&mut self, world: &World) {
        let words = (0..100).map(|n| format!("{}word{n} ", self.token));
        let text: String = words.collect();
        let hold = self.prompt("streams");
        let steps = json!([{"text": text, "delta_bytes": 8, "delay_ms": 15, "hold": hold, "hold_after": 60}]);
        self.send(world, "streams", steps, &text);
    }

    /// At which of the stages the sessions are, by what others than the broker have of it. What
    /// is so stays so until the broker is dead.
    fn stages(&self, world: &World) -> [bool; STAGES.len()] {
        let holder = |session: &str| self.holders[session].0;
        let turns = |session: &str| turns(world, &self.holders[session].1);
        let open = |(_, record): (String, String)| record != "ended";
        let outbox = Memory::of(holder("large"), "outbox");
        let streams = Memory::of(holder("streams"), "inbox");
        let first_word = format!("\"text\":\"{}word", self.token);
        let asks = Memory::of(holder("asks"), "inbox");
        let crowd = turns("crowd");
        let queued = |prompt: &str| crowd.get(prompt).is_some_and(|record| record == "queued");
        let clients = self.crowd.iter().filter(|(client, answer)| {
            client.runs() && queued(answer["you said: ".len()..].trim_end())
        });
        [
            !turns("idle").into_iter().any(open),
            self.given < outbox.moved && outbox.moved < outbox.length(),
            streams.says(&["text_delta", &first_word]),
            self.file(world, "began").exists(),
            asks.says(&["can_use_tool", &self.prompt("asks")]),
            clients.count() == CROWD,
            queued(&self.prompt("queued")),
        ]
    }

    /// The broker has died: everything goes on, and each has its one right answer.
    fn ends(self, world: &World) {
        send_signal(world.agent("large"), Signal::SIGCONT);
        fs::write(self.file(world, "goes-on"), "").unwrap();
        for kind in ["streams", "first"] {
            world.api.wait_hold(&self.prompt(kind), 1);
            world.api.release(&self.prompt(kind));
        }
        world.wait_state("asks", "question");
        world.clsess(&["approve", "asks"]).run().ok();
        for (waiting, answer) in self.waiting.into_iter().chain(self.crowd) {
            let done = waiting.wait().ok();
            assert_eq!(done.text(), answer);
            // Nothing is said but the question.
            let said = done.stderr.is_empty() || done.stderr.starts_with("clsess: asks asks:\n");
            assert!(said, "{}", done.stderr);
        }
        for (sent, answer) in self.left {
            let turn = sent.wait().ok().text().trim().to_owned();
            let result = world.clsess(&["result", "crowd", &turn]).run().ok();
            assert_eq!(result.text(), answer);
        }
        let more = format!("{}-idle", self.token);
        assert_eq!(world.send("idle", &more), format!("you said: {more}\n"));
    }
}

/// Stops the broker, looks at what stages it has come to, and kills it.
fn look_and_kill(world: &World, round: &Round) -> ([bool; STAGES.len()], Duration) {
    let broker = world.broker();
    send_signal(broker, Signal::SIGSTOP);
    until("it stands still", || process_state(broker) == Some('T'));
    (round.stages(world), world.kill_this_broker(broker))
}

#[test]
fn a_broker_that_is_killed_at_any_moment_is_not_noticed() {
    let Some(world) = world(&SESSIONS) else {
        return;
    };
    let deaths = deaths();
    let mut random = Random::from_environment();
    let mut agents = SESSIONS.map(|session| world.agent(session));
    let mut took = Vec::new();
    let mut hit = [0; STAGES.len()];
    let mut seen = Seen::default();
    let enough = |hit: &[usize]| deaths < MANY || hit.iter().all(|times| *times >= deaths);
    let mut number = 0;
    while number < deaths || !enough(&hit) {
        assert!(number < 2 * deaths, "{:?}", STAGES.iter().zip(hit));
        let begun = Instant::now();
        // Every other time all have come to their stages; else what happens when is what is tried.
        let settled = number % 2 == 0;
        let mut round = Round::begin(&world, number, settled);
        if settled {
            let streams = STAGES.iter().position(|stage| *stage == "in a stream");
            until("all but the stream are there", || {
                let stages = round.stages(&world);
                let there = |(n, is): (usize, &bool)| *is || Some(n) == streams;
                stages.iter().enumerate().all(there)
            });
            round.stream(&world);
            until("all are there", || {
                round.stages(&world).iter().all(|is| *is)
            });
            thread::sleep(random.moment(Duration::from_millis(700)));
        } else {
            round.stream(&world);
            thread::sleep(random.moment(Duration::from_millis(500)));
            // Its agent reads when the broker dies.
            send_signal(agents[1], Signal::SIGCONT);
            thread::sleep(random.moment(Duration::from_millis(3)));
        }
        let (stages, back) = look_and_kill(&world, &round);
        assert!(!settled || stages.iter().all(|is| *is), "{stages:?}");
        for (times, is) in hit.iter_mut().zip(stages) {
            *times += usize::from(is);
        }
        took.push(back);
        round.ends(&world);
        seen.look(&world);
        number += 1;
        assert_eq!(SESSIONS.map(|session| world.agent(session)), agents);
        if number % LARGE_AT_MOST == 0 {
            world.clsess(&["kill", "large"]).run().ok();
            world.session("large");
            agents[1] = world.agent("large");
        }
        thread::sleep(APART.saturating_sub(begun.elapsed()));
    }
    assert!(agents.iter().all(|agent| alive(*agent)));
    let seen = seen.times;
    // A tool's result is a request of its own.
    let requests = |prompt: &str| match prompt.ends_with("-tools") || prompt.ends_with("-asks") {
        true => 2,
        false => 1,
    };
    let wrong = seen
        .iter()
        .filter(|(prompt, times)| **times != requests(prompt));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // large, streams, tools, asks, the first, the crowd, queued, idle
    assert_eq!(seen.len(), number * (CROWD + 7));
    took.sort();
    let (median, last) = (took[number / 2], took[number - 1]);
    println!("{number} deaths; a broker was back after {median:?} at the median, {last:?} at most");
    for (stage, times) in STAGES.iter().zip(hit) {
        println!("{times:>5}  {stage}");
    }
}
