//! How the client is started: where it is looked for, its arguments, its environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// Which conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// A new one under this id. The client ends with 1, `Session ID … is already in use.` on
    /// stderr and nothing on stdout, when a transcript of that id exists.
    New(Uuid),
    /// The one of this id. The client ends with 1 and an error `result` when there is none.
    Resume(Uuid),
    /// The same without its last turn, which a client that died has left unfinished: what is run
    /// next stands in its place. Two options that `--help` does not show; measured with 2.1.328,
    /// also after a second death.
    ResumeBefore {
        /// The conversation.
        id: Uuid,
        /// The line before that turn.
        at: Uuid,
        /// The user line of that turn. The client refuses when another turn comes after it.
        turn: Uuid,
    },
}

/// What decides the arguments of a stream-json client. System prompts are not among them: they
/// go with `initialize` ([`crate::input::Initialize`]), since anybody can read arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Which conversation.
    pub conversation: Conversation,
    /// `manual`, `acceptEdits`, `plan`, `auto`, `dontAsk`, `bypassPermissions`.
    pub permission_mode: String,
    /// `--model`.
    pub model: Option<String>,
    /// `--agent`.
    pub agent: Option<String>,
    /// `--max-turns`: beyond it a turn ends as a failure of the kind `MaxTurns`.
    pub max_turns: Option<u32>,
    /// As they are, last.
    pub extra: Vec<OsString>,
}

/// The arguments of a warm stream-json client. Values are joined by `=`, so that none of them
/// can be taken for an option (facts, field notes 2.10 c).
///
/// The permission prompt tool is always given: without it the tools differ from the TUI's, and
/// the provider's prompt cache is lost when the body is changed (facts 16).
#[must_use]
pub fn stream_args(settings: &StreamSettings) -> Vec<OsString> {
    let mut args: Vec<OsString> = [
        "-p",
        "--input-format=stream-json",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        "--permission-prompt-tool=stdio",
    ]
    .map(OsString::from)
    .to_vec();
    args.push(format!("--permission-mode={}", flag_mode(&settings.permission_mode)).into());
    let conversation = match settings.conversation {
        Conversation::New(id) => vec![format!("--session-id={id}")],
        Conversation::Resume(id) => vec![format!("--resume={id}")],
        Conversation::ResumeBefore { id, at, turn } => vec![
            format!("--resume={id}"),
            format!("--resume-session-at={at}"),
            format!("--resume-drops-turn={turn}"),
        ],
    };
    args.extend(conversation.into_iter().map(OsString::from));
    args.extend(
        settings
            .model
            .iter()
            .map(|model| format!("--model={model}").into()),
    );
    args.extend(
        settings
            .agent
            .iter()
            .map(|agent| format!("--agent={agent}").into()),
    );
    args.extend(
        settings
            .max_turns
            .map(|turns| format!("--max-turns={turns}").into()),
    );
    args.extend(settings.extra.iter().cloned());
    args
}

/// What decides the arguments of the client's own interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TuiSettings {
    /// The conversation's id.
    pub conversation: Uuid,
    /// Whether that is to be there already. If it is there and should not be, or the other way
    /// round, the client ends with 1.
    pub resume: bool,
    /// As [`StreamSettings::permission_mode`]. Never left out: the interface would start in `auto`
    /// (facts 3.1).
    pub permission_mode: String,
    /// `--model`.
    pub model: Option<String>,
    /// `--agent`.
    pub agent: Option<String>,
    /// A file with what stands instead of the client's own system prompt: anybody can read
    /// arguments.
    pub system_prompt: Option<PathBuf>,
    /// One with what comes after it.
    pub append_system_prompt: Option<PathBuf>,
    /// The file with our hooks ([`crate::tui::settings`]).
    pub settings: PathBuf,
    /// As they are, last.
    pub extra: Vec<OsString>,
}

/// The arguments of the client's own interface. `--max-turns` and a turn to go on before are
/// options of `-p` only.
#[must_use]
pub fn tui_args(settings: &TuiSettings) -> Vec<OsString> {
    let id = settings.conversation;
    let conversation = if settings.resume {
        format!("--resume={id}")
    } else {
        format!("--session-id={id}")
    };
    // earlier versions do not know `manual`, and later ones both (measured)
    let mode = reported_mode(&settings.permission_mode);
    let file = |option: &str, file: &Path| {
        let mut option = OsString::from(option);
        option.push(file);
        option
    };
    let mut args = vec![
        format!("--permission-mode={mode}").into(),
        conversation.into(),
        file("--settings=", &settings.settings),
    ];
    let system = settings.system_prompt.iter();
    args.extend(system.map(|it| file("--system-prompt-file=", it)));
    let append = settings.append_system_prompt.iter();
    args.extend(append.map(|it| file("--append-system-prompt-file=", it)));
    let model = settings.model.iter();
    args.extend(model.map(|model| format!("--model={model}").into()));
    let agent = settings.agent.iter();
    args.extend(agent.map(|agent| format!("--agent={agent}").into()));
    args.extend(settings.extra.iter().cloned());
    args
}

/// The flag's name of a permission mode: what the client reports as `default` is `manual` there.
#[must_use]
pub fn flag_mode(mode: &str) -> &str {
    if mode == "default" { "manual" } else { mode }
}

/// The name that the client reports, and that `set_permission_mode` takes.
#[must_use]
pub fn reported_mode(mode: &str) -> &str {
    if mode == "manual" { "default" } else { mode }
}

/// What the client sets for its children (measured with `env` in its Bash tool, 2.1.328), hooks'
/// included, and what would start a turn by itself. None of it is for another session.
const OF_AN_AGENT: &[&str] = &[
    "AI_AGENT",
    "CLAUDECODE",
    "CLAUDE_CODE_CHILD_NOTES_DIR",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_MESSAGING_SOCKET",
    "CLAUDE_CODE_MESSAGING_TOKEN",
    "CLAUDE_CODE_RESUME_INTERRUPTED_TURN",
    "CLAUDE_CODE_SESSION_ATTENDED",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_EFFORT",
    "CLAUDE_ENV_FILE",
    "CLAUDE_PID",
    "CLAUDE_PROJECT_DIR",
];

/// Set for its children too, but a person may have set them: gone only with the client's value
/// and only inside of it.
const PERHAPS_OF_AN_AGENT: &[(&str, &str)] = &[
    ("COREPACK_ENABLE_AUTO_PIN", "0"),
    ("GIT_EDITOR", "true"),
    ("NoDefaultCurrentDirectoryInExePath", "1"),
];

/// Asks the client to tell its state (facts 0.4).
pub const STATE_EVENTS: &str = "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS";
/// Takes the tools' ways of going on in the background away.
const NO_BACKGROUND: &str = "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS";
/// Makes a resumed client run the turn again in which it died, under that turn's uuid. Stripped
/// by [`environment`]; the broker adds it when that is what it wants (facts 15).
pub const RESUME_INTERRUPTED: &str = "CLAUDE_CODE_RESUME_INTERRUPTED_TURN";

/// The environment of a client: the caller's, without what an agent sets for its children, and
/// with our own. `PATH` is not touched. A name that comes twice keeps its first value.
///
/// One that does not stay when its turn has ended is not to begin work that goes on behind it.
#[must_use]
pub fn environment(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    session: &str,
    socket: &Path,
    stays: bool,
) -> Vec<(OsString, OsString)> {
    let ours = [
        (STATE_EVENTS, OsStr::new("1")),
        (NO_BACKGROUND, OsStr::new("1")),
    ];
    let ours = if stays { &ours[..1] } else { &ours[..] };
    with_ours(caller, session, socket, ours, &[])
}

/// The same of a program in a terminal: which one that is, is ours to say.
#[must_use]
pub fn program_environment(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    session: &str,
    socket: &Path,
) -> Vec<(OsString, OsString)> {
    with_ours(
        caller,
        session,
        socket,
        &A_TERMINAL.map(known),
        OF_A_TERMINAL,
    )
}

/// What is so of the session's terminal.
const A_TERMINAL: [(&str, &str); 2] = [("TERM", "xterm-256color"), ("COLORTERM", "truecolor")];

fn known((name, value): (&'static str, &'static str)) -> (&'static str, &'static OsStr) {
    (name, OsStr::new(value))
}

/// The same of the client's own interface. Its full screen is asked for: left to itself it changes
/// its way of drawing after unclean ends, and draws a long conversation for seconds (facts 3.1, 16).
///
/// `editor` is the command by which prompts get into it ([`crate::tui::typing`]), without blanks but
/// between its words, and `door` is for that alone. The user's own editor goes on under another name.
#[must_use]
pub fn tui_environment(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    session: &str,
    socket: &Path,
    editor: &OsStr,
    door: &str,
) -> Vec<(OsString, OsString)> {
    let mut caller = with_own_editor(caller);
    if let Some((name, _)) = caller.iter_mut().find(|(name, _)| name == VISUAL) {
        *name = OWN_EDITOR.into();
    }
    let mut ours = A_TERMINAL.map(known).to_vec();
    ours.extend([
        ("CLAUDE_CODE_NO_FLICKER", OsStr::new("1")),
        (VISUAL, editor),
        (EDITOR_DOOR, OsStr::new(door)),
    ]);
    let without = [OF_A_TERMINAL, &[NO_TITLE]].concat();
    with_ours(caller, session, socket, &ours, &without)
}

const VISUAL: &str = "VISUAL";
/// What our editor has to know.
pub const EDITOR_DOOR: &str = "CLSESS_EDITOR_DOOR";
/// What was in `VISUAL` before ours.
pub const OWN_EDITOR: &str = "CLSESS_VISUAL";

/// Without our editor, where the caller runs in an interface that has it.
fn with_own_editor(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut caller: Vec<_> = caller.into_iter().collect();
    if caller.iter().any(|(name, _)| name == EDITOR_DOOR) {
        caller.retain(|(name, _)| name != EDITOR_DOOR && name != VISUAL);
        if let Some((name, _)) = caller.iter_mut().find(|(name, _)| name == OWN_EDITOR) {
            *name = VISUAL.into();
        }
    }
    caller
}

/// Takes OSC 7501 away together with the title (facts 3.1).
const NO_TITLE: &str = "CLAUDE_CODE_DISABLE_TERMINAL_TITLE";

fn with_ours(
    caller: impl IntoIterator<Item = (OsString, OsString)>,
    session: &str,
    socket: &Path,
    ours: &[(&str, &OsStr)],
    without: &[&str],
) -> Vec<(OsString, OsString)> {
    let caller = with_own_editor(caller);
    let inside = caller.iter().any(|(name, _)| name == "CLAUDECODE");
    let always = [
        ("CLSESS_SESSION", OsStr::new(session)),
        ("CLSESS_SOCKET", socket.as_os_str()),
    ];
    let ours = ours.iter().chain(&always);
    let ours = ours.map(|(name, value)| (OsString::from(name), value.to_os_string()));
    let ours: Vec<_> = ours.collect();
    let mut kept: Vec<(OsString, OsString)> = Vec::with_capacity(caller.len() + ours.len());
    let mut seen: std::collections::HashSet<OsString> =
        ours.iter().map(|(name, _)| name.clone()).collect();
    for (name, value) in caller {
        let of_an_agent = OF_AN_AGENT.iter().any(|it| name == *it)
            || inside
                && PERHAPS_OF_AN_AGENT
                    .iter()
                    .any(|it| name == it.0 && value == it.1);
        let left_out = of_an_agent || without.iter().any(|it| name == *it);
        if !left_out && seen.insert(name.clone()) {
            kept.push((name, value));
        }
    }
    kept.extend(ours);
    kept
}

/// What is so of the caller's terminal, and not of the session's.
const OF_A_TERMINAL: &[&str] = &[
    "LINES",
    "COLUMNS",
    "TERMCAP",
    "TERM_PROGRAM",
    "TERM_PROGRAM_VERSION",
    "TERM_SESSION_ID",
    "WINDOWID",
    "STY",
    "TMUX",
    "TMUX_PANE",
    "VTE_VERSION",
    "KITTY_WINDOW_ID",
    "KITTY_PID",
    "WEZTERM_PANE",
    "GNOME_TERMINAL_SCREEN",
];

/// Where the client may be, best first: the first that is an executable file is it.
///
/// `configured` is a path, or a name to look for instead of `claude`; a path is the only
/// candidate, `~/` in it is `home`. Relative entries of `path` are left out: they would mean
/// another program in each directory.
#[must_use]
pub fn candidates(
    path: Option<&OsStr>,
    home: Option<&Path>,
    configured: Option<&Path>,
) -> Vec<PathBuf> {
    let name = match configured {
        Some(configured) if configured.components().count() > 1 || configured.is_absolute() => {
            return match (configured.strip_prefix("~"), home) {
                (Ok(below), Some(home)) => vec![home.join(below)],
                _ => vec![configured.to_owned()],
            };
        }
        Some(name) => name,
        None => Path::new("claude"),
    };
    let mut found: Vec<PathBuf> = Vec::new();
    let of_path = path.into_iter().flat_map(std::env::split_paths);
    let of_home = home
        .into_iter()
        .flat_map(|home| [home.join(".local/bin"), home.join("bin")]);
    for directory in of_path
        .chain(of_home)
        .filter(|directory| directory.is_absolute())
    {
        let candidate = directory.join(name);
        if !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> StreamSettings {
        StreamSettings {
            conversation: Conversation::New(Uuid::nil()),
            permission_mode: "default".to_owned(),
            model: None,
            agent: None,
            max_turns: None,
            extra: Vec::new(),
        }
    }

    #[test]
    fn arguments() {
        let args = stream_args(&settings());
        assert_eq!(args[6], "--permission-mode=manual");
        assert_eq!(args[7], "--session-id=00000000-0000-0000-0000-000000000000");
        assert_eq!(args.len(), 8);
        let all = StreamSettings {
            conversation: Conversation::Resume(Uuid::nil()),
            permission_mode: "plan".to_owned(),
            model: Some("--x".to_owned()),
            agent: Some("a b".to_owned()),
            max_turns: Some(3),
            extra: vec!["--add-dir".into(), "/x".into()],
        };
        let args = stream_args(&all);
        let expected = [
            "--permission-mode=plan",
            "--resume=00000000-0000-0000-0000-000000000000",
            "--model=--x",
            "--agent=a b",
            "--max-turns=3",
            "--add-dir",
            "/x",
        ];
        assert_eq!(args[6..], expected.map(OsString::from));
    }

    #[test]
    fn arguments_of_the_interface() {
        let mut settings = TuiSettings {
            conversation: Uuid::nil(),
            resume: false,
            permission_mode: "default".to_owned(),
            model: None,
            agent: None,
            system_prompt: None,
            append_system_prompt: None,
            settings: "/run/s".into(),
            extra: Vec::new(),
        };
        let expected = [
            "--permission-mode=default",
            "--session-id=00000000-0000-0000-0000-000000000000",
            "--settings=/run/s",
        ];
        assert_eq!(tui_args(&settings), expected.map(OsString::from));
        settings.resume = true;
        settings.permission_mode = "plan".to_owned();
        settings.model = Some("m".to_owned());
        settings.agent = Some("a".to_owned());
        settings.system_prompt = Some("/run/p".into());
        settings.append_system_prompt = Some("/run/a".into());
        settings.extra = vec!["--add-dir".into()];
        let expected = [
            "--permission-mode=plan",
            "--resume=00000000-0000-0000-0000-000000000000",
            "--settings=/run/s",
            "--system-prompt-file=/run/p",
            "--append-system-prompt-file=/run/a",
            "--model=m",
            "--agent=a",
            "--add-dir",
        ];
        assert_eq!(tui_args(&settings), expected.map(OsString::from));
    }

    #[test]
    fn the_interface_has_a_terminal_of_ours() {
        let caller = ["TMUX", NO_TITLE, "TERM", "COLUMNS", "LANG", VISUAL];
        let caller = caller.map(|name| (name.into(), OsString::from("x")));
        let environment = tui_environment(caller, "work", Path::new("/s"), OsStr::new("e"), "[]");
        let names: Vec<_> = environment.iter().map(|(name, _)| name).collect();
        let expected = [
            "LANG",
            OWN_EDITOR,
            "TERM",
            "COLORTERM",
            "CLAUDE_CODE_NO_FLICKER",
            VISUAL,
            EDITOR_DOOR,
            "CLSESS_SESSION",
            "CLSESS_SOCKET",
        ];
        assert_eq!(names, expected);
        assert_eq!(environment[2].1, "xterm-256color");
        // A session that is made inside of it has the user's editor again.
        let inside = super::environment(environment, "other", Path::new("/s"), true);
        assert!(inside.contains(&(VISUAL.into(), "x".into())));
        assert!(!inside.iter().any(|(name, _)| name == EDITOR_DOOR));
    }

    #[test]
    fn the_environment_is_the_callers_without_an_agents() {
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(OsString, OsString)> {
            pairs
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect()
        };
        let caller = pairs(&[
            ("PATH", "/bin"),
            ("CLAUDECODE", "1"),
            ("GIT_EDITOR", "true"),
            ("CLAUDE_CODE_SESSION_ID", "x"),
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CONFIG_DIR", "/c"),
            ("CLSESS_SESSION", "outer"),
            ("PATH", "/second"),
            ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "0"),
        ]);
        let expected = pairs(&[
            ("PATH", "/bin"),
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CONFIG_DIR", "/c"),
            ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1"),
            ("CLSESS_SESSION", "work"),
            ("CLSESS_SOCKET", "/s"),
        ]);
        assert_eq!(environment(caller, "work", Path::new("/s"), true), expected);
        let person = pairs(&[("GIT_EDITOR", "true")]);
        assert_eq!(
            environment(person, "work", Path::new("/s"), true)[0],
            ("GIT_EDITOR".into(), "true".into())
        );
    }

    #[test]
    fn where_the_client_may_be() {
        let look = |path: &str, configured: Option<&str>| {
            candidates(
                Some(OsStr::new(path)),
                Some(Path::new("/h")),
                configured.map(Path::new),
            )
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            look("/a:.::b:/a:/h/bin", None),
            paths(&["/a/claude", "/h/bin/claude", "/h/.local/bin/claude"])
        );
        assert_eq!(look("/a", Some("cc"))[0], PathBuf::from("/a/cc"));
        assert_eq!(look("/a", Some("~/x/claude")), paths(&["/h/x/claude"]));
        assert_eq!(look("/a", Some("/opt/claude")), paths(&["/opt/claude"]));
        assert!(candidates(None, None, None).is_empty());
    }
}
