//! What a client can ask for.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use crate::{Attach, ErrorCode, Failure, MAX_PROMPT, Program, SessionRow, TurnId};

/// A request. `op` names it on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Makes a session. Answer: `session`.
    New(Box<New>),
    /// Runs a prompt. Answer: `turn`, or `accepted` with `wait: false`.
    Send(Box<Send>),
    /// The report of a turn; waits while it is queued or running. Answer: `turn`.
    Result {
        /// Name or id.
        session: String,
        /// A turn's id, a unique beginning of one, or `-1` (the last), `-2` and so on.
        turn: String,
        /// Also send the turn's events while waiting.
        #[serde(default)]
        events: bool,
        /// Also give all texts of the turn, not only the answer.
        #[serde(default)]
        texts: bool,
    },
    /// All sessions. Answer: `sessions`.
    List {},
    /// One session. Answer: `detail`.
    Show {
        /// Name or id.
        session: String,
    },
    /// Ends sessions and forgets them. Answer: `killed`.
    Kill {
        /// Names or ids; empty with `all`.
        #[serde(default)]
        sessions: Vec<String>,
        /// Every session.
        #[serde(default)]
        all: bool,
        /// How long an agent may take to end by itself, in milliseconds.
        grace_ms: u64,
    },
    /// Starts a session's agent again. Answer: `session`, when it is ready.
    Restart {
        /// Name or id.
        session: String,
        /// Begin a new conversation.
        #[serde(default)]
        fresh: bool,
        /// The environment to use from now on; absent: the one that is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        env: Option<Vec<(ByteBuf, ByteBuf)>>,
        /// How long it may take, in milliseconds.
        start_timeout_ms: u64,
    },
    /// Takes a queued turn back or interrupts a running one. Answer: `turn`, when
    /// it has ended.
    Cancel {
        /// Name or id.
        session: String,
        /// The turn.
        turn: TurnId,
    },
    /// Ends the turn that runs, asked for or not; the session stays. Answer:
    /// `interrupted`, when it has ended.
    Interrupt {
        /// Name or id.
        session: String,
    },
    /// Waits for something to be so of sessions. Answer: `waited`.
    Wait {
        /// Names or ids.
        sessions: Vec<String>,
        /// What.
        until: Until,
        /// Of one of them; else of all.
        #[serde(default)]
        any: bool,
        /// The sessions as they were seen before this was asked for the first time: one that is
        /// gone by now was killed, and one that is not as it was then has changed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        seen: Vec<SessionRow>,
    },
    /// The turns that wait. Answer: `queue`.
    Queue {
        /// Name or id.
        session: String,
    },
    /// Takes turns back that wait. Answer: `removed`.
    QueueRemove {
        /// Name or id.
        session: String,
        /// A turn's id, a unique beginning of one, or `-1` (the last of the queue), `-2` and so on;
        /// absent: all that wait.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
    },
    /// Runs the turns that are held back: by a failed start, by a limit, by the machine's death.
    /// Answer: `done`.
    QueueRun {
        /// Name or id.
        session: String,
    },
    /// Turns of the history, oldest first. Answer: `log`, with as many as fit.
    Log {
        /// Name or id; also the id of a session that was killed.
        session: String,
        /// Only this turn: as in `result`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
        /// Those behind this one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<TurnId>,
        /// Only so many of the last.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    /// Gives a session another name. Answer: `session`.
    Rename {
        /// Name or id.
        session: String,
        /// The new name.
        name: String,
    },
    /// The open questions of the agents. Answer: `questions`.
    Questions {
        /// Name or id; absent: of all sessions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Says yes to a permission or a plan. Answer: `answered`.
    Approve {
        /// Name or id.
        session: String,
        /// The question's id or a unique beginning of it; absent: the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
        /// Also keep the rules that the agent suggests, so that it does not ask again.
        #[serde(default)]
        always: bool,
    },
    /// Says no to a question of any kind. Answer: `answered`.
    Deny {
        /// Name or id.
        session: String,
        /// As in `approve`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
        /// What the agent is told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Answers a question. Answer: `answered`.
    Answer {
        /// Name or id.
        session: String,
        /// As in `approve`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        question: Option<String>,
        /// A text for each question that is asked at once: the label or the number of an
        /// option, several with `, ` between them, or any other text.
        texts: Vec<String>,
    },
    /// What happens from now on. Events come until the client goes; answer: `done`, when
    /// none of the named sessions is left.
    Events {
        /// Names or ids; empty: all sessions, those of later too.
        #[serde(default)]
        sessions: Vec<String>,
        /// First what happened after this number and is still kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<u64>,
    },
    /// Shows a session's terminal on that of the client, whose descriptor travels with this frame
    /// (`SCM_RIGHTS`). The broker reads and writes it from then on. Answer: `detached`, when that
    /// is over and the terminal is as it was.
    Attach(Box<Attach>),
    /// The terminal of a viewer has another size. Answer: `done`.
    Resized {
        /// Name or id.
        session: String,
        /// The viewer.
        #[serde(with = "uuid::serde::hyphenated")]
        viewer: Uuid,
    },
    /// Detaches a viewer. Answer: `done`; that of its `attach` comes when it is detached.
    Detach {
        /// Name or id.
        session: String,
        /// The viewer; absent: all of them.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            with = "uuid::serde::hyphenated::option"
        )]
        viewer: Option<Uuid>,
    },
    /// What is on a session's screen. Answer: `captured`.
    Capture {
        /// Name or id.
        session: String,
        /// With colours and the like.
        #[serde(default)]
        ansi: bool,
        /// With so many rows of history in front.
        #[serde(default)]
        history: u32,
    },
    /// Types into a session's terminal. Answer: `done`, when the terminal has all of it.
    Type {
        /// Name or id.
        session: String,
        /// What.
        input: ByteBuf,
    },
    /// Presses keys in a session's terminal. Answer: `done`, when the terminal has them.
    Keys {
        /// Name or id.
        session: String,
        /// Their names, as in tmux: `Enter`, `C-c`, `Up`; a single character is itself.
        keys: Vec<String>,
    },
    /// A hook of the agent that the caller runs in. Answer: `hooked`, which may take as long as
    /// people take to decide.
    Hook {
        /// Chosen by the caller: the same hook may be told again.
        #[serde(with = "uuid::serde::hyphenated")]
        id: Uuid,
        /// What the agent says.
        input: ByteBuf,
    },
    /// The agent that the caller runs in has opened its editor. Answer: `edited`.
    Edit {
        /// What stands in the agent's input box.
        text: ByteBuf,
    },
    /// The broker itself. Answer: `status`.
    Status {},
    /// Stops the broker. Answer: `done`, after everything has ended; then the
    /// connection is closed, and the broker is gone.
    Stop {
        /// How long agents may take to end by themselves, in milliseconds.
        grace_ms: u64,
    },
    /// Replaces the broker by another program, under running turns. Answer: `done`, when there is
    /// nothing to do; otherwise the connection ends when the program takes over, and whoever
    /// listens then is asked for its `status`: it is the same broker again when that has failed.
    Upgrade {
        /// The absolute path of the program.
        program: ByteBuf,
        /// The program's version.
        version: String,
        /// Also by the same program, and by one of an older version.
        #[serde(default)]
        force: bool,
        /// Nobody has asked for it: a command is newer. A program that has failed is then not
        /// tried again.
        #[serde(default)]
        unasked: bool,
    },
    /// A request that this build does not know.
    #[serde(other)]
    Unknown,
}

/// See [`Request::New`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct New {
    /// The session's id, chosen by the client: where there is one of this id already it is the
    /// one that is made, by the same request on a connection that was lost. Absent: a new one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub id: Option<Uuid>,
    /// The name; absent: the directory's name, made unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The session's directory, absolute.
    pub cwd: String,
    /// The caller's whole environment: names and values as bytes. What must not
    /// reach the agent is taken out by the broker.
    pub env: Vec<(ByteBuf, ByteBuf)>,
    /// How the agent is run.
    #[serde(default)]
    pub settings: Settings,
    /// Run this program instead of an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Take up this conversation of the agent instead of beginning one.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "uuid::serde::hyphenated::option"
    )]
    pub resume: Option<Uuid>,
    /// The caller vouches for the directory.
    #[serde(default)]
    pub trust: bool,
    /// A session that exists already is fine, and is left as it is.
    #[serde(default)]
    pub exists_ok: bool,
    /// Answer when the agent is ready, not when it is being started.
    #[serde(default)]
    pub wait: bool,
    /// How long the agent may take to be ready, in milliseconds.
    pub start_timeout_ms: u64,
    /// The file mode mask of what the agent makes; absent: 022.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

/// How an agent is run. Kept with the session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What the agent's body is; absent: `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// The program that has turns in place of an agent, and its arguments: a path, or a name in the
    /// PATH. Only with the drivers `marks` and `codex`, which need it; what is said of agents is of no
    /// meaning then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// A child for each turn has a terminal for its output. Only with that driver.
    #[serde(default)]
    pub pty: bool,
    /// Whether the agent's traffic with its provider is read; absent: off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap: Option<Tap>,
    /// The agent's model; absent: the agent's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent's permission mode; absent: `manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<String>,
    /// Replaces the agent's system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Is added to the agent's system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_system_prompt: Option<String>,
    /// The agent's persona of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Rounds of the model in one turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// The agent's program; absent: `claude`, looked up in the caller's PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_path: Option<String>,
    /// Arguments for the agent, as they are, last.
    #[serde(default)]
    pub agent_args: Vec<String>,
    /// Turns that are kept; absent: 1000. Older ones are forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<u32>,
    /// Names of variables that are not kept on disk; `*` stands for anything.
    #[serde(default)]
    pub env_forget: Vec<String>,
    /// Sessions whose agents may send to this one.
    #[serde(default)]
    pub allow_from: Vec<String>,
    /// How long a question waits while nobody waits for its turn, in milliseconds;
    /// then it is denied. Absent: 30 minutes; 0: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_timeout_ms: Option<u64>,
    /// After how long without a byte of a busy agent the session is called stalled,
    /// in milliseconds. Absent: 5 minutes; 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_after_ms: Option<u64>,
    /// After the death of the machine, or of all of the session, what waits runs by itself.
    #[serde(default)]
    pub resume_queue: bool,
    /// After how long without anything to do the agent is ended, in milliseconds; the next
    /// prompt starts it again. Absent or 0: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_sleep_ms: Option<u64>,
    /// How many sessions of the broker may have an agent when this one's is started. Absent or
    /// 0: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_warm: Option<u32>,
    /// Commands that are run when something happens.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

/// Commands of the user's, for a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// See [`HookEvent::Question`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// See [`HookEvent::Done`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// See [`HookEvent::Failed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// See [`HookEvent::Exited`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exited: Option<String>,
    /// How long each may take, in milliseconds; absent: 10 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What a command can be run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookEvent {
    /// The agent asks something, and waits for people.
    Question,
    /// A turn has ended well.
    Done,
    /// A turn has ended otherwise, unless somebody wanted that; or the agent cannot be started.
    Failed,
    /// The agent has died, or the program has exited.
    Exited,
}

impl HookEvent {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Exited => "exited",
        }
    }
}

impl Hooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The one for this.
    #[must_use]
    pub fn command(&self, event: HookEvent) -> Option<&str> {
        let command = match event {
            HookEvent::Question => &self.question,
            HookEvent::Done => &self.done,
            HookEvent::Failed => &self.failed,
            HookEvent::Exited => &self.exited,
        };
        command.as_deref()
    }
}

/// How an agent's traffic with its provider is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tap {
    /// Not at all.
    #[default]
    Off,
    /// By an HTTPS proxy that opens the connections to the provider's host; the client behaves as without.
    Proxy,
    /// By another base URL; the client leaves some of what it does out.
    BaseUrl,
}

impl Tap {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Proxy => "proxy",
            Self::BaseUrl => "base-url",
        }
    }
}

/// What a session's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A child that speaks lines of JSON.
    #[default]
    Stream,
    /// The agent's own interface, in a terminal.
    Tui,
    /// A child for each turn, that speaks lines of JSON and takes the conversation up. The next
    /// turn's is started when the last one's has ended.
    Oneshot,
    /// A program in a terminal, [`Settings::command`], which marks its prompts and the output of its
    /// commands (OSC 133).
    Marks,
    /// OpenAI's Codex CLI in a terminal: [`Settings::command`] is `codex` and its arguments.
    Codex,
}

impl Driver {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Tui => "tui",
            Self::Oneshot => "oneshot",
            Self::Marks => "marks",
            Self::Codex => "codex",
        }
    }

    /// Whether it is a program, [`Settings::command`], in the agent's place.
    #[must_use]
    pub const fn is_program(self) -> bool {
        matches!(self, Self::Marks | Self::Codex)
    }
}

/// See [`Request::Send`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Send {
    /// Name or id of the session.
    pub session: String,
    /// The turn's id. A known one is answered with that turn and not run again.
    pub turn: TurnId,
    /// The prompt. It reaches the model byte for byte.
    pub prompt: String,
    /// Milliseconds from the start of the turn until it is interrupted; 0: none.
    #[serde(default)]
    pub timeout_ms: u64,
    /// Milliseconds from this request until the turn is given up, the queue and
    /// questions included; 0: none.
    #[serde(default)]
    pub deadline_ms: u64,
    /// What to do when the session is busy.
    #[serde(default)]
    pub on_busy: OnBusy,
    /// What becomes of the agent's questions.
    #[serde(default)]
    pub on_question: OnQuestion,
    /// What to do about the provider's limits.
    #[serde(default)]
    pub on_limit: OnLimit,
    /// What becomes of it when the agent dies in it.
    #[serde(default)]
    pub on_crash: OnCrash,
    /// This request may have been made before: where another session has this turn (the
    /// name is another one's by now), the answer is that turn.
    #[serde(default)]
    pub again: bool,
    /// False: answer as soon as the prompt is safely in the journal.
    pub wait: bool,
    /// Also send the turn's events.
    #[serde(default)]
    pub events: bool,
    /// Also give all texts of the turn, not only the answer.
    #[serde(default)]
    pub texts: bool,
}

/// Whether `prompt` can be sent: it says something, has no NUL, and is not longer
/// than [`MAX_PROMPT`].
///
/// # Errors
/// [`ErrorCode::PromptEmpty`], [`ErrorCode::PromptInvalid`],
/// [`ErrorCode::PromptTooLong`].
pub fn check_prompt(prompt: &str) -> Result<(), Failure> {
    if prompt.len() > MAX_PROMPT {
        let message = format!("the prompt is longer than {} MiB", MAX_PROMPT >> 20);
        return Err(Failure::new(ErrorCode::PromptTooLong, message)
            .hint("name a file in the prompt, and the agent reads it"));
    }
    if prompt.contains('\0') {
        let message = "the prompt has a NUL in it, which no model takes";
        return Err(Failure::new(ErrorCode::PromptInvalid, message));
    }
    if prompt.trim().is_empty() {
        return Err(Failure::new(ErrorCode::PromptEmpty, "the prompt is empty")
            .hint("clsess send NAME \"a prompt\", or give it on stdin"));
    }
    Ok(())
}

/// What becomes of a question of the agent in this turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnQuestion {
    /// The agent is told that nobody is there; the turn goes on.
    #[default]
    Deny,
    /// The turn ends with [`crate::ErrorCode::Question`].
    Fail,
    /// It waits for somebody's answer.
    Wait,
}

/// What becomes of a prompt for a busy session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBusy {
    /// It waits behind those that wait already.
    #[default]
    Queue,
    /// It is refused with [`crate::ErrorCode::Busy`].
    Fail,
    /// The running turn is interrupted, and this one is the next.
    Interrupt,
    /// It is put into the running turn; where none runs it waits.
    Steer,
}

/// What becomes of a turn in which the agent dies after a tool has started. One in which none
/// had is finished by the agent that is started next, in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// Its outcome is not known: to run it again would repeat what the tool has done.
    #[default]
    Report,
    /// It is run again all the same.
    Rerun,
}

/// What becomes of a turn that the provider refuses for its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLimit {
    /// It fails.
    #[default]
    Fail,
    /// It waits until the limit resets.
    Wait,
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Nothing runs and nothing is queued; a session without an agent counts.
    #[default]
    Idle,
    /// The agent asks something.
    Question,
    /// There is no agent.
    Exit,
    /// The state, the queue or the number of turns is another one than now.
    Change,
}

/// Whether `name` may name a session: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= 64
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
