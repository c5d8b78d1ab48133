//! The turn that is with the agent: begun, stopped, lost, ended.

use std::sync::Arc;

use clsess_claude::input;
use clsess_claude::turn::{Outcome as Told, TurnEnd};
use clsess_proto::{Denial, ErrorCode, Failure, OnQuestion, Outcome, TurnId, TurnReport};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::Watched;
use super::ending::EndWhy;
use super::launch;
use super::life::Event;
use super::report::{Ended, judge};
use super::task::Session;

/// How long the agent may take to end a turn that it was told to end, before it is
/// itself ended. Measured: 8 ms while streaming, up to 1.4 s in a tool.
const INTERRUPT_GRACE: Duration = Duration::from_secs(10);

pub(super) type End = watch::Sender<Option<Arc<TurnReport>>>;

/// A turn that waits. Its prompt is in the journal.
pub(super) struct Queued {
    pub(super) turn: TurnId,
    pub(super) since: Instant,
    /// Its events come after this number.
    pub(super) seen: u64,
    /// Whether it was put back here once, by an agent that died before it had it.
    pub(super) again: bool,
    pub(super) end: End,
}

impl Queued {
    /// It waits from now on.
    pub(super) fn new(turn: TurnId, seen: u64) -> Self {
        Self {
            turn,
            since: Instant::now(),
            seen,
            again: false,
            end: watch::Sender::new(None),
        }
    }

    /// For one more who waits for it.
    pub(super) fn watched(&self) -> Watched {
        watched(self.turn, self.seen, &self.end)
    }
}

fn watched(turn: TurnId, seen: u64, end: &End) -> Watched {
    Watched {
        turn,
        seen,
        end: end.subscribe(),
        durable: None,
    }
}

/// The turn that is with the agent.
pub(super) struct Running {
    pub(super) turn: TurnId,
    pub(super) on_question: OnQuestion,
    pub(super) started: Instant,
    pub(super) queued_ms: u64,
    pub(super) first_text: Option<Instant>,
    /// Whether text of the current block has come in pieces.
    pub(super) streamed: bool,
    /// Whether a message has begun that has said nothing yet.
    pub(super) message_open: bool,
    /// Messages that have said something.
    pub(super) messages: u32,
    /// Whether a line of the agent could not be read meanwhile.
    pub(super) damaged: bool,
    /// When it is to be interrupted.
    pub(super) timeout: Option<Instant>,
    /// Why it was told to end, and until when it may take.
    pub(super) stopping: Option<(Stop, Instant)>,
    /// Whether it was put back into the queue once.
    pub(super) again: bool,
    /// Its events come after this number.
    pub(super) seen: u64,
    /// What was denied to the agent on the way.
    pub(super) denials: Vec<Denial>,
    pub(super) end: End,
}

/// Why a running turn was told to end.
pub(super) struct Stop {
    pub(super) outcome: Outcome,
    pub(super) failure: Failure,
}

impl Running {
    /// For one more who waits for it.
    pub(super) fn watched(&self) -> Watched {
        watched(self.turn, self.seen, &self.end)
    }

    /// The number of the message that says something now.
    pub(super) fn message(&mut self) -> u32 {
        self.messages += u32::from(std::mem::take(&mut self.message_open));
        self.messages - 1
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stopping {
            Some((_, until)) => Some(*until),
            None => self.timeout,
        }
    }
}

impl Session {
    pub(super) fn begin(
        &mut self,
        queued: Queued,
        prompt: &str,
        timeout_ms: u64,
        on_question: OnQuestion,
    ) {
        let now = Instant::now();
        self.running = Some(Running {
            turn: queued.turn,
            on_question,
            started: now,
            queued_ms: ms(now - queued.since),
            first_text: None,
            streamed: false,
            message_open: true,
            messages: 0,
            damaged: false,
            again: queued.again,
            timeout: (timeout_ms > 0).then(|| now + Duration::from_millis(timeout_ms)),
            stopping: None,
            seen: queued.seen,
            denials: Vec::new(),
            end: queued.end,
        });
        // One turn at a time: there is always room for it.
        let _ = self.tracker.begin(queued.turn.0);
        if let Some(body) = &mut self.body {
            body.write(input::user(queued.turn.0, prompt));
        }
        self.step(Event::TurnBegan);
    }

    pub(super) fn turn_ended(&mut self, asked: Option<TurnId>, end: Box<TurnEnd>) {
        let Some(turn) = asked else {
            tracing::info!(session = %self.record.name, origin = ?end.origin, "an unasked turn");
            return;
        };
        let Some(running) = self.running.take_if(|running| running.turn == turn) else {
            return;
        };
        if let Some(model) = &end.model {
            self.model = Some(model.clone());
        }
        let end = if end.known_already {
            self.ended_earlier(turn).map_or(end, Box::new)
        } else {
            end
        };
        let ended = judge(&running, end);
        self.finish_running(running, ended);
        self.step(Event::TurnEnded);
    }

    /// The end of a turn that the agent had run before and does not run again.
    fn ended_earlier(&self, turn: TurnId) -> Option<TurnEnd> {
        let home = self.agent_home.as_ref()?;
        let end = launch::ended_earlier(home, &self.record, turn.0)?;
        // Its transcript has all of it: that is as good as having heard it.
        let known_already = end.outcome != Told::Completed;
        Some(TurnEnd {
            known_already,
            ..end
        })
    }

    /// The agent died with a turn. One of which it had not one byte waits again, once.
    pub(super) fn lose_turn(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if self.undelivered && running.stopping.is_none() && !running.again {
            self.queue.push_front(Queued {
                turn: running.turn,
                since: running.started,
                seen: running.seen,
                again: true,
                end: running.end,
            });
            return;
        }
        let ended = match running.stopping.take() {
            Some((stop, _)) => Ended::without(stop.outcome, stop.failure),
            None => {
                let why = self.last_error.clone();
                let failure =
                    why.unwrap_or_else(|| Failure::new(ErrorCode::AgentDied, "the agent died"));
                let hint = "what it did is in its conversation; the next send takes it up again";
                Ended::without(Outcome::Unknown, failure.hint(hint))
            }
        };
        self.finish_running(running, ended);
    }

    /// Tells the running turn to end.
    pub(super) fn stop_turn(&mut self, outcome: Outcome, failure: Failure) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.stopping.is_none() {
            let until = Instant::now() + INTERRUPT_GRACE;
            running.stopping = Some((Stop { outcome, failure }, until));
            let id = format!("clsess-interrupt-{}", running.turn);
            self.write(input::interrupt(&id));
        }
    }

    /// Marks the running turn as one that its question ends.
    pub(super) fn stops_at_question(&mut self, failure: Failure) {
        if let Some(running) = &mut self.running
            && running.stopping.is_none()
        {
            let until = Instant::now() + INTERRUPT_GRACE;
            let stop = Stop {
                outcome: Outcome::Failed,
                failure,
            };
            running.stopping = Some((stop, until));
        }
    }

    /// Does what is due about the running turn.
    pub(super) fn turn_deadline(&mut self, now: Instant) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.deadline().is_none_or(|at| at > now) {
            return;
        }
        if let Some((_, until)) = &mut running.stopping {
            tracing::warn!(session = %self.record.name, "the agent ignores an interrupt");
            // Once is enough: the holder sees to it from here.
            *until = now + Duration::from_secs(24 * 60 * 60);
            self.kill_body();
            return;
        }
        let after = humane(now - running.started);
        self.stop_turn(
            Outcome::TimedOut,
            Failure::new(
                ErrorCode::TimedOut,
                format!("the turn was interrupted after {after}"),
            )
            .hint("give it longer with --timeout (0: no limit) or turn_timeout in the config"),
        );
    }

    /// Tells the turns that their session's body is being ended.
    pub(super) fn end_turns(&mut self, why: EndWhy) {
        let failure = why.failure();
        if let Some(running) = self.running.take() {
            // It ends sooner when it is told to than when its input ends.
            self.write(input::interrupt("clsess-interrupt-end"));
            let ended = Ended::without(Outcome::Interrupted, failure);
            self.finish_running(running, ended);
        }
        self.end_queue(why);
    }

    /// The same for those that wait.
    pub(super) fn end_queue(&mut self, why: EndWhy) {
        let failure = why.failure();
        for queued in std::mem::take(&mut self.queue) {
            // What nobody waits for outlives a stop, and runs later.
            let stays =
                why == EndWhy::Restart || (why == EndWhy::Stop && queued.end.receiver_count() == 0);
            if stays {
                self.queue.push_back(queued);
            } else {
                let ended = Ended::without(Outcome::Cancelled, failure.clone());
                self.finish_queued(&queued, ended);
            }
        }
    }
}

pub(super) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn humane(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.1} min", seconds / 60.0)
    }
}
