//! `clsess kill`.

use clsess_proto::{ErrorCode, Failure, Killed, Reply, Request, SessionRow};
use serde_json::json;

use super::ms;
use crate::cli::Kill;
use crate::output::{Output, print, print_json};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::{Link, ids};
use clsess_client::surroundings::Surroundings;

pub async fn run(kill: Kill, surroundings: &Surroundings, output: &Output) -> Result<u8, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let rows = link.rows().await?;
    let request = Request::Kill {
        sessions: match kill.all {
            true => rows.iter().map(|row| row.id.to_string()).collect(),
            false => ids(kill.names, &rows),
        },
        all: false,
        grace_ms: ms(kill.grace),
    };
    let mut killed = match link.call(request).await? {
        Reply::Killed { sessions } => sessions,
        other => return Err(unexpected(&other)),
    };
    if link.was_lost() {
        killed = killed.into_iter().map(|it| unheard(it, &rows)).collect();
    }
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

/// One that was there and is gone has been killed, by the broker whose answer was lost.
fn unheard(killed: Killed, rows: &[SessionRow]) -> Killed {
    let gone = |failure: &Failure| failure.code == ErrorCode::NoSuchSession;
    let row = rows.iter().find(|row| row.id.to_string() == killed.session);
    match row.filter(|_| killed.error.as_ref().is_some_and(gone)) {
        Some(row) => Killed {
            session: row.name.clone(),
            id: Some(row.id),
            error: None,
            ..killed
        },
        None => killed,
    }
}

/// How to take the conversation up again; by its id the session's turns are still
/// read.
#[must_use]
pub fn resume(killed: &Killed) -> String {
    let name = &killed.session;
    let id = killed.id.map_or_else(String::new, |id| format!(" ({id})"));
    match (&killed.agent_session_id, &killed.cwd) {
        (Some(agent), Some(cwd)) => format!(
            "killed {name}{id}; to take it up again: clsess new {name} -c {} --resume {agent}",
            quoted(cwd)
        ),
        _ => format!("killed {name}{id}"),
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

#[cfg(test)]
mod tests {
    use clsess_proto::Killed;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_line_can_be_pasted() {
        let mut killed = Killed {
            session: "work".into(),
            id: Some(Uuid::from_u128(1)),
            agent_session_id: Some(Uuid::from_u128(2)),
            cwd: Some("/a dir/it's".into()),
            error: None,
        };
        assert_eq!(
            resume(&killed),
            "killed work (00000000-0000-0000-0000-000000000001); to take it up again: \
             clsess new work -c '/a dir/it'\\''s' --resume 00000000-0000-0000-0000-000000000002"
        );
        killed.agent_session_id = None;
        killed.id = None;
        assert_eq!(resume(&killed), "killed work");
    }
}
