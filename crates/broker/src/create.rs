//! Making a session: names, trust, files, the first start.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clsess_proto::{Driver, ErrorCode, Failure, New, Program, Reply, valid_name};
use serde_bytes::ByteBuf;
use uuid::Uuid;

use crate::broker::Shared;
use crate::conn::ask;
use crate::disk::{self, Promise, Synced};
use crate::journal::Journal;
use crate::place::private_dir;
use crate::registry::MAX_SESSIONS;
use crate::requests::bad_name;
use crate::session::{self, Command, Handle, ProgramSeed, Seed, now_ms, start_timeout, trusted};
use crate::store::{self, Env, SessionRecord};

/// What the session's own bound of a start gets beyond it, so that it is the one
/// that tells.
const SLACK: Duration = Duration::from_millis(500);

/// Grace for an agent of a session that could not be made, in milliseconds.
const GRACE_MS: u64 = 2000;

/// Makes a session, or finds the one that is there.
///
/// # Errors
/// As the request's options say; nothing is left of a session that could not be
/// started.
pub async fn create(shared: &Arc<Shared>, new: New) -> Result<Reply, Failure> {
    let shared = Arc::clone(shared);
    // A task of its own: it sees to its end whether or not its client stays.
    let made = tokio::spawn(async move { make(&shared, new).await });
    made.await
        .unwrap_or_else(|e| Err(Failure::new(ErrorCode::Internal, e.to_string())))
}

async fn make(shared: &Arc<Shared>, new: New) -> Result<Reply, Failure> {
    let timeout_ms = new.start_timeout_ms;
    // Whether a conversation can be taken up is known when its agent is there, and nothing is made
    // of one that cannot.
    let wait = new.wait || new.resume.is_some();
    if let Some(handle) = new.id.and_then(|id| shared.registry.by_id(id)) {
        // Its own: the connection was lost on which it was asked for first.
        let outcome = started(&handle, wait, timeout_ms, true).await;
        return or_nothing(&handle, outcome).await;
    }
    if let Some(name) = &new.name
        && let Some(handle) = existing(shared, name, new.exists_ok)?
    {
        return started(&handle, new.wait, new.start_timeout_ms, false).await;
    }
    let (handle, on_disk) = begin(shared, new)?;
    let outcome = started(&handle, wait, timeout_ms, true).await;
    let mut kept = outcome;
    for promise in on_disk {
        if let Err(error) = promise.kept().await {
            let message = format!("the session cannot be kept on disk: {error}");
            kept = Err(Failure::new(ErrorCode::JournalFailed, message).hint(disk::hint(&error)));
        }
    }
    or_nothing(&handle, kept).await
}

/// Nothing is left of a session that could not be made.
async fn or_nothing(handle: &Handle, made: Result<Reply, Failure>) -> Result<Reply, Failure> {
    match made {
        Ok(reply) => Ok(reply),
        Err(failure) => {
            let grace_ms = GRACE_MS;
            let _ = ask(handle, |reply| Command::Kill { grace_ms, reply }).await;
            Err(without_session(failure))
        }
    }
}

/// The failure of a start, told to one who is left without the session: what it
/// hints at must be possible.
fn without_session(failure: Failure) -> Failure {
    match failure.code {
        ErrorCode::ConversationMissing => {
            failure.hint("without --resume, clsess new begins a conversation")
        }
        ErrorCode::ConversationDamaged => failure.hint(
            "put a whole file in its place, if there is a copy; without --resume, clsess new \
             begins a conversation",
        ),
        _ => failure,
    }
}

/// The session of that name, where one is and may be.
fn existing(shared: &Shared, name: &str, exists_ok: bool) -> Result<Option<Handle>, Failure> {
    if !valid_name(name) {
        return Err(bad_name(name));
    }
    match shared.registry.by_name(name) {
        Some(handle) if exists_ok => Ok(Some(handle)),
        Some(_) => Err(Failure::new(
            ErrorCode::SessionExists,
            format!("there is a session {name} already"),
        )
        .hint(format!("to use it: clsess new -A {name}"))),
        None => Ok(None),
    }
}

/// Wakes the session's agent; waits for it where that is wanted.
async fn started(
    handle: &Handle,
    wait: bool,
    timeout_ms: u64,
    created: bool,
) -> Result<Reply, Failure> {
    let wake = ask(handle, |reply| Command::Wake { timeout_ms, reply });
    if wait && timeout_ms > 0 {
        // The session's own bound is that of the most patient who waits for it.
        let patience = Duration::from_millis(timeout_ms) + SLACK;
        tokio::select! {
            woken = wake => woken?,
            () = out_of_patience(handle, patience) => return Err(start_timeout()),
        }
    } else if wait {
        wake.await?;
    } else {
        // The command is sent; its answer comes when nobody waits any more.
        let handle = handle.clone();
        tokio::spawn(async move {
            let _ = ask(&handle, |reply| Command::Wake { timeout_ms, reply }).await;
        });
    }
    Ok(session_reply(handle, created))
}

/// Ends when a start takes too long. It does not begin before there is room for it.
async fn out_of_patience(handle: &Handle, patience: Duration) {
    let mut row = handle.row.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(patience) => return,
            Ok(_) = row.wait_for(|row| row.waits_for_room) => {}
        }
        // An error: the session is gone, and its waiters have been told.
        let _ = row.wait_for(|row| !row.waits_for_room).await;
    }
}

/// The answer that tells of a session.
#[must_use]
pub fn session_reply(handle: &Handle, created: bool) -> Reply {
    Reply::Session {
        session: handle.row.borrow().told(),
        created,
    }
}

/// Writes the session's files and begins its task. Nothing waits in here, so two
/// requests for one name cannot cross.
fn begin(shared: &Arc<Shared>, new: New) -> Result<(Handle, Vec<Promise>), Failure> {
    if shared.registry.count() >= MAX_SESSIONS {
        return Err(Failure::new(
            ErrorCode::TooMany,
            format!("there are {MAX_SESSIONS} sessions already"),
        )
        .hint("clsess kill NAME"));
    }
    let turns = new.settings.driver.is_some_and(Driver::is_program);
    check_command(&new, turns)?;
    let env = env_of(new.env);
    let cwd = directory(&new.cwd)?;
    if let Some(program) = &new.program {
        check_program(program)?;
    } else if !turns && !new.trust && !trusted(&env, &cwd) {
        return Err(untrusted(&cwd));
    }
    if let Some(id) = new.resume {
        only_writer(shared, id)?;
    }
    let name = match new.name {
        Some(name) => name,
        None => shared.registry.free_name(&name_of(&cwd)),
    };
    let id = new.id.unwrap_or_else(Uuid::new_v4);
    let dir = shared.place.sessions().join(id.to_string());
    if dir.exists() || shared.place.ended().join(id.to_string()).exists() {
        // What is in there is not to be written over: it could not be taken up, or was killed.
        let message = format!("there is or was a session {id} already");
        return Err(Failure::new(ErrorCode::SessionExists, message));
    }
    private_dir(&dir).map_err(|failure| Failure {
        code: ErrorCode::JournalFailed,
        ..failure
    })?;
    let (kept, forgotten) = store::split_forgotten(&env, &new.settings.env_forget);
    let record = SessionRecord {
        version: store::VERSION,
        name: name.clone(),
        id,
        cwd: cwd.display().to_string(),
        agent_session_id: new.resume.unwrap_or_else(Uuid::new_v4),
        began: new.resume.is_some(),
        created_at: now_ms(),
        umask: new.umask.unwrap_or(0o022) & 0o777,
        forgotten,
        damage: None,
        embodied: None,
        program: new.program.clone(),
        exit: None,
        settings: new.settings,
    };
    let on_disk = |e: std::io::Error| {
        let _ = std::fs::remove_dir_all(&dir);
        let message = format!("cannot write into {}: {e}", dir.display());
        Failure::new(ErrorCode::JournalFailed, message).hint(disk::hint(&e))
    };
    let bytes = record.to_bytes().map_err(on_disk)?;
    if let Some(program) = new.program {
        // A program dies with its machine: what only that could take is not waited for.
        let files = [
            (store::env_path(&dir), store::env_to_bytes(&kept)),
            (dir.join(store::FILE), bytes),
        ];
        for (path, bytes) in files {
            disk::write_private(&path, &bytes).map_err(on_disk)?;
        }
        let seed = ProgramSeed {
            record,
            program,
            dir,
            env: Some(env),
            found: None,
            taken_up: false,
        };
        let handle = session::spawn_program(Arc::clone(shared), seed);
        return Ok((known(shared, &name, handle), Vec::new()));
    }
    let journal = Journal::open(&dir, record.settings.history).map_err(on_disk)?;
    let sessions = File::open(shared.place.sessions()).map_err(on_disk)?;
    let (env_path, env_bytes) = (store::env_path(&dir), store::env_to_bytes(&kept));
    let promises = vec![
        // That the session's directory is there is written in this one.
        shared.disk.sync(Arc::new(Synced::new(sessions))),
        shared.disk.replace(env_path, env_bytes),
        // Last: a directory without it is not a session yet.
        shared.disk.replace(dir.join(store::FILE), bytes),
    ];
    let seed = Seed {
        record,
        dir,
        journal,
        env: Some(env),
        taken_up: false,
        found: None,
        left: None,
        held: false,
    };
    let handle = session::spawn(Arc::clone(shared), seed);
    Ok((known(shared, &name, handle), promises))
}

/// Makes the session known by its name.
fn known(shared: &Shared, name: &str, handle: Handle) -> Handle {
    shared.registry.insert(name.to_owned(), handle.clone());
    tracing::info!(session = %name, id = %handle.id, "session made");
    handle
}

/// Rows and columns of a terminal at most.
const LARGEST: u16 = 1000;

fn check_program(program: &Program) -> Result<(), Failure> {
    let bad = |why: String| Err(Failure::new(ErrorCode::BadRequest, why));
    if program.args.first().is_none_or(|first| first.is_empty()) {
        return bad("no program is named".to_owned());
    }
    if program.args.iter().any(|arg| arg.contains(&0)) {
        return bad("an argument has a NUL in it".to_owned());
    }
    let (rows, cols) = (program.rows, program.cols);
    if !(1..=LARGEST).contains(&rows) || !(1..=LARGEST).contains(&cols) {
        let why = format!("a terminal of {cols} columns and {rows} rows; 1 to {LARGEST} of each");
        return bad(why);
    }
    Ok(())
}

/// What a program with turns needs, and nothing else has.
fn check_command(new: &New, turns: bool) -> Result<(), Failure> {
    let command = &new.settings.command;
    let bad = |why: &str| Err(Failure::new(ErrorCode::BadRequest, why));
    match turns {
        false if !command.is_empty() => bad("a command needs the driver marks or codex"),
        true if command.first().is_none_or(String::is_empty) => bad("no program is named"),
        true if command.iter().any(|word| word.contains('\0')) => {
            bad("an argument has a NUL in it")
        }
        true if new.program.is_some() => bad("a program is named twice"),
        true if new.resume.is_some() => bad("a program has no conversation to take up"),
        _ => Ok(()),
    }
}

/// The caller's environment.
#[must_use]
pub fn env_of(pairs: Vec<(ByteBuf, ByteBuf)>) -> Env {
    let os = |bytes: ByteBuf| OsString::from_vec(bytes.into_vec());
    let mut named = HashSet::new();
    let valid = |name: &[u8], value: &[u8]| {
        !name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !value.contains(&0)
    };
    // Of several values of a name the last one counts, as for a shell.
    let mut env: Env = pairs
        .into_iter()
        .rev()
        .filter(|(name, value)| valid(name, value) && named.insert(name.clone()))
        .map(|(name, value)| (os(name), os(value)))
        .collect();
    env.reverse();
    env
}

/// The session's directory as the agent will see it.
fn directory(cwd: &str) -> Result<PathBuf, Failure> {
    let bad = |what: String| Failure::new(ErrorCode::BadDirectory, format!("{cwd}: {what}"));
    if !Path::new(cwd).is_absolute() {
        return Err(bad("not an absolute path".to_owned()));
    }
    let real = std::fs::canonicalize(cwd).map_err(|e| bad(e.to_string()))?;
    if !real.is_dir() {
        return Err(bad("not a directory".to_owned()));
    }
    if real.to_str().is_none() {
        return Err(bad("its real path is not UTF-8".to_owned()));
    }
    Ok(real)
}

fn untrusted(cwd: &Path) -> Failure {
    Failure::new(
        ErrorCode::UntrustedDirectory,
        format!(
            "{} is not trusted: its own hooks and settings would run without asking",
            cwd.display()
        ),
    )
    .hint("if it is yours: clsess new --trust, or a [session.NAME] with this cwd in the config")
}

/// Two writers on one conversation would fork it without a word.
fn only_writer(shared: &Shared, conversation: Uuid) -> Result<(), Failure> {
    let has = |handle: &Handle| handle.row.borrow().agent_session_id == conversation;
    match shared.registry.all().iter().find(|handle| has(handle)) {
        None => Ok(()),
        Some(handle) => Err(Failure::new(
            ErrorCode::SessionExists,
            format!(
                "the session {} has this conversation already",
                handle.row.borrow().row.name
            ),
        )),
    }
}

/// A name made of the directory's.
fn name_of(cwd: &Path) -> String {
    let last = cwd.file_name().unwrap_or_default().as_bytes();
    let name: String = last
        .iter()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-') => char::from(*b),
            _ => '-',
        })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(56)
        .collect();
    if name.is_empty() {
        "session".to_owned()
    } else {
        name
    }
}
