//! The command line, defined once: parsing, help, man pages and completions are
//! all made from it. It knows nothing of the rest of the program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use serde::Deserialize;

/// Named warm Claude Code sessions that answer from the shell
///
/// A background broker owns named sessions of Claude Code and keeps them warm; this command talks
/// to it and starts it when it is needed. Exit 0 of `send` is a proof: this prompt became this
/// turn, once, and stdout is its answer, byte for byte. Every failure has an exit code of its own.
/// A session can also run any other program, in a terminal that one attaches to.
#[derive(Debug, Parser)]
#[command(name = "clsess", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 the agent reported an error, or another failure; 2 usage; 3 no such session, \
turn or question; 4 it exists already; 5 busy; 6 a question needs an answer; 7 rate limited or \
overloaded; 8 not logged in; 9 the agent died, outcome unknown; 10 ended by somebody else; 11 broker not reachable; \
124 timed out; 128+n ended by signal n.";

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// The broker's socket
    #[arg(
        short = 'S',
        long,
        global = true,
        env = "CLSESS_SOCKET",
        value_name = "PATH",
        hide_env_values = true,
        value_hint = ValueHint::AnyPath,
    )]
    pub socket: Option<PathBuf>,
    /// A separate broker of this name
    #[arg(
        short = 'L',
        long,
        global = true,
        env = "CLSESS_LABEL",
        value_name = "NAME",
        default_value = "default",
        hide_env_values = true
    )]
    pub label: String,
    /// The config file (default: $XDG_CONFIG_HOME/clsess/config.toml)
    #[arg(
        long,
        global = true,
        env = "CLSESS_CONFIG",
        value_name = "FILE",
        hide_env_values = true,
        value_hint = ValueHint::FilePath,
    )]
    pub config: Option<PathBuf>,
    /// Log more (twice: everything); only `broker start` and `broker run` log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Whether the word before an error is red; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a session and wait until it is ready; prints its name
    New(New),
    /// Run a prompt in a session; prints its answer
    Send(Send),
    /// Print the answer of a turn, and wait for it while it runs
    Result(ResultOf),
    /// Let another program drive a session, by lines of JSON on stdin and stdout
    Pipe(Pipe),
    /// List the sessions
    #[command(visible_alias = "list")]
    Ls(Ls),
    /// Show everything about one session
    Show(Show),
    /// Look at a session's terminal and type into it; Ctrl-\ detaches
    Attach(Attach),
    /// Print what is on a session's screen
    Capture(Capture),
    /// Type text into a session's terminal
    Type(Type),
    /// Press keys in a session's terminal
    Keys(Keys),
    /// Wait until sessions are idle, ask something, or have ended
    Wait(Wait),
    /// List the turns of a session: when, prompt, answer, outcome, cost
    Log(Log),
    /// Print everything that happens, a line of JSON each
    Events(Events),
    /// List, take back or run the prompts that wait in a session
    Queue(Queue),
    /// End the running turn; the session stays
    Interrupt(Interrupt),
    /// List the questions of agents that wait for an answer
    Questions(Questions),
    /// Allow what an agent asks to do, or its plan
    Approve(Approve),
    /// Say no to an agent: to what it asks to do, its plan, or its question
    Deny(Deny),
    /// Answer a question of an agent
    Answer(Answer),
    /// Give a session another name
    Rename(Rename),
    /// End sessions and forget them; says how to take up their conversations again
    Kill(Kill),
    /// Start a session's agent or program again; a conversation is kept
    Restart(Restart),
    /// The background broker itself
    Broker(Broker),
    /// Say what is wrong around the broker and its agents, and what to do about it
    Doctor(Doctor),
    /// Print the completions of a shell: of verbs, options, sessions, turns and questions
    Completions(Completions),
    /// Print the versions of this command and of the running broker
    Version(Version),
}

/// How an agent is run.
#[derive(Args, Debug, Default, PartialEq)]
pub struct AgentOptions {
    /// The session's directory (default: the current one)
    #[arg(short = 'c', long = "cwd", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cwd: Option<PathBuf>,
    /// Settings of [profile.NAME] in the config
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// What the agent's body is (default: stream)
    #[arg(long, value_name = "DRIVER", value_enum)]
    pub driver: Option<Driver>,
    /// With --driver oneshot: the agent's output is a terminal
    #[arg(long)]
    pub pty: bool,
    /// Read what passes between the agent and its provider, in this way (default: off)
    #[arg(long, value_name = "WAY", value_enum)]
    pub tap: Option<Tap>,
    /// The model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// The agent's permission mode (default: manual)
    #[arg(long, value_name = "MODE")]
    pub permission_mode: Option<String>,
    /// Replace the agent's system prompt
    #[arg(long, value_name = "TEXT")]
    pub system_prompt: Option<String>,
    /// Add to the agent's system prompt
    #[arg(long, value_name = "TEXT")]
    pub append_system_prompt: Option<String>,
    /// The agent's persona of this name
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Rounds of the model in one turn at most
    #[arg(long, value_name = "N")]
    pub max_turns: Option<u32>,
    /// Set a variable in the environment of the agent or program (repeatable)
    #[arg(short = 'e', long = "env", value_name = "K=V", value_parser = key_value)]
    pub env: Vec<(String, String)>,
    /// Another argument for the agent, as it is (repeatable)
    #[arg(long = "agent-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub agent_args: Vec<String>,
    /// How long the agent may take to be ready (default: 60s)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub start_timeout: Option<Duration>,
}

impl AgentOptions {
    /// The first option that is given and means something of an agent only.
    #[must_use]
    pub fn of_agents(&self) -> Option<&'static str> {
        let options = [
            ("--driver", self.driver.is_some()),
            ("--pty", self.pty),
            ("--tap", self.tap.is_some()),
            ("--model", self.model.is_some()),
            ("--permission-mode", self.permission_mode.is_some()),
            ("--system-prompt", self.system_prompt.is_some()),
            (
                "--append-system-prompt",
                self.append_system_prompt.is_some(),
            ),
            ("--agent", self.agent.is_some()),
            ("--max-turns", self.max_turns.is_some()),
            ("--agent-arg", !self.agent_args.is_empty()),
        ];
        let given = options.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(option, _)| option)
    }
}

#[derive(Args, Debug)]
pub struct New {
    /// The session's name (default: the directory's, made unique)
    pub name: Option<String>,
    #[command(flatten)]
    pub agent: AgentOptions,
    /// Take up this conversation of the agent
    #[arg(long, value_name = "ID")]
    pub resume: Option<uuid::Uuid>,
    /// Vouch for the directory: its own hooks and settings will run
    #[arg(long)]
    pub trust: bool,
    /// Fine if it exists already
    #[arg(short = 'A')]
    pub exists_ok: bool,
    /// Do not wait until the agent is ready
    #[arg(long)]
    pub no_wait: bool,
    /// Print the session as JSON
    #[arg(long)]
    pub json: bool,
    /// Attach to it at once
    #[arg(short = 'a', long, conflicts_with = "json")]
    pub attach: bool,
    /// Size of the terminal while nobody is attached (default: 80x24)
    #[arg(long, value_name = "COLSxROWS", value_parser = size, requires = "command")]
    pub size: Option<(u16, u16)>,
    /// Run this program in a terminal instead of an agent
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["resume", "model",
        "tap", "permission_mode", "system_prompt", "append_system_prompt", "agent", "max_turns",
        "agent_args"])]
    pub command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub struct Attach {
    /// The session
    pub name: String,
    /// Only look: what is typed is not for the program
    #[arg(short, long)]
    pub read_only: bool,
    /// Detach the others
    #[arg(short = 'x', long)]
    pub exclusive: bool,
    /// Also when work that the agent does in the background ends by it
    #[arg(long)]
    pub anyway: bool,
    /// The keys that detach, as C-\ or C-b d (default: C-\)
    #[arg(long, value_name = "KEYS")]
    pub detach_keys: Option<String>,
}

#[derive(Args, Debug)]
pub struct Capture {
    /// The session
    pub name: String,
    /// With colours and the like
    #[arg(long)]
    pub ansi: bool,
    /// With so many lines of history in front
    #[arg(long, value_name = "N", default_value = "0")]
    pub history: u32,
}

#[derive(Args, Debug)]
pub struct Type {
    /// The session
    pub name: String,
    /// The text; without words it is read from stdin. No Enter is pressed behind it
    #[arg(trailing_var_arg = true, value_name = "TEXT")]
    pub words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub struct Keys {
    /// The session
    pub name: String,
    /// The keys: Enter, Escape, Up, F1, C-c, M-x, or a character
    #[arg(required = true, trailing_var_arg = true, value_name = "KEY")]
    pub keys: Vec<String>,
}

/// What is printed of a turn.
#[derive(Args, Debug, Clone, Copy)]
pub struct OutputOptions {
    /// What to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
    /// All texts of the turn as they come, or the answer once
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub stream: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The answer and nothing else
    Text,
    /// One object about the turn
    Json,
    /// An event a line
    StreamJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnQuestion {
    /// It waits for an answer: clsess questions, approve, deny, answer
    Wait,
    /// The agent is told that nobody is there, and goes on
    Deny,
    /// The turn ends with exit code 6
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A warm child, which nobody sees
    Stream,
    /// The agent's own interface
    Tui,
    /// A child for each turn, which takes the conversation up
    Oneshot,
}

/// How an agent's traffic with its provider is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tap {
    /// Not at all
    Off,
    /// By an HTTPS proxy of the broker's, which opens the connections to the provider
    Proxy,
    /// By another base URL, for gateways and tests
    BaseUrl,
}

impl From<Tap> for clsess_proto::Tap {
    fn from(tap: Tap) -> Self {
        match tap {
            Tap::Off => Self::Off,
            Tap::Proxy => Self::Proxy,
            Tap::BaseUrl => Self::BaseUrl,
        }
    }
}

impl From<Driver> for clsess_proto::Driver {
    fn from(driver: Driver) -> Self {
        match driver {
            Driver::Stream => Self::Stream,
            Driver::Tui => Self::Tui,
            Driver::Oneshot => Self::Oneshot,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnBusy {
    /// Wait behind those that wait already
    Queue,
    /// End with exit code 5
    Fail,
    /// Interrupt the running turn, and be the next
    Interrupt,
    /// Put the prompt into the running turn
    Steer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// End with exit code 7
    Fail,
    /// Wait until the limit resets
    Wait,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnCrash {
    /// End with exit code 9: to run it again would repeat what the tool has done
    Report,
    /// Run it again all the same
    Rerun,
}

impl From<OnQuestion> for clsess_proto::OnQuestion {
    fn from(policy: OnQuestion) -> Self {
        match policy {
            OnQuestion::Wait => Self::Wait,
            OnQuestion::Deny => Self::Deny,
            OnQuestion::Fail => Self::Fail,
        }
    }
}

impl From<OnBusy> for clsess_proto::OnBusy {
    fn from(policy: OnBusy) -> Self {
        match policy {
            OnBusy::Queue => Self::Queue,
            OnBusy::Fail => Self::Fail,
            OnBusy::Interrupt => Self::Interrupt,
            OnBusy::Steer => Self::Steer,
        }
    }
}

impl From<OnLimit> for clsess_proto::OnLimit {
    fn from(policy: OnLimit) -> Self {
        match policy {
            OnLimit::Fail => Self::Fail,
            OnLimit::Wait => Self::Wait,
        }
    }
}

impl From<OnCrash> for clsess_proto::OnCrash {
    fn from(policy: OnCrash) -> Self {
        match policy {
            OnCrash::Report => Self::Report,
            OnCrash::Rerun => Self::Rerun,
        }
    }
}

#[derive(Args, Debug)]
pub struct Send {
    /// Make the session when it is missing
    #[arg(short = 'A')]
    pub create: bool,
    #[command(flatten)]
    pub output: OutputOptions,
    /// Interrupt the turn after this time (default: 30m; 0: never)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Give the turn up after this time, the queue and questions included (0: never)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub deadline: Option<Duration>,
    /// What to do when the session is busy (default: queue)
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_busy: Option<OnBusy>,
    /// What becomes of the agent's questions (default: wait where stderr is a terminal, else deny)
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_question: Option<OnQuestion>,
    /// What to do when the provider limits the rate or is overloaded (default: fail)
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_limit: Option<OnLimit>,
    /// What to do when the agent dies after a tool has started (default: report). A turn in which
    /// none had is finished by the next agent
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_crash: Option<OnCrash>,
    /// Never run the prompt of this key twice: the first one's answer is given again
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Print the turn's id as soon as the prompt is safely queued
    #[arg(long)]
    pub no_wait: bool,
    /// Read the prompt from a file (`-`: stdin); with words it follows them after a blank line
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The session
    pub name: String,
    /// The prompt. Without words it is read from stdin; `-` as the last word stands for stdin
    #[arg(trailing_var_arg = true, value_name = "PROMPT")]
    pub words: Vec<OsString>,
}

#[derive(Args, Debug)]
pub struct Pipe {
    /// The session
    pub name: String,
    /// Make the session when it is missing, as the options of `clsess new` say; start its agent when
    /// it is asleep
    #[arg(short = 'A')]
    pub create: bool,
    /// Interrupt a turn after this time (default: `turn_timeout` of the config, else 120s; 0: never)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub agent: AgentOptions,
    /// Take up this conversation of the agent
    #[arg(long, value_name = "ID")]
    pub resume: Option<uuid::Uuid>,
    /// Vouch for the directory: its own hooks and settings will run
    #[arg(long)]
    pub trust: bool,
}

#[derive(Args, Debug)]
pub struct ResultOf {
    #[command(flatten)]
    pub output: OutputOptions,
    /// The session: its name, or the id of one that was killed
    pub name: String,
    /// The turn: its id, a unique beginning of it, or -1 (the last), -2 ...
    #[arg(default_value = "-1", allow_negative_numbers = true)]
    pub turn: String,
}

#[derive(Args, Debug)]
pub struct Ls {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print this for each session, with #{name}, #{id}, #{state}, #{since}, #{driver}, #{queue},
    /// #{turns}, #{attached}, #{idle_s} and #{cwd} filled in
    #[arg(short = 'F', long, value_name = "FORMAT", conflicts_with = "json")]
    pub format: Option<String>,
}

#[derive(Args, Debug)]
pub struct Show {
    /// The session
    pub name: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Wait {
    /// The sessions
    #[arg(required = true)]
    pub names: Vec<String>,
    /// What to wait for
    #[arg(long = "for", value_enum, value_name = "WHAT", default_value = "idle")]
    pub until: Until,
    /// Until it is so of any of them, whose name is printed
    #[arg(long)]
    pub any: bool,
    /// End with exit code 124 after this time (0: never)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Print the sessions as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// Nothing runs and nothing is queued; a session that is asleep counts, and any program
    Idle,
    /// The agent asks something
    Question,
    /// There is no agent, or the program has exited
    Exit,
    /// The state, the queue or the number of turns is another one than now
    Change,
}

#[derive(Args, Debug)]
pub struct Log {
    /// The session: its name, or the id of one that was killed
    pub name: String,
    /// Only this turn: its id, a unique beginning of it, or -1 (the last), -2 ...
    #[arg(allow_negative_numbers = true, conflicts_with_all = ["lines", "follow"])]
    pub turn: Option<String>,
    /// The last turns only
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u64>,
    /// Go on with each turn as it ends, until the session is gone
    #[arg(short, long)]
    pub follow: bool,
    /// Print a line of JSON for each turn
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Events {
    /// The sessions (default: all, those of later too)
    pub names: Vec<String>,
    /// Begin behind the event of this number, as far as that is kept (0: with all that is kept);
    /// a `gap` says what is not
    #[arg(long, value_name = "SEQ", conflicts_with = "schema")]
    pub since: Option<u64>,
    /// As a `text/event-stream` (server-sent events), for browsers
    #[arg(long, conflicts_with = "schema")]
    pub sse: bool,
    /// Print the JSON Schema of the lines instead
    #[arg(long, conflicts_with = "names")]
    pub schema: bool,
}

#[derive(Args, Debug)]
pub struct Queue {
    /// The session
    pub name: String,
    #[command(subcommand)]
    pub command: Option<QueueCommand>,
    /// Print JSON; stands before the command
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the turns that wait (the default)
    #[command(visible_alias = "list")]
    Ls,
    /// Take a turn back that waits
    Rm {
        /// Its id, a unique beginning of it, or -1 (the last one that `clsess queue` lists), -2 ...
        #[arg(allow_negative_numbers = true)]
        turn: String,
    },
    /// Take back all turns that wait
    Clear,
    /// Run the turns that are held back: by a failed start, a limit, or the machine's death
    Run,
}

#[derive(Args, Debug)]
pub struct Interrupt {
    /// The session
    pub name: String,
}

#[derive(Args, Debug)]
pub struct Questions {
    /// The session (default: all)
    pub name: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Approve {
    /// The session
    pub name: String,
    /// The question: its id or a unique beginning of it (default: the only one)
    pub id: Option<String>,
    /// Keep the rules that the agent suggests, so that it does not ask again
    #[arg(long)]
    pub always: bool,
    /// Print the question as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Deny {
    /// The session
    pub name: String,
    /// The question: its id or a unique beginning of it (default: the only one)
    pub id: Option<String>,
    /// What the agent is told
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Print the question as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Answer {
    /// The session
    pub name: String,
    /// The answer: an option's label or number, or any other text; where several questions are
    /// asked at once, one for each. Before it, where several are open, the question's id or 8
    /// characters of it or more
    #[arg(required = true, value_name = "[ID] TEXT", trailing_var_arg = true)]
    pub texts: Vec<String>,
    /// Print the question as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Rename {
    /// The session
    pub old: String,
    /// Its new name
    pub new: String,
}

#[derive(Args, Debug)]
pub struct Kill {
    /// The sessions
    #[arg(required_unless_present = "all")]
    pub names: Vec<String>,
    /// Every session
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// How long an agent or program may take to end by itself
    #[arg(long, value_name = "DUR", value_parser = duration, default_value = "10s")]
    pub grace: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Restart {
    /// The session
    pub name: String,
    /// Begin a new conversation
    #[arg(long)]
    pub fresh: bool,
    /// Use the environment of this command from now on
    #[arg(long)]
    pub update_env: bool,
    /// How long the agent may take to be ready (default: 60s)
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub start_timeout: Option<Duration>,
    /// Print the session as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Broker {
    #[command(subcommand)]
    pub command: BrokerCommand,
}

#[derive(Debug, Subcommand)]
pub enum BrokerCommand {
    /// Run the broker in the foreground
    Run,
    /// Start the broker in the background; when this returns 0 it is listening
    Start {
        /// In place of one that is gone: not if it dies again and again
        #[arg(long, hide = true)]
        again: bool,
        /// By a holder: not in place of one that has ended as it was told to
        #[arg(long, hide = true)]
        held: bool,
    },
    /// Stop the broker and its agents; returns when everything is gone
    Stop {
        /// How long agents and programs may take to end by themselves
        #[arg(long, value_name = "DUR", value_parser = duration, default_value = "10s")]
        grace: Duration,
    },
    /// Replace the running broker by this program; turns and waiting commands go on
    Upgrade {
        /// Also by the same program, or an older version
        #[arg(long)]
        force: bool,
    },
    /// Say whether a broker runs, and where
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the broker's log
    Logs {
        /// The last lines only
        #[arg(short = 'n', long, value_name = "N")]
        lines: Option<usize>,
    },
}

#[derive(Args, Debug)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Completions {
    /// The shell that is to load them
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args, Debug)]
pub struct Version {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `90s`, `5m`, `1h 30m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text)
        .map_err(|e| format!("{e}; write it like 90s, 5m or 1h30m, a bare number is seconds"))
}

/// `80x24`: columns and rows; gives rows and columns.
fn size(text: &str) -> Result<(u16, u16), String> {
    let read = |text: &str| text.parse::<u16>().ok().filter(|n| (1..=1000).contains(n));
    let size = text.split_once('x');
    let size = size.and_then(|(cols, rows)| Some((read(rows)?, read(cols)?)));
    size.ok_or_else(|| "write it like 80x24: columns and rows, 1 to 1000 of each".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
}
