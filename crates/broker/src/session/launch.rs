//! From a session as it is kept to a running agent.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clsess_claude::command::{self, Conversation, StreamSettings, TuiSettings};
use clsess_claude::record::{self, Fate, Home};
use clsess_claude::tui;
use clsess_claude::turn::TurnEnd;
use clsess_claude::version::{MIN_EXACT, MIN_INTERFACE, MIN_SHUTS, Version};
use clsess_holder::protocol::{PIPES, Start, Successor, TERMINAL, TERMINAL_OUTPUT, Window};
use clsess_proto::{Driver, ErrorCode, Failure, Tap};
use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use uuid::Uuid;

use super::conversation::{self, Refused, Sound};
use super::program::with_turns;
use crate::broker::Shared;
use crate::clients;
use crate::codex;
use crate::disk;
use crate::driver::body::Body;
use crate::driver::codex::CodexBody;
use crate::driver::marks::MarksBody;
use crate::driver::orphans::{self, Process};
use crate::driver::stream::StreamBody;
use crate::driver::tui::TuiBody;
use crate::driver::{HOLDER, StartError, said, stream};
use crate::lock::boot_id;
use crate::store::{self, Env, SessionRecord};
use crate::taps::{self, Tapped};

/// How long `claude --version` may take. Measured: 20 ms.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of its output that are read.
const VERSION_BYTES: u64 = 4096;

/// The permission mode when nothing is said: the same in every body.
pub(super) const DEFAULT_MODE: &str = "manual";

/// Bytes of a transcript's end in which the permission mode is looked for. What the client writes at its
/// end stands behind all else.
const MAX_MODE_BEHIND: u64 = 64 * 1024;

/// The file in a session's directory with the hooks of an interface.
const HOOKS: &str = "hooks.json";
/// Those with its system prompts.
const SYSTEM: &str = "system-prompt";
const APPEND: &str = "append-system-prompt";
/// The size of a terminal that nobody has looked at yet.
const WINDOW: Window = Window {
    rows: 24,
    cols: 80,
    width: 0,
    height: 0,
};
/// That of a terminal that only takes output.
const WIDE: Window = Window {
    rows: 50,
    cols: 200,
    width: 0,
    height: 0,
};
/// Rows of history of an interface: it has the whole screen, and keeps its own.
pub(super) const HISTORY: usize = 1000;
/// Those of a program with turns.
pub(super) const ROWS: usize = 10_000;

/// What a start needs to know.
pub struct Plan {
    /// What the body is to be.
    pub driver: Driver,
    /// The size that its terminal is to have, if it has one.
    pub window: Option<Window>,
    /// The session.
    pub record: SessionRecord,
    /// Its directory under the state directory.
    pub dir: PathBuf,
    /// The environment; absent: the kept one.
    pub env: Option<Env>,
    /// The broker's socket, for the agent's own use.
    pub socket: PathBuf,
    /// The line of a turn that an agent has left unfinished in the conversation: its turn is cut
    /// off.
    pub cut_off: Option<Uuid>,
    /// The line of the last turn that has ended with an answer in the conversation.
    pub last: Option<Uuid>,
}

/// A started agent that has not said that it is ready.
pub struct Launched {
    /// The agent.
    pub body: Body,
    /// Its version; a program has none.
    pub version: Option<String>,
    /// Its traffic with its provider, where that is read.
    pub tapped: Option<Tapped>,
    /// Where it keeps its things.
    pub home: Option<Home>,
    /// The conversation that it was started on.
    pub conversation: Uuid,
    /// What is said of what that conversation lacks.
    pub announced: Option<String>,
}

/// The versions of agents' programs that were asked for it. A program that was
/// replaced is another one.
#[derive(Debug, Default)]
pub struct Agents {
    versions: Mutex<HashMap<Identity, Version>>,
}

/// Path, directory it is asked in, device, inode, size and time of change of a program.
type Identity = (PathBuf, PathBuf, u64, u64, u64, i64);

/// Starts the agent of a session.
///
/// # Errors
/// By name: what is missing, or why it does not start.
pub async fn launch(shared: &Shared, plan: Plan) -> Result<Launched, Refused> {
    if plan.driver.is_program() {
        return Ok(start_program(shared, plan).await?);
    }
    let Plan {
        driver,
        window,
        record,
        dir,
        env,
        socket,
        cut_off,
        last,
    } = plan;
    let env = match env {
        Some(env) => env,
        None => kept_env(&record, &dir)?,
    };
    let cwd = PathBuf::from(&record.cwd);
    if !cwd.is_dir() {
        let message = format!("{} is gone or no directory", record.cwd);
        return Err(Failure::new(ErrorCode::BadDirectory, message).into());
    }
    let configured = record.settings.agent_path.as_deref();
    let (program, version) = found_agent(&shared.agents, &env, &cwd, configured, driver).await?;
    // First of all: it may still be writing the transcript that is looked for now.
    end_previous(&dir, &shared.successor).await;
    let home = Home::new(&env, &cwd);
    let sound = looked_at(&record, home.as_ref(), last).await?;
    let (conversation, announced) = (sound.id, sound.announced.clone());
    let program_bytes = program.as_os_str().as_bytes().to_vec();
    let cwd = record.cwd.clone().into_bytes();
    let mut env = env;
    let tapped = match record.settings.tap.unwrap_or_default() {
        Tap::Off => None,
        way => Some(shared.taps.open(&dir, way, &mut env).await?),
    };
    let (args, env, stdio, window) = match driver {
        Driver::Stream | Driver::Oneshot => {
            let stays = driver == Driver::Stream;
            let (stdio, window) = match record.settings.pty && !stays {
                true => (TERMINAL_OUTPUT, WIDE),
                false => (PIPES, Window::default()),
            };
            let settings = stream_settings(&record, sound, cut_off)?;
            let env = command::environment(env, &record.name, &socket, stays);
            (command::stream_args(&settings), env, stdio, window)
        }
        // That of a program was started above.
        Driver::Tui | Driver::Marks | Driver::Codex => {
            let settings = tui_settings(shared, &record, &sound, &dir, version >= MIN_SHUTS)?;
            let (editor, door) = editor(shared)?;
            let env = command::tui_environment(env, &record.name, &socket, &editor, &door);
            let window = window.unwrap_or(WINDOW);
            (command::tui_args(&settings), env, TERMINAL, window)
        }
    };
    let start = Start {
        args: std::iter::once(program.as_os_str())
            .chain(args.iter().map(AsRef::as_ref))
            .map(|arg| arg.as_bytes().to_vec())
            .collect(),
        program: program_bytes,
        env: env
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect(),
        cwd,
        stdio,
        umask: record.umask,
        window,
    };
    let successor = &shared.successor;
    let port = tapped.as_ref().map(Tapped::hold).transpose()?;
    let body = match driver {
        Driver::Stream | Driver::Oneshot => {
            let body = StreamBody::start(&dir, start, successor, port).await;
            body.map(|body| Body::Stream(Box::new(body)))
        }
        Driver::Tui | Driver::Marks | Driver::Codex => {
            let body = TuiBody::start(&dir, start, successor, HISTORY, port).await;
            body.map(|body| Body::Tui(Box::new(body)))
        }
    };
    let body = body.map_err(|e| not_started(&program, &e))?;
    remember(&dir, body.agent(), body.holder());
    Ok(Launched {
        body,
        version: Some(version.to_string()),
        tapped,
        home,
        conversation,
        announced,
    })
}

/// Starts the program of a session with turns: what it says of itself are its marks, or Codex's hooks.
async fn start_program(shared: &Shared, plan: Plan) -> Result<Launched, Failure> {
    let window = plan.window.unwrap_or(WINDOW);
    let conversation = plan.record.agent_session_id;
    let dir = plan.dir.clone();
    let (driver, more) = (plan.driver, more_arguments(shared, &plan));
    let body = with_turns(shared, plan, window, &more).await?;
    let body = match driver {
        Driver::Codex => {
            let body = CodexBody::around(body, &dir, window, HISTORY);
            let body = body.map_err(|e| not_started(Path::new("codex"), &e.into()))?;
            Body::Codex(Box::new(body))
        }
        _ => Body::Marks(Box::new(MarksBody::around(body, window, ROWS))),
    };
    remember(&dir, body.agent(), body.holder());
    Ok(Launched {
        body,
        version: None,
        tapped: None,
        home: None,
        conversation,
        announced: None,
    })
}

/// The arguments behind those of the user: Codex's conversation, and its hooks.
fn more_arguments(shared: &Shared, plan: &Plan) -> Vec<String> {
    if plan.driver != Driver::Codex {
        return Vec::new();
    }
    let program = String::from_utf8_lossy(program(shared)).into_owned();
    let [label, state, socket] = door(shared);
    let resumed = plan.record.began.then_some(plan.record.agent_session_id);
    let resumed = resumed
        .into_iter()
        .flat_map(|id| ["resume".to_owned(), id.to_string()]);
    let hooks = codex::hooks::arguments(&[&program, "hook", &label, &state, &socket]);
    resumed.chain(hooks).collect()
}

/// The conversation as it can be taken up, when nobody else has it open.
async fn looked_at(
    record: &SessionRecord,
    home: Option<&Home>,
    last: Option<Uuid>,
) -> Result<Sound, Refused> {
    let id = record.agent_session_id;
    let Some(home) = home.cloned() else {
        if record.began {
            let message = format!("without HOME there is no conversation {id}");
            return Err(Failure::new(ErrorCode::ConversationMissing, message).into());
        }
        return Ok(Sound {
            id,
            path: None,
            announced: None,
        });
    };
    let record = record.clone();
    // A long one takes a while, which others do not wait for.
    let look = move || match clients::other(&home, id, Process::default()) {
        Some(other) => Err(other.failure.into()),
        None => conversation::sound(&record, &home, last),
    };
    let looked = tokio::task::spawn_blocking(look).await;
    looked.unwrap_or_else(|e| Err(Failure::new(ErrorCode::Internal, e.to_string()).into()))
}

/// Where the agent of a session keeps its things, by the kept environment.
pub(super) fn home(record: &SessionRecord, dir: &Path) -> Option<Home> {
    let env = store::load_env(dir).ok()?;
    Home::new(&env, Path::new(&record.cwd))
}

/// The agent's program and its version, one that takes every prompt exactly.
///
/// # Errors
/// By name: it is missing, does not tell its version, or is too old.
pub async fn found_agent(
    agents: &Agents,
    env: &Env,
    cwd: &Path,
    configured: Option<&str>,
    driver: Driver,
) -> Result<(PathBuf, Version), Failure> {
    let program = find(env, configured)?;
    let version = agents.version(&program, env, cwd).await?;
    let needed = needed(driver);
    if version >= needed {
        return Ok((program, version));
    }
    let program = program.display().to_string();
    Err(too_old(&version.to_string(), &program, needed))
}

/// The file in a session's directory that names its agent's process.
const AGENT: &str = "agent";

/// A word in it, where the agent was told to end because nobody needs it.
const SLEEPS: &str = "sleeps";
/// The word where it was not.
const AWAKE: &str = "awake";

/// Writes which processes the session's agent and its holder are, so that a later broker can tell
/// whether they still live.
pub(super) fn remember(dir: &Path, agent: Process, holder: Process) {
    write_agent(dir, agent, holder, AWAKE);
}

/// Writes that the session's agent falls asleep: that it is gone soon is no accident.
pub(super) fn remember_sleep(dir: &Path, body: &Body) {
    write_agent(dir, body.agent(), body.holder(), SLEEPS);
}

fn write_agent(dir: &Path, agent: Process, holder: Process, more: &str) {
    let text = format!(
        "{} {} {} {more} {} {}\n",
        agent.pid,
        agent.start_time,
        boot_id(),
        holder.pid,
        holder.start_time
    );
    if let Err(error) = disk::write_private(&dir.join(AGENT), text.as_bytes()) {
        tracing::warn!(%error, "cannot note the agent's process");
    }
}

/// The agent that was remembered, if it may still live.
#[must_use]
pub fn remembered(dir: &Path) -> Option<Process> {
    remembered_at(dir, 0)
}

/// Kills the holder that was remembered, which does not do what it should: the agent is then to be
/// ended without it. Without its holder it hears nothing more, and ends by itself with its turn.
pub(super) fn kill_holder(dir: &Path) {
    if let Some(holder) = remembered_at(dir, 4) {
        holder.signal(Signal::SIGKILL);
    }
}

/// The process whose two words begin at this one, if it may still live.
fn remembered_at(dir: &Path, word: usize) -> Option<Process> {
    let text = std::fs::read_to_string(dir.join(AGENT)).ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let pid = u32::try_from(number(word)?).ok()?;
    let start_time = number(word + 1)?;
    (*words.get(2)? == boot_id()).then_some(Process { pid, start_time })
}

/// Whether the session had an agent when its broker died, which did not just fall asleep.
#[must_use]
pub fn died_warm(dir: &Path) -> bool {
    dir.join(AGENT).exists() && !slept(dir)
}

/// Whether its last agent was told to fall asleep.
pub(super) fn slept(dir: &Path) -> bool {
    let text = std::fs::read_to_string(dir.join(AGENT)).unwrap_or_default();
    text.split_whitespace().nth(3) == Some(SLEEPS)
}

/// The session has no agent any more.
pub(super) fn forget(dir: &Path) {
    said::forget(dir);
    let files = [AGENT, HOLDER].map(|file| dir.join(file));
    for file in files.into_iter().chain(taps::forget(dir)) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %file.display(), "cannot forget the agent");
            }
            _ => {}
        }
    }
}

/// Ends the agent that is left from earlier, if it still lives: two on one conversation would
/// fork it without a word.
pub async fn end_previous(dir: &Path, successor: &Successor) {
    if let Err(error) = stream::end_left(dir, successor).await {
        tracing::error!(dir = %dir.display(), %error, "a holder does not end its agent");
        kill_holder(dir);
    }
    if let Some(process) = remembered(dir) {
        orphans::end(process).await;
    }
}

/// The first version that a body can be made of.
pub(super) fn needed(driver: Driver) -> Version {
    match driver {
        Driver::Tui => MIN_INTERFACE,
        Driver::Stream | Driver::Oneshot | Driver::Marks | Driver::Codex => MIN_EXACT,
    }
}

/// The client is of a version that alters prompts.
pub(super) fn too_old(version: &str, program: &str, needed: Version) -> Failure {
    Failure::new(
        ErrorCode::AgentTooOld,
        format!(
            "claude {version} ({program}) cannot take every prompt exactly; {needed} or later is needed"
        ),
    )
    .hint("claude update, or name a newer one: path in [agent] of the config")
}

/// Whether the agent's own record says that the directory is trusted.
#[must_use]
pub fn trusted(env: &Env, cwd: &Path) -> bool {
    let git_root = cwd.ancestors().find(|dir| dir.join(".git").exists());
    Home::new(env, cwd)
        .and_then(|home| std::fs::read(home.record_path()).ok())
        .is_some_and(|text| record::trusted(&text, cwd, git_root))
}

pub(super) fn kept_env(record: &SessionRecord, dir: &Path) -> Result<Env, Failure> {
    if !record.forgotten.is_empty() {
        return Err(Failure::new(
            ErrorCode::EnvironmentForgotten,
            format!(
                "{} was started with {}, which env_forget does not keep",
                record.name,
                record.forgotten.join(", ")
            ),
        )
        .hint(format!("clsess restart --update-env {}", record.name)));
    }
    store::load_env(dir).map_err(|e| {
        Failure::new(
            ErrorCode::EnvironmentForgotten,
            format!("the environment of {} cannot be read: {e}", record.name),
        )
        .hint(format!("clsess restart --update-env {}", record.name))
    })
}

/// The agent's program.
fn find(env: &Env, configured: Option<&str>) -> Result<PathBuf, Failure> {
    let var = |name: &str| {
        env.iter()
            .rfind(|(n, _)| n == name)
            .map(|(_, v)| v.as_os_str())
    };
    let candidates = command::candidates(
        var("PATH").or(Some(OsStr::new("/usr/local/bin:/usr/bin:/bin"))),
        var("HOME").map(Path::new),
        configured.map(Path::new),
    );
    let found = candidates.iter().find(|path| {
        std::fs::metadata(path)
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    });
    found.cloned().ok_or_else(|| match configured {
        Some(path) => Failure::new(
            ErrorCode::AgentNotFound,
            format!("{path} is not a program that can be run"),
        )
        .hint("correct path in [agent] of the config"),
        None => Failure::new(
            ErrorCode::AgentNotFound,
            "claude was found neither in the PATH nor in ~/.local/bin or ~/bin",
        )
        .hint("install Claude Code, or name it: path in [agent] of the config"),
    })
}

/// What the interface's command line is made of; the file with its hooks is written.
fn tui_settings(
    shared: &Shared,
    record: &SessionRecord,
    sound: &Sound,
    dir: &Path,
    shuts: bool,
) -> Result<TuiSettings, Failure> {
    let written = |name: &str, text: &str| {
        let file = dir.join(name);
        match disk::write_private(&file, text.as_bytes()) {
            Ok(()) => Ok(file),
            Err(error) => {
                let message = format!("{} cannot be written: {error}", file.display());
                Err(Failure::new(ErrorCode::AgentStartFailed, message))
            }
        }
    };
    let system = record.settings.system_prompt.as_deref();
    let append = record.settings.append_system_prompt.as_deref();
    let settings = &record.settings;
    let mode = settings.permission_mode.as_deref().unwrap_or(DEFAULT_MODE);
    Ok(TuiSettings {
        conversation: sound.id,
        resume: sound.path.is_some(),
        permission_mode: mode.to_owned(),
        model: settings.model.clone(),
        agent: settings.agent.clone(),
        system_prompt: system.map(|it| written(SYSTEM, it)).transpose()?,
        append_system_prompt: append.map(|it| written(APPEND, it)).transpose()?,
        settings: written(HOOKS, &hooks(shared, shuts))?,
        extra: settings.agent_args.iter().map(Into::into).collect(),
    })
}

/// The settings of an interface: each hook is brought here by `clsess hook`.
fn hooks(shared: &Shared, shuts: bool) -> String {
    let program = String::from_utf8_lossy(program(shared)).into_owned();
    let [label, state, socket] = door(shared);
    tui::settings::settings(&program, &["hook", &label, &state, &socket], shuts)
}

/// Its editor, and what that has to know.
fn editor(shared: &Shared) -> Result<(OsString, String), Failure> {
    let program = program(shared);
    if program.iter().any(u8::is_ascii_whitespace) {
        let shown = String::from_utf8_lossy(program);
        let message = format!("the agent's interface cannot start {shown:?}: blanks in its path");
        return Err(Failure::new(ErrorCode::AgentStartFailed, message)
            .hint("install clsess where the path has none"));
    }
    let mut editor = OsStr::from_bytes(program).to_owned();
    editor.push(" editor");
    Ok((editor, serde_json::json!(door(shared)).to_string()))
}

fn program(shared: &Shared) -> &[u8] {
    let args = &shared.successor.args;
    args.first().map_or(&[], Vec::as_slice)
}

/// What those have to know that the agent starts: label, directory of the labels' state, socket.
fn door(shared: &Shared) -> [String; 3] {
    let place = &shared.place;
    let (state, label) = (place.state.parent(), place.state.file_name());
    let words = [
        label.unwrap_or_default(),
        state.map_or(OsStr::new(""), Path::as_os_str),
        place.socket.as_os_str(),
    ];
    words.map(|word| word.to_string_lossy().into_owned())
}

/// Whether somebody's hook may make the model go on behind a turn's end: by the settings of the user,
/// of the project and of the machine, or by what the session was given itself. They are looked at
/// for each turn, since the agent takes up what is changed.
pub(super) fn may_go_on(record: &SessionRecord, home: Option<&Home>) -> bool {
    let settings = &record.settings;
    if settings.driver.unwrap_or_default() != Driver::Tui && record.embodied.is_none() {
        return false;
    }
    if settings.agent.is_some() || !settings.agent_args.is_empty() {
        return true;
    }
    let Some(home) = home else { return true };
    let projects = Path::new(&record.cwd).ancestors().flat_map(|dir| {
        let dir = dir.join(".claude");
        [dir.join("settings.json"), dir.join("settings.local.json")]
    });
    let files = projects.chain([home.settings_path(), MANAGED.into()]);
    let mut files = files.chain(managed());
    files.any(|file| match std::fs::read_to_string(file) {
        Ok(settings) => tui::settings::may_go_on(&settings),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    })
}

/// The settings of the machine.
const MANAGED: &str = "/etc/claude-code/managed-settings.json";

/// Those that stand beside them.
fn managed() -> impl Iterator<Item = PathBuf> {
    let beside = std::fs::read_dir("/etc/claude-code/managed-settings.d");
    beside.into_iter().flatten().flatten().map(|it| it.path())
}

/// What the agent's command line is made of.
fn stream_settings(
    record: &SessionRecord,
    sound: Sound,
    cut_off: Option<Uuid>,
) -> Result<StreamSettings, Failure> {
    let settings = &record.settings;
    Ok(StreamSettings {
        conversation: match sound.path {
            Some(path) => resumed(sound.id, &path, cut_off)?,
            None => Conversation::New(sound.id),
        },
        permission_mode: settings
            .permission_mode
            .clone()
            .unwrap_or_else(|| DEFAULT_MODE.to_owned()),
        model: settings.model.clone(),
        agent: settings.agent.clone(),
        max_turns: settings.max_turns,
        extra: settings.agent_args.iter().map(Into::into).collect(),
    })
}

/// How a conversation is taken up that has a transcript.
fn resumed(id: Uuid, path: &Path, cut_off: Option<Uuid>) -> Result<Conversation, Failure> {
    let cut = cut_off.and_then(|turn| match fate_in(path, turn) {
        Some(Fate::CutOff(cut)) if !cut.followed && !cut.part => {
            Some((cut.line.unwrap_or(turn), cut.parent))
        }
        _ => None,
    });
    Ok(match cut {
        None => Conversation::Resume(id),
        Some((turn, Some(at))) => Conversation::ResumeBefore { id, at, turn },
        // There was nothing before it: the conversation begins anew, under the same id. The agent
        // refuses that where there is a transcript.
        Some((turn, None)) => {
            let away = path.with_extension(format!("{turn}.cut-off"));
            std::fs::rename(path, &away).map_err(|error| {
                let message = format!("{} cannot be put away: {error}", path.display());
                Failure::new(ErrorCode::AgentStartFailed, message)
            })?;
            tracing::warn!(transcript = %away.display(), "an unfinished first turn is put away");
            Conversation::New(id)
        }
    })
}

/// `None` where it cannot be read.
fn fate_in(path: &Path, turn: Uuid) -> Option<Fate> {
    record::fate(BufReader::new(File::open(path).ok()?), turn).ok()
}

/// What became of a line that an agent was given, as its transcript tells it; `None` where there
/// should be one and is none.
pub(super) fn fate(home: &Home, record: &SessionRecord, turn: Uuid) -> Option<Fate> {
    let path = transcript(home, Path::new(&record.cwd), record.agent_session_id);
    match path {
        Some(path) => fate_in(&path, turn),
        None => (!record.began).then_some(Fate::Absent),
    }
}

/// The transcript of a conversation: where it should be, or else wherever the agent
/// put it, since the rule for its directory's name is the agent's own.
pub(super) fn transcript(home: &Home, cwd: &Path, id: Uuid) -> Option<PathBuf> {
    let expected = home.transcript_path(cwd, id);
    if expected.is_file() {
        return Some(expected);
    }
    let file = format!("{id}.jsonl");
    std::fs::read_dir(home.projects_dir())
        .into_iter()
        .flatten()
        .flatten()
        .map(|project| project.path().join(&file))
        .find(|path| path.is_file())
}

/// How a turn that the agent ran earlier ended, as its transcript tells it; `None` where that
/// cannot be read.
pub(super) fn ended_earlier(home: &Home, record: &SessionRecord, turn: Uuid) -> Option<TurnEnd> {
    let path = transcript(home, Path::new(&record.cwd), record.agent_session_id)?;
    let text = BufReader::new(File::open(path).ok()?);
    record::answer_of(text, turn).ok()?
}

/// The permission mode that the client has written down last, if it is among the last it has written.
pub(super) fn last_mode(home: &Home, record: &SessionRecord) -> Option<String> {
    let path = transcript(home, Path::new(&record.cwd), record.agent_session_id)?;
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_MODE_BEHIND)))
        .ok()?;
    record::last_mode(BufReader::new(file.take(MAX_MODE_BEHIND))).ok()?
}

impl Agents {
    /// The version of a program, asked once for each directory: a version manager's
    /// stand-in answers as the directory says.
    async fn version(&self, program: &Path, env: &Env, cwd: &Path) -> Result<Version, Failure> {
        let fail = |why: String| {
            Failure::new(
                ErrorCode::AgentStartFailed,
                format!("{} --version: {why}", program.display()),
            )
        };
        let meta = std::fs::metadata(program).map_err(|e| fail(e.to_string()))?;
        let identity = (
            program.to_owned(),
            cwd.to_owned(),
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.ctime(),
        );
        if let Some(version) = self.known(&identity) {
            return Ok(version);
        }
        let said = tokio::time::timeout(VERSION_TIMEOUT, ask_version(program, env, cwd))
            .await
            .map_err(|_| fail("no answer in time".to_owned()))?
            .map_err(|e| fail(e.to_string()))?;
        let version: Version = said.parse().map_err(|e| fail(format!("{e}")))?;
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.insert(identity, version);
        Ok(version)
    }

    fn known(&self, identity: &Identity) -> Option<Version> {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(identity).copied()
    }
}

async fn ask_version(program: &Path, env: &Env, cwd: &Path) -> std::io::Result<String> {
    let mut child = tokio::process::Command::new(program)
        .arg("--version")
        .env_clear()
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(VERSION_BYTES).read_to_string(&mut said).await?;
    }
    child.wait().await?;
    Ok(said)
}

fn not_started(program: &Path, error: &StartError) -> Failure {
    Failure::new(
        ErrorCode::AgentStartFailed,
        format!("{} cannot be started: {error}", program.display()),
    )
}
