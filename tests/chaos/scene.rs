//! A scene is played: prompts are sent, and at random moments things are done to them.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Done, Running, alive, send_signal, until};
use crate::plan::{Disturbance, Plan, Policy, Send, Style};
use crate::run::{Run, Seat};

/// What became of a scene, before it is judged.
pub struct Played {
    /// How each send ended, in the order of the plan.
    pub ends: Vec<Done>,
    /// Whether the agent's question was approved, by a command that says that it was.
    pub approved: Vec<Option<bool>>,
    /// Whether the broker was killed meanwhile.
    pub lost_broker: bool,
}

/// Something to do at a moment.
enum Step {
    Send(usize),
    Disturb(Disturbance),
    Look(&'static str),
}

/// A scene under way.
struct Stage<'a> {
    run: &'a Run<'a>,
    seat: &'a Seat,
    plan: &'a Plan,
    agent: Option<u32>,
    sends: Vec<Option<Running>>,
    /// Commands that do something to the session, and the exit codes that they may have.
    others: Vec<(String, Running, Vec<i32>)>,
}

/// Plays it.
pub fn play(run: &Run<'_>, seat: &Seat, plan: &Plan) -> Played {
    let before = run.deaths();
    let agent = run.world.show(&seat.id)["pid"].as_u64();
    let mut stage = Stage {
        run,
        seat,
        plan,
        agent: agent.map(|pid| u32::try_from(pid).unwrap()),
        sends: plan.sends.iter().map(|_| None).collect(),
        others: Vec::new(),
    };
    let start = Instant::now();
    for (at, step) in steps(plan) {
        // Not a wait for anything: what happens when is what is tried.
        thread::sleep(at.saturating_sub(start.elapsed()));
        stage.step(&step);
    }
    let answers = stage.answers();
    let ends = stage.ends();
    let others = stage.others_end();
    let after = run.deaths();
    let lost_broker = after != before || before % 2 == 1;
    for (words, done, codes) in others {
        let known = codes.contains(&done.code);
        assert!(known, "{words}: {done:?}");
    }
    if let Some(agent) = stage.agent {
        stage.agent_ends(agent);
    }
    let approved = answers
        .iter()
        .map(|answers| judged(plan, answers, lost_broker));
    Played {
        approved: approved.collect(),
        ends,
        lost_broker,
    }
}

fn steps(plan: &Plan) -> Vec<(Duration, Step)> {
    let sends = plan.sends.iter().enumerate();
    let sends = sends.map(|(number, send)| (send.at, Step::Send(number)));
    let disturbances = plan.disturbances.iter();
    let disturbances = disturbances.map(|(at, what)| (*at, Step::Disturb(*what)));
    let look = plan.look.iter().map(|(at, words)| (*at, Step::Look(words)));
    let mut steps: Vec<_> = sends.chain(disturbances).chain(look).collect();
    steps.sort_by_key(|(at, _)| *at);
    steps
}

/// Of one question the first answer wins, and the others are told. Whether it was a yes.
fn judged(plan: &Plan, answers: &[(bool, Done)], lost_broker: bool) -> Option<bool> {
    let codes: Vec<i32> = answers.iter().map(|(_, done)| done.code).collect();
    let won: Vec<bool> = answers
        .iter()
        .filter(|(_, done)| done.code == 0)
        .map(|(approves, _)| *approves)
        .collect();
    let known = |code: &i32| [0, 3].contains(code);
    assert!(codes.iter().all(known), "{answers:?}");
    // Who says the same once more, since the broker died, is told that it is so.
    let same = lost_broker && won.iter().all(|it| *it == won[0]);
    assert!(won.len() <= 1 || same, "two have won: {answers:?}");
    let alone = plan.undisturbed() && !plan.sends[0].hurried && !lost_broker;
    assert!(
        !alone || answers.is_empty() || won.len() == 1,
        "{answers:?}"
    );
    won.first().copied()
}

impl Stage<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Send(number) => self.sends[*number] = Some(self.send(*number)),
            Step::Disturb(what) => self.disturb(*what),
            Step::Look(words) => {
                let mut words: Vec<&str> = words.split(' ').collect();
                if words[0] != "ls" {
                    words.push(&self.seat.id);
                }
                let mut codes = vec![0];
                if self.plan.kills_session() {
                    codes.extend([3, 10]);
                }
                if self.plan.kills_agent() && words[0] == "wait" {
                    // It died before it was ready, which is told.
                    codes.push(1);
                }
                self.other(&words, codes);
            }
        }
    }

    fn send(&self, number: usize) -> Running {
        let send = &self.plan.sends[number];
        let to = if send.by_id {
            &self.seat.id
        } else {
            &self.seat.name
        };
        let mut words = vec!["send"];
        words.extend(send.options.iter().map(String::as_str));
        words.extend([to, "--", &send.turn.prompt]);
        self.run.world.clsess(&words).spawn()
    }

    fn other(&mut self, words: &[&str], codes: Vec<i32>) {
        let running = self.run.world.clsess(words).spawn();
        self.others.push((words.join(" "), running, codes));
    }

    fn disturb(&mut self, what: Disturbance) {
        let id = self.seat.id.as_str();
        let gone = self.plan.kills_session();
        let codes = |mut codes: Vec<i32>| {
            if gone {
                codes.extend([3, 10]);
            }
            codes
        };
        match what {
            Disturbance::Interrupt => self.other(&["interrupt", id], codes(vec![0])),
            Disturbance::Restart => self.other(&["restart", id], codes(vec![0])),
            Disturbance::RestartFresh => self.other(&["restart", "--fresh", id], codes(vec![0])),
            Disturbance::QueueRemove => {
                self.other(&["queue", id, "rm", "-1"], codes(vec![0, 3]));
            }
            Disturbance::QueueClear => self.other(&["queue", id, "clear"], codes(vec![0])),
            Disturbance::KillSession => self.other(&["kill", id], codes(vec![0])),
            Disturbance::Rename(pause) => {
                let other = format!("{}-renamed", self.seat.name);
                for (name, pause) in [(other.as_str(), pause), (&self.seat.name, Duration::ZERO)] {
                    let done = self.run.world.clsess(&["rename", id, name]).run();
                    let known = done.code == 0 || gone;
                    assert!(known, "{done:?}");
                    thread::sleep(pause);
                }
            }
            Disturbance::KillAgent => {
                // Looked at again, since a number may be another process's by now.
                let ours = self.run.world.processes();
                if let Some(agent) = self.agent
                    && ours.iter().any(|(pid, _)| *pid == agent)
                {
                    send_signal(agent, Signal::SIGKILL);
                }
            }
            Disturbance::KillBroker => self.run.kill_broker(),
            Disturbance::KillClient(number) => self.signal(number, Signal::SIGKILL),
            Disturbance::Signal(number, signal) => self.signal(number, signal),
        }
    }

    fn signal(&self, number: usize, signal: Signal) {
        let running = self.sends[number].as_ref().expect("it was sent before");
        if running.runs() {
            send_signal(running.pid, signal);
        }
    }

    /// Answers the questions of those sends whose questions wait for that.
    fn answers(&self) -> Vec<Vec<(bool, Done)>> {
        thread::scope(|scope| {
            let threads: Vec<_> = self
                .plan
                .sends
                .iter()
                .zip(&self.sends)
                .map(|(send, running)| {
                    scope.spawn(move || match running {
                        Some(running) if send.is_answered() => self.answer(send, running),
                        _ => Vec::new(),
                    })
                })
                .collect();
            let answers = threads.into_iter();
            answers.map(|one| one.join().unwrap()).collect()
        })
    }

    fn answer(&self, send: &Send, running: &Running) -> Vec<(bool, Done)> {
        let Policy::Wait(answers) = &send.policy else {
            return Vec::new();
        };
        let mut question = None;
        running.wait_stdout(|out| {
            let out = String::from_utf8_lossy(out);
            let whole = out
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            let lines = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let lines: Vec<Value> = lines.collect();
            let asks = lines.iter().find(|line| line["event"] == "question");
            question = asks.map(|line| line["id"].as_str().unwrap().to_owned());
            let ended = |line: &Value| line["event"] == "result" || line["error"].is_object();
            question.is_some() || lines.iter().any(ended)
        });
        let Some(question) = question else {
            return Vec::new();
        };
        let told = answers.iter().map(|answer| {
            let verb = if answer.approves { "approve" } else { "deny" };
            let mut words = vec![verb, &self.seat.id];
            if answer.by_id {
                words.push(&question);
            }
            thread::sleep(answer.after);
            (answer.approves, self.run.world.clsess(&words).spawn())
        });
        let told: Vec<_> = told.collect();
        let ended = told.into_iter();
        ended.map(|(approves, it)| (approves, it.wait())).collect()
    }

    /// The ends of the sends. A request whose client was killed is given again first.
    fn ends(&mut self) -> Vec<Done> {
        let first: Vec<Done> = self
            .sends
            .iter_mut()
            .map(|running| running.take().unwrap().wait())
            .collect();
        let first = first.into_iter().enumerate();
        first
            .map(|(number, done)| {
                let done = if self.plan.kills_client(number) {
                    self.send(number).wait()
                } else {
                    done
                };
                self.fetched(number, done)
            })
            .collect()
    }

    /// The answer of a turn that was not waited for.
    fn fetched(&self, number: usize, done: Done) -> Done {
        if self.plan.sends[number].style != Style::NoWait || done.code != 0 {
            return done;
        }
        let turn = done.text().trim_end();
        let words = ["result", &self.seat.id, turn];
        self.run.world.clsess(&words).run()
    }

    /// What was done to the agent is over, and known to the broker: it is no part of the next
    /// scene.
    fn agent_ends(&self, agent: u32) {
        if self.plan.kills_session() {
            assert!(!alive(agent), "it outlives its session");
        } else if self.plan.kills_agent() {
            let known = || self.run.world.show(&self.seat.id)["pid"] != agent;
            until("the agent's death is known", known);
        }
    }

    fn others_end(&mut self) -> Vec<(String, Done, Vec<i32>)> {
        let others = self.others.drain(..);
        let ended = others.map(|(words, running, codes)| (words, running.wait(), codes));
        ended.collect()
    }
}
