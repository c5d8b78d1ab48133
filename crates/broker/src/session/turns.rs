//! The turn that is with the agent: begun, stopped, lost, ended.

use std::sync::Arc;

use clsess_claude::input;
use clsess_claude::record::Fate;
use clsess_claude::turn::{Outcome as Told, TurnEnd};
use clsess_proto::{Denial, ErrorCode, EventKind, Failure, Outcome, TurnId, TurnReport};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::Watched;
use super::ending::EndWhy;
use super::launch;
use super::life::Event;
use super::notes::instant;
use super::report::{Ended, judge};
use super::task::Session;
use crate::journal::Terms;

/// How long the agent may take to end a turn that it was told to end, before it is
/// itself ended. Measured: 8 ms while streaming, up to 1.4 s in a tool.
pub(super) const INTERRUPT_GRACE: Duration = Duration::from_secs(10);

/// Bytes of a waiting turn's prompt that are kept in memory, to be listed.
const SHOWN: usize = 256;

/// Turns whose policy for questions is remembered after their end.
const MAX_POLICIES: usize = 64;

pub(super) type End = watch::Sender<Option<Arc<TurnReport>>>;

/// A turn that waits. Its prompt is in the journal.
pub(super) struct Queued {
    pub(super) turn: TurnId,
    pub(super) terms: Terms,
    pub(super) since: Instant,
    /// When it was sent, in milliseconds of Unix time.
    pub(super) at: u64,
    /// The beginning of its prompt.
    pub(super) begins: String,
    /// Its events come after this position.
    pub(super) seen: u64,
    /// Whether it is to be put into the turn that runs, if one does.
    pub(super) steers: bool,
    /// Whether it waits for somebody to say that it may run: the machine has died meanwhile.
    pub(super) held: bool,
    /// Whether the newlines at the end of its prompt were cut.
    pub(super) trimmed: bool,
    /// What the conversation had lost when it was begun.
    pub(super) context_lost: Option<String>,
    pub(super) end: End,
}

impl Queued {
    /// It waits from now on.
    pub(super) fn new(turn: TurnId, at: u64, terms: Terms, prompt: &str) -> Self {
        Self {
            turn,
            terms,
            since: Instant::now(),
            at,
            begins: prompt[..prompt.floor_char_boundary(SHOWN)].to_owned(),
            seen: 0,
            steers: false,
            held: false,
            trimmed: false,
            context_lost: None,
            end: watch::Sender::new(None),
        }
    }

    /// For one more who waits for it.
    pub(super) fn watched(&self) -> Watched {
        Watched {
            turn: self.turn,
            seen: self.seen,
            end: self.end.subscribe(),
            durable: None,
        }
    }
}

/// A turn that is with the agent.
pub(super) struct Running {
    /// As it waited.
    pub(super) asked: Queued,
    /// The uuid that its line has: the turn's own, but for one that is tried again.
    pub(super) wire: Uuid,
    pub(super) started: Instant,
    pub(super) queued_ms: u64,
    pub(super) first_text: Option<Instant>,
    /// Whether the agent has taken its line up.
    pub(super) begun: bool,
    /// Tools that were called in it.
    pub(super) calls: usize,
    /// Of them those that somebody was still asked about when the agent died.
    pub(super) asking: usize,
    /// Whether text of the current block has come in pieces.
    pub(super) streamed: bool,
    /// Whether a message has begun that has said nothing yet.
    pub(super) message_open: bool,
    /// Messages that have said something.
    pub(super) messages: u32,
    /// Whether a line of the agent could not be read meanwhile.
    pub(super) damaged: bool,
    /// Whether what it said at first was said to an earlier broker, and is not kept.
    pub(super) unheard: bool,
    /// When it is to be interrupted.
    pub(super) timeout: Option<Instant>,
    /// What is left of that while a question is open: waiting for people does not count.
    pub(super) timeout_left: Option<Duration>,
    /// When it is to be given up, whatever it waits for.
    pub(super) deadline: Option<Instant>,
    /// Why it was told to end, and until when it may take.
    pub(super) stopping: Option<(Stop, Instant)>,
    /// What was denied to the agent on the way.
    pub(super) denials: Vec<Denial>,
}

/// Why a turn was told to end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stop {
    pub(super) outcome: Outcome,
    pub(super) failure: Failure,
}

impl Stop {
    /// Somebody has interrupted it.
    pub(super) fn interrupted(message: &str) -> Self {
        Self {
            outcome: Outcome::Interrupted,
            failure: Failure::new(ErrorCode::Interrupted, message),
        }
    }

    /// Somebody has taken it back before it ran.
    pub(super) fn taken_back() -> Self {
        Self {
            outcome: Outcome::Cancelled,
            failure: Failure::new(ErrorCode::Cancelled, "the turn was taken back"),
        }
    }
}

/// How long the agent may take to write the end of a turn into its transcript. Measured: 0.3 s at
/// most.
const IN_TRANSCRIPT: Duration = Duration::from_secs(3);
/// How often that is looked for: rarely at all.
const LOOK: Duration = Duration::from_millis(50);
/// The longest that a user's hook of `Stop` is waited for where nothing but the transcript tells when
/// it is done: the client ends a hook after 600 s. Looked for every second.
const HOOKS_OF_STOP: Duration = Duration::from_secs(660);

/// The end of a turn that is looked for in the transcript.
pub(super) struct Doubt {
    wire: Uuid,
    end: Box<TurnEnd>,
    pub(super) due: Instant,
    until: Instant,
    /// The agent was at rest meanwhile.
    pub(super) idle: bool,
}

/// What is said of a turn that somebody has interrupted.
pub(super) const INTERRUPTED: &str = "the turn was interrupted";

impl Running {
    fn new(queued: Queued) -> Self {
        let now = Instant::now();
        let mut running = Self {
            wire: queued.terms.wire(queued.turn),
            started: now,
            queued_ms: ms(now - queued.since),
            first_text: None,
            begun: false,
            calls: 0,
            asking: 0,
            streamed: false,
            message_open: true,
            messages: 0,
            damaged: false,
            unheard: false,
            timeout: None,
            timeout_left: None,
            deadline: queued.terms.deadline(),
            stopping: None,
            denials: Vec::new(),
            asked: queued,
        };
        running.times_out_from(now);
        running
    }

    /// One that an earlier broker has given to the agent, `at` milliseconds of Unix time.
    pub(super) fn taken_up(queued: Queued, at: u64) -> Self {
        let queued_ms = at.saturating_sub(queued.at);
        let mut running = Self::new(queued);
        running.queued_ms = queued_ms;
        running.started = instant(at);
        running.times_out_from(running.started);
        running
    }

    /// Its time counts from now.
    fn times_out_from(&mut self, now: Instant) {
        let after = self.asked.terms.timeout_ms;
        self.timeout_left = None;
        self.timeout = (after > 0).then(|| now + Duration::from_millis(after));
    }

    pub(super) fn turn(&self) -> TurnId {
        self.asked.turn
    }

    /// The number of the message that says something now.
    pub(super) fn message(&mut self) -> u32 {
        self.messages += u32::from(std::mem::take(&mut self.message_open));
        self.messages - 1
    }

    /// When something is to be done about it.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stopping {
            Some((_, until)) => Some(*until),
            None => self.timeout.into_iter().chain(self.deadline).min(),
        }
    }

    /// It waits for people, or does not any more.
    pub(super) fn waits_for_people(&mut self, waits: bool) {
        let now = Instant::now();
        if waits && let Some(timeout) = self.timeout.take() {
            self.timeout_left = Some(timeout - now);
        } else if !waits && let Some(left) = self.timeout_left.take() {
            self.timeout = Some(now + left);
        }
    }

    /// As it waits again: since it was given to the agent, behind nobody.
    pub(super) fn queued_again(self) -> Queued {
        Queued {
            since: self.started,
            steers: false,
            held: false,
            ..self.asked
        }
    }

    /// What is done when it takes too long.
    fn overdue(&self, now: Instant) -> Stop {
        let (what, hint) = if self.deadline.is_some_and(|at| at <= now) {
            let hint = "give it longer with --deadline";
            ("given up at its deadline", hint)
        } else {
            let hint = "give it longer with --timeout (0: no limit) or turn_timeout in the config";
            ("interrupted", hint)
        };
        let after = humane(now - self.started);
        let message = format!("the turn was {what} after {after}");
        Stop {
            outcome: Outcome::TimedOut,
            failure: Failure::new(ErrorCode::TimedOut, message).hint(hint),
        }
    }
}

impl Session {
    /// Gives the idle agent a prompt.
    pub(super) fn begin(&mut self, mut queued: Queued) {
        queued.context_lost = self.context_lost.take().or(queued.context_lost);
        self.writers.turn_begins();
        self.used = true;
        let running = Running::new(queued);
        self.give(&running);
        self.remembers(&running);
        self.running = Some(running);
        self.step(Event::TurnBegan);
    }

    /// Agents that it begins may ask when it is over.
    fn remembers(&mut self, running: &Running) {
        self.policies
            .push_back((running.wire, running.asked.terms.on_question));
        if self.policies.len() > MAX_POLICIES {
            self.policies.pop_front();
        }
    }

    /// Puts a prompt into the turn that runs.
    pub(super) fn steer(&mut self, queued: Queued, into: TurnId) {
        let running = Running::new(queued);
        self.tell(Some(running.turn()), EventKind::Steered { into });
        self.give(&running);
        self.steered.push(running);
    }

    /// Lets the agent have the prompt that was put in its way.
    fn give(&mut self, running: &Running) {
        self.heard = Instant::now();
        self.stalled = false;
        self.tracker.begin(running.wire);
        self.send_all();
    }

    /// The agent has taken a line up.
    pub(super) fn begun(&mut self, wire: Uuid) {
        if let Some(running) = self.with_agent(wire) {
            running.begun = true;
        }
        // It ends what runs when it reads an interrupt: one that it read before it had begun the
        // turn, together with the prompt, has ended nothing.
        if let Some(running) = &self.running
            && running.wire == wire
            && running.stopping.is_some()
        {
            self.write(&input::interrupt(&format!("clsess-interrupt-begun-{wire}")));
        }
        self.steer_next();
    }

    /// The turn whose line has this uuid.
    pub(super) fn with_agent(&mut self, wire: Uuid) -> Option<&mut Running> {
        let mut turns = self.running.iter_mut().chain(&mut self.steered);
        turns.find(|running| running.wire == wire)
    }

    pub(super) fn turn_ended(&mut self, asked: Option<Uuid>, end: Box<TurnEnd>) {
        if let Some(model) = &end.model {
            self.model = Some(model.clone());
        }
        let Some(wire) = asked else {
            self.unasked_ended(end);
            return;
        };
        if let Some(at) = self.steered.iter().position(|turn| turn.wire == wire) {
            let steered = self.steered.remove(at);
            let ended = judge(&steered, end);
            let into = self.running.as_ref().map(Running::turn);
            self.finish_steered(&steered, ended, into);
            return;
        }
        let Some(end) = self.without_doubt(wire, end) else {
            return;
        };
        let Some(mut running) = self.running.take_if(|running| running.wire == wire) else {
            return;
        };
        let elsewhere = end.known_already || running.unheard;
        let line = self.journal.line(running.turn()).unwrap_or(wire);
        let told = elsewhere.then(|| self.ended_earlier(line)).flatten();
        running.damaged |= running.unheard && told.is_none();
        let end = match told {
            // All of it is in the transcript; what it cost is only in the result.
            Some(told) if running.unheard => Box::new(TurnEnd {
                cost_usd: end.cost_usd,
                usage: end.usage,
                ..told
            }),
            Some(told) => Box::new(told),
            None => end,
        };
        let ended = judge(&running, end);
        if ended.outcome == Outcome::Completed {
            self.deaths = 0;
        }
        self.heed_limits(&ended);
        if self.is_to_wait_for_limit(&running, &ended) {
            self.wait_for_limit(running);
        } else {
            self.finish_running(&running, ended);
        }
        self.after_turn();
    }

    /// The end of the running turn, where that is certain. What is not is looked for in the transcript,
    /// which the agent writes a little later; what it never tells is not proven.
    fn without_doubt(&mut self, wire: Uuid, mut end: Box<TurnEnd>) -> Option<Box<TurnEnd>> {
        let Some(running) = self.running.as_mut().filter(|it| it.wire == wire) else {
            return Some(end);
        };
        if !end.doubtful {
            return Some(end);
        }
        let turn = running.turn();
        let line = self.journal.line(turn).unwrap_or(wire);
        let home = self.agent_home.as_ref();
        let fate = home.and_then(|home| launch::fate(home, &self.record, line));
        if let Some(Fate::Ended(told)) = fate
            && end.is_told_by(&told)
        {
            end.answer = told.answer;
            end.texts = told.texts;
            end.doubtful = false;
            return Some(end);
        }
        let now = Instant::now();
        let doubt = self.doubt.take();
        // Of an answer that is empty there may be nothing in the transcript.
        let empty = end.answer.is_empty();
        let (patience, look) = match empty {
            _ if end.may_go_on => (HOOKS_OF_STOP, 20 * LOOK),
            true => (IN_TRANSCRIPT / 3, LOOK),
            false => (IN_TRANSCRIPT, LOOK),
        };
        let until = doubt.as_ref().map_or(now + patience, |doubt| doubt.until);
        if now >= until {
            running.damaged |= !empty;
            return Some(end);
        }
        self.doubt = Some(Doubt {
            wire,
            end,
            due: now + look,
            until,
            idle: doubt.is_some_and(|doubt| doubt.idle),
        });
        None
    }

    /// Looks for it again.
    pub(super) fn doubt_deadline(&mut self, now: Instant) {
        let Some(doubt) = self.doubt.take_if(|doubt| doubt.due <= now) else {
            return;
        };
        let (wire, idle) = (doubt.wire, doubt.idle);
        let end = doubt.end.clone();
        self.doubt = Some(doubt);
        self.turn_ended(Some(wire), end);
        if self
            .running
            .as_ref()
            .is_none_or(|running| running.wire != wire)
        {
            self.doubt = None;
            if idle {
                self.step(Event::Idle);
            }
        }
    }

    /// What was put into the turn that has ended, and was not taken up by it, runs now.
    fn after_turn(&mut self) {
        if self.steered.is_empty() {
            self.step(Event::TurnEnded);
            return;
        }
        let mut next = self.steered.remove(0);
        next.times_out_from(Instant::now());
        self.remembers(&next);
        self.running = Some(next);
    }

    /// The end of a turn that the agent had run before and does not run again.
    fn ended_earlier(&self, wire: Uuid) -> Option<TurnEnd> {
        let home = self.agent_home.as_ref()?;
        let end = launch::ended_earlier(home, &self.record, wire)?;
        // Its transcript has all of it: that is as good as having heard it.
        let known_already = end.outcome != Told::Completed;
        Some(TurnEnd {
            known_already,
            ..end
        })
    }

    /// Tells the running turn to end.
    pub(super) fn stop_turn(&mut self, stop: Stop) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.stopping.is_none() {
            let until = Instant::now() + INTERRUPT_GRACE;
            running.stopping = Some((stop, until));
            self.tracker.interrupted();
            let id = format!("clsess-interrupt-{}", running.turn());
            self.write_noted(&input::interrupt(&id));
        }
    }

    /// A turn was told to end by an earlier broker.
    pub(super) fn stops(&mut self, turn: TurnId, stop: Stop) {
        let mut with_agent = self.running.iter_mut().chain(&mut self.steered);
        if let Some(running) = with_agent.find(|running| running.turn() == turn) {
            running.stopping = Some((stop, Instant::now() + INTERRUPT_GRACE));
        }
    }

    /// Gives up a turn that was put into another one: taken back if the agent has not
    /// taken it up; else only its sender's waiting ends, since the other one goes on.
    pub(super) fn stop_steered(&mut self, turn: TurnId, stop: Stop) {
        let Some(at) = self
            .steered
            .iter()
            .position(|steered| steered.turn() == turn)
        else {
            return;
        };
        let steered = &mut self.steered[at];
        let now = Instant::now();
        match &steered.stopping {
            _ if steered.begun => {}
            None => {
                let line = input::take_back(&format!("clsess-take-back-{turn}"), steered.wire);
                steered.stopping = Some((stop, now + INTERRUPT_GRACE));
                self.write_noted(&line);
                return;
            }
            // The agent has been asked, and will say whether it could.
            Some((_, until)) if *until > now => return,
            Some(_) => {}
        }
        let steered = self.steered.remove(at);
        let into = self.running.as_ref().map(Running::turn);
        self.finish_steered(&steered, stop.into(), into);
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
            self.tracker.interrupted();
        }
    }

    /// When something is due about the turns with the agent.
    pub(super) fn turns_due(&self) -> Option<Instant> {
        let turns = self.running.iter().chain(&self.steered);
        turns.filter_map(Running::due).min()
    }

    /// Does what is due about the turns with the agent.
    pub(super) fn turn_deadlines(&mut self, now: Instant) {
        self.steered_deadlines(now);
        let Some(running) = &mut self.running else {
            return;
        };
        if running.due().is_none_or(|at| at > now) {
            return;
        }
        if let Some((_, until)) = &mut running.stopping {
            tracing::warn!(session = %self.record.name, "the agent ignores an interrupt");
            // Once is enough: the holder sees to it from here.
            *until = now + Duration::from_secs(24 * 60 * 60);
            self.kill_body();
            return;
        }
        let stop = running.overdue(now);
        self.stop_turn(stop);
    }

    fn steered_deadlines(&mut self, now: Instant) {
        let due = |steered: &Running| steered.due().is_some_and(|at| at <= now);
        while let Some(steered) = self.steered.iter().find(|steered| due(steered)) {
            let turn = steered.turn();
            let stop = match &steered.stopping {
                Some((stop, _)) => stop.clone(),
                None => steered.overdue(now),
            };
            self.stop_steered(turn, stop);
        }
    }

    /// Tells the turns that their session's body is being ended.
    pub(super) fn end_turns(&mut self, why: EndWhy) {
        let failure = why.failure();
        let steered = std::mem::take(&mut self.steered);
        if let Some(running) = self.running.take() {
            // It ends sooner when it is told to than when its input ends.
            self.write(&input::interrupt("clsess-interrupt-end"));
            for running in std::iter::once(running).chain(steered) {
                let ended = Ended::without(Outcome::Interrupted, failure.clone());
                self.finish_running(&running, ended);
            }
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

/// A turn that nobody asked for, while it runs.
pub(super) struct Unasked {
    pub(super) turn: TurnId,
    pub(super) started: Instant,
    pub(super) denials: Vec<Denial>,
}

impl Session {
    /// The agent begins something by itself.
    pub(super) fn unasked_began(&mut self) {
        // A later broker that hears it again knows that it is the same.
        let turn = self.place().map_or_else(TurnId::random, |place| {
            TurnId(Uuid::new_v5(
                &self.record.agent_session_id,
                place.as_bytes(),
            ))
        });
        let unasked = Unasked {
            turn,
            started: Instant::now(),
            denials: Vec::new(),
        };
        self.tell(Some(unasked.turn), EventKind::Unasked {});
        self.unasked = Some(unasked);
    }

    /// It has ended: a turn of its own in the history, and no part of any other.
    fn unasked_ended(&mut self, end: Box<TurnEnd>) {
        if self.unasked.is_none() {
            self.unasked_began();
        }
        if let Some(unasked) = self.unasked.take() {
            self.finish_unasked(unasked, end);
        }
        self.account(false);
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
