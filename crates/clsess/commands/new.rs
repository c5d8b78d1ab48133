//! `clsess new`, and how `send` makes a session on demand.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clsess_proto::{ErrorCode, Failure, Program, Reply, Request, SessionRow};
use serde_bytes::ByteBuf;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::{attach, ms};
use crate::cli::{AgentOptions, Attach, New};
use crate::config::{Config, Resolved};
use crate::output::{plain, print, print_json, say};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::Link;
use clsess_client::surroundings::Surroundings;

pub async fn run(new: New, surroundings: &Surroundings) -> Result<u8, Failure> {
    // An empty variable must not make an agent of a program.
    if new.command.is_empty() && std::env::args_os().any(|word| word == "--") {
        let message = "there is no program behind --";
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    let config = Config::load(surroundings.config.as_ref())?;
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let mut request = request(&config, new.name.as_deref(), &new.agent)?;
    if !request.settings.command.is_empty() && !new.command.is_empty() {
        let message = "the profile has a command, and another one stands behind --";
        return Err(Failure::new(ErrorCode::BadRequest, message));
    }
    request.resume = new.resume;
    request.trust |= new.trust;
    request.exists_ok = new.exists_ok;
    request.wait = !new.no_wait;
    request.program = program(
        new.command,
        new.size,
        config.scrollback(new.name.as_deref(), new.agent.profile.as_deref()),
    );
    let (row, _) = make(&mut link, request).await?;
    if new.attach {
        let attach = Attach {
            name: row.name,
            read_only: false,
            exclusive: false,
            anyway: false,
            detach_keys: None,
        };
        return attach::run(attach, surroundings).await;
    }
    if new.json {
        print_json(&row);
    } else {
        print(&format!("{}\n", row.name));
    }
    Ok(0)
}

/// Rows and columns of a terminal that nobody looks at.
const SIZE: (u16, u16) = (24, 80);

fn program(
    command: Vec<OsString>,
    size: Option<(u16, u16)>,
    scrollback: Option<u32>,
) -> Option<Program> {
    let (rows, cols) = size.unwrap_or(SIZE);
    let args = command
        .into_iter()
        .map(|word| ByteBuf::from(word.into_vec()));
    let args: Vec<ByteBuf> = args.collect();
    (!args.is_empty()).then_some(Program {
        args,
        rows,
        cols,
        scrollback,
    })
}

/// The request that makes this session as the command line and the config say.
///
/// # Errors
/// Of the config or the directory.
pub fn request(
    config: &Config,
    name: Option<&str>,
    line: &AgentOptions,
) -> Result<clsess_proto::New, Failure> {
    let resolved = config.resolve(name, line)?;
    let driver = resolved.settings.driver;
    if resolved.settings.pty && driver != Some(clsess_proto::Driver::Oneshot) {
        let message = "pty is for a child for each turn";
        return Err(Failure::new(ErrorCode::BadRequest, message).hint("--driver oneshot --pty"));
    }
    let cwd = directory(line, &resolved)?;
    let text = cwd.to_str().ok_or_else(|| {
        let message = format!("{} is not UTF-8", cwd.display());
        Failure::new(ErrorCode::BadDirectory, message)
    })?;
    Ok(clsess_proto::New {
        id: Some(Uuid::new_v4()),
        name: name.map(str::to_owned),
        cwd: text.to_owned(),
        env: environment(&resolved.env),
        settings: resolved.settings,
        program: None,
        resume: None,
        trust: config.names_directory(&cwd),
        exists_ok: false,
        wait: true,
        start_timeout_ms: ms(resolved.start_timeout),
        umask: Some(umask()),
    })
}

/// Makes the session, and says whether it was not there before; asks on a terminal whether its
/// directory is trusted.
///
/// # Errors
/// Of the broker.
pub async fn make(
    link: &mut Link,
    request: clsess_proto::New,
) -> Result<(SessionRow, bool), Failure> {
    let ask = |request| Request::New(Box::new(request));
    let mut reply = link.call(ask(request.clone())).await;
    if let Err(failure) = &reply
        && failure.code == ErrorCode::UntrustedDirectory
        && vouched(failure).await
    {
        let request = clsess_proto::New {
            trust: true,
            ..request
        };
        reply = link.call(ask(request)).await;
    }
    match reply? {
        Reply::Session { session, created } => Ok((session, created)),
        other => Err(unexpected(&other)),
    }
}

/// Asks on the terminal, where there is one. A thread reads the answer, so that a
/// signal can come before it.
async fn vouched(failure: &Failure) -> bool {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return false;
    }
    let question = plain(&failure.message);
    say(&format!("clsess: {question}\nTrust it? [y/N] "));
    let answer = spawn_blocking(|| {
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map(|_| answer)
    });
    let answer = answer.await;
    let answer = answer.ok().and_then(Result::ok).unwrap_or_default();
    matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
}

fn directory(line: &AgentOptions, resolved: &Resolved) -> Result<PathBuf, Failure> {
    let named = line.cwd.as_ref().or(resolved.cwd.as_ref());
    let found = match named {
        Some(dir) => std::path::absolute(dir),
        None => std::env::current_dir(),
    };
    found.map_err(|e| Failure::new(ErrorCode::BadDirectory, format!("no directory: {e}")))
}

/// This command's environment with what is set on top of it.
#[must_use]
pub fn environment(set: &BTreeMap<String, String>) -> Vec<(ByteBuf, ByteBuf)> {
    let bytes = |text: std::ffi::OsString| ByteBuf::from(text.into_vec());
    let kept = std::env::vars_os().filter(|(name, _)| !set.keys().any(|key| name == key.as_str()));
    let set = set.iter().map(|(name, value)| (name.into(), value.into()));
    kept.chain(set)
        .map(|(name, value)| (bytes(name), bytes(value)))
        .collect()
}

/// This command's file mode mask: the agent's files are to look like the user's.
fn umask() -> u32 {
    use nix::sys::stat::{Mode, umask};
    // It can only be read by setting it; nothing else runs in between.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    mask.bits()
}
