//! `clsess complete`, which only the completions of a shell start: what the word may be that is being
//! typed. And `clsess completions`, which prints those.
//!
//! Nobody has asked for anything yet, so it starts no broker, says nothing to people, and is over soon,
//! whatever else hangs.

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Arg, Command, FromArgMatches, ValueHint};
use clsess_proto::{Failure, LogEntry, Question, Reply, Request, valid_name};

use super::wait_for;
use crate::cli::{Cli, Completions, Shell};
use crate::config::Config;
use crate::line::{Line, Place};
use crate::output::{name_of, plain, print};
use clsess_client::client::{Client, Start};
use clsess_client::surroundings::Surroundings;

/// Longer nobody waits for a Tab key.
const PATIENCE: Duration = Duration::from_secs(1);
/// The last turns of a session; an older one is seldom meant.
const TURNS: u64 = 20;
/// Characters that are told of a candidate: it is a line of a menu.
const ABOUT: usize = 60;

/// `clsess completions`.
pub fn script(completions: &Completions) {
    print(match completions.shell {
        Shell::Bash => include_str!("../../../completions/clsess.bash"),
        Shell::Zsh => include_str!("../../../completions/_clsess"),
        Shell::Fish => include_str!("../../../completions/clsess.fish"),
    });
}

/// What a word may be, and what is told of it.
type Candidate = (String, String);

/// What the shell offers.
enum Offer {
    /// One of these.
    Values(Vec<Candidate>),
    /// What only the shell itself knows: `files`, `directories`, `commands`.
    Own(&'static str),
}

/// Says what the last one of these words may be: a line `values`, then one for each with a tab before
/// what is told of it; or a line `files`, `directories` or `commands`, which the shell knows itself.
pub fn complete(words: impl Iterator<Item = OsString>) {
    let words = words.map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.collect();
    let (says, said) = mpsc::channel();
    // It can hang in more than the broker: the config may be anything.
    thread::spawn(move || says.send(offer(&words)));
    match said.recv_timeout(PATIENCE) {
        Ok(Offer::Own(kind)) => print(&format!("{kind}\n")),
        Ok(Offer::Values(candidates)) => {
            let line = |(value, about): Candidate| format!("{value}\t{about}\n");
            let lines: String = candidates.into_iter().map(line).collect();
            print(&format!("values\n{lines}"));
        }
        Err(_) => {}
    }
}

fn offer(words: &[String]) -> Offer {
    let Some((word, before)) = words.split_last() else {
        return Offer::Values(Vec::new());
    };
    let mut command = crate::command();
    command.build();
    let line = Line::read(&command, before);
    let (place, begun) = line.next(word);
    let mut candidates = match place {
        Place::Verb(of) => verbs(of),
        Place::Option(of) => options(of),
        Place::Value(verb, arg) => match own(arg, &line) {
            Some(kind) => return Offer::Own(kind),
            None => values(verb, arg, &line),
        },
        Place::End => Vec::new(),
    };
    // A line each, so what has more than one (a profile can be called anything) is not offered.
    candidates.retain(|(value, _)| value.starts_with(begun) && plain(value) == *value);
    Offer::Values(candidates)
}

fn verbs(of: &Command) -> Vec<Candidate> {
    let verbs = of.get_subcommands().filter(|verb| !verb.is_hide_set());
    let about = |verb: &Command| verb.get_about().map(ToString::to_string);
    verbs
        .map(|verb| (verb.get_name().to_owned(), first_line(about(verb))))
        .collect()
}

fn options(of: &Command) -> Vec<Candidate> {
    let options = of.get_arguments();
    let shown = options.filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    let option = |arg: &Arg| {
        let short = || arg.get_short().map(|short| format!("-{short}"));
        let name = arg.get_long().map(|long| format!("--{long}"));
        let about = arg.get_help().map(ToString::to_string);
        Some((name.or_else(short)?, first_line(about)))
    };
    shown.filter_map(option).collect()
}

/// What the shell knows better.
fn own(arg: &Arg, line: &Line<'_>) -> Option<&'static str> {
    match arg.get_value_hint() {
        ValueHint::FilePath | ValueHint::AnyPath => Some("files"),
        ValueHint::DirPath => Some("directories"),
        // Of the program that a session is to run.
        _ if arg.is_last_set() => match line.values(arg.get_id().as_str()).next() {
            None => Some("commands"),
            Some(_) => Some("files"),
        },
        _ => None,
    }
}

fn values(verb: &Command, arg: &Arg, line: &Line<'_>) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let about = |help: Option<&clap::builder::StyledStr>| help.map(ToString::to_string);
        return shown
            .map(|value| {
                (
                    value.get_name().to_owned(),
                    first_line(about(value.get_help())),
                )
            })
            .collect();
    }
    let surroundings = match surroundings(line) {
        Some(surroundings) => surroundings,
        None => return Vec::new(),
    };
    let config = Config::load(surroundings.config.as_ref()).unwrap_or_default();
    let session = || line.values("name").next().unwrap_or_default().to_owned();
    let found = match (verb.get_name(), arg.get_id().as_str()) {
        ("new", "name") => Ok(declared(&config)),
        // Both make a session that the config declares.
        ("send" | "attach", "name") => {
            let mut all = sessions(&surroundings).unwrap_or_default();
            let mut more = declared(&config);
            more.retain(|(name, _)| all.iter().all(|(there, _)| there != name));
            all.append(&mut more);
            Ok(all)
        }
        (_, "name" | "names" | "old") => sessions(&surroundings).map(|mut all| {
            all.retain(|(name, _)| line.values("names").all(|given| given != name));
            all
        }),
        ("rm", "turn") => waiting(&surroundings, session()),
        (_, "turn") => turns(&surroundings, session()),
        (_, "id") => questions(&surroundings, session()),
        // The id stands before the texts, if at all.
        ("answer", "texts") if line.values("texts").next().is_none() => {
            questions(&surroundings, session())
        }
        (_, "profile") => Ok(names(config.profiles(), "[profile]")),
        (_, "label") => Ok(labels(&surroundings)),
        _ => Ok(Vec::new()),
    };
    found.unwrap_or_default()
}

/// Those that the line so far means.
fn surroundings(line: &Line<'_>) -> Option<Surroundings> {
    let mut words = vec!["clsess".to_owned()];
    for option in ["socket", "label", "config"] {
        let given = line.values(option).last();
        words.extend(given.map(|value| format!("--{option}={}", at_home(value))));
    }
    words.push("version".to_owned());
    let matches = crate::command().try_get_matches_from(words).ok()?;
    crate::surroundings(&Cli::from_arg_matches(&matches).ok()?.global).ok()
}

/// The shell has not put the home directory in place of `~/` yet.
fn at_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// Asks the broker that is there, if one is.
fn ask(surroundings: &Surroundings, request: Request) -> Result<Reply, Failure> {
    wait_for(async {
        let mut client = Client::connect(surroundings, Start::Never).await?;
        client.call(request).await
    })
}

fn sessions(surroundings: &Surroundings) -> Result<Vec<Candidate>, Failure> {
    let rows = match ask(surroundings, Request::List {})? {
        Reply::Sessions { sessions } => sessions,
        _ => Vec::new(),
    };
    let about = |state: String, cwd: &str| brief(&format!("{state}, {cwd}"));
    Ok(rows
        .into_iter()
        .map(|row| (row.name, about(name_of(&row.state), &row.cwd)))
        .collect())
}

/// The last first, as they are seldom older.
fn turns(surroundings: &Surroundings, session: String) -> Result<Vec<Candidate>, Failure> {
    let request = Request::Log {
        session,
        turn: None,
        after: None,
        last: Some(TURNS),
    };
    let turns = match ask(surroundings, request)? {
        Reply::Log { turns, .. } => turns,
        _ => Vec::new(),
    };
    let about = |entry: &LogEntry| {
        let prompt = entry.prompt.as_deref().unwrap_or_default();
        brief(&format!("{}: {prompt}", name_of(&entry.outcome)))
    };
    let turns = turns.iter().rev();
    Ok(turns
        .map(|entry| (entry.turn.to_string(), about(entry)))
        .collect())
}

fn waiting(surroundings: &Surroundings, session: String) -> Result<Vec<Candidate>, Failure> {
    let turns = match ask(surroundings, Request::Queue { session })? {
        Reply::Queue { turns } => turns,
        _ => Vec::new(),
    };
    Ok(turns
        .iter()
        .map(|turn| (turn.turn.to_string(), brief(&turn.prompt)))
        .collect())
}

fn questions(surroundings: &Surroundings, session: String) -> Result<Vec<Candidate>, Failure> {
    let request = Request::Questions {
        session: Some(session),
    };
    let questions = match ask(surroundings, request)? {
        Reply::Questions { questions } => questions,
        _ => Vec::new(),
    };
    let about = |question: &Question| brief(&question.text);
    Ok(questions
        .iter()
        .map(|question| (question.id.clone(), about(question)))
        .collect())
}

fn declared(config: &Config) -> Vec<Candidate> {
    names(config.sessions(), "declared in the config")
}

/// The labels that have a state directory.
fn labels(surroundings: &Surroundings) -> Vec<Candidate> {
    let entries = std::fs::read_dir(&surroundings.state_dir);
    let dirs = entries.into_iter().flatten().flatten();
    let dirs = dirs.filter(|entry| entry.path().is_dir());
    let labels = dirs.filter_map(|entry| entry.file_name().into_string().ok());
    let labels = labels.filter(|label| valid_name(label));
    labels.map(|label| (label, String::new())).collect()
}

fn names<'n>(names: impl Iterator<Item = &'n String>, about: &str) -> Vec<Candidate> {
    names.map(|name| (name.clone(), about.to_owned())).collect()
}

fn first_line(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn brief(text: &str) -> String {
    plain(text).chars().take(ABOUT).collect()
}
