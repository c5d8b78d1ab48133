//! What the client keeps on disk: its record (trust), its transcripts, its registry.
//!
//! Only where it is and how it reads; the files are read by the broker.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::json::{Raw, array, count, flag, object, text, uuid};
use crate::stream::{AssistantLine, Block, ResultLine, blocks};
use crate::turn::{ErrorKind, Run, TurnEnd};

/// Where a client with a certain environment keeps its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// `$CLAUDE_CONFIG_DIR`, else `$HOME/.claude`.
    config: PathBuf,
    /// `$CLAUDE_CONFIG_DIR/.claude.json`, else `$HOME/.claude.json`.
    record: PathBuf,
}

impl Home {
    /// Of the client with this environment in this directory; `None` without `HOME` and
    /// `CLAUDE_CONFIG_DIR`. An empty value counts as missing; a relative one is taken from `cwd`,
    /// as the client does (measured).
    #[must_use]
    pub fn new(env: &[(OsString, OsString)], cwd: &Path) -> Option<Self> {
        let value = |name: &str| {
            let value = &env.iter().find(|(it, _)| it == name)?.1;
            (!value.is_empty()).then(|| cwd.join(value))
        };
        if let Some(config) = value("CLAUDE_CONFIG_DIR") {
            let record = config.join(".claude.json");
            return Some(Self { config, record });
        }
        let home = value("HOME")?;
        Some(Self {
            config: home.join(".claude"),
            record: home.join(".claude.json"),
        })
    }

    /// The record: who is trusted. Rewritten by every client (facts 8.4): read it, never write.
    #[must_use]
    pub fn record_path(&self) -> &Path {
        &self.record
    }

    /// What `/login` writes: secrets, whose existence alone is of interest.
    #[must_use]
    pub fn credentials_path(&self) -> PathBuf {
        self.config.join(".credentials.json")
    }

    /// The user's own settings.
    #[must_use]
    pub fn settings_path(&self) -> PathBuf {
        self.config.join("settings.json")
    }

    /// The transcripts of all directories.
    #[must_use]
    pub fn projects_dir(&self) -> PathBuf {
        self.config.join("projects")
    }

    /// One `<pid>.json` for each running client, and those that were killed (facts 3.3).
    #[must_use]
    pub fn registry_dir(&self) -> PathBuf {
        self.config.join("sessions")
    }

    /// The transcript of a conversation that was begun in `cwd`, which must be the real path.
    /// A conversation that was moved has its own: look through [`Self::projects_dir`] then.
    #[must_use]
    pub fn transcript_path(&self, cwd: &Path, session: Uuid) -> PathBuf {
        let mut path = self.projects_dir();
        path.push(project_name(cwd));
        path.push(format!("{session}.jsonl"));
        path
    }
}

/// The longest directory name the client makes as it is; longer ones are cut and get a hash.
const MAX_PROJECT_NAME: usize = 200;

/// Each UTF-16 unit of the path that is not an ASCII letter or digit is a `-`; beyond 200 of them
/// the first 200, a `-` and a hash of the path in base 36 (measured: 319 and 264 characters).
fn project_name(cwd: &Path) -> String {
    let cwd = cwd.to_string_lossy();
    let dash = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte),
        _ => '-',
    };
    let mut name: String = cwd.encode_utf16().map(dash).collect();
    if name.len() > MAX_PROJECT_NAME {
        name.truncate(MAX_PROJECT_NAME);
        name.push('-');
        name += &base36(cwd.encode_utf16().fold(0_i32, |hash, unit| {
            hash.wrapping_shl(5)
                .wrapping_sub(hash)
                .wrapping_add(i32::from(unit))
        }));
    }
    name
}

fn base36(number: i32) -> String {
    let mut rest = number.unsigned_abs();
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit(rest % 36, 36));
        rest /= 36;
        if rest == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// Whether the client's record says that a directory is trusted.
///
/// As the client does: the directory itself, or any above it, up to and including the root of
/// the git repository it is in (a trusted directory above the repository does not count), or up
/// to `/` outside of one (measured with the TUI's dialog). `dir` and `git_root` are real paths.
/// A record that cannot be read trusts nothing.
#[must_use]
pub fn trusted(record: &[u8], dir: &Path, git_root: Option<&Path>) -> bool {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        projects: Raw<'a>,
    }
    #[derive(Deserialize)]
    struct Project<'a> {
        #[serde(borrow, rename = "hasTrustDialogAccepted")]
        accepted: Raw<'a>,
    }
    let record = serde_json::from_slice::<&RawValue>(record).ok();
    let projects = object::<Record<'_>>(record).and_then(|record| record.projects);
    let Some(projects) = object::<std::collections::HashMap<String, &RawValue>>(projects) else {
        return false;
    };
    let accepted = |directory: &Path| {
        let project = directory
            .to_str()
            .and_then(|name| projects.get(name).copied());
        object::<Project<'_>>(project).and_then(|project| flag(project.accepted)) == Some(true)
    };
    match git_root.filter(|root| dir.starts_with(root)) {
        Some(root) => dir
            .ancestors()
            .take_while(|above| above.starts_with(root))
            .any(accepted),
        None => dir.ancestors().any(accepted),
    }
}

/// The fields of a transcript's line that matter here.
#[derive(Deserialize)]
#[allow(non_snake_case)] // the client's own spelling
struct Entry<'a> {
    #[serde(borrow, rename = "type")]
    kind: Raw<'a>,
    #[serde(borrow)]
    subtype: Raw<'a>,
    #[serde(borrow)]
    uuid: Raw<'a>,
    #[serde(borrow)]
    parentUuid: Raw<'a>,
    #[serde(borrow)]
    isSidechain: Raw<'a>,
    #[serde(borrow)]
    promptId: Raw<'a>,
    #[serde(borrow)]
    mergedSendUuids: Raw<'a>,
    #[serde(borrow)]
    carriesOnTurnOf: Raw<'a>,
    #[serde(borrow)]
    message: Raw<'a>,
    #[serde(borrow)]
    attachment: Raw<'a>,
    #[serde(borrow)]
    sessionId: Raw<'a>,
    #[serde(borrow)]
    isApiErrorMessage: Raw<'a>,
    #[serde(borrow)]
    error: Raw<'a>,
    #[serde(borrow)]
    apiError: Raw<'a>,
    #[serde(borrow)]
    apiErrorStatus: Raw<'a>,
    #[serde(borrow)]
    apiErrorType: Raw<'a>,
    #[serde(borrow)]
    toolDenialKind: Raw<'a>,
    #[serde(borrow)]
    isMeta: Raw<'a>,
    #[serde(borrow)]
    permissionMode: Raw<'a>,
}

/// Reasons for the end of a message behind which the client makes the model go on by itself, or says
/// that it does not. (measured)
const GOES_ON: [&str; 3] = ["tool_use", "max_tokens", "refusal"];

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    #[serde(borrow)]
    model: Raw<'a>,
    #[serde(borrow)]
    content: Raw<'a>,
    #[serde(borrow)]
    stop_reason: Raw<'a>,
}

/// A turn as its transcript tells it.
#[derive(Default)]
struct Told {
    run: Run,
    /// Lines of one turn share it.
    prompt: Option<String>,
    end: ResultLine,
    /// The last line was the model's, and its message had ended.
    whole: bool,
    /// How often more came all the same.
    continued: u32,
    /// The client has written that the turn is over: the interface does, behind all hooks.
    over: bool,
    cut: CutOff,
}

/// What became of a user line, as the transcript tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The line is not there: the client died within 0.1 s of having read it.
    Absent,
    /// Its turn has ended.
    Ended(Box<TurnEnd>),
    /// Its turn has begun and not ended.
    CutOff(CutOff),
}

/// A turn in which the client died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// Its user line; another one than was asked for where that is its `promptId`.
    pub line: Option<Uuid>,
    /// The line before it in the conversation; `None` for the first of all.
    pub parent: Option<Uuid>,
    /// The model has said something in it: a client that resumes takes its uuid for one that it
    /// has run.
    pub answered: bool,
    /// Tools were called in it.
    pub tools: bool,
    /// It is no line of its own: it was put into another turn, or made one with others.
    pub part: bool,
    /// Another turn comes after it.
    pub followed: bool,
}

/// What became of a user line, from its transcript, which is read line by line: it may be long.
/// `user` may also be the `promptId` of its turn, by which the interface knows it (facts 13).
///
/// # Errors
/// Of the reader.
pub fn fate(text: impl BufRead, user: Uuid) -> io::Result<Fate> {
    Ok(match told(text, user)? {
        None => Fate::Absent,
        Some(told) if told.whole => Fate::Ended(Box::new(told.end())),
        Some(told) => Fate::CutOff(told.cut),
    })
}

/// The end of the turn of a user line, from its transcript, which is read line by line: for a
/// uuid that the client absorbed without a `result`. `None` if the line is not there.
///
/// The same definition of the answer as [`crate::turn`]'s. A turn without an end has failed, with
/// [`ErrorKind::NoResult`]. What the transcript does not tell (cost, times) is missing.
///
/// # Errors
/// Of the reader.
pub fn answer_of(text: impl BufRead, user: Uuid) -> io::Result<Option<TurnEnd>> {
    Ok(told(text, user)?.map(Told::end))
}

/// The permission mode that the client has written down last. It does so at its end, and when
/// somebody has chosen another one.
///
/// # Errors
/// Of the reader.
pub fn last_mode(mut transcript: impl BufRead) -> io::Result<Option<String>> {
    let (mut mode, mut line) = (None, Vec::new());
    while transcript.read_until(b'\n', &mut line)? > 0 {
        let entry = serde_json::from_slice::<&RawValue>(line.trim_ascii());
        if let Some(entry) = object::<Entry<'_>>(entry.ok())
            && text(entry.kind).as_deref() == Some("permission-mode")
        {
            mode = text(entry.permissionMode).or(mode);
        }
        line.clear();
    }
    Ok(mode)
}

fn told(mut text: impl BufRead, user: Uuid) -> io::Result<Option<Told>> {
    let (mut told, mut line) = (None, Vec::new());
    while text.read_until(b'\n', &mut line)? > 0 && !is_last(&line, user, &mut told) {
        line.clear();
    }
    Ok(told)
}

/// Takes a line in; whether nothing behind it is of the turn.
fn is_last(line: &[u8], user: Uuid, told: &mut Option<Told>) -> bool {
    let line = serde_json::from_slice::<&RawValue>(line.trim_ascii());
    let Some(entry) = object::<Entry<'_>>(line.ok()) else {
        return false;
    };
    if flag(entry.isSidechain) == Some(true) {
        return false;
    }
    if entry.is_prompt(user) || told.is_none() && entry.begins_turn(user) {
        // the same line once more: the turn begins anew
        *told = Some(Told {
            prompt: text(entry.promptId),
            cut: CutOff {
                line: uuid(entry.uuid),
                parent: uuid(entry.parentUuid),
                part: uuid(entry.uuid) != Some(user) && !entry.begins_turn(user),
                ..CutOff::default()
            },
            ..Told::default()
        });
        return false;
    }
    let Some(told) = told else { return false };
    if uuid(entry.carriesOnTurnOf) == Some(user) {
        // the client had died, and was told to go on: what it had said stands
        told.prompt = text(entry.promptId);
        return false;
    }
    match text(entry.kind).as_deref() {
        Some("assistant") => told.assistant(&entry),
        Some("user") if told.is_over_with(&entry) => {
            told.cut.followed = true;
            return true;
        }
        Some("user") => told.user(&entry),
        Some("system") => {
            told.over |= told.whole && text(entry.subtype).as_deref() == Some("turn_duration");
        }
        _ => {}
    }
    false
}

impl Entry<'_> {
    /// The first line of a turn that the interface knows by this id.
    fn begins_turn(&self, prompt: Uuid) -> bool {
        text(self.kind).as_deref() == Some("user") && uuid(self.promptId) == Some(prompt)
    }

    /// The line of this user line: its own, the one it was merged into, or the note that put it
    /// into a running turn.
    fn is_prompt(&self, user: Uuid) -> bool {
        #[derive(Deserialize)]
        struct Queued<'a> {
            #[serde(borrow)]
            source_uuid: Raw<'a>,
        }
        let is = |raw: Raw<'_>| uuid(raw) == Some(user);
        match text(self.kind).as_deref() {
            Some("user") => {
                is(self.uuid)
                    || array(self.mergedSendUuids)
                        .into_iter()
                        .any(|merged| is(Some(merged)))
            }
            Some("attachment") => {
                object::<Queued<'_>>(self.attachment).is_some_and(|queued| is(queued.source_uuid))
            }
            _ => false,
        }
    }
}

impl Told {
    fn assistant(&mut self, entry: &Entry<'_>) {
        let Some(message) = object::<Message<'_>>(entry.message) else {
            return;
        };
        let line = AssistantLine {
            message_id: text(message.id),
            model: text(message.model),
            blocks: blocks(message.content),
            subagent: false,
            api_error: flag(entry.isApiErrorMessage) == Some(true),
            error: text(entry.error),
            aborted: false,
        };
        self.end.session_id = uuid(entry.sessionId);
        self.end.stop_reason = text(message.stop_reason);
        self.end.is_error = line.api_error;
        self.end.api_status = count(entry.apiErrorStatus).and_then(|status| status.try_into().ok());
        self.end.api_error_type = text(entry.apiErrorType);
        self.end.api_error = text(entry.apiError);
        self.end.text = None;
        if line.api_error {
            self.whole = true;
            self.run.api_error(&line);
            self.end.text = line.blocks.into_iter().find_map(|block| match block {
                Block::Text(text) => Some(text),
                _ => None,
            });
        } else if line.model.as_deref() != Some("<synthetic>") {
            self.cut.answered = true;
            self.cut.tools |= line
                .blocks
                .iter()
                .any(|block| matches!(block, Block::Tool { .. }));
            self.whole = self
                .end
                .stop_reason
                .as_deref()
                .is_some_and(|reason| !GOES_ON.contains(&reason));
            line.blocks
                .iter()
                .for_each(|block| self.run.block(&line, block));
        }
    }

    fn user(&mut self, entry: &Entry<'_>) {
        let Some(content) =
            object::<Message<'_>>(entry.message).and_then(|message| message.content)
        else {
            return;
        };
        if flag(entry.isMeta) == Some(true) && entry.promptId.is_some() {
            // written by the client to make the model go on: by itself, or since a hook says so
            self.continued += u32::from(self.whole);
            self.whole = false;
        }
        for block in blocks(Some(content)) {
            match block {
                Block::Result => self.run.tool_result(),
                Block::Text(text) if text.starts_with("[Request interrupted by user") => {
                    self.whole = true;
                    self.end.is_error = true;
                    self.end.terminal_reason = Some("aborted".to_owned());
                }
                _ => {}
            }
        }
    }

    /// Whether a user's line is of another prompt.
    ///
    /// A turn that another client has taken up under its own uuid goes on without a line, and its
    /// tools' results have another prompt's id. (measured) So has what the client writes for a call
    /// that its predecessor died in, before the next prompt: that is no result.
    fn is_over_with(&mut self, entry: &Entry<'_>) -> bool {
        let other = text(entry.promptId);
        if other.is_none() || other == self.prompt || self.prompt.is_none() {
            return false;
        }
        let is_result = |block: &Block| matches!(block, Block::Result);
        let message = object::<Message<'_>>(entry.message);
        let goes_on = self.cut.tools
            && !self.whole
            && text(entry.toolDenialKind).as_deref() != Some("interrupted")
            && blocks(message.and_then(|message| message.content))
                .iter()
                .any(is_result);
        if goes_on {
            self.prompt = other;
        }
        !goes_on
    }

    fn end(self) -> TurnEnd {
        let mut end = self.run.end(self.end, None);
        end.known_already = true;
        end.continued = self.continued;
        end.over = self.over;
        if !self.whole {
            end.fail(
                ErrorKind::NoResult,
                "the transcript ends before the turn does",
            );
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn places() {
        let cwd = Path::new("/w");
        let home = Home::new(&env(&[("HOME", "/h")]), cwd).unwrap();
        assert_eq!(home.record_path(), Path::new("/h/.claude.json"));
        assert_eq!(home.registry_dir(), Path::new("/h/.claude/sessions"));
        assert_eq!(
            home.transcript_path(Path::new("/tmp/a_b.c"), Uuid::nil()),
            Path::new("/h/.claude/projects/-tmp-a-b-c/00000000-0000-0000-0000-000000000000.jsonl")
        );
        let conf = Home::new(&env(&[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "rel/c")]), cwd).unwrap();
        assert_eq!(conf.record_path(), Path::new("/w/rel/c/.claude.json"));
        assert_eq!(conf.projects_dir(), Path::new("/w/rel/c/projects"));
        assert_eq!(
            Home::new(&env(&[("HOME", "/h"), ("CLAUDE_CONFIG_DIR", "")]), cwd),
            Some(home)
        );
        assert_eq!(Home::new(&[], cwd), None);
    }

    /// The names are the real client's.
    #[test]
    fn long_directories() {
        let d = format!("/tmp/meas/cwd/{}", vec!["d".repeat(50); 6].join("/"));
        assert!(project_name(Path::new(&d)).ends_with("d-7gzyvi"));
        let e = format!("/tmp/meas/cwd/{}", "e".repeat(250));
        let name = project_name(Path::new(&e));
        assert_eq!((name.len(), &name[199..]), (207, "e-yx4bgj"));
        assert_eq!(
            project_name(Path::new("/tmp/meas/cwd/dö_t.x y")),
            "-tmp-meas-cwd-d--t-x-y"
        );
        assert_eq!(project_name(Path::new("/\u{1F600}")), "---");
    }

    /// The cases that were tried with the real client's dialog.
    #[test]
    fn trust() {
        let check = |trusted_dir: &str, dir: &str, git: Option<&str>| {
            let record =
                format!(r#"{{"projects":{{"{trusted_dir}":{{"hasTrustDialogAccepted":true}}}}}}"#);
            trusted(record.as_bytes(), Path::new(dir), git.map(Path::new))
        };
        assert!(check("/a/b", "/a/b", None));
        assert!(check("/a", "/a/b", None));
        assert!(check("/a", "/a/b/c", None));
        assert!(check("/", "/a/b", None));
        assert!(!check("/a/b", "/a", None));
        assert!(!check("/a", "/ab", None));
        assert!(!check("/a", "/a/b", Some("/a/b")), "above the repository");
        assert!(check("/a", "/a/b", Some("/a")));
        assert!(check("/a/b", "/a/b/c", Some("/a")));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"projects":[]}"#,
            r#"{"projects":{"/a":{"hasTrustDialogAccepted":"true"}}}"#,
        ] {
            assert!(!trusted(bad.as_bytes(), Path::new("/a"), None), "{bad}");
        }
    }

    #[test]
    fn the_mode_that_was_written_last() {
        let line = |mode: &str| format!(r#"{{"type":"permission-mode","permissionMode":{mode}}}"#);
        let user = r#"{"type":"user","permissionMode":"plan","message":{}}"#;
        for (lines, expected) in [
            (vec![], None),
            (vec![user.to_owned()], None),
            (vec![line("\"plan\""), user.to_owned()], Some("plan")),
            (vec![line("\"plan\""), line("\"auto\"")], Some("auto")),
            (
                vec![line("\"plan\""), line("1"), "{".to_owned()],
                Some("plan"),
            ),
            (vec![line("\"plan\"")[3..].to_owned()], None),
        ] {
            let mode = last_mode(lines.join("\n").as_bytes()).unwrap();
            assert_eq!(mode.as_deref(), expected, "{lines:?}");
        }
    }

    /// A transcript of what the real client writes, with only what matters here.
    #[test]
    fn what_became_of_a_line() {
        let id = |n: u128| Uuid::from_u128(n);
        let user = |n, parent: Option<u128>, text: &str| {
            let parent = parent.map_or("null".into(), |n| format!("\"{}\"", id(n)));
            let (uuid, prompt) = (id(n), id(n + 1000));
            format!(
                r#"{{"type":"user","uuid":"{uuid}","parentUuid":{parent},"promptId":"{prompt}","message":{{"role":"user","content":"{text}"}}}}"#
            )
        };
        let said = |n, reason: &str, block: &str| {
            let uuid = id(n);
            format!(
                r#"{{"type":"assistant","uuid":"{uuid}","message":{{"id":"m{n}","model":"x","stop_reason":"{reason}","content":[{block}]}}}}"#
            )
        };
        let text = r#"{"type":"text","text":"A"}"#;
        let tool = r#"{"type":"tool_use","id":"t","name":"Bash","input":{}}"#;
        let result = |n: u128, prompt: u128, more: &str| {
            let (uuid, prompt) = (id(n), id(prompt + 1000));
            let block = r#"{"type":"tool_result","tool_use_id":"t","content":"x"}"#;
            format!(
                r#"{{"type":"user","uuid":"{uuid}","promptId":"{prompt}"{more},"message":{{"role":"user","content":[{block}]}}}}"#
            )
        };
        let first = [user(1, None, "one"), said(2, "end_turn", text)];
        let check = |more: &[String], of: u128| {
            let lines: Vec<&str> = first.iter().chain(more).map(String::as_str).collect();
            fate(lines.join("\n").as_bytes(), id(of)).unwrap()
        };
        let second = user(3, Some(2), "two");
        let cut = CutOff {
            line: Some(id(3)),
            parent: Some(id(2)),
            ..CutOff::default()
        };
        assert_eq!(check(&[], 3), Fate::Absent);
        assert!(matches!(check(&[], 1), Fate::Ended(end) if end.answer == "A"));
        assert_eq!(check(std::slice::from_ref(&second), 3), Fate::CutOff(cut));
        // the same by the ids of their turns
        assert!(matches!(check(&[], 1001), Fate::Ended(end) if end.answer == "A"));
        assert_eq!(
            check(std::slice::from_ref(&second), 1003),
            Fate::CutOff(cut)
        );
        let answered = CutOff {
            answered: true,
            ..cut
        };
        let calls = CutOff {
            tools: true,
            ..answered
        };
        let more = [second.clone(), said(4, "tool_use", tool)];
        assert_eq!(check(&more, 3), Fate::CutOff(calls));
        let more = [
            second.clone(),
            said(4, "tool_use", tool),
            result(5, 3, ""),
            said(6, "end_turn", text),
        ];
        assert!(matches!(check(&more, 1003), Fate::Ended(end) if end.answer == "A"));
        let more = [second.clone(), said(4, "tool_use", text)];
        assert_eq!(check(&more, 3), Fate::CutOff(answered));
        let more = [second.clone(), user(5, Some(3), "three")];
        let followed = CutOff {
            followed: true,
            ..cut
        };
        assert_eq!(check(&more, 3), Fate::CutOff(followed));
        let merged = second.replace(
            "\"type\"",
            &format!("\"mergedSendUuids\":[\"{}\"],\"type\"", id(9)),
        );
        let part = CutOff { part: true, ..cut };
        assert_eq!(check(&[merged], 9), Fate::CutOff(part));
        // Another client took it up; and one came after a death in a call.
        let goes_on = [
            second.clone(),
            said(4, "tool_use", tool),
            result(5, 50, ""),
            said(6, "tool_use", tool),
            result(7, 50, ""),
            said(8, "end_turn", text),
            user(9, Some(8), "three"),
        ];
        assert!(matches!(check(&goes_on, 3), Fate::Ended(end) if end.answer == "A"));
        assert_eq!(check(&goes_on[..5], 3), Fate::CutOff(calls));
        let died = [
            second,
            said(4, "tool_use", tool),
            result(5, 6, r#","toolDenialKind":"interrupted""#),
            user(6, Some(5), "three"),
            said(7, "end_turn", text),
        ];
        let followed = CutOff {
            followed: true,
            ..calls
        };
        assert_eq!(check(&died, 3), Fate::CutOff(followed));
        // The client goes on by itself, and says so in a line of the same prompt.
        for reason in ["max_tokens", "refusal"] {
            let half = [user(3, Some(2), "two"), said(4, reason, text)];
            assert_eq!(check(&half, 3), Fate::CutOff(answered), "{reason}");
        }
        let meta = user(5, Some(4), "go on")
            .replace(&id(1005).to_string(), &id(1003).to_string())
            .replace("\"type\":\"user\"", "\"type\":\"user\",\"isMeta\":true");
        let mut on = vec![user(3, Some(2), "two"), said(4, "end_turn", text), meta];
        assert_eq!(check(&on, 3), Fate::CutOff(answered));
        on.push(said(6, "end_turn", text));
        assert!(matches!(check(&on, 3), Fate::Ended(end) if end.continued == 1 && !end.over));
        on.push(r#"{"type":"system","subtype":"turn_duration"}"#.to_owned());
        assert!(matches!(check(&on, 3), Fate::Ended(end) if end.over));
        assert!(matches!(check(&on[..2], 3), Fate::Ended(end) if end.continued == 0));
        let only = [user(1, None, "one")];
        let only = fate(only[0].as_bytes(), id(1)).unwrap();
        let first = CutOff {
            line: Some(id(1)),
            ..CutOff::default()
        };
        assert_eq!(only, Fate::CutOff(first));
    }

    #[test]
    fn a_transcript_without_the_line_has_no_answer() {
        assert_eq!(
            answer_of(&b"{}\n\nnonsense\n[1]"[..], Uuid::nil()).unwrap(),
            None
        );
    }
}
