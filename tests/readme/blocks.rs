//! The blocks of a Markdown file, and the commands in them.

use std::io::Write;
use std::process::{Command, Stdio};

/// How a block is run.
#[derive(Debug, PartialEq, Eq)]
pub enum How {
    /// Each command to its end.
    Typed,
    /// Not at all; why.
    NotRun(String),
    /// The last command goes on while the next block is run.
    GoesOn,
    /// No command ends by itself.
    EachUntilInterrupted,
}

/// What is typed, and what is shown then, where the block says it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub command: String,
    pub shows: Option<String>,
}

#[derive(Debug)]
pub struct Block {
    /// Where it begins.
    pub line: usize,
    pub how: How,
    pub steps: Vec<Step>,
}

/// The blocks of `sh` and `console`.
pub fn of(text: &str) -> Vec<Block> {
    let fences = fences(text).into_iter();
    let block = |fence: Fence<'_>| {
        let steps = match fence.language {
            "sh" => typed(&fence.body),
            "console" => shown(&fence.body),
            _ => return None,
        };
        Some(Block {
            line: fence.line,
            how: how(fence.comment),
            steps,
        })
    };
    fences.filter_map(block).collect()
}

/// The text of all blocks of this language.
pub fn code(text: &str, language: &str) -> Vec<String> {
    let fences = fences(text).into_iter();
    let such = fences.filter(|fence| fence.language == language);
    such.map(|fence| fence.body).collect()
}

struct Fence<'a> {
    line: usize,
    language: &'a str,
    /// What an HTML comment on the line before says.
    comment: Option<&'a str>,
    body: String,
}

fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    let mut before = "";
    while let Some((line, text)) = lines.next() {
        if let Some(language) = text.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line);
            let inside = inside.take_while(|line| *line != "```");
            let comment = before.strip_prefix("<!-- ");
            found.push(Fence {
                line,
                language,
                comment: comment.and_then(|comment| comment.strip_suffix(" -->")),
                body: inside.map(|line| format!("{line}\n")).collect(),
            });
        }
        before = text;
    }
    found
}

fn how(comment: Option<&str>) -> How {
    match comment {
        None => How::Typed,
        Some("goes on during the next block") => How::GoesOn,
        Some("each until Ctrl-C") => How::EachUntilInterrupted,
        Some(comment) => match comment.strip_prefix("not run: ") {
            Some(why) => How::NotRun(why.to_owned()),
            None => panic!("a block of the README has an unknown comment: {comment}"),
        },
    }
}

/// The commands of a script: a line, or as many as bash needs.
fn typed(body: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut command = String::new();
    for line in body.lines() {
        let begins = command.is_empty();
        if begins && (line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        if !begins {
            command.push('\n');
        }
        command.push_str(line);
        if is_whole(&command) {
            let command = std::mem::take(&mut command);
            steps.push(Step {
                command,
                shows: None,
            });
        }
    }
    assert_eq!(command, "", "a command of the README has no end");
    steps
}

/// Whether bash waits for nothing more.
fn is_whole(command: &str) -> bool {
    let mut bash = Command::new("bash");
    bash.arg("-n").stdin(Stdio::piped()).stderr(Stdio::null());
    let mut bash = bash.spawn().unwrap();
    let mut input = bash.stdin.take().unwrap();
    input.write_all(command.as_bytes()).unwrap();
    drop(input);
    bash.wait().unwrap().success()
}

/// Commands behind `$ ` and `> `, and below each what it shows.
fn shown(body: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                shows: Some(String::new()),
            });
            continue;
        }
        let step = steps.last_mut().expect("a block of console begins with $");
        let shows = step.shows.get_or_insert_default();
        match line.strip_prefix("> ") {
            Some(more) if shows.is_empty() => step.command += &format!("\n{more}"),
            _ => *shows += &format!("{line}\n"),
        }
    }
    steps
}

/// Whether what is shown is what is wanted, where `...` stands for anything: in a line for some of it,
/// and on a line of its own for any lines.
pub fn matches(wanted: &str, shown: &str) -> bool {
    let wanted: Vec<&str> = wanted.lines().collect();
    let shown: Vec<&str> = shown.lines().collect();
    lines_match(&wanted, &shown)
}

fn lines_match(wanted: &[&str], shown: &[&str]) -> bool {
    match wanted.split_first() {
        None => shown.is_empty(),
        Some((&"...", rest)) => (0..=shown.len()).any(|at| lines_match(rest, &shown[at..])),
        Some((line, rest)) => match shown.split_first() {
            Some((first, more)) => line_matches(line, first) && lines_match(rest, more),
            None => false,
        },
    }
}

fn line_matches(wanted: &str, shown: &str) -> bool {
    match wanted.split_once("...") {
        None => wanted == shown,
        Some((begin, rest)) => shown.strip_prefix(begin).is_some_and(|left| {
            let ends = left.char_indices().map(|(at, _)| at).chain([left.len()]);
            ends.into_iter().any(|at| line_matches(rest, &left[at..]))
        }),
    }
}
