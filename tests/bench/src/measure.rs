//! The run itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clsess_claude::command::Conversation;
use uuid::Uuid;

use crate::children::{first, ms, pause, run, timed};
use crate::direct::Direct;
use crate::idle::{self, Memory};
use crate::interface::{self, Interface};
use crate::machine;
use crate::stats::Random;
use crate::wire::{self, Provider};
use crate::world::{FACE, FIRST, NAMED, ONCE, ROOM, SLEEPER, STAYS, SWAPPED, Size, WORK, World};

/// Between two measurements: what the one before left to do is done.
const SETTLE: Duration = Duration::from_millis(40);
/// Between two turns of a child for each turn.
const BETWEEN: Duration = Duration::from_secs(1);
/// Before anything is counted at rest.
const REST: Duration = Duration::from_secs(2);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// `clsess send`.
    Send,
    /// The client alone, until it is idle.
    DirectIdle,
    /// The same turns until their `result` line.
    DirectResult,
    /// `claude -p`.
    Cold,
    /// `clsess ls` with one session.
    LsOne,
    /// `tmux ls` with one session.
    TmuxOne,
    /// `clsess ls` with many.
    LsMany,
    /// `tmux ls` with many.
    TmuxMany,
    /// `clsess ls` with two hundred, nearly all asleep.
    LsNamed,
    /// `tmux ls` with two hundred.
    TmuxNamed,
    /// `clsess send` to a session that sleeps.
    Wake,
    /// `claude -p --resume`.
    Resume,
    /// The client alone, resumed with a prompt that it has from the beginning, until `result`.
    DirectResume,
    /// `clsess new`.
    New,
    /// The client alone, until it has answered `initialize`.
    DirectNew,
    /// A broker's `kill -9`, until another one answers.
    Back,
    /// `clsess send` to an interface.
    Face,
    /// The interface alone, until its `Stop` hook.
    DirectFace,
    /// `clsess attach` on a stream, until the conversation is shown.
    Attach,
    /// `claude --resume`, until then.
    DirectAttach,
    /// `clsess send` to a session with a child for each turn.
    Once,
    /// `claude -p --resume` beside it.
    OnceResume,
    /// `clsess send` to a warm child beside it.
    OnceStream,
    /// `clsess send` at a provider by its own name.
    Provider,
    /// The same by a tap, as a proxy.
    Proxy,
    /// `clsess send` at a provider by its URL.
    Url,
    /// The same by a tap, in place of the URL.
    BaseUrl,
    /// The four to an interface.
    FaceProvider,
    /// See [`What::FaceProvider`].
    FaceProxy,
    /// See [`What::FaceProvider`].
    FaceUrl,
    /// See [`What::FaceProvider`].
    FaceBaseUrl,
    /// The first words of an interface, by a tap as a proxy, since they left the provider.
    WordsProxy,
    /// The same by a tap in place of the URL.
    WordsBaseUrl,
    /// `clsess --version`: a start of this program that does nothing.
    Version,
    /// `true`: a start of any program.
    True,
}

impl What {
    /// For the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "clsess send",
            Self::DirectIdle => "client alone, until idle",
            Self::DirectResult => "client alone, until result",
            Self::Cold => "claude -p (cold)",
            Self::LsOne => "clsess ls, 1 session",
            Self::TmuxOne => "tmux ls, 1 session",
            Self::LsMany => "clsess ls, 50 sessions",
            Self::TmuxMany => "tmux ls, 50 sessions",
            Self::LsNamed => "clsess ls, 200 sessions, asleep",
            Self::TmuxNamed => "tmux ls, 200 sessions",
            Self::Wake => "clsess send, wakes",
            Self::Resume => "claude -p --resume",
            Self::DirectResume => "client alone, resumed, until result",
            Self::New => "clsess new",
            Self::DirectNew => "client alone, until initialize",
            Self::Back => "broker back after kill -9",
            Self::Face => "clsess send, interface",
            Self::DirectFace => "interface alone, pasted, until Stop",
            Self::Attach => "clsess attach on a stream, until shown",
            Self::DirectAttach => "claude --resume, until shown",
            Self::Once => "clsess send, a child for each turn",
            Self::OnceResume => "claude -p --resume, beside it",
            Self::OnceStream => "clsess send, one child, beside it",
            Self::Provider => "clsess send, by the provider's name",
            Self::Proxy => "the same, tap = proxy",
            Self::Url => "clsess send, by a URL",
            Self::BaseUrl => "the same, tap = base-url",
            Self::FaceProvider => "clsess send, interface, by the provider's name",
            Self::FaceProxy => "the same, an interface, tap = proxy",
            Self::FaceUrl => "clsess send, interface, by a URL",
            Self::FaceBaseUrl => "the same, an interface, tap = base-url",
            Self::WordsProxy => "first words, interface, tap = proxy",
            Self::WordsBaseUrl => "first words, interface, tap = base-url",
            Self::Version => "clsess --version",
            Self::True => "true",
        }
    }
}

/// Everything that came out.
#[derive(Debug)]
pub struct Measured {
    /// The order.
    pub seed: u64,
    /// How busy the machine was before and after.
    pub load: (String, String),
    /// The part of the time in which something waited for a processor, ours included.
    pub pressure: Option<f64>,
    /// Milliseconds.
    pub samples: BTreeMap<What, Vec<f64>>,
    /// What happened at rest.
    pub idle: Idle,
    /// What two hundred sessions hold.
    pub named: Named,
    /// Why rows are missing.
    pub skipped: Vec<String>,
}

/// A broker and its holder at rest.
#[derive(Debug)]
pub struct Idle {
    /// How long they were watched.
    pub seconds: u64,
    /// Context switches of the broker and of the holder.
    pub switches: (u64, u64),
    /// System calls of both; absent without strace.
    pub syscalls: Option<u64>,
    /// Threads of the broker.
    pub threads: usize,
    /// The broker's memory.
    pub broker: Memory,
    /// The holder's.
    pub holder: Memory,
}

/// A broker with [`NAMED`] sessions, of which [`ROOM`] may be warm, after twice as many were used.
#[derive(Debug)]
pub struct Named {
    /// The broker's memory while all sleep.
    pub asleep: Memory,
    /// The broker's memory then.
    pub broker: Memory,
    /// That of each agent that is left, with its holder.
    pub warm: Vec<Memory>,
}

/// Something to measure, at its place in the random order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// A turn of each client
    Send,
    /// `claude -p`
    Cold,
    /// Both lists of both programs
    Ls,
    /// The first answer of a session that sleeps, and of a resumed client
    Wake,
    /// A session of each kind
    New,
    /// A turn of each interface
    Tui,
    /// An interface in place of a stream, and one that is resumed
    Attach,
    /// A turn of a child for each turn, a second after the last one
    Once,
    /// A turn of each session with a tap and of one without, and first words
    Wire,
    /// A broker that is killed
    Death,
    /// Starts of programs that do nothing
    Floor,
}

struct Run {
    world: World,
    direct: Direct,
    random: Random,
    samples: BTreeMap<What, Vec<f64>>,
    turns: usize,
    /// The conversations that the clients alone resume.
    resumed: (Uuid, Uuid),
    /// The same beside a child for each turn.
    resumed_beside: Uuid,
    /// Where interfaces are measured: one that this program drives itself, and the conversation of
    /// those that it resumes.
    alone: Option<(Interface, Uuid)>,
    /// Where taps are measured.
    provider: Option<Provider>,
}

/// Measures everything.
pub fn run_all(clsess: PathBuf, seed: u64, quick: bool, only: &[Task]) -> Result<Measured> {
    let counts = if quick {
        [
            (Task::Send, 10),
            (Task::Cold, 2),
            (Task::Ls, 10),
            (Task::Wake, 3),
            (Task::New, 3),
            (Task::Tui, 5),
            (Task::Attach, 3),
            (Task::Once, 3),
            (Task::Wire, 5),
            (Task::Death, 3),
            (Task::Floor, 10),
        ]
    } else {
        [
            (Task::Send, 120),
            (Task::Cold, 12),
            (Task::Ls, 100),
            (Task::Wake, 40),
            (Task::New, 24),
            (Task::Tui, 40),
            (Task::Attach, 15),
            (Task::Once, 25),
            (Task::Wire, 60),
            (Task::Death, 30),
            (Task::Floor, 60),
        ]
    };
    let mut tasks: Vec<Task> = counts
        .iter()
        .filter(|(task, _)| only.is_empty() || only.contains(task))
        .flat_map(|(task, count)| std::iter::repeat_n(*task, *count))
        .collect();
    let mut random = Random::new(seed);
    random.shuffle(&mut tasks);

    let before = machine::load();
    let mut world = World::new(clsess)?;
    world.begin_one()?;
    world.begin_many()?;
    world.begin_few()?;
    world.begin_named()?;
    world.begin_tmux()?;
    let (direct, _) = Direct::start(&world.claude, &world.project(), &world.socket())?;
    let mut run = Run {
        world,
        direct,
        random,
        samples: BTreeMap::new(),
        turns: 0,
        resumed: (Uuid::new_v4(), Uuid::new_v4()),
        resumed_beside: Uuid::new_v4(),
        alone: None,
        provider: None,
    };
    run.begin_resumed()?;
    // The first turn of a client does more, and the first run of a program reads it from disk.
    let mut first = vec![Task::Send, Task::Ls, Task::Floor, Task::Wake, Task::Send];
    let shown = [Task::Tui, Task::Attach, Task::Once];
    if shown.iter().any(|task| tasks.contains(task)) {
        run.begin_shown()?;
        first.extend([Task::Tui, Task::Attach, Task::Tui, Task::Once]);
    }
    if tasks.contains(&Task::Wire) {
        run.begin_wire()?;
        first.extend([Task::Wire, Task::Wire]);
    }
    for task in first {
        run.task(task)?;
    }
    run.samples.clear();
    let count = tasks.len();
    let (start, waited) = (Instant::now(), machine::waited());
    for (number, task) in tasks.into_iter().enumerate() {
        if number % 50 == 0 {
            eprintln!("bench: {number} of {count}");
        }
        run.task(task)?;
    }
    let elapsed = start.elapsed().as_micros() as f64;
    let pressure = machine::waited()
        .zip(waited)
        .map(|(after, before)| (after - before) as f64 / elapsed);
    if let Some((alone, _)) = run.alone.take() {
        alone.end();
    }
    eprintln!("bench: at rest");
    let idle = run.idle(if quick { 2 } else { 10 })?;
    let named = run.named()?;
    let mut skipped = Vec::new();
    if run.world.tmux.is_none() {
        skipped.push("`ls`: there is no tmux to compare with".to_owned());
    }
    if idle.syscalls.is_none() {
        skipped.push("idle system calls: there is no strace, or it may not".to_owned());
    }
    run.direct.end();
    Ok(Measured {
        seed,
        load: (before, machine::load()),
        pressure,
        samples: run.samples,
        idle,
        named,
        skipped,
    })
}

impl Run {
    fn task(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Send => self.send(),
            Task::Cold => self.cold(),
            Task::Ls => self.ls(),
            Task::Wake => self.wake(),
            Task::New => self.new_session(),
            Task::Tui => self.tui(),
            Task::Attach => self.attach(),
            Task::Once => self.once(),
            Task::Wire => self.wire(),
            Task::Death => self.death(),
            Task::Floor => self.floor(),
        }
    }

    fn took(&mut self, what: What, ms: f64) {
        self.samples.entry(what).or_default().push(ms);
    }

    /// The same prompt to both, the one after the other.
    fn send(&mut self) -> Result<()> {
        self.turns += 1;
        let prompt = format!("Prompt number {}: what is it?", self.turns);
        let answer = format!("you said: {prompt}");
        let first = self.random.below(2);
        for at in [first, 1 - first] {
            self.world.wait_idle()?;
            pause(SETTLE)?;
            if at == 0 {
                let mut send = self.world.clsess(Size::One, &["send", WORK, &prompt]);
                let (ms, said) = timed(&mut send)?;
                ensure!(said == format!("{answer}\n").as_bytes(), "another answer");
                self.took(What::Send, ms);
            } else {
                let (turn, said) = self.direct.turn(&prompt)?;
                ensure!(said == answer, "another answer: {said:?}");
                self.took(What::DirectIdle, turn.idle);
                self.took(What::DirectResult, turn.result);
            }
        }
        Ok(())
    }

    /// Its sessions are at rest.
    fn death(&mut self) -> Result<()> {
        pause(SETTLE)?;
        let took = self.world.kill_broker()?;
        self.took(What::Back, ms(took));
        Ok(())
    }

    fn cold(&mut self) -> Result<()> {
        pause(SETTLE)?;
        let mut cold = self.world.command(&self.world.claude);
        let (ms, said) = timed(cold.args(["-p", "A prompt"]))?;
        ensure!(said == b"you said: A prompt\n", "another answer");
        self.took(What::Cold, ms);
        Ok(())
    }

    fn ls(&mut self) -> Result<()> {
        let mut all = [
            What::LsOne,
            What::TmuxOne,
            What::LsMany,
            What::TmuxMany,
            What::LsNamed,
            What::TmuxNamed,
        ];
        self.random.shuffle(&mut all);
        pause(SETTLE)?;
        for what in all {
            let world = &self.world;
            let (command, lines) = match what {
                What::LsOne => (Some(world.clsess(Size::One, &["ls"])), 1 + 1),
                What::LsMany => (
                    Some(world.clsess(Size::Many, &["ls"])),
                    1 + crate::world::MANY,
                ),
                What::LsNamed => (Some(world.clsess(Size::Named, &["ls"])), 1 + NAMED),
                What::TmuxNamed => (world.tmux(Size::Named, &["ls"]), NAMED),
                What::TmuxOne => (world.tmux(Size::One, &["ls"]), 1),
                _ => (world.tmux(Size::Many, &["ls"]), crate::world::MANY),
            };
            let Some(mut command) = command else { continue };
            let (ms, said) = timed(&mut command)?;
            let seen = said.iter().filter(|byte| **byte == b'\n').count();
            ensure!(seen == lines, "{command:?}: {seen} lines");
            self.took(what, ms);
        }
        Ok(())
    }

    /// The conversations of the clients alone have had a turn, like that of the session.
    fn begin_resumed(&self) -> Result<()> {
        let world = &self.world;
        for id in [self.resumed.0, self.resumed.1, self.resumed_beside] {
            Direct::once(
                &world.claude,
                &world.project(),
                &world.socket(),
                Conversation::New(id),
                "the first prompt",
            )?;
        }
        Ok(())
    }

    /// The same prompt to three conversations of the same length that nobody has warm.
    fn wake(&mut self) -> Result<()> {
        self.turns += 1;
        let prompt = format!("Prompt number {}: what is it?", self.turns);
        let answer = format!("you said: {prompt}");
        let mut all = [What::Wake, What::Resume, What::DirectResume];
        self.random.shuffle(&mut all);
        for what in all {
            let world = &self.world;
            world.wait_asleep(SLEEPER)?;
            pause(SETTLE)?;
            let (ms, said) = match what {
                What::Wake => timed(&mut world.clsess(Size::Named, &["send", SLEEPER, &prompt]))?,
                What::Resume => {
                    let id = self.resumed.0.to_string();
                    let mut resume = world.command(&world.claude);
                    timed(resume.args(["-p", "--resume", &id, &prompt]))?
                }
                _ => {
                    let (ms, said) = Direct::once(
                        &world.claude,
                        &world.project(),
                        &world.socket(),
                        Conversation::Resume(self.resumed.1),
                        &prompt,
                    )?;
                    (ms, said.into_bytes())
                }
            };
            ensure!(said.trim_ascii_end() == answer.as_bytes(), "another answer");
            self.took(what, ms);
        }
        Ok(())
    }

    /// Interfaces of the broker's and of our own, and conversations to resume: each has had the same
    /// one turn.
    fn begin_shown(&mut self) -> Result<()> {
        self.world.begin_shown()?;
        let mut alone = Interface::start(&self.world)?;
        let (_, said) = alone.turn(FIRST.0)?;
        ensure!(said == FIRST.1, "another answer: {said:?}");
        let resumed = Uuid::new_v4();
        let world = &self.world;
        let begin = Conversation::New(resumed);
        Direct::once(
            &world.claude,
            &world.project(),
            &world.socket(),
            begin,
            FIRST.0,
        )?;
        self.alone = Some((alone, resumed));
        Ok(())
    }

    /// The same prompt to both interfaces, the one after the other.
    fn tui(&mut self) -> Result<()> {
        self.turns += 1;
        let prompt = format!("Prompt number {}: what is it?", self.turns);
        let answer = format!("you said: {prompt}");
        let first = self.random.below(2);
        for at in [first, 1 - first] {
            self.world.wait_rests(Size::Shown, FACE, "tui")?;
            pause(SETTLE)?;
            if at == 0 {
                let mut send = self.world.clsess(Size::Shown, &["send", FACE, &prompt]);
                let (ms, said) = timed(&mut send)?;
                ensure!(said == format!("{answer}\n").as_bytes(), "another answer");
                self.took(What::Face, ms);
            } else {
                let (alone, _) = self.alone.as_mut().context("no interface")?;
                let (ms, said) = alone.turn(&prompt)?;
                ensure!(said == answer, "another answer: {said:?}");
                self.took(What::DirectFace, ms);
            }
        }
        Ok(())
    }

    /// Two conversations of the same length are shown. The one is of a warm session, which is warm
    /// again before anything else is measured.
    fn attach(&mut self) -> Result<()> {
        let first = self.random.below(2);
        for at in [first, 1 - first] {
            let world = &self.world;
            world.wait_rests(Size::Shown, SWAPPED, "stream")?;
            pause(SETTLE)?;
            let (what, ms) = if at == 0 {
                (What::Attach, interface::attach(world, SWAPPED, FIRST.1)?)
            } else {
                let (_, resumed) = self.alone.as_ref().context("nothing to resume")?;
                let ms = interface::resume(world, *resumed, FIRST.1)?;
                (What::DirectAttach, ms)
            };
            self.took(what, ms);
        }
        self.world.wait_rests(Size::Shown, SWAPPED, "stream")
    }

    /// The same prompt to three conversations that have had the same turns: by the child that waits for
    /// it, by one that is started for it, and by one that stays.
    fn once(&mut self) -> Result<()> {
        self.turns += 1;
        let prompt = format!("Prompt number {}: what is it?", self.turns);
        let answer = format!("you said: {prompt}");
        let mut all = [What::Once, What::OnceResume, What::OnceStream];
        self.random.shuffle(&mut all);
        for what in all {
            let world = &self.world;
            world.wait_rests(Size::Shown, ONCE, "oneshot")?;
            world.wait_rests(Size::Shown, STAYS, "stream")?;
            pause(BETWEEN)?;
            let (ms, said) = match what {
                What::Once => timed(&mut world.clsess(Size::Shown, &["send", ONCE, &prompt]))?,
                What::OnceStream => {
                    timed(&mut world.clsess(Size::Shown, &["send", STAYS, &prompt]))?
                }
                _ => {
                    let id = self.resumed_beside.to_string();
                    let mut resume = world.command(&world.claude);
                    timed(resume.args(["-p", "--resume", &id, &prompt]))?
                }
            };
            ensure!(said.trim_ascii_end() == answer.as_bytes(), "another answer");
            self.took(what, ms);
        }
        Ok(())
    }

    fn begin_wire(&mut self) -> Result<()> {
        let fake_api = crate::beside(&std::env::current_exe()?, "fake-api")?;
        let provider = Provider::start(&fake_api, self.world.authority())?;
        self.world.begin_wire(&provider)?;
        self.provider = Some(provider);
        Ok(())
    }

    /// The same prompt to all sessions at the provider, two by two, and one that is answered in two parts to the
    /// interfaces by a tap.
    fn wire(&mut self) -> Result<()> {
        self.turns += 1;
        let prompt = format!("Prompt number {}: what is it?", self.turns);
        let answer = format!("you said: {prompt}\n");
        let mut all = wire::PAIRS;
        self.random.shuffle(&mut all);
        for (mut pair, driver, _) in all {
            self.random.shuffle(&mut pair);
            for (what, _) in pair {
                let name = wire::name(what);
                self.world.wait_rests(Size::Wire, &name, driver)?;
                pause(SETTLE)?;
                let mut send = self.world.clsess(Size::Wire, &["send", &name, &prompt]);
                let (ms, said) = timed(&mut send)?;
                ensure!(said == answer.as_bytes(), "another answer");
                self.took(what, ms);
            }
        }
        let prompt = format!("Prompt number {}, {}", self.turns, wire::SLOWLY);
        for (words, what) in wire::WORDS {
            let name = wire::name(what);
            self.world.wait_rests(Size::Wire, &name, "tui")?;
            pause(SETTLE)?;
            let send = ["send", "--stream", "always", &name, &prompt];
            let (came, said) = first(&mut self.world.clsess(Size::Wire, &send))?;
            let answer = format!("{}\n", wire::ANSWER);
            ensure!(said == answer.as_bytes(), "another answer");
            let provider = self.provider.as_mut().context("no provider")?;
            let began = provider.began(&prompt)?;
            self.took(words, came - began);
        }
        Ok(())
    }

    /// Twice as many are used as may be warm.
    fn named(&self) -> Result<Named> {
        self.world.wait_asleep(SLEEPER)?;
        let broker = self.world.broker(Size::Named)?;
        let asleep = idle::memory(broker)?;
        for number in 1..=2 * ROOM {
            let name = format!("session-{number}");
            run(&mut self.world.clsess(Size::Named, &["send", &name, "A prompt"]))?;
        }
        pause(REST)?;
        let warm = self.world.warm()?.into_iter().map(|(agent, holder)| {
            let (agent, holder) = (idle::memory(agent)?, idle::memory(holder)?);
            Ok(Memory {
                pss: agent.pss + holder.pss,
                private: agent.private + holder.private,
            })
        });
        Ok(Named {
            asleep,
            broker: idle::memory(broker)?,
            warm: warm.collect::<Result<_>>()?,
        })
    }

    /// A session of each kind, ended again outside of the time.
    fn new_session(&mut self) -> Result<()> {
        let first = self.random.below(2);
        for at in [first, 1 - first] {
            pause(SETTLE)?;
            let world = &self.world;
            if at == 0 {
                let (ms, _) = timed(&mut world.clsess(Size::One, &["new", "--trust", "other"]))?;
                run(&mut world.clsess(Size::One, &["kill", "other"]))?;
                self.took(What::New, ms);
            } else {
                let (direct, ms) = Direct::start(&world.claude, &world.project(), &world.socket())?;
                direct.end();
                self.took(What::DirectNew, ms);
            }
        }
        Ok(())
    }

    fn floor(&mut self) -> Result<()> {
        pause(SETTLE)?;
        let (ms, _) = timed(&mut self.world.clsess(Size::One, &["--version"]))?;
        self.took(What::Version, ms);
        let (ms, _) = timed(&mut Command::new("true"))?;
        self.took(What::True, ms);
        Ok(())
    }

    fn idle(&self, seconds: u64) -> Result<Idle> {
        self.world.wait_idle()?;
        let broker = self.world.broker(Size::One)?;
        let holder = self.world.holder()?;
        let time = Duration::from_secs(seconds);
        pause(REST)?;
        let switches = idle::switches_of(&[broker, holder], time)?;
        let log = self.world.project().join("strace.log");
        let syscalls = idle::syscalls(&[broker, holder], time, &log)?;
        Ok(Idle {
            seconds,
            switches: (switches[0], switches[1]),
            syscalls,
            threads: idle::threads(broker).context("the broker is gone")?,
            broker: idle::memory(broker)?,
            holder: idle::memory(holder)?,
        })
    }
}
