//! A scripted stand-in for `claude -p --input-format=stream-json --output-format=stream-json …`,
//! for the faults that the real client cannot be made to show.
//!
//! # Starting it
//!
//! `fake-claude --script FILE ARG...`, or `FAKE_CLAUDE_SCRIPT=FILE fake-claude ARG...`, where the
//! `ARG`s are those of the client. `--version` prints the version; `--session-id`, `--resume` and
//! `--permission-mode` mean what they mean to the client; all others mean nothing.
//!
//! Without a rule it is the well-behaved client: its lines are those of the recordings in
//! `crates/claude/fixtures`, under other names, in the recorded order. It answers `initialize`,
//! answers a prompt by `you said: ` and the prompt, ends the running turn on `interrupt`, absorbs
//! a uuid that it has run before (in this process, or in the one whose conversation it resumes:
//! it keeps a transcript under `HOME` as the client does), and goes on with an interrupted turn
//! where `CLAUDE_CODE_RESUME_INTERRUPTED_TURN` asks for it. At the end of its input it finishes
//! what runs and exits with 0, or with 1 after a turn that failed; a bad line is exit 1; SIGTERM
//! is exit 143. A mistake in the script is exit 70. What it does otherwise than the client:
//! prompts that come while a turn runs get turns of their own, one after the other.
//!
//! # Beside the script
//!
//! | file | what |
//! |---|---|
//! | `input.ndjson` | every line that was read, byte for byte |
//! | `events.ndjson` | what happened: `{"event","pid",...}`, written before what follows it |
//! | `hold.NAME` | a FIFO: a byte lets the process that stands there go on |
//! | `taken.N` | the rule number N, a `once` rule, has been used |
//!
//! Events are `started` (`args`), `rule` (`rule`: its number), `turn` (`uuid`, `prompt`: its first
//! 200 characters, `again`), `turn_done`, `absorbed`, `hold` (`name`), `mark` (`name`), `asked`
//! (`request_id`), `answer` (`response`), `interrupt` (`ignored`), `signal` (`name`, `ignored`),
//! `eof`, `hang`, `closed`, `stopped_reading`, `grandchild` (`child`: its process).
//!
//! # The script
//!
//! `{"version", "shape": SHAPE, "ignore": [DEAF, ...], "rules": [RULE, ...]}`, all optional. It is
//! read anew for each turn, so rules can be added while the process runs.
//!
//! RULE is `{"on", "match", "once", "steps": [STEP, ...]}`. `on` is `prompt` (the default),
//! `start` (before anything is read), `initialize` (instead of its answer), `interrupt` (instead
//! of the answer and the turn's end; the turn goes on) or `eof` (instead of the exit). The newest
//! rule for the occasion whose `match` occurs in the prompt takes it; a `once` rule takes one,
//! also when a later process reads the same script. **After the steps of a prompt comes what is
//! missing of the true turn**: its beginning, an answer when nothing was said, its result, its
//! end, `idle`. So `{"steps": []}` is the default, and a fault is put where it belongs.
//!
//! Parts of a true turn:
//!
//! | step | what is printed |
//! |---|---|
//! | `"begin"` | `running`, `queued`, `started`, init, `requesting`; all others begin the turn too |
//! | `"init"` | `system/init` |
//! | `{"say": TEXT}`, `{"say": {"text","times","deltas","delta_bytes","whole"}}` | a message with one text block, by default in one delta; `whole` without any. It takes in an open block |
//! | `{"delta": TEXT}` | a piece of a text, in a block that stays open |
//! | `{"said": TEXT}` | a text block; the message stays open |
//! | `{"thinking": TEXT}` | a thinking block; the message stays open |
//! | `{"tool": {"name","input","result","is_error"}}` | a tool call, in the open message if there is one, and its result |
//! | `{"ask": {"tool","input","suggestions","description","id","bare","no_wait"}}` | a tool call and `can_use_tool`; waits for the answer and goes on as it says. `bare` is the request alone |
//! | `{"await": [ID, ...]}` | waits for the answers of those that were `no_wait` |
//! | `{"take_back": ID}` | `control_cancel_request` |
//! | `{"state": STATE}` | `session_state_changed` |
//! | `{"lifecycle": STATE}`, `{"lifecycle": {"state","uuid"}}` | `command_lifecycle` |
//! | `{"result": {"uuid","set","remove"}}` | `result`, of another uuid (`""`: none), with other fields |
//! | `"end"` | what is missing of the turn; steps after it come after the turn |
//! | `{"error": NAME}`, `{"error": {"kind","text","retries"}}` | a turn that failed: `rate_limited`, `overloaded`, `unauthorized`, `not_logged_in`, `server`; with its `api_retry` lines |
//! | `"interrupted"` | the end of an interrupted turn |
//! | `{"unasked": {"text","origin","alone"}}` | a whole turn that nobody asked for, in the middle of what there is; `alone`: with `running` and `idle` |
//! | `{"background": N}` | `background_tasks_changed` with N tasks |
//! | `{"rate_limit": INFO}` | `rate_limit_event`; INFO as the client has it: `status`, `resetsAt`, `rateLimitType` |
//! | `"ready"`, `{"refuse": TEXT}` | the good and a bad answer to `initialize` |
//!
//! Bytes:
//!
//! | step | what is printed |
//! |---|---|
//! | `{"raw": LINE}`, `{"raw": [LINE, ...]}` | lines, as text (kept as it is) or as objects; `$UUID` and `$SESSION` are filled in |
//! | `{"replay": {"file","uuid","from","to"}}` | lines of a recording; its `uuid` and session become this turn's |
//! | `{"write": TEXT}`, `{"hex": DIGITS}`, `{"fill": {"text","times"}}` | bytes without a line's end |
//! | `{"stderr": TEXT}`, `{"stderr": {"text","times"}}` | bytes on stderr |
//! | `{"shape": SHAPE}` | nothing; lines look like that from now on |
//!
//! SHAPE is `{"order","seed","spaces","escape","ascii","crlf","between","chunks"}`: the order of keys
//! at every depth (`natural`, `sorted`, `reversed`, `shuffled` by `seed`), white space between all
//! tokens, every character (or every one that is not ASCII) as `\uXXXX`, CR LF, a text after each line, and the sizes of the single
//! writes, over and over (`[1]` is byte by byte).
//!
//! Time, order and the process:
//!
//! | step | what happens |
//! |---|---|
//! | `{"hold": NAME}` | stands still until it is released; an interrupt ends the turn |
//! | `{"sleep": MS}` | stands still so long |
//! | `"hang"` | says nothing more, for ever; ends with its input only |
//! | `"no_more"` | what is missing of the turn does not follow; the next prompt is answered |
//! | `{"repeat": {"times","steps"}}` | steps over and over |
//! | `{"mark": NAME}` | an event of that name |
//! | `{"ignore": [DEAF, ...]}` | from now on these are not heard: `interrupt`, `eof`, `sigterm` |
//! | `{"crash": {"line","part","exit","signal"}}` | ends at that line, 1 being the next: `before` it, in its `middle`, `after` it; by SIGKILL if nothing else is said |
//! | `{"exit": CODE}`, `{"signal": NAME}` | ends now |
//! | `{"close": "stdin"}`, `"stdout"`, `"stderr"` | closes the pipe and lives on |
//! | `"stop_reading"` | reads nothing more: the pipe fills |
//! | `{"grandchild": {"setsid","pipes","stubborn"}}` | starts a `sleep` that outlives it: in a session of its own, with its stdout and stderr, deaf to SIGTERM |

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

use crate::lines::Lines;
use crate::log::Log;
use crate::player::{Parts, Player, fail};
use crate::script::Script;
use crate::transcript::Transcript;

mod lines;
mod log;
mod out;
mod play;
mod player;
mod reader;
mod script;
mod shape;
mod transcript;
mod turn;

fn main() {
    // Before any thread: one of them waits for these, and no other may get them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    if let Err(error) = signals.thread_block() {
        fail(&format!("cannot block signals: {error}"));
    }
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let named = args.first().is_some_and(|arg| arg == "--script") && args.len() > 1;
    let path = if named {
        args.drain(..2).next_back()
    } else {
        std::env::var_os("FAKE_CLAUDE_SCRIPT")
    };
    let Some(path) = path.map(PathBuf::from) else {
        fail("no script: --script FILE, or FAKE_CLAUDE_SCRIPT");
    };
    let script = Script::read(&path).unwrap_or_else(|error| fail(&error));
    if args.iter().any(|arg| arg == "--version") {
        println!("{} (Claude Code)", script.version);
        return;
    }
    live(path, &script, &args);
}

fn live(path: PathBuf, script: &Script, args: &[OsString]) -> ! {
    let dir = path.parent().unwrap_or(Path::new("."));
    let log = Log::open(dir).unwrap_or_else(|error| fail(&format!("the log: {error}")));
    let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
    log.tell("started", json!({"args": args}));
    let value = |name: &str| {
        let after = format!("{name}=");
        let joined = args.iter().find_map(|arg| arg.strip_prefix(&after));
        let next = || {
            let at = args.iter().position(|arg| arg == name)?;
            args.get(at + 1).map(AsRef::as_ref)
        };
        joined.or_else(next).map(str::to_owned)
    };
    let mode = value("--permission-mode").filter(|mode| mode != "manual");
    let resumed = value("--resume");
    let new = format!("00000000-fa6e-4000-8000-{:012x}", std::process::id());
    let session = value("--session-id").or_else(|| resumed.clone());
    let session = session.unwrap_or(new);
    let transcript = Transcript::of(&session);
    let mut lines = Lines::new(
        session,
        script.version.clone(),
        mode.unwrap_or_else(|| "default".to_owned()),
    );
    if resumed.is_some() && !transcript.exists() {
        println!("{}", lines.unknown_session());
        std::process::exit(1);
    }
    if resumed.is_none() && transcript.exists() {
        eprintln!("Error: Session ID {} is already in use.", lines.session);
        std::process::exit(1);
    }
    let again = std::env::var("CLAUDE_CODE_RESUME_INTERRUPTED_TURN").is_ok_and(|it| it == "1");
    let (sender, inbox) = mpsc::channel();
    let parts = Parts {
        script: path,
        log: Arc::new(log),
        lines,
        transcript,
        sender,
        inbox,
    };
    Player::new(parts, script).run(resumed.is_some() && again)
}
