//! Sessions: a conversation each, with one task that owns all of it.

mod conversation;
mod crash;
mod dialog;
mod ear;
mod ending;
mod hearing;
mod launch;
pub mod life;
mod limits;
mod notes;
mod program;
mod questions;
mod queue;
mod report;
mod sleep;
mod swap;
mod task;
mod timers;
mod turns;
pub mod view;
mod wire;
mod writers;

use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use clsess_place::now_ms;
use clsess_proto::{
    Attach, Detached, EventKind, Failure, Killed, LogEntry, Question, QueuedTurn, Send,
    SessionDetail, SessionRow, State, TurnId, TurnReport,
};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::disk::Promise;
use crate::driver::orphans::Process;
use crate::feed::Feed;
use crate::store::{Env, SessionRecord};

pub use launch::{Agents, died_warm, end_previous, found_agent, remembered, trusted};
pub use notes::find;
pub use program::{DRIVER as PROGRAM, ProgramSeed, find as find_program, spawn as spawn_program};
pub use questions::Decision;
pub use task::{Seed, spawn, start_timeout, until};

/// Commands that wait for a session; who sends more waits with them.
const COMMANDS: usize = 64;

/// What can be asked of a session. The answer comes through the `reply`.
#[derive(Debug)]
pub enum Command {
    /// Run a prompt, or say how the turn of this id stands.
    Send {
        /// The request.
        request: Box<Send>,
        /// The turn.
        reply: Answer<Watched>,
    },
    /// A turn of the history.
    Result {
        /// Which.
        selector: String,
        /// The turn.
        reply: Answer<Watched>,
    },
    /// Whether it has this turn.
    Knows {
        /// Which.
        turn: TurnId,
        /// Whether.
        reply: Answer<bool>,
    },
    /// Take a turn back, or interrupt it.
    Cancel {
        /// Which.
        turn: TurnId,
        /// The turn.
        reply: Answer<Watched>,
    },
    /// End what runs.
    Interrupt {
        /// When that was first asked for, if it may have been done: what the agent was given
        /// later goes on.
        first_asked: Option<u64>,
        /// The turn, if anybody asked for it.
        reply: Answer<Option<Watched>>,
    },
    /// The turns that wait.
    Queue {
        /// They.
        reply: Answer<Vec<QueuedTurn>>,
    },
    /// Take turns back that wait.
    QueueRemove {
        /// Which; absent: all.
        selector: Option<String>,
        /// When that was first asked for, if it may have been done.
        first_asked: Option<u64>,
        /// Those that were taken back.
        reply: Answer<Vec<TurnId>>,
    },
    /// Run what is held back.
    QueueRun {
        /// When it is begun.
        reply: Answer<()>,
    },
    /// Turns of the history.
    Log {
        /// Only this one.
        selector: Option<String>,
        /// Those behind this one.
        after: Option<TurnId>,
        /// Only so many of the last.
        last: Option<u64>,
        /// They, and whether there are more.
        reply: Answer<(Vec<LogEntry>, bool)>,
    },
    /// It has another name now.
    Rename {
        /// The name.
        name: String,
        /// When it knows: what the disk says to that.
        reply: Answer<Promise>,
    },
    /// What the agent asks.
    Questions {
        /// Here it is.
        reply: Answer<Vec<Question>>,
    },
    /// Answer a question.
    Decide {
        /// Which; absent: the only one.
        question: Option<String>,
        /// What is answered.
        decision: Decision,
        /// When that was first asked for, if it may have been done.
        first_asked: Option<u64>,
        /// The question; none if it was answered just so before.
        reply: Answer<Option<Question>>,
    },
    /// Have the agent ready.
    Wake {
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
        /// When it is.
        reply: Answer<()>,
    },
    /// Start the agent again.
    Restart {
        /// When that was first asked for, if it may have been done.
        first_asked: Option<u64>,
        /// With a new conversation.
        fresh: bool,
        /// The environment from now on.
        env: Option<Env>,
        /// How long it may take, in milliseconds.
        timeout_ms: u64,
        /// When it is ready.
        reply: Answer<()>,
    },
    /// End the agent, and the session with it.
    Kill {
        /// How long the agent may take, in milliseconds.
        grace_ms: u64,
        /// What is left.
        reply: Answer<Killed>,
    },
    /// End the agent, because the broker ends.
    Stop {
        /// How long the agent may take, in milliseconds.
        grace_ms: u64,
        /// When it is gone.
        reply: Answer<()>,
    },
    /// Show the terminal on this one.
    Attach {
        /// The request.
        attach: Box<Attach>,
        /// The client's terminal.
        terminal: OwnedFd,
        /// When it has been given back.
        left: Answer<Detached>,
    },
    /// A viewer's terminal has another size.
    Resized {
        /// Which.
        viewer: Uuid,
        /// When it is known.
        reply: Answer<()>,
    },
    /// Give terminals back.
    Detach {
        /// Whose; absent: everybody's.
        viewer: Option<Uuid>,
        /// When it is begun.
        reply: Answer<()>,
    },
    /// What is on the screen.
    Capture {
        /// With colours.
        ansi: bool,
        /// With so many rows of history.
        history: u32,
        /// Here it is.
        reply: Answer<Vec<u8>>,
    },
    /// The agent has run a hook.
    Hook {
        /// As whoever brings it calls it.
        id: Uuid,
        /// What it says.
        input: Vec<u8>,
        /// Who brings it.
        process: Option<Process>,
        /// What it is told, which may take as long as people take to decide.
        reply: Answer<Vec<u8>>,
    },
    /// The agent has opened its editor.
    Edit {
        /// On this.
        text: Vec<u8>,
        /// The process that becomes the person's own editor, where it is theirs.
        editor: Option<Process>,
        /// What is to be made of it; nothing where a person has opened it.
        reply: Answer<Option<Vec<u8>>>,
    },
    /// Type into the terminal.
    Type {
        /// What.
        input: Vec<u8>,
        /// When the terminal has it.
        reply: Answer<()>,
    },
    /// Press keys.
    Keys {
        /// Their names.
        keys: Vec<String>,
        /// When the terminal has them.
        reply: Answer<()>,
    },
    /// Everything about the session.
    Detail {
        /// Here it is.
        reply: Answer<SessionDetail>,
    },
}

impl Command {
    /// Answers that it cannot be done here.
    pub fn refuse(self, why: impl FnOnce() -> Failure) {
        fn tell<T>(reply: Answer<T>, failure: Failure) {
            let _ = reply.send(Err(failure));
        }
        match self {
            Self::Send { reply, .. } | Self::Result { reply, .. } | Self::Cancel { reply, .. } => {
                tell(reply, why());
            }
            Self::Knows { reply, .. } => tell(reply, why()),
            Self::Interrupt { reply, .. } => tell(reply, why()),
            Self::Queue { reply } => tell(reply, why()),
            Self::QueueRemove { reply, .. } => tell(reply, why()),
            Self::QueueRun { reply }
            | Self::Wake { reply, .. }
            | Self::Restart { reply, .. }
            | Self::Stop { reply, .. }
            | Self::Resized { reply, .. }
            | Self::Detach { reply, .. }
            | Self::Type { reply, .. }
            | Self::Keys { reply, .. } => tell(reply, why()),
            Self::Log { reply, .. } => tell(reply, why()),
            Self::Rename { reply, .. } => tell(reply, why()),
            Self::Questions { reply } => tell(reply, why()),
            Self::Decide { reply, .. } => tell(reply, why()),
            Self::Kill { reply, .. } => tell(reply, why()),
            Self::Attach { left, .. } => tell(left, why()),
            Self::Capture { reply, .. } | Self::Hook { reply, .. } => tell(reply, why()),
            Self::Edit { reply, .. } => tell(reply, why()),
            Self::Detail { reply } => tell(reply, why()),
        }
    }
}

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, Failure>>;

/// A turn that somebody watches.
#[derive(Debug)]
pub struct Watched {
    /// Its id.
    pub turn: TurnId,
    /// Its events come after this position in the feed.
    pub seen: u64,
    /// Becomes the report when the turn ends; closed without one when the broker
    /// ends.
    pub end: watch::Receiver<Option<Arc<TurnReport>>>,
    /// When the turn is safe from the machine's death.
    pub durable: Option<Promise>,
}

impl Watched {
    /// Only what is acknowledged is waited for, not the turn.
    fn nobody_waits(&mut self) {
        self.end = watch::Sender::new(None).subscribe();
    }
}

/// How the rest of the broker holds a session.
#[derive(Clone, Debug)]
pub struct Handle {
    /// Its id.
    pub id: Uuid,
    /// Commands for it.
    pub commands: mpsc::Sender<Command>,
    /// Its row, always current: nobody waits for a busy session to list it.
    pub row: watch::Receiver<Row>,
    /// What happens in it.
    pub feed: Arc<Feed>,
}

/// A session's row, without the time that passes by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `idle_s` is 0 here.
    pub row: SessionRow,
    /// When something last happened, in milliseconds of Unix time.
    pub active_at: u64,
    /// The agent's conversation.
    pub agent_session_id: Uuid,
    /// The holder's process: what descends from it is the agent's.
    pub holder: Option<u32>,
    /// Sessions whose agents may send to this one.
    pub allow_from: Arc<[String]>,
    /// Whether its agent is not started before another session's sleeps.
    pub waits_for_room: bool,
    /// Whether something of the journal is only in memory.
    pub unwritten: bool,
}

impl Row {
    /// Makes a change known: to those who list, and a change of the state to those who watch.
    fn publish(known: &watch::Sender<Self>, feed: &Feed, change: impl FnOnce(&mut Self)) {
        let before = known.borrow().clone();
        let mut row = before.clone();
        change(&mut row);
        let (now, then) = (&mut row.row, &before.row);
        if now.state != then.state {
            now.since = now_ms();
        }
        if now.state != then.state || now.detail != then.detail {
            let (state, detail) = (now.state, now.detail.clone());
            feed.push(&now.name, None, EventKind::State { state, detail });
        }
        if row != before {
            known.send_replace(row);
        }
    }

    /// That of a session in which nothing has happened yet.
    fn first(record: &SessionRecord, driver: &str, state: State, now: u64) -> Self {
        Self {
            row: SessionRow {
                name: record.name.clone(),
                id: record.id,
                state,
                since: now,
                detail: None,
                driver: driver.to_owned(),
                queue: 0,
                turns: 0,
                attached: 0,
                background: 0,
                idle_s: 0,
                cwd: record.cwd.clone(),
            },
            active_at: now,
            agent_session_id: record.agent_session_id,
            holder: None,
            allow_from: record.settings.allow_from.clone().into(),
            waits_for_room: false,
            unwritten: false,
        }
    }

    /// The row as it is told at this moment.
    #[must_use]
    pub fn told(&self) -> SessionRow {
        SessionRow {
            idle_s: now_ms().saturating_sub(self.active_at) / 1000,
            ..self.row.clone()
        }
    }
}
