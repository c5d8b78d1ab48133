//! What is going to happen in a scene: which prompts are sent, how, and what is done to them.
//! Drawn before anything happens, so that a seed gives the same scenes again.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::driver::Driver;
use crate::harness::World;
use crate::harness::random::Random;
use crate::turn::{Script, Turn};

/// The last moment of a scene at which something is begun. A warm turn takes some 100 ms.
const LAST: Duration = Duration::from_millis(250);

/// What is printed of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The answer.
    Text,
    /// All texts as they come.
    Always,
    /// One object.
    Json,
    /// An event a line.
    StreamJson,
    /// The id; the answer is fetched by `result`.
    NoWait,
}

/// What becomes of the agent's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nobody is there.
    Deny,
    /// It ends the turn.
    Fail,
    /// It waits for these answers, which come from other commands.
    Wait(Vec<Answer>),
}

/// An answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long after the question.
    pub after: Duration,
    /// Yes or no.
    pub approves: bool,
    /// Whether the question is named.
    pub by_id: bool,
}

/// What is done to a session, or to one who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// `clsess interrupt`
    Interrupt,
    /// `clsess restart`
    Restart,
    /// `clsess restart --fresh`
    RestartFresh,
    /// The agent is killed.
    KillAgent,
    /// `clsess queue rm` of the newest turn.
    QueueRemove,
    /// `clsess queue clear`
    QueueClear,
    /// `clsess rename` to and fro, with this time between.
    Rename(Duration),
    /// `clsess kill`; the session is made again after the scene.
    KillSession,
    /// The client of this send is killed; its request is given again.
    KillClient(usize),
    /// The client of this send gets a signal.
    Signal(usize, Signal),
    /// The broker is killed.
    KillBroker,
}

/// One call of `send`.
#[derive(Debug)]
pub struct Send {
    /// When, from the beginning of the scene.
    pub at: Duration,
    /// What.
    pub turn: Turn,
    /// Words after `send`.
    pub options: Vec<String>,
    /// The session is meant by its id, which does not change when it is renamed.
    pub by_id: bool,
    /// See the name.
    pub style: Style,
    /// See the name.
    pub policy: Policy,
    /// See the name.
    pub on_busy: &'static str,
    /// Whether it has little time.
    pub hurried: bool,
}

/// A scene.
#[derive(Debug)]
pub struct Plan {
    /// At least one.
    pub sends: Vec<Send>,
    /// When and what.
    pub disturbances: Vec<(Duration, Disturbance)>,
    /// A command that only looks, beside the others.
    pub look: Option<(Duration, &'static str)>,
}

impl Plan {
    /// The next one.
    pub fn new(world: &World, random: &mut Random, driver: &Driver) -> Self {
        let count = random.weighted(&[(70, 1), (20, 2), (10, 3)]);
        let sends = (0..count).map(|number| Send::new(world, random, driver, number == 0));
        let sends: Vec<Send> = sends.collect();
        let mut disturbances = Vec::new();
        for _ in 0..random.weighted(&[(40, 0), (50, 1), (10, 2)]) {
            disturbances.push(disturbance(random, &sends));
        }
        let looks = [
            "ls --json",
            "show",
            "log --json",
            "queue",
            "questions",
            "wait",
        ];
        let look = (random.moment(LAST), random.one_of(&looks));
        let look = random.percent(20).then_some(look);
        let mut plan = Self {
            sends,
            disturbances,
            look,
        };
        plan.make_repeatable();
        if plan.kills_agent() {
            let turns = plan.sends.iter_mut().map(|send| &mut send.turn);
            turns.for_each(|turn| turn.may_run_again(world));
        }
        plan.name_questions();
        plan
    }

    /// Where there are several, an answer without a name may be that to another's question.
    fn name_questions(&mut self) {
        let several = self.sends.len() > 1;
        for send in &mut self.sends {
            if let Policy::Wait(answers) = &mut send.policy {
                answers
                    .iter_mut()
                    .for_each(|answer| answer.by_id |= several);
            }
        }
    }

    /// A request that is to be given again has a key, and finds its session whatever its name is.
    fn make_repeatable(&mut self) {
        for (_, disturbance) in &self.disturbances {
            if let Disturbance::KillClient(number) = disturbance {
                let send = &mut self.sends[*number];
                send.by_id = true;
                let key = format!("--key={}", send.turn.token);
                if !send.options.contains(&key) {
                    send.options.push(key);
                }
            }
        }
    }

    fn has(&self, such: impl Fn(&Disturbance) -> bool) -> bool {
        self.disturbances.iter().any(|(_, one)| such(one))
    }

    /// Whether only what was planned for this turn can happen to it.
    pub fn undisturbed(&self) -> bool {
        self.sends.len() == 1 && self.disturbances.is_empty()
    }

    /// Whether the client of this send is killed.
    pub fn kills_client(&self, number: usize) -> bool {
        self.has(|one| *one == Disturbance::KillClient(number))
    }

    /// Whether the agent is killed in it.
    pub fn kills_agent(&self) -> bool {
        self.has(|one| *one == Disturbance::KillAgent)
    }

    /// Whether the session has another name for a while.
    pub fn renames(&self) -> bool {
        self.has(|one| matches!(one, Disturbance::Rename(_)))
    }

    /// Whether the session is killed in it.
    pub fn kills_session(&self) -> bool {
        self.has(|one| *one == Disturbance::KillSession)
    }

    /// Whether somebody leaves at once, at a second signal, while the turn still ends.
    pub fn leaves_early(&self) -> bool {
        let signals = self.disturbances.iter().filter_map(|(_, one)| match one {
            Disturbance::Signal(number, _) => Some(number),
            _ => None,
        });
        let signals: Vec<_> = signals.collect();
        signals.len() == 2 && signals[0] == signals[1]
    }

    /// The exit codes with which this call may end.
    pub fn codes(&self, number: usize) -> BTreeSet<i32> {
        let mut codes = self.own_codes(number);
        if self.sends[number].on_busy == "steer" {
            // It may become a part of another one, and end with it.
            let others = (0..self.sends.len()).filter(|other| *other != number);
            codes.extend(others.clone().flat_map(|other| self.own_codes(other)));
            // When the other one's time is up it ends both, each by its own name, and so does a question
            // that ends it.
            let fails = |send: &Send| {
                send.hurried || send.turn.script == Script::Asks && send.policy == Policy::Fail
            };
            let ended = others.filter(|other| fails(&self.sends[*other]));
            codes.extend(ended.map(|_| 10));
        }
        codes
    }

    fn own_codes(&self, number: usize) -> BTreeSet<i32> {
        let send = &self.sends[number];
        let mut codes = BTreeSet::from([send.turn.code()]);
        if send.turn.script == Script::Asks && send.policy == Policy::Fail {
            codes = BTreeSet::from([6]);
        }
        if send.policy == Policy::Wait(Vec::new()) && send.turn.script == Script::Asks {
            codes.clear();
        }
        if send.hurried {
            codes.insert(124);
        }
        if send.on_busy == "fail" && self.sends.len() > 1 {
            codes.insert(5);
        }
        let mut others = self.sends.iter().enumerate();
        if others.any(|(other, send)| other != number && send.on_busy == "interrupt") {
            codes.insert(10);
        }
        for (_, disturbance) in &self.disturbances {
            match *disturbance {
                // Or else it has not been ready yet. And a question is not asked again: the API takes
                // the prompt of the next agent for the step behind it.
                Disturbance::KillAgent => codes.extend([9, 1, send.turn.code()]),
                Disturbance::KillSession => codes.extend([10, 3]),
                Disturbance::Rename(_) if !send.by_id => codes.extend([3]),
                Disturbance::Signal(it, signal) if it == number => {
                    codes.extend([128 + signal as i32, -(signal as i32)]);
                    // What it ended so is told to the one that asks again.
                    codes.extend(self.kills_client(number).then_some(10));
                }
                Disturbance::Interrupt
                | Disturbance::Restart
                | Disturbance::RestartFresh
                | Disturbance::QueueRemove
                | Disturbance::QueueClear => codes.extend([10]),
                _ => {}
            }
        }
        codes
    }
}

impl Send {
    fn new(world: &World, random: &mut Random, driver: &Driver, first: bool) -> Self {
        let script = random.weighted(&[
            (35, Script::Answers),
            (15, Script::Tool),
            (3, Script::ErrorOnce(429)),
            (3, Script::ErrorOnce(500)),
            (3, Script::ErrorOnce(529)),
            (5, Script::Cut),
            (5, Script::ErrorEvent),
            (2, Script::ErrorLasting(400)),
            (2, Script::ErrorLasting(401)),
            (1, Script::ErrorLasting(429)),
            (1, Script::ErrorLasting(529)),
            (20, Script::Asks),
        ]);
        let turn = Turn::new(world, random, script, driver);
        let policy = policy(random);
        let mut options = vec![match policy {
            Policy::Deny => "--on-question=deny".to_owned(),
            Policy::Fail => "--on-question=fail".to_owned(),
            Policy::Wait(_) => "--on-question=wait".to_owned(),
        }];
        let style = match policy {
            // What it asks is read there.
            Policy::Wait(_) => Style::StreamJson,
            _ => random.weighted(&[
                (40, Style::Text),
                (15, Style::Always),
                (15, Style::Json),
                (15, Style::StreamJson),
                (15, Style::NoWait),
            ]),
        };
        options.extend(match style {
            Style::Text => None,
            Style::Always => Some("--stream=always".to_owned()),
            Style::Json => Some("--output=json".to_owned()),
            Style::StreamJson => Some("--output=stream-json".to_owned()),
            Style::NoWait => Some("--no-wait".to_owned()),
        });
        let on_busy = random.weighted(&[
            (40, "queue"),
            (15, "fail"),
            (20, "interrupt"),
            (25, "steer"),
        ]);
        options.push(format!("--on-busy={on_busy}"));
        let nobody = policy == Policy::Wait(Vec::new());
        let hurried = nobody || random.percent(15);
        if hurried {
            let what = random.one_of(&["timeout", "deadline"]);
            let what = if nobody { "deadline" } else { what };
            let ms = 1 + random.below(300);
            options.push(format!("--{what}={ms}ms"));
        }
        let at = random.moment(LAST);
        Self {
            at: if first { Duration::ZERO } else { at },
            turn,
            options,
            by_id: random.percent(30),
            style,
            policy,
            on_busy,
            hurried,
        }
    }

    /// Whether other commands answer its questions.
    pub fn is_answered(&self) -> bool {
        matches!(&self.policy, Policy::Wait(answers) if !answers.is_empty())
    }
}

fn policy(random: &mut Random) -> Policy {
    let answer = |random: &mut Random| Answer {
        after: random.moment(Duration::from_millis(40)),
        approves: random.percent(60),
        by_id: random.percent(50),
    };
    match random.below(100) {
        0..40 => Policy::Deny,
        40..60 => Policy::Fail,
        60..80 => Policy::Wait(vec![answer(random)]),
        80..93 => Policy::Wait(vec![answer(random), answer(random)]),
        _ => Policy::Wait(Vec::new()),
    }
}

fn disturbance(random: &mut Random, sends: &[Send]) -> (Duration, Disturbance) {
    let end = u64::try_from(sends.len()).unwrap();
    let of = usize::try_from(random.below(end)).unwrap();
    let pause = random.moment(Duration::from_millis(30));
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let signal = random.one_of(&signals);
    let chosen = random.weighted(&[
        (20, Disturbance::Interrupt),
        (5, Disturbance::Restart),
        (4, Disturbance::RestartFresh),
        (9, Disturbance::KillAgent),
        (7, Disturbance::QueueRemove),
        (3, Disturbance::QueueClear),
        (8, Disturbance::Rename(pause)),
        (4, Disturbance::KillSession),
        (20, Disturbance::KillClient(of)),
        (20, Disturbance::Signal(of, signal)),
    ]);
    let at = random.moment(LAST);
    match chosen {
        // Who would answer looks at what it prints.
        Disturbance::KillClient(_) | Disturbance::Signal(..)
            if matches!(sends[of].policy, Policy::Wait(_)) =>
        {
            (at, Disturbance::Interrupt)
        }
        // One that does not wait takes nothing back.
        Disturbance::Signal(..) if sends[of].style == Style::NoWait => {
            (sends[of].at + at, Disturbance::KillClient(of))
        }
        Disturbance::KillClient(_) | Disturbance::Signal(..) => (sends[of].at + at, chosen),
        _ => (at, chosen),
    }
}
