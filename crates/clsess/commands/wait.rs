//! `clsess wait`.

use clsess_proto::{ErrorCode, Failure, Reply, Request, SessionRow, State, Until};
use serde_json::json;

use crate::cli::{self, Wait};
use crate::output::{print, print_json};
use clsess_client::client::{Start, unexpected};
use clsess_client::link::{Link, ids};
use clsess_client::surroundings::Surroundings;

pub async fn run(wait: Wait, surroundings: &Surroundings) -> Result<u8, Failure> {
    let timeout = wait.timeout.filter(|timeout| !timeout.is_zero());
    let waited = waited(&wait, surroundings);
    let sessions = match timeout {
        None => waited.await?,
        Some(timeout) => match tokio::time::timeout(timeout, waited).await {
            Ok(sessions) => sessions?,
            Err(_) => {
                let names = wait.names.join(", ");
                let message = format!(
                    "{names}: not so within {}",
                    humantime::format_duration(timeout)
                );
                return Err(Failure::new(ErrorCode::TimedOut, message));
            }
        },
    };
    if wait.json {
        print_json(&json!({ "sessions": sessions }));
    } else if wait.any {
        let names: Vec<&str> = sessions.iter().map(|row| row.name.as_str()).collect();
        print(&(names.join("\n") + "\n"));
    }
    match sessions
        .iter()
        .find(|row| wait.until == cli::Until::Idle && row.state == State::Failed)
    {
        Some(row) => Err(failed(row)),
        None => Ok(0),
    }
}

/// Asks the broker, and the next one when it is lost.
async fn waited(wait: &Wait, surroundings: &Surroundings) -> Result<Vec<SessionRow>, Failure> {
    let mut link = Link::connect(surroundings, Start::IfMissing).await?;
    let rows = link.rows().await?;
    let sessions = ids(wait.names.clone(), &rows);
    let request = Request::Wait {
        seen: rows
            .into_iter()
            .filter(|row| sessions.contains(&row.id.to_string()))
            .collect(),
        sessions,
        until: match wait.until {
            cli::Until::Idle => Until::Idle,
            cli::Until::Question => Until::Question,
            cli::Until::Exit => Until::Exit,
            cli::Until::Change => Until::Change,
        },
        any: wait.any,
    };
    match link.call(request).await? {
        Reply::Waited { sessions } => Ok(sessions),
        other => Err(unexpected(&other)),
    }
}

fn failed(row: &SessionRow) -> Failure {
    let why = row
        .detail
        .as_deref()
        .unwrap_or("the agent could not be started");
    Failure::new(ErrorCode::AgentStartFailed, format!("{}: {why}", row.name))
        .hint(format!("clsess restart {}", row.name))
}
