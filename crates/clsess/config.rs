//! The config file. Nothing but the command reads it: what it says goes to the
//! broker with each request.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clsess_proto::{ErrorCode, Failure, Settings, valid_name};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::cli::{self, AgentOptions, Driver, OnBusy, OnCrash, OnLimit, OnQuestion, Tap};
use crate::commands::ms;

/// How long an agent may take to be ready when nothing else is said.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest config file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    defaults: Options,
    profile: BTreeMap<String, Options>,
    session: BTreeMap<String, Options>,
    agent: Agent,
    hooks: Hooks,
}

/// `[hooks]`: commands for a shell.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Hooks {
    question: Option<String>,
    done: Option<String>,
    failed: Option<String>,
    exited: Option<String>,
    #[serde(deserialize_with = "a_duration")]
    timeout: Option<Duration>,
}

/// `[defaults]`, and the same in `[profile.NAME]` and `[session.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Only of a session.
    cwd: Option<Spanned<String>>,
    /// Only of a session.
    profile: Option<Spanned<String>>,
    /// Not of all sessions.
    command: Option<Spanned<Vec<String>>>,
    turns: Option<Spanned<Turns>>,
    driver: Option<Driver>,
    pty: Option<bool>,
    tap: Option<Tap>,
    model: Option<String>,
    permission_mode: Option<String>,
    system_prompt: Option<String>,
    append_system_prompt: Option<String>,
    agent: Option<String>,
    max_turns: Option<u32>,
    args: Option<Vec<String>>,
    env: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "a_duration")]
    turn_timeout: Option<Duration>,
    #[serde(deserialize_with = "a_duration")]
    start_timeout: Option<Duration>,
    on_question: Option<OnQuestion>,
    on_busy: Option<OnBusy>,
    on_limit: Option<OnLimit>,
    on_crash: Option<OnCrash>,
    resume_queue: Option<bool>,
    #[serde(deserialize_with = "a_duration")]
    idle_sleep: Option<Duration>,
    max_warm: Option<u32>,
    #[serde(deserialize_with = "a_duration")]
    question_timeout: Option<Duration>,
    #[serde(deserialize_with = "a_duration")]
    stall_after: Option<Duration>,
    allow_from: Option<Vec<String>>,
    history: Option<u32>,
    /// Rows of history of a program's terminal.
    scrollback: Option<u32>,
    detach_keys: Option<String>,
    env_forget: Option<Vec<String>>,
}

/// How the beginning and the end of a program's answers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Turns {
    /// It marks them (OSC 133).
    Marks,
    /// It is Codex, which tells.
    Codex,
}

impl From<Turns> for clsess_proto::Driver {
    fn from(turns: Turns) -> Self {
        match turns {
            Turns::Marks => Self::Marks,
            Turns::Codex => Self::Codex,
        }
    }
}

impl Options {
    /// The keys that are set and mean something of an agent only.
    fn of_agents(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("driver", self.driver.is_some()),
            ("pty", self.pty.is_some()),
            ("tap", self.tap.is_some()),
            ("model", self.model.is_some()),
            ("permission_mode", self.permission_mode.is_some()),
            ("system_prompt", self.system_prompt.is_some()),
            ("append_system_prompt", self.append_system_prompt.is_some()),
            ("agent", self.agent.is_some()),
            ("max_turns", self.max_turns.is_some()),
            ("args", self.args.is_some()),
            ("idle_sleep", self.idle_sleep.is_some()),
        ];
        keys.into_iter()
            .filter(|(_, is_set)| *is_set)
            .map(|(key, _)| key)
    }

    /// What is wrong with its command, and where.
    fn wrong_command(&self) -> Option<(usize, String)> {
        let (command, turns) = match (&self.command, &self.turns) {
            (None, None) => return None,
            (None, Some(turns)) => {
                let what = "turns is for a program: there is no command";
                return Some((turns.span().start, what.to_owned()));
            }
            (Some(command), turns) => (command, turns),
        };
        let at = command.span().start;
        let what = if command.get_ref().first().is_none_or(String::is_empty) {
            "command names no program".to_owned()
        } else if turns.is_none() {
            "a command needs turns = \"marks\" or \"codex\": how its answers are known".to_owned()
        } else if let Some(key) = self.of_agents().next() {
            format!("{key} is of agents, and command is of programs")
        } else {
            return None;
        };
        Some((at, what))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Agent {
    path: Option<String>,
    args: Vec<String>,
}

/// A duration: seconds, or a text.
///
/// # Errors
/// When it is neither.
pub fn a_duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a duration is a whole number of seconds, or a text like \"90s\" or \"5m\""
    )]
    enum Written {
        Seconds(u64),
        Text(String),
    }
    match Written::deserialize(value)? {
        Written::Seconds(seconds) => Ok(Some(Duration::from_secs(seconds))),
        Written::Text(text) => cli::duration(&text)
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

/// How a session is to be made, and its prompts to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// How its agent is run.
    pub settings: Settings,
    /// Its directory, where the config names one.
    pub cwd: Option<PathBuf>,
    /// Variables to be set for it.
    pub env: BTreeMap<String, String>,
    /// How long its agent may take to be ready.
    pub start_timeout: Duration,
    /// How long a turn may take, where that is said; zero: for ever.
    pub turn_timeout: Option<Duration>,
    /// What becomes of questions, where that is said.
    pub on_question: Option<OnQuestion>,
    /// What to do when the session is busy.
    pub on_busy: OnBusy,
    /// What to do about the provider's limits.
    pub on_limit: OnLimit,
    /// What to do when the agent dies after a tool has started.
    pub on_crash: OnCrash,
}

impl Config {
    /// Reads the file. One that nobody named may be missing.
    ///
    /// # Errors
    /// [`ErrorCode::BadConfig`], with the line; also for a file that others may
    /// write.
    pub fn load(file: Option<&(PathBuf, bool)>) -> Result<Self, Failure> {
        let Some((path, named)) = file else {
            return Ok(Self::default());
        };
        match read(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                Ok(Self::default())
            }
            Err(error) => Err(bad(path, &error.to_string())),
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| line_of(text, span.start));
            bad_at(path, line, e.message())
        })?;
        config.check(text, path)?;
        Ok(config)
    }

    /// What the form of the file cannot say.
    fn check(&self, text: &str, path: &Path) -> Result<(), Failure> {
        let profiles = self
            .profile
            .iter()
            .map(|(name, o)| (format!("[profile.{name}]"), o));
        let shared = std::iter::once(("[defaults]".to_owned(), &self.defaults)).chain(profiles);
        for (table, options) in shared {
            for (key, value) in [("cwd", &options.cwd), ("profile", &options.profile)] {
                if let Some(value) = value {
                    let line = line_of(text, value.span().start);
                    let what = format!("{key} belongs to a session, not into {table}");
                    return Err(bad_at(path, Some(line), &what));
                }
            }
            let defaults = options.command.as_ref().filter(|_| table == "[defaults]");
            let wrong = options.wrong_command().or(defaults.map(|command| {
                let what = "command belongs to a profile or a session";
                (command.span().start, what.to_owned())
            }));
            if let Some((at, what)) = wrong {
                return Err(bad_at(path, Some(line_of(text, at)), &what));
            }
        }
        for (name, options) in &self.session {
            if !valid_name(name) {
                return Err(bad(
                    path,
                    &format!("[session.{name}]: no name for a session"),
                ));
            }
            if let Some(profile) = &options.profile
                && !self.profile.contains_key(profile.get_ref())
            {
                let line = line_of(text, profile.span().start);
                let what = format!("there is no [profile.{}]", profile.get_ref());
                return Err(bad_at(path, Some(line), &what));
            }
            if let Some((at, what)) = self.wrong_session(options) {
                return Err(bad_at(path, Some(line_of(text, at)), &what));
            }
        }
        Ok(())
    }

    /// What is wrong with a session's command or with its profile's, and where.
    fn wrong_session(&self, session: &Options) -> Option<(usize, String)> {
        if let Some(wrong) = session.wrong_command() {
            return Some(wrong);
        }
        let named = session.profile.as_ref()?;
        let profile = self.profile.get(named.get_ref())?;
        profile.command.as_ref()?;
        let key = session.of_agents().next()?;
        let what = format!(
            "{key} is of agents, and [profile.{}] has a command",
            named.get_ref()
        );
        Some((named.span().start, what))
    }

    /// Rows of history of the terminal of a session's program.
    #[must_use]
    pub fn scrollback(&self, name: Option<&str>, profile: Option<&str>) -> Option<u32> {
        self.strongest(name, profile, |options| options.scrollback)
    }

    /// The keys that detach from a session.
    #[must_use]
    pub fn detach_keys(&self, name: &str) -> Option<String> {
        self.strongest(Some(name), None, |options| options.detach_keys.clone())
    }

    /// What `[session.NAME]` says, else the profile, else `[defaults]`.
    fn strongest<T>(
        &self,
        name: Option<&str>,
        profile: Option<&str>,
        of: impl Fn(&Options) -> Option<T>,
    ) -> Option<T> {
        let session = name.and_then(|name| self.session.get(name));
        let own = session.and_then(|session| session.profile.as_ref());
        let profile = profile.or(own.map(|own| own.get_ref().as_str()));
        let profile = profile.and_then(|profile| self.profile.get(profile));
        let layers = [session, profile, Some(&self.defaults)];
        layers.into_iter().flatten().find_map(of)
    }

    /// Whether `[session.NAME]` is there.
    #[must_use]
    pub fn declares(&self, name: &str) -> bool {
        self.session.contains_key(name)
    }

    /// The names of all `[session.NAME]`.
    pub fn sessions(&self) -> impl Iterator<Item = &String> {
        self.session.keys()
    }

    /// The names of all `[profile.NAME]`.
    pub fn profiles(&self) -> impl Iterator<Item = &String> {
        self.profile.keys()
    }

    /// Whether the config names this directory, by a session that lives in it:
    /// that is a word of trust.
    #[must_use]
    pub fn names_directory(&self, dir: &Path) -> bool {
        let dirs = self
            .session
            .values()
            .filter_map(|session| session.cwd.as_ref());
        let real = |path: &Path| fs::canonicalize(path).ok();
        let dir = real(dir);
        dir.is_some()
            && dirs
                .map(|cwd| real(&home_expanded(cwd.get_ref())))
                .any(|cwd| cwd == dir)
    }

    /// What holds for a session: the command line over `[session.NAME]` over the
    /// profile over `[defaults]`.
    ///
    /// # Errors
    /// [`ErrorCode::BadConfig`] for a profile that is not there.
    pub fn resolve(&self, name: Option<&str>, line: &AgentOptions) -> Result<Resolved, Failure> {
        let none = Options::default();
        let session = name
            .and_then(|name| self.session.get(name))
            .unwrap_or(&none);
        let profile = line.profile.as_deref();
        let profile = profile.or(session.profile.as_ref().map(|p| p.get_ref().as_str()));
        let profile = match profile {
            None => &none,
            Some(name) => self.profile.get(name).ok_or_else(|| {
                Failure::new(
                    ErrorCode::BadConfig,
                    format!("the config has no [profile.{name}]"),
                )
            })?,
        };
        let layers = [session, profile, &self.defaults];
        let settings = match of_program(&layers) {
            Some((command, turns)) => self.settings_of_program(command, turns, &layers, line)?,
            None => self.settings(&layers, line),
        };
        Ok(Resolved {
            settings,
            cwd: session.cwd.as_ref().map(|cwd| home_expanded(cwd.get_ref())),
            env: layers
                .iter()
                .rev()
                .filter_map(|layer| layer.env.clone())
                .flatten()
                .chain(line.env.iter().cloned())
                .collect(),
            start_timeout: line
                .start_timeout
                .or(first(&layers, |layer| layer.start_timeout))
                .unwrap_or(START_TIMEOUT),
            turn_timeout: first(&layers, |layer| layer.turn_timeout),
            on_question: first(&layers, |layer| layer.on_question),
            on_busy: first(&layers, |layer| layer.on_busy).unwrap_or(OnBusy::Queue),
            on_limit: first(&layers, |layer| layer.on_limit).unwrap_or(OnLimit::Fail),
            on_crash: first(&layers, |layer| layer.on_crash).unwrap_or(OnCrash::Report),
        })
    }

    fn hooks(&self) -> clsess_proto::Hooks {
        let hooks = self.hooks.clone();
        clsess_proto::Hooks {
            question: hooks.question,
            done: hooks.done,
            failed: hooks.failed,
            exited: hooks.exited,
            timeout_ms: hooks.timeout.map(ms),
        }
    }

    /// Those of a program: nothing of agents.
    fn settings_of_program(
        &self,
        command: &[String],
        turns: Turns,
        layers: &[&Options],
        line: &AgentOptions,
    ) -> Result<Settings, Failure> {
        if let Some(option) = line.of_agents() {
            let message = format!("{option} is for agents, and the profile has a command");
            return Err(Failure::new(ErrorCode::BadRequest, message));
        }
        let expanded = |word: &String| home_expanded(word).to_string_lossy().into_owned();
        Ok(Settings {
            driver: Some(turns.into()),
            command: command.iter().map(expanded).collect(),
            history: first(layers, |o| o.history),
            env_forget: first(layers, |o| o.env_forget.clone()).unwrap_or_default(),
            allow_from: first(layers, |o| o.allow_from.clone()).unwrap_or_default(),
            stall_after_ms: first(layers, |o| o.stall_after).map(ms),
            resume_queue: first(layers, |o| o.resume_queue).unwrap_or_default(),
            max_warm: first(layers, |o| o.max_warm),
            hooks: self.hooks(),
            ..Settings::default()
        })
    }

    fn settings(&self, layers: &[&Options], line: &AgentOptions) -> Settings {
        let text = |of_line: &Option<String>, of: fn(&Options) -> Option<String>| {
            of_line.clone().or_else(|| first(layers, of))
        };
        let layered = first(layers, |layer| layer.args.clone()).unwrap_or_default();
        Settings {
            driver: line.driver.or(first(layers, |o| o.driver)).map(Into::into),
            command: Vec::new(),
            pty: line.pty || first(layers, |o| o.pty).unwrap_or_default(),
            tap: line.tap.or(first(layers, |o| o.tap)).map(Into::into),
            model: text(&line.model, |o| o.model.clone()),
            permission_mode: text(&line.permission_mode, |o| o.permission_mode.clone()),
            system_prompt: text(&line.system_prompt, |o| o.system_prompt.clone()),
            append_system_prompt: text(&line.append_system_prompt, |o| {
                o.append_system_prompt.clone()
            }),
            agent: text(&line.agent, |o| o.agent.clone()),
            max_turns: line.max_turns.or(first(layers, |o| o.max_turns)),
            agent_path: self
                .agent
                .path
                .as_deref()
                .map(|path| home_expanded(path).to_string_lossy().into_owned()),
            agent_args: [self.agent.args.clone(), layered, line.agent_args.clone()].concat(),
            history: first(layers, |o| o.history),
            env_forget: first(layers, |o| o.env_forget.clone()).unwrap_or_default(),
            allow_from: first(layers, |o| o.allow_from.clone()).unwrap_or_default(),
            question_timeout_ms: first(layers, |o| o.question_timeout).map(ms),
            stall_after_ms: first(layers, |o| o.stall_after).map(ms),
            resume_queue: first(layers, |o| o.resume_queue).unwrap_or_default(),
            idle_sleep_ms: first(layers, |o| o.idle_sleep).map(ms),
            max_warm: first(layers, |o| o.max_warm),
            hooks: self.hooks(),
        }
    }
}

/// The nearest program, and how its answers are known.
fn of_program<'a>(layers: &[&'a Options]) -> Option<(&'a [String], Turns)> {
    layers.iter().find_map(|layer| {
        let (command, turns) = (layer.command.as_ref()?, layer.turns.as_ref()?);
        Some((command.get_ref().as_slice(), *turns.get_ref()))
    })
}

/// The first layer that says something.
fn first<T>(layers: &[&Options], of: impl Fn(&Options) -> Option<T>) -> Option<T> {
    layers.iter().find_map(|layer| of(layer))
}

/// A leading `~/` is the home directory.
fn home_expanded(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Reads a file that only its owner, who is us, can write.
fn read(path: &Path) -> std::io::Result<String> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return Err(std::io::Error::other(format!(
            "it belongs to user {}",
            meta.uid()
        )));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(std::io::Error::other(format!(
            "others may write it (mode {:o}); chmod go-w it",
            meta.mode() & 0o7777
        )));
    }
    let mut text = String::new();
    // A byte more than is allowed: half of a config is not to be taken for a whole one.
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let message = format!("it is longer than {} MiB", MAX_BYTES >> 20);
        return Err(std::io::Error::other(message));
    }
    Ok(text)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

fn bad(path: &Path, what: &str) -> Failure {
    bad_at(path, None, what)
}

fn bad_at(path: &Path, line: Option<usize>, what: &str) -> Failure {
    let place = match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    };
    let what = what.lines().next().unwrap_or_default();
    Failure::new(ErrorCode::BadConfig, format!("the config {place}: {what}"))
        .hint("man clsess-config")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Failure> {
        Config::parse(text, Path::new("config.toml"))
    }

    fn message(text: &str) -> String {
        parse(text).unwrap_err().message
    }

    #[test]
    fn the_nearer_layer_wins() {
        let config = parse(
            "[defaults]\nmodel = 'd'\nturn_timeout = '5m'\nenv = { A = '1', B = '1' }\n\
             [profile.p]\nmodel = 'p'\nmax_turns = 3\nenv = { B = '2' }\n\
             [session.work]\nprofile = 'p'\ncwd = '/tmp'\nturn_timeout = 7\n\
             [agent]\nargs = ['--x']\n",
        )
        .unwrap();
        let line = AgentOptions {
            agent_args: vec!["--y".into()],
            ..AgentOptions::default()
        };
        let work = config.resolve(Some("work"), &line).unwrap();
        assert_eq!(work.settings.model.as_deref(), Some("p"));
        assert_eq!(work.settings.max_turns, Some(3));
        assert_eq!(work.settings.agent_args, ["--x", "--y"]);
        assert_eq!(work.turn_timeout, Some(Duration::from_secs(7)));
        assert_eq!(work.env["A"], "1");
        assert_eq!(work.env["B"], "2");
        let other = config.resolve(Some("other"), &line).unwrap();
        assert_eq!(other.settings.model.as_deref(), Some("d"));
        assert_eq!(other.turn_timeout, Some(Duration::from_secs(300)));
        assert!(config.declares("work") && !config.declares("other"));
        assert!(config.names_directory(Path::new("/tmp")));
        assert!(!config.names_directory(Path::new("/")));
    }

    #[test]
    fn a_profile_is_of_an_agent_or_of_a_program() {
        let config = parse(
            "[defaults]\nmodel = 'd'\nidle_sleep = 60\n\
             [profile.sh]\ncommand = ['bash', '~/x']\nturns = 'marks'\nenv = { A = '1' }\n\
             [session.s]\nprofile = 'sh'\nhistory = 5\n",
        )
        .unwrap();
        let line = AgentOptions::default();
        let settings = config.resolve(Some("s"), &line).unwrap().settings;
        assert_eq!(settings.driver, Some(clsess_proto::Driver::Marks));
        assert_eq!(settings.command[0], "bash");
        assert!(!settings.command[1].starts_with('~'));
        assert_eq!((settings.model, settings.idle_sleep_ms), (None, None));
        assert_eq!(settings.history, Some(5));
        let line = AgentOptions {
            model: Some("m".into()),
            ..AgentOptions::default()
        };
        let refused = config.resolve(Some("s"), &line).unwrap_err();
        assert!(refused.message.contains("--model is for agents"));
        let marks = "command = ['x']\nturns = 'marks'\n";
        for (text, expected) in [
            (
                "[profile.p]\nmodel = 'x'\ncommand = ['x']\nturns = 'marks'\n",
                ":3: model is of agents",
            ),
            (
                "[profile.p]\ncommand = ['x']\n",
                ":2: a command needs turns",
            ),
            (
                "[profile.p]\ncommand = []\nturns = 'marks'\n",
                ":2: command names no program",
            ),
            (
                "[profile.p]\nturns = 'marks'\n",
                ":2: turns is for a program",
            ),
            (
                "[profile.p]\ncommand = ['x']\nturns = 'guess'\n",
                ":3: unknown variant",
            ),
            (&format!("[defaults]\n{marks}"), ":2: command belongs"),
            (
                &format!("[session.s]\nmax_turns = 1\n{marks}"),
                ":3: max_turns is of agents",
            ),
            (
                &format!("[profile.p]\n{marks}[session.s]\nmodel = 'x'\nprofile = 'p'\n"),
                ":6: model is of agents, and [profile.p]",
            ),
        ] {
            let found = message(text);
            assert!(found.contains(&format!("config.toml{expected}")), "{found}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let load = |bytes: u64| {
            fs::write(&path, vec![b'#'; usize::try_from(bytes).unwrap()]).unwrap();
            Config::load(Some(&(path.clone(), true)))
        };
        load(MAX_BYTES).unwrap();
        let failure = load(MAX_BYTES + 1).unwrap_err();
        assert!(failure.message.ends_with("it is longer than 1 MiB"));
    }

    #[test]
    fn what_is_not_known_is_an_error_with_its_line() {
        assert!(message("[defaults]\n\nmodle = 'x'\n").contains("config.toml:3: unknown field"));
        assert!(message("[defaults]\ndriver = 'gui'\n").contains("config.toml:2: unknown variant"));
        assert!(message("[defaults]\nturn_timeout = 'soon'\n").contains("config.toml:2:"));
        assert!(message("\n[defaults]\ncwd = '/'\n").contains("config.toml:3: cwd belongs"));
        assert!(message("[session.a]\nprofile = 'no'\n").contains("config.toml:2: there is no"));
        assert!(message("[session.'a b']\n").contains("no name for a session"));
        assert!(message("= 1").contains("config.toml:1:"));
    }
}
