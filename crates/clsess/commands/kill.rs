//! `clsess kill`.

use clsess_proto::{Failure, Killed, Reply, Request};
use serde_json::json;

use super::ms;
use crate::cli::Kill;
use crate::client::{Client, Start, unexpected};
use crate::output::{Output, print, print_json};
use crate::surroundings::Surroundings;

pub async fn run(kill: Kill, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    let mut client = Client::connect(surroundings, Start::IfMissing).await?;
    let request = Request::Kill {
        sessions: kill.names,
        all: kill.all,
        grace_ms: ms(kill.grace),
    };
    let killed = match client.call(request).await? {
        Reply::Killed { sessions } => sessions,
        other => return Err(unexpected(&other)),
    };
    if kill.json {
        print_json(&json!({ "killed": killed }));
    }
    let mut code = 0;
    for session in &killed {
        match &session.error {
            Some(failure) => {
                output.complain(failure);
                code = code.max(failure.code.exit());
            }
            None if !kill.json && !output.quiet => print(&(resume(session) + "\n")),
            None => {}
        }
    }
    Ok(code)
}

/// How to take the conversation up again.
fn resume(killed: &Killed) -> String {
    let name = &killed.session;
    match (&killed.agent_session_id, &killed.cwd) {
        (Some(id), Some(cwd)) => format!(
            "killed {name}; to take it up again: clsess new {name} -c {} --resume {id}",
            quoted(cwd)
        ),
        _ => format!("killed {name}"),
    }
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if path.chars().all(plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}
