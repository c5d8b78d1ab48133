//! The script: rules, and the steps they are made of. What each means is in the crate's docs.

use std::fs::OpenOptions;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The script's file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What `--version`, `initialize` and `init` say.
    #[serde(default = "recorded_version")]
    pub version: String,
    /// How lines look, from the first on.
    #[serde(default)]
    pub shape: Shape,
    /// What is not heard, from the beginning.
    #[serde(default)]
    pub ignore: Vec<Deaf>,
    /// The newest that matches takes it.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

fn recorded_version() -> String {
    "2.1.328".to_owned()
}

/// What is done instead of the true thing.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// On which occasion.
    #[serde(default)]
    pub on: Occasion,
    /// The prompt must contain this; absent: every prompt.
    #[serde(rename = "match")]
    pub pattern: Option<String>,
    /// Once only, over all processes that use this script.
    #[serde(default)]
    pub once: bool,
    /// What is done.
    pub steps: Vec<Step>,
}

/// When a rule is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// Before anything is read.
    Start,
    /// Instead of the answer to `initialize`.
    Initialize,
    /// A user line.
    #[default]
    Prompt,
    /// Instead of ending the turn and answering `interrupt`.
    Interrupt,
    /// Instead of exiting when the input ends.
    Eof,
}

/// What can be ignored.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Deaf {
    /// `interrupt` is neither answered nor obeyed.
    Interrupt,
    /// The end of the input changes nothing.
    Eof,
    /// Nor does SIGTERM.
    Sigterm,
}

/// One thing to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    // ---- parts of a true turn ----
    /// From `running` to `requesting`.
    Begin,
    /// `system/init`.
    Init,
    /// A message of one text block, or the rest of the one that `delta` began.
    Say(Words),
    /// A piece of a text, in a block that stays open.
    Delta(String),
    /// A text block in a message that stays open.
    Said(String),
    /// A message of one thinking block.
    Thinking(String),
    /// A message that calls a tool, and the tool's result.
    Tool(Tool),
    /// A question.
    Ask(Box<Ask>),
    /// Waits for the answers to questions that did not wait.
    Await(Vec<String>),
    /// Takes a question back.
    TakeBack(String),
    /// `session_state_changed`.
    State(String),
    /// `command_lifecycle`.
    Lifecycle(Lifecycle),
    /// `result`.
    Result(Changes),
    /// What is missing of the turn.
    End,
    /// The end of a turn that failed at the API.
    Error(Failing),
    /// The end of an interrupted turn.
    Interrupted,
    /// A turn that nobody asked for.
    Unasked(Unasked),
    /// `background_tasks_changed`, with so many.
    Background(usize),
    /// `rate_limit_event`, with this `rate_limit_info`.
    RateLimit(Value),
    /// The good answer to `initialize`.
    Ready,
    /// A bad one.
    Refuse(String),

    // ---- bytes ----
    /// Lines as they are.
    Raw(Raw),
    /// Lines of a recording.
    Replay(Replay),
    /// Text without a line's end.
    Write(String),
    /// Bytes in hexadecimal.
    Hex(String),
    /// A text many times over, without a line's end.
    Fill(Fill),
    /// The same on stderr.
    Stderr(Fill),
    /// How lines look from now on.
    Shape(Shape),

    // ---- time and order ----
    /// Stands still until it is released.
    Hold(String),
    /// Stands still so many milliseconds.
    Sleep(u64),
    /// Says nothing more, for ever.
    Hang,
    /// The rest of the true turn does not follow.
    NoMore,
    /// Steps many times over.
    Repeat(Repeat),
    /// Writes a `mark` into the log of events.
    Mark(String),

    // ---- the process ----
    /// What is not heard from now on.
    Ignore(Vec<Deaf>),
    /// Ends at a line that is to come.
    Crash(Crash),
    /// Ends with this code.
    Exit(i32),
    /// Kills itself by this signal.
    Signal(String),
    /// Closes a pipe and lives on.
    Close(Pipe),
    /// Reads nothing more.
    StopReading,
    /// Starts a process that outlives this one.
    Grandchild(Grandchild),
}

/// A text, or a text with what is special about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// Only the text.
    Text(String),
    /// All of it.
    Full(FullWords),
}

/// See [`Step::Say`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullWords {
    /// The text; `times` over.
    #[serde(default)]
    pub text: String,
    /// By default 1.
    #[serde(default = "one")]
    pub times: usize,
    /// The deltas; by default the text in pieces of `delta_bytes`.
    pub deltas: Option<Vec<String>>,
    /// By default all at once.
    pub delta_bytes: Option<usize>,
    /// Without deltas: a client that does not stream.
    #[serde(default)]
    pub whole: bool,
}

/// A tool call that needs no permission.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `Bash`, ….
    pub name: String,
    /// Its input.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// What came of it; without one the tool has not ended.
    pub result: Option<String>,
    /// Whether that is an error.
    #[serde(default)]
    pub is_error: bool,
}

/// A question.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// `Write`, `AskUserQuestion`, `ExitPlanMode`, ….
    pub tool: String,
    /// Its input.
    #[serde(default)]
    pub input: Map<String, Value>,
    /// `permission_suggestions`; by default none.
    pub suggestions: Option<Value>,
    /// `description`.
    pub description: Option<String>,
    /// The request's id; by default a new one.
    pub id: Option<String>,
    /// Only the request: no tool call, no state, no tool result.
    #[serde(default)]
    pub bare: bool,
    /// Goes on at once; see [`Step::Await`].
    #[serde(default)]
    pub no_wait: bool,
}

/// A state of a user line, of this turn's or of another.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Lifecycle {
    /// Of this turn's.
    Ours(String),
    /// Of another.
    Of {
        /// See the name.
        state: String,
        /// See the name.
        uuid: String,
    },
}

/// Changes to a true line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// Another uuid for the user line; the empty one for none at all.
    pub uuid: Option<String>,
    /// Fields to set.
    pub set: Map<String, Value>,
    /// Fields to take away.
    pub remove: Vec<String>,
}

/// An error of the API: a name, or a name and more.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Failing {
    /// See [`FullFailing::kind`].
    Kind(ErrorName),
    /// All of it.
    Full(FullFailing),
}

/// See [`Step::Error`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullFailing {
    /// Which.
    pub kind: ErrorName,
    /// In these words instead of the recorded ones.
    pub text: Option<String>,
    /// `api_retry` lines before it; by default none.
    #[serde(default)]
    pub retries: bool,
}

/// The recorded errors.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ErrorName {
    /// 429.
    RateLimited,
    /// 529.
    Overloaded,
    /// 401.
    Unauthorized,
    /// There is no login.
    NotLoggedIn,
    /// 500.
    Server,
}

/// A turn that nobody asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unasked {
    /// What is said.
    pub text: String,
    /// `origin.kind`; the empty one for no origin.
    #[serde(default = "notification")]
    pub origin: String,
    /// `running` before it and `idle` after it, as between two turns.
    #[serde(default)]
    pub alone: bool,
}

fn notification() -> String {
    "task-notification".to_owned()
}

/// Lines given literally.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Raw {
    /// One, as text.
    Text(String),
    /// Several, texts or objects.
    Lines(Vec<Value>),
    /// One, as an object.
    Object(Map<String, Value>),
}

/// A recording, or a part of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The `.ndjson` file.
    pub file: String,
    /// The uuid in it that stands for this turn's.
    pub uuid: Option<String>,
    /// The first line, counted from 0.
    #[serde(default)]
    pub from: usize,
    /// The line after the last.
    pub to: Option<usize>,
}

/// A text, or one many times over.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Fill {
    /// Once.
    Text(String),
    /// More.
    Times {
        /// See the name.
        text: String,
        /// See the name.
        times: usize,
    },
}

/// Steps many times over.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How often.
    pub times: usize,
    /// What.
    pub steps: Vec<Step>,
}

/// How lines look.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shape {
    /// The order of keys, at every depth.
    pub order: Order,
    /// For `shuffled`.
    pub seed: u64,
    /// White space between all tokens.
    pub spaces: bool,
    /// Every character of every string as `\uXXXX`.
    pub escape: bool,
    /// Those that are not ASCII.
    pub ascii: bool,
    /// Lines end with CR LF.
    pub crlf: bool,
    /// Written after each line.
    pub between: String,
    /// The sizes of the single writes, over and over; by default a line at once.
    pub chunks: Vec<usize>,
}

/// An order of keys.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// `type` and `subtype` first.
    #[default]
    Natural,
    /// By name.
    Sorted,
    /// By name, backwards.
    Reversed,
    /// Another for each line.
    Shuffled,
}

/// An end at a certain line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crash {
    /// 1 is the next line.
    pub line: usize,
    /// How much of that line is written.
    #[serde(default)]
    pub part: Part,
    /// Exit with this code.
    pub exit: Option<i32>,
    /// Or by this signal; KILL by default.
    pub signal: Option<String>,
}

/// How much of a line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Nothing.
    #[default]
    Before,
    /// Half.
    Middle,
    /// All, its end too.
    After,
}

/// A pipe of the process.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Pipe {
    /// What it reads.
    Stdin,
    /// What it says.
    Stdout,
    /// What it says to people.
    Stderr,
}

/// A process that outlives its parent.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grandchild {
    /// In a session of its own, as the client's Bash tool does it.
    pub setsid: bool,
    /// It has this process's stdout and stderr.
    pub pipes: bool,
    /// SIGTERM does not end it.
    pub stubborn: bool,
}

fn one() -> usize {
    1
}

impl Script {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The newest rule for this, and its number. A `once` rule is taken by making a file beside
    /// the script, which works for one process only.
    pub fn rule(&self, on: Occasion, prompt: &str, dir: &Path) -> Option<(usize, &Rule)> {
        let numbered = self.rules.iter().enumerate().rev();
        numbered.into_iter().find(|(number, rule)| {
            let matches = |pattern: &String| prompt.contains(pattern.as_str());
            rule.on == on
                && rule.pattern.as_ref().is_none_or(matches)
                && (!rule.once || take(&dir.join(format!("taken.{number}"))))
        })
    }
}

fn take(file: &Path) -> bool {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .is_ok()
}

impl Words {
    /// The text and its deltas.
    pub fn pieces(&self) -> (String, Vec<String>) {
        let (text, bytes) = match self {
            Self::Text(text) => (text.clone(), None),
            Self::Full(words) => match &words.deltas {
                Some(deltas) => return (deltas.concat(), deltas.clone()),
                None if words.whole => return (words.text.repeat(words.times), Vec::new()),
                None => (words.text.repeat(words.times), words.delta_bytes),
            },
        };
        let deltas = pieces(&text, bytes.unwrap_or(text.len()));
        (text, deltas)
    }
}

/// The text in pieces of at most `size` bytes (one character, if that is larger).
fn pieces(text: &str, size: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let cut = rest.floor_char_boundary(size.max(first.len_utf8()));
        let (piece, tail) = rest.split_at(cut);
        pieces.push(piece.to_owned());
        rest = tail;
    }
    pieces
}

impl Fill {
    /// All of it.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Times { text, times } => text.repeat(*times).into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn script(rules: &Value) -> Script {
        serde_json::from_value(json!({"rules": rules})).unwrap()
    }

    #[test]
    fn the_newest_rule_that_matches_takes_it_and_a_once_rule_once() {
        let dir = tempfile::tempdir().unwrap();
        let script = script(&json!([
            {"steps": []},
            {"match": "b", "steps": ["hang"]},
            {"match": "ab", "once": true, "steps": ["end"]},
            {"on": "eof", "steps": []},
        ]));
        let number = |prompt| {
            let found = script.rule(Occasion::Prompt, prompt, dir.path());
            found.map(|(number, _)| number)
        };
        assert_eq!(number("xabx"), Some(2));
        assert_eq!(number("xabx"), Some(1));
        assert_eq!(number("c"), Some(0));
        assert!(script.rule(Occasion::Start, "", dir.path()).is_none());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            json!([{"steps": ["wibble"]}]),
            json!([{"steps": [{"say": {"txt": "x"}}]}]),
            json!([{"steps": [], "twice": true}]),
            json!([{"on": "noon", "steps": []}]),
        ] {
            let read = serde_json::from_value::<Script>(json!({"rules": bad}));
            assert!(read.is_err(), "{bad}");
        }
    }

    #[test]
    fn pieces_keep_characters_whole() {
        assert_eq!(pieces("aé€", 1), ["a", "é", "€"]);
        assert_eq!(pieces("abcde", 2), ["ab", "cd", "e"]);
        assert_eq!(pieces("", 2), [""; 0]);
    }
}
